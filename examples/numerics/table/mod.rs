//! What the numerics report measures and the tests check: every op, over which numbers, and how far off it may be.

pub mod contractions;
#[path = "../../../tests/rows/elementwise.rs"]
pub mod elementwise;
pub mod error;
pub mod rows;
