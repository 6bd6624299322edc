//! Attention without its matrix of scores. Of what a causal mask hides, nothing counts as useful.

use super::{Case, noise};
use wgrad::{AttentionOptions, Device, Result, Tensor};

/// Batch, heads, length, elements of a head, causal.
const SIZES: [([usize; 4], bool); 4] =
    [([1, 8, 1024, 64], false), ([1, 8, 1024, 64], true), ([8, 12, 256, 64], true), ([1, 8, 1024, 128], false)];

pub fn cases() -> Vec<Case> {
    SIZES.into_iter().flat_map(|(shape, causal)| [forward(shape, causal), backward(shape, causal)]).collect()
}

fn name([b, h, l, d]: [usize; 4], causal: bool, what: &str) -> String {
    let causal = if causal { ", causal" } else { "" };
    format!("attention {b}x{h}x{l}x{d}{causal}, {what}")
}

/// Multiply-adds of one product of all queries with all keys that they see.
fn product([b, h, l, d]: [usize; 4], causal: bool) -> usize {
    b * h * d * if causal { l * (l + 1) / 2 } else { l * l }
}

fn group(d: usize, what: &str) -> String {
    format!("attention-{d}-{what}")
}

fn attend(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Tensor {
    q.scaled_dot_product_attention(k, v, &AttentionOptions { causal, ..AttentionOptions::default() })
}

fn forward(shape: [usize; 4], causal: bool) -> Case {
    let elements = shape.iter().product::<usize>();
    let make = move |d: &Device| Ok(attend(&noise(&shape, 1, d)?, &noise(&shape, 2, d)?, &noise(&shape, 3, d)?, causal));
    Case::new(group(shape[3], "forward"), name(shape, causal, "forward"), 2 * product(shape, causal), 4 * elements, make)
}

fn backward(shape: [usize; 4], causal: bool) -> Case {
    let elements = shape.iter().product::<usize>();
    let make = move |d: &Device| -> Result<Tensor> {
        let q = noise(&shape, 1, d)?.variable()?;
        let y = attend(&q, &noise(&shape, 2, d)?, &noise(&shape, 3, d)?, causal);
        y.eval()?;
        y.backward_with(&noise(&shape, 4, d)?)?.get(&q)
    };
    Case::new(group(shape[3], "backward"), name(shape, causal, "backward"), 5 * product(shape, causal), 8 * elements, make)
}
