//! Convolutions as implicit products, by register tiles or tiles in workgroup memory: `shaders/conv2d*.wgsl`. Geometry is baked, the
//! batch is data.

mod common;
mod moments;
mod pixels;
mod taps;
mod tiled;

use super::source::need_f32;
use super::tile::Tile;
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered};
use crate::plan::{Conv2d, ConvRole, Kernel, Plan, Step};
use pixels::Geometry;
use taps::Taps;
use tiled::{Image, Weights};

/// A way to compute a convolution. Sizes that a shape does not have become the next smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Forward and input gradient: what a thread computes, neighbouring pixels of a row in some channels.
    Pixels {
        /// Pixels, up to 16.
        pixels: usize,
        /// Channels: 1, 2, 4 or 8.
        channels: usize,
    },
    /// Forward and input gradient, by tiles in workgroup memory.
    Image {
        /// Channels and pixels that a workgroup computes.
        tile: Tile,
        /// Parts that taps and channels are cut into.
        splits: usize,
    },
    /// Weight gradient, by tiles in workgroup memory.
    Weights {
        /// Output channels, and taps times input channels, that a workgroup computes.
        tile: Tile,
        /// Parts that the pixels are cut into.
        splits: usize,
    },
    /// Weight gradient: what a thread sums, the taps between some channels.
    Taps {
        /// Channels of the output: 1, 2, 4 or 8.
        outputs: usize,
        /// Channels of the input, up to 8.
        inputs: usize,
    },
}

/// What the lab times and tests force.
#[cfg(any(test, feature = "lab"))]
pub(crate) fn forced(role: ConvRole) -> &'static [Variant] {
    const IMAGES: &[Variant] = &[
        Variant::Pixels { pixels: 1, channels: 1 },
        Variant::Pixels { pixels: 4, channels: 8 },
        Variant::Pixels { pixels: 7, channels: 2 },
        Variant::Pixels { pixels: 8, channels: 4 },
        Variant::Pixels { pixels: 14, channels: 4 },
        Variant::Image { tile: Tile::of_eights(64, 128), splits: 1 },
        Variant::Image { tile: Tile::of_eights(128, 128), splits: 2 },
        Variant::Image { tile: Tile::of_eights(32, 128), splits: 1 },
        Variant::Image { tile: Tile::narrow(16, 256), splits: 1 },
        Variant::Image { tile: Tile::narrow(8, 256), splits: 3 },
    ];
    const WEIGHTS: &[Variant] = &[
        Variant::Taps { outputs: 1, inputs: 1 },
        Variant::Taps { outputs: 2, inputs: 3 },
        Variant::Taps { outputs: 4, inputs: 4 },
        Variant::Taps { outputs: 8, inputs: 2 },
        Variant::Weights { tile: Tile::of_eights(128, 64), splits: 1 },
        Variant::Weights { tile: Tile::of_eights(64, 64), splits: 3 },
        Variant::Weights { tile: Tile::of_fours(16, 64), splits: 1 },
        Variant::Weights { tile: Tile::of_fours(32, 32), splits: 5 },
    ];
    match role {
        ConvRole::Forward | ConvRole::InputGrad => IMAGES,
        ConvRole::WeightGrad => WEIGHTS,
    }
}

/// Lowers a [`Kernel::Conv2d`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let variant = select(convolution(step)?, caps);
    lower_with(step, plan, caps, variant)
}

/// The variant with the lowest estimated cost for a shape.
fn select(conv: &Conv2d, caps: &Caps) -> Variant {
    match conv.role {
        ConvRole::Forward | ConvRole::InputGrad => {
            let image = Image::of(conv);
            if !caps.software
                && image.suits()
                && let Some((tile, splits)) = image.select(caps)
            {
                return Variant::Image { tile, splits };
            }
            let [pixels, channels] = Geometry::of(conv, caps).select(caps);
            Variant::Pixels { pixels, channels }
        }
        ConvRole::WeightGrad => {
            let weights = Weights::of(conv);
            if !caps.software
                && weights.suits()
                && let Some((tile, splits)) = weights.select(caps)
            {
                return Variant::Weights { tile, splits };
            }
            let [outputs, inputs] = Taps::of(conv, caps).select(caps);
            Variant::Taps { outputs, inputs }
        }
    }
}

/// Lowers with a given variant, which must be one of its role's.
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    let conv = convolution(step)?;
    need_f32("conv2d", step, plan, &[0, 1])?;
    match (conv.role, variant) {
        (ConvRole::Forward | ConvRole::InputGrad, Variant::Pixels { pixels, channels }) => {
            Geometry::of(conv, caps).lower([pixels, channels], step, plan, caps)
        }
        (ConvRole::Forward | ConvRole::InputGrad, Variant::Image { tile, splits }) => {
            Image::of(conv).lower(tile, splits, step, plan, caps)
        }
        (ConvRole::WeightGrad, Variant::Taps { outputs, inputs }) => {
            Taps::of(conv, caps).lower([outputs, inputs], step, plan, caps)
        }
        (ConvRole::WeightGrad, Variant::Weights { tile, splits }) => Weights::of(conv).lower(tile, splits, step, plan, caps),
        (role, variant) => Err(Error::internal(format!("{variant:?} cannot compute {role:?}"))),
    }
}

fn convolution(step: &Step) -> Result<&Conv2d> {
    match &step.kernel {
        Kernel::Conv2d(conv) => Ok(conv),
        other => Err(Error::internal(format!("conv2d::lower was given {}", other.name()))),
    }
}
