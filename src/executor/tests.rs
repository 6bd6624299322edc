//! Graphs made by hand, planned and carried out with no device, tensor or parameter in sight.

use super::cache::PlanCache;
use super::*;
use crate::cpu::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, Value};
use crate::graph::op::{BinaryOp, ReduceOp, UnaryOp};
use crate::graph::{GraphNode, Op};
use crate::plan::Kernel;
use crate::shape::Shape;
use crate::storage::bindings::Leaf;

fn node(op: Op, inputs: &[usize], shape: &[usize]) -> GraphNode {
    GraphNode { op, inputs: inputs.to_vec(), shape: Shape::of(shape), dtype: DType::F32 }
}

/// `Σ relu(a·b + c)` over the rows, and the product alone; a, b and c are [1, m, k], [1, k, n] and [1, m, n].
fn network(m: usize, k: usize, n: usize) -> (Graph, Vec<HostData>) {
    let nodes = vec![
        node(Op::Data, &[], &[1, m, k]),
        node(Op::Data, &[], &[1, k, n]),
        node(Op::Data, &[], &[1, m, n]),
        node(Op::MatMul, &[0, 1], &[1, m, n]),
        node(Op::Binary(BinaryOp::Add), &[3, 2], &[1, m, n]),
        node(Op::Unary(UnaryOp::Relu), &[4], &[1, m, n]),
        node(Op::Reduce { op: ReduceOp::Sum, axes: vec![1] }, &[5], &[1, 1, n]),
    ];
    let values = |n: usize, seed: usize| HostData::F32((0..n).map(|i| ((i * 31 + seed) % 17) as f32 / 8.0 - 1.0).collect());
    (Graph { nodes, outputs: vec![3, 6], ..Graph::default() }, vec![values(m * k, 1), values(k * n, 2), values(m * n, 3)])
}

/// Every executor that this machine has: both devices, fused and not.
fn executors() -> Vec<Executor> {
    let software = gpu::context::list().into_iter().find(|a| a.is_software()).map(|a| a.index);
    assert!(software.is_some() || std::env::var_os("WGRAD_TEST_ADAPTER").is_none(), "there is no software adapter to test on");
    let mut found = Vec::new();
    for fuse in [true, false] {
        found.push(Executor::cpu(fuse).expect("the CPU device opens"));
        found.extend(software.map(|i| Executor::gpu(i, gpu::context::Options::default(), fuse).expect("the adapter opens")));
    }
    found
}

#[test]
fn a_graph_runs_without_a_device_or_a_tensor() {
    let (graph, data) = network(5, 7, 3);
    let leaves = graph.nodes.iter().zip(&data).map(|(n, d)| ReferenceLeaf::Value(Value::from_host(d, n.dtype, n.shape)));
    let mut inputs = ReferenceInputs { leaves: leaves.collect(), scalars: Vec::new(), randoms: Vec::new() };
    let expected = reference::run(&graph, &mut inputs, Precision::F64).expect("the graph is valid");
    for executor in executors() {
        let leaves = data.iter().map(|d| executor.upload(d.clone()).map(Leaf::Data)).collect::<Result<_>>().expect("uploads");
        let bindings = Bindings { leaves, ..Bindings::default() };
        for round in 0..2 {
            let compiled = executor.plan(&graph).expect("compiles");
            let got = executor.run(&compiled, &bindings).expect("runs");
            assert_eq!(executor.counters().plans, 1, "round {round}: an equal graph has one plan");
            for (out, want) in got.iter().zip(&expected) {
                let want = want.to_host().to_f64();
                let got = executor.read(out, DType::F32, want.len()).expect("reads").to_f64();
                assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-5), "{executor:?}: {got:?}, not {want:?}");
                let copy = executor.duplicate(out, DType::F32, want.len()).expect("copies");
                assert!(!copy.is_same(out));
                let transfer = executor.start_read(&copy, DType::F32, want.len()).expect("starts");
                assert_eq!(executor.finish_read(transfer, DType::F32, want.len()).expect("arrives").to_f64(), got);
            }
        }
    }
}

