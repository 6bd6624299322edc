//! Printing, as NumPy prints: nested brackets, columns aligned, long axes shortened.

use super::Tensor;
use crate::dtype::{DType, HostData};
use crate::shape::Shape;
use std::fmt;

/// Above this many elements, axes are shortened to [`EDGE`] elements at each end.
const SUMMARISE: usize = 1000;
const EDGE: usize = 3;

impl fmt::Display for Tensor {
    /// Computes the value. A failure is printed rather than returned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, dtype, data) = match self.shape().and_then(|s| Ok((s, self.dtype()?, self.to_host()?))) {
            Ok(parts) => parts,
            Err(error) => return write!(f, "<{error}>"),
        };
        let cells = cells(&data, dtype);
        let edge = if shape.numel() > SUMMARISE { EDGE } else { usize::MAX / 4 };
        let mut out = String::new();
        nest(&mut out, &cells, &shape, edge, 0);
        write!(f, "{out}\n{dtype} {shape}")
    }
}

impl fmt::Debug for Tensor {
    /// Does not compute anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node() {
            Ok(node) => {
                let state = if node.is_realised() { "realised" } else { "lazy" };
                write!(f, "Tensor({} {} on {}, {}, {state})", node.dtype, node.shape, node.device.name(), node.op.name())
            }
            Err(error) => write!(f, "Tensor(error: {error})"),
        }
    }
}

/// Every element as text of one width.
fn cells(data: &HostData, dtype: DType) -> Vec<String> {
    let raw: Vec<String> = match data {
        HostData::U32(v) if dtype == DType::Bool => v.iter().map(|&x| (x != 0).to_string()).collect(),
        HostData::U32(v) => v.iter().map(ToString::to_string).collect(),
        HostData::I32(v) => v.iter().map(ToString::to_string).collect(),
        HostData::U8(v) => v.iter().map(ToString::to_string).collect(),
        HostData::F16(_) | HostData::F32(_) | HostData::F64(_) => floats(&data.to_f64()),
    };
    let width = raw.iter().map(String::len).max().unwrap_or(0);
    raw.into_iter().map(|s| format!("{s:>width$}")).collect()
}

/// Up to four decimals, fewer if all values are round; exponents where the range needs them.
fn floats(values: &[f64]) -> Vec<String> {
    let finite = || values.iter().filter(|v| v.is_finite() && **v != 0.0).map(|v| v.abs());
    let (largest, smallest) = (finite().fold(0.0, f64::max), finite().fold(f64::INFINITY, f64::min));
    if largest >= 1e8 || smallest < 1e-4 {
        return values.iter().map(|v| if v.is_finite() { format!("{v:.4e}") } else { v.to_string() }).collect();
    }
    let decimals = (0..4usize).find(|&d| {
        let scale = 10f64.powi(i32::try_from(d).unwrap_or(0));
        values.iter().all(|v| !v.is_finite() || ((v * scale).round() - v * scale).abs() < 1e-6 * scale.max(v.abs() * scale))
    });
    let decimals = decimals.unwrap_or(4);
    values.iter().map(|v| if decimals == 0 && v.is_finite() { format!("{v:.0}.") } else { format!("{v:.decimals$}") }).collect()
}

fn nest(out: &mut String, cells: &[String], shape: &Shape, edge: usize, depth: usize) {
    let Some(&len) = shape.get(depth) else {
        out.push_str(cells.first().map_or("", |c| c.trim()));
        return;
    };
    let inner: usize = shape[depth + 1..].iter().product();
    let last = depth + 1 == shape.rank();
    let separator = if last { " ".to_owned() } else { "\n".repeat(shape.rank() - depth - 1) + &" ".repeat(depth + 1) };
    out.push('[');
    for i in 0..len {
        if i > 0 {
            out.push_str(&separator);
        }
        if len > 2 * edge && i == edge {
            out.push_str("...");
        }
        if len > 2 * edge && (edge..len - edge).contains(&i) {
            if i > edge {
                out.truncate(out.len() - separator.len());
            }
            continue;
        }
        if last { out.push_str(&cells[i]) } else { nest(out, &cells[i * inner..(i + 1) * inner], shape, edge, depth + 1) }
    }
    out.push(']');
}
