//! What is timed: one function per family, one row per case.

use crate::networks::{Network, Training};
use std::fmt;
use wgrad::optim::{Adam, AdamConfig, Optimizer, RmsProp, RmsPropConfig};
use wgrad::{ConvOptions, Device, Generator, Param, Result, Tensor};

/// The work of one run: it is queued, without waiting.
pub type Job = Box<dyn FnMut() -> Result<()>>;

/// Makes the operands on a device; the job then runs on them repeatedly.
type Prepare = Box<dyn Fn(&Device) -> Result<Job>>;

/// A piece of work that any device can do.
pub struct Case {
    pub group: &'static str,
    pub name: String,
    /// Floating-point operations of one run, where products dominate it.
    pub flops: Option<f64>,
    pub prepare: Prepare,
}

impl Case {
    /// Whether the printed name contains a text.
    pub fn matches(&self, text: Option<&str>) -> bool {
        text.is_none_or(|text| self.to_string().contains(text))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}: {}", self.group, self.name))
    }
}

/// All cases, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [512, 1024] {
        cases.extend([Layout::Nn, Layout::Nt, Layout::Tn].map(|layout| matmul(n, layout)));
    }
    for (batch, inputs, outputs, side) in [(64, 1, 16, 28), (64, 16, 32, 14), (16, 64, 64, 32)] {
        let shape = ConvShape { batch, inputs, outputs, side };
        cases.extend([Role::Forward, Role::InputGradient, Role::WeightGradient].map(|role| conv2d(shape, role)));
    }
    cases.push(optimizer("Adam", |p| Ok(Box::new(Adam::new(p, AdamConfig::default())?))));
    cases.push(optimizer("RMSprop", |p| Ok(Box::new(RmsProp::new(p, RmsPropConfig::default())?))));
    cases.extend(Network::ALL.map(training));
    cases
}

/// Normally distributed numbers, already in memory.
fn noise(shape: &[usize], seed: u64, device: &Device) -> Result<Tensor> {
    let tensor = Tensor::randn(shape, &Generator::new(seed), device)?;
    tensor.eval()?;
    Ok(tensor)
}

/// Which operands of a product are transposed.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Nn,
    Nt,
    Tn,
}

/// `[n, n] · [n, n]`.
fn matmul(n: usize, layout: Layout) -> Case {
    let prepare = move |device: &Device| -> Result<Job> {
        let (a, b) = (noise(&[n, n], 1, device)?, noise(&[n, n], 2, device)?);
        Ok(Box::new(move || match layout {
            Layout::Nn => a.matmul(&b).eval(),
            Layout::Nt => a.matmul(&b.t()).eval(),
            Layout::Tn => a.t().matmul(&b).eval(),
        }))
    };
    Case {
        group: "matmul",
        name: format!("{n} {}", format!("{layout:?}").to_uppercase()),
        flops: Some(2.0 * (n * n * n) as f64),
        prepare: Box::new(prepare),
    }
}

/// A 3 x 3 convolution with padding 1.
#[derive(Debug, Clone, Copy)]
struct ConvShape {
    batch: usize,
    inputs: usize,
    outputs: usize,
    side: usize,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Forward,
    InputGradient,
    WeightGradient,
}

fn conv2d(shape: ConvShape, role: Role) -> Case {
    let ConvShape { batch, inputs, outputs, side } = shape;
    let prepare = move |device: &Device| -> Result<Job> {
        let options = ConvOptions::default().padding(1);
        let images = noise(&[batch, inputs, side, side], 1, device)?;
        let weight = noise(&[outputs, inputs, 3, 3], 2, device)?;
        if let Role::Forward = role {
            return Ok(Box::new(move || images.conv2d(&weight, None, options).eval()));
        }
        // Only the requested gradient is computed: neither the other one nor the forward pass.
        let cotangent = noise(&[batch, outputs, side, side], 3, device)?;
        let (images, weight) = match role {
            Role::InputGradient => (images.variable()?, weight),
            _ => (images, weight.variable()?),
        };
        Ok(Box::new(move || {
            let gradients = images.conv2d(&weight, None, options).backward_with(&cotangent)?;
            gradients.get(if images.requires_grad() { &images } else { &weight })?.eval()
        }))
    };
    let role = match role {
        Role::Forward => "forward",
        Role::InputGradient => "input gradient",
        Role::WeightGradient => "weight gradient",
    };
    Case {
        group: "conv2d",
        name: format!("{batch} x {side} x {side}, {inputs} to {outputs}, {role}"),
        flops: Some(2.0 * (batch * outputs * inputs * 9 * side * side) as f64),
        prepare: Box::new(prepare),
    }
}

/// One step over 200 tensors with a million parameters, their gradients in memory. A GPU first copies each gradient to where
/// the fused step reads it; in training the kernel that computes a gradient writes it there.
fn optimizer(name: &'static str, make: fn(&[Param]) -> Result<Box<dyn Optimizer>>) -> Case {
    const TENSORS: u64 = 200;
    const LENGTH: usize = 5_000;
    let prepare = move |device: &Device| -> Result<Job> {
        let mut params = Vec::new();
        let mut loss = Tensor::scalar(0.0, device)?;
        for seed in 0..TENSORS {
            let param = Param::new(&noise(&[LENGTH], seed, device)?)?;
            loss += (param.tensor() * noise(&[LENGTH], TENSORS + seed, device)?).sum();
            params.push(param);
        }
        let gradients = loss.backward()?;
        gradients.eval()?;
        let mut optimizer = make(&params)?;
        Ok(Box::new(move || optimizer.step(gradients.clone())))
    };
    Case { group: "step", name: format!("{name}, 200 tensors, 1M parameters"), flops: None, prepare: Box::new(prepare) }
}

/// A batch from the host, forward, backward, Adam, and the loss back on the host.
fn training(network: Network) -> Case {
    let prepare = move |device: &Device| -> Result<Job> {
        let mut training = Training::new(network, device)?;
        Ok(Box::new(move || training.step().map(drop)))
    };
    Case { group: "training step", name: network.to_string(), flops: Some(network.flops()), prepare: Box::new(prepare) }
}
