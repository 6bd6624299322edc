//! Convolutions in which every channel has a kernel of its own: whole planes of results are computed as one long row.

use super::stencil::{LANES, Stencil};
use super::window::Window;
use crate::cpu::elementwise;
use crate::cpu::expr::{Context, Program};
use crate::cpu::scratch::with_scratch;
use crate::error::Result;
use crate::plan::{Conv2d, ConvRole};
use bytemuck::cast_slice_mut;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Vectors of results that are computed at a time.
const VECTORS: usize = 4;
/// Taps whose sums are kept at a time.
const TAPS: usize = 8;
/// Elements of a task's results.
const GRAIN: usize = 1 << 13;

/// Such a convolution, or one of its gradients.
pub(super) struct Depthwise {
    stencils: Vec<Stencil>,
    /// Whether they are all of the result; the rest is 0.
    all: bool,
    channels: usize,
    /// Elements of a kernel, of a channel of the source, of a channel of the result.
    area: usize,
    source: usize,
    plane: usize,
}

impl Depthwise {
    /// Whether every channel has a kernel of its own.
    pub fn suits(conv: &Conv2d) -> bool {
        let groups = conv.spec.groups;
        groups > 1 && conv.x[1] == groups && conv.y[1] == groups
    }

    pub fn new(conv: &Conv2d) -> Self {
        let [x, y] = [conv.x, conv.y].map(|t| t[2] * t[3]);
        let ((windows, all), source, plane) = match conv.role {
            ConvRole::InputGrad => (Window::input_grad(conv), y, x),
            _ => ((vec![Window::forward(conv)], true), x, y),
        };
        let stencils = windows.into_iter().map(Stencil::new).collect();
        Self { stencils, all, channels: conv.x[1], area: conv.w[2] * conv.w[3], source, plane }
    }

    /// The floats that a thread works in.
    pub fn scratch(&self) -> usize {
        let sums = LANES * self.area;
        sums + self.stencils.iter().map(|s| padded(s) + results(s)).sum::<usize>()
    }

    /// Fills `out` with outputs or input gradients, and the epilogue.
    pub fn run(&self, source: &[f32], weights: &[f32], epilogue: &Program, context: Context, out: &mut [u32]) -> Result<()> {
        let together = (GRAIN / self.plane).max(1);
        out.par_chunks_mut(together * self.plane).enumerate().try_for_each(|(i, chunk)| {
            if !self.all {
                chunk.fill(0);
            }
            with_scratch(self.scratch(), |memory| {
                memory.fill(0.0);
                for (j, out) in cast_slice_mut(chunk).chunks_mut(self.plane).enumerate() {
                    let plane = i * together + j;
                    let weights = &weights[plane % self.channels * self.area..][..self.area];
                    let mut memory = &mut *memory;
                    for stencil in &self.stencils {
                        let (layout, rest) = memory.split_at_mut(padded(stencil));
                        let (sums, rest) = rest.split_at_mut(results(stencil));
                        stencil.pad(&source[plane * self.source..][..self.source], layout);
                        Arch::new().dispatch(Convolve { taps: &stencil.taps, weights, padded: layout, results: sums });
                        stencil.write(sums, out);
                        memory = rest;
                    }
                }
                Ok(())
            })?;
            elementwise::epilogue(epilogue, context, i * together * self.plane, chunk);
            Ok(())
        })
    }

    /// Fills `dw` from the input and the output's gradients, images in order.
    pub fn weight_grad(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let [stencil] = &self.stencils[..] else { return Ok(()) };
        dw.par_chunks_mut(self.area).enumerate().try_for_each(|(channel, dw)| {
            with_scratch(self.scratch(), |memory| {
                memory.fill(0.0);
                let (layout, rest) = memory.split_at_mut(padded(stencil));
                let (gradients, sums) = rest.split_at_mut(results(stencil));
                let images = x.chunks_exact(self.channels * self.source).zip(dy.chunks_exact(self.channels * self.plane));
                for (x, dy) in images {
                    stencil.pad(&x[channel * self.source..][..self.source], layout);
                    stencil.read(&dy[channel * self.plane..][..self.plane], gradients);
                    Arch::new().dispatch(Correlate { taps: &stencil.taps, padded: layout, results: gradients, sums });
                }
                dw.fill(0.0);
                for (&(_, weight), sums) in stencil.taps.iter().zip(sums.chunks_exact(LANES)) {
                    dw[weight] = sums.iter().sum();
                }
                Ok(())
            })
        })
    }
}

/// Elements of a plane with its padding, and with room for the vectors that reach past the last.
fn padded(stencil: &Stencil) -> usize {
    stencil.plane() + stencil.pitch() + VECTORS * LANES
}

/// Elements of the results in whole vectors.
fn results(stencil: &Stencil) -> usize {
    stencil.results().next_multiple_of(VECTORS * LANES)
}

/// `results[i] = Σ over taps of padded[i + tap] * weight`.
struct Convolve<'a> {
    taps: &'a [(usize, usize)],
    weights: &'a [f32],
    padded: &'a [f32],
    results: &'a mut [f32],
}

impl WithSimd for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { taps, weights, padded, results } = self;
        let count = VECTORS * S::F32_LANES;
        for (i, results) in results.chunks_exact_mut(count).enumerate() {
            let mut sums = [simd.splat_f32s(0.0); VECTORS];
            for &(tap, weight) in taps {
                let weight = simd.splat_f32s(weights[weight]);
                let from = S::as_simd_f32s(&padded[i * count + tap..][..count]).0;
                for v in 0..VECTORS {
                    sums[v] = simd.mul_add_f32s(weight, from[v], sums[v]);
                }
            }
            S::as_mut_simd_f32s(results).0.copy_from_slice(&sums);
        }
    }
}

/// `sums[tap] += Σ_i padded[i + tap] * results[i]`, lane by lane.
struct Correlate<'a> {
    taps: &'a [(usize, usize)],
    padded: &'a [f32],
    results: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { taps, padded, results, sums } = self;
        for (taps, sums) in taps.chunks(TAPS).zip(sums.chunks_mut(TAPS * LANES)) {
            // Each machine's vectors make up the same lanes.
            for part in 0..LANES / S::F32_LANES {
                let mut own = [simd.splat_f32s(0.0); TAPS];
                let place = |tap: usize| tap * LANES + part * S::F32_LANES..tap * LANES + (part + 1) * S::F32_LANES;
                for (tap, own) in own.iter_mut().enumerate().take(taps.len()) {
                    *own = S::as_simd_f32s(&sums[place(tap)]).0[0];
                }
                for (i, results) in results.chunks_exact(LANES).enumerate() {
                    let dy = S::as_simd_f32s(&results[place(0)]).0[0];
                    for (own, &(tap, _)) in own.iter_mut().zip(taps) {
                        let x = S::as_simd_f32s(&padded[i * LANES + tap..][place(0)]).0[0];
                        *own = simd.mul_add_f32s(dy, x, *own);
                    }
                }
                for (tap, &own) in own.iter().enumerate().take(taps.len()) {
                    S::as_mut_simd_f32s(&mut sums[place(tap)]).0[0] = own;
                }
            }
        }
    }
}
