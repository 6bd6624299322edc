//! Data sets in memory: of whole tensors, and of samples one by one.

use super::collate::{Collate, gather, with_rows};
use super::dataset::{Dataset, outside};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::HostTensor;
use crate::shape::{Shape, product};
use crate::tensor::Tensor;
use std::panic::Location;

/// Tensors whose first axis counts the samples: sample `i` is row `i` of each.
///
/// [`Tensor`]s stay on their device, and a batch is gathered there; [`HostTensor`](crate::io::HostTensor)s stay in host memory,
/// and a batch is copied out of them in one piece. Several tensors are given as a tuple.
///
/// ```
/// # use wgrad::data::{DataLoader, Dataset, TensorDataset};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::ones([10, 3], &device)?;
/// let y = Tensor::zeros([10], &device)?;
/// let loader = DataLoader::new(TensorDataset::new((x, y))?, 4, &device)?.shuffle(true);
/// for batch in &loader {
///     let (x, y) = batch?;
///     assert_eq!(x.dim(0)?, y.dim(0)?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TensorDataset<T> {
    parts: T,
    len: usize,
}

impl<T: Rows> TensorDataset<T> {
    /// A tensor, or a tuple of them.
    ///
    /// # Errors
    /// A tensor is a scalar; the first axes differ in length; the error that a tensor carries.
    #[track_caller]
    pub fn new(parts: T) -> Result<Self> {
        let len = parts.count()?;
        Ok(Self { parts, len })
    }

    /// The tensors, as they were given.
    pub fn tensors(&self) -> &T {
        &self.parts
    }
}

impl<T: Rows + Send + Sync> Dataset for TensorDataset<T> {
    type Sample = T::Row;

    fn len(&self) -> usize {
        self.len
    }

    #[track_caller]
    fn get(&self, index: usize) -> Result<T::Row> {
        let at = Location::caller();
        if index >= self.len {
            return Err(outside("get", index, 0, self.len, at));
        }
        self.parts.row(index)
    }

    #[track_caller]
    fn batch(&self, indices: &[usize], device: &Device) -> Result<<T::Row as Collate>::Batch> {
        let at = Location::caller();
        if let Some(position) = indices.iter().position(|&i| i >= self.len) {
            return Err(outside("batch", indices[position], position, self.len, at));
        }
        self.parts.rows(indices, device)
    }
}

/// Samples in host memory, one by one. Contiguous samples are copied faster out of a [`TensorDataset`].
///
/// ```
/// # use wgrad::data::{Dataset, VecDataset};
/// # fn main() -> wgrad::Result<()> {
/// let points = VecDataset(vec![([0.5f32, 1.5], 0), ([2.0, 0.0], 1)]);
/// let (x, labels) = points.batch(&[1, 0], &wgrad::Device::cpu()?)?;
/// assert_eq!((x.shape()?, labels.to_vec::<i32>()?), (wgrad::Shape::new(&[2, 2])?, vec![1, 0]));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VecDataset<S>(
    /// The samples.
    pub Vec<S>,
);

// Not for `Vec` itself: `get` and `map` of this trait would come before those that it has as a slice.
impl<S: Collate + Clone + Sync> Dataset for VecDataset<S> {
    type Sample = S;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[track_caller]
    fn get(&self, index: usize) -> Result<S> {
        let at = Location::caller();
        self.0.get(index).cloned().ok_or_else(|| outside("get", index, 0, self.0.len(), at))
    }
}

/// What a [`TensorDataset`] is made of: tensors with a first axis.
pub trait Rows {
    /// One row.
    type Row: Collate;

    /// The length of the first axis.
    ///
    /// # Errors
    /// There is no first axis; the parts of a tuple differ in it.
    #[track_caller]
    fn count(&self) -> Result<usize>;

    /// Row `index`, without the first axis.
    ///
    /// # Errors
    /// `index` is out of range.
    #[track_caller]
    fn row(&self, index: usize) -> Result<Self::Row>;

    /// Several rows, as a batch on a device.
    ///
    /// # Errors
    /// An index is out of range; the device is out of memory.
    #[track_caller]
    fn rows(&self, indices: &[usize], device: &Device) -> Result<<Self::Row as Collate>::Batch>;
}

/// The length of the first axis and the shape of a row.
#[track_caller]
fn split_first(shape: &Shape) -> Result<(usize, &[usize])> {
    let Some((&n, row)) = shape.split_first() else {
        let help = "give tensors whose first axis counts the samples";
        return Err(Error::argument("TensorDataset::new", "a scalar has no rows", help));
    };
    Ok((n, row))
}

impl Rows for Tensor {
    type Row = Tensor;

    fn count(&self) -> Result<usize> {
        Ok(split_first(&self.shape()?)?.0)
    }

    fn row(&self, index: usize) -> Result<Tensor> {
        let row = self.select(0, isize::try_from(index).unwrap_or(isize::MAX));
        row.check().map(|()| row)
    }

    #[track_caller]
    fn rows(&self, indices: &[usize], device: &Device) -> Result<Tensor> {
        let at = Location::caller();
        let len = self.count()?;
        let number = |(position, &i): (usize, &usize)| i32::try_from(i).map_err(|_| outside("batch", i, position, len, at));
        let index = indices.iter().enumerate().map(number).collect::<Result<Vec<i32>>>()?;
        let rows = self.index_select(0, &Tensor::from_slice(&index, [index.len()], &self.device()?)?);
        rows.check()?;
        rows.to_device(device)
    }
}

