//! The same networks' steps in PyTorch, where a Python has it.

use crate::record::Peer;
use crate::watch::tail;
use serde::Deserialize;
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
    // As an argument: what ends without reading its input would break a pipe, and hide its own message.
    let mut child = Command::new(python)
        .args(["-c", PROGRAM, &seconds.to_string()])
        .args(wanted)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{python}: {e}"))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{python} has no pipes"));
    };
    // Read while it runs: a full pipe would stop it.
    let answer = std::thread::spawn(move || std::io::read_to_string(out));
    let errors = std::thread::spawn(move || tail(err));
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if begin.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{python} took longer than {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        let last = errors.join().unwrap_or_default().pop_back().unwrap_or_else(|| "no message".into());
        return Err(format!("{python}: {last}"));
    }
    let text = answer.join().map_err(|_| format!("{python}: its answer was not read"))?;
    let text = text.map_err(|e| format!("{python}: {e}"))?;
    let Answer { name, steps } = serde_json::from_str(text.trim()).map_err(|e| format!("{python}: {e}"))?;
    Ok(Peer::Ran { name, steps })
}
