//! What the numerics table promises holds under compilers that reassociate, contract, and take no number for NaN or infinite, as
//! Metal's does: kernels are compiled by clang with such flags and run on the host.
//!
//! These tests want clang, so they run by name: `scripts/sweep math`, and a part of them in `scripts/test`.

mod clang;
mod metal;
#[path = "../../../../tests/rows/elementwise.rs"]
#[allow(dead_code, reason = "rows are for other tests, too")]
mod elementwise;
#[path = "../../../../examples/numerics/table/error.rs"]
#[allow(dead_code, reason = "the report and other tests measure devices")]
mod error;

use super::*;
use crate::device::{CacheLimits, Device, DeviceKind, DeviceOptions};
use crate::gpu::compiled::word_value;
use crate::gpu::program::{Operand, Program};
use crate::tensor::Tensor;
use clang::{BUILDS, Kernels, compile};
use metal::Texts;
use elementwise::{binary, unary};
use error::{SPECIAL, Truth, sweep, worst};

/// An evaluation: programs, and the memory that they run over.
struct Work {
    plan: Arc<Plan>,
    bindings: Bindings,
    /// Per step, its programs with their numbers, and the bytes of its scratch buffers.
    steps: Vec<(Vec<(usize, Program)>, Vec<u64>)>,
    /// Contents of the leaves.
    leaves: Vec<Vec<u8>>,
}

impl Work {
    /// What realises `root`, a function of `inputs`, whose contents are given.
    fn new(root: &Tensor, inputs: &[(&Tensor, &HostData)], texts: &mut Texts) -> Self {
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
    fn run(&self, texts: &Texts, kernels: &mut Kernels) -> Vec<f64> {
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
                    Operand::Write => (false, step.write.expect("a result")),
                    Operand::ScratchRead(n) | Operand::ScratchWrite(n) => (true, n),
                    Operand::Arena(_) => panic!("optimizers are not run here"),
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

/// A device for which plans are made.
fn planner() -> Device {
    let options = DeviceOptions { hardware_kernels: true, self_test: Some(false), ..DeviceOptions::default() };
    let device = adapters::with_noop(|| Device::first(DeviceKind::Software, options)).expect("opens");
    device.set_cache_limits(CacheLimits { bytes: u64::MAX, plans: usize::MAX });
    device
}

fn upload(data: &HostData, device: &Device) -> Tensor {
    Tensor::from_host(data.clone(), DType::F32, [data.len()], device).expect("uploads")
}

/// An op at its points.
struct Point {
    name: &'static str,
    operands: Vec<Vec<f32>>,
    budget: f64,
    truth: Truth,
    work: Work,
}

/// Every elementwise op at its points: with four elements to a thread, and with one where the number of points is odd.
fn table(points: usize, odd: bool, texts: &mut Texts) -> Vec<Point> {
    let device = planner();
    let mut rows = Vec::new();
    for op in unary() {
        let mut x = sweep(op.range, points, 11);
        x.extend(SPECIAL);
        x.drain(..usize::from(odd));
        let data = HostData::F32(x.clone());
        let input = upload(&data, &device);
        let work = Work::new(&(op.run)(&input), &[(&input, &data)], texts);
        let truth = Truth::unary(&op, &x).expect("the reference computes");
        rows.push(Point { name: op.name, operands: vec![x], budget: op.budget.ulps, truth, work });
    }
    for op in binary() {
        let (mut a, mut b) = (sweep(op.a, points, 11), sweep(op.b, points, 12));
        for (x, y) in SPECIAL.iter().flat_map(|&x| SPECIAL.map(|y| (x, y))) {
            a.push(x);
            b.push(y);
        }
        for operand in [&mut a, &mut b] {
            operand.drain(..usize::from(odd));
        }
        let (da, db) = (HostData::F32(a.clone()), HostData::F32(b.clone()));
        let (ia, ib) = (upload(&da, &device), upload(&db, &device));
        let work = Work::new(&(op.run)(&ia, &ib), &[(&ia, &da), (&ib, &db)], texts);
        let truth = Truth::binary(&op, &a, &b).expect("the reference computes");
        rows.push(Point { name: op.name, operands: vec![a, b], budget: op.budget.ulps, truth, work });
    }
    rows
}

#[test]
#[ignore = "wants clang: scripts/sweep math, and in part scripts/test"]
fn elementwise_ops_keep_their_budgets() {
    let points = match std::env::var("WGRAD_TEST_PART").as_deref() {
        Ok("sample") => 4000,
        _ => 100_000,
    };
    let mut texts = Texts::default();
    let mut rows = table(points, false, &mut texts);
    rows.extend(table(points, true, &mut texts));
    let cpp = texts.cpp();
    let mut over = Vec::new();
    for build in BUILDS {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        if let Ok(keep) = std::env::var("WGRAD_KEEP") {
            std::fs::create_dir_all(&keep).unwrap();
            std::fs::write(std::path::Path::new(&keep).join("kernels.cpp"), &cpp).unwrap();
        }
        let mut kernels = compile(build, &cpp, scratch.path());
        for row in &rows {
            let errors = row.truth.errors(&row.work.run(&texts, &mut kernels));
            let operands: Vec<&[f32]> = row.operands.iter().map(Vec::as_slice).collect();
            let found = worst(&errors, &operands);
            if std::env::var_os("WGRAD_SHOW").is_some() {
                println!("{}: {}: {found}", build.name, row.name);
            }
            if found.error > row.budget {
                let wrong = errors.iter().filter(|e| e.0 > row.budget).count();
                over.push(format!("{}: {}: {found}; {wrong} of {}", build.name, row.name, errors.len()));
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
