// What the optimizers share. A workgroup of 256 threads updates one block of 1,024 elements, four a thread.
//
// A block is (first element in `parameters`, first element in `gradients` and the states, entry, elements in use). Both first
// elements are multiples of 4, and the elements up to the next multiple of 4 past the end belong to nobody.
// An entry's coefficients are 4 vectors: (lr, l2, shrink, beta1), (beta2, 1 - beta1, 1 - beta2, eps),
// (1 / √bias2, gradient scale, -, -), reserved.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gradients: array<vec4<f32>>;
#for s in 0..${STATES}
@group(0) @binding(5 + ${s}) var<storage, read_write> state${s}: array<vec4<f32>>;
#end
#import grid

struct Site {
    // Where this thread's four elements are, in vectors.
    parameter: u32,
    state: u32,
    // Whether there are any.
    used: bool,
    // Index of the entry's first coefficient vector.
    entry: u32,
}

fn site(wid: vec3<u32>, groups: vec3<u32>, lane: u32) -> Site {
    let block = linear_workgroup(wid, groups);
    let count = params[0][0];
    let b = blocks[min(block, count - 1u)];
    return Site((b.x >> 2u) + lane, (b.y >> 2u) + lane, block < count && lane * 4u < b.w, b.z * 4u);
}

// The gradient after scaling and L2 decay.
fn gradient(at: Site, p: vec4<f32>) -> vec4<f32> {
    return gradients[at.state] * coefficients[at.entry + 2u].y + coefficients[at.entry].y * p;
}
