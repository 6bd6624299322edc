//! Random calls with random shapes, dtypes and axes: each gives a value or a typed error that names op, operands and remedy; none
//! panics.

use crate::common::{Noise, device, is_refusal, upload};
use crate::huge::{ENDS, HUGE};
use crate::numerics::elementwise::{BinaryRow, UnaryRow, binary_ops, unary_ops};
use crate::samples::{KernelOp, kernel_ops};
use crate::sweep::in_part;
use crate::table::ops;
use std::collections::BTreeSet;
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, Reduction, TripletOptions};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, FoldOptions, Generator, GridOptions, Interpolation, PadMode,
    PoolOptions, Result, Tensor, VarOptions,
};

const DRAWS: usize = 100_000;
/// Draws where this test is repeated.
const DRAWS_IN_PART: usize = 20_000;
/// After every so many draws, the result is computed as well.
const EVALUATED: usize = 500;
/// One in so many draws has sizes near 2^64.
const EXTREME: usize = 4;

/// The random numbers, and whether sizes and axes are extreme now and then.
pub struct Draw(Noise, bool);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next() * n as f64) as usize
    }
    /// A size, which is near 2^64 now and then in a call with extremes.
    fn extreme(&mut self, size: usize) -> usize {
        if self.1 && self.below(3) == 0 { HUGE[self.below(HUGE.len())] } else { size }
    }
    fn count(&mut self, n: usize) -> usize {
        let size = self.below(n);
        self.extreme(size)
    }
    pub fn axis(&mut self) -> isize {
        if self.1 && self.below(3) == 0 {
            return ENDS[self.below(ENDS.len())];
        }
        self.below(11) as isize - 5
    }
    fn dims(&mut self) -> Vec<usize> {
        let rank = self.below(6);
        (0..rank).map(|_| self.count(5)).collect()
    }
    /// A few lengths, more often than not 1.
    fn many<const N: usize>(&mut self) -> [usize; N] {
        std::array::from_fn(|_| {
            let size = [0, 1, 1, 1, 2, 3][self.below(6)];
            self.extreme(size)
        })
    }
    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
    /// A number that is often out of some range.
    fn number(&mut self) -> f64 {
        [0.5, 0.0, 1.0, -1.0, 2.0, 0.25, f64::NAN, f64::INFINITY][self.below(8)]
    }
    fn amounts(&mut self) -> Vec<(usize, usize)> {
        (0..self.below(5)).map(|_| (self.count(3), self.count(3))).collect()
    }
    /// A shape that is now and then too large, or of too many axes.
    fn size(&mut self) -> Vec<usize> {
        match self.below(8) {
            0 => vec![usize::MAX, 2],
            1 => vec![1; 9],
            _ => self.dims(),
        }
    }
    fn tensor(&mut self) -> Tensor {
        // Shapes that match each other now and then, or any shapes.
        let shape = match self.below(8) {
            0 | 1 => vec![2, 4, 5, 5],
            2 => vec![2, 4, 4],
            3 => vec![2, 4],
            4 => vec![4],
            _ => self.dims(),
        };
        let dtype = [DType::F32, DType::F32, DType::F32, DType::I32, DType::U32, DType::Bool][self.below(6)];
        let high = if dtype == DType::Bool { 2.0 } else { 4.0 };
        let values = self.0.values(shape.iter().product(), 0.0, high);
        upload(&values, &shape, dtype, device())
    }
    fn dtype(&mut self) -> DType {
        [DType::F32, DType::F64, DType::I32, DType::U32, DType::Bool][self.below(5)]
    }
}

pub type Call = fn(&mut Draw, &[Tensor; 3]) -> Result<Tensor>;

/// A call, or a row of the table of elementwise ops.
type AnyCall = Box<dyn Fn(&mut Draw, &[Tensor; 3]) -> Result<Tensor>>;

/// Every op, called with every argument drawn, valid or not.
fn calls() -> Vec<(&'static str, AnyCall)> {
    let mut calls: Vec<(&str, AnyCall)> = Vec::new();
    for UnaryRow { name, run, .. } in unary_ops() {
        calls.push((name, Box::new(move |_, t| Ok(run(&t[0])))));
    }
    for BinaryRow { name, run, .. } in binary_ops() {
        calls.push((name, Box::new(move |_, t| Ok(run(&t[0], &t[1])))));
    }
    for KernelOp { name, call, .. } in kernel_ops() {
        calls.push((name, Box::new(call)));
    }
    for part in [elementwise(), movement(), reductions(), indexing(), windows(), layers(), creation()] {
        calls.extend(part.into_iter().map(|(op, call)| (op, Box::new(call) as AnyCall)));
    }
    calls
}

