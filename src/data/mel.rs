//! Log-mel spectrograms, computed on the device.

use super::transforms::Transform;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::math::portable::{cos, log10, pow, sin};
use crate::rng::Generator;
use crate::shape::{Shape, product};
use crate::tensor::{ConvOptions, PadMode, Tensor};

/// Settings of [`LogMel`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MelConfig {
    /// Samples per second. Defaults to 16,000.
    pub rate: u32,
    /// Samples in a window. Defaults to 400 (25 ms).
    pub window: usize,
    /// Samples from one window to the next. Defaults to 160 (10 ms).
    pub hop: usize,
    /// Mel bands. Defaults to 40.
    pub bands: usize,
    /// The lowest frequency, in Hz. Defaults to 20.
    pub low: f64,
    /// The highest frequency, in Hz; at most half the rate. Defaults to 8,000.
    pub high: f64,
    /// Added to the power before the logarithm. Defaults to 1e-6.
    pub eps: f64,
}

impl Default for MelConfig {
    fn default() -> Self {
        Self { rate: 16_000, window: 400, hop: 160, bands: 40, low: 20.0, high: 8_000.0, eps: 1e-6 }
    }
}

/// Log-mel spectrograms: windows under a periodic Hann window (reflected at both ends, so that the first is centred on sample
/// 0), squared magnitudes of their Fourier transform, sums under triangles on the mel scale `2595·log₁₀(1 + f/700)`, and
/// `ln(power + eps)`.
///
/// Both transforms are products with constant matrices, so gradients flow to the sound. The result is that of torchaudio's
/// `MelSpectrogram` with these lengths, bands and frequencies and its other defaults, followed by a logarithm.
#[derive(Debug, Clone)]
pub struct LogMel {
    config: MelConfig,
    /// `[2 * bins, 1, window]`: windowed cosines, then sines.
    fourier: Tensor,
    /// `[bands, bins]`.
    filters: Tensor,
}

impl LogMel {
    /// Makes the matrices.
    ///
    /// # Errors
    /// A length is 0; the frequencies are out of order or above half the rate; a band so narrow that no frequency of the
    /// transform is in it.
    #[track_caller]
    pub fn new(config: MelConfig, device: &Device) -> Result<Self> {
        let MelConfig { rate, window, hop, bands, low, high, eps } = config;
        let nyquist = f64::from(rate) / 2.0;
        let ordered = 0.0 <= low && low < high && high <= nyquist;
        if window < 2 || hop == 0 || bands == 0 || !ordered || !(eps.is_finite() && eps > 0.0) {
            let help = format!("use a window of at least 2, hop, bands and eps above 0, and 0 <= low < high <= {nyquist} Hz");
            return Err(Error::argument("LogMel::new", format!("{config:?} is not possible"), help));
        }
        let bins = window / 2 + 1;
        let turn = std::f64::consts::TAU / window as f64;
        Shape::new(&[2, bins, window])?;
        Shape::new(&[bands, bins])?;
        let mut fourier = reserved("a transform", product(&[2, bins, window]))?;
        for part in [cos, sin] {
            for k in 0..bins {
                for n in 0..window {
                    let hann = 0.5 - 0.5 * cos(turn * n as f64);
                    // The product is reduced first: large angles lose digits.
                    fourier.push(hann * part(turn * ((k * n) % window) as f64));
                }
            }
        }
        let filters = triangles(config, bins)?;
        Ok(Self {
            config,
            fourier: upload(&fourier, &[2 * bins, 1, window], device)?,
            filters: upload(&filters, &[bands, bins], device)?,
        })
    }

    /// The number of windows that a sound of `length` samples has: `length / hop + 1` if a window has an even number of samples,
    /// `(length - 1) / hop + 1` if it has an odd number.
    pub fn frames(&self, length: usize) -> usize {
        (length.saturating_sub(self.config.window % 2) / self.config.hop).saturating_add(1)
    }
}

impl Transform for LogMel {
    /// F32 sounds `[n, length]`, longer than half a window, to `[n, bands, frames]`. Nothing about it is random.
    #[track_caller]
    fn apply(&self, sounds: &Tensor, _: &Generator) -> Result<Tensor> {
        let [n, length] = sounds.dims::<2>()?;
        let half = self.config.window / 2;
        if length <= half {
            let reason = format!("{length} samples are too few for windows of {}", self.config.window);
            return Err(Error::argument("LogMel::apply", reason, "pad the sounds, or use shorter windows"));
        }
        let padded = sounds.pad_with(&[(0, 0), (half, half)], PadMode::Reflect).reshape([n, 1, length + 2 * half]);
        let options = ConvOptions::default().stride(self.config.hop);
        let waves = padded.conv1d(&self.fourier, None, options);
        let bins = (self.config.window / 2 + 1) as isize;
        let power = waves.slice(1, 0, bins).square() + waves.slice(1, bins, 2 * bins).square();
        let mel = self.filters.matmul(&power);
        let result = (mel + self.config.eps).log();
        result.check()?;
        Ok(result)
    }
}

/// Weights `[bands, bins]` of triangles that meet at their neighbours' centres, each 1 at its own.
#[track_caller]
fn triangles(config: MelConfig, bins: usize) -> Result<Vec<f64>> {
    let mel = |f: f64| 2595.0 * log10(1.0 + f / 700.0);
    let hertz = |m: f64| 700.0 * (pow(10.0, m / 2595.0) - 1.0);
    let (low, high) = (mel(config.low), mel(config.high));
    let corner = |i: usize| hertz(low + (high - low) * i as f64 / (config.bands + 1) as f64);
    let mut filters = reserved("mel filters", product(&[config.bands, bins]))?;
    for band in 0..config.bands {
        let (left, centre, right) = (corner(band), corner(band + 1), corner(band + 2));
        let start = filters.len();
        filters.extend((0..bins).map(|k| {
            let f = k as f64 * f64::from(config.rate) / config.window as f64;
            ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0)
        }));
        if filters[start..].iter().all(|&w| w == 0.0) {
            let reason = format!("band {band}, from {left:.0} to {right:.0} Hz, holds no frequency of the transform");
            return Err(Error::argument("LogMel::new", reason, "use fewer bands or longer windows"));
        }
    }
    Ok(filters)
}

#[allow(clippy::cast_possible_truncation, reason = "sounds are in single precision")]
fn upload(values: &[f64], shape: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape, device)
}
