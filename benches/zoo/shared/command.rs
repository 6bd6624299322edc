//! The command line. Each row runs in a process of its own, since memory is counted per process.

use super::figures::Figures;
use super::rows::{ROWS, Row};
use clap::Parser;
use std::process::{Command, ExitCode};

/// Time common networks on a device.
#[derive(Debug, Parser)]
#[command(name = "zoo", about)]
pub struct Options {
    /// The device, by kind, index or part of a name
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// How many steps are timed after the first
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
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

fn run(take: impl FnOnce(&'static Row, &Options) -> Result<Figures, String>, options: &Options) -> Result<(), String> {
    if let [row] = options.rows[..] {
        let figures = take(row, options)?;
        println!("{}", if options.json { figures.json(row).to_string() } else { figures.line(row) });
        return Ok(());
    }
    let all = ROWS.iter().collect();
    let rows = if options.rows.is_empty() { &all } else { &options.rows };
    rows.iter().try_for_each(|row| spawn(row, options))
}

/// Runs the program, in which `take` measures a row in this process.
pub fn main(take: impl FnOnce(&'static Row, &Options) -> Result<Figures, String>) -> ExitCode {
    match run(take, &Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
