// What the optimizers share. A workgroup of 256 threads updates one block of 1,024 elements, four a thread.
//
// A block is (first element in `parameters`, first element in `gradients` and the states, entry, elements in use). Both first
// elements are multiples of 4, and the elements up to the next multiple of 4 past the end belong to nobody.
// An entry's coefficients are 4 vectors: (lr, l2, shrink, beta1), (beta2, 1 - beta1, 1 - beta2, eps),
// (1 / √bias2, gradient scale, extra, decay), (limit of the gradients' norm, reserved).
// A gated step is taken if the gate's first number is not 0. The second counts the steps that were not: it picks one of an
// entry's ${VARIANTS} coefficients, which are worked out for every count that the host cannot rule out yet. The third, if the
// gradients are clipped by their norm, is what they are multiplied with.
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4<f32>>;
#if ${GRADIENTS}
@group(0) @binding(4) var<storage, read> gradients: array<vec4<f32>>;
#end
#for s in 0..${STATES}
@group(0) @binding(4 + ${GRADIENTS} + ${s}) var<storage, read_write> state${s}: array<vec4<f32>>;
#end
#if ${GATE}
@group(0) @binding(${GATE}) var<storage, read> gate: array<f32>;
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
#if ${GATED}
    let open = gate[0] != 0.0;
    let entry = b.z * ${VARIANTS}u + u32(gate[1]) % ${VARIANTS}u;
#else
    let open = true;
    let entry = b.z;
#end
    return Site((b.x >> 2u) + lane, (b.y >> 2u) + lane, open && block < count && lane * 4u < b.w, entry * 4u);
}

#if ${GRADIENTS}
// The gradient after scaling and L2 decay.
fn gradient(at: Site, p: vec4<f32>) -> vec4<f32> {
#if ${CLIPPED}
    let scale = coefficients[at.entry + 2u].y * gate[2];
#else
    let scale = coefficients[at.entry + 2u].y;
#end
    return gradients[at.state] * scale + coefficients[at.entry].y * p;
}
#end
