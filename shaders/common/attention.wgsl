// Tiles of attention in workgroup memory: 64 rows, which the workgroup computes, by ${COLUMNS} columns at a time.
//
// A thread has 4 rows by ${FOURS} fours of columns, ${TX} fours apart; a workgroup is 16 threads along the rows by ${TX} along the
// columns. All that is shared lies in one array, one phase after the other: both sides of a product over ${DEPTH} elements, then
// the weights of 32 columns and the ${STEPS} rows that they are multiplied by.
const PITCH = 68u;
const SIDE_B = ${DEPTH}u * PITCH;
const SIDE_V = 32u * PITCH;
var<workgroup> tile: array<f32, ${MEMORY}>;

// The four of rows, and the first of the fours of columns, of a thread: 32 neighbours are 4 by 8.
fn four_of(lane: u32) -> vec2<u32> {
    let block = lane / 32u;
    return vec2<u32>(block / ${BLOCKS}u * 4u + lane % 32u / 8u, block % ${BLOCKS}u * 8u + lane % 8u);
}

fn four_at(at: u32) -> vec4<f32> {
    return vec4<f32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
}

#import attention_bits

fn weights(v: vec4<f32>, top: f32) -> vec4<f32> {
    return vec4<f32>(weight(v.x, top), weight(v.y, top), weight(v.z, top), weight(v.w, top));
}
#for x in 0..${OPERANDS}
#import attention_load X=${x}
#end
