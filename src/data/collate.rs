//! How samples become a batch.

use crate::device::Device;
use crate::dtype::{Element, HostData};
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::io::HostTensor;
use crate::shape::{Shape, product};
use crate::tensor::Tensor;

/// A sample that batches can be made of.
///
/// | sample | batch of `n` |
/// |---|---|
/// | an element (`i32` label, `f32`, `bool` ...) | tensor `[n]` |
/// | `[T; k]` or `Vec<T>` of `k` elements | tensor `[n, k]` |
/// | [`HostTensor`] or [`Tensor`] of a shape | tensor `[n, ..shape]` |
/// | a tuple of two to six samples | a tuple of their batches |
///
/// All samples of a batch have the same shape and dtype. Samples of different lengths become a batch through a type of your own:
///
/// ```
/// use wgrad::data::{Collate, Dataset, VecDataset};
/// use wgrad::{Device, Result, Tensor};
///
/// #[derive(Clone)]
/// struct Sentence(Vec<i32>);
///
/// impl Collate for Sentence {
///     /// Tokens, padded with 0, and lengths.
///     type Batch = (Tensor, Vec<usize>);
///     fn collate(samples: Vec<Self>, device: &Device) -> Result<Self::Batch> {
///         let lengths: Vec<usize> = samples.iter().map(|s| s.0.len()).collect();
///         let longest = lengths.iter().copied().max().unwrap_or(0);
///         let mut rows: Vec<Vec<i32>> = samples.into_iter().map(|s| s.0).collect();
///         rows.iter_mut().for_each(|row| row.resize(longest, 0));
///         Ok((Collate::collate(rows, device)?, lengths))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let (tokens, lengths) = VecDataset(vec![Sentence(vec![5]), Sentence(vec![6, 7])]).batch(&[0, 1], &Device::cpu()?)?;
/// assert_eq!((tokens.to_vec::<i32>()?, lengths), (vec![5, 0, 6, 7], vec![1, 2]));
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "no batch can be made of samples of type `{Self}`",
    label = "not a sample",
    note = "samples are elements (f32, i32, u8, bool ...), arrays and vectors of them, HostTensor, Tensor, tuples of two to six \
            of these, and types that implement `wgrad::data::Collate`; convert others first, such as i64 labels to i32"
)]
pub trait Collate: Sized + Send {
    /// What a batch of such samples is.
    type Batch: Send;

    /// One batch of samples, in their order.
    ///
    /// # Errors
    /// Samples do not fit each other; there are none, so that their shape is unknown; the device is out of memory.
    #[track_caller]
    fn collate(samples: Vec<Self>, device: &Device) -> Result<Self::Batch>;
}

#[track_caller]
fn refuse(reason: impl Into<String>, help: &str) -> Error {
    Error::argument("collate", reason, help)
}

/// The error for no samples, of which nothing is known.
fn none() -> Error {
    refuse("there are no samples", "give at least one")
}

impl<T: Element> Collate for T {
    type Batch = Tensor;

    fn collate(samples: Vec<T>, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(&samples, [samples.len()], device)
    }
}

impl<T: Element, const K: usize> Collate for [T; K] {
    type Batch = Tensor;

    fn collate(samples: Vec<[T; K]>, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(samples.as_flattened(), [samples.len(), K], device)
    }
}

impl<T: Element> Collate for Vec<T> {
    type Batch = Tensor;

    fn collate(samples: Vec<Vec<T>>, device: &Device) -> Result<Tensor> {
        let len = samples.first().ok_or_else(none)?.len();
        if let Some((i, other)) = samples.iter().enumerate().find(|(_, s)| s.len() != len) {
            let reason = format!("sample {i} of the batch has {} elements, and those before it have {len}", other.len());
            return Err(refuse(reason, "bring samples to one length, say with Dataset::map, or implement Collate"));
        }
        let mut all = reserved("a batch", product(&[samples.len(), len]))?;
        samples.iter().for_each(|sample| all.extend_from_slice(sample));
        Tensor::from_slice(&all, [samples.len(), len], device)
    }
}

impl Collate for HostTensor {
    type Batch = Tensor;

    fn collate(samples: Vec<HostTensor>, device: &Device) -> Result<Tensor> {
        let first = samples.first().ok_or_else(none)?;
        let (dtype, shape) = (first.dtype, first.shape);
        for (i, sample) in samples.iter().enumerate() {
            sample.check("collate", &format!("sample {i}"))?;
            if (sample.dtype, sample.shape) != (dtype, shape) {
                let found = format!("sample {i} of the batch is {} {}", sample.dtype, sample.shape);
                let help = "bring samples to one shape and dtype, say with Dataset::map";
                return Err(refuse(format!("{found}, and those before it are {dtype} {shape}"), help));
            }
        }
        let rows: Vec<(&HostData, usize)> = samples.iter().map(|sample| (&sample.data, 0)).collect();
        Tensor::from_host(gather(&rows, shape.numel())?, dtype, with_rows(samples.len(), &shape)?, device)
    }
}

impl Collate for Tensor {
    type Batch = Tensor;

    fn collate(samples: Vec<Tensor>, device: &Device) -> Result<Tensor> {
        let batch = Tensor::stack(&samples.iter().collect::<Vec<_>>(), 0);
        batch.check()?;
        batch.to_device(device)
    }
}

