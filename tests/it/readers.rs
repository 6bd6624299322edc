//! Every reader of files, and files that it reads: for mutations of them here, and for coverage-guided ones in `fuzz`.

use crate::common::device;
use std::fs;
use std::path::Path;
use wgrad::data::{
    AudioClips, ByteTokenizer, CharTokenizer, DataLoader, Mnist, TensorDataset, Tokenizer, Tokens, idx, read_text,
};
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::train::{Checkpoint, EpochRecord, History};
use wgrad::{DType, Device, Result, Shape, Tensor};

/// One of our files as another program would write it: without checksums, and with fewer blanks at the header's end.
pub fn unsealed(file: &[u8]) -> Vec<u8> {
    let (header, data) = parts(file);
    let text = std::str::from_utf8(header).unwrap().trim_end();
    let (before, rest) = text.split_once("\"wgrad.checksum\":\"").expect("one of our files");
    let rest = rest.split_once('"').unwrap().1;
    whole(format!("{before}{}", rest.strip_prefix(',').unwrap_or(rest)).as_bytes(), data)
}

/// Header and data of a safetensors file.
pub fn parts(file: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = file.split_first_chunk::<8>().unwrap();
    rest.split_at(u64::from_le_bytes(*len) as usize)
}

/// A safetensors file of a header and data.
pub fn whole(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// What a reader does with a file, in a folder of its own.
pub type Read = Box<dyn FnMut(&[u8], &Path) -> Result<()>>;

/// A reader: files that it reads, and what it does with one.
pub struct Reader {
    /// What it reads.
    pub name: &'static str,
    /// Files that it reads.
    pub seeds: Vec<Vec<u8>>,
    /// Whether the files are safetensors files, whose header is then mutated by itself now and then.
    pub headed: bool,
    /// Reads a file, and uses what is in it.
    pub read: Read,
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

/// All of them.
pub fn readers() -> Vec<Reader> {
    vec![state_dicts(), checkpoints(), weights(), histories(), arrays(), digits(), sounds(), texts(), records()]
}
