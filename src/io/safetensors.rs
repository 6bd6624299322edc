//! The safetensors format, which PyTorch and Hugging Face share: a JSON header and the tensors' bytes.

use super::header::{self, Entry, Header, MOST_BYTES, MOST_NOTES, MOST_TENSORS, NOTES};
use super::state_dict::{HostTensor, Origin, StateDict};
use super::stored::{Fault, PIECE, Reading, Stored, each_piece};
use super::{foreign, seal};
use crate::atomic;
use crate::error::{Error, Result};
use crate::source;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const SAVE: &str = "StateDict::save";
const DAMAGED: &str = "save or download it again";
/// Tensors that are shorter are read and written together.
const BUFFER: usize = PIECE / 16;

impl StateDict {
    /// Writes a `.safetensors` file, whole or not at all. Checksums of the header and the data are in it, which only this crate
    /// reads: [`StateDict::load`] reports a flipped bit anywhere. Tensors are written one after the other, and equal contents give
    /// equal files.
    ///
    /// # Errors
    /// The file cannot be written; a tensor's data do not fit its shape or dtype; a tensor has the name `__metadata__`, which the
    /// format reserves for notes, or a note the key `wgrad.checksum`; there are more than 100,000 tensors or 10,000 notes, or the
    /// names and notes take more than 16 MiB.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (mut header, rows) = self.layout()?;
        atomic::write_with(path.as_ref(), |file| write_to(file, &mut header, &rows))
    }

    /// Reads a `.safetensors` file. BF16 becomes F32; I64 becomes I32 if every value fits. The field `origin` says whether the
    /// file has checksums, as those of this crate have; files of other programs are read without.
    ///
    /// # Errors
    /// The file cannot be read, or is not a regular file; it is malformed, or its checksums do not fit; a dtype has no counterpart
    /// here; an integer is out of range; there are more than 100,000 tensors or 10,000 notes, or the header has more than 16 MiB.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (file, len) = source::open(path)?;
        Self::read_from(file, len, path)
    }

    /// The header, with blanks in place of the checksums, and the tensors in the order of their bytes.
    #[track_caller]
    fn layout(&self) -> Result<(Vec<u8>, Vec<&HostTensor>)> {
        if self.tensors.contains_key(NOTES) {
            return refuse(format!("a tensor is named \"{NOTES}\", which the format reserves for notes"), "choose another name");
        }
        if self.metadata.contains_key(seal::KEY) {
            return refuse(format!("a note is named \"{}\", which is reserved for checksums", seal::KEY), "choose another name");
        }
        let (tensors, notes) = (self.tensors.len(), self.metadata.len());
        if tensors > MOST_TENSORS || notes > MOST_NOTES {
            let reason =
                format!("there are {tensors} tensors and {notes} notes, and a file has at most {MOST_TENSORS} and {MOST_NOTES}");
            return refuse(reason, "write several files");
        }
        let quoted = |text: &str| serde_json::to_string(text).map_err(|e| Error::internal(format!("{text:?}: {e}")));
        let mut header = [seal::OPENING, seal::BLANK].concat();
        for (key, value) in &self.metadata {
            header += &format!(",{}:{}", quoted(key)?, quoted(value)?);
        }
        header.push('}');
        let mut rows = Vec::with_capacity(tensors);
        for (name, tensor) in &self.tensors {
            tensor.check(SAVE, name)?;
            rows.push((name, tensor));
        }
        // Wide elements come first, so that all of them are at multiples of their size.
        rows.sort_by_key(|(_, tensor)| std::cmp::Reverse(Stored::of(tensor.dtype).width()));
        let mut end = 0;
        for (name, tensor) in &rows {
            let stored = Stored::of(tensor.dtype);
            let start = end;
            end += tensor.data.len() as u64 * stored.width().unwrap_or(0);
            let dims = tensor.shape.dims();
            header +=
                &format!(",{}:{{\"dtype\":\"{stored}\",\"shape\":{dims:?},\"data_offsets\":[{start},{end}]}}", quoted(name)?);
        }
        header.push('}');
        // The tensors begin at a multiple of 8 bytes.
        let len = (header.len() + seal::SPACES).next_multiple_of(8);
        if len > MOST_BYTES {
            let reason = format!("names and notes take {len} bytes, and a file has room for {MOST_BYTES}");
            return refuse(reason, "write shorter notes, or keep them in a file of their own");
        }
        let mut header = header.into_bytes();
        header.resize(len, b' ');
        Ok((header, rows.into_iter().map(|(_, tensor)| tensor).collect()))
    }

    /// Reads a file of `len` bytes; `path` is for messages.
    #[track_caller]
    fn read_from(file: impl Read, len: u64, path: &Path) -> Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER, file);
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => malformed("the file ends early", path),
            _ => Error::io(path, e),
        };
        let mut start = Vec::new();
        (&mut file).take(8).read_to_end(&mut start).map_err(failed)?;
        let told = start.first_chunk().map(|word| u64::from_le_bytes(*word));
        let size = match told.map(usize::try_from) {
            None => Err("header too small"),
            Some(Ok(size)) if size > MOST_BYTES => Err("header too large"),
            Some(Ok(size)) if size as u64 > len.saturating_sub(8) => Err("the header ends after the file"),
            Some(size) => size.map_err(|_| "header too large"),
        };
        let known = |start: &[u8]| {
            let (what, help) = foreign::recognised(start, path)?;
            Some(Error::format(path, format!("this is {what}, not a safetensors file"), help))
        };
        let size = match size {
            Ok(size) => size,
            Err(reason) => {
                (&mut file).take(foreign::ENOUGH as u64).read_to_end(&mut start).map_err(failed)?;
                return Err(known(&start).unwrap_or_else(|| malformed(reason, path)));
            }
        };
        let mut header = vec![0; size];
        file.read_exact(&mut header).map_err(failed)?;
        let damaged = |part: &str| {
            let reason = format!("the {part} does not fit its checksum: the file is damaged");
            Err(Error::format(path, reason, "restore it from a copy, or save or download it again"))
        };
        let Ok(expected) = seal::check(&header) else { return damaged("header") };
        let Header { notes, entries } = header::parse(&header, len - 8 - size as u64).map_err(|reason| {
            start.extend(header.iter().take(foreign::ENOUGH));
            known(&start).unwrap_or_else(|| malformed(&reason, path))
        })?;
        drop(header);
        let origin = if expected.is_some() { Origin::Checked } else { Origin::Unchecked };
        let mut dict = Self { metadata: notes, origin, ..Self::new() };
        let mut reading = Reading { from: file, sum: crc32fast::Hasher::new() };
        for Entry { name, dtype, shape, .. } in entries {
            let (dtype, data) = reading.data(&dtype, shape.numel()).map_err(|fault| match fault {
                Fault::Io(e) => failed(e),
                Fault::Refused(reason, help) => Error::format(path, format!("tensor \"{name}\" {reason}"), help),
                Fault::Memory(e) => e,
            })?;
            dict.insert(name, HostTensor { dtype, shape, data })?;
        }
        if expected.is_some_and(|expected| reading.sum.finalize() != expected) { damaged("data") } else { Ok(dict) }
    }
}

