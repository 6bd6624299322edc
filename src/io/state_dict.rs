//! Named tensors in host memory: what checkpoints contain.

use crate::device::Device;
use crate::dtype::{DType, Element, HostData};
use crate::error::{Error, Result, counted};
use crate::host::had_room;
use crate::shape::{IntoShape, Shape};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// The element type; `Bool` data are 0 and 1 in `u32`.
    pub dtype: DType,
    /// The shape.
    pub shape: Shape,
    /// The elements in row-major order, as many as the shape has.
    pub data: HostData,
}

impl HostTensor {
    /// A tensor whose data fill its shape.
    ///
    /// # Errors
    /// The number of elements differs from the shape's, or their type from `dtype`.
    #[track_caller]
    pub fn new(dtype: DType, shape: Shape, data: HostData) -> Result<Self> {
        shape.check_len("HostTensor::new", data.len())?;
        let tensor = Self { dtype, shape, data };
        tensor.check("HostTensor::new", "the tensor")?;
        Ok(tensor)
    }

    /// A copy of values, in row-major order.
    ///
    /// ```
    /// # use wgrad::io::HostTensor;
    /// let table = HostTensor::from_slice(&[1f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(table.dtype, wgrad::DType::F32);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The number of values differs from the shape's.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl IntoShape) -> Result<Self> {
        Self::new(T::DTYPE, shape.into_shape()?, had_room(T::pack(values), "a tensor", T::DTYPE, values.len())?)
    }

    /// A 0-d f64 tensor.
    pub fn scalar(value: f64) -> Self {
        Self { dtype: DType::F64, shape: Shape::SCALAR, data: HostData::F64(vec![value]) }
    }

    /// The tensor on a device.
    ///
    /// # Errors
    /// f64 on a GPU; the device is out of memory.
    #[track_caller]
    pub fn into_tensor(self, device: &Device) -> Result<Tensor> {
        Tensor::from_host(self.data, self.dtype, self.shape, device)
    }

    /// The same values in another floating-point type; other dtypes only convert to themselves. `None` also if a finite value
    /// would become infinite.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Option<Self> {
        let data = match (self.dtype, dtype) {
            (a, b) if a == b => self.data.clone(),
            #[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is what is asked for")]
            (DType::F64, DType::F32) => {
                let narrow: Vec<f32> = self.data.to_f64().iter().map(|&x| x as f32).collect();
                let wide = self.data.to_f64();
                if narrow.iter().zip(wide).any(|(n, w)| n.is_infinite() && w.is_finite()) {
                    return None;
                }
                HostData::F32(narrow)
            }
            #[allow(clippy::cast_possible_truncation, reason = "every half-precision number is one of single precision")]
            (DType::F16, DType::F32) => HostData::F32(self.data.to_f64().iter().map(|&x| x as f32).collect()),
            (DType::U8, DType::U32) => self.data.clone().unpacked()?,
            (DType::F16 | DType::F32, DType::F64) => HostData::F64(self.data.to_f64()),
            _ => return None,
        };
        Some(Self { dtype, shape: self.shape, data })
    }
}

/// Where a [`StateDict`] comes from, and whether its bytes have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// It has been made in this process.
    #[default]
    Memory,
    /// A file of this crate, which fits its checksums.
    Checked,
    /// A file without checksums, as other programs write: a flipped bit in it goes unnoticed.
    Unchecked,
}

/// Tensors by name, and notes: the contents of one safetensors file.
///
/// Names are ordered, so that equal contents give equal files. Two are equal if their tensors and notes are, wherever they come
/// from.
#[derive(Debug, Clone, Default)]
pub struct StateDict {
    /// The tensors.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Free-form notes, such as the epoch of a checkpoint.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from, and whether its bytes have been checked: [`StateDict::load`] checks the files that this crate has
    /// written. What [`StateDict::under`] takes keeps it.
    ///
    /// ```
    /// # use wgrad::io::{HostTensor, Origin, StateDict};
    /// # fn main() -> wgrad::Result<()> {
    /// # let folder = std::env::temp_dir().join(format!("wgrad-origin-{}", std::process::id()));
    /// # let path = folder.join("x.safetensors");
    /// let mut dict = StateDict::new();
    /// dict.insert("x", HostTensor::from_slice(&[1f32, 2.0], [2])?)?;
    /// dict.save(&path)?;
    /// assert_eq!(StateDict::load(&path)?.origin, Origin::Checked);
    /// # let _ = std::fs::remove_dir_all(folder);
    /// # Ok(()) }
    /// ```
    pub origin: Origin,
}

