// Rows by units of ${V} neighbours, which threads load at once.
#if ${V} == 4
alias Unit = vec4<f32>;

fn most(v: Unit) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn total(v: Unit) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn exps(v: Unit, top: f32) -> Unit {
    return Unit(shifted_exp(v.x, top), shifted_exp(v.y, top), shifted_exp(v.z, top), shifted_exp(v.w, top));
}

fn log_shares(v: Unit, top: f32, rest: f32, dead: bool, zero: u32) -> Unit {
    let low = vec2<f32>(log_share(v.x, top, rest, dead, zero), log_share(v.y, top, rest, dead, zero));
    let high = vec2<f32>(log_share(v.z, top, rest, dead, zero), log_share(v.w, top, rest, dead, zero));
    return Unit(low, high);
}

// 1 at element `label` of a row in its unit u.
fn one_hot(u: u32, label: u32) -> Unit {
    return select(Unit(0.0), Unit(1.0), vec4<u32>(u * 4u) + vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(label));
}
#else
alias Unit = f32;

fn most(v: Unit) -> f32 {
    return v;
}

fn total(v: Unit) -> f32 {
    return v;
}

fn exps(v: Unit, top: f32) -> Unit {
    return shifted_exp(v, top);
}

fn log_shares(v: Unit, top: f32, rest: f32, dead: bool, zero: u32) -> Unit {
    return log_share(v, top, rest, dead, zero);
}

// 1 at element `label` of a row.
fn one_hot(u: u32, label: u32) -> Unit {
    return select(0.0, 1.0, u == label);
}
#end
