//! Splitting, repeating, shifting, padding, sorting.

use super::{Sample, operand};
use wgrad::{DType, PadMode, Tensor};

pub fn arrange() -> Vec<Sample> {
    type Row = (&'static str, &'static str, &'static [usize], fn(&Tensor) -> Tensor);
    // Each is followed by a product, whose gradient is not constant.
    let moved: [Row; 51] = [
        ("split", "", &[5, 3], |x| {
            let parts = x.split(0, &[1, 0, 4]).expect("the sizes fit");
            &parts[0] * &parts[2]
        }),
        ("split", "the last axis", &[2, 6], |x| x.split(-1, &[2, 4]).expect("the sizes fit")[1].square()),
        ("chunk", "", &[7, 2], |x| {
            let parts = x.chunk(3, 0).expect("an axis");
            &parts[0] * &parts[2] + &parts[1]
        }),
        ("chunk", "into more than there are", &[3], |x| {
            Tensor::cat(&x.chunk(9, 0).expect("an axis").iter().collect::<Vec<_>>(), 0)
        }),
        ("repeat", "", &[2, 3], |x| x.repeat(&[2, 3]).square()),
        ("repeat", "in front", &[3], |x| x.repeat(&[2, 1, 2]).square()),
        ("repeat", "never", &[2, 3], |x| x.repeat(&[0, 2])),
        ("roll", "", &[5, 3], |x| x.roll(2, 0) * x),
        ("roll", "back", &[2, 7], |x| x.roll(-10, -1) * x),
        ("narrow", "", &[3, 5], |x| x.narrow(1, 1, 3).square()),
        ("narrow", "from the end", &[4, 2, 3], |x| x.narrow(0, -3, 2).square()),
        ("narrow", "of everything", &[5], |x| x.narrow(0, 0, 5) * x),
        ("narrow", "twice", &[2, 7], |x| x.narrow(1, 1, 5).narrow(-1, -4, 2).square()),
        ("narrow", "of neighbours", &[6, 2], |x| x.narrow(0, 1, 4) * x.narrow(0, 2, 4)),
        ("select", "", &[3, 4], |x| x.select(0, 1).square()),
        ("select", "from the end", &[2, 3, 4], |x| x.select(1, -1).square()),
        ("select", "of a vector", &[5], |x| x.select(0, -5) * x),
        ("unflatten", "in front", &[4, 3], |x| x.unflatten(0, &[2, 1, 2]).square()),
        ("select", "of length 1", &[2, 1], |x| x.select(1, 0).square()),
        ("select", "the last", &[3, 2], |x| x.select(0, 2) * x.select(0, -3)),
        ("unflatten", "into ones", &[2, 3], |x| x.unflatten(1, &[1, 3, 1]).square()),
        ("unflatten", "as it is", &[2, 3], |x| x.unflatten(0, &[2]).square()),
        ("unflatten", "", &[2, 6], |x| x.unflatten(-1, &[3, 2]).sum_dim(1).square()),
        ("unflatten", "into a scalar's axes", &[3, 1], |x| x.unflatten(1, &[]).square()),
        ("roll", "by nothing", &[4], |x| x.roll(8, 0) * x),
        ("tril", "", &[4, 3], |x| x.square().tril(0)),
        ("tril", "below", &[2, 3, 5], |x| x.square().tril(-1)),
        ("tril", "of all", &[2, 3], |x| x.square().tril(isize::MAX)),
        ("triu", "", &[3, 5], |x| x.square().triu(0)),
        ("triu", "above", &[2, 4, 4], |x| x.square().triu(2)),
        ("triu", "of all", &[2, 3], |x| x.square().triu(isize::MIN)),
        ("diag", "of a vector", &[4], |x| x.diag(0).square()),
        ("diag", "above", &[3], |x| x.diag(2).square()),
        ("diag", "below", &[3], |x| x.diag(-1).square()),
        ("diag", "of a matrix", &[3, 5], |x| x.diag(0).square()),
        ("diag", "above, of a matrix", &[4, 4], |x| x.diag(1).square()),
        ("diag", "below, of a matrix", &[5, 2], |x| x.diag(-2).square()),
        ("diag", "outside", &[3, 2], |x| x.diag(2)),
        ("pad_with", "a constant", &[2, 3], |x| x.pad_with(&[(1, 0), (2, 1)], PadMode::Constant(-0.5)).square()),
        ("pad_with", "a constant, nowhere", &[3], |x| x.pad_with(&[(0, 0)], PadMode::Constant(9.0)).square()),
        ("pad_with", "reflections", &[3, 4], |x| x.pad_with(&[(2, 1), (0, 3)], PadMode::Reflect).square()),
        ("pad_with", "replicas", &[2, 1, 3], |x| x.pad_with(&[(1, 2), (3, 0), (0, 2)], PadMode::Replicate).square()),
        ("flip", "of two axes", &[2, 3, 4], |x| x.flip([0, -1]) * x),
        ("flip", "of all", &[3, 4], |x| x.flip(()) * x),
        ("cat", "of many", &[2, 3], |x| {
            let many: Vec<Tensor> = (1..21).map(|i| x * f64::from(i)).collect();
            Tensor::cat(&many.iter().collect::<Vec<_>>(), 1).square()
        }),
        ("stack", "of many", &[4], |x| {
            let many: Vec<Tensor> = (0..9).map(|i| x.sin() + f64::from(i)).collect();
            Tensor::stack(&many.iter().collect::<Vec<_>>(), 0).square()
        }),
        ("sort", "", &[3, 6], |x| x.sort(-1, false).0.square()),
        ("sort", "down the first axis", &[6, 2], |x| x.sort(0, true).0.square()),
        ("sort", "the middle", &[2, 5, 3], |x| x.sort(1, false).0.square()),
        ("topk", "", &[3, 6], |x| x.topk(2, 1).0.square()),
        ("topk", "of the first axis", &[7, 2], |x| x.topk(7, 0).0.square()),
    ];
    let flat: [Row; 10] = [
        ("sort", "of equals", &[3, 7], |x| x.round().sort(1, false).1),
        ("sort", "of equals, down", &[7, 3], |x| x.round().sort(0, true).1),
        ("sort", "of integers", &[4, 6], |x| (x * 9.0).cast(DType::I32).sort(1, true).0),
        ("sort", "of NaN", &[4, 6], |x| x.sqrt().sort(1, false).0),
        ("sort", "of nothing", &[3, 0], |x| x.sort(1, false).0),
        ("argsort", "", &[3, 6], |x| x.argsort(1, false)),
        ("argsort", "of NaN", &[3, 6], |x| x.log().argsort(1, true)),
        ("argsort", "down the first axis", &[6, 2], |x| x.argsort(0, true)),
        ("topk", "of NaN", &[3, 6], |x| x.sqrt().topk(3, 1).1),
        ("topk", "of none", &[3, 6], |x| x.topk(0, 1).0),
    ];
    let make = |&(op, what, shape, f): &Row| Sample::new(op, what, vec![operand(shape, -2.0, 2.0)], move |x: &[Tensor]| f(&x[0]));
    // Sorting has kinks where elements are equal, as they are along the first axis in the broadcast layout.
    let kink = |what: &str| what.contains("first axis");
    let rows = moved.iter().map(|r| if kink(r.1) { make(r).flat() } else { make(r).smooth() });
    rows.chain(flat.iter().map(|r| make(r).flat())).collect()
}
