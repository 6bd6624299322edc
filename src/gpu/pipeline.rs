//! Compute pipelines, cached by their final text.

use super::context::Context;
use super::program::Program;
use crate::error::{Error, Result};
use crate::storage::gpu::Buffer;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// What runs.
    pipeline: wgpu::ComputePipeline,
    /// What its bind groups are made to.
    layout: wgpu::BindGroupLayout,
}

impl Pipeline {
    /// A bind group: the uniform record, then the program's operands in order.
    ///
    /// # Errors
    /// The buffers do not fit the program, which is a mistake of this crate.
    pub fn bind(&self, context: &Context, name: &str, record: &Buffer, operands: &[Buffer]) -> Result<wgpu::BindGroup> {
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

/// The pipelines of a device. Programs with one text and one list of access modes share one.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: HashMap<Key, Arc<Pipeline>>,
    layouts: HashMap<Vec<bool>, Layouts>,
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
    /// A pipeline for each program, compiled where it is new: on several threads, since that takes most of the time of a
    /// first step.
    ///
    /// # Errors
    /// A text does not compile, which is a mistake of this crate.
    pub fn all<'p>(&mut self, context: &Context, programs: impl Iterator<Item = &'p Program>) -> Result<Vec<Arc<Pipeline>>> {
        let keyed: Vec<(&Program, Key)> = programs.map(|p| (p, key(p))).collect();
        let mut new: HashMap<&Key, Task<'_>> = HashMap::new();
        for (program, key) in &keyed {
            if !self.made.contains_key(key) && !new.contains_key(key) {
                let (layout, pipeline_layout) = self.layout(context, program, &key.1)?;
                new.insert(key, Task { program, layout, pipeline_layout });
            }
        }
        let (keys, tasks): (Vec<&Key>, Vec<Task<'_>>) = new.into_iter().unzip();
        for (n, made) in compile(context, &tasks) {
            self.made.insert(keys[n].clone(), Arc::new(made?));
        }
        let missing = |p: &Program| Error::internal(format!("{} was not compiled", p.name));
        keyed.iter().map(|(program, key)| self.made.get(key).cloned().ok_or_else(|| missing(program))).collect()
    }

    fn layout(&mut self, context: &Context, program: &Program, read_only: &[bool]) -> Result<Layouts> {
        if let Some(found) = self.layouts.get(read_only) {
            return Ok(found.clone());
        }
        let made = context.scoped(&program.name, || make_layouts(&context.device, read_only))?;
        self.layouts.insert(read_only.to_vec(), made.clone());
        Ok(made)
    }

    /// The texts, sorted.
    pub fn sources(&self) -> Vec<String> {
        let mut sources: Vec<String> = self.made.keys().map(|k| k.0.clone()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.made.len()
    }
}

fn key(program: &Program) -> Key {
    (program.source.clone(), program.operands.iter().map(|o| o.is_read_only()).collect())
}

/// Makes pipelines, each with its task's number. The threads are of its own: a shared pool could run another evaluation of
/// this device here, which would wait for the locks that this one holds.
fn compile(context: &Context, tasks: &[Task<'_>]) -> Vec<(usize, Result<Pipeline>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(n) else { return made };
            // Errors are caught by thread.
            let pipeline = context.scoped(&task.program.name, || make_pipeline(context, task.program, &task.pipeline_layout));
            made.push((n, pipeline.map(|pipeline| Pipeline { pipeline, layout: task.layout.clone() })));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(tasks.len());
    std::thread::scope(|scope| {
        // Where the system gives no more threads, this one does their share.
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
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&program.name),
        source: wgpu::ShaderSource::Wgsl(program.source.as_str().into()),
    };
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
