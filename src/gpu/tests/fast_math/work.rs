//! What tensors' plans compute, kernel by kernel, in a process of clang's making.

use super::clang::Kernels;
use super::metal::Texts;
use crate::dtype::HostData;
use crate::gpu::compiled::word_value;
use crate::gpu::kernels;
use crate::gpu::program::{Caps, Operand, Program};
use crate::plan::{BufferInfo, Place, Plan};
use crate::storage::bindings::{Bindings, Leaf};
use crate::tensor::Tensor;
use std::sync::Arc;

/// A step's programs with their numbers, and the bytes of its scratch buffers.
type Step = (Vec<(usize, Program)>, Vec<u64>);

/// An evaluation: programs, and the memory that they run over.
pub(super) struct Work {
    plan: Arc<Plan>,
    bindings: Bindings,
    steps: Vec<Step>,
    /// Contents of the leaves.
    leaves: Vec<Vec<u8>>,
}

impl Work {
    /// What realises `root`, a function of `inputs`, whose contents are given.
    pub fn new(root: &Tensor, inputs: &[(&Tensor, &HostData)], texts: &mut Texts) -> Self {
        let (plan, bindings) = crate::eval::planned(root.node().expect("valid")).expect("plans");
        let caps = Caps::webgpu_defaults(false);
        let mut steps = Vec::new();
        for step in &plan.steps {
            let lowered = kernels::lower(step, &plan, &caps).expect("lowers");
            steps.push((lowered.programs.into_iter().map(|p| (texts.number(&p), p)).collect(), lowered.scratch));
        }
        let contents = |leaf: &Leaf| {
            let Leaf::Data(storage) = leaf else { panic!("only data is bound here") };
            let same = |t: &Tensor| t.node().and_then(|n| n.memory()).expect("uploaded").is_same(storage);
            let (_, data) = inputs.iter().find(|(t, _)| same(t)).expect("every leaf is an input");
            data.bytes().to_vec()
        };
        let leaves = bindings.leaves.iter().map(contents).collect();
        Self { plan, bindings, steps, leaves }
    }

    /// The value of the root, as compiled kernels compute it.
    pub fn run(&self, texts: &Texts, kernels: &mut Kernels) -> Vec<f64> {
        let bytes = |b: &BufferInfo| b.dtype.bytes(b.len).next_multiple_of(16);
        let mut memory: Vec<Vec<u8>> = self.plan.buffers.iter().map(|b| vec![0xFF; bytes(b)]).collect();
        for (buffer, info) in memory.iter_mut().zip(&self.plan.buffers) {
            if let Place::Leaf(n) = info.place {
                buffer[..self.leaves[n].len()].copy_from_slice(&self.leaves[n]);
            }
        }
        for (step, (programs, scratch)) in self.plan.steps.iter().zip(&self.steps) {
            let mut scratch: Vec<Vec<u8>> = scratch.iter().map(|&n| vec![0xFF; n as usize]).collect();
            for (number, program) in programs {
                let words = program.record.iter().map(|&w| word_value(w, &self.bindings).expect("bound"));
                let mut record: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
                record.resize(record.len().next_multiple_of(16).max(16), 0);
                // Each place is taken out, so that all can be changed at once; several views of one place are not known here.
                let places = program.operands.iter().map(|operand| match *operand {
                    Operand::Read(k) => (false, step.reads[k]),
                    Operand::Write | Operand::Written => (false, step.write.expect("a result")),
                    Operand::Moments => (false, step.kernel.moments().expect("moments")),
                    Operand::ScratchRead(n) | Operand::ScratchWrite(n) => (true, n),
                    Operand::Further(_) | Operand::Arena(_) => panic!("optimizers are not run here"),
                });
                let places: Vec<(bool, usize)> = places.collect();
                let mut taken: Vec<Vec<u8>> = Vec::new();
                for &(scratched, n) in &places {
                    taken.push(std::mem::take(if scratched { &mut scratch[n] } else { &mut memory[n] }));
                }
                let mut bound: Vec<&mut Vec<u8>> = std::iter::once(&mut record).chain(&mut taken).collect();
                kernels.run(*number, program.grid, texts.shared(*number), &mut bound);
                for ((scratched, n), contents) in places.into_iter().zip(taken) {
                    *(if scratched { &mut scratch[n] } else { &mut memory[n] }) = contents;
                }
            }
        }
        let output = self.plan.outputs[0];
        let info = &self.plan.buffers[output];
        HostData::from_padded(info.dtype, &memory[output], info.len).to_f64()
    }
}
