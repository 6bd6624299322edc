//! Compute pipelines, cached by their final text.

use super::context::Context;
use super::failure::Point;
use super::hollow::NOTHING;
use super::program::Program;
use super::proof::COUNT;
use crate::error::{Error, Result};
use crate::faults::FaultKind;
use crate::storage::gpu::Buffer;
use crate::storage::pool::Counted;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What a pipeline takes besides its text: its parsed form and its code. A software adapter's compiler keeps more (lavapipe one
/// to two MiB), which is counted in part, so that a loop over many shapes keeps its plans.
const ON_A_GPU: u64 = 64 << 10;
const IN_SOFTWARE: u64 = 512 << 10;

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// What runs.
    pipeline: wgpu::ComputePipeline,
    /// What its bind groups are made to.
    layout: wgpu::BindGroupLayout,
    _counted: Counted,
}

impl Pipeline {
    /// A bind group: the uniform record, then the program's operands in order.
    ///
    /// # Errors
    /// The buffers do not fit the program, which is a mistake of this crate.
    pub fn bind(&self, context: &Context, name: &str, record: &Buffer, operands: &[Buffer]) -> Result<wgpu::BindGroup> {
        if let Some(hollow) = &context.hollow {
            return Ok(hollow.group.clone());
        }
        context.scoped(name, || {
            let bound = (0..).zip(std::iter::once(record).chain(operands)).map(|(binding, buffer)| {
                let size = wgpu::BufferSize::new(buffer.binding_size());
                let range = wgpu::BufferBinding { buffer: buffer.raw(), offset: buffer.offset, size };
                wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) }
            });
            let entries: Vec<_> = bound.collect();
            context.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries })
        })
    }

    /// Encodes a launch.
    pub fn launch(&self, group: &wgpu::BindGroup, [x, y, z]: [u32; 3], pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The pipelines of a device, as long as plans use them. Programs with the same text and the same access modes share one.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: HashMap<Key, Weak<Pipeline>>,
    layouts: HashMap<Vec<bool>, Layouts>,
    created: u64,
    /// What each takes besides its text.
    each: u64,
    tally: Arc<AtomicU64>,
}

/// A program's text, and whether it only reads each of its operands.
type Key = (String, Vec<bool>);

type Layouts = (wgpu::BindGroupLayout, wgpu::PipelineLayout);

/// A pipeline to be made.
struct Task<'p> {
    program: &'p Program,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
}

impl Pipelines {
    /// None yet; their bytes will be in the tally.
    pub fn new(software: bool, tally: Arc<AtomicU64>) -> Self {
        Self { each: if software { IN_SOFTWARE } else { ON_A_GPU }, tally, ..Self::default() }
    }

