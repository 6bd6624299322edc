//! WAV files: chunks of a RIFF file, one of which says how the samples of another are stored.
//!
//! Source: Microsoft, IBM, "Multimedia programming interface and data specifications 1.0", 1991; Microsoft, "Multiple channel
//! audio data and WAVE files", 2007 (`WAVE_FORMAT_EXTENSIBLE`).

use crate::error::{Error, Result};
use crate::source;
use std::path::Path;

const CONVERT: &str = "convert it to PCM or float WAV, or take it out of the folder";
const FETCH: &str = "fetch or convert the file again, or take it out of the folder";

/// Samples of all channels, averaged.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav {
    /// Samples per second.
    pub rate: u32,
    /// In -1..1, if the file keeps to its full scale.
    pub samples: Vec<f32>,
}

/// Reads a file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::Format`] if it is not a WAV file, is truncated, stores samples other than
/// integers of 1 to 4 bytes or floats of 4 or 8, or has a sample that is not finite.
#[track_caller]
pub fn read(path: &Path) -> Result<Wav> {
    let bytes = source::read(path)?;
    parse(&bytes).map_err(|(reason, help)| Error::format(path, reason, help))
}

/// What is wrong, and what to do about it.
type Refusal = (String, &'static str);

/// How samples are stored.
#[derive(Debug, Clone, Copy)]
struct Layout {
    channels: usize,
    rate: u32,
    /// Bytes of one sample.
    width: usize,
    /// Bits of one sample, at the lower end of its bytes if they leave a whole byte free.
    bits: usize,
    float: bool,
}

fn parse(bytes: &[u8]) -> Result<Wav, Refusal> {
    let riff_size = match (bytes.first_chunk::<4>(), bytes.get(8..12)) {
        // RF64 files put sizes past 32 bits elsewhere, and u32::MAX here, as streams do.
        (Some(b"RIFF" | b"RF64"), Some(b"WAVE")) => word(bytes, 4),
        _ => return Err(("the file does not begin as a WAV file does, with RIFF and WAVE".into(), FETCH)),
    };
    let (mut layout, mut at) = (None, 12);
    loop {
        let Some(header) = bytes.get(at..at + 8) else {
            let missing = if layout.is_some() { "data" } else { "fmt" };
            return Err((format!("the file ends at byte {} without a {missing} chunk", bytes.len()), FETCH));
        };
        let (name, size) = (&header[..4], word(header, 4) as usize);
        let body = &bytes[at + 8..];
        if let (b"data", Some(layout)) = (name, layout) {
            // A writer that could not go back, such as a pipe's, leaves the size open.
            let open = size == u32::MAX as usize || (size == 0 && [0, u32::MAX].contains(&riff_size));
            return decode(if open { whole_frames(body, layout) } else { part(body, size, name)? }, layout);
        }
        let content = part(body, size, name)?;
        match name {
            b"fmt " => layout = Some(layout_of(content)?),
            b"data" => return Err(("the data chunk comes before the fmt chunk".into(), FETCH)),
            _ => {}
        }
        // Chunks begin at even bytes. Some writers leave the padding out: then the next chunk's name is in its place.
        let unpadded = body
            .get(size..size + 4)
            .is_some_and(|next| [b"data", b"fmt ", b"fact", b"LIST"].contains(&next.first_chunk().unwrap_or(b"    ")));
        at += 8 + size + if unpadded { 0 } else { size % 2 };
    }
}

/// A chunk's content.
fn part<'b>(body: &'b [u8], size: usize, name: &[u8]) -> Result<&'b [u8], Refusal> {
    body.get(..size).ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        (format!("the chunk {name:?} has {size} bytes by its header, and the file ends after {}", body.len()), FETCH)
    })
}

/// What a stream contains; its end may have cut a frame.
fn whole_frames(body: &[u8], layout: Layout) -> &[u8] {
    &body[..body.len() - body.len() % (layout.channels * layout.width)]
}

