//! The CPU device and the f64 reference compute the same bits on every platform, as `docs/bits.txt` has them: hashes of the
//! results and gradients of every op's samples, and of larger products, sums, random numbers, transforms and training.
//!
//! Not compared are the sign and payload of NaN, which processors choose. Products need a processor that multiplies and adds in
//! one step, as x86 does since AVX2 and every 64-bit ARM does.

use crate::common::{Noise, oracle, this_program, upload, values};
use crate::rows::ROWS;
use crate::samples::{Sample, samples};
use std::collections::BTreeMap;
use std::fmt::Write;
use wgrad::data::transforms::{AffineConfig, GaussianBlur, Mixup, RandomAffine, Transform};
use wgrad::data::{LogMel, MelConfig};
use wgrad::nn::models::LeNet;
use wgrad::nn::{Init, Module, RotaryEncoding, SinusoidalEncoding};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Schedule};
use wgrad::{ConvOptions, DType, Generator, Param, Tensor};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bits.txt");

const HEAD: &str = "\
# Hashes of what the CPU device computes in f32 (results, then gradients) and the f64 reference (the same), per op over its samples:
# the same on every platform. Rewritten by WGRAD_RECORD_BITS=1 cargo test --test it bits::
";

/// FNV-1a over the bits of numbers; every NaN counts as the same one.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const NEW: Self = Self(0xCBF2_9CE4_8422_2325);

    fn word(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn values(&mut self, values: &[f64]) {
        self.word(values.len() as u64);
        values.iter().for_each(|v| self.word(if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }));
    }

    fn tensor(&mut self, what: &str, tensor: &Tensor) {
        // Every dtype's numbers are exact in f64.
        self.values(&tensor.to_host().unwrap_or_else(|e| panic!("{what}: {e}")).to_f64());
    }
}

/// Results and gradients in f32, the same in f64.
type Hashes = [Hash; 4];
type Table = BTreeMap<String, Hashes>;

fn row<'t>(table: &'t mut Table, name: &str) -> &'t mut Hashes {
    table.entry(name.to_owned()).or_insert([Hash::NEW; 4])
}

/// A function's result and gradients in f32 and in f64.
fn add(table: &mut Table, name: &str, operands: &[(&[usize], f64, f64)], gradient: bool, run: impl Fn(&[Tensor]) -> Tensor) {
    let mut noise = Noise(23);
    let data: Vec<Vec<f64>> = operands.iter().map(|&(shape, lo, hi)| noise.values(shape.iter().product(), lo, hi)).collect();
    for (part, dtype) in [(0, DType::F32), (2, DType::F64)] {
        let leaves: Vec<Tensor> = operands.iter().zip(&data).map(|(o, v)| upload(v, o.0, dtype, &oracle())).collect();
        let leaves: Vec<Tensor> = if gradient { leaves.iter().map(|l| l.variable().expect("float")).collect() } else { leaves };
        let y = run(&leaves);
        let hashes = row(table, name);
        hashes[part].tensor(name, &y);
        if gradient {
            let shape = y.shape().expect("valid");
            let weights = upload(&Noise(29).values(shape.numel(), 0.5, 1.5), &shape, DType::F64, &oracle());
            let ct = weights.cast(y.dtype().expect("valid"));
            let g = y.backward_with(&ct).unwrap_or_else(|e| panic!("{name}: {e}"));
            for leaf in &leaves {
                hashes[part + 1].tensor(name, &g.get(leaf).unwrap_or_else(|_| leaf.zeros_like()));
            }
        }
    }
}

fn sample(table: &mut Table, sample: &Sample) {
    let operands: Vec<(&[usize], f64, f64)> = sample.operands.iter().map(|o| (&o.shape[..], o.lo, o.hi)).collect();
    add(table, sample.op, &operands, sample.gradient, |x| (sample.run)(x));
}

