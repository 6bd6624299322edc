//! Every op against f64: elementwise ones in ULPs over dense sweeps, the others by normalised squared error. The tables are
//! those of the numerics report (`examples/numerics`), which measures more points.

use crate::common::device;
use crate::numerics::contractions::{Case, LIMIT, contractions};
use crate::numerics::elementwise::{Division, binary, unary};
use crate::numerics::error::{binary_errors, division, sweep, unary_errors, worst};
use crate::numerics::rows::{losses, norms, reductions};

use wgrad::DeviceKind;

const POINTS: usize = 4000;

#[test]
fn elementwise_ops_stay_within_their_budgets() {
    // Budgets depend on the device's division, which is known of those that everybody has.
    let division = division(device()).expect("quotients");
    println!("{}: division is {division:?}", device());
    assert!(division == Division::Exact || device().kind() == DeviceKind::Gpu, "{} divides roughly", device());
    let mut over = Vec::new();
    for op in unary() {
        let x = sweep(op.range, POINTS, 11);
        let errors = unary_errors(&op, &x, device()).unwrap_or_else(|e| panic!("{}: {e}", op.name));
        let found = worst(&errors, &[&x]);
        if found.error > op.budget.ulps(division) {
            over.push(format!("{}: {found}", op.name));
        }
    }
    for op in binary() {
        let (a, b) = (sweep(op.a, POINTS, 11), sweep(op.b, POINTS, 12));
        let errors = binary_errors(&op, &a, &b, device()).unwrap_or_else(|e| panic!("{}: {e}", op.name));
        let found = worst(&errors, &[&a, &b]);
        if found.error > op.budget.ulps(division) {
            over.push(format!("{}: {found}", op.name));
        }
    }
    assert!(over.is_empty(), "on {}:\n{}", device(), over.join("\n"));
}

#[test]
fn products_reductions_norms_and_losses_stay_within_the_limit() {
    let cases: Vec<Case> = [contractions(), reductions(), norms(), losses()].into_iter().flatten().collect();
    let mut over = Vec::new();
    for case in cases {
        let (result, gradients) = case.measure(device()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        if result > LIMIT || gradients > LIMIT {
            over.push(format!("{} {:?}: {result:e}, gradients {gradients:e}", case.name, case.shapes));
        }
    }
    assert!(over.is_empty(), "on {}:\n{}", device(), over.join("\n"));
}