impl PartialEq for StateDict {
    fn eq(&self, other: &Self) -> bool {
        self.tensors == other.tensors && self.metadata == other.metadata
    }
}

impl StateDict {
    /// A dictionary without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor. To replace one, insert into [`StateDict::tensors`].
    ///
    /// # Errors
    /// There is a tensor of that name.
    #[track_caller]
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) -> Result<()> {
        match self.tensors.entry(name.into()) {
            Entry::Vacant(place) => {
                place.insert(tensor);
                Ok(())
            }
            Entry::Occupied(place) => Err(taken("StateDict::insert", place.key())),
        }
    }

    /// Adds all of another's tensors under `prefix` (`"optimizer."`, say); notes are left out.
    ///
    /// # Errors
    /// There is a tensor of one of the new names. Nothing is added in that case.
    #[track_caller]
    pub fn insert_all(&mut self, prefix: &str, other: Self) -> Result<()> {
        let new: Vec<(String, HostTensor)> = other.tensors.into_iter().map(|(name, t)| (format!("{prefix}{name}"), t)).collect();
        if let Some((name, _)) = new.iter().find(|(name, _)| self.tensors.contains_key(name)) {
            return Err(taken("StateDict::insert_all", name));
        }
        self.tensors.extend(new);
        Ok(())
    }

    /// The tensors whose names begin with `prefix`, under the rest of their names.
    pub fn under(&self, prefix: &str) -> Self {
        let strip = |(name, tensor): (&String, &HostTensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()));
        Self { tensors: self.tensors.iter().filter_map(strip).collect(), metadata: BTreeMap::new(), origin: self.origin }
    }

    /// A copy of one tensor on a device, like `load_file(path, device=d)["weight"]` in Python.
    ///
    /// ```
    /// # use wgrad::Device;
    /// # use wgrad::io::{HostTensor, StateDict};
    /// # fn main() -> wgrad::Result<()> {
    /// let mut dict = StateDict::new(); // or StateDict::load("inputs.safetensors")?
    /// dict.insert("x", HostTensor::from_slice(&[1f32, 2.0], [2])?)?;
    /// assert_eq!(dict.tensor("x", &Device::cpu()?)?.sum().item()?, 3.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is no tensor of that name; f64 on a GPU; the device is out of memory.
    #[track_caller]
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            let known: Vec<String> = self.tensors.keys().take(5).map(|known| format!("\"{known}\"")).collect();
            let known = if known.is_empty() { "there is none".into() } else { format!("there are {}", known.join(", ")) };
            let reason = format!("none of {} has the name \"{name}\"", counted(self.tensors.len(), "tensor"));
            return Err(Error::argument("StateDict::tensor", reason, format!("use a name of the file: {known}")));
        };
        Tensor::from_host(tensor.data.clone(), tensor.dtype, tensor.shape, device)
    }

    /// A note's value, parsed.
    ///
    /// # Errors
    /// The note is missing or does not parse.
    #[track_caller]
    pub fn note<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        let Some(text) = self.metadata.get(key) else {
            let known: Vec<String> = self.metadata.keys().take(5).map(|known| format!("\"{known}\"")).collect();
            let known = if known.is_empty() { "has no notes".into() } else { format!("has {}", known.join(", ")) };
            let reason = format!("the note \"{key}\" is missing: the file {known}");
            return Err(Error::argument(
                "note",
                reason,
                "resume from a file of the same program, which wrote it with Checkpoint::with",
            ));
        };
        let Ok(value) = text.parse() else {
            let reason = format!("the note \"{key}\" is \"{text}\", which does not parse");
            return Err(Error::argument("note", reason, "read it as the type it was written as"));
        };
        Ok(value)
    }
}

#[track_caller]
fn taken(what: &str, name: &str) -> Error {
    let help = "choose another name or prefix; to replace a tensor, insert into the field `tensors`";
    Error::argument(what, format!("there is a tensor \"{name}\" already"), help)
}
