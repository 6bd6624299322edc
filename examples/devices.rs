//! Prints the devices of this machine, with the limits and features that matter here, and which one is the default, and why.
//!
//! ```text
//! cargo run --example devices
//! cargo run --example devices -- --test    also tries every kernel on each adapter; takes seconds
//! ```

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use wgrad::{Device, DeviceInfo, DeviceKind, DeviceOptions};

fn main() -> ExitCode {
    let _ = env_logger::try_init();
    let devices = Device::list();
    let test = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--test" => true,
        _ => {
            eprintln!("usage: devices [--test]");
            return ExitCode::from(2);
        }
    };
    let mut rows: Vec<(String, Vec<String>)> = vec![
        ("index".into(), column(&devices, |d| d.index.to_string())),
        ("kind".into(), column(&devices, |d| d.kind.to_string())),
        ("name".into(), column(&devices, |d| d.name.clone())),
        ("backend".into(), column(&devices, |d| d.backend.clone())),
        ("also by".into(), column(&devices, |d| d.also.join(", "))),
        ("driver".into(), column(&devices, |d| d.driver.clone())),
    ];
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in devices.iter().flat_map(|d| &d.limits) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    for name in names {
        let value = |d: &DeviceInfo| d.limits.iter().find(|(n, _)| *n == name).map_or_else(String::new, |(_, v)| v.clone());
        rows.push((name.into(), column(&devices, value)));
    }
    let quirks =
        |d: &DeviceInfo| d.quirks.iter().map(|(what, instead)| format!("{}: {what}: {instead}\n", d.index)).collect::<String>();
    let quirks: String = devices.iter().map(quirks).collect();
    let choice = match Device::choice() {
        Ok(choice) => format!("chosen: {}, {choice}", choice.device.index),
        Err(error) => format!("chosen: none, {error}"),
    };
    let how = "choose another with --device or WGRAD_DEVICE: a kind (gpu), an index, part of a name, or an API and one of these (dx12:nvidia)";
    if test {
        rows.push(("self-test".into(), column(&devices, tested)));
    }
    let text = table(&rows) + "\n" + &quirks + &choice + "\n" + how + "\n";
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
        // A reader that closes the pipe early is not a failure.
        _ => ExitCode::SUCCESS,
    }
}

/// The result of the kernels' trials on an adapter.
fn tested(info: &DeviceInfo) -> String {
    if info.kind == DeviceKind::Cpu {
        return String::new();
    }
    match Device::open(info, DeviceOptions::default()).and_then(|device| device.self_test()) {
        Ok(replaced) if replaced.is_empty() => "all kernels are correct".into(),
        Ok(replaced) => format!("correct, with plainer forms of {}", replaced.join(", ")),
        Err(error) => error.to_string(),
    }
}

fn column(devices: &[DeviceInfo], cell: impl Fn(&DeviceInfo) -> String) -> Vec<String> {
    devices.iter().map(cell).map(|text| if text.is_empty() { "-".into() } else { text }).collect()
}

/// Rows of a label and one cell per device, in columns as wide as necessary.
fn table(rows: &[(String, Vec<String>)]) -> String {
    let count = |text: &String| text.chars().count();
    let label_width = rows.iter().map(|(label, _)| count(label)).max().unwrap_or(0);
    let devices = rows.first().map_or(0, |(_, cells)| cells.len());
    let width = |d: usize| rows.iter().map(|(_, cells)| count(&cells[d])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..devices).map(width).collect();
    let mut text = String::new();
    for (label, cells) in rows {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        text.push_str(format!("{label:<label_width$}  {}", padded.join("  ")).trim_end());
        text.push('\n');
    }
    text
}
