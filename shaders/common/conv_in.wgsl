// Element `x` of a row that starts at `row`, or 0 where the row or the column lies in the padding.
fn padded(row: u32, row_ok: bool, x: u32, width: u32) -> f32 {
    let ok = row_ok && x < width;
    return select(0.0, src[row + select(0u, x, ok)], ok);
}
