//! Graphs made by hand, planned and run with no device, tensor or parameter in sight.

use super::cache::PlanCache;
use super::*;
use crate::cpu::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, Value};
use crate::dtype::DType;
use crate::graph::op::{BinaryOp, ConvSpec, PairOp, ReduceOp, UnaryOp};
use crate::graph::{GraphNode, Op};
use crate::plan::Kernel;
use crate::shape::Shape;
use crate::storage::bindings::Leaf;
use std::collections::HashSet;

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

/// The software adapter's number. Where `WGRAD_TEST_ADAPTER` is set, as in `scripts/test`, there must be one.
fn software() -> Option<usize> {
    let found = gpu::adapters::list().into_iter().find(|a| a.is_software()).map(|a| a.id);
    assert!(found.is_some() || std::env::var_os("WGRAD_TEST_ADAPTER").is_none(), "there is no software adapter to test on");
    found
}

/// Every executor that this machine has: both devices, fused and not.
fn executors() -> Vec<Executor> {
    let software = software();
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
                let transfer = executor.start_read(&copy, DType::F32, want.len(), None).expect("starts");
                assert_eq!(executor.finish_read(transfer, DType::F32, want.len()).expect("arrives").to_f64(), got);
            }
        }
    }
}

/// The planner alone: the sum and the rectifier follow the product where it allows, and a product that is wanted stays.
#[test]
fn a_graph_is_planned_without_an_executor() {
    let (mut graph, _) = network(5, 7, 3);
    let options = |fuse| Options { fuse, gradient_arena: false, ..Options::of_gpu(u64::MAX) };
    let plan = |graph: &Graph, fuse| crate::plan::compile::compile(graph, options(fuse)).expect("plans");
    let kernels = |plan: &Plan| plan.steps.len();
    assert_eq!((kernels(&plan(&graph, false)), kernels(&plan(&graph, true))), (4, 2));
    graph.outputs = vec![6];
    assert_eq!(kernels(&plan(&graph, true)), 2);
    let product = &plan(&graph, true).steps[0];
    assert!(matches!(&product.kernel, Kernel::MatMul { .. }), "{product:?}");
}

/// The kernels of a graph's plan, by their names.
fn kernels(nodes: Vec<GraphNode>, outputs: Vec<usize>, options: Options) -> (Vec<&'static str>, Plan) {
    let plan = crate::plan::compile::compile(&Graph { nodes, outputs, ..Graph::default() }, options).expect("plans");
    (plan.steps.iter().map(|step| step.kernel.name()).collect(), plan)
}

/// A value that two kernels read is computed twice on hardware if it is made of one buffer, and cheaper than memory.
#[test]
fn hardware_repeats_what_costs_less_than_memory() {
    let shape = &[64, 64];
    let options = Options::of_gpu(u64::MAX);
    // The functions in a row, the operands of the first, and the kernels on hardware.
    for (functions, operands, expected) in [(1, 1, 2), (7, 1, 2), (8, 1, 3), (1, 2, 3)] {
        let mut nodes = vec![node(Op::Data, &[], shape), node(Op::Data, &[], shape)];
        nodes.push(node(Op::Binary(BinaryOp::Mul), &[0, operands - 1], shape));
        for _ in 0..functions {
            nodes.push(node(Op::Unary(UnaryOp::Tanh), &[nodes.len() - 1], shape));
        }
        let shared = nodes.len() - 1;
        nodes.push(node(Op::Binary(BinaryOp::Add), &[shared, 0], shape));
        nodes.push(node(Op::Binary(BinaryOp::Mul), &[shared, 0], shape));
        let outputs = vec![shared + 1, shared + 2];
        assert_eq!(kernels(nodes.clone(), outputs.clone(), options).0.len(), 3, "{functions} functions of {operands}");
        let found = kernels(nodes, outputs, options.on_hardware()).0.len();
        assert_eq!(found, expected, "{functions} functions of {operands}");
    }
}

