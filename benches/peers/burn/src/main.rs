//! The networks of the benchmark `zoo` in Burn, with the same rows, command line and figures. `benches/peers/zoo.py` builds and runs
//! it.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/burn/Cargo.toml -- [--device cpu] [--steps 40] [--json] [ROW ...]
//! cargo run --release --manifest-path benches/peers/burn/Cargo.toml --no-default-features --features wgpu -- --device best
//! ```
//!
//! The device `cpu` is the backend Flex; with the feature `wgpu`, `best`, `gpu` and `software` are adapters, and a number is a
//! discrete GPU.

mod networks;
#[path = "../../../zoo/shared/mod.rs"]
mod shared;

use burn::module::{ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::prelude::*;
use networks::Network;
use shared::figures::{Figures, resident, time};
use shared::rows::{self, Batch, HostInput, Row};
use std::process::ExitCode;

/// The same as in PyTorch; Burn's default is 1e-5.
const EPSILON: f32 = 1e-8;
const LEARNING_RATE: f64 = 1e-3;

/// Has this thread, and those that it starts, treat subnormal numbers as 0: losses approach 0, and with them gradients.
fn flush_subnormals() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the register is read, and written with the bits FTZ and DAZ set, which change the results of subnormals only.
    unsafe {
        let mut register = 0u32;
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack));
        register |= 0x8040;
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack));
    }
}

fn device(name: &str) -> Result<Device, String> {
    match name {
        #[cfg(feature = "flex")]
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "best" | "gpu" => Ok(Device::wgpu(DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        "software" => Ok(Device::wgpu(DeviceKind::Cpu)),
        #[cfg(feature = "wgpu")]
        number if number.parse::<usize>().is_ok() => {
            Ok(Device::wgpu(DeviceKind::DiscreteGpu(number.parse().unwrap_or_default())))
        }
        _ => Err(format!(
            "there is no device {name:?} in this build: give cpu with the feature flex; best, gpu, software or a number with wgpu"
        )),
    }
}

fn input(row: &Row, batch: &Batch) -> TensorData {
    match &batch.input {
        HostInput::Numbers(numbers) => TensorData::new(numbers.clone(), row.input_shape()),
        HostInput::Tokens(tokens) => TensorData::new(tokens.clone(), row.input_shape()),
    }
}

/// Computes lazily initialised parameters, and counts their elements without running statistics.
#[derive(Default)]
struct Parameters {
    field: String,
    count: usize,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _: &str) {
        name.clone_into(&mut self.field);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let elements = param.val().shape().num_elements();
        self.count += if self.field.starts_with("running_") { 0 } else { elements };
    }
}

fn take<M: Network>(row: &'static Row, name: &str, steps: u32, build: impl FnOnce(&Device) -> M) -> Result<Figures, String> {
    let device = device(name)?;
    let start_memory = resident();
    let device = if row.is_training() { device.autodiff() } else { device };
    let mut model = build(&device);
    let mut parameters = Parameters::default();
    model.visit(&mut parameters);
    device.sync().map_err(|error| format!("{error:?}"))?;
    let mut adam = AdamConfig::new().with_epsilon(EPSILON).init();
    let criterion = CrossEntropyLossConfig::new().init(&device);
    let mut batches = row.batches();
    let times = time(steps, || {
        let batch = batches.next().ok_or("there are no batches")?;
        let outputs = model.forward(input(row, &batch), &device);
        if !row.is_training() {
            return Ok(f64::from(outputs.into_data().iter::<f32>().next().unwrap_or(f32::NAN)));
        }
        let labels =
            Tensor::from_data(TensorData::new(batch.labels.clone(), [row.label_shape().iter().product::<usize>()]), &device);
        let loss = criterion.forward(outputs, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = adam.step(LEARNING_RATE, model.clone(), gradients);
        // Nothing is computed for certain before a value is read.
        Ok::<_, String>(f64::from(loss.into_scalar::<f32>()))
    })?;
    let program = if name == "cpu" { "burn-flex" } else { "burn-wgpu" };
    Ok(Figures {
        program,
        device: format!("{device:?}"),
        parameters: parameters.count,
        times,
        host: None,
        start_memory,
        device_memory: None,
        expected: None,
    })
}

fn main() -> ExitCode {
    flush_subnormals();
    shared::command::main(|row, options| {
        let (name, steps) = (options.device.as_str(), options.steps);
        match row.network {
            rows::Network::Mlp => take(row, name, steps, networks::Mlp::new),
            rows::Network::Cnn => take(row, name, steps, networks::Cnn::new),
            rows::Network::Gpt => take(row, name, steps, networks::Gpt::new),
            rows::Network::M5 => take(row, name, steps, networks::M5::new),
            rows::Network::ResNet => {
                take(row, name, steps, |device| networks::ResNet::new(64, rows::MANY_CLASSES, false, device))
            }
            rows::Network::SmallResNet(width) => {
                take(row, name, steps, |device| networks::ResNet::new(width, rows::CLASSES, true, device))
            }
            rows::Network::ConvNext => take(row, name, steps, networks::ConvNext::new),
            rows::Network::Tagger => take(row, name, steps, networks::Tagger::new),
            rows::Network::Lstm => take(row, name, steps, networks::Lstms::tagging),
            rows::Network::UNet => take(row, name, steps, networks::UNet::new),
            rows::Network::MobileNet => take(row, name, steps, networks::MobileNet::new),
            rows::Network::SentenceEncoder => take(row, name, steps, networks::SentenceEncoder::new),
            rows::Network::LstmEncoder => take(row, name, steps, networks::Lstms::encoding),
        }
    })
}
