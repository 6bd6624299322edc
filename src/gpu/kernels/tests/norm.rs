//! Normalisation of rows and its gradient, in all forms.

use super::{close, f32s, noise, plan_of, run_lowered};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::{Lab, one_step};
use crate::gpu::kernels::lower;
use crate::gpu::program::{Caps, Program};
use crate::graph::row::{RowNorm, RowOp};
use crate::plan::{Kernel, Row};

/// What a normalisation and its gradient give: in the order of [`RowOp::RowNormGrad`].
fn expected(norm: &RowNorm, [rows, cols]: [usize; 2], x: &[f64], ct: &[f64], scale: &[f64], shift: &[f64]) -> [Vec<f64>; 2] {
    let parts = norm.parts([rows, cols]);
    let mut gradient = vec![0.0; norm.gradient_len([rows, cols])];
    let mut y = vec![0.0; rows * cols];
    for r in 0..rows {
        let at = |c: usize| r * cols + c;
        let parameter = |c: usize| r % norm.groups * norm.channels(cols) + c / norm.positions;
        let mean_of = |f: &dyn Fn(usize) -> f64| (0..cols).map(f).sum::<f64>() / cols as f64;
        let mean = if norm.centre { mean_of(&|c| x[at(c)]) } else { 0.0 };
        let root = 1.0 / (mean_of(&|c| (x[at(c)] - mean).powi(2)) + norm.eps()).sqrt();
        let n = |c: usize| (x[at(c)] - mean) * root;
        let g = |c: usize| ct[at(c)] * if norm.scale { scale[parameter(c)] } else { 1.0 };
        let mean_g = if norm.centre { mean_of(&g) } else { 0.0 };
        let mean_product = mean_of(&|c| g(c) * n(c));
        let part = r / norm.groups / parts.each;
        for c in 0..cols {
            y[at(c)] = n(c) * if norm.scale { scale[parameter(c)] } else { 1.0 };
            y[at(c)] += if norm.shift { shift[parameter(c)] } else { 0.0 };
            gradient[at(c)] = (g(c) - mean_g - n(c) * mean_product) * root;
            let sums = rows * cols;
            let [for_scale, for_shift] = if norm.by_column() {
                let shifts = sums + if norm.scale { parts.count * cols } else { 0 };
                [sums, shifts].map(|first| first + part * cols + c)
            } else {
                [0, 1].map(|k| sums + part * parts.width + 4 * parameter(c) + k)
            };
            if norm.scale {
                gradient[for_scale] += ct[at(c)] * n(c);
            }
            if norm.shift {
                gradient[for_shift] += ct[at(c)];
            }
        }
    }
    [y, gradient]
}

fn check(lab: &Lab, norm: RowNorm, x_shape: [usize; 2], bad: Option<f64>, caps: &[Caps], want_names: &[&str]) {
    let [rows, cols] = x_shape;
    let parameters = norm.groups * norm.channels(cols);
    let mut x: Vec<f64> = noise(rows * cols, 1).iter().map(|v| f64::from((v + 3.0) as f32)).collect();
    if let Some(bad) = bad {
        x[rows / 2 * cols + cols / 2] = bad;
    }
    let (ct, scale, shift) = (noise(rows * cols, 2), noise(parameters, 3), noise(parameters, 4));
    let [y, gradient] = expected(&norm, x_shape, &x, &ct, &scale, &shift);
    let mut names = Vec::new();
    for (n, caps) in caps.iter().enumerate() {
        let mut reads = vec![f32s(&x)];
        reads.extend(norm.scale.then(|| f32s(&scale)));
        reads.extend(norm.shift.then(|| f32s(&shift)));
        let mut gradient_reads = vec![f32s(&x), f32s(&ct)];
        gradient_reads.extend(norm.scale.then(|| f32s(&scale)));
        for (op, reads, want) in [(RowOp::RowNorm(norm), reads, &y), (RowOp::RowNormGrad(norm), gradient_reads, &gradient)] {
            let blank = HostData::F32(vec![f32::NAN; want.len()]);
            let kernel = Kernel::Row(Row { op, x: x_shape, out: [1, want.len()] });
            let plan = plan_of(kernel, &reads, &blank);
            let lowered = lower(&plan.steps[0], &plan, caps).unwrap();
            names.extend(lowered.programs.iter().map(|p| p.name.clone()));
            let got = run_lowered(lab, &lowered, &reads, blank);
            close(&format!("caps {n}: {op:?} of {x_shape:?}"), &got, want, 3e-5);
        }
    }
    assert!(want_names.iter().all(|w| names.iter().any(|n| n == w)), "{x_shape:?}: {names:?}");
}

