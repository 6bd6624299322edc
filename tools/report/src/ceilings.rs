//! What the hardware can do at most, by kernels that do nothing else: multiply-adds in registers, a copy, launches one after the
//! other.

use crate::record::Ceilings;
use std::borrow::Cow;
use std::time::Instant;
use wgrad::DeviceInfo;

/// 32 chains of multiply-adds per thread, as vectors of four: enough to hide their latency. The numbers come from memory, so that
/// no compiler knows them.
const MULTIPLY: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = x[0];
    let b = x[1];
    var c0 = b; var c1 = b + 1.0; var c2 = b + 2.0; var c3 = b + 3.0;
    var c4 = b + 4.0; var c5 = b + 5.0; var c6 = b + 6.0; var c7 = b + f32(id.x);
    for (var i = 0u; i < 256u; i++) {
        c0 = fma(c0, a, b); c1 = fma(c1, a, b); c2 = fma(c2, a, b); c3 = fma(c3, a, b);
        c4 = fma(c4, a, b); c5 = fma(c5, a, b); c6 = fma(c6, a, b); c7 = fma(c7, a, b);
        c0 = fma(c0, a, b); c1 = fma(c1, a, b); c2 = fma(c2, a, b); c3 = fma(c3, a, b);
        c4 = fma(c4, a, b); c5 = fma(c5, a, b); c6 = fma(c6, a, b); c7 = fma(c7, a, b);
    }
    out[id.x] = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7;
}";
const MULTIPLY_ADDS_OF_A_THREAD: f64 = 256.0 * 16.0 * 4.0;

const COPY: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (wid.y * 16384u + wid.x) * 256u + lane;
    out[i] = x[i];
}";

/// Workgroups of the kernel that multiplies.
const GROUPS: u32 = 8192;
/// Vectors of four that are copied: 128 MiB, what every adapter binds.
const VECTORS: u32 = 1 << 23;
/// Launches that follow each other.
const LAUNCHES: u32 = 500;
/// Samples, of which the best counts: a limit is not a median.
const SAMPLES: usize = 5;

struct Bench {
    device: wgpu::Device,
    queue: wgpu::Queue,
    x: wgpu::Buffer,
    out: wgpu::Buffer,
    timestamps: Option<(wgpu::QuerySet, wgpu::Buffer, wgpu::Buffer)>,
}

/// Measures them on an adapter.
///
/// # Errors
/// The adapter is not found or refuses a kernel.
pub fn measure(info: &DeviceInfo) -> Result<Ceilings, String> {
    let bench = Bench::open(info)?;
    let multiply = bench.pipeline(MULTIPLY)?;
    let copy = bench.pipeline(COPY)?;
    let threads = f64::from(GROUPS) * 64.0;
    Ok(Ceilings {
        multiply_adds: threads * MULTIPLY_ADDS_OF_A_THREAD / bench.best(&multiply, [GROUPS, 1], 1)?,
        bytes: f64::from(VECTORS) * 32.0 / bench.best(&copy, [16_384, VECTORS / 256 / 16_384], 1)?,
        launch: bench.best(&copy, [1, 1], LAUNCHES)? / f64::from(LAUNCHES),
        timestamps: bench.timestamps.is_some(),
    })
}

impl Bench {
    fn open(info: &DeviceInfo) -> Result<Self, String> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let of = |a: &wgpu::AdapterInfo| a.name == info.name && format!("{:?}", a.backend).eq_ignore_ascii_case(&info.backend);
        let adapter = adapters.into_iter().find(|a| of(&a.get_info())).ok_or("the adapter is not listed")?;
        let features = adapter.features() & wgpu::Features::TIMESTAMP_QUERY;
        let wanted = wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: wgpu::Limits::default(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&wanted)).map_err(|e| e.to_string())?;
        let buffer = |size: u64, usage| {
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let [x, out] = [(); 2].map(|()| buffer(u64::from(VECTORS) * 16, storage));
        let numbers = [0.999f32, 0.998, 0.997, 0.996, 1e-3, 2e-3, 3e-3, 4e-3];
        queue.write_buffer(&x, 0, bytemuck::cast_slice(&numbers));
        let timestamps = (!features.is_empty()).then(|| {
            let ty = wgpu::QueryType::Timestamp;
            let queries = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: 2 });
            let resolved = buffer(16, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
            let read = buffer(16, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
            (queries, resolved, read)
        });
        Ok(Self { device, queue, x, out, timestamps })
    }

    fn pipeline(&self, source: &str) -> Result<(wgpu::ComputePipeline, wgpu::BindGroup), String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(Cow::Borrowed(source)) };
        let module = self.device.create_shader_module(descriptor);
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: self.x.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: self.out.as_entire_binding() },
            ],
        });
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(error.to_string()),
            None => Ok((pipeline, group)),
        }
    }

    /// The least seconds of so many launches, one after the other.
    fn best(
        &self,
        (pipeline, group): &(wgpu::ComputePipeline, wgpu::BindGroup),
        [x, y]: [u32; 2],
        times: u32,
    ) -> Result<f64, String> {
        let mut least = f64::INFINITY;
        // The first run compiles.
        for sample in 0..=SAMPLES {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let timestamp_writes = self.timestamps.as_ref().map(|(query_set, ..)| wgpu::ComputePassTimestampWrites {
                    query_set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                });
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                for _ in 0..times {
                    pass.dispatch_workgroups(x, y, 1);
                }
            }
            if let Some((queries, resolved, read)) = &self.timestamps {
                encoder.resolve_query_set(queries, 0..2, resolved, 0);
                encoder.copy_buffer_to_buffer(resolved, 0, read, 0, 16);
            }
            let begin = Instant::now();
            self.queue.submit([encoder.finish()]);
            self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| e.to_string())?;
            let wall = begin.elapsed().as_secs_f64();
            let clock = self.ticks()?;
            if sample > 0 {
                least = least.min(clock.filter(|&seconds| seconds > 0.0).unwrap_or(wall));
            }
        }
        Ok(least)
    }

    /// Seconds between the two timestamps.
    fn ticks(&self) -> Result<Option<f64>, String> {
        let Some((_, _, read)) = &self.timestamps else { return Ok(None) };
        let slice = read.slice(..);
        slice.map_async(wgpu::MapMode::Read, |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| e.to_string())?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&slice.get_mapped_range().map_err(|e| e.to_string())?);
        read.unmap();
        Ok(Some(ticks[1].saturating_sub(ticks[0]) as f64 * f64::from(self.queue.get_timestamp_period()) * 1e-9))
    }
}
