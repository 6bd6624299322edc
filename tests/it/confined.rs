//! Values that are not finite stay in their window: NaN or ∞ in one element reaches only what depends on that element, forward
//! and backward, in every sample of every op.
//!
//! What depends on an element is found by changing it to other numbers in f64, at several points: no list has to be kept.

use crate::common::{Devices, Noise, open, oracle, upload};
use crate::samples::{Sample, kernel_ops, samples};
use crate::table::ops;
use std::collections::{BTreeMap, BTreeSet};
use wgrad::{DType, Device, DeviceKind, Error, Tensor};

/// How far a value that is not finite may spread, beyond what finite changes of its element reach and its own gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No further.
    Window,
    /// To results and gradients of the same index.
    Itself,
    /// To results and gradients of the same row, along the last axis.
    Row,
    /// To everything that is multiplied with weights, and to the weights' gradients. The images themselves, forward and backward,
    /// must stay in the window.
    Padding,
    /// Anywhere.
    Everywhere,
}

/// Op, part of the sample's name, reach, why.
type Exception = (&'static str, &'static str, Reach, &'static str);

const CONSTANT: &str = "constant of one element, which is still subtracted from itself";
const ZEROS: &str = "the zeros of the padding are multiplied with weights and cotangents, as in PyTorch's products";
const HIDDEN: &str = "a hidden key's weight is 0, and is multiplied with its value";
const BITS: &str = "no number changes the result";

const EXCEPTIONS: &[Exception] = &[
    ("is_nan", "", Reach::Itself, BITS),
    ("is_finite", "", Reach::Itself, BITS),
    ("cross_entropy_rows", "", Reach::Itself, CONSTANT),
    ("normalize", "", Reach::Itself, CONSTANT),
    ("standardize", "", Reach::Itself, CONSTANT),
    ("std", "", Reach::Itself, CONSTANT),
    ("var", "", Reach::Itself, CONSTANT),
    ("triplet_margin", "", Reach::Row, "a distance of NaN closes the margin"),
    ("conv1d", "", Reach::Padding, ZEROS),
    ("conv2d", "", Reach::Padding, ZEROS),
    ("conv3d", "", Reach::Padding, ZEROS),
    ("pad_same", "conv1d", Reach::Padding, ZEROS),
    ("conv_transpose1d", "", Reach::Padding, ZEROS),
    ("conv_transpose2d", "", Reach::Padding, ZEROS),
    ("conv_transpose3d", "", Reach::Padding, ZEROS),
    ("scaled_dot_product_attention", "dropout", Reach::Everywhere, "a dropped weight is 0, and is multiplied with its value"),
    ("scaled_dot_product_attention", "row added", Reach::Everywhere, HIDDEN),
    ("ctc", "", Reach::Everywhere, "a state that no alignment reaches has probability 0, which is multiplied"),
    ("affine_grid", "", Reach::Everywhere, "maps are multiplied with coordinates, one of which may be 0"),
    ("grid_sample", "", Reach::Padding, "a coordinate may touch any pixel"),
    ("scaled_dot_product_attention", "causal", Reach::Everywhere, HIDDEN),
    ("scaled_dot_product_attention", "mask", Reach::Everywhere, HIDDEN),
    ("scaled_dot_product_attention", "projection", Reach::Everywhere, HIDDEN),
];

/// Points at which dependence is tested: of the operands of a maximum, only one matters at any given point.
const POINTS: u64 = 3;
/// What an element is changed to, besides a random number in its range.
const CHANGES: [f64; 3] = [0.0, 100.0, -100.0];
/// How many samples of an op are tried on a GPU.
const ON_A_GPU: usize = 1;
const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// Operands, then a cotangent.
type Inputs = Vec<Vec<f64>>;

/// The result, then the gradient of each operand for the cotangent, concatenated.
fn run(sample: &Sample, inputs: &Inputs, dtype: DType, device: &Device) -> Vec<f64> {
    let fail = |e| -> ! { panic!("{}: {e}", sample.name) };
    let leaf = |(o, v): (&crate::samples::Operand, &Vec<f64>)| {
        let leaf = upload(v, &o.shape, dtype, device);
        // Computed on the device: an index made on the host would be refused if it is out of range.
        if sample.gradient { leaf.variable().expect("float") } else { leaf * 1.0 }
    };
    let leaves: Vec<Tensor> = sample.operands.iter().zip(inputs).map(leaf).collect();
    let y = (sample.run)(&leaves);
    let shape = y.shape().unwrap_or_else(|e| fail(e));
    let mut all = vec![y.clone()];
    if sample.gradient {
        let ct = match inputs.get(leaves.len()) {
            Some(ct) => upload(ct, &shape, y.dtype().expect("valid"), device),
            None => y.detach().ones_like(),
        };
        let g = y.backward_with(&ct).unwrap_or_else(|e| fail(e));
        all.extend(leaves.iter().filter_map(|l| g.get(l).ok()));
    }
    Tensor::eval_all(&all.iter().collect::<Vec<_>>()).unwrap_or_else(|e| fail(e));
    let value = |t: &Tensor| match t.to_host() {
        // The value is that of the nearest row, and comes with the next read.
        Err(Error::Index { .. }) => t.to_host(),
        other => other,
    };
    all.iter().flat_map(|t| value(t).unwrap_or_else(|e| fail(e)).to_f64()).collect()
}

/// Inputs within the operands' ranges, and a cotangent where there are gradients.
fn inputs(sample: &Sample, seed: u64, outputs: usize) -> Inputs {
    let mut noise = Noise(seed);
    let mut all: Inputs = sample.operands.iter().map(|o| noise.values(o.shape.iter().product(), o.lo, o.hi)).collect();
    if sample.gradient {
        all.push(noise.values(outputs, 0.5, 1.5));
    }
    all
}

fn with(inputs: &Inputs, (k, i): (usize, usize), value: f64) -> Inputs {
    let mut changed = inputs.clone();
    changed[k][i] = value;
    changed
}

/// Equal up to rounding: the CPU device's vectors take another path next to numbers that are not finite.
fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-6 * (1.0 + a.abs())
}

