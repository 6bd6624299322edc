//! Makes up handwritten digits in two ways: with a variational autoencoder, and with a generator that learns to fool a
//! discriminator (a GAN).
//!
//! ```text
//! cargo run --release --example generate
//! cargo run --release --example generate -- --latent 2 --save target/generate/two.safetensors
//! ```
//!
//! It prints each epoch's losses, and at the end two distances for the images of each model, for test images and for randomly
//! scrambled pixels of digits: how far images are from the nearest training image, and from one another. The first says whether
//! they look like digits, the second whether they differ. A GAN that was trained for only a few epochs makes the same image
//! always.
//!
//! `generated.png`, next to the weights, shows test images, the autoencoder's images and the GAN's.

use clap::Parser;
use common::grid::Grid;
use common::{Outcome, finish, learning_rate, open_device, positive, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::data::transforms::Lambda;
use wgrad::data::{DataLoader, Dataset, LabelledImages, Mnist};
use wgrad::nn::loss::{Reduction, binary_cross_entropy_with_logits};
use wgrad::nn::models::Mlp;
use wgrad::nn::{Init, LeakyRelu, Linear, Module, Sequential, Sigmoid, evaluating, fields};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::train::{Meter, Progress};
use wgrad::{Device, Error, Generator, Result, Tensor, no_grad};

mod common;

/// Hidden units of each layer.
const HIDDEN: usize = 256;
/// Images of each kind in the picture, and images per row.
const SHOWN: usize = 48;
const COLUMNS: usize = 16;

/// Make up handwritten digits with a variational autoencoder and a GAN.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Directory with the four IDX files, plain or gzip
    #[arg(long, default_value = "data/mnist-5k")]
    data: PathBuf,
    /// Passes of the autoencoder over the training set
    #[arg(long, default_value_t = 30, value_parser = positive)]
    epochs: usize,
    /// Passes of the GAN over the training set
    #[arg(long, default_value_t = 60, value_parser = positive)]
    gan_epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Numbers that encode an image
    #[arg(long, default_value_t = 16, value_parser = positive)]
    latent: usize,
    /// Learning rate of the autoencoder
    #[arg(long, default_value_t = 2e-3, value_parser = learning_rate)]
    lr: f64,
    /// Learning rate of the GAN
    #[arg(long, default_value_t = 5e-4, value_parser = learning_rate)]
    gan_lr: f64,
    /// Seed of weights, batches and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the autoencoder's weights go; those of the GAN's generator and the picture are written next to them
    #[arg(long, default_value = "target/generate/vae.safetensors")]
    save: PathBuf,
}

/// A variational autoencoder: the encoder gives a normal distribution of codes for an image, the decoder the probability of ink
/// in each pixel.
///
/// Source: D. Kingma, M. Welling, "Auto-encoding variational Bayes", 2014.
struct Vae {
    hidden: Linear,
    mean: Linear,
    log_var: Linear,
    decoder: Mlp,
    latent: usize,
    noise: Generator,
}

impl Vae {
    fn new(pixels: usize, latent: usize, init: &Init) -> Result<Self> {
        Ok(Self {
            hidden: Linear::new(pixels, HIDDEN, init)?,
            mean: Linear::new(HIDDEN, latent, init)?,
            log_var: Linear::new(HIDDEN, latent, init)?,
            decoder: Mlp::new(&[latent, HIDDEN, pixels], init)?,
            latent,
            noise: init.generator.fork("codes"),
        })
    }

    /// Images `[n, pixels]` from codes drawn from the standard normal distribution.
    fn sample(&self, n: usize, device: &Device) -> Result<Tensor> {
        Ok(self.decoder.forward(&Tensor::randn([n, self.latent], &self.noise, device)?)?.sigmoid())
    }
}

impl Module for Vae {
    /// The negative evidence lower bound of images `[n, pixels]`, in nats per image: the reconstruction error, and how far the
    /// codes' distributions, N(m, v), are from the standard normal one, `-½ Σ (1 + ln v - m² - v)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.hidden.forward(x)?.relu();
        let (mean, log_var) = (self.mean.forward(&h)?, self.log_var.forward(&h)?);
        let code = &mean + (0.5 * &log_var).exp() * mean.randn_like(&self.noise);
        let missed = binary_cross_entropy_with_logits(&self.decoder.forward(&code)?, x, None, Reduction::Sum)?;
        let divergence = -0.5 * (1 + &log_var - mean.square() - log_var.exp()).sum();
        Ok((missed + divergence) / x.dim(0)?)
    }
    fields!(hidden, mean, log_var, decoder, latent, noise);
}

/// A generator and a discriminator that learn against each other.
///
/// Source: I. Goodfellow et al., "Generative adversarial nets", 2014.
struct Gan {
    generator: Sequential,
    discriminator: Sequential,
    latent: usize,
    noise: Generator,
}

impl Gan {
    fn new(pixels: usize, latent: usize, init: &Init) -> Result<Self> {
        let generator = Sequential::new().push(Mlp::new(&[latent, HIDDEN, HIDDEN, pixels], init)?).push(Sigmoid);
        let discriminator = Sequential::new()
            .push(Linear::new(pixels, HIDDEN, init)?)
            .push(LeakyRelu::new(0.2))
            .push(Linear::new(HIDDEN, HIDDEN, init)?)
            .push(LeakyRelu::new(0.2))
            .push(Linear::new(HIDDEN, 1, init)?);
        Ok(Self { generator, discriminator, latent, noise: init.generator.fork("made-up images") })
    }

    fn sample(&self, n: usize, device: &Device) -> Result<Tensor> {
        self.generator.forward(&Tensor::randn([n, self.latent], &self.noise, device)?)
    }

