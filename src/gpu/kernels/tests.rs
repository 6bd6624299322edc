//! Every kernel against loops in f64 that say what it should compute, on the software adapter with wgpu's runtime checks on.

mod attention;
mod hardware;
mod image;
mod norm;
mod optim;
mod pair;
mod product;
mod recurrent;
mod row;
mod sentinels;

use super::lab::{Lab, Prepared, Target, one_step};
use super::lower;
use super::variants::Variant;
use crate::dtype::{DType, HostData};
use crate::gpu::adapters;
use crate::gpu::context::{self, Options};
use crate::gpu::program::{Caps, Lowered, Operand};
use crate::plan::{Kernel, Plan};

impl Lab {
    /// On the software adapter; `checks` keeps wgpu's runtime checks in the shaders.
    pub fn open(checks: bool) -> crate::error::Result<Self> {
        let adapters = adapters::list();
        let found = adapters.iter().find(|a| a.is_software()).expect("a software adapter, such as lavapipe");
        Ok(Self::new(context::open(found.id, Options { clamped: true, checks, ..Options::default() })?))
    }

    /// The same device, without wgpu's runtime checks in the shaders.
    pub fn unchecked(&self) -> Self {
        Self::new(self.context.unchecked())
    }

    /// As [`Lab::load`].
    pub fn prepare(&self, lowered: &Lowered, reads: &[HostData], targets: &[Target]) -> Prepared {
        self.load(lowered, reads, targets).unwrap()
    }

    /// As [`Lab::repeat`].
    pub fn run(&self, prepared: &Prepared, times: usize) {
        self.repeat(prepared, times).unwrap();
    }
}

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

/// Whether long texts are compiled wherever short ones would do: a software adapter takes seconds for each.
fn thorough() -> bool {
    std::env::var("WGRAD_TEST_PART").is_ok_and(|part| part == "all")
}

/// `caps` with the texts that a test compiles: written out if `full`, or in all of a sweep.
fn texts(caps: Caps, full: bool) -> Caps {
    if full || thorough() { caps } else { caps.with_short_texts() }
}

/// Runs a kernel and returns what it wrote; what a hardware GPU would run must agree.
fn run(lab: &Lab, kernel: Kernel, reads: &[HostData], len: usize) -> Vec<f64> {
    let hardware = run_on_hardware(lab, kernel.clone(), reads, len);
    let got = run_as(lab, kernel, reads, HostData::F32(vec![f32::NAN; len]), &Caps::webgpu_defaults(true));
    close("the hardware variant", &hardware, &got, 1e-3);
    got
}

/// What a hardware GPU would run, without wgpu's runtime checks: these double what a driver compiles.
fn run_on_hardware(lab: &Lab, kernel: Kernel, reads: &[HostData], len: usize) -> Vec<f64> {
    let out = HostData::F32(vec![f32::NAN; len]);
    let plan = plan_of(kernel, reads, &out);
    let lowered = lower(&plan.steps[0], &plan, &texts(Caps::webgpu_defaults(false), false)).unwrap();
    run_unchecked(lab, &lowered, reads, out)
}

fn run_as(lab: &Lab, kernel: Kernel, reads: &[HostData], out: HostData, caps: &Caps) -> Vec<f64> {
    let plan = plan_of(kernel, reads, &out);
    let lowered = lower(&plan.steps[0], &plan, caps).unwrap();
    run_lowered(lab, &lowered, reads, out)
}

fn plan_of(kernel: Kernel, reads: &[HostData], out: &HostData) -> Plan {
    let buffers: Vec<(DType, usize)> = reads.iter().chain([out]).map(|d| (dtype(d), d.len())).collect();
    one_step(kernel, &buffers)
}

/// Runs programs with wgpu's runtime checks, and every other one, by its length, without them, which must agree.
fn run_lowered(lab: &Lab, lowered: &Lowered, reads: &[HostData], out: HostData) -> Vec<f64> {
    let checked = run_in(lab, lowered, reads, out.clone());
    if !thorough() && lowered.programs.iter().map(|program| program.source.len()).sum::<usize>() % 2 == 1 {
        return checked;
    }
    close("without runtime checks", &run_unchecked(lab, lowered, reads, out), &checked, 1e-6);
    checked
}

fn run_unchecked(lab: &Lab, lowered: &Lowered, reads: &[HostData], out: HostData) -> Vec<f64> {
    run_in(&lab.unchecked(), lowered, reads, out)
}

fn run_in(lab: &Lab, lowered: &Lowered, reads: &[HostData], out: HostData) -> Vec<f64> {
    validate(lowered);
    let (out_dtype, len) = (dtype(&out), out.len());
    let prepared = lab.prepare(lowered, reads, &[Target { operand: Operand::Write, data: out }]);
    lab.run(&prepared, 1);
    lab.read(&prepared, 0, out_dtype, len).to_f64()
}

/// Which variants of a kernel a test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variants {
    /// Each, written out, with and without wgpu's runtime checks.
    Whole,
    /// Each, in short texts without checks; `WGRAD_TEST_PART=all` makes it whole.
    Short,
    /// One in four of these, as well.
    ShortQuarter,
}

/// Runs variants of a kernel; gives how many there are.
fn each_variant(
    lab: &Lab,
    of: Variants,
    kernel: &Kernel,
    reads: &[HostData],
    (what, want): (&str, &[f64]),
    tolerance: f64,
) -> usize {
    let of = if thorough() { Variants::Whole } else { of };
    let out = HostData::F32(vec![f32::NAN; want.len()]);
    let plan = plan_of(kernel.clone(), reads, &out);
    let variants = Variant::all(kernel);
    let caps = texts(Caps::webgpu_defaults(true), of == Variants::Whole);
    for variant in variants.iter().step_by(if of == Variants::ShortQuarter { 4 } else { 1 }) {
        let lowered = variant.lower(&plan.steps[0], &plan, &caps).unwrap();
        let run = if of == Variants::Whole { run_lowered } else { run_unchecked };
        close(&format!("{variant:?} of {what}"), &run(lab, &lowered, reads, out.clone()), want, tolerance);
    }
    variants.len()
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