/// The positions at which two results differ; all of them if the lengths differ.
fn differing(a: &[f64], b: &[f64], equal: fn(f64, f64) -> bool) -> BTreeSet<usize> {
    if a.len() != b.len() {
        return (0..a.len().max(b.len())).collect();
    }
    (0..a.len()).filter(|&j| !equal(a[j], b[j])).collect()
}

/// What finite changes of one input element reach.
fn window(sample: &Sample, points: &[(Inputs, Vec<f64>)], at: (usize, usize)) -> BTreeSet<usize> {
    let cpu = oracle();
    let mut reached = BTreeSet::new();
    for (number, (point, base)) in points.iter().enumerate() {
        let other = sample.operands.get(at.0).map_or(2.0, |o| Noise(at.1 as u64 + 5).values(1, o.lo, o.hi)[0]);
        // A gradient is linear in the cotangent, so one change shows everything. At one point, a change within the range
        // suffices.
        let changes = if at.0 < sample.operands.len() && number != 1 { &CHANGES[..] } else { &[] };
        for &value in changes.iter().chain(&[other]) {
            let changed = run(sample, &with(point, at, value), DType::F64, &cpu);
            reached.extend(differing(base, &changed, |a, b| a.to_bits() == b.to_bits()));
        }
    }
    reached
}

/// The further positions that a sample's reach allows.
fn allowed(sample: &Sample, reach: Reach, (k, i): (usize, usize), outputs: usize, all: usize) -> BTreeSet<usize> {
    let sizes: Vec<usize> = sample.operands.iter().map(|o| o.shape.iter().product()).collect();
    let starts: Vec<usize> = sizes.iter().scan(outputs, |at, n| Some(std::mem::replace(at, *at + n))).collect();
    // At NaN, the slope of a kink is a matter of convention.
    let mut own: BTreeSet<usize> = starts.get(k).map(|start| start + i).into_iter().collect();
    let width = sample.operands.get(k).and_then(|o| o.shape.last().copied()).unwrap_or(1).max(1);
    match reach {
        Reach::Window => {}
        Reach::Itself => {
            own.insert(i % outputs.max(1));
            own.extend(starts.iter().zip(&sizes).map(|(start, n)| start + i % n.max(&1)));
        }
        Reach::Row if k == sizes.len() && outputs == 1 => own.extend(0..all),
        Reach::Row => {
            let row = i / width * width..(i / width + 1) * width;
            own.extend(row.clone().filter(|j| *j < outputs));
            own.extend(starts.iter().flat_map(|start| row.clone().map(move |j| start + j)));
        }
        Reach::Padding if k == 0 || k == sizes.len() => own.extend(starts.get(1).copied().unwrap_or(all)..all),
        Reach::Padding | Reach::Everywhere => own.extend(0..all),
    }
    own
}

