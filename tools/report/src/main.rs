//! What wgrad does on the GPU at hand: one page and one file of JSON. docs/gpu-report.md says what is in them.

mod ceilings;
mod items;
mod measure;
mod page;
mod peer;
mod record;
mod watch;

use clap::{Args, Parser, Subcommand};
use record::{Adapter, Item, Line, Outcome, Report};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wgrad::{Device, DeviceInfo, DeviceKind, DeviceOptions};

/// Checks every kernel of wgrad on a GPU against the CPU, measures how near it comes to the hardware's limits, and writes one page
/// and one file of JSON named by the adapter.
#[derive(Parser)]
#[command(name = "scripts/gpu_report", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    report: ReportOptions,
    #[command(subcommand)]
    worker: Option<Worker>,
}

#[derive(Args)]
struct ReportOptions {
    #[command(flatten)]
    what: What,
    /// Minutes at most; what was not reached is listed
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The folder to write to
    #[arg(long, default_value = ".", overrides_with = "out")]
    out: PathBuf,
    /// A Python that has PyTorch, for comparison
    #[arg(long, default_value = "python3")]
    python: String,
    /// Seconds after which any item counts as hung
    #[arg(long, hide = true)]
    patience: Option<u64>,
}

/// What is tried on what.
#[derive(Args, Clone)]
struct What {
    /// The adapter: gpu, software, an index or part of a name, as for WGRAD_DEVICE
    #[arg(long, default_value = "gpu")]
    device: String,
    /// Only what has this text in its name or group
    #[arg(long)]
    only: Option<String>,
    /// Pretends a fault: crash=NAME or hang=NAME
    #[arg(long, hide = true)]
    pretend: Option<String>,
}

