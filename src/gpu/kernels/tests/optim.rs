//! Optimizer kernels over a table of several entries, three steps each, against the reference.

use super::{close, f32s, noise};
use crate::cpu::reference::{Precision, StoreValues, Value, optim};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::{Lab, Target};
use crate::gpu::kernels::optim::{Control, lower_store};
use crate::gpu::program::{Arena, Caps, Operand};
use crate::graph::optim::Coefficients;
use crate::graph::optim::OptimRule;
use crate::shape::Shape;

#[test]
fn optimizers_match_loops() {
    let lab = Lab::open(true).unwrap();
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
            extra: 0.7,
            decay: 0.05,
            limit: 12.0,
            reserved: [0.0; 3],
        })
        .collect();
    let (parameters, gradients) = (noise(3300, 1), noise(5120, 2));
    // About half of the gradients' norm: entry 1 and what is between entries do not count.
    let own = || [0, 2].into_iter().flat_map(|e| &gradients[state_at[e]..state_at[e] + lens[e]]);
    let factor = 12.0 / (own().map(|g| g * g).sum::<f64>().sqrt() + 1e-6);
    assert!((0.3..0.9).contains(&factor), "{factor}");
    for (rule, clipped) in OptimRule::all().into_iter().flat_map(|rule| [(rule, false), (rule, true)]) {
        let control = Control { clipped, ..Control::default() };
        let lowered = lower_store(rule, control, blocks.len() / 4, 3, &Caps::webgpu_defaults(true)).unwrap();
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
            let range = parameter_at[e]..parameter_at[e] + lens[e];
            let mut store = StoreValues {
                dtype: DType::F32,
                parameters: vec![want[range.clone()].to_vec()],
                state: vec![vec![0.0; lens[e]]; rule.states()],
                coefficients: vec![coefficients[e]],
            };
            let scale = if clipped { factor } else { 1.0 };
            let own: Vec<f64> = gradients[state_at[e]..state_at[e] + lens[e]].iter().map(|g| g * scale).collect();
            let gradient = Value::from_host(&f32s(&own), DType::F32, Shape::of(&[lens[e]]));
            for _ in 0..3 {
                optim::step(rule, false, &[0], &mut store, &[&gradient], Precision::Native).unwrap();
            }
            want[range].copy_from_slice(&store.parameters[0]);
        }
        for (lab, checks) in [(&lab, "on"), (&lab.unchecked(), "off")] {
            let prepared = lab.prepare(&lowered, &[], &targets);
            lab.run(&prepared, 3);
            let got = lab.read(&prepared, 0, DType::F32, parameters.len()).to_f64();
            for e in 0..3 {
                let range = parameter_at[e]..parameter_at[e] + lens[e];
                close(
                    &format!("{rule:?} entry {e}, clipped {clipped}, checks {checks}"),
                    &got[range.clone()],
                    &want[range],
                    1e-4,
                );
            }
        }
    }
}

#[test]
fn shaders_name_the_coefficients_as_the_host_does() {
    let caps = Caps::webgpu_defaults(true);
    let lowered = lower_store(OptimRule::Lion, Control::default(), 1, 1, &caps).unwrap();
    let module = naga::front::wgsl::parse_str(&lowered.programs[0].source).unwrap();
    let of = |(_, ty): (_, &naga::Type)| match &ty.inner {
        naga::TypeInner::Struct { members, span } if ty.name.as_deref() == Some("Coefficients") => Some((members.clone(), *span)),
        _ => None,
    };
    let (members, span) = module.types.iter().find_map(of).expect("the shader declares them");
    assert_eq!(span as usize, size_of::<Coefficients>());
    // All are f32, one after the other in both.
    let debug = format!("{:#?}", Coefficients::default());
    let host: Vec<&str> = debug.lines().filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name).collect();
    let device: Vec<&str> = members.iter().filter_map(|m| m.name.as_deref()).collect();
    assert_eq!(device, host);
    assert!(host.len() == 14 && members.iter().enumerate().all(|(i, m)| m.offset as usize == 4 * i), "{members:?}");
}

#[test]
fn every_shader_of_a_rule_is_among_the_rules_that_tests_take() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|p| p.is_file()).map(|p| (p.clone(), std::fs::read_to_string(p).unwrap()));
    let rules = texts.filter(|(_, text)| text.contains("fn update(i: u32, c: Coefficients"));
    let mut shaders: Vec<String> = rules.map(|(p, _)| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    shaders.sort();
    let mut names: Vec<&str> = OptimRule::all().iter().map(|rule| rule.facts().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(shaders, names, "left: shaders with an `update`; right: `OptimRule::all`");
}
