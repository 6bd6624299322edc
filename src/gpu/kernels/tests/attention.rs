//! Attention on odd sizes, with all masks, in each of its forms.

use super::{close, plan_of, run_in, thorough};
use crate::cpu::attention::examples::examples;
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Lab;
use crate::gpu::kernels::lower;
use crate::gpu::program::Caps;
use crate::plan::Kernel;

/// lavapipe compiles the texts for hardware for 5 s (forward) and 10 s (gradient), the short ones for half of that: the former run on
/// sizes that fill a tile, the latter on every fourth row, the plain form on the rest. `WGRAD_TEST_PART=all` takes all three.
#[test]
fn attention_matches_the_reference_in_each_form() {
    let lab = Lab::open(true).unwrap();
    let unchecked = lab.unchecked();
    let hardware = Caps::webgpu_defaults(false);
    for (row, three) in examples().chunks(3).enumerate() {
        let full = matches!(&three[0].kernel, Kernel::Attention(a) if a.sizes.queries == 64 && a.sizes.keys == 64);
        let forms = [
            (full, "hardware", &unchecked, hardware),
            (row % 4 == 2, "short", &unchecked, hardware.with_short_texts()),
            (row % 4 != 2 && !full, "plain", &lab, Caps::webgpu_defaults(true)),
        ];
        for example in three {
            let reads: Vec<HostData> = example.reads.iter().map(|(_, data)| data.clone()).collect();
            assert!(example.reads.iter().all(|(dtype, data)| *dtype == DType::Bool || super::dtype(data) == *dtype));
            for (_, form, lab, caps) in forms.iter().filter(|(wanted, ..)| *wanted || thorough()) {
                let blank = HostData::F32(vec![f32::NAN; example.want.len()]);
                let plan = plan_of(example.kernel.clone(), &reads, &blank);
                let lowered = lower(&plan.steps[0], &plan, caps).unwrap();
                let got = run_in(lab, &lowered, &reads, blank);
                close(&format!("{}, {form}", example.name), &got, &example.want, 3e-5);
            }
        }
    }
}