fn elementwise() -> Vec<(&'static str, Call)> {
    vec![
        ("relu6", |_, t| Ok(t[0].relu6())),
        ("selu", |_, t| Ok(t[0].selu())),
        ("gelu", |_, t| Ok(t[0].gelu())),
        ("gelu_tanh", |_, t| Ok(t[0].gelu_tanh())),
        ("silu", |_, t| Ok(t[0].silu())),
        ("mish", |_, t| Ok(t[0].mish())),
        ("hardsigmoid", |_, t| Ok(t[0].hardsigmoid())),
        ("hardswish", |_, t| Ok(t[0].hardswish())),
        ("softsign", |_, t| Ok(t[0].softsign())),
        ("log_sigmoid", |_, t| Ok(t[0].log_sigmoid())),
        ("t", |_, t| Ok(t[0].t())),
        ("detach", |_, t| Ok(t[0].detach())),
        ("zeros_like", |_, t| Ok(t[0].zeros_like())),
        ("ones_like", |_, t| Ok(t[0].ones_like())),
        ("global_avg_pool", |_, t| Ok(t[0].global_avg_pool())),
        ("global_max_pool", |_, t| Ok(t[0].global_max_pool())),
        ("matmul", |_, t| Ok(t[0].matmul(&t[1]))),
        ("bmm", |d, t| Ok(t[0].bmm(other(d, t)))),
        ("dot", |d, t| Ok(t[0].dot(other(d, t)))),
        ("outer", |_, t| Ok(t[0].outer(&t[1]))),
        ("cross_entropy_rows", |d, t| Ok(t[0].cross_entropy_rows(&index(d, &t[1])))),
        ("gather_rows", |d, t| Ok(t[0].gather_rows(&index(d, &t[1])))),
        ("where_", |d, t| {
            Ok((if d.coin() { t[0].clone() } else { t[0].cast(DType::Bool) }).where_(&t[1], if d.coin() { &t[1] } else { &t[2] }))
        }),
        ("masked_fill", |d, t| Ok(t[0].masked_fill(&t[1], d.number()))),
        ("lerp", |d, t| Ok(t[0].lerp(&t[1], d.number()))),
        ("powf", |d, t| Ok(t[0].powf(d.number()))),
        ("clamp", |d, t| Ok(t[0].clamp(d.number(), d.number()))),
        ("cast", |d, t| Ok(t[0].cast(d.dtype()))),
        ("dropout", |d, t| Ok(t[0].dropout(d.number(), &Generator::new(1)))),
        ("full_like", |d, t| Ok(t[0].full_like(d.number()))),
        ("hardtanh", |d, t| Ok(t[0].hardtanh(d.number(), d.number()))),
        ("leaky_relu", |d, t| Ok(t[0].leaky_relu(d.number()))),
        ("elu", |d, t| Ok(t[0].elu(d.number()))),
        ("softplus_with", |d, t| Ok(t[0].softplus_with(d.number(), d.number()))),
    ]
}

/// A vector of indices that is valid now and then, or anything.
fn index(d: &mut Draw, t: &Tensor) -> Tensor {
    let len = 2 + 2 * d.below(2);
    if d.coin() { t.clone() } else { upload(&[0.0, 1.0, 1.0, 0.0][..len], &[len], DType::I32, device()) }
}

/// A float tensor of the shape that fits the rest of the call, or anything.
fn fitting(d: &mut Draw, t: &Tensor, shape: &[usize]) -> Tensor {
    if d.coin() { t.clone() } else { upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device()) }
}

/// The last of the tensors.
fn last(parts: Result<Vec<Tensor>>) -> Result<Tensor> {
    let parts = parts?;
    Ok(parts.into_iter().next_back().expect("at least one part"))
}

