//! Every call of a save at which a disk or a system can fail it, one after the other: each failure is a typed error that names the
//! path, the old file stays as it was, no temporary file does, and the next save works.

use super::{MLP, kinds, training, whole};
use crate::atomic;
use crate::atomic::faults::{FileFault, fault_calls, inject};
use crate::device::{Device, DeviceKind, DeviceOptions};
use crate::error::{Error, Result};
use crate::faults::Fault;
use crate::io::{HostTensor, Origin, StateDict};
use crate::nn::{Init, Module};
use crate::optim::{Adam, AdamConfig};
use crate::train::{Checkpoint, EpochRecord, History, SuperviseConfig, supervise};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Something that is saved: its name, what saves it with a number in it, and what reads that number.
type Saver = (&'static str, Box<dyn Fn(u32, &Path) -> Result<()>>, fn(&Path) -> Result<()>);

/// Everything in this crate that saves a file, or a sample of it.
fn savers() -> Vec<Saver> {
    let cpu = Device::cpu().expect("opens");
    let model = (MLP.2)(&Init::new(&cpu, 5)).expect("builds");
    let adam = Adam::new(&model.parameters().expect("has"), AdamConfig::default()).expect("builds");
    let (weights, trained) = (model.state_dict().expect("reads"), (MLP.2)(&Init::new(&cpu, 6)).expect("builds"));
    let load = |path: &Path| StateDict::load(path).map(|dict| assert_eq!(dict.origin, Origin::Checked));
    let dict = |n: u32, len: usize| {
        let mut dict = StateDict::new();
        dict.insert("w", HostTensor::from_slice(&vec![n as f32; len], [len])?)?;
        Ok::<_, Error>(dict)
    };
    let record = |n: u32| EpochRecord {
        epoch: n as usize,
        train_loss: 0.5,
        train_accuracy: 0.5,
        test_loss: 0.5,
        test_accuracy: 0.5,
        lr: 0.1,
        seconds: 1.0,
    };
    let history = move |n: u32| History { records: (1..=n).map(record).collect() };
    let mut savers: Vec<Saver> = vec![
        ("state dict", Box::new(move |n, path| dict(n, 3)?.save(path)), load),
        // Longer than what is written at once.
        ("large state dict", Box::new(move |n, path| dict(n, 600_000)?.save(path)), load),
        (
            "checkpoint",
            Box::new(move |n, path| Checkpoint::capture(&model, &adam)?.with("n", n).with_state("w", weights.clone()).save(path)),
            |path| Checkpoint::load(path)?.note::<u32>("n").map(drop),
        ),
        (
            "model",
            Box::new(move |n, path| {
                let bias = trained.parameters()?[1].clone();
                bias.set(&bias.tensor().full_like(f64::from(n)))?;
                trained.save(path)
            }),
            load,
        ),
        ("history", Box::new(move |n, path| atomic::write(path, history(n).to_text().as_bytes())), |path| {
            History::from_text(&crate::data::read_text(path)?).map(drop)
        }),
        ("chart", Box::new(move |n, path| history(n + 1).chart("x").save(path)), |path| crate::data::read_text(path).map(drop)),
    ];
    if !whole() {
        savers.retain(|saver| ["large state dict", "checkpoint", "history"].contains(&saver.0));
        return savers;
    }
    if kinds().contains(&DeviceKind::Software) {
        let device = Device::first(DeviceKind::Software, DeviceOptions { hardware_kernels: true, ..DeviceOptions::default() });
        let device = device.expect("opens");
        device.self_test().expect("passes");
        let save = move |_, path: &Path| device.save_self_test(path);
        savers.push(("self-test record", Box::new(save), |path| crate::data::read_text(path).map(drop)));
    }
    savers
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether a save fails that meets such a fault.
fn is_an_error(kind: FileFault) -> bool {
    !matches!(kind, FileFault::Lock | FileFault::Short | FileFault::Remove)
}

/// Fails one call after the other of a save over a file, or into folders that are not there. Returns how many calls were failed,
/// and how many of them were errors.
fn walk(saver: &Saver, kind: FileFault, deep: bool) -> (u64, u64) {
    let (name, save, load) = saver;
    let (mut struck, mut failed) = (0, 0);
    for at in 1.. {
        let told = format!("{name}, {kind:?} {at}, deep: {deep}");
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = if deep {
            (folder.path().join("deep").join("er").join("a"), None)
        } else {
            let path = folder.path().join("a");
            save(1, &path).expect(&told);
            (path.clone(), Some(fs::read(&path).unwrap()))
        };
        inject(Fault::new(kind, at));
        if kind == FileFault::Remove {
            // A save deletes its temporary file if it fails.
            inject(Fault::new(FileFault::Sync, 1));
        }
        let outcome = save(2, &path);
        let calls = fault_calls(kind);
        inject(Fault::new(kind, 0));
        inject(Fault::new(FileFault::Sync, 0));
        let met = calls >= at;
        struck += u64::from(met);
        let here = if path.exists() { vec!["a".to_owned()] } else { Vec::new() };
        match outcome {
            Ok(()) => {
                assert!(!met || !is_an_error(kind), "{told}: no error");
                load(&path).expect(&told);
            }
            Err(error) => {
                failed += 1;
                assert!(met && is_an_error(kind) || kind == FileFault::Remove, "{told}: {error}");
                let Error::Io { path: named, .. } = &error else { panic!("{told}: {error}") };
                // A folder that cannot be made is named itself.
                assert!(*named == path || kind == FileFault::Folder && path.starts_with(named), "{told}: {error}");
                assert!(error.to_string().contains(crate::faults::REASON), "{told}: {error}");
                if kind == FileFault::SyncFolder {
                    load(&path).expect(&told);
                } else {
                    assert_eq!(fs::read(&path).ok(), old, "{told}: the old file");
                    old.as_ref().map(|_| load(&path)).transpose().expect(&told);
                }
            }
        }
        let left = if kind == FileFault::Remove && met { 1 } else { 0 };
        match path.parent().filter(|parent| parent.exists()) {
            Some(parent) => assert_eq!(names(parent).len(), here.len() + left, "{told}: {:?}", names(parent)),
            None => assert!(kind == FileFault::Folder, "{told}: there is no folder"),
        }
        save(3, &path).expect(&told);
        load(&path).expect(&told);
        assert_eq!(names(path.parent().unwrap()), ["a"], "{told}: after the next save");
        let (saved, again) = (fs::read(&path).unwrap(), folder.path().join("again"));
        save(3, &again).expect(&told);
        assert_eq!(saved, fs::read(again).unwrap(), "{told}: the next save's file");
        if !met {
            break;
        }
    }
    (struck, failed)
}

const KINDS: [FileFault; 12] = [
    FileFault::Folder,
    FileFault::Create,
    FileFault::Lock,
    FileFault::Permissions,
    FileFault::Write,
    FileFault::Short,
    FileFault::Full,
    FileFault::Seek,
    FileFault::Sync,
    FileFault::Rename,
    FileFault::SyncFolder,
    FileFault::Remove,
];

#[test]
fn a_save_that_fails_leaves_the_old_file_and_nothing_else() {
    let savers = savers();
    for kind in KINDS {
        let (mut struck, mut failed) = (0, 0);
        for saver in &savers {
            for deep in [false, true] {
                if deep && !whole() && saver.0 != "history" {
                    continue;
                }
                let (met, errors) = walk(saver, kind, deep);
                (struck, failed) = (struck + met, failed + errors);
            }
        }
        println!("files {kind:?}: {struck} calls failed, {failed} errors");
        // What other systems do not do.
        let elsewhere = !cfg!(unix) && matches!(kind, FileFault::Permissions | FileFault::SyncFolder);
        assert!(elsewhere || struck > 0, "{kind:?} was never met");
        assert!(elsewhere || kind == FileFault::Remove || is_an_error(kind) == (failed > 0), "{kind:?}: {failed} errors");
    }
}

/// A run that saves as it goes ends with the error, and a later one goes on from the last whole file.
#[test]
fn a_run_whose_save_fails_goes_on_from_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let config = || SuperviseConfig { every: 1, path: Some(path.clone()), pause: Duration::ZERO, ..SuperviseConfig::default() };
    let began = Cell::new(0);
    let run = |full_at: u64| {
        inject(Fault::new(FileFault::Full, full_at).times(u64::MAX));
        let outcome = supervise(config(), Device::cpu, training, |run, keeper| {
            began.set(keeper.steps());
            for _ in 0..8 {
                keeper.step(run)?;
            }
            Ok(())
        });
        inject(Fault::new(FileFault::Full, 0));
        outcome.map(|()| began.get())
    };
    assert_eq!(run(0).unwrap(), 0);
    let mut last = 0;
    for at in [1, 2, 5, 9, 17] {
        let error = run(at).expect_err("full");
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert!(began.get() >= 8.max(last), "it began at {}", began.get());
        last = began.get();
        Checkpoint::load(&path).unwrap();
        assert_eq!(names(folder.path()), ["run.safetensors"]);
    }
    assert!(run(0).unwrap() > 8, "later saves were whole");
}
