//! Rates of single kernels on any adapter, as `cargo bench --features lab --bench kernels` prints them.

use super::lab::{Lab, Target, bias_relu, noise, one_step};
use super::lower;
use super::variants::Variant;
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::gpu::adapters;
use crate::gpu::context::{self, Options};
use crate::gpu::program::{Lowered, Operand};
use crate::graph::View;
use crate::graph::op::{ConvSpec, PoolOp, PoolSpec, ReduceOp, UnaryOp};
use crate::plan::{Conv2d, ConvRole, Expr, Kernel, MatMul, MatrixView, Term};
use crate::shape::Shape;

/// What is to be timed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The adapter: `best` (hardware before software), `gpu`, `software`, a number, or part of a name.
    pub device: String,
    /// Only cases whose group and label contain this text.
    pub only: String,
    /// Whether each variant of a kernel is timed by itself, too.
    pub variants: bool,
    /// Whether kernels are chosen as for a hardware GPU, on any adapter.
    pub hardware_kernels: bool,
    /// Seconds per line, about.
    pub seconds: f64,
}

/// A kernel at a shape.
struct Case {
    group: &'static str,
    label: String,
    kernel: Kernel,
    /// Elements of what is read, and of what is written.
    lens: Vec<usize>,
    /// Thousands of millions of `unit`.
    work: f64,
    unit: &'static str,
}

/// Prints one line per kernel and shape, and with [`Wanted::variants`] one per variant; a variant that the adapter refuses gives
/// the reason instead.
///
/// # Errors
/// There is no such adapter, or it fails.
pub fn print(wanted: &Wanted) -> Result<()> {
    let hardware_kernels = wanted.hardware_kernels;
    let index = adapters::find(&wanted.device)?;
    let lab = Lab::new(context::open(index, Options { hardware_kernels, ..Options::default() })?);
    let info = &lab.context.info;
    let class = if lab.context.caps.software { "software" } else { "hardware" };
    println!("{}: {} ({}, {}), kernels for {class}, by {:?}", info.id, info.name, info.backend, info.driver, lab.clock());
    let cases = products().into_iter().chain(convolutions()).chain(pools()).chain(memory_bound());
    for case in cases.filter(|c| format!("{} {}", c.group, c.label).contains(&wanted.only)) {
        case.print(&lab, wanted)?;
    }
    Ok(())
}

impl Case {
    fn print(&self, lab: &Lab, wanted: &Wanted) -> Result<()> {
        let buffers: Vec<_> = self.lens.iter().map(|&n| (DType::F32, n)).collect();
        let plan = one_step(self.kernel.clone(), &buffers);
        let (step, caps) = (&plan.steps[0], &lab.context.caps);
        println!("{} {}", self.group, self.label);
        self.line(lab, "selected", &lower(step, &plan, caps)?, wanted.seconds)?;
        for variant in Variant::all(&self.kernel).into_iter().filter(|_| wanted.variants) {
            match variant.lower(step, &plan, caps).and_then(|l| self.line(lab, &format!("{variant:?}"), &l, wanted.seconds)) {
                Ok(()) => {}
                Err(error) if error.is_device_loss() => return Err(error),
                Err(error) => println!("  {variant:?}: {error}"),
            }
        }
        Ok(())
    }

    /// Times one form of the kernel.
    fn line(&self, lab: &Lab, what: &str, lowered: &Lowered, seconds: f64) -> Result<()> {
        let Some((&written, read)) = self.lens.split_last() else { return Ok(()) };
        let reads: Vec<_> = (0..).zip(read).map(|(seed, &n)| HostData::F32(noise(n, seed))).collect();
        let target = Target { operand: Operand::Write, data: HostData::F32(vec![0.0; written]) };
        let prepared = lab.load(lowered, &reads, &[target])?;
        let (first, ms) = lab.time(&prepared, seconds)?;
        let rate = self.work / ms * 1e3;
        println!("  {rate:9.2} {}/s {ms:9.4} ms, first {first:5.0} ms  {} ({what})", self.unit, prepared.name);
        Ok(())
    }
}

fn product(m: usize, n: usize, k: usize, ta: bool, tb: bool) -> MatMul {
    let view = |rows: usize, cols: usize, t: bool| {
        let (row, col) = if t { (1, rows as i64) } else { (cols as i64, 1) };
        MatrixView { batch: vec![], row, col, offset: 0 }
    };
    let epilogue = Expr::identity(Shape::of(&[m, n]), DType::F32);
    MatMul { batch: Shape::SCALAR, m, n, k, a: view(m, k, ta), b: view(k, n, tb), epilogue, sums: None }
}

