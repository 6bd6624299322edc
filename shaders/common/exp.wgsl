// e^x and e^x - 1 to about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, then a Taylor series in r.

// p * 2^n for p between 1/2 and 2, in two factors, so that results beyond either end of the normal range round correctly. The first
// goes in by bits: compilers would multiply the factors with each other, which overflows.
fn scale_f32(p: f32, n: i32) -> f32 {
    let half = n >> 1u;
    let scaled = bitcast<f32>(bitcast<u32>(p) + (bitcast<u32>(half) << 23u));
    return scaled * bitcast<f32>(u32(n - half + 127) << 23u);
}

// e^x * 2^by
fn scaled_exp_f32(x: f32, by: i32) -> f32 {
    let c = clamp(x, -110.0, 90.0);
    let n = round(c * 1.44269504);
    // ln 2 in two parts, which compilers would add up.
    let r = opaque_f32(c - n * 0.693145752, hidden_zero(n)) - n * 1.42860677e-6;
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (0.166666667 + r * (0.0416666667
        + r * (8.33333333e-3 + r * (1.38888889e-3 + r * 1.98412698e-4))))));
    return or_nan_f32(scale_f32(p, i32(n) + by), x);
}

fn exp_f32(x: f32) -> f32 {
    return scaled_exp_f32(x, 0);
}

fn expm1_f32(x: f32) -> f32 {
    let r = select(x, 0.0, abs(x) >= 0.5);
    let series = r + r * r * (0.5 + r * (0.166666667 + r * (0.0416666667
        + r * (8.33333333e-3 + r * (1.38888889e-3 + r * (1.98412698e-4 + r * 2.48015873e-5))))));
    return select(series, exp_f32(x) - 1.0, abs(x) >= 0.5);
}