    /// The discriminator's loss if images should be judged real (1) or made up (0).
    fn misjudged(&self, x: &Tensor, real: f64) -> Result<Tensor> {
        let logits = self.discriminator.forward(x)?;
        binary_cross_entropy_with_logits(&logits, &logits.full_like(real), None, Reduction::Mean)
    }
}

/// Pixels of a whole set, `[n, pixels]`.
fn pixels(set: &LabelledImages, device: &Device) -> Result<Tensor> {
    Ok(set.batch(&(0..set.len()).collect::<Vec<_>>(), device)?.0.flatten(1, -1))
}

/// The mean over `images` of the distance to the nearest of `others`: `√(|a|² + |b|² - 2ab)`.
fn distance(images: &Tensor, others: &Tensor) -> Result<f64> {
    let squares = images.square().sum_keepdim(1) + others.square().sum_dim(1) - 2 * images.matmul(&others.t());
    squares.min_dim(1).relu().sqrt().mean().item()
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let mnist = Mnist::load(&options.data)?;
    let size = mnist.train.size();
    let (train, test) = (pixels(&mnist.train, &device)?, pixels(&mnist.test, &device)?);
    let loader = DataLoader::new(&mnist.train, options.batch, &device)?
        .shuffle(true)
        .seed(options.seed)
        .drop_last(true)
        .with_transform(Lambda(|x: &Tensor, _: &Generator| Ok(x.flatten(1, -1))));
    if loader.is_empty() {
        let images = mnist.train.len();
        return Err(usage(format!("--batch {} is more than the {images} training images; use a smaller one", options.batch)));
    }
    say!("data: {} training and {} test images from {}", mnist.train.len(), mnist.test.len(), options.data.display());

    let init = Init::new(&device, options.seed);
    let vae = Vae::new(train.dim(1)?, options.latent, &init)?;
    let mut optimizer = Adam::new(&vae.parameters()?, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
    for epoch in 1..=options.epochs {
        let mut progress = Progress::new(format!("VAE epoch {epoch}/{}", options.epochs), loader.len()).unit("images");
        let mut bound = Meter::new();
        for batch in &loader {
            let loss = vae.forward(&batch?.0)?;
            bound.push(&loss, 1.0)?;
            optimizer.step(loss.backward()?)?;
            progress.step(options.batch, bound.recent());
        }
        progress.finish();
        let unseen = evaluating(&vae, || vae.forward(&test))?.item()?;
        let seconds = start.elapsed().as_secs_f64();
        say!("VAE epoch {epoch:>3}/{}  train {:.2}  test {unseen:.2} nats  {seconds:.1} s", options.epochs, bound.mean()?);
    }

    let gan = Gan::new(train.dim(1)?, options.latent, &init)?;
    // Momentum of 0.5 instead of 0.9: each side's gradients change direction as the other learns.
    let config = AdamConfig { lr: options.gan_lr, betas: (0.5, 0.999), ..AdamConfig::default() };
    let mut generator = Adam::new(&gan.generator.parameters()?, config)?;
    let mut discriminator = Adam::new(&gan.discriminator.parameters()?, config)?;
    for epoch in 1..=options.gan_epochs {
        let mut progress = Progress::new(format!("GAN epoch {epoch}/{}", options.gan_epochs), loader.len()).unit("images");
        let (mut judge, mut maker) = (Meter::new(), Meter::new());
        for batch in &loader {
            let made = gan.sample(options.batch, &device)?;
            let loss = gan.misjudged(&batch?.0, 1.0)? + gan.misjudged(&made.detach(), 0.0)?;
            discriminator.step(loss.backward()?)?;
            judge.push(&loss, 1.0)?;
            // The updated discriminator says how the images should have been.
            let loss = gan.misjudged(&made, 1.0)?;
            generator.step(loss.backward()?)?;
            maker.push(&loss, 1.0)?;
            progress.step(options.batch, maker.recent());
        }
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        let (judge, maker) = (judge.mean()?, maker.mean()?);
        say!("GAN epoch {epoch:>3}/{}  discriminator {judge:.3}  generator {maker:.3}  {seconds:.1} s", options.gan_epochs);
    }

    let n = test.dim(0)?;
    let (drawn, invented) = no_grad(|| Ok::<_, Error>((vae.sample(n, &device)?, gan.sample(n, &device)?)))?;
    // Each pixel comes from a random training image: each has the right distribution of ink, but they form no digit.
    let index =
        Tensor::randint([n, train.dim(1)?], 0, i32::try_from(mnist.train.len()).unwrap_or(i32::MAX), &init.generator, &device)?;
    let scrambled = train.gather(0, &index);
    // Images unlike any digit are far from all training images; those of a model that always makes one image are near each other.
    say!("\nmean distance to    the nearest training image   another of its kind");
    for (name, images) in [("test images", &test), ("VAE", &drawn), ("GAN", &invented), ("scrambled pixels", &scrambled)] {
        let apart = (images - images.roll(1, 0)).norm_dim(2.0, 1).mean().item()?;
        say!("{name:<16}    {:>26.2}   {apart:>19.2}", distance(images, &train)?);
    }

    let mut grid = Grid::new(size, COLUMNS, SHOWN / COLUMNS);
    for images in [&test, &drawn, &invented] {
        grid.extend(&images.slice(0, 0, SHOWN as isize).reshape([SHOWN.min(n), size[0], size[1]]))?;
    }
    let beside = |name: &str| options.save.with_file_name(name);
    vae.save(&options.save)?;
    gan.generator.save(beside("generator.safetensors"))?;
    grid.save(&beside("generated.png"))?;
    say!("weights: {} and {}", options.save.display(), beside("generator.safetensors").display());
    say!("{}: test images, images of the VAE, images of the GAN", beside("generated.png").display());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
