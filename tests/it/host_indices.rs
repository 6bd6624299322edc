//! Host indices out of range are errors that name op, position and value, through every chain of views and casts.

use crate::common::{device, open, upload};
use wgrad::nn::loss::{CrossEntropyOptions, CtcOptions, Reduction, cross_entropy_with, ctc, nll};
use wgrad::{DType, Device, Error, HostData, Tensor};

/// An op that takes indices of `shape`, which must lie in `0..len`.
pub struct Indexed {
    pub op: &'static str,
    pub shape: &'static [usize],
    len: usize,
    run: fn(&Tensor) -> wgrad::Result<Tensor>,
}

impl Indexed {
    /// The op, of these indices.
    pub fn of(&self, index: &Tensor) -> wgrad::Result<Tensor> {
        (self.run)(index)
    }

    /// The op, of indices from the host.
    pub fn run(&self, index: &[i32], device: &Device) -> wgrad::Result<Tensor> {
        self.of(&ints(index, self.shape, device))
    }
}

fn f(like: &Tensor, shape: &[usize]) -> Tensor {
    let device = like.device().expect("valid");
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, &device)
}

/// Every op that takes indices.
pub fn indexed() -> Vec<Indexed> {
    let row = |op, shape, len, run| Indexed { op, shape, len, run };
    vec![
        row("gather_rows", &[6], 4, |i| Ok(f(i, &[4, 2]).gather_rows(i))),
        row("scatter_add_rows", &[6], 4, |i| Ok(f(i, &[6, 2]).scatter_add_rows(4, i))),
        row("cross_entropy_rows", &[6], 4, |i| Ok(f(i, &[6, 4]).cross_entropy_rows(i))),
        row("cross_entropy_with", &[2, 3], 4, |i| {
            cross_entropy_with(&f(i, &[2, 4, 3]), i, &CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() })
        }),
        row("nll", &[6], 4, |i| nll(&f(i, &[6, 4]), i, None, None, Reduction::Sum)),
        row("ctc", &[2, 3], 4, |i| ctc(&f(i, &[7, 2, 4]).log_softmax(-1), i, &[7, 7], &[3, 3], CtcOptions::default())),
        row("gather", &[2, 3], 4, |i| Ok(f(i, &[2, 4]).gather(1, i))),
        row("scatter", &[2, 3], 4, |i| Ok(f(i, &[2, 4]).scatter(1, i, &f(i, &[2, 3])))),
        row("scatter_add", &[3, 2], 4, |i| Ok(f(i, &[4, 2]).scatter_add(0, i, &f(i, &[3, 2])))),
        row("index_select", &[6], 4, |i| Ok(f(i, &[3, 4]).index_select(-1, i))),
        row("index_add", &[6], 4, |i| Ok(f(i, &[4, 3]).index_add(0, i, &f(i, &[6, 3])))),
        row("embedding", &[2, 3], 4, |i| Ok(f(i, &[4, 2]).embedding(i, None))),
        row("one_hot", &[2, 3], 4, |i| Ok(i.one_hot(4))),
    ]
}

/// A path from host values to an index: makes a tensor of the given shape whose elements are the six values, in order.
type Chain = (&'static str, fn(&[i32], &[usize], &Device) -> Tensor);

fn ints(v: &[i32], shape: &[usize], device: &Device) -> Tensor {
    Tensor::from_slice(v, shape, device).expect("uploads")
}

fn floats(v: &[i32], device: &Device) -> Tensor {
    upload(&v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), &[v.len()], DType::F32, device)
}

fn with_zeros(v: &[i32]) -> Vec<i32> {
    v.iter().flat_map(|&x| [x, 0]).collect()
}

