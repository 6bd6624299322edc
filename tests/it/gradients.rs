//! Gradients in the middle of a graph, with a random cotangent: rules against central differences in f64, then the device
//! against f64.

use crate::common::{Layout, Noise, arrange, close, devices, oracle, upload, values};
use crate::samples::{Sample, samples};
use crate::sweep::sweep;
use wgrad::{DType, Device, Tensor, grad};

const EPS: f64 = 1e-6;

/// The loss `Σ c · sample(arrange(1.25 u + 0.1))` of leaves u, with a fixed random c: the op is neither first nor last.
fn loss(sample: &Sample, leaves: &[Tensor], layout: Layout) -> Tensor {
    let inner: Vec<Tensor> = leaves.iter().map(|u| arrange(&((u - 0.125) / 0.8 + 0.15625), layout)).collect();
    let y = (sample.run)(&inner);
    let shape = y.shape().unwrap_or_else(|e| panic!("{}: {e}", sample.name));
    let c = Noise(99).values(shape.numel(), -1.0, 1.0);
    let (dtype, device) = (y.dtype().expect("valid"), y.device().expect("valid"));
    (y * upload(&c, &shape, dtype, &device)).sum()
}

fn leaves(sample: &Sample, data: &[Vec<f64>], dtype: DType, device: &Device) -> Vec<Tensor> {
    let leaf = |(o, v): (&crate::samples::Operand, &Vec<f64>)| upload(v, &o.shape, dtype, device).variable().expect("float");
    sample.operands.iter().zip(data).map(leaf).collect()
}

fn data(sample: &Sample) -> Vec<Vec<f64>> {
    let mut noise = Noise(17);
    // The inverse of the affine step in `loss`: the op sees its own range.
    let pull = |v: f64| (v - 0.15625) * 0.8 + 0.125;
    let operand =
        |o: &crate::samples::Operand| noise.values(o.shape.iter().product(), o.lo, o.hi).into_iter().map(pull).collect();
    sample.operands.iter().map(operand).collect()
}

fn gradients(sample: &Sample, data: &[Vec<f64>], dtype: DType, device: &Device, layout: Layout) -> Vec<Vec<f64>> {
    let leaves = leaves(sample, data, dtype, device);
    let g = loss(sample, &leaves, layout).backward().unwrap_or_else(|e| panic!("{}: {e}", sample.name));
    leaves.iter().map(|l| values(&g.get(l).unwrap_or_else(|_| l.zeros_like()))).collect()
}

/// Central differences of a scalar function of all leaves.
fn differences(data: &[Vec<f64>], f: impl Fn(&[Vec<f64>]) -> f64) -> Vec<Vec<f64>> {
    let mut point = data.to_vec();
    let mut out = Vec::new();
    for o in 0..data.len() {
        let mut partial = Vec::new();
        for i in 0..data[o].len() {
            let at = |v: f64, point: &mut Vec<Vec<f64>>| {
                point[o][i] = v;
                f(point)
            };
            let (up, down) = (at(data[o][i] + EPS, &mut point), at(data[o][i] - EPS, &mut point));
            point[o][i] = data[o][i];
            partial.push((up - down) / (2.0 * EPS));
        }
        out.push(partial);
    }
    out
}

/// The derivatives along a random direction of a scalar function of all leaves: what rules say, and central differences.
fn along(rule: &[Vec<f64>], data: &[Vec<f64>], seed: u64, f: impl Fn(&[Vec<f64>]) -> f64) -> [f64; 2] {
    let mut noise = Noise(seed);
    let direction: Vec<Vec<f64>> = data.iter().map(|v| noise.values(v.len(), -1.0, 1.0)).collect();
    let at = |step: f64| {
        let moved = |(v, d): (&Vec<f64>, &Vec<f64>)| v.iter().zip(d).map(|(x, d)| x + step * d).collect();
        f(&data.iter().zip(&direction).map(moved).collect::<Vec<_>>())
    };
    let dot = rule.iter().flatten().zip(direction.iter().flatten()).map(|(r, d)| r * d).sum();
    [dot, (at(EPS) - at(-EPS)) / (2.0 * EPS)]
}

