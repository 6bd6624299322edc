//! Reading elements by index, writing them, drawing them.

use super::{Sample, operand};
use wgrad::{Generator, Tensor};

/// An i32 index on a tensor's device.
fn index(like: &Tensor, values: &[i32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &like.device().expect("valid")).expect("an index uploads")
}

pub fn indexing() -> Vec<Sample> {
    let x = |shape: &[usize]| vec![operand(shape, -2.0, 2.0)];
    let xs = |a: &[usize], b: &[usize]| vec![operand(a, -2.0, 2.0), operand(b, -2.0, 2.0)];
    let mut rows = vec![
        Sample::new("gather", "rows", x(&[3, 4]), |x| x[0].gather(1, &index(&x[0], &[3, 0, 1, 1, 2, 2], &[3, 2])).square())
            .smooth(),
        Sample::new("gather", "columns", x(&[3, 4]), |x| {
            x[0].gather(0, &index(&x[0], &[2, 0, 2, 1, 1, 1, 1, 0], &[2, 4])).square()
        }),
        Sample::new("gather", "of a part", x(&[3, 4, 2]), |x| {
            x[0].gather(-2, &index(&x[0], &[0, 3, 3, 3, 1], &[1, 5, 1])).square()
        }),
        Sample::new("gather", "with a computed index", x(&[3, 5]), |x| {
            x[0].gather(1, &x[0].detach().argmax_keepdim(1).expand([3, 2])).exp()
        })
        .flat(),
        Sample::new("scatter", "rows", xs(&[3, 4], &[3, 2]), |x| {
            x[0].scatter(1, &index(&x[0], &[3, 0, 1, 2, 2, 2], &[3, 2]), &x[1]).square()
        })
        .smooth(),
        Sample::new("scatter", "a part", xs(&[4, 3], &[3, 3]), |x| {
            x[0].scatter(0, &index(&x[0], &[3, 0, 1, 1], &[2, 2]), &x[1]).square()
        }),
        Sample::new("scatter_add", "rows", xs(&[3, 4], &[3, 2]), |x| {
            x[0].scatter_add(1, &index(&x[0], &[3, 0, 1, 1, 2, 2], &[3, 2]), &x[1]).square()
        })
        .smooth(),
        Sample::new("scatter_add", "a part", xs(&[4, 3, 2], &[5, 3, 2]), |x| {
            x[0].scatter_add(0, &index(&x[0], &[3, 0, 1, 1, 0], &[5, 1, 1]), &x[1]).square()
        }),
        Sample::new("index_select", "first", x(&[4, 3]), |x| x[0].index_select(0, &index(&x[0], &[3, 0, 3], &[3])).square())
            .smooth(),
        Sample::new("index_select", "last", x(&[2, 3, 4]), |x| {
            x[0].index_select(-1, &index(&x[0], &[1, 1, 0, 3, 2], &[5])).square()
        }),
        Sample::new("index_add", "first", xs(&[4, 3], &[3, 3]), |x| {
            x[0].index_add(0, &index(&x[0], &[3, 0, 3], &[3]), &x[1]).square()
        })
        .smooth(),
        Sample::new("index_add", "middle", xs(&[2, 3, 2], &[2, 4, 2]), |x| {
            x[0].index_add(1, &index(&x[0], &[2, 2, 0, 1], &[4]), &x[1]).square()
        }),
        Sample::new("embedding", "of a matrix", x(&[4, 3]), |x| {
            x[0].embedding(&index(&x[0], &[3, 0, 3, 1], &[2, 2]), None).square()
        })
        .smooth(),
        // A padding row has a value and no gradient: finite differences do not apply.
        Sample::new("embedding", "padded", x(&[4, 3]), |x| x[0].embedding(&index(&x[0], &[3, 0, 3, 1], &[4]), Some(3)).square())
            .flat(),
        Sample::new("embedding", "of nothing", x(&[4, 3]), |x| x[0].embedding(&index(&x[0], &[], &[0, 2]), None)).flat(),
        Sample::new("masked_select", "above", x(&[3, 4]), |x| {
            x[0].masked_select(&x[0].gt(&x[0].full_like(0.5))).expect("selects")
        })
        .flat(),
        Sample::new("masked_select", "diagonal", x(&[3, 3]), |x| {
            let mask = index(&x[0], &[1, 0, 0, 0, 1, 0, 0, 0, 1], &[3, 3]).cast(wgrad::DType::Bool);
            x[0].masked_select(&mask).expect("selects").square()
        }),
    ];
    for shape in [&[5][..], &[2, 3]] {
        let run = |x: &[Tensor]| x[0].cast(wgrad::DType::I32).one_hot(4);
        rows.push(Sample::new("one_hot", "classes", vec![operand(shape, 0.0, 3.9)], run).flat());
    }
    for (shape, axis) in [(&[4, 5][..], -1), (&[5, 4], 0)] {
        rows.push(Sample::new("categorical", "choice", x(shape), move |x| x[0].categorical(axis, &Generator::new(3))).flat());
    }
    rows
}

