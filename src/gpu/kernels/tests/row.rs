//! Row-wise kernels: softmax, cross entropy, gather, scatter-add.

use super::{close, f32s, noise, plan_of, run, run_as, run_lowered};
use crate::dtype::HostData;
use crate::gpu::kernels::lab::Lab;
use crate::gpu::kernels::lower;
use crate::gpu::program::Caps;
use crate::graph::row::RowOp;
use crate::plan::{Kernel, Row};

fn row(op: RowOp, x: [usize; 2], out: [usize; 2]) -> Kernel {
    Kernel::Row(Row { op, x, out })
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return row.to_vec();
    }
    let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
    row.iter().map(|v| v - top - sum.ln()).collect()
}

#[test]
fn softmax_and_cross_entropy_match_loops() {
    let lab = Lab::open(true).unwrap();
    // Several rows in a workgroup, rows in registers up to the last that fits, longer ones in one part and in several.
    let shapes = [(1, 1), (3, 5), (64, 10), (5, 65), (17, 3), (2, 300), (70, 1000), (3, 4096), (2, 4097), (5, 9004), (1, 50_257)];
    for (rows, cols) in shapes {
        let mut x: Vec<f64> = noise(rows * cols, 1).iter().map(|v| f64::from((v * 30.0) as f32)).collect();
        if rows > 2 {
            x[cols..2 * cols].fill(f64::NEG_INFINITY);
            x[0] = f64::NEG_INFINITY;
        }
        if rows > 4 {
            x[3 * cols - 1] = f64::NAN;
            x[3 * cols] = f64::INFINITY;
        }
        let labels: Vec<i32> = (0..rows).map(|r| if r == 0 { -3 } else { (r * 7 % (cols + 2)) as i32 }).collect();
        let ct = noise(rows, 5);
        let log: Vec<f64> = x.chunks(cols).flat_map(log_softmax).collect();
        let soft: Vec<f64> = log.iter().map(|v| v.exp()).collect();
        let label = |r: usize| (labels[r].max(0) as usize).min(cols - 1);
        let loss: Vec<f64> = (0..rows).map(|r| -log[r * cols + label(r)]).collect();
        let grad: Vec<f64> =
            (0..rows * cols).map(|i| (soft[i] - if i % cols == label(i / cols) { 1.0 } else { 0.0 }) * ct[i / cols]).collect();
        for caps in [Caps::webgpu_defaults(true), Caps::webgpu_defaults(false)] {
            let what = format!("{rows}x{cols}, software {}", caps.software);
            let blank = |len: usize| HostData::F32(vec![f32::NAN; len]);
            let n = rows * cols;
            let got = run_as(&lab, row(RowOp::Softmax { log: false }, [rows, cols], [rows, cols]), &[f32s(&x)], blank(n), &caps);
            close(&format!("softmax {what}"), &got, &soft, 2e-6);
            let got = run_as(&lab, row(RowOp::Softmax { log: true }, [rows, cols], [rows, cols]), &[f32s(&x)], blank(n), &caps);
            close(&format!("log softmax {what}"), &got, &log, 2e-6);
            let index = HostData::I32(labels.clone());
            let reads = [f32s(&x), index.clone()];
            let kept = run_as(&lab, row(RowOp::CrossEntropy, [rows, cols], [3, rows]), &reads, blank(3 * rows), &caps);
            close(&format!("cross entropy {what}"), &kept[..rows], &loss, 2e-6);
            let reads = [f32s(&x), index, f32s(&kept), f32s(&ct)];
            let got = run_as(&lab, row(RowOp::CrossEntropyGrad, [rows, cols], [rows, cols]), &reads, blank(n), &caps);
            close(&format!("cross entropy gradient {what}"), &got, &grad, 2e-6);
        }
    }
}

#[test]
fn gradients_of_softmax_match_loops() {
    let lab = Lab::open(true).unwrap();
    for (rows, cols) in [(1, 1), (3, 5), (64, 10), (5, 65), (70, 1000), (3, 4096), (5, 9004), (3, 20_001)] {
        let n = rows * cols;
        let x: Vec<f64> = noise(n, 1).iter().map(|v| v * 10.0).collect();
        let mut log: Vec<f64> = x.chunks(cols).flat_map(log_softmax).map(|v| f64::from(v as f32)).collect();
        let mut ct = noise(n, 5);
        if rows > 2 {
            log[..cols].fill(f64::NEG_INFINITY);
            ct[2 * cols] = f64::NAN;
        }
        for is_log in [false, true] {
            let y: Vec<f64> = if is_log { log.clone() } else { log.iter().map(|v| f64::from(v.exp() as f32)).collect() };
            let mut expected = Vec::new();
            for (y, ct) in y.chunks(cols).zip(ct.chunks(cols)) {
                let sum: f64 = y.iter().zip(ct).map(|(y, ct)| if is_log { *ct } else { y * ct }).sum();
                expected.extend(y.iter().zip(ct).map(|(y, ct)| if is_log { ct - y.exp() * sum } else { y * (ct - sum) }));
            }
            for caps in [Caps::webgpu_defaults(true), Caps::webgpu_defaults(false)] {
                let kernel = row(RowOp::SoftmaxGrad { log: is_log }, [rows, cols], [rows, cols]);
                let got = run_as(&lab, kernel, &[f32s(&y), f32s(&ct)], HostData::F32(vec![f32::NAN; n]), &caps);
                close(&format!("{rows}x{cols}, log {is_log}, software {}", caps.software), &got, &expected, 2e-6);
            }
        }
    }
}

