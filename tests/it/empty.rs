//! Empty operands: the result of every op on them is defined, and equal on every device, fused and unfused, whatever was in
//! memory before; or the call is refused, in the same way on every device.

use crate::common::{Devices, devices, oracle, upload, values};
use crate::samples::{Sample, samples};
use crate::table::ops;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, Reduction};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, Device, Generator, GridOptions, Param, PoolOptions, Result,
    Tensor,
};

/// Samples of an op whose operands are emptied, one length after another.
const SAMPLES_AN_OP: usize = 3;

/// Leaves numbers that no test expects in the memory that the device hands out next.
fn soil(device: &Device) {
    let junk: Vec<Tensor> = (1..=40).map(|n| upload(&vec![12_345.0; 4 * n], &[4 * n], DType::F32, device)).collect();
    // Uploads stay pending until something is computed.
    junk.last().expect("some").square().eval().expect("computes");
}

/// A result, or that the call was refused.
type Outcome = std::result::Result<(Vec<usize>, Vec<f64>), String>;

/// The outcome of a call: shape and elements, or the first words of its error.
fn outcome(run: impl FnOnce() -> Result<Tensor>) -> Outcome {
    // A sample unwraps methods that return a `Result`: its panic contains that error.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let t = run().map_err(|e| e.to_string())?;
        t.eval().map_err(|e| e.to_string())?;
        Ok((t.shape().expect("valid").to_vec(), values(&t)))
    }));
    let kind = |text: String| text.split([']', ';']).next().unwrap_or_default().to_owned();
    match result {
        Ok(outcome) => outcome.map_err(kind),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(text.contains("help: "), "a panic: {text}");
            Err(kind(text))
        }
    }
}

/// How two outcomes differ.
fn difference(got: &Outcome, expected: &Outcome) -> Option<String> {
    match (got, expected) {
        (Ok((shape, got)), Ok((wanted, expected))) => {
            let same = |g: &f64, e: &f64| g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= 1e-5 * e.abs().max(1.0);
            let equal = shape == wanted && got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| same(g, e));
            (!equal).then(|| format!("{shape:?} {got:?}, expected {wanted:?} {expected:?}"))
        }
        (Err(got), Err(expected)) => (got != expected).then(|| format!("refused with {got:?}, expected {expected:?}")),
        (got, expected) => Some(format!("{got:?}, expected {expected:?}")),
    }
}

/// The first samples of each op with a length above 1, by op.
fn chosen() -> BTreeMap<&'static str, Vec<Sample>> {
    let mut chosen: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
    for sample in samples() {
        let list = chosen.entry(sample.op).or_default();
        if list.len() < SAMPLES_AN_OP && sample.operands.iter().any(|o| o.shape.iter().any(|&d| d > 1)) {
            list.push(sample);
        }
    }
    chosen
}

/// Every axis of length `from` emptied.
fn emptied(sample: &Sample, from: usize, dtype: DType, device: &Device) -> Vec<Tensor> {
    let empty = |o: &crate::samples::Operand| {
        let dims: Vec<usize> = o.shape.iter().map(|&d| if d == from { 0 } else { d }).collect();
        let n = dims.iter().product();
        upload(&vec![(o.lo + o.hi) / 2.0; n], &dims, dtype, device)
    };
    sample.operands.iter().map(empty).collect()
}

/// A call on a device, with floats of the given dtype.
type Call = fn(&Device, DType) -> Result<Tensor>;

fn f(shape: &[usize], device: &Device, dtype: DType) -> Tensor {
    let n: usize = shape.iter().product();
    upload(&(0..n).map(|i| 0.5 + i as f64).collect::<Vec<_>>(), shape, dtype, device)
}

fn i(shape: &[usize], device: &Device) -> Tensor {
    upload(&vec![0.0; shape.iter().product()], shape, DType::I32, device)
}

fn g() -> Generator {
    Generator::new(1)
}

