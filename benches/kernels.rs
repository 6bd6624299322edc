//! Rates of single GPU kernels, and of each of their variants, on any adapter.
//!
//! ```text
//! cargo bench --features lab --bench kernels -- --device software
//! cargo bench --features lab --bench kernels -- --device 0 --only "matmul 512" --variants
//! ```
//!
//! Times are medians: from the adapter's timestamps where it has them, from the processor time on software adapters, otherwise
//! from the host's clock around submissions.

use clap::Parser;
use std::process::ExitCode;

/// Time single GPU kernels.
#[derive(Debug, Parser)]
#[command(name = "kernels", about)]
struct Options {
    /// The adapter: best (hardware before software), gpu, software, a number, or part of a name
    #[arg(long, default_value = "best")]
    device: String,
    /// Only cases whose group and label contain this text, such as `matmul 512`
    #[arg(long, default_value = "")]
    only: String,
    /// Time every variant of a kernel, not only the one that is selected
    #[arg(long)]
    variants: bool,
    /// Choose kernels as for a hardware GPU, on any adapter
    #[arg(long)]
    hardware_kernels: bool,
    /// Seconds per line, approximately
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// Ignored: `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let Options { device, only, variants, hardware_kernels, seconds, .. } = Options::parse();
    match wgrad::lab::print(&wgrad::lab::Wanted { device, only, variants, hardware_kernels, seconds }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
