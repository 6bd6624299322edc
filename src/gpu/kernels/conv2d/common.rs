//! What the texts of all convolutions share.

use crate::gpu::program::Caps;

/// Threads of a workgroup: small groups balance better over few cores, and lavapipe's vectors are 8 wide.
pub(super) fn lanes(caps: &Caps) -> usize {
    if caps.software { 16 } else { 64 }
}

/// The widest vector that divides all of these.
pub(super) fn width(lengths: &[usize]) -> usize {
    [4, 2].into_iter().find(|v| lengths.iter().all(|l| l % v == 0)).unwrap_or(1)
}

/// The WGSL type of `width` neighbours.
pub(super) fn vector(width: usize) -> String {
    if width == 1 { "f32".into() } else { format!("vec{width}<f32>") }
}
