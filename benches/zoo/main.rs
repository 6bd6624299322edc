//! Common networks in training and in use, from perceptrons to MobileNetV2, on any device: first step, median step, the host's
//! part, memory. `benches/peers/zoo.py` compares them with PyTorch's and Burn's.
//!
//! ```sh
//! cargo bench --bench zoo -- [--device cpu] [--steps 40] [--json] [ROW ...]
//! ```
//!
//! Training steps upload a batch, run forward, backward and Adam, and read the loss; rows that begin with `forward` upload a batch
//! and read the outputs, without gradients.

mod measure;
mod networks;
mod shared;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::command::main(|row, options| measure::take(row, &options.device, options.steps).map_err(|error| error.to_string()))
}
