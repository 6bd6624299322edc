//! The order of rows.

use super::{Numbers, Value};
use std::cmp::Ordering;

/// The positions of each row's elements in order. The sort is stable; NaN is the largest, -0 equals 0.
pub(super) fn argsort(x: &Value, descending: bool) -> Numbers {
    fn go<T>(values: &[T], cols: usize, descending: bool, compare: impl Fn(&T, &T) -> Ordering) -> Numbers {
        let mut out = Vec::with_capacity(values.len());
        for row in values.chunks(cols.max(1)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&i, &j| if descending { compare(&row[j], &row[i]) } else { compare(&row[i], &row[j]) });
            out.extend(order.into_iter().map(|i| i as i32));
        }
        Numbers::I32(out)
    }
    let cols = x.shape.last().copied().unwrap_or(1);
    match &x.data {
        Numbers::Float(v) => {
            let or_nan = |a: &f64, b: &f64| a.is_nan().cmp(&b.is_nan());
            go(v, cols, descending, |a, b| a.partial_cmp(b).unwrap_or_else(|| or_nan(a, b)))
        }
        Numbers::I32(v) => go(v, cols, descending, Ord::cmp),
        Numbers::U32(v) => go(v, cols, descending, Ord::cmp),
    }
}
