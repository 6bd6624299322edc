//! Long sweeps over samples, layouts and modes, and the fixed part of them that a repeated pass takes.

use crate::common::{Devices, Layout, open_unlimited};
use crate::samples::Sample;
use crate::shaders;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use wgrad::Device;

/// A driver keeps what it compiles until its device is closed: lavapipe keeps a megabyte per pipeline.
const SAMPLES_A_DEVICE: usize = 24;

/// The fixed part of each long sweep that this process takes: one sample in so many, or the whole. `scripts/test` asks for a part
/// when it runs the tests again, with other limits, other kernels or on another adapter; there, `scripts/sweep` runs the
/// whole.
fn part() -> Option<usize> {
    static PART: OnceLock<Option<usize>> = OnceLock::new();
    *PART.get_or_init(|| match std::env::var("WGRAD_TEST_PART").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("all") => None,
        Ok("sample") => Some(1),
        Ok("half") => Some(2),
        other => panic!("WGRAD_TEST_PART={other:?}: none of all, sample, half"),
    })
}

/// Whether this process takes a fixed part of each long sweep.
pub fn in_part() -> bool {
    part().is_some()
}

/// Runs `check` on each sample in each layout on the fused and the unfused device under test; all shaders that they compile must be
/// valid. In part, each sample (or every second one) is tried once, and the samples cycle through layouts and modes.
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
    let samples: Vec<&&Sample> = samples.iter().step_by(part().unwrap_or(1)).collect();
    for (chunk, some) in samples.chunks(SAMPLES_A_DEVICE).enumerate() {
        let devices = Devices { fused: open_unlimited(false), unfused: open_unlimited(true) };
        let both = [("fused", &devices.fused), ("unfused", &devices.unfused)];
        for (i, sample) in some.iter().enumerate() {
            let (all, n) = (layouts(sample), chunk * SAMPLES_A_DEVICE + i);
            if in_part() {
                check(sample, all[n % all.len()], &both[n / all.len() % 2..][..1]);
            } else {
                all.iter().for_each(|&layout| check(sample, layout, &both));
            }
        }
        take(both.iter().flat_map(|(_, device)| device.shader_sources()).collect());
    }
}
