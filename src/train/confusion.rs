//! Which classes are taken for which.

use crate::error::{Error, Result};
use crate::host::zeroed;
use crate::shape::product;
use std::fmt;
use std::panic::Location;

/// Counts of (label, prediction) pairs. `Display` prints the table with each class's recall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<usize>,
}

impl ConfusionMatrix {
    /// An empty matrix for labels `0..classes`.
    ///
    /// # Errors
    /// More counts, `classes²`, than fit in memory.
    #[track_caller]
    pub fn new(classes: usize) -> Result<Self> {
        Ok(Self { classes, counts: zeroed("a confusion matrix", product(&[classes, classes]))? })
    }

    /// Counts predictions against labels.
    ///
    /// # Errors
    /// The slices differ in length, or contain a class outside `0..classes`; nothing is counted in that case.
    #[track_caller]
    pub fn update(&mut self, labels: &[i32], predictions: &[i32]) -> Result<()> {
        if labels.len() != predictions.len() {
            return Err(Error::argument(
                "ConfusionMatrix::update",
                format!("{} labels and {} predictions were given", labels.len(), predictions.len()),
                "give one prediction for every label",
            ));
        }
        let at = Location::caller();
        let class = |value: i32, position: usize| {
            usize::try_from(value).ok().filter(|&c| c < self.classes).ok_or_else(|| Error::Index {
                op: "ConfusionMatrix::update",
                index: i64::from(value),
                position,
                len: self.classes,
                help: "make the matrix with as many classes as the data have".into(),
                at,
            })
        };
        let pairs = labels.iter().zip(predictions).enumerate();
        let cells = pairs.map(|(i, (&l, &p))| Ok(class(l, i)? * self.classes + class(p, i)?)).collect::<Result<Vec<_>>>()?;
        for cell in cells {
            self.counts[cell] += 1;
        }
        Ok(())
    }

    /// How often `label` was taken for `prediction`; 0 outside the matrix.
    pub fn count(&self, label: usize, prediction: usize) -> usize {
        if label < self.classes && prediction < self.classes { self.counts[label * self.classes + prediction] } else { 0 }
    }

    /// How many samples were counted.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// How many samples were right.
    pub fn hits(&self) -> usize {
        (0..self.classes).map(|c| self.count(c, c)).sum()
    }

    /// The share of right predictions; 0 if nothing was counted.
    pub fn accuracy(&self) -> f64 {
        if self.total() == 0 { 0.0 } else { self.hits() as f64 / self.total() as f64 }
    }

    /// The share of a label's samples that were taken for it; `None` if there are none.
    pub fn recall(&self, label: usize) -> Option<f64> {
        let samples: usize = (0..self.classes).map(|p| self.count(label, p)).sum();
        (samples > 0).then(|| self.count(label, label) as f64 / samples as f64)
    }

    /// The share of right ones among the predictions of a class; `None` if there are none.
    pub fn precision(&self, prediction: usize) -> Option<f64> {
        let samples: usize = (0..self.classes).map(|l| self.count(l, prediction)).sum();
        (samples > 0).then(|| self.count(prediction, prediction) as f64 / samples as f64)
    }

    /// The mean of the recalls of all labels that have samples (balanced accuracy); 0 if nothing was counted.
    ///
    /// ```
    /// # use wgrad::train::ConfusionMatrix;
    /// # fn main() -> wgrad::Result<()> {
    /// let mut confusion = ConfusionMatrix::new(3)?;
    /// confusion.update(&[0, 0, 0, 1], &[0, 0, 0, 0])?;
    /// assert_eq!((confusion.accuracy(), confusion.macro_recall()), (0.75, 0.5));
    /// assert_eq!((confusion.recall(0), confusion.precision(0), confusion.recall(2)), (Some(1.0), Some(0.75), None));
    /// # Ok(()) }
    /// ```
    pub fn macro_recall(&self) -> f64 {
        let recalls: Vec<f64> = (0..self.classes).filter_map(|label| self.recall(label)).collect();
        if recalls.is_empty() { 0.0 } else { recalls.iter().sum::<f64>() / recalls.len() as f64 }
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.counts.iter().copied().max().unwrap_or(0).max(self.classes);
        let width = largest.to_string().len() + 1;
        write!(f, "label \\ predicted")?;
        for p in 0..self.classes {
            write!(f, " {p:>width$}")?;
        }
        writeln!(f, "   recall")?;
        for l in 0..self.classes {
            write!(f, "{l:>17}")?;
            for p in 0..self.classes {
                match self.count(l, p) {
                    // A dot lets the mistakes stand out.
                    0 => write!(f, " {:>width$}", "·")?,
                    n => write!(f, " {n:>width$}")?,
                }
            }
            match self.recall(l) {
                None => writeln!(f, "        -")?,
                Some(recall) => writeln!(f, "  {:>5.1} %", 100.0 * recall)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_prints() {
        let mut m = ConfusionMatrix::new(3).unwrap();
        m.update(&[0, 1, 1, 2], &[0, 1, 2, 2]).unwrap();
        assert_eq!((m.total(), m.hits(), m.count(1, 2)), (4, 3, 1));
        assert!((m.accuracy() - 0.75).abs() < 1e-12);
        let text = m.to_string();
        assert!(text.contains("100.0 %") && text.contains("50.0 %"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn wrong_input_changes_nothing() {
        let mut m = ConfusionMatrix::new(2).unwrap();
        assert!(m.update(&[0, 1], &[0]).is_err());
        assert!(m.update(&[0, 2], &[0, 0]).is_err());
        assert!(m.update(&[0], &[-1]).is_err());
        assert_eq!((m.total(), m.accuracy(), m.macro_recall()), (0, 0.0, 0.0));
        assert_eq!((m.recall(0), m.precision(0), m.recall(9)), (None, None, None));
    }
}
