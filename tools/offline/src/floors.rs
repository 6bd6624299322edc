//! What kernels and steps are held to: a file for each version of Mesa, whose numbers only ever get better.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A number of a row.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Whether more is better.
    pub more: bool,
    /// Decimals that count; the rest is rounded for the worse.
    pub decimals: u32,
}

const fn column(name: &'static str, more: bool, decimals: u32) -> Column {
    Column { name, more, decimals }
}

/// The numbers of a group of kernels on a family of GPUs.
pub const KERNELS: [Column; 6] = [
    column("share", true, 2),
    column("useful", true, 2),
    column("bytes", false, 2),
    column("registers", false, 0),
    column("spilled", false, 0),
    column("traffic", false, 2),
];

/// The numbers of a training step.
pub const STEPS: [Column; 6] = [
    column("launches", false, 0),
    column("barriers", false, 0),
    column("levels", false, 0),
    column("submissions", false, 0),
    column("MB", false, 2),
    column("MFLOP", false, 2),
];

/// Under which steps stand in place of a family of GPUs.
pub const STEP: &str = "step";

/// The columns of rows of a family, or of steps.
fn columns(family: &str) -> &'static [Column] {
    if family == STEP { &STEPS } else { &KERNELS }
}

impl Column {
    /// Rounded for the worse.
    fn round(&self, value: f64) -> f64 {
        let scale = 10f64.powi(i32::try_from(self.decimals).unwrap_or(0));
        // What differs in the tenth digit is the same number.
        let scaled = value * scale;
        let near = scaled.round();
        let rounded = if (scaled - near).abs() < 1e-6 {
            near
        } else if self.more {
            scaled.floor()
        } else {
            scaled.ceil()
        };
        rounded / scale
    }

    fn better(&self, a: f64, b: f64) -> bool {
        if self.more { a > b } else { a < b }
    }

    /// The better, or the worse, of two numbers, where there are two.
    fn choose(&self, a: Option<f64>, b: Option<f64>, better: bool) -> Option<f64> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if self.better(a, b) == better { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    fn show(&self, value: Option<f64>) -> String {
        value.map_or_else(|| "-".into(), |v| format!("{v:.*}", self.decimals as usize))
    }
}

/// Numbers in the order of the columns; none where one makes no sense.
pub type Row = Vec<Option<f64>>;

/// Rows by family and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Floors {
    rows: BTreeMap<(String, String), Row>,
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Floors that were missed.
    pub missed: Vec<String>,
    /// Floors that can be raised.
    pub raised: Vec<String>,
}

impl Floors {
    /// The file for a version of Mesa.
    pub fn path(folder: &Path, mesa: &str) -> PathBuf {
        folder.join(format!("mesa-{mesa}.txt"))
    }

    /// Reads a file: lines of a family, a name and its numbers.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Floors`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let mut floors = Self::default();
        for (n, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| Error::Floors { path: path.into(), line: n, reason };
            let [family, name, numbers @ ..] = &words[..] else { return Err(wrong("a family and a name are needed".into())) };
            let expected = columns(family).len();
            // The last number is left out where it makes no sense.
            if numbers.len() != expected && (numbers.len() + 1 != expected || *family == STEP) {
                return Err(wrong(format!("{} numbers, not {expected}", numbers.len())));
            }
            let number = |word: &&str| match *word {
                "-" => Ok(None),
                word => word.parse().map(Some).map_err(|_| wrong(format!("{word} is not a number"))),
            };
            let mut row = numbers.iter().map(number).collect::<Result<Row>>()?;
            row.resize(expected, None);
            if floors.rows.insert(((*family).into(), (*name).into()), row).is_some() {
                return Err(wrong(format!("{family} {name} is there twice")));
            }
        }
        Ok(floors)
    }

    /// Takes in a measurement: of several with a name, the worst numbers count.
    pub fn measure(&mut self, family: &str, name: &str, row: &[Option<f64>]) {
        let columns = columns(family);
        let rounded = columns.iter().zip(row).map(|(c, v)| v.map(|v| c.round(v)));
        match self.rows.entry((family.into(), name.into())) {
            std::collections::btree_map::Entry::Vacant(entry) => _ = entry.insert(rounded.collect()),
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                for ((held, new), column) in entry.get_mut().iter_mut().zip(rounded).zip(columns) {
                    *held = column.choose(*held, new, false);
                }
            }
        }
    }

    /// Holds measurements of some families to these floors.
    pub fn check(&self, measured: &Self, families: &[&str]) -> Verdict {
        let mut verdict = Verdict::default();
        for ((family, name), row) in &measured.rows {
            let Some(floors) = self.rows.get(&(family.clone(), name.clone())) else {
                verdict.missed.push(format!("{family} {name}: there is no floor; scripts/offline record makes one"));
                continue;
            };
            for ((column, &found), &floor) in columns(family).iter().zip(row).zip(floors) {
                let says = format!("{family} {name}: {} {}", column.name, column.show(found));
                match (found, floor) {
                    (Some(a), Some(b)) if column.better(a, b) => {
                        verdict.raised.push(format!("{says}, the floor is {}", column.show(floor)));
                    }
                    (Some(a), Some(b)) if column.better(b, a) => {
                        let bound = if column.more { "least" } else { "most" };
                        verdict.missed.push(format!("{says}, at {bound} {} is allowed", column.show(floor)));
                    }
                    (None, Some(_)) => verdict.missed.push(format!("{says}: not measured any more")),
                    (Some(_), None) => verdict.missed.push(format!("{says}: there is no floor")),
                    _ => {}
                }
            }
        }
        let gone = self.rows.keys().filter(|key| families.contains(&key.0.as_str()) && !measured.rows.contains_key(key));
        verdict.missed.extend(gone.map(|(family, name)| format!("{family} {name}: not measured any more")));
        verdict
    }

    /// Raises floors to what was measured, where that is better, and adds rows that are new. Nothing gets worse.
    pub fn raise(&mut self, measured: &Self) {
        for (key, row) in &measured.rows {
            let columns = columns(&key.0);
            let held = self.rows.entry(key.clone()).or_insert_with(|| row.clone());
            for ((held, new), column) in held.iter_mut().zip(row).zip(columns) {
                *held = column.choose(*held, *new, true);
            }
        }
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.text()).map_err(Error::file(path))
    }

    fn text(&self) -> String {
        let mut text = String::from(HEADER);
        let mut before = "";
        for ((family, name), row) in &self.rows {
            let columns = columns(family);
            if family != before {
                let heads: String = columns.iter().map(|c| format!(" {:>11}", c.name)).collect();
                let _ = writeln!(text, "\n# {:<8}{:<28}{heads}", "", if family == STEP { "network" } else { "group" });
                before = family;
            }
            let shown = if row.last() == Some(&None) { &row[..row.len() - 1] } else { &row[..] };
            let numbers: String = columns.iter().zip(shown).map(|(c, v)| format!(" {:>11}", c.show(*v))).collect();
            let _ = writeln!(text, "{family:<10}{name:<28}{numbers}");
        }
        text
    }
}

