//! Trials: before a hardware GPU uses a kernel family for the first time, a small graph of it runs there and on the reference.
//!
//! Drivers have refused kernels, and compiled them wrongly, that are right by the standard. What a trial finds applies to the
//! adapter as long as the process runs.

mod optim;

use crate::cpu::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, Value};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::gpu::GpuExecutor;
use crate::graph::attention::AttentionSizes;
use crate::graph::op::{
    AttentionMask, AttentionOp, AttentionPart, BinaryOp, ConvSpec, PairOp, PoolOp, PoolSpec, ReduceOp, UnaryOp,
};
use crate::graph::recurrent::{RecurrentCell, RecurrentOp, RecurrentPart};
use crate::graph::row::{RowNorm, RowOp};
use crate::graph::{Graph, GraphNode, Op};
use crate::plan::Plan;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Leaf};
use std::sync::Arc;

/// The families that have a trial.
pub(super) const FAMILIES: &[&str] = &[
    "elementwise",
    "reduce",
    "moments",
    "sums",
    "arg_reduce",
    "matmul",
    "conv2d",
    "conv2d_dgrad",
    "conv2d_wgrad",
    "attention",
    "attention_grad",
    "recurrent",
    "recurrent_grad",
    "pool",
    "argsort",
    "softmax",
    "softmax_grad",
    "cross_entropy",
    "cross_entropy_grad",
    "row_norm",
    "row_norm_grad",
    "gather",
    "scatter_add",
    "check_indices",
    "sgd",
    "adam",
    "rmsprop",
    "adagrad",
    "lion",
    "adadelta",
    "adamax",
    "nadam",
    "radam",
    "lamb",
];

/// A record's last line.
const END: &str = "end";

/// How far a result may be from the reference, as a share of the larger of 1 and the result.
const TOLERANCE: f64 = 1e-3;

/// Tests the families of a plan that the device has not used yet, each in one form after the other until one is right.
///
/// # Errors
/// [`Error::Unsupported`]: a family is wrong in all its forms. Whatever ends any run: a lost device, or no memory.
pub(super) fn prove(gpu: &GpuExecutor, plan: &Plan) -> Result<()> {
    let families = plan.steps.iter().map(|step| step.kernel.family());
    families.filter(|family| gpu.forms.unproven(family)).try_for_each(|family| prove_one(gpu, family))
}

/// Tests every family, used or not; returns those that use a plainer form than the device's class would have.
///
/// # Errors
/// As [`prove`].
pub(super) fn prove_all(gpu: &GpuExecutor) -> Result<Vec<&'static str>> {
    FAMILIES.iter().try_for_each(|family| prove_one(gpu, family))?;
    Ok(gpu.forms.replaced())
}

/// What the results are of: this version of the kernels, and an adapter with its driver and options.
fn subject(gpu: &GpuExecutor) -> String {
    format!("wgrad {} {}", env!("CARGO_PKG_VERSION"), gpu.identity())
}

/// The results so far: the first line says what of, the last one that the record is whole.
pub(super) fn record(gpu: &GpuExecutor) -> String {
    format!("{}\n{}{END}\n", subject(gpu), gpu.forms.record())
}

/// Takes over a record; false if it is damaged, or of something else.
pub(super) fn adopt(gpu: &GpuExecutor, record: &str) -> bool {
    let whole = record.strip_suffix('\n').and_then(|record| record.strip_suffix(END));
    let results = whole.and_then(|record| record.strip_prefix(&subject(gpu))).and_then(|record| record.strip_prefix('\n'));
    results.is_some_and(|results| gpu.forms.adopt(results, FAMILIES))
}

fn prove_one(gpu: &GpuExecutor, family: &'static str) -> Result<()> {
    let tried = || graphs(family).iter().try_for_each(|graph| run(gpu, graph)).and_then(|()| optim::run(gpu, family, wrong));
    while let Err(reason) = tried() {
        if reason.is_device_loss() || matches!(reason, Error::OutOfMemory { .. }) {
            return Err(reason);
        }
        let name = gpu.name();
        log::warn!(target: "wgrad::device", "{name}: {family} fails its trial, and uses a plainer form: {reason}");
        if !gpu.forms.next(family) {
            return Err(Error::Unsupported {
                op: family,
                reason: format!("{name} gives wrong results in all forms of this kernel: {reason}"),
                help: "update the driver, or use another device".into(),
            });
        }
    }
    gpu.forms.prove(family);
    Ok(())
}

