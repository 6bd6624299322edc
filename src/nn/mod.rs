//! Neural-network modules: layers with named parameters under PyTorch's names.
//!
//! A model is a struct of layers that implements [`Module`]: `forward`, and the list of its fields, which [`fields!`] writes.
//!
//! ```
//! use wgrad::nn::{Dropout, Init, Linear, Module, fields};
//! use wgrad::{Device, Result, Tensor};
//!
//! struct Mlp {
//!     fc1: Linear,
//!     dropout: Dropout,
//!     fc2: Linear,
//! }
//!
//! impl Module for Mlp {
//!     fn forward(&self, x: &Tensor) -> Result<Tensor> {
//!         let hidden = self.fc1.forward(x)?.relu();
//!         self.fc2.forward(&self.dropout.forward(&hidden)?)
//!     }
//!     fields!(fc1, dropout, fc2);
//! }
//!
//! # fn main() -> Result<()> {
//! let init = Init::new(&Device::cpu()?, 0);
//! let model = Mlp { fc1: Linear::new(4, 8, &init)?, dropout: Dropout::new(0.5, &init)?, fc2: Linear::new(8, 2, &init)? };
//! let names: Vec<String> = model.named_parameters()?.into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
//! # Ok(()) }
//! ```
//!
//! # Layers
//!
//! | subject | |
//! |---|---|
//! | linear | [`Linear`] [`LinearConfig`] [`Bilinear`] [`BilinearConfig`] [`Identity`] |
//! | embedding, positions | [`Embedding`] [`EmbeddingConfig`] [`SinusoidalEncoding`] [`RotaryEncoding`] [`RotaryConfig`] |
//! | convolution | [`Conv1d`] [`Conv2d`] [`Conv3d`] [`ConvTranspose1d`] [`ConvTranspose2d`] [`ConvTranspose3d`] [`ConvOptions`] [`ConvTransposeOptions`] |
//! | pooling | [`MaxPool1d`] [`MaxPool2d`] [`MaxPool3d`] [`AvgPool1d`] [`AvgPool2d`] [`AvgPool3d`] [`AdaptiveMaxPool1d`] [`AdaptiveMaxPool2d`] [`AdaptiveMaxPool3d`] [`AdaptiveAvgPool1d`] [`AdaptiveAvgPool2d`] [`AdaptiveAvgPool3d`] [`GlobalMaxPool`] [`GlobalAvgPool`] [`PoolOptions`] |
//! | shapes, images | [`Flatten`] [`Unflatten`] [`Upsample`] [`Interpolation`] [`PixelShuffle`] [`PixelUnshuffle`] |
//! | normalisation | [`BatchNorm1d`] [`BatchNorm2d`] [`BatchNorm3d`] [`BatchNormConfig`] [`InstanceNorm1d`] [`InstanceNorm2d`] [`InstanceNorm3d`] [`InstanceNormConfig`] [`LayerNorm`] [`LayerNormConfig`] [`RmsNorm`] [`RmsNormConfig`] [`GroupNorm`] [`GroupNormConfig`] |
//! | dropout | [`Dropout`] [`Dropout1d`] [`Dropout2d`] [`Dropout3d`] [`DropPath`] |
//! | activation | [`Relu`] [`Relu6`] [`LeakyRelu`] [`PRelu`] [`PReluConfig`] [`Elu`] [`Celu`] [`Selu`] [`Gelu`] [`GeluTanh`] [`Silu`] [`Mish`] [`Sigmoid`] [`LogSigmoid`] [`Tanh`] [`Hardtanh`] [`Hardsigmoid`] [`Hardswish`] [`Hardshrink`] [`Softshrink`] [`Tanhshrink`] [`Threshold`] [`Softplus`] [`Softsign`] [`Softmax`] [`Softmin`] [`LogSoftmax`] [`Glu`] |
//! | recurrent | [`Lstm`] [`Gru`] [`Rnn`] [`RnnNonlinearity`] [`RecurrentConfig`] [`Sequence`] [`SequenceOptions`] [`LstmCell`] [`GruCell`] [`RecurrentCellConfig`] |
//! | attention, transformers | [`MultiheadAttention`] [`MultiheadAttentionConfig`] [`TransformerEncoder`] [`TransformerEncoderLayer`] [`TransformerDecoder`] [`TransformerDecoderLayer`] [`FeedForward`] [`TransformerConfig`] |
//! | containers | [`Sequential`] [`sequential!`] [`ModuleList`] [`Residual`] |
//!
//! # Around layers
//!
//! | subject | |
//! |---|---|
//! | losses | [`loss`] [`Reduction`] |
//! | initial values | [`Init`] [`init`] |
//! | writing a module | [`Module`] [`fields!`] [`Fields`] [`Field`] [`Mode`] [`Counter`] [`Copier`] |
//! | looking at a model | [`summary`] [`summary_with`] [`Summary`] [`SummaryRow`] |
//! | evaluation, snapshots | [`evaluating`] [`Snapshot`] |
//! | pretrained weights | [`transfer`] [`models`] [`LoadOptions`] [`LoadReport`] |

