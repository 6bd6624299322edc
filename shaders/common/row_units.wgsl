// Rows by units of ${V} neighbours, which threads load at once.
#if ${V} == 4
fn most(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn exps(v: vec4<f32>, top: f32) -> vec4<f32> {
    return vec4<f32>(shifted_exp(v.x, top), shifted_exp(v.y, top), shifted_exp(v.z, top), shifted_exp(v.w, top));
}

fn log_shares(v: vec4<f32>, top: f32, rest: f32, dead: bool, zero: u32) -> vec4<f32> {
    let low = vec2<f32>(log_share(v.x, top, rest, dead, zero), log_share(v.y, top, rest, dead, zero));
    let high = vec2<f32>(log_share(v.z, top, rest, dead, zero), log_share(v.w, top, rest, dead, zero));
    return vec4<f32>(low, high);
}

// 1 at element `label` of a row in its unit u.
fn one_hot(u: u32, label: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(u * 4u) + vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(label));
}
#else
fn most(v: f32) -> f32 {
    return v;
}

fn total(v: f32) -> f32 {
    return v;
}

fn exps(v: f32, top: f32) -> f32 {
    return shifted_exp(v, top);
}

fn log_shares(v: f32, top: f32, rest: f32, dead: bool, zero: u32) -> f32 {
    return log_share(v, top, rest, dead, zero);
}

// 1 at element `label` of a row.
fn one_hot(u: u32, label: u32) -> f32 {
    return select(0.0, 1.0, u == label);
}
#end