fn movement() -> Vec<(&'static str, Call)> {
    vec![
        ("reshape", |d, t| Ok(t[0].reshape(d.dims()))),
        ("flatten", |d, t| Ok(t[0].flatten(d.axis(), d.axis()))),
        ("permute", |d, t| Ok(t[0].permute(&d.dims()))),
        ("transpose", |d, t| Ok(t[0].transpose(d.axis(), d.axis()))),
        ("expand", |d, t| Ok(t[0].expand(d.dims()))),
        ("unsqueeze", |d, t| Ok(t[0].unsqueeze(d.axis()))),
        ("squeeze", |d, t| Ok(t[0].squeeze(d.axis()))),
        ("narrow", |d, t| Ok(t[0].narrow(d.axis(), d.axis(), d.axis().unsigned_abs()))),
        ("select", |d, t| Ok(t[0].select(d.axis(), d.axis()))),
        ("unflatten", |d, t| Ok(t[0].unflatten(d.axis(), &d.dims()))),
        ("slice", |d, t| Ok(t[0].slice(d.axis(), d.axis(), d.axis()))),
        ("slice_step", |d, t| Ok(t[0].slice_step(d.axis(), d.axis(), d.axis(), d.axis()))),
        ("flip", |d, t| Ok(if d.coin() { t[0].flip(d.axis()) } else { t[0].flip([d.axis(), d.axis()]) })),
        ("pad", |d, t| Ok(t[0].pad(&d.amounts()))),
        ("pad_with", |d, t| {
            let mode = [PadMode::Constant(d.number()), PadMode::Reflect, PadMode::Replicate][d.below(3)];
            Ok(t[0].pad_with(&d.amounts(), mode))
        }),
        ("pad_same", |d, t| Ok(t[0].pad_same(&d.dims(), &d.dims()))),
        ("cat", |d, t| {
            Ok(if d.coin() { Tensor::cat(&[&t[0], &t[1], &t[0]], d.axis()) } else { Tensor::cat(&[&t[0], &t[0]], d.axis()) })
        }),
        ("stack", |d, t| {
            Ok(if d.coin() { Tensor::stack(&[&t[0], &t[1]], d.axis()) } else { Tensor::stack(&[&t[0], &t[0]], d.axis()) })
        }),
        ("split", |d, t| last(t[0].split(d.axis(), &[d.count(4), d.count(4), d.count(3)]))),
        ("chunk", |d, t| last(t[0].chunk(d.count(4), d.axis()))),
        ("repeat", |d, t| Ok(t[0].repeat(&d.dims()))),
        ("roll", |d, t| Ok(t[0].roll(d.axis(), d.axis()))),
        ("tril", |d, t| Ok(t[0].tril(d.axis()))),
        ("triu", |d, t| Ok(t[0].triu(d.axis()))),
        ("diag", |d, t| Ok(t[0].diag(d.axis()))),
    ]
}

/// One of a reduction's three forms, over one or two axes that may not exist.
macro_rules! forms {
    ($all:ident, $dim:ident, $keepdim:ident) => {
        (stringify!($all), |d, t| {
            Ok(match (d.coin(), d.coin(), d.coin()) {
                (true, true, true) => t[0].$all(),
                (true, true, false) => t[0].$dim([d.axis(), d.axis()]),
                (false, false, _) => t[0].$keepdim([d.axis(), d.axis()]),
                (true, false, _) => t[0].$dim(d.axis()),
                (false, true, _) => t[0].$keepdim(d.axis()),
            })
        })
    };
}

fn reductions() -> Vec<(&'static str, Call)> {
    vec![
        forms!(sum, sum_dim, sum_keepdim),
        forms!(prod, prod_dim, prod_keepdim),
        forms!(max, max_dim, max_keepdim),
        forms!(min, min_dim, min_keepdim),
        forms!(mean, mean_dim, mean_keepdim),
        forms!(argmax, argmax_dim, argmax_keepdim),
        forms!(argmin, argmin_dim, argmin_keepdim),
        forms!(any, any_dim, any_keepdim),
        forms!(all, all_dim, all_keepdim),
        forms!(count_nonzero, count_nonzero_dim, count_nonzero_keepdim),
        forms!(logsumexp, logsumexp_dim, logsumexp_keepdim),
        ("var", |d, t| Ok(t[0].var_with(d.axis(), VarOptions { correction: d.count(3), keepdim: d.coin() }))),
        ("std", |d, t| Ok(t[0].std_with(d.axis(), VarOptions { correction: d.count(3), keepdim: d.coin() }))),
        ("norm", |d, t| Ok(if d.coin() { t[0].norm_dim(d.number(), d.axis()) } else { t[0].norm_keepdim(d.number(), d.axis()) })),
        ("normalize", |d, t| Ok(t[0].normalize(d.number(), d.axis()))),
        ("standardize", |d, t| Ok(t[0].standardize(&[d.count(3)], d.number()).0)),
        ("cumsum", |d, t| Ok(t[0].cumsum(d.axis()))),
        ("cumprod", |d, t| Ok(t[0].cumprod(d.axis()))),
        ("sort", |d, t| Ok(t[0].sort(d.axis(), d.coin()).0)),
        ("argsort", |d, t| Ok(t[0].argsort(d.axis(), d.coin()))),
        ("topk", |d, t| Ok(t[0].topk(d.count(5), d.axis()).1)),
        ("categorical", |d, t| Ok(t[0].categorical(d.axis(), &Generator::new(2)))),
        ("cosine_similarity", |d, t| Ok(t[0].cosine_similarity(&t[1], d.axis(), d.number()))),
    ]
}

