//! Times products, convolutions, optimizers and training steps on every device of this machine, side by side.
//!
//! ```text
//! cargo bench --bench gpu_vs_cpu
//! cargo bench --bench gpu_vs_cpu -- --quick --device cpu --device software --json figures.json
//! ```
//!
//! Figures are medians over warm runs. In each round every device has its turn, so that a busy machine slows all of them
//! equally. First steps run in separate processes.

mod cases;
mod first_step;
mod measure;
mod networks;
mod report;

use cases::Case;
use clap::Parser;
use measure::Effort;
use networks::Network;
use report::{Report, Row};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wgrad::{Device, Error};

/// Compare the devices of this machine.
#[derive(Debug, Parser)]
#[command(name = "gpu_vs_cpu", about)]
struct Options {
    /// A device by kind, index or part of a name; may be given several times. Defaults to all devices
    #[arg(long)]
    device: Vec<String>,
    /// Only cases whose group and name contain this text; leaves out the first steps
    #[arg(long)]
    only: Option<String>,
    /// Few repetitions
    #[arg(long)]
    quick: bool,
    /// Also write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Run one network's first step and print its times: the benchmark starts such a process for each
    #[arg(long, hide = true)]
    first_step: Option<Network>,
    /// Ignored: `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// Why the program ends early.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are invalid: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Run(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NoDevice { .. } => Self::Usage(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}

/// An opened device.
#[derive(Debug)]
pub struct Target {
    /// The device.
    pub device: Device,
    /// What [`Device::named`] takes, so that another process finds the same device.
    pub selector: String,
    /// The driver, if the list has it.
    pub driver: String,
}

impl Target {
    /// The requested devices; by default, all of the list.
    fn open(wanted: &[String]) -> Result<Vec<Self>, Failure> {
        let list = Device::list();
        let all = || list.iter().map(|info| info.index.to_string()).collect();
        let selectors: Vec<String> = if wanted.is_empty() { all() } else { wanted.to_vec() };
        let target = |selector: String| {
            let device = Device::named(&selector)?;
            let info = list.iter().find(|info| info.kind == device.kind() && info.name == device.name());
            Ok(Self { device, selector, driver: info.map(|info| info.driver.clone()).unwrap_or_default() })
        };
        selectors.into_iter().map(target).collect()
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    if let Some(network) = options.first_step {
        return first_step::take(network, options.device.first().map_or("best", String::as_str));
    }
    if let Some(folder) = options.json.as_deref().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
        return Err(Failure::Usage(format!("--json: there is no directory {}; make it first", folder.display())));
    }
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.matches(options.only.as_deref())).collect();
    if cases.is_empty() {
        return Err(Failure::Usage("--only: no case contains this text; try matmul, conv2d, step or training".into()));
    }
    let targets = Target::open(&options.device)?;
    let devices: Vec<Device> = targets.iter().map(|target| target.device.clone()).collect();
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };

    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{case}");
        let timings = measure::interleaved(&case, &devices, effort)?;
        rows.push(Row { case, timings });
    }
    // The memory of the whole benchmark is of no interest: first steps report that of their own processes.
    let first_steps = if options.only.is_none() { first_step::all(&targets, effort)? } else { Vec::new() };
    let report = Report { targets, rows, first_steps };
    print!("{}", report.tables());
    match &options.json {
        Some(path) => std::fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|error| Failure::Run(format!("--json: {}: {error}", path.display()))),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let outcome = match Options::try_parse() {
        Ok(options) => run(&options),
        Err(error) if !error.use_stderr() => {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Err(Failure::Usage(format!("{}; --help lists the options", line.trim_start_matches("error: "))))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Run(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}
