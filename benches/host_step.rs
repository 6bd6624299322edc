//! What a training step costs the host: building the graph, computing its cache key, encoding and submitting, without the
//! kernels.
//!
//! The networks have their real structure at small sizes, so that kernels take little time. What is measured is the time until a
//! step has been submitted to an empty queue: an adapter computes after that, or in parallel. On the CPU device the kernels
//! count, too, since a step includes them. One line per network: median and minimum over `--steps` steps.
//!
//! ```sh
//! cargo bench --bench host_step -- [--device software] [--steps 500] [--only CNN]
//! ```

use clap::Parser;
use std::time::Instant;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{Gpt, GptConfig, LeNet, Mlp, ResNet, ResNetConfig};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, DeviceOptions, Result, Tensor};

#[derive(Parser)]
struct Options {
    /// The device, by kind, index or name.
    #[arg(long, default_value = "software")]
    device: String,
    /// How many steps are timed.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Only networks whose name contains this text.
    #[arg(long, default_value = "")]
    only: String,
    /// Ignored: `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Case {
    name: &'static str,
    model: Box<dyn Module>,
    input: Input,
    classes: i32,
}

enum Input {
    Numbers(Vec<usize>),
    Tokens(usize, usize),
}

fn cases(device: &Device) -> Result<Vec<Case>> {
    let init = Init::new(device, 0);
    let resnet = ResNetConfig { classes: 10, width: 4, small_images: true, ..ResNetConfig::default() };
    let gpt = GptConfig { vocab_size: 32, block_size: 8, n_layer: 4, n_head: 2, n_embd: 16, ..GptConfig::default() };
    Ok(vec![
        Case {
            name: "MLP, 3 layers",
            model: Box::new(Mlp::new(&[16, 16, 16, 10], &init)?),
            input: Input::Numbers(vec![4, 16]),
            classes: 10,
        },
        Case {
            name: "CNN, LeNet-5",
            model: Box::new(LeNet::new(1, 10, &init)?),
            input: Input::Numbers(vec![1, 1, 28, 28]),
            classes: 10,
        },
        Case {
            name: "ResNet-18",
            model: Box::new(ResNet::new(resnet, &init)?),
            input: Input::Numbers(vec![2, 3, 8, 8]),
            classes: 10,
        },
        Case { name: "transformer, 4 layers", model: Box::new(Gpt::new(gpt, &init)?), input: Input::Tokens(1, 8), classes: 32 },
    ])
}

impl Case {
    /// A step up to its submission; does not wait for the loss.
    fn step(&self, adam: &mut Adam, device: &Device) -> Result<()> {
        let (x, count) = match &self.input {
            Input::Numbers(shape) => {
                let n = shape.iter().product();
                let data: Vec<f32> = (0..n).map(|i: usize| (i * 7919 % 1009) as f32 / 1009.0).collect();
                (Tensor::from_slice(&data, shape.as_slice(), device)?, shape[0])
            }
            Input::Tokens(batch, len) => {
                let data: Vec<i32> = (0..self.classes).cycle().take(batch * len).collect();
                (Tensor::from_slice(&data, [*batch, *len], device)?, batch * len)
            }
        };
        let labels: Vec<i32> = (0..self.classes).cycle().take(count).collect();
        let labels = Tensor::from_slice(&labels, [count], device)?;
        let classes = usize::try_from(self.classes).unwrap_or(1);
        let logits = self.model.forward(&x)?.reshape([count, classes]);
        adam.step(cross_entropy(&logits, &labels, Reduction::Mean)?.backward()?)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    // Tests of kernels are not part of a step, and on a device that computes nothing they fail.
    let device = Device::named_with(&options.device, DeviceOptions { self_test: Some(false), ..DeviceOptions::default() })?;
    println!("{device}");
    for case in cases(&device)?.into_iter().filter(|case| case.name.contains(&options.only)) {
        let mut adam = Adam::new(&case.model.parameters()?, AdamConfig::default())?;
        let mut costs = Vec::new();
        // The first steps compile plans and pipelines.
        for n in 0..options.steps + 5 {
            let start = Instant::now();
            case.step(&mut adam, &device)?;
            if n >= 5 {
                costs.push(start.elapsed().as_secs_f64() * 1e3);
            }
            device.flush()?;
        }
        costs.sort_by(f64::total_cmp);
        println!("{:24} {:8.3} ms median {:8.3} ms least", case.name, costs[costs.len() / 2], costs[0]);
    }
    Ok(())
}
