//! What reading values costs a training step, depending on where they are read: memory and time, relative to a step without
//! reads.
//!
//! Each row has a device of its own, since the peak counts from when a device is opened. Gradients that are read are kept until
//! the step: their own bytes are not counted.
//!
//! ```sh
//! cargo bench --bench reads -- [--device cpu] [--steps 5] [--small]
//! ```

use clap::Parser;
use std::time::Instant;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{Gpt, GptConfig, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, DeviceOptions, Result, Tensor};

#[derive(Parser)]
struct Options {
    /// The device, by kind, index or name.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// How many steps are timed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Small inputs, suitable for a software adapter.
    #[arg(long)]
    small: bool,
    /// Ignored: `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

const NETWORKS: [&str; 3] = ["MobileNetV2", "ResNet-18", "transformer"];

fn network(name: &str, small: bool, device: &Device) -> Result<(Box<dyn Module>, Tensor, Vec<i32>)> {
    let init = Init::new(device, 0);
    let image = |n: usize, side: usize| Tensor::full([n, 3, side, side], 0.5, device);
    Ok(match (name, small) {
        ("MobileNetV2", _) => {
            let (n, side) = if small { (2, 64) } else { (8, 224) };
            let model = MobileNetV2::new(MobileNetConfig { classes: 10, ..MobileNetConfig::default() }, &init)?;
            (Box::new(model), image(n, side)?, vec![1; n])
        }
        ("ResNet-18", _) => {
            let (n, side) = if small { (2, 32) } else { (16, 64) };
            (Box::new(ResNet::new(ResNetConfig { classes: 10, ..ResNetConfig::default() }, &init)?), image(n, side)?, vec![1; n])
        }
        _ => {
            let (n, len, width) = if small { (2, 32, 64) } else { (8, 128, 128) };
            let config =
                GptConfig { vocab_size: 64, block_size: len, n_layer: 4, n_head: 4, n_embd: width, ..GptConfig::default() };
            let tokens: Vec<i32> = (0..64).cycle().take(n * len).collect();
            (Box::new(Gpt::new(config, &init)?), Tensor::from_slice(&tokens, [n, len], device)?, vec![1; n * len])
        }
    })
}

/// Where values are read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    Nothing,
    LossAfterStep,
    LossBeforeBackward,
    OutputsBeforeBackward,
    Gradients,
}

/// (peak bytes, live bytes, milliseconds per step)
fn measure(name: &str, reads: Reads, options: &Options) -> Result<(u64, u64, f64)> {
    let device = Device::named_with(&options.device, DeviceOptions { checks: Some(false), ..DeviceOptions::default() })?;
    let (model, x, labels) = network(name, options.small, &device)?;
    let params = model.parameters()?;
    let own: usize = params.iter().map(|p| 4 * p.shape().numel()).sum();
    let mut adam = Adam::new(&params, AdamConfig::default())?;
    let labels = Tensor::from_slice(&labels, [labels.len()], &device)?;
    let mut times = Vec::new();
    let mut live = 0;
    for n in 0..options.steps + 2 {
        let start = Instant::now();
        let output = model.forward(&x)?;
        let classes = output.dim(-1)?;
        let logits = output.reshape([labels.shape()?.numel(), classes]);
        if reads == Reads::OutputsBeforeBackward {
            logits.to_vec::<f32>()?;
        }
        let loss = cross_entropy(&logits, &labels, Reduction::Mean)?;
        if reads == Reads::LossBeforeBackward {
            loss.item()?;
        }
        let gradients = loss.backward()?;
        if reads == Reads::Gradients {
            gradients.eval()?;
        }
        adam.step(gradients)?;
        if reads == Reads::LossAfterStep {
            loss.item()?;
        }
        device.flush()?;
        live = device.counters().bytes_live;
        if n >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let extra = if reads == Reads::Gradients { own as u64 } else { 0 };
    Ok((device.counters().bytes_peak.saturating_sub(extra), live, times[times.len() / 2]))
}

fn main() -> Result<()> {
    let options = Options::parse();
    println!("{}", Device::named(&options.device)?);
    println!("{:12} {:24} {:>9} {:>6} {:>9} {:>6} {:>9} {:>6}", "", "reads", "peak MB", "", "live MB", "", "ms", "");
    for name in NETWORKS {
        let mut first = None;
        for reads in
            [Reads::Nothing, Reads::LossAfterStep, Reads::LossBeforeBackward, Reads::OutputsBeforeBackward, Reads::Gradients]
        {
            let (peak, live, ms) = measure(name, reads, &options)?;
            let (peak, live) = (peak as f64 / 1e6, live as f64 / 1e6);
            let (p, l, t) = *first.get_or_insert((peak, live, ms));
            let text = format!("{reads:?}");
            println!("{name:12} {text:24} {peak:9.1} {:6.2} {live:9.1} {:6.2} {ms:9.1} {:6.2}", peak / p, live / l, ms / t);
        }
    }
    Ok(())
}
