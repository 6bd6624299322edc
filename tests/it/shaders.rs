//! Every shader that the engine emits over the table of samples is valid for WebGPU and translates to every backend.

use crate::common::{Noise, excepted, open, upload};
use crate::samples::samples;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgrad::{DType, Device, DeviceKind, Param, Tensor};

/// Runs every sample forward and backward, fused and unfused, and every optimizer.
fn emit(device: &Device) {
    for sample in samples().into_iter().filter(|s| !excepted(s.op)) {
        let mut noise = Noise(1);
        let leaf = |o: &crate::samples::Operand, noise: &mut Noise| {
            let v = noise.values(o.shape.iter().product(), o.lo, o.hi);
            upload(&v, &o.shape, DType::F32, device).variable().expect("float")
        };
        let leaves: Vec<Tensor> = sample.operands.iter().map(|o| leaf(o, &mut noise)).collect();
        let y = (sample.run)(&leaves);
        if y.requires_grad() {
            y.backward_with(&y.ones_like().detach()).and_then(|g| g.eval()).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        } else {
            y.eval().unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        }
    }
    for row in crate::rows::ROWS {
        let w = Param::new(&upload(&[1.0, 2.0], &[2], DType::F32, device)).expect("float");
        let mut optimizer = (row.make)(std::slice::from_ref(&w)).expect("valid");
        let gradients = || w.tensor().square().sum((), false).backward().expect("differentiable");
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

#[test]
fn every_shader_is_valid_and_translates_to_spirv_msl_and_hlsl() {
    let mut sources = Vec::new();
    for unfused in [false, true] {
        let device = open(unfused);
        emit(&device);
        sources.extend(device.shader_sources());
        assert_eq!(sources.is_empty(), device.kind() == DeviceKind::Cpu, "only GPUs have shaders");
    }
    sources.sort();
    sources.dedup();
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
        let options =
            hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, fake_missing_bindings: true, ..hlsl::Options::default() };
        hlsl::Writer::new(&mut String::new(), &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| fail("HLSL", e.to_string()));
    }
    println!("{} shaders", sources.len());
}
