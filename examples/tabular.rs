//! Predicts the progression of diabetes from ten numbers per patient: a table in a CSV file, a network whose file of weights also
//! has the scales of the columns, early stopping on validation data, and predictions from the saved file.
//!
//! ```text
//! cargo run --release --example tabular
//! cargo run --release --example tabular -- --load target/tabular/tabular.safetensors
//! ```
//!
//! At its defaults it prints, on the CPU device after a second of processor time, shortened:
//!
//! ```text
//! data: 283 training, 71 validation and 88 test rows of 10 numbers
//! epoch  10/200  train 0.4343  validation 0.4903
//! ...
//! best: epoch 6, validation 0.4889
//! test: R2 0.438, mean absolute error 43.3; with the training rows' mean as the prediction 63.5
//! predicted [71, 173, 211, 197, 115], true [75, 171, 166, 144, 68]
//! ```

use clap::Parser;
use common::{Outcome, above_zero, finish, open_device, positive, usage};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wgrad::data::{DataLoader, Dataset, TensorDataset, read_text, split};
use wgrad::nn::{Dropout, Init, Linear, Module, Relu, Sequential, evaluating, fields};
use wgrad::optim::{AdamW, AdamWConfig, Optimizer, split_decay};
use wgrad::train::{EarlyStopping, EarlyStoppingConfig, Meter};
use wgrad::{Device, Error, Param, Tensor};

mod common;

/// Shares of the patients for training, validation and test.
const PARTS: [f64; 3] = [0.64, 0.16, 0.2];

/// Predict a number from the rows of a table.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// CSV file with a header line; the last column is the one to predict
    #[arg(long, default_value = "data/diabetes/diabetes.csv")]
    data: PathBuf,
    /// Passes over the training rows, at most
    #[arg(long, default_value_t = 200, value_parser = positive)]
    epochs: usize,
    /// Passes without a better validation loss after which training stops
    #[arg(long, default_value_t = 30)]
    patience: usize,
    /// Rows per step
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 3e-3, value_parser = above_zero)]
    lr: f64,
    /// Seed of weights, batches and dropout; the parts of the table stay the same
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights go
    #[arg(long, default_value = "target/tabular/tabular.safetensors")]
    save: PathBuf,
    /// Weights to test instead of training
    #[arg(long, conflicts_with = "save")]
    load: Option<PathBuf>,
}

/// Reads a CSV file: inputs `[n, columns - 1]` and targets `[n, 1]`.
fn read_table(path: &Path, device: &Device) -> Result<(Tensor, Tensor), Error> {
    let text = read_text(path)?;
    let columns = text.lines().next().unwrap_or_default().split(',').count();
    let mut values: Vec<f32> = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let fail = |reason| Error::format(path, format!("line {}: {reason}", i + 1), "give one number per column in each line");
        for value in line.split(',') {
            values.push(value.trim().parse().map_err(|_| fail(format!("\"{value}\" is not a number")))?);
        }
        if values.len() != i * columns {
            return Err(fail(format!("there are not {columns} numbers")));
        }
    }
    let table = Tensor::from_slice(&values, [values.len() / columns, columns], device)?;
    Ok((table.narrow(1, 0, columns - 1), table.narrow(1, -1, 1)))
}

/// A network for columns of any scale. The scales are buffers, so that a file of weights is all that a prediction needs.
struct Regressor {
    mean: Param,
    std: Param,
    target_mean: Param,
    target_std: Param,
    net: Sequential,
}

impl Regressor {
    fn new(columns: usize, init: &Init) -> Result<Self, Error> {
        let buffer = |n: usize, value| Param::buffer(&init.constant(n, value)?);
        Ok(Self {
            mean: buffer(columns, 0.0)?,
            std: buffer(columns, 1.0)?,
            target_mean: buffer(1, 0.0)?,
            target_std: buffer(1, 1.0)?,
            net: Sequential::new()
                .push(Linear::new(columns, 64, init)?)
                .push(Relu)
                .push(Dropout::new(0.2, init)?)
                .push(Linear::new(64, 64, init)?)
                .push(Relu)
                .push(Linear::new(64, 1, init)?),
        })
    }

