//! Ops with kernels of their own on odd sizes: attention with all masks, recurrent layers of all cells.

use super::*;
use crate::cpu::attention::examples::{Example, examples};
use crate::cpu::recurrent;

fn agrees(example: Example) {
    let cpu = CpuExecutor::new().expect("threads can be started");
    let mut buffers: Vec<BufferInfo> = Vec::new();
    for (n, (dtype, data)) in example.reads.iter().enumerate() {
        buffers.push(BufferInfo { place: Place::Leaf(n), dtype: *dtype, len: data.len() });
    }
    let reads: Vec<usize> = (0..buffers.len()).collect();
    buffers.push(BufferInfo { place: Place::Output(0), dtype: DType::F32, len: example.want.len() });
    let step = Step { kernel: example.kernel, reads, write: Some(buffers.len() - 1), level: 0, flops: 0, bytes: 0, node: 0 };
    let plan = Plan { outputs: vec![buffers.len() - 1], steps: vec![step], buffers, slots: vec![] };
    let compiled = cpu.compile(&Graph::default(), Arc::new(plan)).expect("the plan is valid");
    let leaves = example
        .reads
        .iter()
        .map(|(_, data)| Leaf::Data(Storage::Cpu(cpu.upload(data.clone()).expect("there is room"))))
        .collect();
    let bindings = Bindings { leaves, ..Bindings::default() };
    let [got, again] = [0; 2].map(|_| download(&cpu, &run(&cpu, &compiled, &bindings).expect("the plan runs")[0]));
    assert_eq!(got.bytes(), again.bytes(), "{} differs from run to run", example.name);
    for (i, (g, e)) in got.to_f64().into_iter().zip(example.want).enumerate() {
        let fits = g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= 2e-5 * e.abs().max(1.0);
        assert!(fits, "{}: element {i} is {g}, not {e}", example.name);
    }
}

#[test]
fn attention_and_its_gradient() {
    examples().into_iter().for_each(agrees);
}

#[test]
fn recurrent_layers_and_their_gradients() {
    recurrent::examples::examples().into_iter().for_each(agrees);
}
