//! Training steps of recurrent layers: a layer or several, a linear layer on each step's output, the mean of squares, Adam; the loss
//! is read each step. `benches/peers/recurrent.py` compares them with PyTorch's.
//!
//! ```sh
//! cargo bench --bench recurrent -- [--device cpu] [--steps 40] [lstm:1:50:32:128:128 ...]
//! ```
//!
//! A case is the kind, layers, time steps, batch, inputs and hidden elements. One line per case: milliseconds of the first step, the
//! median and the least of the others.

use clap::Parser;
use std::time::Instant;
use wgrad::nn::{Gru, Init, Linear, Lstm, Module, RecurrentConfig, Rnn};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor};

#[derive(Parser)]
struct Options {
    /// The device, by kind, index or name.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// How many steps are timed after the first.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// What runs, as kind:layers:steps:batch:inputs:hidden; the kind is lstm, gru or rnn.
    #[arg(value_parser = case, default_values = ["lstm:1:50:32:128:128", "lstm:2:200:32:64:64", "gru:1:50:32:128:128"])]
    cases: Vec<Case>,
    /// Ignored: `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone)]
struct Case {
    kind: String,
    /// Layers, steps, batch, inputs, hidden elements.
    sizes: [usize; 5],
}

fn case(text: &str) -> std::result::Result<Case, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [kind, sizes @ ..] = &parts[..] else { return Err("it is empty".into()) };
    let sizes: Vec<usize> = sizes.iter().map_while(|s| s.parse().ok()).filter(|&n| n > 0).collect();
    match <[usize; 5]>::try_from(sizes) {
        Ok(sizes) if ["lstm", "gru", "rnn"].contains(kind) => Ok(Case { kind: (*kind).to_owned(), sizes }),
        _ => Err("give lstm, gru or rnn and five numbers, such as lstm:1:50:32:128:128".into()),
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let device = Device::named(&options.device)?;
    for case in &options.cases {
        let [num_layers, t, n, inputs, hidden] = case.sizes;
        let init = Init::new(&device, 0);
        let config = RecurrentConfig { num_layers, ..RecurrentConfig::default() };
        let layer: Box<dyn Module> = match case.kind.as_str() {
            "lstm" => Box::new(Lstm::with(inputs, hidden, config, &init)?),
            "gru" => Box::new(Gru::with(inputs, hidden, config, &init)?),
            _ => Box::new(Rnn::with(inputs, hidden, config, &init)?),
        };
        let head = Linear::new(hidden, 10, &init)?;
        let params = [layer.parameters()?, head.parameters()?].concat();
        let mut adam = Adam::new(&params, AdamConfig::default())?;
        let x = Tensor::randn([t, n, inputs], &init.generator, &device)?;
        Tensor::eval_all(&[&x])?;
        let mut step = || -> Result<f64> {
            let start = Instant::now();
            let y = head.forward(&layer.forward(&x)?.reshape([t * n, hidden]))?;
            let loss = y.square().mean();
            adam.step(loss.backward()?)?;
            loss.item()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        let first = step()?;
        let mut times = (0..options.steps).map(|_| step()).collect::<Result<Vec<_>>>()?;
        times.sort_by(f64::total_cmp);
        let sizes = case.sizes.map(|n| n.to_string()).join(":");
        println!("{}:{sizes} first {first:.2} median {:.3} least {:.3}", case.kind, times[times.len() / 2], times[0]);
    }
    Ok(())
}
