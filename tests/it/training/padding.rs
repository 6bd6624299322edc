//! Padding never matters: whatever its values, results and the gradients of inputs and weights are bit-identical to those with
//! zeros.

use crate::common::device;
use wgrad::nn::loss::{CrossEntropyOptions, CtcOptions, Reduction, cross_entropy_with, ctc, nll};
use wgrad::nn::{
    Embedding, EmbeddingConfig, FeedForward, Gru, Init, Lstm, Module, MultiheadAttention, RecurrentConfig, Rnn, SequenceOptions,
    TransformerConfig, TransformerEncoder, TransformerEncoderLayer,
};
use wgrad::{AttentionOptions, Tensor};

/// The values in the padding, besides zeros.
const JUNK: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -3e38];

fn init() -> Init {
    Init::new(device(), 5)
}

/// Numbers in a fixed pattern, with `junk` at the indices for which `padding` is true.
fn filled(shape: &[usize], junk: f32, padding: impl Fn(&[usize]) -> bool) -> Tensor {
    let n: usize = shape.iter().product();
    let at = |i: usize| -> Vec<usize> {
        let mut rest = i;
        let mut index: Vec<usize> = shape.iter().rev().map(|&len| (rest % len, rest /= len).0).collect();
        index.reverse();
        index
    };
    let values: Vec<f32> = (0..n).map(|i| if padding(&at(i)) { junk } else { ((i * 7 + 3) % 11) as f32 * 0.1 - 0.5 }).collect();
    Tensor::from_slice(&values, shape, device()).unwrap().variable().unwrap()
}

/// The bits of results, then of the gradients of `inputs` and of a module's weights, for a fixed cotangent.
fn all(results: &[Tensor], inputs: &[&Tensor], module: Option<&dyn Module>) -> Vec<Vec<u32>> {
    let loss = results.iter().map(|y| (y * filled(y.shape().unwrap().dims(), 0.0, |_| false).detach()).sum());
    let gradients = loss.reduce(|a, b| a + b).unwrap().backward().unwrap();
    let parameters = module.map_or(Vec::new(), |m| m.parameters().expect("names are distinct"));
    let mut tensors = results.to_vec();
    tensors.extend(inputs.iter().map(|x| gradients.get(*x).unwrap()));
    tensors.extend(parameters.iter().map(|p| gradients.get(p).unwrap()));
    tensors.iter().map(|t| t.to_vec::<f32>().unwrap().iter().map(|v| (v + 0.0).to_bits()).collect()).collect()
}

