//! Overfits on few images on purpose, and shows what helps: the same network from the same initial weights without a remedy, with
//! dropout, weight decay or augmentation, and with all three.
//!
//! ```text
//! cargo run --release --example overfit
//! cargo run --release --example overfit -- --images 200 --weight-decay 5
//! ```
//!
//! Training goes on after the network has memorised every image, so that the curves in `target/overfit/overfit.svg` show what
//! happens to the validation loss. Meanwhile `EarlyStopping` keeps the weights of its lowest point: stopping there is the fourth
//! remedy. Dropout and augmentation narrow the gap between training and test images; decay alone keeps the validation loss
//! down, but not the number of errors.
//!
//! At its defaults it prints, on the CPU device in half a minute on two cores:
//!
//! ```text
//! data: 500 training, 500 validation and 1000 test images from data/mnist-5k
//!
//!                     after  60 epochs                               best epoch by validation
//! remedies            train acc.  test acc.    gap  train loss  valid. loss     epoch  test acc.
//! none                  100.00 %    91.10 %   8.90      0.0004       0.3423        13    91.80 %
//! dropout               100.00 %    93.70 %   6.30      0.0005       0.1864        59    94.00 %
//! weight decay          100.00 %    90.90 %   9.10      0.0042       0.2509        16    91.10 %
//! augmentation          100.00 %    95.10 %   4.90      0.0044       0.1609        51    95.30 %
//! all                    99.80 %    96.40 %   3.40      0.0181       0.0847        58    96.20 %
//!
//! lowest validation loss: 0.0727, augmentation, epoch 51
//! ```

use clap::Parser;
use common::{Outcome, finish, learning_rate, open_device, positive, usage};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::data::transforms::{AffineConfig, Normalize, RandomAffine, Transform};
use wgrad::data::{DataLoader, LabelledImages, Mnist, draw_per_class};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{Conv2d, ConvOptions, Dropout, Init, Linear, Module, fields};
use wgrad::optim::{AdamW, AdamWConfig, Optimizer, split_decay};
use wgrad::train::{EarlyStopping, EarlyStoppingConfig, EpochRecord, Evaluation, History, Progress, evaluate};
use wgrad::{Device, Result, Tensor};

mod common;

/// Overfit on few digits, and see how dropout, weight decay and augmentation help.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Directory with the four IDX files, plain or gzip
    #[arg(long, default_value = "data/mnist-5k")]
    data: PathBuf,
    /// Images to train on, equally many of each digit; as many others are for validation
    #[arg(long, default_value_t = 500, value_parser = positive)]
    images: usize,
    /// Passes over the training images
    #[arg(long, default_value_t = 60, value_parser = positive)]
    epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 50, value_parser = positive)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = learning_rate)]
    lr: f64,
    /// Probability of dropout before the last layer; half of it before the layer before that
    #[arg(long, default_value_t = 0.5, value_parser = probability)]
    dropout: f64,
    /// Decoupled weight decay
    #[arg(long, default_value_t = 1.0, value_parser = decay)]
    weight_decay: f64,
    /// Seed of weights, batches, the choice of images, augmentation and dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights of the run with the lowest validation loss go; the curves are written next to them
    #[arg(long, default_value = "target/overfit/overfit.safetensors")]
    save: PathBuf,
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        Ok(_) => Err("must be at least 0 and below 1, such as 0.5".into()),
        Err(error) => Err(format!("{error}")),
    }
}

fn decay(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(decay) if decay.is_finite() && decay >= 0.0 => Ok(decay),
        Ok(_) => Err("must be at least 0, such as 1".into()),
        Err(error) => Err(format!("{error}")),
    }
}

/// The remedies against overfitting that a run uses.
#[derive(Debug, Clone, Copy)]
struct Remedies {
    name: &'static str,
    dropout: bool,
    /// Decoupled, of weights but not of biases.
    weight_decay: bool,
    /// Images are shifted, rotated and scaled at random.
    augment: bool,
}

