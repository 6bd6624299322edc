//! Shaders are valid for WebGPU and translate to every backend: those of optimizers and recurrent layers here, those of samples in
//! the sweeps.

use crate::common::{has_short_texts, open_unlimited, upload};
use crate::fxc;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgrad::nn::{Gru, Init, Lstm, RecurrentConfig, Rnn, RnnNonlinearity, Sequence, SequenceOptions};
use wgrad::{DType, Device, DeviceKind, Param, no_grad};

/// Runs every optimizer, with each kind of step, every recurrent layer, and checks of few and of many indices.
pub fn emit(device: &Device) {
    recurrent(device);
    for n in [3, 5000] {
        let index = (upload(&vec![1.0; n], &[n], DType::F32, device) * 1.0).cast(DType::I32);
        upload(&[1.0, 2.0], &[2, 1], DType::F32, device).gather_rows(&index).eval().expect("valid");
    }
    for row in crate::rows::ROWS {
        let w = Param::new(&upload(&[1.0, 2.0], &[2], DType::F32, device)).expect("float");
        let mut optimizer = (row.make)(std::slice::from_ref(&w)).expect("valid");
        let gradients = || w.tensor().square().sum().backward().expect("differentiable");
        optimizer.step(gradients()).expect("steps");
        let mut gated = gradients();
        gated.skip_non_finite().expect("there are gradients");
        optimizer.step(gated).expect("steps");
        for gated in [false, true] {
            let mut clipped = gradients();
            if gated {
                clipped.skip_non_finite().expect("there are gradients");
            }
            clipped.clip_by_norm(0.5).expect("there are gradients");
            optimizer.step(clipped).expect("steps");
        }
    }
}

/// Steps of recurrent layers, of whole vectors and of others, with and without gradients and lengths.
fn recurrent(device: &Device) {
    let init = Init::new(device, 1);
    for (hidden, lengths) in [(8, None), (7, None), (8, Some(vec![3, 1])), (7, Some(vec![3, 1]))] {
        let options = SequenceOptions { lengths, ..SequenceOptions::default() };
        let x = upload(&[0.5; 24], &[3, 2, 4], DType::F32, device);
        let relu = RecurrentConfig { nonlinearity: RnnNonlinearity::Relu, bidirectional: true, ..RecurrentConfig::default() };
        let run = |y: wgrad::Result<Sequence>| {
            let y = y.expect("valid").output;
            y.square().sum().backward().and_then(|gradients| gradients.eval()).expect("differentiable");
        };
        let config = RecurrentConfig::default();
        let (lstm, gru) = (Lstm::new(4, hidden, &init).expect("valid"), Gru::new(4, hidden, &init).expect("valid"));
        let [rnn, rectified] = [config, relu].map(|config| Rnn::with(4, hidden, config, &init).expect("valid"));
        run(lstm.run(&x, &options));
        run(gru.run(&x, &options));
        run(rnn.run(&x, &options));
        run(rectified.run(&x, &options));
        no_grad(|| lstm.run(&x, &options).and_then(|y| y.output.eval())).expect("valid");
        no_grad(|| gru.run(&x, &options).and_then(|y| y.output.eval())).expect("valid");
    }
}

#[test]
fn shaders_of_optimizers_and_recurrent_layers_are_valid_and_translate() {
    let mut sources = Vec::new();
    for unfused in [false, true] {
        let device = open_unlimited(unfused);
        emit(&device);
        sources.extend(device.shader_sources());
        // Beside those of optimizers there is one that counts submissions.
        assert_eq!(sources.len() > 10, device.kind() != DeviceKind::Cpu, "{} shaders", sources.len());
    }
    are_valid(sources);
}

/// Asserts that WGSL is valid for WebGPU and translates to SPIR-V, MSL and HLSL for shader models 5.1 and 6.0; and, where the
/// device under test has short texts, that FXC takes it, as far as is known.
pub fn are_valid(mut sources: Vec<String>) {
    sources.sort_unstable();
    sources.dedup();
    let short = has_short_texts();
    for source in &sources {
        let fail = |what: &str, why: String| -> ! { panic!("{what}: {why}\n{source}") };
        let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| fail("WGSL", e.emit_to_string(source)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|e| fail("validation", e.emit_to_string(source)));
        spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap_or_else(|e| fail("SPIR-V", e.to_string()));
        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..msl::Options::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| fail("MSL", e.to_string()));
        for shader_model in [hlsl::ShaderModel::V5_1, hlsl::ShaderModel::V6_0] {
            let options = hlsl::Options {
                shader_model,
                fake_missing_bindings: true,
                zero_initialize_workgroup_memory: false,
                ..hlsl::Options::default()
            };
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
                .write(&module, &info, None)
                .unwrap_or_else(|e| fail(&format!("HLSL for {shader_model:?}"), e.to_string()));
            let lines = text.lines().count();
            if short && lines > fxc::LINES {
                fail("HLSL", format!("{lines} lines, more than {}", fxc::LINES));
            }
        }
        if short {
            let faults = fxc::faults(&module);
            if !faults.is_empty() {
                fail("FXC", faults.join("\n"));
            }
        }
    }
}
