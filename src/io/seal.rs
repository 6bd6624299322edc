//! The checksums of our files: CRC-32s of the header and of the data, in the first note.
//!
//! ```text
//! file = length, header, data
//! header = {"__metadata__":{"wgrad.checksum":"crc32:HHHHHHHH:DDDDDDDD", ... }, ... }, 16 to 23 spaces
//! D = CRC-32 of the data
//! H = CRC-32 of length and header, with zeros in the place of H
//! ```
//!
//! Both are 8 hexadecimal digits. A file is ours if its header begins with most of the bytes above and ends with most of the
//! spaces. No flipped bit changes that, so that a damaged file of ours is never taken for one of another program, which has no
//! checksum to fail. Other programs may copy the note into files that they write; these end with fewer spaces.

/// The key of the note, which users never see.
pub const KEY: &str = "wgrad.checksum";
/// How a header of ours begins.
pub const OPENING: &str = "{\"__metadata__\":{\"wgrad.checksum\":\"crc32:";
/// What follows it before the checksums are known.
pub const BLANK: &str = "00000000:00000000\"";
/// The fewest spaces at the end of a header of ours.
pub const SPACES: usize = 16;
/// Other writers fill the header up to a multiple of 8 bytes.
const OTHERS_SPACES: usize = 7;
/// Hexadecimal digits of a checksum.
const DIGITS: usize = 8;
/// The bytes that [`fill`] may change, at the header's beginning.
pub const HEAD: usize = OPENING.len() + BLANK.len();

/// The header's own checksum.
fn of_header(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(header.len() as u64).to_le_bytes());
    let (before, rest) = header.split_at(OPENING.len().min(header.len()));
    crc.update(before);
    crc.update(&[b'0'; DIGITS]);
    crc.update(rest.get(DIGITS..).unwrap_or_default());
    crc.finalize()
}

fn put(header: &mut [u8], at: usize, sum: u32) {
    if let Some(place) = header.get_mut(at..at + DIGITS) {
        place.copy_from_slice(format!("{sum:08x}").as_bytes());
    }
}

/// Puts the checksums into a header of ours.
pub fn fill(header: &mut [u8], data: u32) {
    put(header, OPENING.len() + DIGITS + 1, data);
    let own = of_header(header);
    put(header, OPENING.len(), own);
}

/// Whether a header is, or was, one of ours.
fn is_ours(header: &[u8]) -> bool {
    if header.len() < HEAD + SPACES {
        return false;
    }
    let alike = header.iter().zip(OPENING.as_bytes()).filter(|(a, b)| a == b).count();
    let spaces = header.iter().rev().take(SPACES).filter(|&&b| b == b' ').count();
    // A header of another program shares 18 bytes, `{"__metadata__":{"`.
    alike >= OPENING.len() * 3 / 4 && spaces > OTHERS_SPACES + 4
}

/// The checksum that the data must have, or none if the file is another program's.
///
/// # Errors
/// The header is one of ours and damaged.
#[track_caller]
pub fn check(header: &[u8]) -> Result<Option<u32>, ()> {
    if !is_ours(header) {
        return Ok(None);
    }
    let digits = |at: usize| header.get(at..at + DIGITS);
    let own = format!("{:08x}", of_header(header));
    if !header.starts_with(OPENING.as_bytes()) || digits(OPENING.len()) != Some(own.as_bytes()) {
        return Err(());
    }
    let data = digits(OPENING.len() + DIGITS + 1).and_then(|d| std::str::from_utf8(d).ok());
    data.and_then(|d| u32::from_str_radix(d, 16).ok()).map(Some).ok_or(())
}
