//! Mutated files for every reader: each ends in a value or a typed error, in bounded time and memory. `scripts/sweep files` takes
//! 200,000 of them for each reader, the normal tests a fixed part.

use crate::common::{device, this_program};
use crate::damage::memory;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use wgrad::data::{
    AudioClips, ByteTokenizer, CharTokenizer, DataLoader, Mnist, TensorDataset, Tokenizer, Tokens, idx, read_text,
};
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::train::{Checkpoint, EpochRecord, History};
use wgrad::{DType, Device, Error, Result, Shape, Tensor};

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

/// One of our files as another program would write it: without checksums, and with fewer blanks at the header's end.
pub fn unsealed(file: &[u8]) -> Vec<u8> {
    let (header, data) = parts(file);
    let text = std::str::from_utf8(header).unwrap().trim_end();
    let (before, rest) = text.split_once("\"wgrad.checksum\":\"").expect("one of our files");
    let rest = rest.split_once('"').unwrap().1;
    whole(format!("{before}{}", rest.strip_prefix(',').unwrap_or(rest)).as_bytes(), data)
}

/// Header and data of a safetensors file.
fn parts(file: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = file.split_first_chunk::<8>().unwrap();
    rest.split_at(u64::from_le_bytes(*len) as usize)
}

fn whole(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// What a reader does with a file, in a folder of its own.
type Read = Box<dyn FnMut(&[u8], &Path) -> Result<()>>;

/// A reader: files that it reads, and what it does with one.
struct Reader {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    /// Whether the files are safetensors files, whose header is then mutated by itself now and then.
    headed: bool,
    read: Read,
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn model() -> (Linear, Adam) {
    let model = Linear::new(2, 3, &Init::new(&Device::cpu().unwrap(), 0)).unwrap();
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).unwrap();
    let x = Tensor::ones([4, 2], &Device::cpu().unwrap()).unwrap();
    adam.step(model.forward(&x).unwrap().sum().backward().unwrap()).unwrap();
    (model, adam)
}

/// A file's bytes, as a save makes them, and as another program does.
fn both(save: impl Fn(&Path) -> Result<()>) -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x");
    save(&path).unwrap();
    let ours = fs::read(&path).unwrap();
    vec![unsealed(&ours), ours]
}

fn state_dicts() -> Reader {
    let mut dict = StateDict::new();
    dict.insert("a", HostTensor::from_slice(&[1f32, -2.0, 3.5], [3, 1]).unwrap()).unwrap();
    dict.insert("b", HostTensor::from_slice(&[1i32, 2], [2]).unwrap()).unwrap();
    dict.insert("c", HostTensor::scalar(0.5)).unwrap();
    let truths = wgrad::HostData::U32(vec![0, 1, 1]);
    dict.insert("d", HostTensor::new(DType::Bool, Shape::new(&[3]).unwrap(), truths).unwrap()).unwrap();
    dict.metadata.insert("note".into(), "text \u{e9} \"quoted\"".into());
    let mut seeds = both(|path| dict.save(path));
    seeds.push(whole(
        br#"{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},"h":{"dtype":"F16","shape":[2],"data_offsets":[16,20]},"e":{"dtype":"U8","shape":[0,9],"data_offsets":[20,20]}}"#,
        &[0; 20],
    ));
    seeds.push(whole(b"{}", &[]));
    let read = |bytes: &[u8], folder: &Path| {
        let dict = StateDict::load(put(folder, "x.safetensors", bytes))?;
        for (name, tensor) in &dict.tensors {
            assert_eq!(tensor.data.len(), tensor.shape.numel(), "{name}");
        }
        // What can be read can be written.
        let again = folder.join("again.safetensors");
        if bytes.len().is_multiple_of(16) {
            dict.save(&again)?;
            assert!(StateDict::load(&again)?.tensors.keys().eq(dict.tensors.keys()));
        }
        Ok(())
    };
    Reader { name: "state dict", seeds, headed: true, read: Box::new(read) }
}

fn checkpoints() -> Reader {
    let (model, mut adam) = model();
    let dataset = || TensorDataset::new(Tensor::ones([10, 2], &Device::cpu().unwrap()).unwrap()).unwrap();
    let mut loader = DataLoader::new(dataset(), 3, &Device::cpu().unwrap()).unwrap();
    let states = loader.state_dict();
    let save = |path: &Path| Checkpoint::capture(&model, &adam)?.with("epoch", 3).with_state("loader", states.clone()).save(path);
    let seeds = both(save);
    let read = move |bytes: &[u8], folder: &Path| {
        let checkpoint = Checkpoint::load(put(folder, "x.safetensors", bytes))?;
        let outcomes = [
            checkpoint.restore(&model, &mut adam).map(drop),
            checkpoint.note::<usize>("epoch").map(drop),
            checkpoint.state("loader").and_then(|state| loader.load_state_dict(&state)),
        ];
        outcomes.into_iter().collect()
    };
    Reader { name: "checkpoint", seeds, headed: true, read: Box::new(read) }
}

fn weights() -> Reader {
    let (model, _) = model();
    let seeds = both(|path| model.save(path));
    let read = move |bytes: &[u8], folder: &Path| model.load(put(folder, "x.safetensors", bytes));
    Reader { name: "model", seeds, headed: true, read: Box::new(read) }
}

