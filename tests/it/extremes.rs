//! Special values through every elementwise op: the table of the numerics report, on the device under test, fused and unfused.
//!
//! NaN must meet NaN and ∞ its sign; zeros are equal whatever their signs; subnormal operands and results may count as 0.

use crate::common::{device, devices, upload, values};
use crate::numerics::elementwise::{binary, unary};
use crate::numerics::error::{SPECIAL, binary_errors, division, unary_errors};
use wgrad::{DType, Tensor};

/// What an adapter is known to get wrong, within what WGSL allows. An exception that no longer occurs fails the test.
struct Exception {
    /// Part of the device's name.
    adapter: &'static str,
    op: &'static str,
    operands: &'static [f32],
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

/// Checks failures (op, operands, what is wrong) against the exceptions for the device under test.
fn settle(arity: usize, failures: &[(String, Vec<f32>, String)]) {
    let name = device().name();
    let mut expected: Vec<&Exception> =
        EXCEPTIONS.iter().filter(|e| name.contains(e.adapter) && e.operands.len() == arity).collect();
    let same = |a: &[f32], b: &[f32]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
    let mut surprises = Vec::new();
    let mut met = Vec::new();
    for (op, operands, what) in failures {
        match expected.iter().find(|e| e.op == op && same(e.operands, operands)) {
            Some(e) => met.push(*e as *const Exception),
            None => surprises.push(format!("{op}{operands:?} {what}")),
        }
    }
    expected.retain(|e| !met.contains(&(*e as *const Exception)));
    let stale: Vec<String> = expected.iter().map(|e| format!("{}{:?} ({})", e.op, e.operands, e.reason)).collect();
    assert!(surprises.is_empty(), "on {name}:\n{}", surprises.join("\n"));
    assert!(stale.is_empty(), "exceptions that no longer occur on {name}:\n{}", stale.join("\n"));
}

#[test]
fn special_values_through_unary_ops() {
    let division = division(device()).expect("quotients");
    let mut failures = Vec::new();
    for op in unary() {
        for (mode, device) in [("fused", &devices().fused), ("unfused", &devices().unfused)] {
            let errors = unary_errors(&op, &SPECIAL, device).unwrap_or_else(|e| panic!("{}: {e}", op.name));
            for ((error, got, expected), x) in errors.into_iter().zip(SPECIAL) {
                if error > op.budget.ulps(division) {
                    failures.push((op.name.to_string(), vec![x], format!("{mode} is {got:e}, not {expected:e}: {error} ULP")));
                }
            }
        }
    }
    settle(1, &failures);
}

#[test]
fn special_values_through_binary_ops() {
    let division = division(device()).expect("quotients");
    let pairs = SPECIAL.iter().flat_map(|&a| SPECIAL.iter().map(move |&b| (a, b)));
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let mut failures = Vec::new();
    for op in binary() {
        for (mode, device) in [("fused", &devices().fused), ("unfused", &devices().unfused)] {
            let errors = binary_errors(&op, &a, &b, device).unwrap_or_else(|e| panic!("{}: {e}", op.name));
            for ((error, got, expected), (&a, &b)) in errors.into_iter().zip(a.iter().zip(&b)) {
                if error > op.budget.ulps(division) {
                    failures.push((op.name.to_string(), vec![a, b], format!("{mode} is {got:e}, not {expected:e}: {error} ULP")));
                }
            }
        }
    }
    settle(2, &failures);
}

/// Values that must come out to the bit.
#[test]
fn exact_values() {
    type Row = (&'static str, fn(&Tensor) -> Tensor, f64, f64);
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let rows: [Row; 17] = [
        ("tanh", Tensor::tanh, 1000.0, 1.0),
        ("tanh", Tensor::tanh, -1000.0, -1.0),
        ("gelu", Tensor::gelu, -13.24, -0.0),
        ("gelu_tanh", Tensor::gelu_tanh, -13.24, -0.0),
        ("powf(3)", |x| x.powf(3.0), -2.0, -8.0),
        ("powf(10)", |x| x.powf(10.0), 2.0, 1024.0),
        ("powf(-2)", |x| x.powf(-2.0), 2.0, 0.25),
        ("powf(0)", |x| x.powf(0.0), nan, 1.0),
        ("powf(0.5)", |x| x.powf(0.5), -2.0, nan),
        ("exp", Tensor::exp, 88.73, inf),
        ("exp", Tensor::exp, -inf, 0.0),
        ("log", Tensor::log, 0.0, -inf),
        ("log", Tensor::log, 1.0, 0.0),
        ("sigmoid", Tensor::sigmoid, -inf, 0.0),
        ("erf", Tensor::erf, inf, 1.0),
        ("sign", Tensor::sign, nan, 0.0),
        ("relu", Tensor::relu, nan, nan),
    ];
    for (name, f, x, expected) in rows {
        let got = values(&f(&upload(&[x], &[1], DType::F32, device())))[0];
        assert!(got == expected || (got.is_nan() && expected.is_nan()), "{name} of {x} is {got:e}, not {expected:e}");
    }
    assert!(values(&upload(&[88.72], &[1], DType::F32, device()).exp())[0].is_finite(), "exp(88.72) overflows");
}
