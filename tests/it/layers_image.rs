//! Layers of normalisation, attention and convolution: state names, shapes, initial values, and large attention.

use crate::common::{Noise, close, device, upload, values};
use wgrad::nn::{
    BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, GroupNorm,
    Init, InstanceNorm2d, LayerNorm, LayerNormConfig, Module, MultiheadAttention, RmsNorm,
};
use wgrad::{AttentionOptions, ConvOptions, ConvTransposeOptions, DType, Result, Tensor, no_grad};

type Made = Result<Box<dyn Module>>;

fn boxed<M: Module + 'static>(module: Result<M>) -> Made {
    module.map(|m| Box::new(m) as Box<dyn Module>)
}

#[test]
fn state_names_and_shapes_are_those_of_pytorch() {
    let init = Init::new(device(), 0);
    let up = ConvTransposeOptions { groups: 2, ..ConvTransposeOptions::default() };
    let bare = LayerNormConfig { bias: false, ..LayerNormConfig::default() };
    let statistics = "weight [3], bias [3], running_mean [3], running_var [3]";
    let rows: Vec<(Made, &[usize], &[usize], &str)> = vec![
        (boxed(LayerNorm::new([3, 4], &init)), &[2, 3, 4], &[2, 3, 4], "weight [3, 4], bias [3, 4]"),
        (boxed(LayerNorm::with([4], bare, &init)), &[2, 3, 4], &[2, 3, 4], "weight [4]"),
        (boxed(RmsNorm::new([4], &init)), &[2, 4], &[2, 4], "weight [4]"),
        (boxed(GroupNorm::new(2, 4, &init)), &[2, 4, 3], &[2, 4, 3], "weight [4], bias [4]"),
        (boxed(InstanceNorm2d::new(3, &init)), &[2, 3, 4, 4], &[2, 3, 4, 4], ""),
        (boxed(BatchNorm1d::new(3, &init)), &[2, 3], &[2, 3], statistics),
        (boxed(BatchNorm1d::new(3, &init)), &[2, 3, 4], &[2, 3, 4], statistics),
        (boxed(BatchNorm3d::new(3, &init)), &[2, 3, 2, 2, 2], &[2, 3, 2, 2, 2], statistics),
        (
            boxed(Conv1d::with(2, 4, 3, ConvOptions { groups: 2, ..ConvOptions::default() }, &init)),
            &[1, 2, 5],
            &[1, 4, 3],
            "weight [4, 1, 3], bias [4]",
        ),
        (boxed(Conv3d::new(2, 3, [1, 2, 3], &init)), &[1, 2, 3, 3, 3], &[1, 3, 3, 2, 1], "weight [3, 2, 1, 2, 3], bias [3]"),
        (boxed(ConvTranspose1d::new(2, 3, 3, &init)), &[1, 2, 5], &[1, 3, 7], "weight [2, 3, 3], bias [3]"),
        (boxed(ConvTranspose2d::with(2, 4, [2, 3], up, &init)), &[1, 2, 3, 3], &[1, 4, 4, 5], "weight [2, 2, 2, 3], bias [4]"),
        (
            boxed(ConvTranspose3d::with(2, 3, 1, ConvTransposeOptions::default().bias(false), &init)),
            &[1, 2, 2, 2, 2],
            &[1, 3, 2, 2, 2],
            "weight [2, 3, 1, 1, 1]",
        ),
        (
            boxed(MultiheadAttention::new(4, 2, &init)),
            &[2, 3, 4],
            &[2, 3, 4],
            "in_proj_weight [12, 4], in_proj_bias [12], out_proj.weight [4, 4], out_proj.bias [4]",
        ),
    ];
    for (made, input, output, state) in rows {
        let layer = made.unwrap_or_else(|e| panic!("{state}: {e}"));
        let named = layer.named_parameters().unwrap().into_iter().chain(layer.named_buffers().unwrap());
        let found: Vec<String> = named.map(|(name, p)| format!("{name} {}", p.shape())).collect();
        assert_eq!(found.join(", "), state);
        let x = upload(&Noise(3).values(input.iter().product(), -1.0, 1.0), input, DType::F32, device());
        let y = layer.forward(&x).unwrap_or_else(|e| panic!("{state}: {e}"));
        assert_eq!(y.shape().expect("valid").dims(), output, "{state}");
        assert!(values(&y).iter().all(|v| v.is_finite()), "{state}");
    }
}