impl Rows for HostTensor {
    type Row = HostTensor;

    fn count(&self) -> Result<usize> {
        self.check("TensorDataset::new", "a part")?;
        Ok(split_first(&self.shape)?.0)
    }

    #[track_caller]
    fn row(&self, index: usize) -> Result<HostTensor> {
        let at = Location::caller();
        let (len, row) = split_first(&self.shape)?;
        if index >= len {
            return Err(outside("get", index, 0, len, at));
        }
        let shape = Shape::new(row)?;
        HostTensor::new(self.dtype, shape, gather(&[(&self.data, index * shape.numel())], shape.numel())?)
    }

    #[track_caller]
    fn rows(&self, indices: &[usize], device: &Device) -> Result<Tensor> {
        let at = Location::caller();
        let (len, row) = split_first(&self.shape)?;
        let size = product(row);
        let piece = |(position, &i): (usize, &usize)| {
            if i < len { Ok((&self.data, i * size)) } else { Err(outside("batch", i, position, len, at)) }
        };
        let pieces = indices.iter().enumerate().map(piece).collect::<Result<Vec<_>>>()?;
        Tensor::from_host(gather(&pieces, size)?, self.dtype, with_rows(indices.len(), row)?, device)
    }
}

macro_rules! tuples {
    ($(($($name:ident $place:tt),*)),*) => {$(
        impl<$($name: Rows),*> Rows for ($($name,)*) {
            type Row = ($($name::Row,)*);

            #[track_caller]
            fn count(&self) -> Result<usize> {
                let lens = [$(self.$place.count()?),*];
                match lens.iter().find(|&&n| n != lens[0]) {
                    Some(_) => {
                        let reason = format!("the first axes have lengths {lens:?}");
                        Err(Error::argument("TensorDataset::new", reason, "give one row per sample in each tensor"))
                    }
                    None => Ok(lens[0]),
                }
            }

            fn row(&self, index: usize) -> Result<Self::Row> {
                Ok(($(self.$place.row(index)?,)*))
            }

            fn rows(&self, indices: &[usize], device: &Device) -> Result<<Self::Row as Collate>::Batch> {
                Ok(($(self.$place.rows(indices, device)?,)*))
            }
        }
    )*};
}
for_tuples!(tuples);

#[cfg(test)]
mod tests {
    use super::super::dataset::Subset;
    use super::*;

    /// Rows from the device's memory, from the host's, and sample by sample make the same batch.
    #[test]
    fn rows_are_the_same_from_wherever_they_come() {
        let device = Device::cpu().unwrap();
        let (x, y): (Vec<f32>, [i32; 5]) = ((0..20u8).map(f32::from).collect(), [5, 6, 7, 8, 9]);
        let host = || (HostTensor::from_slice(&x, [5, 2, 2]).unwrap(), HostTensor::from_slice(&y, [5]).unwrap());
        let on_host = TensorDataset::new(host()).unwrap();
        let on_device =
            TensorDataset::new((host().0.into_tensor(&device).unwrap(), host().1.into_tensor(&device).unwrap())).unwrap();
        let one_by_one = VecDataset((0..5).map(|i| on_host.get(i).unwrap()).collect());
        let expected = (vec![2, 2, 2], vec![12.0f32, 13.0, 14.0, 15.0, 0.0, 1.0, 2.0, 3.0], vec![8, 5]);
        let read = |batch: Result<(Tensor, Tensor)>| {
            let (x, y) = batch.unwrap();
            (x.shape().unwrap().to_vec(), x.to_vec::<f32>().unwrap(), y.to_vec::<i32>().unwrap())
        };
        assert_eq!(read(on_host.batch(&[3, 0], &device)), expected);
        assert_eq!(read(on_device.batch(&[3, 0], &device)), expected);
        // A label is a scalar as a sample, and a row again in a batch.
        let (x, y) = one_by_one.batch(&[3, 0], &device).unwrap();
        assert_eq!((x.to_vec::<f32>().unwrap(), y.to_vec::<i32>().unwrap()), (expected.1.clone(), expected.2.clone()));
        let part = Subset::new(&on_device, vec![1, 3, 0]).unwrap();
        assert_eq!(read(part.batch(&[1, 2], &device)), expected);
        assert_eq!(part.get(1).unwrap().1.item().unwrap(), 8.0);

        let messages = [
            on_host.batch(&[0, 5], &device).map(drop).unwrap_err().to_string(),
            on_device.batch(&[0, 5], &device).map(drop).unwrap_err().to_string(),
            Subset::new(&on_host, vec![0, 5]).map(drop).unwrap_err().to_string(),
        ];
        assert!(messages.iter().all(|m| m.contains("index 5 at position 1 is outside 0..5")), "{messages:?}");
        assert!(part.batch(&[3], &device).unwrap_err().to_string().contains("outside 0..3"));
        assert!(on_device.get(5).is_err() && one_by_one.get(5).is_err());
        let four = HostTensor::from_slice(&[1f32; 4], [4]).unwrap();
        assert!(TensorDataset::new((host().0, four)).unwrap_err().to_string().contains("[5, 4]"));
        assert!(TensorDataset::new(HostTensor::scalar(1.0)).unwrap_err().to_string().contains("a scalar has no rows"));
    }
}
