//! Basic elementwise ops, reductions and movements against PyTorch.

use crate::fixtures::{Fixture, agree};
use serde_json::Value;
use wgrad::{DType, Tensor};

fn run(op: &str, arguments: &Value, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    let number = |k: &str| arguments.get(k).and_then(Value::as_f64);
    let whole = |k: &str| arguments.get(k).and_then(Value::as_i64).map(|v| v as isize);
    let list = |k: &str| -> Vec<isize> {
        let numbers = arguments.get(k).and_then(Value::as_array);
        numbers.into_iter().flatten().filter_map(Value::as_i64).map(|v| v as isize).collect()
    };
    let counts = |k: &str| -> Vec<usize> { list(k).into_iter().map(isize::unsigned_abs).collect() };
    let keep = arguments.get("keepdim").and_then(Value::as_bool).unwrap_or(false);
    let (x, a, b) = (|| get("x"), || get("a"), || get("b"));
    let truth = |t: Tensor| t.cast(DType::Bool);
    Some(match op {
        "neg" => x().neg(),
        "abs" => x().abs(),
        "sign" => x().sign(),
        "sqrt" => x().sqrt(),
        "rsqrt" => x().rsqrt(),
        "reciprocal" => x().reciprocal(),
        "square" => x().square(),
        "exp" => x().exp(),
        "log" => x().log(),
        "sin" => x().sin(),
        "cos" => x().cos(),
        "tan" => x().tan(),
        "asin" => x().asin(),
        "acos" => x().acos(),
        "atan" => x().atan(),
        "sinh" => x().sinh(),
        "cosh" => x().cosh(),
        "floor" => x().floor(),
        "ceil" => x().ceil(),
        "round" => x().round(),
        "trunc" => x().trunc(),
        "add" => a() + b(),
        "sub" => a() - b(),
        "mul" => a() * b(),
        "div" => a() / b(),
        "minimum" => a().minimum(&b()),
        "maximum" => a().maximum(&b()),
        "eq" => a().eq(&b()),
        "ne" => a().ne(&b()),
        "lt" => a().lt(&b()),
        "le" => a().le(&b()),
        "gt" => a().gt(&b()),
        "ge" => a().ge(&b()),
        "logical_and" => truth(a()).logical_and(&truth(b())),
        "logical_or" => truth(a()).logical_or(&truth(b())),
        "logical_xor" => truth(a()).logical_xor(&truth(b())),
        "logical_not" => truth(a()).logical_not(),
        "is_nan" => x().log().is_nan(),
        "is_finite" => x().log().is_finite(),
        "where" => truth(get("c")).where_(&a(), &b()),
        "clamp" => x().clamp(number("low")?, number("high")?),
        "sum" => x().sum(&list("dim"), keep),
        "mean" => x().mean(&list("dim"), keep),
        "prod" => x().prod(&list("dim"), keep),
        "max" => x().max(&list("dim"), keep),
        "min" => x().min(&list("dim"), keep),
        "var" => x().var(&list("dim"), whole("correction")?.unsigned_abs(), keep),
        "argmax" => x().argmax(whole("dim")?, keep),
        "argmin" => x().argmin(whole("dim")?, keep),
        "reshape" => x().reshape(counts("shape")),
        "flatten" => x().flatten(whole("first")?, whole("last")?),
        "permute" => x().permute(&counts("dims")),
        "transpose" => x().transpose(whole("a")?, whole("b")?),
        "expand" => x().expand(counts("shape")),
        "unsqueeze" => x().unsqueeze(whole("dim")?),
        "squeeze" => x().squeeze(whole("dim")?),
        "slice" => x().slice_step(whole("dim")?, whole("start")?, whole("stop")?, whole("step")?),
        "cat" => Tensor::cat(&[&a(), &b(), &a()], whole("dim")?),
        "stack" => Tensor::stack(&[&a(), &b()], whole("dim")?),
        _ => return None,
    })
}

#[test]
fn basic_ops_agree_with_pytorch() {
    let checked = agree("core.safetensors", &run);
    assert_eq!(checked, Fixture::open("core.safetensors").cases().len(), "every case of the file is checked");
}
