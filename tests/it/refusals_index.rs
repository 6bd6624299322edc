//! Wrong calls of losses, indexing, products and distributions: as in `refusals`. Also their extremes.

use crate::common::{close, device, upload, values};
use crate::refusals::WrongCall;
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, Reduction, TripletOptions};
use wgrad::{DType, Generator, Result, Tensor};

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

fn i(v: &[i32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).expect("valid")
}

fn ii(v: &[i32], shape: [usize; 2]) -> Tensor {
    Tensor::from_slice(v, shape, device()).expect("valid")
}

type Row = (&'static str, Result<Tensor>, &'static [&'static str]);

fn calls(rows: Vec<Row>) -> Vec<WrongCall> {
    rows.into_iter().map(|(op, result, parts)| WrongCall::new(op, result, parts)).collect()
}

pub fn rows() -> Vec<WrongCall> {
    [indexing(), products(), losses(), distributions()].into_iter().flatten().collect()
}

fn indexing() -> Vec<WrongCall> {
    let m = || f(&[3, 4]);
    let at = || ii(&[0, 1], [1, 2]);
    let b = || f(&[2]).gt(&f(&[2]));
    calls(vec![
        ("gather", Ok(m().gather(2, &at())), &["axis 2"]),
        ("gather", Ok(m().gather(1, &f(&[1, 2]))), &["i32"]),
        ("gather", Ok(m().gather(1, &i(&[0]))), &["1 axis", "2"]),
        ("gather", Ok(m().gather(1, &ii(&[0; 4], [4, 1]))), &["longer along axis 0"]),
        ("gather", Ok(f(&[3, 0]).gather(1, &at())), &["no elements"]),
        ("scatter", Ok(m().scatter(2, &at(), &f(&[1, 2]))), &["axis 2"]),
        ("scatter", Ok(m().scatter(1, &at(), &f(&[1, 1]))), &["source"]),
        ("scatter", Ok(m().scatter(1, &at(), &at())), &["dtypes"]),
        ("scatter_add", Ok(m().scatter_add(0, &ii(&[0; 5], [1, 5]), &f(&[1, 5]))), &["tensor", "axis 1"]),
        ("scatter_add", Ok(m().scatter_add(0, &at(), &i(&[1]))), &["dtypes"]),
        ("scatter_add", Ok(m().scatter_add(-3, &at(), &f(&[1, 2]))), &["axis -3"]),
        ("index_select", Ok(m().index_select(2, &i(&[0]))), &["axis 2"]),
        ("index_select", Ok(m().index_select(0, &at())), &["[n]"]),
        ("index_select", Ok(m().index_select(0, &f(&[1]))), &["i32"]),
        ("index_select", Ok(f(&[0, 2]).index_select(0, &i(&[0]))), &["no elements"]),
        ("index_add", Ok(m().index_add(0, &i(&[0]), &f(&[2, 4]))), &["[1, 4]", "[2, 4]"]),
        ("index_add", Ok(m().index_add(0, &i(&[0]), &ii(&[0; 4], [1, 4]))), &["dtypes"]),
        ("index_add", Ok(m().index_add(3, &i(&[0]), &f(&[1, 4]))), &["axis 3"]),
        ("one_hot", Ok(f(&[2]).one_hot(3)), &["i32"]),
        ("one_hot", Ok(i(&[0]).one_hot(0)), &["no classes"]),
        ("one_hot", Ok(i(&[0]).reshape([1; 8]).one_hot(2)), &["no room"]),
        ("embedding", Ok(m().embedding(&f(&[2]), None)), &["i32"]),
        ("embedding", Ok(f(&[3]).embedding(&i(&[0]), None)), &["[rows, d]"]),
        ("embedding", Ok(m().embedding(&i(&[0]), Some(3))), &["padding row 3"]),
        ("embedding", Ok(i(&[1]).embedding(&i(&[0]), None)), &["floating"]),
        ("masked_select", m().masked_select(&m()), &["not bool"]),
        ("masked_select", m().masked_select(&b()), &["[3, 4]", "[2]"]),
        ("masked_select", f(&[]).masked_select(&b()), &["expand"]),
        ("categorical", Ok(m().categorical(2, &Generator::new(0))), &["axis 2"]),
        ("categorical", Ok(i(&[1]).categorical(0, &Generator::new(0))), &["floating"]),
        ("categorical", Ok(f(&[2, 0]).categorical(1, &Generator::new(0))), &["no elements"]),
    ])
}

fn products() -> Vec<WrongCall> {
    let m = || f(&[3, 4]);
    let e = |spec: &str, operands: &[&Tensor]| Ok(Tensor::einsum(spec, operands));
    calls(vec![
        ("bmm", Ok(m().bmm(&m())), &["3 axes"]),
        ("bmm", Ok(f(&[2, 3, 4]).bmm(&f(&[3, 4, 2]))), &["batches of 2 and 3"]),
        ("bmm", Ok(f(&[2, 3, 4]).bmm(&f(&[2, 3, 2]))), &["4 and 3"]),
        ("dot", Ok(m().dot(&m())), &["vectors"]),
        ("dot", Ok(f(&[2]).dot(&f(&[3]))), &["lengths 2 and 3"]),
        ("dot", Ok(f(&[2]).dot(&i(&[1, 2]))), &["dtypes"]),
        ("outer", Ok(m().outer(&f(&[2]))), &["vectors"]),
        ("outer", Ok(f(&[2]).outer(&i(&[1]))), &["dtypes"]),
        ("outer", Ok(f(&[1]).gt(&f(&[1])).outer(&f(&[1]).gt(&f(&[1])))), &["bool"]),
        ("linear", Ok(m().linear(&f(&[5, 3]), None)), &["last axis"]),
        ("linear", Ok(m().linear(&f(&[5, 4]), Some(&f(&[4])))), &["bias", "[5]"]),
        ("linear", Ok(i(&[1]).linear(&f(&[1, 1]), None)), &["floating"]),
        ("cosine_similarity", Ok(m().cosine_similarity(&f(&[3]), 0, 1e-8)), &["broadcast"]),
        ("cosine_similarity", Ok(m().cosine_similarity(&m(), 2, 1e-8)), &["axis 2"]),
        ("cosine_similarity", Ok(m().cosine_similarity(&m(), 0, -1.0)), &["eps"]),
        ("einsum", e("ij,jk->ik", &[&m()]), &["names 2 operands"]),
        ("einsum", e("ijk->i", &[&m()]), &["names 3 axes"]),
        ("einsum", e("i->i", &[&m()]), &["names 1 axis"]),
        ("einsum", e("ij,jk->ik", &[&m(), &m()]), &["axis j", "4 and 3"]),
        ("einsum", e("ij->ik", &[&m()]), &["axis k"]),
        ("einsum", e("ij->ii", &[&m()]), &["axis i"]),
        ("einsum", e("i1->i", &[&m()]), &["'1'"]),
        ("einsum", e("ii->i", &[&m()]), &["axis i", "3 and 4"]),
        ("einsum", e("ii->i", &[&f(&[1, 3])]), &["diagonal"]),
        ("einsum", e("i....->i", &[&m()]), &["'.'"]),
        ("einsum", e("", &[]), &["operands"]),
        ("einsum", e("ij,ij->ij", &[&m(), &ii(&[0; 12], [3, 4])]), &["dtypes"]),
        ("einsum", e("abcde,fghij->abcdefghij", &[&f(&[1; 5]), &f(&[1; 5])]), &["10 axes"]),
    ])
}

fn losses() -> Vec<WrongCall> {
    type Pair = (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor>);
    let mean = Reduction::Mean;
    let pairs: [Pair; 10] = [
        ("mse", |x, t| loss::mse(x, t, Reduction::Mean)),
        ("l1", |x, t| loss::l1(x, t, Reduction::Mean)),
        ("huber", |x, t| loss::huber(x, t, 1.0, Reduction::Mean)),
        ("smooth_l1", |x, t| loss::smooth_l1(x, t, 1.0, Reduction::Mean)),
        ("kl_div", |x, t| loss::kl_div(x, t, Reduction::Mean)),
        ("hinge", |x, t| loss::hinge(x, t, Reduction::Mean)),
        ("hinge_embedding", |x, t| loss::hinge_embedding(x, t, 1.0, Reduction::Mean)),
        ("binary_cross_entropy", |x, t| loss::binary_cross_entropy(x, t, Reduction::Mean)),
        ("binary_cross_entropy_with_logits", |x, t| loss::binary_cross_entropy_with_logits(x, t, None, Reduction::Mean)),
        ("focal", |x, t| loss::focal(x, t, None, 2.0, Reduction::Mean)),
    ];
    let mut rows = Vec::new();
    for (name, run) in pairs {
        rows.extend(calls(vec![
            (name, run(&f(&[3]), &f(&[3, 1])), &["[3]", "[3, 1]", "reshape"]),
            (name, run(&f(&[2]), &i(&[1, 0])), &["floating", "cast"]),
            (name, run(&i(&[1, 0]), &f(&[2])), &["floating", "cast"]),
        ]));
    }
    let (x, t) = (f(&[2]), f(&[2]));
    let logits = || f(&[2, 3]);
    let with = |target: &Tensor, options: CrossEntropyOptions| loss::cross_entropy_with(&logits(), target, &options);
    let plain = CrossEntropyOptions::default;
    let nll = |labels: &Tensor, weight: Option<&Tensor>| loss::nll(&logits(), labels, weight, None, mean);
    let triplet = |shape: &[usize], options| loss::triplet_margin(&f(&[2, 3]), &f(&[2, 3]), &f(shape), options);
    let default = TripletOptions::default();
    let ctc = |shape: &[usize], times: &[usize], counts: &[usize], blank| {
        let options = CtcOptions { blank, ..CtcOptions::default() };
        loss::ctc(&f(shape), &ii(&[1, 2, 1, 2], [2, 2]), times, counts, options)
    };
    rows.extend(calls(vec![
        ("huber", loss::huber(&x, &t, 0.0, mean), &["delta = 0"]),
        ("smooth_l1", loss::smooth_l1(&x, &t, -1.0, mean), &["beta = -1"]),
        ("focal", loss::focal(&x, &t, Some(1.5), 2.0, mean), &["alpha"]),
        ("focal", loss::focal(&x, &t, None, f64::NAN, mean), &["gamma"]),
        (
            "binary_cross_entropy_with_logits",
            loss::binary_cross_entropy_with_logits(&x, &t, Some(&f(&[3])), mean),
            &["[3]", "broadcast"],
        ),
        ("margin_ranking", loss::margin_ranking(&x, &t, &f(&[3]), 0.0, mean), &["[2]", "[3]"]),
        ("margin_ranking", loss::margin_ranking(&x, &f(&[1]), &t, 0.0, mean), &["[1]"]),
        ("margin_ranking", loss::margin_ranking(&x, &t, &i(&[1, 1]), 0.0, mean), &["floating"]),
        ("triplet_margin", triplet(&[2, 4], default), &["[2, 4]"]),
        ("triplet_margin", triplet(&[2, 3], TripletOptions { margin: -1.0, ..default }), &["margin"]),
        ("triplet_margin", triplet(&[2, 3], TripletOptions { p: 0.0, ..default }), &["p = 0"]),
        ("cosine_embedding", loss::cosine_embedding(&logits(), &logits(), &f(&[3]), 0.0, mean), &["per vector"]),
        ("cosine_embedding", loss::cosine_embedding(&logits(), &f(&[2]), &f(&[2]), 0.0, mean), &["[2, 3]"]),
        ("cosine_embedding", loss::cosine_embedding(&logits(), &logits(), &i(&[1, 1]), 0.0, mean), &["floating"]),
        ("cross_entropy_with", with(&i(&[0]), plain()), &["[1]", "[2]"]),
        ("cross_entropy_with", with(&f(&[2]), plain()), &["logits' shape"]),
        ("cross_entropy_with", with(&i(&[0, 1]), CrossEntropyOptions { label_smoothing: 2.0, ..plain() }), &["share"]),
        ("cross_entropy_with", with(&i(&[0, 1]), CrossEntropyOptions { weight: Some(f(&[2])), ..plain() }), &["[3]"]),
        ("cross_entropy_with", with(&logits(), CrossEntropyOptions { ignore_index: Some(0), ..plain() }), &["rows to 0"]),
        ("nll", nll(&i(&[0]), None), &["[1]", "[2]"]),
        ("nll", nll(&f(&[2]), None), &["i32"]),
        ("nll", nll(&i(&[0, 1]), Some(&f(&[2]))), &["weight"]),
        ("nll", loss::nll(&x, &i(&[0]), None, None, mean), &["classes"]),
        ("ctc", ctc(&[4, 2], &[4, 4], &[2, 2], 0), &["[time, n, classes]"]),
        ("ctc", ctc(&[4, 3, 3], &[4, 4], &[2, 2], 0), &["3 samples"]),
        ("ctc", ctc(&[4, 2, 3], &[4, 5], &[2, 2], 0), &["5 time steps"]),
        ("ctc", ctc(&[4, 2, 3], &[4, 4], &[2, 3], 0), &["3 labels"]),
        ("ctc", ctc(&[4, 2, 3], &[4, 4], &[2, 2], 3), &["blank 3"]),
    ]));
    rows
}

#[test]
fn indices_and_labels_out_of_range_are_named() {
    let message = |t: Result<Tensor>| t.and_then(|t| t.eval()).expect_err("out of range").to_string();
    let m = f(&[3, 4]);
    let rows = [
        (Ok(m.gather(1, &ii(&[0, 4], [1, 2]))), "index 4 at position 1 is outside 0..4"),
        (Ok(m.scatter(0, &ii(&[0, -1], [1, 2]), &f(&[1, 2]))), "index -1 at position 1"),
        (Ok(m.scatter_add(0, &ii(&[3, 0], [1, 2]), &f(&[1, 2]))), "outside 0..3"),
        (Ok(m.index_select(1, &i(&[4]))), "outside 0..4"),
        (Ok(m.index_add(0, &i(&[3]), &f(&[1, 4]))), "outside 0..3"),
        (Ok(i(&[0, 2]).one_hot(2)), "outside 0..2"),
        (Ok(m.embedding(&ii(&[0, 3], [2, 1]), None)), "outside 0..3"),
        (loss::nll(&m, &i(&[0, 1, 4]), None, None, Reduction::Mean), "outside 0..4"),
        (loss::nll(&m, &i(&[0, -7, 4]), None, Some(-7), Reduction::Mean), "index 4 at position 2"),
        (loss::cross_entropy_with(&m, &i(&[0, -100, 1]), &CrossEntropyOptions::default()), "index -100"),
        (loss::ctc(&f(&[2, 1, 3]), &ii(&[3], [1, 1]), &[2], &[1], CtcOptions::default()), "outside 0..3"),
    ];
    for (result, part) in rows {
        let text = message(result);
        assert!(text.contains(part), "no \"{part}\" in {text}");
    }
}

fn distributions() -> Vec<WrongCall> {
    let (g, d) = (Generator::new(0), device());
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let mut rows = calls(vec![
        ("uniform", Tensor::uniform([2], 1.0, 1.0, &g, d), &["1 and 1"]),
        ("uniform", Tensor::uniform([2], nan, 1.0, &g, d), &["NaN"]),
        ("uniform", Tensor::uniform([2], 0.0, inf, &g, d), &["inf"]),
        ("normal", Tensor::normal([2], 0.0, -1.0, &g, d), &["-1"]),
        ("normal", Tensor::normal([2], 0.0, nan, &g, d), &["NaN"]),
        ("bernoulli", Tensor::bernoulli([2], 1.1, &g, d), &["p = 1.1"]),
        ("bernoulli", Tensor::bernoulli([2], nan, &g, d), &["p = NaN"]),
        ("randint", Tensor::randint([2], 3, 3, &g, d), &["3..3"]),
        ("randint", Tensor::randint([2], i32::MIN, i32::MAX, &g, d), &["range"]),
        ("arange", Tensor::arange(0.0, 1.0, 0.0, d), &["step"]),
        ("arange", Tensor::arange(0.0, inf, 1.0, d), &["inf"]),
        ("arange", Tensor::arange(nan, 1.0, 1.0, d), &["NaN"]),
    ]);
    type Make = (&'static str, fn(&[usize], &Generator, &wgrad::Device) -> Result<Tensor>);
    let of_shape: [Make; 11] = [
        ("zeros", |s, _, d| Tensor::zeros(s, d)),
        ("ones", |s, _, d| Tensor::ones(s, d)),
        ("full", |s, _, d| Tensor::full(s, 2.0, d)),
        ("full_of", |s, _, d| Tensor::full_of(s, 2.0, DType::U32, d)),
        ("random_bits", |s, g, d| Tensor::random_bits(s, g, d)),
        ("rand", |s, g, d| Tensor::rand(s, g, d)),
        ("randn", |s, g, d| Tensor::randn(s, g, d)),
        ("uniform", |s, g, d| Tensor::uniform(s, 0.0, 1.0, g, d)),
        ("normal", |s, g, d| Tensor::normal(s, 0.0, 1.0, g, d)),
        ("bernoulli", |s, g, d| Tensor::bernoulli(s, 0.5, g, d)),
        ("randint", |s, g, d| Tensor::randint(s, 0, 9, g, d)),
    ];
    for (op, make) in of_shape {
        for shape in [&[1; 9][..], &[usize::MAX, 2], &[usize::MAX / 2, usize::MAX / 2, 3]] {
            rows.push(WrongCall::new(op, make(shape, &g, d), &[]).saying("shape"));
        }
    }
    rows
}

/// The losses and gradients of one element at a time.
fn at(points: &[f64], target: &[f64], run: fn(&Tensor, &Tensor) -> Result<Tensor>) -> (Vec<f64>, Vec<f64>) {
    let x = upload(points, &[points.len()], DType::F32, device()).variable().expect("float");
    let t = upload(target, &[target.len()], DType::F32, device());
    let losses = run(&x, &t).expect("a loss");
    let gradient = losses.sum().backward().and_then(|g| g.get(&x)).expect("a gradient");
    (values(&losses), values(&gradient))
}

#[test]
fn losses_at_extremes() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    type Row =
        (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor>, &'static [f64], &'static [f64], &'static [f64], &'static [f64]);
    let rows: [Row; 6] = [
        (
            "binary_cross_entropy",
            |x, t| loss::binary_cross_entropy(x, t, Reduction::None),
            &[0.0, 0.0, 1.0, 1.0, -0.0],
            &[0.0, 1.0, 0.0, 1.0, 1.0],
            &[0.0, 100.0, 100.0, 0.0, 100.0],
            &[0.0, -1e12, 1e12, 0.0, -1e12],
        ),
        (
            "binary_cross_entropy_with_logits",
            |x, t| loss::binary_cross_entropy_with_logits(x, t, None, Reduction::None),
            &[1000.0, -1000.0, 1000.0, -1000.0, 3e38, 0.0],
            &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
            &[0.0, 0.0, 1000.0, 1000.0, 3e38, std::f64::consts::LN_2],
            &[0.0, 0.0, 1.0, -1.0, 1.0, 0.5],
        ),
        (
            "focal",
            |x, t| loss::focal(x, t, None, 0.5, Reduction::None),
            &[1000.0, -1000.0, 1000.0, -1000.0],
            &[1.0, 0.0, 0.0, 1.0],
            &[0.0, 0.0, 1000.0, 1000.0],
            &[0.0, 0.0, 1.0, -1.0],
        ),
        (
            "huber",
            |x, t| loss::huber(x, t, 1.0, Reduction::None),
            &[0.0, 1.0, -1.0, 3e38, -3e38],
            &[0.0; 5],
            &[0.0, 0.5, 0.5, 3e38, 3e38],
            &[0.0, 1.0, -1.0, 1.0, -1.0],
        ),
        (
            "kl_div",
            |x, t| loss::kl_div(x, t, Reduction::None),
            &[-1.0, 0.0, -50.0],
            &[0.0, 1.0, 0.0],
            &[0.0, 0.0, 0.0],
            &[0.0, -1.0, 0.0],
        ),
        ("l1", |x, t| loss::l1(x, t, Reduction::None), &[0.0, 3e38, -3e38], &[0.0; 3], &[0.0, 3e38, 3e38], &[0.0, 1.0, -1.0]),
    ];
    for (name, run, points, target, losses, gradient) in rows {
        let (got, slope) = at(points, target, run);
        close(name, &got, losses, 1e-6, 1e-6);
        close(&format!("gradient of {name}"), &slope, gradient, 1e-5, 1e-6);
        let (got, _) = at(&[nan], &[1.0], run);
        assert!(got[0].is_nan(), "{name} of NaN is {}", got[0]);
    }
    assert_eq!(at(&[inf], &[0.0], |x, t| loss::huber(x, t, 1.0, Reduction::None)).0, [inf]);
    assert!(at(&[1.5], &[1.0], |x, t| loss::binary_cross_entropy(x, t, Reduction::None)).0[0].is_nan());
}

#[test]
fn nonzero_and_integers() {
    let x = upload(&[0.0, 2.0, 0.0, -1.0, f64::NAN, 0.0], &[2, 3], DType::F32, device());
    assert_eq!(x.nonzero().expect("coordinates"), [vec![0, 1], vec![1, 0], vec![1, 1]]);
    assert_eq!(f(&[]).nonzero().expect("coordinates"), [Vec::<usize>::new()]);
    assert!(f(&[0, 3]).nonzero().expect("coordinates").is_empty());
    let counts = ii(&[0; 4], [2, 2]).scatter_add(1, &ii(&[1, 1, 0, 1], [2, 2]), &ii(&[1; 4], [2, 2]));
    assert_eq!(values(&counts), [0.0, 2.0, 1.0, 1.0]);
    assert_eq!(values(&i(&[5, 6, 7]).gather(0, &i(&[2, 0]))), [7.0, 5.0]);
    assert_eq!(values(&i(&[5, 6, 7]).index_add(0, &i(&[2, 2]), &i(&[1, 10]))), [5.0, 6.0, 18.0]);
    assert_eq!(values(&i(&[5, 6, 7]).index_select(0, &i(&[1]).cast(DType::U32))), [6.0]);
    assert_eq!(Tensor::einsum("i,i->", &[&i(&[1, 2]), &i(&[3, 4])]).item().expect("a scalar"), 11.0);
    // If several elements have one place, the last wins.
    assert_eq!(values(&i(&[0, 0]).scatter(0, &i(&[1, 1, 1]), &i(&[4, 5, 6]))), [0.0, 6.0]);
    // A padding row keeps its value and gets no gradient.
    let table = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, device()).variable().expect("float");
    let taken = table.embedding(&i(&[0, 1, 1, 2]), Some(1));
    assert_eq!(values(&taken), [1.0, 2.0, 2.0, 3.0]);
    assert_eq!(values(&taken.sum().backward().and_then(|g| g.get(&table)).expect("a gradient")), [1.0, 0.0, 1.0]);
}
