// out[n][o][y][x] = epilogue(Σ_{i,kh,kw} src[n][i][y*SY + kh*DY - PY][x*SX + kw*DX - PX] * weights[i][kh][kw][o]), per group:
// the forward convolution, and the input gradient for stride 1 (weights are flipped and transposed when they are packed).
//
// A thread computes ${TP} neighbouring pixels of a row in ${TC} channels; the taps of a row share what they read.
// Traffic per thread, input channel and kernel row: 4 * (${NV} * ${V} + ${KU} * ${TC}) bytes for ${TP} * ${TC} * ${KU}
// multiply-adds.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> src: array<${X_TYPE}>;
@group(0) @binding(2) var<storage, read> weights: array<${W_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<${OUT_TYPE}>;
${OPERANDS}
const GROUPS = ${GROUPS}u;
const IC = ${IC}u;   // channels that a group reads
const OC = ${OC}u;   // channels that a group writes
const OCP = ${OCP}u; // as packed: a multiple of the tile
const IH = ${IH}u;
const IW = ${IW}u;
const OH = ${OH}u;
const OW = ${OW}u;
const XT = ${XT}u;   // tiles along a row
const CT = ${CT}u;   // tiles along a group's channels
#import grid
#import conv_in
${EPILOGUE_FN}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    // The channels that this launch reads, and where its results start.
    let first_ic = params[0][1];
    let last_ic = params[0][2];
    let part = params[0][3];
    let thread = linear_workgroup(wid, groups) * ${LANES}u + lane;
    var rest = min(thread, total - 1u);
    let x = (rest % XT) * ${TP}u;
    rest = rest / XT;
    let y = rest % OH;
    rest = rest / OH;
    let first_c = (rest % CT) * ${TC}u;
    rest = rest / CT;
    let group = rest % GROUPS;
    // rest / GROUPS is the image, so `rest` counts (image, group) pairs.

    var acc: array<f32, ${TP} * ${TC}>;
#if ${SHORT}
    var v: array<f32, ${NV} * ${V}>;
#end
    for (var ic = first_ic; ic < last_ic; ic++) {
        let plane = (rest * IC + ic) * (IH * IW);
        for (var kh = 0u; kh < ${KH}u; kh++) {
            // Negative coordinates wrap around and fail the comparison with the length.
            let iy = y * ${SY}u + kh * ${DY}u - ${PY};
            let row_ok = iy < IH;
            let row = plane + select(0u, iy, row_ok) * IW;
            let tap = ((group * IC + ic) * ${KH}u + kh) * ${KW}u;
#if ${KU} == ${KW}
            let ix = x * ${SX}u - ${LEAD};
            let w_at = (tap * OCP + first_c)${W_SHIFT};
#else
            for (var kw = 0u; kw < ${KW}u; kw++) {
            let ix = x * ${SX}u + kw * ${DX}u - ${LEAD};
            let w_at = ((tap + kw) * OCP + first_c)${W_SHIFT};
#end
            // Whole vectors, starting ${SHIFT} elements before the first one that is needed.
#if ${SHORT} == 0
            var v: array<f32, ${NV} * ${V}>;
#end
#for o in 0..${NV}
            let t${o} = padded(row, row_ok, ix + ${V}u * ${o}u, IW);
#if ${V} == 1
            v[${o}] = t${o};
#else
#for u in 0..${V}
            v[${V} * ${o} + ${u}] = t${o}[${u}];
#end
#end
#end
#for k in 0..${KU}
#for c in 0..${TCV}
            let w${k}_${c} = weights[w_at + ${k}u * (OCP${W_SHIFT}) + ${c}u];
#for p in 0..${TP}
#if ${W_TYPE} == f32
            acc[${p} * ${TC} + ${c}] = fma(v[${SHIFT} + ${p} * ${SX} + ${k} * ${DX}], w${k}_${c}, acc[${p} * ${TC} + ${c}]);
#else
#for u in 0..4
            acc[${p} * ${TC} + ${c} * 4 + ${u}] = fma(v[${SHIFT} + ${p} * ${SX} + ${k} * ${DX}], w${k}_${c}[${u}], acc[${p} * ${TC} + ${c} * 4 + ${u}]);
#end
#end
#end
#end
#end
#if ${KU} != ${KW}
            }
#end
        }
    }

    let base = part + ((rest * OC + first_c) * OH + y) * OW + x;
    let here = thread < total;
#for c in 0..${TC}
    if (here && first_c + ${c}u < OC) {
        let at = base + ${c}u * (OH * OW);
#if ${VO} == 1
#for p in 0..${TP}
        if (x + ${p}u < OW) {
            let i = at + ${p}u;
            let v = acc[${p} * ${TC} + ${c}];
            out[i] = ${NOW};
        }
#end
#else
#for p in 0..${TPV}
        if (x + ${VO}u * ${p}u < OW) {
            let i = at + ${VO}u * ${p}u;
            var v: ${OUT_TYPE};
#for u in 0..${VO}
            v[${u}] = acc[(${VO} * ${p} + ${u}) * ${TC} + ${c}];
#end
            out[i / ${VO}u] = ${NOW};
        }
#end
#end
    }
#end
#if ${SECOND_LOOK}
    // Reading the thread's own results back keeps one copy of the epilogue in the source; unrolled, it would double compile time.
    let channels = select(0u, min(OC - first_c, ${TC}u), here);
    let pixels = min(OW - x, ${TP}u);
    for (var c = 0u; c < channels; c++) {
        let first = base + c * (OH * OW);
        for (var i = first; i < first + pixels; i += ${VO}u) {
            let v = out[i / ${VO}u];
            out[i / ${VO}u] = ${RESULT};
        }
    }
#end
}
