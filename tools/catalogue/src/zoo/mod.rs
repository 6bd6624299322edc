//! The networks of `cargo bench --bench zoo`, from its own files.

#[path = "../../../../benches/zoo/networks.rs"]
mod networks;
#[allow(missing_docs, reason = "of a benchmark")]
#[path = "../../../../benches/zoo/shared/rows.rs"]
mod rows;
#[allow(missing_docs, reason = "of a benchmark")]
#[path = "../../../../benches/zoo/work.rs"]
mod work;

/// Where the files look for the rows.
mod shared {
    pub(super) use super::rows;
}

pub use rows::{ROWS, Row};
pub use work::Work;
