//! A run that stops, is written to a file and continues from it in another process is bit-identical to the run that never
//! stopped; so is a rerun from the same seed. Each row trains with one part more than the plainest run, or with all of them.

use crate::common::{Noise, device};
use crate::rows::{Make, ROWS};
use std::path::Path;
use wgrad::data::{DataLoader, Dataset};
use wgrad::nn::loss::{Reduction, mse};
use wgrad::nn::{BatchNorm1d, Dropout, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Ema, GradientAccumulator, LossScaler, LossScalerConfig, Optimizer, PlateauConfig, ReduceOnPlateau, Schedule};
use wgrad::train::{Checkpoint, EarlyStopping, EarlyStoppingConfig};
use wgrad::{Gradients, Result, Tensor};

const SAMPLES: usize = 18;
/// Two epochs of five batches, of which the last is small, and part of a third epoch.
const STEPS: usize = 12;

/// What a run has besides a model, an optimizer and a loader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Averages of the weights.
    Ema,
    /// The rate follows the loss.
    Plateau,
    /// The best weights are kept.
    Stopping,
    /// The loss is scaled, and some steps overflow.
    Scaler,
    /// Some losses are not finite.
    Skips,
    ClipByNorm,
    ClipByValue,
    /// Two batches per step.
    Accumulated,
    /// Noise on the inputs and dropout, from one generator.
    Random,
    /// Some parameters are frozen for a while, so their counts of steps differ.
    Freezing,
}

const ALL: &[Part] = &[
    Part::Ema,
    Part::Plateau,
    Part::Stopping,
    Part::Scaler,
    Part::Skips,
    Part::ClipByNorm,
    Part::ClipByValue,
    Part::Accumulated,
    Part::Random,
    Part::Freezing,
];

struct Row {
    name: String,
    make: Make,
    schedule: Option<Schedule>,
    parts: Vec<Part>,
    /// The steps after which the run stops.
    stops: Vec<usize>,
}

/// An optimizer from the table of all.
fn optimizer(name: &str) -> Make {
    ROWS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}")).make
}

fn rows() -> Vec<Row> {
    let row = |name: &str, make: &str| Row {
        name: name.into(),
        make: optimizer(make),
        schedule: None,
        parts: Vec::new(),
        stops: vec![7],
    };
    let mut rows = Vec::new();
    // Each optimizer, with all the state that it can have, and with other settings that determine its state.
    for name in [
        "sgd_default",
        "sgd_nesterov",
        "sgd_dampening",
        "adam_default",
        "adam_amsgrad",
        "adamw_default",
        "adamw_amsgrad",
        "rmsprop_default",
        "rmsprop_centered_momentum_l2",
        "adagrad_decay",
        "nadam_decoupled",
        "radam_other",
        "adamax_other",
        "adadelta_other",
        "lion_other",
        "lamb_other",
    ] {
        rows.push(row(name, name));
    }
    let step = || Schedule::Step { base: 0.05, every: 3, gamma: 0.5 };
    let schedules = [
        ("constant", Schedule::Constant { base: 0.03 }),
        ("step", step()),
        ("multi-step", Schedule::MultiStep { base: 0.05, milestones: vec![2, 8], gamma: 0.3 }),
        ("exponential", Schedule::Exponential { base: 0.05, gamma: 0.9 }),
        ("linear", Schedule::Linear { base: 0.05, start: 0.2, end: 1.0, steps: 9 }),
        ("polynomial", Schedule::Polynomial { base: 0.05, steps: 11, power: 1.5 }),
        ("cosine", Schedule::Cosine { base: 0.05, warmup: 3, total: 12, floor: 0.1 }),
        ("cosine with restarts", Schedule::CosineRestarts { base: 0.05, period: 2, growth: 2, floor: 0.1 }),
        ("one cycle", Schedule::one_cycle(0.05, 12)),
        ("warmup", Schedule::Warmup { steps: 9, then: Box::new(step()) }),
        ("joined", Schedule::Joined { parts: vec![(4, Schedule::Constant { base: 0.01 }), (3, step()), (1, step())] }),
    ];
    for (name, schedule) in schedules {
        rows.push(Row { schedule: Some(schedule), ..row(&format!("schedule: {name}"), "adam_default") });
    }
    let every: Vec<usize> = (1..STEPS).collect();
    rows.push(Row { stops: every.clone(), ..row("a stop after every step", "adamw_default") });
    let parts =
        ["averages", "plateau", "early stopping", "loss scaler", "skipped steps", "norm", "value", "sums", "random", "frozen"];
    for (name, &part) in parts.into_iter().zip(ALL) {
        rows.push(Row { parts: vec![part], stops: vec![4, 7, 10], ..row(&format!("part: {name}"), "adam_amsgrad") });
    }
    let cosine = Schedule::Cosine { base: 0.05, warmup: 3, total: 12, floor: 0.1 };
    for name in ["adamw_amsgrad", "lamb_other"] {
        let all = Row { schedule: Some(cosine.clone()), parts: ALL.to_vec(), stops: every.clone(), ..row("", name) };
        rows.push(Row { name: format!("all parts: {name}"), ..all });
    }
    rows
}

