//! Kernels over rows, and the sums of squares that clip gradients: what is not finite, and differences from large numbers.

use super::metal::Texts;
use super::work::Work;
use super::{builds, compiled, planner};
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::optim::{Control, lower_store};
use crate::gpu::program::{Arena, Caps, Operand};
use crate::graph::optim::OptimRule;
use crate::tensor::Tensor;

/// A function of a matrix and of a label for each of its rows.
type Case = (&'static str, fn(&Tensor, &Tensor) -> Tensor);

const CASES: [Case; 16] = [
    ("softmax", |x, _| x.softmax(1)),
    ("log_softmax", |x, _| x.log_softmax(1)),
    ("cross_entropy", |x, labels| x.cross_entropy_rows(labels)),
    ("logsumexp", |x, _| x.logsumexp_dim(1)),
    ("sum", |x, _| x.sum_dim(1)),
    ("max", |x, _| x.max_dim(1)),
    ("min", |x, _| x.min_dim(1)),
    ("argmax", |x, _| x.argmax_dim(1)),
    ("argmin", |x, _| x.argmin_dim(1)),
    ("sort", |x, _| x.sort(1, false).0),
    ("argsort, descending", |x, _| x.argsort(1, true)),
    ("the gate of skip_non_finite", |x, _| x.is_finite().cast(DType::F32).min_dim(1)),
    ("max_pool2d", |x, _| x.unsqueeze(0).unsqueeze(0).max_pool2d(2)),
    ("to i32", |x, _| x.cast(DType::I32)),
    ("to f16", |x, _| x.cast(DType::F16)),
    ("to bool", |x, _| x.cast(DType::Bool)),
];

/// Rows of `cols` numbers, each with something special.
fn matrix(cols: usize) -> Vec<f32> {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let noise = |r: usize, c: usize| ((r * 7919 + c * 104_729) % 1013) as f32 / 100.0 - 5.0;
    let mut x = Vec::new();
    for special in [None, Some(-inf), Some(inf), Some(nan), Some(-nan), Some(3e38), Some(f32::MIN_POSITIVE)] {
        for place in [0, cols / 2, cols - 1] {
            x.extend((0..cols).map(|c| special.filter(|_| c == place).unwrap_or_else(|| noise(place, c))));
        }
    }
    // Only -∞, only ∞, only NaN, and the same large number with a small one beside.
    for constant in [-inf, inf, nan, 1e8] {
        x.extend(std::iter::repeat_n(constant, cols));
    }
    x.extend((0..cols).map(|c| 1e8 + 8.0 * (c % 3) as f32));
    x
}

#[test]
#[ignore = "wants clang: scripts/sweep math, and in part scripts/test"]
fn rows_keep_their_values() {
    let (device, cpu) = (planner(), Device::cpu().expect("opens"));
    let mut texts = Texts::default();
    let mut works = Vec::new();
    // A thread to a row, and a workgroup.
    for cols in [6, 100] {
        let x = matrix(cols);
        let rows = x.len() / cols;
        let shape = [rows, cols];
        let labels = HostData::I32((0..rows).map(|r| (r * 5 % cols) as i32).collect());
        let exact = HostData::F64(x.iter().map(|&x| x.into()).collect());
        let x = HostData::F32(x);
        let of = |data: &HostData, dtype, shape: &[usize], device: &Device| {
            Tensor::from_host(data.clone(), dtype, shape.to_vec(), device).expect("uploads")
        };
        let (tx, tl) = (of(&x, DType::F32, &shape, &device), of(&labels, DType::I32, &[rows], &device));
        let (ex, el) = (of(&exact, DType::F64, &shape, &cpu), of(&labels, DType::I32, &[rows], &cpu));
        for (name, f) in CASES {
            let expected = f(&ex, &el).to_host().unwrap_or_else(|e| panic!("{name}: {e}")).to_f64();
            let work = Work::new(&f(&tx, &tl), &[(&tx, &x), (&tl, &labels)], &mut texts);
            works.push((name, cols, expected, work));
        }
    }
    let mut wrong = Vec::new();
    for build in builds() {
        let mut kernels = compiled(build, &texts);
        for (name, cols, expected, work) in &works {
            let got = work.run(&texts, &mut kernels);
            assert_eq!(got.len(), expected.len(), "{name}");
            for (i, (g, e)) in got.iter().zip(expected).enumerate() {
                let rounded = f64::from(*e as f32);
                let near = e.is_finite() && (g - e).abs() <= 2e-6 * e.abs().max(1.0);
                if !(g == e || *g == rounded || (g.is_nan() && e.is_nan()) || near) {
                    wrong.push(format!("{}: {name} of {cols} columns: element {i} is {g:e}, not {e:e}", build.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} values:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

#[test]
#[ignore = "wants clang: scripts/sweep math, and in part scripts/test"]
fn clipping_keeps_its_factor() {
    const N: usize = 1024;
    const LIMIT: f32 = 0.5;
    type Row = (&'static str, fn(usize) -> f32, f64);
    let gradients: [Row; 6] = [
        ("small", |i| if i == 0 { 3e-4 } else { 0.0 }, 1.0),
        ("ordinary", |i| if i < 2 { [3.0, -4.0][i] } else { 0.0 }, 0.5 / (5.0 + 1e-6)),
        ("squares overflow", |i| if i < 2 { [3e30, -4e30][i] } else { 1.0 }, 0.5 / 5e30),
        ("squares vanish", |_| 1e-30, 1.0),
        ("infinite", |i| if i == 900 { f32::INFINITY } else { 1.0 }, 0.0),
        ("NaN", |i| if i == 900 { f32::NAN } else { f32::INFINITY }, f64::NAN),
    ];
    let control = Control { gated: false, clipped: true };
    let lowered = lower_store(OptimRule::Sgd { momentum: false, nesterov: false }, control, 1, 1, &Caps::webgpu_defaults(false))
        .expect("lowers");
    let mut texts = Texts::default();
    let clip: Vec<_> = lowered.programs.iter().filter(|p| p.name.starts_with("grad_")).map(|p| (texts.number(p), p)).collect();
    assert_eq!(clip.len(), 2, "squares, and the norm");
    for build in builds() {
        let mut kernels = compiled(build, &texts);
        for (name, gradient, expected) in gradients {
            let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
            let mut coefficients = [0u32; 16];
            coefficients[12] = LIMIT.to_bits();
            let arenas = [
                (Operand::Arena(Arena::Blocks), words(&[0, 0, 0, N as u32])),
                (Operand::Arena(Arena::Coefficients), words(&coefficients)),
                (Operand::Arena(Arena::Gradients), words(&(0..N).map(|i| gradient(i).to_bits()).collect::<Vec<_>>())),
            ];
            let mut scratch: Vec<Vec<u8>> = lowered.scratch.iter().map(|&n| vec![0xFF; n as usize]).collect();
            for (number, program) in &clip {
                let mut record = words(&[1, 0, 0, 0]);
                let mut taken: Vec<Vec<u8>> = Vec::new();
                for operand in &program.operands {
                    taken.push(match operand {
                        Operand::ScratchRead(n) | Operand::ScratchWrite(n) => std::mem::take(&mut scratch[*n]),
                        arena => arenas.iter().find(|(o, _)| o == arena).expect("an arena").1.clone(),
                    });
                }
                let mut bound: Vec<&mut Vec<u8>> = std::iter::once(&mut record).chain(&mut taken).collect();
                kernels.run(*number, program.grid, texts.shared(*number), &mut bound);
                for (operand, contents) in program.operands.iter().zip(taken) {
                    if let Operand::ScratchRead(n) | Operand::ScratchWrite(n) = operand {
                        scratch[*n] = contents;
                    }
                }
            }
            let factor = f32::from_le_bytes(scratch.last().expect("the gate")[8..12].try_into().expect("four bytes"));
            let factor = f64::from(factor);
            let near = (factor - expected).abs() <= 1e-6 * expected || (factor.is_nan() && expected.is_nan());
            assert!(near, "{}: {name}: the factor is {factor:e}, not {expected:e}", build.name);
        }
    }
}
