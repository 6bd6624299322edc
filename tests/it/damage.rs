//! Files that are damaged or hostile: flipped bits, headers that would take long or much memory, data that expand.

#![cfg_attr(not(target_os = "linux"), allow(unused_imports, dead_code, reason = "memory is measured on Linux alone"))]

use crate::common::{allowance, this_program};
use crate::mutations::in_sweep;
use crate::readers::unsealed;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use wgrad::data::idx;
use wgrad::io::{HostTensor, Origin, StateDict};
use wgrad::nn::{Init, Linear, Module, Relu, sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::train::Checkpoint;
use wgrad::{Device, Error, Tensor};

/// Processor time and memory that a header may take beside the rest of the process.
const MOST_SECONDS: f64 = 1.0;
const MOST_KIB: f64 = 64.0 * 1024.0;
/// The longest header that is read.
const HEADER: usize = 16 << 20;

/// A checkpoint of a small network after a step, as its file.
fn checkpoint(path: &Path) {
    let init = Init::new(&Device::cpu().unwrap(), 3);
    let model = sequential![Linear::new(20, 50, &init).unwrap(), Relu, Linear::new(50, 10, &init).unwrap()];
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).unwrap();
    let x = Tensor::ones([4, 20], &Device::cpu().unwrap()).unwrap();
    adam.step(model.forward(&x).unwrap().sum().backward().unwrap()).unwrap();
    Checkpoint::capture(&model, &adam).unwrap().with("epoch", 3).save(path).unwrap();
}

#[test]
fn no_flipped_bit_of_a_checkpoint_is_loaded() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("run.safetensors");
    checkpoint(&path);
    let good = fs::read(&path).unwrap();
    assert!(good.len() > 15_000, "{} bytes", good.len());
    let flips = if in_sweep() { 10_000 } else { 500 };
    let mut random = fastrand::Rng::with_seed(1);
    let (mut loaded, mut foreign) = (0, 0);
    let theirs = unsealed(&good);
    for _ in 0..flips {
        for (bytes, count) in [(&good, &mut loaded), (&theirs, &mut foreign)] {
            let bit = random.usize(0..8 * bytes.len());
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bad).unwrap();
            match StateDict::load(&path) {
                Ok(_) => *count += 1,
                Err(e) => assert!(matches!(e, Error::Format { .. }), "bit {bit}: {e}"),
            }
        }
    }
    println!("{flips} flipped bits: {loaded} files load; without checksums, {foreign} do");
    assert_eq!(loaded, 0);
    // The checksums are what notices them.
    assert!(foreign > flips / 3, "{foreign} of {flips}");
}

#[test]
fn a_report_says_whether_a_file_has_checksums() {
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = (scratch.path().join("ours.safetensors"), scratch.path().join("theirs.safetensors"));
    let model = Linear::new(2, 3, &Init::new(&Device::cpu().unwrap(), 0)).unwrap();
    model.save(&ours).unwrap();
    fs::write(&theirs, unsealed(&fs::read(&ours).unwrap())).unwrap();
    let memory = model.state_dict().unwrap();
    for (dict, origin, said) in [
        (StateDict::load(&ours).unwrap(), Origin::Checked, false),
        (StateDict::load(&theirs).unwrap(), Origin::Unchecked, true),
        (memory.clone(), Origin::Memory, false),
    ] {
        assert_eq!((dict.origin, &dict), (origin, &memory));
        let report = model.load_state_dict_partial(&dict).unwrap();
        assert_eq!((report.origin, report.to_string().contains("the file has no checksums")), (origin, said), "{report}");
    }
    // Nobody sees the note, and the same contents give the same file.
    let again = StateDict::load(&ours).unwrap();
    assert!(again.metadata.is_empty(), "{:?}", again.metadata);
    again.save(&theirs).unwrap();
    assert_eq!(fs::read(&ours).unwrap(), fs::read(&theirs).unwrap());
    // What is wrong with a damaged file is said in words.
    let mut bad = fs::read(&ours).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&theirs, bad).unwrap();
    let message = model.load(&theirs).unwrap_err().to_string();
    assert!(message.contains("the data does not fit its checksum: the file is damaged; help: "), "{message}");
}

#[test]
fn files_of_torch_come_with_three_lines_that_convert_them() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.pt");
    for start in [
        &b"PK\x03\x04\0\0\x08\x08archive/data.pkl"[..],
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x80\x03}q\0.......",
        b"\x80\x02c...........",
    ] {
        fs::write(&path, start).unwrap();
        let message = StateDict::load(&path).unwrap_err().to_string();
        let (_, help) = message.split_once("help: convert it in Python:\n").unwrap_or_else(|| panic!("{message}"));
        let lines: Vec<&str> = help.lines().map(str::trim).collect();
        let shown = path.display().to_string().replace('\\', "/");
        assert_eq!(lines.len(), 3, "{message}");
        assert!(
            lines[0] == "import safetensors.torch, torch" && lines[1].contains(&format!("torch.load(\"{shown}\"")),
            "{message}"
        );
        assert!(lines[2].contains("save_file(") && lines[2].contains("model.safetensors\")"), "{message}");
    }
}

