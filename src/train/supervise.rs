//! Training that survives the loss of its device.

use super::Checkpoint;
use crate::data::{DataLoader, Dataset};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::rng::Generator;
use std::path::PathBuf;
use std::time::Duration;

/// The note with a checkpoint's number of steps.
const STEPS: &str = "supervise.steps";

/// The longest pause before a device is opened again.
const LONGEST: Duration = Duration::from_secs(60);

/// How [`supervise`] keeps checkpoints and starts again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperviseConfig {
    /// A checkpoint is kept after this many steps; what was done since the last one is done again after a loss. Each takes a copy of
    /// the model and the optimizer to host memory, which waits for the device. Defaults to 100.
    pub every: usize,
    /// Where each checkpoint is written, besides host memory. If the file is there at the start, the run goes on from it: so a
    /// process that ended can start again, too. Defaults to `None`.
    pub path: Option<PathBuf>,
    /// How often in a row it starts again without having kept a new checkpoint in between; then it returns the last loss. Defaults
    /// to 3.
    pub restarts: usize,
    /// How long it waits before it opens a device again: a driver takes its time to come back. Doubles with each start in vain, up
    /// to a minute. Defaults to one second.
    pub pause: Duration,
}

impl Default for SuperviseConfig {
    fn default() -> Self {
        Self { every: 100, path: None, restarts: 3, pause: Duration::from_secs(1) }
    }
}

/// All that a run needs to go on where a checkpoint was made, bit for bit.
///
/// [`Training`] is the usual one, and a model with its optimizer, `(M, O)`, the least. A run with more, such as averaged weights,
/// implements it like this:
///
/// ```
/// use wgrad::data::VecDataset;
/// use wgrad::nn::Sequential;
/// use wgrad::optim::{Adam, Ema};
/// use wgrad::train::{Checkpoint, Resume, Training};
///
/// struct Run {
///     training: Training<Sequential, Adam, VecDataset<([f32; 2], i32)>>,
///     ema: Ema,
/// }
///
/// impl Resume for Run {
///     fn capture(&self) -> wgrad::Result<Checkpoint> {
///         Ok(self.training.capture()?.with_state("ema", self.ema.state_dict()?))
///     }
///     fn restore(&mut self, checkpoint: &Checkpoint) -> wgrad::Result<()> {
///         self.training.restore(checkpoint)?;
///         self.ema.load_state_dict(&checkpoint.state("ema")?).map(drop)
///     }
/// }
/// ```
pub trait Resume {
    /// Copies everything that changes from step to step to host memory. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    fn capture(&self) -> Result<Checkpoint>;

    /// Puts a run that was just built into the state that was captured.
    ///
    /// # Errors
    /// The checkpoint belongs to something else; the device is out of memory or lost.
    #[track_caller]
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()>;
}

impl<M: Module, O: Optimizer> Resume for (M, O) {
    fn capture(&self) -> Result<Checkpoint> {
        Checkpoint::capture(&self.0, &self.1)
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.restore(&self.0, &mut self.1).map(drop)
    }
}

/// A model, its optimizer, its data, and the generator of its dropout and augmentation: what most runs are made of.
#[derive(Debug)]
pub struct Training<M, O, D: Dataset> {
    /// Parameters and buffers.
    pub model: M,
    /// With its moments, step counts and settings.
    pub optimizer: O,
    /// With its epoch and the batch that comes next.
    pub loader: DataLoader<D>,
    /// With the number of its draws: `init.generator.clone()`, which layers such as dropout share.
    pub generator: Generator,
}

impl<M: Module, O: Optimizer, D: Dataset> Resume for Training<M, O, D> {
    fn capture(&self) -> Result<Checkpoint> {
        Ok(Checkpoint::capture(&self.model, &self.optimizer)?
            .with_state("loader", self.loader.state_dict())
            .with("generator seed", self.generator.seed())
            .with("generator offset", self.generator.offset()))
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let (seed, offset): (u64, u64) = (checkpoint.note("generator seed")?, checkpoint.note("generator offset")?);
        if seed != self.generator.seed() {
            let reason = format!("the generator's seed is {}, and {seed} in the checkpoint", self.generator.seed());
            return Err(Error::argument("Training::restore", reason, "build the run with the same seed"));
        }
        let loader = checkpoint.state("loader")?;
        checkpoint.restore(&self.model, &mut self.optimizer)?;
        self.loader.load_state_dict(&loader)?;
        self.generator.set_offset(offset);
        Ok(())
    }
}

/// Counts a run's steps, and keeps its checkpoints.
#[derive(Debug)]
pub struct Keeper {
    config: SuperviseConfig,
    /// Whether there is anything to lose: not on the CPU device, unless files are wanted.
    keeps: bool,
    latest: Option<Checkpoint>,
    /// The steps of the latest checkpoint.
    kept: usize,
    steps: usize,
    restarts: usize,
    /// Starts since the latest checkpoint was kept.
    in_vain: usize,
}

