// The sorted order of segments of rows, ${N} elements each, in workgroup memory: a bitonic network (Batcher, 1968) over pairs of
// key and column, of which no two are equal, so that equal keys keep their order.
// Launch: workgroups of 256 threads for ${HELD} elements, of one segment or of several. Traffic: every element once.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<${OUT_TYPE}>;
#import grid
#import sort_key
var<workgroup> keys: array<u32, ${HELD}>;
var<workgroup> places: array<u32, ${HELD}>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let segments = params[0][0];
    let cols = params[0][1];
    let parts = params[0][2]; // segments of a row
    let first = linear_workgroup(wid, groups) * (${HELD}u / ${N}u);
    for (var e = lane; e < ${HELD}u; e += 256u) {
        let segment = first + e / ${N}u;
        let col = segment % parts * ${N}u + e % ${N}u;
        let inside = segment < segments && col < cols;
        let bits = src[select(0u, segment / parts * cols + col, inside)];
        // What is past a row's end comes last: its column is larger than any.
        keys[e] = select(0xffffffffu, key(bits), inside);
        places[e] = select(0xffffffffu, col, inside);
    }
    for (var run = 2u; run <= ${N}u; run = run * 2u) {
        for (var apart = run / 2u; apart > 0u; apart = apart / 2u) {
            workgroupBarrier();
            for (var pair = lane; pair < ${HELD}u / 2u; pair += 256u) {
                let low = 2u * pair - pair % apart;
                let high = low + apart;
                let a = vec2<u32>(keys[low], places[low]);
                let b = vec2<u32>(keys[high], places[high]);
                let is_after = a.x > b.x || (a.x == b.x && a.y > b.y);
                let ascending = ((low % ${N}u) & run) == 0u;
                if (is_after == ascending) {
                    keys[low] = b.x;
                    places[low] = b.y;
                    keys[high] = a.x;
                    places[high] = a.y;
                }
            }
        }
    }
    workgroupBarrier();
    for (var e = lane; e < ${HELD}u; e += 256u) {
        let segment = first + e / ${N}u;
        let col = segment % parts * ${N}u + e % ${N}u;
        if (segment < segments && col < cols) {
            let pair = vec2<u32>(keys[e], places[e]);
            out[segment / parts * cols + col] = ${RESULT};
        }
    }
}
