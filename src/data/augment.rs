//! Augmentation and normalisation of batches on the device.
//!
//! Every random number comes from a [`Generator`](crate::Generator), so a seed and an offset reproduce a batch, on any device.
//!
//! ```
//! use wgrad::data::augment::{Augment, ColorJitter, Compose, RandomCrop, RandomFlip};
//! use wgrad::{Device, Generator, Tensor};
//! # fn main() -> wgrad::Result<()> {
//! let augment = Compose::new()
//!     .push(RandomFlip::horizontal(0.5)?)
//!     .push(RandomCrop::new(4))
//!     .push(ColorJitter::new(0.4, 0.4, 0.4)?);
//! let images = Tensor::rand([8, 3, 32, 32], &Generator::new(0), &Device::cpu()?)?;
//! assert_eq!(augment.apply(&images, &Generator::new(1))?.shape()?, images.shape()?);
//! # Ok(()) }
//! ```

mod affine;
mod image;
mod mix;
mod normalize;
mod sound;
mod step;

pub use affine::{AffineConfig, RandomAffine};
pub use image::{ColorJitter, Cutout, GaussianBlur, GaussianNoise, RandomCrop, RandomFlip, RandomGreyscale, Resize};
pub use mix::{CutMix, Mixup};
pub use normalize::Normalize;
pub use sound::{SpectrogramMask, TimeShift};
pub use step::{Augment, Compose};
