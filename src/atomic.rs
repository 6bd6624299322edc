//! Whole-file writes: a reader sees the old file or the new one, never half of one.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// The most links that lead from one to the next.
const MOST_LINKS: usize = 40;

/// Where a chain of links leads, whether or not there is a file yet.
fn through_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // Relative to the folder that the link is in.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing.
            Err(_) => return Ok(path),
        }
    }
    Err(std::io::Error::other("the links lead in a circle"))
}

/// Gives a file another's name. Windows refuses for as long as someone else, such as a virus scanner, has the other file open.
fn replace(from: &Path, to: &Path) -> std::io::Result<()> {
    let tries = if cfg!(windows) { 10 } else { 1 };
    for wait in 1..tries {
        match fs::rename(from, to) {
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => std::thread::sleep(Duration::from_millis(wait)),
            result => return result,
        }
    }
    fs::rename(from, to)
}

/// Writes `bytes` to `path`: to a temporary file beside it first, which then takes its name. If the path is a link, the file
/// that it leads to is written, and the link is kept.
///
/// Missing parent directories are made. After an error the old file, if any, is as it was, and no temporary file remains.
///
/// # Errors
/// [`Error::Io`] with the path: a directory that cannot be written, a full disk.
#[track_caller]
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let target = through_links(path).map_err(|e| Error::io(path, e))?;
    let (Some(_), Some(name)) = (path.file_name(), target.file_name()) else {
        return Err(Error::argument("path", format!("\"{}\" names no file", path.display()), "give a file's path"));
    };
    // An empty parent means the current directory.
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    let mut scratch_name = OsString::from(".");
    scratch_name.push(name);
    scratch_name.push(format!(".{}-{}.tmp", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    // Two saves of one process must not share a temporary file either.
    let mut scratch = Scratch { path: target.with_file_name(scratch_name), keep: false };
    let write_all = || -> std::io::Result<()> {
        let mut file = File::create_new(&scratch.path)?;
        file.write_all(bytes)?;
        // The contents must reach the disk before the name does, or a crash leaves an empty file.
        file.sync_all()?;
        replace(&scratch.path, &target)
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
