// What the optimizers' kernels share. A workgroup of 256 threads updates one block of 1,024 elements, four per thread.
//
// A block is (first element in `parameters`, first element in `gradients` and the states, entry, elements in use). Both first
// elements are multiples of 4, and the elements past the end up to the next multiple of 4 are unused.
// A gated step is taken if the gate's first number is not 0. The second counts the skipped steps: it selects one of an
// entry's ${VARIANTS} sets of coefficients, which exist for every count that the host cannot rule out yet. The third, if the
// gradients are clipped by norm, is the factor that they are multiplied by.
#import coefficients
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parameters: array<vec4<f32>>;
#if ${GRADIENTS}
@group(0) @binding(4) var<storage, read> gradients: array<vec4<f32>>;
#end
// The rule's states, by their names.
${STATES}
#if ${GATE}
@group(0) @binding(${GATE}) var<storage, read> gate: array<f32>;
#end
#import grid

struct Site {
    // The position of this thread's four elements, in vectors.
    parameter: u32,
    state: u32,
    // Whether this thread has any elements.
    used: bool,
    // Index of the entry's coefficients.
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
    return Site((b.x >> 2u) + lane, (b.y >> 2u) + lane, open && block < count && lane * 4u < b.w, entry);
}

#if ${GRADIENTS}
// The gradient after scaling and L2 decay.
fn gradient(at: Site, c: Coefficients, p: vec4<f32>) -> vec4<f32> {
#if ${CLIPPED}
    let scale = c.grad_scale * gate[2];
#else
    let scale = c.grad_scale;
#end
    return gradients[at.state] * scale + c.l2 * p;
}
#end
