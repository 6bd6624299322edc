//! Sorting, and adding by index, where the kernels for many elements run.

use super::{Sample, operand};
use wgrad::{DType, Tensor};

type Row = (&'static str, &'static [usize], fn(&Tensor) -> Tensor);

/// An i32 index of `n` scattered positions below `len`.
fn index(like: &Tensor, n: usize, len: usize) -> Tensor {
    let positions: Vec<i32> = (0..n).map(|i| (i * i % 91 * 7 % len) as i32).collect();
    Tensor::from_slice(&positions, [n], &like.device().expect("valid")).expect("an index uploads")
}

pub fn ordering() -> Vec<Sample> {
    let moved: [Row; 5] = [
        // 65 is the first length that is merged.
        ("sort past one block", &[1, 65], |x| x.sort(1, false).0.square()),
        ("sort down past one block", &[65, 1], |x| x.unsqueeze(0).sort(1, true).0.square()),
        ("topk past one block", &[1, 80], |x| x.topk(3, 1).0.square()),
        ("gather past the search", &[1, 70], |x| x.gather(1, &index(x, 66, 70).reshape([1, 66])).square()),
        ("scatter_add past the search", &[1, 70], |x| {
            x.scatter_add(1, &index(x, 66, 70).reshape([1, 66]), &x.slice(1, 0, 66)).square()
        }),
    ];
    let flat: [Row; 7] = [
        ("sort of a long row", &[1, 3000], |x| (x * 50.0).round().sort(1, false).1),
        ("sort of long columns", &[700, 3], |x| (x * 50.0).round().sort(0, true).1),
        ("sort of NaN past one block", &[2, 300], |x| x.sqrt().sort(1, true).0),
        ("argsort of integers past one block", &[2, 300], |x| (x * 20.0).cast(DType::I32).argsort(1, false)),
        ("argsort of words", &[2, 300], |x| (x.abs() * 20.0).cast(DType::U32).argsort(1, true)),
        ("scatter_add_rows of many", &[300, 4], |x| x.scatter_add_rows(3000, &index(x, 300, 3000))),
        ("scatter_add_rows of many, odd", &[300, 3], |x| x.scatter_add_rows(3001, &index(x, 300, 91))),
    ];
    let make = |&(name, shape, f): &Row| {
        Sample::new(format!("{name} {shape:?}"), vec![operand(shape, -2.0, 2.0)], move |x: &[Tensor]| f(&x[0]))
    };
    let pools: [Row; 8] = [
        ("adaptive_avg_pool1d", &[2, 2, 7], |x| x.adaptive_avg_pool1d(3).square()),
        ("adaptive_avg_pool1d", &[2, 3, 8], |x| x.adaptive_avg_pool1d(4).square()),
        ("adaptive_max_pool1d", &[2, 2, 7], |x| x.adaptive_max_pool1d(3).square()),
        ("adaptive_max_pool1d", &[2, 3, 8], |x| x.adaptive_max_pool1d(9).square()),
        ("adaptive_avg_pool3d", &[1, 2, 5, 4, 3], |x| x.adaptive_avg_pool3d([2, 3, 2]).square()),
        ("adaptive_avg_pool3d", &[2, 1, 4, 2, 4], |x| x.adaptive_avg_pool3d([2, 1, 4]).square()),
        ("adaptive_max_pool3d", &[1, 2, 5, 4, 3], |x| x.adaptive_max_pool3d([2, 3, 2]).square()),
        ("adaptive_max_pool3d", &[2, 1, 4, 2, 4], |x| x.adaptive_max_pool3d([2, 1, 4]).square()),
    ];
    // A layout that repeats the first row makes equals, where sorting has kinks.
    let kink = |name: &str| name.contains("down");
    let rows = moved.iter().map(|r| if kink(r.0) { make(r).flat() } else { make(r) });
    let rows = rows.chain(pools.iter().map(make));
    rows.chain(flat.iter().map(|r| make(r).flat())).collect()
}
