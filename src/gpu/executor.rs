//! The executor's surface: memory in and out, and the queue that keeps their order.

use super::compiled::Compiled;
use super::context::{self, Context, Options};
use super::later::Mapping;
use super::loss::Point;
use super::memory::Memory;
use super::pipeline::Pipelines;
use super::program::Caps;
use super::readback::{Readback, read_mapped};
use super::staging::Staging;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::explain::LaunchTime;
use crate::storage::bindings::Bindings;
use crate::storage::gpu::Buffer;
use crate::sync::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// Queued uploads are submitted once they reach this many bytes.
const FLUSH_BYTES: u64 = 32 << 20;

/// Submissions under way before the host waits for the oldest: bounds what a loop that never reads can pile up.
const IN_FLIGHT: usize = 8;

/// Carries out plans on one GPU. All methods may be called from any thread; submissions keep the order of the calls.
#[derive(Debug)]
pub(crate) struct GpuExecutor {
    pub(super) context: Context,
    pub(super) memory: Memory,
    pub pipelines: Mutex<Pipelines>,
    /// One lock over encoding and submission.
    queue: Mutex<Queue>,
}

/// What the device has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Compiled pipelines.
    pub pipelines: u64,
    /// Bind groups made.
    pub bind_groups: u64,
    /// Buffers made by the driver, staging and readback included.
    pub buffers_created: u64,
    /// Buffers that values, slots and outputs hold.
    pub buffers_live: u64,
    /// Their bytes.
    pub bytes_live: u64,
    /// The most bytes that ever lived at once.
    pub bytes_peak: u64,
    /// Command submissions.
    pub submissions: u64,
    /// Kernel launches.
    pub dispatches: u64,
}

/// Work that waits for the next submission, in order.
#[derive(Debug)]
pub(super) enum Pending {
    /// Staged bytes to a buffer.
    Write {
        /// Staging memory.
        from: wgpu::Buffer,
        /// Its first byte.
        at: u64,
        /// Where the bytes go.
        to: Buffer,
    },
    /// One buffer to another.
    Copy(Buffer, Buffer),
    /// Zeros.
    Clear(Buffer),
    /// A buffer to the host.
    Read {
        /// What is read.
        from: Buffer,
        /// Where to.
        mapping: Mapping,
    },
}

/// The state behind the executor's lock.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub staging: Staging,
    pub readback: Readback,
    pub pending: Vec<Pending>,
    pending_bytes: u64,
    /// Slot i of every plan; grown to the largest that any plan asked for.
    pub slots: Vec<Option<Buffer>>,
    /// Scratch memory n of every step.
    pub scratch: Vec<Option<Buffer>>,
    /// Counts how often a slot or scratch buffer was replaced.
    pub generation: u64,
    pub bind_groups: u64,
    pub dispatches: u64,
    submissions: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// Copies to the host that are encoded and not yet submitted.
    pub(super) mappings: Vec<Mapping>,
}

impl GpuExecutor {
    /// Opens adapter number `index` of [`context::list`].
    pub fn open(index: usize, options: Options) -> Result<Self> {
        Ok(Self {
            context: context::open(index, options)?,
            memory: Memory::default(),
            pipelines: Mutex::default(),
            queue: Mutex::default(),
        })
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.context.info.name
    }

    /// What kernel choice may depend on.
    pub fn caps(&self) -> Caps {
        self.context.caps
    }

    /// The most bytes of one buffer.
    pub fn max_bytes(&self) -> u64 {
        // Memory is taken in grains of 16 bytes.
        self.context.caps.max_binding.min(self.context.limits.max_buffer_size) / 16 * 16
    }

    /// Whether it computes on the host's cores.
    pub fn is_software(&self) -> bool {
        self.context.info.is_software()
    }

    /// New memory that holds `data`. The bytes are staged now and copied by the next submission.
    ///
    /// # Errors
    /// F64 data, or out of memory.
    pub fn upload(&self, data: &HostData) -> Result<Buffer> {
        self.context.unless_lost(|| {
            if let HostData::F64(_) = data {
                return Err(no_f64());
            }
            let mut bytes = std::borrow::Cow::Borrowed(data.bytes());
            if bytes.len() % 4 != 0 {
                let whole = bytes.len().next_multiple_of(4);
                bytes.to_mut().resize(whole, 0);
            }
            let buffer = self.memory.take(&self.context, bytes.len() as u64, "a tensor")?;
            let mut queue = self.queue();
            queue.write(&self.context, &bytes, &buffer)?;
            if queue.pending_bytes > FLUSH_BYTES {
                queue.flush(&self.context)?;
            }
            Ok(buffer)
        })
    }

