//! What wgrad's kernels become on GPUs that are not there. docs/offline.md says what is read, what is reckoned, and how.

mod error;
mod event;
mod floors;
mod isa;
mod model;
mod report;
mod session;
mod spirv;
mod start;
mod steps;
mod texts;
mod trace;

use clap::{Parser, Subcommand};
use error::{Error, Result};
use floors::{Floors, STEP};
use session::Session;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wgrad_catalogue::networks::Network;

/// wgrad's kernels, compiled by RADV for GPUs that are not there.
#[derive(Parser)]
#[command(name = "scripts/offline")]
struct Options {
    /// Families of AMD's GPUs, as RADV names them: navi21 (RDNA2), gfx1100 (RDNA3), vega10, polaris10, arcturus (CDNA) ...
    /// Several are separated by commas. `check` and `record` take navi21 and gfx1100, the others navi21.
    #[arg(long, global = true, value_delimiter = ',')]
    family: Vec<String>,
    /// Where results go: a folder for each family, with machine code, SPIR-V and tables.
    #[arg(long, global = true, default_value = "target/offline", hide = true)]
    results: PathBuf,
    /// Where the files of floors are.
    #[arg(long, global = true, default_value = "tools/offline/floors", hide = true)]
    floors: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone)]
enum Command {
    /// Prints every launch of the catalogue.
    Kernels {
        /// Only cases whose name or group contains this.
        only: Option<String>,
    },
    /// Holds the catalogue to its floors. Exit code 1: a floor is missed; 3: nothing was checked.
    Check,
    /// Raises floors to what is measured; never lowers one.
    Record,
    /// Prints every launch of a training step, with barriers, levels and submissions.
    Trace {
        /// mlp, lenet, resnet18-cifar, resnet18, mobilenet, unet, m5, gpt-mini or gpt-small.
        network: Network,
    },
    /// Prints what training steps cost the host. Its build is optimised.
    Steps {
        /// As for `trace`; without one, all of them.
        network: Option<Network>,
        /// How many steps are timed.
        #[arg(long, default_value_t = 100)]
        steps: usize,
    },
    /// Prints what a training step would take by the figures read and a card's datasheet.
    Model {
        /// As for `trace`.
        network: Network,
    },
    /// Compiles texts that are not wgrad's.
    Wgsl {
        /// Their files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Writes the WGSL of the catalogue's kernels, and naga's HLSL of it, to a folder.
    Sources {
        /// The folder.
        folder: PathBuf,
    },
}

impl Command {
    /// Whether floors are meant, which stand for two families.
    fn is_about_floors(&self) -> bool {
        matches!(self, Self::Check | Self::Record)
    }

    /// Whether the layer writes its log, which takes time.
    fn wants_log(&self) -> bool {
        !matches!(self, Self::Steps { .. })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut families = options.family.clone();
    if families.is_empty() {
        let known: &[&str] = if options.command.is_about_floors() { &["navi21", "gfx1100"] } else { &["navi21"] };
        families = known.iter().map(|&f| f.into()).collect();
    }
    let done = match start::family() {
        Some(family) => run(&options, &family),
        None => start::children(&families, &options.results, options.command.wants_log()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// Runs a command on a family; gives the exit code.
fn run(options: &Options, family: &str) -> Result<u8> {
    let mut session = Session::new()?;
    let folder = options.results.join(family);
    match &options.command {
        Command::Kernels { only } => report::print(&mut session, only.as_deref(), &folder.join("table.jsonl")).map(|()| 0),
        Command::Check => check(&mut session, family, &options.floors),
        Command::Record => record(&mut session, family, &options.floors),
        Command::Trace { network } => trace::print(&mut session, *network).map(|()| 0),
        Command::Steps { network, steps } => steps::print(&session, *network, *steps).map(|()| 0),
        Command::Model { network } => model::print(&mut session, *network, family).map(|()| 0),
        Command::Wgsl { files } => texts::compile(&mut session, files).map(|()| 0),
        Command::Sources { folder } => texts::write(&mut session, folder).map(|()| 0),
    }
}

/// The family whose steps are counted: they are the same on the others.
const STEPS_OF: &str = "navi21";

/// Measures what has floors; also what no floor allows, and how many launches the catalogue has.
fn measure(session: &mut Session, family: &str) -> Result<(Floors, Vec<String>, usize)> {
    let (mut measured, faults, launches) = report::measure(session, family)?;
    if family == STEPS_OF {
        trace::measure(session, &mut measured)?;
    }
    Ok((measured, faults, launches))
}

/// The file of floors for the driver at hand.
fn floors(session: &Session, folder: &Path) -> Result<PathBuf> {
    let mesa = session.mesa().ok_or_else(|| Error::NotChecked(format!("the driver {} is not Mesa's", session.driver)))?;
    Ok(Floors::path(folder, mesa))
}

fn check(session: &mut Session, family: &str, folder: &Path) -> Result<u8> {
    let path = floors(session, folder)?;
    if !path.is_file() {
        return Err(Error::NotChecked(format!("there are no floors for {}: {} is missing", session.driver, path.display())));
    }
    let held = Floors::read(&path)?;
    let (measured, faults, launches) = measure(session, family)?;
    let both = [family, STEP];
    let verdict = held.check(&measured, if family == STEPS_OF { &both } else { &both[..1] });
    verdict.raised.iter().for_each(|what| println!("can be raised: {what}"));
    verdict.missed.iter().chain(&faults).for_each(|what| println!("FAILED: {what}"));
    let failures = verdict.missed.len() + faults.len();
    println!("{family}: {launches} launches, {failures} failures, {} floors can be raised", verdict.raised.len());
    Ok(u8::from(failures > 0))
}

fn record(session: &mut Session, family: &str, folder: &Path) -> Result<u8> {
    let path = floors(session, folder)?;
    let mut held = if path.is_file() { Floors::read(&path)? } else { Floors::default() };
    let (measured, faults, _) = measure(session, family)?;
    held.raise(&measured);
    std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    held.write(&path)?;
    faults.iter().for_each(|what| println!("FAILED: {what}"));
    println!("{family}: floors in {}", path.display());
    Ok(u8::from(!faults.is_empty()))
}
