//! Normalisation, attention, convolutions and image ops against PyTorch.

use crate::common::{close, device, values};
use crate::fixtures::{Fixture, agree};
use serde_json::Value;
use wgrad::nn::{BatchNorm1d, Init, Module, MultiheadAttention};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, FoldOptions, GridOptions, Interpolation, PoolOptions, Tensor,
};

/// An argument that is one number for all axes, a list, or missing.
fn sizes<const D: usize>(arguments: &Value, key: &str, default: usize) -> [usize; D] {
    let one = |v: &Value| usize::try_from(v.as_u64().expect("a count")).expect("small");
    match arguments.get(key) {
        Some(Value::Array(list)) => std::array::from_fn(|d| one(&list[d])),
        Some(v) if v.is_number() => [one(v); D],
        _ => [default; D],
    }
}

fn list(arguments: &Value, key: &str) -> Vec<usize> {
    let items = arguments.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_u64).map(|v| usize::try_from(v).expect("small")).collect()
}

fn flag(arguments: &Value, key: &str, default: bool) -> bool {
    arguments.get(key).and_then(Value::as_bool).unwrap_or(default)
}

fn conv<const D: usize>(a: &Value) -> ConvOptions<D> {
    ConvOptions {
        stride: sizes(a, "stride", 1),
        padding: sizes(a, "padding", 0),
        dilation: sizes(a, "dilation", 1),
        groups: sizes::<1>(a, "groups", 1)[0],
        ..Default::default()
    }
}

fn transposed<const D: usize>(a: &Value) -> ConvTransposeOptions<D> {
    let ConvOptions { stride, padding, dilation, groups, .. } = conv(a);
    ConvTransposeOptions {
        stride,
        padding,
        output_padding: sizes(a, "output_padding", 0),
        dilation,
        groups,
        ..Default::default()
    }
}

fn pool<const D: usize>(a: &Value) -> PoolOptions<D> {
    PoolOptions {
        stride: a.get("stride").map(|_| sizes(a, "stride", 1)),
        padding: sizes(a, "padding", 0),
        dilation: sizes(a, "dilation", 1),
        count_include_pad: flag(a, "count_include_pad", true),
    }
}

fn fold(a: &Value) -> FoldOptions {
    let ConvOptions { stride, padding, dilation, .. } = conv(a);
    FoldOptions { stride, padding, dilation }
}

/// What our op computes for a case; attention in blocks of `block` queries.
fn run(op: &str, a: &Value, get: &dyn Fn(&str) -> Tensor, block: Option<usize>) -> Option<Tensor> {
    let has = |k: &str| a["inputs"].as_array().is_some_and(|inputs| inputs.iter().any(|i| i == k));
    let number = |k: &str| a.get(k).and_then(Value::as_f64);
    let eps = number("eps").unwrap_or(1e-5);
    let optional = |k: &str| has(k).then(|| get(k));
    let align = flag(a, "align_corners", false);
    if op == "attention" {
        let mask = optional("mask").map(|m| if m.dtype().is_ok_and(DType::is_float) { m } else { m.cast(DType::Bool) });
        let options =
            AttentionOptions { causal: flag(a, "is_causal", false), mask, scale: number("scale"), block, dropout: None };
        return Some(get("q").scaled_dot_product_attention(&get("k"), &get("v"), &options));
    }
    if op == "multihead_attention" {
        return None;
    }
    let x = get("x");
    let (weight, bias) = (optional("weight"), optional("bias"));
    let (w, b) = (weight.as_ref(), bias.as_ref());
    Some(match op {
        "layer_norm" => x.layer_norm(list(a, "normalized_shape"), w, b, eps),
        "rms_norm" => x.rms_norm(list(a, "normalized_shape"), w, Some(eps)),
        "group_norm" => x.group_norm(sizes::<1>(a, "num_groups", 1)[0], w, b, eps),
        "instance_norm" => x.instance_norm(w, b, eps),
        "batch_norm" if flag(a, "training", true) => x.batch_norm(w, b, eps).0,
        "batch_norm" => x.batch_norm_with(&get("running_mean"), &get("running_var"), w, b, eps),
        "conv1d" if a.get("padding").is_some_and(Value::is_string) => {
            let options = ConvOptions { padding: [0], ..conv(&serde_json::json!({"dilation": a["dilation"]})) };
            x.pad_same(&[w?.dim(2).expect("a kernel")], &options.dilation).conv1d(w?, b, options)
        }
        "conv1d" => x.conv1d(w?, b, conv(a)),
        "conv3d" => x.conv3d(w?, b, conv(a)),
        "conv_transpose1d" => x.conv_transpose1d(w?, b, transposed(a)),
        "conv_transpose2d" => x.conv_transpose2d(w?, b, transposed(a)),
        "conv_transpose3d" => x.conv_transpose3d(w?, b, transposed(a)),
        "max_pool1d" => x.max_pool1d_with(sizes(a, "kernel_size", 1), pool(a)),
        "avg_pool1d" => x.avg_pool1d_with(sizes(a, "kernel_size", 1), pool(a)),
        "max_pool3d" => x.max_pool3d_with(sizes(a, "kernel_size", 1), pool(a)),
        "avg_pool3d" => x.avg_pool3d_with(sizes(a, "kernel_size", 1), pool(a)),
        "adaptive_avg_pool2d" => x.adaptive_avg_pool2d(sizes(a, "output_size", 1)),
        "adaptive_max_pool2d" => x.adaptive_max_pool2d(sizes(a, "output_size", 1)),
        "unfold" => x.unfold(sizes(a, "kernel_size", 1), fold(a)),
        "fold" => x.fold(sizes(a, "output_size", 1), sizes(a, "kernel_size", 1), fold(a)),
        "interpolate" => {
            let mode = match (a.get("mode").is_some_and(|m| m == "nearest"), align) {
                (true, _) => Interpolation::Nearest,
                (false, false) => Interpolation::Linear,
                (false, true) => Interpolation::LinearAligned,
            };
            x.interpolate(&list(a, "size"), mode)
        }
        "grid_sample" => x.grid_sample(&get("grid"), GridOptions { align_corners: align }),
        "affine_grid" => {
            let size = list(a, "size");
            x.affine_grid([size[2], size[3]], GridOptions { align_corners: align })
        }
        _ => return None,
    })
}

