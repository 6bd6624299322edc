//! Augmentations of images, sounds and targets: they are reproducible, the same on every device, and do what they promise.

use crate::common::{device, fixture, host, near, upload_host, values};
use wgrad::data::transforms::{
    ColorJitter, Compose, CutMix, Cutout, FrequencyMasking, GaussianBlur, GaussianNoise, Mixup, RandomCrop, RandomGrayscale,
    RandomHorizontalFlip, RandomVerticalFlip, Resize, TimeMasking, TimeShift, Transform,
};
use wgrad::data::{LogMel, MelConfig};
use wgrad::{Device, Generator, Tensor};

const N: usize = 12;

fn ramp(shape: &[usize], on: &Device) -> Tensor {
    let n: usize = shape.iter().product();
    let data: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 + 1.0) / 103.0).collect();
    Tensor::from_slice(&data, shape, on).unwrap()
}

/// Every augmentation with a batch that it accepts.
fn all() -> Vec<(&'static str, Vec<usize>, Box<dyn Transform>)> {
    let colours = || vec![N, 3, 6, 5];
    vec![
        ("horizontal flip", colours(), Box::new(RandomHorizontalFlip::new(0.5).unwrap())),
        ("vertical flip", colours(), Box::new(RandomVerticalFlip::new(0.5).unwrap())),
        ("crop", colours(), Box::new(RandomCrop::new([6, 5]).padding(2))),
        ("crop to a part", colours(), Box::new(RandomCrop::new([4, 2]))),
        ("resize", colours(), Box::new(Resize { size: [4, 9] })),
        ("colour jitter", colours(), Box::new(ColorJitter::new(0.4, 0.3, 0.5).unwrap())),
        ("jitter of grey images", vec![N, 1, 6, 5], Box::new(ColorJitter::new(0.4, 0.3, 0.0).unwrap())),
        ("greyscale", colours(), Box::new(RandomGrayscale::new(0.5).unwrap())),
        ("blur", colours(), Box::new(GaussianBlur::new(2, (0.4, 1.5)).unwrap())),
        ("noise", colours(), Box::new(GaussianNoise::new(0.1).unwrap())),
        ("cutout", colours(), Box::new(Cutout { size: 3 })),
        ("time shift", vec![N, 40], Box::new(TimeShift { limit: 7 })),
        ("time mask", vec![N, 8, 20], Box::new(TimeMasking::new(6))),
        ("frequency mask", vec![N, 8, 20], Box::new(FrequencyMasking::new(3))),
        (
            "composed",
            colours(),
            Box::new(
                Compose::new()
                    .push(RandomCrop::new([6, 5]).padding(1))
                    .push(RandomHorizontalFlip::new(0.3).unwrap())
                    .push(Cutout { size: 2 }),
            ),
        ),
    ]
}

#[test]
fn augmentations_are_reproducible_and_agree_across_devices() {
    let cpu = Device::cpu().unwrap();
    for (name, shape, augment) in all() {
        let run = |on: &Device, offset| values(&augment.apply(&ramp(&shape, on), &Generator::at(3, offset)).unwrap());
        let (first, again, other) = (run(device(), 5), run(device(), 5), run(device(), 6));
        assert_eq!(first, again, "{name} is reproducible");
        assert!(name == "resize" || first != other, "{name} differs from draw to draw");
        near(name, &first, &run(&cpu, 5), 1e-5);
    }
}

