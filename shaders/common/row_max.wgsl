// The largest of x[first .. first + len]; NaN if any is.
fn row_max(first: u32, len: u32) -> f32 {
    var top = x[first];
    for (var j = 1u; j < len; j++) {
        let v = x[first + j];
        let v_nan = (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
        let top_nan = (bitcast<u32>(top) & 0x7fffffffu) > 0x7f800000u;
        top = select(top, v, !top_nan && (v > top || v_nan));
    }
    return top;
}
