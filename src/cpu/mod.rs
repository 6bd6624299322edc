//! The CPU device: a reference executor that is easy to trust, and a fast one for f32 and integer plans.
//!
//! [`reference`] runs graphs as they are and is the oracle of every test; f64 graphs run there too. [`CpuExecutor`] runs
//! plans: expressions interpreted block by block, products by `gemm`, all on its own thread pool. Both give the same bits
//! on every run, whatever the threads' timing.

pub(crate) mod attention;
mod awake;
mod conv2d;
mod elementwise;
mod executor;
mod expr;
mod gemm;
mod kernel;
mod matmul;
mod matrix;
mod optim;
mod pool;
pub(crate) mod recurrent;
mod reduce;
pub(crate) mod reference;
mod row;
mod scratch;
mod simd;
#[cfg(test)]
pub(crate) mod tests;
mod vectors;

pub(crate) use executor::{Compiled, CpuExecutor};
