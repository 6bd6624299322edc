//! Counter-based random numbers: Threefry-2x32 with 20 rounds.
//!
//! A random tensor is a pure function of a key (the seed) and a counter (the element's index, and an offset that its
//! generator drew when the tensor was created). CPU, GPU and a later backward pass therefore agree bit for bit.
//!
//! Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

use crate::error::{Error, Result};
use crate::host::reserved;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PARITY: u32 = 0x1BD1_1BDA;
const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/// Threefry-2x32-20: two random words from a key and a counter.
// Inlined, so that loops over counters vectorise: 20 rounds for 16 elements at a time.
#[inline(always)]
pub fn threefry2x32(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let ks = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let [mut x0, mut x1] = [counter[0].wrapping_add(ks[0]), counter[1].wrapping_add(ks[1])];
    for group in 0..5u32 {
        for &r in &ROTATIONS[(group % 2) as usize] {
            x0 = x0.wrapping_add(x1);
            x1 = x1.rotate_left(r) ^ x0;
        }
        x0 = x0.wrapping_add(ks[((group + 1) % 3) as usize]);
        x1 = x1.wrapping_add(ks[((group + 2) % 3) as usize]).wrapping_add(group + 1);
    }
    [x0, x1]
}

/// The seed as a Threefry key.
pub(crate) const fn key(seed: u64) -> [u32; 2] {
    [(seed & 0xFFFF_FFFF) as u32, (seed >> 32) as u32]
}

/// The key for a 64-bit count whose upper half is `beyond`: counters have room for the lower half only.
pub(crate) fn far(key: [u32; 2], beyond: u32) -> [u32; 2] {
    if beyond == 0 { key } else { threefry2x32(key, [beyond, 0xFA4]) }
}

/// A source of random tensors: a seed, and an offset that counts the draws.
///
/// Clones share the offset. Two generators with the same seed and offset give the same numbers on every device.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    offset: Arc<AtomicU64>,
}

impl Generator {
    /// A generator at offset 0.
    pub fn new(seed: u64) -> Self {
        Self::at(seed, 0)
    }

    /// A generator at a given offset, to resume where a checkpoint left off.
    pub fn at(seed: u64, offset: u64) -> Self {
        Self { seed, offset: Arc::new(AtomicU64::new(offset)) }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of draws so far.
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Continues at another offset, as a resumed run must.
    pub fn set_offset(&self, offset: u64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Takes the next offset.
    pub(crate) fn draw(&self) -> u64 {
        self.offset.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes the next offset, as a key and the lower half of a counter.
    pub(crate) fn counter(&self) -> ([u32; 2], u32) {
        let [offset, beyond] = key(self.draw());
        (far(key(self.seed), beyond), offset)
    }

    /// An independent generator whose seed depends on this one's and on a name.
    pub fn fork(&self, name: &str) -> Self {
        // FNV-1a spreads the name over 64 bits; Threefry then mixes it with the seed.
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
        let [a, b] = threefry2x32(key(self.seed), key(hash));
        Self::new(u64::from(a) | (u64::from(b) << 32))
    }

    /// A random permutation of `0..n` (Fisher-Yates), a pure function of the seed and `stream`.
    ///
    /// # Errors
    /// More than 2³² numbers, or more than fit in memory.
    #[track_caller]
    pub fn permutation(&self, n: usize, stream: u64) -> Result<Vec<usize>> {
        if n as u64 > 1 << 32 {
            let reason = format!("an order of {n} numbers was asked for");
            return Err(Error::argument("permutation", reason, "use at most 2^32, or permute parts"));
        }
        let mut order = reserved("a permutation", n)?;
        order.extend(0..n);
        self.shuffle(&mut order, stream);
        Ok(order)
    }

    /// Orders at most 2³² elements at random.
    #[allow(clippy::cast_possible_truncation, reason = "the low word, and a position below the length")]
    pub(crate) fn shuffle(&self, order: &mut [usize], stream: u64) {
        let mixed = threefry2x32(key(self.seed), key(stream));
        for i in (1..order.len()).rev() {
            let [a, b] = threefry2x32(mixed, [i as u32, 0x5EED]);
            // A 64-bit multiply keeps the modulo bias below n / 2^64.
            let word = (u64::from(a) << 32) | u64::from(b);
            let j = ((u128::from(word) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
    }
}

/// The key and the counter's second word of a random source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RandomKey {
    /// The seed.
    pub key: [u32; 2],
    /// The draw.
    pub offset: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_matches_the_published_vectors() {
        // Random123's kat_vectors, threefry2x32 with 20 rounds.
        let rows: [([u32; 2], [u32; 2], [u32; 2]); 3] = [
            ([0, 0], [0, 0], [0x6B20_0159, 0x99BA_4EFE]),
            ([!0, !0], [!0, !0], [0x1CB9_96FC, 0xBB00_2BE7]),
            ([0x1319_8A2E, 0x0370_7344], [0x243F_6A88, 0x85A3_08D3], [0xC492_3A9C, 0x483D_F7A0]),
        ];
        for (key, counter, expected) in rows {
            assert_eq!(threefry2x32(key, counter), expected, "key {key:x?} counter {counter:x?}");
        }
    }

    #[test]
    fn permutations_are_complete_and_differ_by_stream() {
        let g = Generator::new(7);
        let mut p = g.permutation(100, 1).unwrap();
        assert_ne!(p, g.permutation(100, 2).unwrap());
        assert_eq!(p, g.permutation(100, 1).unwrap());
        p.sort_unstable();
        assert_eq!(p, (0..100).collect::<Vec<_>>());
    }
}
