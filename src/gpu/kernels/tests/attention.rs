//! Attention on odd sizes, with all masks, in each of its forms.

use super::{close, run_as};
use crate::cpu::attention::examples::examples;
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Lab;
use crate::gpu::program::Caps;

#[test]
fn attention_matches_the_reference_in_each_form() {
    let lab = Lab::open(true).unwrap();
    for example in examples() {
        let reads: Vec<HostData> = example.reads.iter().map(|(_, data)| data.clone()).collect();
        assert!(example.reads.iter().all(|(dtype, data)| *dtype == DType::Bool || super::dtype(data) == *dtype));
        let defaults = Caps::webgpu_defaults(false);
        for caps in [defaults, defaults.with_short_texts(), Caps::webgpu_defaults(true)] {
            let blank = HostData::F32(vec![f32::NAN; example.want.len()]);
            let got = run_as(&lab, example.kernel.clone(), &reads, blank, &caps);
            close(&format!("{}, software {}", example.name, caps.software), &got, &example.want, 3e-5);
        }
    }
}
