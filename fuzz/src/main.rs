//! Coverage-guided fuzzing of every reader of files, by libFuzzer; `scripts/sweep readers` builds it with the instrumentation and
//! runs it. A panic, an internal error, a broken promise of a value that was read, and a file that takes long are faults.
//!
//! `WGRAD_FUZZ_READER` names the reader, `WGRAD_FUZZ_SEEDS` a folder, where the files go that a run begins with: the tests' own, and
//! those of `corpus`, which earlier runs have found. `WGRAD_FUZZ_PACK` names a folder whose files become the new `corpus`.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a panic is a finding")]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use wgrad::Error;
use wgrad::io::{HostTensor, StateDict};

mod common {
    //! The device of the tests' readers.

    use std::sync::OnceLock;
    use wgrad::Device;

    /// The CPU device.
    pub fn device() -> &'static Device {
        static DEVICE: OnceLock<Device> = OnceLock::new();
        DEVICE.get_or_init(|| Device::cpu().unwrap())
    }
}

#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/it/readers.rs"]
mod readers;

/// The reader that the environment names, and a folder for its files.
struct Target {
    reader: readers::Reader,
    folder: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        let name = std::env::var("WGRAD_FUZZ_READER").expect("WGRAD_FUZZ_READER names a reader");
        let reader = readers::readers().into_iter().find(|reader| reader.name == name).expect("a reader");
        Self { reader, folder: tempfile::tempdir().unwrap() }
    }

    /// What earlier runs have found, one tensor of bytes for each file.
    fn corpus(&self) -> PathBuf {
        let name = self.reader.name.replace(' ', "-");
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{name}.safetensors"))
    }

    fn unpack(&self, into: &Path) {
        for (n, seed) in self.reader.seeds.iter().enumerate() {
            std::fs::write(into.join(format!("seed-{n}")), seed).unwrap();
        }
        if self.corpus().exists() {
            for (name, file) in StateDict::load(self.corpus()).unwrap().tensors {
                std::fs::write(into.join(name), file.data.bytes()).unwrap();
            }
        }
    }

    fn pack(&self, from: &Path) {
        let mut dict = StateDict::new();
        for entry in std::fs::read_dir(from).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            let bytes = std::fs::read(path).unwrap();
            dict.insert(name.to_string_lossy(), HostTensor::from_slice(&bytes, [bytes.len()]).unwrap()).unwrap();
        }
        dict.save(self.corpus()).unwrap();
        println!("{} files", dict.tensors.len());
    }
}

thread_local! {
    static TARGET: RefCell<Target> = RefCell::new(Target::new());
}

fuzz_target!(
    init: {
        TARGET.with_borrow(|target| {
            if let Some(into) = std::env::var_os("WGRAD_FUZZ_SEEDS") {
                target.unpack(Path::new(&into));
            }
            if let Some(from) = std::env::var_os("WGRAD_FUZZ_PACK") {
                target.pack(Path::new(&from));
                std::process::exit(0);
            }
        });
    },
    |bytes: &[u8]| {
        TARGET.with_borrow_mut(|Target { reader, folder }| {
            if let Err(Error::Internal(reason)) = (reader.read)(bytes, folder.path()) {
                panic!("{}: {reason}", reader.name);
            }
        });
    }
);