fn all_caps() -> [Caps; 3] {
    let hardware = Caps::webgpu_defaults(false);
    [Caps::webgpu_defaults(true), hardware, hardware.with_short_texts()]
}

/// Rows, columns, groups, positions.
const SHAPES: [[usize; 4]; 16] = [
    [1, 1, 1, 1],
    [3, 5, 1, 1],
    [37, 64, 1, 1],
    [50, 127, 1, 1],
    [7, 767, 1, 1],
    [9, 768, 1, 1],
    [2, 4096, 1, 1],
    [2, 6000, 1, 1],
    [1, 16_385, 1, 1],
    // Groups of channels.
    [6, 35, 3, 7],
    [40, 9, 8, 9],
    [120, 16, 2, 4],
    [2, 6272, 2, 3136],
    [6, 1568, 3, 196],
    [2, 300 * 4, 1, 4],
    [2, 100 * 49, 1, 49],
];

#[test]
fn rows_are_normalised_in_all_forms() {
    let lab = Lab::open(true).unwrap();
    let [software, hardware, short] = all_caps();
    for (n, [rows, cols, groups, positions]) in SHAPES.into_iter().enumerate() {
        let (scale, shift) = [(true, true), (true, false), (true, true), (false, true), (false, false)][n % 5];
        let norm = RowNorm { centre: n % 5 != 1, eps: 1e-5f64.to_bits(), groups, positions, scale, shift };
        let forms: &[&str] = match cols {
            0..2000 => &["row_norm", "row_norm_grad", "row_norm_loops"],
            16_385.. => &["row_norm_loops"],
            _ => &["row_norm", "row_norm_loops"],
        };
        let caps = [software, hardware, short];
        check(&lab, norm, [rows, cols], None, if n % 3 == 0 { &caps } else { &caps[..2] }, forms);
    }
}

#[test]
fn what_is_not_a_number_spoils_its_row() {
    let lab = Lab::open(true).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (cols, groups, positions) in [(10, 1, 1), (24, 2, 8)] {
            let norm = RowNorm { centre: true, eps: 1e-5f64.to_bits(), groups, positions, scale: true, shift: true };
            check(&lab, norm, [6, cols], Some(bad), &all_caps()[..2], &[]);
        }
    }
}

/// Threads of a program.
fn threads(program: &Program) -> usize {
    let size = program.source.split_once("@workgroup_size(").unwrap().1.split_once(')').unwrap().0;
    program.grid.iter().map(|&n| n as usize).product::<usize>() * size.parse::<usize>().unwrap()
}

#[test]
fn large_norms_are_one_launch_with_enough_threads() {
    for [rows, cols, groups, positions] in [
        [8192, 768, 1, 1],
        [2048, 768, 1, 1],
        [8192, 767, 1, 1],
        [65_536, 64, 1, 1],
        [8192, 1028, 1, 1],
        [8192, 4096, 1, 1],
        [32 * 32, 2 * 3136, 32, 3136],
        [32 * 32, 8 * 196, 32, 196],
        [32 * 64, 3136, 64, 3136],
        [64 * 512, 49, 512, 49],
    ] {
        let x = [rows, cols];
        let norm = RowNorm { centre: true, eps: 0, groups, positions, scale: true, shift: true };
        let (n, parameters, len) = (rows * cols, groups * norm.channels(cols), norm.gradient_len(x));
        for (op, reads, len) in
            [(RowOp::RowNorm(norm), [n, parameters, parameters], n), (RowOp::RowNormGrad(norm), [n, n, parameters], len)]
        {
            let buffers: Vec<(DType, usize)> = reads.into_iter().chain([len]).map(|n| (DType::F32, n)).collect();
            let plan = one_step(Kernel::Row(Row { op, x, out: [1, len] }), &buffers);
            let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).unwrap();
            let [program] = &lowered.programs[..] else { panic!("{op:?} of {x:?} is not one launch") };
            assert!(threads(program) >= 131_072, "{op:?} of {x:?} has {} threads", threads(program));
        }
        // The sums of parts are written and read again.
        assert!(3 * n + 2 * (len - n) <= 3 * n * 3 / 2, "{x:?}: {len}");
    }
}
