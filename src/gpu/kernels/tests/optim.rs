//! Optimizer kernels over a table of several entries, three steps each, against PyTorch's update rules in f64.

use super::{close, f32s, noise};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::{Lab, Target};
use crate::gpu::kernels::optim::lower_store;
use crate::gpu::program::{Arena, Caps, Lowered, Operand};
use crate::graph::op::OptimRule;
use crate::optim::store::Coefficients;

/// One element's update; `s` are its state values.
fn update(rule: OptimRule, c: &Coefficients, p: f64, g: f64, s: &mut [f64]) -> f64 {
    let [lr, l2, shrink, b1, b2, d1, d2, eps, inv, scale] =
        [c.lr, c.l2, c.shrink, c.beta1, c.beta2, c.one_minus_beta1, c.one_minus_beta2, c.eps, c.inv_sqrt_bias2, c.grad_scale]
            .map(f64::from);
    let g = g * scale + l2 * p;
    let p = p * shrink;
    match rule {
        OptimRule::Sgd { momentum: false, .. } => p - lr * g,
        OptimRule::Sgd { nesterov, .. } => {
            s[0] = b1 * s[0] + d1 * g;
            p - lr * if nesterov { g + b1 * s[0] } else { s[0] }
        }
        OptimRule::Adam { amsgrad } => {
            s[0] = b1 * s[0] + d1 * g;
            s[1] = b2 * s[1] + d2 * g * g;
            let mut second = s[1];
            if amsgrad {
                s[2] = s[2].max(s[1]);
                second = s[2];
            }
            p - lr * s[0] / (second.sqrt() * inv + eps)
        }
        OptimRule::RmsProp { centered, momentum } => {
            s[0] = b2 * s[0] + d2 * g * g;
            let mut second = s[0];
            if centered {
                s[1] = b2 * s[1] + d2 * g;
                second -= s[1] * s[1];
            }
            let scaled = g / (second.sqrt() + eps);
            if !momentum {
                return p - lr * scaled;
            }
            let velocity = s.last_mut().unwrap();
            *velocity = b1 * *velocity + scaled;
            p - lr * *velocity
        }
        OptimRule::AdaGrad => {
            s[0] += g * g;
            p - lr * g / (s[0].sqrt() + eps)
        }
    }
}

#[test]
fn optimizers_match_loops() {
    let lab = Lab::open(true).unwrap();
    let rules = [
        OptimRule::Sgd { momentum: false, nesterov: false },
        OptimRule::Sgd { momentum: true, nesterov: false },
        OptimRule::Sgd { momentum: true, nesterov: true },
        OptimRule::Adam { amsgrad: false },
        OptimRule::Adam { amsgrad: true },
        OptimRule::RmsProp { centered: false, momentum: false },
        OptimRule::RmsProp { centered: true, momentum: false },
        OptimRule::RmsProp { centered: false, momentum: true },
        OptimRule::RmsProp { centered: true, momentum: true },
        OptimRule::AdaGrad,
    ];
    // Entries of 5, 1,024 and 2,050 elements; the middle one is not updated.
    let lens = [5, 1024, 2050];
    let (parameter_at, state_at) = ([64, 128, 1216], [0, 1024, 2048]);
    let blocks: Vec<u32> = [[64, 0, 0, 5], [1216, 2048, 2, 1024], [2240, 3072, 2, 1024], [3264, 4096, 2, 2]].concat();
    let coefficients: Vec<Coefficients> = (0..3)
        .map(|e| Coefficients {
            lr: 0.1 + e as f32 * 0.05,
            l2: 0.01,
            shrink: 0.99,
            beta1: 0.9,
            beta2: 0.95,
            one_minus_beta1: 0.1,
            one_minus_beta2: 0.05,
            eps: 1e-3,
            inv_sqrt_bias2: 1.5,
            grad_scale: 0.5,
            reserved: [0.0; 6],
        })
        .collect();
    let (parameters, gradients) = (noise(3300, 1), noise(5120, 2));
    for rule in rules {
        let program = lower_store(rule, blocks.len() / 4, &Caps::webgpu_defaults(true)).unwrap();
        let lowered = Lowered { programs: vec![program], scratch: vec![] };
        super::validate(&lowered);
        let mut targets = vec![
            Target { operand: Operand::Arena(Arena::Parameters), data: f32s(&parameters) },
            Target { operand: Operand::Arena(Arena::Gradients), data: f32s(&gradients) },
            Target { operand: Operand::Arena(Arena::Blocks), data: HostData::U32(blocks.clone()) },
            Target {
                operand: Operand::Arena(Arena::Coefficients),
                data: HostData::F32(bytemuck::cast_slice(&coefficients).to_vec()),
            },
        ];
        let zeros = vec![0.0; 5120];
        targets.extend((0..rule.states()).map(|s| Target { operand: Operand::Arena(Arena::State(s)), data: f32s(&zeros) }));
        let mut want = parameters.clone();
        for e in [0, 2] {
            for i in 0..lens[e] {
                let mut state = vec![0.0; rule.states()];
                let p = &mut want[parameter_at[e] + i];
                for _ in 0..3 {
                    *p = update(rule, &coefficients[e], *p, gradients[state_at[e] + i], &mut state);
                }
            }
        }
        for (lab, checks) in [(&lab, "on"), (&lab.unchecked(), "off")] {
            let prepared = lab.prepare(&lowered, &[], &targets);
            lab.run(&prepared, 3);
            let got = lab.read(&prepared, 0, DType::F32, parameters.len()).to_f64();
            for e in 0..3 {
                let range = parameter_at[e]..parameter_at[e] + lens[e];
                close(&format!("{rule:?} entry {e}, checks {checks}"), &got[range.clone()], &want[range], 1e-4);
            }
        }
    }
}