/// A value that is read in another order alone is computed in that order; one that is read in both needs a copy.
#[test]
fn a_value_is_computed_in_the_order_in_which_it_is_read() {
    for (read_twice, expected) in [(false, &["elementwise", "matmul"][..]), (true, &["elementwise", "elementwise", "matmul"])] {
        let nodes = vec![
            node(Op::Data, &[], &[2, 3, 4]),
            node(Op::Data, &[], &[1, 8, 5]),
            node(Op::Unary(UnaryOp::Square), &[0], &[2, 3, 4]),
            node(Op::Permute(vec![1, 0, 2]), &[2], &[3, 2, 4]),
            node(Op::Reshape, &[3], &[1, 3, 8]),
            node(Op::MatMul, &[4, 1], &[1, 3, 5]),
        ];
        let outputs = if read_twice { vec![2, 5] } else { vec![5] };
        assert_eq!(kernels(nodes, outputs, Options::of_gpu(u64::MAX)).0, expected);
    }
}

/// The gradient of a bias is a further result of the product that is the gradient of its weight, where both read the same rows.
#[test]
fn a_bias_is_summed_by_the_product_of_its_weight() {
    let rule = crate::graph::optim::OptimRule::Sgd { momentum: false, nesterov: false };
    let (rows, inputs, outputs) = (12, 5, 8);
    // What is summed up: the operand of the product, its square, or its columns.
    for (case, sums, half) in [("operand", true, 0), ("other side", true, 1), ("square", false, 0), ("columns", false, 0)] {
        let (a, b) = if half == 0 { (3, 1) } else { (4, 0) };
        let (m, n) = if half == 0 { (outputs, inputs) } else { (inputs, outputs) };
        let (axis, kept) = if case == "columns" { (2, [1, rows, 1]) } else { (1, [1, 1, outputs]) };
        let nodes = vec![
            node(Op::Data, &[], &[1, rows, outputs]),
            node(Op::Data, &[], &[1, rows, inputs]),
            node(Op::OptimStore, &[], &[]),
            node(Op::Permute(vec![0, 2, 1]), &[0], &[1, outputs, rows]),
            node(Op::Permute(vec![0, 2, 1]), &[1], &[1, inputs, rows]),
            node(Op::MatMul, &[a, b], &[1, m, n]),
            node(Op::Unary(UnaryOp::Square), &[0], &[1, rows, outputs]),
            node(Op::Reduce { op: ReduceOp::Sum, axes: vec![axis] }, &[if case == "square" { 6 } else { 0 }], &kept),
            node(Op::OptimStep { rule, gated: false, clipped: false, entries: vec![0, 1] }, &[2, 5, 7], &[]),
        ];
        let (names, plan) = kernels(nodes.clone(), vec![], Options::of_gpu(u64::MAX).on_hardware());
        let product = plan.steps.iter().find(|step| step.kernel.name() == "matmul").expect("a product");
        let found = product.kernel.further().first().map(|sums| (sums.half, plan.buffers[sums.buffer].place));
        let gradient = crate::plan::Place::Gradient { store: 2, entry: 1 };
        assert_eq!(found, sums.then_some((half, gradient)), "{case}: {names:?}");
        assert_eq!(names.contains(&"reduce"), !sums, "{case}: {names:?}");
        let plain = kernels(nodes, vec![], Options::of_gpu(u64::MAX)).0;
        assert!(plain.contains(&"reduce"), "{case}: {plain:?}");
    }
}

