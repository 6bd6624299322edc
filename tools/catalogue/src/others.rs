//! What is neither a product nor a convolution: its speed is memory's, and its floors are registers and spills.

use super::{Case, noise};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::{Device, Generator, PoolOptions, Result, Tensor};

fn case(group: &str, name: impl Into<String>, elements: usize, make: impl Fn(&Device) -> Result<Tensor> + 'static) -> Case {
    Case::new(group, name, 0, elements, make)
}

/// Labels or indices below a count.
fn numbers(count: usize, below: usize, device: &Device) -> Result<Tensor> {
    let list: Vec<i32> = (0..count).map(|i| i32::try_from(i * 7919 % below).unwrap_or(0)).collect();
    Tensor::from_slice(&list, [count], device)
}

pub fn cases() -> Vec<Case> {
    let mut cases = elementwise();
    cases.extend(reductions());
    cases.extend(rows());
    cases.extend(norms());
    cases.extend(pools());
    cases.extend(tables());
    cases
}

fn elementwise() -> Vec<Case> {
    let n = 1 << 24;
    vec![
        case("elementwise", "add 16M", 3 * n, move |d| Ok(noise(&[n], 1, d)? + noise(&[n], 2, d)?)),
        case("elementwise", "gelu 16M", 2 * n, move |d| Ok(noise(&[n], 1, d)?.gelu())),
        case("elementwise", "bias 4096x4096", 2 * n, move |d| Ok(noise(&[4096, 4096], 1, d)? + noise(&[4096], 2, d)?)),
        case("elementwise", "dropout 16M", 2 * n, move |d| Ok(noise(&[n], 1, d)?.dropout(0.1, &Generator::new(5)))),
        case("copy", "transposed copy 4096x4096", 2 * n, move |d| Ok(noise(&[4096, 4096], 1, d)?.t() + 1.0)),
        case("copy", "heads 32x256x12x64", 2 * 32 * 256 * 768, move |d| {
            Ok(noise(&[32, 256, 12, 64], 1, d)?.permute(&[0, 2, 1, 3]) + 1.0)
        }),
    ]
}

fn reductions() -> Vec<Case> {
    let n = 1 << 24;
    vec![
        case("sum", "sum of 16M", n, move |d| Ok(noise(&[n], 1, d)?.sum())),
        case("sum", "sums of rows 4096x4096", n, move |d| Ok(noise(&[4096, 4096], 1, d)?.sum_dim(1))),
        case("sum", "sums of rows 16384x1024", n, move |d| Ok(noise(&[16384, 1024], 1, d)?.sum_dim(1))),
        case("sum", "sums of columns 4096x4096", n, move |d| Ok(noise(&[4096, 4096], 1, d)?.sum_dim(0))),
        case("sum", "bias gradient 8192x768", 8192 * 768, |d| Ok(noise(&[8192, 768], 1, d)?.sum_dim(0))),
        case("sum", "channel sums 32x64x56x56", 32 * 64 * 56 * 56, |d| Ok(noise(&[32, 64, 56, 56], 1, d)?.sum_dim([0, 2, 3]))),
        case("argmax", "argmax of rows 4096x1000", 4096 * 1000, |d| Ok(noise(&[4096, 1000], 1, d)?.argmax_dim(1))),
    ]
}

fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, columns) in [(24576, 256), (8192, 1024), (4096, 1000), (4096, 4096), (512, 50257), (64, 10)] {
        let (name, n) = (format!("softmax {rows}x{columns}"), rows * columns);
        cases.push(case("softmax", name.clone(), 2 * n, move |d| Ok(noise(&[rows, columns], 1, d)?.softmax(1))));
        // Forward, too: the gradient is made of its result.
        cases.push(case("softmax-grad", format!("{name}, forward and backward"), 5 * n, move |d| {
            let x = noise(&[rows, columns], 1, d)?.variable()?;
            x.softmax(1).backward_with(&noise(&[rows, columns], 2, d)?)?.get(&x)
        }));
    }
    for (rows, columns) in [(4096, 1000), (2048, 50257), (8, 50257)] {
        let (name, n) = (format!("cross entropy {rows}x{columns}"), rows * columns);
        cases.push(case("cross-entropy", format!("{name}, forward"), n, move |d| {
            cross_entropy(&noise(&[rows, columns], 1, d)?, &numbers(rows, columns, d)?, Reduction::Mean)
        }));
        // Forward, too: the gradient needs the sums of its rows.
        cases.push(case("cross-entropy", format!("{name}, backward"), 3 * n, move |d| {
            let x = noise(&[rows, columns], 1, d)?.variable()?;
            cross_entropy(&x, &numbers(rows, columns, d)?, Reduction::Mean)?.backward()?.get(&x)
        }));
    }
    cases
}

fn norms() -> Vec<Case> {
    let image = [32, 64, 56, 56];
    let pixels = image.iter().product::<usize>();
    let mut cases = row_norms();
    cases.extend([
        case("batch-norm", "batch norm 32x64x56x56, forward", 2 * pixels, move |d| {
            let (w, b) = (noise(&[64], 2, d)?, noise(&[64], 3, d)?);
            Ok(noise(&image, 1, d)?.batch_norm(Some(&w), Some(&b), 1e-5).0)
        }),
        case("batch-norm", "batch norm 32x64x56x56, backward", 3 * pixels, move |d| {
            let (w, b) = (noise(&[64], 2, d)?, noise(&[64], 3, d)?);
            let x = noise(&image, 1, d)?.variable()?;
            x.batch_norm(Some(&w), Some(&b), 1e-5).0.backward_with(&noise(&image, 4, d)?)?.get(&x)
        }),
    ]);
    for image in [[32, 64, 56, 56], [64, 64, 32, 32], [64, 512, 4, 4]] {
        cases.extend(rectified(image));
    }
    cases
}

/// Batch norm with a rectifier, and with a shortcut and a rectifier.
fn rectified(image: [usize; 4]) -> Vec<Case> {
    let pixels: usize = image.iter().product();
    let [n, c, h, w] = image;
    let mut cases = Vec::new();
    for shortcut in [false, true] {
        let what = format!("batch norm {n}x{c}x{h}x{w}, {}relu", if shortcut { "residual, " } else { "" });
        let normalised = move |x: &Tensor, w: &Tensor, b: &Tensor, d: &Device| -> Result<Tensor> {
            let y = x.batch_norm(Some(w), Some(b), 1e-5).0;
            Ok(if shortcut { y + noise(&image, 5, d)? } else { y }.relu())
        };
        // The shortcut is read, too; its gradient is not asked for.
        let operands = if shortcut { 2 } else { 1 };
        cases.push(case("batch-norm-relu", format!("{what}, forward"), (operands + 1) * pixels, move |d| {
            normalised(&noise(&image, 1, d)?, &noise(&[c], 2, d)?, &noise(&[c], 3, d)?, d)
        }));
        cases.push(case("batch-norm-relu", format!("{what}, backward"), (operands + 2) * pixels, move |d| {
            let (w, b) = (noise(&[c], 2, d)?.variable()?, noise(&[c], 3, d)?.variable()?);
            let x = noise(&image, 1, d)?.variable()?;
            let y = normalised(&x, &w, &b, d)?;
            // What follows is backward alone; the sums that it takes are the gradients of weight and bias.
            y.eval()?;
            y.backward_with(&noise(&image, 4, d)?)?.get(&x)
        }));
    }
    cases
}

/// A normalisation by x, scale and shift.
type Normalised = fn(&Tensor, &Tensor, &Tensor) -> Tensor;

