//! Recurrent layers of odd sizes in each of their forms.

use super::{close, plan_of, run_in};
use crate::cpu::recurrent::examples::examples;
use crate::dtype::HostData;
use crate::gpu::kernels::lab::Lab;
use crate::gpu::kernels::lower;
use crate::gpu::program::Caps;
use crate::graph::recurrent::RecurrentPart;
use crate::plan::Kernel;
use std::collections::HashSet;

#[test]
fn recurrent_layers_match_the_reference_in_each_form() {
    let lab = Lab::open(true).unwrap();
    let unchecked = lab.unchecked();
    let [software, hardware] = [true, false].map(Caps::webgpu_defaults);
    let forms = [
        ("plain", &lab, software),
        ("hardware", &unchecked, hardware),
        ("short", &unchecked, software.with_short_texts()),
        ("short on hardware", &lab, hardware.with_short_texts()),
    ];
    for (n, example) in examples().into_iter().enumerate() {
        let reads: Vec<HostData> = example.reads.iter().map(|(_, data)| data.clone()).collect();
        let (form, lab, caps) = &forms[n % 4];
        let blank = HostData::F32(vec![f32::NAN; example.want.len()]);
        let plan = plan_of(example.kernel, &reads, &blank);
        let lowered = lower(&plan.steps[0], &plan, caps).unwrap();
        let got = run_in(lab, &lowered, &reads, blank);
        // A layer of rectifiers grows from step to step, and what is left of large terms has their errors.
        let largest = example.want.iter().fold(0f64, |most, x| most.max(x.abs()));
        close(&format!("{}, {form}", example.name), &got, &example.want, (3e-7 * largest).max(3e-5));
    }
}

/// A new length, batch or width costs no pipeline.
#[test]
fn sizes_are_not_in_the_texts() {
    let lowered = |part, [steps, batch, hidden]: [usize; 3]| {
        let of = examples().into_iter().find_map(|example| match example.kernel {
            Kernel::Recurrent(op) if op.masked && op.part == part => Some(op),
            _ => None,
        });
        let op = crate::graph::recurrent::RecurrentOp { steps, batch, hidden, ..of.unwrap() };
        let reads: Vec<HostData> = op.operands().iter().map(|dims| HostData::F32(vec![0.0; dims.iter().product()])).collect();
        let plan = plan_of(Kernel::Recurrent(op), &reads, &HostData::F32(vec![0.0; op.elements()]));
        lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).unwrap().programs
    };
    for part in [RecurrentPart::Forward { kept: true }, RecurrentPart::Gradient] {
        let all = [[2, 3, 8], [5, 1, 8], [3, 40, 64]].map(|sizes| lowered(part, sizes));
        assert_eq!([all[0].len(), all[1].len()], [3, 6]);
        let texts: HashSet<&str> = all.iter().flatten().map(|p| p.source.as_str()).collect();
        assert_eq!(texts.len(), if part == RecurrentPart::Gradient { 1 } else { 2 });
    }
}
