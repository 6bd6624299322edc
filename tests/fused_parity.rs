//! Fused elementwise and reduction graphs on a software adapter against the CPU device, with and without fusion.

use wgrad::{DType, Device, DeviceKind, DeviceOptions, Generator, Result, Tensor};

/// A graph from two operands of shape [4, 6, 10].
type Build = fn(&Tensor, &Tensor) -> Tensor;

fn rows() -> Vec<(&'static str, Build)> {
    vec![
        ("sum of a chain", |a, b| (a * b + a.tanh()).sum((), false)),
        ("row mean and back", |a, _| a - &a.mean(-1, true)),
        ("variance over the batch", |a, _| a.var([0, 2], 0, false)),
        ("normalize", |a, _| a.normalize(&[0, 2], 1e-5).0),
        ("transposed product", |a, b| &a.transpose(0, 2) * &b.transpose(0, 2).exp()),
        ("padded, flipped, strided", |a, b| a.pad(&[(1, 0), (0, 2), (3, 1)]).flip(2).slice_step(2, 0, 14, 2) + b.sum((), false)),
        ("broadcast of a column", |a, b| a + &b.slice(2, 3, 4)),
        ("concatenation", |a, b| Tensor::cat(&[a, b], 1).sigmoid()),
        ("max over rows then softplus", |a, _| a.max(1, false).softplus()),
        ("argmax", |a, _| a.argmax(-1, false).cast(DType::F32)),
        ("reshape of a permutation", |a, b| a.permute(&[2, 0, 1]).reshape([10, 24]) * b.reshape([10, 24])),
        ("log-sum-exp", |a, _| {
            let m = a.max(-1, true);
            (a - &m).exp().sum(-1, true).log() + m
        }),
        ("comparison and select", |a, b| a.gt(b).where_(&a.sqrt(), &b.sin())),
        ("product of a few", |a, _| a.slice(2, 0, 3).prod(2, false)),
        ("a value used by two reductions", |a, b| {
            let x = (a * b).relu();
            x.sum(0, true) * x.max(0, true)
        }),
    ]
}

#[test]
fn software_adapter_agrees_with_the_cpu() -> Result<()> {
    let found = Device::list().iter().any(|d| d.kind == DeviceKind::Software);
    if !found {
        return Ok(());
    }
    let cpu = Device::cpu()?;
    for unfused in [false, true] {
        let options = DeviceOptions { clamped: true, checks: Some(true), unfused, ..DeviceOptions::default() };
        let software = Device::first(DeviceKind::Software, options)?;
        for (name, build) in rows() {
            let on = |device: &Device| -> Result<Vec<f64>> {
                let generator = Generator::new(5);
                let a = Tensor::rand([4, 6, 10], &generator, device)?;
                let b = Tensor::rand([4, 6, 10], &generator, device)?;
                Ok(build(&a, &b).to_host()?.to_f64())
            };
            let (want, got) = (on(&cpu)?, on(&software)?);
            assert_eq!(want.len(), got.len(), "{name}");
            for (i, (w, g)) in want.iter().zip(&got).enumerate() {
                assert!((w - g).abs() <= 1e-5 * w.abs().max(1.0), "{name}, unfused {unfused}: element {i} is {g}, CPU {w}");
            }
        }
    }
    Ok(())
}
