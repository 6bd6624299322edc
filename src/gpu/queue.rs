//! The queue of a device: copies that wait, submissions under way, and the memory that all plans share.

use super::context::Context;
use super::failure::Point;
use super::proof::{PROOF, Proof};
use super::readback::Readback;
use super::staging::{Mappable, Staging};
use super::watch::Job;
use crate::error::{Error, Result};
use crate::faults::FaultKind;
use crate::storage::gpu::{Buffer, padded};
use crate::storage::pool::Workspace;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Queued uploads are submitted once they reach this many bytes.
const FLUSH_BYTES: u64 = 32 << 20;

/// Submissions under way before the host waits for the oldest: bounds what a loop that never reads can pile up.
const IN_FLIGHT: usize = 8;

/// What an error says that a driver refused if it does not take work.
const SUBMISSION: &str = "a submission";

/// A copy to the host waits for a submission.
pub(super) const QUEUED: u8 = 0;
/// Its submission is under way.
pub(super) const SUBMITTED: u8 = 1;
/// Its bytes can be read.
pub(super) const MAPPED: u8 = 2;
/// The driver refused to map it.
pub(super) const FAILED: u8 = 3;

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
#[derive(Debug)]
pub(super) struct Queue {
    pub proof: Proof,
    pub staging: Staging,
    pub readback: Readback,
    /// Until they are submitted: if the driver refuses a submission, the next one makes them. They hold what they refer to: a
    /// buffer that nobody holds may be destroyed.
    pub pending: Vec<Pending>,
    pending_bytes: u64,
    /// Slot i of every plan; as large as any plan in the cache needs.
    pub slots: Vec<Option<Buffer>>,
    /// Buffer n of every plan that is for scratch memory alone.
    pub scratch: Vec<Option<Buffer>>,
    pub bind_groups: u64,
    pub dispatches: u64,
    submissions: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
}

/// A copy that was encoded and is mapped once its submission is under way.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Where the bytes go.
    pub target: Arc<Mappable>,
    /// How many they are.
    pub bytes: u64,
    /// What comes after their proof.
    pub flag: Option<Buffer>,
    /// How far it is.
    pub progress: Arc<Progress>,
}

/// How far a copy to the host is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// [`QUEUED`] and so on.
    pub state: AtomicU8,
    /// The proof that arrives after it, known once it is submitted.
    pub proof: AtomicU32,
}

impl Queue {
    /// Nothing queued; the bytes of memory for transfers will be in the tally.
    pub fn new(proof: Proof, tally: &Arc<AtomicU64>) -> Self {
        Self {
            proof,
            staging: Staging::new(tally.clone()),
            readback: Readback::new(tally.clone()),
            pending: Vec::new(),
            pending_bytes: 0,
            slots: Vec::new(),
            scratch: Vec::new(),
            bind_groups: 0,
            dispatches: 0,
            submissions: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Releases slots and scratch memory that are larger than a workspace needs. The next run makes what it lacks.
    pub fn fit(&mut self, workspace: &Workspace) {
        for (held, wanted) in [(&mut self.slots, &workspace.slots), (&mut self.scratch, &workspace.scratch)] {
            for (n, place) in held.iter_mut().enumerate() {
                let wanted = wanted.get(n).map_or(0, |&bytes| padded(bytes));
                if let Some(large) = place.take_if(|b| b.size() > wanted) {
                    large.discard();
                }
            }
            held.truncate(held.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        }
    }

    /// Queues bytes for a buffer.
    pub fn write(&mut self, context: &Context, bytes: &[u8], to: &Buffer) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let to = to.range(0, bytes.len() as u64);
        if context.hollow.is_some() {
            self.staging.pretend(bytes.len() as u64);
            self.pending_bytes += bytes.len() as u64;
            self.pending.push(Pending::Clear(to));
            return Ok(());
        }
        let (from, at) = self.stage(context, bytes)?;
        self.pending_bytes += bytes.len() as u64;
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
            context.wait(oldest, format_args!("memory to upload {} bytes", bytes.len()))?;
        }
        Err(Error::internal("staging memory does not come back from the GPU"))
    }

    /// Submits the queued copies if they are many.
    pub fn flush_if_full(&mut self, context: &Context) -> Result<()> {
        if self.pending_bytes > FLUSH_BYTES { self.flush(context) } else { Ok(()) }
    }

    /// How many submissions were made.
    pub fn submissions(&self) -> u64 {
        self.submissions
    }

    /// Submits the queued copies by themselves.
    pub fn flush(&mut self, context: &Context) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if context.hollow.is_some() {
            self.let_go();
            return Ok(());
        }
        context.scoped("upload", || {
            let mut encoder = context.encoder();
            self.encode_pending(&mut encoder);
            self.proof.count_apart(&mut encoder);
            self.submit(context, encoder, Job::transfer("copies")).map(drop)
        })?
    }

