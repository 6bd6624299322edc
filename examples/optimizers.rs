//! Compares optimizers on one task: the same network, the same initial weights, the same batches.
//!
//! ```text
//! cargo run --release --example optimizers
//! cargo run --release --example optimizers -- --epochs 20 --lr adam=0.0003 --lr sgd=0.05
//! ```
//!
//! Learning rates stay constant, and only the optimizers differ. `target/optimizers/optimizers.svg` has the curves.
//!
//! At its defaults it prints, on the CPU device in 15 seconds on two cores:
//!
//! ```text
//! data: 4000 training and 1000 test images from data/mnist-5k
//!
//!                               mean training loss
//! optimizer          rate       epoch 1    epoch 2    epoch 5    epoch 10   test accuracy  time
//! SGD                0.2          1.1162     0.2118     0.0676     0.0120        97.40 %  4.3 s
//! SGD, momentum 0.9  0.05         1.1221     0.1861     0.0462     0.0139        97.60 %  4.5 s
//! AdaGrad            0.02         0.9619     0.1790     0.0679     0.0219        97.10 %  4.5 s
//! RMSprop            0.001        0.8266     0.1936     0.0742     0.0185        96.90 %  4.7 s
//! Adam               0.002        0.6990     0.1842     0.0436     0.0083        97.70 %  4.5 s
//!
//! lowest training loss: Adam
//! ```

use clap::Parser;
use common::{Outcome, finish, learning_rate, open_device, positive, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::data::{DataLoader, Mnist};
use wgrad::nn::loss::{Reduction, accuracy, cross_entropy};
use wgrad::nn::{Conv2d, ConvOptions, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential};
use wgrad::optim::{AdaGrad, AdaGradConfig, Adam, AdamConfig, Optimizer, RmsProp, RmsPropConfig, Sgd, SgdConfig};
use wgrad::train::{EpochRecord, History, Meter, Progress, evaluate};
use wgrad::{Device, Param, Result};

mod common;

/// Compare SGD, AdaGrad, RMSprop and Adam on MNIST's handwritten digits.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Directory with the four IDX files, plain or gzip
    #[arg(long, default_value = "data/mnist-5k")]
    data: PathBuf,
    /// Passes over the training set
    #[arg(long, default_value_t = 10, value_parser = positive)]
    epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Another learning rate for one optimizer, such as adam=0.003; may be given several times
    #[arg(long, value_name = "NAME=LR", value_parser = named_rate)]
    lr: Vec<(Rule, f64)>,
    /// Seed of weights and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights of the run with the lowest training loss go; the curves are written next to them
    #[arg(long, default_value = "target/optimizers/optimizers.safetensors")]
    save: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Sgd,
    Momentum,
    AdaGrad,
    RmsProp,
    Adam,
}

impl Rule {
    const ALL: [Self; 5] = [Self::Sgd, Self::Momentum, Self::AdaGrad, Self::RmsProp, Self::Adam];

    /// The name on the command line, the one in the table, and the learning rate: of three that were a factor of 2 to 3 apart,
    /// the one with the lowest training loss after ten epochs.
    fn about(self) -> (&'static str, &'static str, f64) {
        match self {
            Self::Sgd => ("sgd", "SGD", 0.2),
            Self::Momentum => ("momentum", "SGD, momentum 0.9", 0.05),
            Self::AdaGrad => ("adagrad", "AdaGrad", 0.02),
            Self::RmsProp => ("rmsprop", "RMSprop", 1e-3),
            Self::Adam => ("adam", "Adam", 2e-3),
        }
    }

    fn optimizer(self, lr: f64, params: &[Param]) -> Result<Box<dyn Optimizer>> {
        Ok(match self {
            Self::Sgd => Box::new(Sgd::new(params, SgdConfig { lr, ..SgdConfig::default() })?),
            Self::Momentum => Box::new(Sgd::new(params, SgdConfig { lr, momentum: 0.9, ..SgdConfig::default() })?),
            Self::AdaGrad => Box::new(AdaGrad::new(params, AdaGradConfig { lr, ..AdaGradConfig::default() })?),
            Self::RmsProp => Box::new(RmsProp::new(params, RmsPropConfig { lr, ..RmsPropConfig::default() })?),
            Self::Adam => Box::new(Adam::new(params, AdamConfig { lr, ..AdamConfig::default() })?),
        })
    }
}

fn named_rate(text: &str) -> std::result::Result<(Rule, f64), String> {
    let (name, lr) = text.split_once('=').ok_or("give a name and a rate, such as adam=0.003")?;
    let rule = Rule::ALL.into_iter().find(|r| r.about().0 == name).ok_or_else(|| {
        let names: Vec<&str> = Rule::ALL.iter().map(|r| r.about().0).collect();
        format!("there is no optimizer \"{name}\"; use one of {}", names.join(", "))
    })?;
    Ok((rule, learning_rate(lr)?))
}