/// Convolutions that share weights on hardware read them packed, those of several leaves in one buffer.
#[test]
fn weights_are_packed_once_for_all_that_read_them() {
    let plain = ConvSpec { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    let strided = ConvSpec { stride: [2; 2], ..plain };
    // Inputs, outputs and side of a kernel; the geometry; whether weights are packed.
    let rows = [
        ([16, 24, 3], plain, true),
        ([16, 24, 3], strided, true),
        ([32, 24, 3], ConvSpec { groups: 2, ..plain }, false),
        ([32, 48, 3], ConvSpec { groups: 2, ..plain }, true),
        ([3, 16, 3], plain, false),
        ([16, 3, 3], plain, false),
        ([16, 16, 1], ConvSpec { padding: [0; 2], ..plain }, false),
        ([8, 8, 17], ConvSpec { padding: [8; 2], ..plain }, false),
    ];
    for ([inputs, outputs, side], spec, packs) in rows {
        let (x, w) = ([1, inputs, 8, 8], [outputs, inputs / spec.groups, side, side]);
        let y = [1, outputs, 8 / spec.stride[0], 8 / spec.stride[1]];
        let source = |shape: &[usize]| node(Op::Data, &[], shape);
        let nodes = vec![
            source(&x),
            source(&w),
            source(&y),
            node(Op::Conv2d(spec), &[0, 1], &y),
            node(Op::Conv2dInputGrad(spec), &[2, 1], &x),
            node(Op::Conv2dWeightGrad(spec), &[0, 2], &w),
        ];
        let (names, plan) = kernels(nodes.clone(), vec![3, 4, 5], Options::of_gpu(u64::MAX).on_hardware());
        assert_eq!(names.iter().filter(|name| **name == "pack").count(), usize::from(packs), "{w:?} {spec:?}: {names:?}");
        let reads = plan.steps.iter().filter(|step| matches!(&step.kernel, Kernel::Conv2d(conv) if conv.packed == Some(0)));
        assert_eq!(reads.count(), if packs { 2 } else { 0 }, "{w:?} {spec:?}");
        assert!(!kernels(nodes, vec![3, 4, 5], Options::of_gpu(u64::MAX)).0.contains(&"pack"));
    }
    // A chain of nine: the weights of seven fit a launch, or those of fewer a buffer; computed ones have launches of their own, and
    // those that the kernel's epilogue reads too stay as they are.
    let bytes = 8 * 8 * 9 * 4;
    for (case, most, expected) in [
        ("leaves", u64::MAX, &[7, 2][..]),
        ("leaves", 4 * bytes, &[4, 4, 1]),
        ("a computed one", u64::MAX, &[7, 1, 1]),
        ("added", u64::MAX, &[7, 1]),
    ] {
        let (image, weight) = ([8, 8, 3, 3], [8, 8, 3, 3]);
        let mut nodes = vec![node(Op::Data, &[], &image)];
        for n in 0..9 {
            let x = nodes.len() - 1;
            nodes.push(node(Op::Data, &[], &weight));
            if case == "a computed one" && n == 4 {
                nodes.push(node(Op::Unary(UnaryOp::Tanh), &[x + 1], &weight));
            }
            nodes.push(node(Op::Conv2d(plain), &[x, nodes.len() - 1], &image));
            if case == "added" && n == 4 {
                nodes.push(node(Op::Binary(BinaryOp::Add), &[x + 1, x + 2], &image));
            }
        }
        let outputs = vec![nodes.len() - 1];
        let plan = kernels(nodes, outputs, Options { max_bytes: most, ..Options::of_gpu(u64::MAX).on_hardware() }).1;
        let mut found: Vec<usize> =
            plan.steps.iter().filter(|step| step.kernel.name() == "pack").map(|s| s.reads.len()).collect();
        found.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
        assert_eq!(found, expected, "{case} of at most {most} bytes");
        let offsets: Vec<Option<usize>> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.kernel {
                Kernel::Conv2d(conv) => Some(conv.packed),
                _ => None,
            })
            .collect();
        assert_eq!(offsets.iter().flatten().count(), expected.iter().sum::<usize>(), "{case}: {offsets:?}");
        assert_eq!(offsets[1], Some(8 * 8 * 9), "{case}: {offsets:?}");
    }
}