const HEADER: &str = "\
# What `scripts/offline check` holds kernels and training steps to; docs/offline.md says what the numbers are. Of each group's cases
# the worst counts. `scripts/offline record` raises floors and never lowers one: a change that makes a number worse on purpose edits
# it here by hand, with its reason in the commit.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(rows: &[(&str, &str, &[f64])]) -> Floors {
        let mut floors = Floors::default();
        for (family, name, row) in rows {
            floors.measure(family, name, &row.iter().map(|v| (!v.is_nan()).then_some(*v)).collect::<Vec<_>>());
        }
        floors
    }

    #[test]
    fn the_worst_of_a_group_counts_and_rounds_for_the_worse() {
        let found = floors(&[("a", "x", &[0.919, 0.5, 1.001, 64.0, 0.0]), ("a", "x", &[0.95, 0.4, 0.5, 128.0, f64::NAN])]);
        assert_eq!(found, floors(&[("a", "x", &[0.91, 0.4, 1.01, 128.0, 0.0])]));
    }

    #[test]
    fn floors_are_missed_raised_and_never_lowered() {
        let mut held = floors(&[("a", "x", &[0.9, 0.5, 1.0, 128.0, 0.0]), ("a", "y", &[0.9, 0.5, 1.0, 64.0, 0.0])]);
        let found = floors(&[("a", "x", &[0.95, 0.4, 1.0, 100.0, 2.0])]);
        let verdict = held.check(&found, &["a"]);
        assert_eq!(verdict.missed.len(), 3, "{verdict:?}");
        assert!(verdict.missed[0].contains("useful 0.40, at least 0.50") && verdict.missed[2].contains("y: not measured"));
        assert_eq!(verdict.raised.len(), 2, "{verdict:?}");
        // Another family's rows are not missed.
        assert_eq!(held.check(&floors(&[]), &["b"]), Verdict::default());
        held.raise(&found);
        held.raise(&floors(&[("b", "z", &[1.0, 1.0, 1.0, 1.0, 1.0])]));
        let raised = floors(&[
            ("a", "x", &[0.95, 0.5, 1.0, 100.0, 0.0]),
            ("a", "y", &[0.9, 0.5, 1.0, 64.0, 0.0]),
            ("b", "z", &[1.0, 1.0, 1.0, 1.0, 1.0]),
        ]);
        assert_eq!(held, raised);
        let new = floors(&[("a", "new", &[0.9, 0.5, 1.0, 128.0, 0.0])]);
        assert!(held.check(&new, &[]).missed[0].contains("there is no floor"));
    }

    #[test]
    fn files_are_read_as_written() {
        let held = floors(&[
            ("a", "x", &[0.9, f64::NAN, f64::NAN, 128.0, 0.0, f64::NAN]),
            ("a", "y", &[f64::NAN, f64::NAN, f64::NAN, 128.0, 0.0, 1.25]),
            (STEP, "mlp", &[24.0, 23.0, 8.0, 2.0, 1.25, 30.5]),
        ]);
        let path = std::env::temp_dir().join(format!("wgrad-floors-{}.txt", std::process::id()));
        held.write(&path).expect("written");
        assert_eq!(Floors::read(&path).expect("read"), held);
        for (text, reason) in [
            ("a x 1 2", "2 numbers, not 6"),
            ("a", "a family"),
            ("a x 1 2 3 4 five", "five"),
            ("step m 1 2 3 4 5", "5 numbers, not 6"),
            ("step m 1 2 3 4 5 6\nstep m 1 2 3 4 5 6", ":2:"),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = Floors::read(&path).expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
        std::fs::remove_file(&path).expect("removed");
    }
}