/// Larger than samples: products and sums in several blocks, on several threads.
fn larger(table: &mut Table) {
    let span = (-1.0, 1.0);
    for (m, k, n) in [
        (65, 33, 129),
        (128, 600, 128),
        (10, 3000, 7),
        (1, 700, 300),
        (130, 70, 1),
        (1, 5000, 1),
        (3, 1, 4),
        (70, 2, 90),
        (2, 1025, 2),
        (300, 1030, 300),
    ] {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let (a, b) = (if ta { [k, m] } else { [m, k] }, if tb { [n, k] } else { [k, n] });
            let of = |x: &Tensor, transposed: bool| if transposed { x.t() } else { x.clone() };
            let operands: [(&[usize], f64, f64); 2] = [(&a, span.0, span.1), (&b, span.0, span.1)];
            // The reference's loops are slow: the largest is for the threads of the device.
            let gradient = m * k * n < 1 << 22;
            let run = |x: &[Tensor]| of(&x[0], ta).matmul(&of(&x[1], tb));
            add(table, &format!("larger: matmul {m}x{k}x{n}"), &operands, gradient, run);
        }
    }
    for (x, w, stride, groups) in [
        ([8, 1, 28, 28], [16, 1, 3, 3], 1, 1),
        ([3, 16, 15, 13], [24, 8, 5, 5], 2, 2),
        ([2, 32, 9, 9], [32, 1, 3, 3], 1, 32),
        ([2, 64, 7, 7], [32, 64, 3, 3], 1, 1),
        ([1, 24, 9, 9], [12, 24, 1, 1], 1, 1),
    ] {
        let options = ConvOptions { stride: [stride; 2], padding: [1, 1], groups, ..Default::default() };
        let operands: [(&[usize], f64, f64); 2] = [(&x, span.0, span.1), (&w, span.0, span.1)];
        add(table, &format!("larger: conv2d {x:?} {w:?}"), &operands, true, |t| t[0].conv2d(&t[1], None, options));
    }
    for shape in [[1, 65_537], [65_537, 1], [257, 300], [3, 100_000], [100_000, 3]] {
        for axis in [0, 1] {
            let run = |x: &[Tensor]| {
                let parts = [x[0].sum_dim(axis), x[0].var_dim(axis), x[0].exp().mean_dim(axis), x[0].softmax(axis).max_dim(axis)];
                parts.iter().skip(1).fold(parts[0].clone(), |sum, part| sum + part)
            };
            add(table, "larger: reductions", &[(&shape, span.0, span.1)], true, run);
        }
    }
    // Angles at which reduction matters, numbers near 0, whole and half exponents.
    for (lo, hi) in [(-1e-6, 1e-6), (-10.0, 10.0), (-1e5, 1e5), (-1e9, 1e9), (-1e30, 1e30)] {
        let run = |x: &[Tensor]| Tensor::cat(&[x[0].sin(), x[0].cos(), x[0].tan(), x[0].atan(), x[0].tanh(), x[0].erf()], 0);
        add(table, "larger: functions", &[(&[3000], lo, hi)], false, run);
    }
    for (lo, hi) in [(1e-30, 1e-6), (1e-3, 2.0), (0.9, 1.1), (1.0, 1e30)] {
        let run = |x: &[Tensor]| {
            let powers = [-3.0, -0.5, 0.37, 2.5, 11.0].map(|p| x[0].powf(p));
            let logs = [x[0].log(), x[0].log1p(), x[0].sqrt(), x[0].rsqrt()];
            let all: Vec<Tensor> = powers.into_iter().chain(logs).collect();
            Tensor::cat(&all, 0)
        };
        add(table, "larger: powers and logarithms", &[(&[2000], lo, hi)], false, run);
    }
}

