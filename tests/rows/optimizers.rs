//! Every optimizer in the configurations that tests take, one row each, for `tests/it` and `tests/training`.

#![allow(dead_code, reason = "two test crates share the rows, and neither asks for everything")]

use wgrad::optim::*;
use wgrad::{Param, Result};

pub type Make = fn(&[Param]) -> Result<Box<dyn Optimizer>>;

/// The reference for a row's steps, from the parameters `param.{i}` and the gradients `grad.{t}.{i}` of a file in
/// `tests/fixtures`.
#[derive(Clone, Copy)]
pub enum Judge {
    /// The file: PyTorch in f64, or a transcription of the paper there, as `{name}.after{t}.{i}` for the first and last step.
    Trace { file: &'static str, steps: usize },
    /// The paper's formula for one element, in f64, of the step's number (from 1), the parameter, the gradient and as many
    /// states, initially 0, as it needs. It uses the gradients of `optimizers_more`.
    Paper(fn(f64, f64, f64, &mut [f64; 4]) -> f64),
}

/// One optimizer with its settings.
#[derive(Clone, Copy)]
pub struct Row {
    /// The optimizer's name in checkpoints.
    pub optimizer: &'static str,
    /// The row's name, which starts with the optimizer's; its trace has the same name.
    pub name: &'static str,
    pub make: Make,
    pub judge: Judge,
}

const TWENTY: Judge = Judge::Trace { file: "optimizers.safetensors", steps: 20 };
const MORE: Judge = Judge::Trace { file: "optimizers_more.safetensors", steps: 25 };
const DECOUPLED: DecayMode = DecayMode::Decoupled;

macro_rules! rows {
    ($($optimizer:literal $type:ident $config:ident {
        $($name:literal by $judge:expr, { $($field:ident: $value:expr),* };)+
    })+) => {
        /// All rows; an optimizer's last one has all the state that it can have.
        pub const ROWS: &[Row] = &[$($(Row {
            optimizer: $optimizer,
            name: $name,
            make: |params| {
                #[allow(clippy::needless_update, reason = "some rows name every field")]
                let config = $config { $($field: $value,)* ..$config::default() };
                Ok(Box::new($type::new(params, config)?))
            },
            judge: $judge,
        },)+)+];
    };
}

rows! {
    "sgd" Sgd SgdConfig {
        "sgd" by TWENTY, { lr: 0.05 };
        "sgd_default" by MORE, {};
        "sgd_nesterov" by TWENTY, { lr: 0.05, momentum: 0.9, nesterov: true };
        "sgd_l2" by TWENTY, { lr: 0.05, momentum: 0.9, weight_decay: 0.01 };
        "sgd_dampening" by TWENTY, { lr: 0.05, momentum: 0.9, dampening: 0.5 };
        "sgd_maximize" by MORE, { lr: 0.05, momentum: 0.9, dampening: 0.3, weight_decay: 0.01, maximize: true };
        "sgd_momentum" by TWENTY, { lr: 0.05, momentum: 0.9 };
    }
    "adam" Adam AdamConfig {
        "adam" by TWENTY, { lr: 0.01 };
        "adam_default" by MORE, {};
        "adam_l2" by TWENTY, { lr: 0.01, weight_decay: 0.1 };
        "adam_maximize" by MORE, { lr: 0.01, weight_decay: 0.1, maximize: true };
        "adam_amsgrad" by TWENTY, { lr: 0.01, amsgrad: true };
    }
    "adamw" AdamW AdamWConfig {
        "adamw" by TWENTY, { lr: 0.01, weight_decay: 0.1 };
        "adamw_default" by MORE, {};
        "adamw_amsgrad" by MORE, { lr: 0.01, weight_decay: 0.1, amsgrad: true, betas: (0.8, 0.95), eps: 1e-6 };
    }
    "rmsprop" RmsProp RmsPropConfig {
        "rmsprop" by TWENTY, {};
        "rmsprop_default" by MORE, {};
        "rmsprop_other" by MORE, { lr: 0.005, alpha: 0.9, eps: 1e-4, weight_decay: 0.1, momentum: 0.5, maximize: true };
        "rmsprop_centered" by TWENTY, { centered: true };
        "rmsprop_momentum" by TWENTY, { momentum: 0.9 };
        "rmsprop_centered_momentum_l2" by TWENTY, { centered: true, momentum: 0.9, weight_decay: 0.1 };
    }
    "adagrad" AdaGrad AdaGradConfig {
        "adagrad" by TWENTY, { lr: 0.05 };
        "adagrad_default" by MORE, {};
        "adagrad_other" by MORE, { lr: 0.02, lr_decay: 0.05, eps: 1e-4, initial_accumulator_value: 0.3, maximize: true };
        "adagrad_decay" by TWENTY, { lr: 0.05, lr_decay: 0.1, weight_decay: 0.1, initial_accumulator_value: 0.1 };
    }
    "nadam" NAdam NAdamConfig {
        "nadam" by TWENTY, {};
        "nadam" by MORE, {};
        "nadam_decoupled" by MORE, { lr: 0.01, weight_decay: 0.1, decay_mode: DECOUPLED };
        "nadam_other" by MORE, { lr: 0.01, betas: (0.8, 0.95), eps: 1e-6, weight_decay: 0.1, momentum_decay: 0.02 };
    }
    "radam" RAdam RAdamConfig {
        "radam" by TWENTY, { lr: 0.01 };
        "radam" by MORE, {};
        "radam_decoupled" by MORE, { lr: 0.01, weight_decay: 0.1, decay_mode: DECOUPLED };
        "radam_other" by MORE, { lr: 0.01, betas: (0.8, 0.9), eps: 1e-6, weight_decay: 0.1 };
    }
    "adamax" Adamax AdamaxConfig {
        "adamax" by TWENTY, {};
        "adamax" by MORE, {};
        "adamax_other" by MORE, { lr: 0.01, betas: (0.8, 0.9), eps: 1e-4, weight_decay: 0.1, maximize: true };
    }
    "adadelta" AdaDelta AdaDeltaConfig {
        "adadelta" by TWENTY, {};
        "adadelta" by MORE, {};
        "adadelta_other" by MORE, { lr: 0.5, rho: 0.8, eps: 1e-4, weight_decay: 0.1 };
    }
    "lion" Lion LionConfig {
        "lion" by MORE, {};
        "lion_other" by MORE, { lr: 0.01, betas: (0.8, 0.95), weight_decay: 0.1 };
    }
    "lamb" Lamb LambConfig {
        "lamb" by MORE, {};
        "lamb_other" by MORE, { lr: 0.02, betas: (0.8, 0.95), eps: 1e-4, weight_decay: 0.1, maximize: true };
    }
}

/// The kinds of numbers in an optimizer's checkpoint.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A whole number, at least 0.
    Count,
    /// In `0..1`.
    Factor,
    /// 0 or 1.
    Flag,
    /// Finite and at least 0.
    Size,
    /// Finite, of either sign.
    Signed,
    /// State of either sign.
    Mean,
    /// State that is at least 0.
    Square,
}

/// The kinds of entries, by the last part of their names.
pub fn entry(name: &str) -> Entry {
    match name {
        "step" | "position" => Entry::Count,
        "beta1" | "beta2" | "alpha" | "rho" => Entry::Factor,
        "maximize" | "decoupled" | "nesterov" | "amsgrad" | "centered" => Entry::Flag,
        "dampening" => Entry::Signed,
        "momentum_buffer" | "exp_avg" | "grad_avg" => Entry::Mean,
        "sum" | "square_avg" | "acc_delta" | "exp_avg_sq" | "max_exp_avg_sq" | "exp_inf" => Entry::Square,
        "lr" | "momentum" | "weight_decay" | "eps" | "lr_decay" | "initial_accumulator_value" | "momentum_decay" => Entry::Size,
        other => panic!("{other} has no row here"),
    }
}

/// For each optimizer, the row with all the state that it can have.
pub fn fullest() -> Vec<(&'static str, Make)> {
    let lasts = ROWS.chunk_by(|a, b| a.optimizer == b.optimizer).filter_map(<[Row]>::last);
    lasts.map(|row| (row.optimizer, row.make)).collect()
}
