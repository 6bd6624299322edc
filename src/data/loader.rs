//! Batches of a data set, shuffled reproducibly.

use super::collate::Inputs;
use super::dataset::{Batch, Dataset};
use super::transforms::Transform;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::io::StateDict;
use crate::rng::Generator;
use crate::sync::lock;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// A change of a batch on the device.
type Stage<B> = Arc<dyn Fn(B, &Generator) -> Result<B> + Send + Sync>;

/// Makes batches of a data set on a device, epoch by epoch, in an order that depends only on the seed and the epoch.
///
/// `for batch in &loader` is one epoch; the next such loop is the next epoch. [`DataLoader::epoch`] gives the batches of any epoch,
/// whatever came before. Both give `Result`s, since reading and uploading can fail.
///
/// ```
/// # use wgrad::data::{DataLoader, VecDataset};
/// # fn main() -> wgrad::Result<()> {
/// # let device = wgrad::Device::cpu()?;
/// let samples = (0..10u8).map(|i| ([f32::from(i), 1.0], i32::from(i % 3))).collect();
/// let loader = DataLoader::new(VecDataset(samples), 4, &device)?.shuffle(true).seed(7);
/// for epoch in 0..3 {
///     for batch in &loader {
///         let (x, labels) = batch?; // F32 [4, 2] and I32 [4]; in the last batch 2 samples
///         assert_eq!(x.dim(0)?, labels.dim(0)?);
///     }
/// }
/// assert_eq!((loader.len(), loader.position()), (3, (3, 0)));
/// # Ok(()) }
/// ```
///
/// [`DataLoader::state_dict`] records the epoch and the batch that comes next, even within a loop, so that a resumed run goes on
/// with that batch, bit for bit.
#[must_use = "a loader makes batches only when it is iterated over"]
pub struct DataLoader<D: Dataset> {
    dataset: D,
    device: Device,
    batch_size: usize,
    shuffle: bool,
    seed: u64,
    drop_last: bool,
    stages: Vec<Stage<Batch<D>>>,
    position: Mutex<Position>,
}

/// How far loops over a loader have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    epoch: usize,
    /// The batch that comes next.
    batch: usize,
    /// Whether the next loop goes on within the epoch, rather than beginning one.
    resumed: bool,
}

impl<D: Dataset> DataLoader<D> {
    /// Batches of `batch_size` samples in the order of `dataset`, which may be a reference; the last one may be smaller.
    ///
    /// # Errors
    /// `batch_size` is 0; more samples than `i32::MAX`, or so many that their order does not fit in memory.
    #[track_caller]
    pub fn new(dataset: D, batch_size: usize, device: &Device) -> Result<Self> {
        const NEW: &str = "DataLoader::new";
        if batch_size == 0 {
            return Err(Error::argument(NEW, "a batch of 0 samples was asked for", "use batches of at least 1"));
        }
        let len = dataset.len();
        if i32::try_from(len).is_err() {
            let reason = format!("an order of {len} samples is drawn at once");
            return Err(Error::argument(NEW, reason, "load at most i32::MAX samples, or parts of them with Subset"));
        }
        drop(reserved::<usize>("an order of samples", len)?);
        Ok(Self {
            dataset,
            device: device.clone(),
            batch_size,
            shuffle: false,
            seed: 0,
            drop_last: false,
            stages: Vec::new(),
            position: Mutex::default(),
        })
    }

    /// Whether to shuffle, anew in each epoch. Defaults to false.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// The seed of the order and of the transforms' draws. Defaults to 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether to leave out a last batch that is not full. Defaults to false.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Applies a transform to the inputs of each batch, on the device, after those that were added before. Its draws depend only
    /// on the seed, the epoch and the batch.
    pub fn with_transform(mut self, transform: impl Transform + 'static) -> Self
    where
        Batch<D>: Inputs,
    {
        self.stages
            .push(Arc::new(move |batch: Batch<D>, generator: &Generator| batch.map_inputs(|x| transform.apply(x, generator))));
        self
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }

    /// Batches in an epoch.
    pub fn len(&self) -> usize {
        let samples = self.dataset.len();
        if self.drop_last { samples / self.batch_size } else { samples.div_ceil(self.batch_size) }
    }

    /// Whether an epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Samples in the batches of an epoch.
    pub fn samples(&self) -> usize {
        if self.drop_last { self.len() * self.batch_size } else { self.dataset.len() }
    }

    /// The batches of an epoch: a function of only the seed and `epoch`, which changes nothing. Skipping some of them costs
    /// nothing.
    pub fn epoch(&self, epoch: usize) -> Batches<'_, D> {
        Batches { loader: self, order: self.order(epoch), epoch, next: 0, end: self.len(), tracked: false }
    }

