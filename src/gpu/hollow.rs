//! What a device without memory has in place of it.

/// What stands for every kernel's text.
pub(super) const NOTHING: &str = "@compute @workgroup_size(1) fn main() {}";

/// What stands for all memory, and for all bind groups.
#[derive(Debug)]
pub(super) struct Hollow {
    pub buffer: wgpu::Buffer,
    pub group: wgpu::BindGroup,
}