#[test]
fn gather_and_scatter_match_loops() {
    let lab = Lab::open(true).unwrap();
    // The last four sort their indices on the host's cores, the last two on hardware, too; the last two sum chunks first.
    let shapes = [(1, 1, 1), (5, 3, 17), (10, 8, 4), (3, 65, 40), (5000, 8, 60), (3000, 5, 300), (900, 8, 2000), (3, 257, 5000)];
    for (case, (rows, cols, n)) in shapes.into_iter().enumerate() {
        let index: Vec<i32> = (0..n).map(|i| (i * 5 % (rows + 2)) as i32 - 1).collect();
        let target = |i: usize| (index[i].max(0) as usize).min(rows - 1);
        let (table, src) = (noise(rows * cols, 1), noise(n * cols, 2));
        let taken: Vec<f64> = (0..n * cols).map(|i| table[target(i / cols) * cols + i % cols]).collect();
        let mut sums = vec![0.0; rows * cols];
        (0..n * cols).for_each(|i| sums[target(i / cols) * cols + i % cols] += src[i]);
        let what = format!("{rows}x{cols}, {n}");
        let got = run(&lab, row(RowOp::Gather, [rows, cols], [n, cols]), &[f32s(&table), HostData::I32(index.clone())], n * cols);
        close(&format!("gather {what}"), &got, &taken, 0.0);
        let kernel = row(RowOp::ScatterAdd, [n, cols], [rows, cols]);
        let reads = [f32s(&src), HostData::I32(index)];
        for (software, searched) in [(true, 4), (false, 6)] {
            let caps = Caps::webgpu_defaults(software);
            let out = HostData::F32(vec![f32::NAN; rows * cols]);
            let plan = plan_of(kernel.clone(), &reads, &out);
            let lowered = lower(&plan.steps[0], &plan, &caps).unwrap();
            assert_eq!(lowered.programs.len() == 1, case < searched, "{what}, software {software}");
            let got = run_lowered(&lab, &lowered, &reads, out);
            close(&format!("scatter {what}, software {software}"), &got, &sums, 1e-6 + n as f64 / rows as f64 * 4e-8);
        }
    }
}

#[test]
fn checks_find_the_first_index_out_of_range() {
    let lab = Lab::open(true).unwrap();
    for n in [1, 63, 65, 4096, 4097, 300_000] {
        for wrong in [None, Some(0), Some(n / 2), Some(n - 1)] {
            for (value, len, before) in [(7, 7, 0), (-1, 7, 0), (i32::MIN, u32::MAX, 0), (99, 7, 5)] {
                let mut index: Vec<i32> = (0..n).map(|i| (i % 7) as i32).collect();
                // A later one does not count.
                wrong.into_iter().for_each(|at| (index[n - 1], index[at]) = (-9, value));
                let flag = [before, 2, 3, 4];
                let expected = match wrong {
                    Some(at) if before == 0 => [12, at as i32, value, len.cast_signed()],
                    _ => flag,
                };
                let reads = [HostData::I32(index), HostData::I32(flag.to_vec())];
                let kernel = row(RowOp::Check { len, site: 12 }, [1, n], [1, 4]);
                let got = run_as(&lab, kernel, &reads, HostData::I32(vec![-1; 4]), &Caps::webgpu_defaults(true));
                close(&format!("{n}, {wrong:?}, {value} of {len}"), &got, &expected.map(f64::from), 0.0);
            }
        }
    }
}

#[test]
fn orders_match_a_stable_sort() {
    let lab = Lab::open(true).unwrap();
    for (rows, cols) in [(1, 1), (3, 64), (70, 65), (2, 1000), (1, 5000)] {
        for descending in [false, true] {
            let mut x: Vec<f32> = noise(rows * cols, 3).iter().map(|v| (v * 40.0).round() as f32).collect();
            let odd = [f32::NAN, -0.0, 0.0, f32::INFINITY, -f32::NAN, f32::NEG_INFINITY];
            x.iter_mut().step_by(7).zip(odd).for_each(|(v, odd)| *v = odd);
            let words: Vec<u32> = x.iter().map(|v| v.to_bits().rotate_left(9)).collect();
            let signed = words.iter().map(|&w| w as i32).collect();
            for (kind, data) in [("f32", HostData::F32(x)), ("u32", HostData::U32(words)), ("i32", HostData::I32(signed))] {
                let values = data.to_f64();
                let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
                let mut expected = Vec::new();
                for row in values.chunks(cols) {
                    let mut order: Vec<usize> = (0..cols).collect();
                    order.sort_by(|&i, &j| if descending { compare(row[j], row[i]) } else { compare(row[i], row[j]) });
                    expected.extend(order.into_iter().map(|i| i as f64));
                }
                let kernel = row(RowOp::ArgSort { descending }, [rows, cols], [rows, cols]);
                for software in [true, false] {
                    let blank = HostData::I32(vec![-1; rows * cols]);
                    let caps = Caps::webgpu_defaults(software);
                    let got = run_as(&lab, kernel.clone(), std::slice::from_ref(&data), blank, &caps);
                    close(&format!("{kind} {rows}x{cols}, {descending}, software {software}"), &got, &expected, 0.0);
                }
            }
        }
    }
}