#[track_caller]
fn refuse<T>(reason: String, help: &str) -> Result<T> {
    Err(Error::argument(SAVE, reason, help))
}

#[track_caller]
fn malformed(reason: &str, path: &Path) -> Error {
    Error::format(path, format!("this is not a whole safetensors file ({reason})"), DAMAGED)
}

/// Writes a file: the header with blanks, the data, and then the checksums over the blanks.
fn write_to(file: &mut (impl Write + Seek), header: &mut [u8], rows: &[&HostTensor]) -> io::Result<()> {
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header)?;
    let mut sum = crc32fast::Hasher::new();
    let mut out = BufWriter::with_capacity(BUFFER, &mut *file);
    for tensor in rows {
        each_piece(tensor, |piece| {
            sum.update(piece);
            out.write_all(piece)
        })?;
    }
    out.flush()?;
    drop(out);
    seal::fill(header, sum.finalize());
    file.seek(SeekFrom::Start(8))?;
    file.write_all(header.get(..seal::HEAD).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{DType, HostData};
    use crate::shape::Shape;
    use std::collections::BTreeMap;

    fn bytes_of(dict: &StateDict) -> Vec<u8> {
        let (mut header, rows) = dict.layout().unwrap();
        let mut file = io::Cursor::new(Vec::new());
        write_to(&mut file, &mut header, &rows).unwrap();
        file.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<StateDict> {
        StateDict::read_from(bytes, bytes.len() as u64, Path::new("x"))
    }

    fn sample() -> StateDict {
        let mut dict = StateDict::new();
        let rows = [
            ("a.weight", DType::F32, vec![2, 2], HostData::F32(vec![1.0, -0.0, f32::MIN_POSITIVE, 3.5])),
            ("b", DType::F64, vec![], HostData::F64(vec![std::f64::consts::PI])),
            ("c", DType::I32, vec![3], HostData::I32(vec![-1, 0, i32::MAX])),
            ("bytes", DType::U8, vec![3], HostData::U8(vec![0, 7, 255])),
            ("halves", DType::F16, vec![5], HostData::F16(vec![0x3C00, 0x8000, 0x0001, 0x7C00, 0x7E01])),
            ("d", DType::Bool, vec![2], HostData::U32(vec![0, 1])),
            ("empty", DType::U32, vec![0, 4], HostData::U32(vec![])),
        ];
        for (name, dtype, dims, data) in rows {
            dict.insert(name, HostTensor::new(dtype, Shape::new(&dims).unwrap(), data).unwrap()).unwrap();
        }
        for (key, value) in [("epoch", "3"), ("b", "\"quoted\""), ("a", "line\nline"), ("ü", "\u{1f}"), ("c", ""), ("d", "\\")] {
            dict.metadata.insert(key.into(), value.into());
        }
        dict
    }

    #[test]
    fn files_round_trip_and_are_reproducible() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let dict = sample();
        dict.save(&path).unwrap();
        assert_eq!(StateDict::load(&path).unwrap(), dict);
        let bytes = bytes_of(&dict);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        (0..20).for_each(|_| assert_eq!(bytes_of(&sample()), bytes));
        for dict in [StateDict::new(), StateDict { tensors: dict.tensors.clone(), ..StateDict::new() }] {
            dict.save(&path).unwrap();
            assert_eq!(StateDict::load(&path).unwrap(), dict);
        }
        assert_eq!(dict.note::<usize>("epoch").unwrap(), 3);
        assert!(dict.note::<usize>("step").is_err());
    }

    #[test]
    fn damaged_files_are_typed_errors() {
        let good = bytes_of(&sample());
        for cut in [0, 4, 8, 40, good.len() - 1] {
            let result = read(&good[..cut]);
            assert!(matches!(result, Err(Error::Format { .. })), "{cut} bytes: {result:?}");
        }
        let mut lying = good;
        lying[0..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(read(&lying), Err(Error::Format { .. })));
        assert!(matches!(StateDict::load("/nonexistent/x"), Err(Error::Io { .. })));
    }

    /// Every bit of a file, wherever it is: length, notes, names, offsets, padding, the checksums and their key, data.
    #[test]
    fn every_flipped_bit_is_an_error() {
        let small = StateDict { metadata: BTreeMap::from([("wgrad.checksun".into(), "x".into())]), ..StateDict::new() };
        let rows = [("a whole dictionary", sample()), ("one note", small), ("nothing", StateDict::new())];
        for (what, dict) in rows {
            let good = bytes_of(&dict);
            assert_eq!(read(&good).unwrap().origin, Origin::Checked, "{what}");
            for bit in 0..8 * good.len() {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let found = read(&bad);
                assert!(matches!(found, Err(Error::Format { .. })), "{what}: bit {bit} of {}: {found:?}", good.len() * 8);
            }
            // And longer damage: two bytes anywhere near each other.
            for at in 0..good.len() - 3 {
                for mask in [[0xFF, 0xFF, 0], [0x20, 0, 0x20], [1, 0, 1]] {
                    let mut bad = good.clone();
                    bad.iter_mut().skip(at).zip(mask).for_each(|(b, m)| *b ^= m);
                    assert!(read(&bad).is_err(), "{what}: {mask:?} at {at}");
                }
            }
        }
    }

    /// Files of others, and of earlier versions of this crate, with the checksum of another file among their notes or none.
    #[test]
    fn files_of_others_are_read_without_checksums() {
        let dict = sample();
        let views: Vec<(String, safetensors::tensor::TensorView<'_>)> = Vec::new();
        let notes = std::collections::HashMap::from([(seal::KEY.to_owned(), "crc32:12345678:9abcdef0".to_owned())]);
        for (notes, kept) in [(Some(notes), 0), (None, 0), (Some([("a".to_owned(), "b".to_owned())].into()), 1)] {
            let theirs = safetensors::serialize(views.clone(), notes).unwrap();
            let found = read(&theirs).unwrap();
            assert_eq!((found.origin, found.metadata.len()), (Origin::Unchecked, kept));
        }
        // Their library reads ours.
        let ours = bytes_of(&dict);
        let theirs = safetensors::SafeTensors::deserialize(&ours).unwrap();
        assert_eq!(theirs.len(), dict.tensors.len());
        for (name, tensor) in &dict.tensors {
            let view = theirs.tensor(name).unwrap();
            assert_eq!(view.shape(), tensor.shape.dims(), "{name}");
            if tensor.dtype != DType::Bool {
                assert_eq!(HostData::from_bytes(tensor.dtype, view.data()), tensor.data, "{name}");
            }
        }
        let (_, header) = safetensors::SafeTensors::read_metadata(&ours).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap().len(), dict.metadata.len() + 1);
        let again = StateDict { metadata: BTreeMap::from([(seal::KEY.into(), "x".into())]), ..StateDict::new() };
        assert!(again.layout().unwrap_err().to_string().contains("reserved for checksums"));
    }

    #[test]
    fn writers_keep_to_the_bounds_of_readers() {
        let note = |len: usize| StateDict { metadata: BTreeMap::from([("a".into(), "x".repeat(len))]), ..StateDict::new() };
        let long = note(MOST_BYTES - 200);
        assert_eq!(read(&bytes_of(&long)).unwrap(), long);
        assert!(note(MOST_BYTES).layout().unwrap_err().to_string().contains("room for 16777216"));
        let empty = HostTensor::from_slice::<f32>(&[], [0]).unwrap();
        let most = |n: usize| StateDict { tensors: (0..n).map(|i| (i.to_string(), empty.clone())).collect(), ..StateDict::new() };
        assert_eq!(read(&bytes_of(&most(MOST_TENSORS))).unwrap().tensors.len(), MOST_TENSORS);
        assert!(most(MOST_TENSORS + 1).layout().is_err());
        let notes =
            |n: usize| StateDict { metadata: (0..n).map(|i| (i.to_string(), String::new())).collect(), ..StateDict::new() };
        assert_eq!(read(&bytes_of(&notes(MOST_NOTES))).unwrap().metadata.len(), MOST_NOTES);
        assert!(notes(MOST_NOTES + 1).layout().is_err());
    }

    #[test]
    fn prefixes_nest() {
        let mut outer = StateDict::new();
        outer.insert_all("model.", sample()).unwrap();
        assert_eq!(outer.under("model.").tensors, sample().tensors);
        assert!(outer.under("optimizer.").tensors.is_empty());
    }
}
