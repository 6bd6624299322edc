// ln x and ln(1 + x) to about 1 ulp: x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then the series of 2 atanh(s),
// s = f / (2 + f).

fn log_series_f32(f: f32, k: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (0.666666667 + z * (0.4 + z * (0.285714286 + z * (0.222222222 + z * 0.181818182))));
    let half = 0.5 * f * f;
    return k * 0.693145752 + (f - (half - (s * (half + r) + k * 1.42860677e-6)));
}

fn log_f32(x: f32) -> f32 {
    let tiny = abs(x) < 1.17549435e-38;
    let bits = bitcast<u32>(select(x, x * 8388608.0, tiny));
    let up = bits + 0x004afb0du;
    let k = f32(i32(up >> 23u) - 127) - select(0.0, 23.0, tiny);
    let m = bitcast<f32>((up & 0x007fffffu) + 0x3f3504f3u);
    var result = log_series_f32(m - 1.0, k);
    if (!(x > 0.0)) {
        result = select(from_bits_f32(0x7fc00000u), from_bits_f32(0xff800000u), x == 0.0);
    }
    return select(result, x, is_nan_f32(x) || bitcast<u32>(x) == 0x7f800000u);
}

fn log1p_f32(x: f32) -> f32 {
    let small = x > -0.29 && x < 0.41;
    return select(log_f32(1.0 + x), log_series_f32(select(0.0, x, small), 0.0), small);
}
