// (maximum, Σ e^(x - maximum)) of a row of logits, named x, in two passes by ${LANES} threads; the sum is 0 only if the whole row is
// -∞.
fn row_sums(first: u32, cols: u32, id: u32) -> vec2<f32> {
    let lane = id % ${LANES}u;
    var top = x[first];
    for (var c = lane; c < cols; c += ${LANES}u) {
        top = max(top, x[first + c]);
    }
    top = combine_max(id, top);
    var sum = 0.0;
    for (var c = lane; c < cols; c += ${LANES}u) {
        sum += shifted_exp(x[first + c], top);
    }
    return vec2<f32>(top, combine_sum(id, sum));
}
