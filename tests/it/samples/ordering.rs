//! Sorting, and adding by index, where the kernels for many elements run.

use super::{Sample, operand};
use wgrad::{DType, Tensor};

/// The op, what is special, the operand's shape, the call.
type Row = (&'static str, &'static str, &'static [usize], fn(&Tensor) -> Tensor);

/// An i32 index of `n` scattered positions below `len`.
fn index(like: &Tensor, n: usize, len: usize) -> Tensor {
    let positions: Vec<i32> = (0..n).map(|i| (i * i % 91 * 7 % len) as i32).collect();
    Tensor::from_slice(&positions, [n], &like.device().expect("valid")).expect("an index uploads")
}

pub fn ordering() -> Vec<Sample> {
    let moved: [Row; 5] = [
        // 65 is the first length that is merged.
        ("sort", "past one block", &[1, 65], |x| x.sort(1, false).0.square()),
        ("sort", "down past one block", &[65, 1], |x| x.unsqueeze(0).sort(1, true).0.square()),
        ("topk", "past one block", &[1, 80], |x| x.topk(3, 1).0.square()),
        ("gather", "past the search", &[1, 70], |x| x.gather(1, &index(x, 66, 70).reshape([1, 66])).square()),
        ("scatter_add", "past the search", &[1, 70], |x| {
            x.scatter_add(1, &index(x, 66, 70).reshape([1, 66]), &x.slice(1, 0, 66)).square()
        }),
    ];
    let flat: [Row; 7] = [
        ("sort", "of a long row", &[1, 3000], |x| (x * 50.0).round().sort(1, false).1),
        ("sort", "of long columns", &[700, 3], |x| (x * 50.0).round().sort(0, true).1),
        ("sort", "of NaN past one block", &[2, 300], |x| x.sqrt().sort(1, true).0),
        ("argsort", "of integers past one block", &[2, 300], |x| (x * 20.0).cast(DType::I32).argsort(1, false)),
        ("argsort", "of words", &[2, 300], |x| (x.abs() * 20.0).cast(DType::U32).argsort(1, true)),
        ("scatter_add_rows", "of many", &[300, 4], |x| x.scatter_add_rows(3000, &index(x, 300, 3000))),
        ("scatter_add_rows", "of many, odd", &[300, 3], |x| x.scatter_add_rows(3001, &index(x, 300, 91))),
    ];
    let make = |&(op, what, shape, f): &Row| Sample::new(op, what, vec![operand(shape, -2.0, 2.0)], move |x: &[Tensor]| f(&x[0]));
    // A layout that repeats the first row has equal elements, where sorting has kinks.
    let kink = |what: &str| what.contains("down");
    let rows = moved.iter().map(|r| if kink(r.1) { make(r).flat() } else { make(r) });
    rows.chain(flat.iter().map(|r| make(r).flat())).chain(adaptive_pools()).collect()
}

/// Adaptive pools over one and three axes: windows of one size, of several, and of single elements.
fn adaptive_pools() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (k, (len, size)) in
        [(7, 3), (8, 4), (8, 9), (1, 1), (5, 1), (5, 5), (6, 4), (2, 5), (9, 2), (3, 2), (4, 7), (10, 6)].into_iter().enumerate()
    {
        let x = || vec![operand(&[1 + k % 2, 1 + k % 3, len], -1.0, 1.0)];
        let (avg, max) = (
            Sample::new("adaptive_avg_pool1d", format!("{size}"), x(), move |t| t[0].adaptive_avg_pool1d(size).square()),
            Sample::new("adaptive_max_pool1d", format!("{size}"), x(), move |t| t[0].adaptive_max_pool1d(size).square()),
        );
        rows.extend(if k < 2 { [avg, max] } else { [avg.brief(), max.brief()] });
    }
    for (k, (dims, size)) in [
        ([5, 4, 3], [2, 3, 2]),
        ([4, 2, 4], [2, 1, 4]),
        ([1, 1, 1], [1, 1, 1]),
        ([2, 2, 2], [1, 1, 1]),
        ([2, 3, 2], [2, 3, 2]),
        ([1, 3, 4], [2, 2, 2]),
        ([3, 1, 2], [1, 2, 2]),
        ([4, 4, 1], [3, 2, 1]),
        ([2, 2, 5], [1, 2, 3]),
        ([6, 2, 1], [4, 1, 1]),
        ([3, 3, 3], [2, 2, 2]),
        ([2, 1, 3], [1, 1, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        let [d, h, w] = dims;
        let x = || vec![operand(&[1, 1 + k % 2, d, h, w], -1.0, 1.0)];
        let (avg, max) = (
            Sample::new("adaptive_avg_pool3d", format!("{size:?}"), x(), move |t| t[0].adaptive_avg_pool3d(size).square()),
            Sample::new("adaptive_max_pool3d", format!("{size:?}"), x(), move |t| t[0].adaptive_max_pool3d(size).square()),
        );
        rows.extend(if k < 2 { [avg, max] } else { [avg.brief(), max.brief()] });
    }
    rows
}