#[test]
fn transposed_convolutions_start_within_the_bound_of_their_second_axis() {
    let layer = ConvTranspose2d::new(64, 8, 3, &Init::new(device(), 1)).expect("valid");
    let bound = (1.0 / (8.0 * 9.0f64)).sqrt();
    let weight = values(&layer.weight.tensor());
    let largest = weight.iter().fold(0f64, |m, v| m.max(v.abs()));
    assert!(largest <= bound && largest > 0.98 * bound, "{largest} against {bound}");
    assert!(values(&layer.bias.expect("a bias").tensor()).iter().all(|v| v.abs() <= bound));
}

#[test]
fn a_query_that_sees_nothing_gives_zeros_and_no_nan() {
    let of = |seed: u64| {
        upload(&Noise(seed).values(3 * 4 * 2, -1.0, 1.0), &[3, 4, 2], DType::F32, device()).variable().expect("float")
    };
    let mask = Tensor::from_slice(&[true, false, false, false], [4, 1], device()).expect("valid");
    let minus = mask
        .where_(&Tensor::zeros([1], device()).expect("valid"), &Tensor::full([1], f64::NEG_INFINITY, device()).expect("valid"));
    for mask in [mask.clone(), minus] {
        for block in [None, Some(1), Some(3)] {
            let (q, k, v) = (of(1), of(2), of(3));
            let options = AttentionOptions { mask: Some(mask.clone()), block, ..AttentionOptions::default() };
            let y = q.scaled_dot_product_attention(&k, &v, &options);
            assert!(values(&y).chunks(8).all(|rows| rows[2..].iter().all(|&v| v == 0.0)), "{block:?}");
            let g = y.square().sum().backward().expect("differentiable");
            for t in [&q, &k, &v] {
                assert!(values(&g.get(t).expect("a gradient")).iter().all(|v| v.is_finite()), "{block:?}");
            }
        }
    }
}

#[test]
fn long_attention_in_blocks_agrees_and_never_holds_all_scores() {
    let (heads, l, d) = (2, 520, 8);
    let gradients = |block: Option<usize>, causal| {
        let leaf = |seed| {
            upload(&Noise(seed).values(heads * l * d, -1.0, 1.0), &[heads, l, d], DType::F32, device()).variable().expect("float")
        };
        let (q, k, v) = (leaf(1), leaf(2), leaf(3));
        let options = AttentionOptions { causal, block, ..AttentionOptions::default() };
        let y = q.scaled_dot_product_attention(&k, &v, &options);
        let loss = y.square().sum();
        let g = loss.backward().expect("differentiable");
        let grads = [&q, &k, &v].map(|t| g.get(t).expect("a gradient"));
        let plan = grads[1].explain().expect("plans");
        ([values(&y), values(&grads[0]), values(&grads[1]), values(&grads[2])], plan)
    };
    let slots = |plan: &str| -> usize {
        let words: Vec<&str> = plan.split_whitespace().collect();
        words[words.len() - 4].parse().unwrap_or_else(|e| panic!("{e}: {plan}"))
    };
    for causal in [false, true] {
        let (expected, whole) = gradients(Some(l), causal);
        let (got, blocked) = gradients(Some(32), causal);
        for (part, (g, e)) in ["y", "dq", "dk", "dv"].iter().zip(got.iter().zip(&expected)) {
            close(&format!("{part}, causal {causal}"), g, e, 1e-4, 1e-5);
        }
        assert!(slots(&whole) >= 2 * 4 * heads * l * l, "{whole}");
        assert!(slots(&blocked) < 4 * heads * l * l / 2, "{blocked}");
    }
}

