//! Augmentation on the device against the same sampling on the host; normalisation; averages.

use crate::common::{device, near, values};
use wgrad::data::transforms::{AffineConfig, Normalize, RandomAffine, Transform};
use wgrad::train::Meter;
use wgrad::{Generator, Tensor};

const H: usize = 6;
const W: usize = 8;

fn batch(n: usize, c: usize) -> (Tensor, Vec<f64>) {
    let data: Vec<f32> = (0..n * c * H * W).map(|i| ((i * 29 % 97) as f32) / 97.0).collect();
    let tensor = Tensor::from_slice(&data, [n, c, H, W], device()).unwrap();
    (tensor, data.into_iter().map(f64::from).collect())
}

/// Bilinear sampling of one channel, zero outside.
fn sample(image: &[f64], x: f64, y: f64) -> f64 {
    let at = |x: f64, y: f64| {
        let inside = (0.0..W as f64).contains(&x) && (0.0..H as f64).contains(&y);
        if inside { image[y as usize * W + x as usize] } else { 0.0 }
    };
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    (1.0 - fy) * ((1.0 - fx) * at(x0, y0) + fx * at(x0 + 1.0, y0))
        + fy * ((1.0 - fx) * at(x0, y0 + 1.0) + fx * at(x0 + 1.0, y0 + 1.0))
}

#[test]
fn affine_sampling_agrees_with_the_host() {
    let rows = [
        (1, 1, AffineConfig { shift: 0.0, rotate: 0.0, scale: 0.0, shear: 0.0 }),
        (3, 1, AffineConfig { shift: 2.0, rotate: 0.0, scale: 0.0, shear: 0.0 }),
        (3, 2, AffineConfig { shift: 0.0, rotate: 180.0, scale: 0.0, shear: 0.0 }),
        (4, 3, AffineConfig { shift: 9.0, rotate: 40.0, scale: 0.5, shear: 0.0 }),
        (3, 1, AffineConfig { shift: 0.0, rotate: 0.0, scale: 0.0, shear: 30.0 }),
        (4, 2, AffineConfig { shift: 1.0, rotate: 60.0, scale: 0.2, shear: 20.0 }),
    ];
    for (n, c, config) in rows {
        let (x, data) = batch(n, c);
        let affine = RandomAffine::new(config, [H, W], device()).unwrap();
        let found = values(&affine.apply(&x, &Generator::at(9, 3)).unwrap());
        let u = values(&Tensor::rand([5, n, 1, 1], &Generator::at(9, 3), device()).unwrap());
        let mut expected = Vec::new();
        for i in 0..n {
            let r = |k: usize| 2.0 * u[k * n + i] - 1.0;
            let (sin, cos) = (r(0) * config.rotate.to_radians()).sin_cos();
            let scale = 1.0 + r(1) * config.scale;
            let (cx, cy) = ((W as f64 - 1.0) / 2.0, (H as f64 - 1.0) / 2.0);
            for channel in 0..c {
                let image = &data[(i * c + channel) * H * W..][..H * W];
                for p in 0..H * W {
                    let dy = (p / W) as f64 - cy;
                    let dx = (p % W) as f64 - cx + dy * (r(4) * config.shear.to_radians()).tan();
                    let sx = (cos * dx + sin * dy) / scale + r(2) * config.shift + cx;
                    let sy = (-sin * dx + cos * dy) / scale + r(3) * config.shift + cy;
                    expected.push(sample(image, sx, sy));
                }
            }
        }
        near(&format!("{n} x {c}, {config:?}"), &found, &expected, 1e-4);
    }
}

#[test]
fn augmentation_draws_once_a_batch_and_is_reproducible() {
    let (x, _) = batch(2, 1);
    let affine = RandomAffine::new(AffineConfig::default(), [H, W], device()).unwrap();
    let generator = Generator::new(4);
    let first = values(&affine.apply(&x, &generator).unwrap());
    assert_eq!(generator.offset(), 1);
    assert_ne!(first, values(&affine.apply(&x, &generator).unwrap()));
    generator.set_offset(0);
    assert_eq!(first, values(&affine.apply(&x, &generator).unwrap()));
}

#[test]
fn bad_settings_and_batches_are_errors() {
    for config in [
        AffineConfig { shift: -1.0, ..AffineConfig::default() },
        AffineConfig { rotate: f64::NAN, ..AffineConfig::default() },
        AffineConfig { scale: 1.0, ..AffineConfig::default() },
        AffineConfig { shear: 90.0, ..AffineConfig::default() },
    ] {
        assert!(RandomAffine::new(config, [H, W], device()).is_err(), "{config:?}");
    }
    assert!(RandomAffine::new(AffineConfig::default(), [0, W], device()).is_err());
    let affine = RandomAffine::new(AffineConfig::default(), [W, H], device()).unwrap();
    assert!(affine.apply(&batch(1, 1).0, &Generator::new(0)).is_err());
    assert!(Normalize::new(&[0.0], &[0.0], device()).is_err());
    assert!(Normalize::new(&[], &[], device()).is_err());
}

#[test]
fn normalisation_is_a_channel_at_a_time() {
    let (x, data) = batch(2, 2);
    let found = values(&Normalize::new(&[0.5, 0.25], &[2.0, 0.5], device()).unwrap().apply(&x, &Generator::new(0)).unwrap());
    let expected: Vec<f64> = data
        .iter()
        .enumerate()
        .map(|(i, v)| if (i / (H * W)).is_multiple_of(2) { (v - 0.5) / 2.0 } else { (v - 0.25) / 0.5 })
        .collect();
    near("normalised", &found, &expected, 1e-5);
}

#[test]
fn meters_average_what_they_are_given() {
    let mut meter = Meter::new();
    assert!(meter.recent().is_none() && meter.mean().unwrap().is_nan());
    for i in 0..40u32 {
        meter.push(&Tensor::scalar(f64::from(i), device()).unwrap(), f64::from(1 + i % 2)).unwrap();
    }
    let weighted: f64 = (0..40).map(|i| f64::from(i * (1 + i % 2))).sum();
    near("mean", &[meter.mean().unwrap()], &[weighted / 60.0], 1e-6);
    let (sum, weight) = meter.parts().unwrap();
    near("continued", &[Meter::from_parts(sum, weight).unwrap().mean().unwrap()], &[weighted / 60.0], 1e-6);
}
