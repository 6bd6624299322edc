//! Whole-file writes: a reader sees the old file or the new one, never half of one.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Deletes a temporary file unless the write has succeeded.
struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing more can be done about a file that cannot be deleted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `bytes` to `path`: to a temporary file beside it first, which then takes its name.
///
/// Missing parent directories are made. After an error the old file, if any, is as it was, and no temporary file remains.
///
/// # Errors
/// [`Error::Io`] with the path: a directory that cannot be written, a full disk.
#[track_caller]
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::argument("path", format!("\"{}\" names no file", path.display()), "give a file's path"));
    };
    // An empty parent means the current directory.
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    let mut scratch_name = OsString::from(".");
    scratch_name.push(name);
    scratch_name.push(format!(".{}-{}.tmp", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    // Two saves of one process must not share a temporary file either.
    let mut scratch = Scratch { path: path.with_file_name(scratch_name), keep: false };
    let write_all = || -> std::io::Result<()> {
        let mut file = File::create_new(&scratch.path)?;
        file.write_all(bytes)?;
        // The contents must reach the disk before the name does, or a crash leaves an empty file.
        file.sync_all()?;
        fs::rename(&scratch.path, path)
    };
    write_all().map_err(|e| Error::io(path, e))?;
    scratch.keep = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file.bin");
        for contents in [&b"one"[..], b"two, longer", b""] {
            write(&path, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        // A directory of that name makes the rename fail.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), b"x").unwrap();
        assert!(matches!(write(&path, b"data"), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(write(Path::new("/"), b""), Err(Error::Argument { .. })));
    }
}
