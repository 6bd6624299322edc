//! Texts of WGSL: some that are not wgrad's compiled as they are, and wgrad's written out for other compilers.

use crate::error::{Error, Result};
use crate::event::Dispatch;
use crate::report;
use crate::session::{Launch, Session};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Compiles texts without runtime checks, as wgrad's are, and prints what they become.
///
/// # Errors
/// [`Error::Text`] for one that does not compile, and errors of files.
pub fn compile(session: &mut Session, files: &[PathBuf]) -> Result<()> {
    let failed = |name: &str| {
        let name = name.to_owned();
        move |error: &dyn std::fmt::Display| Error::Text { name, reason: error.to_string() }
    };
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = wgpu::Backends::VULKAN;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let adapter = adapters.first().ok_or_else(|| Error::NotChecked("there is no adapter".into()))?;
    let wanted = wgpu::DeviceDescriptor {
        required_limits: adapter.limits(),
        required_features: adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16),
        ..Default::default()
    };
    let (device, _queue) = pollster::block_on(adapter.request_device(&wanted)).map_err(|e| failed("the device")(&e))?;
    println!("# {}", adapter.get_info().name);
    report::header();
    for file in files {
        let source = std::fs::read_to_string(file).map_err(Error::file(file))?;
        let name = file.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = pipeline(&device, &name, &source);
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(failed(&name)(&error));
        }
        if let Some(kernel) = session.last()? {
            report::row(&Launch::new(kernel, Dispatch::default()));
        }
        drop(pipeline);
    }
    Ok(())
}

#[allow(unsafe_code, reason = "wgpu asks for it where a text is compiled without checks; nothing runs")]
fn pipeline(device: &wgpu::Device, name: &str, source: &str) -> wgpu::ComputePipeline {
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(source.into()) };
    // Safety: nothing runs.
    let module = unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions { constants: &[], zero_initialize_workgroup_memory: false },
        cache: None,
    })
}

/// Writes the texts of the catalogue's kernels to a folder, each once: `GROUP.NUMBER.wgsl` beside naga's HLSL of it.
///
/// # Errors
/// The device's and the files'.
pub fn write(session: &mut Session, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let mut known: HashSet<String> = HashSet::new();
    let mut count = 0;
    for case in wgrad_catalogue::all() {
        let tensor = case.make(&session.device)?;
        // The operands' random numbers have kernels, too.
        known.extend(session.device.shader_sources());
        tensor.eval()?;
        for source in session.device.shader_sources() {
            if !known.insert(source.clone()) {
                continue;
            }
            count += 1;
            let path = folder.join(format!("{}.{count:03}.wgsl", case.group));
            let translated = hlsl(&source).map_err(|reason| Error::Text { name: path.display().to_string(), reason })?;
            std::fs::write(&path, &source).map_err(Error::file(&path))?;
            let path = path.with_extension("hlsl");
            std::fs::write(&path, translated).map_err(Error::file(&path))?;
        }
    }
    println!("{count} texts in {}", folder.display());
    Ok(())
}

fn hlsl(source: &str) -> std::result::Result<String, String> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
    let options = naga::back::hlsl::Options {
        shader_model: naga::back::hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        restrict_indexing: false,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let mut text = String::new();
    let pipeline = naga::back::hlsl::PipelineOptions::default();
    let mut writer = naga::back::hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(&module, &info, None).map_err(|e| e.to_string())?;
    Ok(text)
}
