//! Gradients beyond a loss and its `backward`: rules of your own, a gradient penalty, curvature, per-sample gradients and a
//! Jacobian.
//!
//! ```text
//! cargo run --release --example gradients
//! cargo run --release --example gradients -- --steps 500 --seed 1
//! ```
//!
//! At its defaults it prints, on the CPU device in less than a second:
//!
//! ```text
//! threshold [0.0000, 1.0000, 1.0000], gradient [0.1966, 0.2475, 0.0452]
//! reversal [-1.0000, 0.2000, 3.0000], gradient [-0.5000, -0.5000, -0.5000]
//!
//! gradient penalty 0.6490 -> 0.000120 in 200 steps
//! largest eigenvalue of the Hessian 12.056, after 20 products with it
//! norms of 32 samples' gradients 0.96 to 24.26; of their mean 3.53
//!
//! Jacobian of polar coordinates at radius 2 [0.8776, -0.9589, 0.4794, 1.7552], determinant 2.0000
//! ```

use clap::Parser;
use common::{Outcome, finish, open_device, positive};
use std::process::ExitCode;
use std::time::Instant;
use wgrad::nn::{Init, Linear, Module, Sequential, Tanh};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{DType, Device, Generator, Param, Result, Tensor, grad};

mod common;

/// Rules of your own, a gradient penalty, curvature, per-sample gradients and a Jacobian.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Steps of training with the gradient penalty
    #[arg(long, default_value_t = 200, value_parser = positive)]
    steps: usize,
    /// Products with the Hessian in the search for its largest eigenvalue
    #[arg(long, default_value_t = 20, value_parser = positive)]
    products: usize,
    /// Seed of weights and data
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// 1 above a half and 0 below, which has no useful gradient: the straight-through estimator passes the gradient on unchanged.
fn threshold(soft: &Tensor) -> Tensor {
    soft.gt(0.5).cast(DType::F32).with_gradient([soft], |ct, _| [ct.clone()])
}

/// The value itself, with its gradient reversed: the layers before it learn the opposite of the layers after it.
fn reverse(x: &Tensor, scale: f64) -> Tensor {
    x.with_gradient([x], move |ct, _| [ct * -scale])
}

/// Trains a critic to have slope 1 everywhere, as in a Wasserstein GAN: the loss is made of a gradient. Returns the loss before
/// and after.
fn penalize(critic: &Sequential, data: &Tensor, steps: usize) -> Result<(f64, f64)> {
    let mut adam = Adam::new(&critic.parameters()?, AdamConfig { lr: 1e-2, ..AdamConfig::default() })?;
    let penalty = || -> Result<Tensor> {
        let x = data.variable()?;
        let slope = &grad(&critic.forward(&x)?.sum(), &[&x])?[0];
        Ok((slope.norm_dim(2.0, 1) - 1).square().mean())
    };
    let before = penalty()?.item()?;
    for _ in 0..steps {
        adam.step(penalty()?.backward()?)?;
    }
    Ok((before, penalty()?.item()?))
}

fn dot(a: &[Tensor], b: &[Tensor]) -> Tensor {
    a.iter().zip(b).map(|(a, b)| (a * b).sum()).sum()
}

/// The largest eigenvalue of a loss's Hessian, by power iteration: `v ← Hv / |Hv|`. A product with the Hessian is the gradient of
/// the gradient's product with v, so the matrix itself is never made.
fn sharpness(loss: &Tensor, parameters: &[Param], products: usize, generator: &Generator) -> Result<f64> {
    let slopes = grad(loss, parameters)?;
    let mut v = Vec::new();
    for parameter in parameters {
        v.push(Tensor::randn(parameter.shape(), generator, parameter.device())?);
    }
    let mut largest = f64::NAN;
    for _ in 0..products {
        let length = dot(&v, &v).sqrt();
        v = v.iter().map(|v| (v / &length).detach()).collect();
        let hv = grad(&dot(&slopes, &v), parameters)?;
        Tensor::eval_all(&hv)?; // otherwise every product would compute all earlier ones again
        largest = dot(&hv, &v).item()?;
        v = hv;
    }
    Ok(largest)
}

/// The norm of each sample's own gradient: one backward pass per sample, all computed in one go.
fn sample_norms(net: &Sequential, data: &Tensor, target: &Tensor) -> Result<Vec<f32>> {
    let mut norms = Vec::new();
    for (x, y) in data.chunk(data.dim(0)?, 0)?.iter().zip(target.chunk(data.dim(0)?, 0)?) {
        norms.push((net.forward(x)? - y).square().sum().backward()?.global_norm()?);
    }
    Tensor::stack(&norms, 0).to_vec()
}

/// `∂yᵢ/∂xⱼ`: row i is the gradient of element i of y.
fn jacobian(y: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut rows = Vec::new();
    for y in y.chunk(y.dim(0)?, 0)? {
        rows.extend(grad(&y, &[x])?);
    }
    Ok(Tensor::stack(&rows, 0))
}

fn list(t: &Tensor) -> Result<String> {
    Ok(format!("{:.4?}", t.to_vec::<f32>()?))
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let device: &Device = &open_device(options.device.as_deref())?;
    let generator = Generator::new(options.seed);

    let x = Tensor::from_slice(&[-1f32, 0.2, 3.0], [3], device)?.variable()?;
    let y = threshold(&x.sigmoid());
    say!("\nthreshold {}, gradient {}", list(&y)?, list(&grad(&y, &[&x])?[0])?);
    let y = reverse(&x, 0.5);
    say!("reversal {}, gradient {}", list(&y)?, list(&grad(&y, &[&x])?[0])?);

    let init = Init::new(device, options.seed);
    let net = Sequential::new().push(Linear::new(8, 64, &init)?).push(Tanh).push(Linear::new(64, 1, &init)?);
    let (data, target) = (Tensor::randn([32, 8], &generator, device)?, Tensor::randn([32, 1], &generator, device)?);
    let (before, after) = penalize(&net, &data, options.steps)?;
    say!("\ngradient penalty {before:.4} -> {after:.6} in {} steps", options.steps);

    let loss = (net.forward(&data)? - &target).square().mean();
    let largest = sharpness(&loss, &net.parameters()?, options.products, &generator)?;
    say!("largest eigenvalue of the Hessian {largest:.3}, after {} products with it", options.products);

    let norms = sample_norms(&net, &data, &target)?;
    let (low, high) = norms.iter().fold((f32::MAX, 0f32), |(low, high), &n| (low.min(n), high.max(n)));
    let whole = loss.backward()?.global_norm()?.item()?;
    say!("norms of {} samples' gradients {low:.2} to {high:.2}; of their mean {whole:.2}", norms.len());

    // The Jacobian of polar coordinates, whose determinant is the radius.
    let polar = Tensor::from_slice(&[2f32, 0.5], [2], device)?.variable()?;
    let (radius, angle) = (polar.select(0, 0), polar.select(0, 1));
    let j = jacobian(&Tensor::stack(&[&radius * angle.cos(), &radius * angle.sin()], 0), &polar)?;
    let [a, b, c, d] = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(i, k)| j.select(0, i).select(0, k));
    say!("\nJacobian of polar coordinates at radius 2 {}, determinant {:.4}", list(&j)?, (a * d - b * c).item()?);
    say!("total time {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
