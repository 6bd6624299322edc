// e^x and e^x - 1 to about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, then a Taylor series in r.

// p * 2^n in two factors, so that results beyond either end of the normal range round correctly.
fn scale_f32(p: f32, n: i32) -> f32 {
    let half = n >> 1u;
    let rest = n - half;
    return p * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
}

fn exp_f32(x: f32) -> f32 {
    let c = clamp(x, -110.0, 90.0);
    let n = round(c * 1.44269504);
    let r = (c - n * 0.693145752) - n * 1.42860677e-6;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (0.166666667 + r * (0.0416666667
        + r * (8.33333333e-3 + r * (1.38888889e-3 + r * 1.98412698e-4))))));
    return select(scale_f32(p, i32(n)), x, is_nan_f32(x));
}

fn expm1_f32(x: f32) -> f32 {
    let r = select(x, 0.0, abs(x) >= 0.5);
    let series = r + r * r * (0.5 + r * (0.166666667 + r * (0.0416666667
        + r * (8.33333333e-3 + r * (1.38888889e-3 + r * (1.98412698e-4 + r * 2.48015873e-5))))));
    return select(series, exp_f32(x) - 1.0, abs(x) >= 0.5);
}
