//! Uploads: bytes go into mapped staging buffers and from there, in order, at the head of the next submission.

use super::context::Context;
use crate::error::{Error, Result};
use crate::faults::FaultKind;
use crate::storage::pool::Counted;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of an ordinary staging buffer; larger uploads get powers of two.
const CHUNK: u64 = 1 << 20;

/// How many buffers of an ordinary size there are, and how many of each larger one. They are made together, so that a loop
/// makes none later, and a loop that is further ahead of the GPU than that waits.
const RING: usize = 4;
const LARGE_RING: usize = 2;

/// Staging buffers beyond this size serve one upload only.
const KEEP: u64 = 64 << 20;

/// A buffer that the host can map, and its bytes in the device's account.
#[derive(Debug)]
pub(crate) struct Mappable {
    pub buffer: wgpu::Buffer,
    /// The proof that it held last: see [`super::proof`]. Beyond 32 bits: none.
    proof: AtomicU64,
    _counted: Counted,
}

impl Mappable {
    /// Counts a buffer's bytes as long as it lives.
    pub fn new(buffer: wgpu::Buffer, tally: &Arc<AtomicU64>) -> Self {
        let _counted = Counted::new(buffer.size(), tally);
        Self { buffer, proof: AtomicU64::new(u64::MAX), _counted }
    }

    /// The proof that it held last.
    pub fn proof(&self) -> Option<u32> {
        self.proof.load(Ordering::Relaxed).try_into().ok()
    }

    /// It holds this one, or will.
    pub fn holds(&self, proof: u32) {
        self.proof.store(proof.into(), Ordering::Relaxed);
    }
}

/// The size of the buffers that serve `size` bytes, and how many there are.
fn class(size: u64) -> (u64, usize) {
    if size <= CHUNK { (CHUNK, RING) } else { (size.next_power_of_two(), LARGE_RING) }
}

/// The buffers of one size.
#[derive(Debug, Default, Clone, Copy)]
struct Ring {
    /// How many there are, free or under way.
    made: usize,
    /// The submission that was the latest when one was last asked for.
    used: u64,
}

/// Mapped staging buffers that take turns.
#[derive(Debug)]
pub(crate) struct Staging {
    /// Mapped and empty.
    free: Vec<Mappable>,
    /// Mapped, with the bytes used so far.
    open: Vec<(Mappable, u64)>,
    /// Unmapped, with copies out of them encoded.
    sealed: Vec<Mappable>,
    /// Come back here, mapped, once the GPU has read them; of one that the driver does not map any more, its size.
    returned: Receiver<Result<Mappable, u64>>,
    back: Sender<Result<Mappable, u64>>,
    rings: HashMap<u64, Ring>,
    submissions: u64,
    created: u64,
    tally: Arc<AtomicU64>,
    /// On a device without memory: the bytes of each size's ring.
    pretended: HashMap<u64, Counted>,
}

impl Staging {
    /// None yet; their bytes will be in the tally.
    pub fn new(tally: Arc<AtomicU64>) -> Self {
        let (back, returned) = channel();
        Self {
            free: Vec::new(),
            open: Vec::new(),
            sealed: Vec::new(),
            returned,
            back,
            rings: HashMap::new(),
            submissions: 0,
            created: 0,
            tally,
            pretended: HashMap::new(),
        }
    }

    /// Counts what an upload of `size` bytes takes, on a device that makes none.
    pub fn pretend(&mut self, size: u64) {
        if size > KEEP {
            return;
        }
        let (class, wanted) = class(size);
        self.rings.entry(class).or_default().used = self.submissions;
        let tally = &self.tally;
        self.pretended.entry(class).or_insert_with(|| Counted::new(class * wanted as u64, tally));
    }

    /// As after a submission and its end.
    pub fn pretend_submission(&mut self) {
        self.submissions += 1;
    }

