// Tests on bits: WGSL lets a compiler assume that no value is NaN or infinite.

fn is_nan_f32(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite_f32(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// A value from its bits; through a variable, since a constant NaN or infinity is an error in WGSL.
fn from_bits_f32(bits: u32) -> f32 {
    var word = bits;
    return bitcast<f32>(word);
}
