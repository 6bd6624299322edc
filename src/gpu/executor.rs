//! The executor, and memory in and out of it. What it does with plans is in `compiled.rs`, `run.rs` and `profile.rs`; downloads
//! are in `download.rs`.

use super::context::{self, Context, Options};
use super::forms::Forms;
use super::memory::Memory;
use super::pace::Pace;
use super::pipeline::Pipelines;
use super::program::Caps;
use super::proof::{PROOF, Proof, checked};
use super::queue::{Pending, Queue};
use super::readback::read_mapped;
use super::watch::Job;
use crate::dtype::{DType, HostData};
use crate::ending;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::host::zeros;
use crate::plan::materialise;
use crate::site::FLAG;
use crate::storage::gpu::Buffer;
use crate::storage::pool::{Account, Holder, Workspace};
use crate::sync::lock;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

/// Runs plans on one GPU. All methods may be called from any thread; submissions keep the order of the calls.
#[derive(Debug)]
pub(crate) struct GpuExecutor {
    pub(super) context: Context,
    pub(super) memory: Memory,
    pub pipelines: Mutex<Pipelines>,
    pub(super) pace: Pace,
    pub forms: Forms,
    /// One lock over encoding and submission.
    queue: Mutex<Queue>,
}

/// What the device has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Pipelines compiled.
    pub pipelines: u64,
    /// Bind groups made.
    pub bind_groups: u64,
    /// Buffers made by the driver, staging and readback included.
    pub buffers_created: u64,
    /// Command submissions.
    pub submissions: u64,
    /// Kernel launches.
    pub dispatches: u64,
}

impl GpuExecutor {
    /// Opens an adapter of [`list`](super::adapters::list), by its number.
    pub fn open(adapter: usize, options: Options) -> Result<Self> {
        Self::over(context::open(adapter, options)?)
    }

    /// On a device that is open.
    pub(super) fn over(context: Context) -> Result<Self> {
        let memory = Memory::default();
        let aside = memory.pool().aside().clone();
        let pipelines = Pipelines::new(context.info.is_software(), aside.clone()).into();
        let queue = Queue::new(Proof::new(&context)?, &aside).into();
        ending::has_called();
        let (pace, forms) = (Pace::of(&context), Forms::of(&context));
        Ok(Self { context, memory, pipelines, pace, forms, queue })
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.context.info.name
    }

    /// What a trial's result depends on, in one line: the adapter, its driver, and the device's options.
    pub fn identity(&self) -> String {
        let Context { info, options, .. } = &self.context;
        // Results do not depend on how long waits may take.
        let options = Options { stall: None, ..*options };
        format!("{} {} {} {options:?}", info.name, info.backend, info.driver).replace(char::is_whitespace, " ")
    }

    /// What is to go wrong on purpose.
    pub fn faults(&self) -> Arc<Faults> {
        self.context.faults.clone()
    }

    /// Whether the device is gone for good.
    pub fn is_lost(&self) -> bool {
        self.context.check_lost().is_err()
    }

    /// What kernel choice may depend on.
    pub fn caps(&self) -> Caps {
        self.context.caps
    }

    /// Whether attention would run in the form for software adapters.
    pub fn is_software(&self) -> bool {
        self.forms.caps("attention", self.context.caps).software
    }

    /// The most bytes of one buffer.
    pub fn max_bytes(&self) -> u64 {
        // Memory is taken in grains of 16 bytes; what is read has its proof and a flag after it.
        let after = PROOF + 4 * FLAG as u64;
        self.context.caps.max_binding.min(self.context.limits.max_buffer_size.saturating_sub(after)) / 16 * 16
    }

    /// What its plans are made with.
    pub fn plan_options(&self) -> materialise::Options {
        let options = materialise::Options::of_gpu(self.max_bytes());
        if self.caps().software { options } else { options.on_hardware() }
    }

    /// New memory with `data` in it. The bytes are staged now and copied by the next submission.
    ///
    /// # Errors
    /// F64 data, or out of memory.
    pub fn upload(&self, data: &HostData) -> Result<Buffer> {
        match data {
            HostData::F64(_) => Err(no_f64()),
            _ => self.upload_bytes(data.bytes()),
        }
    }

    /// New memory with these bytes in it, which are staged now and copied by the next submission.
    ///
    /// # Errors
    /// Out of memory.
    pub fn upload_bytes(&self, bytes: &[u8]) -> Result<Buffer> {
        self.context.unless_lost(|| {
            let mut bytes = std::borrow::Cow::Borrowed(bytes);
            if bytes.len() % 4 != 0 {
                let whole = bytes.len().next_multiple_of(4);
                bytes.to_mut().resize(whole, 0);
            }
            self.memory.pool().begin();
            let buffer = self.memory.take(&self.context, bytes.len() as u64, Holder::Handle, "a tensor")?;
            let mut queue = self.queue();
            queue.write(&self.context, &bytes, &buffer)?;
            queue.flush_if_full(&self.context)?;
            Ok(buffer)
        })
    }

    /// New memory of `bytes` zero bytes.
    pub fn alloc(&self, bytes: u64) -> Result<Buffer> {
        self.context.unless_lost(|| {
            let buffer = self.memory.take(&self.context, bytes, Holder::Handle, "a tensor")?;
            self.queue().pending.push(Pending::Clear(buffer.clone()));
            Ok(buffer)
        })
    }

