//! Batches of indices, shuffled reproducibly.

use crate::error::{Error, Result};
use crate::host::reserved;
use crate::rng::Generator;
use std::sync::Arc;

/// Deals the indices of a data set out in batches, in an order that depends on the seed and the epoch alone.
///
/// ```
/// # use wgrad::data::Loader;
/// # fn main() -> wgrad::Result<()> {
/// let loader = Loader::new(10, 4, 7)?;
/// let sizes: Vec<usize> = loader.epoch(0).map(|batch| batch.len()).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// assert_eq!(loader.epoch(3).last(), loader.epoch(3).skip(2).next());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    len: usize,
    /// What is dealt out, if not `0..len`.
    samples: Option<Arc<[usize]>>,
    batch: usize,
    generator: Generator,
    shuffle: bool,
    drop_last: bool,
}

impl Loader {
    /// Shuffled batches of `batch` out of `0..len`; the last one may be smaller.
    ///
    /// # Errors
    /// `batch` is 0; more samples than `i32::MAX`, or than memory has room to order.
    pub fn new(len: usize, batch: usize, seed: u64) -> Result<Self> {
        if batch == 0 {
            return Err(Error::argument("Loader::new", "a batch of 0 samples was asked for", "use batches of at least 1"));
        }
        if i32::try_from(len).is_err() {
            let reason = format!("an order of {len} samples is drawn at once");
            return Err(Error::argument(
                "Loader::new",
                reason,
                "load at most i32::MAX samples, or parts of them by Loader::over",
            ));
        }
        drop(reserved::<usize>("an order of samples", len)?);
        let generator = Generator::new(seed).fork("loader");
        Ok(Self { len, samples: None, batch, generator, shuffle: true, drop_last: false })
    }

    /// Shuffled batches of `batch` out of the samples at `indices`, such as one part of a [`split`](super::split).
    ///
    /// ```
    /// # use wgrad::data::{Loader, split};
    /// # fn main() -> wgrad::Result<()> {
    /// let (train, validation) = split(10, 0.3, 7)?;
    /// let mut dealt: Vec<usize> = Loader::over(&train, 4, 0)?.epoch(0).flatten().collect();
    /// dealt.sort_unstable();
    /// assert_eq!(dealt, train);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `batch` is 0.
    pub fn over(indices: &[usize], batch: usize, seed: u64) -> Result<Self> {
        Ok(Self { samples: Some(indices.into()), ..Self::new(indices.len(), batch, seed)? })
    }

    /// Whether to shuffle. Defaults to true.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Whether to leave out a last batch that is not full. Defaults to false.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        if self.drop_last { self.len / self.batch } else { self.len.div_ceil(self.batch) }
    }

    /// Samples dealt out in an epoch.
    pub fn samples(&self) -> usize {
        if self.drop_last { self.batches() * self.batch } else { self.len }
    }

    /// The batches of an epoch. Skipping some of them, to resume in the middle, costs nothing.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        let mut order: Vec<usize> = (0..self.len).collect();
        if self.shuffle {
            self.generator.shuffle(&mut order, epoch);
        }
        if let Some(samples) = &self.samples {
            order.iter_mut().for_each(|i| *i = samples[*i]);
        }
        Epoch { order, batch: self.batch, next: 0, end: self.samples() }
    }
}

/// The batches of one epoch, as lists of indices.
#[derive(Debug, Clone)]
pub struct Epoch {
    order: Vec<usize>,
    batch: usize,
    next: usize,
    end: usize,
}

impl Iterator for Epoch {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let stop = self.end.min(self.next.saturating_add(self.batch));
        let batch = self.order.get(self.next..stop).filter(|b| !b.is_empty())?.to_vec();
        self.next = stop;
        Some(batch)
    }

    fn nth(&mut self, n: usize) -> Option<Vec<usize>> {
        self.next = self.next.saturating_add(n.saturating_mul(self.batch)).min(self.end);
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next).div_ceil(self.batch);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_the_set_once() {
        // len, batch, drop_last -> batches, samples
        let rows = [
            (10, 4, false, 3, 10),
            (10, 4, true, 2, 8),
            (8, 4, false, 2, 8),
            (3, 8, false, 1, 3),
            (3, 8, true, 0, 0),
            (0, 1, false, 0, 0),
        ];
        for (len, batch, drop_last, batches, samples) in rows {
            let loader = Loader::new(len, batch, 1).unwrap().drop_last(drop_last);
            assert_eq!((loader.batches(), loader.samples()), (batches, samples), "{len}/{batch}");
            assert_eq!(loader.epoch(0).len(), batches);
            let mut all: Vec<usize> = loader.epoch(0).flatten().collect();
            assert_eq!(all.len(), samples);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), samples, "an index came twice");
        }
        assert!(Loader::new(5, 0, 0).is_err());
        assert!(Loader::over(&[5], 0, 0).is_err());
    }

    #[test]
    fn given_samples_come_in_the_same_order_as_their_positions() {
        let samples: Vec<usize> = (0..23).map(|i| 7 * i + 3).collect();
        for (shuffle, drop_last) in [(true, false), (true, true), (false, false)] {
            let set = |loader: Loader| loader.shuffle(shuffle).drop_last(drop_last);
            let (given, plain) = (set(Loader::over(&samples, 5, 9).unwrap()), set(Loader::new(23, 5, 9).unwrap()));
            assert_eq!((given.batches(), given.samples()), (plain.batches(), plain.samples()));
            for (a, b) in given.epoch(4).zip(plain.epoch(4)) {
                assert_eq!(a, b.into_iter().map(|i| samples[i]).collect::<Vec<_>>());
            }
        }
        assert_eq!(Loader::over(&[], 5, 9).unwrap().epoch(0).len(), 0);
    }

    #[test]
    fn order_depends_on_seed_and_epoch_alone() {
        let order = |seed, epoch| Loader::new(50, 7, seed).unwrap().epoch(epoch).flatten().collect::<Vec<_>>();
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(1, 3));
        assert_ne!(order(1, 2), order(2, 2));
        let resumed: Vec<_> = Loader::new(50, 7, 1).unwrap().epoch(2).skip(3).flatten().collect();
        assert_eq!(resumed, order(1, 2)[21..]);
        let plain: Vec<_> = Loader::new(5, 2, 1).unwrap().shuffle(false).epoch(0).flatten().collect();
        assert_eq!(plain, [0, 1, 2, 3, 4]);
    }
}
