//! Small hand-written plans on a software adapter, against plain loops. Without an adapter there is nothing to test; where
//! `WGRAD_TEST_ADAPTER` is set, as in `scripts/test`, that is a failure.

mod expressions;
mod fast_math;
mod loss;
mod memory;
mod noop;
mod reductions;
mod runtime;

use super::GpuExecutor;
use super::adapters;
use super::context::Options;
use super::kernels;
use super::program::Caps;
use crate::dtype::{DType, HostData};
use crate::graph::View;
use crate::graph::op::{BinaryOp, RandomWord, ReduceOp, UnaryOp};
use crate::plan::{BufferInfo, Expr, Kernel, Place, Plan, Step, Term};
use crate::rng::RandomKey;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Leaf};
use crate::storage::gpu::Buffer;
use std::sync::{Arc, OnceLock};

/// The software adapter's number.
fn software() -> Option<usize> {
    let found = adapters::list().into_iter().find(|a| a.is_software()).map(|a| a.id);
    assert!(found.is_some() || std::env::var_os("WGRAD_TEST_ADAPTER").is_none(), "there is no software adapter to test on");
    found
}

/// The software adapter, opened once with all checks on and limits clamped.
fn gpu() -> Option<&'static GpuExecutor> {
    static GPU: OnceLock<Option<GpuExecutor>> = OnceLock::new();
    GPU.get_or_init(|| {
        Some(
            GpuExecutor::open(software()?, Options { clamped: true, checks: true, ..Options::default() })
                .expect("the software adapter opens"),
        )
    })
    .as_ref()
}

/// The same adapter, for which kernels are chosen as for a GPU with workgroup memory.
fn pretended_gpu() -> Option<&'static GpuExecutor> {
    static GPU: OnceLock<Option<GpuExecutor>> = OnceLock::new();
    GPU.get_or_init(|| {
        let mut gpu = GpuExecutor::open(software()?, Options { clamped: true, ..Options::default() }).expect("opens");
        gpu.context.caps.software = false;
        Some(gpu)
    })
    .as_ref()
}

/// Parses and validates WGSL as a driver-independent check.
fn validate(source: &str) -> (naga::Module, naga::valid::ModuleInfo) {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}\n{source}", e.emit_to_string(source)));
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}\n{source}", e.emit_to_string(source)));
    (module, info)
}

/// A plan of one step: leaves are read in order, output 0 is written.
fn one_step(kernel: Kernel, reads: &[(DType, usize)], out: (DType, usize)) -> Plan {
    let mut buffers: Vec<BufferInfo> =
        reads.iter().enumerate().map(|(n, &(dtype, len))| BufferInfo { place: Place::Leaf(n), dtype, len }).collect();
    buffers.push(BufferInfo { place: Place::Output(0), dtype: out.0, len: out.1 });
    let write = reads.len();
    let step = Step { kernel, reads: (0..write).collect(), write: Some(write), level: 0, flops: 0, bytes: 0, node: 0 };
    Plan { steps: vec![step], buffers, slots: Vec::new(), outputs: vec![write] }
}

fn dtype_of(data: &HostData) -> DType {
    match data {
        HostData::U8(_) => DType::U8,
        HostData::U32(_) => DType::U32,
        HostData::I32(_) => DType::I32,
        HostData::F16(_) => DType::F16,
        HostData::F32(_) => DType::F32,
        HostData::F64(_) => DType::F64,
    }
}

fn leaf(buffer: &Buffer) -> Leaf {
    Leaf::Data(Storage::Gpu(buffer.clone()))
}

/// Runs a one-step plan as on a software adapter and as on a GPU, which must agree to rounding; gives the former.
fn run_one(kernel: Kernel, reads: &[HostData], out: (DType, usize), scalars: &[f64], randoms: &[RandomKey]) -> Option<HostData> {
    let infos: Vec<(DType, usize)> = reads.iter().map(|r| (dtype_of(r), r.len())).collect();
    let plan = Arc::new(one_step(kernel, &infos, out));
    for software in [true, false] {
        let lowered = kernels::lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(software)).expect("lowers");
        lowered.programs.iter().for_each(|p| drop(validate(&p.source)));
    }
    let on = |gpu: &GpuExecutor| {
        let leaves = reads.iter().map(|r| leaf(&gpu.upload(r).expect("uploads"))).collect();
        let bindings = Bindings { leaves, scalars: scalars.to_vec(), randoms: randoms.to_vec(), ..Bindings::default() };
        let compiled = gpu.compile(plan.clone()).expect("compiles");
        let outputs = gpu.run(&compiled, &bindings).expect("runs");
        let buffer = outputs[0].as_ref().expect("an output");
        gpu.read(buffer, out.0, out.1).expect("reads")
    };
    let got = on(gpu()?);
    close(&on(pretended_gpu()?), &got.to_f64(), 1e-3, "as a GPU");
    Some(got)
}

fn load(expr: &mut Expr, operand: usize, view: View, dtype: DType) -> usize {
    expr.push(Term::Load { operand, view }, dtype)
}

fn floats(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32 - 500.0) / 100.0).collect()
}

fn close(got: &HostData, want: &[f64], tolerance: f64, what: &str) {
    let got = got.to_f64();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(same, "{what}: element {i} is {g}, expected {w}");
    }
}

/// All elements of a view in row-major order, 0 where masked.
fn through(view: &View, data: &[f32]) -> Vec<f64> {
    let strides = view.shape.strides();
    (0..view.shape.numel())
        .map(|i| {
            let coord: Vec<usize> = view.shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
            view.index(&coord).map_or(0.0, |k| f64::from(data[usize::try_from(k).expect("in range")]))
        })
        .collect()
}
