//! Batch normalisation of vectors, sequences, images and volumes.

use super::module::Module;
use super::running::{norm_config, norm_layer, track};
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;

norm_config! {
    /// Settings of a [`BatchNorm1d`], [`BatchNorm2d`] or [`BatchNorm3d`].
    BatchNormConfig, "`None` averages over all batches alike.", true, true, "batch"
}

macro_rules! batch_norm {
    ($(#[$doc:meta])* $name:ident, $ranks:expr, $layout:literal) => {
        norm_layer! {
            $(#[$doc])*
            ///
            /// `y = (x - mean) / √(variance + eps) · weight + bias`, a mean and a variance per channel. In training, mean and
            /// (population) variance are the batch's own, and the running statistics follow them:
            /// `running = (1 - momentum) · running + momentum · batch`, with the unbiased variance, as in PyTorch. In evaluation,
            /// the running statistics are used and not changed.
            ///
            /// Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
            $name, BatchNormConfig,
            /// How many batches the running statistics have seen.
            num_batches_tracked,
            /// A layer for `channels` with PyTorch's settings.
            new
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let kind = stringify!($name);
                check(kind, x, &$ranks, $layout, self.channels)?;
                let (weight, bias) = (self.weight.as_ref().map(Param::tensor), self.bias.as_ref().map(Param::tensor));
                let (weight, bias, eps) = (weight.as_ref(), bias.as_ref(), self.config.eps);
                let kept = self.running_mean.as_ref().zip(self.running_var.as_ref()).zip(self.num_batches_tracked.as_ref());
                if let Some(((mean, variance), _)) = kept.filter(|_| !self.mode.is_training()) {
                    return observe(self, kind, x.batch_norm_with(&mean.tensor(), &variance.tensor(), weight, bias, eps));
                }
                let count = x.shape()?.numel() / self.channels.max(1);
                if count < 2 {
                    let help = if kept.is_some() {
                        "train on at least 2 values per channel, or call eval()"
                    } else {
                        "give at least 2 values per channel, or track running statistics and call eval()"
                    };
                    return Err(Error::argument(kind, format!("the input {} has {} per channel", x.shape()?, counted(count, "value")), help));
                }
                let (mut y, mean, variance) = x.batch_norm(weight, bias, eps);
                y.check()?;
                if let Some(((running_mean, running_var), batches)) = kept {
                    let momentum = self.config.momentum.unwrap_or_else(|| 1.0 / (batches.get() + 1) as f64);
                    let unbiased = variance * (count as f64 / (count as f64 - 1.0));
                    y = track(running_mean, &mean, momentum, &y, Some(batches))?;
                    y = track(running_var, &unbiased, momentum, &y, None)?;
                }
                observe(self, kind, y)
            }
            fields!(weight, bias, running_mean, running_var, num_batches_tracked, mode; skip channels, config);
        }
    };
}

batch_norm! {
    /// Batch normalisation of `[n, c]` or `[n, c, l]`.
    BatchNorm1d, [2, 3], "[n, channels] or [n, channels, l]"
}
batch_norm! {
    /// Batch normalisation of images `[n, c, h, w]`.
    BatchNorm2d, [4], "[n, channels, h, w]"
}
batch_norm! {
    /// Batch normalisation of volumes `[n, c, d, h, w]`.
    BatchNorm3d, [5], "[n, channels, d, h, w]"
}

/// Refuses an input with another layout or number of channels than the layer's.
#[track_caller]
fn check(kind: &'static str, x: &Tensor, ranks: &[usize], layout: &str, channels: usize) -> Result<()> {
    let shape = x.shape()?;
    if ranks.contains(&shape.rank()) && shape[1] == channels {
        return Ok(());
    }
    let reason = if ranks.contains(&shape.rank()) {
        format!("the input {shape} has {}, and the layer takes {channels}", counted(shape[1], "channel"))
    } else {
        let ranks: Vec<String> = ranks.iter().map(ToString::to_string).collect();
        format!("the input {shape} has {}, not {}", counted(shape.rank(), "axis"), ranks.join(" or "))
    };
    Err(Error::argument(kind, reason, format!("give {layout}")))
}