impl Keeper {
    fn new(config: SuperviseConfig) -> Result<Self> {
        let mut keeper = Self { config, keeps: true, latest: None, kept: 0, steps: 0, restarts: 0, in_vain: 0 };
        if let Some(path) = keeper.config.path.as_ref().filter(|path| path.exists()) {
            let checkpoint = Checkpoint::load(path)?;
            keeper.kept = checkpoint.note(STEPS)?;
            log::info!(target: "wgrad::train", "going on from step {} of {}", keeper.kept, path.display());
            keeper.latest = Some(checkpoint);
        }
        Ok(keeper)
    }

    /// Steps so far, those before a restart included and those that have to be done again not.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How often the run has started again.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// Counts a step of the run, and keeps a checkpoint if one is due. Call it at the end of each step.
    ///
    /// # Errors
    /// As [`Keeper::keep`].
    #[track_caller]
    pub fn step(&mut self, run: &impl Resume) -> Result<()> {
        self.steps += 1;
        if self.steps - self.kept >= self.config.every.max(1) { self.keep(run) } else { Ok(()) }
    }

    /// Keeps a checkpoint now, such as at the end of an epoch. On the CPU device, which is never lost, this does nothing unless
    /// there is a path.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device; the file cannot be written. The checkpoint before stays in all these cases.
    #[track_caller]
    pub fn keep(&mut self, run: &impl Resume) -> Result<()> {
        if self.keeps {
            let checkpoint = run.capture()?.with(STEPS, self.steps);
            if let Some(path) = &self.config.path {
                checkpoint.save(path)?;
            }
            self.latest = Some(checkpoint);
        }
        if self.steps > self.kept {
            self.in_vain = 0;
        }
        self.kept = self.steps;
        Ok(())
    }

    /// Brings a run that was just built to where it goes on.
    fn resume(&mut self, run: &mut impl Resume) -> Result<()> {
        if let Some(checkpoint) = &self.latest {
            self.steps = self.kept;
            return run.restore(checkpoint);
        }
        (self.steps, self.kept) = (0, 0);
        self.keep(run)
    }

    /// Notes a loss, and waits before the next start; the loss, if there have been too many without progress.
    fn again(&mut self, loss: Error) -> Result<()> {
        let (at, kept, limit) = (self.steps, self.kept, self.config.restarts);
        if self.in_vain >= limit {
            log::error!(target: "wgrad::train", "giving up after {limit} starts without progress past step {kept}: {loss}");
            return Err(loss);
        }
        let pause = self.config.pause.saturating_mul(1 << self.in_vain.min(16)).min(LONGEST.max(self.config.pause));
        (self.restarts, self.in_vain) = (self.restarts + 1, self.in_vain + 1);
        let n = self.restarts;
        log::warn!(target: "wgrad::train", "restart {n}, from step {kept}, in {pause:?}: at step {at} {loss}");
        std::thread::sleep(pause);
        Ok(())
    }
}

