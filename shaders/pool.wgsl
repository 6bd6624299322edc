// Pooling over [n, c, h, w] images x and [n, c, oh, ow] windows y. ${OP} is one of
//   max          (x)      out[y] = the window's largest; NaN wins, of equals the first
//   max_select   (x, u)   out[y] = u at the window's largest in x
//   max_scatter  (x, dy)  out[x] = Σ dy of the windows whose largest is here
//   avg          (x)      out[y] = mean of the window
//   avg_scatter  (dy)     out[x] = Σ dy / divisor of the windows that cover this element
// Launch: one thread an output element; scatters gather over the windows that cover it, so no atomics.
// Traffic: 4 bytes written; a window's worth read (max_scatter: a window for each window that covers the element).
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
#if ${BINARY}
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#end

const H = ${H};
const W = ${W};
const OH = ${OH};
const OW = ${OW};
const KH = ${KH};
const KW = ${KW};
const SH = ${SH};
const SW = ${SW};
const PH = ${PH};
const PW = ${PW};
const DH = ${DH};
const DW = ${DW};
#import grid
#if ${MAX}

fn is_nan_bits(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The index within plane `base` of the largest element of window (oy, ox).
fn largest(base: u32, oy: i32, ox: i32) -> u32 {
    var best = 0.0;
    var at = base;
    var found = false;
    for (var ky = 0; ky < KH; ky++) {
        let y = oy * SH - PH + ky * DH;
        if (y < 0 || y >= H) {
            continue;
        }
        for (var kx = 0; kx < KW; kx++) {
            let x = ox * SW - PW + kx * DW;
            if (x < 0 || x >= W) {
                continue;
            }
            let i = base + u32(y * W + x);
            let v = a[i];
            if (!found || v > best || (is_nan_bits(v) && !is_nan_bits(best))) {
                best = v;
                at = i;
                found = true;
            }
        }
    }
    return at;
}
#end
#if ${AVG}

// What a window's sum is divided by.
fn divisor(oy: i32, ox: i32) -> f32 {
#if ${COUNT_PAD}
    let y = min(oy * SH - PH + KH, H + PH) - (oy * SH - PH);
    let x = min(ox * SW - PW + KW, W + PW) - (ox * SW - PW);
#else
    let y = min(oy * SH - PH + KH, H) - max(oy * SH - PH, 0);
    let x = min(ox * SW - PW + KW, W) - max(ox * SW - PW, 0);
#end
    return f32(y * x);
}
#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= params[0][0]) {
        return;
    }
#if ${SCATTER}
    let plane = i / u32(H * W);
    let y = i32(i / u32(W) % u32(H));
    let x = i32(i % u32(W));
    var sum = 0.0;
    // Window oy covers row y with tap ky when oy * SH - PH + ky * DH = y.
    for (var ky = 0; ky < KH; ky++) {
        let ty = y + PH - ky * DH;
        if (ty < 0 || ty % SH != 0 || ty / SH >= OH) {
            continue;
        }
        for (var kx = 0; kx < KW; kx++) {
            let tx = x + PW - kx * DW;
            if (tx < 0 || tx % SW != 0 || tx / SW >= OW) {
                continue;
            }
            let oy = ty / SH;
            let ox = tx / SW;
            let window = plane * u32(OH * OW) + u32(oy * OW + ox);
#if ${MAX}
            if (largest(plane * u32(H * W), oy, ox) == i) {
                sum += b[window];
            }
#else
            sum += a[window] / divisor(oy, ox);
#end
        }
    }
    out[i] = sum;
#else
    let plane = i / u32(OH * OW);
    let oy = i32(i / u32(OW) % u32(OH));
    let ox = i32(i % u32(OW));
    let base = plane * u32(H * W);
#if ${MAX}
    let at = largest(base, oy, ox);
#if ${BINARY}
    out[i] = b[at];
#else
    out[i] = a[at];
#end
#else
    var sum = 0.0;
    for (var ky = 0; ky < KH; ky++) {
        let y = oy * SH - PH + ky;
        for (var kx = 0; kx < KW; kx++) {
            let x = ox * SW - PW + kx;
            if (y >= 0 && y < H && x >= 0 && x < W) {
                sum += a[base + u32(y * W + x)];
            }
        }
    }
    out[i] = sum / divisor(oy, ox);
#end
#end
}
