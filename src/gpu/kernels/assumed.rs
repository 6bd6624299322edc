//! A hardware GPU as choices between kernels assume it, in round figures: wgpu says nothing of these. Costs made of them are pure
//! functions of shapes, so every run of a program chooses alike.

/// Multiprocessors.
pub(super) const MULTIPROCESSORS: f64 = 64.0;
/// Multiply-adds, or other plain instructions, of each multiprocessor per clock.
pub(super) const LANES: f64 = 128.0;
/// Bytes of memory per clock, all multiprocessors together.
pub(super) const BYTES: f64 = 1000.0;
/// Clocks that a further launch takes.
pub(super) const LAUNCH: f64 = 8000.0;