    /// Puts bytes (a multiple of 4, at least 4) into staging memory; returns the buffer and offset to copy from, or `None` if
    /// all staging memory is under way: the caller then submits what is queued, waits, and asks again.
    pub fn write(&mut self, context: &Context, bytes: &[u8]) -> Result<Option<(wgpu::Buffer, u64)>> {
        let size = bytes.len() as u64;
        let at = match self.open.iter().position(|(b, used)| used + size <= b.buffer.size()) {
            Some(at) => at,
            None => {
                let Some(buffer) = self.mapped(context, size)? else { return Ok(None) };
                self.open.push((buffer, 0));
                self.open.len() - 1
            }
        };
        let (chunk, used) = &mut self.open[at];
        let offset = *used;
        let mut view = chunk
            .buffer
            .slice(offset..offset + size)
            .get_mapped_range_mut()
            .map_err(|e| Error::internal(format!("staging memory is not mapped: {e}")))?;
        view.copy_from_slice(bytes);
        drop(view);
        // Mapped ranges start at multiples of 8.
        *used = (offset + size).next_multiple_of(8);
        Ok(Some((chunk.buffer.clone(), offset)))
    }

    /// Before a submission: what was written may now be copied from.
    pub fn seal(&mut self) {
        for (chunk, _) in self.open.drain(..) {
            chunk.buffer.unmap();
            self.sealed.push(chunk);
        }
    }

    /// After the submission: asks for the buffers back.
    pub fn recall(&mut self, context: &Context) {
        self.submissions += 1;
        for chunk in self.sealed.drain(..) {
            if chunk.buffer.size() > KEEP {
                continue;
            }
            let (back, buffer) = (self.back.clone(), chunk.buffer.clone());
            let refused = context.faults.strikes(FaultKind::Map);
            buffer.slice(..).map_async(wgpu::MapMode::Write, move |result| {
                let mapped = result.is_ok() && !refused;
                // The receiver is gone only when the device is.
                let _ = back.send(if mapped { Ok(chunk) } else { Err(chunk.buffer.size()) });
            });
        }
    }

    /// Takes what has come back.
    fn collect(&mut self) {
        for chunk in self.returned.try_iter() {
            match chunk {
                Ok(chunk) => self.free.push(chunk),
                Err(size) => {
                    if let Some(ring) = self.rings.get_mut(&size) {
                        ring.made = ring.made.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// Releases free buffers of sizes that nobody has asked for in the latest `submissions` submissions.
    pub fn trim(&mut self, submissions: u64) {
        self.collect();
        let (rings, now) = (&mut self.rings, self.submissions);
        self.pretended.retain(|class, _| rings.get(class).is_some_and(|ring| ring.used + submissions > now));
        self.free.retain(|chunk| match rings.get_mut(&chunk.buffer.size()) {
            Some(ring) if ring.used + submissions <= now => {
                ring.made -= 1;
                false
            }
            _ => true,
        });
    }

    /// Adds up the buffers, all of which must have come back.
    #[cfg(test)]
    pub fn bytes(&mut self) -> u64 {
        self.collect();
        self.free.iter().map(|chunk| chunk.buffer.size()).sum()
    }

    /// How many buffers were made.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// A free buffer of the size that serves `size` bytes; the first request of a size makes its ring.
    fn mapped(&mut self, context: &Context, size: u64) -> Result<Option<Mappable>> {
        if size > KEEP {
            return self.create(context, size.next_multiple_of(8)).map(Some);
        }
        let (class, wanted) = class(size);
        self.rings.entry(class).or_default().used = self.submissions;
        if !self.free.iter().any(|b| b.buffer.size() == class) {
            // Runs the callbacks of mappings that are done.
            context.poll(wgpu::PollType::Poll, false)?;
            self.collect();
        }
        let mut ring = self.rings.get(&class).copied().unwrap_or_default();
        while ring.made < wanted {
            let chunk = self.create(context, class)?;
            self.free.push(chunk);
            ring.made += 1;
            self.rings.insert(class, ring);
        }
        let fit = self.free.iter().position(|b| b.buffer.size() == class);
        Ok(fit.map(|i| self.free.swap_remove(i)))
    }

    fn create(&mut self, context: &Context, size: u64) -> Result<Mappable> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("staging"),
            size,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        let refused = |reason| Error::out_of_memory(size, format!("staging memory: {reason}"), "upload in smaller pieces");
        let buffer = context.guarded(|device| device.create_buffer(&descriptor)).map_err(refused)?;
        self.created += 1;
        Ok(Mappable::new(buffer, &self.tally))
    }
}