fn indexing() -> Vec<(&'static str, Call)> {
    vec![
        ("scatter_add_rows", |d, t| Ok(t[0].scatter_add_rows(d.count(5), &index(d, &t[1])))),
        ("gather", |d, t| Ok(t[0].gather(d.axis(), &t[1].cast(DType::I32)))),
        ("scatter", |d, t| Ok(t[0].scatter(d.axis(), &fitting(d, &t[1], &[2, 2]).cast(DType::I32), &fitting(d, &t[2], &[2, 2])))),
        ("scatter_add", |d, t| {
            Ok(t[0].scatter_add(d.axis(), &fitting(d, &t[1], &[2, 2]).cast(DType::I32), &fitting(d, &t[2], &[2, 2])))
        }),
        ("index_select", |d, t| Ok(t[0].index_select(d.axis(), &index(d, &t[1])))),
        ("index_add", |d, t| Ok(t[0].index_add(d.axis(), &index(d, &t[1]), if d.coin() { &t[0] } else { &t[2] }))),
        ("one_hot", |d, t| Ok(t[0].one_hot(d.count(6)))),
        ("embedding", |d, t| {
            let padding = if d.coin() { None } else { Some(d.count(5)) };
            Ok(t[0].embedding(&t[1], padding))
        }),
        ("masked_select", |d, t| if d.coin() { t[0].masked_select(&t[1]) } else { t[0].masked_select(&t[0].cast(DType::Bool)) }),
        ("linear", |d, t| Ok(t[0].linear(&t[1], if d.coin() { None } else { Some(&t[2]) }))),
        ("einsum", |d, t| {
            let specs = [
                "ij,jk->ik",
                "ii",
                "ijkl->kj",
                "...i,...i->...",
                "a,b->ba",
                "ij,ij->",
                "i..j->j",
                "ij->ijk",
                ",ij",
                "bcij->bc",
                "x1",
            ];
            let spec = specs[d.below(specs.len())];
            Ok(if d.coin() { Tensor::einsum(spec, &[&t[0], &t[1]]) } else { Tensor::einsum(spec, &[&t[0]]) })
        }),
    ]
}

/// A kernel of 4 input channels that fits the drawn images now and then, or anything.
fn weight(d: &mut Draw, t: &Tensor, taps: &[usize], transposed: bool) -> Tensor {
    if d.below(3) == 0 {
        return t.clone();
    }
    let channels = 1 + d.below(4);
    let mut shape = if transposed { vec![4, channels] } else { vec![channels, 4] };
    shape.extend(taps);
    upload(&vec![0.5; shape.iter().product()], &shape, DType::F32, device())
}

/// The operand with an axis dropped or added, so that it has as many as windows over `D` axes need.
fn over<const D: usize>(t: &Tensor) -> Tensor {
    match (t.shape().map_or(0, |s| s.rank()), D) {
        (4, 1) => t.slice(3, 0, 1).squeeze(3),
        (4, 3) => t.unsqueeze(4),
        _ => t.clone(),
    }
}

fn convolution<const D: usize>(d: &mut Draw) -> ConvOptions<D> {
    ConvOptions { stride: d.many(), padding: d.many(), dilation: d.many(), groups: d.count(4), bias: d.below(4) > 0 }
}

