//! Mixtures of the samples of a batch and of their targets.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::math::portable::{cos, exp, log};
use crate::rng::{Generator, key, threefry2x32};
use crate::tensor::Tensor;

/// Mixes each sample with another of the batch: `λ·x + (1 - λ)·x'`, and likewise their targets, with one λ from Beta(α, α) per
/// batch.
///
/// Source: H. Zhang et al., "mixup: beyond empirical risk minimization", 2018.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixup {
    alpha: f64,
}

/// Puts a rectangle of another image of the batch into each image; targets are mixed by area. The rectangle's share is `1 - λ`
/// with λ from Beta(α, α), its centre any pixel, and it is cut at the edges.
///
/// Source: S. Yun et al., "CutMix", 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutMix {
    alpha: f64,
}

#[track_caller]
fn need_alpha(what: &str, alpha: f64) -> Result<f64> {
    if alpha.is_finite() && alpha > 0.0 {
        return Ok(alpha);
    }
    Err(Error::argument(what, format!("alpha is {alpha}"), "use a number above 0, such as 0.2 or 1"))
}

impl Mixup {
    /// # Errors
    /// `alpha` is not above 0.
    #[track_caller]
    pub fn new(alpha: f64) -> Result<Self> {
        Ok(Self { alpha: need_alpha("Mixup::new", alpha)? })
    }

    /// The mixed batch `[n, ..]` and its targets `[n, classes]`, given as probabilities (see [`Tensor::one_hot`]).
    ///
    /// # Errors
    /// The batch and the targets differ in length.
    #[track_caller]
    pub fn apply(&self, x: &Tensor, targets: &Tensor, generator: &Generator) -> Result<(Tensor, Tensor)> {
        let other = partners("Mixup", x, targets, generator)?;
        let lambda = beta(self.alpha, generator);
        let mix = |t: &Tensor| no_grad(|| t * lambda + t.index_select(0, &other) * (1.0 - lambda));
        Ok((mix(x), mix(targets)))
    }
}

impl CutMix {
    /// # Errors
    /// `alpha` is not above 0.
    #[track_caller]
    pub fn new(alpha: f64) -> Result<Self> {
        Ok(Self { alpha: need_alpha("CutMix::new", alpha)? })
    }

    /// The mixed images `[n, c, h, w]` and their targets `[n, classes]`, given as probabilities.
    ///
    /// # Errors
    /// The batch has a different rank; the batch and the targets differ in length.
    #[track_caller]
    pub fn apply(&self, x: &Tensor, targets: &Tensor, generator: &Generator) -> Result<(Tensor, Tensor)> {
        let [_, _, h, w] = x.dims::<4>()?;
        let other = partners("CutMix", x, targets, generator)?;
        let side = (1.0 - beta(self.alpha, generator)).sqrt();
        let mut draw = stream(generator);
        let mut range = |len: usize| {
            let (len, centre) = (len as f64, (draw() * len as f64).floor());
            let half = (len * side / 2.0).floor();
            ((centre - half).max(0.0), (centre + half).min(len))
        };
        let (rows, columns) = (range(h), range(w));
        let inside = |len: usize, (from, to): (f64, f64), shape: [usize; 4]| -> Result<Tensor> {
            let at = Tensor::iota(len, DType::F32, &x.device()?)?.reshape(shape);
            Ok(at.ge(&at.full_like(from)).logical_and(&at.lt(&at.full_like(to))))
        };
        let hole = inside(h, rows, [1, 1, h, 1])?.logical_and(&inside(w, columns, [1, 1, 1, w])?);
        let kept = 1.0 - (rows.1 - rows.0) * (columns.1 - columns.0) / (h * w).max(1) as f64;
        let images = no_grad(|| hole.where_(&x.index_select(0, &other), x));
        Ok((images, targets * kept + targets.index_select(0, &other) * (1.0 - kept)))
    }
}

/// A random partner for each sample.
#[track_caller]
fn partners(what: &str, x: &Tensor, targets: &Tensor, generator: &Generator) -> Result<Tensor> {
    let (x, t) = (x.shape()?, targets.shape()?);
    if x.rank() == 0 || t.rank() != 2 || x[0] != t[0] || !targets.dtype()?.is_float() {
        let reason = format!("a batch of shape {x} does not go with targets {} {t}", targets.dtype()?);
        return Err(Error::argument(
            what,
            reason,
            "give floating-point targets [n, classes], such as labels.one_hot(classes) cast",
        ));
    }
    Tensor::permutation(x[0], generator, &targets.device()?)
}

/// Uniform numbers in 0..1 from one draw of the generator.
fn stream(generator: &Generator) -> impl FnMut() -> f64 + use<> {
    let (key, offset) = (key(generator.seed()), (generator.draw() & 0xFFFF_FFFF) as u32);
    let mut counter = 0u32;
    move || {
        let [high, low] = threefry2x32(key, [counter, offset]);
        counter += 1;
        (f64::from(high >> 5) * f64::from(1 << 26) + f64::from(low >> 6)) / (1u64 << 53) as f64
    }
}

/// One number from Beta(α, α), as a ratio of gamma variates.
fn beta(alpha: f64, generator: &Generator) -> f64 {
    let mut draw = stream(generator);
    let (a, b) = (log_gamma_variate(alpha, &mut draw), log_gamma_variate(alpha, &mut draw));
    // In logarithms, since for small α both variates underflow.
    1.0 / (1.0 + exp(b - a))
}

/// The logarithm of a number from Gamma(α, 1). Source: G. Marsaglia, W. Tsang, "A simple method for generating gamma
/// variables", 2000; for α below 1 by Gamma(α + 1)·U^(1/α).
fn log_gamma_variate(alpha: f64, draw: &mut impl FnMut() -> f64) -> f64 {
    let (shape, shift) = if alpha < 1.0 { (alpha + 1.0, log(1.0 - draw()) / alpha) } else { (alpha, 0.0) };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let normal = (-2.0 * log(1.0 - draw())).sqrt() * cos(std::f64::consts::TAU * draw());
        let v = 1.0 + c * normal;
        let v = v * v * v;
        if v > 0.0 && log(1.0 - draw()) < 0.5 * normal * normal + d - d * v + d * log(v) {
            return log(d * v) + shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.1, 0.5, 1.0, 2.0, 8.0] {
            let generator = Generator::new(5);
            let draws: Vec<f64> = (0..4000).map(|_| beta(alpha, &generator)).collect();
            let mean = draws.iter().sum::<f64>() / 4000.0;
            let variance = draws.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / 4000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(draws.iter().all(|b| (0.0..=1.0).contains(b)));
            assert!((mean - 0.5).abs() < 0.03 && (variance / expected - 1.0).abs() < 0.1, "{alpha}: {mean} {variance}");
        }
    }
}
