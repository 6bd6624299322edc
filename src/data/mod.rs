//! Data: what a data set is, batches of one, readers, and transforms on the device.
//!
//! A [`Dataset`] gives samples by position, a [`DataLoader`] makes batches of them on a device, and a
//! [`Transform`](transforms::Transform) changes batches there. Sets come from memory ([`TensorDataset`], [`LabelledImages`],
//! [`VecDataset`]) or from files ([`Mnist`], [`AudioClips`], text as [`Tokens`]); [`Subset`], [`Dataset::map`] and
//! [`random_split`] make new sets from them.
//!
//! | subject | |
//! |---|---|
//! | sets | [`Dataset`] [`Batch`] [`TensorDataset`] [`Rows`] [`VecDataset`] [`Subset`] [`Map`] |
//! | batches | [`DataLoader`] [`Batches`] [`Collate`] [`Inputs`] |
//! | parts of a set | [`split`] [`split_stratified`] [`random_split`] [`Portion`] [`draw_per_class`] |
//! | images | [`Mnist`] [`LabelledImages`] [`idx`] |
//! | augmentation, normalisation | [`transforms`] |
//! | text | [`Tokenizer`] [`ByteTokenizer`] [`CharTokenizer`] [`Tokens`] [`Windows`] [`read_text`] |
//! | sound | [`AudioClips`] [`LogMel`] [`MelConfig`] |

/// Calls a macro with the tuples that samples may be: a type and a place for each part.
macro_rules! for_tuples {
    ($then:ident) => {
        $then!(
            (A 0, B 1),
            (A 0, B 1, C 2),
            (A 0, B 1, C 2, D 3),
            (A 0, B 1, C 2, D 3, E 4),
            (A 0, B 1, C 2, D 3, E 4, F 5)
        );
    };
}

mod audio;
mod collate;
mod dataset;
pub mod idx;
mod images;
mod in_memory;
mod loader;
mod mel;
mod mnist;
mod split;
mod text;
pub mod transforms;
mod wav;

pub use audio::AudioClips;
pub use collate::{Collate, Inputs};
pub use dataset::{Batch, Dataset, Map, Subset};
pub use images::LabelledImages;
pub use in_memory::{Rows, TensorDataset, VecDataset};
pub use loader::{Batches, DataLoader};
pub use mel::{LogMel, MelConfig};
pub use mnist::Mnist;
pub use split::{Portion, draw_per_class, random_split, split, split_stratified};
pub use text::{ByteTokenizer, CharTokenizer, Tokenizer, Tokens, Windows, read_text};
