//! Spoken words: WAV files in the layout of Google's Speech Commands, one folder per word.

use super::dataset::{Dataset, outside};
use super::wav::{self, Wav};
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::host::zeroed;
use crate::shape::product;
use crate::tensor::Tensor;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// What to do when a folder of clips does not fit.
const HELP: &str = "use one folder per word, with mono or stereo PCM or float WAV files of one sample rate in each";

/// Clips with one label each, in host memory.
///
/// As a [`Dataset`] it gives clips of equal length with their labels: shorter clips are centred in silence, longer ones are cut
/// on both sides. Batches are F32 `[n, length]` and I32 `[n]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioClips {
    rate: u32,
    words: Vec<String>,
    clips: Vec<Vec<f32>>,
    labels: Vec<i32>,
    files: Vec<PathBuf>,
    /// The length of clips as samples and in batches.
    length: usize,
}

impl AudioClips {
    /// Reads every `*.wav` of every folder in `dir`; a folder's name is the word, and words are numbered in alphabetical
    /// order. Folders whose names start with `_` (`_background_noise_`) or `.`, and other files, are skipped. Several channels
    /// are averaged; samples are scaled to -1..1. Samples may be integers of 1 to 4 bytes or floats of 4 or 8. Files may have any
    /// other chunks, and may come from a stream, whose header gives no length.
    ///
    /// # Errors
    /// The directory cannot be read or has no clips; a file is not a WAV file that can be read, is truncated, or has samples that
    /// are not finite; sample rates differ. One bad file fails the whole folder, since missing clips would go unnoticed: the
    /// error names the file, what is wrong with it and what to do.
    #[track_caller]
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        Self::load_words(dir.as_ref(), None)
    }

    /// As [`AudioClips::load`], with the words in a given order, such as those of the training set. Other folders are skipped.
    ///
    /// # Errors
    /// As [`AudioClips::load`]; a word has no folder, or is listed twice.
    #[track_caller]
    pub fn load_only(dir: impl AsRef<Path>, words: &[String]) -> Result<Self> {
        if let Some((_, word)) = words.iter().enumerate().find(|(i, word)| words[..*i].contains(word)) {
            let reason = format!("the word \"{word}\" is listed twice");
            return Err(Error::argument("AudioClips::load_only", reason, "give each word once: its position is its label"));
        }
        Self::load_words(dir.as_ref(), Some(words))
    }

    fn load_words(dir: &Path, wanted: Option<&[String]>) -> Result<Self> {
        let words = match wanted {
            Some(words) => words.to_vec(),
            None => folders(dir)?,
        };
        let (mut rate, mut clips, mut labels, mut files) = (None, Vec::new(), Vec::new(), Vec::new());
        for (label, word) in (0i32..).zip(&words) {
            for path in wav_files(&dir.join(word))? {
                let Wav { rate: found, samples } = wav::read(&path)?;
                let expected = *rate.get_or_insert(found);
                if found != expected {
                    let reason = format!("the clip has {found} samples per second, and those before it {expected}");
                    return Err(Error::format(path, reason, "resample the files to one rate"));
                }
                clips.push(samples);
                labels.push(label);
                files.push(path);
            }
        }
        let Some(rate) = rate else { return Err(Error::format(dir, "there are no clips in it", HELP)) };
        let length = clips.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self { rate, words, clips, labels, files, length })
    }

    /// The number of clips.
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Whether there are no clips.
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The words; a label is a position in this list.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The labels, in the order of the clips.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// Where each clip was read from.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The samples of each clip.
    pub fn clips(&self) -> &[Vec<f32>] {
        &self.clips
    }

    /// The length of the longest clip, in samples.
    pub fn longest(&self) -> usize {
        self.clips.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How long clips are as samples and in batches. Defaults to [`AudioClips::longest`].
    #[must_use]
    pub fn with_length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    /// How long clips are as samples and in batches.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Copies clip `i`, which is at `position` of a list, into the middle of silence; returns its label.
    #[track_caller]
    fn place(&self, op: &'static str, position: usize, i: usize, row: &mut [f32]) -> Result<i32> {
        let at = Location::caller();
        let (Some(clip), Some(&label)) = (self.clips.get(i), self.labels.get(i)) else {
            return Err(outside(op, i, position, self.clips.len(), at));
        };
        let taken = clip.len().min(row.len());
        let (from, to) = ((clip.len() - taken) / 2, (row.len() - taken) / 2);
        row[to..to + taken].copy_from_slice(&clip[from..from + taken]);
        Ok(label)
    }
}