macro_rules! tuples {
    ($(($($name:ident $place:tt),*)),*) => {$(
        impl<$($name: Collate),*> Collate for ($($name,)*) {
            type Batch = ($($name::Batch,)*);

            fn collate(samples: Vec<Self>, device: &Device) -> Result<Self::Batch> {
                let mut parts = ($(reserved::<$name>("a batch", samples.len())?,)*);
                for sample in samples {
                    $(parts.$place.push(sample.$place);)*
                }
                Ok(($($name::collate(parts.$place, device)?,)*))
            }
        }
    )*};
}
for_tuples!(tuples);

/// `[n, ..shape]`.
pub(super) fn with_rows(n: usize, shape: &[usize]) -> Result<Shape> {
    Shape::new(&[&[n], shape].concat())
}

/// Copies pieces of `len` elements, each from a position in data of the same dtype, one after the other.
pub(super) fn gather(pieces: &[(&HostData, usize)], len: usize) -> Result<HostData> {
    macro_rules! pick {
        ($($kind:ident),*) => {
            match pieces.first().ok_or_else(none)?.0 {
                $(HostData::$kind(_) => {
                    let mut all = reserved("a batch", product(&[pieces.len(), len]))?;
                    for (data, at) in pieces {
                        let HostData::$kind(data) = data else {
                            return Err(Error::internal("pieces of a batch differ in dtype"));
                        };
                        all.extend_from_slice(&data[*at..*at + len]);
                    }
                    HostData::$kind(all)
                })*
            }
        };
    }
    Ok(pick!(U8, U32, I32, F16, F32, F64))
}

/// A batch whose inputs can be changed, as [`DataLoader::with_transform`](super::DataLoader::with_transform) does: a tensor, or a
/// tuple whose first part is the inputs.
pub trait Inputs: Sized {
    /// The batch with its inputs changed by `f`.
    ///
    /// # Errors
    /// Those of `f`.
    #[track_caller]
    fn map_inputs(self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self>;
}

impl Inputs for Tensor {
    fn map_inputs(self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
        f(&self)
    }
}

macro_rules! inputs_first {
    ($(($($name:ident $place:tt),+)),+) => {$(
        impl<$($name),+> Inputs for (Tensor, $($name),+) {
            fn map_inputs(self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Self> {
                Ok((f(&self.0)?, $(self.$place),+))
            }
        }
    )+};
}
inputs_first!((B 1), (B 1, C 2), (B 1, C 2, D 3), (B 1, C 2, D 3, E 4), (B 1, C 2, D 3, E 4, F 5));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_kind_become_tensors_or_name_what_does_not_fit() {
        fn collated<S: Collate>(samples: Vec<S>) -> Result<S::Batch> {
            S::collate(samples, &Device::cpu()?)
        }
        let tensor = |n: usize| Tensor::ones([n], &Device::cpu().unwrap()).unwrap();
        let host = |n: usize| HostTensor::from_slice(&vec![1u8; n], [n]).unwrap();
        let refused = [
            (collated([2, 2, 3].map(|n| vec![0.5f32; n]).to_vec()).map(drop), "sample 2 of the batch has 3 elements"),
            (collated([2, 3].map(host).to_vec()).map(drop), "sample 1 of the batch is u8 [3]"),
            (collated([2, 3].map(tensor).to_vec()).map(drop), "shapes [2] and [3] differ"),
            (collated(Vec::<Vec<i32>>::new()).map(drop), "there are no samples"),
            (collated(Vec::<(i32, HostTensor)>::new()).map(drop), "there are no samples"),
        ];
        for (outcome, expected) in refused {
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("help: "), "{message}");
        }
        let transition = |i: i32| ([0.5f32, 1.0], i, 1.0f32, [2.0f32, 3.0], false, host(1));
        let (states, actions, .., next, ended, _) = collated(vec![transition(3), transition(4)]).unwrap();
        assert_eq!((states.shape().unwrap(), next.to_vec().unwrap()), (next.shape().unwrap(), vec![2.0f32, 3.0, 2.0, 3.0]));
        assert_eq!((actions.to_vec().unwrap(), ended.to_vec().unwrap()), (vec![3, 4], vec![false, false]));
        let (numbers, arrays, (vectors, flags, hosts, tensors)) = (
            collated(vec![1, 2]).unwrap(),
            collated(vec![[1.0f32, 2.0], [3.0, 4.0]]).unwrap(),
            collated(vec![(vec![1u8; 3], true, host(2), tensor(1)), (vec![2; 3], false, host(2), tensor(1))]).unwrap(),
        );
        assert_eq!(numbers.to_vec::<i32>().unwrap(), [1, 2]);
        assert_eq!(arrays.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(vectors.to_vec::<u8>().unwrap(), [1, 1, 1, 2, 2, 2]);
        assert_eq!(flags.to_vec::<bool>().unwrap(), [true, false]);
        let shapes = [arrays, vectors, hosts, tensors].map(|t| t.shape().unwrap().to_vec());
        assert_eq!(shapes, [vec![2, 2], vec![2, 3], vec![2, 2], vec![2, 1]]);
    }
}
