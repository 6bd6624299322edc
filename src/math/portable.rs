//! Functions with the same bits on every platform. The standard library's `sin`, `exp`, `powf` and the like are the platform's
//! own, differ between platforms, and are wrong for large arguments on some: `clippy.toml` forbids them in this crate.

/// Functions in f64, to about one unit in the last place.
pub(crate) use libm::{acos, asin, atan, atan2, cos, cosh, exp, expm1, log, log1p, log10, pow, sin, sinh, tan, tanh};
/// Functions in f32, to about two units in the last place.
pub(crate) use libm::{acosf, asinf, atan2f, atanf, cosf, coshf, sinf, sinhf, tanf};