#[test]
fn image_ops_agree_with_pytorch() {
    let checked = agree("image.safetensors", &|op, a, get| run(op, a, get, None));
    let others = |case: &&(&str, &Value)| !case.0.starts_with("multihead_attention.");
    let expected = Fixture::open("image.safetensors").cases().iter().filter(others).count();
    assert_eq!(checked, expected, "every case of the file is checked");
}

#[test]
fn attention_in_blocks_agrees_with_pytorch() {
    for block in [1, 4] {
        let checked =
            agree("image.safetensors", &|op, a, get| if op == "attention" { run(op, a, get, Some(block)) } else { None });
        assert_eq!(checked, 5);
    }
}

#[test]
fn multihead_attention_agrees_with_pytorch() {
    let fixture = Fixture::open("image.safetensors");
    let case = "multihead_attention.self";
    let x = fixture.tensor(&format!("{case}.in.x"), device()).variable().expect("float");
    let layer = MultiheadAttention::new(8, 2, &Init::new(device(), 0)).expect("valid");
    let parameters = layer.named_parameters().unwrap();
    let names: Vec<&str> = parameters.iter().map(|p| p.0.as_str()).collect();
    assert_eq!(names, ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]);
    for (name, parameter) in &parameters {
        let value = fixture.tensor(&format!("{case}.in.{}", name.replace('.', "_")), device());
        parameter.set(&value).expect("the fixture fits");
    }
    let y = layer.forward(&x).expect("fits");
    close(case, &values(&y), &fixture.values(&format!("{case}.out")), 2e-5, 2e-5);
    let g = y.backward_with(&fixture.tensor(&format!("{case}.ct"), device())).expect("differentiable");
    let check = |name: &str, got: &Tensor| {
        let name = format!("{case}.grad.{}", name.replace('.', "_"));
        close(&name, &values(got), &fixture.values(&name), 5e-5, 5e-5);
    };
    check("x", &g.get(&x).expect("a gradient"));
    for (name, parameter) in &parameters {
        check(name, &g.get(parameter).expect("a gradient"));
    }
}

#[test]
fn batch_norm_layers_track_as_pytorch() {
    let fixture = Fixture::open("image.safetensors");
    for (case, training) in [("batch_norm.train_2d", true), ("batch_norm.eval_2d", false)] {
        let of = |name: &str| fixture.tensor(&format!("{case}.in.{name}"), device());
        let layer = BatchNorm1d::new(5, &Init::new(device(), 0)).expect("valid");
        for (name, parameter) in layer.named_parameters().unwrap().iter().chain(&layer.named_buffers().unwrap()) {
            parameter.set(&of(name)).expect("the fixture fits");
        }
        if !training {
            layer.eval();
        }
        let y = layer.forward(&of("x")).expect("fits");
        close(case, &values(&y), &fixture.values(&format!("{case}.out")), 2e-5, 2e-5);
        for (name, buffer) in layer.named_buffers().unwrap().iter().filter(|_| training) {
            let expected = fixture.values(&format!("{case}.after.{name}"));
            close(&format!("{case}.after.{name}"), &values(&buffer.tensor()), &expected, 1e-5, 1e-5);
        }
    }
}
