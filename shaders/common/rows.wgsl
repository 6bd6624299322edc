// Row-wise kernels: ${LANES} threads share a row of logits, named x, and agree on its maximum and on its sum of exponentials.
// Tests by bits, see bits.wgsl.
fn is_undefined(v: f32) -> bool {
    return (bitcast<u32>(v) << 1u) > 0xff000000u;
}

fn is_lowest(v: f32) -> bool {
    return bitcast<u32>(v) >= 0xff800000u && !is_undefined(v);
}

// Whether the sum is that of a row of only -∞.
fn is_dead(sum: f32) -> bool {
    return sum == 0.0 && !is_undefined(sum);
}

// e^(v - top), 0 for -∞, NaN for NaN: drivers differ in their exponentials and logarithms of infinity and NaN.
fn shifted_exp(v: f32, top: f32) -> f32 {
    let d = v - top;
    return select(select(exp(d), d, is_undefined(d)), 0.0, is_lowest(v));
}

// ln sum; NaN for NaN.
fn log_of_sum(sum: f32) -> f32 {
    return select(log(sum), sum, is_undefined(sum));
}

#if ${LANES} != 1
var<workgroup> shared_values: array<f32, ${LANES}>;

fn combine_max(lane: u32, v: f32) -> f32 {
    shared_values[lane] = v;
    workgroupBarrier();
    for (var step = ${LANES}u / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            shared_values[lane] = max(shared_values[lane], shared_values[lane + step]);
        }
        workgroupBarrier();
    }
    let result = shared_values[0];
    workgroupBarrier();
    return result;
}

fn combine_sum(lane: u32, v: f32) -> f32 {
    shared_values[lane] = v;
    workgroupBarrier();
    for (var step = ${LANES}u / 2u; step > 0u; step = step / 2u) {
        if (lane < step) {
            shared_values[lane] += shared_values[lane + step];
        }
        workgroupBarrier();
    }
    let result = shared_values[0];
    workgroupBarrier();
    return result;
}
#end

// (maximum, Σ e^(x - maximum)) of the row; the sum is 0 only if the whole row is -∞.
fn row_sums(first: u32, cols: u32, lane: u32) -> vec2<f32> {
    var top = x[first];
    for (var c = lane; c < cols; c += ${LANES}u) {
        top = max(top, x[first + c]);
    }
#if ${LANES} != 1
    top = combine_max(lane, top);
#end
    var sum = 0.0;
    for (var c = lane; c < cols; c += ${LANES}u) {
        sum += shifted_exp(x[first + c], top);
    }
#if ${LANES} != 1
    sum = combine_sum(lane, sum);
#end
    return vec2<f32>(top, sum);
}
