//! The IDX format of MNIST: a magic number, big-endian dimensions, then bytes; plain or compressed with gzip.
//!
//! Nothing in a file is trusted: the header is checked, and the size it claims is limited, before memory is allocated for it.
//! Half a megabyte of gzip may expand to half a gigabyte.
//!
//! Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

use crate::error::{Error, Result};
use crate::source;
use flate2::read::MultiGzDecoder;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// The most elements that [`read`] takes: 256 MiB, five times the full MNIST. [`read_within`] takes another limit.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// How much memory is asked for at first, before the file has proved that it fills it.
const FIRST: usize = 1 << 16;

const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const UNSIGNED_BYTE: u8 = 0x08;
const FETCH: &str = "fetch the file again, or name a directory with the four MNIST files";

/// An array of bytes, as an IDX file stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// The dimensions, outermost first.
    pub dims: Vec<usize>,
    /// The elements in row-major order.
    pub bytes: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `rank` dimensions. Compression is recognised by its magic number.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is not an IDX file, is truncated, is longer than its header
/// says, has another rank or element type, claims more than [`MAX_ELEMENTS`], or its gzip stream is damaged. A path that leads to
/// something other than a regular file is an [`Error::Io`].
#[track_caller]
pub fn read(path: &Path, rank: usize) -> Result<IdxArray> {
    read_within(path, rank, MAX_ELEMENTS)
}

/// As [`read`], with at most `most` elements, which is the most memory that the array takes.
///
/// # Errors
/// As [`read`], with this limit.
#[track_caller]
pub fn read_within(path: &Path, rank: usize, most: usize) -> Result<IdxArray> {
    let (file, _) = source::open(path)?;
    let mut file = BufReader::new(file);
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start).map_err(|e| Error::io(path, e))?;
    let compressed = start == GZIP_MAGIC;
    let whole = start.as_slice().chain(file);
    if compressed { parse(&mut MultiGzDecoder::new(whole), path, rank, most) } else { parse(&mut { whole }, path, rank, most) }
}

fn no_room(count: usize) -> Error {
    let reason = format!("the host has no room for {count} elements of an IDX file");
    Error::out_of_memory(count as u64, reason, "use a smaller file")
}

/// Reads exactly `buffer`, or says what was missing.
fn fill(reader: &mut impl Read, buffer: &mut [u8], path: &Path, what: &str) -> Result<()> {
    reader.read_exact(buffer).map_err(|e| read_error(&e, path, what))
}

fn read_error(error: &std::io::Error, path: &Path, what: &str) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::format(path, format!("the file ends within {what}"), FETCH),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::format(path, format!("the gzip stream is damaged within {what}: {error}"), FETCH)
        }
        _ => Error::io(path, std::io::Error::new(error.kind(), error.to_string())),
    }
}

