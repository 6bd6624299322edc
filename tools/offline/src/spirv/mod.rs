//! What a launch issues, counted by following its SPIR-V's control flow.
//!
//! How often a loop runs is in no disassembly. It depends on few things: the kernel's parameters (which the layer recorded), the
//! number of the workgroup and that of the thread. So the instructions on which branches depend are evaluated, for some threads
//! of
//! some workgroups, and each block that is passed counts its multiply-adds and the bytes that it loads and stores.

mod module;
mod run;
mod value;

pub use module::Module;
use run::{Place, Run};
use std::collections::BTreeMap;

/// Threads that run in step on AMD's GPUs as RADV compiles compute shaders.
pub const WAVE: u32 = 64;

/// Workgroups that are followed, evenly spaced.
const GROUPS: u64 = 8;

/// Threads of a wave that are followed, evenly spaced.
const LANES: u32 = 4;

/// Waves of a workgroup that are followed.
const WAVES: u32 = 2;

/// Why a text or a launch cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The words are not a module.
    #[error("word {0} of the SPIR-V is not understood")]
    Word(usize),
    /// A branch depends on data.
    #[error("a branch in block {0} depends on data")]
    Branch(u32),
    /// A loop did not end.
    #[error("a thread passed {0} blocks without coming to its end")]
    Endless(u64),
}

/// What one thread executes, or all of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// f32 multiply-adds. Of a launch: lanes times those issued, so that lanes that idle beside busy ones count.
    pub multiply_adds: f64,
    /// Bytes loaded from storage buffers.
    pub loaded: f64,
    /// Bytes stored to them.
    pub stored: f64,
}

impl Counts {
    fn add(&mut self, other: Self, times: f64) {
        self.multiply_adds += times * other.multiply_adds;
        self.loaded += times * other.loaded;
        self.stored += times * other.stored;
    }

    /// The greater of each.
    fn busier(self, other: Self) -> Self {
        Self {
            multiply_adds: self.multiply_adds.max(other.multiply_adds),
            loaded: self.loaded.max(other.loaded),
            stored: self.stored.max(other.stored),
        }
    }
}

/// Whether a kernel reads and writes a binding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// It loads from it.
    pub reads: bool,
    /// It stores to it.
    pub writes: bool,
}

impl Module {
    /// What a launch of `grid` workgroups issues, with these words in the uniform buffers of these bindings.
    ///
    /// A wave issues an instruction for all of its lanes if one of them needs it: its multiply-adds are 64 times those of the
    /// busiest
    /// thread that was followed. Workgroups that were not followed count as the mean of those that were.
    ///
    /// # Errors
    /// [`Unreadable`], if a branch depends on data.
    pub fn issued(&self, grid: [u32; 3], uniforms: &BTreeMap<u32, Vec<u32>>) -> Result<Counts, Unreadable> {
        let groups: u64 = grid.iter().map(|&n| u64::from(n)).product();
        let threads: u32 = self.local.iter().product();
        if groups == 0 || threads == 0 {
            return Ok(Counts::default());
        }
        let mut run = Run::new(self, uniforms);
        let mut sum = Counts::default();
        let followed = GROUPS.min(groups);
        for n in 0..followed {
            let index = spaced(n, followed, groups);
            let (columns, rows) = (u64::from(grid[0]), u64::from(grid[1]));
            let group = [index % columns, index / columns % rows, index / (columns * rows)];
            let waves = threads.div_ceil(WAVE);
            let followed = WAVES.min(waves);
            for w in 0..followed {
                let first = spaced(w.into(), followed.into(), waves.into()) * u64::from(WAVE);
                let lanes = u64::from(threads).min(first + u64::from(WAVE)) - first;
                let followed_lanes = u64::from(LANES).min(lanes);
                let (mut busiest, mut mean) = (0.0, Counts::default());
                for l in 0..followed_lanes {
                    let thread = first + spaced(l, followed_lanes, lanes);
                    let counts = run.thread(Place { group, thread, grid })?;
                    busiest = f64::max(busiest, counts.multiply_adds);
                    mean.add(counts, 1.0 / followed_lanes as f64);
                }
                let wave = Counts {
                    multiply_adds: busiest * f64::from(WAVE),
                    loaded: mean.loaded * lanes as f64,
                    stored: mean.stored * lanes as f64,
                };
                sum.add(wave, f64::from(waves) / f64::from(followed));
            }
        }
        let mut all = Counts::default();
        all.add(sum, groups as f64 / followed as f64);
        Ok(all)
    }
}

