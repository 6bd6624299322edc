//! What hardware GPUs are given: enough threads for their bandwidth, and whole lines of memory. Nothing runs here but the tiles, on
//! the software adapter.

use super::{Variants, close, each_variant, f32s, noise, plan_of, run_as, validate};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Lab;
use crate::gpu::kernels::lower;
use crate::gpu::program::{Caps, Lowered, Program};
use crate::graph::View;
use crate::graph::op::{BinaryOp, ReduceOp, UnaryOp};
use crate::plan::{Expr, Kernel, Plan, Step, Term};
use crate::shape::Shape;

/// What a large GPU needs under way to reach its bandwidth.
const ENOUGH: usize = 131_072;

/// Bytes from which a launch is long enough for that to matter.
const LARGE: usize = 4 << 20;

fn plan(kernel: Kernel, buffers: &[(DType, usize)]) -> Plan {
    crate::gpu::kernels::lab::one_step(kernel, buffers)
}

fn on_hardware(kernel: Kernel, buffers: &[(DType, usize)]) -> Lowered {
    let plan = plan(kernel, buffers);
    let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).unwrap();
    validate(&lowered);
    lowered
}

fn threads(program: &Program) -> usize {
    let size = program.source.split_once("@workgroup_size(").unwrap().1.split_once(')').unwrap().0;
    program.grid.iter().map(|&n| n as usize).product::<usize>() * size.parse::<usize>().unwrap()
}

/// The elements of a contiguous buffer of shape `dims`, seen in another order.
fn loaded(dims: &[usize], order: &[usize], dtype: DType) -> Expr {
    let view = View::contiguous(Shape::of(dims)).permute(order);
    let mut e = Expr::new(view.shape);
    let root = e.push(Term::Load { operand: 0, view }, dtype);
    e.finish(root)
}

/// `Σ (x - mean)²` over all axes but `channels` of a contiguous x: batch norm's variance.
fn variance(dims: &[usize], channels: usize) -> Kernel {
    let mut order: Vec<usize> = (0..dims.len()).filter(|&d| d != channels).collect();
    order.insert(0, channels);
    let view = View::contiguous(Shape::of(dims)).permute(&order);
    let mut means = vec![1; dims.len()];
    means[0] = dims[channels];
    let mean = View::contiguous(Shape::of(&means)).expand(view.shape);
    let mut e = Expr::new(view.shape);
    let x = e.push(Term::Load { operand: 0, view }, DType::F32);
    let mean = e.push(Term::Load { operand: 1, view: mean }, DType::F32);
    let centred = e.push(Term::Binary(BinaryOp::Sub, x, mean), DType::F32);
    let root = e.push(Term::Unary(UnaryOp::Square, centred), DType::F32);
    Kernel::Reduce { op: ReduceOp::Sum, value: e.finish(root), kept: 1, epilogue: identity(&[dims[channels]]) }
}

fn identity(kept: &[usize]) -> Expr {
    Expr::identity(Shape::of(kept), DType::F32)
}

/// A buffer's shape, the order of its axes, how many are kept.
type Row = (&'static [usize], &'static [usize], usize);

const REDUCTIONS: [Row; 22] = [
    (&[1 << 20], &[0], 0),
    (&[1 << 24], &[0], 0),
    (&[1_000_003], &[0], 0),
    (&[1_500_007], &[0], 0),
    // Rows.
    (&[1024, 1024], &[0, 1], 1),
    (&[8192, 768], &[0, 1], 1),
    (&[100_000, 15], &[0, 1], 1),
    (&[400_000, 3], &[0, 1], 1),
    (&[3, 400_001], &[0, 1], 1),
    (&[64, 50_257], &[0, 1], 1),
    (&[2_000_000, 1], &[0, 1], 1),
    // Columns.
    (&[1024, 1024], &[1, 0], 1),
    (&[1023, 1025], &[1, 0], 1),
    (&[64, 16_384], &[1, 0], 1),
    (&[8192, 768], &[1, 0], 1),
    (&[1_000_000, 4], &[1, 0], 1),
    (&[600_000, 2], &[1, 0], 1),
    (&[4, 1_000_000], &[1, 0], 1),
    // Channels, and what is in between.
    (&[64, 64, 56, 56], &[1, 0, 2, 3], 1),
    (&[64, 512, 7, 7], &[1, 0, 2, 3], 1),
    (&[64, 56, 56, 64], &[3, 0, 1, 2], 1),
    (&[32, 100, 400], &[0, 2, 1], 2),
];

