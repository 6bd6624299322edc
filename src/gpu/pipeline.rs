//! Compute pipelines, cached by their final text.

use super::context::Context;
use super::program::Program;
use crate::error::Result;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// What runs.
    pub pipeline: wgpu::ComputePipeline,
    /// What its bind groups are made to.
    pub layout: wgpu::BindGroupLayout,
}

/// The pipelines of a device. Programs with one text and one list of access modes share one.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: HashMap<(String, Vec<bool>), Arc<Pipeline>>,
    layouts: HashMap<Vec<bool>, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
}

impl Pipelines {
    /// The pipeline of a program, compiled if it is new.
    ///
    /// # Errors
    /// The text does not compile, which is a mistake of this crate.
    pub fn get(&mut self, context: &Context, program: &Program) -> Result<Arc<Pipeline>> {
        let read_only: Vec<bool> = program.operands.iter().map(|o| o.is_read_only()).collect();
        let key = (program.source.clone(), read_only);
        if let Some(found) = self.made.get(&key) {
            return Ok(found.clone());
        }
        let made = context.scoped(&program.name, || {
            let (layout, pipeline_layout) =
                self.layouts.entry(key.1.clone()).or_insert_with(|| make_layouts(&context.device, &key.1)).clone();
            let pipeline = make_pipeline(context, program, &pipeline_layout);
            Pipeline { pipeline, layout }
        })?;
        let made = Arc::new(made);
        self.made.insert(key, made.clone());
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

/// Binding 0 is the uniform record, the others are storage buffers.
fn make_layouts(device: &wgpu::Device, read_only: &[bool]) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
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
