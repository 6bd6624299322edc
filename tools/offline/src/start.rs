//! Starts the tool again for each family, in an environment in which Vulkan has RADV's null device and the layer and nothing
//! else.

use crate::error::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The family that this process is for, if it was started by [`children`].
pub fn family() -> Option<String> {
    std::env::var("WGRAD_OFFLINE_FAMILY").ok()
}

/// Where drivers' files are.
const FOLDERS: [&str; 4] =
    ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/lib64/vulkan/icd.d"];

/// RADV's file for this architecture.
fn driver() -> Option<PathBuf> {
    let named = format!("radeon_icd.{}.json", std::env::consts::ARCH);
    let all = FOLDERS.iter().flat_map(|folder| [Path::new(folder).join(&named), Path::new(folder).join("radeon_icd.json")]);
    all.into_iter().find(|path| path.is_file())
}

/// Runs the same command for each family; the greatest of their exit codes.
///
/// # Errors
/// [`Error::NotChecked`] without RADV; errors of files.
pub fn children(families: &[String], results: &Path, log: bool) -> Result<u8> {
    let driver = driver()
        .ok_or_else(|| Error::NotChecked("Mesa's RADV is missing: apt-get install libvulkan1 mesa-vulkan-drivers".into()))?;
    let program = std::env::current_exe().map_err(|e| Error::Start(format!("this program's file: {e}")))?;
    let results = std::path::absolute(results).map_err(Error::file(results))?;
    let layer = results.join("layer");
    manifest(&program, &layer)?;
    let mut worst = 0;
    for family in families {
        let folder = results.join(family);
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        // Another run of this family would begin the log anew.
        let path = folder.join("lock");
        let lock = std::fs::File::create(&path).map_err(Error::file(&path))?;
        lock.lock().map_err(Error::file(&path))?;
        let (asm, events) = (folder.join("asm"), folder.join("log.jsonl"));
        if log {
            // Numbers begin anew.
            let _ = std::fs::remove_dir_all(&asm);
            std::fs::create_dir_all(&asm).map_err(Error::file(&asm))?;
            std::fs::write(&events, "").map_err(Error::file(&events))?;
        }
        let mut child = Command::new(&program);
        child.args(std::env::args_os().skip(1));
        child.env("WGRAD_OFFLINE_FAMILY", family).env("RADV_FORCE_FAMILY", family).env("RADV_DEBUG", "nocache");
        child.env("VK_DRIVER_FILES", &driver).env("VK_ICD_FILENAMES", &driver);
        child.env("VK_LAYER_PATH", &layer).env("VK_INSTANCE_LAYERS", LAYER);
        // Labels reach the driver, and validation, which is not what is looked at, stays off.
        child.env("WGPU_DEBUG", "1").env("WGPU_VALIDATION", "0").env("WGPU_BACKEND", "vulkan");
        for name in ["WGRAD_DEVICE", "WGPU_ADAPTER_NAME", "WGPU_POWER_PREF", "VK_LOADER_LAYERS_DISABLE"] {
            child.env_remove(name);
        }
        for (name, path) in [("WGRAD_OFFLINE_LOG", &events), ("WGRAD_OFFLINE_ASM", &asm)] {
            if log {
                child.env(name, path)
            } else {
                child.env_remove(name)
            };
        }
        let status = child.status().map_err(Error::file(&program))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let code = code.ok_or_else(|| Error::Start(format!("the run for {family} ended with {status}")))?;
        worst = worst.max(code);
    }
    Ok(worst)
}

const LAYER: &str = "VK_LAYER_WGRAD_offline";

/// Tells the loader where the layer is: beside this program.
fn manifest(program: &Path, folder: &Path) -> Result<()> {
    let library = program.with_file_name("libwgrad_offline_layer.so");
    if !library.is_file() {
        return Err(Error::NotChecked(format!(
            "{} is missing: the layer is for Linux, and is built by scripts/offline",
            library.display()
        )));
    }
    let text = json!({
        "file_format_version": "1.2.0",
        "layer": {
            "name": LAYER, "type": "GLOBAL", "api_version": "1.3.0", "implementation_version": "1",
            "library_path": library, "description": "RADV without hardware",
        },
    });
    std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let path = folder.join("VkLayer_wgrad_offline.json");
    std::fs::write(&path, text.to_string()).map_err(Error::file(&path))
}
