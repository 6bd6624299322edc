// Pooling over [planes][H][W] to [planes][OH][OW] and its adjoints; PoolOp says what `MODE` computes.
//
// max, select, avg: one thread per output, KH * KW values read. avg_scatter, max_scatter: one thread per element of dx, which
// gathers from the windows that cover it, so no atomics are needed. max_scatter_apart: windows do not overlap; one thread per
// cell of stride by stride elements, which is read once and written once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
#if ${READS} == 2
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#end
const H = ${H}u;
const W = ${W}u;
const OH = ${OH}u;
const OW = ${OW}u;
#import grid
#import maximum

// The index in x of the maximum of window (oy, ox) of a plane, or 2^32 - 1 if the whole window is padding.
fn argmax(plane: u32, oy: u32, ox: u32) -> u32 {
    var best = 0xffffffffu;
    var value = 0.0;
    for (var kh = 0u; kh < ${KH}u; kh++) {
        let iy = oy * ${SY}u + kh * ${DY}u - ${PY}u;
        for (var kw = 0u; kw < ${KW}u; kw++) {
            let ix = ox * ${SX}u + kw * ${DX}u - ${PX}u;
            let inside = iy < H && ix < W;
            let at = plane * (H * W) + select(0u, iy * W + ix, inside);
            let v = x[at];
            if (inside && (best == 0xffffffffu || beats(v, value))) {
                best = at;
                value = v;
            }
        }
    }
    return best;
}

// How many of a window's taps the mean is over.
fn divisor(oy: u32, ox: u32) -> f32 {
#if ${INCLUDE_PAD}
    return ${KH}.0 * ${KW}.0;
#else
    var rows = 0u;
    for (var kh = 0u; kh < ${KH}u; kh++) {
        rows += select(0u, 1u, oy * ${SY}u + kh * ${DY}u - ${PY}u < H);
    }
    var cols = 0u;
    for (var kw = 0u; kw < ${KW}u; kw++) {
        cols += select(0u, 1u, ox * ${SX}u + kw * ${DX}u - ${PX}u < W);
    }
    return f32(max(rows * cols, 1u));
#end
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= total) {
        return;
    }
#if ${MODE} == max
    let at = argmax(i / (OH * OW), i / OW % OH, i % OW);
    // -∞ comes from a buffer: WGSL has no constant for it.
    out[i] = select(x[min(at, params[0][2] - 1u)], bitcast<f32>(params[0][1]), at == 0xffffffffu);
#end
#if ${MODE} == select
    let at = argmax(i / (OH * OW), i / OW % OH, i % OW);
    out[i] = select(y[min(at, params[0][2] - 1u)], 0.0, at == 0xffffffffu);
#end
#if ${MODE} == avg
    let plane = i / (OH * OW);
    let oy = i / OW % OH;
    let ox = i % OW;
    var sum = 0.0;
    for (var kh = 0u; kh < ${KH}u; kh++) {
        let iy = oy * ${SY}u + kh * ${DY}u - ${PY}u;
        for (var kw = 0u; kw < ${KW}u; kw++) {
            let ix = ox * ${SX}u + kw * ${DX}u - ${PX}u;
            let inside = iy < H && ix < W;
            sum += select(0.0, x[plane * (H * W) + select(0u, iy * W + ix, inside)], inside);
        }
    }
    out[i] = sum / divisor(oy, ox);
#end
#if ${MODE} == max_scatter
    // Windows that may cover row iy are those from ceil((iy + PY - (KH - 1) * DY) / SY) to (iy + PY) / SY; columns likewise.
    let plane = i / (H * W);
    let iy = i / W % H + ${PY}u;
    let ix = i % W + ${PX}u;
    let first_y = (max(iy, (${KH}u - 1u) * ${DY}u) - (${KH}u - 1u) * ${DY}u + ${SY}u - 1u) / ${SY}u;
    let first_x = (max(ix, (${KW}u - 1u) * ${DX}u) - (${KW}u - 1u) * ${DX}u + ${SX}u - 1u) / ${SX}u;
    var sum = 0.0;
    for (var oy = first_y; oy <= min(iy / ${SY}u, OH - 1u); oy++) {
        for (var ox = first_x; ox <= min(ix / ${SX}u, OW - 1u); ox++) {
            if (argmax(plane, oy, ox) == i) {
                sum += y[(plane * OH + oy) * OW + ox];
            }
        }
    }
    out[i] = sum;
#end
#if ${MODE} == avg_scatter
    let plane = i / (H * W);
    let iy = i / W % H + ${PY}u;
    let ix = i % W + ${PX}u;
    let first_y = (max(iy, (${KH}u - 1u) * ${DY}u) - (${KH}u - 1u) * ${DY}u + ${SY}u - 1u) / ${SY}u;
    let first_x = (max(ix, (${KW}u - 1u) * ${DX}u) - (${KW}u - 1u) * ${DX}u + ${SX}u - 1u) / ${SX}u;
    var sum = 0.0;
    for (var oy = first_y; oy <= min(iy / ${SY}u, OH - 1u); oy++) {
        for (var ox = first_x; ox <= min(ix / ${SX}u, OW - 1u); ox++) {
            if ((iy - oy * ${SY}u) % ${DY}u == 0u && (ix - ox * ${SX}u) % ${DX}u == 0u) {
                sum += x[(plane * OH + oy) * OW + ox] / divisor(oy, ox);
            }
        }
    }
    out[i] = sum;
#end
#if ${MODE} == max_scatter_apart
    let plane = i / (${CELLS_Y}u * ${CELLS_X}u);
    let oy = i / ${CELLS_X}u % ${CELLS_Y}u;
    let ox = i % ${CELLS_X}u;
    let window = oy < OH && ox < OW;
    let at = argmax(plane, oy, ox);
    let g = y[(plane * OH + min(oy, OH - 1u)) * OW + min(ox, OW - 1u)];
    for (var sy = 0u; sy < ${SY}u; sy++) {
        for (var sx = 0u; sx < ${SX}u; sx++) {
            let iy = oy * ${SY}u + sy - ${PY}u;
            let ix = ox * ${SX}u + sx - ${PX}u;
            if (iy < H && ix < W) {
                let e = (plane * H + iy) * W + ix;
                out[e] = select(0.0, g, window && at == e);
            }
        }
    }
#end
}
