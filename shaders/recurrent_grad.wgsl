// A step of a recurrent layer's gradient: the slopes of its gates, from d = ct + around + later · W, the cotangent of the state after
// it. `later` are the slopes of the step after it, and `around` is what of that step's d does not go through its gates. A launch of
// its own, with no step, finishes the slopes of the first states. All of it is in `out`: what other threads write is at another
// place than what a thread reads, and d and the cotangent of the cell are replaced by the thread that has read them.
//
// A tile is ${ROWS} sequences by ${FOURS} times 4 units. ${SPLITS} threads share it: each sums over its part of the gates, and takes a
// part of the sums through the cell.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid
#if ${CELL} == lstm
#import bits
#import exp
#import hyperbolic
#end
#import recurrent_load X=b0
#import recurrent_load X=b1
#import recurrent_load X=b2
#import recurrent_load X=out
#import recurrent_store
#if ${SPLITS} != 1

var<workgroup> parts: array<vec4<f32>, ${SUMS} * ${LANES}>;
#end

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let n = params[0][0];
    let h = params[0][1];
    let tiles = params[0][2];
    let across = params[1][0];
    let width = ${GATES}u * h;
    let is_first = params[2][3] == 0u;
    let is_last = params[2][3] == 2u;
    let index = linear_workgroup(wid, groups);
    if (index >= params[0][3]) {
        return;
    }
    // Neighbours read neighbours of W.
    let tile = lane % (${LANES}u / ${SPLITS}u);
    let split = lane / (${LANES}u / ${SPLITS}u);
    let row = ((index % tiles) * across + tile % across) * ${ROWS}u;
    let column = ((index / tiles) * (${LANES}u / ${SPLITS}u / across) + tile / across) * ${FOURS}u * 4u;

    var acc: array<vec4<f32>, ${SUMS}>;
    let inner = select(width, 0u, is_first);
#for r in 0..${ROWS}
    let d_at${r} = params[3][0] + min(row + ${r}u, n - 1u) * width;
#end
#for f in 0..${FOURS}
    let w_at${f} = min(column + 4u * ${f}u, (h - 1u) & ~3u);
#end
#if ${WIDE}
    for (var k = 4u * split; k < inner; k += 4u * ${SPLITS}u) {
#for r in 0..${ROWS}
        let d${r} = out[(d_at${r} + k) >> 2u];
#end
#for i in 0..4
#for f in 0..${FOURS}
        let w${i}_${f} = b1[((k + ${i}u) * h + w_at${f}) >> 2u];
#for r in 0..${ROWS}
        acc[${r} * ${FOURS} + ${f}] = fma(vec4<f32>(d${r}[${i}]), w${i}_${f}, acc[${r} * ${FOURS} + ${f}]);
#end
#end
#end
    }
#else
    for (var k = split; k < inner; k += ${SPLITS}u) {
#for r in 0..${ROWS}
        let d${r} = vec4<f32>(out[d_at${r} + k]);
#end
#for f in 0..${FOURS}
        let w${f} = four_of_b1(k * h + w_at${f}, min(h - w_at${f}, 4u) - 1u);
#for r in 0..${ROWS}
        acc[${r} * ${FOURS} + ${f}] = fma(d${r}, w${f}, acc[${r} * ${FOURS} + ${f}]);
#end
#end
    }
#end
#if ${SPLITS} != 1
#for i in 0..${SUMS}
    parts[${i}u * ${LANES}u + lane] = acc[${i}];
#end
    workgroupBarrier();
#end

    let sums = min(n - min(row, n), ${ROWS}u) * ${FOURS}u;
    for (var s = split; s < sums; s += ${SPLITS}u) {
#if ${SPLITS} == 1
        // The next sum moves to the front.
        let sum = acc[0];
#for i in 1..${SUMS}
        acc[${i} - 1] = acc[${i}];
#end
#else
        var sum = parts[s * ${LANES}u + tile];
#for p in 1..${SPLITS}
        sum += parts[s * ${LANES}u + ${p}u * (${LANES}u / ${SPLITS}u) + tile];
#end
#end
        let line = row + s / ${FOURS}u;
        let unit = column + (s % ${FOURS}u) * 4u;
        if (unit >= h) {
            continue;
        }
        let last = min(h - unit, 4u) - 1u;
        let at = line * h + unit;
        let around = params[3][2] + at;
        var d = sum + four_of_b2(params[1][1] + at, last);
#if ${AROUND}
        if (!is_first) {
            d += four_of_out(around, last);
        }
#end
        if (is_last) {
            keep(around, d, last);
            continue;
        }
        let slopes = params[3][1] + line * width + unit;
#if ${GATES} != 1
        let saved = params[2][1] + line * 4u * h + unit;
        let s0 = four_of_b0(saved, last);
        let s1 = four_of_b0(saved + h, last);
        let s2 = four_of_b0(saved + 2u * h, last);
        let s3 = four_of_b0(saved + 3u * h, last);
#end
#if ${CELL} == tanh
        let state = four_of_b0(params[1][3] + at, last);
        var g0 = d * (1.0 - state * state);
#end
#if ${CELL} == relu
        let state = four_of_b0(params[1][3] + at, last);
        var g0 = select(vec4<f32>(), d, state > vec4<f32>());
#end
#if ${CELL} == lstm
        let c = four_of_b0(params[2][0] + at, last);
        let cell = params[3][3] + at;
        var later_c = vec4<f32>();
        if (is_first) {
            later_c = four_of_b2(params[4][1] + at, last);
        } else {
            later_c = four_of_out(cell, last);
        }
        let new_c = s1 * c + s0 * s2;
        let t = vec4<f32>(tanh_f32(new_c.x), tanh_f32(new_c.y), tanh_f32(new_c.z), tanh_f32(new_c.w));
        let dc = later_c + d * s3 * (1.0 - t * t);
        var g0 = dc * s2 * (s0 * (1.0 - s0));
        var g1 = dc * c * (s1 * (1.0 - s1));
        var g2 = dc * s0 * (1.0 - s2 * s2);
        var g3 = d * t * (s3 * (1.0 - s3));
        var earlier_c = dc * s1;
#end
#if ${CELL} == gru
        let old = four_of_b0(params[1][2] + at, last);
        var g2 = d * (1.0 - s1) * (1.0 - s2 * s2);
        var u2 = g2 * s0;
        var g0 = g2 * s3 * (s0 * (1.0 - s0));
        var g1 = d * (old - s2) * (s1 * (1.0 - s1));
        var rest = d * s1;
#end
#if ${MASKED}
        // A sequence that has ended hands on what it is given.
        let runs = vec4<bool>(mask[params[2][2] + line] != 0u);
#for g in 0..${GATES}
        g${g} = select(vec4<f32>(), g${g}, runs);
#end
#if ${CELL} == lstm
        earlier_c = select(later_c, earlier_c, runs);
#end
#if ${CELL} == gru
        u2 = select(vec4<f32>(), u2, runs);
        rest = select(d, rest, runs);
#else
        keep(around, select(d, vec4<f32>(), runs), last);
#end
#end
#for g in 0..${GATES}
        keep(slopes + ${g}u * h, g${g}, last);
#end
#if ${CELL} == lstm
        keep(cell, earlier_c, last);
#end
#if ${CELL} == gru
        keep(around, rest, last);
        let product = params[4][0] + line * width + unit;
        keep(product, g0, last);
        keep(product + h, g1, last);
        keep(product + 2u * h, u2, last);
#end
    }
}
