//! Operators: on two tensors, on a tensor and a number of any type, assigning operators, sums of iterators.

use crate::common::{device, upload, values};
use wgrad::{DType, Device, Tensor};

fn tensor(of: &[f64], dtype: DType) -> Tensor {
    upload(of, &[of.len()], dtype, device())
}

/// Checks an operator with a number of each type on its right, and its assigning form.
macro_rules! beside_every_number {
    ($x:expr, $two:literal, $($operator:tt $assigning:tt $expected:expr;)*) => {$(
        let x = $x;
        beside_every_number!(@types x, $operator $assigning, $two, &$expected, f32 f64 i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
    )*};
    (@types $x:ident, $operator:tt $assigning:tt, $two:literal, $expected:expr, $($number:ty)*) => {$(
        let what = concat!(stringify!($operator), " ", stringify!($number));
        assert_eq!(values(&(&$x $operator ($two as $number))), $expected, "{what}");
        assert_eq!(values(&($x.clone() $operator ($two as $number))), $expected, "{what}, owned");
        let mut changed = $x.clone();
        changed $assigning $two as $number;
        assert_eq!(values(&changed), $expected, "{what}, assigned");
    )*};
}

#[test]
fn numbers_of_every_type_stand_beside_tensors() {
    for dtype in [DType::F32, DType::I32] {
        let x = tensor(&[7.0, 3.0], dtype);
        let quotient = if dtype == DType::F32 { [3.5, 1.5] } else { [3.0, 1.0] };
        beside_every_number! {
            x.clone(), 2,
            + += [9.0, 5.0];
            - -= [5.0, 1.0];
            * *= [14.0, 6.0];
            / /= quotient;
            % %= [1.0, 1.0];
        }
        assert_eq!(values(&(10 - &x)), [3.0, 7.0]);
        assert_eq!(values(&x.gt(5u8).cast(dtype)), [1.0, 0.0]);
    }
    let x = tensor(&[7.0, 3.0], DType::F32);
    // The type of a literal on either side is inferred.
    assert_eq!(values(&((1.0 - &x) * 2.0 + 1).square()), [121.0, 9.0]);
    assert_eq!(values(&(&x * 0.5f32 + 0.25f64 * &x)), [5.25, 2.25]);
    assert_eq!(values(&(&x / [1, 2].len())), [3.5, 1.5]);
}

#[test]
fn assigning_operators_name_a_new_value() {
    let x = tensor(&[1.0, 2.0], DType::F32);
    let old = x.clone();
    let mut sum = x;
    sum += &old;
    sum *= old.clone();
    sum -= 1.0;
    assert_eq!((values(&sum), values(&old)), (vec![1.0, 7.0], vec![1.0, 2.0]));
    // Gradients flow through all of it.
    let x = old.variable().unwrap();
    let mut y = &x * 3;
    y *= &x;
    let gradient = y.sum().backward().unwrap().get(&x).unwrap();
    assert_eq!(values(&gradient), [6.0, 12.0]);
}

#[test]
fn iterators_of_tensors_have_sums_and_products() {
    let parts: Vec<Tensor> = (1..=4).map(|n| tensor(&[f64::from(n), 2.0], DType::F32)).collect();
    assert_eq!(values(&parts.iter().sum::<Tensor>()), [10.0, 8.0]);
    assert_eq!(values(&parts.iter().map(Tensor::square).sum::<Tensor>()), [30.0, 16.0]);
    assert_eq!(values(&parts.iter().product::<Tensor>()), [24.0, 16.0]);
    assert_eq!(values(&parts.into_iter().product::<Tensor>()), [24.0, 16.0]);
    let none = std::iter::empty::<Tensor>().sum::<Tensor>().check().unwrap_err().to_string();
    assert!(none.contains("there are no tensors") && none.contains("iter.fold"), "{none}");
}

/// Integer tensors accept no fractions, and no numbers outside their range.
#[test]
fn numbers_that_a_dtype_lacks_are_refused() {
    let cpu = Device::cpu().unwrap();
    let cases: [(DType, f64, &str); 8] = [
        (DType::I32, 0.5, "0.5 is not a number of dtype i32; help: use a whole number, or cast the tensor to f32 first"),
        (DType::I32, 3e9, "3000000000 is not a number of dtype i32; help: use a number that i32 has"),
        (DType::I32, f64::NAN, "NaN is not a number of dtype i32"),
        (DType::U32, -1.0, "-1 is not a number of dtype u32"),
        (DType::U32, 4_294_967_296.0, "4294967296 is not a number of dtype u32"),
        (DType::U32, f64::INFINITY, "inf is not a number of dtype u32"),
        (DType::I32, -2_147_483_649.0, "-2147483649 is not a number of dtype i32"),
        (DType::Bool, 2.0, "2 is not a number of dtype bool"),
    ];
    for (dtype, number, text) in cases {
        let x = upload(&[1.0, 0.0], &[2], dtype, &cpu);
        let outcomes: &[Tensor] = &if dtype == DType::Bool {
            vec![x.eq(number), x.ne(number)]
        } else {
            vec![&x + number, &x * number, number - &x, x.gt(number), x.maximum(number)]
        };
        for outcome in outcomes {
            let said = outcome.check().unwrap_err().to_string();
            assert!(said.contains(text), "{said}");
            assert!(said.contains("operators.rs"), "{said}");
        }
    }
    for (dtype, number) in [(DType::I32, -2_147_483_648.0), (DType::U32, 4_294_967_295.0), (DType::Bool, 1.0)] {
        upload(&[1.0, 0.0], &[2], dtype, &cpu).eq(number).check().unwrap();
    }
}
