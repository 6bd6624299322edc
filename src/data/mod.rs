//! Data: images in IDX files, text, spoken words, shuffled batches, and augmentation on the device.
//!
//! | subject | |
//! |---|---|
//! | batches | [`Loader`] [`Epoch`] |
//! | parts of a data set | [`split`] [`draw_per_class`] |
//! | images | [`Mnist`] [`LabelledImages`] [`idx`] |
//! | augmentation, normalisation | [`augment`] [`RandomAffine`] [`AffineConfig`] [`Normalize`] |
//! | text | [`Tokenizer`] [`ByteTokenizer`] [`CharTokenizer`] [`Tokens`] [`read_text`] |
//! | sound | [`AudioClips`] [`LogMel`] [`MelConfig`] |

mod audio;
pub mod augment;
pub mod idx;
mod loader;
mod mel;
mod mnist;
mod split;
mod text;
mod wav;

pub use audio::AudioClips;
pub use augment::{AffineConfig, Normalize, RandomAffine};
pub use loader::{Epoch, Loader};
pub use mel::{LogMel, MelConfig};
pub use mnist::{LabelledImages, Mnist};
pub use split::{draw_per_class, split};
pub use text::{ByteTokenizer, CharTokenizer, Tokenizer, Tokens, read_text};
