//! Wrong calls of activations, statistics, scans, arrangements and sorts: as in `refusals`.

use crate::common::{device, upload};
use crate::refusals::WrongCall;
use wgrad::{DType, Error, PadMode, Tensor};

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

fn i(v: &[i32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).expect("valid")
}

fn b(shape: &[usize]) -> Tensor {
    f(shape).gt(&f(shape))
}

/// The first of a pair, to read the error from.
fn first(pair: (Tensor, Tensor)) -> Tensor {
    pair.0
}

/// The error of a refused split or chunk.
fn refused(result: wgrad::Result<Vec<Tensor>>) -> Error {
    result.expect_err("refused")
}

pub fn rows() -> Vec<WrongCall> {
    type Act = (&'static str, fn(&Tensor) -> Tensor);
    let activations: [Act; 14] = [
        ("relu6", |x| x.relu6()),
        ("hardtanh", |x| x.hardtanh(-1.0, 1.0)),
        ("leaky_relu", |x| x.leaky_relu(0.1)),
        ("elu", |x| x.elu(1.0)),
        ("selu", |x| x.selu()),
        ("gelu", |x| x.gelu()),
        ("gelu_tanh", |x| x.gelu_tanh()),
        ("silu", |x| x.silu()),
        ("mish", |x| x.mish()),
        ("hardsigmoid", |x| x.hardsigmoid()),
        ("hardswish", |x| x.hardswish()),
        ("softplus_with", |x| x.softplus_with(1.0, 20.0)),
        ("softsign", |x| x.softsign()),
        ("log_sigmoid", |x| x.log_sigmoid()),
    ];
    let mut rows = Vec::new();
    for (name, run) in activations {
        // An activation's only operand can only have a wrong dtype: three of them.
        for x in [i(&[1, 2]), b(&[2]), f(&[2]).cast(DType::U32)] {
            rows.push(WrongCall::new(name, Ok(run(&x)), &["floating", "cast"]));
        }
    }
    let inf = f64::INFINITY;
    let table: Vec<(&'static str, Tensor, Vec<&'static str>)> = vec![
        ("hardtanh", f(&[2]).hardtanh(1.0, -1.0), vec!["order"]),
        ("hardtanh", f(&[2]).hardtanh(f64::NAN, 1.0), vec!["order"]),
        ("leaky_relu", f(&[2]).leaky_relu(f64::NAN), vec!["slope is NaN"]),
        ("elu", f(&[2]).elu(f64::NAN), vec!["alpha is NaN"]),
        ("softplus_with", f(&[2]).softplus_with(0.0, 20.0), vec!["beta is 0"]),
        ("lerp", i(&[1]).lerp(&i(&[2]), 0.5), vec!["floating"]),
        ("lerp", f(&[2]).lerp(&f(&[3]), 0.5), vec!["[2]", "[3]", "broadcast"]),
        ("lerp", f(&[2]).lerp(&i(&[1, 2]), 0.5), vec!["i32", "cast"]),
        ("lerp", f(&[2]).lerp(&f(&[2]), f64::NAN), vec!["weight is NaN"]),
        ("masked_fill", f(&[2]).masked_fill(&f(&[2]), 0.0), vec!["mask is f32"]),
        ("masked_fill", f(&[2]).masked_fill(&b(&[3]), 0.0), vec!["[3]", "stretch"]),
        ("masked_fill", f(&[2]).masked_fill(&b(&[2, 2]), 0.0), vec!["[2, 2]"]),
        ("std", i(&[1]).std(), vec!["floating"]),
        ("std", f(&[2, 3]).std_dim(2), vec!["axis 2"]),
        ("std", f(&[2, 3]).std_dim([0, -2]), vec!["twice"]),
        ("any", f(&[2]).any_dim(1), vec!["axis 1"]),
        ("any", f(&[2, 3]).any_dim([1, 1]), vec!["twice"]),
        ("any", f(&[]).any_dim(0), vec!["scalar"]),
        ("all", f(&[2]).all_dim(-2), vec!["axis -2"]),
        ("all", f(&[2, 3]).all_dim([0, 0]), vec!["twice"]),
        ("all", f(&[]).all_dim(0), vec!["scalar"]),
        ("count_nonzero", f(&[2]).count_nonzero_dim(1), vec!["axis 1"]),
        ("count_nonzero", f(&[2, 3]).count_nonzero_dim([1, -1]), vec!["twice"]),
        ("count_nonzero", f(&[]).count_nonzero_dim(0), vec!["scalar"]),
        ("logsumexp", i(&[1]).logsumexp(), vec!["floating"]),
        ("logsumexp", f(&[2]).logsumexp_dim(1), vec!["axis 1"]),
        ("logsumexp", f(&[2]).logsumexp_dim([0, 0]), vec!["twice"]),
        ("norm", i(&[1]).norm(2.0), vec!["floating"]),
        ("norm", f(&[2]).norm(-1.0), vec!["p = -1"]),
        ("norm", f(&[2]).norm_dim(2.0, 1), vec!["axis 1"]),
        ("norm", f(&[2, 0]).norm_dim(inf, 1), vec!["no element"]),
        ("cumsum", b(&[2]).cumsum(0), vec!["bool"]),
        ("cumsum", f(&[2]).cumsum(1), vec!["axis 1"]),
        ("cumsum", f(&[]).cumsum(0), vec!["scalar"]),
        ("cumprod", b(&[2]).cumprod(0), vec!["bool"]),
        ("cumprod", f(&[2]).cumprod(-2), vec!["axis -2"]),
        ("cumprod", f(&[]).cumprod(0), vec!["scalar"]),
        ("repeat", f(&[2, 3]).repeat(&[2]), vec!["1 counts", "2 axes"]),
        ("repeat", f(&[2]).repeat(&[usize::MAX]), vec!["too large"]),
        ("repeat", f(&[2]).repeat(&[1; 9]), vec!["8 axes"]),
        ("roll", f(&[2]).roll(1, 1), vec!["axis 1"]),
        ("roll", f(&[2]).roll(1, -2), vec!["axis -2"]),
        ("roll", f(&[]).roll(1, 0), vec!["scalar"]),
        ("narrow", f(&[2, 3]).narrow(1, 2, 2), vec!["2 elements", "position 2", "length 3"]),
        ("narrow", f(&[4]).narrow(0, -5, 1), vec!["position -5", "length 4"]),
        ("narrow", f(&[4]).narrow(0, isize::MAX, usize::MAX), vec!["length 4"]),
        ("narrow", f(&[4]).narrow(1, 0, 1), vec!["axis 1"]),
        ("select", f(&[2, 3]).select(1, 3), vec!["position 3", "length 3", "-3 to 2"]),
        ("select", f(&[2]).select(0, isize::MIN), vec!["length 2"]),
        ("select", f(&[]).select(0, 0), vec!["scalar"]),
        ("unflatten", f(&[6]).unflatten(0, &[2, 2]), vec!["[2, 2]", "length 6"]),
        ("unflatten", f(&[6]).unflatten(0, &[usize::MAX, 2]), vec!["length 6"]),
        ("unflatten", f(&[6]).unflatten(1, &[6]), vec!["axis 1"]),
        ("unflatten", f(&[1]).unflatten(0, &[1; 9]), vec!["8"]),
        ("gt", i(&[1]).gt(0.5), vec!["0.5", "i32", "whole number"]),
        ("eq", i(&[1]).eq(f64::NAN), vec!["NaN", "i32"]),
        ("maximum", b(&[2]).maximum(1.0), vec!["bool"]),
        ("tril", f(&[2]).tril(0), vec!["matrix"]),
        ("tril", f(&[]).tril(0), vec!["matrix"]),
        ("tril", f(&[3]).tril(1), vec!["reshape"]),
        ("triu", f(&[2]).triu(0), vec!["matrix"]),
        ("triu", f(&[]).triu(0), vec!["matrix"]),
        ("triu", f(&[3]).triu(-1), vec!["reshape"]),
        ("diag", f(&[2, 2, 2]).diag(0), vec!["vector or a matrix"]),
        ("diag", f(&[2, 3]).diag(4), vec!["diagonal 4"]),
        ("diag", f(&[2]).diag(isize::MIN), vec!["too large"]),
        ("pad_with", f(&[2]).pad_with(&[], PadMode::Reflect), vec!["one pair"]),
        ("pad_with", f(&[2]).pad_with(&[(2, 0)], PadMode::Reflect), vec!["length 2"]),
        ("pad_with", f(&[0]).pad_with(&[(1, 0)], PadMode::Replicate), vec!["length 0"]),
        ("pad_with", f(&[2]).pad_with(&[(usize::MAX, 1)], PadMode::Constant(1.0)), vec!["too large"]),
        ("flip", f(&[4]).flip(1), vec!["axis 1"]),
        ("flip", f(&[4, 2]).flip([0, 0]), vec!["twice"]),
        ("flip", f(&[]).flip(0), vec!["scalar"]),
        ("cat", Tensor::cat(&[&f(&[2]), &i(&[1])], 0), vec!["cast"]),
        ("sort", first(f(&[2]).sort(1, false)), vec!["axis 1"]),
        ("sort", first(b(&[2]).sort(0, false)), vec!["bool"]),
        ("sort", first(f(&[]).sort(0, false)), vec!["scalar"]),
        ("sort", f(&[2]).sort(1, false).1, vec!["axis 1"]),
        ("argsort", f(&[2]).argsort(1, false), vec!["axis 1"]),
        ("argsort", b(&[2]).argsort(0, false), vec!["bool"]),
        ("argsort", f(&[2, 3]).argsort(-3, true), vec!["axis -3"]),
        ("topk", first(f(&[2]).topk(3, 0)), vec!["k = 3"]),
        ("topk", first(f(&[2]).topk(1, 1)), vec!["axis 1"]),
        ("topk", first(b(&[2]).topk(1, 0)), vec!["bool"]),
    ];
    rows.extend(table.into_iter().map(|(op, tensor, parts)| WrongCall::new(op, Ok(tensor), &parts)));
    type Parts = (&'static str, wgrad::Result<Vec<Tensor>>, Vec<&'static str>);
    let parts: Vec<Parts> = vec![
        ("split", f(&[4]).split(1, &[4]), vec!["axis 1"]),
        ("split", f(&[4]).split(0, &[1, 2]), vec!["[1, 2]", "length 4"]),
        ("split", f(&[4]).split(0, &[usize::MAX, 5]), vec!["add up"]),
        ("chunk", f(&[4]).chunk(2, 1), vec!["axis 1"]),
        ("chunk", f(&[4]).chunk(0, 0), vec!["at least 1"]),
        ("chunk", f(&[]).chunk(1, 0), vec!["scalar"]),
    ];
    rows.extend(parts.into_iter().map(|(op, result, parts)| WrongCall::new(op, result.map(|mut t| t.remove(0)), &parts)));
    rows
}

#[test]
fn refusals_say_where() {
    for tensor in [f(&[2]).gelu().norm_dim(2.0, 5), f(&[2]).roll(1, 3), first(f(&[2]).topk(3, 0)), i(&[1]).silu()] {
        let message = tensor.eval().expect_err("refused").to_string();
        assert!(message.contains("refusals_shape.rs"), "{message}");
    }
    let message = refused(f(&[2]).split(0, &[3])).to_string();
    assert!(message.contains("refusals_shape.rs"), "{message}");
}