/// The gradient of `Σ 2y` with respect to a tensor that the call takes.
fn gradient(x: &Tensor, y: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let x = x.variable()?;
    (y(&x)? * 2.0).sum().backward()?.get(&x)
}

/// Functions that make tensors without operands, so that there is nothing to empty.
fn creation() -> Vec<(&'static str, Call)> {
    vec![
        ("zeros", |d, _| Tensor::zeros([2, 0], d)),
        ("ones", |d, _| Tensor::ones([2, 0], d)),
        ("full", |d, _| Tensor::full([0], 1.5, d)),
        ("full_of", |d, _| Tensor::full_of([0, 2], 1.5, DType::I32, d)),
        ("arange", |d, _| Tensor::arange(1.0, 1.0, 0.5, d)),
        ("iota", |d, _| Tensor::iota(0, DType::I32, d)),
        ("eye", |d, _| Tensor::eye(0, d)),
        ("random_bits", |d, _| Tensor::random_bits([2, 0], &g(), d)),
        ("rand", |d, _| Tensor::rand([2, 0], &g(), d)),
        ("randn", |d, _| Tensor::randn([2, 0], &g(), d)),
        ("uniform", |d, _| Tensor::uniform([0], 0.0, 1.0, &g(), d)),
        ("normal", |d, _| Tensor::normal([0], 0.0, 1.0, &g(), d)),
        ("bernoulli", |d, _| Tensor::bernoulli([0], 0.5, &g(), d)),
        ("randint", |d, _| Tensor::randint([0], 0, 9, &g(), d)),
        ("permutation", |d, _| Tensor::permutation(0, &g(), d)),
    ]
}

