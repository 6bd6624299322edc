//! Every kernel against loops in f64 that say what it should compute, on the software adapter with wgpu's runtime checks on.

mod image;
mod optim;
mod product;
mod row;
mod sentinels;

use super::lab::{Lab, Target, one_step};
use super::lower;
use crate::dtype::{DType, HostData};
use crate::gpu::program::{Caps, Lowered, Operand};
use crate::plan::Kernel;

fn dtype(data: &HostData) -> DType {
    match data {
        HostData::U8(_) => DType::U8,
        HostData::U32(_) => DType::U32,
        HostData::I32(_) => DType::I32,
        HostData::F16(_) => DType::F16,
        HostData::F32(_) => DType::F32,
        HostData::F64(_) => DType::F64,
    }
}

/// All texts parse and validate under default capabilities.
fn validate(lowered: &Lowered) {
    for program in &lowered.programs {
        let module = naga::front::wgsl::parse_str(&program.source)
            .unwrap_or_else(|e| panic!("{}\n{}", e.emit_to_string(&program.source), program.source));
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
        validator.validate(&module).unwrap_or_else(|e| panic!("{}: {e:?}\n{}", program.name, program.source));
        assert!(program.grid.iter().all(|&g| (1..=65_535).contains(&g)), "{}: {:?}", program.name, program.grid);
    }
}

/// Runs a kernel and returns what it wrote; what a hardware GPU would run must agree.
fn run(lab: &Lab, kernel: Kernel, reads: &[HostData], len: usize) -> Vec<f64> {
    let blank = || HostData::F32(vec![f32::NAN; len]);
    let hardware = run_as(lab, kernel.clone(), reads, blank(), &Caps::webgpu_defaults(false));
    let got = run_as(lab, kernel, reads, blank(), &Caps::webgpu_defaults(true));
    close("the hardware variant", &hardware, &got, 1e-3);
    got
}

fn run_as(lab: &Lab, kernel: Kernel, reads: &[HostData], out: HostData, caps: &Caps) -> Vec<f64> {
    let mut buffers: Vec<(DType, usize)> = reads.iter().map(|d| (dtype(d), d.len())).collect();
    let (out_dtype, len) = (dtype(&out), out.len());
    buffers.push((out_dtype, len));
    let plan = one_step(kernel, &buffers);
    let lowered = lower(&plan.steps[0], &plan, caps).unwrap();
    validate(&lowered);
    let target = [Target { operand: Operand::Write, data: out }];
    let [checked, unchecked] = [lab, &lab.unchecked()].map(|lab| {
        let prepared = lab.prepare(&lowered, reads, &target);
        lab.run(&prepared, 1);
        lab.read(&prepared, 0, out_dtype, len).to_f64()
    });
    close("without runtime checks", &unchecked, &checked, 1e-6);
    checked
}

/// Asserts |got - expected| <= tolerance * max(1, |expected|), with NaN and infinities equal to themselves.
fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let same = (g.is_nan() && e.is_nan()) || g == e || (g - e).abs() <= tolerance * e.abs().max(1.0);
        assert!(same, "{what}: element {i} is {g}, not {e}");
    }
}

fn f32s(values: &[f64]) -> HostData {
    HostData::F32(values.iter().map(|&v| v as f32).collect())
}

fn noise(len: usize, seed: u32) -> Vec<f64> {
    super::lab::noise(len, seed).into_iter().map(f64::from).collect()
}
