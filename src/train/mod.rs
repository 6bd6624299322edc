//! Parts of a training program: progress, averages, a confusion matrix, curves, checkpoints.
//!
//! | subject | |
//! |---|---|
//! | averages and metrics | [`Meter`] [`ConfusionMatrix`] [`evaluate`] [`Evaluation`] |
//! | stopping | [`EarlyStopping`] [`EarlyStoppingConfig`] |
//! | progress, curves | [`Progress`] [`History`] [`EpochRecord`] [`chart`] [`Chart`] [`Panel`] [`Series`] |
//! | saving and resuming | [`Checkpoint`] |

pub mod chart;
mod checkpoint;
mod confusion;
mod early_stopping;
mod evaluate;
mod history;
mod meter;
mod progress;

pub use chart::{Chart, Panel, Series};
pub use checkpoint::Checkpoint;
pub use confusion::ConfusionMatrix;
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use evaluate::{Evaluation, evaluate};
pub use history::{EpochRecord, History};
pub use meter::Meter;
pub use progress::Progress;
