//! Where the program calls ops. Calls whose indices a device checks have a number: a device reports it, and the host makes the
//! error of it.

use crate::error::{Error, Result};
use crate::sync::lock;
use std::cell::Cell;
use std::panic::Location;
use std::sync::Mutex;

/// Words of what a device reports: a call's number, from 1, or 0 if nothing is wrong; the position of the first index that is out
/// of range; the index; how many rows or classes there are.
pub(crate) const FLAG: usize = 4;

/// What an error says has happened in the meantime.
const CLAMPED: &str = "the op took the nearest row in range, and the device has worked on with it: values that depend on it, and \
                       weights that have taken steps since, are not what they should be";

/// A call of an op in the program's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Site {
    /// The op.
    pub op: &'static str,
    /// What to do about an index out of range.
    pub help: &'static str,
    /// How a label below 0 can be left out, as [`ignorable`] has it, if it can.
    pub ignorable: Option<&'static str>,
    /// Whether the indices are u32, as which a negative one is read.
    pub unsigned: bool,
    /// The caller's file and line.
    pub at: &'static Location<'static>,
}

/// All calls so far; there are no more of them than places in the program's text.
static SITES: Mutex<Vec<Site>> = Mutex::new(Vec::new());

thread_local! {
    /// Where the caller called a layer that calls others through pointers.
    static CALLER: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// As long as it lives, ops that this crate calls count as called from one place.
#[derive(Debug)]
pub(crate) struct Caller(Option<&'static Location<'static>>);

impl Caller {
    /// They are called from here, unless a model of this crate around it has a caller already.
    #[inline(never)]
    pub fn of(at: &'static Location<'static>) -> Self {
        let before = CALLER.get();
        if before.is_none() || !Error::is_own(at) {
            CALLER.set(Some(at));
        }
        Self(before)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        CALLER.set(self.0);
    }
}

/// The line of the program that a call counts as made in: its own, or, if that is one of this crate, its [`Caller`]'s.
pub(crate) fn of_program(at: &'static Location<'static>) -> &'static Location<'static> {
    if Error::is_own(at) { CALLER.get().unwrap_or(at) } else { at }
}

impl Site {
    /// Its number, from 1.
    pub fn number(mut self) -> u32 {
        self.at = of_program(self.at);
        let mut sites = lock(&SITES);
        let at = sites.iter().position(|site| *site == self).unwrap_or_else(|| {
            sites.push(self);
            sites.len() - 1
        });
        u32::try_from(at + 1).unwrap_or(u32::MAX)
    }
}

/// The error of a flag.
///
/// # Errors
/// An index was out of range.
pub(crate) fn raise(flag: [u32; FLAG]) -> Result<()> {
    let [number, position, index, len] = flag;
    if number == 0 {
        return Ok(());
    }
    let site = lock(&SITES).get(number as usize - 1).copied();
    let site = site.ok_or_else(|| Error::internal(format!("an index is out of range in call {number}, which nobody made")))?;
    let index = if site.unsigned { i64::from(index) } else { i64::from(index.cast_signed()) };
    let (position, len) = (position as usize, len as usize);
    let mut error = Error::Index { op: site.op, index, position, len, help: site.help.into(), at: site.at };
    if let Some(how) = site.ignorable {
        error = ignorable(error, how);
    }
    if let Error::Index { help, .. } = &mut error {
        *help = format!("{help}; {CLAMPED}");
    }
    Err(error)
}

/// The error of a label that is below 0, with help on leaving out its samples, which `how` begins.
pub(crate) fn ignorable(mut error: Error, how: &str) -> Error {
    if let Error::Index { index, help, .. } = &mut error
        && *index < 0
    {
        *help = format!("to leave out the samples of label {index}, {how} ignore_index: Some({index})");
    }
    error
}
