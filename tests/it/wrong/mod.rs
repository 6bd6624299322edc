//! Two thousand wrong calls of the public interface: shapes, dtypes, axes, sizes, numbers, devices, files and settings that make no
//! sense. None panics, in builds with and without checks of arithmetic; each error names the call and a remedy, and the line of the
//! call; and the device works on. `scripts/sweep wrong` runs them as a debug and as a release build.

mod data;
mod layers;
mod ops;
mod training;

use crate::common::{device, values};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::OnceLock;
use wgrad::{Device, DeviceOptions, Error, Result, Tensor};

pub use crate::refusals::{b, f, i};

/// How many there are at least.
const CALLS: usize = 2000;

/// Lengths, counts and steps that no memory holds.
pub const HUGE: [usize; 5] = [usize::MAX, usize::MAX - 1, usize::MAX / 2 + 1, usize::MAX / 3 + 1, 1 << (usize::BITS - 2)];

/// Numbers that are no probability.
pub const IMPROBABLE: [f64; 5] = [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// Axes that no tensor of up to four has.
pub const AXES: [isize; 8] = [4, 8, -5, -9, isize::MIN, isize::MIN + 1, isize::MAX, isize::MAX - 1];

/// A wrong call, and where the table has it.
struct Row {
    what: String,
    at: &'static Location<'static>,
    call: Box<dyn Fn() -> Result<()>>,
}

/// Wrong calls.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// A call with each of some arguments, which stands on this line or the next ones.
    #[track_caller]
    pub fn each<A: Debug + Clone + 'static>(&mut self, what: &str, arguments: &[A], call: fn(A) -> Result<()>) {
        for argument in arguments {
            let (row, argument) = (format!("{what} of {argument:?}"), argument.clone());
            self.0.push(Row { what: row, at: Location::caller(), call: Box::new(move || call(argument.clone())) });
        }
    }

    /// A call that gives a tensor, with each of some arguments.
    #[track_caller]
    pub fn tensors<A: Debug + Clone + 'static>(&mut self, what: &str, arguments: &[A], call: fn(A) -> Tensor) {
        for argument in arguments {
            let (row, argument) = (format!("{what} of {argument:?}"), argument.clone());
            self.0.push(Row { what: row, at: Location::caller(), call: Box::new(move || call(argument.clone()).check()) });
        }
    }
}

/// Another device than the one under test.
pub fn elsewhere() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device::cpu_with(DeviceOptions::default()).expect("opens"))
}

/// A tensor of another device.
pub fn far(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, elsewhere()).expect("valid")
}

/// The place that an error names.
fn place(error: &Error) -> Option<&'static Location<'static>> {
    match error {
        Error::Op(error) => Some(error.at),
        Error::Argument { at, .. } | Error::Index { at, .. } | Error::Gradient { at, .. } => Some(at),
        _ => None,
    }
}

/// What is wrong with what a wrong call ends in. `until` is the line of the next row of its file.
fn fault(row: &Row, until: u32) -> Option<String> {
    let say = |what: &str| Some(format!("{} ({}:{}): {what}", row.what, row.at.file(), row.at.line()));
    let error = match catch_unwind(AssertUnwindSafe(|| (row.call)())) {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            return say(&format!("a panic: {}", text.unwrap_or_default()));
        }
        Ok(Ok(())) => return say("accepted"),
        Ok(Err(error)) => error,
    };
    let message = error.to_string();
    if message.len() > 2000 {
        return say(&format!("an error of {} bytes", message.len()));
    }
    match &error {
        Error::Op(_) | Error::Argument { .. } | Error::Index { .. } | Error::Gradient { .. } => {
            let place = place(&error)?;
            let here = place.file() == row.at.file() && (row.at.line()..until).contains(&place.line());
            if !message.starts_with('[') {
                return say(&format!("the call is not named: {message}"));
            }
            if !here {
                return say(&format!("the place is another: {message}"));
            }
        }
        // What has no place has a path, a device or a size.
        Error::Io { .. } => return None,
        Error::OutOfMemory { .. } | Error::Unsupported { .. } | Error::Format { .. } | Error::NoDevice { .. } => {}
        _ => return say(&format!("another kind of error: {message}")),
    }
    if message.contains("help: ") { None } else { say(&format!("no remedy: {message}")) }
}

#[test]
fn two_thousand_wrong_calls_end_in_errors() {
    let mut table = Table::default();
    ops::rows(&mut table);
    layers::rows(&mut table);
    training::rows(&mut table);
    data::rows(&mut table);
    let Table(rows) = table;
    let distinct: BTreeSet<&str> = rows.iter().map(|row| &row.what[..]).collect();
    assert_eq!(distinct.len(), rows.len(), "two rows of one name: {:?}", twice(&rows));
    let mut lines: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for row in &rows {
        lines.entry(row.at.file()).or_default().insert(row.at.line());
    }
    let until = |row: &Row| lines[row.at.file()].range(row.at.line() + 1..).next().copied().unwrap_or(row.at.line() + 30);
    let faults: Vec<String> = rows.iter().filter_map(|row| fault(row, until(row))).collect();
    println!("{} wrong calls, {} faults, checks of arithmetic: {}", rows.len(), faults.len(), cfg!(debug_assertions));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(rows.len() >= CALLS, "{} wrong calls", rows.len());
    assert_eq!(values(&(f(&[2]) + 1.0)), [1.5, 1.5], "the device works on");
    assert_eq!(device().flush().map_err(|e| e.to_string()), Ok(()));
}

fn twice(rows: &[Row]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    rows.iter().map(|row| &row.what[..]).filter(|what| !seen.insert(*what)).collect()
}
