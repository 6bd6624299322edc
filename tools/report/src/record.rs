//! What a report says: written as JSON, and passed from the process that measures to the one that watches it.

use serde::{Deserialize, Serialize};

/// A whole report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The day, in UTC.
    pub date: String,
    /// The system and its architecture.
    pub system: String,
    /// wgrad's version.
    pub version: String,
    /// Whether wgrad was compiled with optimisations.
    pub optimised: bool,
    /// The adapter.
    pub adapter: Adapter,
    /// Every item, in the order of measuring.
    pub items: Vec<Item>,
    /// The same networks' steps in PyTorch, or why there are none.
    pub peer: Option<Peer>,
    /// Seconds that the report took.
    pub seconds: f64,
}

/// An adapter, and what wgrad knows of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Discrete, integrated, virtual, software.
    pub kind: String,
    /// The API.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Limits and features that matter.
    pub limits: Vec<(String, String)>,
    /// What it lacks or is known to do wrong, and what is done instead.
    pub quirks: Vec<(String, String)>,
}

/// Something that was to be tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// What.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an item.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The kernels' trials.
    Trials(Trials),
    /// The hardware's limits.
    Ceilings(Ceilings),
    /// A network in training.
    Network(Network),
    /// An operation.
    Operation(Operation),
    /// A typed error.
    Failed(String),
    /// More memory than the adapter has, or lets one buffer take.
    TooLarge(String),
    /// The process died.
    Crashed(String),
    /// Nothing came back in so many seconds.
    Hung(f64),
    /// There was no time left.
    NotReached,
}

/// The kernels' trials against the CPU device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trials {
    /// Kernel families that run in a plainer form because the chosen one was refused or wrong.
    pub replaced: Vec<String>,
}

/// The hardware's limits, by kernels that are not wgrad's. Per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Multiply-adds of f32.
    pub multiply_adds: f64,
    /// Bytes read and written by a copy.
    pub bytes: f64,
    /// Seconds from a launch to the next that depends on it.
    pub launch: f64,
    /// Whether by the adapter's clock.
    pub timestamps: bool,
}

/// A network in training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    /// Milliseconds of the first step, which compiles.
    pub first: f64,
    /// Milliseconds of a step, with upload and the loss read; the median.
    pub step: f64,
    /// How many steps that is the median of.
    pub steps: usize,
    /// Milliseconds that the host needs of it before the last read.
    pub host: f64,
    /// Launches of a step.
    pub launches: usize,
    /// The most bytes in use.
    pub bytes_peak: u64,
    /// The last loss.
    pub loss: f64,
    /// The kernels that take longest: what, how many launches, milliseconds. Empty without timestamps.
    pub kernels: Vec<(String, usize, f64)>,
}

/// An operation of the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    /// Its group.
    pub group: String,
    /// Milliseconds of the first run, which compiles.
    pub first: f64,
    /// Milliseconds of all its launches; the median of runs.
    pub time: f64,
    /// Launches.
    pub launches: usize,
    /// The kernels.
    pub kernels: Vec<String>,
    /// The multiply-adds of its definition; 0 of what memory bounds.
    pub multiply_adds: f64,
    /// The fewest bytes that must move.
    pub bytes: f64,
    /// The largest difference from the CPU device, over the root mean square of the result; `None` if an element is finite on one
    /// side only.
    pub error: Option<f64>,
}

impl Operation {
    /// Differences above this are faults: sums of f32 in another order stay far below.
    pub const ALLOWED: f64 = 1e-3;

    /// Whether it computed what the CPU device does.
    pub fn is_correct(&self) -> bool {
        self.error.is_some_and(|error| error <= Self::ALLOWED)
    }
}

/// Another library's steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// Was run.
    Ran {
        /// Its version and device.
        name: String,
        /// Milliseconds of a step by network; the median.
        steps: Vec<(String, f64)>,
    },
    /// Was not run: why.
    Absent(String),
}

/// A line from the process that measures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// An item of the list begins.
    Begin(usize),
    /// It is through.
    Done(usize, Outcome),
}
