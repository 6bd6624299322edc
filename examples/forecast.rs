//! Forecasts a noisy series with an LSTM, trained in two ways: on windows, each from a zero state, and statefully, where each
//! part of the series starts from the state that the previous part left. Then it continues the series from its own forecasts.
//!
//! ```text
//! cargo run --release --example forecast
//! cargo run --release --example forecast -- --epochs 2 --passes 20 --hidden 16 --lr 1e-2
//! ```
//!
//! The second, a short run, prints on the CPU device, among other lines:
//!
//! ```text
//! series: 4000 values, 3200 to train on; the noise alone gives an error of 0.1
//! windows: test error 0.1264; 0.1515 with the last value as the forecast
//! stateful: pass 20/20, error 0.1377
//! ```
//!
//! and plots the continuation in `forecast.svg`, next to the weights.

use clap::Parser;
use common::{Outcome, above_zero, finish, open_device, positive};
use std::path::PathBuf;
use std::process::ExitCode;
use wgrad::data::{Collate, DataLoader, VecDataset};
use wgrad::nn::{Init, Linear, Lstm, Module, RecurrentConfig, SequenceOptions, evaluating, fields};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::train::{Chart, Meter, Panel, Series};
use wgrad::{Device, Error, Generator, Tensor, no_grad};

mod common;

/// Length of the series, and how many of its values are for training.
const VALUES: usize = 4000;
const TRAINING: usize = 3200;
/// Stretches of the training values that are processed in parallel, as a batch.
const ROWS: usize = 16;
/// Steps between two updates in stateful training.
const PART: usize = 20;
/// Values that warm up the state before forecasts count.
const WARM_UP: usize = 200;

/// Forecast a series, with windows and with state.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Passes over the windows
    #[arg(long, default_value_t = 10, value_parser = positive)]
    epochs: usize,
    /// Passes over the series in stateful training
    #[arg(long, default_value_t = 60, value_parser = positive)]
    passes: usize,
    /// Values per window
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    window: u16,
    /// Numbers in the state of each of the two layers
    #[arg(long, default_value_t = 32, value_parser = positive)]
    hidden: usize,
    /// Learning rate
    #[arg(long, default_value_t = 5e-3, value_parser = above_zero)]
    lr: f64,
    /// Standard deviation of the noise on the series
    #[arg(long, default_value_t = 0.1, value_parser = above_zero)]
    noise: f64,
    /// Values to forecast from the model's own forecasts
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    ahead: u16,
    /// Seed of noise, weights and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights go; the chart is written next to them
    #[arg(long, default_value = "target/forecast/forecast.safetensors")]
    save: PathBuf,
}

/// The value at a time, without noise: two waves with incommensurable periods.
fn truth(time: usize) -> f64 {
    (time as f64 / 20.0).sin() + 0.5 * (time as f64 / 7.3 + 1.0).sin()
}

/// A two-layer LSTM, and a linear layer that forecasts the next value from its state.
struct Forecaster {
    lstm: Lstm,
    head: Linear,
}

impl Forecaster {
    fn new(hidden: usize, init: &Init) -> Result<Self, Error> {
        let config = RecurrentConfig { num_layers: 2, batch_first: true, ..RecurrentConfig::default() };
        Ok(Self { lstm: Lstm::with(1, hidden, config, init)?, head: Linear::new(hidden, 1, init)? })
    }

    /// For values `[n, t, 1]` the forecast of the value after each, `[n, t, 1]`, and the state to continue from.
    fn follow(&self, x: &Tensor, from: &SequenceOptions) -> Result<(Tensor, SequenceOptions), Error> {
        let sequence = self.lstm.run(x, from)?;
        Ok((self.head.forward(&sequence.output)?, sequence.carry()))
    }
}

impl Module for Forecaster {
    /// Windows `[n, t]` to the value after each, `[n, 1]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.head.forward(&self.lstm.forward(&x.unsqueeze(-1))?.select(1, -1))
    }
    fields!(lstm, head);
}

/// Every window of a series with the value after it.
fn windows(series: &[f32], length: usize) -> Vec<(Vec<f32>, [f32; 1])> {
    series.windows(length + 1).map(|w| (w[..length].to_vec(), [w[length]])).collect()
}

fn step(optimizer: &mut Adam, loss: &Tensor) -> Result<(), Error> {
    let mut gradients = loss.backward()?;
    gradients.clip_by_norm(1.0)?;
    optimizer.step(gradients)
}

