//! Printing in NumPy's style: one format for all elements that are shown, columns aligned, long axes shortened.

use super::Tensor;
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::lazy::no_grad;
use crate::shape::Shape;
use std::fmt::{self, Write};

/// Above this many elements, axes are shortened to [`EDGE`] elements at each end.
const SUMMARISE: usize = 1000;
const EDGE: usize = 3;
/// Rows of more characters are broken.
const LINE: usize = 80;
/// The most elements of a value that `Debug` shows.
const FEW: usize = 16;
/// Decimals unless the caller asks for others; trailing zeros that all elements share are dropped.
const DECIMALS: usize = 4;

/// The value as NumPy prints it, then the dtype and the shape. Computes the value; of more than 1,000 elements only three at
/// each end of every axis are read and shown. A failure is printed rather than returned.
///
/// All elements that are shown have one format. Exponents are for ranges that need them: an element of 1e8 or more, one below
/// 1e-4, or fractions of which the largest is more than 1,000 times the smallest. `{:.2}` asks for two decimals; by default there
/// are as many as needed, four at most.
///
/// ```
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[0.5f32, -1.0, 12.25, 3.0], [2, 2], &device)?;
/// assert_eq!(x.to_string(), "[[ 0.50 -1.00]\n [12.25  3.00]]\nf32 [2, 2]");
/// assert_eq!(format!("{x:.1}"), "[[ 0.5 -1.0]\n [12.2  3.0]]\nf32 [2, 2]");
/// let long = Tensor::arange(0.0, 1e6, 1.0, &device)?;
/// assert_eq!(long.to_string(), "[     0.      1.      2. ... 999997. 999998. 999999.]\nf32 [1000000]");
/// # Ok(()) }
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, dtype, data) = match self.shown() {
            Ok(parts) => parts,
            Err(error) => return write!(f, "<{error}>"),
        };
        let cells = cells(&data, dtype, f.precision());
        write!(f, "{}\n{dtype} {shape}", Layout { shape, cells: &cells, edge: edge(&shape), lines: true }.text())
    }
}

/// The dtype, the shape, the device and, if the value has been computed and has 16 elements at most, the elements. Computes
/// nothing.
///
/// ```
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let x = Tensor::from_slice(&[1, 2, 3], [3], &device)?;
/// assert_eq!(format!("{x:?}"), format!("Tensor(i32 [3] on {}: [1, 2, 3])", device.name()));
/// assert_eq!(format!("{:?}", &x + 1), format!("Tensor(i32 [3] on {}, not computed)", device.name()));
/// # Ok(()) }
/// ```
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = match self.node() {
            Ok(node) => node,
            Err(error) => return write!(f, "Tensor(error: {error})"),
        };
        write!(f, "Tensor({} {} on {}", node.dtype, node.shape, node.device.name())?;
        if !crate::eval::is_computed(node) {
            return f.write_str(", not computed)");
        }
        if node.shape.numel() <= FEW
            && let Ok(data) = crate::eval::read_quietly(node)
        {
            let cells: Vec<String> =
                cells(&data, node.dtype, f.precision()).into_iter().map(|cell| cell.trim_start().to_owned()).collect();
            let layout = Layout { shape: node.shape, cells: &cells, edge: usize::MAX, lines: false };
            write!(f, ": {}", layout.text())?;
        }
        f.write_str(")")
    }
}

impl Tensor {
    /// The shape and dtype, and the elements to show. Of a long axis, only the ends are copied to the host.
    fn shown(&self) -> Result<(Shape, DType, HostData)> {
        let (shape, dtype) = (self.shape()?, self.dtype()?);
        let edge = edge(&shape);
        if shape.iter().all(|&len| len <= edge.saturating_mul(2)) {
            return Ok((shape, dtype, self.to_host()?));
        }
        // The whole value first, with the plan that any other read would use.
        self.eval()?;
        let ends = no_grad(|| (0..shape.rank()).fold(self.clone(), |x, axis| x.ends(axis, shape[axis], edge)));
        Ok((shape, dtype, ends.to_host()?))
    }

    /// `edge` elements at each end of an axis.
    fn ends(&self, axis: usize, len: usize, edge: usize) -> Self {
        let (Ok(axis), Ok(back)) = (isize::try_from(axis), isize::try_from(len.saturating_sub(edge))) else {
            return self.clone();
        };
        if len <= 2 * edge {
            return self.clone();
        }
        Self::cat(&[&self.narrow(axis, 0, edge), &self.narrow(axis, back, edge)], axis)
    }
}

/// How many elements at each end of an axis are shown.
fn edge(shape: &Shape) -> usize {
    if shape.numel() > SUMMARISE { EDGE } else { usize::MAX }
}

