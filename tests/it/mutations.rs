//! Mutated files for every reader: each ends in a value or a typed error, in bounded time and memory. `scripts/sweep files` takes
//! 200,000 of them for each reader, the normal tests a fixed part.

use crate::common::this_program;
use crate::damage::memory;
use crate::readers::{Reader, parts, readers, whole};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use wgrad::Error;
use wgrad::io::StateDict;

/// The longest that a file of a few kilobytes may take, and the KiB that all of a reader's may.
const MOST_TIME: Duration = Duration::from_secs(2);
const MOST_KIB: u64 = 64 * 1024;

/// Mutated files per reader: `WGRAD_TEST_MUTATIONS`, or a few.
fn wanted() -> usize {
    std::env::var("WGRAD_TEST_MUTATIONS").map_or(250, |n| n.parse().expect("WGRAD_TEST_MUTATIONS is a number"))
}

/// Whether this process is one of `scripts/sweep files`.
pub fn in_sweep() -> bool {
    wanted() >= 10_000
}

/// Bytes at which readers decide, numbers at the ends of their ranges, and pieces of JSON.
const BYTES: [u8; 20] =
    [0, 1, 2, 3, 8, 0x7F, 0x80, 0xFE, 0xFF, b'0', b'9', b'"', b'\\', b'{', b'}', b'[', b',', b'-', b' ', b'\n'];
const WORDS: [u64; 10] = [0, 1, 1 << 15, 1 << 16, 1 << 31, 1 << 32, u32::MAX as u64, 1 << 63, i64::MAX as u64, u64::MAX];
const TEXTS: [&str; 14] = [
    "0",
    "-1",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967296",
    "nan",
    "inf",
    "null",
    "\"\"",
    "{}",
    "[]",
    "\\u0000",
];

/// One change of a file, or up to four.
fn mutated(random: &mut fastrand::Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..[1, 1, 1, 2, 3, 4][random.usize(0..6)] {
        let len = bytes.len();
        let at = random.usize(0..=len);
        let to = (at + random.usize(0..=16)).min(len);
        match random.usize(0..10) {
            0 if at < len => bytes[at] ^= 1 << random.u8(0..8),
            1 if at < len => bytes[at] = BYTES[random.usize(0..BYTES.len())],
            2 | 3 => {
                let word = WORDS[random.usize(0..WORDS.len())].wrapping_add(random.u64(0..3)).wrapping_sub(1);
                let word = if random.bool() { word.to_le_bytes() } else { word.rotate_left(32).to_be_bytes() };
                let width = if random.bool() { 4 } else { 8 };
                bytes.iter_mut().skip(at).zip(word).take(width).for_each(|(b, w)| *b = w);
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..to)),
            6 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            7 => drop(bytes.splice(at..at, (0..random.usize(1..9)).map(|_| random.u8(..)).collect::<Vec<_>>())),
            8 => drop(bytes.splice(at.., other[at.min(other.len())..].iter().copied())),
            // Another number in the place of one.
            _ => {
                let start = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|n| at + n);
                let start = start.unwrap_or(at);
                let end = bytes.iter().skip(start).position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |n| start + n);
                bytes.splice(start..end, TEXTS[random.usize(0..TEXTS.len())].bytes());
            }
        }
    }
    bytes
}

/// The mutated file of a number, always the same.
fn input(reader: &Reader, number: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let seed = &reader.seeds[number % reader.seeds.len()];
    let other = &reader.seeds[random.usize(0..reader.seeds.len())];
    if reader.headed && random.bool() {
        let (header, data) = parts(seed);
        return whole(&mutated(&mut random, header, parts(other).0), data);
    }
    mutated(&mut random, seed, other)
}

/// Reads the mutated files of one reader; prints how many it read and refused.
#[test]
#[ignore = "a part of the test of mutated files, which runs it in a process of its own"]
fn one_reader_in_a_process_of_its_own() {
    let Ok(wanted) = std::env::var("WGRAD_TEST_READER") else { return };
    let (count, name) = wanted.split_once(' ').expect("a count and a reader");
    let count: usize = count.parse().expect("a number");
    let mut reader = readers().into_iter().find(|r| r.name == name).expect("a reader");
    let scratch = tempfile::tempdir().unwrap();
    // The seeds themselves are good.
    let mut good = 0;
    for seed in reader.seeds.clone() {
        good += usize::from((reader.read)(&seed, scratch.path()).is_ok());
    }
    assert!(good > 0, "{name} reads none of its own files");
    let warm = memory("VmHWM:");
    let (mut read, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    for number in 0..count {
        let bytes = input(&reader, number);
        let since = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(&bytes, scratch.path())));
        slowest = slowest.max(since.elapsed());
        match outcome {
            Ok(Ok(())) => read += 1,
            Ok(Err(Error::Internal(reason))) => panic!("{name}, input {number}: {reason}"),
            Ok(Err(error)) => {
                refused += 1;
                let message = error.to_string();
                assert!(message.len() < 2000, "{name}, input {number}: an error of {} bytes", message.len());
            }
            Err(_) => panic!("{name}, input {number} panics: {bytes:?}"),
        }
        assert!(since.elapsed() < MOST_TIME, "{name}, input {number} takes {:?}", since.elapsed());
    }
    let more = memory("VmHWM:").saturating_sub(warm);
    assert!(more < MOST_KIB, "{name}: {more} KiB");
    println!(
        "mutations: {name}: {count} files, {read} read, {refused} refused, none longer than {slowest:.1?}, {more} KiB more memory; {good} seeds are good"
    );
}

#[test]
fn mutated_files_are_read_or_refused() {
    for Reader { name, seeds, .. } in readers() {
        let output = this_program()
            .args(["--exact", "mutations::one_reader_in_a_process_of_its_own", "--ignored", "--nocapture", "--test-threads=1"])
            .env("WGRAD_TEST_READER", format!("{} {name}", wanted()))
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|l| l.split_once("mutations: ")).map(|(_, line)| line);
        let line = line.unwrap_or_else(|| panic!("{name}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        println!("{line}");
        assert!(output.status.success() && seeds.len() > 1, "{name}");
        // Some are still read, and most are not: the mutations reach the readers' decisions.
        let refused = line.split_once(" read, ").and_then(|(_, rest)| rest.split(' ').next()).and_then(|n| n.parse().ok());
        assert!(name == "self-test record" || refused.is_some_and(|n: usize| n > wanted() / 20), "{line}");
    }
}

/// Files that coverage-guided runs have found (`scripts/sweep readers`), each of which takes a way of its own through the reader.
#[test]
fn files_of_the_corpus_are_read_or_refused() {
    let scratch = tempfile::tempdir().unwrap();
    for Reader { name, mut read, .. } in readers() {
        let path = format!("{}/fuzz/corpus/{}.safetensors", crate::common::ROOT, name.replace(' ', "-"));
        let corpus = StateDict::load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(!corpus.tensors.is_empty(), "{path} is empty");
        for (file, bytes) in &corpus.tensors {
            let since = Instant::now();
            if let Err(Error::Internal(reason)) = read(bytes.data.bytes(), scratch.path()) {
                panic!("{name}, {file}: {reason}");
            }
            assert!(since.elapsed() < MOST_TIME, "{name}, {file} takes {:?}", since.elapsed());
        }
        println!("{name}: {} files of the corpus", corpus.tensors.len());
    }
}
