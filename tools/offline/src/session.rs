//! A device of RADV's that is not there, and what the layer wrote down about what was done with it.

use crate::error::{Error, Result};
use crate::event::{Dispatch, Event};
use crate::isa::Code;
use crate::spirv::{Counts, Module, Unreadable};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use wgrad::{Device, DeviceKind, DeviceOptions};

/// A compiled pipeline.
#[derive(Debug)]
pub struct Kernel {
    /// Its label, which is its program's name.
    pub name: String,
    /// Threads of a workgroup.
    pub threads: u32,
    /// The driver's statistics.
    pub statistics: BTreeMap<String, f64>,
    /// Its machine code.
    pub code: Code,
    /// Its SPIR-V.
    pub module: std::result::Result<Module, Unreadable>,
}

impl Kernel {
    /// One of the driver's statistics; not a number if it has none of this name.
    pub fn statistic(&self, name: &str) -> f64 {
        self.statistics.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Vector registers.
    pub fn registers(&self) -> f64 {
        self.statistic("VGPRs")
    }

    /// Registers that did not fit, and bytes of memory for them.
    pub fn spilled(&self) -> f64 {
        self.statistic("Spilled VGPRs") + self.statistic("Spilled SGPRs") + self.statistic("Scratch size")
    }

    /// Bytes of workgroup memory.
    pub fn shared(&self) -> f64 {
        self.statistic("LDS size")
    }
}

/// A dispatch of a kernel.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What runs.
    pub kernel: Rc<Kernel>,
    /// Where.
    pub dispatch: Dispatch,
    issued: OnceCell<std::result::Result<Counts, Unreadable>>,
}

impl Launch {
    /// A launch whose multiply-adds are counted when they are asked for.
    pub fn new(kernel: Rc<Kernel>, dispatch: Dispatch) -> Self {
        Self { kernel, dispatch, issued: OnceCell::new() }
    }

    /// What it issues.
    pub fn issued(&self) -> &std::result::Result<Counts, Unreadable> {
        self.issued.get_or_init(|| {
            let uniforms = self.dispatch.bindings.iter().filter(|b| !b.uniform.is_empty());
            let uniforms = uniforms.map(|b| (b.binding, b.uniform.clone())).collect();
            let module = self.kernel.module.as_ref().map_err(Clone::clone)?;
            module.issued(self.dispatch.grid, &uniforms)
        })
    }

    /// Workgroups.
    pub fn groups(&self) -> u64 {
        self.dispatch.grid.iter().map(|&n| u64::from(n)).product()
    }

    /// Threads of all workgroups.
    pub fn threads(&self) -> u64 {
        self.groups() * u64::from(self.kernel.threads)
    }

    /// Multiply-adds issued, in lanes; 0 if they cannot be counted.
    pub fn multiply_adds(&self) -> f64 {
        self.issued().as_ref().map_or(0.0, |counts| counts.multiply_adds)
    }
}

/// What was submitted, in order.
#[derive(Debug, Default)]
pub struct Submitted {
    /// Dispatches.
    pub launches: Vec<Launch>,
    /// Barriers between them.
    pub barriers: usize,
    /// Copies of buffers.
    pub copies: usize,
    /// Submissions to the queue.
    pub submissions: usize,
}

/// The device and its log.
pub struct Session {
    /// The null device.
    pub device: Device,
    /// The driver's name and version, such as `radv, Mesa 22.3.6`.
    pub driver: String,
    log: Option<(PathBuf, File)>,
    folder: PathBuf,
    /// The end of a line that was not complete.
    rest: String,
    pipelines: HashMap<usize, ([u32; 3], BTreeMap<String, f64>)>,
    labels: HashMap<usize, String>,
    kernels: HashMap<usize, Rc<Kernel>>,
}

