//! Ready models under the names of their PyTorch counterparts, so that their state dicts load strictly.
//!
//! | model | names follow |
//! |---|---|
//! | [`Mlp`] | `torchvision.ops.MLP` without normalisation |
//! | [`LeNet`] | PyTorch's first tutorial |
//! | [`ResNet`] | torchvision |
//! | [`MobileNetV2`] | torchvision |
//! | [`UNet`] | milesial/Pytorch-UNet with transposed convolutions |
//! | [`Gpt`] | nanoGPT |
//! | [`LstmTagger`] | PyTorch's sequence-tagging tutorial |
//! | [`M5`] | PyTorch's speech-command tutorial |

mod audio;
mod gpt;
mod lenet;
mod mlp;
mod mobilenet;
mod resnet;
mod tagger;
mod unet;

pub use audio::{M5, M5Config};
pub use gpt::{Block, CausalSelfAttention, Gpt, GptConfig, GptMlp, Transformer};
pub use lenet::LeNet;
pub use mlp::Mlp;
pub use mobilenet::{MobileNetConfig, MobileNetV2};
pub use resnet::{ResNet, ResNetConfig, ResNetDepth};
pub use tagger::{LstmTagger, TaggerConfig};
pub use unet::{UNet, UNetConfig};