type Case = (&'static str, Box<dyn Fn(f32) -> Vec<Vec<u32>>>);

const LENGTHS: [usize; 3] = [4, 1, 3];

fn recurrent() -> Vec<Case> {
    let config = |batch_first, bidirectional| RecurrentConfig { num_layers: 2, batch_first, bidirectional, ..Default::default() };
    let options = || SequenceOptions { lengths: Some(LENGTHS.to_vec()), ..Default::default() };
    let x = |junk| filled(&[4, 3, 2], junk, |i| i[0] >= LENGTHS[i[1]]);
    vec![
        (
            "lstm",
            Box::new(move |junk| {
                let (layer, x) = (Lstm::with(2, 3, config(false, true), &init()).unwrap(), x(junk));
                let y = layer.run(&x, &options()).unwrap();
                all(&[y.output, y.hidden, y.cell.unwrap()], &[&x], Some(&layer))
            }),
        ),
        (
            "gru, batch first",
            Box::new(move |junk| {
                let layer = Gru::with(2, 3, config(true, true), &init()).unwrap();
                let x = filled(&[3, 4, 2], junk, |i| i[1] >= LENGTHS[i[0]]);
                let y = layer.run(&x, &options()).unwrap();
                all(&[y.output, y.hidden], &[&x], Some(&layer))
            }),
        ),
        (
            "rnn",
            Box::new(move |junk| {
                let (layer, x) = (Rnn::with(2, 3, config(false, false), &init()).unwrap(), x(junk));
                let y = layer.run(&x, &options()).unwrap();
                all(&[y.output, y.hidden], &[&x], Some(&layer))
            }),
        ),
    ]
}

fn losses() -> Vec<Case> {
    let labels = || Tensor::from_slice(&[1i32, -100, 0, -100], [4], device()).unwrap();
    let rows = |junk| filled(&[4, 3], junk, |i| i[0] % 2 == 1);
    let weight = || filled(&[3], 0.0, |_| false);
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::None];
    let mut cases: Vec<Case> = Vec::new();
    for reduction in reductions {
        cases.push((
            "cross_entropy_with",
            Box::new(move |junk| {
                let (x, w) = (rows(junk), weight());
                let options =
                    CrossEntropyOptions { weight: Some(w.clone()), label_smoothing: 0.1, ignore_index: Some(-100), reduction };
                all(&[cross_entropy_with(&x, &labels(), &options).unwrap()], &[&x, &w], None)
            }),
        ));
        cases.push((
            "nll",
            Box::new(move |junk| {
                let (x, w) = (rows(junk), weight());
                all(&[nll(&x, &labels(), Some(&w), Some(-100), reduction).unwrap()], &[&x, &w], None)
            }),
        ));
        cases.push((
            "ctc",
            Box::new(move |junk| {
                let x = filled(&[4, 3, 3], junk, |i| i[0] >= LENGTHS[i[1]]);
                // Labels are padded, too, with any class.
                let junk = if junk == 0.0 { 1 } else { 2 };
                let labels = Tensor::from_slice(&[1, 2, 1, junk, 2, junk], [3, 2], device()).unwrap();
                let options = CtcOptions { reduction, ..Default::default() };
                all(&[ctc(&x, &labels, &LENGTHS, &[2, 1, 1], options).unwrap()], &[&x], None)
            }),
        ));
    }
    cases
}

/// `[n, l, l]`: true where query and key lie within the first `lengths[n]`.
fn square(n: usize, l: usize, keys_alone: bool) -> Tensor {
    let lengths = [l, l - 2, 1];
    let inside = |b: usize, i: usize| i < lengths[b];
    let rows = if keys_alone { 1 } else { l };
    let mask: Vec<bool> =
        (0..n * rows * l).map(|i| inside(i / (rows * l), i % l) && (keys_alone || inside(i / (rows * l), i / l % l))).collect();
    Tensor::from_slice(&mask, [n, rows, l], device()).unwrap()
}