/// The layouts that a sample's gradients are checked in: only one if other samples of its op cover the rest.
fn chosen(sample: &Sample, layouts: &'static [Layout]) -> &'static [Layout] {
    if sample.full { layouts } else { &layouts[..1] }
}

#[test]
fn rules_agree_with_central_differences() {
    let cpu = oracle();
    for sample in samples().iter().filter(|s| s.gradient) {
        let point = data(sample);
        for &layout in chosen(sample, &[Layout::Contiguous, Layout::Transposed, Layout::Broadcast]) {
            let rule = gradients(sample, &point, DType::F64, &cpu, layout);
            let at = |p: &[Vec<f64>]| loss(sample, &leaves(sample, p, DType::F64, &cpu), layout).item().expect("a scalar");
            // Each derivative by itself in one layout, and their sums in the others.
            if layout != Layout::Contiguous {
                for seed in [3, 4] {
                    let [rule, numeric] = along(&rule, &point, seed, at);
                    let what = format!("the derivative of {} {layout:?} along direction {seed}", sample.name);
                    close(&what, &[rule], &[numeric], 1e-3, 1e-5);
                }
                continue;
            }
            let numeric = differences(&point, at);
            for (k, (r, n)) in rule.iter().zip(&numeric).enumerate() {
                close(&format!("gradient {k} of {} {layout:?}", sample.name), r, n, 1e-3, 1e-5);
            }
        }
    }
}

/// Computes a sample's gradients in a layout, whatever comes of it.
pub fn run_alone(sample: &Sample, layout: Layout, devices: &[(&'static str, &Device)]) {
    for (_, device) in devices {
        gradients(sample, &data(sample), DType::F32, device, layout);
    }
}

#[test]
fn devices_agree_with_f64() {
    let samples = samples();
    let samples: Vec<&Sample> = samples.iter().filter(|s| s.gradient).collect();
    let layouts = |sample: &Sample| chosen(sample, &[Layout::Contiguous, Layout::Transposed, Layout::Sliced]);
    sweep(&samples, layouts, |sample, layout, devices| {
        let point: Vec<Vec<f64>> = data(sample).iter().map(|v| v.iter().map(|&x| f64::from(x as f32)).collect()).collect();
        let expected = gradients(sample, &point, DType::F64, &oracle(), layout);
        for (mode, device) in devices {
            let got = gradients(sample, &point, DType::F32, device, layout);
            for (k, (g, e)) in got.iter().zip(&expected).enumerate() {
                close(&format!("gradient {k} of {} {layout:?} {mode} on {device}", sample.name), g, e, 2e-3, 2e-4);
            }
        }
    });
}

#[test]
fn second_derivatives_of_smooth_ops() {
    let cpu = oracle();
    for sample in samples().iter().filter(|s| s.second) {
        let point = data(sample);
        // Σ of squared first derivatives, so that every second derivative counts.
        let penalty = |leaves: &[Tensor]| {
            let wrt: Vec<&Tensor> = leaves.iter().collect();
            let first = grad(&loss(sample, leaves, Layout::Contiguous), &wrt).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
            first.iter().map(|g| g.square().sum()).reduce(|a, b| a + b).expect("an operand")
        };
        let variables = leaves(sample, &point, DType::F64, &cpu);
        let wrt: Vec<&Tensor> = variables.iter().collect();
        let rule = grad(&penalty(&variables), &wrt).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        let numeric = differences(&point, |p| penalty(&leaves(sample, p, DType::F64, &cpu)).item().expect("a scalar"));
        for (k, (r, n)) in rule.iter().zip(&numeric).enumerate() {
            close(&format!("second derivative {k} of {}", sample.name), &values(r), n, 2e-3, 2e-4);
        }
    }
}

#[test]
fn backward_twice_gives_the_same() {
    let d = &devices().fused;
    let x = upload(&[0.5, -1.5, 2.0], &[3], DType::F32, d).variable().expect("float");
    let loss = (x.tanh() * &x).sum();
    let first = values(&loss.backward().and_then(|g| g.get(&x)).expect("a gradient"));
    assert_eq!(values(&loss.backward().and_then(|g| g.get(&x)).expect("a gradient")), first);
}

#[test]
fn an_unused_variable_has_no_gradient_and_says_so() {
    let d = &devices().fused;
    let x = upload(&[1.0], &[1], DType::F32, d).variable().expect("float");
    let y = upload(&[1.0], &[1], DType::F32, d).variable().expect("float");
    let g = x.square().backward().expect("differentiable");
    assert!(g.get(&y).unwrap_err().to_string().contains("no gradient"));
}
