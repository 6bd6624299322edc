//! Matrix products.

use super::{Case, noise};

/// `[m, k]` by `[k, n]`; T in the layout says which operand is a transposed view, as the gradients of a linear layer have.
fn product(group: &str, m: usize, n: usize, k: usize, layout: &'static str) -> Case {
    let name = format!("product {m}x{n}x{k} {layout}");
    // A product with a vector is a reduction, which memory bounds.
    let multiply_adds = if m == 1 { 0 } else { m * n * k };
    Case::new(group, name, multiply_adds, m * k + k * n + m * n, move |d| {
        let (ta, tb) = (layout.starts_with('T'), layout.ends_with('T'));
        let a = noise(&if ta { [k, m] } else { [m, k] }, 1, d)?;
        let b = noise(&if tb { [n, k] } else { [k, n] }, 2, d)?;
        Ok(if ta { a.t() } else { a }.matmul(&if tb { b.t() } else { b }))
    })
}

fn batched(b: usize, m: usize, n: usize, k: usize, layout: &'static str) -> Case {
    let name = format!("product {b} of {m}x{n}x{k} {layout}");
    Case::new("product.batched", name, b * m * n * k, b * (m * k + k * n + m * n), move |d| {
        let a = noise(&[b, m, k], 1, d)?;
        let transposed = layout.ends_with('T');
        let w = noise(&if transposed { [b, n, k] } else { [b, k, n] }, 2, d)?;
        Ok(a.matmul(&if transposed { w.transpose(1, 2) } else { w }))
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [512, 1024, 2048, 4096] {
        cases.push(product("product.nn", n, n, n, "NN"));
        cases.push(product("product.nt", n, n, n, "NT"));
        cases.push(product("product.tn", n, n, n, "TN"));
    }
    for (group, m, n, k, layout) in [
        // Lengths that no vector divides.
        ("product.odd", 1023, 1023, 1023, "NN"),
        ("product.odd", 1000, 777, 333, "NT"),
        // An MLP's first layer, its gradients, and its head.
        ("product.mlp", 128, 512, 784, "NT"),
        ("product.mlp", 128, 784, 512, "NN"),
        ("product.mlp", 512, 784, 128, "TN"),
        ("product.head", 128, 10, 512, "NT"),
        ("product.head", 128, 512, 10, "NN"),
        ("product.head", 10, 512, 128, "TN"),
        ("product.head", 64, 1000, 512, "NT"),
        // GPT-2 small, and a small GPT.
        ("product.gpt", 8192, 768, 768, "NT"),
        ("product.gpt", 8192, 3072, 768, "NT"),
        ("product.gpt", 768, 3072, 8192, "TN"),
        // Too few large tiles, enough of 64 by 64.
        ("product.middle", 2048, 768, 768, "NT"),
        ("product.middle", 2048, 768, 2304, "NN"),
        ("product.middle", 768, 2304, 2048, "TN"),
        ("product.gpt", 2048, 384, 128, "NT"),
        ("product.gpt", 2048, 128, 512, "NT"),
        ("product.gpt", 2048, 128, 384, "NN"),
        ("product.gpt", 384, 128, 2048, "TN"),
        // A matrix by a vector.
        ("product.vector", 1, 4096, 4096, "NT"),
        ("product.vector", 1, 4096, 4096, "NN"),
    ] {
        cases.push(product(group, m, n, k, layout));
    }
    cases.push(batched(96, 256, 256, 64, "NT"));
    cases.push(batched(96, 256, 64, 256, "NN"));
    cases.push(batched(128, 64, 64, 32, "NT"));
    cases.push(batched(128, 64, 32, 64, "NN"));
    cases
}
