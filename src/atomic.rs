//! Whole-file writes: a reader sees the old file or the new one, never half of one.

pub(crate) mod faults;

use crate::error::{Error, Result};
use faults::FileFault;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most links that lead from one to the next.
const MOST_LINKS: usize = 40;
/// The most names that are tried for a temporary file: others have been taken by processes that still write.
const MOST_NAMES: usize = 1000;
/// The most bytes of a file's name in the name of its temporary file: file systems take names of 255 bytes.
const NAME_BYTES: usize = 180;

/// Where a chain of links leads, whether or not there is a file yet.
fn through_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // Relative to the folder that the link is in.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("the links lead in a circle"))
}

/// The error for something other than a regular file, which may never end or never answer.
pub(crate) fn refusal(found: &Metadata) -> io::Error {
    let (kind, what) = kind(found);
    io::Error::new(kind, format!("this is {what}, not a file; help: give the path of a file"))
}

fn kind(found: &Metadata) -> (ErrorKind, &'static str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let found = found.file_type();
        let rows = [(found.is_fifo(), "a FIFO"), (found.is_socket(), "a socket")];
        let device = found.is_char_device() || found.is_block_device();
        if let Some((_, what)) = rows.into_iter().chain([(device, "a device")]).find(|row| row.0) {
            return (ErrorKind::InvalidInput, what);
        }
    }
    if found.is_dir() { (ErrorKind::IsADirectory, "a folder") } else { (ErrorKind::InvalidInput, "something else") }
}

/// Gives a file another's name. Windows refuses for as long as someone else, such as a virus scanner, has the other file open.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    faults::unless(FileFault::Rename)?;
    let tries = if cfg!(windows) { 10 } else { 1 };
    for wait in 1..tries {
        match fs::rename(from, to) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => std::thread::sleep(Duration::from_millis(wait)),
            result => return result,
        }
    }
    fs::rename(from, to)
}

/// A temporary file, which is deleted unless the write succeeds. It is locked for as long as it is open: the system unlocks it
/// when the process ends, however it ends, so that a later save knows it for a left-over.
pub(crate) struct Scratch {
    file: File,
    path: PathBuf,
    keep: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing more can be done about a file that cannot be deleted: the next save to the same path tries again.
            let _ = remove(&self.path);
        }
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        faults::unless(FileFault::Write)?;
        let (half, _) = bytes.split_at(bytes.len().div_ceil(2));
        if faults::strikes(FileFault::Full) {
            self.file.write_all(half)?;
            return Err(faults::error(FileFault::Full));
        }
        self.file.write(if faults::strikes(FileFault::Short) { half } else { bytes })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Scratch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        faults::unless(FileFault::Seek)?;
        self.file.seek(to)
    }
}

impl Scratch {
    /// A new file beside `target`, under a name that nobody has.
    fn beside(target: &Path, name: &str) -> io::Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        for _ in 0..MOST_NAMES {
            // Two saves of one process must not share a file, and processes of two containers may have one number.
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(format!(".{name}.{}-{serial}.tmp", std::process::id()));
            let file = match faults::unless(FileFault::Create).and_then(|()| File::create_new(&path)) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                result => result?,
            };
            let scratch = Self { file, path, keep: false };
            // Another save may take it for a left-over before it is locked. Some file systems have no locks.
            let locked = faults::strikes(FileFault::Lock) || !matches!(scratch.file.try_lock(), Err(TryLockError::WouldBlock));
            if locked && scratch.has_its_name()? {
                return Ok(scratch);
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "no name is free for a temporary file"))
    }

    #[cfg_attr(not(unix), allow(dead_code, reason = "others have no such permissions"))]
    fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        faults::unless(FileFault::Permissions)?;
        self.file.set_permissions(permissions)
    }

    fn sync(&self) -> io::Result<()> {
        faults::unless(FileFault::Sync)?;
        self.file.sync_all()
    }

    /// Whether the path still leads to the file.
    fn has_its_name(&self) -> io::Result<bool> {
        let Ok(named) = fs::symlink_metadata(&self.path) else { return Ok(false) };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let own = self.file.metadata()?;
            Ok((own.dev(), own.ino()) == (named.dev(), named.ino()))
        }
        #[cfg(not(unix))]
        Ok(named.is_file())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    faults::unless(FileFault::Remove)?;
    fs::remove_file(path)
}

/// A name with as many whole characters as a temporary file's name has room for.
fn shortened(name: &str) -> String {
    name.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_BYTES).map(|(_, c)| c).collect()
}

/// Whether a name is one that [`Scratch::beside`] gives: `.NAME.PROCESS-SERIAL.tmp`.
fn is_scratch(found: &str, name: &str) -> bool {
    let numbers = || found.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp")?.split_once('-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    numbers().is_some_and(|(process, serial)| is_number(process) && is_number(serial))
}

/// Deletes the temporary files of saves to the same name whose process has ended: those that nobody has locked.
fn remove_left_over(folder: &Path, name: &str) {
    // Whatever cannot be read or deleted stays; the save itself needs none of it.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|found| is_scratch(found, name));
        if !ours || !entry.file_type().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let path = entry.path();
        let opened = OpenOptions::new().read(true).write(true).open(&path).or_else(|_| File::open(&path));
        if opened.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = remove(&path);
        }
    }
}