#[test]
fn augmentations_do_what_they_say() {
    let x = ramp(&[N, 1, 4, 4], device());
    let before = values(&x);
    let generator = || Generator::at(8, 1);
    let run = |augment: &dyn Transform| values(&augment.apply(&x, &generator()).unwrap());
    let rows = |v: &[f64]| v.chunks(16).map(<[f64]>::to_vec).collect::<Vec<_>>();

    assert_eq!(run(&RandomHorizontalFlip::new(0.0).unwrap()), before);
    let mirrored: Vec<f64> = before.chunks(4).flat_map(|r| r.iter().rev().copied()).collect();
    assert_eq!(run(&RandomHorizontalFlip::new(1.0).unwrap()), mirrored);
    let half = rows(&run(&RandomVerticalFlip::new(0.5).unwrap()));
    let flipped = half.iter().zip(rows(&before)).filter(|(a, b)| **a != *b).count();
    assert!((1..N).contains(&flipped), "{flipped} of {N} are flipped");

    // Every crop is the image shifted by a whole number of pixels, zeros outside.
    for (image, cropped) in rows(&before).iter().zip(rows(&run(&RandomCrop::new([4, 4]).padding(2)))) {
        let shifted = |dy: i64, dx: i64| -> Vec<f64> {
            let at = |y: i64, x: i64| if (0..4).contains(&y) && (0..4).contains(&x) { image[(y * 4 + x) as usize] } else { 0.0 };
            (0..16).map(|p| at(p / 4 + dy, p % 4 + dx)).collect()
        };
        assert!((-2..=2).any(|dy| (-2..=2).any(|dx| shifted(dy, dx) == cropped)), "{cropped:?}");
    }

    // Every crop is in the image, and not all are at the same place.
    let parts = values(&RandomCrop::new([3, 2]).apply(&x, &generator()).unwrap());
    let part = |image: &[f64], y: usize, x: usize| (0..6).map(|p| image[(y + p / 2) * 4 + x + p % 2]).collect::<Vec<_>>();
    let places: Vec<usize> = rows(&before)
        .iter()
        .zip(parts.chunks(6))
        .map(|(image, found)| (0..6).find(|at| part(image, at / 3, at % 3) == found).expect("a place"))
        .collect();
    assert!(places.iter().any(|at| *at != places[0]), "{places:?}");

    // A square of the given side, cut at the edges.
    for image in rows(&run(&Cutout { size: 2 })) {
        assert!([1, 2, 4].contains(&image.iter().filter(|&&v| v == 0.0).count()), "{image:?}");
    }
    near("jitter by nothing", &run(&ColorJitter::new(0.0, 0.0, 0.0).unwrap()), &before, 1e-6);
    near("noise of deviation 0", &run(&GaussianNoise::new(0.0).unwrap()), &before, 1e-7);
    let flat = Tensor::full([2, 1, 9, 9], 0.5, device()).unwrap();
    let blurred = values(&GaussianBlur::new(2, (1.0, 1.0)).unwrap().apply(&flat, &generator()).unwrap());
    near("the middle of a flat image", &[blurred[40]], &[0.5], 1e-6);

    let sounds = ramp(&[N, 30], device());
    let moved = values(&TimeShift { limit: 4 }.apply(&sounds, &generator()).unwrap());
    for (a, b) in values(&sounds).chunks(30).zip(moved.chunks(30)) {
        let shifted =
            |d: i64| (0..30).map(|i| if (0..30).contains(&(i + d)) { a[(i + d) as usize] } else { 0.0 }).collect::<Vec<_>>();
        assert!((-4..=4).any(|d| shifted(d) == b));
    }
    let spectrogram = ramp(&[N, 3, 25], device());
    let masked = values(&TimeMasking::new(6).apply(&spectrogram, &generator()).unwrap());
    for (a, b) in values(&spectrogram).chunks(75).zip(masked.chunks(75)) {
        let hidden = |t: usize| (0..3).all(|m| a[m * 25 + t] != b[m * 25 + t]);
        let kept = |t: usize| (0..3).all(|m| a[m * 25 + t] == b[m * 25 + t]);
        assert!((0..25).all(|t| hidden(t) || kept(t)), "whole frames are masked");
        assert!((0..25).filter(|&t| hidden(t)).count() <= 6);
    }
}

#[test]
fn mixtures_keep_the_mass_of_targets() {
    let x = ramp(&[N, 2, 5, 4], device());
    let labels: Vec<i32> = (0..N as i32).map(|i| i % 4).collect();
    let targets = Tensor::from_slice(&labels, [N], device()).unwrap().one_hot(4).cast(wgrad::DType::F32);
    let mean = |t: &Tensor| values(&t.mean())[0];
    for offset in 0..4 {
        let generator = || Generator::at(2, offset);
        let (mixed, mixed_targets) = Mixup::new(0.4).unwrap().apply(&x, &targets, &generator()).unwrap();
        near("mixup keeps the batch's mean", &[mean(&mixed)], &[mean(&x)], 1e-5);
        let (cut, cut_targets) = CutMix::new(1.0).unwrap().apply(&x, &targets, &generator()).unwrap();
        for t in [&mixed_targets, &cut_targets] {
            near("a target's sum", &values(&t.sum_dim(1)), &[1.0; N], 1e-5);
        }
        // The share of pixels that changed is at most what the targets say was replaced.
        let changed = values(&cut.ne(&x)).iter().filter(|&&c| c != 0.0).count() as f64 / (N * 40) as f64;
        let replaced = 1.0 - values(&cut_targets.max_dim(1)).iter().copied().fold(1.0, f64::min);
        assert!(changed <= replaced.max(1.0 - replaced) + 1e-6, "{changed} {replaced}");
        let again = Mixup::new(0.4).unwrap().apply(&x, &targets, &generator()).unwrap().0;
        assert_eq!(values(&again), values(&mixed));
    }
    let short = targets.slice(0, 0, 3);
    assert!(Mixup::new(0.4).unwrap().apply(&x, &short, &Generator::new(0)).unwrap_err().to_string().contains("[3, 4]"));
}