const CHAINS: [Chain; 34] = [
    ("direct", |v, s, d| ints(v, s, d)),
    ("reshape", |v, s, d| ints(v, &[3, 2, 1], d).reshape(s)),
    ("flatten", |v, s, d| ints(v, &[3, 2], d).flatten(0, -1).reshape(s)),
    ("unflatten", |v, s, d| ints(v, &[6], d).unflatten(0, &[2, 3]).reshape(s)),
    ("squeeze", |v, s, d| ints(v, &[6, 1], d).squeeze(1).reshape(s)),
    ("slice", |v, s, d| ints(&[&[99, 0], v, &[-7]].concat(), &[9], d).slice(0, 2, 8).reshape(s)),
    ("slice of rows", |v, s, d| {
        let wide: Vec<i32> = v.chunks(3).flat_map(|row| [&[99], row].concat()).collect();
        ints(&wide, &[2, 4], d).slice(1, 1, 4).reshape(s)
    }),
    ("narrow", |v, s, d| ints(&[v, &[99]].concat(), &[7], d).narrow(0, 0, 6).reshape(s)),
    ("select", |v, s, d| ints(&[&[99; 6], v].concat(), &[2, 6], d).select(0, 1).reshape(s)),
    ("slice_step", |v, s, d| ints(&with_zeros(v), &[12], d).slice_step(0, 0, 12, 2).reshape(s)),
    ("split", |v, s, d| ints(&[v, &[99]].concat(), &[7], d).split(0, &[6, 1]).expect("splits").remove(0).reshape(s)),
    ("flip", |v, s, d| ints(&v.iter().rev().copied().collect::<Vec<_>>(), &[6], d).flip(0).reshape(s)),
    ("permute", |v, s, d| ints(&[0, 3, 1, 4, 2, 5].map(|i| v[i]), &[3, 2], d).permute(&[1, 0]).reshape(s)),
    ("expand", |v, s, d| ints(v, &[1, 6], d).expand([5, 6]).slice(0, 3, 4).reshape(s)),
    ("pad", |v, s, d| ints(&v[..5], &[5], d).pad(&[(0, 1)]).reshape(s)),
    ("pad_with", |v, s, d| ints(&v[..5], &[5], d).pad_with(&[(0, 1)], wgrad::PadMode::Constant(0.0)).reshape(s)),
    ("pad and slice", |v, s, d| ints(v, &[2, 3], d).pad(&[(1, 1), (2, 0)]).slice(0, 1, 3).slice(1, 2, 5).reshape(s)),
    ("roll", |v, s, d| ints(v, &[6], d).roll(2, 0).roll(-2, 0).reshape(s)),
    ("repeat", |v, s, d| ints(v, &[6], d).repeat(&[2]).slice(0, 0, 6).reshape(s)),
    ("cat", |v, s, d| Tensor::cat(&[&ints(&v[..2], &[2], d), &ints(&v[2..3], &[1], d), &ints(&v[3..], &[3], d)], 0).reshape(s)),
    ("cat of columns", |v, s, d| {
        let (left, right) = (ints(&[v[0], v[3]], &[2, 1], d), ints(&[v[1], v[2], v[4], v[5]], &[2, 2], d));
        Tensor::cat(&[&left, &right], 1).reshape(s)
    }),
    ("stack", |v, s, d| Tensor::stack(&[&ints(&v[..3], &[3], d), &ints(&v[3..], &[3], d)], 0).reshape(s)),
    ("index_select", |v, s, d| {
        ints(&[&[99], v].concat(), &[7], d).index_select(0, &ints(&[1, 2, 3, 4, 5, 6], &[6], d)).reshape(s)
    }),
    ("arithmetic", |v, s, d| (ints(&v.iter().map(|x| x + 1).collect::<Vec<_>>(), &[6], d) - 1).reshape(s)),
    ("u32", |v, s, d| {
        let v: Vec<u32> = v.iter().map(|&x| x as u32).collect();
        Tensor::from_slice(&v, s, d).expect("uploads")
    }),
    ("u32, sliced", |v, s, d| {
        let v: Vec<u32> = v.iter().chain(&[99]).map(|&x| x as u32).collect();
        Tensor::from_slice(&v, [7], d).expect("uploads").slice(0, 0, 6).reshape(s)
    }),
    ("u32, cast", |v, s, d| {
        let v: Vec<u32> = v.iter().map(|&x| x as u32).collect();
        Tensor::from_slice(&v, s, d).expect("uploads").cast(DType::I32)
    }),
    ("u8, cast", |v, s, d| {
        let v: Vec<u8> = v.iter().map(|&x| u8::try_from(x).expect("small")).collect();
        Tensor::from_slice(&v, [2, 3], d).expect("uploads").reshape([6]).cast(DType::I32).reshape(s)
    }),
    ("f32, cast", |v, s, d| floats(v, d).reshape([3, 2]).cast(DType::I32).reshape(s)),
    ("f16, cast", |v, s, d| {
        let bits = v.iter().map(|&x| wgrad::dtype::F16::from_f32(x as f32).to_bits()).collect();
        Tensor::from_host(HostData::F16(bits), DType::F16, [6], d).expect("uploads").cast(DType::I32).reshape(s)
    }),
    ("to floats and back", |v, s, d| ints(v, &[6], d).cast(DType::F32).reshape([2, 3]).cast(DType::I32).reshape(s)),
    ("evaluated on the way", |v, s, d| {
        let part = ints(&[v, &[99]].concat(), &[7], d).slice(0, 0, 6);
        part.eval().expect("evaluates");
        part.reshape(s)
    }),
    ("floats evaluated on the way", |v, s, d| {
        let part = floats(v, d).reshape([3, 2]);
        part.eval().expect("evaluates");
        let part = part.cast(DType::I32);
        part.eval().expect("evaluates");
        part.reshape(s)
    }),
    ("forty views", |v, s, d| {
        (0..20)
            .fold(ints(v, &[2, 3], d), |t, _| {
                t.permute(&[1, 0])
                    .reshape([2, 3])
                    .permute(&[1, 0])
                    .reshape([2, 3])
                    .cast(DType::U32)
                    .cast(DType::I32)
                    .reshape([3, 2])
                    .permute(&[1, 0])
                    .reshape([6])
                    .reshape([2, 3])
            })
            .reshape(s)
    }),
];