/// Trains, and starts again from the last checkpoint whenever the device is lost or stalls, as many times as there is progress in
/// between: with the bits of a run that nothing has interrupted.
///
/// `device` opens a device: at the start, and after each loss ([`Device::best`] and its like open a lost one anew). `build` makes
/// on it whatever the run needs. `train` is the loop: it goes on from wherever the run stands, and calls [`Keeper::step`] after each
/// step. What it returns is returned here. Tensors that `train` keeps outside of the run belong to a device that may be gone: make
/// them in `build`.
///
/// On the CPU device it runs straight through. Each restart is logged as a warning, target `wgrad::train`.
///
/// ```
/// use wgrad::data::VecDataset;
/// use wgrad::nn::Dropout;
/// use wgrad::prelude::*;
/// use wgrad::train::{SuperviseConfig, Training, supervise};
///
/// # fn main() -> Result<()> {
/// let samples: Vec<_> = (0..32).map(|i| ([i as f32 / 32.0, 1.0], i32::from(i >= 16))).collect();
/// let build = |device: &Device| -> Result<_> {
///     let init = Init::new(device, 42);
///     let model = sequential![Linear::new(2, 16, &init)?, Relu, Dropout::new(0.1, &init)?, Linear::new(16, 2, &init)?];
///     let optimizer = Adam::new(&model.parameters()?, AdamConfig { lr: 0.01, ..AdamConfig::default() })?;
///     let loader = DataLoader::new(VecDataset(samples.clone()), 8, device)?.shuffle(true).seed(7);
///     Ok(Training { model, optimizer, loader, generator: init.generator })
/// };
/// let config = SuperviseConfig { every: 20, ..SuperviseConfig::default() };
/// let steps = supervise(config, Device::best, build, |run, keeper| {
///     while run.loader.position().0 < 3 {
///         for batch in &run.loader {
///             let (x, labels) = batch?;
///             let loss = run.model.forward(&x)?.cross_entropy(&labels);
///             run.optimizer.step(loss.backward()?)?;
///             keeper.step(run)?;
///         }
///     }
///     Ok(keeper.steps())
/// })?;
/// assert_eq!(steps, 12);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Any error but a loss, at once; a loss, after [`SuperviseConfig::restarts`] starts in a row without a new checkpoint. A file at
/// [`SuperviseConfig::path`] that is no checkpoint of this run.
#[track_caller]
pub fn supervise<R: Resume, T>(
    config: SuperviseConfig,
    mut device: impl FnMut() -> Result<Device>,
    mut build: impl FnMut(&Device) -> Result<R>,
    mut train: impl FnMut(&mut R, &mut Keeper) -> Result<T>,
) -> Result<T> {
    let mut keeper = Keeper::new(config)?;
    loop {
        let mut attempt = || {
            let device = device()?;
            keeper.keeps = keeper.config.path.is_some() || !device.is_cpu();
            let mut run = build(&device)?;
            keeper.resume(&mut run)?;
            train(&mut run, &mut keeper)
        };
        match attempt() {
            Err(loss) if loss.is_device_loss() => keeper.again(loss)?,
            // A driver that is not back yet.
            Err(gone @ (Error::DeviceUnavailable { .. } | Error::NoDevice { .. })) if keeper.restarts > 0 => {
                keeper.again(gone)?
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Init, Linear};
    use crate::optim::{Sgd, SgdConfig};
    use crate::tensor::Tensor;

    fn lost() -> Error {
        Error::DeviceLost { device: "a test's".into(), reason: "on purpose".into() }
    }

    fn build(device: &Device) -> Result<(Linear, Sgd)> {
        let model = Linear::new(2, 1, &Init::new(device, 3))?;
        let sgd = Sgd::new(&model.parameters()?, SgdConfig { momentum: 0.9, ..SgdConfig::default() })?;
        Ok((model, sgd))
    }

    fn one(run: &mut (Linear, Sgd)) -> Result<()> {
        let x = Tensor::ones([4, 2], &run.0.weight.tensor().device()?)?;
        run.1.step(run.0.forward(&x)?.square().sum().backward()?)
    }

    fn quick(every: usize) -> SuperviseConfig {
        SuperviseConfig { every, pause: Duration::ZERO, ..SuperviseConfig::default() }
    }

    #[test]
    fn starts_in_vain_are_limited_and_other_errors_end_a_run_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = |n: usize| SuperviseConfig { path: Some(folder.path().join(format!("{n}.safetensors"))), ..quick(2) };
        let mut starts = 0;
        let never: Result<()> = supervise(config(0), Device::cpu, build, |_, _| {
            starts += 1;
            Err(lost())
        });
        assert!(matches!(never, Err(Error::DeviceLost { .. })) && starts == 4, "{starts}");
        // A loss after each second step: seven restarts, and no two without a checkpoint in between.
        let (mut starts, mut done, mut struck) = (0, 0, Vec::new());
        let steps = supervise(config(1), Device::cpu, build, |run, keeper| {
            starts += 1;
            while keeper.steps() < 14 {
                one(run)?;
                done += 1;
                keeper.step(run)?;
                if keeper.steps() % 2 == 1 && !struck.contains(&keeper.steps()) {
                    struck.push(keeper.steps());
                    return Err(lost());
                }
            }
            Ok(keeper.steps())
        });
        assert_eq!((steps.unwrap(), starts, done), (14, 8, 21));
        let refused: Result<()> = supervise(quick(1), Device::cpu, build, |_, _| Err(Error::other("no")));
        assert!(matches!(refused, Err(Error::Other(_))));
        let unavailable = || Err(Error::NoDevice { wanted: "x".into(), reason: "y".into(), help: "z".into() });
        assert!(matches!(supervise(quick(1), unavailable, build, |_, _| Ok(())), Err(Error::NoDevice { .. })));
    }

    #[test]
    fn a_file_is_gone_on_from_and_a_wrong_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let config = || SuperviseConfig { path: Some(path.clone()), ..quick(5) };
        let run_to = |config: SuperviseConfig, end: usize| {
            supervise(config, Device::cpu, build, |run, keeper| {
                while keeper.steps() < end {
                    one(run)?;
                    keeper.step(run)?;
                }
                run.0.weight.tensor().to_vec::<f32>()
            })
        };
        let unbroken = run_to(quick(5), 12).unwrap();
        run_to(config(), 7).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap().note::<usize>(STEPS).unwrap(), 5);
        assert_eq!(run_to(config(), 12).unwrap(), unbroken);
        std::fs::write(&path, b"not a checkpoint").unwrap();
        assert!(matches!(run_to(config(), 12), Err(Error::Format { .. })));
    }
}
