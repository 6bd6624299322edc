//! Images with labels, in host memory.

use super::collate::with_rows;
use super::dataset::{Dataset, outside};
use super::transforms::Normalize;
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::io::HostTensor;
use crate::shape::{Shape, product};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::panic::Location;

/// Images `[channels, height, width]` of bytes with one label each, in host memory.
///
/// As a [`Dataset`] it gives images as F32 in 0..1 with their labels: samples `([c, h, w], i32)`, batches
/// `([n, c, h, w], I32 [n])`, which are made in one pass over the bytes.
///
/// ```
/// # use wgrad::data::{Dataset, LabelledImages};
/// # fn main() -> wgrad::Result<()> {
/// let pixels = vec![255; 2 * 3 * 4 * 5];
/// let images = LabelledImages::new([3, 4, 5], pixels, vec![7, 9])?;
/// let (x, labels) = images.batch(&[1, 0], &wgrad::Device::cpu()?)?;
/// assert_eq!(x.shape()?, [2, 3, 4, 5]);
/// assert_eq!(labels.to_vec::<i32>()?, [9, 7]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImages {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<i32>,
}

impl LabelledImages {
    /// Images of a shape `[channels, height, width]`: `pixels` has them one after the other in row-major order, channel by
    /// channel, 0 for dark and 255 for bright.
    ///
    /// # Errors
    /// The number of pixels is not what that takes.
    #[track_caller]
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<i32>) -> Result<Self> {
        let expected = shape.iter().try_fold(labels.len(), |n, &d| n.checked_mul(d));
        if expected != Some(pixels.len()) {
            return Err(Error::argument(
                "LabelledImages::new",
                format!("{} bytes were given for {} images of shape {shape:?}", pixels.len(), labels.len()),
                "give channels * height * width bytes for every label",
            ));
        }
        Ok(Self { shape, pixels, labels })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Height and width in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]]
    }

    /// The labels, in the order of the images.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// The images at `indices`, in that order, as a set of their own. [`Subset`](super::Subset) avoids the copy.
    ///
    /// # Errors
    /// An index is out of range.
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        self.select("subset", indices, |label| label)
    }

    /// The images whose label is in `classes`, as a set whose labels are positions in `classes`.
    ///
    /// ```
    /// # use wgrad::data::LabelledImages;
    /// let digits = LabelledImages::new([1, 1, 1], vec![10, 20, 30, 40], vec![5, 9, 1, 5])?;
    /// assert_eq!(digits.of_classes(&[9, 5])?.labels(), [1, 0, 1]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// A class is listed twice or has no images.
    #[track_caller]
    pub fn of_classes(&self, classes: &[i32]) -> Result<Self> {
        let mut position: BTreeMap<i32, i32> = BTreeMap::new();
        for (&class, i) in classes.iter().zip(0..) {
            let repeated = position.insert(class, i).is_some();
            if repeated || !self.labels.contains(&class) {
                let what = if repeated { "is listed twice" } else { "has no images" };
                let help = "list each class once, and only classes that the set has";
                return Err(Error::argument("LabelledImages::of_classes", format!("class {class} {what}"), help));
            }
        }
        let indices: Vec<usize> = (0..self.len()).filter(|&i| position.contains_key(&self.labels[i])).collect();
        self.select("of_classes", &indices, |label| position.get(&label).copied().unwrap_or(label))
    }

    /// The images at `indices` with their labels mapped.
    #[track_caller]
    fn select(&self, op: &'static str, indices: &[usize], relabel: impl Fn(i32) -> i32) -> Result<Self> {
        let mut pixels = reserved("a set of images", product(&[indices.len(), product(&self.shape)]))?;
        let mut labels = Vec::with_capacity(indices.len());
        for (position, &i) in indices.iter().enumerate() {
            let (label, image) = self.at(op, position, i)?;
            pixels.extend_from_slice(image);
            labels.push(relabel(label));
        }
        Ok(Self { shape: self.shape, pixels, labels })
    }

    /// The label and the pixels of image `i`, which is at `position` of a list.
    #[track_caller]
    fn at(&self, op: &'static str, position: usize, i: usize) -> Result<(i32, &[u8])> {
        let at = Location::caller();
        let size = product(&self.shape);
        match self.labels.get(i) {
            // The constructor has checked the number of pixels.
            Some(&label) => Ok((label, &self.pixels[i * size..(i + 1) * size])),
            None => Err(outside(op, i, position, self.labels.len(), at)),
        }
    }

    /// Mean and (population) standard deviation of each channel, on the scale 0..1; empty if there are no pixels.
    pub fn statistics(&self) -> (Vec<f64>, Vec<f64>) {
        if self.pixels.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let [channels, height, width] = self.shape;
        let moments = |channel: usize| {
            let mut histogram = [0usize; 256];
            for plane in self.pixels.chunks_exact(height * width).skip(channel).step_by(channels) {
                plane.iter().for_each(|&p| histogram[usize::from(p)] += 1);
            }
            let n = (self.pixels.len() / channels) as f64;
            let mean_of = |f: fn(f64) -> f64| {
                let sum: f64 = histogram.iter().zip(0u32..).map(|(&count, p)| count as f64 * f(f64::from(p) / 255.0)).sum();
                sum / n
            };
            let mean = mean_of(|p| p);
            (mean, (mean_of(|p| p * p) - mean * mean).max(0.0).sqrt())
        };
        (0..channels).map(moments).unzip()
    }

    /// Normalisation by [`LabelledImages::statistics`]; a channel without contrast is only centred. For test images, use the one
    /// of the training images.
    ///
    /// # Errors
    /// There are no pixels; the device is out of memory.
    #[track_caller]
    pub fn normalization(&self, device: &Device) -> Result<Normalize> {
        let (mean, std) = self.statistics();
        Normalize::new(&mean, &std.into_iter().map(|s| s.max(1e-6)).collect::<Vec<_>>(), device)
    }
}

