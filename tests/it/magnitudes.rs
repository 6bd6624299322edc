//! Sums of squares at magnitudes whose squares are outside f32's range: clipping by norm, norms, angles, distances, trust ratios.

use crate::common::{close, device, oracle, upload, values};
use wgrad::nn::loss::{Reduction, TripletOptions, triplet_margin};
use wgrad::optim::{Lamb, LambConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{DType, Device, Param, Tensor};

const MAGNITUDES: [f64; 7] = [1e-30, 1e-20, 1e-4, 1.0, 1e15, 1e20, 1e30];

/// Gradients of the given elements for parameters of one and of several blocks.
fn gradients(scale: f64, params: &[Param], dtype: DType) -> wgrad::Gradients {
    let loss = params.iter().enumerate().map(|(k, p)| {
        let n = p.shape().numel();
        // Each parameter has its own magnitude, so that the scale of the largest alone does not give the answer.
        let g: Vec<f64> = (0..n).map(|i| scale * (0.5 + 0.1 * k as f64) * [1.0, -2.0, 0.25][i % 3]).collect();
        (p.tensor() * upload(&g, &[n], dtype, p.device())).sum()
    });
    loss.reduce(|a, b| a + b).expect("parameters").backward().expect("differentiable")
}

fn params(device: &Device, dtype: DType) -> Vec<Param> {
    let zeros = |n: usize| Param::new(&upload(&vec![0.0; n], &[n], dtype, device)).expect("a parameter");
    vec![zeros(3), zeros(2500), zeros(1)]
}

#[test]
fn clipping_scales_gradients_of_every_magnitude() {
    let limit = 2.0;
    for scale in MAGNITUDES {
        let on = |device: &Device, dtype| {
            let params = params(device, dtype);
            let mut g = gradients(scale, &params, dtype);
            let norm = g.clip_by_norm(limit).expect("clips").item().expect("a number");
            let read: Vec<f64> = params.iter().flat_map(|p| values(&g.get(p).expect("a gradient"))).collect();
            (norm, read)
        };
        let (norm, clipped) = on(device(), DType::F32);
        let (expected_norm, expected) = on(&oracle(), DType::F64);
        close(&format!("the norm of gradients of {scale:e}"), &[norm], &[expected_norm], 1e-5, 0.0);
        close(&format!("clipped gradients of {scale:e}"), &clipped, &expected, 2e-5, 1e-37);
        // The step does the clipping itself: on a GPU, that is another path.
        let params = params(device(), DType::F32);
        let mut sgd = Sgd::new(&params, SgdConfig { lr: 1.0, ..SgdConfig::default() }).expect("an optimizer");
        let mut g = gradients(scale, &params, DType::F32);
        g.skip_non_finite().expect("finite");
        g.clip_by_norm(limit).expect("clips");
        sgd.step(g).expect("a step");
        let stepped: Vec<f64> = params.iter().flat_map(|p| values(&p.tensor())).map(|v| -v).collect();
        close(&format!("a clipped step of {scale:e}"), &stepped, &expected, 2e-5, 1e-37);
        assert_eq!(sgd.skipped().expect("a count"), 0);
    }
}

#[test]
fn norms_of_infinities_and_nan_stay() {
    for (bad, expected) in [(f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::INFINITY), (f64::NAN, f64::NAN)] {
        let params = params(device(), DType::F32);
        let mut g = (params[0].tensor() * upload(&[1.0, bad, 1e30], &[3], DType::F32, device())).sum().backward().expect("g");
        close("the norm", &[g.global_norm().and_then(|n| n.item()).expect("a norm")], &[expected], 0.0, 0.0);
        g.clip_by_norm(1.0).expect("clips");
        let mut sgd = Sgd::new(&params[..1], SgdConfig { lr: 1.0, ..SgdConfig::default() }).expect("an optimizer");
        sgd.step(g).expect("a step");
        let p = values(&params[0].tensor());
        assert!(p[1].is_nan(), "clipped by a norm of {expected}: {p:?}");
    }
}

#[test]
fn norms_angles_and_distances_of_every_magnitude() {
    type Row = (&'static str, fn(&Tensor, &Tensor) -> Tensor);
    let rows: [Row; 7] = [
        ("norm 2", |x, _| x.norm_dim(2.0, 1)),
        ("norm 1", |x, _| x.norm_dim(1.0, 1)),
        ("norm 3", |x, _| x.norm_keepdim(3.0, 1)),
        ("norm 1.5", |x, _| x.norm(1.5)),
        ("norm ∞", |x, _| x.norm_dim(f64::INFINITY, 1)),
        ("cosine_similarity", |x, y| x.cosine_similarity(y, 1, 0.0)),
        ("triplet_margin", |x, y| {
            let options = TripletOptions { eps: 0.0, margin: 1e-36, reduction: Reduction::Sum, ..TripletOptions::default() };
            triplet_margin(x, y, &(x * 1.5), options).expect("a loss")
        }),
    ];
    let (x, y) = ([3.0, -4.0, 0.5, 0.0, 1.0, 2.0], [1.0, 2.0, -0.25, 4.0, 0.0, -1.0]);
    for (name, f) in rows {
        for scale in MAGNITUDES {
            let on = |device: &Device, dtype| {
                let leaf = |v: [f64; 6]| {
                    upload(&v.map(|v| f64::from((v * scale) as f32)), &[2, 3], dtype, device).variable().expect("float")
                };
                let (x, y) = (leaf(x), leaf(y));
                let out = f(&x, &y);
                let g = out.sum().backward().and_then(|g| g.get(&x)).expect("a gradient");
                (values(&out), values(&g))
            };
            let ((got, g), (expected, eg)) = (on(device(), DType::F32), on(&oracle(), DType::F64));
            close(&format!("{name} at {scale:e}"), &got, &expected, 1e-5, 1e-37);
            let largest = eg.iter().fold(0f64, |m, v| m.max(v.abs()));
            close(&format!("{name}'s gradient at {scale:e}"), &g, &eg, 1e-5, 1e-5 * largest);
        }
    }
}

#[test]
fn trust_ratios_of_every_magnitude() {
    for scale in [1e-15, 1.0, 1e25] {
        let weights: Vec<f64> = (0..1500).map(|i| scale * [1.0, -2.0, 0.25][i % 3]).collect();
        let param = Param::new(&upload(&weights, &[1500], DType::F32, device())).expect("a parameter");
        let mut lamb =
            Lamb::new(std::slice::from_ref(&param), LambConfig { lr: 0.5, weight_decay: 0.0, ..LambConfig::default() })
                .expect("LAMB");
        let g = (param.tensor() * upload(&[1.0], &[1], DType::F32, device())).sum().backward().expect("gradients");
        lamb.step(g).expect("a step");
        // The direction is 1 everywhere: every element moves by lr · ‖p‖ / √n.
        let norm = (weights.iter().map(|w| w * w).sum::<f64>() / 1500.0).sqrt();
        let expected: Vec<f64> = weights.iter().map(|w| w - 0.5 * norm).collect();
        close(&format!("LAMB's step at {scale:e}"), &values(&param.tensor()), &expected, 1e-4, 1e-4 * scale);
    }
}
