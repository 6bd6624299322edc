//! The safetensors format, which PyTorch and Hugging Face share: a JSON header and the tensors' bytes.

use super::state_dict::{HostTensor, StateDict};
use crate::atomic;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::shape::Shape;
use safetensors::tensor::{Dtype as Stored, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::Path;

/// The key of the notes among the tensors' names in a file's header.
const NOTES: &str = "__metadata__";
/// The most bytes of a header that readers accept.
const MAX_HEADER: usize = 100_000_000;
const DAMAGED: &str = "save or download it again";
const FROM_TORCH: &str =
    "convert it in Python: safetensors.torch.save_file(torch.load(path, map_location=\"cpu\"), \"model.safetensors\")";
const FROM_PAGE: &str = "download the file itself";
/// What other files begin with, what they are, and what to do with them.
const FOREIGN: [(&[u8], &str, &str); 10] = [
    (b"PK\x03\x04", "a zip file, as torch.save writes", FROM_TORCH),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", "a PyTorch pickle", FROM_TORCH),
    (b"\x80\x02}", "a Python pickle", FROM_TORCH),
    (b"\x80\x04\x95", "a Python pickle", FROM_TORCH),
    (
        b"\x93NUMPY",
        "a NumPy array",
        "convert it in Python: safetensors.numpy.save_file({\"x\": numpy.load(path)}, \"x.safetensors\")",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", "save the weights with safetensors in Python"),
    (b"GGUF", "a GGUF file", "download the model's *.safetensors"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (b"<!DOCTYPE", "a web page", FROM_PAGE),
    (b"<html", "a web page", FROM_PAGE),
];

impl StateDict {
    /// Writes a `.safetensors` file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; a tensor's data do not fit its shape or dtype; a tensor has the name `__metadata__`, which the
    /// format reserves for notes.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        atomic::write(path, &self.to_bytes()?)
    }

    /// Reads a `.safetensors` file. BF16 becomes F32; I64 becomes I32 if every value fits.
    ///
    /// # Errors
    /// The file cannot be read or is malformed; a dtype has no counterpart here; an integer is out of range.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::from_bytes(&bytes, path)
    }

    /// The file's bytes.
    #[track_caller]
    fn to_bytes(&self) -> Result<Vec<u8>> {
        if self.tensors.contains_key(NOTES) {
            let reason = format!("a tensor is named \"{NOTES}\", which the format reserves for notes");
            return Err(Error::argument("StateDict::save", reason, "choose another name"));
        }
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            tensor.check("StateDict::save", name)?;
            let bytes = stored_bytes(tensor);
            views.push((name, stored_dtype(tensor.dtype), tensor.shape.dims().to_vec(), bytes));
        }
        let mut borrowed = Vec::with_capacity(views.len());
        for (name, dtype, shape, bytes) in &views {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| Error::internal(format!("{name}: {e}")))?;
            borrowed.push((name.as_str(), view));
        }
        let bytes = safetensors::serialize(borrowed, None).map_err(|e| Error::internal(format!("safetensors: {e}")))?;
        with_notes(&bytes, &self.metadata)
    }

    /// Parses a file's bytes; `path` is for messages.
    fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let malformed = |e: safetensors::SafeTensorError| match FOREIGN.iter().find(|f| bytes.starts_with(f.0)) {
            Some((_, what, help)) => Error::format(path, format!("this is {what}, not a safetensors file"), *help),
            None => Error::format(path, format!("this is not a whole safetensors file ({e})"), DAMAGED),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let mut dict = Self::new();
        if let Some(metadata) = header.metadata() {
            dict.metadata.extend(metadata.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        for (name, view) in file.iter() {
            let shape = Shape::new(view.shape()).map_err(|e| Error::format(path, format!("tensor \"{name}\": {e}"), DAMAGED))?;
            let (dtype, data) = decode(view.dtype(), view.data())
                .map_err(|(reason, help)| Error::format(path, format!("tensor \"{name}\" {reason}"), help))?;
            let tensor = HostTensor::new(dtype, shape, data)
                .map_err(|e| Error::format(path, format!("tensor \"{name}\": {e}"), DAMAGED))?;
            dict.insert(name, tensor)?;
        }
        Ok(dict)
    }
}

/// A file with notes in its header, in the order of their names: `safetensors` would write them in any order, and equal contents
/// must give equal files.
#[track_caller]
fn with_notes(file: &[u8], notes: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let broken = || Error::internal("safetensors wrote no header");
    let (len, rest) = file.split_first_chunk::<8>().ok_or_else(broken)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| broken())?;
    let (header, data) = rest.split_at_checked(len).ok_or_else(broken)?;
    let entries = header.trim_ascii_end().strip_prefix(b"{").ok_or_else(broken)?;
    let notes = serde_json::to_string(notes).map_err(|e| Error::internal(format!("notes: {e}")))?;
    let separator = if entries == b"}" { "" } else { "," };
    let mut header = format!("{{\"{NOTES}\":{notes}{separator}").into_bytes();
    header.extend_from_slice(entries);
    // The tensors begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER {
        let reason = format!("names and notes take {} bytes, and the format has room for {MAX_HEADER}", header.len());
        return Err(Error::argument("StateDict::save", reason, "write shorter notes, or keep them in a file of their own"));
    }
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, data].concat())
}