fn attention() -> Vec<Case> {
    let lengths = [4, 2, 1];
    let padded = move |junk| filled(&[3, 4, 2], junk, move |i| i[1] >= lengths[i[0]]);
    let plain = || filled(&[3, 4, 2], 0.0, |_| false);
    let mut cases: Vec<Case> = Vec::new();
    for (what, block) in [("attention, hidden keys", None), ("attention in blocks, hidden keys", Some(2))] {
        cases.push((
            what,
            Box::new(move |junk| {
                let (q, k, v) = (plain(), padded(junk), padded(junk));
                let options = AttentionOptions { mask: Some(square(3, 4, true)), block, ..Default::default() };
                all(&[q.scaled_dot_product_attention(&k, &v, &options)], &[&q, &k, &v], None)
            }),
        ));
    }
    cases.push((
        "attention, hidden keys and idle queries",
        Box::new(move |junk| {
            let x = padded(junk);
            let options = AttentionOptions { mask: Some(square(3, 4, false)), ..Default::default() };
            all(&[x.scaled_dot_product_attention(&x, &x, &options)], &[&x], None)
        }),
    ));
    cases.push((
        "attention, a mask of -∞",
        Box::new(move |junk| {
            let (q, k, v) = (plain(), padded(junk), padded(junk));
            let number = |value| Tensor::full([1], value, device()).unwrap();
            let mask = square(3, 4, true).where_(&number(0.0), &number(f64::NEG_INFINITY));
            let options = AttentionOptions { mask: Some(mask), ..Default::default() };
            all(&[q.scaled_dot_product_attention(&k, &v, &options)], &[&q, &k, &v], None)
        }),
    ));
    cases.push((
        "attention, keys that several masks share",
        Box::new(move |junk| {
            let (q, k) = (filled(&[2, 3, 4, 2], 0.0, |_| false), filled(&[4, 2], junk, |i| i[0] == 3));
            let mask = Tensor::from_slice(&[true, true, false, false, true, false, true, false], [2, 1, 1, 4], device()).unwrap();
            let options = AttentionOptions { mask: Some(mask), ..Default::default() };
            all(&[q.scaled_dot_product_attention(&k, &k, &options)], &[&q, &k], None)
        }),
    ));
    cases.push((
        "multi-head attention",
        Box::new(move |junk| {
            let (layer, q, k) = (MultiheadAttention::new(2, 2, &init()).unwrap(), plain(), padded(junk));
            let options = AttentionOptions { mask: Some(square(3, 4, true).unsqueeze(1)), ..Default::default() };
            all(&[layer.attend(&q, &k, &k, &options).unwrap()], &[&q, &k], Some(&layer))
        }),
    ));
    for norm_first in [false, true] {
        cases.push((
            "transformer encoder",
            Box::new(move |junk| {
                let config = TransformerConfig {
                    dim_feedforward: 3,
                    dropout: 0.0,
                    activation: FeedForward::Gelu,
                    norm_first,
                    ..Default::default()
                };
                let layer = || TransformerEncoderLayer::with(2, 1, config, &init()).unwrap();
                let encoder = TransformerEncoder::new(vec![layer(), layer()], None);
                let x = padded(junk);
                let options = AttentionOptions { mask: Some(square(3, 4, false).unsqueeze(1)), ..Default::default() };
                all(&[encoder.encode(&x, &options).unwrap()], &[&x], Some(&encoder))
            }),
        ));
    }
    cases
}

fn selections() -> Vec<Case> {
    let mask = || Tensor::from_slice(&[true, false, true, true, false, true], [2, 3], device()).unwrap();
    let x = |junk| filled(&[2, 3], junk, |i| (i[0] * 3 + i[1]) % 3 == 1);
    vec![
        (
            "a masked mean",
            Box::new(move |junk| {
                let x = x(junk);
                all(&[x.masked_fill(&mask().logical_not(), 0.0).sum_dim(1) / 2.0], &[&x], None)
            }),
        ),
        (
            "masked_select",
            Box::new(move |junk| {
                let x = x(junk);
                all(&[x.masked_select(&mask()).unwrap().square()], &[&x], None)
            }),
        ),
        (
            "embedding",
            Box::new(move |junk| {
                let layer = Embedding::with(4, 3, EmbeddingConfig { padding_idx: Some(1) }, &init()).unwrap();
                let index = Tensor::from_slice(&[0, 1, 3, 1, 1, 2], [2, 3], device()).unwrap();
                let y = layer.forward(&index).unwrap() + x(junk).detach().unsqueeze(2);
                all(&[mask().unsqueeze(2).where_(&y, &y.zeros_like())], &[], Some(&layer))
            }),
        ),
    ]
}

#[test]
fn padding_never_matters() {
    let mut found = Vec::new();
    for (name, run) in recurrent().into_iter().chain(losses()).chain(attention()).chain(selections()) {
        let expected = run(0.0);
        assert!(expected.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()), "{name} with zeros");
        for junk in JUNK {
            let parts: Vec<usize> =
                run(junk).iter().zip(&expected).enumerate().filter(|(_, (g, e))| g != e).map(|p| p.0).collect();
            if !parts.is_empty() {
                found.push(format!("{name}: {junk} in the padding changes parts {parts:?} of {}", expected.len()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
