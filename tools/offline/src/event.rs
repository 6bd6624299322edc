//! What the layer writes down and the tool reads: one JSON value per line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a program asked of Vulkan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A compute pipeline was compiled. Its machine code and SPIR-V are in files with its number.
    Pipeline {
        /// Counted from 0.
        number: usize,
        /// Threads of a workgroup.
        local: [u32; 3],
        /// The driver's statistics, by name.
        statistics: BTreeMap<String, f64>,
    },
    /// The label of a pipeline.
    Label {
        /// Its number.
        pipeline: usize,
        /// What the program calls it.
        label: String,
    },
    /// A dispatch, when it was submitted.
    Dispatch(Dispatch),
    /// A barrier, with how many buffers it is for.
    Barrier(u32),
    /// A copy between buffers, in bytes.
    Copy(u64),
    /// A submission, with its command buffers.
    Submission(u32),
}

/// A dispatch and what it is bound to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    /// The pipeline's number.
    pub pipeline: usize,
    /// Workgroups along each dimension.
    pub grid: [u32; 3],
    /// The buffers of descriptor set 0.
    pub bindings: Vec<Binding>,
}

/// A buffer's range in a descriptor set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The binding's number.
    pub binding: u32,
    /// The buffer's handle.
    pub buffer: u64,
    /// Where the range begins in it.
    pub offset: u64,
    /// How long the range is, in bytes.
    pub bytes: u64,
    /// What a uniform buffer held at submission, if the host wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uniform: Vec<u32>,
}
