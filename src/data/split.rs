//! Splits into parts, and few samples of each class.

use super::dataset::{Dataset, Subset};
use crate::error::{Error, Result};
use crate::rng::Generator;
use std::collections::BTreeMap;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for usize {}
}

/// How large a part of a split is: a share, as `f64`, or a number of samples, as `usize`.
pub trait Portion: Copy + sealed::Sealed {
    /// The parts' numbers of samples, which add up to `len`. Shares are rounded so that each boundary between two parts is as
    /// close as possible to its exact place.
    ///
    /// # Errors
    /// Shares do not add up to 1, or counts to `len`; a part has no samples.
    #[track_caller]
    fn counts(portions: &[Self], len: usize) -> Result<Vec<usize>>;
}

#[track_caller]
fn refuse(reason: String, help: &str) -> Error {
    Error::argument("split", reason, help)
}

/// Refuses a part without samples.
fn filled(counts: Vec<usize>, len: usize) -> Result<Vec<usize>> {
    match counts.iter().position(|&count| count == 0) {
        Some(part) => {
            let reason = format!("part {part} of {} gets none of {len} samples", counts.len());
            Err(refuse(reason, "give it a larger share, or split more samples"))
        }
        None => Ok(counts),
    }
}

impl Portion for f64 {
    fn counts(portions: &[f64], len: usize) -> Result<Vec<usize>> {
        let sum: f64 = portions.iter().sum();
        if !portions.iter().all(|p| (0.0..=1.0).contains(p)) || (sum - 1.0).abs() > 1e-6 {
            return Err(refuse(format!("the shares are {portions:?}"), "use shares that add up to 1, such as [0.8, 0.2]"));
        }
        let (mut share, mut start, mut counts) = (0.0, 0, Vec::with_capacity(portions.len()));
        for (i, portion) in portions.iter().enumerate() {
            share += portion;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to len")]
            let end = if i + 1 == portions.len() { len } else { ((share * len as f64).round() as usize).clamp(start, len) };
            counts.push(end - start);
            start = end;
        }
        filled(counts, len)
    }
}

impl Portion for usize {
    #[track_caller]
    fn counts(portions: &[usize], len: usize) -> Result<Vec<usize>> {
        if portions.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(len) {
            let reason = format!("the parts are {portions:?} of {len} samples");
            return Err(refuse(reason, "use counts that add up to the number of samples, or shares such as [0.8, 0.2]"));
        }
        filled(portions.to_vec(), len)
    }
}

/// Deals `0..len` out at random into parts, each ascending, whose sizes are shares that add up to 1 or counts that add up to
/// `len`. Depends only on the length, the sizes and the seed.
///
/// ```
/// let [train, validation, test] = wgrad::data::split(10, [0.6, 0.2, 0.2], 7)?;
/// assert_eq!((train.len(), validation.len(), test.len()), (6, 2, 2));
/// let [first, rest] = wgrad::data::split(10, [3, 7], 7)?;
/// assert!(first.len() == 3 && first.iter().all(|i| !rest.contains(i)));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// Shares do not add up to 1, or counts to `len`; a part gets no sample.
#[track_caller]
pub fn split<P: Portion, const N: usize>(len: usize, portions: [P; N], seed: u64) -> Result<[Vec<usize>; N]> {
    let counts = P::counts(&portions, len)?;
    let mut order = Generator::new(seed).fork("split").permutation(len, 0)?;
    let parts = counts.into_iter().map(|count| {
        let mut part: Vec<usize> = order.drain(..count).collect();
        part.sort_unstable();
        part
    });
    exactly(parts.collect())
}

