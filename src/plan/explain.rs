//! Plans for human eyes: one line a kernel.

use super::{ConvRole, Kernel, Place, Plan};
use std::fmt::Write;

/// Floating-point operations of a kernel that writes `written` elements, roughly.
pub(super) fn flops(kernel: &Kernel, written: usize) -> u64 {
    let n = match kernel {
        Kernel::Elementwise(e) => e.terms.len() * written,
        Kernel::Reduce { value, .. } | Kernel::ArgReduce { value, .. } => value.terms.len().max(1) * value.shape.numel(),
        Kernel::MatMul(m) => 2 * m.k * written,
        Kernel::Conv2d(c) => {
            let [_, ci, kh, kw] = c.w;
            match c.role {
                ConvRole::Forward | ConvRole::InputGrad | ConvRole::WeightGrad => {
                    2 * c.y.iter().product::<usize>() * ci * kh * kw
                }
            }
        }
        Kernel::Pool { spec, y, .. } => y.iter().product::<usize>() * spec.kernel.iter().product::<usize>(),
        Kernel::Softmax { rows, cols, .. } | Kernel::CrossEntropy { rows, cols } | Kernel::CrossEntropyGrad { rows, cols } => {
            8 * rows * cols
        }
        Kernel::Gather { .. } => 0,
        Kernel::ScatterAdd { rows, cols, n } => rows * cols * n,
        Kernel::OptimStep { .. } => 0,
    };
    n as u64
}

impl Plan {
    /// The launches as a table: kernel, result, level, place, arithmetic, traffic.
    pub fn explain(&self) -> String {
        let mut out =
            format!("{:>3} {:>5}  {:<20} {:<14} {:>12} {:>10}  {}\n", "#", "level", "kernel", "writes", "FLOP", "bytes", "reads");
        let place = |b: usize| match self.buffers[b].place {
            Place::Leaf(n) => format!("leaf {n}"),
            Place::Slot(n) => format!("slot {n}"),
            Place::Output(n) => format!("output {n}"),
            Place::Gradient { entry, .. } => format!("gradient {entry}"),
        };
        for (i, step) in self.steps.iter().enumerate() {
            let reads: Vec<String> = step.reads.iter().map(|&b| place(b)).collect();
            let write = step.write.map_or_else(|| "parameters".into(), place);
            let name = match &step.kernel {
                Kernel::Elementwise(e) => format!("elementwise[{}]", e.terms.len()),
                Kernel::MatMul(m) => format!("matmul {}x{}x{}", m.m, m.n, m.k),
                k => k.name().to_owned(),
            };
            let line = (i, step.level, name, write, step.flops, step.bytes, reads.join(", "));
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:>3} {:>5}  {:<20} {:<14} {:>12} {:>10}  {}",
                line.0, line.1, line.2, line.3, line.4, line.5, line.6
            );
        }
        let slots: usize = self.slots.iter().sum();
        let _ = writeln!(out, "{} kernels, {} slots, {slots} bytes of slots", self.steps.len(), self.slots.len());
        out
    }
}