/// Runs a graph on the GPU and on the reference, and compares.
fn run(gpu: &GpuExecutor, graph: &Graph) -> Result<()> {
    let sources = graph.nodes.iter().filter(|node| node.op == Op::Data);
    let data: Vec<HostData> = sources.clone().enumerate().map(|(n, node)| numbers(node, n)).collect();
    let leaves = sources.zip(&data).map(|(node, d)| ReferenceLeaf::Value(Value::from_host(d, node.dtype, node.shape)));
    let mut inputs = ReferenceInputs { leaves: leaves.collect(), ..ReferenceInputs::default() };
    let expected = reference::run(graph, &mut inputs, Precision::F64)?;
    let compiled = gpu.compile(Arc::new(crate::plan::compile::compile(graph, gpu.plan_options())?))?;
    let leaves = data.iter().map(|d| gpu.upload(d).map(|buffer| Leaf::Data(Storage::Gpu(buffer)))).collect::<Result<_>>()?;
    let outputs = gpu.run(&compiled, &Bindings { leaves, ..Bindings::default() })?;
    for ((output, want), &node) in outputs.iter().zip(expected).zip(&graph.outputs) {
        let (want, dtype) = (want.to_host().to_f64(), graph.nodes[node].dtype);
        let buffer = output.as_ref().ok_or_else(|| Error::internal("an output has no buffer"))?;
        let got = gpu.read(buffer, dtype, want.len())?.to_f64();
        wrong(&got, &want)?;
    }
    Ok(())
}

/// Fails at the first element that is wrong.
fn wrong(got: &[f64], want: &[f64]) -> Result<()> {
    match got.iter().zip(want).position(|(g, w)| g.is_nan() || (g - w).abs() > TOLERANCE * w.abs().max(1.0)) {
        Some(at) => Err(Error::internal(format!("element {at} is {}, not {}", got[at], want[at]))),
        None => Ok(()),
    }
}

/// A source's values: indices below 7, floats in [-1, 1].
fn numbers(node: &GraphNode, source: usize) -> HostData {
    let len = node.shape.numel();
    if node.dtype == DType::I32 {
        return HostData::I32((0..len).map(|i| i32::try_from(i * 5 % 7).unwrap_or(0)).collect());
    }
    HostData::F32((0..len).map(|i| ((i * 617 + source * 101) % 1021) as f32 / 510.5 - 1.0).collect())
}