fn layout_of(fmt: &[u8]) -> Result<Layout, Refusal> {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xFFFE;
    /// What follows the format's number in the identifiers of formats that have one.
    const IDENTIFIER: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
    if fmt.len() < 16 {
        return Err((format!("the fmt chunk has {} bytes, not 16 or more", fmt.len()), FETCH));
    }
    let mut format = half(fmt, 0);
    let (channels, rate, frame, bits) = (half(fmt, 2), word(fmt, 4), half(fmt, 12), usize::from(half(fmt, 14)));
    if format == EXTENSIBLE {
        if fmt.get(26..40) != Some(&IDENTIFIER) {
            return Err(("the fmt chunk is extensible, and names no format that has a number".into(), CONVERT));
        }
        format = half(fmt, 24);
    }
    if channels == 0 || rate == 0 || frame % channels != 0 {
        let reason = format!("the fmt chunk says {channels} channels, {rate} samples per second and {frame} bytes per frame");
        return Err((reason, FETCH));
    }
    let width = usize::from(frame / channels);
    let layout = Layout { channels: usize::from(channels), rate, width, bits, float: format == FLOAT };
    let fits = match format {
        PCM => (1..=4).contains(&width) && (1..=8 * width).contains(&bits),
        FLOAT => [4, 8].contains(&width) && bits == 8 * width,
        _ => return Err((format!("the samples are of format 0x{format:04x}, neither PCM nor float"), CONVERT)),
    };
    if fits { Ok(layout) } else { Err((format!("the samples have {bits} bits in {width} bytes each"), CONVERT)) }
}

fn decode(data: &[u8], layout: Layout) -> Result<Wav, Refusal> {
    let Layout { channels, rate, width, bits, float } = layout;
    let frame = channels * width;
    if !data.len().is_multiple_of(frame) {
        return Err((format!("the data chunk has {} bytes, and a frame {frame}", data.len()), FETCH));
    }
    let spare = 32 - 8 * width.min(4);
    // Samples of fewer bits fill the upper ones of their bytes; where a whole byte is free, writers use the lower ones.
    let unused = if 8 * width.min(4) >= bits + 8 { 8 * width - bits } else { 0 };
    let sample = |b: &[u8]| -> f64 {
        match (float, b) {
            (true, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (true, b) => b.first_chunk().map_or(f64::NAN, |b| f64::from_le_bytes(*b)),
            // Single bytes are the one width without a sign.
            (false, &[b]) => (f64::from(b) - 128.0) / 128.0,
            (false, b) => {
                let bits = b.iter().rev().fold(0u32, |word, &byte| (word << 8) | u32::from(byte));
                f64::from((bits << (spare + unused)).cast_signed()) / f64::from(1u32 << 31)
            }
        }
    };
    let mut samples = Vec::with_capacity(data.len() / frame);
    for (n, frame) in data.chunks_exact(frame).enumerate() {
        let mean = frame.chunks_exact(width).map(sample).sum::<f64>() / channels as f64;
        #[allow(clippy::cast_possible_truncation, reason = "sounds are in single precision")]
        let mean = mean as f32;
        if !mean.is_finite() {
            return Err((format!("sample {n} is not a finite number"), FETCH));
        }
        samples.push(mean);
    }
    Ok(Wav { rate, samples })
}

/// The 32-bit number at a place within the bytes.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

/// The 16-bit number at a place within the bytes.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_files_read_as_by_another_reader() {
        let mut files = 0;
        for word in std::fs::read_dir("data/spoken-digits/test").unwrap() {
            for file in std::fs::read_dir(word.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let Some("wav") = path.extension().and_then(|e| e.to_str()) else { continue };
                let mut reader = hound::WavReader::open(&path).unwrap();
                let scale = f32::from(reader.spec().bits_per_sample - 1).exp2();
                let expected: Vec<f32> = reader.samples::<i32>().map(|s| s.unwrap() as f32 / scale).collect();
                assert_eq!(read(&path).unwrap(), Wav { rate: reader.spec().sample_rate, samples: expected }, "{path:?}");
                files += 1;
            }
        }
        assert!(files >= 100, "{files}");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let path = std::fs::read_dir("data/spoken-digits/test/one").unwrap().next().unwrap().unwrap().path();
        let good = std::fs::read(path).unwrap();
        for cut in 0..60.min(good.len()) {
            assert!(parse(&good[..cut]).is_err(), "{cut}");
        }
        // Every byte of the header at every extreme.
        for at in 0..44 {
            for value in [0, 1, 2, 3, 4, 8, 24, 0x7F, 0x80, 0xFE, 0xFF] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = parse(&bytes);
            }
        }
    }
}
