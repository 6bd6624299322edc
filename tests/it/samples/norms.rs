//! Normalisation and attention.

use super::{Operand, Sample, operand};
use wgrad::{AttentionOptions, Generator, Tensor};

pub fn norms() -> Vec<Sample> {
    let x = |shape: &[usize]| operand(shape, -1.0, 1.0);
    let affine = |shape: &[usize], c: &[usize]| vec![x(shape), operand(c, 0.5, 1.5), operand(c, -1.0, 1.0)];
    let (w, b) = (|t: &[Tensor]| Some(t[1].clone()), |t: &[Tensor]| Some(t[2].clone()));
    let mut rows: Vec<Sample> = vec![
        Sample::new("layer_norm", "[3, 5]", affine(&[3, 5], &[5]), move |t| {
            t[0].layer_norm([5], w(t).as_ref(), b(t).as_ref(), 1e-5)
        })
        .smooth(),
        Sample::new("layer_norm", "last two, no bias", affine(&[2, 3, 4], &[3, 4]), move |t| {
            t[0].layer_norm([3, 4], w(t).as_ref(), None, 1e-3).tanh() + t[2].sum()
        }),
        Sample::new("rms_norm", "[3, 5]", affine(&[3, 5], &[5]), move |t| t[0].rms_norm([5], w(t).as_ref(), None) + t[2].sum())
            .smooth(),
        Sample::new("rms_norm", "last two, eps", vec![x(&[2, 3, 4])], |t| t[0].rms_norm([3, 4], None, Some(0.1)).square()),
        Sample::new("group_norm", "2 of 4", affine(&[2, 4, 3], &[4]), move |t| {
            t[0].group_norm(2, w(t).as_ref(), b(t).as_ref(), 1e-5)
        })
        .smooth(),
        Sample::new("group_norm", "1 of 3", affine(&[2, 3, 2, 2], &[3]), move |t| {
            t[0].group_norm(1, None, b(t).as_ref(), 1e-2).tanh() * t[1].sum()
        }),
        Sample::new("instance_norm", "images", affine(&[2, 3, 3, 2], &[3]), move |t| {
            t[0].instance_norm(w(t).as_ref(), b(t).as_ref(), 1e-5)
        })
        .smooth(),
        Sample::new("instance_norm", "sequences", vec![x(&[2, 3, 5])], |t| t[0].instance_norm(None, None, 1e-2).square()),
        Sample::new("batch_norm", "[5, 3]", affine(&[5, 3], &[3]), move |t| {
            let (y, mean, variance) = t[0].batch_norm(w(t).as_ref(), b(t).as_ref(), 1e-2);
            y * (mean + variance * 2.0)
        }),
        Sample::new("batch_norm", "images", affine(&[2, 3, 3, 2], &[3]), move |t| {
            t[0].batch_norm(w(t).as_ref(), b(t).as_ref(), 1e-5).0.tanh()
        })
        .smooth(),
        Sample::new("batch_norm_with", "[5, 3]", affine(&[5, 3], &[3]), move |t| {
            t[0].batch_norm_with(&t[2], &t[1], None, None, 1e-5).tanh()
        })
        .smooth(),
        Sample::new("batch_norm_with", "images", affine(&[2, 3, 2, 2], &[3]), move |t| {
            t[0].batch_norm_with(&t[2], &t[1], w(t).as_ref(), b(t).as_ref(), 1e-5).square()
        }),
    ];
    for row in &mut rows {
        (row.relative, row.absolute) = (2e-5, 2e-5);
    }
    rows
}

fn shapes(q: &[usize], k: &[usize], v: &[usize]) -> Vec<Operand> {
    [q, k, v].map(|s| operand(s, -1.0, 1.0)).to_vec()
}

/// A Bool mask of zeros and ones.
fn mask(of: &Tensor, bits: &[u8], shape: &[usize]) -> Tensor {
    let bits: Vec<bool> = bits.iter().map(|&b| b == 1).collect();
    Tensor::from_slice(&bits, shape, &of.device().expect("valid")).expect("a mask uploads")
}

