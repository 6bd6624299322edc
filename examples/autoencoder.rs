//! Squeezes handwritten digits through 16 numbers and draws what comes back: a convolutional autoencoder, compared with the
//! best linear map (PCA), and the path from one digit to another through the codes between them.
//!
//! ```text
//! cargo run --release --example autoencoder
//! cargo run --release --example autoencoder -- --latent 2 --save target/autoencoder/two.safetensors
//! ```
//!
//! At its defaults it prints, on the CPU device after 14 seconds of processor time:
//!
//! ```text
//! data: 4000 training and 1000 test images of 28x28
//! code: 16 numbers for 784 pixels
//! epoch   1/30  train 0.09901  test 0.05868
//! ...
//! epoch  30/30  train 0.01090  test 0.01317
//!
//! mean squared error of the test images: 0.01317; with 16 principal components 0.02723
//! ```
//!
//! and writes two pictures next to the weights: `digits.png`, test digits above their reconstructions by the autoencoder and by
//! PCA, and `between.png`, where each row turns one digit into another.

use clap::Parser;
use common::grid::Grid;
use common::{Outcome, above_zero, finish, open_device, positive, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::data::{DataLoader, Dataset, LabelledImages, Mnist};
use wgrad::nn::loss::{Reduction, mse};
use wgrad::nn::{Conv2d, ConvOptions, ConvTranspose2d, Init, Linear, Module, fields};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Schedule};
use wgrad::train::{Meter, Progress};
use wgrad::{ConvTransposeOptions, Device, Error, Generator, Tensor, no_grad};

mod common;

/// Examples of each digit in the first picture.
const EXAMPLES: usize = 2;
/// Rows of the second picture.
const PAIRS: usize = 8;
/// Images from one digit to another, including both ends.
const STEPS: usize = 10;

/// Squeeze handwritten digits through a few numbers, and look at what comes back.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Directory with the four IDX files, plain or gzip
    #[arg(long, default_value = "data/mnist-5k")]
    data: PathBuf,
    /// Passes over the training set
    #[arg(long, default_value_t = 30, value_parser = positive)]
    epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Numbers that encode an image
    #[arg(long, default_value_t = 16, value_parser = positive)]
    latent: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 6e-3, value_parser = above_zero)]
    lr: f64,
    /// Seed of weights and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights go; the pictures are written next to them
    #[arg(long, default_value = "target/autoencoder/autoencoder.safetensors")]
    save: PathBuf,
}

/// Two convolutions that halve height and width, a linear layer to the code, and the same in reverse.
struct Autoencoder {
    conv1: Conv2d,
    conv2: Conv2d,
    to_code: Linear,
    from_code: Linear,
    up1: ConvTranspose2d,
    up2: ConvTranspose2d,
    /// Channels, height and width after the convolutions.
    inner: [usize; 3],
}

impl Autoencoder {
    /// For images whose height and width are multiples of 4.
    fn new([height, width]: [usize; 2], latent: usize, init: &Init) -> Result<Self, Error> {
        let halve = ConvOptions::default().stride(2).padding(1);
        let double = ConvTransposeOptions::default().stride(2).padding(1);
        let inner = [32, height / 4, width / 4];
        let features = inner.iter().product();
        Ok(Self {
            conv1: Conv2d::with(1, 16, 3, halve, init)?,
            conv2: Conv2d::with(16, 32, 3, halve, init)?,
            to_code: Linear::new(features, latent, init)?,
            from_code: Linear::new(latent, features, init)?,
            up1: ConvTranspose2d::with(32, 16, 4, double, init)?,
            up2: ConvTranspose2d::with(16, 1, 4, double, init)?,
            inner,
        })
    }

    /// `[n, 1, h, w]` to codes `[n, latent]`.
    fn encode(&self, x: &Tensor) -> Result<Tensor, Error> {
        let x = self.conv1.forward(x)?.relu();
        let x = self.conv2.forward(&x)?.relu();
        self.to_code.forward(&x.flatten(1, -1))
    }