/// The planner alone: the sum and the rectifier follow the product where it allows, and a product that is wanted stays.
#[test]
fn a_graph_is_planned_without_an_executor() {
    let (mut graph, _) = network(5, 7, 3);
    let options = |fuse| Options { fuse, gradient_arena: false, max_operands: MAX_OPERANDS, max_bytes: u64::MAX };
    let plan = |graph: &Graph, fuse| crate::plan::compile::compile(graph, options(fuse)).expect("plans");
    let kernels = |plan: &Plan| plan.steps.len();
    assert_eq!((kernels(&plan(&graph, false)), kernels(&plan(&graph, true))), (4, 2));
    graph.outputs = vec![6];
    assert_eq!(kernels(&plan(&graph, true)), 2);
    let product = &plan(&graph, true).steps[0];
    assert!(matches!(&product.kernel, Kernel::MatMul { .. }), "{product:?}");
}

/// Memory of one device, or a plan for it, is refused by the other.
#[test]
fn what_belongs_to_another_kind_of_device_is_refused() {
    let (graph, data) = network(2, 2, 2);
    let all = executors();
    for one in &all {
        for other in all.iter().filter(|o| o.is_cpu() != one.is_cpu()) {
            let storage = one.upload(data[0].clone()).expect("uploads");
            let refused = [
                other.read(&storage, DType::F32, 4).err(),
                other.duplicate(&storage, DType::F32, 4).err(),
                other.copy(&storage, &storage).err(),
                other.run(&one.plan(&graph).expect("plans"), &Bindings::default()).err(),
            ];
            assert!(refused.iter().all(|e| matches!(e, Some(Error::Internal(_)))), "{refused:?}");
        }
    }
}

#[test]
fn the_cache_forgets_the_least_recently_used() {
    let mut cache: PlanCache<usize> = PlanCache::default();
    let graph = |i: usize| Graph { nodes: vec![node(Op::Data, &[], &[i + 1])], outputs: vec![0], ..Graph::default() };
    cache.insert(Arc::new(graph(0)), Arc::new(0), 1);
    for i in 1..300 {
        assert_eq!(cache.get(&graph(0)).as_deref(), Some(&0), "used before {i}");
        cache.insert(Arc::new(graph(i)), Arc::new(i), 1);
    }
    assert_eq!(cache.get(&graph(1)), None);
    assert_eq!(cache.get(&graph(299)).as_deref(), Some(&299));
    assert_eq!(cache.compiled(), 300);
    // One plan that is past the cap by itself stays until the next one comes.
    cache.insert(Arc::new(graph(300)), Arc::new(300), 1 << 30);
    assert_eq!(cache.get(&graph(300)).as_deref(), Some(&300));
    assert_eq!(cache.get(&graph(299)), None);
}

/// Arenas hold as many parameters as their limit lets them, each at a whole number of blocks.
#[test]
fn parameters_are_adopted_with_their_values() {
    use super::arena::Adoptee;
    use crate::graph::optim::BLOCK;
    for executor in executors() {
        let lens = [3, BLOCK + 1, 0, 5];
        let adoptees: Vec<Adoptee> = lens
            .iter()
            .map(|&len| {
                let data = HostData::F32((0..len).map(|i| i as f32).collect());
                Adoptee { storage: executor.upload(data).expect("uploads"), dtype: DType::F32, len }
            })
            .collect();
        let (stores, places) = executor.adopt(&adoptees, 2).expect("there is room");
        assert_eq!(places, [(0, 0), (0, 1), (0, 2), (0, 3)]);
        let store = &stores[0];
        for (entry, &len) in store.entries.iter().zip(&lens) {
            let got = executor.read(&entry.parameter, DType::F32, len).expect("reads").to_f64();
            assert_eq!(got, (0..len).map(|i| i as f64).collect::<Vec<_>>());
        }
        let offsets: Vec<usize> = store.entries.iter().map(|e| e.offset).collect();
        let wanted = if executor.is_cpu() { [0; 4] } else { [0, BLOCK, 3 * BLOCK, 4 * BLOCK] };
        assert_eq!(offsets, wanted);
        for (e, &len) in lens.iter().enumerate() {
            for s in 0..2 {
                let state = store.state_of(e, s).expect("two states");
                assert_eq!(executor.read(&state, DType::F32, len).expect("reads").to_f64(), vec![0.0; len]);
            }
            assert!(store.state_of(e, 2).is_none());
        }
    }
}