const RUNS: [Remedies; 5] = [
    Remedies { name: "none", dropout: false, weight_decay: false, augment: false },
    Remedies { name: "dropout", dropout: true, weight_decay: false, augment: false },
    Remedies { name: "weight decay", dropout: false, weight_decay: true, augment: false },
    Remedies { name: "augmentation", dropout: false, weight_decay: false, augment: true },
    Remedies { name: "all", dropout: true, weight_decay: true, augment: true },
];

/// Two convolutions with pooling, two linear layers; about 420,000 parameters, hundreds per image.
struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    dropout1: Dropout,
    fc1: Linear,
    dropout2: Dropout,
    fc2: Linear,
}

impl Cnn {
    fn new([height, width]: [usize; 2], dropout: f64, init: &Init) -> Result<Self> {
        let same = ConvOptions::default().padding(1);
        Ok(Self {
            conv1: Conv2d::with(1, 16, 3, same, init)?,
            conv2: Conv2d::with(16, 32, 3, same, init)?,
            dropout1: Dropout::new(dropout / 2.0, init)?,
            fc1: Linear::new(32 * (height / 4) * (width / 4), 256, init)?,
            dropout2: Dropout::new(dropout, init)?,
            fc2: Linear::new(256, Mnist::CLASSES, init)?,
        })
    }
}

impl Module for Cnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv1.forward(x)?.relu().max_pool2d(2);
        let x = self.conv2.forward(&x)?.relu().max_pool2d(2);
        let x = self.fc1.forward(&self.dropout1.forward(&x.flatten(1, -1))?)?.relu();
        self.fc2.forward(&self.dropout2.forward(&x)?)
    }
    fields!(conv1, conv2, dropout1, fc1, dropout2, fc2);
}

/// The three parts of the data, and how images are prepared for the network.
struct Task {
    device: Device,
    train: LabelledImages,
    validation: LabelledImages,
    test: LabelledImages,
    normalize: Normalize,
    augment: RandomAffine,
}

impl Task {
    fn load(options: &Options, device: &Device) -> Outcome<Self> {
        let mnist = Mnist::load(&options.data)?;
        if !options.images.is_multiple_of(Mnist::CLASSES) {
            return Err(usage(format!(
                "--images {} is not a multiple of {}; each digit needs equally many",
                options.images,
                Mnist::CLASSES
            )));
        }
        if options.images > mnist.train.len() / 2 {
            let (images, len) = (options.images, mnist.train.len());
            return Err(usage(format!("--images {images}, and as many for validation, are more than {len}; use fewer")));
        }
        let each = options.images / Mnist::CLASSES;
        let drawn = draw_per_class(mnist.train.labels(), 2 * each, options.seed)
            .map_err(|error| usage(format!("--images {} and as many for validation: {error}", options.images)))?;
        let both = mnist.train.subset(&drawn)?;
        let first = draw_per_class(both.labels(), each, options.seed)?;
        let rest: Vec<usize> = (0..both.len()).filter(|i| first.binary_search(i).is_err()).collect();
        let train = both.subset(&first)?;
        Ok(Self {
            normalize: train.normalization(device)?,
            augment: RandomAffine::new(AffineConfig::default(), train.size(), device)?,
            device: device.clone(),
            validation: both.subset(&rest)?,
            test: mnist.test,
            train,
        })
    }

    fn evaluate(&self, net: &Cnn, images: &LabelledImages) -> Result<Evaluation> {
        let loader = DataLoader::new(images, 500, &self.device)?.with_transform(self.normalize.clone());
        evaluate(net, &loader, Mnist::CLASSES)
    }
}

/// The result of a run.
struct Report {
    history: History,
    /// Accuracy on the test images after the last epoch.
    last: f64,
    /// The epoch with the lowest validation loss, that loss, and accuracy on the test images with its weights.
    best: (usize, f64, f64),
    /// With the best epoch's weights.
    net: Cnn,
}