    /// Codes `[n, latent]` to `[n, 1, h, w]`: about 0..1, but not forced into it, since a sigmoid's gradient vanishes on black.
    fn decode(&self, code: &Tensor) -> Result<Tensor, Error> {
        let [channels, height, width] = self.inner;
        let x = self.from_code.forward(code)?.relu().reshape([code.shape()?[0], channels, height, width]);
        let x = self.up1.forward(&x)?.relu();
        self.up2.forward(&x)
    }
}

impl Module for Autoencoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.decode(&self.encode(x)?)
    }
    fields!(conv1, conv2, to_code, from_code, up1, up2; skip inner);
}

/// Principal components: the best that a linear map to as few numbers and back can achieve.
struct Pca {
    /// `[d]`.
    mean: Tensor,
    /// Orthonormal rows `[k, d]`.
    components: Tensor,
}

impl Pca {
    /// The first `k` components of rows `[n, d]`, by subspace iteration: the components are multiplied by the covariance, which
    /// makes those along large variances grow, and made orthonormal again.
    fn fit(rows: &Tensor, k: usize, seed: u64) -> Result<Self, Error> {
        let [n, d] = rows.dims::<2>()?;
        let mean = rows.mean_dim(0);
        let centred = rows - &mean;
        let covariance = centred.t().matmul(&centred) / n as f64;
        covariance.eval()?;
        let mut components = Tensor::randn([k.min(d), d], &Generator::new(seed).fork("pca"), &rows.device()?)?;
        for _ in 0..60 {
            components = orthonormal(&components.matmul(&covariance))?;
        }
        Ok(Self { mean, components })
    }

    /// Rows `[n, d]` after projection onto the components and back.
    fn reconstruct(&self, rows: &Tensor) -> Tensor {
        (rows - &self.mean).matmul(&self.components.t()).matmul(&self.components) + &self.mean
    }
}

/// Rows that span the same space, orthogonal to each other and of length 1, by the Gram-Schmidt method.
fn orthonormal(rows: &Tensor) -> Result<Tensor, Error> {
    let [k, d] = rows.dims::<2>()?;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(k);
    for row in rows.to_vec::<f32>()?.chunks(d) {
        let mut row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        for other in &done {
            let along = dot(&row, other);
            row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let length = dot(&row, &row).sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|x| *x /= length);
        done.push(row);
    }
    #[allow(clippy::cast_possible_truncation, reason = "components are at most 1")]
    let flat: Vec<f32> = done.into_iter().flatten().map(|x| x as f32).collect();
    Tensor::from_slice(&flat, [k, d], &rows.device()?)
}

/// The mean squared error of the pixels of a set, through `f`.
fn error_of(set: &LabelledImages, device: &Device, f: impl Fn(&Tensor) -> Result<Tensor, Error>) -> Result<f64, Error> {
    let mut error = Meter::new();
    for batch in &DataLoader::new(set, 500, device)? {
        let (x, _) = batch?;
        error.push(&no_grad(|| mse(&f(&x)?, &x, Reduction::Mean))?, x.dim(0)? as f64)?;
    }
    error.mean()
}

