//! What the kernels of the catalogue become: tables, and lines of JSON.

use crate::error::{Error, Result};
use crate::floors::{Floors, Row};
use crate::session::{Launch, Session, Submitted};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use wgrad_catalogue::Case;

/// WebGPU's default limits of a workgroup: threads, and bytes of memory.
const MAX_THREADS: u32 = 256;
const MAX_SHARED: f64 = 16384.0;

/// A case and its launches.
pub struct Outcome<'a> {
    /// What was evaluated.
    pub case: &'a Case,
    /// What ran.
    pub submitted: Submitted,
}

impl Outcome<'_> {
    /// The launches that multiply and add, most first, if the case is a product or a convolution.
    fn multiplying(&self) -> Vec<&Launch> {
        if self.case.multiply_adds == 0.0 {
            return Vec::new();
        }
        let mut found: Vec<&Launch> = self.submitted.launches.iter().filter(|l| l.multiply_adds() > 0.0).collect();
        found.sort_by(|a, b| b.multiply_adds().total_cmp(&a.multiply_adds()));
        found
    }

    /// Multiply-adds of the definition over those issued.
    pub fn useful(&self) -> Option<f64> {
        let issued: f64 = self.multiplying().iter().map(|l| l.multiply_adds()).sum();
        (issued > 0.0).then(|| self.case.multiply_adds / issued)
    }

    /// Bytes loaded in hot loops over the multiply-adds of the definition.
    pub fn bytes(&self) -> Option<f64> {
        let loaded = |l: &&Launch| l.multiply_adds() * l.kernel.code.hot().bytes_per_multiply_add();
        let loaded: f64 = self.multiplying().iter().map(loaded).sum();
        self.useful().map(|_| loaded / self.case.multiply_adds)
    }

    /// Bytes that the threads of all launches load and store, over the fewest that must move; none for products and convolutions,
    /// and where a loop depends on data.
    pub fn traffic(&self) -> Option<f64> {
        let moved = |l: &Launch| l.issued().as_ref().ok().map(|c| c.loaded + c.stored);
        let moved: Option<f64> = self.submitted.launches.iter().map(moved).sum();
        moved.filter(|_| self.case.multiply_adds == 0.0).map(|moved| moved / self.case.bytes)
    }

    /// The numbers that have floors.
    pub fn row(&self) -> Row {
        let most = |number: fn(&Launch) -> f64| self.submitted.launches.iter().map(number).fold(0.0, f64::max);
        vec![
            self.multiplying().first().map(|l| l.kernel.code.hot().share()),
            self.useful(),
            self.bytes(),
            Some(most(|l| l.kernel.registers())),
            Some(most(|l| l.kernel.spilled())),
            self.traffic(),
        ]
    }

    /// What no floor allows.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let name = &self.case.name;
        for launch in &self.submitted.launches {
            let kernel = &launch.kernel;
            if kernel.threads > MAX_THREADS || kernel.shared() > MAX_SHARED {
                let shared = kernel.shared();
                faults.push(format!(
                    "{name}: {}: {} threads and {shared} bytes of workgroup memory exceed WebGPU's limits",
                    kernel.name, kernel.threads
                ));
            }
            let multiplies = self.case.multiply_adds > 0.0 && kernel.code.hot().multiply_adds > 8;
            if let Some(why) = multiplies.then(|| launch.issued().as_ref().err()).flatten() {
                faults.push(format!("{name}: {}: its multiply-adds cannot be counted: {why}", kernel.name));
            }
            if kernel.name.starts_with("pipeline ") {
                faults.push(format!("{name}: {} has no label", kernel.name));
            }
        }
        if self.submitted.launches.is_empty() {
            faults.push(format!("{name}: nothing was launched"));
        }
        if self.case.multiply_adds > 0.0 && self.useful().is_none() {
            faults.push(format!("{name}: no launch multiplies and adds"));
        }
        faults
    }
}

