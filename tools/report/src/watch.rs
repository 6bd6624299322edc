//! Runs items in another process, which may crash or hang: that is noted, and the rest goes on in a new one.

use crate::items::Task;
use crate::record::{Item, Line, Outcome};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines of the other process's errors that a crash shows.
const TAIL: usize = 5;

/// How a process is watched.
pub struct Watch<'a> {
    /// The arguments of the process that measures, but for the number of the first item.
    pub arguments: Vec<String>,
    /// What is tried.
    pub tasks: &'a [Task],
    /// When there is no time left.
    pub deadline: Instant,
    /// Seconds after which any item counts as hung, in place of its own.
    pub patience: Option<u64>,
}

struct Worker {
    child: Child,
    lines: Receiver<Line>,
    errors: JoinHandle<VecDeque<String>>,
}

impl Worker {
    fn start(arguments: &[String], first: usize) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(program)
            .arg("worker")
            .args(arguments)
            .args(["--first", &first.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("the process has no pipes".into());
        };
        let (send, lines) = channel();
        std::thread::spawn(move || {
            // What drivers print between is not ours.
            let ours = BufReader::new(out).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            for line in ours {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || tail(err));
        Ok(Self { child, lines, errors })
    }

    /// Ends it, and says how it ended.
    fn end(mut self) -> String {
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let errors: Vec<String> = self.errors.join().unwrap_or_default().into();
        if errors.is_empty() { status } else { format!("{status}: {}", errors.join(" / ")) }
    }
}

/// The last lines of a stream.
pub fn tail(stream: impl Read) -> VecDeque<String> {
    let mut kept = VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
        kept.push_back(line);
        if kept.len() > TAIL {
            kept.pop_front();
        }
    }
    kept
}

impl Watch<'_> {
    /// The outcome of every item, each shown as it comes.
    ///
    /// # Errors
    /// No process can be started.
    pub fn run(&self, mut show: impl FnMut(&Item)) -> Result<Vec<Item>, String> {
        let mut items: Vec<Item> = Vec::new();
        let mut note = |items: &mut Vec<Item>, outcome: Outcome| {
            let item = Item { name: self.tasks[items.len()].name(), outcome };
            show(&item);
            items.push(item);
        };
        while items.len() < self.tasks.len() {
            let worker = Worker::start(&self.arguments, items.len())?;
            loop {
                let Some(task) = self.tasks.get(items.len()) else {
                    worker.end();
                    break;
                };
                let patience = Duration::from_secs(self.patience.unwrap_or(task.patience()));
                let left = self.deadline.saturating_duration_since(Instant::now());
                match worker.lines.recv_timeout(patience.min(left)) {
                    Ok(Line::Begin(_)) => {}
                    Ok(Line::Done(_, outcome)) => note(&mut items, outcome),
                    Err(RecvTimeoutError::Timeout) if left <= patience => {
                        worker.end();
                        while items.len() < self.tasks.len() {
                            note(&mut items, Outcome::NotReached);
                        }
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        worker.end();
                        note(&mut items, Outcome::Hung(patience.as_secs_f64()));
                        break;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        let how = worker.end();
                        note(&mut items, Outcome::Crashed(how));
                        break;
                    }
                }
            }
        }
        Ok(items)
    }
}