impl Dataset for LabelledImages {
    type Sample = (HostTensor, i32);

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<(HostTensor, i32)> {
        let (label, pixels) = self.at("get", 0, index)?;
        let mut image = reserved("an image", pixels.len())?;
        image.extend(pixels.iter().map(|&p| f32::from(p) / 255.0));
        Ok((HostTensor::new(DType::F32, Shape::new(&self.shape)?, HostData::F32(image))?, label))
    }

    fn batch(&self, indices: &[usize], device: &Device) -> Result<(Tensor, Tensor)> {
        let mut images = reserved("a batch of images", product(&[indices.len(), product(&self.shape)]))?;
        let mut labels = Vec::with_capacity(indices.len());
        for (position, &i) in indices.iter().enumerate() {
            let (label, pixels) = self.at("batch", position, i)?;
            images.extend(pixels.iter().map(|&p| f32::from(p) / 255.0));
            labels.push(label);
        }
        let shape = with_rows(indices.len(), &self.shape)?;
        let images = Tensor::from_host(HostData::F32(images), DType::F32, shape, device)?;
        Ok((images, Tensor::from_slice(&labels, [indices.len()], device)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_set_keep_images_and_labels_together() {
        let set = LabelledImages::new([1, 1, 2], (0..10).collect(), vec![3, 5, 3, 9, 5]).unwrap();
        let part = set.subset(&[4, 0]).unwrap();
        assert_eq!((part.pixels.as_slice(), part.labels()), (&[8, 9, 0, 1][..], &[5, 3][..]));
        let two = set.of_classes(&[9, 3]).unwrap();
        assert_eq!((two.pixels.as_slice(), two.labels()), (&[0, 1, 4, 5, 6, 7][..], &[1, 1, 0][..]));
        assert!(set.subset(&[]).unwrap().is_empty());
        let device = Device::cpu().unwrap();
        let rows = [
            (set.subset(&[0, 5]).unwrap_err(), "[subset] index 5 at position 1"),
            (set.batch(&[usize::MAX], &device).unwrap_err(), "[batch] index 9223372036854775807 at position 0"),
            (set.of_classes(&[3, 4]).unwrap_err(), "class 4 has no images"),
            (set.of_classes(&[3, 3]).unwrap_err(), "class 3 is listed twice"),
        ];
        for (error, expected) in rows {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn samples_and_batches_agree_and_channels_have_statistics_of_their_own() {
        // Two images of two channels, 1x2 pixels.
        let pixels = vec![0, 255, 51, 51, 255, 255, 51, 51];
        let set = LabelledImages::new([2, 1, 2], pixels, vec![4, -1]).unwrap();
        let (mean, std) = set.statistics();
        let near = |found: &[f64], expected: [f64; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(&mean, [0.75, 0.2]) && near(&std, [0.1875f64.sqrt(), 0.0]), "{mean:?} {std:?}");
        let device = Device::cpu().unwrap();
        let (x, labels) = set.batch(&[1, 0], &device).unwrap();
        assert_eq!(x.shape().unwrap(), [2, 2, 1, 2]);
        assert_eq!(labels.to_vec::<i32>().unwrap(), [-1, 4]);
        let samples: Vec<f32> = [1, 0]
            .iter()
            .flat_map(|&i| {
                let HostData::F32(image) = set.get(i).unwrap().0.data else { panic!("images are f32") };
                image
            })
            .collect();
        assert_eq!(x.to_vec::<f32>().unwrap(), samples);
        assert_eq!(samples[2..4], [0.2, 0.2]);
        assert!(set.normalization(&device).is_ok());
        assert!(LabelledImages::new([3, 1, 2], vec![0; 8], vec![4, -1]).unwrap_err().to_string().contains("8 bytes"));
        assert_eq!(LabelledImages::new([0, 2, 2], vec![], vec![1]).unwrap().statistics(), (vec![], vec![]));
    }
}
