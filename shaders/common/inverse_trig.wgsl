// Inverse trigonometric functions to about 3 ulp: each is the angle of some point.

// The arc tangent of t in [0, 1].
fn atan_unit(t: f32) -> f32 {
    let far = t > 0.414213562;
    let u = select(t, (t - 1.0) / (t + 1.0), far);
    let z = u * u;
    let p = u + u * z * (-0.333333069 + z * (0.19998183 + z * (-0.142395327 + z * (0.105698288 - z * 0.0602630525))));
    return select(p, 0.785398163 + p, far);
}

fn atan2_f32(y: f32, x: f32) -> f32 {
    let ax = abs(x);
    let ay = abs(y);
    let large = max(ax, ay);
    let t = select(select(min(ax, ay) / large, 0.0, large == 0.0), 1.0, ax == ay && large > 0.0);
    var angle = atan_unit(t);
    angle = select(angle, 1.57079633 - angle, ay > ax);
    angle = select(angle, 3.14159265 - angle, (bitcast<u32>(x) >> 31u) == 1u);
    angle = select(angle, -angle, (bitcast<u32>(y) >> 31u) == 1u);
    return or_nan_f32(or_nan_f32(angle, x), y);
}

fn atan_f32(x: f32) -> f32 {
    return atan2_f32(x, 1.0);
}

// Whether x is a sine.
fn is_sine(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) <= 0x3f800000u;
}

fn asin_f32(x: f32) -> f32 {
    return where_defined_f32(atan2_f32(x, sqrt((1.0 - x) * (1.0 + x))), is_sine(x), x);
}

fn acos_f32(x: f32) -> f32 {
    return where_defined_f32(atan2_f32(sqrt((1.0 - x) * (1.0 + x)), x), is_sine(x), x);
}