#[derive(Subcommand)]
enum Worker {
    /// The process that measures and may die of it.
    #[command(hide = true)]
    Worker {
        #[command(flatten)]
        what: What,
        /// The number of the first item
        #[arg(long)]
        first: usize,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.worker {
        Some(Worker::Worker { what, first }) => work(what, *first).map(|()| true),
        None => report(&options.report),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The adapter that a name means, as for WGRAD_DEVICE; without a GPU, `gpu` means none.
fn find(wanted: &str) -> Result<DeviceInfo, String> {
    let list = Device::list();
    let is = |info: &DeviceInfo| match (wanted, wanted.parse::<usize>()) {
        ("gpu", _) => info.kind == DeviceKind::Gpu,
        ("software", _) => info.kind == DeviceKind::Software,
        (_, Ok(index)) => info.index == index,
        _ => info.name.to_lowercase().contains(&wanted.to_lowercase()),
    };
    let found = list.iter().find(|info| info.kind != DeviceKind::Cpu && is(info)).cloned();
    found.ok_or_else(|| {
        let known: Vec<String> = list.iter().filter(|info| info.kind != DeviceKind::Cpu).map(ToString::to_string).collect();
        let known = if known.is_empty() { "none; is a Vulkan driver installed?".into() } else { known.join("; ") };
        format!("no adapter is {wanted:?}; --device takes gpu, software, an index or part of a name; there are: {known}")
    })
}

/// Measures items from one on, and prints each as it is through.
fn work(what: &What, first: usize) -> Result<(), String> {
    let info = find(&what.device)?;
    // The trials are an item of their own.
    let device =
        Device::open(&info, DeviceOptions { self_test: Some(false), ..DeviceOptions::default() }).map_err(|e| e.to_string())?;
    let mut out = std::io::stdout();
    let mut print = |line: &Line| -> Result<(), String> {
        let text = serde_json::to_string(line).map_err(|e| e.to_string())?;
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| e.to_string())
    };
    for (n, task) in items::list(what.only.as_deref(), info.kind == DeviceKind::Software).iter().enumerate().skip(first) {
        print(&Line::Begin(n))?;
        match what.pretend.as_deref().and_then(|p| p.split_once('=')) {
            Some(("crash", name)) if name == task.name() => std::process::abort(),
            Some(("hang", name)) if name == task.name() => std::thread::sleep(Duration::from_secs(3600)),
            _ => {}
        }
        print(&Line::Done(n, measure::item(task, &device, &info)))?;
    }
    Ok(())
}

/// Makes the report; whether it found no fault.
fn report(options: &ReportOptions) -> Result<bool, String> {
    let begin = Instant::now();
    let minutes = options.minutes.clamp(0.1, 1e4);
    let deadline = begin + Duration::from_secs_f64(60.0 * minutes);
    let info = find(&options.what.device)?;
    let tasks = items::list(options.what.only.as_deref(), info.kind == DeviceKind::Software);
    if tasks.is_empty() {
        return Err(format!("nothing has {:?} in its name or group", options.what.only.as_deref().unwrap_or_default()));
    }
    println!("{info}");
    println!("{} items, {minutes} minutes at most", tasks.len());
    let mut arguments = vec!["--device".into(), options.what.device.clone()];
    for (flag, value) in [("--only", &options.what.only), ("--pretend", &options.what.pretend)] {
        arguments.extend(value.iter().flat_map(|v| [flag.to_owned(), v.clone()]));
    }
    // PyTorch comes last and may take a fifth.
    let wanted: Vec<String> = tasks
        .iter()
        .filter_map(|task| if let items::Task::Network(network) = task { Some(network.to_string()) } else { None })
        .collect();
    let reserve = if wanted.is_empty() { 0.0 } else { 12.0 * minutes };
    let watch = watch::Watch {
        arguments,
        tasks: &tasks,
        deadline: deadline - Duration::from_secs_f64(reserve),
        patience: options.patience,
    };
    let total = tasks.len();
    let mut done = 0;
    let items = watch.run(|item| {
        done += 1;
        println!("{done:>4}/{total} {}", described(item));
    })?;
    let peer = (!wanted.is_empty()).then(|| {
        println!("PyTorch ...");
        peer::run(&options.python, &wanted, deadline.saturating_duration_since(Instant::now()))
    });
    let report = Report {
        date: today(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        version: env!("CARGO_PKG_VERSION").into(),
        optimised: !cfg!(debug_assertions),
        adapter: Adapter {
            name: info.name.clone(),
            kind: info.kind.to_string(),
            backend: info.backend.clone(),
            driver: info.driver.clone(),
            quirks: info.quirks.iter().map(|&(what, instead)| (what.into(), instead.into())).collect(),
            limits: info.limits.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
        },
        items,
        peer,
        seconds: begin.elapsed().as_secs_f64(),
    };
    write(&report, &options.out)?;
    Ok(report.items.iter().all(|item| page::fault(item).is_none()))
}

fn described(item: &Item) -> String {
    let name = &item.name;
    if let Some(fault) = page::fault(item) {
        return format!("FAULT {name}: {fault}");
    }
    match &item.outcome {
        Outcome::Operation(o) => format!("{name}: {:.3} ms", o.time),
        Outcome::Network(n) => format!("{name}: {:.2} ms per step", n.step),
        Outcome::Ceilings(c) => {
            format!(
                "{name}: {:.2} TFLOP/s, {:.0} GB/s, {:.1} µs per launch",
                2e-12 * c.multiply_adds,
                1e-9 * c.bytes,
                1e6 * c.launch
            )
        }
        Outcome::NotReached => format!("{name}: not reached"),
        Outcome::TooLarge(_) => format!("{name}: does not fit this adapter"),
        _ => format!("{name}: correct"),
    }
}

fn write(report: &Report, folder: &Path) -> Result<(), String> {
    let name = page::name(report);
    let json = serde_json::to_string_pretty(report).map_err(|e| e.to_string())? + "\n";
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (ending, text) in [("md", page::markdown(report)), ("json", json)] {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The day in UTC, by the rules of the Gregorian calendar.
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() / 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn networks_have_names_that_the_list_uses() {
        let names: Vec<String> = super::items::list(Some("network "), false).iter().map(super::items::Task::name).collect();
        assert_eq!(names.len(), wgrad_catalogue::networks::Network::ALL.len());
    }
}
