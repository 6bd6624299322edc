//! Measures how far a device's results are from f64, op by op, and prints a table.
//!
//! ```text
//! cargo run --release --example numerics -- --device software --markdown docs/numerics-lavapipe.md
//! ```

mod table;

use clap::Parser;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use table::contractions::{Case, LIMIT, contractions};
use table::elementwise::{At, Budget, Division, binary, unary};
use table::error::{Worst, binary_errors, division, sweep, unary_errors, worst};
use table::rows::{losses, norms, reductions};
use wgrad::{Device, Result};

/// Measures the error of every op on a device against f64.
#[derive(Parser)]
struct Options {
    /// A kind (gpu, software, cpu), an index, or part of a name; see the example `devices`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Also write the table to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Points in each of three sweeps of the elementwise ops.
    #[arg(long, default_value_t = 200_000)]
    points: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let report = match measure(&options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", report.text);
    if let Some(path) = &options.markdown
        && let Err(error) = wgrad::io::atomic::write(path, report.text.as_bytes())
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    for line in &report.over {
        eprintln!("over budget: {line}");
    }
    if report.over.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Report {
    text: String,
    /// What exceeds its budget.
    over: Vec<String>,
    /// How the device divides.
    division: Division,
}

fn measure(options: &Options) -> Result<Report> {
    let device = Device::named(&options.device)?;
    let division = division(&device)?;
    let mut report = Report { text: String::new(), over: Vec::new(), division };
    let title = device.to_string();
    let driver = Device::list().into_iter().find(|d| d.name == device.name()).map(|d| d.driver).unwrap_or_default();
    let n = options.points;
    let _ = writeln!(report.text, "# Numerics of {title}\n");
    if !driver.is_empty() {
        let _ = writeln!(report.text, "Driver: {driver}.\n");
    }
    let _ = write!(
        report.text,
        "Its quotients and square roots are {}.\n\n\
         Made by `cargo run --release --example numerics -- --device {} --points {n}`. The reference is f64 on the \
         CPU device.\n\n\
         ## Elementwise\n\n\
         The largest error over {n} points spread evenly over the range, {n} of all magnitudes in it, and {n} random bit \
         patterns of the whole of f32. The first budget is for devices that round quotients and square roots correctly, \
         the second for those where they may be as far off as WGSL allows, 2.5 ULP and 4.5. Errors are counted in ULPs \
         (distances between neighbouring f32 numbers) of the result; \"of 1\" or \"of x\" means ULPs at the larger of the result \
         and 1 or the first operand. Subnormal results may be \
         flushed to 0.\n\n\
         | op | range | max ULP | budget | budget, rough division | at |\n|---|---|---|---|---|---|\n",
        match division {
            Division::Exact => "rounded correctly",
            Division::Rough => "not all rounded correctly",
        },
        options.device
    );
    for op in unary() {
        let x = sweep(op.range, n, 1);
        let found = worst(&unary_errors(&op, &x, &device)?, &[&x]);
        report.elementwise(op.name, &range(op.range), op.budget, &found);
    }
    for op in binary() {
        let (a, b) = (sweep(op.a, n, 1), sweep(op.b, n, 2));
        let found = worst(&binary_errors(&op, &a, &b, &device)?, &[&a, &b]);
        report.elementwise(op.name, &format!("{}, {}", range(op.a), range(op.b)), op.budget, &found);
    }
    for (title, cases) in [
        ("Products and convolutions", contractions()),
        ("Reductions, softmax and pooling", reductions()),
        ("Norms", norms()),
        ("Losses and indexing", losses()),
    ] {
        report.section(title, &cases, &device)?;
    }
    Ok(report)
}

impl Report {
    fn elementwise(&mut self, name: &str, range: &str, budget: Budget, found: &Worst) {
        let unit = match budget.at {
            At::Result => "",
            At::One => " of 1",
            At::Operand => " of x",
        };
        let place = if found.error == 0.0 { "-".into() } else { found.place() };
        let [exact, rough] = [Division::Exact, Division::Rough].map(|d| budget.ulps(d));
        let line = format!("{name} | {range} | {:.2} | {exact}{unit} | {rough}{unit} | {place}", found.error);
        let most = budget.ulps(self.division);
        if found.error > most {
            self.over.push(format!("{name}: {found}; the budget is {most}{unit}"));
        }
        let _ = writeln!(self.text, "| {line} |");
    }

    fn section(&mut self, title: &str, cases: &[Case], device: &Device) -> Result<()> {
        let _ = write!(
            self.text,
            "\n## {title}\n\nNormalised squared error, `Σ(y - e)² / Σe²`; at most {LIMIT:e}.\n\n\
             | op | shapes | result | gradients |\n|---|---|---|---|\n"
        );
        for case in cases {
            let (forward, backward) = case.measure(device)?;
            let shapes: Vec<String> = case.shapes.iter().map(|s| format!("{s:?}")).collect();
            let line = format!("{} | {} | {forward:.1e} | {backward:.1e}", case.name, shapes.join(" "));
            if forward > LIMIT || backward > LIMIT {
                self.over.push(line.clone());
            }
            let _ = writeln!(self.text, "| {line} |");
        }
        Ok(())
    }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low}..{high}")
}