fn histories() -> Reader {
    let record = |epoch| EpochRecord {
        epoch,
        train_loss: 1.0 / epoch as f64,
        train_accuracy: 0.5,
        test_loss: f64::NAN,
        test_accuracy: 0.25,
        lr: 1e-3,
        seconds: 2.5,
    };
    let seeds = vec![History { records: (1..4).map(record).collect() }.to_text().into_bytes(), Vec::new()];
    let read = |bytes: &[u8], folder: &Path| {
        let history = History::from_text(&read_text(put(folder, "x.txt", bytes))?)?;
        assert!(!history.report("test").is_empty() && !history.chart("x").to_svg().is_empty());
        Ok(())
    };
    Reader { name: "history", seeds, headed: false, read: Box::new(read) }
}

/// An IDX file.
fn array(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 8, dims.len() as u8];
    out.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    out.extend_from_slice(bytes);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

const MOST_PIXELS: usize = 1 << 20;

fn arrays() -> Reader {
    let plain = array(&[2, 3, 4], &[7; 24]);
    let seeds = vec![plain.clone(), gzip(&plain), array(&[5], &[1, 2, 3, 4, 5]), gzip(&array(&[1000, 1000], &[0; 1_000_000]))];
    let read = |bytes: &[u8], folder: &Path| {
        let path = put(folder, "x", bytes);
        let outcomes = [1, 2, 3].map(|rank| idx::read_within(&path, rank, MOST_PIXELS));
        for array in outcomes.iter().flatten() {
            assert_eq!(array.bytes.len(), array.dims.iter().product::<usize>());
        }
        outcomes.into_iter().find(Result::is_ok).unwrap_or_else(|| idx::read(&path, 3)).map(drop)
    };
    Reader { name: "idx", seeds, headed: false, read: Box::new(read) }
}

fn digits() -> Reader {
    let images = array(&[2, 2, 2], &[9; 8]);
    let labels = array(&[2], &[1, 2]);
    let seeds = vec![images.clone(), labels.clone(), gzip(&images)];
    let read = move |bytes: &[u8], folder: &Path| {
        let names = ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"];
        if !folder.join(names[3]).exists() {
            names.iter().zip([&images, &images, &labels, &labels]).for_each(|(name, good)| drop(put(folder, name, good)));
        }
        // In the place of images, and of labels.
        let outcomes = [(names[0], &images), (names[2], &labels)].map(|(name, good)| {
            put(folder, name, bytes);
            let outcome = Mnist::load_within(folder, MOST_PIXELS).map(|digits| drop(digits.train.statistics()));
            put(folder, name, good);
            outcome
        });
        let [as_images, as_labels] = outcomes;
        as_images.or(as_labels)
    };
    Reader { name: "mnist", seeds, headed: false, read: Box::new(read) }
}

fn sounds() -> Reader {
    let wav = |bits: u16, sample_format, channels: u16| {
        let spec = hound::WavSpec { channels, sample_rate: 8000, bits_per_sample: bits, sample_format };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for i in 0..40 {
            match sample_format {
                hound::SampleFormat::Int => writer.write_sample(i).unwrap(),
                hound::SampleFormat::Float => writer.write_sample(i as f32 / 40.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    };
    use hound::SampleFormat::{Float, Int};
    let seeds = vec![wav(16, Int, 1), wav(8, Int, 2), wav(24, Int, 1), wav(32, Float, 2)];
    let read = |bytes: &[u8], folder: &Path| {
        fs::create_dir_all(folder.join("word")).unwrap();
        put(folder, "word/x.wav", bytes);
        let clips = AudioClips::load(folder)?;
        assert!(clips.clips().iter().flatten().all(|s| s.is_finite()));
        Ok(())
    };
    Reader { name: "wav", seeds, headed: false, read: Box::new(read) }
}

fn texts() -> Reader {
    let seeds = vec!["eins, zwei\r\ndrei, Größe 模型 🧠\n".into(), b"1,2.5,-3e9\n4,nan,inf\n".to_vec(), Vec::new()];
    let read = |bytes: &[u8], folder: &Path| {
        let text = read_text(put(folder, "x.txt", bytes))?;
        let tokenizer = CharTokenizer::of(&text)?;
        let tokens = tokenizer.encode(&text)?;
        assert_eq!(tokenizer.decode(&tokens)?, text);
        ByteTokenizer.decode(&ByteTokenizer.encode(&text)?)?;
        // A vocabulary of another text, and tokens of nobody's.
        let other = CharTokenizer::of("einszwdr, ")?.with_unknown('?');
        other.decode(&other.encode(&text)?)?;
        let drawn: Vec<i32> = bytes.chunks(4).map(|b| b.iter().fold(0i32, |n, &b| n << 8 | i32::from(b))).collect();
        let _ = tokenizer.decode(&drawn);
        Tokens::new(tokens).windows(3)?.stride(1).map(drop)
    };
    Reader { name: "text and vocabulary", seeds, headed: false, read: Box::new(read) }
}

fn records() -> Reader {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kernels.txt");
    device().save_self_test(&path).unwrap();
    // The CPU device has no kernels to test.
    let record = fs::read(&path).unwrap_or_else(|_| b"wgrad 0.1.0\nadapter driver\nmatmul ok\n1 2 3\n".to_vec());
    let read = |bytes: &[u8], folder: &Path| device().load_self_test(put(folder, "x.txt", bytes)).map(drop);
    Reader { name: "self-test record", seeds: vec![record, Vec::new()], headed: false, read: Box::new(read) }
}

fn readers() -> Vec<Reader> {
    vec![state_dicts(), checkpoints(), weights(), histories(), arrays(), digits(), sounds(), texts(), records()]
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
