//! A bench for single kernels: lowered programs on any adapter, through the engine's own device, pipelines and bind groups.

use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::gpu::compiled::Layout;
use crate::gpu::context::Context;
use crate::gpu::memory::Memory;
use crate::gpu::pipeline::{Pipeline, Pipelines};
use crate::gpu::program::{Lowered, Operand};
use crate::gpu::readback::{Readback, read_mapped};
use crate::gpu::timestamps::{Timestamps, seconds};
use crate::graph::View;
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::plan::{Expr, Term};
use crate::shape::Shape;
use crate::storage::gpu::Buffer;
use crate::storage::pool::Holder;
use crate::sync::lock;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// An open device, with memory and pipelines of its own.
pub(crate) struct Lab {
    /// The device.
    pub context: Context,
    memory: Memory,
    pipelines: Mutex<Pipelines>,
}

/// A lowered step with its memory, ready to run again and again.
pub(crate) struct Prepared {
    launches: Vec<(Arc<Pipeline>, wgpu::BindGroup, [u32; 3])>,
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests look at results"))]
    written: Vec<Guarded>,
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests look at results"))]
    scratch: Vec<Guarded>,
    /// The programs' names.
    pub name: String,
}

/// Sentinels of 32 bits before and after all memory that a program binds: 1,024 of them, and what rounds a value up to 16 bytes.
const GUARD: u64 = 1024 * 4;
/// A sentinel: as f32 a NaN that no arithmetic makes, as i32 an index far outside.
const SENTINEL: u32 = 0xFFA5_FFA5;

/// Memory between sentinels.
struct Guarded {
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests look at sentinels"))]
    whole: Buffer,
    /// The value, which starts at [`GUARD`].
    value: Buffer,
}

/// Memory that programs bind beyond reads and scratch: the written tensor or an optimizer's arenas.
pub(crate) struct Target {
    /// What binds it.
    pub operand: Operand,
    /// Its contents before the run.
    pub data: HostData,
}

/// How times are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The adapter's timestamps, around passes.
    Timestamps,
    /// The time of all this process's threads divided by the cores, as if nothing else ran on the machine: for adapters that
    /// compute on the host's cores.
    Processor,
    /// The host's clock, around submissions.
    Wall,
}

/// Samples that a time is the median of.
const SAMPLES: usize = 7;

impl Lab {
    /// A lab on an open device.
    pub fn new(context: Context) -> Self {
        Self { context, memory: Memory::default(), pipelines: Mutex::default() }
    }

    /// Compiles and binds. `reads` are the step's reads, `targets` what it writes. Scalars and random keys are 0.
    ///
    /// # Errors
    /// A program does not compile, binds what is not there, or does not fit its buffers; out of memory.
    #[allow(clippy::cast_possible_truncation, reason = "sizes of the lab are small")]
    pub fn load(&self, lowered: &Lowered, reads: &[HostData], targets: &[Target]) -> Result<Prepared> {
        let inputs: Vec<_> = reads.iter().map(|d| self.guarded(d.bytes())).collect::<Result<_>>()?;
        let scratch: Vec<_> = lowered.scratch.iter().map(|&n| self.guarded(&vec![0xFF; n as usize])).collect::<Result<_>>()?;
        let written: Vec<_> = targets.iter().map(|t| self.guarded(t.data.bytes())).collect::<Result<_>>()?;
        let value = |operand: Operand| {
            let found = match operand {
                Operand::Read(k) => inputs.get(k),
                Operand::ScratchRead(n) | Operand::ScratchWrite(n) => scratch.get(n),
                Operand::Write | Operand::Written | Operand::Moments | Operand::Further(_) | Operand::Arena(_) => {
                    let target = if operand == Operand::Written { Operand::Write } else { operand };
                    targets.iter().position(|t| t.operand == target).and_then(|n| written.get(n))
                }
            };
            found.map(|g| g.value.clone()).ok_or_else(|| Error::internal(format!("{operand:?} has no memory in the lab")))
        };
        let pipelines = lock(&self.pipelines).all(&self.context, lowered.programs.iter()).map_err(|(_, error)| error)?;
        let records = Layout::of(lowered.programs.iter(), &self.context.limits);
        let record = self.memory.take(&self.context, records.template.len() as u64, Holder::Plan, "records")?;
        self.context.queue.write_buffer(record.raw(), 0, &records.template);
        let mut launches = Vec::new();
        for ((program, pipeline), place) in lowered.programs.iter().zip(pipelines).zip(&records.places) {
            let operands: Vec<Buffer> = program.operands.iter().map(|&o| value(o)).collect::<Result<_>>()?;
            let record = record.range(place.start, place.end - place.start);
            let group = pipeline.bind(&self.context, &program.name, &record, &operands)?;
            launches.push((pipeline, group, program.grid));
        }
        let name = lowered.programs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("+");
        Ok(Prepared { launches, written, scratch, name })
    }

