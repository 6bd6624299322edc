//! Sounds: WAV files as programs write them, and log-mel spectrograms of every window, hop and length.

use crate::common::{close, device, values};
use std::path::Path;
use wgrad::data::transforms::Transform;
use wgrad::data::{AudioClips, LogMel, MelConfig};
use wgrad::{Device, Error, Generator, Result, Tensor};

/// A chunk with its padding.
fn chunk(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = [name.as_bytes(), &u32::try_from(content.len()).unwrap().to_le_bytes(), content].concat();
    out.resize(out.len().next_multiple_of(2), 0);
    out
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF", &u32::try_from(body.len() + 4).unwrap().to_le_bytes()[..], b"WAVE", &body].concat()
}

/// A fmt chunk of 16 bytes and what follows them.
fn fmt(format: u16, channels: u16, bits: u16, width: u16, more: &[u8]) -> Vec<u8> {
    let frame = channels * width;
    let mut content = Vec::new();
    content.extend(format.to_le_bytes());
    content.extend(channels.to_le_bytes());
    content.extend(1000u32.to_le_bytes());
    content.extend((1000 * u32::from(frame)).to_le_bytes());
    content.extend(frame.to_le_bytes());
    content.extend(bits.to_le_bytes());
    content.extend(more);
    chunk("fmt ", &content)
}

fn pcm(channels: u16, bits: u16) -> Vec<u8> {
    fmt(1, channels, bits, bits.div_ceil(8), &[])
}

/// The extension of a fmt chunk: the number of valid bits, and the format.
fn extension(valid: u16, format: u16) -> Vec<u8> {
    let mut more = vec![22, 0];
    more.extend(valid.to_le_bytes());
    more.extend([4, 0, 0, 0]);
    more.extend(format.to_le_bytes());
    more.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
    more
}

fn i16s(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

fn data(content: &[u8]) -> Vec<u8> {
    chunk("data", content)
}

/// The same chunk with another size in its header.
fn sized(mut chunk: Vec<u8>, size: u32) -> Vec<u8> {
    chunk[4..8].copy_from_slice(&size.to_le_bytes());
    chunk
}

/// Loads a folder of two words: a good file, and this one.
fn load(bytes: &[u8]) -> Result<Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    for (word, bytes) in [("a", &riff(&[pcm(1, 16), data(&i16s(&[1]))])[..]), ("b", bytes)] {
        std::fs::create_dir(dir.path().join(word)).unwrap();
        std::fs::write(dir.path().join(word).join("clip.wav"), bytes).unwrap();
    }
    AudioClips::load(dir.path()).map(|clips| clips.clips()[1].clone())
}