impl Session {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NotChecked`] if RADV makes none.
    pub fn new() -> Result<Self> {
        let list = Device::list();
        let null = list.iter().find(|d| d.kind == DeviceKind::Gpu && d.name.contains("RADV"));
        let null = null.ok_or_else(|| Error::NotChecked("RADV offers no device of this family".into()))?;
        // It computes nothing, and would fail every test of its kernels. How work is split into submissions depends on how fast a
        // device is, which it is not: nothing is split.
        let submission = Some(Duration::from_secs(1 << 20));
        // As in a release build: runtime checks would be more than half of what tiles in workgroup memory compute.
        let options = DeviceOptions { self_test: Some(false), checks: Some(false), submission, ..DeviceOptions::default() };
        let device = Device::open(null, options)?;
        let log = match std::env::var_os("WGRAD_OFFLINE_LOG").map(PathBuf::from) {
            Some(path) => Some((path.clone(), File::open(&path).map_err(Error::file(&path))?)),
            None => None,
        };
        let folder = std::env::var_os("WGRAD_OFFLINE_ASM").map(PathBuf::from).unwrap_or_default();
        Ok(Self {
            device,
            driver: null.driver.clone(),
            log,
            folder,
            rest: String::new(),
            pipelines: HashMap::new(),
            labels: HashMap::new(),
            kernels: HashMap::new(),
        })
    }

    /// Mesa's version.
    pub fn mesa(&self) -> Option<&str> {
        let (_, rest) = self.driver.split_once("Mesa ")?;
        rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()
    }

    /// What was submitted since the last call.
    pub fn take(&mut self) -> Result<Submitted> {
        let mut found = Submitted::default();
        for event in self.events()? {
            match event {
                Event::Pipeline { number, local, statistics } => _ = self.pipelines.insert(number, (local, statistics)),
                Event::Label { pipeline, label } => _ = self.labels.insert(pipeline, label),
                Event::Dispatch(dispatch) => found.launches.push(self.launch(dispatch)?),
                Event::Barrier(_) => found.barriers += 1,
                Event::Copy(_) => found.copies += 1,
                Event::Submission(_) => found.submissions += 1,
            }
        }
        Ok(found)
    }

    /// The pipeline that was compiled last.
    pub fn last(&mut self) -> Result<Option<Rc<Kernel>>> {
        self.take()?;
        let Some(&number) = self.pipelines.keys().max() else { return Ok(None) };
        self.kernel(number).map(Some)
    }

    fn events(&mut self) -> Result<Vec<Event>> {
        let Some((path, file)) = &mut self.log else { return Ok(Vec::new()) };
        let mut text = std::mem::take(&mut self.rest);
        file.read_to_string(&mut text).map_err(Error::file(&*path))?;
        let end = text.rfind('\n').map_or(0, |n| n + 1);
        self.rest = text.split_off(end);
        let parse = |line| serde_json::from_str(line).map_err(|e| Error::Start(format!("{}: {e}: {line}", path.display())));
        text.lines().map(parse).collect()
    }

    fn launch(&mut self, dispatch: Dispatch) -> Result<Launch> {
        let kernel = self.kernel(dispatch.pipeline)?;
        Ok(Launch::new(kernel, dispatch))
    }

    fn kernel(&mut self, number: usize) -> Result<Rc<Kernel>> {
        if let Some(kernel) = self.kernels.get(&number) {
            return Ok(kernel.clone());
        }
        let code = self.folder.join(format!("{number:04}.s"));
        let code = std::fs::read_to_string(&code).map_err(Error::file(&code))?;
        let words = self.folder.join(format!("{number:04}.spv"));
        let bytes = std::fs::read(&words).map_err(Error::file(&words))?;
        let word = |c: &[u8]| c.try_into().map(u32::from_le_bytes).unwrap_or_default();
        let words: Vec<u32> = bytes.chunks_exact(4).map(word).collect();
        let (local, statistics) = self.pipelines.get(&number).cloned().unwrap_or_default();
        let kernel = Rc::new(Kernel {
            name: self.labels.get(&number).cloned().unwrap_or_else(|| format!("pipeline {number}")),
            threads: local.iter().product(),
            statistics,
            code: Code::parse(&code),
            module: Module::parse(&words),
        });
        self.kernels.insert(number, kernel.clone());
        Ok(kernel)
    }
}
