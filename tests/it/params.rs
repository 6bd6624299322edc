//! Parameters: versions, assignments, freezing.

use crate::common::{close, device, upload, values};
use wgrad::{DType, Error, Param, Tensor};

fn param(v: &[f64]) -> Param {
    Param::new(&upload(v, &[v.len()], DType::F32, device())).expect("float")
}

#[test]
fn handles_keep_the_value_of_their_time() {
    let p = param(&[1.0, 2.0]);
    let (old, derived) = (p.tensor(), p.tensor() * 10.0);
    p.set(&(p.tensor() + 1.0)).expect("assigns");
    assert_eq!(values(&p.tensor()), [2.0, 3.0]);
    assert_eq!(values(&old), [1.0, 2.0]);
    assert_eq!(values(&derived), [10.0, 20.0]);
}

#[test]
fn operators_read_a_parameter_on_either_side() {
    let (p, x) = (param(&[2.0, 4.0]), upload(&[7.0, 9.0], &[2], DType::F32, device()));
    for (on_the_right, on_the_left, expected) in [
        (&x + &p, &p + &x, [[9.0, 13.0], [9.0, 13.0]]),
        (&x - &p, &p - &x, [[5.0, 5.0], [-5.0, -5.0]]),
        (&x * &p, &p * &x, [[14.0, 36.0], [14.0, 36.0]]),
        (&x / &p, &p / &x, [[3.5, 2.25], [2.0 / 7.0, 4.0 / 9.0]]),
        (&x % &p, &p % &x, [[1.0, 1.0], [2.0, 4.0]]),
        (8 - &p, &p - 8, [[6.0, 4.0], [-6.0, -4.0]]),
        (8.0 / &p, &p / 8.0, [[4.0, 2.0], [0.25, 0.5]]),
        (-&p, &p * &p, [[-2.0, -4.0], [4.0, 16.0]]),
    ] {
        close("a parameter on the right", &values(&on_the_right), &expected[0], 1e-6, 0.0);
        close("a parameter on the left", &values(&on_the_left), &expected[1], 1e-6, 0.0);
    }
    // The value is the one at the time of the call, and gradients reach the parameter.
    let y = &x * &p;
    let slope = y.sum().backward().and_then(|g| g.get(&p)).expect("a gradient");
    assert_eq!(values(&slope), [7.0, 9.0]);
    p.set(&x).expect("assigns");
    assert_eq!((values(&y), values(&(&x * &p))), (vec![14.0, 36.0], vec![49.0, 81.0]));
    let mut sum = x.clone();
    sum += &p;
    assert_eq!(values(&sum), [14.0, 18.0]);
    // An error names the operator and this line.
    let message = (&param(&[1.0, 2.0, 3.0]) * &x).eval().expect_err("shapes differ").to_string();
    assert!(message.starts_with("[mul] ") && message.contains("params.rs"), "{message}");
}

#[test]
fn a_swap_reads_before_it_writes() {
    let (p, q) = (param(&[1.0, 2.0]), param(&[3.0, 4.0]));
    let anchor = upload(&[0.0], &[1], DType::F32, device()) + 1.0;
    let (old_p, old_q) = (p.tensor(), q.tensor());
    let anchor = p.assign_with(&old_q, &anchor).and_then(|a| q.assign_with(&old_p, &a)).expect("assigns");
    drop((old_p, old_q));
    anchor.eval().expect("runs");
    assert_eq!((values(&p.tensor()), values(&q.tensor())), (vec![3.0, 4.0], vec![1.0, 2.0]));
}

#[test]
fn a_permuted_self_assignment_reads_before_it_writes() {
    let p = Param::new(&upload(&[1.0, 2.0, 3.0, 4.0], &[2, 2], DType::F32, device())).expect("float");
    p.set(&p.tensor().t()).expect("assigns");
    assert_eq!(values(&p.tensor()), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn assignments_run_once_with_their_anchor_in_program_order() {
    let p = Param::buffer(&upload(&[1.0], &[1], DType::F32, device())).expect("valid");
    let x = upload(&[5.0], &[1], DType::F32, device());
    let first = p.assign_with(&(p.tensor() * 2.0), &(&x + 1.0)).expect("assigns");
    let second = p.assign_with(&(p.tensor() + 3.0), &(&x + 2.0)).expect("assigns");
    second.eval().expect("runs");
    assert_eq!(values(&p.tensor()), [5.0]);
    first.eval().expect("runs");
    second.eval().expect("runs");
    assert_eq!(values(&p.tensor()), [5.0]);
}

#[test]
fn reading_a_cell_runs_what_waits_and_flush_forces_it() {
    let p = Param::buffer(&upload(&[1.0], &[1], DType::F32, device())).expect("valid");
    let anchor = upload(&[0.0], &[1], DType::F32, device()) + 1.0;
    drop(p.assign_with(&(p.tensor() + 1.0), &anchor).expect("assigns"));
    drop(anchor);
    assert_eq!(values(&p.tensor()), [2.0]);
    drop(p.assign_with(&(p.tensor() + 1.0), &(p.tensor() * 1.0)).expect("assigns"));
    device().flush().expect("runs");
    assert_eq!(values(&p.tensor()), [3.0]);
}

#[test]
fn an_earlier_value_between_two_assignments_can_be_read_later() {
    let p = param(&[1.0]);
    let anchor = upload(&[0.0], &[1], DType::F32, device()) + 1.0;
    let _ = p.assign_with(&(p.tensor() + 1.0), &anchor).expect("assigns");
    let between = p.tensor();
    let _ = p.assign_with(&(p.tensor() + 1.0), &anchor).expect("assigns");
    anchor.eval().expect("runs");
    assert_eq!((values(&between), values(&p.tensor())), (vec![2.0], vec![3.0]));
}

#[test]
fn frozen_parameters_cost_nothing() {
    let (p, q) = (param(&[2.0]), param(&[3.0]));
    q.freeze();
    let g = (p.tensor() * q.tensor()).backward().expect("differentiable");
    assert_eq!(values(&g.get(&p).expect("trainable")), [3.0]);
    assert!(g.get(&q).unwrap_err().to_string().contains("frozen"));
    q.unfreeze();
    assert_eq!(values(&(p.tensor() * q.tensor()).backward().and_then(|g| g.get(&q)).expect("trainable")), [2.0]);
}

#[test]
fn a_graph_on_overwritten_values_is_an_error_not_a_wrong_gradient() {
    let p = param(&[2.0]);
    let loss = p.tensor() * p.tensor();
    loss.eval().expect("runs");
    let again = p.tensor() * 1.0;
    p.set(&upload(&[7.0], &[1], DType::F32, device())).expect("assigns");
    drop(again);
    match loss.backward().and_then(|g| g.get(&p)).and_then(|g| g.to_vec::<f32>()) {
        // The saved factor may still exist; then the gradient is that of the old value.
        Ok(g) => assert_eq!(g, [4.0]),
        Err(e) => assert!(matches!(e, Error::Stale { .. }), "{e}"),
    }
}

#[test]
fn wrong_assignments_are_refused() {
    let p = param(&[1.0, 2.0]);
    let message = p.set(&upload(&[1.0], &[1], DType::F32, device())).unwrap_err().to_string();
    assert!(message.contains("[1]") && message.contains("[2]"), "{message}");
    assert!(Param::new(&Tensor::iota(3, DType::I32, device()).expect("valid")).is_err());
}
