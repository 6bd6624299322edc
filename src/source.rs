//! Files to read: only regular files are opened, and no more is read than they have. A FIFO or a device may never end, or never
//! begin.

use crate::atomic::faults::{self, FileFault};
use crate::atomic::refusal;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The most bytes of a file that gives its length as 0, as those of `/proc` do.
const UNTOLD: u64 = 16 << 20;

/// A regular file that is open.
pub struct Source {
    file: File,
    /// Whether it has been cut short on purpose.
    ended: bool,
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        faults::unless(FileFault::Read)?;
        faults::unless(FileFault::Interrupt)?;
        let short = faults::strikes(FileFault::ShortRead);
        self.ended |= faults::strikes(FileFault::End);
        let some = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        match bytes.get_mut(..some) {
            Some(bytes) if !self.ended => self.file.read(bytes),
            _ => Ok(0),
        }
    }
}

/// Opens a file, and says how many bytes it has. Links are followed.
///
/// # Errors
/// There is none, or it may not be read; it is a directory, a device, a FIFO or a socket.
#[track_caller]
pub fn open(path: &Path) -> Result<(Source, u64)> {
    let failed = |e| Error::io(path, e);
    // Before it is opened: to open a FIFO waits for a writer.
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(refusal(&found)));
    }
    let file = faults::unless(FileFault::Open).and_then(|()| File::open(path)).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_file() { Ok((Source { file, ended: false }, found.len())) } else { Err(failed(refusal(&found))) }
}

/// Reads a whole file, as long as it is when it is opened.
///
/// # Errors
/// As [`open`]; the host has no room for it; it becomes shorter meanwhile; it has no length and does not end.
#[track_caller]
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let (file, len) = open(path)?;
    let mut bytes = Vec::new();
    let reason = || format!("the host has no room for {}", path.display());
    let no_room = || Error::out_of_memory(len, reason(), "use a smaller file");
    bytes.try_reserve_exact(usize::try_from(len).map_err(|_| no_room())?).map_err(|_| no_room())?;
    let most = if len == 0 { UNTOLD + 1 } else { len };
    file.take(most).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if (bytes.len() as u64) < len {
        let reason = format!("it has {} of its {len} bytes left; help: read it when nothing writes to it", bytes.len());
        return Err(Error::io(path, io::Error::new(ErrorKind::UnexpectedEof, reason)));
    }
    if bytes.len() as u64 > len.max(UNTOLD) {
        let reason = format!("the file does not say how long it is, and does not end within {UNTOLD} bytes");
        return Err(Error::format(path, reason, "copy what you need of it into a file"));
    }
    Ok(bytes)
}
