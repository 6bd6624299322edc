//! The file of events.

use crate::event::Event;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

fn file() -> Option<&'static Mutex<File>> {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("WGRAD_OFFLINE_LOG")?;
        File::options().create(true).append(true).open(path).ok().map(Mutex::new)
    };
    FILE.get_or_init(open).as_ref()
}

/// Whether events are wanted; timing goes without.
pub fn wanted() -> bool {
    file().is_some()
}

/// Appends an event. A full disk shows as events that are missing.
pub fn write(event: &Event) {
    let (Some(file), Ok(mut line)) = (file(), serde_json::to_vec(event)) else { return };
    line.push(b'\n');
    let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
}

/// Where machine code and SPIR-V go.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("WGRAD_OFFLINE_ASM").map(PathBuf::from)
}
