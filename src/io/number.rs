//! Numbers from files: each has a range, and a number outside it is an error that names it.

use super::{HostTensor, StateDict};
use crate::error::{Error, Result};
use std::fmt;

/// Whole numbers up to this one are exact in f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Which numbers a setting or a count may be. Kernels compute in single precision, so that "finite" means within f32's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Any number but NaN.
    Number,
    /// A finite number.
    Finite,
    /// A finite number, at least 0.
    AtLeastZero,
    /// A finite number above 0.
    AboveZero,
    /// In `0..1`.
    Factor,
    /// A whole number from 0 to 2⁵³.
    Count,
    /// 0 or 1.
    Flag,
}

impl Range {
    /// Whether a number is in the range.
    pub fn holds(self, x: f64) -> bool {
        let finite = x.abs() <= f64::from(f32::MAX);
        match self {
            Self::Number => !x.is_nan(),
            Self::Finite => finite,
            Self::AtLeastZero => finite && x >= 0.0,
            Self::AboveZero => finite && x >= f64::from(f32::MIN_POSITIVE),
            Self::Factor => (0.0..1.0).contains(&x),
            Self::Count => (0.0..=EXACT).contains(&x) && x.fract() == 0.0,
            Self::Flag => x == 0.0 || x == 1.0,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "other than NaN",
            Self::Finite => "finite in single precision",
            Self::AtLeastZero => "finite in single precision and at least 0",
            Self::AboveZero => "finite in single precision and above 0",
            Self::Factor => "in 0..1",
            Self::Count => "a whole number from 0 to 2^53",
            Self::Flag => "0 or 1",
        })
    }
}

/// A whole number that is in [`Range::Count`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and from 0 to 2^53")]
pub fn count(x: f64) -> u64 {
    x as u64
}

/// A count as a `usize`, the largest one if it is narrower.
pub fn place(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl HostTensor {
    /// Whether the data are of the dtype, and as many as the shape has, which the public fields do not enforce.
    ///
    /// # Errors
    /// They are not; the message names the tensor.
    #[track_caller]
    pub(crate) fn check(&self, what: &str, name: &str) -> Result<()> {
        if self.data.is_of(self.dtype) && self.data.len() == self.shape.numel() {
            return Ok(());
        }
        let (dtype, shape) = (self.dtype, self.shape);
        let reason =
            format!("{name} is declared {dtype} {shape}, and its data are {} elements of {}", self.data.len(), self.data.kind());
        Err(Error::argument(what, reason, "make tensors with HostTensor::new, from data of their dtype"))
    }

    /// The first element outside of a range, with its position.
    pub(crate) fn first_outside(&self, range: Range) -> Option<(usize, f64)> {
        self.data.to_f64().into_iter().enumerate().find(|(_, x)| !range.holds(*x))
    }
}

impl StateDict {
    /// The number in a tensor of one element.
    ///
    /// # Errors
    /// No such tensor; a tensor of more or fewer elements; a number outside the range.
    #[track_caller]
    pub(crate) fn number(&self, what: &str, name: &str, range: Range) -> Result<f64> {
        let help = format!("load a state in which it is {range}");
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::argument(what, format!("{name} is missing"), help));
        };
        let [value] = tensor.data.to_f64()[..] else {
            let reason = format!("{name} is {} {}, not one number", tensor.dtype, tensor.shape);
            return Err(Error::argument(what, reason, help));
        };
        if range.holds(value) { Ok(value) } else { Err(Error::argument(what, format!("{name} is {value}"), help)) }
    }

    /// The whole number in a tensor of one element.
    ///
    /// # Errors
    /// As [`StateDict::number`] in [`Range::Count`].
    #[track_caller]
    pub(crate) fn count(&self, what: &str, name: &str) -> Result<u64> {
        self.number(what, name, Range::Count).map(count)
    }

    /// The name of a tensor that `known` rejects.
    pub(crate) fn unknown(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.tensors.keys().map(String::as_str).find(|name| !known(name))
    }
}

/// What a loaded state has changed in the settings of what it was loaded into. `Display` prints it for people.
///
/// As in PyTorch, settings come from the file. This says which of them have changed, so that a run that was meant to go on with
/// its own can set them again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateReport {
    /// Settings whose value in the file differs from the one before, in the file's order.
    pub changed: Vec<SettingChange>,
    /// Settings that are not in the file, as in files of earlier versions; they stay as they are.
    pub kept: Vec<String>,
    /// Parameters whose state was found by their position, since they or the file's have no names.
    pub by_position: Vec<String>,
}

/// A setting that a loaded state has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingChange {
    /// Its name in the file, such as `group.0.beta1`.
    pub name: String,
    /// Its value before.
    pub before: f64,
    /// Its value now, which is the file's.
    pub after: f64,
}

impl fmt::Display for StateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changed.is_empty() {
            f.write_str("no setting has changed")?;
        }
        for (i, SettingChange { name, before, after }) in self.changed.iter().enumerate() {
            write!(f, "{}{name} was {before} and is {after}, as in the file", if i > 0 { "\n" } else { "" })?;
        }
        self.kept.iter().try_for_each(|name| write!(f, "\n{name} is not in the file and stays"))?;
        match &self.by_position[..] {
            [] => Ok(()),
            [one] => write!(f, "\nthe state of {one} was found by position, not by name"),
            [first, ..] => {
                let n = self.by_position.len();
                write!(f, "\nthe states of {n} parameters were found by position, not by name, of {first} and others")
            }
        }
    }
}

impl StateReport {
    /// Notes a setting of the file.
    pub(crate) fn note(&mut self, name: &str, before: f64, after: f64) {
        if before != after {
            self.changed.push(SettingChange { name: name.to_owned(), before, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        use Range::*;
        let big = f64::from(f32::MAX);
        let rows: [(Range, &[f64], &[f64]); 7] = [
            (Number, &[0.0, -1e300, f64::INFINITY], &[]),
            (Finite, &[0.0, -5.0, big, -big], &[big * 2.0, -1e300, f64::INFINITY]),
            (AtLeastZero, &[0.0, -0.0, 0.5, big], &[-1e-300, -5.0, 1e300, f64::INFINITY]),
            (AboveZero, &[1e-30, big], &[0.0, -1.0, 1e-300, f64::INFINITY]),
            (Factor, &[0.0, 0.5, 1.0 - f64::EPSILON], &[1.0, -0.1, f64::INFINITY]),
            (Count, &[0.0, 7.0, EXACT], &[0.5, -1.0, 2.0 * EXACT, f64::INFINITY]),
            (Flag, &[0.0, 1.0], &[0.5, -1.0, 2.0]),
        ];
        for (range, inside, outside) in rows {
            assert!(inside.iter().all(|&x| range.holds(x)), "{range}: {inside:?}");
            assert!(outside.iter().all(|&x| !range.holds(x)), "{range}: {outside:?}");
            assert!(!range.holds(f64::NAN), "{range}");
        }
        assert_eq!(count(EXACT), 1 << 53);
    }

    #[test]
    fn reports_read_as_sentences() {
        let mut report = StateReport::default();
        assert_eq!(report.to_string(), "no setting has changed");
        report.note("group.0.lr", 0.1, 0.1);
        report.note("group.0.beta1", 0.9, 0.8);
        report.kept.push("group.0.eps".into());
        let expected = "group.0.beta1 was 0.9 and is 0.8, as in the file\ngroup.0.eps is not in the file and stays";
        assert_eq!(report.to_string(), expected);
    }
}
