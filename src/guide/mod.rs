// Each page begins with `links.md`, so that links between chapters lead to pages: the first of two definitions of a label counts,
// and those at a chapter's end, which lead to files, are for readers of the repository.
//
// A failing example is reported under `links.md`: the module names the chapter, and line numbers count through both files, one
// after the other.

#![doc = include_str!("links.md")]
#![doc = include_str!("../../docs/guide/README.md")]

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/tensors.md")]
pub mod tensors {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/gradients.md")]
pub mod gradients {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/modules.md")]
pub mod modules {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/optimizers.md")]
pub mod optimizers {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/data.md")]
pub mod data {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/training.md")]
pub mod training {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/overfitting.md")]
pub mod overfitting {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/transfer.md")]
pub mod transfer {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/speed.md")]
pub mod speed {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/devices.md")]
pub mod devices {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/pytorch.md")]
pub mod pytorch {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/sharp-bits.md")]
pub mod sharp_bits {}

pub mod architecture;
