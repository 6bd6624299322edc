//! `WGRAD_PROFILE`: a profile of a whole program, without a change to it.

use super::profile::{Ceilings, Profile, Record};
use crate::atomic;
use crate::graph::layer::Layers;
use crate::plan::{Launched, Plan};
use crate::sync::lock;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

/// The variable.
pub(crate) const VARIABLE: &str = "WGRAD_PROFILE";

/// Launches after which a record is full: some hundred megabytes.
const MOST: usize = 1 << 20;

/// Where a profile goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Tables on standard error.
    Table,
    /// A trace in a file.
    Trace(PathBuf),
}

/// A record from a device's opening to the end of the program, or of the device if that is earlier.
#[derive(Debug)]
pub(super) struct Unasked<C> {
    target: Target,
    device: String,
    since: Instant,
    ceilings: Option<Ceilings>,
    /// `None` once reported.
    so_far: Mutex<Option<SoFar<C>>>,
}

/// What is recorded, and the plans and pipelines that were compiled before and until the last run.
#[derive(Debug)]
struct SoFar<C> {
    record: Record<C>,
    before: [u64; 2],
    after: [u64; 2],
}

/// What can be reported.
pub(super) trait Report {
    /// Prints or writes it, once.
    fn report(&self);
}

thread_local! {
    static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(Vec::new())) };
}

/// What the main thread reports when it ends: devices that everybody shares are never dropped.
struct AtEnd(Vec<Weak<dyn Report>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|unasked| unasked.report());
    }
}

/// What the variable asks for.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn target(value: Option<&str>) -> Result<Option<Target>, String> {
    let is_json = |path: &str| Path::new(path).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    match value.map(str::trim) {
        None | Some("") => Ok(None),
        Some("table") => Ok(Some(Target::Table)),
        Some(path) if is_json(path) => Ok(Some(Target::Trace(path.into()))),
        Some(other) => {
            Err(format!("{VARIABLE}={other:?} is neither \"table\" nor the name of a .json file: nothing is profiled"))
        }
    }
}

impl<C> Unasked<C> {
    /// An empty record; `now` is what was compiled so far, plans and pipelines.
    pub fn new(target: Target, device: &str, ceilings: Option<Ceilings>, now: [u64; 2]) -> Self {
        let so_far = Mutex::new(Some(SoFar { record: Record::default(), before: now, after: now }));
        Self { target, device: device.to_owned(), since: Instant::now(), ceilings, so_far }
    }

    /// Whether it goes on.
    pub fn has_room(&self) -> bool {
        lock(&self.so_far).as_ref().is_some_and(|so_far| so_far.record.launches.len() < MOST)
    }

    /// Adds a run of a plan.
    pub fn add(&self, now: [u64; 2], compiled: &Arc<C>, plan: &Plan, layers: &Layers, launched: &[Launched]) {
        if let Some(so_far) = &mut *lock(&self.so_far) {
            so_far.after = now;
            so_far.record.add(compiled, plan, layers, launched);
        }
    }
}

/// Has the main thread report when it ends, if this is the main thread.
pub(super) fn report_at_end(unasked: Weak<dyn Report>) {
    if std::thread::current().name() == Some("main") {
        let _ = AT_END.try_with(|end| end.borrow_mut().0.push(unasked));
    }
}

impl<C> Report for Unasked<C> {
    fn report(&self) {
        let Some(SoFar { record, before, after }) = lock(&self.so_far).take() else { return };
        let full = record.launches.len() >= MOST;
        let profile = Profile {
            device: self.device.clone(),
            wall: self.since.elapsed(),
            runs: record.runs,
            plans: record.plans.len(),
            compiled: after[0] - before[0],
            pipelines: after[1] - before[1],
            ceilings: self.ceilings,
            launches: record.launches,
        };
        if profile.launches.is_empty() {
            return;
        }
        match &self.target {
            Target::Table => eprintln!("{profile}"),
            Target::Trace(path) => {
                let path = another(path);
                match atomic::write(&path, profile.to_chrome_trace().as_bytes()) {
                    Ok(()) => {
                        eprintln!("{VARIABLE}: {} launches on {} in {}", profile.launches.len(), self.device, path.display())
                    }
                    Err(error) => eprintln!("{VARIABLE}: {error}"),
                }
            }
        }
        if full {
            eprintln!("{VARIABLE}: only the first {MOST} launches are part of it");
        }
    }
}

impl<C> Drop for Unasked<C> {
    fn drop(&mut self) {
        self.report();
    }
}

/// The path for the first device that reports, and `name-2.json` and so on for further ones.
fn another(path: &Path) -> PathBuf {
    static REPORTS: AtomicU32 = AtomicU32::new(1);
    match REPORTS.fetch_add(1, Ordering::Relaxed) {
        1 => path.to_owned(),
        n => {
            let mut name = path.file_stem().unwrap_or_default().to_owned();
            name.push(format!("-{n}.json"));
            path.with_file_name(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_table_or_a_file() {
        for (value, expected) in [
            (None, None),
            (Some(" "), None),
            (Some("table"), Some(Target::Table)),
            (Some(" a/b.json "), Some(Target::Trace("a/b.json".into()))),
            (Some("B.JSON"), Some(Target::Trace("B.JSON".into()))),
        ] {
            assert_eq!(target(value), Ok(expected), "{value:?}");
        }
        for value in ["tables", "1", "json", ".json", "a.jsonl"] {
            assert!(target(Some(value)).is_err_and(|e| e.contains(value)), "{value}");
        }
    }
}