/// Indexing along each axis of further shapes, with indices in a fixed pattern.
pub fn more() -> Vec<Sample> {
    let pattern = |like: &Tensor, shape: &[usize], below: usize, step: usize| {
        let values: Vec<i32> = (0..shape.iter().product()).map(|i| ((i * step + 1) % below) as i32).collect();
        index(like, &values, shape)
    };
    let cases: [(&[usize], usize, usize); 11] = [
        (&[5], 0, 3),
        (&[1], 0, 4),
        (&[7], 0, 0),
        (&[2, 3], 0, 4),
        (&[2, 3], 1, 2),
        (&[5, 1], 0, 5),
        (&[0, 3], 1, 2),
        (&[2, 3, 5], 0, 1),
        (&[2, 3, 5], 1, 4),
        (&[2, 3, 5], 2, 3),
        (&[2, 2, 2, 2], 2, 3),
    ];
    let mut rows = Vec::new();
    for (shape, at, n) in cases {
        let (axis, len) = (at as isize, shape[at]);
        let mut taken = shape.to_vec();
        taken[at] = n;
        let x = || vec![operand(shape, -2.0, 2.0)];
        let xs = || vec![operand(shape, -2.0, 2.0), operand(&taken, -2.0, 2.0)];
        let what = || format!("{n} along {at}");
        let t = taken.clone();
        let run = move |x: &[Tensor]| x[0].gather(axis, &pattern(&x[0], &t, len, 2)).square();
        rows.push(Sample::new("gather", what(), x(), run));
        let t = taken.clone();
        let run = move |x: &[Tensor]| x[0].scatter_add(axis, &pattern(&x[0], &t, len, 2), &x[1]).square();
        rows.push(Sample::new("scatter_add", what(), xs(), run));
        // Every place is written once: with a place written twice, `scatter` has no gradient to compare.
        let m = n.min(len);
        let (mut once, mut places) = (shape.to_vec(), Vec::new());
        once[at] = m;
        let inner: usize = shape[at + 1..].iter().product();
        places.extend((0..once.iter().product::<usize>()).map(|i| (len - 1 - i / inner.max(1) % m.max(1)) as i32));
        let operands = vec![operand(shape, -2.0, 2.0), operand(&once, -2.0, 2.0)];
        let run = move |x: &[Tensor]| x[0].scatter(axis, &index(&x[0], &places, &once), &x[1]).square();
        rows.push(Sample::new("scatter", format!("{m} along {at}"), operands, run));
        let run = move |x: &[Tensor]| x[0].index_select(axis, &pattern(&x[0], &[n], len, 2)).square();
        rows.push(Sample::new("index_select", what(), x(), run));
        let run = move |x: &[Tensor]| x[0].index_add(axis, &pattern(&x[0], &[n], len, 2), &x[1]).square();
        rows.push(Sample::new("index_add", what(), xs(), run));
        let run = move |x: &[Tensor]| {
            let numel = x[0].shape().expect("valid").numel();
            let bits: Vec<bool> = (0..numel).map(|i| i % 3 != 1).collect();
            let mask = Tensor::from_slice(&bits, x[0].shape().expect("valid"), &x[0].device().expect("valid")).expect("a mask");
            x[0].masked_select(&mask).expect("selects").square()
        };
        rows.push(Sample::new("masked_select", what(), x(), run));
    }
    rows.into_iter().map(Sample::brief).collect()
}
