//! Attention on odd sizes, with all masks, in each of its forms.

use super::{close, run_as};
use crate::cpu::attention::examples::examples;
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Lab;
use crate::gpu::program::Caps;

#[test]
fn attention_matches_the_reference_in_each_form() {
    let lab = Lab::open(true).unwrap();
    // Each text takes the driver a second: every example in the form for hardware, every other in one more.
    for (n, example) in examples().into_iter().enumerate() {
        let reads: Vec<HostData> = example.reads.iter().map(|(_, data)| data.clone()).collect();
        assert!(example.reads.iter().all(|(dtype, data)| *dtype == DType::Bool || super::dtype(data) == *dtype));
        let defaults = Caps::webgpu_defaults(false);
        let further = match n % 4 {
            0 => Some(defaults.with_short_texts()),
            2 => Some(Caps::webgpu_defaults(true)),
            _ => None,
        };
        for caps in std::iter::once(defaults).chain(further) {
            let blank = HostData::F32(vec![f32::NAN; example.want.len()]);
            let got = run_as(&lab, example.kernel.clone(), &reads, blank, &caps);
            close(&format!("{}, software {}", example.name, caps.software), &got, &example.want, 3e-5);
        }
    }
}
