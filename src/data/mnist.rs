//! MNIST: 28x28 grey-scale handwritten digits, in four IDX files.

use super::idx;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::shape::product;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// How many digits there are.
const CLASSES: usize = 10;

/// Images with one label each, in host memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImages {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<i32>,
}

impl LabelledImages {
    /// Images `[labels.len(), height, width]` in row-major order, 0 for black and 255 for white.
    ///
    /// # Errors
    /// There are not as many pixels as that takes.
    pub fn new(height: usize, width: usize, pixels: Vec<u8>, labels: Vec<i32>) -> Result<Self> {
        let expected = height.checked_mul(width).and_then(|n| n.checked_mul(labels.len()));
        if expected != Some(pixels.len()) {
            return Err(Error::argument(
                "LabelledImages::new",
                format!("{} pixels were given for {} images of {height}x{width}", pixels.len(), labels.len()),
                "give height * width pixels for every label",
            ));
        }
        Ok(Self { height, width, pixels, labels })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Height and width in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The labels, in the order of the images.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// The images at `indices` as `[n, 1, height, width]` in 0..1, and their labels as I32 `[n]`.
    ///
    /// # Errors
    /// An index is out of range; the device is out of memory.
    #[track_caller]
    pub fn batch(&self, indices: &[usize], device: &Device) -> Result<(Tensor, Tensor)> {
        let size = product(&[self.height, self.width]);
        let mut images = reserved("a batch of images", product(&[indices.len(), size]))?;
        let mut labels = Vec::with_capacity(indices.len());
        for (position, &i) in indices.iter().enumerate() {
            let (label, pixels) = self.at("batch", position, i)?;
            images.extend(pixels.iter().map(|&p| f32::from(p) / 255.0));
            labels.push(label);
        }
        let images = Tensor::from_slice(&images, [indices.len(), 1, self.height, self.width], device)?;
        let labels = Tensor::from_slice(&labels, [indices.len()], device)?;
        Ok((images, labels))
    }

    /// The images at `indices`, in that order, as a set of their own.
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
    /// let digits = LabelledImages::new(1, 1, vec![10, 20, 30, 40], vec![5, 9, 1, 5])?;
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
        let size = product(&[self.height, self.width]);
        let mut pixels = reserved("a set of images", product(&[indices.len(), size]))?;
        let mut labels = Vec::with_capacity(indices.len());
        for (position, &i) in indices.iter().enumerate() {
            let (label, image) = self.at(op, position, i)?;
            pixels.extend_from_slice(image);
            labels.push(relabel(label));
        }
        Ok(Self { height: self.height, width: self.width, pixels, labels })
    }

    /// The label and the pixels of image `i`, which stands at `position` of a list.
    #[track_caller]
    fn at(&self, op: &'static str, position: usize, i: usize) -> Result<(i32, &[u8])> {
        let size = product(&[self.height, self.width]);
        match self.labels.get(i) {
            // The constructor has made sure of the pixels.
            Some(&label) => Ok((label, &self.pixels[i * size..(i + 1) * size])),
            None => Err(Error::Index {
                op,
                index: i64::try_from(i).unwrap_or(i64::MAX),
                position,
                len: self.len(),
                help: "draw indices from 0..len()".into(),
                at: Location::caller(),
            }),
        }
    }

    /// Mean and (population) standard deviation of all pixels, on the scale 0..1.
    pub fn statistics(&self) -> (f64, f64) {
        let mut histogram = [0u64; 256];
        for &p in &self.pixels {
            histogram[usize::from(p)] += 1;
        }
        let n = (self.pixels.len().max(1)) as f64;
        let moment = |power: i32| {
            let sum: f64 =
                histogram.iter().zip(0u32..).map(|(&count, p)| count as f64 * (f64::from(p) / 255.0).powi(power)).sum();
            sum / n
        };
        let mean = moment(1);
        (mean, (moment(2) - mean * mean).max(0.0).sqrt())
    }
}

/// The training and the test set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mnist {
    /// For training.
    pub train: LabelledImages,
    /// For testing.
    pub test: LabelledImages,
}

impl Mnist {
    /// How many classes there are: the digits 0 to 9.
    pub const CLASSES: usize = CLASSES;

