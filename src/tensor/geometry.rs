//! Windows that slide along an axis: the one place where the geometry of convolutions, pooling and unfolding is computed.

use super::Fault;
use crate::graph::op::places;

/// The most that a length, a step or a distance of windows may be: kernels count positions, negative ones too, in 32 bits.
const MAX_LENGTH: u128 = i32::MAX as u128;

/// A window along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// The number of taps.
    pub kernel: usize,
    /// Distance between taps.
    pub dilation: usize,
    /// Step from one place to the next.
    pub stride: usize,
    /// Zeros on both sides of the axis.
    pub padding: usize,
}

impl Window {
    /// How many times the window fits an axis: `(len + 2·padding - dilation·(kernel - 1) - 1) / stride + 1`.
    #[track_caller]
    pub fn places(self, len: usize) -> Result<usize, Fault> {
        self.check()?;
        let Self { kernel, dilation, stride, padding } = self;
        let count = places(len, kernel, stride, padding, dilation).ok_or_else(|| {
            let reason = format!("a window of {kernel} taps at dilation {dilation} is longer than {len} plus padding {padding}");
            Fault::shape(reason, "pad more, or use a smaller kernel or a longer input")
        })?;
        need_countable("an axis with its padding", len as u128 + 2 * padding as u128)?;
        need_countable("the dilation", dilation as u128)?;
        Ok(count)
    }

    /// The length that `count` places span, padding included: the inverse of [`Window::places`].
    #[track_caller]
    pub fn spread(self, count: usize) -> Result<usize, Fault> {
        self.check()?;
        let length = (count as u128).saturating_sub(1) * self.stride as u128 + self.span();
        need_countable("the dilation", self.dilation as u128)?;
        need_countable("the result's axis", length)?;
        usize::try_from(length).map_err(|_| Fault::attribute("the result's axis is too long", "use smaller sizes"))
    }

    /// From the first tap to the last.
    fn span(self) -> u128 {
        self.dilation as u128 * (self.kernel as u128 - 1) + 1
    }

    fn check(self) -> Result<(), Fault> {
        let Self { kernel, dilation, stride, .. } = self;
        if kernel == 0 {
            return Err(Fault::shape("the kernel has no taps", "use a kernel of at least one tap"));
        }
        if dilation == 0 || stride == 0 {
            let reason = format!("stride {stride} and dilation {dilation} must be at least 1");
            return Err(Fault::attribute(reason, "use positive values"));
        }
        need_countable("the stride", stride as u128)
    }
}

fn need_countable(what: &str, length: u128) -> Result<(), Fault> {
    if length <= MAX_LENGTH {
        return Ok(());
    }
    let reason = format!("{what} of {length} elements is longer than {MAX_LENGTH}");
    Err(Fault::attribute(reason, "use smaller sizes: positions along an axis of windows are counted in 32 bits"))
}