/// Calls whose sizes are arguments, which emptied operands do not match.
fn calls() -> Vec<(&'static str, Call)> {
    vec![
        ("reshape", |d, t| Ok(f(&[0, 3], d, t).reshape([5, 0, 2]))),
        ("expand", |d, t| Ok(f(&[1, 0], d, t).expand([3, 0]))),
        ("slice", |d, t| Ok(f(&[0, 3], d, t).slice(0, 0, 0))),
        ("slice", |d, t| Ok(f(&[3], d, t).slice(0, 2, 2))),
        ("pad", |d, t| Ok(f(&[0, 2], d, t).pad(&[(1, 1), (0, 1)]))),
        ("pad", |d, t| Ok(f(&[0, 2], d, t).exp().pad(&[(1, 1), (0, 1)]) + 1.0)),
        ("pad", |d, t| Ok(f(&[0, 2], d, t).pad(&[(1, 1), (0, 1)]).sum_dim(1))),
        ("pad_with", |d, t| Ok(f(&[0, 2], d, t).pad_with(&[(2, 0), (0, 0)], wgrad::PadMode::Constant(7.0)))),
        ("cat", |d, t| Ok(Tensor::cat(&[&f(&[0, 2], d, t), &f(&[2, 2], d, t), &f(&[0, 2], d, t)], 0))),
        ("gather", |d, t| Ok(f(&[2, 0], d, t).gather(0, &i(&[3, 0], d)))),
        ("gather", |d, t| Ok(f(&[0, 2], d, t).gather(0, &i(&[0, 2], d)))),
        ("gather", |d, t| Ok(f(&[0, 2], d, t).gather(0, &i(&[1, 2], d)))),
        ("gather_rows", |d, t| Ok(f(&[0, 2], d, t).gather_rows(&i(&[2], d)))),
        ("scatter", |d, t| Ok(f(&[2, 2], d, t).scatter(0, &i(&[0, 2], d), &f(&[0, 2], d, t)))),
        ("scatter_add", |d, t| Ok(f(&[2, 2], d, t).scatter_add(0, &i(&[0, 2], d), &f(&[0, 2], d, t)))),
        ("scatter_add_rows", |d, t| Ok(f(&[0, 2], d, t).scatter_add_rows(3, &i(&[0], d)))),
        ("scatter_add_rows", |d, t| Ok(f(&[0, 4], d, t).scatter_add_rows(3, &i(&[0], d)))),
        ("index_add", |d, t| Ok(f(&[2, 2], d, t).index_add(0, &i(&[0], d), &f(&[0, 2], d, t)))),
        ("one_hot", |d, _| Ok(i(&[0], d).one_hot(3))),
        ("categorical", |d, t| Ok(f(&[0, 3], d, t).categorical(1, &g()))),
        ("categorical", |d, t| Ok(f(&[2, 0], d, t).categorical(1, &g()))),
        ("argmax", |d, t| Ok(f(&[2, 0], d, t).argmax_dim(1))),
        ("argmax", |d, t| Ok(f(&[0, 2], d, t).argmax_dim(1))),
        ("max", |d, t| Ok(f(&[2, 0], d, t).max_dim(1))),
        ("sum", |d, t| Ok(f(&[3, 0], d, t).sum_dim(1))),
        ("sum", |d, t| Ok(f(&[3, 0], d, t).exp().sum_dim(1) * 2.0 + 1.0)),
        ("sum", |d, _| Ok(i(&[3, 0], d).sum_dim(1))),
        ("prod", |d, t| Ok(f(&[0, 3], d, t).prod_dim(0))),
        ("prod", |d, _| Ok(i(&[3, 0], d).prod_keepdim(1))),
        ("mean", |d, t| Ok(f(&[0, 3], d, t).mean_dim(0))),
        ("logsumexp", |d, t| Ok(f(&[3, 0], d, t).logsumexp_dim(1))),
        ("norm", |d, t| Ok(f(&[3, 0], d, t).norm_dim(2.0, 1))),
        ("softmax", |d, t| Ok(f(&[3, 0], d, t).softmax(1))),
        ("sort", |d, t| Ok(f(&[3, 0], d, t).sort(1, false).0)),
        ("cumsum", |d, t| Ok(f(&[3, 0], d, t).cumsum(1))),
        ("matmul", |d, t| Ok(f(&[2, 0], d, t).matmul(&f(&[0, 3], d, t)))),
        ("matmul", |d, t| Ok((f(&[4, 2, 0], d, t).matmul(&f(&[4, 0, 3], d, t)) + 1.0).relu())),
        ("linear", |d, t| Ok(f(&[2, 0], d, t).linear(&f(&[3, 0], d, t), Some(&f(&[3], d, t))))),
        ("conv2d", |d, t| {
            let x = f(&[2, 0, 4, 4], d, t);
            Ok(x.conv2d(&f(&[3, 0, 3, 3], d, t), Some(&f(&[3], d, t)), ConvOptions::default()))
        }),
        ("conv2d", |d, t| {
            let padded = ConvOptions { padding: [2, 2], ..ConvOptions::default() };
            Ok(f(&[1, 1, 0, 3], d, t).conv2d(&f(&[2, 1, 2, 2], d, t), None, padded))
        }),
        ("conv2d", |d, t| Ok(f(&[1, 1, 3, 3], d, t).conv2d(&f(&[2, 1, 0, 2], d, t), None, ConvOptions::default()))),
        ("conv1d", |d, t| Ok(f(&[2, 0, 4], d, t).conv1d(&f(&[3, 0, 2], d, t), None, ConvOptions::default()))),
        ("conv_transpose3d", |d, t| {
            let x = f(&[1, 0, 2, 2, 2], d, t);
            Ok(x.conv_transpose3d(&f(&[0, 2, 1, 2, 2], d, t), None, ConvTransposeOptions::default()))
        }),
        ("max_pool2d", |d, t| Ok(f(&[1, 2, 0, 3], d, t).max_pool2d_with(2, PoolOptions::default().stride(1).padding(1)))),
        ("avg_pool2d", |d, t| Ok(f(&[1, 2, 0, 3], d, t).avg_pool2d_with(2, PoolOptions::default().stride(1).padding(1)))),
        ("cross_entropy_rows", |d, t| Ok(f(&[0, 3], d, t).cross_entropy_rows(&i(&[0], d)))),
        ("cross_entropy_rows", |d, t| Ok(f(&[4, 0], d, t).cross_entropy_rows(&i(&[4], d)))),
        ("cross_entropy_rows", |d, t| Ok(f(&[0, 0], d, t).cross_entropy_rows(&i(&[0], d)))),
        ("cross_entropy_with", |d, t| loss::cross_entropy_with(&f(&[0, 3], d, t), &i(&[0], d), &CrossEntropyOptions::default())),
        ("cross_entropy_with", |d, t| loss::cross_entropy_with(&f(&[2, 0], d, t), &i(&[2], d), &CrossEntropyOptions::default())),
        ("nll", |d, t| loss::nll(&f(&[0, 3], d, t), &i(&[0], d), None, None, Reduction::Sum)),
        ("nll", |d, t| loss::nll(&f(&[0, 3], d, t), &i(&[0], d), None, None, Reduction::Mean)),
        ("mse", |d, t| loss::mse(&f(&[0, 3], d, t), &f(&[0, 3], d, t), Reduction::Mean)),
        ("ctc", |d, t| loss::ctc(&f(&[2, 1, 3], d, t), &i(&[1, 0], d), &[2], &[0], CtcOptions::default())),
        ("batch_norm", |d, t| Ok(f(&[0, 2], d, t).batch_norm(None, None, 1e-5).1)),
        ("masked_select", |d, t| {
            let x = f(&[3], d, t);
            x.masked_select(&x.lt(&x.zeros_like()))
        }),
    ]
}

