//! How a file's tensors are made to fit a module: other names, matrices transposed, tensors left out.

use crate::dtype::HostData;
use crate::error::{Error, Result, counted};
use crate::io::{HostTensor, StateDict, captures, matches};
use crate::shape::Shape;
use std::collections::{BTreeMap, HashSet};

/// How [`Module::load_state_dict_with`](super::Module::load_state_dict_with) fits a file to a module. `*` in patterns stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Whether missing and unexpected names are errors. Defaults to false; [`LoadOptions::strict`] sets it.
    pub strict: bool,
    /// Whether tensors of a different shape are skipped, not refused. Defaults to false.
    pub skip_mismatched: bool,
    /// Patterns of the file's names and what these become; of several that match, the first counts.
    pub rename: Vec<(String, String)>,
    /// Patterns, after renaming, of matrices to transpose.
    pub transpose: Vec<String>,
    /// Patterns of the file's names to leave out.
    pub ignore: Vec<String>,
}

impl LoadOptions {
    /// Every name in the file must be in the module, and the other way round.
    pub fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }

    /// Missing and unexpected names are reported and left alone.
    pub fn lenient() -> Self {
        Self::default()
    }

    /// Renames what matches `from`: each `*` of `to` becomes what the `*` of `from` in the same place stands for.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.push((from.into(), to.into()));
        self
    }

    /// Transposes the matrices whose new names match, such as those of Hugging Face's GPT-2, which stores `[in, out]`.
    #[must_use]
    pub fn transpose(mut self, pattern: impl Into<String>) -> Self {
        self.transpose.push(pattern.into());
        self
    }

    /// Leaves out the file's tensors that match.
    #[must_use]
    pub fn ignore(mut self, pattern: impl Into<String>) -> Self {
        self.ignore.push(pattern.into());
        self
    }

    /// Skips tensors of a different shape, such as a head for other classes.
    #[must_use]
    pub fn skip_mismatched(mut self) -> Self {
        self.skip_mismatched = true;
        self
    }

    /// The file's tensors under their new names. Every rule must match something.
    #[track_caller]
    pub(super) fn prepare(&self, dict: &StateDict) -> Result<BTreeMap<String, HostTensor>> {
        let mut unused: HashSet<&str> = self.ignore.iter().chain(self.rename.iter().map(|r| &r.0)).map(String::as_str).collect();
        let mut out: BTreeMap<String, HostTensor> = BTreeMap::new();
        for (name, tensor) in &dict.tensors {
            if let Some(pattern) = self.ignore.iter().find(|p| matches(p, name)) {
                unused.remove(pattern.as_str());
                continue;
            }
            tensor.check("load_state_dict", name)?;
            let mut renamed = name.clone();
            if let Some((from, to, parts)) = self.rename.iter().find_map(|(f, t)| Some((f, t, captures(f, name)?))) {
                unused.remove(from.as_str());
                renamed = fill(from, to, &parts)?;
            }
            if out.insert(renamed.clone(), tensor.clone()).is_some() {
                let reason = format!("two tensors of the file would be named {renamed}, {name} among them");
                return Err(Error::argument("load_state_dict: rename", reason, "narrow the rules, or ignore one of the tensors"));
            }
        }
        for pattern in &self.transpose {
            let mut found = false;
            for (name, tensor) in out.iter_mut().filter(|(name, _)| matches(pattern, name)) {
                *tensor = transposed(name, tensor)?;
                found = true;
            }
            if !found {
                return Err(nothing("load_state_dict: transpose", pattern, out.keys()));
            }
        }
        if let Some(pattern) = self.ignore.iter().chain(self.rename.iter().map(|r| &r.0)).find(|p| unused.contains(p.as_str())) {
            return Err(nothing("load_state_dict: rules", pattern, dict.tensors.keys()));
        }
        Ok(out)
    }
}

/// `to` with its stars replaced.
#[track_caller]
fn fill(from: &str, to: &str, parts: &[&str]) -> Result<String> {
    let pieces: Vec<&str> = to.split('*').collect();
    if pieces.len() - 1 > parts.len() {
        let reason = format!("\"{to}\" has more stars than \"{from}\"");
        return Err(Error::argument("load_state_dict: rename", reason, "give each * of the new name one in the old"));
    }
    let mut out = pieces[0].to_owned();
    for (part, piece) in parts.iter().zip(&pieces[1..]) {
        out.push_str(part);
        out.push_str(piece);
    }
    Ok(out)
}

/// A matrix with its axes swapped.
#[track_caller]
fn transposed(name: &str, tensor: &HostTensor) -> Result<HostTensor> {
    let &[rows, cols] = tensor.shape.dims() else {
        let reason = format!("{name} is {}, not a matrix", tensor.shape);
        return Err(Error::argument("load_state_dict: transpose", reason, "narrow the pattern to matrices"));
    };
    let order = || (0..cols).flat_map(|c| (0..rows).map(move |r| r * cols + c));
    let data = match &tensor.data {
        HostData::F32(v) => HostData::F32(order().map(|i| v[i]).collect()),
        HostData::F64(v) => HostData::F64(order().map(|i| v[i]).collect()),
        HostData::I32(v) => HostData::I32(order().map(|i| v[i]).collect()),
        HostData::U32(v) => HostData::U32(order().map(|i| v[i]).collect()),
        HostData::F16(v) => HostData::F16(order().map(|i| v[i]).collect()),
        HostData::U8(v) => HostData::U8(order().map(|i| v[i]).collect()),
    };
    HostTensor::new(tensor.dtype, Shape::new(&[cols, rows])?, data)
}

/// A pattern that matches nothing, with the names nearest to it.
#[track_caller]
pub(super) fn nothing<'a>(what: &str, pattern: &str, names: impl Iterator<Item = &'a String>) -> Error {
    let common = |name: &str| name.chars().zip(pattern.chars()).take_while(|(a, b)| a == b).count();
    let mut names: Vec<&String> = names.collect();
    names.sort_by_key(|name| std::cmp::Reverse(common(name)));
    let near: Vec<&str> = names.iter().take(3).map(|n| n.as_str()).collect();
    let inside = names.iter().filter(|name| name.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.'))).count();
    let help = if inside > 0 {
        format!("\"{pattern}.*\" matches {}", counted(inside, "name"))
    } else {
        format!("* stands for any characters; there are {} names, such as {}", names.len(), near.join(", "))
    };
    Error::argument(what, format!("the pattern \"{pattern}\" matches no name"), help)
}