    /// Drops the queued copies, on a device that makes none.
    pub fn let_go(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.staging.pretend_submission();
    }

    /// Encodes the queued copies, all of which the same encoder's submission makes.
    pub fn encode_pending(&mut self, encoder: &mut wgpu::CommandEncoder) {
        for work in &self.pending {
            match work {
                Pending::Write { from, at, to } => encoder.copy_buffer_to_buffer(from, *at, to.raw(), to.offset, to.bytes),
                Pending::Copy(_, to) | Pending::Clear(to) if to.bytes == 0 => {}
                Pending::Copy(from, to) => {
                    encoder.copy_buffer_to_buffer(from.raw(), from.offset, to.raw(), to.offset, from.bytes);
                }
                Pending::Read { from, mapping } => mapping.encode(from, encoder, &mut self.proof),
                Pending::Clear(to) => encoder.clear_buffer(to.raw(), to.offset, Some(to.bytes.next_multiple_of(4))),
            }
        }
    }

    /// Submits an encoder with all queued copies, which counts itself at its end, after everything that it copies from staging
    /// memory was written. While too many are under way it waits for the oldest.
    ///
    /// # Errors
    /// The driver refuses it, or there is no memory for it: then none of it runs, and the copies are queued as before. A lost
    /// device.
    pub fn submit(&mut self, context: &Context, encoder: wgpu::CommandEncoder, job: Job) -> Result<wgpu::SubmissionIndex> {
        let submitted = self.try_submit(context, encoder);
        let submission = submitted.inspect_err(|_| self.proof.forget())?;
        self.proof.confirm();
        context.at(Point::Map);
        self.staging.recall(context);
        self.pending_bytes = 0;
        for work in self.pending.drain(..) {
            if let Pending::Read { mapping, .. } = work {
                mapping.request(context);
            }
        }
        self.submissions += 1;
        context.watch.submitted(&context.queue, self.submissions, job);
        self.in_flight.push_back(submission.clone());
        Ok(submission)
    }

    fn try_submit(&mut self, context: &Context, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex> {
        // Before it is made: a wait that fails must not leave one behind that the caller does not know of.
        if self.in_flight.len() >= IN_FLIGHT {
            let oldest = self.in_flight.pop_front();
            context.wait(oldest, format_args!("the oldest of {IN_FLIGHT} submissions under way"))?;
        }
        self.staging.seal();
        context.at(Point::Submit);
        context.unless_fault(FaultKind::Submission, SUBMISSION)?;
        let encoder = context.unless_killed(encoder);
        context.scoped(SUBMISSION, || {
            let commands = encoder.finish();
            context.gate.pass(|| context.queue.submit([commands]))
        })
    }
}

impl Mapping {
    /// Encodes the copy.
    fn encode(&self, from: &Buffer, encoder: &mut wgpu::CommandEncoder, proof: &mut Proof) {
        encoder.copy_buffer_to_buffer(from.raw(), from.offset, &self.target.buffer, 0, self.bytes);
        self.progress.proof.store(proof.append(encoder, &self.target, self.bytes), Ordering::Release);
        if let Some(flag) = &self.flag {
            encoder.copy_buffer_to_buffer(flag.raw(), flag.offset, &self.target.buffer, self.bytes + PROOF, flag.bytes);
        }
    }

    /// Asks for the mapping; its submission is under way.
    fn request(self, context: &Context) {
        let progress = self.progress.clone();
        let refused = context.faults.strikes(FaultKind::Map);
        progress.state.store(SUBMITTED, Ordering::Release);
        let flag = self.flag.map_or(0, |flag| flag.bytes);
        self.target.buffer.slice(..self.bytes + PROOF + flag).map_async(wgpu::MapMode::Read, move |result| {
            progress.state.store(if result.is_ok() && !refused { MAPPED } else { FAILED }, Ordering::Release);
        });
    }
}
