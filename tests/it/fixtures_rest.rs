//! Creation, casts, adaptive and global pools, and everything else that the other files leave out, against PyTorch.

use crate::common::device;
use crate::fixtures::{Fixture, agree};
use serde_json::Value;
use wgrad::{DType, Generator, Result, Tensor};

/// A case's arguments and inputs.
struct Case<'a> {
    arguments: &'a Value,
    inputs: &'a dyn Fn(&str) -> Tensor,
}

impl Case<'_> {
    fn get(&self, name: &str) -> Tensor {
        (self.inputs)(name)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.arguments.get(name)?.as_f64()
    }

    fn whole(&self, name: &str) -> Option<isize> {
        isize::try_from(self.arguments.get(name)?.as_i64()?).ok()
    }

    fn list(&self, name: &str) -> Vec<usize> {
        let items = self.arguments.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_u64).map(|v| usize::try_from(v).expect("small")).collect()
    }

    fn optional(&self, name: &str) -> Option<Tensor> {
        self.arguments["inputs"].as_array().is_some_and(|inputs| inputs.iter().any(|i| i == name)).then(|| self.get(name))
    }

    fn bits(&self, name: &str) -> Tensor {
        self.get(name).cast(DType::Bool)
    }
}

fn created(op: &str, case: &Case) -> Option<Result<Tensor>> {
    Some(match op {
        "zeros" => Tensor::zeros(case.list("shape"), device()),
        "ones" => Tensor::ones(case.list("shape"), device()),
        "full" => Tensor::full(case.list("shape"), case.number("value")?, device()),
        "full_of" => Tensor::full_of(case.list("shape"), case.number("value")?, DType::I32, device()),
        "scalar" => Tensor::scalar(case.number("value")?, device()),
        "arange" => Tensor::arange(case.number("start")?, case.number("stop")?, case.number("step")?, device()),
        "iota" => Tensor::iota(case.whole("n")?.unsigned_abs(), DType::I32, device()),
        "eye" => Tensor::eye(case.whole("n")?.unsigned_abs(), device()),
        _ => return None,
    })
}

fn derived(op: &str, case: &Case) -> Option<Tensor> {
    let three = <[usize; 3]>::try_from(case.list("size")).ok();
    Some(match op {
        "zeros_like" => case.get("x").zeros_like(),
        "ones_like" => case.get("x").ones_like(),
        "full_like" => case.get("x").full_like(case.number("value")?),
        "logical_and" => case.bits("a").logical_and(&case.bits("b")),
        "logical_or" => case.bits("a").logical_or(&case.bits("b")),
        "logical_xor" => case.bits("a").logical_xor(&case.bits("b")),
        "logical_not" => case.bits("a").logical_not(),
        "is_nan" => case.get("x").sqrt().is_nan(),
        "is_finite" => case.get("x").reciprocal().is_finite(),
        "cast" => case.get("x").cast(match case.arguments["dtype"].as_str()? {
            "i32" => DType::I32,
            "u32" => DType::U32,
            "bool" => DType::Bool,
            "f16" => DType::F16,
            "u8" => DType::U8,
            _ => return None,
        }),
        "detach" => case.get("x").detach() * case.get("x"),
        "dropout" => case.get("x").dropout(case.number("p")?, &Generator::new(1)),
        "squeeze" => case.get("x").squeeze(case.whole("dim")?),
        "narrow" => case.get("x").narrow(case.whole("dim")?, case.whole("start")?, usize::try_from(case.whole("length")?).ok()?),
        "select" => case.get("x").select(case.whole("dim")?, case.whole("index")?),
        "unflatten" => case.get("x").unflatten(case.whole("dim")?, &case.list("sizes")),
        "t" => case.get("x").t(),
        "slice" => case.get("x").slice(case.whole("dim")?, case.whole("start")?, case.whole("stop")?),
        "pad" => {
            // PyTorch lists the last axis first, and leaves leading axes out.
            let mut amounts: Vec<(usize, usize)> = case.list("pad").chunks(2).map(|p| (p[0], p[1])).collect();
            amounts.resize(case.get("x").shape().ok()?.rank(), (0, 0));
            amounts.reverse();
            case.get("x").pad(&amounts)
        }
        "pad_same" => case.get("x").pad_same(&case.list("kernel"), &case.list("dilation")),
        "normalize" => {
            let axes: Vec<isize> = case.list("dim").into_iter().map(usize::cast_signed).collect();
            case.get("x").normalize(case.number("p")?, &axes)
        }
        "standardize" => case.get("x").standardize(&case.list("dim"), case.number("eps")?).0,
        "gather_rows" => case.get("x").gather_rows(&case.get("index")),
        "scatter_add_rows" => case.get("x").scatter_add_rows(case.whole("rows")?.unsigned_abs(), &case.get("index")),
        "masked_select" => case.get("x").masked_select(&case.bits("mask")).ok()?,
        "adaptive_avg_pool1d" => case.get("x").adaptive_avg_pool1d(case.list("size")[0]),
        "adaptive_max_pool1d" => case.get("x").adaptive_max_pool1d(case.list("size")[0]),
        "adaptive_avg_pool3d" => case.get("x").adaptive_avg_pool3d(three?),
        "adaptive_max_pool3d" => case.get("x").adaptive_max_pool3d(three?),
        "global_avg_pool" => case.get("x").global_avg_pool(),
        "global_max_pool" => case.get("x").global_max_pool(),
        "softplus_with" => case.get("x").softplus_with(case.number("beta")?, case.number("threshold")?),
        "batch_norm_with" => {
            let (weight, bias) = (case.optional("weight"), case.optional("bias"));
            let eps = case.number("eps").unwrap_or(1e-5);
            case.get("x").batch_norm_with(&case.get("mean"), &case.get("variance"), weight.as_ref(), bias.as_ref(), eps)
        }
        _ => return None,
    })
}

#[test]
fn the_remaining_ops_agree_with_pytorch() {
    let checked = agree("rest.safetensors", &|op, arguments, inputs| {
        let case = Case { arguments, inputs };
        match created(op, &case) {
            Some(made) => Some(made.unwrap_or_else(|e| panic!("{op}: {e}"))),
            None => derived(op, &case),
        }
    });
    assert_eq!(checked, Fixture::open("rest.safetensors").cases().len(), "every case of the file is checked");
}
