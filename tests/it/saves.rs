//! Saves that something disturbs: left-over temporary files, kills, permissions, and what is not a file.

#![cfg_attr(not(target_os = "linux"), allow(unused_imports, dead_code, reason = "some of it needs FIFOs, signals or /proc"))]

use crate::common::this_program;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use wgrad::data::{AudioClips, CharTokenizer, Mnist, idx, read_text};
use wgrad::io::{HostTensor, Origin, StateDict, atomic};
use wgrad::train::Checkpoint;
use wgrad::{Device, Error};

fn dict(value: f32, len: usize) -> StateDict {
    let mut dict = StateDict::default();
    dict.tensors.insert("w".into(), HostTensor::from_slice(&vec![value; len], [len]).unwrap());
    dict
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn left_over_temporary_files_are_removed_and_in_nobodys_way() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let me = std::process::id();
    // Of processes that ended, one of which had this one's number; of a save that is under way; of files with other names.
    let mut left: Vec<String> = (0..500).map(|serial| format!(".a.{me}-{serial}.tmp")).collect();
    left.push(".a.1-0.tmp".into());
    left.iter().for_each(|name| fs::write(at(name), b"half of").unwrap());
    let busy = File::create(at(".a.1-1.tmp")).unwrap();
    busy.lock().unwrap();
    let others = [".a.b.1-0.tmp", ".a.tmp", ".b.1-0.tmp", "a.1-0.tmp"];
    others.iter().for_each(|name| fs::write(at(name), b"x").unwrap());
    fs::create_dir(at(".a.2-0.tmp")).unwrap();
    dict(1.0, 3).save(at("a")).unwrap();
    let mut expected: Vec<&str> = others.to_vec();
    expected.extend(["a", ".a.1-1.tmp", ".a.2-0.tmp"]);
    expected.sort_unstable();
    assert_eq!(entries(scratch.path()), expected);
    assert_eq!(StateDict::load(at("a")).unwrap(), dict(1.0, 3));
}

