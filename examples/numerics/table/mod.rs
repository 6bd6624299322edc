//! What the numerics report measures and the tests check: every op, over which numbers, and how far off it may be.

pub mod contractions;
pub mod elementwise;
pub mod error;
pub mod rows;
