//! The flag of indices out of range: see [`RowOp::Check`](crate::graph::row::RowOp::Check).

/// The flag after these indices, of which there are no more than 32 bits count; `flag` is the one before them.
pub(super) fn check(len: u32, site: u32, index: &[u32], flag: &[u32]) -> [u32; 4] {
    // As u32, a negative index is beyond any length.
    let end = len.min(1 << 31);
    let &[a, b, c, d] = flag else { return [0; 4] };
    match index.iter().position(|&i| a == 0 && i >= end) {
        Some(at) => [site, u32::try_from(at).unwrap_or(u32::MAX), index[at], len],
        None => [a, b, c, d],
    }
}

/// The same, one element after the other.
pub(super) mod reference {
    use crate::cpu::reference::{Numbers, Value};
    use crate::error::Result;

    /// The flag of the first index out of range, if there is no other one.
    pub(crate) fn check(len: u32, site: u32, index: &Value, flag: &Value) -> Result<Numbers> {
        let mut flag = flag.ints()?.to_vec();
        for (position, &i) in index.ints()?.iter().enumerate() {
            let is_within = u32::try_from(i).is_ok_and(|i| i < len);
            if !is_within && flag[0] == 0 {
                flag = vec![site.cast_signed(), i32::try_from(position).unwrap_or(-1), i, len.cast_signed()];
            }
        }
        Ok(Numbers::I32(flag))
    }
}
