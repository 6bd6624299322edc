//! Cells, slots, optimizer stores and f64 graphs.

use super::*;
use crate::graph::View;
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::graph::optim::Coefficients;
use crate::graph::optim::OptimRule;
use crate::plan::expr::{Expr, Term};
use crate::storage::bindings::OptimStore;
use std::sync::Mutex;

fn cpu() -> CpuExecutor {
    CpuExecutor::new().expect("threads can be started")
}

fn step(kernel: Kernel, reads: &[usize], write: Option<usize>) -> Step {
    Step { kernel, reads: reads.to_vec(), write, level: 0, flops: 0, bytes: 0, node: 0 }
}

/// `view of operand 0` plus operand 1 where given.
fn sum(shape: &[usize], view: View, second: bool) -> Expr {
    let shape = Shape::of(shape);
    let mut expr = Expr::new(shape);
    expr.push(Term::Load { operand: 0, view }, DType::F32);
    if second {
        expr.push(Term::Load { operand: 1, view: View::contiguous(shape) }, DType::F32);
        expr.push(Term::Binary(BinaryOp::Add, 0, 1), DType::F32);
    }
    expr
}

#[test]
fn cells_are_overwritten_in_place_and_slots_are_shared() {
    let cpu = cpu();
    let n = 6;
    let (flat, square) = (Shape::of(&[n]), Shape::of(&[2, 3]));
    let info = |place| BufferInfo { place, dtype: DType::F32, len: n };
    // cell += x; cell = transpose-like reversal of itself; slot = cell + x; output = slot + x.
    let reversed = View::contiguous(flat).slice(&[5], &[-1], flat);
    let plan = Plan {
        steps: vec![
            step(Kernel::Elementwise(sum(&[n], View::contiguous(flat), true)), &[0, 1], Some(0)),
            step(Kernel::Elementwise(sum(&[n], reversed, false)), &[0], Some(0)),
            step(Kernel::Elementwise(sum(&[2, 3], View::contiguous(square), true)), &[0, 1], Some(2)),
            step(Kernel::Elementwise(sum(&[2, 3], View::contiguous(square), true)), &[2, 1], Some(3)),
        ],
        buffers: vec![info(Place::Leaf(0)), info(Place::Leaf(1)), info(Place::Slot(0)), info(Place::Output(0))],
        slots: vec![4 * n],
        outputs: vec![3],
    };
    let cell = cpu.upload(HostData::F32(vec![0.0; n])).expect("there is room");
    let x = cpu.upload(HostData::F32((1..=6).map(|x| x as f32).collect())).expect("there is room");
    let bindings =
        Bindings { leaves: vec![Leaf::Cell(Storage::Cpu(cell.clone())), Leaf::Data(Storage::Cpu(x))], ..Bindings::default() };
    let compiled = cpu.compile(&Graph::default(), Arc::new(plan)).expect("the plan is valid");
    let first = run(&cpu, &compiled, &bindings).expect("the plan runs");
    assert_eq!(cpu.read(&cell).expect("there is room"), HostData::F32(vec![6.0, 5.0, 4.0, 3.0, 2.0, 1.0]));
    assert_eq!(download(&cpu, &first[0]), HostData::F32(vec![8.0, 9.0, 10.0, 11.0, 12.0, 13.0]));
    // A held output keeps its value; a dropped one is reused.
    let second = run(&cpu, &compiled, &bindings).expect("the plan runs");
    assert_eq!(download(&cpu, &first[0]), HostData::F32(vec![8.0, 9.0, 10.0, 11.0, 12.0, 13.0]));
    drop((first, second));
    let held = cpu.account();
    assert_eq!((held.live, held.working, held.pooled), (2 * 4 * n as u64, 4 * n as u64, 2 * 4 * n as u64));
    for _ in 0..5 {
        run(&cpu, &compiled, &bindings).expect("the plan runs");
    }
    assert_eq!(cpu.account(), held);
    assert_eq!(cpu.kernels(), 28);
}

