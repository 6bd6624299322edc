//! What a training step costs the host: building the graph, keying, encoding and submitting, without the kernels.
//!
//! The networks have their real structure at small sizes, so that kernels take little, and what is measured is the processor
//! time of the calling thread: kernels of an adapter, and those of the CPU device that run on its pool, do not count. One line
//! per network: median and least milliseconds per step of `--rounds` rounds.
//!
//! ```sh
//! cargo bench --bench host_step -- [--device software] [--rounds 15]
//! ```

use clap::Parser;
use std::time::{Duration, Instant};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{Gpt, GptConfig, LeNet, Mlp, ResNet, ResNetConfig};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor};

#[derive(Parser)]
struct Options {
    /// The device, by kind, index or name.
    #[arg(long, default_value = "software")]
    device: String,
    /// Rounds of about a quarter of a second each.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Ignored: `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Processor time of this thread where the system tells (Linux), else the time of the day.
fn thread_time(start: Instant) -> Duration {
    let ticks = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = ticks.and_then(|t| t.split_whitespace().next()?.parse().ok()).map(Duration::from_nanos);
    spent.unwrap_or_else(|| start.elapsed())
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
    /// A step up to its submission; the loss is not waited for.
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
    let device = Device::named(&options.device)?;
    println!("{device}");
    for case in cases(&device)? {
        let mut adam = Adam::new(&case.model.parameters()?, AdamConfig::default())?;
        let mut steps = 3u32;
        for _ in 0..steps {
            case.step(&mut adam, &device)?;
        }
        device.flush()?;
        let mut costs = Vec::with_capacity(options.rounds);
        for _ in 0..options.rounds {
            let start = Instant::now();
            let mut host = Duration::ZERO;
            for _ in 0..steps {
                let from = thread_time(start);
                case.step(&mut adam, &device)?;
                host += thread_time(start).saturating_sub(from);
                // The queue stays short: a full one would make the next step wait.
                device.flush()?;
            }
            costs.push(host.as_secs_f64() * 1e3 / f64::from(steps));
            if start.elapsed() < Duration::from_millis(200) {
                steps *= 2;
            }
        }
        costs.sort_by(f64::total_cmp);
        println!("{:24} {:8.3} ms median {:8.3} ms least", case.name, costs[costs.len() / 2], costs[0]);
    }
    Ok(())
}
