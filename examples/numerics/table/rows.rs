//! Reductions, softmax, norms and losses.

use super::contractions::Case;
use wgrad::nn::loss::{self, CrossEntropyOptions, Reduction};
use wgrad::{DType, Tensor};

/// Labels 0, 1, ..., one per row, cycling through as many classes as the last axis has elements.
fn labels(x: &Tensor) -> Tensor {
    let device = x.device().expect("a valid case");
    let [rows, classes] = x.dims().expect("a matrix");
    let classes = i32::try_from(classes).expect("few classes");
    let values: Vec<i32> = (0..).take(rows).map(|i| i % classes).collect();
    Tensor::from_slice(&values, [rows], &device).expect("labels upload")
}

/// 1 and -1 alternating, in the shape of x's first axis.
fn signs(x: &Tensor) -> Tensor {
    let (device, dtype) = (x.device().expect("a valid case"), x.dtype().expect("a valid case"));
    let rows = x.dim(0).expect("an axis");
    let values: Vec<f32> = (0..rows).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    Tensor::from_slice(&values, [rows], &device).expect("signs upload").cast(dtype)
}

pub fn reductions() -> Vec<Case> {
    type Row = (&'static str, &'static [usize], [f64; 2], fn(&Tensor) -> Tensor);
    let part = [-1.0, 1.0];
    let rows: [Row; 20] = [
        ("sum, rows", &[64, 1000], part, |x| x.sum_dim(1)),
        ("sum, columns", &[1000, 64], part, |x| x.sum_dim(0)),
        ("sum, all", &[1_000_003], [0.0, 1.0], |x| x.sum()),
        ("mean", &[64, 1000], part, |x| x.mean_dim(1)),
        ("prod", &[64, 100], [0.9, 1.1], |x| x.prod_dim(1)),
        ("max", &[64, 1000], part, |x| x.max_dim(1)),
        ("min", &[64, 1000], part, |x| x.min_dim(1)),
        ("var", &[64, 1000], [99.0, 101.0], |x| x.var_dim(1)),
        ("std", &[64, 1000], part, |x| x.std_dim(1)),
        ("logsumexp", &[64, 1000], [-50.0, 50.0], |x| x.logsumexp_dim(1)),
        ("norm 1", &[64, 1000], part, |x| x.norm_dim(1.0, 1)),
        ("norm 2", &[64, 1000], part, |x| x.norm_dim(2.0, 1)),
        ("norm 3", &[64, 1000], part, |x| x.norm_dim(3.0, 1)),
        ("cumsum", &[16, 1000], part, |x| x.cumsum(1)),
        ("cumprod", &[16, 100], [0.9, 1.1], |x| x.cumprod(1)),
        ("softmax", &[64, 1000], [-50.0, 50.0], |x| x.softmax(1)),
        ("softmax, columns", &[300, 64], [-5.0, 5.0], |x| x.softmax(0)),
        ("log_softmax", &[64, 1000], [-50.0, 50.0], |x| x.log_softmax(1)),
        ("avg_pool2d 3", &[2, 4, 32, 32], part, |x| x.avg_pool2d_with(3, wgrad::PoolOptions::default().stride(2))),
        ("max_pool2d 3", &[2, 4, 32, 32], part, |x| x.max_pool2d_with(3, wgrad::PoolOptions::default().stride(2))),
    ];
    rows.into_iter().map(|(name, shape, range, run)| Case::new(name, &[(shape, range)], move |x| run(&x[0]))).collect()
}

pub fn norms() -> Vec<Case> {
    let off = [2.0, 5.0];
    let scale = [0.5, 1.5];
    vec![
        Case::new("layer_norm", &[(&[32, 500], off), (&[500], scale), (&[500], scale)], |x| {
            x[0].layer_norm([500], Some(&x[1]), Some(&x[2]), 1e-5)
        }),
        Case::new("rms_norm", &[(&[32, 500], off), (&[500], scale)], |x| x[0].rms_norm([500], Some(&x[1]), Some(1e-6))),
        Case::new("group_norm", &[(&[4, 8, 9, 9], off), (&[8], scale), (&[8], scale)], |x| {
            x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 1e-5)
        }),
        Case::new("instance_norm", &[(&[4, 8, 9, 9], off)], |x| x[0].instance_norm(None, None, 1e-5)),
        Case::new("batch_norm", &[(&[16, 8, 9, 9], off), (&[8], scale), (&[8], scale)], |x| {
            x[0].batch_norm(Some(&x[1]), Some(&x[2]), 1e-5).0
        }),
    ]
}

