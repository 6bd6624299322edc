//! Transforms of batches on the device: preparation and augmentation.
//!
//! Every random number comes from a [`Generator`](crate::Generator), so a seed and an offset reproduce a batch, on any device.
//! [`DataLoader::with_transform`](super::DataLoader::with_transform) applies a transform to each batch; a training loop may also
//! call it itself.
//!
//! ```
//! use wgrad::data::transforms::{ColorJitter, Compose, Normalize, RandomCrop, RandomHorizontalFlip, Transform};
//! use wgrad::{Device, Generator, Tensor};
//! # fn main() -> wgrad::Result<()> {
//! let device = Device::cpu()?;
//! let transform = Compose::new()
//!     .push(RandomHorizontalFlip::new(0.5)?)
//!     .push(RandomCrop::new([32, 32]).padding(4))
//!     .push(ColorJitter::new(0.4, 0.4, 0.4)?)
//!     .push(Normalize::new(&[0.49, 0.48, 0.45], &[0.25, 0.24, 0.26], &device)?);
//! let images = Tensor::rand([8, 3, 32, 32], &Generator::new(0), &device)?;
//! assert_eq!(transform.apply(&images, &Generator::new(1))?.shape()?, images.shape()?);
//! # Ok(()) }
//! ```

mod affine;
mod image;
mod mix;
mod normalize;
mod sound;
mod transform;

pub use affine::{AffineConfig, RandomAffine};
pub use image::{
    ColorJitter, Cutout, GaussianBlur, GaussianNoise, RandomCrop, RandomGrayscale, RandomHorizontalFlip, RandomVerticalFlip,
    Resize,
};
pub use mix::{CutMix, Mixup};
pub use normalize::Normalize;
pub use sound::{FrequencyMasking, TimeMasking, TimeShift};
pub use transform::{Compose, Lambda, Transform};