/// Has a folder's names reach the disk. Only some systems can, and only for folders that the process may read.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let Ok(opened) = File::open(folder) else { return Ok(()) };
    faults::unless(FileFault::SyncFolder)?;
    match opened.sync_all() {
        Err(e) if !matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Err(e),
        _ => Ok(()),
    }
}

/// Makes a folder and those above it; returns the folders that have a new name in them.
fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let above = |folder: &Path| folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    let missing = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists());
    let changed: Vec<PathBuf> = missing.map(above).collect();
    if !changed.is_empty() {
        faults::unless(FileFault::Folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(changed)
}

/// Writes `bytes` to `path`: to a temporary file beside it first, which then takes its name. If the path is a link, the file
/// that it leads to is written, and the link is kept. A file that is there already keeps its permissions.
///
/// Missing parent directories are made. The contents are on the disk before the file has its name, and the name is on the disk
/// when this returns. Temporary files of processes that ended while they wrote to the same path are deleted.
///
/// # Errors
/// [`Error::Io`] with the path: a directory that cannot be written, a full disk, or a path that leads to a directory, a device, a
/// FIFO or a socket. The old file, if any, is then as it was, and no temporary file remains. Only if the directory itself cannot
/// be brought to the disk, as on a failing one, the new file is there all the same.
#[track_caller]
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// As [`write`], with contents that are written piece by piece.
#[track_caller]
pub(crate) fn write_with(path: &Path, contents: impl FnOnce(&mut Scratch) -> io::Result<()>) -> Result<()> {
    let target = through_links(path).map_err(|e| Error::io(path, e))?;
    let (Some(_), Some(name)) = (path.file_name(), target.file_name()) else {
        return Err(Error::argument("path", format!("\"{}\" names no file", path.display()), "give a file's path"));
    };
    let name = shortened(&name.to_string_lossy());
    let before = fs::metadata(&target).ok();
    if let Some(found) = before.as_ref().filter(|found| !found.is_file()) {
        return Err(Error::io(path, refusal(found)));
    }
    // An empty parent means the current directory.
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut changed = make_folders(folder).map_err(|e| Error::io(folder, e))?;
    changed.insert(0, folder.to_path_buf());
    remove_left_over(folder, &name);
    let write_all = || -> io::Result<()> {
        let mut scratch = Scratch::beside(&target, &name)?;
        // Before the contents, which others may not be allowed to read.
        #[cfg(unix)]
        if let Some(before) = &before {
            scratch.set_permissions(before.permissions())?;
        }
        contents(&mut scratch)?;
        // The contents must reach the disk before the name does, or a crash leaves an empty file.
        scratch.sync()?;
        if cfg!(windows) {
            // A lock there keeps readers out, who may open the file as soon as it has its name.
            let _ = scratch.file.unlock();
        }
        replace(&scratch.path, &target)?;
        scratch.keep = true;
        changed.iter().try_for_each(|folder| sync_folder(folder))
    };
    write_all().map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file.bin");
        for contents in [&b"one"[..], b"two, longer", b""] {
            write(&path, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(count(path.parent().unwrap()), 1);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), b"x").unwrap();
        assert!(matches!(write(&path, b"data"), Err(Error::Io { .. })));
        assert_eq!(count(dir.path()), 1);
        assert!(matches!(write(Path::new("/"), b""), Err(Error::Argument { .. })));
        let full = write_with(&dir.path().join("b"), |_| Err(io::Error::other("the disk is full")));
        assert!(matches!(full, Err(Error::Io { .. })) && count(dir.path()) == 1);
    }

    #[test]
    fn a_temporary_file_is_one_of_the_same_name_by_its_pattern() {
        for (found, ours) in [
            (".a.bin.12-0.tmp", true),
            (".a.bin.12-3456.tmp", true),
            (".a.bin.12-.tmp", false),
            (".a.bin.-1.tmp", false),
            (".a.bin.b.12-0.tmp", false),
            (".a.bin.12-0-1.tmp", false),
            (".a.bin.tmp", false),
            ("a.bin.12-0.tmp", false),
            (".a.binx.12-0.tmp", false),
        ] {
            assert_eq!(is_scratch(found, "a.bin"), ours, "{found}");
        }
    }

    #[test]
    fn files_that_are_being_written_stay_and_their_names_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        // As of another process with this one's number.
        let busy: Vec<File> = (0..300)
            .map(|serial| {
                let file = File::create(dir.path().join(format!(".a.{}-{serial}.tmp", std::process::id()))).unwrap();
                file.lock().unwrap();
                file
            })
            .collect();
        write(&path, b"data").unwrap();
        assert_eq!((count(dir.path()), fs::read(&path).unwrap()), (301, b"data".to_vec()));
        drop(busy);
        write(&path, b"more").unwrap();
        assert_eq!((count(dir.path()), fs::read(&path).unwrap()), (1, b"more".to_vec()));
    }
}