fn parse(reader: &mut impl Read, path: &Path, rank: usize, most: usize) -> Result<IdxArray> {
    let mut magic = [0; 4];
    fill(reader, &mut magic, path, "the magic number")?;
    let [0, 0, element, found] = magic else {
        return Err(Error::format(path, format!("the magic number is {magic:02x?}; an IDX file begins with two zeros"), FETCH));
    };
    if element != UNSIGNED_BYTE {
        let reason = format!("the element type is 0x{element:02x}; only unsigned bytes (0x08) are read");
        return Err(Error::format(path, reason, "convert the file to unsigned bytes"));
    }
    if usize::from(found) != rank {
        let help = "images have 3 dimensions and labels 1: are the two files swapped?";
        return Err(Error::format(path, format!("the file has {found} dimensions and {rank} are expected"), help));
    }
    let mut dims = Vec::with_capacity(rank);
    for axis in 0..rank {
        let mut word = [0; 4];
        fill(reader, &mut word, path, &format!("the length of axis {axis}"))?;
        dims.push(u32::from_be_bytes(word) as usize);
    }
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= most);
    let Some(count) = count else {
        let reason = format!("the header claims {dims:?} elements, more than the limit of {most}");
        return Err(Error::format(path, reason, format!("{FETCH}; if it is right, read it with a larger limit")));
    };
    // A lying header reserves no memory that the file does not half fill; one more byte shows a longer file.
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let next = bytes.len().max(FIRST).min((count - bytes.len()).saturating_add(1));
        bytes.try_reserve_exact(next).map_err(|_| no_room(count))?;
        let read = reader.by_ref().take(next as u64).read_to_end(&mut bytes).map_err(|e| read_error(&e, path, "the elements"))?;
        if read < next || bytes.len() > count {
            break;
        }
    }
    if bytes.len() < count {
        let reason = format!("the header says {dims:?}, that is {count} elements, and the file ends after {}", bytes.len());
        return Err(Error::format(path, reason, FETCH));
    }
    if bytes.len() > count {
        return Err(Error::format(
            path,
            format!("the header says {dims:?}, that is {count} elements, and there are more"),
            FETCH,
        ));
    }
    Ok(IdxArray { dims, bytes })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// An IDX file's bytes.
    pub(crate) fn encode(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0, UNSIGNED_BYTE, u8::try_from(dims.len()).unwrap()];
        out.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        out.extend_from_slice(bytes);
        out
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_bytes(bytes: &[u8], rank: usize) -> Result<IdxArray> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        read(&path, rank)
    }

    #[test]
    fn plain_and_gzip_files_read_alike() {
        let cases = [(vec![2, 2, 3], (0..12).collect::<Vec<u8>>()), (vec![4], vec![9, 8, 7, 6]), (vec![0], vec![])];
        for (dims, bytes) in cases {
            let expected = IdxArray { dims: dims.iter().map(|&d| d as usize).collect(), bytes: bytes.clone() };
            let file = encode(&dims, &bytes);
            assert_eq!(read_bytes(&file, dims.len()).unwrap(), expected);
            assert_eq!(read_bytes(&gzip(&file), dims.len()).unwrap(), expected);
        }
    }

    #[test]
    fn bad_files_are_named_with_a_remedy() {
        let good = encode(&[2, 3], &[1; 6]);
        let packed = gzip(&good);
        let mut damaged = packed.clone();
        let middle = damaged.len() - 6;
        damaged[middle] ^= 0xFF;
        let mut wrong_type = good.clone();
        wrong_type[2] = 0x0D;
        let longer = [good.clone(), vec![0]].concat();
        let rows: [(&str, Vec<u8>, usize, &str); 12] = [
            ("empty", vec![], 2, "magic number"),
            ("short magic", vec![0, 0, 8], 2, "magic number"),
            ("text", b"<html>not found</html>".to_vec(), 2, "two zeros"),
            ("element type", wrong_type, 2, "element type"),
            ("rank", good.clone(), 3, "dimensions"),
            ("short header", good[..9].to_vec(), 2, "axis 1"),
            ("short body", good[..13].to_vec(), 2, "ends after 1"),
            ("long body", longer, 2, "there are more"),
            ("lying header", encode(&[u32::MAX, u32::MAX], &[1; 6]), 2, "limit"),
            ("large header", encode(&[1 << 13, 1 << 15], &[1; 6]), 2, "ends after 6"),
            ("short gzip", packed[..packed.len() - 12].to_vec(), 2, "ends within"),
            ("damaged gzip", damaged, 2, "gzip"),
        ];
        for (name, bytes, rank, expected) in rows {
            match read_bytes(&bytes, rank) {
                Err(Error::Format { reason, help, .. }) => {
                    assert!(reason.contains(expected), "{name}: {reason}");
                    assert!(!help.is_empty());
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(matches!(read(Path::new("/nonexistent/file"), 1), Err(Error::Io { .. })));
    }

    #[test]
    fn limits_are_the_callers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, gzip(&encode(&[1000, 1000], &vec![7; 1_000_000]))).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 20_000);
        assert_eq!(read_within(&path, 2, 1_000_000).unwrap().bytes, vec![7; 1_000_000]);
        let message = read_within(&path, 2, 999_999).unwrap_err().to_string();
        std::fs::write(&path, encode(&[u32::MAX, u32::MAX], &[7; 100_000])).unwrap();
        let endless = read_within(&path, 2, usize::MAX).unwrap_err().to_string();
        assert!(endless.contains(if cfg!(target_pointer_width = "64") { "ends after 100000" } else { "the limit" }), "{endless}");
        assert!(message.contains("the limit of 999999") && message.contains("a larger limit"), "{message}");
    }

    #[test]
    fn gzip_files_of_several_members_read_whole() {
        let (file, expected) = (encode(&[2, 3], &[1, 2, 3, 4, 5, 6]), vec![1, 2, 3, 4, 5, 6]);
        for at in 0..=file.len() {
            let packed = [gzip(&file[..at]), gzip(&file[at..])].concat();
            assert_eq!(read_bytes(&packed, 2).unwrap().bytes, expected, "cut at {at}");
            // Truncated between the members, and within the second one.
            let first = gzip(&file[..at]).len();
            for end in [first, first + 5, packed.len() - 1] {
                let result = read_bytes(&packed[..end], 2);
                let whole = at == file.len() && end == first;
                assert!(whole || matches!(result, Err(Error::Format { .. })), "cut at {at}, ends at {end}: {result:?}");
            }
        }
        for after in [gzip(&[7]), b"junk".to_vec(), vec![0]] {
            let result = read_bytes(&[gzip(&file), after.clone()].concat(), 2);
            assert!(matches!(result, Err(Error::Format { .. })), "{after:?}: {result:?}");
        }
    }

    #[test]
    fn sizes_near_the_end_of_numbers_take_no_memory() {
        let rows: [&[u32]; 5] = [
            &[u32::MAX, u32::MAX, 1],
            &[u32::MAX, u32::MAX, 2],
            &[1 << 31, 1 << 31, 4],
            &[u32::MAX; 3],
            &[0, u32::MAX, u32::MAX],
        ];
        for dims in rows {
            let result = read_bytes(&encode(dims, &[1; 6]), dims.len());
            assert!(matches!(result, Err(Error::Format { .. })), "{dims:?}: {result:?}");
        }
        // No elements, whatever the other axes say.
        for dims in [&[0, u32::MAX, u32::MAX], &[u32::MAX, u32::MAX, 0]] {
            assert_eq!(read_bytes(&encode(dims, &[]), 3).unwrap().bytes.len(), 0, "{dims:?}");
        }
    }
}