fn train_on_windows(series: &[f32], options: &Options, device: &Device) -> Outcome<()> {
    let length = options.window.into();
    let model = Forecaster::new(options.hidden, &Init::new(device, options.seed))?;
    let mut adam = Adam::new(&model.parameters()?, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
    let set = VecDataset(windows(&series[..TRAINING], length));
    let loader = DataLoader::new(set, 64, device)?.shuffle(true).seed(options.seed).drop_last(true);
    for epoch in 1..=options.epochs {
        let mut mean = Meter::new();
        for batch in &loader {
            let (x, y) = batch?;
            let loss = model.forward(&x)?.mse(&y);
            mean.push(&loss, 1.0)?;
            step(&mut adam, &loss)?;
        }
        if epoch % 5 == 0 || epoch == options.epochs {
            say!("windows: epoch {epoch}/{}, error {:.4}", options.epochs, mean.mean()?.sqrt());
        }
    }
    let (x, y) = Collate::collate(windows(&series[TRAINING..], length), device)?;
    let forecast = evaluating(&model, || model.forward(&x))?;
    let (own, last) = (forecast.mse(&y).sqrt().item()?, x.narrow(1, -1, 1).mse(&y).sqrt().item()?);
    say!("windows: test error {own:.4}; {last:.4} with the last value as the forecast");
    Ok(())
}

fn train_with_state(series: &[f32], options: &Options, device: &Device) -> Outcome<Forecaster> {
    let model = Forecaster::new(options.hidden, &Init::new(device, options.seed))?;
    let mut adam = Adam::new(&model.parameters()?, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
    let part = |from: usize| {
        let rows = series[..TRAINING].chunks(TRAINING / ROWS);
        let values: Vec<f32> = rows.flat_map(|row| &row[from..from + PART]).copied().collect();
        Tensor::from_slice(&values, [ROWS, PART, 1], device)
    };
    let starts = (0..TRAINING / ROWS - PART).step_by(PART);
    let parts = starts.map(|from| Ok((part(from)?, part(from + 1)?))).collect::<Result<Vec<_>, Error>>()?;
    for pass in 1..=options.passes {
        let (mut mean, mut state) = (Meter::new(), SequenceOptions::default());
        for (x, y) in &parts {
            let (forecast, next) = model.follow(x, &state)?;
            let loss = forecast.mse(y);
            mean.push(&loss, 1.0)?;
            step(&mut adam, &loss)?;
            state = next;
        }
        if pass % 20 == 0 || pass == options.passes {
            say!("stateful: pass {pass}/{}, error {:.4}", options.passes, mean.mean()?.sqrt());
        }
    }
    Ok(model)
}

/// The forecasts of one part, and the state after it. The state is computed along with the forecasts: if it were left for later,
/// it would keep the graph of all earlier parts.
fn follow_part(
    model: &Forecaster,
    part: &[f32],
    from: &SequenceOptions,
    device: &Device,
) -> Result<(Vec<f32>, SequenceOptions), Error> {
    let x = Tensor::from_slice(part, [1, part.len(), 1], device)?;
    let (y, next) = no_grad(|| model.follow(&x, from))?;
    Tensor::eval_all(&[Some(&y), next.hidden.as_ref(), next.cell.as_ref()].into_iter().flatten().collect::<Vec<_>>())?;
    Ok((y.to_vec()?, next))
}

/// Forecasts of the value after each of `values`, from the state after all values so far, and the last state.
fn follow(model: &Forecaster, values: &[f32], device: &Device) -> Result<(Vec<f32>, SequenceOptions), Error> {
    let (mut forecasts, mut state) = (Vec::new(), SequenceOptions::default());
    for part in values.chunks(PART) {
        let (y, next) = follow_part(model, part, &state, device)?;
        forecasts.extend(y);
        state = next;
    }
    Ok((forecasts, state))
}

/// The root mean squared difference.
fn error(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> f64 {
    let n = pairs.len() as f64;
    (pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n).sqrt()
}

fn run(options: &Options) -> Outcome<()> {
    let device = open_device(options.device.as_deref())?;
    let noise = Tensor::randn([VALUES], &Generator::new(options.seed).fork("noise"), &device)?.to_vec::<f32>()?;
    #[allow(clippy::cast_possible_truncation, reason = "values near 1")]
    let series: Vec<f32> = (0..VALUES).map(|t| (truth(t) + options.noise * f64::from(noise[t])) as f32).collect();
    say!("series: {VALUES} values, {TRAINING} to train on; the noise alone gives an error of {}", options.noise);

    train_on_windows(&series, options, &device)?;
    let model = train_with_state(&series, options, &device)?;
    let (forecasts, mut state) = follow(&model, &series[TRAINING - WARM_UP..], &device)?;
    let tested = series[TRAINING..].iter().zip(&forecasts[WARM_UP - 1..]);
    say!("stateful: test error {:.4}", error(tested.map(|(&a, &b)| (a.into(), b.into()))));

    // From the end of the series on, each forecast is the next value.
    let mut own = forecasts[forecasts.len() - 1..].to_vec();
    while own.len() < options.ahead.into() {
        let (y, next) = follow_part(&model, &own[own.len() - 1..], &state, &device)?;
        own.extend(y);
        state = next;
    }
    let ahead = || own.iter().enumerate().map(|(i, &y)| (VALUES + i, f64::from(y)));
    say!("{} values ahead: error {:.4} against the series without noise", own.len(), error(ahead().map(|(t, y)| (truth(t), y))));

    let line = |name: &str, points: Vec<(f64, f64)>| Series { name: name.into(), points };
    let seen = (VALUES - 150..VALUES).map(|t| (t as f64, series[t].into())).collect();
    let chart = Chart {
        title: "A series and its forecast".into(),
        x_label: "time".into(),
        panels: vec![Panel {
            title: "value".into(),
            series: vec![
                line("series", seen),
                line("forecast", ahead().map(|(t, y)| (t as f64, y)).collect()),
                line("without noise", ahead().map(|(t, _)| (t as f64, truth(t))).collect()),
            ],
            unit: String::new(),
            log: false,
        }],
    };
    model.save(&options.save)?;
    let path = options.save.with_file_name("forecast.svg");
    chart.save(&path)?;
    say!("weights: {}", options.save.display());
    say!("chart:   {}", path.display());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
