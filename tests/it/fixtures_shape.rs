//! Activations, statistics, scans, arrangements and sorts against PyTorch.

use crate::fixtures::{Fixture, agree};
use serde_json::Value;
use wgrad::{DType, PadMode, Tensor, VarOptions};

fn run(op: &str, arguments: &Value, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    let number = |k: &str| arguments.get(k).and_then(Value::as_f64);
    let whole = |k: &str| arguments.get(k).and_then(Value::as_i64).map(|v| v as isize);
    let list = |k: &str| -> Option<Vec<isize>> {
        Some(arguments.get(k)?.as_array()?.iter().filter_map(Value::as_i64).map(|v| v as isize).collect())
    };
    let counts = |k: &str| -> Option<Vec<usize>> { Some(list(k)?.into_iter().map(isize::unsigned_abs).collect()) };
    let flag = |k: &str| arguments.get(k).and_then(Value::as_bool).unwrap_or(false);
    let (x, keep) = (get("x"), flag("keepdim"));
    let over = || list("dim").unwrap_or_default();
    Some(match op {
        "relu6" => x.relu6(),
        "leaky_relu" => x.leaky_relu(number("negative_slope")?),
        "selu" => x.selu(),
        "hardsigmoid" => x.hardsigmoid(),
        "softsign" => x.softsign(),
        "logsigmoid" => x.log_sigmoid(),
        "hardtanh" => x.hardtanh(number("min_val")?, number("max_val")?),
        "softplus" => x.softplus_with(number("beta")?, number("threshold")?),
        "lerp" => x.lerp(&get("end"), number("weight")?),
        "masked_fill" => x.masked_fill(&get("mask").cast(DType::Bool), number("value")?),
        "std" => x.std_with(&over(), VarOptions { correction: whole("correction")?.unsigned_abs(), keepdim: keep }),
        "logsumexp" => {
            if keep {
                x.logsumexp_keepdim(&over())
            } else {
                x.logsumexp_dim(&over())
            }
        }
        "norm" => {
            if keep {
                x.norm_keepdim(arguments.get("p")?.as_str()?.parse().ok()?, &over())
            } else {
                x.norm_dim(arguments.get("p")?.as_str()?.parse().ok()?, &over())
            }
        }
        "any" => {
            if keep {
                x.any_keepdim(&over())
            } else {
                x.any_dim(&over())
            }
        }
        "all" => {
            if keep {
                x.all_keepdim(&over())
            } else {
                x.all_dim(&over())
            }
        }
        "count_nonzero" => {
            if keep {
                x.count_nonzero_keepdim(&over())
            } else {
                x.count_nonzero_dim(&over())
            }
        }
        "cumsum" => x.cumsum(whole("dim")?),
        "cumprod" => x.cumprod(whole("dim")?),
        "repeat" => x.repeat(&counts("counts")?),
        "roll" => x.roll(whole("shift")?, whole("dim")?),
        "tril" => x.tril(whole("diagonal")?),
        "triu" => x.triu(whole("diagonal")?),
        "diag" => x.diag(whole("diagonal")?),
        "pad" => {
            let mode = match arguments.get("mode")?.as_str()? {
                "reflect" => PadMode::Reflect,
                "replicate" => PadMode::Replicate,
                "constant" => PadMode::Constant(number("value")?),
                _ => return None,
            };
            // PyTorch lists the last axis first, and leaves leading axes out.
            let pad = counts("pad")?;
            let mut amounts: Vec<(usize, usize)> = pad.chunks(2).map(|p| (p[0], p[1])).collect();
            amounts.resize(x.shape().ok()?.rank(), (0, 0));
            amounts.reverse();
            x.pad_with(&amounts, mode)
        }
        "flip" => x.flip(&list("dims")?),
        "chunk" => x.chunk(whole("n")?.unsigned_abs(), whole("dim")?).ok()?[whole("index")?.unsigned_abs()].clone(),
        "split" => x.split(whole("dim")?, &counts("sizes")?).ok()?[whole("index")?.unsigned_abs()].clone(),
        "sort" => x.sort(whole("dim")?, flag("descending")).0,
        "argsort" => x.argsort(whole("dim")?, flag("descending")),
        "topk" => x.topk(whole("k")?.unsigned_abs(), whole("dim")?).0,
        _ => return None,
    })
}

#[test]
fn shape_ops_agree_with_pytorch() {
    let checked = agree("shape.safetensors", &run);
    assert_eq!(checked, Fixture::open("shape.safetensors").cases().len(), "every case of the file is checked");
}