/// Inputs and targets, random but the same each time.
struct Points;

impl Dataset for Points {
    type Sample = ([f32; 3], [f32; 2]);
    fn len(&self) -> usize {
        SAMPLES
    }
    fn get(&self, index: usize) -> Result<Self::Sample> {
        let v: Vec<f32> = Noise(index as u64).values(5, -1.0, 1.0).into_iter().map(|v| v as f32).collect();
        Ok(([v[0], v[1], v[2]], [v[3], v[4]]))
    }
}

/// A run between two steps.
struct Run<'r> {
    row: &'r Row,
    init: Init,
    model: Sequential,
    optimizer: Box<dyn Optimizer>,
    ema: Ema,
    plateau: ReduceOnPlateau,
    stopping: EarlyStopping,
    scaler: LossScaler,
    loader: DataLoader<Points>,
    /// Steps taken, which determine epoch and batch.
    steps: usize,
}

impl<'r> Run<'r> {
    fn new(row: &'r Row, seed: u64) -> Result<Self> {
        let init = Init::new(device(), seed);
        let model = Sequential::new()
            .push_named("fc1", Linear::new(3, 8, &init)?)
            .push_named("bn", BatchNorm1d::new(8, &init)?)
            .push_named("relu", Relu)
            .push_named("dropout", Dropout::new(if row.has(Part::Random) { 0.3 } else { 0.0 }, &init)?)
            .push_named("fc2", Linear::new(8, 2, &init)?);
        let params = model.parameters()?;
        let plateau =
            PlateauConfig { patience: 0, factor: 0.5, threshold: wgrad::optim::Threshold::Absolute(0.5), ..Default::default() };
        let scaler = LossScalerConfig { growth_interval: 3, ..LossScalerConfig::default() };
        Ok(Self {
            row,
            optimizer: (row.make)(&params)?,
            ema: Ema::new(&params, 0.9)?,
            plateau: ReduceOnPlateau::new(0.04, plateau)?,
            stopping: EarlyStopping::new(EarlyStoppingConfig::default())?,
            scaler: LossScaler::new(device(), scaler)?,
            loader: DataLoader::new(Points, 4, device())?.shuffle(true).seed(seed),
            init,
            model,
            steps: 0,
        })
    }

    /// The loss of batch `at` of the run.
    fn loss(&self, at: usize) -> Result<Tensor> {
        let (epoch, batch) = (at / self.loader.len(), at % self.loader.len());
        let (mut x, y) = self.loader.epoch(epoch).nth(batch).expect("an epoch has so many batches")?;
        if self.row.has(Part::Random) {
            x += Tensor::rand(x.shape()?, &self.init.generator, device())? * 0.2;
        }
        mse(&self.model.forward(&x)?, &y, Reduction::Mean)
    }

    fn gradients(&mut self, loss: &Tensor) -> Result<Gradients> {
        let (row, t) = (self.row, self.steps);
        let mut loss = loss.clone();
        if row.has(Part::Skips) && [2, 6, 7].contains(&t) {
            loss *= if t == 6 { f64::NAN } else { f64::INFINITY };
        }
        if !row.has(Part::Scaler) {
            return loss.backward();
        }
        // Outside f32's range, once it is scaled.
        let loss = if [1, 5, 6, 9].contains(&t) { loss * 1e38 } else { loss };
        let mut gradients = self.scaler.scale(&loss).backward()?;
        self.scaler.unscale(&mut gradients)?;
        Ok(gradients)
    }