fn transposed<const D: usize>(d: &mut Draw) -> ConvTransposeOptions<D> {
    ConvTransposeOptions {
        stride: d.many(),
        padding: d.many(),
        output_padding: if d.coin() { [0; D] } else { d.many() },
        dilation: d.many(),
        groups: d.count(4),
        bias: d.below(4) > 0,
    }
}

fn pool<const D: usize>(d: &mut Draw) -> PoolOptions<D> {
    let stride = if d.coin() { None } else { Some(d.many()) };
    // A dilation of 1 half of the time: averages accept no other.
    let dilation = if d.coin() { [1; D] } else { d.many() };
    PoolOptions { stride, padding: d.many(), count_include_pad: d.coin(), dilation }
}

fn fold(d: &mut Draw) -> FoldOptions {
    FoldOptions { stride: d.many(), padding: d.many(), dilation: d.many() }
}

fn grid(d: &mut Draw) -> GridOptions {
    GridOptions { align_corners: d.coin() }
}

fn windows() -> Vec<(&'static str, Call)> {
    vec![
        ("conv1d", |d, t| Ok(over::<1>(&t[0]).conv1d(&weight(d, &t[1], &[2], false), None, convolution(d)))),
        ("conv2d", |d, t| {
            let bias = if d.coin() { None } else { Some(&t[2]) };
            Ok(t[0].conv2d(&weight(d, &t[1], &[3, 3], false), bias, convolution(d)))
        }),
        ("conv3d", |d, t| Ok(over::<3>(&t[0]).conv3d(&weight(d, &t[1], &[2, 3, 1], false), None, convolution(d)))),
        ("conv_transpose1d", |d, t| Ok(over::<1>(&t[0]).conv_transpose1d(&weight(d, &t[1], &[2], true), None, transposed(d)))),
        ("conv_transpose2d", |d, t| Ok(t[0].conv_transpose2d(&weight(d, &t[1], &[2, 3], true), None, transposed(d)))),
        ("conv_transpose3d", |d, t| {
            Ok(fitting(d, &over::<3>(&t[0]), &[1, 4, 2, 2, 2]).conv_transpose3d(
                &weight(d, &t[1], &[2, 1, 1], true),
                None,
                transposed(d),
            ))
        }),
        ("max_pool1d", |d, t| Ok(over::<1>(&t[0]).max_pool1d_with(d.many(), pool(d)))),
        ("avg_pool1d", |d, t| Ok(over::<1>(&t[0]).avg_pool1d_with(d.many(), pool(d)))),
        ("max_pool2d", |d, t| Ok(t[0].max_pool2d_with(d.many(), pool(d)))),
        ("avg_pool2d", |d, t| Ok(t[0].avg_pool2d_with(d.many(), pool(d)))),
        ("max_pool3d", |d, t| Ok(over::<3>(&t[0]).max_pool3d_with(d.many(), pool(d)))),
        ("avg_pool3d", |d, t| Ok(over::<3>(&t[0]).avg_pool3d_with(d.many(), pool(d)))),
        ("adaptive_avg_pool2d", |d, t| Ok(t[0].adaptive_avg_pool2d(d.many()))),
        ("adaptive_max_pool2d", |d, t| Ok(t[0].adaptive_max_pool2d(d.many()))),
        ("adaptive_avg_pool1d", |d, t| Ok(over::<1>(&t[0]).adaptive_avg_pool1d(d.count(4)))),
        ("adaptive_max_pool1d", |d, t| Ok(over::<1>(&t[0]).adaptive_max_pool1d(d.count(4)))),
        ("adaptive_avg_pool3d", |d, t| Ok(over::<3>(&t[0]).adaptive_avg_pool3d(d.many()))),
        ("adaptive_max_pool3d", |d, t| Ok(over::<3>(&t[0]).adaptive_max_pool3d(d.many()))),
        ("unfold", |d, t| Ok(t[0].unfold(d.many(), fold(d)))),
        ("fold", |d, t| Ok(over::<1>(&t[0]).fold(d.many(), d.many(), fold(d)))),
        ("interpolate", |d, t| {
            let mode = [Interpolation::Nearest, Interpolation::Linear, Interpolation::LinearAligned][d.below(3)];
            Ok(t[0].interpolate(&[d.count(5), d.count(5)][..1 + d.below(2)], mode))
        }),
        ("grid_sample", |d, t| Ok(t[0].grid_sample(&fitting(d, &t[1], &[2, 3, 3, 2]), grid(d)))),
        ("affine_grid", |d, t| {
            let maps = upload(&[0.5; 12], &[2, 2, 3], DType::F32, device());
            Ok(if d.coin() { maps.affine_grid(d.many(), grid(d)) } else { t[0].affine_grid(d.many(), grid(d)) })
        }),
    ]
}