    /// Memory with `data` between sentinels.
    #[allow(clippy::cast_possible_truncation, reason = "sizes of the lab are small")]
    fn guarded(&self, data: &[u8]) -> Result<Guarded> {
        let size = (data.len().max(4) as u64).next_multiple_of(16) + 2 * GUARD;
        let whole = self.memory.take(&self.context, size, Holder::Plan, "a kernel's memory")?;
        let mut bytes = SENTINEL.to_le_bytes().repeat((size / 4) as usize);
        bytes[GUARD as usize..][..data.len()].copy_from_slice(data);
        self.context.queue.write_buffer(whole.raw(), 0, &bytes);
        Ok(Guarded { value: whole.range(GUARD, data.len() as u64), whole })
    }

    /// Runs a prepared step `times` times and waits.
    pub fn repeat(&self, prepared: &Prepared, times: usize) -> Result<()> {
        let submission = self.context.scoped(&prepared.name, || {
            let mut encoder = self.context.encoder();
            prepared.encode(times, &mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
            self.context.queue.submit([encoder.finish()])
        })?;
        self.context.wait(Some(submission), format_args!("a kernel"))
    }

    /// The clock that [`Lab::time`] uses.
    pub fn clock(&self) -> Clock {
        match (self.context.info.is_software(), self.context.timestamps) {
            (true, _) if cpu_seconds().is_some() => Clock::Processor,
            (_, true) => Clock::Timestamps,
            (_, false) => Clock::Wall,
        }
    }

    /// Milliseconds of the first run on the host's clock (with compilation by the driver), and of a run, as the median over
    /// about `budget` seconds.
    #[allow(clippy::cast_possible_truncation, reason = "sizes of the lab are small")]
    pub fn time(&self, prepared: &Prepared, budget: f64) -> Result<(f64, f64)> {
        let wall = |times: usize| -> Result<f64> {
            let start = Instant::now();
            self.repeat(prepared, times)?;
            Ok(start.elapsed().as_secs_f64())
        };
        let first = wall(1)?;
        let once = wall(1)?.max(1e-6);
        let times = ((budget / (SAMPLES + 1) as f64 / once) as usize).clamp(1, 500);
        let mut samples = match self.clock() {
            Clock::Timestamps => self.timestamps(prepared, times)?,
            Clock::Processor => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
                let sample = |_| -> Result<f64> {
                    let before = cpu_seconds();
                    let wall = wall(times)?;
                    Ok(before.zip(cpu_seconds()).map_or(wall, |(a, b)| (b - a) / cores))
                };
                (0..SAMPLES).map(sample).collect::<Result<_>>()?
            }
            Clock::Wall => (0..SAMPLES).map(|_| wall(times)).collect::<Result<_>>()?,
        };
        samples.sort_by(f64::total_cmp);
        Ok((first * 1e3, samples[SAMPLES / 2] * 1e3 / times as f64))
    }

    /// Seconds of passes of `times` runs each.
    fn timestamps(&self, prepared: &Prepared, times: usize) -> Result<Vec<f64>> {
        let timestamps = Timestamps::new(&self.context, SAMPLES)?;
        let target = Readback::default().take(&self.context, timestamps.bytes())?;
        let submission = self.context.scoped(&prepared.name, || {
            let mut encoder = self.context.encoder();
            for n in 0..SAMPLES {
                prepared.encode(times, &mut timestamps.pass(&mut encoder, n));
            }
            timestamps.resolve(&mut encoder, &target.buffer);
            self.context.queue.submit([encoder.finish()])
        })?;
        read_mapped(&self.context, &target.buffer, timestamps.bytes(), submission, |bytes| {
            seconds(&self.context, bytes).into_iter().map(|s| s.unwrap_or(f64::NAN)).collect()
        })
    }