#[test]
fn memory_bound_launches_have_enough_threads() {
    let mut short = Vec::new();
    let mut check = |what: String, lowered: &Lowered, elements: usize, outputs: usize| {
        assert!(lowered.programs.len() <= 2, "{what}");
        let got = threads(&lowered.programs[0]);
        if elements * 4 >= LARGE && got < ENOUGH {
            short.push(format!("{what}: {got}"));
        }
        // Nor so many that partial results weigh as much as what is read.
        let scratch: u64 = lowered.scratch.iter().sum();
        assert!(scratch as usize <= elements * 4 / 2, "{what}: {scratch} bytes of partial results of {outputs}");
        for last in lowered.programs.iter().skip(1) {
            assert!(threads(last) >= outputs.max(256), "{what}: {} threads in the second stage", threads(last));
        }
    };
    for (dims, order, kept) in REDUCTIONS {
        let value = loaded(dims, order, DType::F32);
        let n = value.shape.numel();
        let outputs: usize = value.shape[..kept].iter().product();
        let kernel = Kernel::Reduce { op: ReduceOp::Sum, value: value.clone(), kept, epilogue: identity(&value.shape[..kept]) };
        check(format!("sum {dims:?} {order:?}"), &on_hardware(kernel, &[(DType::F32, n), (DType::F32, outputs)]), n, outputs);
        if kept + 1 == dims.len() {
            let kernel = Kernel::ArgReduce { op: ReduceOp::Max, value };
            check(
                format!("argmax {dims:?} {order:?}"),
                &on_hardware(kernel, &[(DType::F32, n), (DType::I32, outputs)]),
                n,
                outputs,
            );
        }
    }
    for (dims, channels) in [([64, 64, 56, 56], 1), ([64, 128, 28, 28], 1), ([64, 512, 7, 7], 1), ([64, 56, 56, 64], 3)] {
        let n = dims.iter().product();
        let buffers = [(DType::F32, n), (DType::F32, dims[channels]), (DType::F32, dims[channels])];
        check(format!("variance {dims:?}"), &on_hardware(variance(&dims, channels), &buffers), n, dims[channels]);
    }
    assert!(short.is_empty(), "{short:#?}");
    for dtype in [DType::F32, DType::I32, DType::Bool, DType::F16, DType::U8] {
        for (dims, order) in
            [(&[1 << 20][..], &[0][..]), (&[1024, 1029], &[0, 1]), (&[1023, 1025], &[1, 0]), (&[1024, 1024], &[1, 0])]
        {
            let value = loaded(dims, order, dtype);
            let n = value.shape.numel();
            let lowered = on_hardware(Kernel::Elementwise(value), &[(dtype, n), (dtype, n)]);
            assert_eq!(lowered.programs.len(), 1);
            assert!(threads(&lowered.programs[0]) >= n / 4, "{dtype} {dims:?}: {}", threads(&lowered.programs[0]));
        }
    }
}

#[test]
fn what_is_read_again_and_again_does_not_say_how_threads_walk() {
    // A mean per channel is contiguous across channels; x, which is larger, is contiguous along what is reduced.
    let dims = [4, 8, 6, 6];
    let n = dims.iter().product();
    let plan = plan(variance(&dims, 1), &[(DType::F32, n), (DType::F32, 8), (DType::F32, 8)]);
    for software in [true, false] {
        let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(software)).unwrap();
        let text = &lowered.programs[0].source;
        assert!(text.contains("b0: array<vec4<f32>>") && text.contains("b1: array<f32>"), "software {software}: {text}");
    }
    // Channels last, both are.
    let plan = super::super::lab::one_step(variance(&[4, 6, 6, 8], 3), &[(DType::F32, n), (DType::F32, 8), (DType::F32, 8)]);
    let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(true)).unwrap();
    assert!(lowered.programs[0].source.contains("b1: array<vec4<f32>>"), "{}", lowered.programs[0].source);
}

/// What transposes: a buffer's shape, the order of its axes, and whether tiles pay.
const TRANSPOSES: [(&[usize], &[usize], bool); 9] = [
    (&[64, 96], &[1, 0], true),
    (&[33, 65], &[1, 0], true),
    (&[3, 40, 31], &[0, 2, 1], true),
    (&[2, 20, 5, 7], &[0, 2, 3, 1], true),
    (&[2, 5, 7, 20], &[0, 3, 1, 2], true),
    (&[20, 2, 3, 17], &[3, 1, 2, 0], true),
    (&[40, 3], &[1, 0], false),
    (&[2, 5, 6, 7], &[0, 2, 1, 3], false),
    (&[64, 64], &[0, 1], false),
];

