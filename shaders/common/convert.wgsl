// Conversions from floats: towards zero, saturating, NaN to 0.

fn f32_to_i32(x: f32) -> i32 {
    if (is_nan_f32(x)) {
        return 0;
    }
    if (x >= 2147483648.0) {
        return 2147483647;
    }
    if (x < -2147483648.0) {
        return -2147483647 - 1;
    }
    return i32(x);
}

fn f32_to_u32(x: f32) -> u32 {
    if (is_nan_f32(x) || x <= 0.0) {
        return 0u;
    }
    if (x >= 4294967296.0) {
        return 4294967295u;
    }
    return u32(x);
}
