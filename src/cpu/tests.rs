//! The fast kernels against the reference: one row per case, with graph and plan made by hand.

mod convolutions;
mod effects;
mod examples;
mod kernels;
mod norms;

use super::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, Value};
use super::*;
use crate::dtype::{DType, HostData};
use crate::graph::{Graph, GraphNode, Op};
use crate::plan::{BufferInfo, Kernel, Place, Plan, Step};
use crate::rng::RandomKey;
use crate::rng::threefry2x32;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::Entry;
use crate::storage::bindings::{Bindings, Leaf};
use std::sync::Arc;

/// Runs a plan in memory taken for it.
pub(super) fn run(cpu: &CpuExecutor, compiled: &Compiled, bindings: &Bindings) -> crate::error::Result<Vec<Storage>> {
    cpu.run(compiled, bindings, cpu.room(compiled)?, None)
}

/// Floats in -2..2, in steps of 2^-10 so that ties and zeros occur.
pub(crate) fn floats(n: usize, seed: u32) -> HostData {
    HostData::F32((0..n).map(|i| (threefry2x32([seed, 1], [i as u32, 0])[0] % 4096) as f32 / 1024.0 - 2.0).collect())
}

/// Integers in `low..low + range`.
pub(super) fn ints(n: usize, seed: u32, low: i32, range: u32) -> HostData {
    HostData::I32((0..n).map(|i| low.wrapping_add((threefry2x32([seed, 2], [i as u32, 0])[0] % range) as i32)).collect())
}

/// A graph of leaves and ops, and the one kernel that does the same.
pub(super) struct Case {
    pub graph: Graph,
    pub leaves: Vec<HostData>,
    pub scalars: Vec<f64>,
    pub randoms: Vec<RandomKey>,
}

impl Case {
    pub fn new() -> Self {
        Self { graph: Graph::default(), leaves: vec![], scalars: vec![], randoms: vec![] }
    }

    pub fn leaf(&mut self, shape: &[usize], dtype: DType, data: HostData) -> usize {
        self.leaves.push(data);
        self.node(Op::Data, &[], shape, dtype)
    }

    pub fn float_leaf(&mut self, shape: &[usize]) -> usize {
        let n = Shape::of(shape).numel();
        let seed = self.leaves.len() as u32;
        self.leaf(shape, DType::F32, floats(n, seed))
    }

    pub fn node(&mut self, op: Op, inputs: &[usize], shape: &[usize], dtype: DType) -> usize {
        self.graph.nodes.push(GraphNode { op, inputs: inputs.to_vec(), shape: Shape::of(shape), dtype });
        self.graph.nodes.len() - 1
    }

    /// A plan of one kernel that reads all leaves and writes the last node.
    pub fn plan(&self, kernel: Kernel) -> Plan {
        let leaves: Vec<&GraphNode> = self.graph.nodes.iter().filter(|n| n.op == Op::Data).collect();
        let mut buffers: Vec<BufferInfo> = leaves
            .iter()
            .enumerate()
            .map(|(i, n)| BufferInfo { place: Place::Leaf(i), dtype: n.dtype, len: n.shape.numel() })
            .collect();
        let out = self.graph.nodes.last().expect("a graph has nodes");
        buffers.push(BufferInfo { place: Place::Output(0), dtype: out.dtype, len: out.shape.numel() });
        let reads = (0..leaves.len()).collect();
        let step = Step { kernel, reads, write: Some(leaves.len()), level: 0, flops: 0, bytes: 0, node: 0 };
        Plan { steps: vec![step], buffers, slots: vec![], outputs: vec![leaves.len()] }
    }

    pub fn bindings(&self, cpu: &CpuExecutor) -> Bindings {
        Bindings {
            leaves: self.leaves.iter().map(|d| Leaf::Data(Storage::Cpu(cpu.upload(d.clone()).expect("there is room")))).collect(),
            scalars: self.scalars.clone(),
            randoms: self.randoms.clone(),
            ..Bindings::default()
        }
    }

    /// What the reference gives for the last node.
    pub fn expected(&mut self) -> Vec<f64> {
        self.graph.outputs = vec![self.graph.nodes.len() - 1];
        let nodes = self.graph.nodes.iter().filter(|n| n.op == Op::Data);
        let leaves = nodes.zip(&self.leaves);
        let leaves = leaves.map(|(n, d)| ReferenceLeaf::Value(Value::from_host(d, n.dtype, n.shape))).collect();
        let mut inputs = ReferenceInputs { leaves, scalars: self.scalars.clone(), randoms: self.randoms.clone() };
        reference::run(&self.graph, &mut inputs, Precision::F64).expect("the graph is valid")[0].to_host().to_f64()
    }

    /// Runs both and compares; `tolerance` is relative to 1 or to the value, whichever is larger.
    pub fn check(mut self, name: &str, cpu: &CpuExecutor, kernel: Kernel, tolerance: f64) {
        let expected = self.expected();
        let compiled = cpu.compile(&self.graph, Arc::new(self.plan(kernel))).expect("the plan is valid");
        let bindings = self.bindings(cpu);
        let first = run(cpu, &compiled, &bindings).expect("the plan runs");
        let second = run(cpu, &compiled, &bindings).expect("the plan runs");
        let (got, again) = (download(cpu, &first[0]), download(cpu, &second[0]));
        assert_eq!(got.bytes(), again.bytes(), "{name} differs from run to run");
        let got = got.to_f64();
        assert_eq!(got.len(), expected.len(), "{name}");
        for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
            let fits = g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= tolerance * e.abs().max(1.0);
            assert!(fits, "{name}: element {i} is {g}, not {e}");
        }
    }
}

/// An entry of an optimizer store.
pub(super) fn entry(parameter: &Storage, len: usize) -> Entry {
    Entry { parameter: parameter.clone(), len, offset: 0 }
}

pub(super) fn download(cpu: &CpuExecutor, storage: &Storage) -> HostData {
    match storage {
        Storage::Cpu(buffer) => cpu.read(buffer).expect("there is room"),
        Storage::Gpu(_) => panic!("the CPU device returned a GPU buffer"),
    }
}
