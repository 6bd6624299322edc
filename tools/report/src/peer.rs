//! The same networks' steps in PyTorch, where a Python has it.

use crate::record::Peer;
use serde::Deserialize;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = include_str!("peer.py");

#[derive(Deserialize)]
struct Answer {
    name: String,
    steps: Vec<(String, f64)>,
}

/// Runs them, for so long at most.
pub fn run(python: &str, wanted: &[String], limit: Duration) -> Peer {
    try_run(python, wanted, limit).unwrap_or_else(Peer::Absent)
}

fn try_run(python: &str, wanted: &[String], limit: Duration) -> Result<Peer, String> {
    let begin = Instant::now();
    // The program leaves out what it has no time for, and needs some to finish the network at hand.
    let seconds = limit.as_secs() * 2 / 3;
    let mut child = Command::new(python)
        .args(["-", &seconds.to_string()])
        .args(wanted)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{python}: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(PROGRAM.as_bytes()).map_err(|e| e.to_string())?;
    }
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if begin.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{python} took longer than {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(format!("{python}: {last}"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let Answer { name, steps } = serde_json::from_str(text.trim()).map_err(|e| format!("{python}: {e}"))?;
    Ok(Peer::Ran { name, steps })
}
