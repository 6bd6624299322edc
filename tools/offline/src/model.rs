//! A modelled step: what the launches of a step would take by the figures that were read and a card's datasheet.
//!
//! docs/offline.md has the formula. It is for comparing kernels and plans, not for predicting a card.

use crate::error::{Error, Result};
use crate::session::{Launch, Session};
use crate::spirv::WAVE;
use crate::trace::Trace;
use std::collections::BTreeMap;
use wgrad_catalogue::networks::Network;

/// A card's datasheet.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// What asks for it, and the family of RADV's that it is of.
    pub family: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Compute units; each issues 64 lanes of vector arithmetic per clock.
    pub units: f64,
    /// Clock, in Hz.
    pub clock: f64,
    /// Bytes of memory per second.
    pub bandwidth: f64,
}

/// Cards by family.
pub const CARDS: [Card; 4] = [
    Card { family: "navi21", name: "RX 6800 XT", units: 72.0, clock: 2.25e9, bandwidth: 512e9 },
    // Without dual issue, which Mesa 22.3 does not use.
    Card { family: "gfx1100", name: "RX 7900 XTX", units: 96.0, clock: 2.5e9, bandwidth: 960e9 },
    Card { family: "vega10", name: "RX Vega 64", units: 64.0, clock: 1.546e9, bandwidth: 484e9 },
    Card { family: "arcturus", name: "MI100", units: 120.0, clock: 1.502e9, bandwidth: 1228e9 },
];

/// Lanes that a compute unit issues per clock.
const LANES: f64 = 64.0;

/// Bytes that a compute unit's first cache gives per clock.
const CACHE: f64 = 64.0;

/// Waves that a compute unit needs for its two vector units to issue.
const BUSY: f64 = 2.0;

/// Seconds until memory answers, and bytes that a thread asks for at a time.
const LATENCY: f64 = 0.6e-6;
const IN_FLIGHT: f64 = 16.0;

/// Seconds from a launch to the next one that waits for it.
const LAUNCH: f64 = 3e-6;

/// What a launch takes, in seconds, by what may bound it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Vector arithmetic.
    pub arithmetic: f64,
    /// The first cache.
    pub cache: f64,
    /// Memory.
    pub memory: f64,
}

impl Estimate {
    /// The longest of them, and the launch itself.
    pub fn seconds(&self) -> f64 {
        self.arithmetic.max(self.cache).max(self.memory) + LAUNCH
    }

    /// What bounds it.
    fn bound(&self) -> usize {
        let parts = [self.arithmetic, self.cache, self.memory, LAUNCH];
        (0..parts.len()).max_by(|&a, &b| parts[a].total_cmp(&parts[b])).unwrap_or(0)
    }
}

const BOUNDS: [&str; 4] = ["arithmetic", "cache", "memory", "launch"];

/// What is read of a launch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Multiply-adds issued, in lanes.
    pub multiply_adds: f64,
    /// Their share in vector arithmetic.
    pub share: f64,
    /// Bytes loaded by all threads.
    pub loaded: f64,
    /// Bytes read and written, each range of memory once.
    pub bytes: f64,
    /// Threads, and those of a workgroup.
    pub threads: f64,
    /// Waves.
    pub waves: f64,
}

impl Figures {
    /// Reads them off a launch. Ranges that a kernel reads in part count as what it loads.
    pub fn of(launch: &Launch) -> Self {
        let counts = launch.issued().clone().unwrap_or_default();
        let access = launch.kernel.module.as_ref().ok().map(|m| m.access());
        let (mut read, mut written) = (0.0, 0.0);
        for b in launch.dispatch.bindings.iter().filter(|b| b.uniform.is_empty()) {
            let access = access.and_then(|a| a.get(&b.binding)).copied().unwrap_or_default();
            read += if access.reads { b.bytes as f64 } else { 0.0 };
            written += if access.writes { b.bytes as f64 } else { 0.0 };
        }
        if launch.issued().is_ok() {
            (read, written) = (read.min(counts.loaded), written.min(counts.stored));
        }
        let groups = launch.groups() as f64;
        Self {
            multiply_adds: counts.multiply_adds,
            share: launch.kernel.code.hot().share(),
            loaded: counts.loaded,
            bytes: read + written,
            threads: launch.threads() as f64,
            waves: groups * f64::from(launch.kernel.threads.div_ceil(WAVE)),
        }
    }
}