// ---- hostile headers ----

/// A file with a header and no data.
fn with_header(path: &Path, header: &str) {
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
}

/// Copies of a text with `@` replaced by a number, up to a length.
fn filled(before: &str, part: &str, after: &str, len: usize) -> String {
    let mut text = String::from(before);
    for i in 0.. {
        let next = part.replace('@', &i.to_string());
        if text.len() + next.len() + after.len() + 1 > len {
            break;
        }
        if i > 0 {
            text.push(',');
        }
        text.push_str(&next);
    }
    text + after
}

/// Headers that say much: their name, and whether they are refused.
fn hostile() -> Vec<(&'static str, String, bool)> {
    let tensor = r#""@":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let long = |c: &str| c.repeat((HEADER - 200) / c.len());
    let one = |name: &str| format!("{{\"{name}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}}}");
    let padded = format!("{}@", "n".repeat(95));
    let many: Vec<String> = (0..99_000).map(|i| tensor.replace('@', &padded.replace('@', &i.to_string()))).collect();
    vec![
        ("70 MB of tensors", filled("{", tensor, "}", 70_000_000), true),
        ("16 MiB of tensors", filled("{", tensor, "}", HEADER), true),
        ("16 MiB of notes", filled("{\"__metadata__\":{", r#""@":"""#, "}}", HEADER), true),
        ("99,000 tensors", format!("{{{}}}", many.join(",")), false),
        ("a long note", format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", long("x")), false),
        ("a long note of escapes", format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", long("\\u0001")), false),
        ("a long name", one(&long("x")), false),
        ("a long name of escapes", one(&long("\\n")), false),
        ("a text for a tensor", format!("{{\"a\":\"{}\"}}", long("\\u0001")), true),
        ("a text for a shape", format!("{{\"a\":{{\"shape\":\"{}\"}}}}", long("\\u0001")), true),
        ("a long dtype", format!("{{\"a\":{{\"dtype\":\"{}\"}}}}", long("x")), true),
        ("many axes", filled("{\"a\":{\"shape\":[", "1", "]}}", HEADER), true),
        ("many unknown fields", filled("{\"a\":{", r#""@":1"#, "}}", HEADER), true),
        ("lists in lists", format!("{{\"a\":{{\"b\":{}", long("[")), true),
        ("lists in lists for a tensor", format!("{{\"a\":{}", long("[")), true),
        ("objects in objects", format!("{{\"a\":{{\"b\":{}", long("{\"a\":")), true),
        ("a long number", format!("{{\"a\":{{\"shape\":[{}]}}}}", long("9")), true),
        ("a long fraction", format!("{{\"a\":{{\"shape\":[0.{}]}}}}", long("9")), true),
        ("blanks", format!("{{{}", long(" ")), true),
        ("no text at all", long("\u{7}"), true),
    ]
}

/// Reads a file in a process of its own; returns seconds, the KiB that it took at most beside the process, and whether it was read.
#[cfg(target_os = "linux")]
fn measured(kind: &str, path: &Path) -> (f64, f64, bool) {
    let output = this_program()
        .args(["--exact", "damage::a_load_in_a_process_of_its_own", "--ignored", "--nocapture", "--test-threads=1"])
        .env("WGRAD_TEST_LOAD", format!("{kind} {}", path.display()))
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|l| l.split_once("took: ")).map(|(_, line)| line.to_owned());
    let line = line.unwrap_or_else(|| panic!("{kind} {}: {text}\n{}", path.display(), String::from_utf8_lossy(&output.stderr)));
    let mut words = line.split(' ');
    let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
    (number(), number(), line.ends_with("read"))
}

/// This process's memory in KiB: now, or the most so far.
pub fn memory(which: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(which)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "a part of the tests of hostile files, which run it in a process of its own"]
fn a_load_in_a_process_of_its_own() {
    let Ok(wanted) = std::env::var("WGRAD_TEST_LOAD") else { return };
    let (kind, path) = wanted.split_once(' ').expect("a kind and a path");
    let path = PathBuf::from(path);
    let (before, since) = (memory("VmRSS:"), Instant::now());
    let error = match kind {
        "safetensors" => StateDict::load(&path).map(drop).err(),
        "idx" => idx::read(&path, 1).map(drop).err(),
        "idx-within" => idx::read_within(&path, 1, 1 << 20).map(drop).err(),
        other => panic!("{other}: there is nothing that reads it"),
    };
    let (seconds, outcome) = (since.elapsed().as_secs_f64(), if error.is_some() { "refused" } else { "read" });
    let message = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(message.len() < 1000, "an error of {} bytes", message.len());
    println!("took: {seconds} {} {message:?} {outcome}", memory("VmHWM:").saturating_sub(before));
}

#[cfg(target_os = "linux")]
#[test]
fn hostile_headers_take_neither_time_nor_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.safetensors");
    for (name, header, refused) in hostile() {
        with_header(&path, &header);
        drop(header);
        let (mut seconds, kib, read) = measured("safetensors", &path);
        if seconds > MOST_SECONDS * allowance() {
            // Other processes may have taken the processor for a while.
            seconds = measured("safetensors", &path).0;
        }
        println!("{name}: {seconds:.3} s, {:.1} MiB", kib / 1024.0);
        assert_eq!(read, !refused, "{name}");
        assert!(seconds <= MOST_SECONDS * allowance() && kib <= MOST_KIB, "{name}: {seconds} s, {kib} KiB");
    }
}

/// A gzip stream of `n` MiB of zeros after some bytes: members of 1 MiB each, which a reader takes as one.
fn bomb(path: &Path, start: &[u8], n: usize) {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    fs::write(path, [gzip(start), gzip(&vec![0; 1 << 20]).repeat(n)].concat()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_expands_stays_within_its_limit() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.gz");
    let header = |len: u32| [&[0, 0, 8, 1][..], &len.to_be_bytes()].concat();
    for (name, kind, claimed, refused) in [
        ("2 GiB that the header claims", "idx", 1 << 31, true),
        ("2 GiB after a header that claims 10", "idx", 10, true),
        ("32 MiB with a limit of 1", "idx-within", 32 << 20, true),
    ] {
        bomb(&path, &header(claimed), 2048);
        let (seconds, kib, read) = measured(kind, &path);
        let size = fs::metadata(&path).unwrap().len();
        println!("{name}, a file of {size} bytes: {seconds:.3} s, {:.1} MiB", kib / 1024.0);
        assert_eq!(read, !refused, "{name}");
        assert!(seconds <= MOST_SECONDS * allowance() && kib <= MOST_KIB, "{name}: {seconds} s, {kib} KiB");
    }
}

/// A file's data take as much memory as they have bytes, and no second copy.
#[cfg(target_os = "linux")]
#[test]
fn a_file_is_in_memory_once() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.safetensors");
    let mut dict = StateDict::new();
    for i in 0..4 {
        dict.insert(i.to_string(), HostTensor::from_slice(&vec![1.5f32; 8 << 20], [8 << 20]).unwrap()).unwrap();
    }
    dict.save(&path).unwrap();
    let (_, kib, read) = measured("safetensors", &path);
    assert!(read && (128.0 * 1024.0..140.0 * 1024.0).contains(&kib), "{kib} KiB for 128 MiB");
}

#[test]
#[ignore = "prints rates, for docs/reliability.md"]
fn rates_of_a_large_file() {
    let folder = std::env::var_os("WGRAD_TEST_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::tempdir_in(folder).unwrap();
    let path = scratch.path().join("x.safetensors");
    let (tensors, len) = (16, 16 << 20);
    let mut dict = StateDict::new();
    for i in 0..tensors {
        dict.insert(i.to_string(), HostTensor::from_slice(&vec![i as f32; len], [len]).unwrap()).unwrap();
    }
    let gib = (tensors * len * 4) as f64 / f64::from(1 << 30);
    let timed = |what: &str, run: &mut dyn FnMut()| {
        let best = (0..3)
            .map(|_| {
                let since = Instant::now();
                run();
                since.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        println!("{what}: {:.2} GiB/s", gib / best);
    };
    timed("StateDict::save", &mut || dict.save(&path).unwrap());
    timed("the checksum alone", &mut || {
        let mut sum = crc32fast::Hasher::new();
        dict.tensors.values().for_each(|tensor| sum.update(tensor.data.bytes()));
        std::hint::black_box(sum.finalize());
    });
    drop(dict);
    // Straight from the disk, where there is a program that drops what the system keeps of the file.
    let evict = || {
        let path = path.display();
        let _ = std::process::Command::new("dd")
            .args([&format!("of={path}"), "oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
            .output();
    };
    let mut buffer = vec![0u8; 1 << 20];
    let mut plain = || {
        let mut file = fs::File::open(&path).unwrap();
        while std::io::Read::read(&mut file, &mut buffer).unwrap() > 0 {}
    };
    timed("reading in pieces of 1 MiB, cached", &mut plain);
    timed("StateDict::load, cached", &mut || drop(StateDict::load(&path).unwrap()));
    timed("reading in pieces of 1 MiB, from the disk", &mut || {
        evict();
        plain();
    });
    timed("StateDict::load, from the disk", &mut || {
        evict();
        drop(StateDict::load(&path).unwrap());
    });
}
