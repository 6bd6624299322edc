//! Sources that depend only on the element's index.

use super::Numbers;
use crate::graph::GraphNode;
use crate::graph::op::RandomWord;
use crate::rng::RandomKey;
use crate::rng::threefry2x32;

/// One word of Threefry(key, (index, offset)) per element; the counter's first word is the index's low 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "indices of random numbers are counted in 32 bits")]
pub(super) fn bits(n: usize, key: RandomKey, word: RandomWord) -> Vec<u32> {
    let take = |i: usize| {
        let [first, second] = threefry2x32(key.key, [i as u32, key.offset]);
        if word == RandomWord::First { first } else { second }
    };
    (0..n).map(take).collect()
}

/// The element's linear index.
pub(super) fn iota(node: &GraphNode) -> Numbers {
    Numbers::Float((0..node.shape.numel()).map(|i| i as f64).collect())
}
