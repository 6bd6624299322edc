//! Instance normalisation of sequences, images and volumes.

use super::module::Module;
use super::running::{norm_config, norm_layer, track};
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;

norm_config! {
    /// Settings of an [`InstanceNorm1d`], [`InstanceNorm2d`] or [`InstanceNorm3d`].
    InstanceNormConfig, "with `None` they keep their first values, as in PyTorch.", false, false, "example"
}

macro_rules! instance_norm {
    ($(#[$doc:meta])* $name:ident, $rank:literal, $layout:literal) => {
        norm_layer! {
            $(#[$doc])*
            ///
            /// [`Tensor::instance_norm`]: `y = (x - mean) / √(variance + eps) · weight + bias`, a mean and a variance for each
            /// channel of each example. Running statistics, if they are kept, follow the mean of the examples' means and of their
            /// unbiased variances, and take their place in evaluation. As in PyTorch, `num_batches_tracked` is then part of the
            /// state, and stays at 0. An input without the first axis is one example.
            ///
            /// Source: D. Ulyanov et al., "Instance normalization", 2016.
            $name, InstanceNormConfig,
            /// Part of PyTorch's state; it does not count anything here.
            num_batches_tracked,
            /// A layer for `channels` with PyTorch's settings: eps 1e-5, without scale, shift and running statistics.
            new
        }

        impl $name {
            #[track_caller]
            fn normalise(&self, x: &Tensor) -> Result<Tensor> {
                let (weight, bias) = (self.weight.as_ref().map(Param::tensor), self.bias.as_ref().map(Param::tensor));
                let (weight, bias, eps) = (weight.as_ref(), bias.as_ref(), self.config.eps);
                let Some((running_mean, running_var)) = self.running_mean.as_ref().zip(self.running_var.as_ref()) else {
                    return Ok(x.instance_norm(weight, bias, eps));
                };
                if !self.mode.is_training() {
                    return Ok(x.batch_norm_with(&running_mean.tensor(), &running_var.tensor(), weight, bias, eps));
                }
                let shape = x.shape()?;
                let count = shape[2..].iter().product::<usize>();
                if count < 2 {
                    let reason = format!("the input {shape} has {} per channel of an example", counted(count, "value"));
                    let help = "train on at least 2 positions, or call eval()";
                    return Err(Error::argument(stringify!($name), reason, help));
                }
                let positions: Vec<usize> = (2..shape.rank()).collect();
                let (normal, mean, variance) = x.standardize(&positions, eps);
                let unbiased = variance * (count as f64 / (count as f64 - 1.0));
                let wide = |t: &Tensor| t.reshape([vec![self.channels], vec![1; shape.rank() - 2]].concat());
                let y = weight.map_or(normal.clone(), |w| normal * wide(w));
                let y = bias.map_or(y.clone(), |b| y + wide(b));
                let over_examples = |t: Tensor| t.reshape([shape[0], self.channels]).mean_dim(0);
                let momentum = self.config.momentum.unwrap_or(0.0);
                let y = track(running_mean, &over_examples(mean), momentum, &y, None)?;
                track(running_var, &over_examples(unbiased), momentum, &y, None)
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let kind = stringify!($name);
                let shape = x.shape()?;
                let single = shape.rank() + 1 == $rank;
                let batch = if single { x.unsqueeze(0) } else { x.clone() };
                let given = batch.shape()?;
                if given.rank() != $rank || given[1] != self.channels {
                    let reason = if given.rank() == $rank {
                        format!("the input {shape} has {}, and the layer takes {}", counted(given[1], "channel"), self.channels)
                    } else {
                        format!("the input {shape} has {}, not {} or {}", counted(shape.rank(), "axis"), $rank - 1, $rank)
                    };
                    return Err(Error::argument(kind, reason, concat!("give ", $layout)));
                }
                let y = self.normalise(&batch)?;
                observe(self, kind, if single { y.squeeze(0) } else { y })
            }
            fields!(weight, bias, running_mean, running_var, num_batches_tracked, mode; skip channels, config);
        }
    };
}

instance_norm! {
    /// Instance normalisation of `[n, c, l]`.
    InstanceNorm1d, 3, "[n, channels, l] or [channels, l]"
}
instance_norm! {
    /// Instance normalisation of images `[n, c, h, w]`.
    InstanceNorm2d, 4, "[n, channels, h, w] or [channels, h, w]"
}
instance_norm! {
    /// Instance normalisation of volumes `[n, c, d, h, w]`.
    InstanceNorm3d, 5, "[n, channels, d, h, w] or [channels, d, h, w]"
}