/// How a sample fails on the devices; also whether any element was tried.
fn failures(sample: &Sample, devices: &[(&str, &Device)]) -> (bool, Vec<String>) {
    let cpu = oracle();
    let count = |sample: &Sample| {
        let leaves: Vec<Tensor> =
            sample.operands.iter().map(|o| upload(&vec![o.lo; o.shape.iter().product()], &o.shape, DType::F64, &cpu)).collect();
        (sample.run)(&leaves).shape().unwrap_or_else(|e| panic!("{}: {e}", sample.name)).numel()
    };
    let outputs = count(sample);
    let points: Vec<(Inputs, Vec<f64>)> = (0..POINTS)
        .map(|seed| {
            let mut point = inputs(sample, 31 + seed, outputs);
            if seed == POINTS - 1 {
                // Far out, where nothing is cut off or rounded to 0.
                for (k, values) in point.iter_mut().enumerate() {
                    values.iter_mut().for_each(|v| *v *= 50.0 / (1.0 + 20.0 * k as f64));
                }
            }
            let base = run(sample, &point, DType::F64, &cpu);
            (point, base)
        })
        .collect();
    let exception = EXCEPTIONS.iter().find(|e| e.0 == sample.op && sample.name.contains(e.1));
    let row = kernel_ops().into_iter().find(|op| op.name == sample.op).and_then(|op| op.reach);
    let reach = exception.map(|e| e.2).or(row.map(|(reach, _)| reach)).unwrap_or(Reach::Window);
    let mut found = Vec::new();
    let (mut noise, mut tried) = (Noise(53), false);
    let point = &points[0].0;
    let bases: Vec<Vec<f64>> = devices.iter().map(|(_, device)| run(sample, point, DType::F32, device)).collect();
    for (k, values) in point.iter().enumerate().filter(|(_, v)| !v.is_empty()) {
        let at = (k, (noise.next() * values.len() as f64) as usize);
        let mut window = window(sample, &points, at);
        window.extend(allowed(sample, reach, at, outputs, bases[0].len()));
        tried = true;
        for ((mode, device), base) in devices.iter().zip(&bases) {
            for bad in BAD {
                let got = run(sample, &with(point, at, bad), DType::F32, device);
                let outside: Vec<usize> = differing(base, &got, same).difference(&window).copied().collect();
                if let Some(&j) = outside.first() {
                    let what = if k < sample.operands.len() { format!("operand {k}") } else { "the cotangent".into() };
                    found.push(format!(
                        "{} {mode} on {device}: {bad} at {} of {what} reaches {outside:?} of {} ({outputs} results, then \
                         gradients): {} becomes {}",
                        sample.name,
                        at.1,
                        base.len(),
                        base.get(j).copied().unwrap_or(f64::NAN),
                        got.get(j).copied().unwrap_or(f64::NAN)
                    ));
                    break;
                }
            }
        }
    }
    (tried || sample.operands.iter().all(|o| o.shape.contains(&0)), found)
}

#[test]
fn non_finite_values_stay_in_their_window() {
    let on = Devices { fused: open(false), unfused: open(true) };
    let both = [("fused", &on.fused), ("unfused", &on.unfused)];
    // The spread depends on the graph, which is the same on all devices: a GPU, which compiles every plan, tries a few samples
    // per op.
    let cpu = on.fused.kind() == DeviceKind::Cpu;
    let devices = if cpu { &both[..] } else { &both[..1] };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for sample in samples() {
        let count = counts.entry(sample.op).or_default();
        *count += 1;
        if !cpu && *count > ON_A_GPU {
            continue;
        }
        let (tried, failures) = failures(&sample, devices);
        if tried {
            covered.insert(sample.op);
        }
        found.extend(failures);
    }
    assert!(found.is_empty(), "{} samples:\n{}", found.len(), found.join("\n"));
    if std::env::var_os("WGRAD_TEST_SAMPLES").is_some() {
        return;
    }
    let table = ops();
    let missing: Vec<&&str> = table.keys().filter(|op| !covered.contains(**op)).collect();
    assert!(missing.is_empty(), "ops that no sample covers: {missing:?}");
}
