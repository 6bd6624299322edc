// Attention or its gradient, a thread for each query or key, without workgroup memory: [o | lse], [dq] with D, or [dk | dv].
@group(0) @binding(0) var<uniform> params: array<vec4<u32>, ${RECORD}>;
${BINDINGS}
#import grid
#import attention_bits
#for x in 0..3
#import attention_load X=${x}
#end
#if ${PART} != forward
#import attention_load X=4
#end

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
#import attention_sizes
#if ${PART} == forward
    let flat = 0u;
#else
    let flat = params[2][2];
#end
    let index = linear_workgroup(wid, groups) * ${LANES}u + lane;
    if (index >= params[2][0]) {
        return;
    }
#if ${PART} == keys
    let key = index % keys;
    let key_head = index / keys % key_heads;
    let example = index / keys / key_heads;
    var x: array<vec4<f32>, ${D_FOURS}>;
    var y: array<vec4<f32>, ${E_FOURS}>;
    let first = select(0u, key, ${CAUSAL});
    for (var member = 0u; member < group; member++) {
    let head = key_head * group + member;
    for (var query = first; query < queries; query++) {
#else
    let query = index % queries;
    let head = index / queries % heads;
    let example = index / queries / heads;
    let key_head = head / group;
    var y: array<vec4<f32>, ${Y_FOURS}>;
#end
    let q = params[3][3] + example * params[3][0] + head * params[3][1] + query * params[3][2];
    let row = (example * heads + head) * queries + query;
    let o = ((example * queries + query) * heads + head) * value_width;
#if ${PART} != forward
    let slope = params[6][3] + example * params[6][0] + head * params[6][1] + query * params[6][2];
    let lse = b3[flat + params[2][1] + row];
#end
#if ${PART} == queries
    var mean = 0.0;
    for (var c = 0u; c < value_width; c += 4u) {
        let end = value_width - 1u;
        let at_o = flat + o;
        let four_o = vec4<f32>(b3[at_o + c], b3[at_o + min(c + 1u, end)], b3[at_o + min(c + 2u, end)], b3[at_o + min(c + 3u, end)]);
        mean += dot(four_of_4(slope, c, value_width), four_o);
    }
    dots[row] = mean;
#end
#if ${PART} == keys
    let mean = dots[row];
#end
#if ${PART} == forward
    var top = -3.402823e38;
    var total = 0.0;
#end
#if ${PART} != keys
    let last = select(keys, min(keys, query + 1u), ${CAUSAL});
    for (var key = 0u; key < last; key++) {
#end
        let k = params[4][3] + example * params[4][0] + key_head * params[4][1] + key * params[4][2];
        let v = params[5][3] + example * params[5][0] + key_head * params[5][1] + key * params[5][2];
#if ${MASK} != none
        let at = params[8][0] + example * params[7][0] + head * params[7][1] + query * params[7][2] + key * params[7][3];
#end
        var product = 0.0;
        for (var c = 0u; c < width; c += 4u) {
            product += dot(four_of_0(q, c, width), four_of_1(k, c, width));
        }
        let score = seen(product * factor${ADDED}, false${HIDDEN_MASK});
        if (is_lowest(score)) {
            continue;
        }
#if ${PART} == forward
        let high = max(top, score);
        let shrink = exp(max(top - high, -200.0));
        let share = weight(score, high);
        top = high;
        total = total * shrink + share;
        for (var c = 0u; c < value_width; c += 4u) {
            y[c >> 2u] = y[c >> 2u] * shrink + share * four_of_2(v, c, value_width);
        }
#else
        let share = weight(score, lse);
        var product_v = 0.0;
        for (var c = 0u; c < value_width; c += 4u) {
            let four = four_of_4(slope, c, value_width);
            product_v += dot(four, four_of_2(v, c, value_width));
#if ${PART} == keys
            y[c >> 2u] += share * four;
#end
        }
        let change = share * (product_v - mean) * factor;
        for (var c = 0u; c < width; c += 4u) {
#if ${PART} == keys
            x[c >> 2u] += change * four_of_0(q, c, width);
#else
            y[c >> 2u] += change * four_of_1(k, c, width);
#end
        }
#end
    }
#if ${PART} == forward
    let dead = total == 0.0 && !is_undefined(total);
    let known = select(top + log(total), total, is_undefined(total));
    out[params[2][1] + row] = select(known, 0.0, dead);
    for (var c = 0u; c < value_width; c++) {
        out[o + c] = select(y[c >> 2u][c & 3u] / total, 0.0, dead);
    }
#end
#if ${PART} == queries
    for (var c = 0u; c < width; c++) {
        out[((example * queries + query) * heads + head) * width + c] = y[c >> 2u][c & 3u];
    }
#end
#if ${PART} == keys
    }
    let line = (example * keys + key) * key_heads + key_head;
    for (var c = 0u; c < width; c++) {
        out[params[9][0] + line * width + c] = x[c >> 2u][c & 3u];
    }
    for (var c = 0u; c < value_width; c++) {
        out[params[9][1] + line * value_width + c] = y[c >> 2u][c & 3u];
    }
#end
}