/// The n-th of `count` numbers below `total`, from the first to the last.
fn spaced(n: u64, count: u64, total: u64) -> u64 {
    if count < 2 { 0 } else { n * (total - 1) / (count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text as wgpu would hand it to a driver.
    fn module(text: &str) -> Module {
        let parsed = naga::front::wgsl::parse_str(text).expect("the text parses");
        let flags = naga::valid::ValidationFlags::all();
        let info = naga::valid::Validator::new(flags, naga::valid::Capabilities::all()).validate(&parsed).expect("valid");
        let options = naga::back::spv::Options { force_loop_bounding: false, ..Default::default() };
        let words = naga::back::spv::write_vec(&parsed, &info, &options, None).expect("SPIR-V");
        Module::parse(&words).expect("a module")
    }

    const TEXT: &str = "
        @group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
        @group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
        @group(0) @binding(2) var<storage, read_write> out: array<f32>;
        fn half(n: u32) -> u32 { return n / 2u; }
        @compute @workgroup_size(32)
        fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
            let i = wid.x * 32u + lane;
            if (i >= params[0][1]) { return; }
            var sum = vec4<f32>(0.0);
            var one = 0.0;
            for (var k = 0u; k < half(params[1].z); k++) {
                sum = fma(a[k], a[i], sum);
                if (lane % 2u == 0u) { one = fma(one, one, 1.0); }
            }
            out[i] = sum.x + one;
        }";

    #[test]
    fn loops_are_followed_by_their_parameters() {
        let module = module(TEXT);
        // 10 turns; a wave waits for its even lanes, and half of it is not there.
        let uniforms = BTreeMap::from([(0, vec![0, 96, 0, 0, 0, 0, 20, 0])]);
        let counts = module.issued([3, 1, 1], &uniforms).expect("readable");
        assert_eq!(counts.multiply_adds, 3.0 * 64.0 * 10.0 * 5.0);
        assert_eq!(counts.loaded, 3.0 * 32.0 * 10.0 * 32.0);
        assert_eq!(counts.stored, 3.0 * 32.0 * 4.0);
        // A workgroup past the end issues nothing.
        let uniforms = BTreeMap::from([(0, vec![0, 64, 0, 0, 0, 0, 20, 0])]);
        let counts = module.issued([3, 1, 1], &uniforms).expect("readable");
        assert_eq!(counts.multiply_adds, 2.0 * 64.0 * 10.0 * 5.0);
    }

    #[test]
    fn unknown_parameters_and_data_are_not_guessed() {
        assert!(matches!(module(TEXT).issued([1, 1, 1], &BTreeMap::new()), Err(Unreadable::Branch(_))));
        let text = TEXT.replace("k < half(params[1].z)", "a[k].x > 0.5");
        let uniforms = BTreeMap::from([(0, vec![0, 96, 0, 0, 0, 0, 20, 0])]);
        assert!(matches!(module(&text).issued([1, 1, 1], &uniforms), Err(Unreadable::Branch(_))));
        assert_eq!(Module::parse(&[1, 2, 3]).err(), Some(Unreadable::Word(0)));
    }

    #[test]
    fn arms_that_depend_on_data_count_as_the_busier() {
        let text = TEXT.replace("if (lane % 2u == 0u) {", "if (a[k].x > 0.5) {");
        let uniforms = BTreeMap::from([(0, vec![0, 96, 0, 0, 0, 0, 20, 0])]);
        let counts = module(&text).issued([3, 1, 1], &uniforms).expect("readable");
        assert_eq!(counts.multiply_adds, 3.0 * 64.0 * 10.0 * 5.0);
        // What an arm changed is unknown afterwards, and a function that may have returned gives nothing known.
        let bound =
            text.replace("var one = 0.0;", "var one = 0.0; var last = half(params[1].z); if (a[i].x > 0.5) { last = 3u; }");
        let bound = bound.replace("k < half(params[1].z)", "k < last");
        assert!(matches!(module(&bound).issued([3, 1, 1], &uniforms), Err(Unreadable::Branch(_))));
        let early = text.replace("return n / 2u;", "if (a[n].x > 0.5) { return 1u; } return n / 2u;");
        assert!(matches!(module(&early).issued([3, 1, 1], &uniforms), Err(Unreadable::Branch(_))));
    }

    #[test]
    fn bindings_are_read_or_written() {
        let module = module(TEXT);
        let access = module.access();
        assert_eq!(access.get(&1), Some(&Access { reads: true, writes: false }));
        assert_eq!(access.get(&2), Some(&Access { reads: false, writes: true }));
        assert!(access.contains_key(&0));
    }

    #[test]
    fn samples_reach_from_the_first_to_the_last() {
        assert_eq!((0..4).map(|n| spaced(n, 4, 100)).collect::<Vec<_>>(), [0, 33, 66, 99]);
        assert_eq!(spaced(0, 1, 100), 0);
    }
}