fn reduction(d: &mut Draw) -> Reduction {
    [Reduction::Mean, Reduction::Sum, Reduction::None][d.below(3)]
}

/// The second operand, or the first again, which always matches.
fn other<'a>(d: &mut Draw, t: &'a [Tensor; 3]) -> &'a Tensor {
    if d.coin() { &t[0] } else { &t[1] }
}

fn layers() -> Vec<(&'static str, Call)> {
    vec![
        ("layer_norm", |d, t| Ok(t[0].layer_norm(&d.dims()[..], if d.coin() { None } else { Some(&t[1]) }, None, d.number()))),
        ("rms_norm", |d, t| Ok(t[0].rms_norm([5, 5], if d.coin() { None } else { Some(&t[1]) }, Some(d.number())))),
        ("group_norm", |d, t| Ok(t[0].group_norm(d.count(4), None, if d.coin() { None } else { Some(&t[1]) }, d.number()))),
        ("instance_norm", |d, t| Ok(t[0].instance_norm(if d.coin() { None } else { Some(&t[1]) }, None, d.number()))),
        ("batch_norm", |d, t| Ok(t[0].batch_norm(if d.coin() { None } else { Some(&t[1]) }, None, d.number()).0)),
        ("batch_norm_with", |d, t| {
            Ok(t[0].batch_norm_with(&fitting(d, &t[1], &[4]), &fitting(d, &t[2], &[4]), None, None, d.number()))
        }),
        ("scaled_dot_product_attention", |d, t| {
            let options = AttentionOptions {
                mask: if d.coin() { None } else { Some(t[2].clone()) },
                causal: d.coin(),
                dropout: if d.coin() { None } else { Some((d.number(), Generator::new(3))) },
                block: if d.coin() { None } else { Some(d.count(4)) },
                ..AttentionOptions::default()
            };
            Ok(t[0].scaled_dot_product_attention(other(d, t), other(d, t), &options))
        }),
        ("mse", |d, t| loss::mse(&t[0], other(d, t), reduction(d))),
        ("l1", |d, t| loss::l1(&t[0], other(d, t), reduction(d))),
        ("huber", |d, t| loss::huber(&t[0], other(d, t), d.number(), reduction(d))),
        ("smooth_l1", |d, t| loss::smooth_l1(&t[0], other(d, t), d.number(), reduction(d))),
        ("kl_div", |d, t| {
            loss::kl_div_with(&t[0], other(d, t), loss::KlDivOptions { log_target: d.coin(), reduction: reduction(d) })
        }),
        ("hinge", |d, t| loss::hinge(&t[0], other(d, t), reduction(d))),
        ("hinge_embedding", |d, t| loss::hinge_embedding(&t[0], other(d, t), d.number(), reduction(d))),
        ("margin_ranking", |d, t| loss::margin_ranking(&t[0], other(d, t), other(d, t), d.number(), reduction(d))),
        ("binary_cross_entropy", |d, t| loss::binary_cross_entropy(&t[0], other(d, t), reduction(d))),
        ("binary_cross_entropy_with_logits", |d, t| {
            let weight = if d.coin() { None } else { Some(&t[2]) };
            loss::binary_cross_entropy_with_logits(&t[0], other(d, t), weight, reduction(d))
        }),
        ("focal", |d, t| loss::focal(&t[0], other(d, t), Some(d.number()), d.number(), reduction(d))),
        ("cosine_embedding", |d, t| {
            loss::cosine_embedding(&t[0], other(d, t), &fitting(d, &t[2], &[2]), d.number(), reduction(d))
        }),
        ("triplet_margin", |d, t| {
            let options = TripletOptions {
                margin: d.number(),
                p: d.number(),
                swap: d.coin(),
                reduction: reduction(d),
                ..TripletOptions::default()
            };
            loss::triplet_margin(&t[0], other(d, t), other(d, t), options)
        }),
        ("cross_entropy_with", |d, t| {
            let options =
                CrossEntropyOptions { label_smoothing: d.number(), reduction: reduction(d), ..CrossEntropyOptions::default() };
            loss::cross_entropy_with(&t[0], other(d, t), &options)
        }),
        ("nll", |d, t| loss::nll(&t[0], &index(d, &t[1]), if d.coin() { None } else { Some(&t[2]) }, None, reduction(d))),
        ("ctc", |d, t| {
            let options = CtcOptions { blank: d.count(4), ..CtcOptions::default() };
            loss::ctc(
                &fitting(d, &t[0], &[3, 2, 4]),
                &fitting(d, &t[1], &[2, 2]).cast(DType::I32),
                &[d.count(4), d.count(4)],
                &[d.count(3), d.count(3)],
                options,
            )
        }),
    ]
}

