// (maximum, Σ e^(x - maximum)) of a row from those of its parts, which are side by side in `pairs`.
fn merged(row: u32, parts: u32) -> vec2<f32> {
    var top = pairs[row * parts].x;
    for (var p = 1u; p < parts; p++) {
        top = max(top, pairs[row * parts + p].x);
    }
    var sum = 0.0;
    for (var p = 0u; p < parts; p++) {
        let pair = pairs[row * parts + p];
        sum += rescaled(pair.y, pair.x, top);
    }
    return vec2<f32>(top, sum);
}
