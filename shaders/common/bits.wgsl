// Tests on bits, and numbers hidden from the compiler: WGSL lets it assume that no value is NaN or infinite, and some compilers
// regroup sums and products (Metal's does by default).

// The sign is shifted out: compilers know masks of the exponent, and comparisons with the bits of infinity, for tests of numbers
// that they assume not to be there (LLVM 19 does).
fn is_nan_f32(x: f32) -> bool {
    return (bitcast<u32>(x) << 1u) > 0xff000000u;
}

fn is_finite_f32(x: f32) -> bool {
    return (bitcast<u32>(x) << 1u) < 0xff000000u;
}

// A value from its bits; through a variable, since a constant NaN or infinity is an error in WGSL.
fn from_bits_f32(bits: u32) -> f32 {
    var word = bits;
    return bitcast<f32>(word);
}

// y, or x where that is NaN. By bits: of two floats, a compiler may take the one that it assumes not to be NaN.
fn or_nan_f32(y: f32, x: f32) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(y), bitcast<u32>(x), is_nan_f32(x)));
}

// y, or NaN where that is not defined, which depends on x.
fn where_defined_f32(y: f32, defined: bool, x: f32) -> f32 {
    return bitcast<f32>(select(0x7fc00000u ^ hidden_zero_of(x), bitcast<u32>(y), defined));
}

// 0, from a whole number below 2^16: its last 8 bits, of which compilers know nothing.
fn hidden_zero(whole: f32) -> u32 {
    return bitcast<u32>(whole) & 0xffu;
}

// 0, from any number. A function that ends in a NaN that compilers can see may be taken not to end there.
fn hidden_zero_of(x: f32) -> u32 {
    return hidden_zero(f32(bitcast<u32>(x) >> 24u));
}

// x, which compilers take for another number, and so do not regroup with what x is the sum or product of.
fn opaque_f32(x: f32, zero: u32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ zero);
}