fn creation() -> Vec<(&'static str, Call)> {
    vec![
        ("zeros", |d, _| Tensor::zeros(d.size(), device())),
        ("ones", |d, _| Tensor::ones(d.size(), device())),
        ("full", |d, _| Tensor::full(d.size(), d.number(), device())),
        ("full_of", |d, _| Tensor::full_of(d.size(), d.number(), d.dtype(), device())),
        ("scalar", |d, _| Tensor::scalar(d.number(), device())),
        ("arange", |d, _| Tensor::arange(d.number(), d.number(), d.number(), device())),
        ("iota", |d, _| Tensor::iota(d.count(9), d.dtype(), device())),
        ("eye", |d, _| Tensor::eye(d.count(9), device())),
        ("random_bits", |d, _| Tensor::random_bits(d.size(), &Generator::new(4), device())),
        ("rand", |d, _| Tensor::rand(d.size(), &Generator::new(4), device())),
        ("randn", |d, _| Tensor::randn(d.size(), &Generator::new(4), device())),
        ("uniform", |d, _| Tensor::uniform(d.size(), d.number(), d.number(), &Generator::new(4), device())),
        ("normal", |d, _| Tensor::normal(d.size(), d.number(), d.number(), &Generator::new(4), device())),
        ("bernoulli", |d, _| Tensor::bernoulli(d.size(), d.number(), &Generator::new(4), device())),
        ("randint", |d, _| Tensor::randint(d.size(), d.axis() as i32, d.axis() as i32, &Generator::new(4), device())),
        ("permutation", |d, _| Tensor::permutation(d.count(9), &Generator::new(4), device())),
    ]
}

#[test]
fn random_calls_give_values_or_typed_errors() {
    let calls = calls();
    let drawn: BTreeSet<&str> = calls.iter().map(|(op, _)| *op).collect();
    assert!(drawn.iter().eq(ops().keys()), "not the table's ops: {:?}", drawn.symmetric_difference(&ops().into_keys().collect()));
    let mut draw = Draw(Noise(2026), false);
    let (mut good, mut refused) = (0, 0);
    let mut accepted = BTreeSet::new();
    let draws = if in_part() { DRAWS_IN_PART } else { DRAWS };
    for n in 0..draws {
        let (op, call) = &calls[draw.below(calls.len())];
        draw.1 = false;
        let operands = [draw.tensor(), draw.tensor(), draw.tensor()];
        draw.1 = n % EXTREME == 0;
        let result = call(&mut draw, &operands);
        let outcome = result.and_then(|t| if n % EVALUATED == 0 { t.to_host().map(|_| ()) } else { t.check() });
        match outcome {
            Ok(()) => {
                good += 1;
                accepted.insert(*op);
            }
            Err(error) => {
                let message = error.to_string();
                assert!(is_refusal(&error), "draw {n}, {op}: {message}");
                assert!(message.contains("help: ") && message.starts_with('['), "draw {n}, {op}: {message}");
                refused += 1;
            }
        }
    }
    println!("{} ops, {draws} draws: {good} values, {refused} refusals", calls.len());
    assert!(good > draws / 10 && refused > draws / 10, "{good} values and {refused} refusals: the draws are lopsided");
    draw.1 = false;
    // An op that no draw called successfully gets some more draws: each must be callable from here.
    let mut hits = |call: &AnyCall| {
        (0..20_000).any(|_| {
            let operands = [draw.tensor(), draw.tensor(), draw.tensor()];
            call(&mut draw, &operands).and_then(|t| t.check()).is_ok()
        })
    };
    let never: Vec<_> = calls.iter().filter(|(op, call)| !accepted.contains(op) && !hits(call)).map(|(op, _)| op).collect();
    assert!(never.is_empty(), "no draw was a good call of {never:?}");
}