pub fn losses() -> Vec<Case> {
    type Pair = (&'static str, [f64; 2], [f64; 2], fn(&Tensor, &Tensor, Reduction) -> wgrad::Result<Tensor>);
    let (wide, part) = ([-3.0, 3.0], [0.05, 0.95]);
    let table: [Pair; 12] = [
        ("mse", wide, wide, loss::mse),
        ("l1", wide, wide, loss::l1),
        ("huber", wide, wide, |x, t, r| loss::huber(x, t, 1.0, r)),
        ("smooth_l1", wide, wide, |x, t, r| loss::smooth_l1(x, t, 1.0, r)),
        ("kl_div", wide, part, |x, t, r| loss::kl_div(x, t, r)),
        ("binary_cross_entropy", part, part, loss::binary_cross_entropy),
        ("binary_cross_entropy_with_logits", wide, part, |x, t, r| loss::binary_cross_entropy_with_logits(x, t, None, r)),
        ("focal", wide, part, |x, t, r| loss::focal(x, t, Some(0.25), 2.0, r)),
        ("hinge", wide, wide, |x, t, r| loss::hinge(x, &t.sign().detach(), r)),
        ("hinge_embedding", [0.0, 2.0], wide, |x, t, r| loss::hinge_embedding(x, &t.sign().detach(), 1.0, r)),
        ("margin_ranking", wide, wide, |x, t, r| loss::margin_ranking(x, t, &x.sign().detach(), 0.3, r)),
        ("cross_entropy_with probabilities", wide, part, |x, t, r| {
            loss::cross_entropy_with(x, t, &CrossEntropyOptions { reduction: r, ..Default::default() })
        }),
    ];
    let mut cases: Vec<Case> = table
        .into_iter()
        .map(|(name, x, t, f)| {
            Case::new(name, &[(&[64, 10], x), (&[64, 10], t)], move |v| f(&v[0], &v[1], Reduction::Mean).expect("a valid case"))
        })
        .collect();
    cases.push(Case::new("cross_entropy", &[(&[64, 1000], [-20.0, 20.0])], |x| {
        loss::cross_entropy(&x[0], &labels(&x[0]), Reduction::Mean).expect("a valid case")
    }));
    cases.push(Case::new("cross_entropy_with smoothing", &[(&[64, 10], wide)], |x| {
        let options = CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() };
        loss::cross_entropy_with(&x[0], &labels(&x[0]), &options).expect("a valid case")
    }));
    cases.push(Case::new("nll", &[(&[64, 10], wide)], |x| {
        loss::nll(&x[0].log_softmax(1), &labels(&x[0]), None, None, Reduction::Mean).expect("a valid case")
    }));
    cases.push(Case::new("cosine_embedding", &[(&[64, 10], wide), (&[64, 10], wide)], |x| {
        loss::cosine_embedding(&x[0], &x[1], &signs(&x[0]), 0.1, Reduction::Mean).expect("a valid case")
    }));
    cases.push(Case::new("triplet_margin", &[(&[64, 10], wide), (&[64, 10], wide), (&[64, 10], wide)], |x| {
        loss::triplet_margin(&x[0], &x[1], &x[2], loss::TripletOptions::default()).expect("a valid case")
    }));
    cases.push(Case::new("ctc", &[(&[20, 4, 6], wide)], |x| {
        let device = x[0].device().expect("a valid case");
        let labels: Vec<i32> = (0..20).map(|i| 1 + i % 5).collect();
        let labels = Tensor::from_slice(&labels, [4, 5], &device).expect("labels upload");
        loss::ctc(&x[0].log_softmax(2), &labels, &[20, 18, 16, 12], &[5, 4, 3, 2], loss::CtcOptions::default())
            .expect("a valid case")
    }));
    cases.push(Case::new("scatter_add_rows", &[(&[1000, 16], wide)], |x| {
        let index = Tensor::iota(1000, DType::I32, &x[0].device().expect("a valid case")).expect("an index") % 7;
        x[0].scatter_add_rows(7, &index)
    }));
    cases
}
