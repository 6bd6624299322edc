//! Tiles in workgroup memory, for hardware: `shaders/matmul_tiled.wgsl`.

use super::form::{Form, lhs_path, rhs_path, widest};
use crate::error::Result;
use crate::gpu::kernels::path::Path;
use crate::gpu::kernels::tile::{DEPTH, Side, Tile};
use crate::gpu::program::Caps;
use crate::gpu::shader::Shader;
use crate::plan::MatMul;

/// The half whose sums of lines a tile writes besides, if it can.
fn sums(mm: &MatMul, paths: [Path; 2]) -> Option<usize> {
    mm.sums.as_ref().map(|sums| sums.half).filter(|&half| Side::can_sum(paths[half]))
}

/// The text for a tile.
pub(super) fn form(mm: &MatMul, tile: Tile, caps: &Caps) -> Result<Form> {
    let (lhs, rhs) = (lhs_path(mm), rhs_path(mm));
    let sums = sums(mm, [lhs, rhs]);
    let a = Side {
        place: "a",
        from: "lhs",
        lines_are: "rows",
        lines: tile.rows,
        first: "first_m",
        edge: "m",
        line: "lhs_row",
        step: "lhs_k",
        path: lhs,
        jumps: false,
        sums: sums == Some(0),
        other: "first_n",
    };
    let b = Side {
        place: "b",
        from: "rhs",
        lines_are: "columns",
        lines: tile.columns,
        first: "first_n",
        edge: "n",
        line: "rhs_col",
        step: "rhs_k",
        path: rhs,
        jumps: false,
        sums: sums == Some(1),
        other: "first_m",
    };
    let [a_at, a_load, a_rest, a_store, a_sums] = a.texts(tile.threads())?;
    let [b_at, b_load, b_rest, b_store, b_sums] = b.texts(tile.threads())?;
    let shader = Shader::new()
        .set("LHS_TYPE", lhs.element())
        .set("RHS_TYPE", rhs.element())
        .set("LHS_AT", a_at)
        .set("RHS_AT", b_at)
        .set("LHS_LOAD", a_load)
        .set("RHS_LOAD", b_load)
        .set("LHS_REST", a_rest)
        .set("RHS_REST", b_rest)
        .set("TAIL", usize::from(!mm.k.is_multiple_of(DEPTH)))
        .set("LHS_STORE", a_store)
        .set("RHS_STORE", b_store)
        .set("SUMS", a_sums + &b_sums);
    let with = if sums.is_some() { "_sums" } else { "" };
    let name = format!("matmul_tiled_{}{}_{}x{}{with}", lhs.code(), rhs.code(), tile.rows, tile.columns);
    let block = [tile.rows, tile.columns];
    Ok(Form {
        file: "matmul_tiled",
        name,
        shader: tile.fill(shader, caps),
        block,
        depth: DEPTH,
        writes: widest(mm),
        sums: sums.is_some(),
    })
}