pub fn attention() -> Vec<Sample> {
    let name = "scaled_dot_product_attention";
    let plain = AttentionOptions::default;
    let with = |options: AttentionOptions| move |t: &[Tensor]| t[0].scaled_dot_product_attention(&t[1], &t[2], &options);
    let qkv = || shapes(&[2, 5, 3], &[2, 4, 3], &[2, 4, 2]);
    let square = || shapes(&[7, 2], &[7, 2], &[7, 3]);
    let hidden = [1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 1];
    let masked = move |t: &[Tensor], block| {
        let options = AttentionOptions { mask: Some(mask(&t[0], &hidden, &[5, 4])), block, ..AttentionOptions::default() };
        t[0].scaled_dot_product_attention(&t[1], &t[2], &options)
    };
    let added = |t: &[Tensor], block| {
        let options = AttentionOptions { mask: Some(t[3].clone()), block, causal: true, ..AttentionOptions::default() };
        t[0].scaled_dot_product_attention(&t[1], &t[2], &options)
    };
    let four = |shape: &[usize]| {
        let mut operands = qkv();
        operands.push(operand(shape, -1.0, 1.0));
        operands
    };
    let rows = vec![
        Sample::new(name, "plain", qkv(), with(plain())).smooth(),
        Sample::new(name, "in blocks of 2", qkv(), with(AttentionOptions { block: Some(2), ..plain() })).smooth(),
        Sample::new(name, "causal, scaled", square(), with(AttentionOptions { causal: true, scale: Some(1.5), ..plain() })),
        Sample::new(name, "causal, in blocks of 2", square(), with(AttentionOptions { causal: true, block: Some(2), ..plain() }))
            .smooth(),
        Sample::new(name, "masked", qkv(), move |t| masked(t, None)),
        Sample::new(name, "masked, in blocks of 3", qkv(), move |t| masked(t, Some(3))),
        Sample::new(name, "with an added mask", four(&[5, 4]), move |t| added(t, None)).smooth(),
        Sample::new(name, "with an added mask, in blocks of 2", four(&[2, 5, 4]), move |t| added(t, Some(2))),
        Sample::new(name, "with a row added, in blocks of 2", four(&[4]), move |t| added(t, Some(2))),
        Sample::new(name, "of itself, in blocks of 2", vec![operand(&[2, 5, 3], -1.0, 1.0)], |t| {
            let options = AttentionOptions { block: Some(2), ..AttentionOptions::default() };
            t[0].scaled_dot_product_attention(&t[0], &t[0], &options).square()
        }),
        Sample::new(
            name,
            "broadcast, in blocks of 1",
            shapes(&[2, 1, 3, 2], &[3, 4, 2], &[1, 4, 2]),
            with(AttentionOptions { block: Some(1), ..plain() }),
        ),
        Sample::new(name, "broadcast", shapes(&[2, 1, 3, 2], &[3, 4, 2], &[1, 4, 2]), with(plain())),
        Sample::new(name, "of few heads of keys", shapes(&[2, 4, 3, 2], &[2, 2, 5, 2], &[2, 2, 5, 3]), with(plain())).smooth(),
        Sample::new(
            name,
            "causal, of one head of keys",
            shapes(&[2, 3, 4, 4], &[2, 1, 3, 4], &[2, 1, 3, 4]),
            with(AttentionOptions { causal: true, ..plain() }),
        ),
        Sample::new(name, "with a mask for each head", shapes(&[2, 4, 3, 2], &[2, 2, 4, 2], &[2, 2, 4, 2]), |t| {
            let bits: Vec<u8> = (0..48).map(|i| u8::from(i % 5 != 0)).collect();
            let options = AttentionOptions { mask: Some(mask(&t[0], &bits, &[4, 3, 4])), ..AttentionOptions::default() };
            t[0].scaled_dot_product_attention(&t[1], &t[2], &options)
        }),
        Sample::new(name, "of a projection", vec![operand(&[2, 5, 12], -1.0, 1.0)], |t| {
            let joined = t[0].reshape([2, 5, 3, 2, 2]).permute(&[2, 0, 3, 1, 4]);
            let [q, k, v] = [0, 1, 2].map(|i| joined.slice(0, i, i + 1).squeeze(0));
            let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
            q.scaled_dot_product_attention(&k, &v, &options).transpose(1, 2).reshape([2, 5, 4])
        })
        .smooth(),
        Sample::new(name, "with dropout, in blocks of 2", qkv(), |t| {
            let options =
                AttentionOptions { dropout: Some((0.3, Generator::new(4))), block: Some(2), ..AttentionOptions::default() };
            t[0].scaled_dot_product_attention(&t[1], &t[2], &options)
        }),
    ];
    rows.into_iter().map(|row| row.within(5e-6, 5e-6)).collect()
}

/// Normalisation of further shapes: one channel, many, images, sequences, nothing.
pub fn more() -> Vec<Sample> {
    let shapes: [&[usize]; 11] = [
        &[2, 3, 4],
        &[2, 1, 5],
        &[3, 2, 7],
        &[1, 4, 6],
        &[5, 3, 2],
        &[0, 3, 4],
        &[2, 3, 2, 2],
        &[1, 2, 5, 3],
        &[4, 1, 3, 3],
        &[2, 2, 2, 2, 2],
        &[1, 3, 1, 2, 4],
    ];
    let mut rows = Vec::new();
    for shape in shapes {
        let c = shape[1];
        let operands = |n: usize| vec![operand(shape, -1.0, 1.0), operand(&[n], 0.5, 1.5), operand(&[n], -1.0, 1.0)];
        let last = shape[shape.len() - 1];
        let two = operands(c);
        rows.push(Sample::new("layer_norm", "", operands(last), move |t| {
            t[0].layer_norm([last], Some(&t[1]), Some(&t[2]), 1e-2)
        }));
        rows.push(Sample::new("rms_norm", "", operands(last), move |t| t[0].rms_norm([last], Some(&t[1]), Some(1e-2)) * &t[2]));
        rows.push(Sample::new("group_norm", "", two.clone(), move |t| t[0].group_norm(c, Some(&t[1]), Some(&t[2]), 1e-2)));
        rows.push(Sample::new("instance_norm", "", two.clone(), |t| t[0].instance_norm(Some(&t[1]), Some(&t[2]), 1e-2)));
        rows.push(Sample::new("batch_norm_with", "", two.clone(), |t| {
            t[0].batch_norm_with(&t[2], &t[1], Some(&t[1]), Some(&t[2]), 1e-2).square()
        }));
        if shape[0] > 0 {
            rows.push(Sample::new("batch_norm", "", two, |t| t[0].batch_norm(Some(&t[1]), Some(&t[2]), 1e-2).0));
        }
    }
    rows.into_iter().map(|row| row.within(2e-5, 2e-5).brief()).collect()
}
