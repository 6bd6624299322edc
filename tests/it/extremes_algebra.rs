//! The algebra of infinities and NaN, fused and unfused: compilers may take `x - x` for 0, which is wrong if x is infinite.

#![allow(clippy::eq_op, reason = "equal operands are what is tested")]

use crate::common::{device, devices, oracle, upload, values};
use wgrad::{DType, Device, Tensor};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
/// Rows of three.
#[rustfmt::skip]
const ROWS: [[f64; 3]; 10] = [
    [INF, -INF, NAN], [0.0, -0.0, 1.0], [-INF, INF, 0.0], [INF, INF, 1.0], [-INF, -INF, -INF], [-INF, 2.0, 1.0], [NAN, 0.0, 1.0],
    [1e18, -1e18, 1e-18], [1.0, INF, 2.0], [-1.0, -INF, INF],
];

type Row = (&'static str, fn(&Tensor) -> Tensor);

const TABLE: [Row; 31] = [
    ("x - x", |x| x - x),
    ("x + (-x)", |x| x + &(-x)),
    ("-x + x", |x| &(-x) + x),
    ("(x + 1) - (x + 1)", |x| (x + 1.0) - (x + 1.0)),
    ("3x - 2x", |x| x * 3.0 - x * 2.0),
    ("(x + 1) - x", |x| (x + 1.0) - x),
    ("1 - x + x", |x| (1.0 - x) + x),
    ("(1/√x)²", |x| x.rsqrt().square()),
    ("x² - x·x", |x| x.square() - x * x),
    ("|x| - x", |x| x.abs() - x),
    ("x + 0", |x| x + 0.0),
    ("x - 0", |x| x - 0.0),
    ("x·0", |x| x * 0.0),
    ("0·x", |x| x.zeros_like() * x),
    ("x·(x - x)", |x| x * (x - x)),
    ("x·1", |x| x * 1.0),
    ("x / x", |x| x / x),
    ("0 / x", |x| x.zeros_like() / x),
    ("x / 0", |x| x / 0.0),
    ("(x - x) / (x - x)", |x| (x - x) / (x - x)),
    ("(x·0) / (x·0)", |x| (x * 0.0) / (x * 0.0)),
    ("x · (1 / x)", |x| x * x.reciprocal()),
    ("((x + 1) / x) · x", |x| ((x + 1.0) / x) * x),
    ("(x · (x + 1)) / x", |x| (x * (x + 1.0)) / x),
    ("√x·√x", |x| x.sqrt() * x.sqrt()),
    ("ln eˣ - x", |x| x.exp().log() - x),
    ("max x - x", |x| x.max_keepdim(1) - x),
    ("softmax", |x| x.softmax(1)),
    ("log_softmax", |x| x.log_softmax(1)),
    ("logsumexp", |x| x.logsumexp_keepdim(1) + x * 0.0),
    ("Σ (x - x)", |x| (x - x).sum_keepdim(1) + x * 0.0),
];

/// What an adapter is known to fold, within what WGSL allows. An exception that no longer occurs fails the test.
struct Exception {
    /// Part of the device's name.
    adapter: &'static str,
    row: &'static str,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

#[test]
fn infinities_and_nan_obey_their_algebra() {
    let on =
        |f: fn(&Tensor) -> Tensor, dtype, device: &Device| values(&f(&upload(&ROWS.concat(), &[ROWS.len(), 3], dtype, device)));
    let name = device().name();
    let mut expected: Vec<&Exception> = EXCEPTIONS.iter().filter(|e| name.contains(e.adapter)).collect();
    let (mut surprises, mut met) = (Vec::new(), Vec::new());
    for (row, f) in TABLE {
        let exact = on(f, DType::F64, &oracle());
        for (mode, device) in [("fused", &devices().fused), ("unfused", &devices().unfused)] {
            let got = on(f, DType::F32, device);
            // Only the kinds: other tests check how exact the numbers are.
            let kind = |v: f64| {
                if v.is_nan() {
                    "NaN"
                } else if v as f32 == f32::INFINITY {
                    "∞"
                } else if v as f32 == f32::NEG_INFINITY {
                    "-∞"
                } else {
                    "a number"
                }
            };
            let wrong: Vec<String> = (0..got.len())
                .filter(|&i| kind(got[i]) != kind(exact[i]))
                .map(|i| format!("{} of {:?} is {}, not {}", i % 3, ROWS[i / 3], got[i], exact[i]))
                .collect();
            match expected.iter().find(|e| e.row == row) {
                _ if wrong.is_empty() => {}
                Some(e) => met.push(e.row),
                None => surprises.push(format!("{row}, {mode}: {}", wrong.join("; "))),
            }
        }
    }
    expected.retain(|e| !met.contains(&e.row));
    let stale: Vec<String> = expected.iter().map(|e| format!("{} ({})", e.row, e.reason)).collect();
    assert!(surprises.is_empty(), "on {name}:\n{}", surprises.join("\n"));
    assert!(stale.is_empty(), "exceptions that no longer occur on {name}:\n{}", stale.join("\n"));
}