/// What is made of random numbers, tables that modules and transforms work out on the host, and schedules.
fn made(table: &mut Table) {
    let cpu = oracle();
    let g = |seed| Generator::new(seed);
    let mut hash = |name: &str, tensors: &[wgrad::Result<Tensor>]| {
        for tensor in tensors {
            row(table, &format!("made: {name}"))[0].tensor(name, tensor.as_ref().unwrap_or_else(|e| panic!("{name}: {e}")));
        }
    };
    hash("rand", &[Tensor::rand([5000], &g(1), &cpu), Tensor::random_bits([500], &g(2), &cpu)]);
    hash("randn", &[Tensor::randn([5000], &g(3), &cpu)]);
    hash("permutation", &[Tensor::permutation(1000, &g(4), &cpu)]);
    let x = Tensor::rand([6, 3, 17, 15], &g(5), &cpu).expect("valid");
    let affine = AffineConfig { shift: 1.5, rotate: 25.0, scale: 0.2, shear: 10.0 };
    hash("affine", &[RandomAffine::new(affine, [17, 15], &cpu).and_then(|t| t.apply(&x, &g(6)))]);
    hash("blur", &[GaussianBlur::new(5, (0.3, 2.0)).and_then(|t| t.apply(&x, &g(7)))]);
    let targets = Tensor::rand([6, 4], &g(8), &cpu).expect("valid");
    for alpha in [0.2, 1.0, 3.0] {
        let (x, t) = Mixup::new(alpha).and_then(|m| m.apply(&x, &targets, &g(9))).expect("valid");
        hash("mixup", &[Ok(x), Ok(t)]);
    }
    let sound = Tensor::randn([2, 3000], &g(10), &cpu).expect("valid");
    hash("mel", &[LogMel::new(MelConfig::default(), &cpu).and_then(|t| t.apply(&sound, &g(0)))]);
    let init = Init::new(&cpu, 1);
    let tokens = Tensor::rand([2, 50, 16], &g(11), &cpu).expect("valid");
    hash("sinusoidal", &[SinusoidalEncoding::new(16, 64, &init).and_then(|e| e.forward(&tokens))]);
    hash("rotary", &[RotaryEncoding::new(16, 64, &init).and_then(|e| e.rotate(&tokens, 3))]);
    let schedules = [
        Schedule::Exponential { base: 0.1, gamma: 0.97 },
        Schedule::Step { base: 0.1, every: 7, gamma: 0.3 },
        Schedule::Polynomial { base: 0.1, steps: 90, power: 1.7 },
        Schedule::Cosine { base: 0.1, warmup: 5, total: 90, floor: 0.001 },
    ];
    for schedule in schedules {
        row(table, "made: schedules")[2].values(&(0..90).map(|t| schedule.lr(t)).collect::<Vec<_>>());
    }
}

/// Twelve steps of every optimizer, and ten of a network.
fn trained(table: &mut Table) {
    let cpu = oracle();
    for optimizer in ROWS {
        let start = upload(&Noise(31).values(40, -1.0, 1.0), &[40], DType::F32, &cpu);
        let param = Param::new(&start).expect("valid");
        let mut steps = (optimizer.make)(std::slice::from_ref(&param)).expect("valid");
        for t in 0..12 {
            let target = upload(&Noise(37 + t).values(40, -1.0, 1.0), &[40], DType::F32, &cpu);
            let loss = (param.tensor() - target).square().sum();
            steps.step(loss.backward().expect("differentiable")).expect("steps");
        }
        row(table, &format!("trained: {}", optimizer.name))[0].tensor(optimizer.name, &param.tensor());
    }
    let model = LeNet::new(1, 10, &Init::new(&cpu, 3)).expect("valid");
    let mut adam = Adam::new(&model.parameters().expect("valid"), AdamConfig::default()).expect("valid");
    for t in 0..10 {
        let x = Tensor::rand([16, 1, 28, 28], &Generator::new(t), &cpu).expect("valid");
        let labels = Tensor::iota(16, DType::I32, &cpu).expect("valid") % 10;
        let loss = model.forward(&x).expect("valid").cross_entropy(&labels);
        row(table, "trained: lenet")[0].tensor("lenet", &loss);
        adam.step(loss.backward().expect("differentiable")).expect("steps");
    }
    for param in model.parameters().expect("valid") {
        row(table, "trained: lenet")[0].values(&values(&param.tensor()));
    }
}