/// Trains a network and keeps the weights of its best epoch.
fn train(remedies: Remedies, task: &Task, options: &Options) -> Result<Report> {
    // The weights are drawn first, so all runs begin with the same ones.
    let init = Init::new(&task.device, options.seed);
    let dropout = if remedies.dropout { options.dropout } else { 0.0 };
    let weight_decay = if remedies.weight_decay { options.weight_decay } else { 0.0 };
    let net = Cnn::new(task.train.size(), dropout, &init)?;
    let config = AdamWConfig { lr: options.lr, weight_decay, ..AdamWConfig::default() };
    let mut optimizer = AdamW::with_groups(split_decay(&net, config, AdamWConfig { weight_decay: 0.0, ..config })?)?;
    let loader = DataLoader::new(&task.train, options.batch, &task.device)?.shuffle(true).seed(options.seed);
    // Never stops training: the point is to see what happens when it goes on.
    let mut stopping = EarlyStopping::new(EarlyStoppingConfig { patience: options.epochs, ..EarlyStoppingConfig::default() })?;
    let mut history = History::default();
    let mut progress = Progress::new(remedies.name, options.epochs);
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        for batch in loader.epoch(epoch) {
            let (mut images, labels) = batch?;
            if remedies.augment {
                images = task.augment.apply(&images, &init.generator)?;
            }
            let loss = cross_entropy(&net.forward(&task.normalize.apply(&images, &init.generator)?)?, &labels, Reduction::Mean)?;
            optimizer.step(loss.backward()?)?;
        }
        // Both without dropout and augmentation, so that the two can be compared.
        let (train, validation) = (task.evaluate(&net, &task.train)?, task.evaluate(&net, &task.validation)?);
        stopping.observe(validation.loss, &net)?;
        history.records.push(EpochRecord {
            epoch,
            train_loss: train.loss,
            train_accuracy: train.confusion.accuracy(),
            test_loss: validation.loss,
            test_accuracy: validation.confusion.accuracy(),
            lr: options.lr,
            seconds: start.elapsed().as_secs_f64(),
        });
        progress.step(task.train.len(), Some(validation.loss));
    }
    progress.finish();
    let last = task.evaluate(&net, &task.test)?.confusion.accuracy();
    // There is no best epoch if every loss is NaN, as with a learning rate that is far too high.
    let (epoch, loss) = stopping.best().unwrap_or((options.epochs, f64::NAN));
    if stopping.best().is_some() {
        stopping.restore(&net)?;
    }
    let best = (epoch, loss, task.evaluate(&net, &task.test)?.confusion.accuracy());
    Ok(Report { history, last, best, net })
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let task = Task::load(options, &device)?;
    say!(
        "data: {} training, {} validation and {} test images from {}\n",
        task.train.len(),
        task.validation.len(),
        task.test.len(),
        options.data.display()
    );
    say!("                    after {:>3} epochs                               best epoch by validation", options.epochs);
    say!("remedies            train acc.  test acc.    gap  train loss  valid. loss     epoch  test acc.");
    let mut reports: Vec<Report> = Vec::new();
    for remedies in RUNS {
        let report = train(remedies, &task, options)?;
        let mut line = format!("{:<20}", remedies.name);
        if let Some(r) = report.history.records.last() {
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                "{:8.2} %  {:7.2} %  {:5.2}  {:10.4}  {:11.4}",
                100.0 * r.train_accuracy,
                100.0 * report.last,
                100.0 * (r.train_accuracy - report.last),
                r.train_loss,
                r.test_loss,
            );
        }
        say!("{line}  {:8}  {:7.2} %", report.best.0, 100.0 * report.best.2);
        reports.push(report);
    }

    let runs: Vec<(&str, &History)> = RUNS.iter().zip(&reports).map(|(r, report)| (r.name, &report.history)).collect();
    let curves = options.save.with_extension("svg");
    History::compare("validation", format!("{} digits, with and without remedies", task.train.len()), &runs).save(&curves)?;
    let best = RUNS.iter().zip(&reports).min_by(|a, b| a.1.best.1.total_cmp(&b.1.best.1));
    if let Some((remedies, report)) = best {
        report.net.save(&options.save)?;
        say!("\nlowest validation loss: {:.4}, {}, epoch {}", report.best.1, remedies.name, report.best.0);
    }
    say!("total time {:.1} s", start.elapsed().as_secs_f64());
    say!("weights: {}", options.save.display());
    say!("curves:  {}", curves.display());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