    /// The contents of target number `n`. Fails if a program wrote over the sentinels around it or around scratch memory.
    #[cfg(test)]
    pub fn read(&self, prepared: &Prepared, n: usize, dtype: DType, len: usize) -> HostData {
        for guarded in prepared.written.iter().chain(&prepared.scratch) {
            let bytes = self.bytes(&guarded.whole);
            let value = GUARD as usize..(GUARD + guarded.value.bytes) as usize;
            let sentinels = bytes.chunks(4).enumerate().filter(|(word, _)| !value.contains(&(word * 4)));
            let broken: Vec<i64> = sentinels
                .filter(|(_, word)| *word != SENTINEL.to_le_bytes())
                .map(|(word, _)| word as i64 - GUARD as i64 / 4)
                .collect();
            let words = guarded.value.bytes / 4;
            assert!(broken.is_empty(), "{} wrote outside its {words} elements: {broken:?}", prepared.name);
        }
        let bytes = self.bytes(&prepared.written[n].whole);
        HostData::from_padded(dtype, &bytes[GUARD as usize..][..dtype.bytes(len)], len)
    }

    #[cfg(test)]
    fn bytes(&self, source: &Buffer) -> Vec<u8> {
        let target = Readback::default().take(&self.context, source.bytes).expect("memory to read into");
        let mut encoder = self.context.encoder();
        encoder.copy_buffer_to_buffer(source.raw(), 0, &target.buffer, 0, source.bytes);
        let submission = self.context.queue.submit([encoder.finish()]);
        read_mapped(&self.context, &target.buffer, source.bytes, submission, <[u8]>::to_vec).expect("the device answers")
    }
}

impl Prepared {
    fn encode(&self, times: usize, pass: &mut wgpu::ComputePass<'_>) {
        for (pipeline, group, grid) in (0..times).flat_map(|_| &self.launches) {
            pipeline.launch(group, *grid, pass);
        }
    }
}

/// Seconds that this process's threads have run, where the system reports them (Linux).
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds * 1e-9)
}

/// Pseudo-random numbers in -1..1.
#[allow(clippy::cast_possible_truncation, reason = "sizes of the lab are small")]
pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
    let word = |i: usize| crate::rng::threefry2x32([seed, 1], [i as u32, 0])[0];
    (0..len).map(|i| word(i) as f32 / (1u32 << 31) as f32 - 1.0).collect()
}

/// A plan of one step over contiguous buffers of the given dtypes and lengths; the last one is written.
pub(crate) fn one_step(kernel: crate::plan::Kernel, buffers: &[(DType, usize)]) -> crate::plan::Plan {
    use crate::plan::{BufferInfo, Place, Plan, Step};
    let reads: Vec<usize> = (0..buffers.len() - 1).collect();
    let write = Some(buffers.len() - 1);
    let buffers = buffers.iter().enumerate().map(|(i, &(dtype, len))| BufferInfo { place: Place::Leaf(i), dtype, len }).collect();
    Plan {
        steps: vec![Step { kernel, reads, write, level: 0, flops: 0, bytes: 0, node: 0 }],
        buffers,
        slots: vec![],
        outputs: vec![],
    }
}

/// `max(acc + bias[coordinate of axis], 0)`, the usual epilogue.
pub(crate) fn bias_relu(shape: &[usize], axis: usize, operand: usize) -> Expr {
    let mut e = Expr::new(Shape::of(shape));
    let acc = e.push(Term::Acc, DType::F32);
    let mut ones = vec![1; shape.len()];
    ones[axis] = shape[axis];
    let view = View::contiguous(Shape::of(&ones)).expand(Shape::of(shape));
    let bias = e.push(Term::Load { operand, view }, DType::F32);
    let sum = e.push(Term::Binary(BinaryOp::Add, acc, bias), DType::F32);
    let relu = e.push(Term::Unary(UnaryOp::Relu, sum), DType::F32);
    e.finish(relu)
}