/// Graphs that take a family through its variants: sizes that fill tiles and sizes that do not. None for optimizers' steps, which
/// need a store: see [`optim`].
pub(super) fn graphs(family: &str) -> Vec<Graph> {
    let conv = ConvSpec { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    let (x, w, y) = ([2, 16, 9, 11], [24, 16, 3, 3], [2, 24, 9, 11]);
    let pool = PoolSpec { kernel: [2; 2], stride: [2; 2], padding: [0; 2], dilation: [1; 2], count_include_pad: false };
    let (wide, narrow) = ([2, 3, 8, 10], [2, 3, 4, 5]);
    let reduce = |op, axis: usize, shape: [usize; 2]| {
        let mut out = shape;
        out[axis] = 1;
        one(Op::Reduce { op, axes: vec![axis] }, &[&shape], &out)
    };
    match family {
        "elementwise" => vec![chain()],
        "reduce" => {
            vec![reduce(ReduceOp::Sum, 1, [37, 1000]), reduce(ReduceOp::Sum, 0, [1000, 37]), reduce(ReduceOp::Max, 1, [3, 5000])]
        }
        "moments" => pairs(PairOp::Moments, 1),
        "sums" => pairs(PairOp::Sums, 2),
        "arg_reduce" => vec![of(Op::ArgReduce { op: ReduceOp::Max, axis: 1 }, &[&[37, 300]], &[37, 1], DType::I32)],
        "matmul" => vec![
            one(Op::MatMul, &[&[1, 130, 70], &[1, 70, 133]], &[1, 130, 133]),
            one(Op::MatMul, &[&[2, 64, 256], &[2, 256, 64]], &[2, 64, 64]),
            one(Op::MatMul, &[&[1, 5, 3000], &[1, 3000, 7]], &[1, 5, 7]),
        ],
        "conv2d" => vec![one(Op::Conv2d(conv), &[&x, &w], &y), normalised(conv)],
        "conv2d_dgrad" => vec![one(Op::Conv2dInputGrad(conv), &[&y, &w], &x)],
        "conv2d_wgrad" => vec![one(Op::Conv2dWeightGrad(conv), &[&x, &y], &w)],
        "attention" => vec![attention(AttentionPart::Forward, false), attention(AttentionPart::Forward, true)],
        "attention_grad" => vec![attention(AttentionPart::Gradient, false), attention(AttentionPart::Gradient, true)],
        "recurrent" => recurrent(RecurrentPart::Forward { kept: true }),
        "recurrent_grad" => recurrent(RecurrentPart::Gradient),
        "pool" => vec![
            one(Op::Pool(PoolOp::Max, pool), &[&wide], &narrow),
            one(Op::Pool(PoolOp::Avg, pool), &[&wide], &narrow),
            one(Op::Pool(PoolOp::MaxScatter, pool), &[&wide, &narrow], &wide),
        ],
        "argsort" => vec![of(Op::Row(RowOp::ArgSort { descending: false }), &[&[5, 100]], &[5, 100], DType::I32)],
        "softmax" => vec![
            one(Op::Row(RowOp::Softmax { log: false }), &[&[9, 200]], &[9, 200]),
            one(Op::Row(RowOp::Softmax { log: true }), &[&[3, 3000]], &[3, 3000]),
            one(Op::Row(RowOp::Softmax { log: false }), &[&[3, 9001]], &[3, 9001]),
        ],
        "softmax_grad" => vec![
            one(Op::Row(RowOp::SoftmaxGrad { log: false }), &[&[9, 200], &[9, 200]], &[9, 200]),
            one(Op::Row(RowOp::SoftmaxGrad { log: true }), &[&[3, 9001], &[3, 9001]], &[3, 9001]),
        ],
        "cross_entropy" => vec![
            indexed(RowOp::CrossEntropy, &[33, 100], &[3, 33], &[]),
            indexed(RowOp::CrossEntropy, &[33, 5001], &[3, 33], &[]),
        ],
        "cross_entropy_grad" => vec![indexed(RowOp::CrossEntropyGrad, &[33, 100], &[33, 100], &[&[3, 33], &[33]])],
        "gather" => vec![indexed(RowOp::Gather, &[7, 33], &[33, 33], &[])],
        "scatter_add" => vec![indexed(RowOp::ScatterAdd, &[33, 20], &[7, 20], &[])],
        "check_indices" => vec![check(33, 7), check(33, 6), check(10_000, 7), check(10_000, 6)],
        "row_norm" => vec![norm([37, 768], 1, 1, false), norm([24, 1568], 3, 196, false), norm([5, 33], 1, 1, false)],
        "row_norm_grad" => vec![norm([37, 768], 1, 1, true), norm([24, 1568], 3, 196, true), norm([5, 33], 1, 1, true)],
        _ => Vec::new(),
    }
}

fn node(op: Op, inputs: &[usize], shape: &[usize], dtype: DType) -> GraphNode {
    GraphNode { op, inputs: inputs.to_vec(), shape: Shape::of(shape), dtype }
}

/// One op over F32 sources of these shapes.
fn one(op: Op, sources: &[&[usize]], out: &[usize]) -> Graph {
    of(op, sources, out, DType::F32)
}

fn of(op: Op, sources: &[&[usize]], out: &[usize], dtype: DType) -> Graph {
    let mut nodes: Vec<GraphNode> = sources.iter().map(|shape| node(Op::Data, &[], shape, DType::F32)).collect();
    let inputs: Vec<usize> = (0..nodes.len()).collect();
    nodes.push(node(op, &inputs, out, dtype));
    Graph { outputs: vec![nodes.len() - 1], nodes, ..Graph::default() }
}

/// Rows, columns, channels, and a result of many parts.
fn pairs(op: PairOp, operands: usize) -> Vec<Graph> {
    let over =
        |axes: &[usize], shape: &[usize], n: usize| one(Op::Pair { op, axes: axes.to_vec() }, &vec![shape; operands], &[2, n]);
    vec![over(&[1], &[37, 1000], 37), over(&[0], &[1000, 37], 37), over(&[0, 2, 3], &[4, 6, 8, 9], 6), over(&[0], &[70_001], 1)]
}

/// A convolution of many terms and the moments of its channels.
fn normalised(conv: ConvSpec) -> Graph {
    let mut graph = one(Op::Conv2d(conv), &[&[1, 256, 4, 4], &[32, 256, 3, 3]], &[1, 32, 4, 4]);
    graph.nodes.push(node(Op::Pair { op: PairOp::Moments, axes: vec![0, 2, 3] }, &[2], &[2, 32], DType::F32));
    graph.outputs.push(3);
    graph
}

/// An op over rows and 33 indices, and further sources.
fn indexed(op: RowOp, rows: &[usize], out: &[usize], further: &[&[usize]]) -> Graph {
    let mut nodes = vec![node(Op::Data, &[], rows, DType::F32), node(Op::Data, &[], &[33], DType::I32)];
    nodes.extend(further.iter().map(|shape| node(Op::Data, &[], shape, DType::F32)));
    let inputs: Vec<usize> = (0..nodes.len()).collect();
    nodes.push(node(Op::Row(op), &inputs, out, DType::F32));
    Graph { outputs: vec![nodes.len() - 1], nodes, ..Graph::default() }
}

/// A check of n indices below 7; the first word of the flag before them is 0.
fn check(n: usize, len: u32) -> Graph {
    let source = |shape: &[usize]| node(Op::Data, &[], shape, DType::I32);
    let check = node(Op::Row(RowOp::Check { len, site: 9 }), &[0, 1], &[4], DType::I32);
    Graph { nodes: vec![source(&[n]), source(&[4]), check], outputs: vec![2], ..Graph::default() }
}

/// Weights of attention are about 1: the sums of exponentials that the gradient is given are not those of the scores.
const SCALE: f64 = 1.0 / 64.0;

/// Attention of 4 heads, two of which share keys, or its gradient. Wide heads have other tiles.
fn attention(part: AttentionPart, wide: bool) -> Graph {
    let (d, e) = if wide { (80, 128) } else { (24, 64) };
    let op = AttentionOp { part, causal: !wide, mask: AttentionMask::None, scale: SCALE.to_bits() };
    let (q, k, v, y) = ([1, 4, 70, d], [1, 2, 75, d], [1, 2, 75, e], [1, 4, 70, e]);
    let sizes = AttentionSizes::of(Shape::of(&q), Shape::of(&k), Shape::of(&v));
    let forward = sizes.elements(AttentionPart::Forward);
    match part {
        AttentionPart::Forward => one(Op::Attention(op), &[&q, &k, &v], &[forward]),
        AttentionPart::Gradient => one(Op::Attention(op), &[&q, &k, &v, &[forward], &y], &[sizes.elements(part)]),
    }
}

/// A layer of each kind with and without gates, in either direction, with rows of vectors and without.
fn recurrent(part: RecurrentPart) -> Vec<Graph> {
    let of = |cell, backward, hidden| {
        let op = RecurrentOp { part, cell, backward, masked: false, steps: 3, batch: 9, hidden };
        let sources = op.operands();
        one(Op::Recurrent(op), &sources.iter().map(Vec::as_slice).collect::<Vec<_>>(), &[op.elements()])
    };
    vec![of(RecurrentCell::Lstm, false, 24), of(RecurrentCell::Gru, true, 13), of(RecurrentCell::Tanh, true, 40)]
}

/// A normalisation of rows with all parameters, or its gradient.
fn norm(x: [usize; 2], groups: usize, positions: usize, gradient: bool) -> Graph {
    let norm = RowNorm { centre: true, eps: 1e-5f64.to_bits(), groups, positions, scale: true, shift: true };
    let parameters = [groups * norm.channels(x[1])];
    if gradient {
        one(Op::Row(RowOp::RowNormGrad(norm)), &[&x, &x, &parameters], &[norm.gradient_len(x)])
    } else {
        one(Op::Row(RowOp::RowNorm(norm)), &[&x, &parameters, &parameters], &x)
    }
}

/// `exp(x) · sin(y) + max(x, y)`.
fn chain() -> Graph {
    let shape = [77, 13];
    let of = |op, inputs: &[usize]| node(op, inputs, &shape, DType::F32);
    let nodes = vec![
        of(Op::Data, &[]),
        of(Op::Data, &[]),
        of(Op::Unary(UnaryOp::Exp), &[0]),
        of(Op::Unary(UnaryOp::Sin), &[1]),
        of(Op::Binary(BinaryOp::Mul), &[2, 3]),
        of(Op::Binary(BinaryOp::Maximum), &[0, 1]),
        of(Op::Binary(BinaryOp::Add), &[4, 5]),
    ];
    Graph { nodes, outputs: vec![6], ..Graph::default() }
}