mod activation;
mod attention;
mod batch_norm;
mod bilinear;
mod blend;
mod conv;

mod dropout;
#[doc(hidden)]
pub mod duplicate;
mod embedding;
mod encoding;
mod fields;
pub mod init;
mod instance_norm;
mod linear;
mod load;
pub mod loss;
mod macros;
mod misfit;
mod mode;
pub mod models;
mod module;
mod norm;
mod pool;
mod recurrent;
mod recurrent_cell;
mod residual;
mod running;
mod sequential;
mod snapshot;
pub(crate) mod state;
mod summary;
pub mod transfer;
mod transformer;
mod upsample;

pub use crate::tensor::{ConvOptions, ConvTransposeOptions, Interpolation, PoolOptions};
pub use crate::{fields, sequential};
pub use activation::{
    Celu, Elu, Gelu, GeluTanh, Glu, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, Identity, LeakyRelu, LogSigmoid, LogSoftmax,
    Mish, PRelu, PReluConfig, Relu, Relu6, Selu, Sigmoid, Silu, Softmax, Softmin, Softplus, Softshrink, Softsign, Tanh,
    Tanhshrink, Threshold,
};
pub use attention::{MultiheadAttention, MultiheadAttentionConfig};
pub use batch_norm::{BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormConfig};
pub use bilinear::{Bilinear, BilinearConfig};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{DropPath, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::{Embedding, EmbeddingConfig};
pub use encoding::{RotaryConfig, RotaryEncoding, SinusoidalEncoding};
#[doc(hidden)]
pub use fields::field_name;
pub use fields::{Copier, Field, Fields};
pub use init::Init;
pub use instance_norm::{InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, InstanceNormConfig};
pub use linear::{Linear, LinearConfig};
pub use load::LoadOptions;
pub use loss::Reduction;
pub use mode::{Counter, Mode};
pub use module::{Module, evaluating};
pub use norm::{GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
pub use pool::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool1d,
    AvgPool2d, AvgPool3d, Flatten, GlobalAvgPool, GlobalMaxPool, MaxPool1d, MaxPool2d, MaxPool3d, Unflatten,
};
pub use recurrent::{Gru, Lstm, RecurrentConfig, Rnn, RnnNonlinearity, Sequence, SequenceOptions};
pub use recurrent_cell::{GruCell, LstmCell, RecurrentCellConfig};
pub use residual::{ModuleList, Residual};
pub use sequential::Sequential;
pub use snapshot::Snapshot;
pub use state::LoadReport;
pub use summary::{Summary, SummaryRow, summary, summary_with};
pub use transformer::{
    FeedForward, TransformerConfig, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
};
pub use upsample::{PixelShuffle, PixelUnshuffle, Upsample};
