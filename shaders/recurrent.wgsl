// A step of a recurrent layer: h' and what is saved of it, from x [n, g·h], W [g·h, h] and h. States of all steps are in `out`, each
// at a place of its own, so that no thread reads what another one of the launch writes.
//
// A tile is ${ROWS} sequences by 4 units with all their gates. ${SPLITS} threads share it: each sums over its part of h, and takes
// rows of the tile through the cell.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid
#import bits
#if ${CELL} != relu
#import exp
#import hyperbolic
#end
#if ${GATES} != 1
#import log
#import activation
#end
#import recurrent_load X=b0
#import recurrent_load X=out
#if ${CELL} == gru
#import recurrent_load X=b3
#end
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
    let before = params[1][2];
    let index = linear_workgroup(wid, groups);
    if (index >= params[0][3]) {
        return;
    }
    // Neighbours share rows of W.
    let split = lane % ${SPLITS}u;
    let tile = lane / ${SPLITS}u;
    let row = ((index % tiles) * across + tile % across) * ${ROWS}u;
    let column = ((index / tiles) * (${LANES}u / ${SPLITS}u / across) + tile / across) * 4u;
    let unit = min(column, (h - 1u) & ~3u);
    let last = min(h - unit, 4u) - 1u;

    var acc: array<vec4<f32>, ${SUMS}>;
#if ${WIDE}
    let fours = h >> 2u;
#for r in 0..${ROWS}
    let h_at${r} = (before >> 2u) + min(row + ${r}u, n - 1u) * fours;
#end
#for g in 0..${GATES}
    let w_at${g} = (${g}u * h + unit) * fours;
#end
    for (var k = split; k < fours; k += ${SPLITS}u) {
#for r in 0..${ROWS}
        let h${r} = out[h_at${r} + k];
#end
#for g in 0..${GATES}
#for u in 0..4
        let w${g}_${u} = b1[w_at${g} + ${u}u * fours + k];
#end
#for i in 0..4
        let v${g}_${i} = vec4<f32>(w${g}_0[${i}], w${g}_1[${i}], w${g}_2[${i}], w${g}_3[${i}]);
#for r in 0..${ROWS}
        acc[${r} * ${GATES} + ${g}] = fma(vec4<f32>(h${r}[${i}]), v${g}_${i}, acc[${r} * ${GATES} + ${g}]);
#end
#end
#end
    }
#else
#for r in 0..${ROWS}
    let h_at${r} = before + min(row + ${r}u, n - 1u) * h;
#end
    let unit1 = min(1u, last) * h;
    let unit2 = min(2u, last) * h;
    let unit3 = min(3u, last) * h;
    for (var k = split; k < h; k += ${SPLITS}u) {
#for r in 0..${ROWS}
        let h${r} = vec4<f32>(out[h_at${r} + k]);
#end
#for g in 0..${GATES}
        let w_at${g} = (${g}u * h + unit) * h + k;
        let v${g} = vec4<f32>(b1[w_at${g}], b1[w_at${g} + unit1], b1[w_at${g} + unit2], b1[w_at${g} + unit3]);
#for r in 0..${ROWS}
        acc[${r} * ${GATES} + ${g}] = fma(h${r}, v${g}, acc[${r} * ${GATES} + ${g}]);
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

    let rows = select(0u, min(n - min(row, n), ${ROWS}u), column < h);
    for (var r = split; r < rows; r += ${SPLITS}u) {
        let line = row + r;
        let at = line * h + unit;
        let x_at = params[1][1] + line * ${GATES}u * h + unit;
#for g in 0..${GATES}
#if ${SPLITS} == 1
        var s${g} = acc[${g}];
#else
        let part${g} = (r * ${GATES}u + ${g}u) * ${LANES}u + tile * ${SPLITS}u;
        var s${g} = parts[part${g}];
#for p in 1..${SPLITS}
        s${g} += parts[part${g} + ${p}u];
#end
#end
#if ${CELL} == gru
        s${g} += four_of_b3(${g}u * h + unit, last);
        var x${g} = four_of_b0(x_at + ${g}u * h, last);
#else
        s${g} += four_of_b0(x_at + ${g}u * h, last);
#end
#end
#if ${CELL} == lstm
        var c = four_of_out(params[2][0] + at, last);
#if ${KEPT}
        keep(params[2][1] + at, c, last);
#end
#if ${MASKED}
        let old_c = c;
#end
#end
#if ${OLD}
        let old = four_of_out(before + at, last);
#end
#if ${CELL} == gru
        var old_h = old;
#end
        var next = vec4<f32>();
        // A unit at a time: each vector gives its first element and takes the result as its last.
        for (var u = 0u; u < 4u; u++) {
#if ${CELL} == tanh
            next = vec4<f32>(next.yzw, tanh_f32(s0.x));
            s0 = s0.yzwx;
#end
#if ${CELL} == relu
            next = vec4<f32>(next.yzw, select(s0.x, 0.0, bitcast<u32>(s0.x) - 0x80000000u <= 0x7f800000u));
            s0 = s0.yzwx;
#end
#if ${CELL} == lstm
            s0 = vec4<f32>(s0.yzw, sigmoid_f32(s0.x));
            s1 = vec4<f32>(s1.yzw, sigmoid_f32(s1.x));
            s2 = vec4<f32>(s2.yzw, tanh_f32(s2.x));
            s3 = vec4<f32>(s3.yzw, sigmoid_f32(s3.x));
            c = vec4<f32>(c.yzw, s1.w * c.x + s0.w * s2.w);
            next = vec4<f32>(next.yzw, s3.w * tanh_f32(c.w));
#end
#if ${CELL} == gru
            // s0 is r, s1 is z, x2 is n.
            s0 = vec4<f32>(s0.yzw, sigmoid_f32(x0.x + s0.x));
            s1 = vec4<f32>(s1.yzw, sigmoid_f32(x1.x + s1.x));
            x2 = vec4<f32>(x2.yzw, tanh_f32(x2.x + s0.w * s2.x));
            next = vec4<f32>(next.yzw, x2.w + s1.w * (old_h.x - x2.w));
            x0 = x0.yzwx;
            x1 = x1.yzwx;
            s2 = s2.yzwx;
            old_h = old_h.yzwx;
#end
        }
#if ${MASKED}
        let runs = vec4<bool>(mask[params[2][3] + line] != 0u);
        next = select(old, next, runs);
#if ${CELL} == lstm
        c = select(old_c, c, runs);
#end
#if ${KEPT}
#for g in 0..${GATES}
        s${g} = select(vec4<f32>(), s${g}, runs);
#end
#if ${CELL} == gru
        x2 = select(vec4<f32>(), x2, runs);
#end
#end
#end
        keep(params[1][3] + at, next, last);
#if ${CELL} == lstm
        keep(params[2][0] + at, c, last);
#end
#if ${KEPT}
#if ${GATES} != 1
        let saved = params[2][2] + line * 4u * h + unit;
        keep(saved, s0, last);
        keep(saved + h, s1, last);
#if ${CELL} == lstm
        keep(saved + 2u * h, s2, last);
        keep(saved + 3u * h, s3, last);
#else
        keep(saved + 2u * h, x2, last);
        keep(saved + 3u * h, s2, last);
#end
#end
#end
#if ${SPLITS} == 1
        // The next row's sums move to the front.
#for i in 0..${MOVED}
        acc[${i}] = acc[${i} + ${GATES}];
#end
#end
    }
}
