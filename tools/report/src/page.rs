//! A report as one page.

use crate::record::{Ceilings, Item, Operation, Outcome, Peer, Report};
use std::fmt::Write;

/// The name of its files: the adapter's and its API's, in small letters, digits and hyphens.
pub fn name(report: &Report) -> String {
    let adapter = &report.adapter;
    let mut name = String::new();
    // What stands in brackets is the driver's compiler or the system's version.
    let plain = adapter.name.split('(').next().unwrap_or_default();
    for c in format!("{plain} {}", adapter.backend).to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_end_matches('-').into()
}

/// The page, in Markdown.
pub fn markdown(report: &Report) -> String {
    let adapter = &report.adapter;
    let mut page = format!("# wgrad on {}\n\n", adapter.name);
    let build = if report.optimised { "" } else { ", not optimised: times mean nothing" };
    line(
        &mut page,
        format_args!(
            "{} {}, {}; wgrad {}{build}; {}; {}. Made by `scripts/gpu_report` in {:.0} s.\n",
            adapter.kind, adapter.backend, adapter.driver, report.version, report.system, report.date, report.seconds
        ),
    );
    if adapter.kind == "software" {
        page.push_str("This adapter computes on the processor: the page shows that the report works, not what a GPU does.\n\n");
    }
    for (what, instead) in &adapter.quirks {
        line(&mut page, format_args!("- {what}: {instead}"));
    }
    if !adapter.quirks.is_empty() {
        page.push('\n');
    }
    summary(&mut page, report);
    networks(&mut page, report);
    operations(&mut page, report);
    faults(&mut page, report);
    page.push_str("\n## Limits and features\n\n| | |\n|---|---|\n");
    for (name, value) in &adapter.limits {
        line(&mut page, format_args!("| {name} | {value} |"));
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "{text}");
}

fn ceilings(report: &Report) -> Option<Ceilings> {
    report.items.iter().find_map(|item| match item.outcome {
        Outcome::Ceilings(ceilings) => Some(ceilings),
        _ => None,
    })
}

fn of_operations(report: &Report) -> impl Iterator<Item = (&str, &Operation)> {
    report.items.iter().filter_map(|item| match &item.outcome {
        Outcome::Operation(operation) => Some((item.name.as_str(), operation)),
        _ => None,
    })
}

/// Why an item is a fault, if it is one.
pub fn fault(item: &Item) -> Option<String> {
    match &item.outcome {
        Outcome::Failed(error) => Some(format!("error: {error}")),
        Outcome::Crashed(how) => Some(format!("the process died: {how}")),
        Outcome::Hung(seconds) => Some(format!("not finished in {seconds:.0} s, so it was ended")),
        Outcome::Operation(operation) if !operation.is_correct() => Some(match operation.error {
            Some(error) => format!("differs from the CPU device by {error:.1e} of its root mean square"),
            None => "is finite where the CPU device's result is not, or the other way around".into(),
        }),
        Outcome::Network(network) if !network.loss.is_finite() => Some(format!("its loss became {}", network.loss)),
        Outcome::Trials(trials) if !trials.replaced.is_empty() => {
            Some(format!("refused or wrong, a plainer form runs: {}", trials.replaced.join(", ")))
        }
        _ => None,
    }
}

fn summary(page: &mut String, report: &Report) {
    let faults = report.items.iter().filter(|item| fault(item).is_some()).count();
    let missed = report.items.iter().filter(|item| matches!(item.outcome, Outcome::NotReached)).count();
    let large: Vec<&str> =
        report.items.iter().filter(|item| matches!(item.outcome, Outcome::TooLarge(_))).map(|item| item.name.as_str()).collect();
    let tried = report.items.len() - missed - large.len();
    let right = of_operations(report).filter(|(_, operation)| operation.is_correct()).count();
    let worst = of_operations(report).filter_map(|(_, operation)| operation.error).fold(0.0, f64::max);
    line(
        page,
        format_args!(
            "**{tried} items tried, {faults} with a fault, {missed} not reached.** {right} operations agree with the CPU device; the \
         largest difference is {worst:.1e} of a result's root mean square ({:.0e} is allowed).\n",
            Operation::ALLOWED
        ),
    );
    if !large.is_empty() {
        line(page, format_args!("Too large for this adapter: {}.\n", large.join("; ")));
    }
    if let Some(c) = ceilings(report) {
        let clock = if c.timestamps { "the adapter's clock" } else { "the host's clock" };
        line(
            page,
            format_args!(
                "Ceilings by {clock}: {:.2} TFLOP/s in multiply-adds of f32, {:.0} GB/s in a copy, {:.1} µs from a launch to the next.\n",
                2e-12 * c.multiply_adds,
                1e-9 * c.bytes,
                1e6 * c.launch
            ),
        );
    }
}