/// Every element as text of one width.
fn cells(data: &HostData, dtype: DType, precision: Option<usize>) -> Vec<String> {
    let raw: Vec<String> = match data {
        HostData::U32(v) if dtype == DType::Bool => v.iter().map(|&x| (x != 0).to_string()).collect(),
        HostData::U32(v) => v.iter().map(ToString::to_string).collect(),
        HostData::I32(v) => v.iter().map(ToString::to_string).collect(),
        HostData::U8(v) => v.iter().map(ToString::to_string).collect(),
        HostData::F16(_) | HostData::F32(_) | HostData::F64(_) => floats(&data.to_f64(), precision),
    };
    let width = raw.iter().map(String::len).max().unwrap_or(0);
    raw.into_iter().map(|s| format!("{s:>width$}")).collect()
}

/// Floating-point numbers in one format.
fn floats(values: &[f64], precision: Option<usize>) -> Vec<String> {
    let magnitudes = || values.iter().filter(|v| v.is_finite() && **v != 0.0).map(|v| v.abs());
    let (largest, smallest) = (magnitudes().fold(0.0, f64::max), magnitudes().fold(f64::INFINITY, f64::min));
    let whole = magnitudes().all(|v| v.fract() == 0.0);
    let exponents = largest >= 1e8 || smallest < 1e-4 || (!whole && largest / smallest > 1000.0);
    let decimals = precision.unwrap_or(DECIMALS);
    // The part before an exponent, and the exponent.
    let split = |v: &f64| {
        let text = if exponents { format!("{v:.decimals$e}") } else { format!("{v:.decimals$}") };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        (mantissa.to_owned(), exponent.parse::<i32>().unwrap_or(0))
    };
    let parts: Vec<Option<(String, i32)>> = values.iter().map(|v| v.is_finite().then(|| split(v))).collect();
    let finite = || parts.iter().flatten();
    let spare = match precision {
        Some(_) => 0,
        None => finite().map(|(m, _)| m.len() - m.trim_end_matches('0').len()).min().unwrap_or(0).min(decimals),
    };
    let digits = finite().map(|(_, e)| e.unsigned_abs().to_string().len()).max().unwrap_or(2).max(2);
    let join = |(value, part): (&f64, &Option<(String, i32)>)| match part {
        Some((mantissa, exponent)) if exponents => {
            let sign = if *exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:0digits$}", &mantissa[..mantissa.len() - spare], exponent.unsigned_abs())
        }
        Some((mantissa, _)) => mantissa[..mantissa.len() - spare].to_owned(),
        None => value.to_string().to_lowercase(),
    };
    values.iter().zip(&parts).map(join).collect()
}

/// Cells between nested brackets.
struct Layout<'a> {
    /// The tensor's shape.
    shape: Shape,
    /// The elements to show: all, or those at the ends of axes.
    cells: &'a [String],
    edge: usize,
    /// Whether rows are on lines of their own, with blanks between cells; otherwise commas separate them.
    lines: bool,
}

impl Layout<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        if self.shape.numel() == 0 {
            out.push_str("[]");
        } else {
            self.nest(&mut out, 0, &mut self.cells.iter());
        }
        out
    }

    fn nest(&self, out: &mut String, depth: usize, cells: &mut std::slice::Iter<'_, String>) {
        let Some(&len) = self.shape.get(depth) else {
            out.push_str(cells.next().map_or("", |c| c.trim_start()));
            return;
        };
        let last = depth + 1 == self.shape.rank();
        let indent = " ".repeat(depth + 1);
        let separator = match (self.lines, last) {
            (false, _) => ", ".to_owned(),
            (true, true) => " ".to_owned(),
            (true, false) => "\n".repeat(self.shape.rank() - depth - 1) + &indent,
        };
        let cut = len > self.edge.saturating_mul(2);
        let shown = if cut { 2 * self.edge } else { len };
        let mut column = depth + 1;
        out.push('[');
        for i in 0..shown {
            if i > 0 {
                out.push_str(&separator);
            }
            if cut && i == self.edge {
                let _ = write!(out, "...{separator}"); // A String takes everything.
                column += 4;
            }
            if !last {
                self.nest(out, depth + 1, cells);
                continue;
            }
            let cell = cells.next().map_or("", String::as_str);
            if self.lines && i > 0 && column + cell.len() > LINE {
                out.truncate(out.trim_end_matches(' ').len());
                let _ = write!(out, "\n{indent}");
                column = depth + 1;
            }
            out.push_str(cell);
            column += cell.len() + 1;
        }
        out.push(']');
    }
}
