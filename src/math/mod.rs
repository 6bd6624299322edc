//! Functions of numbers, which import nothing: [`exact`] in f64, which the reference trusts, and [`fast`] in f32.

pub(crate) mod exact;
pub(crate) mod fast;
pub(crate) mod portable;

/// A value as one word of a buffer: the bits of a number, or 0 and 1.
pub(crate) trait Word {
    fn word(self) -> u32;
}

/// A value as an f64; truth values are 0 and 1.
pub(crate) trait Number {
    fn number(self) -> f64;
}

macro_rules! words {
    ($($type:ty: |$x:ident| $word:expr;)*) => {$(
        impl Word for $type {
            #[inline(always)]
            fn word(self) -> u32 {
                let $x = self;
                $word
            }
        }
    )*};
}

words! {
    f32: |x| x.to_bits();
    i32: |x| x as u32;
    u32: |x| x;
    bool: |x| u32::from(x);
}

impl Number for f64 {
    #[inline(always)]
    fn number(self) -> f64 {
        self
    }
}

impl Number for bool {
    #[inline(always)]
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}