fn networks(page: &mut String, report: &Report) {
    let found: Vec<_> = report
        .items
        .iter()
        .filter_map(|item| match &item.outcome {
            Outcome::Network(network) => Some((item.name.trim_start_matches("network "), network)),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return;
    }
    page.push_str("## Networks in training\n\n");
    let mut peer = None;
    match &report.peer {
        Some(Peer::Ran { name, steps }) => {
            line(page, format_args!("Beside {name}: plain or fused Adam, whichever is faster, f32 without TF32.\n"));
            peer = Some(steps);
        }
        Some(Peer::Absent(why)) => line(page, format_args!("Not compared with PyTorch ({why}).\n")),
        None => {}
    }
    page.push_str("| network | step, ms | host, ms | launches | first step, ms | peak, MB | PyTorch, ms | times as fast |\n");
    page.push_str("|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for (name, n) in &found {
        let other = peer.and_then(|steps| steps.iter().find(|(network, _)| network == name)).map(|(_, ms)| *ms);
        let [theirs, ratio] = match other {
            Some(ms) => [format!("{ms:.2}"), format!("{:.2}", ms / n.step)],
            None => ["".into(), "".into()],
        };
        line(
            page,
            format_args!(
                "| {name} | {:.2} | {:.2} | {} | {:.0} | {:.0} | {theirs} | {ratio} |",
                n.step,
                n.host,
                n.launches,
                n.first,
                n.bytes_peak as f64 * 1e-6
            ),
        );
    }
    page.push_str("\nWhere the time goes:\n\n");
    for (name, n) in &found {
        let total: f64 = n.step.max(f64::MIN_POSITIVE);
        let parts = n.kernels.iter().map(|(kernel, launches, ms)| format!("{kernel} ×{launches} {:.0} %", 100.0 * ms / total));
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            line(page, format_args!("- {name}: {}", parts.join("; ")));
        }
    }
    page.push('\n');
}

fn operations(page: &mut String, report: &Report) {
    let found: Vec<_> = of_operations(report).collect();
    if found.is_empty() {
        return;
    }
    page.push_str(
        "## Operations\n\nShares are of the ceilings above: of multiply-adds where an operation has any, else of the copy.\n\n",
    );
    page.push_str("| operation | ms | GFLOP/s | GB/s | share | launches | difference | first, ms |\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
    let limits = ceilings(report);
    for (name, o) in found {
        let seconds = o.time * 1e-3;
        let flops = if o.multiply_adds > 0.0 { format!("{:.0}", 2e-9 * o.multiply_adds / seconds) } else { String::new() };
        let share = limits.map_or_else(String::new, |c| {
            let share =
                if o.multiply_adds > 0.0 { o.multiply_adds / seconds / c.multiply_adds } else { o.bytes / seconds / c.bytes };
            format!("{:.0} %", 100.0 * share)
        });
        let error = o.error.map_or_else(|| "not finite".into(), |e| if e == 0.0 { "0".into() } else { format!("{e:.0e}") });
        line(
            page,
            format_args!(
                "| {name} | {:.3} | {flops} | {:.1} | {share} | {} | {error} | {:.0} |",
                o.time,
                1e-9 * o.bytes / seconds,
                o.launches,
                o.first
            ),
        );
    }
}

fn faults(page: &mut String, report: &Report) {
    let found: Vec<_> = report.items.iter().filter_map(|item| Some((&item.name, fault(item)?))).collect();
    page.push_str("\n## Faults\n\n");
    if found.is_empty() {
        page.push_str("None.\n");
    }
    for (name, why) in found {
        line(page, format_args!("- {name}: {why}"));
    }
}