#[test]
fn wav_files_of_every_make_are_read() {
    let two = i16s(&[16384, -32768]);
    let plain = || pcm(1, 16);
    let mut unpadded = chunk("LIST", b"abc");
    unpadded.pop();
    let rows: Vec<(&str, Vec<u8>, Vec<f32>)> = vec![
        ("plain", riff(&[plain(), data(&two)]), vec![0.5, -1.0]),
        ("odd chunk before the format", riff(&[chunk("JUNK", b"abc"), plain(), data(&two)]), vec![0.5, -1.0]),
        ("odd chunk before the data", riff(&[plain(), chunk("LIST", b"INFO!"), data(&two)]), vec![0.5, -1.0]),
        ("odd chunk of one byte", riff(&[plain(), chunk("id3 ", b"x"), data(&two)]), vec![0.5, -1.0]),
        ("odd chunk without padding", riff(&[plain(), unpadded, data(&two)]), vec![0.5, -1.0]),
        ("even chunk that ends in a name", riff(&[plain(), chunk("JUNK", b"data"), data(&two)]), vec![0.5, -1.0]),
        ("empty chunk", riff(&[plain(), chunk("JUNK", b""), data(&two)]), vec![0.5, -1.0]),
        ("fact of 4 bytes", riff(&[plain(), chunk("fact", &[2, 0, 0, 0]), data(&two)]), vec![0.5, -1.0]),
        ("fact of 12 bytes", riff(&[plain(), chunk("fact", &[0; 12]), data(&two)]), vec![0.5, -1.0]),
        ("chunks after the data", riff(&[plain(), data(&two), chunk("LIST", b"abc"), chunk("x", b"")]), vec![0.5, -1.0]),
        ("bytes after the data", [riff(&[plain(), data(&two)]), b"xyz".to_vec()].concat(), vec![0.5, -1.0]),
        ("format of 18 bytes", riff(&[fmt(1, 1, 16, 2, &[0, 0]), data(&two)]), vec![0.5, -1.0]),
        ("format of 40 bytes", riff(&[fmt(1, 1, 16, 2, &[0; 24]), data(&two)]), vec![0.5, -1.0]),
        ("format of 20 bytes", riff(&[fmt(1, 1, 16, 2, &[2, 0, 7, 7]), data(&two)]), vec![0.5, -1.0]),
        ("extensible", riff(&[fmt(0xFFFE, 1, 16, 2, &extension(16, 1)), data(&two)]), vec![0.5, -1.0]),
        ("extensible, 20 of 24 bits", riff(&[fmt(0xFFFE, 1, 24, 3, &extension(20, 1)), data(&[0, 0, 0x40])]), vec![0.5]),
        ("extensible, 24 of 32 bits", riff(&[fmt(0xFFFE, 1, 32, 4, &extension(24, 1)), data(&[0, 0, 0, 0xC0])]), vec![-0.5]),
        ("extensible floats", riff(&[fmt(0xFFFE, 1, 32, 4, &extension(32, 3)), data(&0.25f32.to_le_bytes())]), vec![0.25]),
        ("8 bits", riff(&[pcm(1, 8), data(&[0, 128, 192, 255])]), vec![-1.0, 0.0, 0.5, 127.0 / 128.0]),
        ("8 bits, an odd number", riff(&[pcm(1, 8), data(&[0, 64, 128]), chunk("LIST", b"ab")]), vec![-1.0, -0.5, 0.0]),
        (
            "8 bits, not padded at the end",
            {
                let mut b = riff(&[pcm(1, 8), data(&[64])]);
                b.pop();
                b
            },
            vec![-0.5],
        ),
        ("12 bits", riff(&[fmt(1, 1, 12, 2, &[]), data(&i16s(&[16384]))]), vec![0.5]),
        ("24 bits", riff(&[pcm(1, 24), data(&[0, 0, 0x40, 0, 0, 0x80, 1, 0, 0])]), vec![0.5, -1.0, 1.0 / 8_388_608.0]),
        ("24 bits in 4 bytes", riff(&[fmt(1, 1, 24, 4, &[]), data(&[0, 0, 0xC0, 0xFF, 0, 0, 0x40, 0])]), vec![-0.5, 0.5]),
        ("32 bits", riff(&[pcm(1, 32), data(&i32::MIN.to_le_bytes())]), vec![-1.0]),
        ("floats", riff(&[fmt(3, 1, 32, 4, &[0, 0]), data(&1.5f32.to_le_bytes())]), vec![1.5]),
        ("floats of 64 bits", riff(&[fmt(3, 1, 64, 8, &[]), data(&(-0.125f64).to_le_bytes())]), vec![-0.125]),
        ("two channels", riff(&[pcm(2, 16), data(&i16s(&[16384, 0, 0, -16384]))]), vec![0.25, -0.25]),
        ("three channels of 8 bits", riff(&[pcm(3, 8), data(&[224, 128, 128, 128, 128, 32])]), vec![0.25, -0.25]),
        ("no samples", riff(&[plain(), data(&[])]), vec![]),
        ("no samples, and a chunk", riff(&[plain(), data(&[]), chunk("LIST", b"abcd")]), vec![]),
        ("a stream", sized(riff(&[plain(), sized(data(&two), u32::MAX)]), u32::MAX), vec![0.5, -1.0]),
        ("a stream of size 0", sized(riff(&[plain(), sized(data(&two), 0)]), 0), vec![0.5, -1.0]),
        ("a stream with its RIFF size", riff(&[plain(), sized(data(&two), u32::MAX)]), vec![0.5, -1.0]),
        (
            "a stream cut within a sample",
            [sized(riff(&[plain(), sized(data(&two), u32::MAX)]), 0), vec![9]].concat(),
            vec![0.5, -1.0],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, expected) in rows {
        match load(&bytes) {
            Ok(found) if found == expected => {}
            other => wrong.push(format!("{name}: {other:?}, expected {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// One bad file makes loading its folder fail: fewer clips than files would go unnoticed.
#[test]
fn bad_wav_files_are_named() {
    let two = i16s(&[1, 2]);
    let good = riff(&[pcm(1, 16), chunk("LIST", b"abc"), data(&two)]);
    let mut rows: Vec<(&str, Vec<u8>)> = vec![
        ("begin as a WAV", b"<html>not found</html>".to_vec()),
        ("begin as a WAV", [b"RIFX", &good[4..]].concat()),
        ("begin as a WAV", [&good[..8], b"AVI ", &good[12..]].concat()),
        ("fmt chunk has 8 bytes", riff(&[chunk("fmt ", &[1; 8]), data(&two)])),
        ("before the fmt", riff(&[data(&two), pcm(1, 16)])),
        ("without a fmt chunk", riff(&[chunk("LIST", b"ab")])),
        ("without a data chunk", riff(&[pcm(1, 16)])),
        ("the chunk \"data\" has 9 bytes", riff(&[pcm(1, 16), sized(data(&two), 9)])),
        ("the chunk \"LIST\" has 4294967295 bytes", riff(&[pcm(1, 16), sized(chunk("LIST", b"ab"), u32::MAX), data(&two)])),
        ("the data chunk has 3 bytes, and a frame 2", riff(&[pcm(1, 16), sized(data(&two), 3)])),
        ("the data chunk has 6 bytes, and a frame 4", riff(&[pcm(2, 16), data(&i16s(&[1, 2, 3]))])),
        ("0 channels", riff(&[fmt(1, 0, 16, 2, &[]), data(&two)])),
        ("0 bits in 2 bytes", riff(&[fmt(1, 1, 0, 2, &[]), data(&two)])),
        ("24 bits in 2 bytes", riff(&[fmt(1, 1, 24, 2, &[]), data(&two)])),
        ("40 bits in 5 bytes", riff(&[fmt(1, 1, 40, 5, &[]), data(&[0; 5])])),
        ("16 bits in 2 bytes", riff(&[fmt(3, 1, 16, 2, &[]), data(&two)])),
        ("0x0002", riff(&[fmt(2, 1, 4, 1, &[]), data(&two)])),
        ("0x0006", riff(&[fmt(0xFFFE, 1, 8, 1, &extension(8, 6)), data(&two)])),
        ("extensible", riff(&[fmt(0xFFFE, 1, 16, 2, &[0, 0]), data(&two)])),
        (
            "sample 1 is not a finite",
            riff(&[fmt(3, 1, 32, 4, &[]), data(&[0f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat())]),
        ),
        ("sample 0 is not a finite", riff(&[fmt(3, 1, 64, 8, &[]), data(&1e300f64.to_le_bytes())])),
    ];
    rows.extend((0..good.len()).map(|cut| ("", good[..cut].to_vec())));
    for (i, (expected, bytes)) in rows.into_iter().enumerate() {
        match load(&bytes) {
            Err(Error::Format { path, reason, help }) => {
                assert!(path.ends_with(Path::new("b/clip.wav")), "row {i}: {path:?}");
                assert!(reason.contains(expected) && !help.is_empty(), "row {i}, {expected}: {reason}");
            }
            other => panic!("row {i}, {expected}: {other:?}"),
        }
    }
}

/// The settings of these tests: few bands, so that each one contains a frequency.
fn config(window: usize, hop: usize, bands: usize) -> MelConfig {
    MelConfig { rate: 1000, window, hop, bands, low: 0.0, high: 500.0, eps: 1e-3 }
}

/// The definition: as many windows as fit, centred on every hop-th sample of the sound, which is reflected at its ends.
fn reference(sound: &[f64], MelConfig { rate, window, hop, bands, low, high, eps }: MelConfig) -> Vec<Vec<f64>> {
    let (half, length) = ((window / 2) as isize, sound.len() as isize);
    let at = |i: isize| {
        sound[(if i < 0 {
            -i
        } else if i >= length {
            2 * (length - 1) - i
        } else {
            i
        }) as usize]
    };
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let corner = |i: usize| {
        let m = mel(low) + (mel(high) - mel(low)) * i as f64 / (bands + 1) as f64;
        700.0 * (10f64.powf(m / 2595.0) - 1.0)
    };
    let turn = std::f64::consts::TAU / window as f64;
    let mut frames = Vec::new();
    let mut start = -half;
    while start + window as isize <= length + half {
        let power: Vec<f64> = (0..=window / 2)
            .map(|k| {
                let (mut re, mut im) = (0.0, 0.0);
                for n in 0..window {
                    let x = at(start + n as isize) * (0.5 - 0.5 * (turn * n as f64).cos());
                    let angle = turn * ((k * n) % window) as f64;
                    (re, im) = (re + x * angle.cos(), im + x * angle.sin());
                }
                re * re + im * im
            })
            .collect();
        let band = |b: usize| {
            let (left, centre, right) = (corner(b), corner(b + 1), corner(b + 2));
            let weight = |k: usize| {
                let f = k as f64 * f64::from(rate) / window as f64;
                ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0)
            };
            (power.iter().enumerate().map(|(k, p)| p * weight(k)).sum::<f64>() + eps).ln()
        };
        frames.push((0..bands).map(band).collect());
        start += hop as isize;
    }
    frames
}

#[test]
fn spectrograms_of_every_window_hop_and_length_agree_with_the_definition() {
    for (window, bands) in [(3, 1), (4, 1), (9, 2), (16, 3)] {
        for hop in [1, 4, 20] {
            let mel = LogMel::new(config(window, hop, bands), device()).unwrap();
            let around = (window / 2 + 1).max(hop).next_multiple_of(hop);
            let mut lengths = vec![around, around + 1, around + hop - 1, window / 2 + 1];
            lengths.retain(|&l| l > window / 2);
            lengths.sort_unstable();
            lengths.dedup();
            for length in lengths {
                let sound: Vec<f32> = (0..length).map(|i| ((i * 37 % 19) as f32 - 9.0) / 10.0).collect();
                let what = format!("window {window}, hop {hop}, length {length}");
                let found = mel.apply(&Tensor::from_slice(&sound, [1, length], device()).unwrap(), &Generator::new(0));
                let found = found.unwrap_or_else(|e| panic!("{what}: {e}"));
                let expected = reference(&sound.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), config(window, hop, bands));
                assert_eq!(found.shape().unwrap(), [1, bands, expected.len()], "{what}");
                assert_eq!(mel.frames(length), expected.len(), "{what}");
                let expected: Vec<f64> = (0..bands).flat_map(|b| expected.iter().map(move |f| f[b])).collect();
                close(&what, &values(&found), &expected, 1e-4, 1e-4);
            }
        }
    }
}

#[test]
fn frames_are_as_many_as_windows_fit() {
    let cpu = Device::cpu().unwrap();
    for window in 3..=20 {
        for hop in 1..=12 {
            let mel = LogMel::new(config(window, hop, 1), &cpu).unwrap();
            for length in window / 2 + 1..60 {
                let padded = length + 2 * (window / 2);
                let fit = (0..).step_by(hop).take_while(|start| start + window <= padded).count();
                assert_eq!(mel.frames(length), fit, "window {window}, hop {hop}, length {length}");
            }
            assert!(mel.apply(&Tensor::zeros([1, window / 2], &cpu).unwrap(), &Generator::new(0)).is_err());
        }
    }
}