#[test]
fn transposes_match_loops_in_every_variant() {
    let lab = Lab::open(true).unwrap();
    for (dims, order, pays) in TRANSPOSES {
        let view = View::contiguous(Shape::of(dims)).permute(order);
        let (shape, n) = (view.shape, view.shape.numel());
        let (x, y, z) = (noise(n, 1), noise(n, 2), noise(n, 3));
        let strides = shape.strides();
        let at = |i: usize| {
            let coord: Vec<usize> = shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
            usize::try_from(view.index(&coord).unwrap()).unwrap()
        };
        // Alone, and as one of three operands, of which two transpose.
        let copy = loaded(dims, order, DType::F32);
        let mut sum = Expr::new(shape);
        let a = sum.push(Term::Load { operand: 0, view }, DType::F32);
        let b = sum.push(Term::Load { operand: 1, view: View::contiguous(shape) }, DType::F32);
        let c = sum.push(Term::Load { operand: 2, view }, DType::F32);
        let product = sum.push(Term::Binary(BinaryOp::Mul, a, c), DType::F32);
        let root = sum.push(Term::Binary(BinaryOp::Add, product, b), DType::F32);
        let cases = [
            (Kernel::Elementwise(copy), vec![f32s(&x)], (0..n).map(|i| x[at(i)]).collect::<Vec<f64>>()),
            (
                Kernel::Elementwise(sum.finish(root)),
                vec![f32s(&x), f32s(&y), f32s(&z)],
                (0..n).map(|i| x[at(i)] * z[at(i)] + y[i]).collect(),
            ),
        ];
        for (kernel, reads, want) in cases {
            let what = format!("{dims:?} {order:?} with {} operands", reads.len());
            assert_eq!(each_variant(&lab, Variants::Whole, &kernel, &reads, (&what, &want), 1e-6), 3);
            let blank = HostData::F32(vec![f32::NAN; n]);
            let plan = plan_of(kernel.clone(), &reads, &blank);
            let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).unwrap();
            assert_eq!(lowered.programs[0].name == "elementwise_tiled", pays, "{what}");
            close(&what, &run_as(&lab, kernel, &reads, blank, &Caps::webgpu_defaults(false)), &want, 1e-6);
        }
    }
}

#[test]
fn a_tiled_step_may_overwrite_what_it_reads_in_order() {
    let lab = Lab::open(true).unwrap();
    let shape = Shape::of(&[24, 40]);
    let n = shape.numel();
    let mut e = Expr::new(shape);
    let a = e.push(Term::Load { operand: 0, view: View::contiguous(Shape::of(&[40, 24])).permute(&[1, 0]) }, DType::F32);
    let b = e.push(Term::Load { operand: 1, view: View::contiguous(shape) }, DType::F32);
    let root = e.push(Term::Binary(BinaryOp::Sub, b, a), DType::F32);
    let mut plan = plan(Kernel::Elementwise(e.finish(root)), &[(DType::F32, n), (DType::F32, n)]);
    let Step { reads, write, .. } = &mut plan.steps[0];
    (*reads, *write) = (vec![0, 1], Some(1));
    let (x, y) = (noise(n, 1), noise(n, 2));
    let want: Vec<f64> = (0..n).map(|i| y[i] - x[i % 40 * 24 + i / 40]).collect();
    let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).unwrap();
    assert_eq!(lowered.programs[0].name, "elementwise_tiled");
    close("in place", &super::run_lowered(&lab, &lowered, &[f32s(&x)], f32s(&y)), &want, 1e-6);
}

/// Bytes in sectors of 32 that the groups of 32 threads of a launch touch, over those of the elements, for what maps a thread's number
/// to an element.
fn excess(n: usize, element: impl Fn(usize) -> Option<usize>) -> f64 {
    let mut sectors = 0;
    for first in (0..n).step_by(32) {
        let mut touched: Vec<usize> = (first..first + 32).filter_map(&element).map(|e| e / 8).collect();
        touched.sort_unstable();
        touched.dedup();
        sectors += touched.len();
    }
    (sectors * 32) as f64 / (n * 4) as f64
}

#[test]
fn tiles_read_and_write_whole_lines() {
    use crate::gpu::kernels::transpose::Tiles;
    let rows: [(&[usize], &[usize]); 4] = [
        (&[512, 512], &[1, 0]),
        (&[8, 64, 16, 16], &[0, 2, 3, 1]),
        (&[8, 16, 16, 64], &[0, 3, 1, 2]),
        (&[4, 96, 160], &[0, 2, 1]),
    ];
    for (dims, order) in rows {
        let expr = loaded(dims, order, DType::F32);
        let view = View::contiguous(Shape::of(dims)).permute(order);
        let (n, strides) = (expr.shape.numel(), expr.shape.strides());
        let at = |i: usize| {
            let coord: Vec<usize> = expr.shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
            usize::try_from(view.index(&coord).unwrap()).unwrap()
        };
        let plan = plan(Kernel::Elementwise(expr.clone()), &[(DType::F32, n), (DType::F32, n)]);
        let tiles = Tiles::of(&expr, &plan.steps[0], &plan).unwrap();
        assert!(tiles.pay());
        let [_, rows, cols] = tiles.sides();
        // The i-th thread of a tile's walk down rows, as the program walks.
        let down = |t: usize| {
            let (tile, within) = (t / 1024, t % 1024);
            let (across, high) = (cols / 32, rows / 32);
            let first = tile / across / high * rows * cols;
            let (row, col) = (tile / across % high * 32 + within % 32, tile % across * 32 + within / 32);
            first + row * cols + col
        };
        let tiled = excess(n, |t| Some(at(down(t))));
        let plain = excess(n, |t| Some(at(t)));
        assert!(tiled <= 1.1, "{dims:?} {order:?}: {tiled} times the bytes, {plain} without tiles");
        assert!(plain >= 4.0, "{dims:?} {order:?}: {plain} without tiles");
    }
}
