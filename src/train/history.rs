//! What each epoch achieved, as text for checkpoints and as curves.

use super::chart::{Chart, Panel, Series};
use crate::error::{Error, Result};
use std::fmt::Write;

/// The results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub train_loss: f64,
    /// Share of training samples predicted rightly, while training, in 0..1; NaN where there is none, as in regression.
    pub train_accuracy: f64,
    /// Mean loss on the test set.
    pub test_loss: f64,
    /// Share of test samples predicted rightly, in 0..1; NaN where there is none.
    pub test_accuracy: f64,
    /// Learning rate at the end of the epoch.
    pub lr: f64,
    /// Duration in seconds.
    pub seconds: f64,
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
    /// A line has other than seven numbers; an epoch is 0 or does not come after the one before; an accuracy is neither in 0..=1
    /// nor NaN, or a learning rate or duration not finite and at least 0. Losses may be any numbers, as those of a run that
    /// diverges are.
    pub fn from_text(text: &str) -> Result<Self> {
        let parse = |line: &str| {
            let (epoch, rest) = line.split_once(' ')?;
            let numbers: Vec<f64> = rest.split(' ').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
            let [train_loss, train_accuracy, test_loss, test_accuracy, lr, seconds] = numbers[..] else { return None };
            Some(EpochRecord { epoch: epoch.parse().ok()?, train_loss, train_accuracy, test_loss, test_accuracy, lr, seconds })
        };
        let damaged = |line| Error::argument("history", format!("\"{line}\" is not an epoch's line"), "use another checkpoint");
        let records = text.lines().map(|line| parse(line).ok_or_else(|| damaged(line))).collect::<Result<Vec<_>>>()?;
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

    /// A Markdown table with an epoch a line: both losses, how far they are apart, both accuracies if there are any. The epoch with the lowest
    /// held-out loss is marked: where that rises while the training loss falls, the model overfits.
    pub fn report(&self, held_out: &str) -> String {
        let best = self.records.iter().filter(|r| r.test_loss.is_finite()).min_by(|a, b| a.test_loss.total_cmp(&b.test_loss));
        let accuracies = self.has_accuracies();
        let (head, rule) =
            if accuracies { (format!(" train accuracy | {held_out} accuracy |"), "--:|--:|") } else { (String::new(), "") };
        let mut text = format!("| epoch | train loss | {held_out} loss | gap |{head}\n|--:|--:|--:|--:|{rule}\n");
        for r in &self.records {
            let mark = if best.is_some_and(|b| b.epoch == r.epoch) { " best" } else { "" };
            let (gap, train, test) = (r.test_loss - r.train_loss, 100.0 * r.train_accuracy, 100.0 * r.test_accuracy);
            // Writing to a String cannot fail.
            let _ = write!(text, "| {}{mark} | {:.4} | {:.4} | {gap:+.4} |", r.epoch, r.train_loss, r.test_loss);
            let _ = if accuracies { writeln!(text, " {train:.2} % | {test:.2} % |") } else { writeln!(text) };
        }
        text
    }

    /// Whether any epoch has an accuracy.
    fn has_accuracies(&self) -> bool {
        self.records.is_empty() || self.records.iter().any(|r| r.train_accuracy.is_finite() || r.test_accuracy.is_finite())
    }

    /// Loss and, if there are any, accuracy over the epochs, training and test curves apart.
    pub fn chart(&self, title: impl Into<String>) -> Chart {
        self.chart_against("test", title)
    }

    /// As [`History::chart`], with another name for the data that were held out, such as `validation`.
    pub fn chart_against(&self, held_out: &str, title: impl Into<String>) -> Chart {
        let line = |name: &str, value: fn(&EpochRecord) -> f64| Series {
            name: name.into(),
            points: self.records.iter().map(|r| (r.epoch as f64, value(r))).collect(),
        };
        let loss = vec![line("train", |r| r.train_loss), line(held_out, |r| r.test_loss)];
        let accuracy = vec![line("train", |r| 100.0 * r.train_accuracy), line(held_out, |r| 100.0 * r.test_accuracy)];
        let mut panels = vec![Panel { title: "Loss".into(), series: loss, unit: String::new(), log: false }];
        if self.has_accuracies() {
            panels.push(Panel { title: "Accuracy".into(), series: accuracy, unit: " %".into(), log: false });
        }
        Chart { title: title.into(), x_label: "epoch".into(), panels }
    }

    /// Several runs in the same axes, one line per run: losses (on logarithmic axes) and accuracies, of training and held-out
    /// data apart.
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
        let mut panels = vec![panel("train", "loss", "", |r| r.train_loss), panel(held_out, "loss", "", |r| r.test_loss)];
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
            test_loss: f64::NAN,
            test_accuracy: 1e-17,
            lr: 1e-3,
            seconds: 2.5,
        };
        let history = History { records: vec![record(1), record(2)] };
        let back = History::from_text(&history.to_text()).unwrap();
        // NaN is not equal to itself, its text is.
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

        let plain = |r: (usize, (f64, f64))| EpochRecord { train_accuracy: f64::NAN, test_accuracy: f64::NAN, ..record(r) };
        let history = History { records: losses.into_iter().enumerate().map(plain).collect() };
        let text = history.report("validation");
        assert!(text.contains("| 2 best | 0.5000 | 0.8000 | +0.3000 |\n") && !text.contains("accuracy"), "{text}");
        assert_eq!(history.chart("t").panels.len(), 1);
    }
}
