//! Integration tests. One process tests one device: `WGRAD_TEST_DEVICE` is `cpu` (the default), `software`, `gpu`, or any
//! name that `Device::named` takes; a suffix `+clamped` opens it with WebGPU's default limits.

mod common;
mod eval;
mod fixtures;
mod gradients;
mod ops;
mod optim;
mod params;
mod refusals;
mod samples;
mod steady;