fn products() -> Vec<Case> {
    let case = |label: String, mm: MatMul| {
        let reach = |v: &MatrixView, len: usize| len + usize::try_from(v.offset).unwrap_or(0);
        let lens = vec![reach(&mm.a, mm.m * mm.k), reach(&mm.b, mm.k * mm.n), mm.m * mm.n];
        let work = 2e-9 * (mm.m * mm.n * mm.k) as f64;
        Case { group: "matmul", label, kernel: Kernel::MatMul(mm), lens, work, unit: "GFLOP" }
    };
    let mut cases = Vec::new();
    let mut odd = product(512, 512, 512, false, false);
    odd.a.offset = 1;
    cases.push(case("512x512x512, lhs by scalars".into(), odd.clone()));
    odd.b.offset = 1;
    cases.push(case("512x512x512, both by scalars".into(), odd));
    for (m, n, k, ta, tb) in [
        (512, 512, 512, false, false),
        (512, 512, 512, false, true),
        (512, 512, 512, true, false),
        (1024, 1024, 1024, false, false),
        (128, 512, 784, false, true),
        (128, 512, 512, false, true),
        (128, 10, 512, false, true),
        (128, 512, 10, false, false),
        (10, 512, 128, true, false),
        (512, 784, 128, true, false),
        (64, 128, 1568, false, true),
        (64, 1568, 128, false, false),
        (128, 1568, 64, true, false),
        (10, 128, 64, true, false),
        (64, 10, 128, false, true),
        (16, 16, 65_536, true, false),
        (1, 1024, 1024, false, true),
    ] {
        let letter = |t: bool| if t { 'T' } else { 'N' };
        cases.push(case(format!("{m}x{n}x{k} {}{}", letter(ta), letter(tb)), product(m, n, k, ta, tb)));
    }
    cases
}

fn convolutions() -> Vec<Case> {
    // x, output channels, kernel, stride, padding
    let layers = [
        ([64, 1, 28, 28], 16, 3, 1, 1),
        ([64, 16, 14, 14], 32, 3, 1, 1),
        ([64, 32, 7, 7], 64, 3, 1, 1),
        ([32, 64, 16, 16], 64, 3, 1, 1),
        ([16, 32, 32, 32], 64, 3, 1, 1),
        ([32, 32, 32, 32], 64, 3, 2, 1),
        ([32, 64, 16, 16], 64, 1, 1, 0),
        ([16, 3, 32, 32], 32, 5, 1, 2),
    ];
    let mut cases = Vec::new();
    for (x, co, k, stride, pad) in layers {
        let spec = ConvSpec { stride: [stride; 2], padding: [pad; 2], dilation: [1; 2], groups: 1 };
        let w = [co, x[1], k, k];
        let out = (x[2] + 2 * pad - k) / stride + 1;
        let y = [x[0], co, out, out];
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let plain = |shape: [usize; 4]| Expr::identity(Shape::of(&shape), DType::F32);
        for (what, role, lens, epilogue) in [
            ("forward", ConvRole::Forward, vec![nx, nw, ny], plain(y)),
            ("input gradient", ConvRole::InputGrad, vec![ny, nw, nx], plain(x)),
            ("weight gradient", ConvRole::WeightGrad, vec![nx, ny, nw], plain(w)),
            ("forward with bias and relu", ConvRole::Forward, vec![nx, nw, co, ny], bias_relu(&y, 1, 2)),
        ] {
            let label = format!("{x:?} to {co}, {k}x{k} stride {stride}, {what}");
            let kernel = Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue, packed: None, moments: None });
            cases.push(Case { group: "conv", label, kernel, lens, work: 2e-9 * (ny * x[1] * k * k) as f64, unit: "GFLOP" });
        }
    }
    cases
}

fn pools() -> Vec<Case> {
    let spec = PoolSpec { kernel: [2; 2], stride: [2; 2], padding: [0; 2], dilation: [1; 2], count_include_pad: true };
    let mut cases = Vec::new();
    for (c, len) in [(16, 28), (32, 14)] {
        let (x, y) = ([64, c, len, len], [64, c, len / 2, len / 2]);
        let [nx, ny] = [x, y].map(|s| s.iter().product::<usize>());
        for (op, lens) in [
            (PoolOp::Max, vec![nx, ny]),
            (PoolOp::MaxScatter, vec![nx, ny, nx]),
            (PoolOp::Avg, vec![nx, ny]),
            (PoolOp::AvgScatter, vec![ny, nx]),
        ] {
            let work = 4e-9 * lens.iter().sum::<usize>() as f64;
            cases.push(Case {
                group: "pool",
                label: format!("{op:?} {x:?}"),
                kernel: Kernel::Pool { op, spec, x, y },
                lens,
                work,
                unit: "GB",
            });
        }
    }
    cases
}

/// Elementwise steps and reductions.
fn memory_bound() -> Vec<Case> {
    let n = 1 << 22;
    let loaded = |shape: &[usize], op: Option<UnaryOp>| {
        let shape = Shape::of(shape);
        let mut e = Expr::new(shape);
        let mut root = e.push(Term::Load { operand: 0, view: View::contiguous(shape) }, DType::F32);
        if let Some(op) = op {
            root = e.push(Term::Unary(op, root), DType::F32);
        }
        e.finish(root)
    };
    let mut cases: Vec<Case> = [UnaryOp::Neg, UnaryOp::Exp]
        .into_iter()
        .map(|op| Case {
            group: "elementwise",
            label: format!("{op:?} of {n}"),
            kernel: Kernel::Elementwise(loaded(&[n], Some(op))),
            lens: vec![n, n],
            work: 8e-9 * n as f64,
            unit: "GB",
        })
        .collect();
    for (rows, cols) in [(1, n), (64, n / 64), (n / 64, 64)] {
        let kernel = Kernel::Reduce {
            op: ReduceOp::Sum,
            value: loaded(&[rows, cols], None),
            kept: 1,
            epilogue: Expr::identity(Shape::of(&[rows]), DType::F32),
        };
        let label = format!("sum of {rows} rows of {cols}");
        cases.push(Case { group: "reduce", label, kernel, lens: vec![n, rows], work: 4e-9 * n as f64, unit: "GB" });
    }
    cases
}
