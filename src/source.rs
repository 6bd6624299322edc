//! Files to read: only regular files are opened, and no more is read than they have. A FIFO or a device may never end, or never
//! begin.

use crate::atomic::refusal;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most bytes of a file that gives its length as 0, as those of `/proc` do.
const UNTOLD: u64 = 16 << 20;

/// Opens a file, and says how many bytes it has. Links are followed.
///
/// # Errors
/// There is none, or it may not be read; it is a directory, a device, a FIFO or a socket.
#[track_caller]
pub fn open(path: &Path) -> Result<(File, u64)> {
    let failed = |e| Error::io(path, e);
    // Before it is opened: to open a FIFO waits for a writer.
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(refusal(&found)));
    }
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_file() { Ok((file, found.len())) } else { Err(failed(refusal(&found))) }
}

/// Reads a whole file, as long as it is when it is opened.
///
/// # Errors
/// As [`open`]; the host has no room for it; it has no length and does not end.
#[track_caller]
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let (file, len) = open(path)?;
    let mut bytes = Vec::new();
    let reason = || format!("the host has no room for {}", path.display());
    let no_room = || Error::out_of_memory(len, reason(), "use a smaller file");
    bytes.try_reserve_exact(usize::try_from(len).map_err(|_| no_room())?).map_err(|_| no_room())?;
    let most = if len == 0 { UNTOLD + 1 } else { len };
    file.take(most).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > len.max(UNTOLD) {
        let reason = format!("the file does not say how long it is, and does not end within {UNTOLD} bytes");
        return Err(Error::format(path, reason, "copy what you need of it into a file"));
    }
    Ok(bytes)
}