/// The table of this machine, as a text.
fn measured() -> String {
    let mut table = Table::new();
    for s in samples() {
        sample(&mut table, &s);
    }
    larger(&mut table);
    made(&mut table);
    trained(&mut table);
    let mut text = HEAD.to_owned();
    for (name, hashes) in table {
        let words = hashes.map(|h| if h.0 == Hash::NEW.0 { "-".into() } else { format!("{:016x}", h.0) });
        writeln!(text, "{name} | {}", words.join(" ")).expect("memory");
    }
    text
}

/// The rows in which two tables differ.
fn differences(wanted: &str, found: &str) -> Vec<String> {
    let rows = |text: &str| -> BTreeMap<String, String> {
        text.lines().filter_map(|l| l.split_once(" | ")).map(|(name, hashes)| (name.to_owned(), hashes.to_owned())).collect()
    };
    let (wanted, found) = (rows(wanted), rows(found));
    let names = wanted.keys().chain(found.keys().filter(|name| !wanted.contains_key(*name)));
    let differ = names.filter(|name| wanted.get(*name) != found.get(*name));
    differ.map(|name| format!("{name}: {:?}, and {:?} in docs/bits.txt", found.get(name), wanted.get(name))).collect()
}

#[test]
fn the_bits_are_those_of_every_platform() {
    let found = measured();
    if std::env::var_os("WGRAD_RECORD_BITS").is_some_and(|v| v == "1") {
        std::fs::write(TABLE, &found).unwrap_or_else(|e| panic!("{TABLE}: {e}"));
        return;
    }
    let wanted = std::fs::read_to_string(TABLE).unwrap_or_else(|e| panic!("{TABLE}: {e}"));
    assert!(found.lines().count() > 250, "{found}");
    let differences = differences(&wanted, &found);
    assert!(
        differences.is_empty(),
        "{} rows differ; if results were meant to change, run with WGRAD_RECORD_BITS=1:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Threads share out the work and leave the bits as they are.
#[test]
fn the_bits_are_those_of_any_number_of_threads() {
    for threads in ["1", "3"] {
        let output = this_program()
            .args(["--exact", "bits::the_larger_bits_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{threads} threads: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("the same as docs/bits.txt"), "{threads} threads: {text}");
    }
}

#[test]
#[ignore = "run by the_bits_are_those_of_any_number_of_threads"]
fn the_larger_bits_in_a_process_of_its_own() {
    let mut table = Table::new();
    larger(&mut table);
    trained(&mut table);
    let wanted = std::fs::read_to_string(TABLE).unwrap_or_else(|e| panic!("{TABLE}: {e}"));
    for (name, hashes) in table {
        let row = wanted.lines().find_map(|l| l.strip_prefix(&name)?.strip_prefix(" | "));
        let words = hashes.map(|h| if h.0 == Hash::NEW.0 { "-".into() } else { format!("{:016x}", h.0) });
        assert_eq!(row, Some(&words.join(" ")[..]), "{name}");
    }
    println!("the same as docs/bits.txt");
}

#[test]
fn a_hash_knows_signs_and_orders_and_no_kinds_of_nan() {
    let of = |values: &[f64]| {
        let mut hash = Hash::NEW;
        hash.values(values);
        hash.0
    };
    assert_eq!(of(&[f64::NAN]), of(&[-f64::NAN]));
    for (a, b) in [(&[0.0][..], &[-0.0][..]), (&[1.0, 2.0], &[2.0, 1.0]), (&[0.0], &[0.0, 0.0]), (&[1.0], &[1.0 + f64::EPSILON])]
    {
        assert_ne!(of(a), of(b), "{a:?} {b:?}");
    }
    let table = "a | 1 2 3 4\nb | 5 6 7 8\n";
    assert_eq!(differences(table, table), [""; 0]);
    let changed = "a | 1 2 3 9\nc | 5 6 7 8\n";
    let names = differences(table, changed).iter().map(|d| d.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names, ["a", "b", "c"]);
}
