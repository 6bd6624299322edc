//! Long sweeps over samples, layouts and modes, and the fixed part of them that a repeated pass takes.

use crate::common::{Devices, Layout, device, open_unlimited};
use crate::samples::Sample;
use crate::shaders;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use wgrad::{Device, DeviceKind};

/// A driver keeps what it compiles until its device is closed: lavapipe keeps a megabyte per pipeline.
const SAMPLES_A_DEVICE: usize = 24;

/// How much of each long sweep this process takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it: `scripts/sweep`, and the CPU device.
    Whole,
    /// On the fused device, an op's first samples in each layout, and every second one of the others contiguous (those that
    /// [`Part::OneIn`] two leaves out); in turn, one more layout there or one on the unfused device. On an adapter by default.
    Most,
    /// One sample in so many, once: `scripts/test` asks for each on the first adapter, and for fewer when it runs the tests again,
    /// with other limits, other kernels or on another adapter.
    OneIn(usize),
}

fn part() -> Part {
    static PART: OnceLock<Part> = OnceLock::new();
    let named = std::env::var_os("WGRAD_TEST_SAMPLES").is_some();
    *PART.get_or_init(|| match std::env::var("WGRAD_TEST_PART").as_deref() {
        // Who names samples wants all of them.
        Err(std::env::VarError::NotPresent) if device().kind() != DeviceKind::Cpu && !named => Part::Most,
        Err(std::env::VarError::NotPresent) | Ok("all") => Part::Whole,
        Ok("sample") => Part::OneIn(1),
        Ok("half") => Part::OneIn(2),
        Ok("quarter") => Part::OneIn(4),
        Ok("eighth") => Part::OneIn(8),
        other => panic!("WGRAD_TEST_PART={other:?}: none of all, sample, half, quarter, eighth"),
    })
}

/// Whether this process takes a fixed part of each long sweep.
pub fn in_part() -> bool {
    matches!(part(), Part::OneIn(_))
}

/// Whether this process takes all of each sweep, rather than most of it.
pub fn in_whole() -> bool {
    part() == Part::Whole
}

/// Of the fused and the unfused device, those on which sample number n is tried in layout k of `layouts`.
fn tried<T>(both: &[T; 2], part: Part, [k, layouts, n]: [usize; 3]) -> &[T] {
    if part == Part::Whole {
        return both;
    }
    // The samples that cover an op have more than two layouts.
    let (fused, unfused) = match (layouts, k) {
        (0..=2, 0) => (true, n.is_multiple_of(3)),
        (0..=2, _) => (n % 3 == 1, n % 3 == 2),
        _ => (true, n % layouts == k),
    };
    &both[usize::from(!fused)..1 + usize::from(unfused)]
}

/// Runs `check` on each sample in each layout on the fused and the unfused device under test, or on the part of them that [`Part`]
/// says; all shaders that they compile must be valid. Where a sample is tried once, the samples cycle through layouts and modes.
pub fn sweep(
    samples: &[&Sample],
    layouts: impl Fn(&Sample) -> &'static [Layout],
    check: impl Fn(&Sample, Layout, &[(&'static str, &Device)]),
) {
    // Hashes of the shaders so far; their texts would take hundreds of megabytes.
    let (mut seen, state) = (HashSet::new(), RandomState::new());
    emitted(samples, layouts, check, |texts| {
        shaders::are_valid(texts.into_iter().filter(|text| seen.insert(state.hash_one(text))).collect());
    });
    println!("{} shaders of {} samples", seen.len(), samples.len());
}

/// As [`sweep`], with the shaders of devices as these are closed: they are opened anew now and then.
pub fn emitted(
    samples: &[&Sample],
    layouts: impl Fn(&Sample) -> &'static [Layout],
    check: impl Fn(&Sample, Layout, &[(&'static str, &Device)]),
    mut take: impl FnMut(Vec<String>),
) {
    let taken = |(n, sample): &(usize, &&Sample)| match part() {
        Part::Whole => true,
        Part::Most => sample.full || n % 2 == 1,
        Part::OneIn(count) => n.is_multiple_of(count),
    };
    let samples: Vec<&&Sample> = samples.iter().enumerate().filter(taken).map(|(_, sample)| sample).collect();
    for (chunk, some) in samples.chunks(SAMPLES_A_DEVICE).enumerate() {
        let devices = Devices { fused: open_unlimited(false), unfused: open_unlimited(true) };
        let both = [("fused", &devices.fused), ("unfused", &devices.unfused)];
        for (i, sample) in some.iter().enumerate() {
            let (all, n) = (layouts(sample), chunk * SAMPLES_A_DEVICE + i);
            if in_part() {
                check(sample, all[n % all.len()], &both[n / all.len() % 2..][..1]);
                continue;
            }
            for (k, &layout) in all.iter().enumerate() {
                let devices = tried(&both, part(), [k, all.len(), n]);
                if !devices.is_empty() {
                    check(sample, layout, devices);
                }
            }
        }
        take(both.iter().flat_map(|(_, device)| device.shader_sources()).collect());
    }
}