impl Dataset for AudioClips {
    type Sample = (Vec<f32>, i32);

    fn len(&self) -> usize {
        self.clips.len()
    }

    fn get(&self, index: usize) -> Result<(Vec<f32>, i32)> {
        let mut samples = zeroed::<f32>("a clip", self.length)?;
        let label = self.place("get", 0, index, &mut samples)?;
        Ok((samples, label))
    }

    fn batch(&self, indices: &[usize], device: &Device) -> Result<(Tensor, Tensor)> {
        let (n, length) = (indices.len(), self.length);
        let mut samples = zeroed::<f32>("a batch of clips", product(&[n, length]))?;
        let mut labels = Vec::with_capacity(n);
        for (position, &i) in indices.iter().enumerate() {
            labels.push(self.place("batch", position, i, &mut samples[position * length..(position + 1) * length])?);
        }
        let samples = Tensor::from_host(HostData::F32(samples), DType::F32, [n, length], device)?;
        Ok((samples, Tensor::from_slice(&labels, [n], device)?))
    }
}

/// The names of the folders of `dir` that contain words, sorted.
fn folders(dir: &Path) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if path.is_dir() && !name.starts_with(['_', '.']) {
            words.push(name.to_owned());
        }
    }
    words.sort();
    Ok(words)
}

/// The WAV files of a folder, sorted.
fn wav_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(path: &Path, rate: u32, channels: u16, samples: &[i16]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        samples.iter().for_each(|&s| writer.write_sample(s).unwrap());
        writer.finalize().unwrap();
    }

    #[test]
    fn bundled_words_load() {
        let train = AudioClips::load("data/spoken-digits/train").unwrap();
        let test = AudioClips::load_only("data/spoken-digits/test", train.words()).unwrap();
        assert_eq!((train.len(), test.len(), train.rate(), train.words().len()), (400, 100, 8000, 10));
        assert_eq!(train.words()[0], "eight");
        assert!(train.clips().iter().flatten().all(|s| (-1.0..=1.0).contains(s)));
        let loudest = train.clips().iter().flatten().fold(0f32, |a, s| a.max(s.abs()));
        assert!(loudest > 0.1, "{loudest}");
    }

    #[test]
    fn clips_are_scaled_mixed_and_centred() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("yes/a.wav"), 100, 1, &[16384, -32768, 0]);
        write(&dir.path().join("no/b.WAV"), 100, 2, &[16384, 0, 0, 16384]);
        write(&dir.path().join("_background_noise_/c.wav"), 100, 1, &[1]);
        let clips = AudioClips::load(dir.path()).unwrap();
        assert_eq!((clips.words(), clips.labels()), (&["no".to_owned(), "yes".to_owned()][..], &[0, 1][..]));
        let (batch, labels) = clips.clone().with_length(5).batch(&[1, 0], &Device::cpu().unwrap()).unwrap();
        assert_eq!(batch.to_vec::<f32>().unwrap(), [0.0, 0.5, -1.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.0, 0.0]);
        assert_eq!(labels.to_vec::<i32>().unwrap(), [1, 0]);
        let (cut, _) = clips.clone().with_length(1).batch(&[1], &Device::cpu().unwrap()).unwrap();
        assert_eq!(cut.to_vec::<f32>().unwrap(), [-1.0]);
        assert_eq!(clips.get(0).unwrap(), (vec![0.25, 0.25, 0.0], 0));
        assert!(clips.batch(&[2], &Device::cpu().unwrap()).unwrap_err().to_string().contains("index 2"));
    }

    #[test]
    fn what_is_no_clip_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(AudioClips::load(dir.path()).unwrap_err().to_string().contains("no clips"));
        assert!(AudioClips::load(dir.path().join("none")).is_err());
        write(&dir.path().join("a/1.wav"), 100, 1, &[1, 2]);
        write(&dir.path().join("a/2.wav"), 200, 1, &[1, 2]);
        assert!(AudioClips::load(dir.path()).unwrap_err().to_string().contains("200 samples per second"));
        fs::write(dir.path().join("a/2.wav"), b"RIFF but no more").unwrap();
        let error = AudioClips::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("2.wav"), "{error}");
        assert!(AudioClips::load_only(dir.path(), &["b".into()]).unwrap_err().to_string().contains('b'));
    }
}
