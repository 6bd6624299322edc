// dw[o][i][kh][kw] = Σ_{n,y,x} dy[n][o][y][x] * src[n][i][y*SY + kh*DY - PY][x*SX + kw*DX - PX], per group: the weight gradient.
//
// A thread computes ${TO} by ${TI} channels of one kernel row (${KU} taps) over a part of the rows (n, y); `split_sum` adds the
// parts.
// Traffic per thread and ${P} pixels: 4 * (${TO} * ${P} + ${TI} * ${P} * ${SX}) bytes for ${P} * ${TO} * ${TI} * ${KU}
// multiply-adds.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> src: array<${X_TYPE}>;
@group(0) @binding(2) var<storage, read> dy: array<${X_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
${OPERANDS}
const GROUPS = ${GROUPS}u;
const IC = ${IC}u; // x's channels per group
const OC = ${OC}u; // dy's channels per group
const IH = ${IH}u;
const IW = ${IW}u;
const OH = ${OH}u;
const OW = ${OW}u;
const KH = ${KH}u;
const KW = ${KW}u;
const OT = ${OT}u; // tiles along a group's channels
const IT = ${IT}u;
#import grid
#import conv_in
${EPILOGUE_FN}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let total = params[0][0];
    let rows = params[0][1];
    let rows_part = params[0][2];
    let len = params[0][3];
    let thread = linear_workgroup(wid, groups) * ${LANES}u + lane;
    var rest = min(thread, total - 1u);
#if ${KU} == ${KW}
    let kw = 0u;
#else
    let kw = rest % KW;
    rest = rest / KW;
#end
    let kh = rest % KH;
    rest = rest / KH;
    let first_i = (rest % IT) * ${TI}u;
    rest = rest / IT;
    let first_o = (rest % OT) * ${TO}u;
    rest = rest / OT;
    let group = rest % GROUPS;
    let part = rest / GROUPS;

    var acc: array<f32, ${TO} * ${TI} * ${KU}>;
#if ${SHORT}
#for i in 0..${TI}
    var win${i}: array<f32, ${NW} * ${V}>;
#end
#end
    let last = min((part + 1u) * rows_part, rows);
    for (var r = part * rows_part; r < last; r++) {
        let n = r / OH;
        let y = r % OH;
        let iy = y * ${SY}u + kh * ${DY}u - ${PY}u;
        let row_ok = iy < IH;
        // Channels past the end are read as the last one and not stored.
#for i in 0..${TI}
        let x_row${i} = (((n * GROUPS + group) * IC + min(first_i + ${i}u, IC - 1u)) * IH + select(0u, iy, row_ok)) * IW;
#end
#for o in 0..${TO}
        let dy_row${o} = (((n * GROUPS + group) * OC + min(first_o + ${o}u, OC - 1u)) * OH + y) * OW;
#end
        // A window of ${NW} vectors slides along each row of src; the next step keeps the last ${KEEP} of them.
        let left = kw * ${DX}u * ${KW_MOVES}u - ${LEAD}u;
#for i in 0..${TI}
#if ${SHORT} == 0
        var win${i}: array<f32, ${NW} * ${V}>;
#end
#for o in 0..${KEEP}
        let first${i}_${o} = padded(x_row${i}, row_ok, left + ${V}u * ${o}u, IW);
#if ${V} == 1
        win${i}[${o}] = first${i}_${o};
#else
#for u in 0..${V}
        win${i}[${V} * ${o} + ${u}] = first${i}_${o}[${u}];
#end
#end
#end
#end
        for (var x = 0u; x < OW; x += ${P}u) {
            let ix = x * ${SX}u + left;
#for i in 0..${TI}
#for o in ${KEEP}..${NW}
            let t${i}_${o} = padded(x_row${i}, row_ok, ix + ${V}u * ${o}u, IW);
#if ${V} == 1
            win${i}[${o}] = t${i}_${o};
#else
#for u in 0..${V}
            win${i}[${V} * ${o} + ${u}] = t${i}_${o}[${u}];
#end
#end
#end
#end
#for o in 0..${TO}
#for q in 0..${PV}
#if ${GUARD}
            let g${o}_${q} = select(0.0, dy[dy_row${o} + min(x + ${q}u, OW - 1u)], x + ${q}u < OW);
#else
            let g${o}_${q} = dy[(dy_row${o} + x) / ${V}u + ${q}u];
#end
#for i in 0..${TI}
#for k in 0..${KU}
#if ${V} == 1
            acc[(${o} * ${TI} + ${i}) * ${KU} + ${k}] = fma(g${o}_${q}, win${i}[${SHIFT} + ${q} * ${SX} + ${k} * ${DX}], acc[(${o} * ${TI} + ${i}) * ${KU} + ${k}]);
#else
#for u in 0..${V}
            acc[(${o} * ${TI} + ${i}) * ${KU} + ${k}] = fma(g${o}_${q}[${u}], win${i}[${SHIFT} + (${V} * ${q} + ${u}) * ${SX} + ${k} * ${DX}], acc[(${o} * ${TI} + ${i}) * ${KU} + ${k}]);
#end
#end
#end
#end
#end
#end
#for i in 0..${TI}
#for o in 0..${KEPT}
            win${i}[${o}] = win${i}[${o} + ${MOVE}];
#end
#end
        }
    }

#for o in 0..${TO}
#for i in 0..${TI}
    if (thread < total && first_o + ${o}u < OC && first_i + ${i}u < IC) {
        let at = (((group * OC + first_o + ${o}u) * IC + first_i + ${i}u) * KH + kh) * KW + kw;
#for k in 0..${KU}
        {
            let i = at + ${k}u;
            let v = acc[(${o} * ${TI} + ${i}) * ${KU} + ${k}];
            out[part * len + i] = ${RESULT};
        }
#end
    }
#end
#end
}