#[test]
fn bad_augmentations_name_their_argument() {
    let x = ramp(&[2, 1, 4, 4], device());
    let g = Generator::new(0);
    let rows: Vec<(&str, wgrad::Error)> = vec![
        ("RandomHorizontalFlip::new", RandomHorizontalFlip::new(1.5).unwrap_err()),
        ("RandomVerticalFlip::new", RandomVerticalFlip::new(f64::NAN).unwrap_err()),
        ("ColorJitter::new", ColorJitter::new(0.1, -0.1, 0.0).unwrap_err()),
        ("RandomGrayscale::new", RandomGrayscale::new(-0.5).unwrap_err()),
        ("GaussianBlur::new", GaussianBlur::new(1, (0.0, 1.0)).unwrap_err()),
        ("GaussianBlur::new", GaussianBlur::new(1, (2.0, 1.0)).unwrap_err()),
        ("GaussianNoise::new", GaussianNoise::new(-1.0).unwrap_err()),
        ("Mixup::new", Mixup::new(0.0).unwrap_err()),
        ("CutMix::new", CutMix::new(f64::INFINITY).unwrap_err()),
        ("ColorJitter", ColorJitter::new(0.1, 0.1, 0.1).unwrap().apply(&x, &g).unwrap_err()),
        ("RandomGrayscale", RandomGrayscale::new(0.5).unwrap().apply(&x, &g).unwrap_err()),
        ("dims", RandomCrop::new([4, 4]).apply(&x.reshape([2, 16]), &g).unwrap_err()),
        ("RandomCrop", RandomCrop::new([4, 7]).padding(1).apply(&x, &g).unwrap_err()),
        ("dims", TimeShift { limit: 1 }.apply(&x, &g).unwrap_err()),
        ("dims", TimeMasking::new(1).apply(&x, &g).unwrap_err()),
    ];
    for (what, error) in rows {
        let message = error.to_string();
        assert!(message.starts_with(&format!("[{what}]")) && message.contains("help: "), "{what}: {message}");
    }
}

#[test]
fn spectrograms_agree_with_pytorch() {
    let dict = fixture("audio.safetensors");
    let speech = MelConfig { rate: 8000, window: 200, hop: 80, bands: 20, low: 20.0, high: 4000.0, eps: 1e-6 };
    let odd = MelConfig { rate: 16000, window: 401, hop: 111, bands: 12, low: 100.0, high: 7000.0, eps: 1e-3 };
    for (case, config) in [("speech", speech), ("odd", odd)] {
        let mel = LogMel::new(config, device()).unwrap();
        let found = mel.apply(&upload_host(host(&dict, &format!("{case}.sounds"))), &Generator::new(0)).unwrap();
        let expected = host(&dict, &format!("{case}.mel"));
        assert_eq!(found.shape().unwrap(), expected.shape, "{case}");
        near(case, &values(&found), &expected.data.to_f64(), 2e-4);
    }
    for (config, reason) in [
        (MelConfig { high: 4001.0, ..speech }, "4000 Hz"),
        (MelConfig { window: 1, ..speech }, "window of at least 2"),
        (MelConfig { hop: 0, ..speech }, "hop"),
        (MelConfig { bands: 200, ..speech }, "holds no frequency"),
    ] {
        let message = LogMel::new(config, device()).unwrap_err().to_string();
        assert!(message.contains(reason), "{config:?}: {message}");
    }
    let short = Tensor::zeros([1, 100], device()).unwrap();
    assert!(
        LogMel::new(speech, device()).unwrap().apply(&short, &Generator::new(0)).unwrap_err().to_string().contains("100 samples")
    );
}
