//! What this benchmark shares with that of Burn in `benches/peers/burn`: the rows, the figures, and the command line.

pub mod command;
pub mod figures;
pub mod rows;