    /// Sets the scales from rows `[n, columns]` and targets `[n, 1]`.
    fn fit_scale(&self, (x, y): &(Tensor, Tensor)) -> Result<(), Error> {
        self.mean.set(&x.mean_dim(0))?;
        self.std.set(&x.std_dim(0))?;
        self.target_mean.set(&y.mean_dim(0))?;
        self.target_std.set(&y.std_dim(0))
    }

    /// Mean squared error in units of the targets' variance.
    fn loss(&self, (x, y): &(Tensor, Tensor)) -> Result<Tensor, Error> {
        Ok((self.forward(x)? / &self.target_std).mse(&(y / &self.target_std)))
    }
}

impl Module for Regressor {
    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let y = self.net.forward(&((x - &self.mean) / &self.std))?;
        Ok(y * &self.target_std + &self.target_mean)
    }
    fields!(mean, std, target_mean, target_std, net);
}

/// The share of the targets' variance that the predictions explain, and the mean absolute error.
fn scores(prediction: &Tensor, y: &Tensor) -> Result<(f64, f64), Error> {
    let error = prediction - y;
    let explained = 1 - error.square().sum() / (y - y.mean()).square().sum();
    Ok((explained.item()?, error.abs().mean().item()?))
}

fn train(model: &Regressor, train: (Tensor, Tensor), validation: &(Tensor, Tensor), options: &Options) -> Outcome<()> {
    let rows = train.0.dim(0)?;
    if options.batch > rows {
        return Err(usage(format!("--batch {} is more than the {rows} training rows; use a smaller one", options.batch)));
    }
    model.fit_scale(&train)?;
    let loader = DataLoader::new(TensorDataset::new(train)?, options.batch, model.mean.device())?;
    let loader = loader.shuffle(true).seed(options.seed).drop_last(true);
    let config = AdamWConfig { lr: options.lr, weight_decay: 0.1, ..AdamWConfig::default() };
    let mut optimizer = AdamW::with_groups(split_decay(model, config, AdamWConfig { weight_decay: 0.0, ..config })?)?;
    let mut stopping = EarlyStopping::new(EarlyStoppingConfig { patience: options.patience, ..Default::default() })?;
    for epoch in 1..=options.epochs {
        let mut loss = Meter::new();
        for batch in &loader {
            let batch_loss = model.loss(&batch?)?;
            loss.push(&batch_loss, 1.0)?;
            optimizer.step(batch_loss.backward()?)?;
        }
        let held_out = evaluating(model, || model.loss(validation))?.item()?;
        let stop = stopping.observe(held_out, model)?;
        if epoch % 10 == 0 || stop || epoch == options.epochs {
            say!("epoch {epoch:>3}/{}  train {:.4}  validation {held_out:.4}", options.epochs, loss.mean()?);
        }
        if stop {
            break;
        }
    }
    stopping.restore(model)?;
    if let Some((epoch, loss)) = stopping.best() {
        say!("best: epoch {epoch}, validation {loss:.4}");
    }
    model.save(&options.save)?;
    say!("weights: {}", options.save.display());
    Ok(())
}

fn run(options: &Options) -> Outcome<()> {
    let device = open_device(options.device.as_deref())?;
    let table = read_table(&options.data, &device)?;
    let [rows, columns] = table.0.dims()?;
    let table = TensorDataset::new(table)?;
    let [training, validation, test] = split(rows, PARTS, 1)?;
    say!("data: {} training, {} validation and {} test rows of {columns} numbers", training.len(), validation.len(), test.len());
    let part = |indices: &[usize]| table.batch(indices, &device);
    let (x, y) = part(&test)?;

    let model = Regressor::new(columns, &Init::new(&device, options.seed))?;
    match &options.load {
        Some(path) => model.load(path)?,
        None => train(&model, part(&training)?, &part(&validation)?, options)?,
    }
    let prediction = evaluating(&model, || model.forward(&x))?;
    let (explained, error) = scores(&prediction, &y)?;
    let (_, guess) = scores(&model.target_mean.tensor().expand([test.len(), 1]), &y)?;
    say!("test: R2 {explained:.3}, mean absolute error {error:.1}; with the training rows' mean as the prediction {guess:.1}");
    let few = 5.min(test.len());
    let first = |values: &Tensor| values.narrow(0, 0, few).to_vec::<f32>();
    say!("predicted {:.0?}, true {:.0?}", first(&prediction)?, first(&y)?);
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
