//! What the examples share: parsers of their arguments, the device, printing, and how a run ends.
#![allow(dead_code, reason = "each example uses a part")]

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use wgrad::{Device, DeviceKind, Error};

pub mod grid;

/// How a run ends early.
#[derive(Debug)]
pub enum Failure {
    /// A mistake in the arguments.
    Usage(String),
    /// An error of the run.
    Run(Error),
    /// Nobody reads the output any more, as with `| head`.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// The outcome of an example.
pub type Outcome<T> = std::result::Result<T, Failure>;

/// A mistake in the arguments.
pub fn usage(message: impl Display) -> Failure {
    Failure::Usage(message.to_string())
}

/// Prints text at once; [`say!`] prints whole lines.
pub fn print(text: std::fmt::Arguments) -> Outcome<()> {
    // Other failures of standard output, such as a full disk behind it, need not stop a training run.
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Closed),
        _ => Ok(()),
    }
}

/// `println!`, but a closed pipe is a [`Failure::Closed`] instead of a panic.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::common::print(format_args!("{}\n", format_args!($($text)*)))? };
}

/// The program's exit code; says what went wrong.
pub fn finish(outcome: Outcome<()>) -> ExitCode {
    let (message, code) = match outcome {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (message, 2),
        Err(Failure::Run(error)) => (error.to_string(), 1),
    };
    // Unlike `eprintln!`, this does not panic if standard error is closed.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::from(code)
}

/// Parses a count of at least 1.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

/// Parses a learning rate.
pub fn learning_rate(text: &str) -> Result<f64, String> {
    above_zero(text).map_err(|error| if error == ABOVE_ZERO { format!("{error}, such as 0.001") } else { error })
}

const ABOVE_ZERO: &str = "must be above 0";

/// Parses a number above 0.
pub fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        Ok(_) => Err(ABOVE_ZERO.into()),
        Err(error) => Err(format!("{error}")),
    }
}

/// Parses a share, from 0 to below 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..1.0).contains(&x) => Ok(x),
        Ok(_) => Err("must be at least 0 and below 1".into()),
        Err(error) => Err(format!("{error}")),
    }
}

/// The device that was asked for, or the best; prints which, and says so if there is no GPU.
pub fn open_device(wanted: Option<&str>) -> Outcome<Device> {
    // RUST_LOG=wgrad=debug shows what the library does. A second call changes nothing.
    let _ = env_logger::try_init();
    let device = match wanted {
        Some(wanted) => match Device::named(wanted) {
            // A kind that this machine lacks is a failure of the run; a name that no device has is a mistake in the arguments.
            Err(error @ Error::NoDevice { .. }) if !["gpu", "software"].contains(&&*wanted.trim().to_lowercase()) => {
                return Err(usage(error));
            }
            other => other?,
        },
        None => Device::best()?,
    };
    let asked = wanted.map(Into::into).or_else(|| std::env::var_os("WGRAD_DEVICE")).unwrap_or_default();
    let chosen = !["", "best"].contains(&&*asked.to_string_lossy().trim().to_lowercase());
    if device.kind() == DeviceKind::Cpu && !chosen {
        eprintln!("no GPU found: using the CPU device (`cargo run --example devices` lists what there is)");
    }
    say!("device: {device}");
    Ok(device)
}