    /// New memory of `bytes` zero bytes.
    pub fn alloc(&self, bytes: u64) -> Result<Buffer> {
        self.context.unless_lost(|| {
            let buffer = self.memory.take(&self.context, bytes, "a tensor")?;
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
                let between = self.memory.take(&self.context, src.bytes, "a copy")?;
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
            let (target, submission) = {
                let mut queue = self.queue();
                let target = queue.readback.take(&self.context, bytes)?;
                let submission = self.context.scoped("read", || {
                    let mut encoder = self.context.encoder();
                    queue.encode_pending(&mut encoder);
                    encoder.copy_buffer_to_buffer(buffer.raw(), buffer.offset, &target, 0, bytes);
                    queue.submit(&self.context, encoder)
                })?;
                (target, submission)
            };
            let data = read_mapped(&self.context, &target, bytes, submission, |b| HostData::from_padded(dtype, b, len))?;
            self.queue().readback.give_back(target);
            Ok(data)
        })
    }

    /// Lowers a plan and compiles its pipelines; allocates nothing that depends on an evaluation.
    pub fn compile(&self, plan: Arc<Plan>) -> Result<Compiled> {
        self.context.unless_lost(|| Compiled::new(self, plan))
    }

    /// Carries out a plan. Per graph output, its buffer: a new one, or the leaf's where the output is a leaf.
    pub fn run(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<Option<Buffer>>> {
        self.context.unless_lost(|| {
            let mut queue = self.queue();
            super::run::run(self, &mut queue, compiled, bindings)
        })
    }

    /// Runs a plan with every launch timed; slower than [`GpuExecutor::run`], and the outputs are dropped.
    ///
    /// # Errors
    /// As for a run; the device cannot take timestamps.
    pub fn profile(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<LaunchTime>> {
        self.context.unless_lost(|| {
            let timed = {
                let mut queue = self.queue();
                super::profile::encode(self, &mut queue, compiled, bindings)?
            };
            timed.read(self, compiled)
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
            self.context.wait(None)
        })
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        let queue = self.queue();
        let memory = self.memory.counters();
        Counters {
            pipelines: lock(&self.pipelines).len() as u64,
            bind_groups: queue.bind_groups,
            buffers_created: memory.buffers_created + queue.staging.created() + queue.readback.created(),
            buffers_live: memory.buffers_live,
            bytes_live: memory.bytes_live,
            bytes_peak: memory.bytes_peak,
            submissions: queue.submissions,
            dispatches: queue.dispatches,
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Queue {
    /// Queues bytes for a buffer.
    pub fn write(&mut self, context: &Context, bytes: &[u8], to: &Buffer) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (from, at) = self.stage(context, bytes)?;
        self.pending_bytes += bytes.len() as u64;
        let to = to.range(0, bytes.len() as u64);
        self.pending.push(Pending::Write { from, at, to });
        Ok(())
    }

    /// Staging memory with `bytes` in it; waits for the GPU only if it is behind by a whole ring.
    fn stage(&mut self, context: &Context, bytes: &[u8]) -> Result<(wgpu::Buffer, u64)> {
        // Each wait frees what the oldest submission read.
        for _ in 0..=2 * IN_FLIGHT {
            if let Some(place) = self.staging.write(context, bytes)? {
                return Ok(place);
            }
            self.flush(context)?;
            let oldest = self.in_flight.pop_front();
            context.wait(oldest)?;
        }
        Err(Error::internal("staging memory does not come back from the GPU"))
    }

    /// Submits the queued copies by themselves.
    fn flush(&mut self, context: &Context) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        context.scoped("upload", || {
            let mut encoder = context.encoder();
            self.encode_pending(&mut encoder);
            self.submit(context, encoder);
        })
    }

    /// Moves the queued copies into an encoder.
    pub fn encode_pending(&mut self, encoder: &mut wgpu::CommandEncoder) {
        self.pending_bytes = 0;
        for work in self.pending.drain(..) {
            match work {
                Pending::Write { from, at, to } => encoder.copy_buffer_to_buffer(&from, at, to.raw(), to.offset, to.bytes),
                Pending::Copy(_, to) | Pending::Clear(to) if to.bytes == 0 => {}
                Pending::Copy(from, to) => {
                    encoder.copy_buffer_to_buffer(from.raw(), from.offset, to.raw(), to.offset, from.bytes);
                }
                Pending::Read { from, mapping } => {
                    mapping.encode(&from, encoder);
                    self.mappings.push(mapping);
                }
                Pending::Clear(to) => encoder.clear_buffer(to.raw(), to.offset, Some(to.bytes.next_multiple_of(4))),
            }
        }
    }

    /// Submits an encoder, after everything that it copies from staging memory was written.
    pub fn submit(&mut self, context: &Context, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        self.staging.seal();
        context.at(Point::Submit);
        let submission = context.queue.submit([encoder.finish()]);
        context.at(Point::Map);
        self.staging.recall();
        self.request_mappings();
        self.submissions += 1;
        self.in_flight.push_back(submission.clone());
        if self.in_flight.len() > IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            // A failure shows in the next call's check.
            let _ = context.wait(Some(oldest));
        }
        submission
    }
}

fn no_f64() -> Error {
    Error::Unsupported {
        op: "gpu",
        reason: "f64 does not exist on GPUs".into(),
        help: "cast to f32, or use the CPU device".into(),
    }
}