#[test]
fn long_names_have_temporary_files_too() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["n".repeat(250), "名".repeat(80)] {
        let path = scratch.path().join(&name);
        // Wine and some file systems take shorter names only.
        if fs::write(&path, b"").is_ok() {
            dict(1.0, 3).save(&path).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(entries(scratch.path()), [name]);
            fs::remove_file(&path).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn permissions_of_a_file_stay() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    dict(1.0, 3).save(&path).unwrap();
    for mode in [0o600, 0o664, 0o444, 0o755, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        dict(2.0, 3).save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{mode:o}");
    }
    assert_eq!(entries(scratch.path()), ["a"]);
}

/// Paths that lead to no file, which a reader could wait for, or read forever: a FIFO, a link to one, devices, a socket, a folder.
#[cfg(unix)]
fn no_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    use std::os::unix::fs::symlink;
    let fifo = folder.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    symlink(&fifo, folder.join("link to a fifo")).unwrap();
    symlink("/dev/zero", folder.join("link to zeros")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    vec![
        (fifo, "a FIFO"),
        (folder.join("link to a fifo"), "a FIFO"),
        (folder.join("link to zeros"), "a device"),
        ("/dev/zero".into(), "a device"),
        ("/dev/null".into(), "a device"),
        (folder.join("socket"), "a socket"),
        (folder.to_path_buf(), "a folder"),
    ]
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_by_readers_and_writers() {
    let scratch = tempfile::tempdir().unwrap();
    let clips = scratch.path().join("clips");
    type Reader = Box<dyn Fn(&Path) -> wgrad::Result<()>>;
    let words = clips.clone();
    let readers: Vec<(&str, Reader)> = vec![
        ("StateDict::load", Box::new(|p| StateDict::load(p).map(drop))),
        ("Checkpoint::load", Box::new(|p| Checkpoint::load(p).map(drop))),
        ("read_text", Box::new(|p| read_text(p).map(drop))),
        ("idx::read", Box::new(|p| idx::read(p, 1).map(drop))),
        ("load_self_test", Box::new(|p| Device::cpu()?.load_self_test(p).map(drop))),
        (
            "AudioClips::load",
            Box::new(move |p| {
                let _ = fs::remove_dir_all(&words);
                fs::create_dir_all(words.join("word")).unwrap();
                std::os::unix::fs::symlink(p, words.join("word/a.wav")).unwrap();
                AudioClips::load(&words).map(drop)
            }),
        ),
        ("StateDict::save", Box::new(|p| dict(1.0, 3).save(p))),
        ("atomic::write", Box::new(|p| atomic::write(p, b"data"))),
    ];
    let folder = scratch.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for (path, what) in no_files(&folder) {
        for (name, reader) in &readers {
            let error = reader(&path).expect_err(name);
            let message = error.to_string();
            assert!(matches!(error, Error::Io { .. }), "{name} of {}: {message}", path.display());
            assert!(message.contains(&format!("this is {what}, not a file; help: ")), "{name} of {}: {message}", path.display());
        }
    }
    assert_eq!(entries(&folder), ["fifo", "link to a fifo", "link to zeros", "socket"]);
    // Data sets find no files in such places.
    let digits = scratch.path().join("digits");
    fs::create_dir(&digits).unwrap();
    std::os::unix::fs::symlink("/dev/zero", digits.join("train-images-idx3-ubyte")).unwrap();
    assert!(matches!(Mnist::load(&digits), Err(Error::Format { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn files_without_a_length_are_read_to_their_end() {
    let text = read_text("/proc/self/status").unwrap();
    assert!(text.contains("VmRSS") && CharTokenizer::of(&text).is_ok());
    assert!(StateDict::load("/proc/self/status").is_err());
}

/// Kills of a process that saves all the time, in the normal tests and in `scripts/sweep files`.
fn kills() -> usize {
    if crate::mutations::in_sweep() { 300 } else { 6 }
}

#[cfg(unix)]
#[test]
fn a_killed_save_leaves_a_whole_file_and_the_next_one_no_rubbish() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    let (mut left, mut random) = (0, fastrand::Rng::with_seed(7));
    for kill in 0..kills() {
        let mut child = this_program()
            .args(["--exact", "saves::a_saver_in_a_process_of_its_own", "--ignored", "--test-threads=1"])
            .env("WGRAD_TEST_SAVE", &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("runs");
        let since = Instant::now();
        let before = fs::metadata(&path).ok().and_then(|found| found.modified().ok());
        while fs::metadata(&path).ok().and_then(|found| found.modified().ok()) == before {
            assert!(since.elapsed() < Duration::from_secs(60), "nothing is saved");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = StateDict::load(&path).unwrap_or_else(|e| panic!("kill {kill}: {e}"));
        let values = found.tensors["w"].data.to_f64();
        assert!(values.len() == LEN && values.iter().all(|v| *v == values[0]), "kill {kill}: parts of two files");
        assert_eq!(found.origin, Origin::Checked);
        let names = entries(scratch.path());
        assert!(names.len() <= 2, "kill {kill}: {names:?}");
        left += names.len() - 1;
    }
    dict(1.0, LEN).save(&path).unwrap();
    assert_eq!(entries(scratch.path()), ["a"]);
    println!("{} kills: every file is whole, {left} temporary files were left over, and the next save removed them", kills());
}

/// Elements of the files that the child saves.
const LEN: usize = 300_000;

#[test]
#[ignore = "a part of the test of kills, which runs it in a process of its own"]
fn a_saver_in_a_process_of_its_own() {
    let Some(path) = std::env::var_os("WGRAD_TEST_SAVE") else { return };
    for round in 0.. {
        dict(round as f32, LEN).save(&path).unwrap();
    }
}

/// Everything that the crate and its examples save goes through `io::atomic`.
#[test]
fn there_is_one_writer() {
    let root = Path::new(crate::common::ROOT);
    let mut files = Vec::new();
    let mut open = vec![root.join("src"), root.join("examples")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 300, "{} files", files.len());
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let text = read_text(&file).unwrap();
        let library = text.split("#[cfg(test)]").next().unwrap();
        if name == "src/atomic.rs" || name.contains("/tests") {
            continue;
        }
        for call in ["fs::write(", "File::create", "File::options", "OpenOptions"] {
            assert!(!library.contains(call), "{name} writes by {call} and not by io::atomic::write");
        }
        // And everything that it reads goes through `source`.
        for call in ["fs::read(", "fs::read_to_string(", "File::open("] {
            // Except for what the system says of itself.
            let other =
                ["src/gpu/kernels/lab.rs", "src/source.rs", "src/host.rs"].contains(&&*name) || name.starts_with("examples/");
            assert!(other || !library.contains(call), "{name} reads by {call} and not by source::read");
        }
    }
}