/// In evaluation, a residual block is its convolutions: normalization, activation and shortcut are computed with their results.
#[test]
fn convolutions_take_over_what_follows_them_in_evaluation() {
    let init = Init::new(device(), 3);
    let conv = || Conv2d::with(4, 4, 3, ConvOptions::default().padding(1).bias(false), &init).expect("valid");
    let norm = || BatchNorm2d::new(4, &init).expect("valid");
    let (conv1, norm1, conv2, norm2) = (conv(), norm(), conv(), norm());
    let x = upload(&Noise(5).values(2 * 4 * 6 * 5, -1.0, 1.0), &[2, 4, 6, 5], DType::F32, device());
    let block = |x: &Tensor| -> Result<Tensor> {
        let y = norm1.forward(&conv1.forward(x)?)?.relu();
        Ok((norm2.forward(&conv2.forward(&y)?)? + x).relu())
    };
    // Running statistics that are not 0 and 1, and that no later evaluation has to bring up to date.
    block(&x).expect("runs").eval().expect("runs");
    norm1.eval();
    norm2.eval();
    no_grad(|| block(&x)).expect("runs").eval().expect("runs");
    let y = no_grad(|| block(&x)).expect("runs");
    let plan = y.explain().expect("plans");
    assert!(plan.lines().last().is_some_and(|l| l.starts_with("2 kernels")), "{plan}");
    let apart = no_grad(|| {
        let each = |y: Tensor| y.eval().map(|()| y);
        let y = each(norm1.forward(&each(conv1.forward(&x)?)?)?)?.relu();
        Ok::<_, wgrad::Error>((each(norm2.forward(&each(conv2.forward(&each(y)?)?)?)?)? + &x).relu())
    });
    close("by itself, each", &values(&y), &values(&apart.expect("runs")), 1e-6, 1e-6);
}

/// As one op and from others: several tiles, heads that share keys, masks that broadcast, in place in a projection's result.
#[test]
fn attention_without_scores_agrees_with_attention_by_blocks() {
    for (heads, shared, l, d, causal, masked) in [
        (2, 2, 130, 64, true, false),
        (4, 2, 70, 32, false, true),
        (2, 1, 65, 80, true, true),
        (1, 1, 257, 128, false, false),
        (3, 3, 40, 6, true, false),
        (1, 1, 530, 8, false, true),
    ] {
        let n = 2;
        let width = (heads + 2 * shared) * d;
        let x =
            upload(&Noise(7).values(n * l * width, -1.0, 1.0), &[n, l, width], DType::F32, device()).variable().expect("float");
        let mask: Vec<bool> = (0..n * l).map(|i| i % 7 != 3).collect();
        let mask = masked.then(|| Tensor::from_slice(&mask, [n, 1, 1, l], device()).expect("valid"));
        let gradients = |block| {
            let part = |from: usize, heads: usize| {
                let (start, stop) = ((from * d) as isize, ((from + heads) * d) as isize);
                x.slice(2, start, stop).reshape([n, l, heads, d]).transpose(1, 2)
            };
            let (q, k, v) = (part(0, heads), part(heads, shared), part(heads + shared, shared));
            let options = AttentionOptions { causal, mask: mask.clone(), block, ..AttentionOptions::default() };
            let y = q.scaled_dot_product_attention(&k, &v, &options).transpose(1, 2).reshape([n, l, heads * d]);
            let g = y.square().sum().backward().expect("differentiable");
            [values(&y), values(&g.get(&x).expect("a gradient"))]
        };
        let (got, expected) = (gradients(None), gradients(Some(l)));
        for (part, (g, e)) in ["y", "dx"].iter().zip(got.iter().zip(&expected)) {
            close(&format!("{part} of {heads} heads of {d}, {l} positions"), g, e, 1e-4, 1e-5);
        }
        assert!(gradients(None) == got, "differs from run to run");
    }
}

#[test]
fn a_bias_may_be_taken_or_given_later() {
    let init = Init::new(device(), 3);
    let x = Tensor::ones([1, 2, 4, 4], device()).unwrap();
    let mut conv = Conv2d::new(2, 3, 3, &init).unwrap();
    let with = values(&conv.forward(&x).unwrap());
    let bias = conv.bias.take().unwrap();
    let without = values(&conv.forward(&x).unwrap());
    let mut bare = Conv2d::with(2, 3, 3, ConvOptions::default().bias(false), &init).unwrap();
    assert!(bare.bias.is_none());
    bare.weight = conv.weight.clone();
    assert_eq!(values(&bare.forward(&x).unwrap()), without);
    bare.bias = Some(bias);
    assert_eq!(values(&bare.forward(&x).unwrap()), with);
}
