//! Convolutions and pooling over odd geometries.

use super::{Variants, close, each_variant, f32s, noise, run, run_as, thorough, validate};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::{Lab, Target, bias_relu, one_step};
use crate::gpu::kernels::source::MAX_LOOP;
use crate::gpu::kernels::tile::Tile;
use crate::gpu::kernels::{conv2d, lower};
use crate::gpu::program::{Caps, Lowered, Operand, Word};
use crate::graph::View;
use crate::graph::op::{BinaryOp, ConvSpec, PoolOp, PoolSpec};
use crate::plan::{Conv2d, ConvRole, Expr, Further, Kernel, Moments, Plan, Term};
use crate::shape::Shape;

fn at(shape: [usize; 4], i: [usize; 4]) -> usize {
    ((i[0] * shape[1] + i[1]) * shape[2] + i[2]) * shape[3] + i[3]
}

/// Calls `f(x index, w index, y index)` for every product of a convolution.
fn taps(spec: &ConvSpec, x: [usize; 4], w: [usize; 4], y: [usize; 4], mut f: impl FnMut(usize, usize, usize)) {
    let per_group = y[1] / spec.groups;
    for n in 0..y[0] {
        for o in 0..y[1] {
            for (oy, ox) in (0..y[2] * y[3]).map(|p| (p / y[3], p % y[3])) {
                for i in 0..w[1] {
                    for (kh, kw) in (0..w[2] * w[3]).map(|p| (p / w[3], p % w[3])) {
                        let iy = (oy * spec.stride[0] + kh * spec.dilation[0]).wrapping_sub(spec.padding[0]);
                        let ix = (ox * spec.stride[1] + kw * spec.dilation[1]).wrapping_sub(spec.padding[1]);
                        if iy < x[2] && ix < x[3] {
                            f(at(x, [n, o / per_group * w[1] + i, iy, ix]), at(w, [o, i, kh, kw]), at(y, [n, o, oy, ox]));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn convolutions_match_loops() {
    let lab = Lab::open(true).unwrap();
    // (n, ci, h, w), (co, kh, kw), stride, padding, dilation, groups
    type Row = ([usize; 4], [usize; 3], [usize; 2], [usize; 2], [usize; 2], usize);
    let rows: &[Row] = &[
        ([2, 1, 8, 8], [16, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([2, 3, 7, 5], [5, 3, 3], [1, 1], [0, 0], [1, 1], 1),
        ([1, 4, 14, 14], [8, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([2, 5, 9, 12], [6, 2, 3], [1, 1], [2, 0], [1, 1], 1),
        ([2, 6, 6, 6], [4, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([1, 2, 11, 10], [3, 3, 3], [2, 2], [1, 1], [1, 1], 1),
        ([2, 3, 9, 9], [4, 2, 2], [2, 3], [0, 1], [1, 1], 1),
        ([1, 2, 12, 9], [3, 3, 2], [3, 2], [1, 2], [2, 1], 1),
        ([1, 2, 13, 13], [2, 3, 3], [1, 1], [2, 2], [2, 2], 1),
        ([1, 3, 10, 10], [2, 3, 3], [2, 2], [2, 2], [2, 2], 1),
        ([2, 4, 8, 8], [6, 3, 3], [1, 1], [1, 1], [1, 1], 2),
        ([2, 6, 9, 7], [6, 3, 3], [1, 1], [1, 1], [1, 1], 6),
        ([1, 6, 8, 8], [12, 3, 3], [2, 2], [1, 1], [1, 1], 6),
        ([1, 3, 16, 16], [8, 7, 7], [2, 2], [3, 3], [1, 1], 1),
        ([1, 2, 9, 8], [9, 5, 5], [1, 1], [2, 2], [1, 1], 1),
        ([1, 1, 1, 1], [1, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([1, 1, 3, 3], [2, 3, 3], [1, 1], [3, 4], [1, 1], 1),
        ([1, 2, 17, 17], [2, 1, 1], [3, 3], [0, 0], [1, 1], 1),
        ([1, 1, 9, 14], [2, 2, 9], [1, 1], [1, 4], [1, 1], 1),
    ];
    for (n, &(x, [co, kh, kw], stride, padding, dilation, groups)) in rows.iter().enumerate() {
        // Every sixth geometry runs in several variants, the first of them, with an odd image, in each.
        let of = if n == 1 { Variants::Whole } else { Variants::ShortQuarter };
        let variants = |what: &str, kernel: Kernel, reads: &[HostData], want: &[f64]| {
            assert!(n % 6 != 1 || each_variant(&lab, of, &kernel, reads, (what, want), 1e-4) > 1);
        };
        let spec = ConvSpec { stride, padding, dilation, groups };
        let w = [co, x[1] / groups, kh, kw];
        let y = [x[0], co, spec.output(0, x[2], kh).unwrap(), spec.output(1, x[3], kw).unwrap()];
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let (dx, dw, dy) = (noise(nx, 1), noise(nw, 2), noise(ny, 3));
        let what = format!("{x:?} {w:?} {spec:?}");
        let kernel = |role, epilogue| Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue, packed: None, moments: None });
        let plain = |s: [usize; 4]| Expr::identity(Shape::of(&s), DType::F32);
        let software = |kernel: Kernel, reads: &[HostData], len: usize| {
            run_as(&lab, kernel, reads, HostData::F32(vec![f32::NAN; len]), &Caps::webgpu_defaults(true))
        };
        // Every third geometry runs as on hardware, too.
        let on_both = |kernel: Kernel, reads: &[HostData], len: usize| {
            if n.is_multiple_of(3) || thorough() { run(&lab, kernel, reads, len) } else { software(kernel, reads, len) }
        };

        let mut want = vec![0.0; ny];
        taps(&spec, x, w, y, |i, j, o| want[o] += dx[i] * dw[j]);
        let got = on_both(kernel(ConvRole::Forward, plain(y)), &[f32s(&dx), f32s(&dw)], ny);
        close(&format!("forward {what}"), &got, &want, 1e-4);

        let bias = noise(co, 4);
        let plane = y[2] * y[3];
        let relu: Vec<f64> = want.iter().enumerate().map(|(i, v)| (v + bias[i / plane % co]).max(0.0)).collect();
        let fused = kernel(ConvRole::Forward, bias_relu(&y, 1, 2));
        let got = software(fused, &[f32s(&dx), f32s(&dw), f32s(&bias)], ny);
        close(&format!("forward, bias, relu {what}"), &got, &relu, 1e-4);
        variants(&what, kernel(ConvRole::Forward, bias_relu(&y, 1, 2)), &[f32s(&dx), f32s(&dw), f32s(&bias)], &relu);

        let mut want = vec![0.0; nx];
        taps(&spec, x, w, y, |i, j, o| want[i] += dy[o] * dw[j]);
        let got = on_both(kernel(ConvRole::InputGrad, plain(x)), &[f32s(&dy), f32s(&dw)], nx);
        close(&format!("input grad {what}"), &got, &want, 1e-4);

        let bias = noise(x[1], 4);
        let plane = x[2] * x[3];
        let relu: Vec<f64> = want.iter().enumerate().map(|(i, v)| (v + bias[i / plane % x[1]]).max(0.0)).collect();
        let fused = kernel(ConvRole::InputGrad, bias_relu(&x, 1, 2));
        let got = software(fused, &[f32s(&dy), f32s(&dw), f32s(&bias)], nx);
        close(&format!("input grad, bias, relu {what}"), &got, &relu, 1e-4);
        variants(&what, kernel(ConvRole::InputGrad, bias_relu(&x, 1, 2)), &[f32s(&dy), f32s(&dw), f32s(&bias)], &relu);

        let mut want = vec![0.0; nw];
        taps(&spec, x, w, y, |i, j, o| want[j] += dy[o] * dx[i]);
        let got = on_both(kernel(ConvRole::WeightGrad, plain(w)), &[f32s(&dx), f32s(&dy)], nw);
        close(&format!("weight grad {what}"), &got, &want, 1e-4);
        variants(&what, kernel(ConvRole::WeightGrad, plain(w)), &[f32s(&dx), f32s(&dy)], &want);
    }
}

/// Weights as [`Kernel::Pack`] writes them.
fn packed<T: Copy>(w: &[T], [lines, taps]: [usize; 2]) -> Vec<T> {
    (0..taps).flat_map(|tap| (0..lines).map(move |line| w[line * taps + tap])).collect()
}

/// Of a buffer with the weights of others before and after them.
#[test]
fn convolutions_read_packed_weights() {
    let lab = Lab::open(true).unwrap();
    // (n, ci, h, w), (co, kh, kw), stride, padding, dilation, groups
    type Row = ([usize; 4], [usize; 3], [usize; 2], [usize; 2], [usize; 2], usize);
    let rows: &[Row] = &[
        ([2, 16, 9, 7], [24, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([1, 32, 8, 8], [16, 3, 3], [2, 2], [1, 1], [1, 1], 2),
        ([1, 8, 6, 11], [8, 1, 4], [1, 2], [0, 2], [1, 2], 1),
        ([1, 24, 5, 5], [40, 2, 2], [3, 1], [1, 0], [2, 1], 1),
    ];
    for &(x, [co, kh, kw], stride, padding, dilation, groups) in rows {
        let spec = ConvSpec { stride, padding, dilation, groups };
        let w = [co, x[1] / groups, kh, kw];
        let y = [x[0], co, spec.output(0, x[2], kh).unwrap(), spec.output(1, x[3], kw).unwrap()];
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let (dx, dw, dy) = (noise(nx, 1), noise(nw, 2), noise(ny, 3));
        let others = vec![f64::NAN; 64];
        let shared = [&others[..], &packed(&dw, [w[0] * w[1], kh * kw]), &others].concat();
        let mut want = [vec![0.0; ny], vec![0.0; nx]];
        taps(&spec, x, w, y, |i, j, o| {
            want[0][o] += dx[i] * dw[j];
            want[1][i] += dy[o] * dw[j];
        });
        for (role, read, out, want) in [(ConvRole::Forward, dx, y, &want[0]), (ConvRole::InputGrad, dy, x, &want[1])] {
            let what = format!("{role:?} {x:?} {w:?} {spec:?}");
            let epilogue = Expr::identity(Shape::of(&out), DType::F32);
            let kernel = Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue, packed: Some(others.len()), moments: None });
            let reads = [f32s(&read), f32s(&shared)];
            close(&what, &run(&lab, kernel.clone(), &reads, want.len()), want, 1e-4);
            each_variant(&lab, Variants::Short, &kernel, &reads, (&what, want), 1e-4);
        }
    }
}

/// Moments of a result that is written first, and of one that is added up for them; the result has the bits that it has without.
#[test]
fn convolutions_take_moments_of_their_results() {
    let lab = Lab::open(true).unwrap();
    // (n, ci, h, w), (co, kh, kw), a rectified sum, whether workgroups can add up parts.
    let rows = [
        ([2, 16, 16, 16], [32, 3, 3], false, true),
        ([2, 24, 64, 64], [8, 1, 1], false, true),
        ([2, 16, 16, 16], [32, 3, 3], true, false),
        ([2, 16, 8, 8], [20, 3, 3], false, false),
        ([3, 8, 5, 7], [16, 3, 3], false, false),
    ];
    for (x, [co, kh, kw], finished, adds) in rows {
        let spec = ConvSpec { stride: [1; 2], padding: [kh / 2, kw / 2], dilation: [1; 2], groups: 1 };
        let (w, y) = ([co, x[1], kh, kw], [x[0], co, x[2], x[3]]);
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let (dx, dw, bias) = (noise(nx, 1), noise(nw, 2), noise(co, 3));
        let mut want = vec![0.0; ny];
        taps(&spec, x, w, y, |i, j, o| want[o] += dx[i] * dw[j]);
        let plane = y[2] * y[3];
        if finished {
            want.iter_mut().enumerate().for_each(|(i, v)| *v = (*v + bias[i / plane % co]).max(0.0));
        }
        let of = |channel: usize| want.iter().enumerate().filter(move |(i, _)| i / plane % co == channel).map(|(_, v)| *v);
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let means: Vec<f64> = (0..co).map(|c| mean(of(c).collect())).collect();
        let variances = (0..co).map(|c| mean(of(c).map(|v| (v - means[c]).powi(2)).collect()));
        let moments: Vec<f64> = means.iter().copied().chain(variances).collect();
        // Half of each variance, besides.
        let halved: Vec<f64> = moments[co..].iter().map(|v| v / 2.0).collect();

        let view = View::contiguous(Shape::of(&y)).permute(&[1, 0, 2, 3]);
        let mut value = Expr::new(view.shape);
        value.push(Term::Load { operand: 0, view }, DType::F32);
        let mut half = Expr::new(Shape::of(&[co]));
        let (acc, two) = (half.push(Term::Acc, DType::F32), half.push(Term::Constant { bits: 0.5f64.to_bits() }, DType::F32));
        half.push(Term::Binary(BinaryOp::Mul, acc, two), DType::F32);
        let further = vec![Further { half: 1, expr: half, buffer: 4 }];
        let epilogue = if finished { bias_relu(&y, 1, 2) } else { Expr::identity(Shape::of(&y), DType::F32) };
        let conv = |moments| {
            let epilogue = epilogue.clone();
            Kernel::Conv2d(Conv2d { role: ConvRole::Forward, spec, x, w, y, epilogue, packed: None, moments })
        };
        let with = conv(Some(Box::new(Moments { value, kept: 1, further, buffer: 5 })));
        let mut reads = vec![f32s(&dx), f32s(&dw)];
        reads.extend(finished.then(|| f32s(&bias)));
        let plan = |kernel: Kernel| {
            let mut plan = one_step(kernel, &[nx, nw, co, ny, co, 2 * co].map(|len| (DType::F32, len)));
            plan.steps[0].reads = (0..reads.len()).collect();
            plan.steps[0].write = Some(3);
            plan
        };
        let (with, without) = (plan(with), plan(conv(None)));
        let targets = [(Operand::Write, ny), (Operand::Moments, 2 * co), (Operand::Further(0), co)];
        let run = |lowered: &Lowered, targets: &[(Operand, usize)]| {
            validate(lowered);
            let out = |&(operand, len)| Target { operand, data: HostData::F32(vec![f32::NAN; len]) };
            let prepared = lab.prepare(lowered, &reads, &targets.iter().map(out).collect::<Vec<_>>());
            lab.run(&prepared, 1);
            (0..).zip(targets).map(|(n, &(_, len))| lab.read(&prepared, n, DType::F32, len).to_f64()).collect::<Vec<_>>()
        };
        for (variant, caps) in [
            (None, Caps::webgpu_defaults(true)),
            (None, Caps::webgpu_defaults(false)),
            (Some(conv2d::Variant::Image { tile: Tile::of_eights(128, 128), splits: 2 }), Caps::webgpu_defaults(false)),
            (Some(conv2d::Variant::Image { tile: Tile::narrow(8, 256), splits: 3 }), Caps::webgpu_defaults(false)),
            (Some(conv2d::Variant::Image { tile: Tile::of_eights(64, 128), splits: 2 }), Caps::webgpu_defaults(true)),
        ] {
            let lower = |plan: &Plan| match variant {
                Some(variant) => conv2d::lower_with(&plan.steps[0], plan, &caps, variant).unwrap(),
                None => lower(&plan.steps[0], plan, &caps).unwrap(),
            };
            let lowered = lower(&with);
            let what = format!("{variant:?} of {x:?} {w:?}, {:?}", lowered.programs.iter().map(|p| &p.name).collect::<Vec<_>>());
            let is_split = variant.is_some() && !caps.software;
            let added = lowered.programs.iter().any(|p| p.name.starts_with("split_sum_moments"));
            assert!(added == (adds && is_split) || variant.is_none(), "{what}");
            let got = run(&lowered, &targets);
            close(&what, &got[0], &want, 1e-4);
            close(&what, &got[1], &moments, 1e-4);
            close(&what, &got[2], &halved, 1e-4);
            assert_eq!(run(&lower(&without), &targets[..1])[0], got[0], "{what}");
        }
    }
}

#[test]
fn weights_are_packed_tap_by_tap() {
    let lab = Lab::open(true).unwrap();
    let rows: &[&[[usize; 2]]] = &[
        &[[64, 9]],
        &[[1, 1]],
        &[[65, 2], [3, 17]],
        &[[7, 256], [130, 9], [64, 3]],
        &[[64, 9], [128, 9], [192, 25], [1, 4], [63, 2], [2, 16], [5, 33]],
    ];
    for &parts in rows {
        let weights: Vec<Vec<f64>> = (0..).zip(parts).map(|(n, [lines, taps])| noise(lines * taps, n)).collect();
        let want: Vec<f64> = weights.iter().zip(parts).flat_map(|(w, &part)| packed(w, part)).collect();
        let reads: Vec<HostData> = weights.iter().map(|w| f32s(w)).collect();
        let kernel = || Kernel::Pack { parts: parts.to_vec() };
        for caps in [Caps::webgpu_defaults(true), Caps::webgpu_defaults(false), Caps::webgpu_defaults(false).with_short_texts()] {
            let out = HostData::F32(vec![f32::NAN; want.len()]);
            assert_eq!(run_as(&lab, kernel(), &reads, out, &caps), want, "{parts:?} {caps:?}");
        }
    }
}

/// The taps of a window inside the image, as x indices in row-major order.
fn window(spec: &PoolSpec, x: [usize; 4], n: usize, c: usize, oy: usize, ox: usize) -> Vec<usize> {
    let mut inside = Vec::new();
    for (kh, kw) in (0..spec.kernel[0] * spec.kernel[1]).map(|p| (p / spec.kernel[1], p % spec.kernel[1])) {
        let iy = (oy * spec.stride[0] + kh * spec.dilation[0]).wrapping_sub(spec.padding[0]);
        let ix = (ox * spec.stride[1] + kw * spec.dilation[1]).wrapping_sub(spec.padding[1]);
        if iy < x[2] && ix < x[3] {
            inside.push(at(x, [n, c, iy, ix]));
        }
    }
    inside
}

#[test]
fn pooling_matches_loops() {
    let lab = Lab::open(true).unwrap();
    // x, kernel, stride, padding, dilation, count_include_pad
    type Row = ([usize; 4], [usize; 2], [usize; 2], [usize; 2], [usize; 2], bool);
    let rows: &[Row] = &[
        ([2, 3, 8, 8], [2, 2], [2, 2], [0, 0], [1, 1], false),
        ([2, 3, 28, 28], [2, 2], [2, 2], [0, 0], [1, 1], false),
        ([1, 2, 9, 7], [2, 2], [2, 2], [0, 0], [1, 1], false),
        ([1, 2, 9, 9], [3, 3], [2, 2], [1, 1], [1, 1], false),
        ([1, 2, 9, 9], [3, 3], [2, 2], [1, 1], [1, 1], true),
        ([1, 2, 9, 9], [3, 2], [1, 1], [1, 1], [1, 1], true),
        ([1, 1, 10, 11], [2, 2], [3, 3], [1, 1], [1, 1], false),
        ([1, 1, 10, 11], [2, 3], [1, 2], [1, 1], [2, 2], false),
        ([1, 1, 5, 5], [5, 5], [5, 5], [0, 0], [1, 1], false),
        ([1, 2, 6, 16], [2, 2], [2, 2], [0, 0], [1, 1], false),
        ([1, 2, 7, 7], [1, 1], [1, 1], [0, 0], [1, 1], false),
        ([1, 3, 14, 14], [2, 2], [2, 2], [0, 0], [1, 1], false),
        ([2, 1, 6, 12], [3, 4], [3, 4], [0, 0], [1, 1], false),
    ];
    for &(x, kernel, stride, padding, dilation, count_include_pad) in rows {
        let spec = PoolSpec { kernel, stride, padding, dilation, count_include_pad };
        let y = [x[0], x[1], spec.output(0, x[2]).unwrap(), spec.output(1, x[3]).unwrap()];
        let [nx, ny] = [x, y].map(|s| s.iter().product::<usize>());
        // Few distinct values, so that ties happen; and some NaN.
        let mut data: Vec<f64> = noise(nx, 1).iter().map(|v| (v * 3.0).round()).collect();
        if nx > 100 {
            data[nx / 2] = f64::NAN;
            data[nx / 3] = f64::NEG_INFINITY;
        }
        let (u, dy) = (noise(nx, 2), noise(ny, 3));
        let (mut max, mut scatter, mut select, mut avg, mut spread) =
            (vec![0.0; ny], vec![0.0; nx], vec![0.0; ny], vec![0.0; ny], vec![0.0; nx]);
        for (o, oy, ox, n, c) in
            (0..ny).map(|o| (o, o / y[3] % y[2], o % y[3], o / (y[1] * y[2] * y[3]), o / (y[2] * y[3]) % y[1]))
        {
            let inside = window(&spec, x, n, c, oy, ox);
            let mut best = inside[0];
            for &i in &inside {
                if !data[best].is_nan() && (data[i].is_nan() || data[i] > data[best]) {
                    best = i;
                }
            }
            max[o] = data[best];
            select[o] = u[best];
            scatter[best] += dy[o];
            let count = if count_include_pad { kernel[0] * kernel[1] } else { inside.len() } as f64;
            avg[o] = inside.iter().map(|&i| u[i]).sum::<f64>() / count;
            inside.iter().for_each(|&i| spread[i] += dy[o] / count);
        }
        let what = format!("{x:?} {spec:?}");
        type Row<'a> = (PoolOp, Vec<&'a [f64]>, &'a [f64]);
        let rows: [Row; 5] = [
            (PoolOp::Max, vec![&data], &max),
            (PoolOp::MaxSelect, vec![&data, &u], &select),
            (PoolOp::MaxScatter, vec![&data, &dy], &scatter),
            (PoolOp::Avg, vec![&u], &avg),
            (PoolOp::AvgScatter, vec![&dy], &spread),
        ];
        for (op, reads, want) in rows {
            let reads: Vec<_> = reads.into_iter().map(f32s).collect();
            let got = run(&lab, Kernel::Pool { op, spec, x, y }, &reads, want.len());
            close(&format!("{op:?} {what}"), &got, want, 1e-5);
        }
    }
}

/// How large parts of the loops are is in the records, so that it can be checked without running hours of work.
#[test]
fn loops_of_convolutions_and_windows_stay_below_the_limit() {
    let caps = Caps::webgpu_defaults(true);
    let lowered = |kernel: Kernel, lens: [usize; 3]| {
        let plan = one_step(kernel, &lens.map(|len| (DType::F32, len)));
        lower(&plan.steps[0], &plan, &caps)
    };
    let spec = ConvSpec { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };
    let word = |w: Word| if let Word::U32(v) = w { v as usize } else { panic!("{w:?} changes") };
    // (n, ci, h, w), co: many rows per part, many channels.
    for (x, co) in [([512, 256, 56, 56], 256), ([4096, 64, 224, 224], 64), ([1, 70_000, 3, 3], 2), ([64, 1, 1, 30_001], 1)] {
        let (w, y) = ([co, x[1], 3, 3], [x[0], co, x[2], x[3]]);
        let product = |a: [usize; 4]| a.iter().product::<usize>();
        for (role, out) in [(ConvRole::Forward, y), (ConvRole::InputGrad, x), (ConvRole::WeightGrad, w)] {
            let epilogue = Expr::identity(Shape::of(&out), DType::F32);
            let kernel = Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue, packed: None, moments: None });
            let programs = lowered(kernel, [product(x), product(w), product(out)]).unwrap().programs;
            let launches: Vec<_> =
                programs.iter().filter(|p| p.name.starts_with(role_name(role)) && p.name != "conv2d_pack").collect();
            assert!(!launches.is_empty());
            let mut channels = 0;
            for p in launches {
                let record: Vec<usize> = p.record[..4].iter().map(|&w| word(w)).collect();
                let loops = if role == ConvRole::WeightGrad {
                    // At most 7 pixels per step, and one round per row.
                    record[2] * (1 + x[3].div_ceil(7))
                } else {
                    assert_eq!(record[1], channels, "channels in order");
                    channels = record[2];
                    (record[2] - record[1]) * 4
                };
                assert!(loops <= MAX_LOOP, "{} of {x:?}: {loops}", p.name);
            }
            let read = if role == ConvRole::Forward { x[1] } else { co };
            assert!(role == ConvRole::WeightGrad || channels == read, "{role:?} reads {channels} of {read} channels");
        }
    }
    for (op, kernel, fits) in [(PoolOp::Max, 240, true), (PoolOp::Max, 256, false), (PoolOp::MaxScatter, 17, false)] {
        let spec = PoolSpec { kernel: [kernel; 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], count_include_pad: true };
        let (x, y) = ([1, 1, 300, 300], [1, 1, 301 - kernel, 301 - kernel]);
        let result = lowered(Kernel::Pool { op, spec, x, y }, [90_000; 3]);
        assert_eq!(result.is_ok(), fits, "{op:?} {kernel}: {:?}", result.err());
    }
}

fn role_name(role: ConvRole) -> &'static str {
    match role {
        ConvRole::Forward => "conv2d_",
        ConvRole::InputGrad => "conv2d_dgrad_",
        ConvRole::WeightGrad => "conv2d_wgrad_",
    }
}

/// A part without steps would be zeros, written and read again.
#[test]
fn no_part_of_a_convolution_is_empty() {
    // (n, ci, h, w), (co, kh, kw), the parts wanted and made: of 2304, 72, 1600 and 24 steps, eight at a time.
    let rows = [
        ([2, 256, 4, 4], [32, 3, 3], 128, 96),
        ([2, 8, 4, 4], [32, 3, 3], 2, 2),
        ([2, 64, 6, 6], [8, 5, 5], 101, 100),
        ([1, 24, 4, 4], [8, 1, 1], 7, 3),
    ];
    for (x, [co, kh, kw], wanted, made) in rows {
        let spec = ConvSpec { stride: [1; 2], padding: [kh / 2, kw / 2], dilation: [1; 2], groups: 1 };
        let (w, y) = ([co, x[1], kh, kw], [x[0], co, x[2], x[3]]);
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let epilogue = Expr::identity(Shape::of(&y), DType::F32);
        let kernel = Kernel::Conv2d(Conv2d { role: ConvRole::Forward, spec, x, w, y, epilogue, packed: None, moments: None });
        let plan = one_step(kernel, &[nx, nw, ny].map(|len| (DType::F32, len)));
        let variant = conv2d::Variant::Image { tile: Tile::of_eights(32, 128), splits: wanted };
        let lowered = conv2d::lower_with(&plan.steps[0], &plan, &Caps::webgpu_defaults(false), variant).unwrap();
        assert_eq!(lowered.scratch.last(), Some(&((made * ny * 4) as u64)), "{x:?} {w:?}, {wanted} parts");
    }
}
