//! Every call of a reader at which a disk or a system can fail it, one after the other: each failure is a typed error that names the
//! path and has changed nothing, what is no failure gives the same values, and the next read works.

use super::MLP;
use crate::atomic::faults::{FileFault, fault_calls, inject};
use crate::data::{AudioClips, idx, read_text};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::faults::{Fault, REASON};
use crate::io::{HostTensor, StateDict};
use crate::nn::{Init, Module};
use crate::optim::{Adam, AdamConfig};
use crate::train::{Checkpoint, EpochRecord, History};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Something that is done with a file.
type WithFile = Box<dyn Fn(&Path) -> Result<()>>;

/// Something that is read: its name, what makes the file, and what reads it and compares what it reads.
type Reader = (&'static str, WithFile, WithFile);

/// An IDX file of one axis.
fn labels() -> Vec<u8> {
    let count: u8 = 200;
    [&[0, 0, 8, 1, 0, 0, 0, count][..], &(0..count).collect::<Vec<u8>>()].concat()
}

/// A folder of two words of one clip each.
fn words(folder: &Path) -> Result<()> {
    let spec = hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    for word in ["no", "yes"] {
        let path = folder.join(word);
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        let mut wav = hound::WavWriter::create(path.join("1.wav"), spec).map_err(Error::other)?;
        (0..500i16).try_for_each(|x| wav.write_sample(x)).and_then(|()| wav.finalize()).map_err(Error::other)?;
    }
    Ok(())
}

/// Bytes as they are.
fn bytes(bytes: Vec<u8>) -> WithFile {
    Box::new(move |path| fs::write(path, &bytes).map_err(|e| Error::io(path, e)))
}

/// Everything in this crate that reads a file.
fn readers() -> Vec<Reader> {
    let cpu = Device::cpu().expect("opens");
    let model = |seed| (MLP.2)(&Init::new(&cpu, seed)).expect("builds");
    let dict = |len: usize| {
        let mut dict = StateDict::new();
        let data: Vec<f32> = (0..len).map(|i| i as f32).collect();
        dict.insert("w", HostTensor::from_slice(&data, [len]).expect("fits")).expect("new");
        dict
    };
    let of_dict = |name, dict: StateDict| -> Reader {
        let saved = dict.clone();
        let read = move |path: &Path| StateDict::load(path).map(|found| assert_eq!(found.tensors, dict.tensors));
        (name, Box::new(move |path| saved.save(path)), Box::new(read))
    };
    let of_idx = |name, file: Vec<u8>| -> Reader {
        let read = |path: &Path| idx::read(path, 1).map(|found| assert_eq!(found.bytes, labels()[8..]));
        (name, bytes(file), Box::new(read))
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&labels()).expect("grows");
    let (trained, untrained) = (model(5), model(6));
    let weights = trained.state_dict().expect("reads");
    let adam = Adam::new(&trained.parameters().expect("has"), AdamConfig::default()).expect("builds");
    let checkpoint = Checkpoint::capture(&trained, &adam).expect("reads").with("n", 7);
    let record =
        EpochRecord { epoch: 1, train_loss: 0.5, train_accuracy: 0.5, test_loss: 0.5, test_accuracy: 0.5, lr: 0.1, seconds: 1.0 };
    let history = History { records: vec![record] };
    let (text, device) = ("Ein Satz.\r\n".repeat(1000), cpu.clone());
    let expected = (text.clone(), history.to_text());
    vec![
        of_dict("state dict", dict(3)),
        // Longer than what is read at once.
        of_dict("large state dict", dict(600_000)),
        of_dict("empty state dict", StateDict::new()),
        (
            "model",
            Box::new(move |path| trained.save(path)),
            Box::new(move |path| {
                let before = untrained.state_dict()?;
                if let Err(error) = untrained.load(path) {
                    assert_eq!(untrained.state_dict()?, before, "the model is as it was");
                    return Err(error);
                }
                assert_eq!(untrained.state_dict()?.tensors, weights.tensors);
                untrained.load_state_dict(&before)
            }),
        ),
        (
            "checkpoint",
            Box::new(move |path| checkpoint.save(path)),
            Box::new(|path| Checkpoint::load(path)?.note::<u32>("n").map(|n| assert_eq!(n, 7))),
        ),
        ("text", bytes(text.into_bytes()), Box::new(move |path| read_text(path).map(|found| assert_eq!(found, expected.0)))),
        (
            "history",
            bytes(history.to_text().into_bytes()),
            Box::new(move |path| History::from_text(&read_text(path)?).map(|found| assert_eq!(found.to_text(), expected.1))),
        ),
        of_idx("idx", labels()),
        of_idx("packed idx", packed.finish().expect("grows")),
        (
            "clips",
            Box::new(words),
            Box::new(|folder| AudioClips::load(folder).map(|found| assert!(found.len() == 2 && found.length() == 500))),
        ),
        ("self-test record", bytes(b"of another device".to_vec()), Box::new(move |path| device.load_self_test(path).map(drop))),
    ]
}

/// Fails one call after the other of a reader. Returns how many calls were failed, and how many of them were errors.
fn walk((name, make, read): &Reader, kind: FileFault) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    make(&path).expect(name);
    let (mut struck, mut failed) = (0, 0);
    for at in 1.. {
        let told = format!("{name}, {kind:?} {at}");
        inject(Fault::new(kind, at));
        let outcome = read(&path);
        let met = fault_calls(kind) >= at;
        inject(Fault::new(kind, 0));
        struck += u64::from(met);
        match outcome {
            // Where a file is cut short behind what it holds, nothing is missing.
            Ok(()) => assert!(!met || !matches!(kind, FileFault::Open | FileFault::Read), "{told}: no error"),
            Err(error) => {
                failed += 1;
                assert!(met, "{told}: {error}");
                let said = error.to_string();
                let right = match (kind, &error) {
                    (FileFault::Open, Error::Io { source, .. }) => source.kind() == ErrorKind::PermissionDenied,
                    (FileFault::Read, Error::Io { .. }) => said.contains(REASON),
                    (FileFault::End, Error::Io { source, .. }) => source.kind() == ErrorKind::UnexpectedEof,
                    (FileFault::End, Error::Format { .. }) => true,
                    _ => false,
                };
                assert!(right && said.contains(&path.display().to_string()), "{told}: {error}");
            }
        }
        read(&path).expect(&told);
        if !met {
            break;
        }
    }
    (struck, failed)
}

#[test]
fn a_read_that_fails_is_an_error_and_changes_nothing() {
    let readers = readers();
    for kind in [FileFault::Open, FileFault::Read, FileFault::ShortRead, FileFault::Interrupt, FileFault::End] {
        let harmless = matches!(kind, FileFault::ShortRead | FileFault::Interrupt);
        let (mut struck, mut failed) = (0, 0);
        for reader in &readers {
            let (met, errors) = walk(reader, kind);
            assert!(met > 0 && harmless == (errors == 0), "{}, {kind:?}: {errors} errors of {met}", reader.0);
            (struck, failed) = (struck + met, failed + errors);
        }
        println!("files {kind:?}: {struck} calls failed, {failed} errors");
    }
}