/// Norms whose rows are their own: forward, and all gradients.
fn row_norms() -> Vec<Case> {
    let layer: Normalised = |x, w, b| w.shape().map_or(w.clone(), |s| x.layer_norm(s, Some(w), Some(b), 1e-5));
    let rms: Normalised = |x, w, _| w.shape().map_or(w.clone(), |s| x.rms_norm(s, Some(w), Some(1e-5)));
    let group: Normalised = |x, w, b| x.group_norm(32, Some(w), Some(b), 1e-5);
    let instance: Normalised = |x, w, b| x.instance_norm(Some(w), Some(b), 1e-5);
    let of: [(&str, &str, Vec<usize>, usize, Normalised); 10] = [
        ("layer-norm", "layer norm", vec![8192, 768], 768, layer),
        ("layer-norm", "layer norm", vec![8192, 767], 767, layer),
        ("layer-norm", "layer norm", vec![65536, 64], 64, layer),
        ("layer-norm", "layer norm", vec![2048, 12288], 12288, layer),
        ("layer-norm", "layer norm", vec![8192, 1024], 1024, layer),
        ("rms-norm", "rms norm", vec![8192, 4096], 4096, rms),
        ("group-norm", "group norm", vec![32, 64, 56, 56], 64, group),
        ("group-norm", "group norm", vec![32, 256, 14, 14], 256, group),
        ("instance-norm", "instance norm", vec![32, 64, 56, 56], 64, instance),
        ("instance-norm", "instance norm", vec![64, 512, 7, 7], 512, instance),
    ];
    let mut cases = Vec::new();
    for (name, title, shape, parameters, run) in of {
        let size = shape.iter().product::<usize>();
        let sizes = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let dims = shape.clone();
        cases.push(case(name, format!("{title} {sizes}, forward"), 2 * size, move |d| {
            Ok(run(&noise(&dims, 1, d)?, &noise(&[parameters], 2, d)?, &noise(&[parameters], 3, d)?))
        }));
        cases.push(case(&format!("{name}-backward"), format!("{title} {sizes}, backward"), 3 * size, move |d| {
            let (w, b) = (noise(&[parameters], 2, d)?.variable()?, noise(&[parameters], 3, d)?.variable()?);
            let x = noise(&shape, 1, d)?.variable()?;
            let gradients = run(&x, &w, &b).backward_with(&noise(&shape, 4, d)?)?;
            // What follows reads all of them: here one element each.
            let first = |of: &Tensor, len: usize| Ok(gradients.get(of)?.reshape([len]).slice(0, 0, 1));
            let sum = first(&x, size)? + first(&w, parameters)?;
            if name == "rms-norm" { Ok(sum) } else { Ok(sum + first(&b, parameters)?) }
        }));
    }
    cases
}

fn pools() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kernel, padding, side) in [(2, 0, 28), (3, 1, 112)] {
        let out = (side + 2 * padding - kernel) / 2 + 1;
        let options = PoolOptions { stride: Some([2; 2]), padding: [padding; 2], ..PoolOptions::default() };
        let name = format!("max pool {kernel} stride 2 of 32x64x{side}x{side}");
        let planes = 32 * 64;
        cases.push(case("pool", format!("{name}, forward"), planes * (side * side + out * out), move |d| {
            Ok(noise(&[32, 64, side, side], 1, d)?.max_pool2d_with(kernel, options))
        }));
        cases.push(case("pool", format!("{name}, backward"), planes * (2 * side * side + out * out), move |d| {
            let x = noise(&[32, 64, side, side], 1, d)?.variable()?;
            x.max_pool2d_with(kernel, options).backward_with(&noise(&[32, 64, out, out], 2, d)?)?.get(&x)
        }));
    }
    cases
}

fn tables() -> Vec<Case> {
    vec![
        case("embedding", "embedding 8192 of 50257x768, forward", 2 * 8192 * 768, |d| {
            Ok(noise(&[50257, 768], 1, d)?.embedding(&numbers(8192, 50257, d)?, None))
        }),
        case("embedding", "embedding 8192 of 50257x768, backward", (8192 + 50257) * 768, |d| {
            let table = noise(&[50257, 768], 1, d)?.variable()?;
            let rows = table.embedding(&numbers(8192, 50257, d)?, None);
            rows.backward_with(&noise(&[8192, 768], 2, d)?)?.get(&table)
        }),
    ]
}
