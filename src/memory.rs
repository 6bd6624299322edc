//! How much memory there is, and what a device uses it for.

use std::fmt;

/// What a device's memory is used for, in bytes. All of it together is what the device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Parameters.
    pub parameters: u64,
    /// The state of optimizers, and layers' buffers, such as running statistics.
    pub state: u64,
    /// Tensors: data and results.
    pub tensors: u64,
    /// Values that are kept because a backward pass reads them. Where one step computes them and reads them, they are among what
    /// its plan works in.
    pub saved: u64,
    /// Old values of parameters, which tensors still need.
    pub kept: u64,
    /// The memory that plans work in.
    pub working: u64,
    /// What is only kept for later: memory that nothing needs now, plans, memory for transfers.
    pub cached: u64,
}

impl MemoryUse {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.rows().iter().map(|row| row.1).sum()
    }

    fn rows(&self) -> [(&'static str, u64); 7] {
        [
            ("parameters", self.parameters),
            ("optimizers and buffers", self.state),
            ("tensors", self.tensors),
            ("saved for backward", self.saved),
            ("old values", self.kept),
            ("work", self.working),
            ("caches", self.cached),
        ]
    }
}

/// `parameters 4096, tensors 1024`: what there is none of is left out.
impl fmt::Display for MemoryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used: Vec<String> =
            self.rows().iter().filter(|row| row.1 > 0).map(|(name, bytes)| format!("{name} {bytes}")).collect();
        f.pad(&if used.is_empty() { "nothing".into() } else { used.join(", ") })
    }
}
