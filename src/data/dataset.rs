//! What a data set is, parts of one, and sets that are made from one sample by sample.

use super::collate::Collate;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Samples by position: what a [`DataLoader`](super::DataLoader) makes batches of.
///
/// A sample is a number, an array, a vector, a [`HostTensor`](crate::io::HostTensor), a tensor, or a tuple of these, such as an
/// input and its label; [`Collate`] says what a batch of them is. `&D`, `Arc<D>` and `Box<D>` of a data set are data sets. Sets are
/// `Send + Sync`, and samples `Send`: several threads may read one set.
///
/// ```
/// use wgrad::data::{DataLoader, Dataset};
/// use wgrad::{Device, Result};
///
/// /// The numbers up to `n`, labelled by whether they are even.
/// struct Numbers(usize);
///
/// impl Dataset for Numbers {
///     type Sample = ([f32; 1], i32);
///     fn len(&self) -> usize {
///         self.0
///     }
///     fn get(&self, index: usize) -> Result<Self::Sample> {
///         Ok(([index as f32], i32::from(index % 2 == 0)))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let loader = DataLoader::new(Numbers(10), 4, &Device::cpu()?)?;
/// let sizes = loader.epoch(0).map(|batch| batch?.0.dim(0)).collect::<Result<Vec<usize>>>()?;
/// assert_eq!(sizes, [4, 4, 2]);
/// # Ok(()) }
/// ```
pub trait Dataset: Send + Sync {
    /// What [`Dataset::get`] gives.
    type Sample: Collate;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at a position of `0..len()`.
    ///
    /// # Errors
    /// `index` is out of range; the sample cannot be read.
    #[track_caller]
    fn get(&self, index: usize) -> Result<Self::Sample>;

    /// The samples at `indices` as one batch on a device. By default this calls [`Dataset::get`] for each and then
    /// [`Collate::collate`]; sets whose samples are contiguous copy them straight into the batch instead.
    ///
    /// # Errors
    /// As [`Dataset::get`]; samples do not fit each other; there are none; the device is out of memory.
    #[track_caller]
    fn batch(&self, indices: &[usize], device: &Device) -> Result<Batch<Self>> {
        let mut samples = reserved("a batch of samples", indices.len())?;
        for &index in indices {
            samples.push(self.get(index)?);
        }
        Self::Sample::collate(samples, device)
    }

    /// The same samples changed by `f`, which runs on the host, for each sample when it is asked for.
    ///
    /// ```
    /// # use wgrad::data::{Dataset, VecDataset};
    /// # fn main() -> wgrad::Result<()> {
    /// let rows = VecDataset(vec![vec![1f32], vec![2.0, 3.0, 4.0]]);
    /// let padded = rows.map(|mut row| {
    ///     row.resize(3, 0.0);
    ///     Ok(row)
    /// });
    /// assert_eq!(padded.batch(&[0, 1], &wgrad::Device::cpu()?)?.shape()?, [2, 3]);
    /// # Ok(()) }
    /// ```
    fn map<S: Collate, F: Fn(Self::Sample) -> Result<S> + Send + Sync>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
    {
        Map { dataset: self, f }
    }
}

/// A batch of a data set: for pairs of a host tensor `[c, h, w]` and a label, `(Tensor, Tensor)` of `[n, c, h, w]` and `[n]`.
pub type Batch<D> = <<D as Dataset>::Sample as Collate>::Batch;

/// The error for a position outside a set; `position` is where it is in a list of them.
pub(super) fn outside(op: &'static str, index: usize, position: usize, len: usize, at: &'static Location<'static>) -> Error {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    Error::Index { op, index, position, len, help: "draw indices from 0..len()".into(), at }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            type Sample = D::Sample;

            fn len(&self) -> usize {
                (**self).len()
            }

            fn get(&self, index: usize) -> Result<D::Sample> {
                (**self).get(index)
            }

            fn batch(&self, indices: &[usize], device: &Device) -> Result<Batch<D>> {
                (**self).batch(indices, device)
            }
        }
    )*};
}
forward!(&D, Arc<D>, Box<D>);

/// Some samples of a data set, in any order.
///
/// ```
/// # use wgrad::data::{Dataset, Subset, VecDataset};
/// # fn main() -> wgrad::Result<()> {
/// let part = Subset::new(VecDataset(vec![10, 20, 30]), vec![2, 0])?;
/// assert_eq!((part.len(), part.get(0)?), (2, 30));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// The samples at `indices`, where one may occur several times. `dataset` may be a reference.
    ///
    /// # Errors
    /// An index is out of range.
    #[track_caller]
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Self> {
        let at = Location::caller();
        let len = dataset.len();
        match indices.iter().position(|&i| i >= len) {
            Some(position) => Err(outside("Subset::new", indices[position], position, len, at)),
            None => Ok(Self { dataset, indices }),
        }
    }

    /// Where the samples are in the whole set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The whole set.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Sample = D::Sample;

    fn len(&self) -> usize {
        self.indices.len()
    }

    #[track_caller]
    fn get(&self, index: usize) -> Result<D::Sample> {
        let at = Location::caller();
        let &at = self.indices.get(index).ok_or_else(|| outside("get", index, 0, self.indices.len(), at))?;
        self.dataset.get(at)
    }

    #[track_caller]
    fn batch(&self, indices: &[usize], device: &Device) -> Result<Batch<D>> {
        let at = Location::caller();
        let whole = |(position, &i): (usize, &usize)| {
            self.indices.get(i).copied().ok_or_else(|| outside("batch", i, position, self.indices.len(), at))
        };
        self.dataset.batch(&indices.iter().enumerate().map(whole).collect::<Result<Vec<_>>>()?, device)
    }
}

/// What [`Dataset::map`] makes.
#[derive(Clone)]
pub struct Map<D, F> {
    dataset: D,
    f: F,
}

impl<D: fmt::Debug, F> fmt::Debug for Map<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("dataset", &self.dataset).finish_non_exhaustive()
    }
}

impl<D: Dataset, S: Collate, F: Fn(D::Sample) -> Result<S> + Send + Sync> Dataset for Map<D, F> {
    type Sample = S;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize) -> Result<S> {
        (self.f)(self.dataset.get(index)?)
    }
}
