//! Means and variances, pairs of sums, and what is made of them.

use super::movement::{coordinates, linear};
use super::{Numbers, Value};
use crate::error::Result;
use crate::graph::op::{PairOp, without};
use crate::shape::Shape;

/// Per element of a shape, its place among those with coordinate 0 along `axes`.
fn columns(shape: &Shape, axes: &[usize]) -> Vec<usize> {
    let narrow = without(*shape, axes);
    let target = |mut c: Vec<usize>| {
        axes.iter().for_each(|&axis| c[axis] = 0);
        linear(&narrow, &c)
    };
    coordinates(shape).map(target).collect()
}

/// Both results of a reduction to pairs, one after the other.
pub(super) fn pair(op: PairOp, axes: &[usize], x: &[&Value]) -> Result<Numbers> {
    let columns = columns(&x[0].shape, axes);
    let n = without(x[0].shape, axes).numel();
    let sums = |value: &dyn Fn(usize) -> f64| {
        let mut sums = vec![0.0; n];
        columns.iter().enumerate().for_each(|(i, &column)| sums[column] += value(i));
        sums
    };
    let a = x[0].floats()?;
    let results = match op {
        PairOp::Sums => {
            let b = x[1].floats()?;
            [sums(&|i| a[i]), sums(&|i| b[i])]
        }
        PairOp::Moments => {
            let count = columns.len() as f64 / n as f64;
            let mean: Vec<f64> = sums(&|i| a[i]).into_iter().map(|sum| sum / count).collect();
            let distance = |i: usize| a[i] - mean[columns[i]];
            let squares = sums(&|i| distance(i) * distance(i));
            let variance = squares.into_iter().map(|sum| sum / count).collect();
            [mean, variance]
        }
    };
    Ok(Numbers::Float(results.concat()))
}

/// `(x - mean) / √(variance + eps) · weight + bias`, where weight and bias are `given` or not.
pub(super) fn forward(axes: &[usize], [scaled, shifted]: [bool; 2], x: &[&Value]) -> Result<Numbers> {
    let columns = columns(&x[0].shape, axes);
    let mut normal = normal(x[0], x[1], x[2], &columns)?;
    let (weight, bias) = x[3..].split_at(usize::from(scaled));
    if let [weight] = weight {
        let weight = weight.floats()?;
        normal.iter_mut().zip(&columns).for_each(|(y, &c)| *y *= weight[c]);
    }
    if let ([bias], true) = (bias, shifted) {
        let bias = bias.floats()?;
        normal.iter_mut().zip(&columns).for_each(|(y, &c)| *y += bias[c]);
    }
    Ok(Numbers::Float(normal))
}

/// `weight / √(variance + eps) · (dy - Σdy / m - x̂ · Σ(dy · x̂) / m)`.
pub(super) fn backward(axes: &[usize], x: &[&Value]) -> Result<Numbers> {
    let columns = columns(&x[0].shape, axes);
    let normal = normal(x[1], x[2], x[3], &columns)?;
    let (dy, moments, eps, sums) = (x[0].floats()?, x[2].floats()?, x[3].floats()?[0], x[4].floats()?);
    let n = moments.len() / 2;
    let count = columns.len() as f64 / n as f64;
    let weight = x.get(5).map(|weight| weight.floats()).transpose()?;
    let element = |(i, &c): (usize, &usize)| {
        let scale = weight.map_or(1.0, |w| w[c]) / (moments[n + c] + eps).sqrt();
        (dy[i] - sums[c] / count - normal[i] * sums[n + c] / count) * scale
    };
    Ok(Numbers::Float(columns.iter().enumerate().map(element).collect()))
}

/// `(x - mean) / √(variance + eps)`.
fn normal(x: &Value, moments: &Value, eps: &Value, columns: &[usize]) -> Result<Vec<f64>> {
    let (x, moments, eps) = (x.floats()?, moments.floats()?, eps.floats()?[0]);
    let n = moments.len() / 2;
    Ok(x.iter().zip(columns).map(|(x, &c)| (x - moments[c]) / (moments[n + c] + eps).sqrt()).collect())
}