/// [`split`] of samples with these labels, so that each part has its share of every class, give or take a sample.
///
/// ```
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2];
/// let [train, test] = wgrad::data::split_stratified(&labels, [2.0 / 3.0, 1.0 / 3.0], 0)?;
/// assert_eq!(test.iter().map(|&i| labels[i]).collect::<Vec<_>>(), [0, 0, 1, 2]);
/// # assert_eq!(train.len(), 8);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`split`].
#[track_caller]
pub fn split_stratified<P: Portion, const N: usize>(labels: &[i32], portions: [P; N], seed: u64) -> Result<[Vec<usize>; N]> {
    let len = labels.len();
    let counts = P::counts(&portions, len)?;
    let mut parts: Vec<Vec<usize>> = counts.iter().map(|&count| Vec::with_capacity(count)).collect();
    // Class after class, each sample goes to the part that is furthest behind its share of those dealt so far.
    for (dealt, i) in (1..).zip(by_class(labels, "split stratified", seed)?.into_values().flatten()) {
        let behind = |part: usize| counts[part] as i128 * dealt - parts[part].len() as i128 * len as i128;
        // Of several, the first.
        let furthest = (0..parts.len()).rev().max_by_key(|&part| behind(part));
        if let Some(part) = furthest {
            parts[part].push(i);
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    exactly(parts)
}

/// [`split`] of a data set: the parts as data sets. Each has a clone of `dataset`, so pass a large one as a reference or an
/// `Arc`.
///
/// ```
/// # use wgrad::data::{Dataset, VecDataset, random_split};
/// # fn main() -> wgrad::Result<()> {
/// let numbers = VecDataset((0..10).collect::<Vec<i32>>());
/// let [train, test] = random_split(&numbers, [0.8, 0.2], 7)?;
/// assert_eq!((train.len(), test.len()), (8, 2));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`split`].
#[track_caller]
pub fn random_split<D: Dataset + Clone, P: Portion, const N: usize>(
    dataset: D,
    portions: [P; N],
    seed: u64,
) -> Result<[Subset<D>; N]> {
    let parts = split(dataset.len(), portions, seed)?;
    exactly(parts.into_iter().map(|part| Subset::new(dataset.clone(), part)).collect::<Result<Vec<_>>>()?)
}

/// As many parts as were asked for.
fn exactly<T, const N: usize>(parts: Vec<T>) -> Result<[T; N]> {
    parts.try_into().map_err(|_| Error::internal("a split has a different number of parts than was asked for"))
}

/// The indices of each class, in a random order.
fn by_class(labels: &[i32], purpose: &str, seed: u64) -> Result<BTreeMap<i32, Vec<usize>>> {
    let mut classes: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for i in Generator::new(seed).fork(purpose).permutation(labels.len(), 0)? {
        classes.entry(labels[i]).or_default().push(i);
    }
    Ok(classes)
}

/// Draws `count` samples of each class at random, for training on few labels; indices ascending. Depends only on the labels, the
/// count and the seed.
///
/// ```
/// let few = wgrad::data::draw_per_class(&[7, 3, 7, 3, 3, 7], 2, 0)?;
/// assert_eq!(few.len(), 4);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// A `count` of 0; a class with fewer samples.
#[track_caller]
pub fn draw_per_class(labels: &[i32], count: usize, seed: u64) -> Result<Vec<usize>> {
    if count == 0 {
        return Err(Error::argument("draw_per_class", "0 samples per class were asked for", "ask for at least 1"));
    }
    let mut drawn = Vec::new();
    for (class, indices) in by_class(labels, "draw per class", seed)? {
        let Some(first) = indices.get(..count) else {
            let reason = format!("class {class} has {} samples and {count} were asked for", indices.len());
            return Err(Error::argument("draw_per_class", reason, "ask for fewer per class"));
        };
        drawn.extend(first);
    }
    drawn.sort_unstable();
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::super::in_memory::VecDataset;
    use super::*;

    fn all<const N: usize>(parts: &[Vec<usize>; N]) -> Vec<usize> {
        let mut all = parts.concat();
        assert!(parts.iter().all(|part| part.is_sorted()), "{parts:?}");
        all.sort_unstable();
        all
    }

    #[test]
    fn parts_are_disjoint_and_as_large_as_asked_for() {
        let sizes = |len, shares: [f64; 3]| split(len, shares, 1).map(|parts| parts.map(|p| p.len()));
        assert_eq!(sizes(100, [0.7, 0.2, 0.1]).unwrap(), [70, 20, 10]);
        assert_eq!(sizes(10, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]).unwrap(), [3, 4, 3]);
        assert_eq!(sizes(4, [0.5, 0.25, 0.25]).unwrap(), [2, 1, 1]);
        let parts = split(50, [10, 39, 1], 3).unwrap();
        assert_eq!((parts.clone().map(|p| p.len()), all(&parts)), ([10, 39, 1], (0..50).collect()));
        assert_eq!(split(50, [10, 39, 1], 3).unwrap(), parts);
        assert_ne!(split(50, [10, 39, 1], 4).unwrap(), parts);
        let rows = [
            (split(10, [0.5, 0.4], 0).map(drop), "[0.5, 0.4]"),
            (split(10, [1.5, -0.5], 0).map(drop), "add up to 1"),
            (split(10, [f64::NAN, 0.5], 0).map(drop), "NaN"),
            (split(10, [0.99, 0.01], 0).map(drop), "part 1 of 2 gets none of 10"),
            (split(10, [5, 6], 0).map(drop), "[5, 6] of 10 samples"),
            (split(10, [usize::MAX, 11], 0).map(drop), "of 10 samples"),
            (split(10, [10, 0], 0).map(drop), "part 1"),
            (split::<f64, 0>(10, [], 0).map(drop), "the shares are []"),
        ];
        for (outcome, expected) in rows {
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("help: "), "{message}");
        }
        let [a, b] = random_split(VecDataset((0..10).collect::<Vec<i32>>()), [3, 7], 3).unwrap();
        assert_eq!([a.indices(), b.indices()].concat(), split(10, [3, 7], 3).unwrap().concat());
    }

    #[test]
    fn stratified_parts_have_their_share_of_every_class() {
        // How often each class occurs in the labels.
        for counts in [vec![50, 50], vec![90, 10], vec![7, 1, 30, 4, 4, 4], vec![100]] {
            let labels: Vec<i32> = counts.iter().zip(0..).flat_map(|(&n, class)| vec![class; n]).collect();
            let shares = [0.7, 0.2, 0.1];
            let parts = split_stratified(&labels, shares, 5).unwrap();
            assert_eq!(all(&parts), (0..labels.len()).collect::<Vec<_>>());
            assert_eq!(parts.clone().map(|p| p.len()), split(labels.len(), shares, 5).unwrap().map(|p| p.len()));
            for (class, &n) in counts.iter().enumerate() {
                for (part, share) in parts.iter().zip(shares) {
                    let found = part.iter().filter(|&&i| labels[i] == i32::try_from(class).unwrap()).count();
                    assert!((found as f64 - share * n as f64).abs() < 1.5, "{counts:?}: {found} of {n} at {share}");
                }
            }
            assert_eq!(split_stratified(&labels, shares, 5).unwrap(), parts);
            assert_ne!(split_stratified(&labels, shares, 6).unwrap(), parts);
        }
    }
}
