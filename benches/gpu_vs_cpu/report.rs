//! The figures as tables for people and as JSON for programs.

use crate::Target;
use crate::cases::Case;
use crate::first_step::FirstStep;
use crate::measure::Timing;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use wgrad::DeviceKind;

/// One case on every device.
pub struct Row {
    pub case: Case,
    pub timings: Vec<Timing>,
}

impl Row {
    fn gflops(&self, device: usize) -> Option<f64> {
        self.case.flops.map(|flops| flops / self.timings[device].median / 1e6)
    }
}

/// Everything that was measured.
pub struct Report {
    pub targets: Vec<Target>,
    pub rows: Vec<Row>,
    pub first_steps: Vec<FirstStep>,
}

impl Report {
    /// How many times as fast as the CPU device, if that took part.
    fn speed(&self, row: &Row, device: usize) -> Option<f64> {
        let cpu = self.targets.iter().position(|target| target.device.kind() == DeviceKind::Cpu)?;
        Some(row.timings[cpu].median / row.timings[device].median)
    }

    /// Markdown tables, in columns as wide as necessary.
    pub fn tables(&self) -> String {
        let mut text = String::from("| device | name | kind | driver |\n|---|---|---|---|\n");
        for (i, Target { device, driver, .. }) in self.targets.iter().enumerate() {
            let driver = if driver.is_empty() { "-" } else { driver };
            text += &format!("| {i} | {} | {} | {driver} |\n", device.name(), device.kind());
        }
        text + "\n" + &table(&self.case_cells()) + "\n" + &table(&self.first_step_cells())
    }

    fn case_cells(&self) -> Vec<Vec<String>> {
        let mut header = vec!["case".to_owned()];
        for (i, target) in self.targets.iter().enumerate() {
            header.extend([format!("{i} {}: ms", target.device.kind()), "GFLOP/s".into()]);
            if target.device.kind() != DeviceKind::Cpu {
                header.push("times the CPU's speed".into());
            }
        }
        let mut cells = vec![header];
        for row in &self.rows {
            let mut line = vec![row.case.to_string()];
            for (i, target) in self.targets.iter().enumerate() {
                line.extend([figure(Some(row.timings[i].median)), figure(row.gflops(i))]);
                if target.device.kind() != DeviceKind::Cpu {
                    line.push(figure(self.speed(row, i)));
                }
            }
            cells.push(line);
        }
        cells
    }

    fn first_step_cells(&self) -> Vec<Vec<String>> {
        if self.first_steps.is_empty() {
            return Vec::new();
        }
        let header =
            ["fresh process", "device", "shader cache", "open: ms", "build: ms", "step 1: ms", "step 2: ms", "peak RSS: MiB"];
        let mut cells = vec![header.map(str::to_owned).to_vec()];
        for step in &self.first_steps {
            let kind = self.targets[step.target].device.kind();
            let cache = match (kind, step.warm_cache) {
                (DeviceKind::Cpu, _) => "-",
                (_, false) => "off",
                (_, true) => "warm",
            };
            let mut line = vec![step.network.to_string(), format!("{} {kind}", step.target), cache.to_owned()];
            line.extend([step.open, step.build, step.first, step.second, step.peak_rss].map(|value| figure(Some(value))));
            cells.push(line);
        }
        cells
    }

    /// All figures, with medians and best samples.
    pub fn json(&self) -> Value {
        let devices: Vec<Value> = self
            .targets
            .iter()
            .map(|t| json!({ "name": t.device.name(), "kind": t.device.kind().to_string(), "driver": t.driver }))
            .collect();
        let timing = |row: &Row, i: usize| {
            let Timing { median, fastest } = row.timings[i];
            let (gflops, speed) = (row.gflops(i), self.speed(row, i));
            json!({ "device": i, "median_ms": median, "fastest_ms": fastest, "gflops": gflops, "speed_vs_cpu": speed })
        };
        let case = |row: &Row| {
            let timings: Vec<Value> = (0..row.timings.len()).map(|i| timing(row, i)).collect();
            json!({ "group": row.case.group, "name": row.case.name, "flops": row.case.flops, "timings": timings })
        };
        let first_step = |s: &FirstStep| {
            json!({
                "network": s.network.argument(), "device": s.target, "warm_shader_cache": s.warm_cache, "open_ms": s.open,
                "build_ms": s.build, "first_ms": s.first, "second_ms": s.second, "peak_rss_mib": s.peak_rss,
            })
        };
        json!({
            "wgrad": env!("CARGO_PKG_VERSION"),
            "unix_time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            "devices": devices,
            "cases": self.rows.iter().map(case).collect::<Vec<_>>(),
            "first_steps": self.first_steps.iter().map(first_step).collect::<Vec<_>>(),
        })
    }
}

/// Three significant digits.
fn figure(value: Option<f64>) -> String {
    match value {
        Some(x) if x.is_finite() && x >= 100.0 => format!("{x:.0}"),
        Some(x) if x.is_finite() && x >= 10.0 => format!("{x:.1}"),
        Some(x) if x.is_finite() && x >= 1.0 => format!("{x:.2}"),
        Some(x) if x.is_finite() => format!("{x:.3}"),
        _ => "-".into(),
    }
}

/// A Markdown table of a header and lines. All columns but the first are numbers or short words, right-aligned.
fn table(lines: &[Vec<String>]) -> String {
    let Some((header, body)) = lines.split_first() else { return String::new() };
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let set = |line: &[String]| {
        let cell = |(i, text): (usize, &String)| {
            let width = widths[i];
            if i == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        format!("| {} |\n", line.iter().enumerate().map(cell).collect::<Vec<_>>().join(" | "))
    };
    let rule = |(i, &width): (usize, &usize)| if i == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) };
    let rules = widths.iter().enumerate().map(rule).collect::<Vec<_>>().join("|");
    set(header) + &format!("|{rules}|\n") + &body.iter().map(|line| set(line)).collect::<String>()
}
