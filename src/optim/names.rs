//! Which state in a file is which parameter's: by the parameters' names, or by position where there are none.

use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict, StateReport};
use crate::param::Param;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::Location;

/// How many names a message lists.
const SHOWN: usize = 3;

/// The parameters' names, as their module gave them when the optimizer was made; none where two have the same.
#[derive(Debug)]
pub(super) struct Names(Vec<Option<String>>);

impl Names {
    pub fn new(params: &[Param]) -> Self {
        let names: Vec<Option<String>> = params.iter().map(Param::given_name).collect();
        let mut uses: HashMap<&str, usize> = HashMap::new();
        names.iter().flatten().for_each(|name| *uses.entry(name).or_default() += 1);
        let unique: Vec<bool> = names.iter().map(|n| n.as_ref().is_some_and(|name| uses[name.as_str()] == 1)).collect();
        Self(names.into_iter().zip(unique).map(|(name, unique)| name.filter(|_| unique)).collect())
    }

    /// The name of parameter `i` in a file: `param.fc1.weight`, or its position.
    pub fn key(&self, i: usize) -> String {
        self.0[i].as_ref().map_or_else(|| i.to_string(), |name| format!("param.{name}"))
    }

    /// Notes the position of a named parameter, by which one without a name finds it.
    ///
    /// # Errors
    /// There is an entry of that name.
    #[track_caller]
    pub fn write_position(&self, i: usize, prefix: &str, dict: &mut StateDict) -> Result<()> {
        if self.0[i].is_none() {
            return Ok(());
        }
        dict.insert(format!("{prefix}{}.position", self.key(i)), HostTensor::scalar(i as f64))
    }

    /// The name of each parameter in a file. Those that were found by position are listed in the report.
    ///
    /// # Errors
    /// As `misfit` says: parameters without an entry. A position that is not a whole number of at least 0.
    #[track_caller]
    pub fn find(
        &self,
        op: &str,
        file: &StateDict,
        report: &mut StateReport,
        misfit: impl Fn(String) -> Error,
    ) -> Result<Vec<String>> {
        let (mut named, mut numbered): (BTreeMap<&str, Option<usize>>, BTreeSet<usize>) = Default::default();
        for key in file.tensors.keys() {
            if let Some((name, field)) = key.strip_prefix("param.").and_then(|rest| rest.rsplit_once('.')) {
                let position = named.entry(name).or_default();
                if field == "position" {
                    *position = usize::try_from(file.count(op, key)?).ok();
                }
            } else if let Some(i) = position_of(key.split('.').next().unwrap_or_default()) {
                numbered.insert(i);
            }
        }
        let by_position: HashMap<usize, &str> = named.iter().filter_map(|(name, at)| Some(((*at)?, *name))).collect();
        let (mut keys, mut missing) = (Vec::with_capacity(self.0.len()), Vec::new());
        for (i, name) in self.0.iter().enumerate() {
            match name {
                Some(name) if named.contains_key(name.as_str()) => keys.push(format!("param.{name}")),
                _ if numbered.contains(&i) => {
                    report.by_position.extend(name.clone());
                    keys.push(i.to_string());
                }
                None if by_position.contains_key(&i) => {
                    report.by_position.push(format!("{i} as {}", by_position[&i]));
                    keys.push(format!("param.{}", by_position[&i]));
                }
                _ => missing.push(name.clone().unwrap_or_else(|| format!("number {i}"))),
            }
        }
        if missing.is_empty() {
            return Ok(keys);
        }
        let held: Vec<String> =
            named.keys().map(|n| (*n).to_owned()).chain(numbered.iter().map(|i| format!("number {i}"))).collect();
        let (lacking, all) = (missing.len(), self.0.len());
        let of = if held.is_empty() { "of none".into() } else { format!("of {}: {}", held.len(), few(&held)) };
        let reason = format!("there is no state of {lacking} of {all} parameters: {}; the file holds state {of}", few(&missing));
        Err(misfit(reason).met_at(Location::caller()))
    }

    /// Whether a file's entry is one of those that were found, with one of these fields.
    pub fn knows(keys: &[String], entry: &str, fields: impl Fn(&str) -> bool) -> bool {
        let known = |key: &str| keys.iter().any(|k| k == key);
        entry
            .rsplit_once('.')
            .is_some_and(|(key, field)| known(key) && (fields(field) || field == "position" && key.starts_with("param.")))
    }
}

/// The first of many names.
fn few(names: &[String]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown}, ...") } else { shown }
}

fn position_of(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n: &usize| n.to_string() == text)
}