/// The indices of the first `n` images of each digit in a set, in `n` rounds of all digits.
#[allow(clippy::cast_possible_truncation, reason = "a few images")]
fn examples(set: &LabelledImages, n: usize) -> Vec<usize> {
    let of = |digit: usize| (0..set.len()).filter(move |&i| set.labels()[i] == digit as i32);
    let digits = 0..Mnist::CLASSES;
    (0..n).flat_map(|round| digits.clone().filter_map(move |digit| of(digit).nth(round))).collect()
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let mnist = Mnist::load(&options.data)?;
    let size = mnist.train.size();
    let [height, width] = size;
    if height % 4 != 0 || width % 4 != 0 {
        return Err(usage(format!("--data: the images are {height}x{width}; use images whose sides are multiples of 4")));
    }
    let loader = DataLoader::new(&mnist.train, options.batch, &device)?.shuffle(true).seed(options.seed).drop_last(true);
    let steps = loader.len();
    if steps == 0 {
        let images = mnist.train.len();
        return Err(usage(format!("--batch {} is more than the {images} training images; use a smaller one", options.batch)));
    }
    say!("data: {} training and {} test images of {height}x{width}", mnist.train.len(), mnist.test.len());
    let pixels = height * width;
    say!("code: {} numbers for {pixels} pixels", options.latent);

    let init = Init::new(&device, options.seed);
    let model = Autoencoder::new(size, options.latent, &init)?;
    let mut optimizer = Adam::new(&model.parameters()?, AdamConfig::default())?;
    let total = options.epochs * steps;
    let schedule = Schedule::Cosine { base: options.lr, warmup: (total / 20).min(steps), total, floor: 0.01 };
    for epoch in 0..options.epochs {
        let mut progress = Progress::new(format!("epoch {}/{}", epoch + 1, options.epochs), steps).unit("images");
        let mut loss = Meter::new();
        for (step, batch) in loader.epoch(epoch).enumerate() {
            let (x, _) = batch?;
            let n = x.dim(0)?;
            let batch_loss = mse(&model.forward(&x)?, &x, Reduction::Mean)?;
            loss.push(&batch_loss, n as f64)?;
            optimizer.set_lr(schedule.lr(epoch * steps + step));
            optimizer.step(batch_loss.backward()?)?;
            progress.step(n, loss.recent());
        }
        progress.finish();
        say!(
            "epoch {:>3}/{}  train {:.5}  test {:.5}  {:.1} s",
            epoch + 1,
            options.epochs,
            loss.mean()?,
            error_of(&mnist.test, &device, |x| model.forward(x))?,
            start.elapsed().as_secs_f64()
        );
    }

    let all: Vec<usize> = (0..mnist.train.len()).collect();
    let rows = mnist.train.batch(&all, &device)?.0.flatten(1, -1);
    let pca = Pca::fit(&rows, options.latent, options.seed)?;
    let linear = |x: &Tensor| Ok(pca.reconstruct(&x.flatten(1, -1)).reshape(x.shape()?));
    let (own, other) = (error_of(&mnist.test, &device, |x| model.forward(x))?, error_of(&mnist.test, &device, linear)?);
    say!("\nmean squared error of the test images: {own:.5}; with {} principal components {other:.5}", options.latent);

    // Three rows for each round of the ten digits.
    let mut digits = Grid::new(size, Mnist::CLASSES, 3);
    let chosen = examples(&mnist.test, EXAMPLES);
    for round in chosen.chunks(Mnist::CLASSES) {
        let (x, _) = mnist.test.batch(round, &device)?;
        for images in [x.clone(), no_grad(|| model.forward(&x))?, linear(&x)?] {
            digits.extend(&images)?;
        }
    }
    // One row per pair: the first digit, the path from its code to the other's, the other digit.
    let mut between = Grid::new(size, STEPS + 2, 1);
    let labels = mnist.test.labels();
    let order = Generator::new(options.seed).fork("pairs").permutation(labels.len(), 0)?;
    let differ = |pair: &&[usize]| labels[pair[0]] != labels[pair[1]];
    for pair in order.chunks_exact(2).filter(differ).take(PAIRS) {
        let (x, _) = mnist.test.batch(pair, &device)?;
        let share = Tensor::arange(0.0, STEPS as f64, 1.0, &device)?.unsqueeze(1) / (STEPS - 1) as f64;
        let images = no_grad(|| {
            let codes = model.encode(&x)?;
            let (from, to) = (codes.slice(0, 0, 1), codes.slice(0, 1, 2));
            model.decode(&(&from + share * (&to - &from)))
        })?;
        for images in [x.slice(0, 0, 1), images, x.slice(0, 1, 2)] {
            between.extend(&images)?;
        }
    }
    model.save(&options.save)?;
    let beside = |name: &str| options.save.with_file_name(name);
    let pictures = [(beside("digits.png"), &digits), (beside("between.png"), &between)];
    for (path, grid) in &pictures {
        grid.save(path)?;
    }
    say!("weights: {}", options.save.display());
    say!("{}: test digits, and how the autoencoder and PCA reconstruct them", pictures[0].0.display());
    say!("{}: from one digit to another through the codes between them", pictures[1].0.display());
    say!("total time {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
