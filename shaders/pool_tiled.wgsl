// Max pooling whose windows tile the image exactly (stride = kernel, no padding or dilation, nothing left over), and its adjoint.
//
// A thread computes the ${P} windows in ${KH} rows of ${V} elements, which it reads and writes as vectors. NaN wins, then the
// first of equal elements.
// Traffic: every element of x, y and out once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<vec${V}<f32>>;
#if ${SCATTER}
@group(0) @binding(2) var<storage, read> y: array<${Y_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<vec${V}<f32>>;
#else
@group(0) @binding(2) var<storage, read_write> out: array<${Y_TYPE}>;
#end
const COLS = ${COLS}u; // threads along a row
#import grid
#import maximum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= params[0][0]) {
        return;
    }
    // x has KH rows for each row of y, over all planes.
    let at = (i / COLS) * ${KH}u * COLS + i % COLS;
#for h in 0..${KH}
    let r${h} = x[at + ${h}u * COLS];
#end
    var best: array<f32, ${P}>;
    var tap: array<u32, ${P}>;
#for p in 0..${P}
    best[${p}] = r0[${p} * ${KW}];
    tap[${p}] = 0u;
#for h in 0..${KH}
#for w in 0..${KW}
    {
        let v = r${h}[${p} * ${KW} + ${w}];
        let wins = beats(v, best[${p}]);
        best[${p}] = select(best[${p}], v, wins);
        tap[${p}] = select(tap[${p}], ${h}u * ${KW}u + ${w}u, wins);
    }
#end
#end
#end
#if ${SCATTER}
    let g = y[i];
#for h in 0..${KH}
    var o${h}: vec${V}<f32>;
#for p in 0..${P}
#for w in 0..${KW}
#if ${P} == 1
    o${h}[${w}] = select(0.0, g, tap[0] == ${h}u * ${KW}u + ${w}u);
#else
    o${h}[${p} * ${KW} + ${w}] = select(0.0, g[${p}], tap[${p}] == ${h}u * ${KW}u + ${w}u);
#end
#end
#end
    out[at + ${h}u * COLS] = o${h};
#end
#else
#if ${P} == 1
    out[i] = best[0];
#else
    out[i] = vec${P}<f32>(best[0], best[1]);
#end
#end
}
