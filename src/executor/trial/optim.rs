//! Trials of optimizers' steps, which update memory in place: two parameters, one of them longer than a block, with and without
//! clipping.

use crate::cpu::reference::{Precision, StoreValues, Value, optim};
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::gpu::GpuExecutor;
use crate::graph::optim::{BLOCK, Coefficients, OptimRule};
use crate::graph::{Graph, GraphNode, Op};
use crate::plan::compile::compile;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Entry, Leaf, OptimStore};
use std::sync::{Arc, Mutex};

/// The parameters' lengths and their places in the arenas, which have [`ARENA`] elements.
const ENTRIES: [(usize, usize); 2] = [(5, 0), (BLOCK + 6, BLOCK)];
const ARENA: usize = 3 * BLOCK;

/// One step, far from where any rule divides by 0.
const STEP: Coefficients = Coefficients {
    lr: 0.1,
    l2: 0.01,
    shrink: 0.99,
    beta1: 0.9,
    beta2: 0.95,
    one_minus_beta1: 0.1,
    one_minus_beta2: 0.05,
    eps: 1e-3,
    inv_sqrt_bias2: 1.5,
    grad_scale: 0.5,
    extra: 0.7,
    decay: 0.05,
    limit: 8.0,
    reserved: [0.0; 3],
};

/// Fails where what was got is not what was wanted.
type Compare = fn(&[f64], &[f64]) -> Result<()>;

/// Runs the rules of a family on the GPU and on the reference, and compares. No other family has any.
pub(super) fn run(gpu: &GpuExecutor, family: &str, compare: Compare) -> Result<()> {
    let rules = OptimRule::all().into_iter().filter(|rule| rule.facts().name == family);
    rules.flat_map(|rule| [(rule, false), (rule, true)]).try_for_each(|(rule, clipped)| step(gpu, rule, clipped, compare))
}

fn step(gpu: &GpuExecutor, rule: OptimRule, clipped: bool, compare: Compare) -> Result<()> {
    let (parameters, gradients) = (numbers(0), numbers(1));
    let arena = |values: &[f32]| gpu.upload(&HostData::F32(values.to_vec())).map(Storage::Gpu);
    let updated = arena(&parameters)?;
    let entry = |(len, offset)| Entry { parameter: updated.range(offset, len), len, offset };
    let zeros = vec![0.0; ARENA];
    let store = OptimStore {
        entries: ENTRIES.map(entry).into(),
        state: (0..rule.states()).map(|_| arena(&zeros)).collect::<Result<_>>()?,
        parameters: Some(updated.clone()),
        gradients: Some(arena(&zeros)?),
        coefficients: Mutex::new(vec![STEP; ENTRIES.len()]),
    };
    let mut leaves = vec![Leaf::Store(Arc::new(store))];
    for (len, offset) in ENTRIES {
        leaves.push(Leaf::Data(arena(&gradients[offset..offset + len])?));
    }
    let compiled = gpu.compile(Arc::new(compile(&graph(rule, clipped), gpu.plan_options())?))?;
    gpu.run(&compiled, &Bindings { leaves, ..Bindings::default() })?;
    let got = gpu.read(updated.on_gpu()?, DType::F32, ARENA)?.to_f64();
    let want = expected(rule, clipped, &parameters, &gradients)?;
    let got: Vec<f64> = ENTRIES.iter().flat_map(|&(len, offset)| got[offset..offset + len].to_vec()).collect();
    compare(&got, &want)
}

fn graph(rule: OptimRule, clipped: bool) -> Graph {
    let node = |op, inputs, shape: &[usize]| GraphNode { op, inputs, shape: Shape::of(shape), dtype: DType::F32 };
    let mut nodes = vec![node(Op::OptimStore, vec![], &[])];
    nodes.extend(ENTRIES.map(|(len, _)| node(Op::Data, vec![], &[len])));
    let entries = (0..).take(ENTRIES.len()).collect();
    let op = Op::OptimStep { rule, gated: false, clipped, entries };
    nodes.push(node(op, (0..=ENTRIES.len()).collect(), &[]));
    Graph { nodes, ..Graph::default() }
}

/// The parameters after the step, one after the other.
fn expected(rule: OptimRule, clipped: bool, parameters: &[f32], gradients: &[f32]) -> Result<Vec<f64>> {
    let own = |values: &[f32]| -> Vec<Vec<f64>> {
        ENTRIES.iter().map(|&(len, at)| values[at..at + len].iter().map(|&v| f64::from(v)).collect()).collect()
    };
    let mut gradients = own(gradients);
    if clipped {
        let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (f64::from(STEP.limit) / (norm + 1e-6)).min(1.0);
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
    }
    let mut store = StoreValues {
        dtype: DType::F32,
        parameters: own(parameters),
        state: (0..rule.states()).flat_map(|_| ENTRIES.map(|(len, _)| vec![0.0; len])).collect(),
        coefficients: vec![STEP; ENTRIES.len()],
    };
    let value = |g: &Vec<f64>| Value::from_host(&HostData::F64(g.clone()), DType::F64, Shape::of(&[g.len()]));
    let gradients: Vec<Value> = gradients.iter().map(value).collect();
    let operands: Vec<&Value> = gradients.iter().collect();
    optim::step(rule, false, &[0, 1], &mut store, &operands, Precision::F64)?;
    Ok(store.parameters.concat())
}

/// An arena of values in [-1, 1], none of them 0.
fn numbers(of: usize) -> Vec<f32> {
    (0..ARENA).map(|i| ((i * 617 + of * 101) % 1021) as f32 / 510.25 - 1.0).collect()
}