/// How the chain of many views reorders the elements.
fn reordered(chain: &str, v: &[i32]) -> Vec<i32> {
    let mut v = v.to_vec();
    if chain == "forty views" {
        for _ in 0..20 {
            // Transposed from 2x3, twice, then from 3x2.
            for (rows, columns) in [(2, 3), (2, 3), (3, 2)] {
                v = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| v[i]).collect();
            }
        }
    }
    v
}

#[test]
fn an_index_out_of_range_is_an_error_through_views_and_casts() {
    for Indexed { op, shape, len, run } in indexed() {
        for (chain, make) in CHAINS {
            let what = format!("{op} of an index by {chain}");
            let good = [1, 3, 0, 2, 3, 0];
            run(&make(&good, shape, device())).and_then(|t| t.eval()).unwrap_or_else(|e| panic!("{what}: {e}"));
            let negative = chain != "u8, cast";
            for (position, wrong) in [(3, len as i32), (0, 99), (2, if negative { -1 } else { 4 }), (4, 200)] {
                let mut values = good;
                values[position] = wrong;
                let position = reordered(chain, &values).iter().position(|&v| v == wrong);
                // As u32, a negative index is a large one.
                let wrong =
                    if chain.starts_with("u32") && wrong < 0 { 0x1_0000_0000 + i64::from(wrong) } else { i64::from(wrong) };
                let error = run(&make(&values, shape, device())).and_then(|t| t.eval()).expect_err(&what);
                match error {
                    Error::Index { op: by, index, position: at, len: l, .. } => {
                        assert_eq!((by, index, Some(at), l), (op, wrong, position, len), "{what}");
                    }
                    other => panic!("{what}: {other}"),
                }
            }
        }
    }
}

#[test]
fn an_index_that_is_ignored_hides_no_other() {
    let logits = f(&ints(&[0], &[1], device()), &[6, 4]);
    let ignoring = CrossEntropyOptions { ignore_index: Some(-100), ..Default::default() };
    for (labels, wrong) in
        [([0, -100, 1, 2, 3, -100], None), ([0, -100, 1, -1, 3, 0], Some((3, -1))), ([-100, 7, 1, 2, 3, 0], Some((1, 7)))]
    {
        let labels = ints(&labels, &[2, 3], device()).flatten(0, 1);
        for result in [cross_entropy_with(&logits, &labels, &ignoring), nll(&logits, &labels, None, Some(-100), Reduction::Mean)]
        {
            match (result.and_then(|t| t.item()), wrong) {
                (Ok(_), None) => {}
                (Err(Error::Index { index, position, .. }), Some(expected)) => assert_eq!((position, index), expected),
                (other, _) => panic!("{other:?}, expected {wrong:?}"),
            }
        }
    }
}