impl Card {
    /// The card of a family.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn of(family: &str) -> Result<Self> {
        let known = CARDS.iter().map(|c| c.family).collect::<Vec<_>>().join(", ");
        let found = CARDS.into_iter().find(|card| card.family == family);
        found.ok_or_else(|| Error::Unknown { what: "datasheet of family", name: family.into(), known })
    }

    /// What a launch takes.
    pub fn estimate(&self, f: Figures) -> Estimate {
        // Few waves leave units idle.
        let busy = (f.waves / (BUSY * self.units)).clamp(f64::MIN_POSITIVE, 1.0);
        let issued = if f.multiply_adds > 0.0 { f.multiply_adds / f.share.max(0.01) } else { 0.0 };
        // Few threads leave memory idle.
        let bandwidth = self.bandwidth.min(f.threads.max(1.0) * IN_FLIGHT / LATENCY);
        Estimate {
            arithmetic: issued / (self.units * LANES * self.clock * busy),
            cache: f.loaded / (self.units * CACHE * self.clock * busy),
            memory: f.bytes / bandwidth,
        }
    }
}

/// Prints what the launches of a network's step would take on a card, by kernel.
///
/// # Errors
/// The device's; [`Error::Unknown`].
pub fn print(session: &mut Session, network: Network, family: &str) -> Result<()> {
    let card = Card::of(family)?;
    let trace = Trace::of(session, network)?;
    let mut kernels: BTreeMap<&str, (usize, f64, [f64; 4], f64)> = BTreeMap::new();
    let (mut seconds, mut uncounted) = (0.0, 0);
    for launch in &trace.submitted.launches {
        let figures = Figures::of(launch);
        let estimate = card.estimate(figures);
        uncounted += usize::from(launch.issued().is_err());
        let entry = kernels.entry(&launch.kernel.name).or_default();
        entry.0 += 1;
        entry.1 += estimate.seconds();
        entry.2[estimate.bound()] += estimate.seconds();
        entry.3 += figures.multiply_adds;
        seconds += estimate.seconds();
    }
    println!("# {network} on a {}, modelled", card.name);
    println!("{:<32} {:>8} {:>9} {:>6} {:>10}  bound by", "kernel", "launches", "ms", "share", "G issued");
    let mut sorted: Vec<_> = kernels.into_iter().collect();
    sorted.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    for (name, (launches, time, bounds, issued)) in sorted {
        let parts =
            (0..4).filter(|&n| bounds[n] > 0.005 * time).map(|n| format!("{} {:.0} %", BOUNDS[n], 100.0 * bounds[n] / time));
        let parts = parts.collect::<Vec<_>>().join(", ");
        println!("{name:<32} {launches:>8} {:>9.3} {:>5.1}% {:>10.3}  {parts}", time * 1e3, 100.0 * time / seconds, issued / 1e9);
    }
    println!(
        "{network}: {:.3} ms modelled, {} launches, {} of them without counts (their ranges of memory count)",
        seconds * 1e3,
        trace.submitted.launches.len(),
        uncounted
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_takes_what_bounds_it() {
        let card = Card { family: "", name: "", units: 10.0, clock: 1e9, bandwidth: 1e11 };
        // 640 lanes per nanosecond: 6.4e8 multiply-adds at a share of 0.5 take 2 ms; so do 0.2 GB; the cache gives 640 B/ns.
        let full = Figures { multiply_adds: 6.4e8, share: 0.5, loaded: 6.4e8, bytes: 2e8, threads: 1e6, waves: 1e4 };
        let estimate = card.estimate(full);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * b;
        assert!(near(estimate.arithmetic, 2e-3) && near(estimate.cache, 1e-3) && near(estimate.memory, 2e-3), "{estimate:?}");
        assert!(near(estimate.seconds(), 2e-3 + LAUNCH));
        // 5 waves on 10 units, 300 threads.
        let few = card.estimate(Figures { waves: 5.0, threads: 300.0, ..full });
        assert!(near(few.arithmetic, 8e-3) && near(few.memory, 2e8 / (300.0 * IN_FLIGHT / LATENCY)), "{few:?}");
        assert_eq!(card.estimate(Figures::default()).seconds(), LAUNCH);
        assert_eq!((few.bound(), Estimate::default().bound()), (2, 3));
    }

    #[test]
    fn families_have_datasheets() {
        assert_eq!(Card::of("navi21").expect("known").name, "RX 6800 XT");
        assert!(Card::of("navi99").expect_err("unknown").to_string().contains("gfx1100"));
    }
}
