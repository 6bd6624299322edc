//! The error for a file that does not fit a module.

use crate::error::{Error, counted};
use crate::shape::Shape;
use std::collections::{HashMap, HashSet};

/// The most names that each line gives.
const NAMES: usize = 3;
/// The most rules that are proposed.
const RULES: usize = 3;
/// The most names that rules are made from; each is tried on all.
const TRIED: usize = 32;

/// A name and its tensor's shape.
pub(super) type Named<'a> = (&'a str, Shape);

/// A file and a module that do not fit each other.
#[derive(Debug, Default)]
pub(super) struct Misfit<'a> {
    /// Sentences about tensors that both have.
    pub differing: Vec<String>,
    /// What the file lacks.
    pub missing: Vec<Named<'a>>,
    /// What the module lacks, by the names after renaming.
    pub unexpected: Vec<Named<'a>>,
    /// Names that fit.
    pub fitting: Vec<&'a str>,
    /// Tensors of the file.
    pub file: usize,
    /// Tensors of the module.
    pub module: usize,
}

impl Misfit<'_> {
    /// The error, of ten lines at most; `None` if there is nothing to say.
    #[track_caller]
    pub fn error(&self) -> Option<Error> {
        let mut lines: Vec<String> = self.differing.iter().take(NAMES).cloned().collect();
        if self.differing.len() > NAMES {
            lines.push(format!("{} more differ", self.differing.len() - NAMES));
        }
        lines.extend(listed(&self.missing, "missing"));
        lines.extend(listed(&self.unexpected, "unknown to the module"));
        if lines.is_empty() {
            return None;
        }
        if self.differing.len() + self.missing.len() + self.unexpected.len() > NAMES {
            let (file, module) = (counted(self.file, "tensor"), self.module);
            lines.insert(0, format!("the file has {file} and the module {module}, of which {} fit", self.fitting.len()));
        }
        Some(Error::argument("load_state_dict", lines.join("\n  "), self.help()))
    }

    fn help(&self) -> String {
        let (rules, fit) = rules(&self.unexpected, &self.missing, &self.fitting);
        if rules.is_empty() {
            return "load the file that belongs to this model, or rename, transpose and ignore tensors with LoadOptions".into();
        }
        let calls: Vec<String> = rules.iter().map(|r| format!(".rename(\"{}*\", \"{}*\")", r.from, r.to)).collect();
        format!("LoadOptions::strict(){} makes {fit} of the missing names fit", calls.concat())
    }
}

/// Names in one sentence, the first few of them.
fn listed(names: &[Named<'_>], what: &str) -> Option<String> {
    let first: Vec<&str> = names.iter().take(NAMES).map(|n| n.0).collect();
    match (names.len(), first.split_last()) {
        (_, None) => None,
        (1, Some((one, _))) => Some(format!("{one} is {what}")),
        (n, _) if n > NAMES => Some(format!("{} and {} more are {what}", first.join(", "), n - NAMES)),
        (_, Some((last, rest))) => Some(format!("{} and {last} are {what}", rest.join(", "))),
    }
}

/// What names begin with in the file, and in the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rule {
    from: String,
    to: String,
}

impl Rule {
    fn apply(&self, name: &str) -> Option<String> {
        name.strip_prefix(&self.from).map(|rest| format!("{}{rest}", self.to))
    }
}

/// Rules for the beginnings of names that match names of the file to tensors of the same shape in the module, and how many they
/// match. None of them touches a name that fits already.
fn rules(unexpected: &[Named<'_>], missing: &[Named<'_>], fitting: &[&str]) -> (Vec<Rule>, usize) {
    let mut wanted: HashMap<&str, Shape> = missing.iter().copied().collect();
    let mut left: Vec<Named<'_>> = unexpected.to_vec();
    let (mut found, mut fit) = (Vec::<Rule>::new(), 0);
    while found.len() < RULES {
        let given = |rule: &Rule| {
            let names = left.iter().filter_map(|(name, shape)| Some((rule.apply(name)?, *shape)));
            names.filter(|(name, shape)| wanted.get(name.as_str()) == Some(shape)).count()
        };
        let free = |rule: &Rule| {
            let taken = |name: &str| name.starts_with(&rule.from);
            !fitting.iter().any(|name| taken(name))
                && !found.iter().any(|known| taken(&known.from) || rule.from.starts_with(&known.from))
        };
        let candidates: HashSet<Rule> = left.iter().take(TRIED).flat_map(|from| proposed(from, &wanted)).collect();
        // Of rules that match equally many, the shortest, and of these always the same.
        let best = candidates.into_iter().filter(free).map(|rule| (given(&rule), rule)).max_by(|(a, x), (b, y)| {
            let length = |rule: &Rule| rule.from.len() + rule.to.len();
            a.cmp(b).then(length(y).cmp(&length(x))).then_with(|| (&y.from, &y.to).cmp(&(&x.from, &x.to)))
        });
        // One name alone may agree by chance.
        let Some((count, rule)) = best.filter(|(count, _)| *count > 1 || (*count == left.len() && wanted.len() == 1)) else {
            break;
        };
        left.retain(|(name, shape)| match rule.apply(name) {
            Some(new) if wanted.get(new.as_str()) == Some(shape) => wanted.remove(new.as_str()).is_none(),
            _ => true,
        });
        fit += count;
        found.push(rule);
    }
    (found, fit)
}

/// The rules that would match a name to each tensor of its shape whose name has the same ending, from a dot on.
fn proposed(from: &Named<'_>, wanted: &HashMap<&str, Shape>) -> Vec<Rule> {
    let (name, shape) = *from;
    let common = |other: &str| {
        let same = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
        let whole = same == name.len() || same == other.len();
        let tail = name.get(name.len() - same..)?;
        // The ending begins after a dot, or is the whole of one name.
        let begins = |n: &str| same == n.len() || n.as_bytes().get(n.len() - same - 1) == Some(&b'.');
        let cut = if whole && begins(name) && begins(other) { 0 } else { tail.find('.')? + 1 };
        let length = tail.len() - cut;
        Some(Rule { from: name.get(..name.len() - length)?.into(), to: other.get(..other.len() - length)?.into() })
    };
    wanted.iter().filter(|(_, s)| **s == shape).filter_map(|(other, _)| common(other)).collect()
}