    /// A pipeline for each program, compiled if it is new: on several threads, since that takes most of the time of a
    /// first step.
    ///
    /// # Errors
    /// A text does not compile, with its program: the driver refuses it, or it is a mistake of this crate.
    pub fn all<'p>(
        &mut self,
        context: &Context,
        programs: impl Iterator<Item = &'p Program>,
    ) -> Result<Vec<Arc<Pipeline>>, (&'p Program, Error)> {
        let keyed: Vec<(&Program, Key)> = programs.map(|p| (p, key(p))).collect();
        // Held from here on, so that a plan that is dropped meanwhile takes none of them along.
        let mut found: HashMap<&Key, Arc<Pipeline>> = HashMap::new();
        let mut new: HashMap<&Key, Task<'_>> = HashMap::new();
        for (program, key) in &keyed {
            if let Some(pipeline) = self.made.get(key).and_then(Weak::upgrade) {
                found.insert(key, pipeline);
            } else if !new.contains_key(key) {
                let (layout, pipeline_layout) = self.layout(context, program, &key.1).map_err(|error| (*program, error))?;
                new.insert(key, Task { program, layout, pipeline_layout });
            }
        }
        if !new.is_empty() {
            self.made.retain(|_, pipeline| pipeline.strong_count() > 0);
        }
        let (keys, tasks): (Vec<&Key>, Vec<Task<'_>>) = new.into_iter().unzip();
        for (n, made) in compile(context, &tasks) {
            let (pipeline, layout) = (made.map_err(|error| (tasks[n].program, error))?, tasks[n].layout.clone());
            let pipeline = Arc::new(Pipeline { pipeline, layout, _counted: Counted::new(self.weight(keys[n]), &self.tally) });
            self.created += 1;
            self.made.insert(keys[n].clone(), Arc::downgrade(&pipeline));
            found.insert(keys[n], pipeline);
        }
        let missing = |p: &'p Program| (p, Error::internal(format!("{} was not compiled", p.name)));
        keyed.iter().map(|(program, key)| found.get(key).cloned().ok_or_else(|| missing(program))).collect()
    }

    fn layout(&mut self, context: &Context, program: &Program, read_only: &[bool]) -> Result<Layouts> {
        if let Some(found) = self.layouts.get(read_only) {
            return Ok(found.clone());
        }
        let made = context.scoped(&program.name, || make_layouts(&context.device, read_only))?;
        self.layouts.insert(read_only.to_vec(), made.clone());
        Ok(made)
    }

    /// The texts of those that are in use and the one that counts submissions, sorted.
    pub fn sources(&self) -> Vec<String> {
        let mut sources: Vec<String> = self.in_use().map(|key| key.0.clone()).chain([COUNT.to_owned()]).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Those that plans use.
    pub fn in_use(&self) -> impl Iterator<Item = &Key> {
        self.made.iter().filter(|(_, pipeline)| pipeline.strong_count() > 0).map(|(key, _)| key)
    }

    /// Adds up what they take.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.in_use().map(|key| self.weight(key)).sum()
    }

    /// Roughly the bytes that a pipeline takes; wgpu keeps its text as well.
    fn weight(&self, key: &Key) -> u64 {
        self.each + 2 * key.0.len() as u64
    }

    /// How many were ever compiled.
    pub fn created(&self) -> u64 {
        self.created
    }
}

fn key(program: &Program) -> Key {
    (program.source.clone(), program.operands.iter().map(|o| o.is_read_only()).collect())
}

/// Makes pipelines, each with its task's number. The threads are of its own: a shared pool could run another evaluation of
/// this device here, which would wait for the locks that this one holds.
fn compile(context: &Context, tasks: &[Task<'_>]) -> Vec<(usize, Result<wgpu::ComputePipeline>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(n) else { return made };
            // Errors are caught by thread.
            let since = Instant::now();
            let name = &task.program.name;
            context.at(Point::Compile);
            let pipeline = context
                .unless_fault(FaultKind::Pipeline, name)
                .and_then(|()| context.scoped(name, || make_pipeline(context, task.program, &task.pipeline_layout)));
            let ms = since.elapsed().as_secs_f64() * 1e3;
            log::debug!(target: "wgrad::compile", "{}: a pipeline in {ms:.1} ms", task.program.name);
            made.push((n, pipeline));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(tasks.len());
    std::thread::scope(|scope| {
        // If the system gives no more threads, this one does their share.
        let helpers: Vec<_> = (1..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut made = work();
        for helper in helpers {
            made.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    })
}

/// Binding 0 is the uniform record, the others are storage buffers.
fn make_layouts(device: &wgpu::Device, read_only: &[bool]) -> Layouts {
    let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
        binding: u32::try_from(binding).unwrap_or(u32::MAX),
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    for (k, &read_only) in read_only.iter().enumerate() {
        entries.push(entry(k + 1, wgpu::BufferBindingType::Storage { read_only }));
    }
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    (layout, pipeline_layout)
}

fn make_pipeline(context: &Context, program: &Program, layout: &wgpu::PipelineLayout) -> wgpu::ComputePipeline {
    let source = if context.hollow.is_some() { NOTHING } else { program.source.as_str() };
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&program.name), source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = if context.options.checks {
        context.device.create_shader_module(descriptor)
    } else {
        trusted_module(&context.device, descriptor)
    };
    context.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&program.name),
        layout: Some(layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &[], zero_initialize_workgroup_memory: false },
        cache: None,
    })
}

/// A module without wgpu's bounds and loop checks.
#[allow(unsafe_code, reason = "wgpu asks for it; the one exception in this crate")]
fn trusted_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: every text comes from this crate's kernels, which index within their buffers (tests run them with checks on)
    // and whose loops are bounded.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
