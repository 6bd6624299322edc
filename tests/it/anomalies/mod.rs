//! Anomaly mode names the first op, layer and parameter whose value or gradient is not finite, and the line of the call.

mod calls;
mod models;
mod policies;

use std::cell::Cell;
use wgrad::error::Anomaly;
use wgrad::train::{AnomalyMode, AnomalyPolicy};
use wgrad::{Error, Result};

thread_local! {
    static LINE: Cell<u32> = const { Cell::new(0) };
}

/// Passes a value on, and notes the line that it comes from.
fn here<T>(line: u32, value: T) -> T {
    LINE.set(line);
    value
}

/// What the mode stops `f` for.
fn stopped<T>(f: impl FnOnce() -> Result<T>) -> Option<Anomaly> {
    let mode = AnomalyMode::new(AnomalyPolicy::Stop);
    match mode.watch(f) {
        Ok(_) => {
            assert!(mode.found().is_empty(), "reported, and not stopped: {:?}", mode.found());
            None
        }
        Err(Error::NotFinite(anomaly)) => {
            let found: Vec<String> = mode.found().iter().map(ToString::to_string).collect();
            assert_eq!(found, [anomaly.to_string()]);
            Some(*anomaly)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether an anomaly is of the line noted last.
fn is_here(anomaly: &Anomaly, file: &str) -> bool {
    anomaly.at.is_some_and(|at| (at.file(), at.line()) == (file, LINE.get()))
}
