//! Losses, indexing, products and einsum against PyTorch.

use crate::fixtures::{Fixture, agree};
use serde_json::Value;
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, Reduction, TripletOptions};
use wgrad::{DType, Result, Tensor};

/// A case's arguments, with PyTorch's defaults.
struct Arguments<'a>(&'a Value);

impl Arguments<'_> {
    fn has(&self, input: &str) -> bool {
        self.0["inputs"].as_array().is_some_and(|inputs| inputs.iter().any(|i| i == input))
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(default)
    }

    fn whole(&self, name: &str) -> Option<i32> {
        self.0.get(name).and_then(Value::as_i64).and_then(|v| i32::try_from(v).ok())
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn counts(&self, name: &str) -> Vec<usize> {
        let list = self.0.get(name).and_then(Value::as_array).expect("a list");
        list.iter().map(|v| usize::try_from(v.as_u64().expect("a count")).expect("small")).collect()
    }

    fn dim(&self) -> isize {
        self.whole("dim").expect("an axis") as isize
    }

    fn reduction(&self) -> Reduction {
        match self.0.get("reduction").and_then(Value::as_str) {
            Some("sum") => Reduction::Sum,
            Some("none") => Reduction::None,
            Some("mean") | None => Reduction::Mean,
            Some(other) => panic!("no reduction is called {other}"),
        }
    }
}

fn run_loss(op: &str, args: &Arguments, get: &dyn Fn(&str) -> Tensor) -> Option<Result<Tensor>> {
    let reduction = args.reduction();
    let of = |name: &str| args.has(name).then(|| get(name));
    Some(match op {
        "cross_entropy_with" => {
            let options = CrossEntropyOptions {
                weight: of("weight"),
                label_smoothing: args.number("label_smoothing", 0.0),
                ignore_index: args.whole("ignore_index"),
                reduction,
            };
            loss::cross_entropy_with(&get("logits"), &get("target"), &options)
        }
        "nll" => {
            let x = get("x").log_softmax(1);
            loss::nll(&x, &get("labels"), of("weight").as_ref(), args.whole("ignore_index"), reduction)
        }
        "binary_cross_entropy" => loss::binary_cross_entropy(&get("x"), &get("target"), reduction),
        "binary_cross_entropy_with_logits" => {
            let weight = of("pos_weight");
            loss::binary_cross_entropy_with_logits(&get("x"), &get("target"), weight.as_ref(), reduction)
        }
        "mse" => loss::mse(&get("x"), &get("target"), reduction),
        "l1" => loss::l1(&get("x"), &get("target"), reduction),
        "huber" => loss::huber(&get("x"), &get("target"), args.number("delta", 1.0), reduction),
        "smooth_l1" => loss::smooth_l1(&get("x"), &get("target"), args.number("beta", 1.0), reduction),
        "kl_div" => {
            let options = loss::KlDivOptions { log_target: args.flag("log_target"), reduction };
            loss::kl_div_with(&get("x"), &get("target"), options)
        }
        "hinge" => loss::hinge(&get("x"), &get("target"), reduction),
        "hinge_embedding" => loss::hinge_embedding(&get("x"), &get("target"), args.number("margin", 1.0), reduction),
        "margin_ranking" => loss::margin_ranking(&get("a"), &get("b"), &get("target"), args.number("margin", 0.0), reduction),
        "cosine_embedding" => loss::cosine_embedding(&get("a"), &get("b"), &get("target"), args.number("margin", 0.0), reduction),
        "triplet_margin" => {
            let options = TripletOptions {
                margin: args.number("margin", 1.0),
                p: args.number("norm", 2.0),
                eps: args.number("eps", 1e-6),
                swap: args.flag("swap"),
                reduction,
            };
            loss::triplet_margin(&get("a"), &get("p"), &get("n"), options)
        }
        "focal" => {
            let alpha = Some(args.number("alpha", 0.25)).filter(|&a| a >= 0.0);
            loss::focal(&get("x"), &get("target"), alpha, args.number("gamma", 2.0), reduction)
        }
        "ctc" => {
            let blank = args.whole("blank").map_or(0, |b| usize::try_from(b).expect("a class"));
            let options = CtcOptions { blank, zero_infinity: args.flag("zero_infinity"), reduction };
            let (times, counts) = (args.counts("input_lengths"), args.counts("target_lengths"));
            loss::ctc(&get("x").log_softmax(2), &get("labels"), &times, &counts, options)
        }
        _ => return None,
    })
}

fn run_tensor(op: &str, args: &Arguments, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    let of = |name: &str| args.has(name).then(|| get(name));
    Some(match op {
        "cosine_similarity" => get("a").cosine_similarity(&get("b"), args.dim(), args.number("eps", 1e-8)),
        "gather" => get("x").gather(args.dim(), &get("index")),
        "scatter" => get("x").scatter(args.dim(), &get("index"), &get("src")),
        "scatter_add" => get("x").scatter_add(args.dim(), &get("index"), &get("src")),
        "index_select" => get("x").index_select(args.dim(), &get("index")),
        "index_add" => get("x").index_add(args.dim(), &get("index"), &get("src")),
        "one_hot" => get("x").one_hot(usize::try_from(args.whole("classes")?).ok()?),
        "embedding" => {
            let padding = args.whole("padding_idx").map(|p| usize::try_from(p).expect("a row"));
            get("x").embedding(&get("index"), padding)
        }
        "masked_select" => get("x").masked_select(&get("mask").cast(DType::Bool)).ok()?,
        "bmm" => get("a").bmm(&get("b")),
        "dot" => get("a").dot(&get("b")),
        "outer" => get("a").outer(&get("b")),
        "linear" => get("x").linear(&get("weight"), of("bias").as_ref()),
        "einsum" => {
            let operands: Vec<Tensor> = ["a", "b", "c", "d"].into_iter().filter_map(of).collect();
            Tensor::einsum(args.0.get("spec")?.as_str()?, &operands.iter().collect::<Vec<_>>())
        }
        _ => return None,
    })
}

#[test]
fn losses_and_indexing_agree_with_pytorch() {
    let file = "loss.safetensors";
    let checked = agree(file, &|op, arguments, get| {
        let args = Arguments(arguments);
        match run_loss(op, &args, get) {
            Some(loss) => Some(loss.unwrap_or_else(|e| panic!("{op}: {e}"))),
            None => run_tensor(op, &args, get),
        }
    });
    assert_eq!(checked, Fixture::open(file).cases().len(), "every case of the file is checked");
}