/// Two convolutions with pooling, two linear layers; nothing in its forward pass is random, so that only the optimizers differ.
fn cnn([height, width]: [usize; 2], init: &Init) -> Result<Sequential> {
    let same = ConvOptions::default().padding(1);
    Ok(Sequential::new()
        .push_named("conv1", Conv2d::with(1, 16, 3, same, init)?)
        .push(Relu)
        .push(MaxPool2d::new(2))
        .push_named("conv2", Conv2d::with(16, 32, 3, same, init)?)
        .push(Relu)
        .push(MaxPool2d::new(2))
        .push(Flatten)
        .push_named("fc1", Linear::new(32 * (height / 4) * (width / 4), 128, init)?)
        .push(Relu)
        .push_named("fc2", Linear::new(128, Mnist::CLASSES, init)?))
}

/// Trains from the initial weights and in the batch order that the seed determines.
fn train(rule: Rule, lr: f64, mnist: &Mnist, device: &Device, options: &Options) -> Result<(History, Sequential)> {
    let net = cnn(mnist.train.size(), &Init::new(device, options.seed))?;
    let mut optimizer = rule.optimizer(lr, &net.parameters()?)?;
    let normalize = mnist.train.normalization(device)?;
    let loader = DataLoader::new(&mnist.train, options.batch, device)?.shuffle(true).seed(options.seed).drop_last(true);
    let loader = loader.with_transform(normalize.clone());
    let test = DataLoader::new(&mnist.test, 500, device)?.with_transform(normalize);
    let mut history = History::default();
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        let mut progress = Progress::new(format!("{} {epoch}/{}", rule.about().1, options.epochs), loader.len());
        let (mut loss, mut hits) = (Meter::new(), Meter::new());
        for batch in loader.epoch(epoch) {
            let (images, labels) = batch?;
            let n = labels.dim(0)?;
            let logits = net.forward(&images)?;
            let batch_loss = cross_entropy(&logits, &labels, Reduction::Mean)?;
            loss.push(&batch_loss, n as f64)?;
            hits.push(&accuracy(&logits, &labels)?, n as f64)?;
            optimizer.step(batch_loss.backward()?)?;
            progress.step(n, loss.recent());
        }
        progress.finish();
        let test = evaluate(&net, &test, Mnist::CLASSES)?;
        history.records.push(EpochRecord {
            epoch,
            train_loss: loss.mean()?,
            train_accuracy: hits.mean()?,
            test_loss: test.loss,
            test_accuracy: test.confusion.accuracy(),
            lr,
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    Ok((history, net))
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let mnist = Mnist::load(&options.data)?;
    if options.batch > mnist.train.len() {
        return Err(usage(format!(
            "--batch {} is more than the {} training images; use a smaller one",
            options.batch,
            mnist.train.len()
        )));
    }
    say!("data: {} training and {} test images from {}\n", mnist.train.len(), mnist.test.len(), options.data.display());

    // The table has the epochs 1, 2, 5, 10, 20, 50 ... and the last one.
    let mut shown: Vec<usize> =
        (0..19).flat_map(|p| [1, 2, 5].map(|m| m * 10usize.pow(p))).take_while(|&e| e < options.epochs).collect();
    shown.push(options.epochs);
    let heads: String = shown.iter().map(|e| format!("  epoch {e:<3}")).collect();
    say!("                              mean training loss");
    say!("optimizer          rate     {heads}  test accuracy  time");
    let mut runs: Vec<(Rule, History, Sequential)> = Vec::new();
    for rule in Rule::ALL {
        let (_, name, default) = rule.about();
        let lr = options.lr.iter().rev().find(|(r, _)| *r == rule).map_or(default, |(_, lr)| *lr);
        let (history, net) = train(rule, lr, &mnist, &device, options)?;
        let losses: String =
            shown.iter().filter_map(|e| history.records.get(e - 1)).map(|r| format!("  {:>9.4}", r.train_loss)).collect();
        let last = history.records.last().map_or(f64::NAN, |r| r.test_accuracy);
        let seconds: f64 = history.records.iter().map(|r| r.seconds).sum();
        say!("{name:<18} {lr:<8}{losses}  {:>11.2} %  {seconds:.1} s", 100.0 * last);
        runs.push((rule, history, net));
    }

    let curves = options.save.with_extension("svg");
    let lines: Vec<(&str, &History)> = runs.iter().map(|(rule, history, _)| (rule.about().1, history)).collect();
    History::compare("test", "Optimizers on MNIST", &lines).save(&curves)?;
    let loss = |history: &History| history.records.last().map_or(f64::NAN, |r| r.train_loss);
    if let Some((rule, _, net)) = runs.iter().min_by(|a, b| loss(&a.1).total_cmp(&loss(&b.1))) {
        net.save(&options.save)?;
        say!("\nlowest training loss: {}", rule.about().1);
    }
    say!("total time {:.1} s", start.elapsed().as_secs_f64());
    say!("weights: {}", options.save.display());
    say!("curves:  {}", curves.display());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
