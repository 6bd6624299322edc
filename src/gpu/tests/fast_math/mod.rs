//! What the numerics table promises holds under compilers that reassociate, contract, and take no number for NaN or infinite, as
//! Metal's does: kernels are compiled by clang with such flags and run on the host.
//!
//! These tests want clang, so they run by name: `scripts/sweep math`, and a part of them in `scripts/test`.

mod clang;
#[path = "../../../../tests/rows/elementwise.rs"]
#[allow(dead_code, reason = "rows are for other tests, too")]
mod elementwise;
#[path = "../../../../examples/numerics/table/error.rs"]
#[allow(dead_code, reason = "the report and other tests measure devices")]
mod error;
mod metal;

mod rows;
mod work;

use super::*;
use crate::device::{CacheLimits, Device, DeviceKind, DeviceOptions};
use crate::tensor::Tensor;
use clang::{BUILDS, Build, Kernels, SAMPLED, compile};
use elementwise::{Budget, Division, binary, unary};
use error::{SPECIAL, Truth, sweep, worst};
use metal::Texts;
use work::Work;

/// A device for which plans are made.
fn planner() -> Device {
    let options = DeviceOptions { hardware_kernels: true, self_test: Some(false), ..DeviceOptions::default() };
    let device = adapters::with_noop(|| Device::first(DeviceKind::Software, options)).expect("opens");
    device.set_cache_limits(CacheLimits { bytes: u64::MAX, plans: usize::MAX });
    device
}

fn upload(data: &HostData, device: &Device) -> Tensor {
    Tensor::from_host(data.clone(), DType::F32, [data.len()], device).expect("uploads")
}

/// An op at its points.
struct Point {
    name: &'static str,
    operands: Vec<Vec<f32>>,
    budget: Budget,
    truth: Truth,
    work: Work,
}

/// Every elementwise op at its points: with four elements to a thread, and with one where the number of points is odd.
fn table(points: usize, odd: bool, texts: &mut Texts) -> Vec<Point> {
    let device = planner();
    let mut rows = Vec::new();
    for op in unary() {
        let mut x = sweep(op.range, points, 11);
        x.extend(SPECIAL);
        x.drain(..usize::from(odd));
        let data = HostData::F32(x.clone());
        let input = upload(&data, &device);
        let work = Work::new(&(op.run)(&input), &[(&input, &data)], texts);
        let truth = Truth::unary(&op, &x).expect("the reference computes");
        rows.push(Point { name: op.name, operands: vec![x], budget: op.budget, truth, work });
    }
    for op in binary() {
        let (mut a, mut b) = (sweep(op.a, points, 11), sweep(op.b, points, 12));
        for (x, y) in SPECIAL.iter().flat_map(|&x| SPECIAL.map(|y| (x, y))) {
            a.push(x);
            b.push(y);
        }
        for operand in [&mut a, &mut b] {
            operand.drain(..usize::from(odd));
        }
        let (da, db) = (HostData::F32(a.clone()), HostData::F32(b.clone()));
        let (ia, ib) = (upload(&da, &device), upload(&db, &device));
        let work = Work::new(&(op.run)(&ia, &ib), &[(&ia, &da), (&ib, &db)], texts);
        let truth = Truth::binary(&op, &a, &b).expect("the reference computes");
        rows.push(Point { name: op.name, operands: vec![a, b], budget: op.budget, truth, work });
    }
    rows
}

/// Whether a fixed part is enough.
fn sampled() -> bool {
    std::env::var("WGRAD_TEST_PART").is_ok_and(|part| part == "sample")
}

/// The builds to run.
fn builds() -> &'static [Build] {
    if sampled() { &BUILDS[..SAMPLED] } else { BUILDS }
}

/// Compiles in a directory that goes when it is done.
fn compiled(build: &Build, texts: &Texts) -> Kernels {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    compile(build, &texts.cpp(), scratch.path())
}

#[test]
#[ignore = "wants clang: scripts/sweep math, and in part scripts/test"]
fn elementwise_ops_keep_their_budgets() {
    let mut texts = Texts::default();
    let mut rows = table(2000, true, &mut texts);
    if !sampled() {
        rows.extend(table(100_000, false, &mut texts));
    }
    let mut over = Vec::new();
    for build in builds() {
        let mut kernels = compiled(build, &texts);
        let division = if build.rough > 0 { Division::Rough } else { Division::Exact };
        for row in &rows {
            let budget = row.budget.ulps(division);
            let errors = row.truth.errors(&row.work.run(&texts, &mut kernels));
            let operands: Vec<&[f32]> = row.operands.iter().map(Vec::as_slice).collect();
            let found = worst(&errors, &operands);
            println!("{}: {}: {found}", build.name, row.name);
            if found.error > budget {
                let wrong = errors.iter().filter(|e| e.0 > budget).count();
                over.push(format!("{}: {}: {found}; {wrong} of {}", build.name, row.name, errors.len()));
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