    /// Copies all of `src` to the start of `dst`, in order with runs and uploads.
    ///
    /// # Errors
    /// `dst` is smaller than `src`.
    pub fn copy(&self, src: &Buffer, dst: &Buffer) -> Result<()> {
        self.context.unless_lost(|| {
            if src.bytes > dst.bytes {
                return Err(Error::internal(format!("a copy of {} bytes into {}", src.bytes, dst.bytes)));
            }
            let mut queue = self.queue();
            if src.id() == dst.id() {
                // WebGPU forbids copies within one buffer.
                let between = self.memory.take(&self.context, src.bytes, Holder::Plan, "a copy")?;
                queue.pending.push(Pending::Copy(src.clone(), between.clone()));
                queue.pending.push(Pending::Copy(between, dst.clone()));
            } else {
                queue.pending.push(Pending::Copy(src.clone(), dst.clone()));
            }
            Ok(())
        })
    }

    /// The first `len` elements of a buffer. Blocks until the GPU has computed them.
    pub fn read(&self, buffer: &Buffer, dtype: DType, len: usize) -> Result<HostData> {
        self.context.unless_lost(|| {
            if dtype == DType::F64 {
                return Err(no_f64());
            }
            let bytes = dtype.bytes(len) as u64;
            if bytes > buffer.bytes {
                return Err(Error::internal(format!("a read of {bytes} bytes from {}", buffer.bytes)));
            }
            if bytes == 0 {
                return Ok(HostData::from_bytes(dtype, &[]));
            }
            if self.is_hollow() {
                let mut queue = self.queue();
                queue.flush(&self.context)?;
                queue.readback.pretend(bytes + PROOF);
                return zeros(dtype, len);
            }
            let (target, proof, submission) = {
                let mut queue = self.queue();
                let target = queue.readback.take(&self.context, bytes + PROOF)?;
                let (proof, submission) = self.context.scoped("read", || -> Result<_> {
                    let mut encoder = self.context.encoder();
                    if !queue.pending.is_empty() {
                        queue.encode_pending(&mut encoder);
                        queue.proof.count_apart(&mut encoder);
                    }
                    encoder.copy_buffer_to_buffer(buffer.raw(), buffer.offset, &target.buffer, 0, bytes);
                    let proof = queue.proof.append(&mut encoder, &target, bytes);
                    Ok((proof, queue.submit(&self.context, encoder, Job::transfer("a read"))?))
                })??;
                (target, proof, submission)
            };
            let data = read_mapped(&self.context, &target.buffer, bytes + PROOF, submission, |b| {
                checked(&self.context, b, proof).map(|b| HostData::from_padded(dtype, b, len))
            })??;
            self.queue().readback.give_back(target);
            Ok(data)
        })
    }

    /// Submits what is queued.
    pub fn submit(&self) -> Result<()> {
        self.context.unless_lost(|| self.queue().flush(&self.context))
    }

    /// Submits what is queued and blocks until the GPU is idle.
    pub fn wait(&self) -> Result<()> {
        self.context.unless_lost(|| {
            self.submit()?;
            self.context.wait(None, format_args!("all that was submitted"))
        })
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        let queue = self.queue();
        Counters {
            pipelines: lock(&self.pipelines).created(),
            bind_groups: queue.bind_groups,
            buffers_created: self.account().created + queue.staging.created() + queue.readback.created(),
            submissions: queue.submissions(),
            dispatches: queue.dispatches,
        }
    }

    /// What the device holds.
    pub fn account(&self) -> Account {
        self.memory.account()
    }

    /// The tally of bytes that are cached outside the pool.
    pub fn aside(&self) -> Arc<AtomicU64> {
        self.memory.pool().aside().clone()
    }

    /// Sets the bytes that may be cached: see [`Pool::allow`](crate::storage::pool::Pool::allow).
    pub fn allow(&self, bytes: u64, latest: u64) {
        self.memory.pool().allow(bytes, latest);
    }

    /// The uploads and runs so far.
    pub fn uses(&self) -> u64 {
        self.memory.pool().uses()
    }

    /// Sets the most bytes that the device may hold.
    pub fn limit_memory(&self, bytes: u64) {
        self.memory.pool().limit_to(bytes);
    }

    /// The most bytes that the device may hold.
    pub fn memory_limit(&self) -> u64 {
        self.memory.pool().limit()
    }

    /// Releases buffers that wait: see [`Pool::forget`](crate::storage::pool::Pool::forget).
    pub fn forget(&self, uses: u64) {
        self.memory.pool().forget(uses);
    }

    /// Shrinks slots and scratch memory to what a workspace wants, and releases staging memory of sizes that the latest
    /// `submissions` submissions have not needed.
    pub fn fit(&self, workspace: &Workspace, submissions: u64) {
        let mut queue = self.queue();
        queue.fit(workspace);
        queue.staging.trim(submissions);
    }

    /// Releases all memory that nobody uses except for slots and scratch memory, and waits until the driver has it.
    pub fn clear(&self) -> Result<()> {
        self.context.unless_lost(|| {
            let mut queue = self.queue();
            queue.flush(&self.context)?;
            self.context.wait(None, format_args!("memory that is given back"))?;
            queue.staging.trim(0);
            queue.readback.trim();
            drop(queue);
            self.memory.pool().clear();
            self.context.wait(None, format_args!("memory that is given back"))
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

fn no_f64() -> Error {
    Error::Unsupported {
        op: "gpu",
        reason: "f64 does not exist on GPUs".into(),
        help: "cast to f32, or use the CPU device".into(),
    }
}