    fn step(&mut self) -> Result<()> {
        let (row, t) = (self.row, self.steps);
        let rate = row.schedule.as_ref().map(|schedule| schedule.lr(t));
        let rate = if row.has(Part::Plateau) { Some(rate.unwrap_or(1.0) * self.plateau.lr()) } else { rate };
        rate.into_iter().for_each(|rate| self.optimizer.set_lr(rate));
        if row.has(Part::Freezing) {
            let first = &self.model.parameters()?[0];
            if (3..6).contains(&t) { first.freeze() } else { first.unfreeze() }
        }
        let loss = self.loss(t)?;
        let mut gradients = self.gradients(&loss)?;
        if row.has(Part::Accumulated) {
            let mut sum = GradientAccumulator::new();
            sum.add(&gradients)?;
            let more = self.loss(t + 100)?;
            let more = self.gradients(&more)?;
            sum.add(&more)?;
            gradients = sum.mean()?;
        }
        if row.has(Part::Skips) {
            gradients.skip_non_finite()?;
        }
        if row.has(Part::ClipByValue) {
            gradients.clip_by_value(0.3)?;
        }
        if row.has(Part::ClipByNorm) {
            gradients.clip_by_norm(0.2)?;
        }
        self.optimizer.step(gradients)?;
        if row.has(Part::Scaler) {
            self.scaler.update()?;
        }
        if row.has(Part::Ema) {
            self.ema.update()?;
        }
        self.steps += 1;
        if self.steps.is_multiple_of(self.loader.len()) {
            let metric = loss.item()?;
            if row.has(Part::Plateau) {
                self.plateau.step(metric);
            }
            if row.has(Part::Stopping) {
                self.stopping.observe(metric, &self.model)?;
            }
        }
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<()> {
        Checkpoint::capture(&self.model, &*self.optimizer)?
            .with("steps", self.steps)
            .with("offset", self.init.generator.offset())
            .with_state("ema", self.ema.state_dict()?)
            .with_state("plateau", self.plateau.state_dict())
            .with_state("stopping", self.stopping.state_dict())
            .with_state("scaler", self.scaler.state_dict()?)
            .save(path)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        let checkpoint = Checkpoint::load(path)?;
        checkpoint.restore(&self.model, &mut *self.optimizer)?;
        self.ema.load_state_dict(&checkpoint.state("ema")?)?;
        self.plateau.load_state_dict(&checkpoint.state("plateau")?)?;
        self.stopping.load_state_dict(&checkpoint.state("stopping")?)?;
        self.scaler.load_state_dict(&checkpoint.state("scaler")?)?;
        self.init.generator.set_offset(checkpoint.note("offset")?);
        self.steps = checkpoint.note("steps")?;
        Ok(())
    }

    fn until(&mut self, steps: usize) -> Result<()> {
        while self.steps < steps {
            self.step()?;
        }
        Ok(())
    }
}

impl Row {
    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

/// Compares two files byte by byte; if they differ, says where.
fn equal(what: &str, a: &Path, b: &Path) {
    if std::fs::read(a).unwrap() == std::fs::read(b).unwrap() {
        return;
    }
    let [a, b] = [a, b].map(|path| wgrad::io::StateDict::load(path).unwrap());
    assert_eq!(a.metadata, b.metadata, "{what}");
    let differ = a.tensors.iter().filter(|(name, tensor)| b.tensors.get(*name).is_none_or(|other| other.data != tensor.data));
    let differ: Vec<&String> = differ.map(|(name, _)| name).collect();
    panic!("{what}: {differ:?} differ, or the sign of a zero does");
}

#[test]
fn a_resumed_run_and_a_rerun_are_the_run_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (rows, mut resumed) = (rows(), 0);
    for row in &rows {
        let mut whole = Run::new(row, 3).unwrap();
        let first = at("first");
        whole.save(&first).unwrap();
        for stop in 1..STEPS {
            whole.until(stop).unwrap();
            // A checkpoint is taken where the run is to stop, and leaves no trace in the run that continues.
            if row.stops.contains(&stop) {
                whole.save(&at(&format!("{stop}"))).unwrap();
            }
        }
        whole.until(STEPS).unwrap();
        let end = at("end");
        whole.save(&end).unwrap();
        assert_ne!(std::fs::read(&first).unwrap(), std::fs::read(&end).unwrap(), "{}: nothing was trained", row.name);

        let mut again = Run::new(row, 3).unwrap();
        again.until(STEPS).unwrap();
        again.save(&at("again")).unwrap();
        equal(&format!("{}, run again", row.name), &at("again"), &end);

        for &stop in &row.stops {
            // Whatever the new process did before has no effect.
            let mut run = Run::new(row, 3).unwrap();
            run.until(2).unwrap();
            run.load(&at(&format!("{stop}"))).unwrap();
            run.save(&at("loaded")).unwrap();
            equal(&format!("{}, loaded after {stop}", row.name), &at("loaded"), &at(&format!("{stop}")));
            run.until(STEPS).unwrap();
            run.save(&at("resumed")).unwrap();
            equal(&format!("{}, resumed after {stop}", row.name), &at("resumed"), &end);
            resumed += 1;
        }
    }
    println!("{} rows, {resumed} resumed runs", rows.len());
    assert!(rows.len() >= 38, "only {} rows", rows.len());
}

/// The rows have every kind of schedule, and every part occurs alone once.
#[test]
fn every_part_of_a_run_has_a_row() {
    let rows = rows();
    for part in ALL {
        assert!(rows.iter().any(|row| row.parts == [*part]));
    }
    let kinds: std::collections::HashSet<_> =
        rows.iter().filter_map(|r| r.schedule.as_ref()).map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 11);
    let mut optimizers: Vec<&str> = ROWS.iter().map(|row| row.optimizer).collect();
    optimizers.dedup();
    for optimizer in optimizers {
        assert!(rows.iter().any(|row| row.name.starts_with(optimizer)), "{optimizer} has no row");
    }
}
