//! How tensors print.

use crate::common::{device, open};
use wgrad::{DType, Param, Tensor};

/// 2,000 ones, except for some elements.
fn ones_but(changed: &[(usize, f32)]) -> Vec<f32> {
    let mut values = vec![1.0; 2000];
    changed.iter().for_each(|&(i, x)| values[i] = x);
    values
}

#[test]
fn elements_that_are_shown_have_one_format() {
    let d = device();
    let t = |v: &[f32], s: &[usize]| Tensor::from_slice(v, s, d).unwrap();
    let grid = |s: [usize; 2]| Tensor::arange(0.0, (s[0] * s[1]) as f64, 1.0, d).unwrap().reshape(s);
    let long: Vec<f32> = (0..40).map(|i| i as f32 / 3.0).collect();
    let rows = [
        (t(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), "[[1. 2.]\n [3. 4.]]\nf32 [2, 2]"),
        (t(&[0.5, -1.25], &[2]), "[ 0.50 -1.25]\nf32 [2]"),
        (t(&[1.0 / 3.0, 100.0], &[2]), "[  0.3333 100.0000]\nf32 [2]"),
        (t(&[3.0], &[]), "3.\nf32 []"),
        (t(&[-0.0, 0.0], &[2]), "[-0.  0.]\nf32 [2]"),
        (t(&[], &[0]), "[]\nf32 [0]"),
        (t(&[], &[1_000_000, 0]), "[]\nf32 [1000000, 0]"),
        (t(&[1.0, f32::NAN, -f32::INFINITY], &[3]), "[  1.  nan -inf]\nf32 [3]"),
        (t(&[f32::NAN], &[1]), "[nan]\nf32 [1]"),
        // Exponents where the range calls for them; whole numbers stay whole up to 1e8.
        (t(&[1e-5, 2.5e-4], &[2]), "[1.0e-05 2.5e-04]\nf32 [2]"),
        (t(&[1e-10, -1.0, f32::NAN], &[3]), "[ 1.e-10 -1.e+00     nan]\nf32 [3]"),
        (t(&[0.5, 1000.0], &[2]), "[5.e-01 1.e+03]\nf32 [2]"),
        (t(&[1.0, 1e7], &[2]), "[       1. 10000000.]\nf32 [2]"),
        (t(&[1.0, 1e8], &[2]), "[1.e+00 1.e+08]\nf32 [2]"),
        // An element that is not shown does not affect the format.
        (t(&ones_but(&[(1000, 1e-20)]), &[2000]), "[1. 1. 1. ... 1. 1. 1.]\nf32 [2000]"),
        (t(&ones_but(&[(1999, 0.25)]), &[2000]), "[1.00 1.00 1.00 ... 1.00 1.00 0.25]\nf32 [2000]"),
        (grid([2, 600]), "[[   0.    1.    2. ...  597.  598.  599.]\n [ 600.  601.  602. ... 1197. 1198. 1199.]]\nf32 [2, 600]"),
        (
            grid([600, 2]),
            "[[   0.    1.]\n [   2.    3.]\n [   4.    5.]\n ...\n [1194. 1195.]\n [1196. 1197.]\n [1198. 1199.]]\nf32 [600, 2]",
        ),
        (
            t(&long[..16], &[16]),
            "[0.0000 0.3333 0.6667 1.0000 1.3333 1.6667 2.0000 2.3333 2.6667 3.0000 3.3333\n \
             3.6667 4.0000 4.3333 4.6667 5.0000]\nf32 [16]",
        ),
        (grid([2, 2]).unsqueeze(0).expand([2, 2, 2]), "[[[0. 1.]\n  [2. 3.]]\n\n [[0. 1.]\n  [2. 3.]]]\nf32 [2, 2, 2]"),
        (Tensor::from_slice(&[true, false], [2], d).unwrap(), "[ true false]\nbool [2]"),
        (Tensor::from_slice(&[7u8, 200], [2], d).unwrap(), "[  7 200]\nu8 [2]"),
        (t(&[0.5, 2.0], &[2]).cast(DType::F16), "[0.5 2.0]\nf16 [2]"),
    ];
    for (tensor, text) in rows {
        assert_eq!(tensor.to_string(), text);
    }
    let wrong = t(&[1.0], &[1]).reshape([2]);
    assert!(wrong.to_string().starts_with("<[reshape] f32 [1]: 1 element cannot fill"), "{wrong}");
}

#[test]
fn a_precision_is_the_number_of_decimals() {
    let x = Tensor::from_slice(&[0.5f32, 12.0], [2], device()).unwrap();
    let small = &x * 1e-6;
    for (text, expected) in [
        (format!("{x:.2}"), "[ 0.50 12.00]\nf32 [2]"),
        (format!("{x:.0}"), "[ 0 12]\nf32 [2]"),
        (format!("{small:.1}"), "[5.0e-07 1.2e-05]\nf32 [2]"),
        (format!("{:.2?}", x.clone()), &format!("Tensor(f32 [2] on {}: [0.50, 12.00])", device().name())),
    ] {
        assert_eq!(text, expected);
    }
}

/// In the middle of a graph, printing computes the value like any read, and keeps it; only the ends are copied to the host.
#[test]
fn printing_a_large_tensor_reads_what_it_shows() {
    let d = open(false);
    let x = Tensor::ones([1 << 11, 1 << 11], &d).unwrap();
    x.eval().unwrap();
    let y = &x * 2.0 + 1.0;
    y.eval().unwrap();
    let before = d.counters();
    let shown = y.to_string();
    let after = d.counters();
    assert!(shown.starts_with("[[3. 3. 3. ... 3. 3. 3.]\n [3. 3."), "{shown}");
    assert_eq!(shown.lines().count(), 8, "{shown}");
    assert!(after.bytes_cached - before.bytes_cached < 1 << 20, "{before:?}, {after:?}");
    assert_eq!(after.bytes_live, before.bytes_live);
    let z = &y + 1.0;
    assert!(z.to_string().starts_with("[[4. 4. 4. ... 4. 4. 4.]\n [4. 4."));
    let dispatches = d.counters().dispatches;
    z.eval().unwrap();
    assert_eq!(d.counters().dispatches, dispatches, "what was printed is computed");
}

#[test]
fn debug_computes_nothing() {
    let d = open(false);
    let name = d.name();
    let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &d).unwrap();
    let w = Param::new(&x).unwrap();
    let (y, many) = (&x * 2.0, Tensor::zeros([17], &d).unwrap());
    many.eval().unwrap();
    let before = d.counters().dispatches;
    assert_eq!(format!("{x:?}"), format!("Tensor(f32 [2, 2] on {name}: [[1., 2.], [3., 4.]])"));
    assert_eq!(format!("{:?}", w.tensor()), format!("Tensor(f32 [2, 2] on {name}: [[1., 2.], [3., 4.]])"));
    assert_eq!(format!("{y:?}"), format!("Tensor(f32 [2, 2] on {name}, not computed)"));
    assert_eq!(format!("{many:?}"), format!("Tensor(f32 [17] on {name})"));
    assert_eq!(d.counters().dispatches, before);
    y.eval().unwrap();
    assert_eq!(format!("{y:?}"), format!("Tensor(f32 [2, 2] on {name}: [[2., 4.], [6., 8.]])"));
    let wrong = format!("{:?}", x.reshape([3]));
    assert!(wrong.starts_with("Tensor(error: [reshape] f32 [2, 2]: 4 elements cannot fill"), "{wrong}");
}
