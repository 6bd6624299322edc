// The gradient of max pooling whose windows overlap. A thread computes a cell of ${SY} by ${SX} elements of dx, as large as a step
// of the windows. It loads the ${RH} by ${RW} elements of x that the cell's ${WY} by ${WX} windows see, once, and finds the maximum
// of each window in registers; NaN wins, then the first of equal elements.
// Traffic: every element of x, dy and dx once, from memory; ${RH} * ${RW} loads of x per cell, most of them from cache.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
const H = ${H}u;
const W = ${W}u;
const OH = ${OH}u;
const OW = ${OW}u;
#import grid
#import maximum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let i = linear_workgroup(wid, groups) * 64u + lane;
    if (i >= total) {
        return;
    }
    let plane = i / (${CELLS_Y}u * ${CELLS_X}u);
    let cy = i / ${CELLS_X}u % ${CELLS_Y}u;
    let cx = i % ${CELLS_X}u;
    // The first row and column that the cell's first window sees. In front of the image they wrap around to large numbers.
    let top = cy * ${SY}u - (${WY}u - 1u) * ${SY}u - ${PY}u;
    let left = cx * ${SX}u - (${WX}u - 1u) * ${SX}u - ${PX}u;
    var patch_of_x: array<f32, ${RH} * ${RW}>;
#for r in 0..${RH}
    let row${r} = (plane * H + min(top + ${r}u, H - 1u)) * W;
#for c in 0..${RW}
    patch_of_x[${r} * ${RW} + ${c}] = x[row${r} + min(left + ${c}u, W - 1u)];
#end
#end
    var sum: array<f32, ${SY} * ${SX}>;
#for p in 0..${CELL}
    sum[${p}] = 0.0;
#end
#for a in 0..${WY}
#for b in 0..${WX}
    {
        let oy = cy + ${a}u - (${WY}u - 1u);
        let ox = cx + ${b}u - (${WX}u - 1u);
        let dy = y[(plane * OH + min(oy, OH - 1u)) * OW + min(ox, OW - 1u)];
        var best = 0.0;
        var tap = 0xffffffffu;
#for h in 0..${KH}
#for w in 0..${KW}
        {
            let v = patch_of_x[(${a} * ${SY} + ${h}) * ${RW} + ${b} * ${SX} + ${w}];
            let inside = top + ${a}u * ${SY}u + ${h}u < H && left + ${b}u * ${SX}u + ${w}u < W;
            let wins = inside && (tap == 0xffffffffu || beats(v, best));
            best = select(best, v, wins);
            tap = select(tap, (${a}u * ${SY}u + ${h}u) * ${RW}u + ${b}u * ${SX}u + ${w}u, wins);
        }
#end
#end
        tap = select(0xffffffffu, tap, oy < OH && ox < OW);
#for p in 0..${SY}
#for q in 0..${SX}
        sum[${p} * ${SX} + ${q}] += select(0.0, dy, tap == ((${WY}u - 1u) * ${SY}u + ${p}u) * ${RW}u + (${WX}u - 1u) * ${SX}u + ${q}u);
#end
#end
    }
#end
#end
#for p in 0..${SY}
#for q in 0..${SX}
    {
        let iy = cy * ${SY}u + ${p}u - ${PY}u;
        let ix = cx * ${SX}u + ${q}u - ${PX}u;
        if (iy < H && ix < W) {
            out[(plane * H + iy) * W + ix] = sum[${p} * ${SX} + ${q}];
        }
    }
#end
#end
}
