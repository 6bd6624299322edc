// dw[o][i][tap] = Σ_p dy[o][p] * src[i][p at tap], per group, with tiles of ${BM} output channels by ${BN} columns in workgroup memory:
// the weight gradient. A column is a tap and an input channel, taps outside; the inner dimension is the pixels of all images, of
// which a workgroup takes a part, and `split_sum` adds the parts.
//
// Traffic: (${BM} + ${BN}) / (${BM} * ${BN}) elements read per multiply-add.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<${A_TYPE}>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
const GROUPS = ${GROUPS}u;
const IC = ${IC}u; // src's channels per group
const OC = ${OC}u; // dy's channels per group
const IH = ${IH}u;
const IW = ${IW}u;
const OW = ${OW}u;
const Q = ${Q}u;   // pixels of dy in an image
const COLUMNS = ${COLUMNS}u;
#import grid
#import tile

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let count = params[0][0];
    let pixels = params[0][1];
    let part = params[0][2];
    let len = params[0][3];

    // The workgroup's index as (split, group, columns, channels).
    let index = linear_workgroup(wid, groups);
    var rest = min(index, count - 1u);
    let first_m = rest % ${TILES_M}u * ${BM}u;
    rest = rest / ${TILES_M}u;
    let first_n = rest % ${TILES_N}u * ${BN}u;
    rest = rest / ${TILES_N}u;
    let group = rest % GROUPS;
    let split = rest / GROUPS;
    let k_first = split * part;
    let k_last = min(k_first + part, pixels);

    // What a thread loads of dy: lines of channels, ${A_UNIT} pixels each.
    let a_fast = lane % ${A_FAST}u;
    let a_slow = ${A_SLOW};
#for i in 0..${A_LOADS}
    let a_line${i} = min(first_m + a_slow + ${i}u * ${A_APART}u, OC - 1u) * Q;
    var a${i} = ${A_TYPE}();
#end
    // And of src: a pixel, in some columns.
    let b_step = lane % ${BK}u;
    let b_line = lane / ${BK}u;
#if ${ONE_TAP}
    let tap = params[1u + first_n / IC];
#end
#for i in 0..${B_LOADS}
    let column${i} = min(first_n + b_line + ${i}u * ${B_APART}u, COLUMNS - 1u);
    let plane${i} = column${i} % IC * (IH * IW);
#if ${ONE_TAP} == 0
    let tap${i} = params[1u + column${i} / IC];
#end
    var b${i} = 0.0;
#end
    let four = four_of(lane);
#import tile_sums

    var k = k_first;
    loop {
        if (k < k_last) {
            // Pixels past the end are those at the end, and are not added.
            let a_pixel = min(k + ${A_UNIT}u * a_fast, pixels - ${A_UNIT}u);
            let a_at = (a_pixel / Q * GROUPS + group) * (OC * Q) + a_pixel % Q;
#for i in 0..${A_LOADS}
            a${i} = dy[(a_at + a_line${i}) / ${A_UNIT}u];
#end
            let pixel = min(k + b_step, pixels - 1u);
            let y = pixel % Q / OW * ${SY}u;
            let x = pixel % OW * ${SX}u;
            let base = (pixel / Q * GROUPS + group) * (IC * IH * IW) + y * IW + x;
#if ${ONE_TAP}
            let ok = (y + tap[0] < IH) & (x + tap[1] < IW);
            let at = select(0u, base + tap[2], ok);
#for i in 0..${B_LOADS}
            b${i} = select(0.0, src[at + plane${i}], ok);
#end
#else
#for i in 0..${B_LOADS}
            let ok${i} = (y + tap${i}[0] < IH) & (x + tap${i}[1] < IW);
            b${i} = select(0.0, src[select(0u, base + tap${i}[2] + plane${i}, ok${i})], ok${i});
#end
#end
        }
        if ((k > k_first) & (k <= k_last)) {
#import tile_step
        }
        if (k >= k_last) {
            break;
        }
        workgroupBarrier();
${A_STORE}
#for i in 0..${B_LOADS}
        tile_b[b_step * (${BN}u + 4u) + b_line + ${i}u * ${B_APART}u] = b${i};
#end
        workgroupBarrier();
        k += ${BK}u;
    }
    if (k > k_last) {
        // Of the last tile, not all steps count.
        let left = k_last + ${BK}u - k;
#import tile_loop STEPS=left
    }

    let here = index < count;
#for j in 0..${TN4}
#for w in 0..4
    let col${j}_${w} = first_n + 4u * four.y + ${j}u * 4u * ${TX}u + ${w}u;
    let to${j}_${w} = split * len + group * (OC * COLUMNS) + col${j}_${w} % IC * ${TAPS}u + col${j}_${w} / IC;
#end
#end
    for (var r = 0u; r < select(0u, ${TM}u, here); r++) {
#import tile_row
        let channel = first_m + 4u * four.x + r / 4u * 4u * ${TY}u + r % 4u;
        if (channel >= OC) {
            continue;
        }
#for j in 0..${TN4}
#for w in 0..4
        if (col${j}_${w} < COLUMNS) {
            out[to${j}_${w} + channel * COLUMNS] = v${j}[${w}];
        }
#end
#end
    }
}
