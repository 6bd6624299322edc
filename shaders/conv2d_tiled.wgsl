// out[n][o][p] = epilogue(Σ_{tap,i} weights[tap][i][o] * src[n][i][p at tap]), per group, with tiles of ${BM} channels by ${BN} pixels of
// all images in workgroup memory: forward, and the input gradient for any stride.
//
// Output pixels fall into classes, which meet different taps: one of a forward pass, one per residue modulo the stride of an input
// gradient. The inner dimension is taps outside and channels inside, so it is made of whole tiles of one tap where the channels
// are a multiple of ${BK} (WIDE); else each step has its own tap.
// Traffic: (${BM} + ${BN}) / (${BM} * ${BN}) elements read per multiply-add.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<${OUT_TYPE}>;
${OPERANDS}
const GROUPS = ${GROUPS}u;
const IC = ${IC}u;   // channels that a group reads
const OC = ${OC}u;   // channels that a group writes
const IH = ${IH}u;
const IW = ${IW}u;
const OH = ${OH}u;
const OW = ${OW}u;
const QW = ${QW}u;   // columns of a class
const Q = ${Q}u;     // pixels of a class and an image
#import grid
#import tile
${EPILOGUE_FN}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let count = params[0][0];
    let pixels = params[0][1];
    let tiles_m = params[0][2];
    let tiles_n = params[0][3];
    let len = params[1][0];

    // The workgroup's index as (split, class, group, pixels, channels).
    let index = linear_workgroup(wid, groups);
    var rest = min(index, count - 1u);
    let first_m = rest % tiles_m * ${BM}u;
    rest = rest / tiles_m;
    let first_n = rest % tiles_n * ${BN}u;
    rest = rest / tiles_n;
    let group = rest % GROUPS;
    rest = rest / GROUPS;
    let part_of = params[2u + 2u * (rest % ${CLASSES}u)];
    let residue = params[3u + 2u * (rest % ${CLASSES}u)];
    let split = rest / ${CLASSES}u;
    let first_tap = part_of[0];
    let k_total = part_of[1];
    let k_first = min(split * part_of[2], k_total);
    let k_whole = min(k_first + part_of[2], k_total);
    let k_steps = min(k_whole, residue[2]);

    let m = ${M}u;
    let weights_base = part_of[3] + group * ${WEIGHTS_OF_GROUP};
    let w_row = ${W_ROW}u;
    let w_k = ${W_K}u;
${A_AT}
    // The pixels that a thread loads, and the first of the tile's steps for which it does. Threads in excess store nothing.
#if ${LOADING}
    let b_step = lane / ${BN}u % ${ROWS}u;
#else
    let b_step = lane / ${BN}u;
#end
#for s in 0..${SLOTS}
    let pixel${s} = min(first_n + lane % ${BN}u + ${s}u * ${LANES}u, pixels - 1u);
    let y${s} = pixel${s} % Q / QW * ${SY}u;
    let x${s} = pixel${s} % QW * ${SX}u;
    let base${s} = (pixel${s} / Q * GROUPS + group) * (IC * IH * IW) + y${s} * IW + x${s};
#for i in 0..${LOADS}
    var b${s}_${i} = 0.0;
#end
#end
    let four = four_of(lane);
#import tile_sums

    var k = k_first;
    loop {
        if (k < k_whole) {
#if ${WIDE}
            let tap = params[${TAPS_AT}u + first_tap + k / IC];
#end
#if ${JUMPS}
            let a_jump = (tap[3] * ${TAP_STRIDE}u + k % IC * w_k) >> 2u;
#end
${A_LOAD}
#if ${WIDE}
            let plane = tap[2] + (k % IC + b_step) * (IH * IW);
#for s in 0..${SLOTS}
            let ok${s} = (y${s} + tap[0] < IH) & (x${s} + tap[1] < IW);
            let at${s} = select(0u, base${s} + plane, ok${s});
#for i in 0..${LOADS}
            b${s}_${i} = select(0.0, src[at${s} + ${i}u * ${ROWS}u * (IH * IW)], ok${s});
#end
#end
#else
#for i in 0..${LOADS}
            let k${i} = min(k + ${i}u, k_steps - 1u);
            let tap${i} = params[${TAPS_AT}u + first_tap + k${i} / IC];
            let plane${i} = tap${i}[2] + k${i} % IC * (IH * IW);
#for s in 0..${SLOTS}
            let ok${s}_${i} = (y${s} + tap${i}[0] < IH) & (x${s} + tap${i}[1] < IW);
            b${s}_${i} = select(0.0, src[select(0u, base${s} + plane${i}, ok${s}_${i})], ok${s}_${i});
#end
#end
#end
        }
        if ((k > k_first) & (k <= k_steps)) {
#import tile_step
        }
        if (k >= k_whole) {
            break;
        }
        workgroupBarrier();
${A_STORE}
#if ${LOADING}
        if (lane < ${LOADING}u) {
#end
#for s in 0..${SLOTS}
#for i in 0..${LOADS}
        tile_b[(b_step + ${i}u * ${ROWS}u) * (${BN}u + 4u) + lane % ${BN}u + ${s}u * ${LANES}u] = b${s}_${i};
#end
#end
#if ${LOADING}
        }
#end
        workgroupBarrier();
        k += ${BK}u;
    }
#if ${WIDE} == 0
    if ((k > k_first) & (k > k_steps)) {
        // Of the last tile, not all steps count.
        let left = k_steps + ${BK}u - k;
#import tile_loop STEPS=left
    }
#end

    // Where a thread's pixels are in the first channel, and whether they are.
    let here = index < count;
#for j in 0..${TN4}
    let col${j} = first_n + 4u * four.y + ${j}u * 4u * ${TX}u;
#if ${OUT} == x
    let to${j} = split * len + (col${j} / Q * GROUPS + group) * (OC * OH * OW) + col${j} % Q;
    let in${j} = col${j} < pixels;
#else
#for w in 0..4
    let qy${j}_${w} = (col${j} + ${w}u) % Q / QW * ${OSY}u + residue[0];
    let qx${j}_${w} = (col${j} + ${w}u) % QW * ${OSX}u + residue[1];
    let to${j}_${w} = split * len + ((col${j} + ${w}u) / Q * GROUPS + group) * (OC * OH * OW) + qy${j}_${w} * OW + qx${j}_${w};
    let in${j}_${w} = (col${j} + ${w}u < pixels) & (qy${j}_${w} < OH) & (qx${j}_${w} < OW);
#end
#end
#end
    // One copy of the epilogue for all channels: unrolled, it would multiply compile time.
    for (var r = 0u; r < select(0u, ${TM}u, here); r++) {
#import tile_row
        let channel = first_m + 4u * four.x + r / 4u * 4u * ${TY}u + r % 4u;
        if (channel >= OC) {
            continue;
        }
#for j in 0..${TN4}
#if ${OUT} == x
        if (in${j}) {
            let i = to${j} + channel * (OH * OW);
            let v = v${j};
            out[i >> 2u] = ${RESULT};
        }
#else
#for w in 0..4
        if (in${j}_${w}) {
            let i = to${j}_${w} + channel * (OH * OW);
            let v = v${j}[${w}];
            out[i] = ${RESULT};
        }
#end
#end
#end
    }
}
