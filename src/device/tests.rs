//! Which device is chosen, with adapters that tests simulate.

use super::choice::{best, list, named};
use super::{Device, DeviceInfo, DeviceKind, DeviceOptions};
use crate::error::{Error, Result};
use crate::gpu::adapters::{AdapterKind, Pretended, with_pretended};

#[test]
fn a_gpu_that_does_not_open_is_not_passed_over() {
    let gpu = |refuses| Pretended { kind: AdapterKind::Integrated, refuses };
    let reason = with_pretended(gpu(false), || best(None)).expect("chooses").reason;
    assert_eq!(reason, "the only hardware GPU");
    assert!(with_pretended(gpu(false), || Device::named_with("best", DeviceOptions::default())).is_ok());
    let calls: [fn() -> Result<Device>; 4] = [
        || Device::named_with("best", DeviceOptions::default()),
        || Device::named_with("gpu", DeviceOptions::default()),
        || Device::named("best"),
        Device::gpu,
    ];
    for call in calls {
        let error = with_pretended(gpu(true), call).expect_err("refused");
        assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("does not open: the test refuses; help: ") && text.contains("WGRAD_DEVICE=cpu"), "{text}");
    }
    let software = with_pretended(Pretended { kind: AdapterKind::Software, refuses: true }, || best(None)).expect("chooses");
    assert!(software.device.kind == DeviceKind::Cpu && software.reason.contains("software adapters are slower"));
}

#[test]
fn names_may_begin_with_an_api() {
    let found = |wanted: &str| named(wanted).map(|d| (d.backend, d.name, d.index));
    for adapter in list().into_iter().filter(|d| d.kind != DeviceKind::Cpu) {
        let DeviceInfo { backend, name, kind, .. } = &adapter;
        for wanted in [backend.clone(), format!(" {}: ", backend.to_uppercase()), format!("{backend}:{name}"), name.clone()] {
            assert_eq!(&found(&wanted).expect(&wanted).0, backend, "{wanted}");
        }
        let (_, first, index) = found(&format!("{backend}:{kind}")).expect("the first of the kind");
        assert!(index <= adapter.index && list()[index].name == first);
    }
    for wanted in ["metal:none such", "opengl", "vulkan:cpu", ":", "vulkan:vulkan"] {
        assert!(matches!(named(wanted), Err(Error::NoDevice { .. })), "{wanted}");
    }
}