/// What follows a sample's labels is not checked.
#[test]
fn padding_of_labels_may_hold_anything() {
    let scores = f(&ints(&[0], &[1], device()), &[5, 2, 4]).log_softmax(-1);
    let loss =
        |v: &[i32]| ctc(&scores, &ints(v, &[2, 3], device()), &[5, 5], &[1, 2], CtcOptions::default()).and_then(|t| t.item());
    assert_eq!(loss(&[1, -1, 99, 2, 3, -100]).expect("padding"), loss(&[1, 0, 0, 2, 3, 0]).expect("labels"));
    let error = loss(&[1, -1, 99, 2, 4, -100]).expect_err("4 of 4");
    assert!(matches!(error, Error::Index { op: "ctc", index: 4, position: 4, .. }), "{error}");
}

/// The recipe of the guide for a language model: targets are the tokens, one later.
#[test]
fn the_next_token_is_checked() {
    let tokens = ints(&[1, 2, 0, 3, 9, 1, 0, 2], &[2, 4], device());
    let (input, target) = (tokens.slice(1, 0, 2), tokens.slice(1, 1, 3));
    let table = f(&tokens, &[4, 5]);
    let logits = table.embedding(&input, None).flatten(0, 1).matmul(&f(&tokens, &[5, 4]));
    let error = logits.eval().expect_err("token 9 of 4");
    assert!(matches!(error, Error::Index { op: "embedding", index: 9, position: 2, len: 4, .. }), "{error}");
    // What was sliced away does not count.
    let rest = tokens.slice(1, 1, 4);
    table.embedding(&rest, None).eval().expect("all of 1..4 are rows");
    let error = f(&tokens, &[4, 2]).cross_entropy_rows(&target.flatten(0, 1)).eval().expect_err("label 2 of 2");
    assert!(matches!(error, Error::Index { op: "cross_entropy_rows", index: 2, position: 0, .. }), "{error}");
}

/// Host integers are checked without waiting for the device, whatever operations come between.
#[test]
fn checks_of_host_integers_submit_nothing() {
    let device = open(false);
    let labels = ints(&[-100, 2, 1, 0, 3, 9], &[2, 3], &device);
    let before = device.counters();
    let flat = labels.permute(&[1, 0]).flatten(0, 1).slice(0, 0, 5);
    let joined = Tensor::cat(&[&flat, &flat.flip(0)], 0).index_select(0, &ints(&[0, 3, 4], &[3], &device));
    let logits = Tensor::full([3, 4], 0.5, &device).expect("a constant");
    let ignoring = CrossEntropyOptions { ignore_index: Some(-100), ..Default::default() };
    let _ = cross_entropy_with(&logits, &joined, &ignoring).expect("only the ignored label is out of range");
    let error = logits.cross_entropy_rows(&joined).check().expect_err("-100 is not a class");
    assert!(matches!(error, Error::Index { index: -100, position: 0, .. }), "{error}");
    let after = device.counters();
    assert_eq!((before.submissions, before.dispatches, before.plans), (after.submissions, after.dispatches, after.plans));
}

/// An index that is expanded to more elements than fit in memory is checked once for each of its own elements.
#[test]
fn stretched_indices_are_not_laid_out() {
    let wide = usize::MAX >> if usize::BITS == 64 { 24 } else { 6 };
    let x = f(&ints(&[0], &[1], device()), &[1]).expand([4]).reshape([4, 1]).expand([4, wide]);
    for cast in [|t: Tensor| t, |t: Tensor| t.cast(DType::U32).cast(DType::I32)] {
        let stretched = |v: &[i32]| cast(ints(v, &[3, 1], device())).expand([3, wide]);
        x.gather(0, &stretched(&[3, 0, 2])).check().expect("all are rows");
        let error = x.gather(0, &stretched(&[3, 0, 9])).check().expect_err("9 of 4");
        assert!(matches!(error, Error::Index { index: 9, position, .. } if position == 2 * wide), "{error}");
    }
}

/// In a chain of casts between integers and floats each node holds the one before: dropping it does not recurse.
#[test]
fn long_chains_of_casts_are_dropped() {
    let mut chain = floats(&[1, 2], device());
    for _ in 0..20_000 {
        chain = chain.cast(DType::I32).cast(DType::F32);
    }
    drop(chain);
}
