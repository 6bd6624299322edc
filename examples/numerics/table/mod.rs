//! What the numerics report measures and the tests check: every op, the numbers that it runs on, and how far off it may be.

pub mod contractions;
#[path = "../../../tests/rows/elementwise.rs"]
pub mod elementwise;
pub mod error;
pub mod rows;