    /// Reads the four files of a directory, under MNIST's own names (`train-images-idx3-ubyte` ...), with or without `.gz`.
    ///
    /// # Errors
    /// A file is missing or malformed; images and labels differ in number; a label is above 9; a set is empty.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let (train, test) = (load_set(dir, "train")?, load_set(dir, "t10k")?);
        if train.size() != test.size() {
            let reason = format!("training images are {:?} and test images {:?}", train.size(), test.size());
            return Err(Error::format(dir, reason, "take all four files from one data set"));
        }
        Ok(Self { train, test })
    }
}

/// Finds a file with or without the ending `.gz`.
fn locate(dir: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [dir.join(name), dir.join(format!("{name}.gz"))];
    match candidates.iter().find(|p| p.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Error::format(
            dir,
            format!("there is neither {name} nor {name}.gz"),
            "name a directory with the four MNIST files (data/mnist-5k of the repository holds a subset)",
        )),
    }
}

fn load_set(dir: &Path, prefix: &str) -> Result<LabelledImages> {
    let image_path = locate(dir, &format!("{prefix}-images-idx3-ubyte"))?;
    let label_path = locate(dir, &format!("{prefix}-labels-idx1-ubyte"))?;
    let images = idx::read(&image_path, 3)?;
    let labels = idx::read(&label_path, 1)?;
    let &[n, height, width] = images.dims.as_slice() else {
        return Err(Error::internal("an image file was read with another rank than 3"));
    };
    if n != labels.bytes.len() {
        let reason = format!("{} labels belong to {n} images in {}", labels.bytes.len(), image_path.display());
        return Err(Error::format(label_path, reason, "take both files from one data set"));
    }
    if n == 0 || height == 0 || width == 0 {
        return Err(Error::format(image_path, format!("{n} images of {height}x{width} hold no pixels"), "use a set with images"));
    }
    if let Some((position, label)) = labels.bytes.iter().enumerate().find(|&(_, &l)| usize::from(l) >= CLASSES) {
        let reason = format!("label {label} at position {position} is outside 0..{CLASSES}");
        return Err(Error::format(label_path, reason, "MNIST's labels are the digits 0 to 9; use another file"));
    }
    LabelledImages::new(height, width, images.bytes, labels.bytes.into_iter().map(i32::from).collect())
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::{encode, gzip};
    use super::*;
    use std::fs;

    #[test]
    fn bundled_digits_load() {
        let mnist = Mnist::load("data/mnist-5k").unwrap();
        assert_eq!((mnist.train.len(), mnist.test.len()), (4000, 1000));
        assert_eq!(mnist.train.size(), [28, 28]);
        for digit in 0..10 {
            assert_eq!(mnist.test.labels().iter().filter(|&&l| l == digit).count(), 100);
        }
        let (mean, std) = mnist.train.statistics();
        assert!((mean - 0.1307).abs() < 0.005 && (std - 0.3081).abs() < 0.005, "{mean} {std}");
    }

    #[test]
    fn parts_of_a_set_keep_images_and_labels_together() {
        let set = LabelledImages::new(1, 2, (0..10).collect(), vec![3, 5, 3, 9, 5]).unwrap();
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
    fn inconsistent_directories_are_errors() {
        let images = |n: u32| encode(&[n, 2, 2], &vec![7; n as usize * 4]);
        let labels = |values: &[u8]| encode(&[u32::try_from(values.len()).unwrap()], values);
        let rows: [(&str, Vec<u8>, Vec<u8>, &str); 4] = [
            ("counts differ", images(2), labels(&[1, 2, 3]), "3 labels"),
            ("label too large", images(2), labels(&[1, 10]), "label 10 at position 1"),
            ("empty", images(0), labels(&[]), "no pixels"),
            ("swapped", labels(&[1]), images(1), "dimensions"),
        ];
        for (name, train_images, train_labels, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("train-images-idx3-ubyte"), train_images).unwrap();
            fs::write(dir.path().join("train-labels-idx1-ubyte.gz"), gzip(&train_labels)).unwrap();
            let error = load_set(dir.path(), "train").unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = Mnist::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("train-images-idx3-ubyte.gz") && error.contains("four MNIST files"), "{error}");
    }
}