#[test]
fn optimizer_steps_match_the_reference() {
    let cpu = cpu();
    let c = Coefficients {
        lr: 0.01,
        l2: 0.1,
        shrink: 0.99,
        beta1: 0.9,
        beta2: 0.95,
        one_minus_beta1: 0.1,
        one_minus_beta2: 0.05,
        eps: 1e-6,
        inv_sqrt_bias2: 1.5,
        grad_scale: 0.5,
        decay: 0.05,
        ..Coefficients::default()
    };
    let lens = [5, 40_000, 33];
    for (rule, extra) in OptimRule::all().into_iter().flat_map(|rule| [(rule, 0.0), (rule, 0.7)]) {
        let c = Coefficients { extra, ..c };
        // Entry 1 is frozen.
        let entries = vec![0, 2];
        let zeros = |n: usize| Storage::Cpu(cpu.upload(HostData::F32(vec![0.0; n])).expect("there is room"));
        let parameters: Vec<Storage> = lens
            .iter()
            .enumerate()
            .map(|(i, &n)| Storage::Cpu(cpu.upload(floats(n, i as u32)).expect("there is room")))
            .collect();
        let store = Arc::new(OptimStore {
            entries: parameters.iter().zip(lens).map(|(p, len)| entry(p, len)).collect(),
            state: (0..rule.states()).flat_map(|_| lens.map(zeros)).collect(),
            parameters: None,
            gradients: None,
            coefficients: Mutex::new(vec![c; 3]),
        });
        let gradients = [floats(lens[0], 10), floats(lens[2], 12)];
        let info = |i: usize, len| BufferInfo { place: Place::Leaf(i), dtype: DType::F32, len };
        let plan = Plan {
            steps: vec![step(
                Kernel::OptimStep { store: 0, rule, gated: false, clipped: false, entries: entries.clone(), blocks: 0 },
                &[0, 1],
                None,
            )],
            buffers: vec![info(1, lens[0]), info(2, lens[2])],
            slots: vec![],
            outputs: vec![],
        };
        let mut leaves = vec![Leaf::Store(Arc::clone(&store))];
        leaves.extend(gradients.iter().map(|g| Leaf::Data(Storage::Cpu(cpu.upload(g.clone()).expect("there is room")))));
        let bindings = Bindings { leaves, ..Bindings::default() };
        let compiled = cpu.compile(&Graph::default(), Arc::new(plan)).expect("the plan is valid");
        for _ in 0..3 {
            run(&cpu, &compiled, &bindings).expect("the plan runs");
        }
        let mut wanted = reference::StoreValues {
            dtype: DType::F32,
            parameters: lens.iter().enumerate().map(|(i, &n)| floats(n, i as u32).to_f64()).collect(),
            state: (0..rule.states()).flat_map(|_| lens.map(|n| vec![0.0; n])).collect(),
            coefficients: vec![c; 3],
        };
        let operands = [0, 2].map(|e| reference::Value::from_host(&gradients[e / 2], DType::F32, Shape::of(&[lens[e]])));
        for _ in 0..3 {
            let operands: Vec<_> = operands.iter().collect();
            reference::optim::step(rule, false, &entries, &mut wanted, &operands, Precision::F64).expect("steps");
        }
        for (entry, wanted) in wanted.parameters.iter().enumerate() {
            let got = download(&cpu, &parameters[entry]).to_f64();
            assert_eq!(got == floats(lens[entry], entry as u32).to_f64(), entry == 1, "{rule:?}: entry 1 alone is frozen");
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() < 2e-6 * wanted.abs().max(1.0), "{rule:?}: {got} is not {wanted}");
            }
        }
    }
}

#[test]
fn a_gradient_may_be_the_parameter_itself() {
    let cpu = cpu();
    let rule = OptimRule::Sgd { momentum: false, nesterov: false };
    let parameter = Storage::Cpu(cpu.upload(HostData::F32(vec![1.0, 2.0])).expect("there is room"));
    let c = Coefficients { lr: 0.5, shrink: 1.0, grad_scale: 1.0, ..Coefficients::default() };
    let store = OptimStore {
        entries: vec![entry(&parameter, 2)],
        state: vec![],
        parameters: None,
        gradients: None,
        coefficients: Mutex::new(vec![c]),
    };
    let plan = Plan {
        steps: vec![step(
            Kernel::OptimStep { store: 1, rule, gated: false, clipped: false, entries: vec![0], blocks: 0 },
            &[0],
            None,
        )],
        buffers: vec![BufferInfo { place: Place::Leaf(0), dtype: DType::F32, len: 2 }],
        ..Plan::default()
    };
    let leaves = vec![Leaf::Cell(parameter.clone()), Leaf::Store(Arc::new(store))];
    let compiled = cpu.compile(&Graph::default(), Arc::new(plan)).expect("the plan is valid");
    run(&cpu, &compiled, &Bindings { leaves, ..Bindings::default() }).expect("the plan runs");
    assert_eq!(download(&cpu, &parameter), HostData::F32(vec![0.5, 1.0]));
}

#[test]
fn f64_graphs_run_unrounded_and_write_their_cells() {
    let cpu = cpu();
    let node = |op, inputs: &[usize]| GraphNode { op, inputs: inputs.to_vec(), shape: Shape::of(&[1]), dtype: DType::F64 };
    let graph = Graph {
        nodes: vec![node(Op::Cell, &[]), node(Op::Unary(UnaryOp::Exp), &[0]), node(Op::Assign, &[0, 1])],
        outputs: vec![1],
        ..Graph::default()
    };
    let cell = cpu.upload(HostData::F64(vec![1.0])).expect("there is room");
    let leaves = vec![Leaf::Cell(Storage::Cpu(cell.clone()))];
    let compiled = cpu.compile(&graph, Arc::new(Plan::default())).expect("no plan is needed");
    let out = run(&cpu, &compiled, &Bindings { leaves, ..Bindings::default() }).expect("the graph runs");
    assert_eq!(download(&cpu, &out[0]), HostData::F64(vec![crate::math::portable::exp(1.0)]));
    assert_eq!(cpu.read(&cell).expect("there is room"), HostData::F64(vec![crate::math::portable::exp(1.0)]));
}

#[test]
fn broken_plans_are_errors() {
    let cpu = cpu();
    let shape = Shape::of(&[4]);
    let info = |place, len| BufferInfo { place, dtype: DType::F32, len };
    let copy = step(Kernel::Elementwise(sum(&[4], View::contiguous(shape), false)), &[0], Some(1));
    let plan = |len| Plan {
        steps: vec![copy.clone()],
        buffers: vec![info(Place::Leaf(0), len), info(Place::Output(0), 4)],
        slots: vec![],
        outputs: vec![1],
    };
    assert!(cpu.compile(&Graph::default(), Arc::new(plan(3))).is_err(), "a view that reaches too far");
    let compiled = cpu.compile(&Graph::default(), Arc::new(plan(4))).expect("the plan is valid");
    assert!(run(&cpu, &compiled, &Bindings::default()).is_err(), "an unbound leaf");
    let leaves = vec![Leaf::Data(Storage::Cpu(cpu.upload(HostData::F32(vec![0.0; 3])).expect("there is room")))];
    assert!(run(&cpu, &compiled, &Bindings { leaves, ..Bindings::default() }).is_err(), "a leaf that is too short");
}
