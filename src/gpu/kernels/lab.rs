//! A bench for single kernels: runs lowered programs on the software adapter through bare wgpu, and times them.

use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::gpu::program::{Lowered, Operand, Program, Word};
use crate::graph::View;
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::plan::{Expr, Term};
use crate::shape::Shape;
use std::time::Instant;

/// An open device.
pub(crate) struct Lab {
    device: wgpu::Device,
    queue: wgpu::Queue,
    checked: bool,
}

/// A lowered step with its memory, ready to run again and again.
pub(crate) struct Prepared {
    programs: Vec<(wgpu::ComputePipeline, wgpu::BindGroup, [u32; 3])>,
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests look at results"))]
    written: Vec<Guarded>,
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests look at results"))]
    scratch: Vec<Guarded>,
    name: String,
}

/// Sentinels of 32 bits before and after all memory that a program binds: 1,024 of them, and what rounds a value up to 16 bytes.
const GUARD: u64 = 1024 * 4;
/// A sentinel: as f32 a NaN that no arithmetic makes, as i32 an index far outside.
const SENTINEL: u32 = 0xFFA5_FFA5;

/// Memory between sentinels.
struct Guarded {
    buffer: wgpu::Buffer,
    /// Bytes of the value, which starts at [`GUARD`].
    bytes: u64,
}

impl Guarded {
    fn binding(&self) -> wgpu::BindingResource<'_> {
        // Whole vectors, as the executor binds.
        let size = wgpu::BufferSize::new(self.bytes.max(4).next_multiple_of(16));
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer, offset: GUARD, size })
    }
}

/// Memory that programs bind beyond reads and scratch: the written tensor or an optimizer's arenas.
pub(crate) struct Target {
    /// What binds it.
    pub operand: Operand,
    /// Its contents before the run.
    pub data: HostData,
}

