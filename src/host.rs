//! Host memory that may not be available: `vec![0; len]` and `collect` end the process when memory runs out, these give an error.

use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use bytemuck::Zeroable;

/// An empty vector with room for `len` elements.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserved<T>(what: &str, len: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| no_room::<T>(what, len))?;
    Ok(vector)
}

/// Whether there is room for this many bytes, which others are about to take piece by piece.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn probe(what: &str, bytes: u64) -> Result<()> {
    // The pages are never touched.
    reserved::<u8>(what, usize::try_from(bytes).unwrap_or(usize::MAX)).map(drop)
}

/// `len` zeros. Pages are first touched when they are written, as with `vec![0; len]`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeroed<T: Zeroable>(what: &str, len: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| no_room::<T>(what, len))
}

/// As many zeros of a dtype: what is read from a device that has no values.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeros(dtype: DType, len: usize) -> Result<HostData> {
    let what = "a tensor";
    Ok(match dtype {
        DType::F32 => HostData::F32(zeroed(what, len)?),
        DType::F64 => HostData::F64(zeroed(what, len)?),
        DType::I32 => HostData::I32(zeroed(what, len)?),
        DType::U32 | DType::Bool => HostData::U32(zeroed(what, len)?),
        DType::U8 => HostData::U8(zeroed(what, len)?),
        DType::F16 => HostData::F16(zeroed(what, len)?),
    })
}

/// A copy.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn copied<T: Copy>(what: &str, values: &[T]) -> Result<Vec<T>> {
    let mut made = reserved(what, values.len())?;
    made.extend_from_slice(values);
    Ok(made)
}

/// What [`HostData`] could make only if there was memory for as many elements.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn had_room(made: Option<HostData>, what: &str, dtype: DType, len: usize) -> Result<HostData> {
    let reason = || format!("the host has no room for {len} elements of {what}");
    made.ok_or_else(|| Error::out_of_memory(dtype.bytes(len) as u64, reason(), "use smaller sizes, batches or parts"))
}

fn no_room<T>(what: &str, len: usize) -> Error {
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    let reason = format!("the host has no room for {len} elements of {what}");
    Error::out_of_memory(bytes, reason, "use smaller sizes, batches or parts")
}

/// The memory that this process can still have, in bytes: the machine's, its control group's, or of its address space, whichever is
/// least. Nothing where the system does not say.
pub(crate) fn available() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    let group = system.cgroup_limits().map(|group| group.free_memory);
    [machine, group, address_space()].into_iter().flatten().min()
}

/// What is left of the address space that `ulimit -v` allows.
fn address_space() -> Option<u64> {
    let number = |file: &str, line: &str, unit: u64| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix(line))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(unit)
    };
    let limit = number("/proc/self/limits", "Max address space", 1)?;
    Some(limit.saturating_sub(number("/proc/self/status", "VmSize:", 1 << 10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory() {
        let bytes = available().expect("known on Linux, Windows and macOS");
        assert!((1 << 20..1 << 50).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_memory_cannot_hold_is_an_error() {
        for len in [usize::MAX, usize::MAX / 8 + 1, 1 << (usize::BITS - 2), usize::MAX / 15] {
            for error in [reserved::<u64>("a test", len).unwrap_err(), zeroed::<f64>("a test", len).unwrap_err()] {
                assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
                assert!(error.to_string().contains(&format!("{len} elements of a test")), "{error}");
            }
        }
        assert_eq!(zeroed::<f32>("a test", 3).unwrap(), [0.0; 3]);
        assert!(reserved::<u8>("a test", 3).unwrap().capacity() >= 3);
        assert_eq!(copied("a test", &[1, 2]).unwrap(), [1, 2]);
        let error = had_room(None, "a test", DType::U32, 2).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { wanted: 8, .. }), "{error}");
    }
}
