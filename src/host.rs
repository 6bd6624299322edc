//! Host memory that may not be available: `vec![0; len]` and `collect` end the process when memory runs out, these give an error.

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

/// `len` zeros. Pages are first touched when they are written, as with `vec![0; len]`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeroed<T: Zeroable>(what: &str, len: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| no_room::<T>(what, len))
}

fn no_room<T>(what: &str, len: usize) -> Error {
    Error::OutOfMemory {
        bytes: (len as u64).saturating_mul(size_of::<T>() as u64),
        reason: format!("the host has no room for {len} elements of {what}"),
        help: "use smaller sizes, batches or parts".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
