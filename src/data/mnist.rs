//! MNIST: 28x28 grey-scale handwritten digits, in four IDX files.

use super::idx;
use super::images::LabelledImages;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// How many digits there are.
const CLASSES: usize = 10;

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
    /// A file is missing, malformed or of more than [`idx::MAX_ELEMENTS`] pixels; images and labels differ in number; a label is above 9; a set is empty.
    #[track_caller]
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        Self::load_within(dir, idx::MAX_ELEMENTS)
    }

    /// As [`Mnist::load`], with at most `most` pixels in each file, whatever a compressed one expands to. Defaults to
    /// [`idx::MAX_ELEMENTS`].
    ///
    /// # Errors
    /// As [`Mnist::load`], with this limit.
    #[track_caller]
    pub fn load_within(dir: impl AsRef<Path>, most: usize) -> Result<Self> {
        let dir = dir.as_ref();
        let (train, test) = (load_set(dir, "train", most)?, load_set(dir, "t10k", most)?);
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

fn load_set(dir: &Path, prefix: &str, most: usize) -> Result<LabelledImages> {
    let image_path = locate(dir, &format!("{prefix}-images-idx3-ubyte"))?;
    let label_path = locate(dir, &format!("{prefix}-labels-idx1-ubyte"))?;
    let images = idx::read_within(&image_path, 3, most)?;
    let labels = idx::read_within(&label_path, 1, most)?;
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
    LabelledImages::new([1, height, width], images.bytes, labels.bytes.into_iter().map(i32::from).collect())
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
        assert!((mean[0] - 0.1307).abs() < 0.005 && (std[0] - 0.3081).abs() < 0.005, "{mean:?} {std:?}");
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
            let error = load_set(dir.path(), "train", idx::MAX_ELEMENTS).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = Mnist::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("train-images-idx3-ubyte.gz") && error.contains("four MNIST files"), "{error}");
    }
}
