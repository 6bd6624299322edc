//! Training and validation splits, and few samples of each class.

use crate::error::{Error, Result};
use crate::rng::Generator;
use std::collections::BTreeMap;

/// Deals `0..len` out at random into a training and a validation part, each ascending; the validation part gets `share` of all,
/// rounded, and at least one. Depends on the length, the share and the seed alone.
///
/// ```
/// let (train, validation) = wgrad::data::split(10, 0.3, 7)?;
/// assert_eq!((train.len(), validation.len()), (7, 3));
/// assert!(validation.iter().all(|i| !train.contains(i)));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// A share outside 0..1, both excluded; fewer than two samples.
pub fn split(len: usize, share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::argument("split", format!("share is {share}"), "use a value between 0 and 1, such as 0.1"));
    }
    if len < 2 {
        return Err(Error::argument("split", format!("{len} samples make no two parts"), "give at least 2"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and len")]
    let count = ((len as f64 * share).round() as usize).clamp(1, len - 1);
    let mut validation = Generator::new(seed).fork("split").permutation(len, 0)?;
    let mut train = validation.split_off(count);
    train.sort_unstable();
    validation.sort_unstable();
    Ok((train, validation))
}

/// Draws `count` samples of each class at random, for training on few labels; indices ascending. Depends on the labels, the
/// count and the seed alone.
///
/// ```
/// let few = wgrad::data::draw_per_class(&[7, 3, 7, 3, 3, 7], 2, 0)?;
/// assert_eq!(few.len(), 4);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// A `count` of 0; a class with fewer samples.
pub fn draw_per_class(labels: &[i32], count: usize, seed: u64) -> Result<Vec<usize>> {
    if count == 0 {
        return Err(Error::argument("draw_per_class", "0 samples per class were asked for", "ask for at least 1"));
    }
    let mut classes: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for i in Generator::new(seed).fork("draw per class").permutation(labels.len(), 0)? {
        classes.entry(labels[i]).or_default().push(i);
    }
    let mut drawn = Vec::new();
    for (class, indices) in classes {
        let Some(first) = indices.get(..count) else {
            let reason = format!("class {class} has {} samples and {count} were asked for", indices.len());
            return Err(Error::argument("draw_per_class", reason, "ask for fewer per class"));
        };
        drawn.extend(first);
    }
    drawn.sort_unstable();
    Ok(drawn)
}
