//! What each epoch achieved, as text for checkpoints and as curves.

use super::chart::{Chart, Panel, Series};
use crate::error::{Error, Result};
use std::fmt::Write;

/// The results of one epoch. What a task does not have stays at its default, and reports and charts leave it out.
///
/// ```
/// # use wgrad::train::{EpochRecord, History};
/// let mut history = History::default();
/// history.records.push(EpochRecord { epoch: 1, train_loss: 0.7, test_loss: 0.9, ..Default::default() });
/// assert!(!history.report("validation").contains("accuracy"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
    /// Its number, from 1. Defaults to 0, which [`History::from_text`] refuses.
    pub epoch: usize,
    /// Mean training loss. Defaults to NaN.
    pub train_loss: f64,
    /// Share of training samples predicted correctly, while training, in 0..1. Defaults to NaN: there is none, as in regression.
    pub train_accuracy: f64,
    /// Mean loss on the test set. Defaults to NaN.
    pub test_loss: f64,
    /// Share of test samples predicted correctly, in 0..1. Defaults to NaN.
    pub test_accuracy: f64,
    /// Learning rate at the end of the epoch. Defaults to 0.
    pub lr: f64,
    /// Duration in seconds. Defaults to 0.
    pub seconds: f64,
}

impl Default for EpochRecord {
    fn default() -> Self {
        let none = f64::NAN;
        Self { epoch: 0, train_loss: none, train_accuracy: none, test_loss: none, test_accuracy: none, lr: 0.0, seconds: 0.0 }
    }
}

/// The epochs of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// In order.
    pub records: Vec<EpochRecord>,
}

