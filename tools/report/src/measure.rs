//! Measures one item on the device, in a process that may die of it.

use crate::ceilings;
use crate::items::Task;
use crate::record::{Network, Operation, Outcome, Trials};
use std::time::{Duration, Instant};
use wgrad::{DType, Device, DeviceInfo, Error, Result, Tensor};
use wgrad_catalogue::Case;
use wgrad_catalogue::networks::{self, Training};

/// Runs of an operation that are timed.
const RUNS: usize = 5;
/// Steps of a network that are timed, at most, and seconds after which no further one begins.
const STEPS: usize = 20;
const STEPS_TAKE: f64 = 12.0;
/// Kernels that a network lists.
const LISTED: usize = 6;

/// Tries an item; an error is its outcome.
pub fn item(task: &Task, device: &Device, info: &DeviceInfo) -> Outcome {
    let done = match task {
        Task::Trials => trials(device),
        Task::Ceilings => return ceilings::measure(info).map_or_else(Outcome::Failed, Outcome::Ceilings),
        Task::Network(which) => network(*which, device),
        Task::Operation(case) => operation(case, device),
    };
    done.unwrap_or_else(|error| match error {
        Error::OutOfMemory { .. } => Outcome::TooLarge(error.to_string()),
        error => Outcome::Failed(error.to_string()),
    })
}

fn trials(device: &Device) -> Result<Outcome> {
    let replaced = device.self_test()?.into_iter().map(String::from).collect();
    Ok(Outcome::Trials(Trials { replaced }))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn network(which: networks::Network, device: &Device) -> Result<Outcome> {
    let mut training = Training::new(which, device)?;
    let begin = Instant::now();
    training.step()?;
    let first = milliseconds(begin.elapsed());
    training.step()?;
    let (begin, mut steps, mut hosts) = (Instant::now(), Vec::new(), Vec::new());
    while steps.is_empty() || steps.len() < STEPS && begin.elapsed().as_secs_f64() < STEPS_TAKE {
        let [_, _, _, host, all] = training.step()?;
        hosts.push(host * 1e-3);
        steps.push(all * 1e-3);
    }
    let ((), profile) = device.profile(|| training.step().map(drop))?;
    let mut kernels = Vec::new();
    for row in profile.rows() {
        if let Some(time) = row.time {
            kernels.push((format!("{} ({})", row.kernel, row.variant), row.launches, milliseconds(time)));
        }
    }
    kernels.truncate(LISTED);
    Ok(Outcome::Network(Network {
        first,
        steps: steps.len(),
        step: median(steps),
        host: median(hosts),
        launches: profile.launches.len(),
        bytes_peak: device.counters().bytes_peak,
        loss: training.loss(),
        kernels,
    }))
}

fn operation(case: &Case, device: &Device) -> Result<Outcome> {
    let result = case.make(device)?;
    let begin = Instant::now();
    result.eval()?;
    let got = values(&result)?;
    let first = milliseconds(begin.elapsed());
    drop(result);
    let expected = values(&case.make(&Device::cpu()?)?)?;
    let (mut times, mut launches, mut kernels) = (Vec::new(), 0, Vec::new());
    for _ in 0..RUNS {
        let result = case.make(device)?;
        device.flush()?;
        let ((), profile) = device.profile(|| result.eval())?;
        times.push(milliseconds(profile.time().unwrap_or(profile.wall)));
        launches = profile.launches.len();
        kernels = profile.launches.into_iter().map(|launch| launch.variant).collect();
    }
    kernels.dedup();
    Ok(Outcome::Operation(Operation {
        group: case.group.clone(),
        first,
        time: median(times),
        launches,
        kernels,
        multiply_adds: case.multiply_adds,
        bytes: case.bytes,
        error: difference(&got, &expected),
    }))
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype()? == DType::F32 { tensor.to_vec() } else { tensor.cast(DType::F32).to_vec() }
}

/// The largest difference over the root mean square; `None` where only one of two is finite, or the lengths differ.
fn difference(got: &[f32], expected: &[f32]) -> Option<f64> {
    if got.len() != expected.len() {
        return None;
    }
    let (mut largest, mut squares) = (0.0, 0.0);
    for (&g, &e) in got.iter().zip(expected) {
        if !g.is_finite() || !e.is_finite() {
            if g.to_bits() == e.to_bits() || g.is_nan() && e.is_nan() {
                continue;
            }
            return None;
        }
        largest = f64::max(largest, (f64::from(g) - f64::from(e)).abs());
        squares += f64::from(e) * f64::from(e);
    }
    let scale = (squares / got.len().max(1) as f64).sqrt();
    Some(if largest == 0.0 { 0.0 } else { largest / scale.max(f64::MIN_POSITIVE) })
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn differences_are_relative_and_notice_what_is_not_finite() {
        let nan = f32::NAN;
        for (got, expected, wanted) in [
            (vec![2.0, -2.0], vec![2.0, -2.0], Some(0.0)),
            (vec![2.0, -2.5], vec![2.0, -2.0], Some(0.25)),
            (vec![nan, 1.0], vec![nan, 1.0], Some(0.0)),
            (vec![nan, 1.0], vec![1.0, 1.0], None),
            (vec![1.0], vec![f32::INFINITY], None),
            (vec![1.0], vec![1.0, 1.0], None),
            (vec![], vec![], Some(0.0)),
        ] {
            assert_eq!(difference(&got, &expected), wanted, "{got:?} {expected:?}");
        }
        assert!(difference(&[1.0], &[0.0]).is_some_and(|d| d > 1.0));
    }
}
