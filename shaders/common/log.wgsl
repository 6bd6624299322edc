// ln x and ln(1 + x) to about 1 ulp: x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then the series of 2 atanh(s),
// s = f / (2 + f).

fn log_series_f32(f: f32, k: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * (0.666666667 + z * (0.4 + z * (0.285714286 + z * (0.222222222 + z * 0.181818182))));
    let half = 0.5 * f * f;
    // ln 2 in two parts, which compilers would add up.
    return k * 0.693145752 + opaque_f32(f - (half - (s * (half + r) + k * 1.42860677e-6)), hidden_zero(k));
}

fn log_f32(x: f32) -> f32 {
    let tiny = abs(x) < 1.17549435e-38;
    let bits = bitcast<u32>(select(x, x * 8388608.0, tiny));
    let up = bits + 0x004afb0du;
    let k = f32(i32(up >> 23u) - 127) - select(0.0, 23.0, tiny);
    let m = bitcast<f32>((up & 0x007fffffu) + 0x3f3504f3u);
    let y = bitcast<u32>(log_series_f32(m - 1.0, k));
    let special = select(0x7fc00000u, 0xff800000u, (bitcast<u32>(x) & 0x7fffffffu) < 0x00800000u);
    // Infinity stays, as numbers do that are NaN.
    let stays = bitcast<u32>(x) - 0x7f800000u < 0x00800000u;
    return or_nan_f32(bitcast<f32>(select(select(special ^ hidden_zero(k), y, x > 0.0), bitcast<u32>(x), stays)), x);
}

fn log1p_f32(x: f32) -> f32 {
    let small = x > -0.29 && x < 0.41;
    let series = log_series_f32(select(0.0, x, small), 0.0);
    return bitcast<f32>(select(bitcast<u32>(log_f32(1.0 + x)), bitcast<u32>(series), small));
}