/// Evaluates each case whose name or group contains a text, and hands its outcome on.
///
/// # Errors
/// The device's; [`Error::Unknown`] if there is no such case.
pub fn catalogue(session: &mut Session, only: Option<&str>, mut each: impl FnMut(&Outcome<'_>) -> Result<()>) -> Result<()> {
    let all = wgrad_catalogue::all();
    let mut chosen = all.iter().filter(|c| only.is_none_or(|text| c.name.contains(text) || c.group.contains(text))).peekable();
    if chosen.peek().is_none() {
        let mut groups: Vec<&str> = all.iter().map(|c| c.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        return Err(Error::Unknown { what: "case", name: only.unwrap_or("").into(), known: groups.join(", ") });
    }
    for case in chosen {
        let tensor = case.make(&session.device)?;
        session.take()?;
        tensor.eval()?;
        session.device.flush()?;
        let submitted = session.take()?;
        each(&Outcome { case, submitted })?;
    }
    Ok(())
}

/// Measures all groups of the catalogue on a family, and what no floor allows.
///
/// # Errors
/// The device's.
pub fn measure(session: &mut Session, family: &str) -> Result<(Floors, Vec<String>, usize)> {
    let (mut measured, mut faults, mut launches) = (Floors::default(), Vec::new(), 0);
    catalogue(session, None, |outcome| {
        measured.measure(family, &outcome.case.group, &outcome.row());
        faults.extend(outcome.faults());
        launches += outcome.submitted.launches.len();
        Ok(())
    })?;
    Ok((measured, faults, launches))
}

/// Prints the catalogue, and writes it to a file as lines of JSON.
///
/// # Errors
/// The device's and the file's.
pub fn print(session: &mut Session, only: Option<&str>, table: &Path) -> Result<()> {
    let mut file = File::create(table).map_err(Error::file(table))?;
    println!("# {}, {}", session.device.name(), session.driver);
    catalogue(session, only, |outcome| {
        let case = outcome.case;
        println!("\n## {} ({})", case.name, case.group);
        print!("   {:.3} G multiply-adds, {:.1} MB at least", case.multiply_adds / 1e9, case.bytes / 1e6);
        if let (Some(useful), Some(bytes)) = (outcome.useful(), outcome.bytes()) {
            print!("; useful {useful:.2}, {bytes:.2} bytes per useful multiply-add");
        }
        if let Some(traffic) = outcome.traffic() {
            print!("; threads load and store {traffic:.2} times that");
        }
        println!();
        header();
        for launch in &outcome.submitted.launches {
            row(launch);
            writeln!(file, "{}", line(case, launch)).map_err(Error::file(table))?;
        }
        Ok(())
    })
}

fn line(case: &Case, launch: &Launch) -> serde_json::Value {
    let (kernel, m) = (&launch.kernel, launch.kernel.code.hot());
    let issued = launch.issued().as_ref().ok();
    json!({
        "case": case.name, "group": case.group, "multiply_adds": case.multiply_adds, "bytes": case.bytes,
        "launch": kernel.name, "groups": launch.groups(), "threads": kernel.threads, "statistics": kernel.statistics,
        "issued": issued.map(|c| json!({ "multiply_adds": c.multiply_adds, "loaded": c.loaded, "stored": c.stored })),
        "hot": {
            "is_loop": kernel.code.hottest.is_some(), "multiply_adds": m.multiply_adds, "vector": m.vector, "scalar": m.scalar,
            "loads": m.loads, "load_bytes": m.load_bytes, "scalar_loads": m.scalar_loads, "stores": m.stores,
            "shared_reads": m.shared_reads, "shared_bytes": m.shared_bytes, "shared_writes": m.shared_writes, "waits": m.waits,
            "barriers": m.barriers, "scratch": m.scratch, "all": m.all,
        },
    })
}

/// The heading of [`row`].
pub fn header() {
    println!(
        "   {:<30} {:>7} {:>4} {:>4} {:>5} {:>5} {:>5} {:>6} {:>7} {:>8} {:>8} | {:>5} {:>6} {:>5} {:>6} {:>5} {:>6} {:>5} {:>6} {:>5}",
        "launch",
        "groups",
        "size",
        "regs",
        "spill",
        "LDS",
        "waves",
        "instr",
        "latency",
        "inverse",
        "G issued",
        "FMA",
        "vector",
        "share",
        "scalar",
        "loads",
        "B/FMA",
        "LDS",
        "B/FMA",
        "waits"
    );
}

/// A launch: workgroups, threads of one, registers, what spilled, workgroup memory, waves of 32 that fit, instructions, the
/// compiler's estimates of latency and inverse throughput, multiply-adds issued; then its hottest loop.
pub fn row(launch: &Launch) {
    let (k, m) = (&launch.kernel, launch.kernel.code.hot());
    let per = |n: usize| if m.multiply_adds == 0 { "-".into() } else { format!("{:.2}", n as f64 / m.multiply_adds as f64) };
    let issued = launch.issued().as_ref().map_or_else(|_| "?".into(), |c| format!("{:.3}", c.multiply_adds / 1e9));
    println!(
        "   {:<30} {:>7} {:>4} {:>4} {:>5} {:>5} {:>5} {:>6} {:>7} {:>8} {:>8} | {:>5} {:>6} {:>5.2} {:>6} {:>5} {:>6} {:>5} {:>6} {:>5}{}",
        k.name,
        launch.groups(),
        k.threads,
        k.registers(),
        k.spilled(),
        k.shared(),
        k.statistic("Subgroups per SIMD"),
        k.statistic("Instructions"),
        k.statistic("Latency"),
        k.statistic("Inverse Throughput"),
        issued,
        m.multiply_adds,
        m.vector,
        m.share(),
        m.scalar,
        m.loads,
        per(m.load_bytes),
        m.shared_reads,
        per(m.shared_bytes),
        m.waits,
        if k.code.hottest.is_some() { "" } else { "  (no loop)" }
    );
}
