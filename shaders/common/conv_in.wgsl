// ${V} neighbouring elements from `x` on of a row that starts at `row`, or zeros where the row or the columns are in the padding.
// Rows are a multiple of ${V} long and `x` is one, so a vector is entirely inside or outside.
// Without `&&`, which most compilers turn into a branch: texts have dozens of these.
fn padded(row: u32, row_ok: bool, x: u32, width: u32) -> ${X_TYPE} {
    let ok = row_ok & (x < width);
    return select(${X_TYPE}(), src[(row + select(0u, x, ok)) / ${V}u], ok);
}
