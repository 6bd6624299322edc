//! Common networks in training and in use, from perceptrons to MobileNetV2, on any device: first step, median step, the host's
//! part, memory. `benches/peers/zoo.py` compares them with PyTorch's and Burn's.
//!
//! ```sh
//! cargo bench --bench zoo -- [--device cpu] [--steps 40] [--json] [ROW ...]
//! ```
//!
//! Training steps upload a batch, run forward, backward and Adam, and read the loss; rows that begin with `forward` upload a batch
//! and read the outputs, without gradients. Each row runs in a process of its own, since memory is counted per process.

mod measure;
mod networks;
mod rows;

use clap::Parser;
use measure::Figures;
use rows::{ROWS, Row};
use std::process::{Command, ExitCode};

/// Time common networks on a device.
#[derive(Debug, Parser)]
#[command(name = "zoo", about)]
struct Options {
    /// The device, by kind, index or part of a name
    #[arg(long, default_value = "cpu")]
    device: String,
    /// How many steps are timed after the first
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Print a JSON object per row
    #[arg(long)]
    json: bool,
    /// What runs; by default, all rows
    #[arg(value_name = "ROW", value_parser = row)]
    rows: Vec<&'static Row>,
    /// Ignored: `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn row(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("the rows are {}", names()))
}

/// Runs a row in a process of its own, which prints its figures.
fn spawn(row: &Row, options: &Options) -> Result<(), String> {
    let failed = |reason: String| format!("{}: {reason}", row.name);
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--device", &options.device, "--steps", &options.steps.to_string(), row.name]);
    command.args(options.json.then_some("--json"));
    let status = command.status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

fn run(options: &Options) -> Result<(), String> {
    if let [row] = options.rows[..] {
        let figures = Figures::take(row, &options.device, options.steps).map_err(|error| error.to_string())?;
        println!("{}", if options.json { figures.json(row).to_string() } else { figures.line(row) });
        return Ok(());
    }
    let all = ROWS.iter().collect();
    let rows = if options.rows.is_empty() { &all } else { &options.rows };
    rows.iter().try_for_each(|row| spawn(row, options))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
