//! Parts of a training program: progress, averages, a confusion matrix, curves, checkpoints, restarts.
//!
//! | subject | |
//! |---|---|
//! | averages and metrics | [`Meter`] [`ConfusionMatrix`] [`evaluate`] [`Evaluation`] |
//! | stopping | [`EarlyStopping`] [`EarlyStoppingConfig`] |
//! | progress, curves | [`Progress`] [`History`] [`EpochRecord`] [`chart`] [`Chart`] [`Panel`] [`Series`] |
//! | saving and resuming | [`Checkpoint`] |
//! | values that are not finite | [`AnomalyMode`] [`AnomalyPolicy`] |
//! | losses of the device | [`supervise`] [`SuperviseConfig`] [`Keeper`] [`Resume`] [`Training`] |

pub mod chart;
mod checkpoint;
mod confusion;
mod early_stopping;
mod evaluate;
mod history;
mod meter;
mod progress;
mod supervise;
#[cfg(test)]
mod tests;

pub use crate::lazy::anomaly::{AnomalyMode, AnomalyPolicy};
pub use chart::{Chart, Panel, Series};
pub use checkpoint::Checkpoint;
pub use confusion::ConfusionMatrix;
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use evaluate::{Evaluation, evaluate};
pub use history::{EpochRecord, History};
pub use meter::Meter;
pub use progress::Progress;
pub use supervise::{Keeper, Resume, SuperviseConfig, Training, supervise};
