//! Data: IDX files, MNIST, shuffled batches, and augmentation on the device.

pub mod augment;
pub mod idx;
mod loader;
mod mnist;
mod split;

pub use augment::{AffineConfig, Normalize, RandomAffine};
pub use loader::{Epoch, Loader};
pub use mnist::{LabelledImages, Mnist};
pub use split::split;