    /// The next epoch, even if the loop before was left in the middle of one; after [`DataLoader::load_state_dict`] the rest of
    /// that epoch. `for batch in &loader` is the same.
    pub fn iter(&self) -> Batches<'_, D> {
        let at = {
            let mut at = lock(&self.position);
            if at.batch > 0 && !at.resumed {
                (at.epoch, at.batch) = (at.epoch.saturating_add(1), 0);
            }
            at.resumed = false;
            *at
        };
        Batches { next: at.batch.min(self.len()), tracked: true, ..self.epoch(at.epoch) }
    }

    /// The order of the samples in an epoch.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if self.shuffle {
            Generator::new(self.seed).fork("loader").shuffle(&mut order, epoch as u64);
        }
        order
    }

    /// The epoch and the batch, both from 0, that loops over `&loader` give next. After the last batch of epoch `e` that is
    /// `(e + 1, 0)`.
    pub fn position(&self) -> (usize, usize) {
        let at = lock(&self.position);
        (at.epoch, at.batch)
    }

    /// The position of loops over `&loader`, and the settings that it belongs to, for a checkpoint
    /// ([`Checkpoint::with_state`](crate::train::Checkpoint::with_state)).
    pub fn state_dict(&self) -> StateDict {
        let (epoch, batch) = self.position();
        let mut dict = StateDict::new();
        let mut note = |key: &str, value: String| dict.metadata.insert(format!("loader.{key}"), value);
        note("epoch", epoch.to_string());
        note("batch", batch.to_string());
        for (key, value) in self.settings() {
            note(key, value);
        }
        dict
    }

    /// What decides the order of an epoch's batches.
    fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("samples", self.dataset.len().to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("shuffle", self.shuffle.to_string()),
            ("seed", self.seed.to_string()),
            ("drop_last", self.drop_last.to_string()),
        ]
    }

    /// Puts the loader where the loader of [`DataLoader::state_dict`] was: the next loop over `&loader` goes on with its next
    /// batch.
    ///
    /// # Errors
    /// An entry is missing or damaged; the state is from the middle of an epoch, and the number of samples, the batch size, the
    /// seed or another setting is not the same. Nothing changes in that case.
    #[track_caller]
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<()> {
        const LOAD: &str = "DataLoader::load_state_dict";
        let (epoch, batch): (usize, usize) = (entry(dict, LOAD, "epoch")?, entry(dict, LOAD, "batch")?);
        if batch > 0 {
            for (key, own) in self.settings() {
                let theirs: String = entry(dict, LOAD, key)?;
                if theirs != own {
                    let reason = format!("{key} is {own}, and {theirs} in the state, which is from the middle of an epoch");
                    return Err(Error::argument(
                        LOAD,
                        reason,
                        "use the same data and settings, or a state from the beginning of an epoch",
                    ));
                }
            }
            if batch >= self.len() {
                let reason = format!("batch {batch} of {} comes next", self.len());
                return Err(Error::argument(LOAD, reason, "the file is damaged; use another checkpoint"));
            }
        }
        *lock(&self.position) = Position { epoch, batch, resumed: true };
        Ok(())
    }
}

/// An entry of a loader's state.
#[track_caller]
fn entry<T: FromStr>(dict: &StateDict, what: &str, key: &str) -> Result<T> {
    let key = format!("loader.{key}");
    let text = dict.metadata.get(&key);
    let Some(value) = text.and_then(|text| text.parse().ok()) else {
        let found = text.map_or("is missing".into(), |text| format!("is \"{text}\""));
        return Err(Error::argument(what, format!("{key} {found}"), "load what DataLoader::state_dict gave"));
    };
    Ok(value)
}

impl<D: Dataset + Clone> Clone for DataLoader<D> {
    fn clone(&self) -> Self {
        Self {
            dataset: self.dataset.clone(),
            device: self.device.clone(),
            stages: self.stages.clone(),
            position: Mutex::new(*lock(&self.position)),
            ..*self
        }
    }
}

impl<D: Dataset> fmt::Debug for DataLoader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("DataLoader");
        for (key, value) in self.settings() {
            f.field(key, &format_args!("{value}"));
        }
        f.field("device", &self.device).field("position", &self.position()).finish_non_exhaustive()
    }
}

impl<'a, D: Dataset> IntoIterator for &'a DataLoader<D> {
    type Item = Result<Batch<D>>;
    type IntoIter = Batches<'a, D>;

    /// As [`DataLoader::iter`].
    fn into_iter(self) -> Batches<'a, D> {
        self.iter()
    }
}

/// The batches of one epoch.
pub struct Batches<'a, D: Dataset> {
    loader: &'a DataLoader<D>,
    order: Vec<usize>,
    epoch: usize,
    /// Positions in batches.
    next: usize,
    end: usize,
    /// Whether the loader's position moves along.
    tracked: bool,
}

impl<D: Dataset> fmt::Debug for Batches<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("epoch", &self.epoch).field("next", &self.next).finish_non_exhaustive()
    }
}

impl<D: Dataset> Batches<'_, D> {
    /// Where the samples of the next batch are in the data set. There must be a next batch.
    fn indices(&self) -> &[usize] {
        let first = self.next * self.loader.batch_size;
        &self.order[first..first.saturating_add(self.loader.batch_size).min(self.order.len())]
    }

    /// The batch that comes next. There must be one.
    fn load(&self) -> Result<Batch<D>> {
        let loader = self.loader;
        let mut batch = loader.dataset.batch(self.indices(), &loader.device)?;
        if !loader.stages.is_empty() {
            let generator =
                Generator::new(loader.seed).fork(&format!("transforms of batch {} of epoch {}", self.next, self.epoch));
            for stage in &loader.stages {
                batch = stage(batch, &generator)?;
            }
        }
        Ok(batch)
    }
}

impl<D: Dataset> Iterator for Batches<'_, D> {
    type Item = Result<Batch<D>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let batch = self.load();
        self.next += 1;
        if self.tracked {
            let mut at = lock(&self.loader.position);
            // A later loop may have gone on to another epoch.
            if at.epoch == self.epoch {
                let next = if self.next < self.end { (self.epoch, self.next) } else { (self.epoch.saturating_add(1), 0) };
                (at.epoch, at.batch) = next;
            }
        }
        Some(batch)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.next = self.next.saturating_add(n).min(self.end);
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl<D: Dataset> ExactSizeIterator for Batches<'_, D> {}