impl History {
    /// One line per epoch; every number reads back exactly.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for r in &self.records {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{} {} {} {} {} {} {}",
                r.epoch, r.train_loss, r.train_accuracy, r.test_loss, r.test_accuracy, r.lr, r.seconds
            );
        }
        text
    }

    /// Reads what [`History::to_text`] wrote.
    ///
    /// # Errors
    /// A line does not have seven numbers; an epoch is 0 or does not come after the one before; an accuracy is neither in 0..=1
    /// nor NaN, or a learning rate or duration not finite and at least 0. Losses may be any numbers, as those of a run that
    /// diverges are.
    #[track_caller]
    pub fn from_text(text: &str) -> Result<Self> {
        let parse = |line: &str| {
            let (epoch, rest) = line.split_once(' ')?;
            let numbers: Vec<f64> = rest.split(' ').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
            let [train_loss, train_accuracy, test_loss, test_accuracy, lr, seconds] = numbers[..] else { return None };
            Some(EpochRecord { epoch: epoch.parse().ok()?, train_loss, train_accuracy, test_loss, test_accuracy, lr, seconds })
        };
        let mut records = Vec::new();
        for line in text.lines() {
            let Some(record) = parse(line) else {
                let reason = format!("\"{line}\" is not an epoch's line");
                return Err(Error::argument("history", reason, "use another checkpoint"));
            };
            records.push(record);
        }
        let mut last = 0;
        for r in &records {
            let share = |x: f64| x.is_nan() || (0.0..=1.0).contains(&x);
            let amount = |x: f64| x.is_finite() && x >= 0.0;
            let rows = [
                ("train_accuracy", r.train_accuracy, share(r.train_accuracy), "in 0..=1, or NaN"),
                ("test_accuracy", r.test_accuracy, share(r.test_accuracy), "in 0..=1, or NaN"),
                ("lr", r.lr, amount(r.lr), "finite and at least 0"),
                ("seconds", r.seconds, amount(r.seconds), "finite and at least 0"),
            ];
            let wrong = rows.into_iter().find(|row| !row.2).map(|(name, value, _, range)| (format!("{name} is {value}"), range));
            let order = (r.epoch <= last).then(|| (format!("it comes after epoch {last}"), "above the one before, from 1"));
            if let Some((what, range)) = order.or(wrong) {
                let help = format!("use a checkpoint in which it is {range}");
                return Err(Error::argument("history", format!("epoch {}: {what}", r.epoch), help));
            }
            last = r.epoch;
        }
        Ok(Self { records })
    }

    /// A Markdown table with one epoch per line: the training loss; the held-out loss and how far the two are apart, and accuracies,
    /// if there are any. The epoch with the lowest held-out loss is marked: where that rises while the training loss falls, the
    /// model overfits.
    pub fn report(&self, held_out: &str) -> String {
        let best = self.records.iter().filter(|r| r.test_loss.is_finite()).min_by(|a, b| a.test_loss.total_cmp(&b.test_loss));
        let (held, accuracies) = (self.has_held_out(), self.has_accuracies());
        let mut heads = vec!["epoch".to_owned(), "train loss".into()];
        if held {
            heads.extend([format!("{held_out} loss"), "gap".into()]);
        }
        if accuracies {
            heads.extend(["train accuracy".into(), format!("{held_out} accuracy")]);
        }
        let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "--:|".repeat(heads.len()));
        for r in &self.records {
            let mark = if best.is_some_and(|b| b.epoch == r.epoch) { " best" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "| {}{mark} | {:.4} |", r.epoch, r.train_loss);
            if held {
                let _ = write!(text, " {:.4} | {:+.4} |", r.test_loss, r.test_loss - r.train_loss);
            }
            if accuracies {
                let _ = write!(text, " {:.2} % | {:.2} % |", 100.0 * r.train_accuracy, 100.0 * r.test_accuracy);
            }
            text.push('\n');
        }
        text
    }

    /// Whether any epoch has an accuracy.
    fn has_accuracies(&self) -> bool {
        self.records.is_empty() || self.records.iter().any(|r| r.train_accuracy.is_finite() || r.test_accuracy.is_finite())
    }

    /// Whether any epoch has a loss on data that were held out.
    fn has_held_out(&self) -> bool {
        self.records.is_empty() || self.records.iter().any(|r| !r.test_loss.is_nan())
    }

    /// Loss and, if there are any, accuracy over the epochs, with separate curves for training and test.
    pub fn chart(&self, title: impl Into<String>) -> Chart {
        self.chart_against("test", title)
    }

    /// As [`History::chart`], with another name for the data that were held out, such as `validation`.
    pub fn chart_against(&self, held_out: &str, title: impl Into<String>) -> Chart {
        let line = |name: &str, value: fn(&EpochRecord) -> f64| Series {
            name: name.into(),
            points: self.records.iter().map(|r| (r.epoch as f64, value(r))).collect(),
        };
        let mut loss = vec![line("train", |r| r.train_loss)];
        if self.has_held_out() {
            loss.push(line(held_out, |r| r.test_loss));
        }
        let accuracy = vec![line("train", |r| 100.0 * r.train_accuracy), line(held_out, |r| 100.0 * r.test_accuracy)];
        let mut panels = vec![Panel { title: "Loss".into(), series: loss, unit: String::new(), log: false }];
        if self.has_accuracies() {
            panels.push(Panel { title: "Accuracy".into(), series: accuracy, unit: " %".into(), log: false });
        }
        Chart { title: title.into(), x_label: "epoch".into(), panels }
    }

    /// Several runs in the same axes, one line per run: losses (on logarithmic axes) and accuracies, separately for training and
    /// held-out data.
    pub fn compare(held_out: &str, title: impl Into<String>, runs: &[(&str, &Self)]) -> Chart {
        let panel = |data: &str, what: &str, unit: &str, value: fn(&EpochRecord) -> f64| {
            let line = |(name, run): &(&str, &Self)| Series {
                name: (*name).into(),
                points: run.records.iter().map(|r| (r.epoch as f64, value(r))).collect(),
            };
            let mut title = format!("{data} {what}");
            if let Some(first) = title.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            Panel { title, series: runs.iter().map(line).collect(), unit: unit.into(), log: what == "loss" }
        };
        let mut panels = vec![panel("train", "loss", "", |r| r.train_loss)];
        if runs.iter().any(|(_, run)| run.has_held_out()) {
            panels.push(panel(held_out, "loss", "", |r| r.test_loss));
        }
        if runs.iter().any(|(_, run)| run.has_accuracies()) {
            panels.push(panel("train", "accuracy", " %", |r| 100.0 * r.train_accuracy));
            panels.push(panel(held_out, "accuracy", " %", |r| 100.0 * r.test_accuracy));
        }
        Chart { title: title.into(), x_label: "epoch".into(), panels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_exactly() {
        let record = |epoch: usize| EpochRecord {
            epoch,
            train_loss: 1.0 / 3.0,
            train_accuracy: 0.1 + 0.2,
            test_loss: if epoch == 1 { f64::NAN } else { 0.75 },
            test_accuracy: 1e-17,
            lr: 1e-3,
            seconds: 2.5,
        };
        let history = History { records: vec![record(1), record(2)] };
        let back = History::from_text(&history.to_text()).unwrap();
        // NaN is not equal to itself, but its text is.
        assert_eq!(back.to_text(), history.to_text());
        assert_eq!(back.records[1].train_accuracy.to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!(History::from_text("").unwrap(), History::default());
        for bad in ["1", "1 2 3", "x 1 2 3 4 5 6", "1 1 2 3 4 5 6 7"] {
            assert!(History::from_text(bad).is_err(), "{bad}");
        }
        assert_eq!(history.chart("t").panels.len(), 2);
        let named = history.chart_against("validation", "t");
        assert!(named.panels.iter().all(|p| p.series[0].name == "train" && p.series[1].name == "validation"));
        let both = History::compare("validation", "t", &[("a", &history), ("b", &History::default())]);
        let titles: Vec<&str> = both.panels.iter().map(|p| p.title.as_str()).collect();
        assert_eq!(titles, ["Train loss", "Validation loss", "Train accuracy", "Validation accuracy"]);
        assert_eq!(both.panels[2].series[0].points, [(1.0, 100.0 * (0.1 + 0.2)), (2.0, 100.0 * (0.1 + 0.2))]);
        assert!(both.panels.iter().all(|p| p.series[0].name == "a" && p.series[1].points.is_empty()));
    }

    #[test]
    fn the_report_marks_where_overfitting_begins() {
        let losses = [(1.0, 1.1), (0.5, 0.8), (0.2, 0.9), (0.1, f64::NAN)];
        let record = |(i, (train_loss, test_loss)): (usize, (f64, f64))| EpochRecord {
            epoch: i + 1,
            train_loss,
            train_accuracy: 0.9,
            test_loss,
            test_accuracy: 0.8,
            lr: 0.1,
            seconds: 1.0,
        };
        let text = History { records: losses.into_iter().enumerate().map(record).collect() }.report("validation");
        assert!(text.contains("| 2 best | 0.5000 | 0.8000 | +0.3000 | 90.00 % | 80.00 % |"), "{text}");
        assert_eq!((text.lines().count(), text.matches("best").count()), (6, 1));

        let plain = |(i, (train_loss, test_loss)): (usize, (f64, f64))| EpochRecord {
            epoch: i + 1,
            train_loss,
            test_loss,
            ..EpochRecord::default()
        };
        let history = History { records: losses.into_iter().enumerate().map(plain).collect() };
        let text = history.report("validation");
        assert!(text.contains("| 2 best | 0.5000 | 0.8000 | +0.3000 |\n") && !text.contains("accuracy"), "{text}");
        assert_eq!(history.chart("t").panels.len(), 1);
        assert_eq!(History::from_text(&history.to_text()).unwrap().to_text(), history.to_text());

        let alone = History { records: vec![EpochRecord { epoch: 1, train_loss: 0.5, ..EpochRecord::default() }] };
        assert_eq!(alone.report("validation"), "| epoch | train loss |\n|--:|--:|\n| 1 | 0.5000 |\n");
        let chart = alone.chart("t");
        assert_eq!((chart.panels.len(), chart.panels[0].series.len()), (1, 1));
        assert_eq!(History::compare("validation", "t", &[("a", &alone)]).panels.len(), 1);
    }
}
