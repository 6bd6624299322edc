// dx[n][i][iy][ix] = epilogue(Σ_{o,kh,kw} src[n][o][(iy + PY - kh*DY) / SY][(ix + PX - kw*DX) / SX] * weights[o][kh][kw][i]) over
// the taps whose divisions have no remainder, per group: the input gradient for any stride; src is dy.
//
// A thread computes ${TP} pixels of one row and one residue of ix modulo ${SX}, in ${TC} channels, and visits only taps that hit.
// Traffic per thread and tap: 4 * (${TP} + ${TC}) bytes for ${TP} * ${TC} multiply-adds.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<${W_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
${OPERANDS}
const GROUPS = ${GROUPS}u;
const IC = ${IC}u;   // channels of dy that a group reads
const OC = ${OC}u;   // channels of dx that a group writes
const OCP = ${OCP}u; // as packed: a multiple of the tile
const IH = ${IH}u;   // dy's rows and columns
const IW = ${IW}u;
const OH = ${OH}u;   // dx's rows and columns
const OW = ${OW}u;
const XT = ${XT}u;   // tiles along the pixels of one residue
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
    let q = (rest % XT) * ${TP}u;
    rest = rest / XT;
    let residue = rest % ${SX}u;
    rest = rest / ${SX}u;
    let y = rest % OH;
    rest = rest / OH;
    let first_c = (rest % CT) * ${TC}u;
    rest = rest / CT;
    let group = rest % GROUPS;

    // The first tap that hits; every ${KH_STEP}-th (${KW_STEP}-th) after it does too.
    var first_kh = 0u;
    while (first_kh < ${KH}u && (y + ${PY}u + ${KH}u * ${DY}u * ${SY}u - first_kh * ${DY}u) % ${SY}u != 0u) {
        first_kh++;
    }
    var first_kw = 0u;
    while (first_kw < ${KW}u && (residue + ${PX}u + ${KW}u * ${DX}u * ${SX}u - first_kw * ${DX}u) % ${SX}u != 0u) {
        first_kw++;
    }

    var acc: array<f32, ${TP} * ${TC}>;
    for (var ic = first_ic; ic < last_ic; ic++) {
        let plane = (rest * IC + ic) * (IH * IW);
        for (var kh = first_kh; kh < ${KH}u; kh += ${KH_STEP}u) {
            // The division has no remainder; adding a multiple of the stride keeps the dividend from going below 0.
            let iy = (y + ${PY}u + ${KH}u * ${DY}u * ${SY}u - kh * ${DY}u) / ${SY}u - ${KH}u * ${DY}u;
            let row_ok = iy < IH;
            let row = plane + select(0u, iy, row_ok) * IW;
            for (var kw = first_kw; kw < ${KW}u; kw += ${KW_STEP}u) {
                let ix = q + (residue + ${PX}u + ${KW}u * ${DX}u * ${SX}u - kw * ${DX}u) / ${SX}u - ${KW}u * ${DX}u;
                let w_at = ((((group * IC + ic) * ${KH}u + kh) * ${KW}u + kw) * OCP + first_c)${W_SHIFT};
#for p in 0..${TP}
                let v${p} = padded(row, row_ok, ix + ${p}u, IW);
#end
#for c in 0..${TCV}
                let w${c} = weights[w_at + ${c}u];
#for p in 0..${TP}
#if ${W_TYPE} == f32
                acc[${p} * ${TC} + ${c}] = fma(v${p}, w${c}, acc[${p} * ${TC} + ${c}]);
#else
#for u in 0..4
                acc[${p} * ${TC} + ${c} * 4 + ${u}] = fma(v${p}, w${c}[${u}], acc[${p} * ${TC} + ${c} * 4 + ${u}]);
#end
#end
#end
#end
            }
        }
    }

    let base = part + ((rest * OC + first_c) * OH + y) * OW;
    let here = thread < total;
#for c in 0..${TC}
#for p in 0..${TP}
    if (here && first_c + ${c}u < OC && residue + (q + ${p}u) * ${SX}u < OW) {
        out[base + ${c}u * (OH * OW) + residue + (q + ${p}u) * ${SX}u] = acc[${p} * ${TC} + ${c}];
    }
#end
#end
#if ${EPILOGUE}
    // Reading the thread's own results back keeps one copy of the epilogue in the source.
    let channels = select(0u, min(OC - first_c, ${TC}u), here);
    for (var c = 0u; c < channels; c++) {
        for (var x = residue + q * ${SX}u; x < min(OW, residue + (q + ${TP}u) * ${SX}u); x += ${SX}u) {
            let i = base + c * (OH * OW) + x;
            let v = out[i];
            out[i] = ${RESULT};
        }
    }
#end
}