/// The bytes as the format stores them: little-endian, a truth value in one byte.
fn stored_bytes(tensor: &HostTensor) -> Vec<u8> {
    match &tensor.data {
        HostData::U32(v) if tensor.dtype == DType::Bool => v.iter().map(|&x| u8::from(x != 0)).collect(),
        HostData::U8(v) => v.clone(),
        HostData::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        HostData::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        HostData::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        HostData::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        HostData::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn stored_dtype(dtype: DType) -> Stored {
    match dtype {
        DType::Bool => Stored::BOOL,
        DType::U8 => Stored::U8,
        DType::F16 => Stored::F16,
        DType::U32 => Stored::U32,
        DType::I32 => Stored::I32,
        DType::F32 => Stored::F32,
        DType::F64 => Stored::F64,
    }
}

/// Splits bytes into little-endian words of `N` bytes.
fn words<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| read(chunk)).collect()
}

/// The elements, or what is wrong with them and what to do about it.
fn decode(dtype: Stored, bytes: &[u8]) -> std::result::Result<(DType, HostData), (String, &'static str)> {
    Ok(match dtype {
        Stored::BOOL => (DType::Bool, HostData::U32(bytes.iter().map(|&b| u32::from(b != 0)).collect())),
        Stored::U8 => (DType::U8, HostData::U8(bytes.to_vec())),
        Stored::U32 => (DType::U32, HostData::U32(words(bytes, u32::from_le_bytes))),
        Stored::I32 => (DType::I32, HostData::I32(words(bytes, i32::from_le_bytes))),
        Stored::I64 => {
            let wide = words(bytes, i64::from_le_bytes);
            let narrow: std::result::Result<Vec<i32>, i64> = wide.into_iter().map(|x| i32::try_from(x).map_err(|_| x)).collect();
            let data = narrow.map_err(|x| (format!("holds {x}, which does not fit in 32 bits"), "store it as i32"))?;
            (DType::I32, HostData::I32(data))
        }
        Stored::F16 => (DType::F16, HostData::F16(words(bytes, u16::from_le_bytes))),
        // A bfloat16 is the upper half of an f32.
        Stored::BF16 => (DType::F32, HostData::F32(words(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)))),
        Stored::F32 => (DType::F32, HostData::F32(words(bytes, f32::from_le_bytes))),
        Stored::F64 => (DType::F64, HostData::F64(words(bytes, f64::from_le_bytes))),
        other => return Err((format!("has dtype {other:?}, which is not supported"), "convert it to f32 or i32 first")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let bytes = dict.to_bytes().unwrap();
        (0..20).for_each(|_| assert_eq!(sample().to_bytes().unwrap(), bytes));
        for dict in [StateDict::new(), StateDict { tensors: dict.tensors.clone(), ..StateDict::new() }] {
            dict.save(&path).unwrap();
            assert_eq!(StateDict::load(&path).unwrap(), dict);
        }
        assert_eq!(dict.note::<usize>("epoch").unwrap(), 3);
        assert!(dict.note::<usize>("step").is_err());
    }

    #[test]
    fn damaged_files_are_typed_errors() {
        let good = sample().to_bytes().unwrap();
        for cut in [0, 4, 8, 40, good.len() - 1] {
            let result = StateDict::from_bytes(&good[..cut], Path::new("x"));
            assert!(matches!(result, Err(Error::Format { .. })), "{cut} bytes: {result:?}");
        }
        let mut lying = good;
        lying[0..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(StateDict::from_bytes(&lying, Path::new("x")), Err(Error::Format { .. })));
        assert!(matches!(StateDict::load("/nonexistent/x"), Err(Error::Io { .. })));
    }

    #[test]
    fn narrow_types_are_widened() {
        let brain = [1.5f32, -0.0, f32::INFINITY].map(|x| (x.to_bits() >> 16) as u16);
        let bytes: Vec<u8> = brain.iter().flat_map(|b| b.to_le_bytes()).collect();
        let expected = HostData::F32(vec![1.5, -0.0, f32::INFINITY]);
        assert_eq!(decode(Stored::BF16, &bytes).unwrap(), (DType::F32, expected));
        let long = 5i64.to_le_bytes();
        assert_eq!(decode(Stored::I64, &long).unwrap(), (DType::I32, HostData::I32(vec![5])));
        assert!(decode(Stored::I64, &i64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn prefixes_nest() {
        let mut outer = StateDict::new();
        outer.insert_all("model.", sample()).unwrap();
        assert_eq!(outer.under("model.").tensors, sample().tensors);
        assert!(outer.under("optimizer.").tensors.is_empty());
    }
}