/// Gradients that result from empty operands: zeros, of a size that the operands do not have.
fn gradients() -> Vec<(&'static str, Call)> {
    vec![
        ("matmul", |d, t| gradient(&f(&[2, 3], d, t), |w| Ok(f(&[0, 2], d, t).matmul(w)))),
        ("linear", |d, t| gradient(&f(&[2, 3], d, t), |w| Ok(f(&[0, 3], d, t).linear(w, None)))),
        ("linear", |d, t| gradient(&f(&[2], d, t), |b| Ok(f(&[0, 3], d, t).linear(&f(&[2, 3], d, t), Some(b))))),
        ("conv2d", |d, t| {
            gradient(&f(&[2, 3, 2, 2], d, t), |w| Ok(f(&[0, 3, 4, 4], d, t).conv2d(w, None, ConvOptions::default())))
        }),
        ("conv2d", |d, t| {
            gradient(&f(&[1, 3, 4, 4], d, t), |x| Ok(x.conv2d(&f(&[0, 3, 2, 2], d, t), None, ConvOptions::default())))
        }),
        ("conv_transpose2d", |d, t| {
            gradient(&f(&[3, 2, 2, 2], d, t), |w| {
                Ok(f(&[0, 3, 4, 4], d, t).conv_transpose2d(w, None, ConvTransposeOptions::default()))
            })
        }),
        ("gather_rows", |d, t| gradient(&f(&[3, 2], d, t), |x| Ok(x.gather_rows(&i(&[0], d))))),
        ("embedding", |d, t| gradient(&f(&[3, 2], d, t), |x| Ok(x.embedding(&i(&[2, 0], d), None)))),
        ("add", |d, t| gradient(&f(&[1, 3], d, t), |x| Ok(x + f(&[0, 3], d, t)))),
        ("slice", |d, t| gradient(&f(&[3], d, t), |x| Ok(x.slice(0, 1, 1)))),
        ("layer_norm", |d, t| gradient(&f(&[3], d, t), |w| Ok(f(&[0, 3], d, t).layer_norm([3], Some(w), None, 1e-5)))),
        ("cross_entropy_rows", |d, t| gradient(&f(&[0, 3], d, t), |x| Ok(x.cross_entropy_rows(&i(&[0], d))))),
        ("gather", |d, t| gradient(&f(&[2, 3], d, t), |x| Ok(x.gather(0, &i(&[0, 3], d))))),
        ("grid_sample", |d, t| {
            gradient(&f(&[1, 2, 3, 3], d, t), |x| Ok(x.grid_sample(&f(&[1, 0, 2, 2], d, t), GridOptions::default())))
        }),
        ("scaled_dot_product_attention", |d, t| {
            let none = f(&[0, 2], d, t);
            gradient(&f(&[3, 2], d, t), |q| Ok(q.scaled_dot_product_attention(&none, &none, &AttentionOptions::default())))
        }),
        ("scaled_dot_product_attention", |d, t| {
            let options = AttentionOptions { causal: true, dropout: Some((0.5, g())), ..AttentionOptions::default() };
            gradient(&f(&[3, 2], d, t), |k| Ok(f(&[0, 2], d, t).scaled_dot_product_attention(k, k, &options)))
        }),
    ]
}