/// A convolution on hardware takes the moments of its result, if they are of each element once, and of those alone.
#[test]
fn moments_are_taken_by_the_convolution_that_writes() {
    let spec = ConvSpec { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    let (image, weight) = ([2, 8, 4, 4], [8, 8, 3, 3]);
    // What the moments are of, and what is left of a convolution and two reductions.
    for (case, expected) in [
        ("channels", &["conv2d"][..]),
        ("rows of a permutation", &["conv2d"]),
        ("an input gradient", &["conv2d_dgrad", "moments"]),
        ("a part", &["conv2d", "moments"]),
        ("other axes", &["conv2d"]),
        ("squares", &["conv2d", "moments"]),
        ("two sets of axes", &["conv2d", "moments"]),
    ] {
        let role = if case == "an input gradient" { Op::Conv2dInputGrad(spec) } else { Op::Conv2d(spec) };
        let mut nodes = vec![node(Op::Data, &[], &image), node(Op::Data, &[], &weight), node(role, &[0, 1], &image)];
        let mut moments = |op: Option<Op>, shape: &[usize], axes: &[usize]| {
            let of = op.map_or(2, |op| {
                nodes.push(node(op, &[2], shape));
                nodes.len() - 1
            });
            let kept = (0..shape.len()).filter(|d| !axes.contains(d)).map(|d| shape[d]).product();
            nodes.push(node(Op::Pair { op: PairOp::Moments, axes: axes.to_vec() }, &[of], &[2, kept]));
            nodes.len() - 1
        };
        let mut outputs = match case {
            "rows of a permutation" => vec![moments(Some(Op::Permute(vec![2, 3, 0, 1])), &[4, 4, 2, 8], &[0, 1, 2])],
            "a part" => {
                let part = Op::Slice { start: vec![0; 4], step: vec![1; 4] };
                vec![moments(Some(part), &[2, 8, 4, 2], &[0, 2, 3])]
            }
            "other axes" => vec![moments(None, &image, &[1, 2, 3])],
            "squares" => vec![moments(Some(Op::Unary(UnaryOp::Square)), &image, &[0, 2, 3])],
            "two sets of axes" => vec![moments(None, &image, &[0, 2, 3]), moments(None, &image, &[1, 2, 3])],
            _ => vec![moments(None, &image, &[0, 2, 3])],
        };
        outputs.push(2);
        let options = Options::of_gpu(u64::MAX);
        let plain = kernels(nodes.clone(), outputs.clone(), options).0;
        assert_eq!(plain.iter().filter(|name| **name == "moments").count(), outputs.len() - 1, "{case}: {plain:?}");
        let (names, plan) = kernels(nodes, outputs, Options { packs: false, ..options.on_hardware() });
        assert_eq!(names, expected, "{case}");
        let written: HashSet<_> = plan.steps.iter().flat_map(crate::plan::Step::writes).map(|b| plan.buffers[b].place).collect();
        assert_eq!(written.len(), plan.outputs.len(), "{case}: results share memory");
    }
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

/// The two kinds of executors; the GPU's computes nothing, and needs no adapter.
fn both() -> [Executor; 2] {
    let options = gpu::context::Options::default();
    let noop = gpu::adapters::with_noop(|| Executor::gpu(0, options, true)).expect("opens");
    [Executor::cpu(true).expect("opens"), noop]
}

/// `Σ (x·y + z)` over rows, where the product of a convolution and a wide product need slots and scratch memory.
fn working(m: usize) -> (Graph, Vec<HostData>) {
    let spec = crate::graph::op::ConvSpec { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    let square = |id| node(Op::Unary(UnaryOp::Square), &[id], &[2, 3, m, 8]);
    let nodes = vec![
        node(Op::Data, &[], &[2, 3, m, 8]),
        node(Op::Data, &[], &[3, 3, 3, 3]),
        node(Op::Conv2d(spec), &[0, 1], &[2, 3, m, 8]),
        square(2),
        node(Op::Conv2d(spec), &[3, 1], &[2, 3, m, 8]),
        node(Op::Conv2d(spec), &[4, 1], &[2, 3, m, 8]),
        node(Op::Reduce { op: ReduceOp::Sum, axes: vec![0, 1, 2, 3] }, &[5], &[1, 1, 1, 1]),
    ];
    let values = |n: usize| HostData::F32((0..n).map(|i| (i % 7) as f32 / 8.0).collect());
    (Graph { nodes, outputs: vec![4, 6], ..Graph::default() }, vec![values(2 * 3 * m * 8), values(81)])
}

/// Uploads, plans and runs; the leaves and the outputs.
fn run(executor: &Executor, (graph, data): &(Graph, Vec<HostData>)) -> Result<(Vec<Storage>, Vec<Storage>)> {
    let leaves = data.iter().map(|d| executor.upload(d.clone())).collect::<Result<Vec<_>>>()?;
    let bindings = Bindings { leaves: leaves.iter().cloned().map(Leaf::Data).collect(), ..Bindings::default() };
    let outputs = executor.run(&executor.plan(graph)?, &bindings)?;
    Ok((leaves, outputs))
}

/// Everything that the executor holds, piece by piece: what these handles refer to, and what is cached.
fn piece_by_piece(executor: &Executor, handles: &[&Storage]) -> (u64, u64) {
    let live = handles.iter().map(|storage| match storage {
        Storage::Cpu(buffer) => buffer.read().bytes().len() as u64,
        Storage::Gpu(buffer) => buffer.size(),
    });
    let plans = lock(&executor.plans);
    let data: u64 = plans.entries().map(|(graph, plan)| plan.weight(graph)).sum();
    let codes: Vec<&Code> = plans.entries().map(|(_, plan)| &plan.code).collect();
    let rest = match &executor.backend {
        Backend::Cpu(cpu) => cpu.cached_piece_by_piece(),
        Backend::Gpu(gpu) => gpu.cached_piece_by_piece(codes.iter().filter_map(|code| match code {
            Code::Gpu(plan) => Some(plan),
            Code::Cpu(_) => None,
        })),
    };
    (live.sum(), data + rest)
}

/// To the byte, after runs, reads and evictions, and with the limits of all kinds.
#[test]
fn what_is_live_and_what_is_cached_is_all_there_is() {
    for executor in both() {
        let check = |what: &str, handles: &[&Storage]| {
            executor.wait().expect("idle");
            let counters = executor.counters();
            assert_eq!((counters.bytes_live, counters.bytes_cached), piece_by_piece(&executor, handles), "{what}: {counters:?}");
        };
        check("at first", &[]);
        let mut held = Vec::new();
        for (round, m) in [5, 40, 11, 5, 64, 8].into_iter().enumerate() {
            let (leaves, outputs) = run(&executor, &working(m)).expect("runs");
            check(&format!("run {round}"), &leaves.iter().chain(&outputs).chain(&held).collect::<Vec<_>>());
            executor.read(&outputs[1], DType::F32, 1).expect("reads");
            held.push(outputs[round % 2].clone());
        }
        let handles = || held.iter().collect::<Vec<_>>();
        check("with some held", &handles());
        let counters = executor.counters();
        assert!(counters.bytes_cached > 0 && counters.bytes_peak >= counters.bytes_live, "{counters:?}");
        for limits in [(1 << 20, 3), (10_000, 256), (0, 0)] {
            executor.set_cache_limits(CacheLimits { bytes: limits.0, plans: limits.1 });
            check(&format!("limits of {limits:?}"), &handles());
            run(&executor, &working(9)).expect("runs");
            check(&format!("a run within {limits:?}"), &handles());
        }
        assert_eq!(executor.counters().plans_cached, 1, "what ran last stays");
        assert!(executor.counters().evictions >= 5);
    }
}

/// Past its limits a device keeps what ran last, with its slots and pipelines, and nothing of what ran before.
#[test]
fn slots_and_pipelines_go_with_the_plans_that_needed_them() {
    for executor in both() {
        let work = |m| drop(run(&executor, &working(m)).expect("runs"));
        let pipelines = || executor.as_gpu().map_or(0, GpuExecutor::pipelines_in_use);
        work(4);
        let (small, few) = (executor.account().working, pipelines());
        for m in 40..60 {
            work(m);
        }
        let (large, many) = (executor.account().working, pipelines());
        assert!(large > 10 * small && (executor.is_cpu() || many > 10), "{small}, {large} bytes; {few}, {many} pipelines");
        executor.set_cache_limits(CacheLimits { plans: 1, ..CacheLimits::default() });
        work(4);
        assert_eq!((executor.account().working, pipelines()), (small, few));
        // Nor is there memory that only the plans before had a use for: two results and the batch are in the pool.
        let pooled = executor.account().pooled;
        assert!(pooled <= 3 * small, "{pooled} bytes wait, and {small} are worked in");
        assert_eq!(executor.counters().evictions, 21);
    }
}

/// Sizes that never come again, on a device with room for a few of them: with no limit on the cache, everything cached is
/// released before a run fails. What cannot fit fails, and the device works on.
#[test]
fn memory_that_is_only_cached_makes_room() {
    const CAPACITY: u64 = 10_000_000;
    for executor in both() {
        executor.set_cache_limits(CacheLimits { bytes: u64::MAX, plans: usize::MAX });
        match executor.as_gpu() {
            Some(gpu) => gpu.limit_capacity(CAPACITY),
            None => executor.limit_memory(CAPACITY),
        }
        let (weights, _) = run(&executor, &working(10)).expect("runs");
        for m in (500..10_000).step_by(500) {
            run(&executor, &working(m)).unwrap_or_else(|e| panic!("{m} rows: {e}"));
            let account = executor.account();
            assert!(account.live + account.working + account.pooled <= CAPACITY, "{m} rows: {account:?}");
        }
        // Two results and two operands that leave no room for slots of the size before.
        let plans = executor.counters().evictions;
        run(&executor, &network(1, 1, 520_000)).expect("all but this plan goes");
        assert!(executor.counters().evictions > plans, "{:?}", executor.counters());
        run(&executor, &working(9_000)).expect("and the other way round");
        let error = run(&executor, &working(100_000)).expect_err("that is too much");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        run(&executor, &working(300)).expect("the device works on");
        assert!(executor.account().live >= weights.len() as u64);
    }
}

#[test]
fn the_cache_forgets_the_least_recently_used() {
    let mut cache: PlanCache<usize> = PlanCache::default();
    let tally: Arc<std::sync::atomic::AtomicU64> = Arc::default();
    let graph = |i: usize| Graph { nodes: vec![node(Op::Data, &[], &[i + 1])], outputs: vec![0], ..Graph::default() };
    let bytes = || tally.load(std::sync::atomic::Ordering::Relaxed);
    for i in 0..6 {
        assert_eq!(cache.get(&graph(i), 0), None);
        cache.insert(Arc::new(graph(i)), Arc::new(i), Counted::new(10, &tally), i as u64);
        assert_eq!(cache.get(&graph(0), 0).as_deref(), Some(&0), "used before {i}");
    }
    assert_eq!((cache.evict().as_deref(), cache.evict().as_deref(), bytes()), (Some(&1), Some(&2), 40));
    assert_eq!(cache.oldest_uses(), 3);
    let mut latest: Vec<usize> = cache.latest(4).copied().collect();
    latest.sort_unstable();
    assert_eq!(latest, [0, 4, 5]);
    let kept = cache.get(&graph(4), 9).expect("used of late");
    let mut gone: Vec<usize> = cache.evict_others(Some(&*kept)).iter().map(|p| **p).collect();
    gone.sort_unstable();
    assert_eq!((gone, bytes()), (vec![0, 3, 5], 10));
    // The latest plan may be about to run.
    assert_eq!(cache.evict(), None);
    assert_eq!((cache.len(), cache.compiled(), cache.evicted()), (1, 6, 5));
    assert_eq!(cache.evict_others(None).len(), 1);
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

/// Kernels that a driver refuses or gets wrong are found before their first use and replaced by others.
#[test]
fn a_kernel_that_fails_its_trial_is_replaced() {
    use gpu::forms::{Fault, Form, Forms};
    let Some(software) = software() else { return };
    let (graph, data) = network(70, 40, 30);
    let fault = |form, refused| Fault { family: "matmul", form, refused };
    let run = |trials: bool, faults: Vec<Fault>| {
        let options = gpu::context::Options { hardware_kernels: true, ..Default::default() };
        let mut executor = Executor::gpu(software, options, true).expect("opens");
        let Backend::Gpu(device) = &mut executor.backend else { panic!("a GPU") };
        device.forms = Forms::faulty(trials, faults);
        let leaves = data.iter().map(|d| executor.upload(d.clone()).map(Leaf::Data)).collect::<Result<_>>().expect("uploads");
        let bindings = Bindings { leaves, ..Bindings::default() };
        let sums = executor.plan(&graph).and_then(|compiled| {
            let outputs = executor.run(&compiled, &bindings)?;
            executor.read(&outputs[1], DType::F32, 30).map(|sums| sums.to_f64())
        });
        let replaced = executor.as_gpu().expect("a GPU").forms.replaced();
        (sums, replaced)
    };
    let (expected, none) = run(true, Vec::new());
    let expected = expected.expect("right");
    assert!(none.is_empty() && expected.iter().any(|x| *x != 0.0));
    for refused in [false, true] {
        let (sums, replaced) = run(true, vec![fault(Form::Chosen, refused)]);
        let sums = sums.expect("the plain form");
        assert!(sums.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3), "{sums:?}, not {expected:?}");
        assert_eq!(replaced, ["matmul"]);
        let (failed, _) = run(true, vec![fault(Form::Chosen, refused), fault(Form::Plain, refused)]);
        assert!(matches!(&failed, Err(Error::Unsupported { op: "matmul", .. })), "{failed:?}");
        // Without trials, nobody notices; or the driver's refusal ends the run.
        let (unnoticed, replaced) = run(false, vec![fault(Form::Chosen, refused)]);
        assert!(replaced.is_empty() && if refused { unnoticed.is_err() } else { unnoticed.expect("runs") != expected });
    }
}

/// An optimizer's step has one form: if that is wrong, nothing is left, and the step does not run.
#[test]
fn an_optimizer_that_fails_its_trial_is_an_error() {
    use gpu::forms::{Fault, Form, Forms};
    let Some(software) = software() else { return };
    for family in ["adam", "lamb"] {
        for refused in [false, true] {
            let options = gpu::context::Options { short_texts: true, ..Default::default() };
            let mut executor = Executor::gpu(software, options, true).expect("opens");
            let Backend::Gpu(device) = &mut executor.backend else { panic!("a GPU") };
            let faults = [Form::Chosen, Form::Plain].map(|form| Fault { family, form, refused });
            device.forms = Forms::faulty(true, faults.into());
            let failed = executor.self_test();
            assert!(matches!(&failed, Err(Error::Unsupported { op, .. }) if *op == family), "{failed:?}");
        }
    }
}

/// Results of trials outlast a process as text, for the same adapter and options alone.
#[test]
fn a_record_of_trials_spares_them() {
    use gpu::forms::{Fault, Form, Forms};
    let Some(software) = software() else { return };
    let open = |trials, faults| {
        let options = gpu::context::Options { hardware_kernels: true, short_texts: true, ..Default::default() };
        let mut executor = Executor::gpu(software, options, true).expect("opens");
        let Backend::Gpu(device) = &mut executor.backend else { panic!("a GPU") };
        device.forms = Forms::faulty(trials, faults);
        executor
    };
    let forms = |executor: &Executor| executor.as_gpu().expect("a GPU").forms.clone();
    let first = open(true, vec![Fault { family: "matmul", form: Form::Chosen, refused: false }]);
    assert_eq!(first.self_test().expect("the plain form is right"), ["matmul"]);
    let record = first.trial_record().expect("a GPU");
    assert!(record.contains("\nmatmul plain\n") && record.contains("\nconv2d chosen\n"), "{record}");
    let second = open(true, Vec::new());
    for wrong in [
        "",
        "end\n",
        &record[1..],
        record.trim_end(),
        &record.replace("end\n", ""),
        &record.replace("plain", "fancy"),
        &record.replace("matmul", "no_such_family"),
        &record.replace("hardware_kernels: true", "hardware_kernels: false"),
    ] {
        assert!(!second.adopt_trial_record(wrong), "{wrong}");
    }
    assert!(forms(&second).unproven("matmul") && forms(&second).replaced().is_empty());
    assert!(second.adopt_trial_record(&record));
    assert!(trial::FAMILIES.iter().all(|family| !forms(&second).unproven(family)));
    assert_eq!(forms(&second).replaced(), ["matmul"]);
    // A process's own results stay.
    assert!(first.adopt_trial_record(&record.replace("plain", "chosen")) && forms(&first).replaced() == ["matmul"]);
    assert_eq!(Executor::cpu(true).expect("opens").trial_record(), None);
}

/// On this adapter every family passes its trial, in both forms.
#[test]
fn every_family_stands_its_trial() {
    let Some(software) = software() else { return };
    for hardware_kernels in [false, true] {
        let options = gpu::context::Options { hardware_kernels, self_test: Some(true), ..Default::default() };
        let executor = Executor::gpu(software, options, true).expect("opens");
        let rules: Vec<&str> = crate::graph::optim::OptimRule::all().iter().map(|rule| rule.facts().name).collect();
        assert!(trial::FAMILIES.iter().all(|family| trial::graphs(family).is_empty() == rules.contains(family)));
        assert!(rules.iter().all(|rule| trial::FAMILIES.contains(rule)));
        assert_eq!(executor.self_test().expect("all are right"), [""; 0]);
    }
}
