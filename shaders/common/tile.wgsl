// Tiles of a product in workgroup memory: ${BM} rows by ${BN} columns over ${BK} steps of the inner dimension, one after the other.
//
// A thread computes ${TM} rows by ${TN} columns, in fours that lie ${TY} (${TX}) fours apart; a workgroup is ${TY} threads along the
// rows by ${TX} along the columns. A row of the tile is padded by four, so that transposing stores meet different banks.
var<workgroup> tile_a: array<f32, ${BK} * (${BM} + 4)>;
var<workgroup> tile_b: array<f32, ${BK} * (${BN} + 4)>;

// The fours along the rows and the columns that a thread starts at: 32 neighbouring threads are ${LY} by ${LX}, which takes fewest
// words of workgroup memory per read.
fn four_of(lane: u32) -> vec2<u32> {
    let block = lane / 32u;
    return vec2<u32>(block / ${BLOCKS}u * ${LY}u + lane % 32u / ${LX}u, block % ${BLOCKS}u * ${LX}u + lane % ${LX}u);
}

fn four_of_a(at: u32) -> vec4<f32> {
    return vec4<f32>(tile_a[at], tile_a[at + 1u], tile_a[at + 2u], tile_a[at + 3u]);
}

fn four_of_b(at: u32) -> vec4<f32> {
    return vec4<f32>(tile_b[at], tile_b[at + 1u], tile_b[at + 2u], tile_b[at + 3u]);
}