#[test]
fn every_op_is_defined_or_refused_on_empty_operands() {
    let Devices { fused, unfused } = devices();
    let (mut faults, mut accepted, mut made) = (Vec::new(), BTreeSet::new(), 0);
    let mut compare = |op: &'static str, name: String, run: &dyn Fn(DType, &Device) -> Outcome| {
        let expected = run(DType::F64, &oracle());
        if let Ok((shape, _)) = &expected {
            accepted.insert(op);
            made += usize::from(!shape.contains(&0));
        }
        for (way, device) in [("fused", fused), ("unfused", unfused)] {
            soil(device);
            let what = difference(&run(DType::F32, device), &expected);
            faults.extend(what.map(|what| format!("{name}, {way}: {what}")));
        }
    };
    for (op, samples) in chosen() {
        for sample in samples {
            let lengths: BTreeSet<usize> = sample.operands.iter().flat_map(|o| o.shape.clone()).filter(|&d| d > 0).collect();
            for from in lengths {
                compare(op, format!("{} with {from} emptied", sample.name), &|dtype, device| {
                    outcome(|| Ok((sample.run)(&emptied(&sample, from, dtype, device))))
                });
            }
        }
    }
    for (k, (op, call)) in creation().into_iter().chain(calls()).chain(gradients()).enumerate() {
        compare(op, format!("call {k}, {op}"), &|dtype, device| outcome(|| call(device, dtype)));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    for (op, call) in gradients() {
        let zeros = outcome(|| call(&oracle(), DType::F64)).unwrap_or_else(|e| panic!("the gradient of {op}: {e}"));
        assert!(zeros.1.iter().all(|&g| g == 0.0), "the gradient of {op}: {zeros:?}");
    }
    assert!(made > 150, "only {made} results have elements");
    // A scalar always has one element.
    let missing: Vec<&str> = ops().into_keys().filter(|op| accepted.contains(op) == (*op == "scalar")).collect();
    assert!(missing.is_empty(), "not defined on any empty operand: {missing:?}");
}

/// Rows without classes have no loss: the call is refused, as no label names a class.
#[test]
fn a_loss_without_classes_is_refused() {
    for device in [&devices().fused, &devices().unfused] {
        let error = f(&[4, 0], device, DType::F32).cross_entropy_rows(&i(&[4], device)).check().expect_err("refused").to_string();
        assert!(error.contains("[cross_entropy_rows]") && error.contains("no classes") && error.contains("[4, 0]"), "{error}");
    }
}

#[test]
fn a_step_over_an_empty_parameter_moves_the_others() {
    for device in [&devices().fused, &devices().unfused] {
        soil(device);
        let make = |shape: &[usize]| Param::new(&f(shape, device, DType::F32)).expect("a parameter");
        let (none, some) = (make(&[0, 3]), make(&[2]));
        let config = AdamConfig { lr: 0.25, ..AdamConfig::default() };
        let mut adam = Adam::new(&[none.clone(), some.clone()], config).expect("an optimizer");
        let loss = (none.tensor() * 3.0).sum() + some.tensor().sum();
        adam.step(loss.backward().expect("gradients")).expect("a step");
        assert!(values(&none.tensor()).is_empty());
        crate::common::close("moved", &values(&some.tensor()), &[0.25, 1.25], 1e-5, 1e-5);
    }
}