impl Lab {
    /// Opens the software adapter; `checked` keeps wgpu's runtime checks in the shaders.
    pub fn open(checked: bool) -> Result<Self> {
        let missing = |reason: String| Error::NoDevice { wanted: "software".into(), reason, help: "install lavapipe".into() };
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let adapter = adapters.into_iter().find(|a| a.get_info().device_type == wgpu::DeviceType::Cpu);
        let adapter = adapter.ok_or_else(|| missing("no CPU adapter".into()))?;
        let mut limits = wgpu::Limits::default();
        limits.max_storage_buffer_binding_size = adapter.limits().max_storage_buffer_binding_size;
        limits.max_buffer_size = adapter.limits().max_buffer_size;
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| missing(e.to_string()))?;
        Ok(Self { device, queue, checked })
    }

    /// Compiles and binds. `reads` are the step's reads, `targets` what it writes.
    pub fn prepare(&self, lowered: &Lowered, reads: &[HostData], targets: &[Target]) -> Prepared {
        let filled = |data: &[u8]| {
            let size = (data.len().max(4) as u64).next_multiple_of(16) + 2 * GUARD;
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            let buffer =
                self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
            self.queue.write_buffer(&buffer, 0, &SENTINEL.to_le_bytes().repeat((size / 4) as usize));
            self.queue.write_buffer(&buffer, GUARD, data);
            Guarded { buffer, bytes: data.len() as u64 }
        };
        let inputs: Vec<_> = reads.iter().map(|d| filled(d.bytes())).collect();
        let scratch: Vec<_> = lowered.scratch.iter().map(|&n| filled(&vec![0xFF; n as usize])).collect();
        let written: Vec<_> = targets.iter().map(|t| filled(t.data.bytes())).collect();
        let buffer_of = |operand: Operand| match operand {
            Operand::Read(k) => &inputs[k],
            Operand::ScratchRead(n) | Operand::ScratchWrite(n) => &scratch[n],
            other => &written[targets.iter().position(|t| t.operand == other).expect("a target for every operand")],
        };
        let programs = lowered.programs.iter().map(|p| self.bind(p, &buffer_of)).collect();
        let name = lowered.programs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("+");
        Prepared { programs, written, scratch, name }
    }

    fn bind<'a>(
        &self,
        program: &Program,
        buffer_of: &impl Fn(Operand) -> &'a Guarded,
    ) -> (wgpu::ComputePipeline, wgpu::BindGroup, [u32; 3]) {
        let module = self.module(&program.source);
        let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        for (i, operand) in program.operands.iter().enumerate() {
            entries.push(entry(i + 1, wgpu::BufferBindingType::Storage { read_only: operand.is_read_only() }));
        }
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&program.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let words: Vec<u32> = program.record.iter().map(|w| if let Word::U32(v) = w { *v } else { 0 }).collect();
        let size = (words.len() * 4).next_multiple_of(16).max(16) as u64;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let record = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        self.queue.write_buffer(&record, 0, bytemuck::cast_slice(&words));
        let mut bound = vec![wgpu::BindGroupEntry { binding: 0, resource: record.as_entire_binding() }];
        for (i, &operand) in program.operands.iter().enumerate() {
            bound.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource: buffer_of(operand).binding() });
        }
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &bound });
        (pipeline, group, program.grid)
    }

    #[allow(unsafe_code, reason = "only a module without runtime checks shows a kernel's real speed")]
    fn module(&self, source: &str) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) };
        if self.checked {
            return self.device.create_shader_module(descriptor);
        }
        // Safety: every kernel guards its own bounds; the checked mode of the tests covers the same texts.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }

    /// Runs a prepared step `times` times and waits; seconds it took.
    pub fn run(&self, prepared: &Prepared, times: usize) -> f64 {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..times {
                for (pipeline, group, grid) in &prepared.programs {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
                }
            }
        }
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
        start.elapsed().as_secs_f64()
    }

    /// The same device, without wgpu's runtime checks in the shaders.
    #[cfg(test)]
    pub fn unchecked(&self) -> Self {
        Self { device: self.device.clone(), queue: self.queue.clone(), checked: false }
    }

    /// What target number `n` holds. Fails if a program wrote over the sentinels around it or around scratch memory.
    #[cfg(test)]
    pub fn read(&self, prepared: &Prepared, n: usize, dtype: DType, len: usize) -> HostData {
        for guarded in prepared.written.iter().chain(&prepared.scratch) {
            let bytes = self.bytes(&guarded.buffer);
            let value = GUARD as usize..(GUARD + guarded.bytes) as usize;
            let sentinels = bytes.chunks(4).enumerate().filter(|(word, _)| !value.contains(&(word * 4)));
            let broken: Vec<i64> = sentinels
                .filter(|(_, word)| *word != SENTINEL.to_le_bytes())
                .map(|(word, _)| word as i64 - GUARD as i64 / 4)
                .collect();
            let words = guarded.bytes / 4;
            assert!(broken.is_empty(), "{} wrote outside its {words} elements: {broken:?}", prepared.name);
        }
        let bytes = self.bytes(&prepared.written[n].buffer);
        HostData::from_padded(dtype, &bytes[GUARD as usize..][..dtype.bytes(len)], len)
    }

    #[cfg(test)]
    fn bytes(&self, source: &wgpu::Buffer) -> Vec<u8> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = source.size();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
        staging.get_mapped_range(..).expect("mapped").to_vec()
    }

    /// Milliseconds of the first run (with compilation) and of a run, as the median over about `budget` seconds.
    ///
    /// Time is that of all this process' threads divided by the cores, as if nothing else ran on the machine.
    pub fn time(&self, prepared: &Prepared, budget: f64) -> (f64, f64) {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
        let timed = |times: usize| {
            let before = cpu_seconds();
            let wall = self.run(prepared, times);
            before.zip(cpu_seconds()).map_or(wall, |(a, b)| (b - a) / cores) / times as f64
        };
        let first = self.run(prepared, 1);
        let once = self.run(prepared, 1).max(1e-6);
        let times = ((budget / 8.0 / once) as usize).clamp(1, 500);
        let mut samples: Vec<f64> = (0..7).map(|_| timed(times)).collect();
        samples.sort_by(f64::total_cmp);
        (first * 1e3, samples[3] * 1e3)
    }
}

impl Prepared {
    /// The programs' names.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Seconds that this process' threads have run, where the system tells (Linux).
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds * 1e-9)
}

/// Pseudo-random numbers in -1..1.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
    let word = |i: usize| crate::rng::threefry2x32([seed, 1], [i as u32, 0])[0];
    (0..len).map(|i| word(i) as f32 / 2f32.powi(31) - 1.0).collect()
}

/// A plan of one step over contiguous buffers of the given dtypes and lengths; the last one is written.
pub(crate) fn one_step(kernel: crate::plan::Kernel, buffers: &[(DType, usize)]) -> crate::plan::Plan {
    use crate::plan::{BufferInfo, Place, Plan, Step};
    let reads: Vec<usize> = (0..buffers.len() - 1).collect();
    let write = Some(buffers.len() - 1);
    let buffers = buffers.iter().enumerate().map(|(i, &(dtype, len))| BufferInfo { place: Place::Leaf(i), dtype, len }).collect();
    Plan { steps: vec![Step { kernel, reads, write, level: 0, flops: 0, bytes: 0 }], buffers, slots: vec![], outputs: vec![] }
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

#[cfg(feature = "lab")]
pub(crate) mod rates;
