//! Sizes near 2^64: every op, called with lengths, counts, axes and steps that fit in no memory, gives a typed error, and so
//! does the evaluation of a tensor expanded past what kernels count. Nothing wraps around, panics or aborts the process.

use crate::common::{device, is_refusal, upload};
use crate::numerics::elementwise::{binary_ops, unary_ops};
use crate::samples::{Sample, kernel_ops, samples};
use crate::table::ops;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgrad::nn::loss::{self, CtcOptions};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, Error, FoldOptions, Generator, GridOptions, Interpolation,
    PadMode, PoolOptions, Result, Shape, Tensor, VarOptions,
};

const HIGHEST_BIT: usize = 1 << (usize::BITS - 1);

/// A length that a shape can have, of more elements than any kernel counts.
const UNCOUNTED: usize = if usize::BITS == 64 { usize::MAX >> 24 } else { 3 << 30 };
const MIDDLE: isize = (UNCOUNTED / 2).cast_signed();

/// A number that is impossible with sizes of 64 bits, and its counterpart with 32, where a step or a window of 2^30 is possible.
const fn impossible(n: usize) -> usize {
    if usize::BITS == 64 { n } else { n | HIGHEST_BIT }
}

/// Impossible lengths, counts and steps; products and sums of two of them wrap around to small numbers, or to 0.
pub const HUGE: [usize; 9] = [
    usize::MAX,
    usize::MAX - 1,
    impossible(usize::MAX / 2),
    HIGHEST_BIT,
    HIGHEST_BIT + 1,
    HIGHEST_BIT + (1 << (usize::BITS / 2)),
    impossible(HIGHEST_BIT / 2),
    impossible(HIGHEST_BIT / 2 + 1),
    impossible((usize::MAX / 3) + 1),
];

/// Positions, axes, shifts and steps of either sign.
pub const ENDS: [isize; 6] = [isize::MIN, isize::MIN + 1, isize::MIN / 2, isize::MAX / 2, isize::MAX - 1, isize::MAX];

/// A call that must be refused, whatever the number.
#[derive(Clone, Copy)]
pub enum Call {
    Size(fn(usize) -> Result<Tensor>),
    Axis(fn(isize) -> Result<Tensor>),
    /// A call that is valid, whatever the number, and the elements of its result.
    Right(fn(isize) -> Result<Tensor>, &'static [f64]),
}

/// What is wrong with an outcome that must be a typed error.
pub fn untyped<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Err(_) => Some(format!("{what}: a panic")),
        Ok(Ok(_)) => Some(format!("{what}: accepted")),
        Ok(Err(error)) => {
            let message = error.to_string();
            let typed = is_refusal(&error) || matches!(error, Error::Format { .. });
            (!typed || !message.contains("help: ")).then(|| format!("{what}: {message}"))
        }
    }
}

/// Panics with all faults at once.
pub fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

fn i(v: &[i32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).expect("valid")
}

fn last(parts: Result<Vec<Tensor>>) -> Result<Tensor> {
    Ok(parts?.pop().expect("at least one part"))
}

fn g() -> Generator {
    Generator::new(1)
}

/// Window options, with one of them huge along the last axis.
fn conv<const D: usize>(change: impl FnOnce(&mut ConvOptions<D>)) -> ConvOptions<D> {
    let mut options = ConvOptions::default();
    change(&mut options);
    options
}

fn back<const D: usize>(change: impl FnOnce(&mut ConvTransposeOptions<D>)) -> ConvTransposeOptions<D> {
    let mut options = ConvTransposeOptions::default();
    change(&mut options);
    options
}

fn pool<const D: usize>(change: impl FnOnce(&mut PoolOptions<D>)) -> PoolOptions<D> {
    let mut options = PoolOptions::default();
    change(&mut options);
    options
}

fn fold(change: impl FnOnce(&mut FoldOptions)) -> FoldOptions {
    let mut options = FoldOptions::default();
    change(&mut options);
    options
}

fn movement() -> Vec<(&'static str, Call)> {
    use Call::{Axis, Right, Size};
    vec![
        ("reshape", Size(|n| Ok(f(&[4]).reshape([n, n])))),
        ("reshape", Size(|n| Ok(f(&[0]).reshape([n, n, 0])))),
        ("flatten", Axis(|a| Ok(f(&[2, 2]).flatten(a, -1)))),
        ("flatten", Axis(|a| Ok(f(&[2, 2]).flatten(0, a)))),
        ("unflatten", Size(|n| Ok(f(&[4]).unflatten(0, &[n, n])))),
        ("unflatten", Size(|n| Ok(f(&[0]).unflatten(0, &[0, n, n])))),
        ("unflatten", Axis(|a| Ok(f(&[4]).unflatten(a, &[2, 2])))),
        ("permute", Size(|n| Ok(f(&[2, 2]).permute(&[n, 0])))),
        ("transpose", Axis(|a| Ok(f(&[2, 2]).transpose(a, 0)))),
        ("expand", Size(|n| Ok(f(&[1]).expand([n, n])))),
        ("expand", Size(|n| Ok(f(&[0]).expand([n, 0])))),
        ("unsqueeze", Axis(|a| Ok(f(&[2]).unsqueeze(a)))),
        ("squeeze", Axis(|a| Ok(f(&[1]).squeeze(a)))),
        ("select", Axis(|a| Ok(f(&[2]).select(0, a)))),
        ("select", Axis(|a| Ok(f(&[2]).select(a, 0)))),
        ("narrow", Size(|n| Ok(f(&[2]).narrow(0, 1, n)))),
        ("narrow", Axis(|a| Ok(f(&[2]).narrow(0, a, 1)))),
        ("narrow", Axis(|a| Ok(f(&[2]).narrow(a, 0, 1)))),
        ("slice", Axis(|a| Ok(f(&[2]).slice(0, a, 1)))),
        ("slice", Axis(|a| Ok(f(&[2]).slice(0, 0, a)))),
        ("slice", Axis(|a| Ok(f(&[2]).slice(a, 0, 1)))),
        ("slice_step", Axis(|a| Ok(f(&[2]).slice_step(0, a, a, 2)))),
        ("slice_step", Axis(|a| Ok(f(&[2]).slice_step(a, 0, 1, a)))),
        ("slice_step", Right(|a| Ok(i(&[5, 6, 7]).slice_step(0, 1, if a < 0 { isize::MIN } else { 3 }, a)), &[6.0])),
        ("flip", Axis(|a| Ok(f(&[2]).flip(a)))),
        ("pad", Size(|n| Ok(f(&[2]).pad(&[(n, 0)])))),
        ("pad", Size(|n| Ok(f(&[2]).pad(&[(0, n)])))),
        ("pad", Size(|n| Ok(f(&[2]).pad(&[(n, n)])))),
        ("pad", Size(|n| Ok(f(&[2, 2]).pad(&[(n / 4, 0), (0, n / 4)])))),
        ("pad_with", Size(|n| Ok(f(&[2]).pad_with(&[(n, n)], PadMode::Constant(1.0))))),
        ("pad_with", Size(|n| Ok(f(&[2]).pad_with(&[(n, 0)], PadMode::Replicate)))),
        ("pad_with", Size(|n| Ok(f(&[2]).pad_with(&[(0, n)], PadMode::Reflect)))),
        ("pad_same", Size(|n| Ok(f(&[2]).pad_same(&[n], &[n])))),
        ("pad_same", Size(|n| Ok(f(&[2]).pad_same(&[3], &[n])))),
        ("split", Size(|n| last(f(&[2]).split(0, &[n, n.wrapping_neg().wrapping_add(2)])))),
        ("split", Axis(|a| last(f(&[2]).split(a, &[1, 1])))),
        ("chunk", Size(|n| last(f(&[0]).chunk(n, 0)))),
        ("chunk", Size(|n| last(Tensor::zeros([UNCOUNTED], device())?.chunk(n, 0)))),
        ("chunk", Axis(|a| last(f(&[2]).chunk(1, a)))),
        ("repeat", Size(|n| Ok(f(&[2]).repeat(&[n])))),
        ("repeat", Size(|n| Ok(f(&[1]).repeat(&[n, n])))),
        ("repeat", Size(|n| Ok(f(&[0]).repeat(&[n, 1])))),
        ("roll", Axis(|a| Ok(f(&[2]).roll(1, a)))),
        ("roll", Right(|a| Ok(i(&[7, 7, 7]).roll(a, 0)), &[7.0; 3])),
        ("tril", Right(|a| Ok(f(&[1, 1]).tril(a) * if a < 0 { 0.0 } else { 2.0 } + f64::from(u8::from(a < 0))), &[1.0])),
        ("triu", Right(|a| Ok(f(&[1, 1]).triu(a) * if a > 0 { 0.0 } else { 2.0 } + f64::from(u8::from(a > 0))), &[1.0])),
        ("diag", Axis(|a| Ok(f(&[2]).diag(a)))),
        ("diag", Axis(|a| Ok(f(&[2, 2]).diag(a)))),
        ("stack", Axis(|a| Ok(Tensor::stack(&[&f(&[2]), &f(&[2])], a)))),
        ("cat", Axis(|a| Ok(Tensor::cat(&[&f(&[2]), &f(&[2])], a)))),
        ("cat", Size(|n| Ok(Tensor::cat(&[&Tensor::zeros([n], device())?, &f(&[2])], 0)))),
    ]
}

fn reductions() -> Vec<(&'static str, Call)> {
    use Call::{Axis, Right, Size};
    vec![
        ("sum", Axis(|a| Ok(f(&[2]).sum_dim(a)))),
        ("prod", Axis(|a| Ok(f(&[2]).prod_dim(a)))),
        ("max", Axis(|a| Ok(f(&[2]).max_keepdim(a)))),
        ("min", Axis(|a| Ok(f(&[2]).min_keepdim(a)))),
        ("mean", Axis(|a| Ok(f(&[2]).mean_dim(a)))),
        ("var", Axis(|a| Ok(f(&[2]).var_dim(a)))),
        ("std", Axis(|a| Ok(f(&[2]).std_dim(a)))),
        // No degrees of freedom are left, and the mean of no squares is infinite, as for a correction of 3.
        (
            "var",
            Right(
                |a| Ok(i(&[0, 1]).cast(DType::F32).var_with(0, VarOptions { correction: a.unsigned_abs(), keepdim: false })),
                &[f64::INFINITY],
            ),
        ),
        (
            "std",
            Right(
                |a| Ok(i(&[0, 1]).cast(DType::F32).std_with(0, VarOptions { correction: a.unsigned_abs(), keepdim: false })),
                &[f64::INFINITY],
            ),
        ),
        ("logsumexp", Axis(|a| Ok(f(&[2]).logsumexp_dim(a)))),
        ("norm", Axis(|a| Ok(f(&[2]).norm_dim(2.0, a)))),
        ("normalize", Axis(|a| Ok(f(&[2]).normalize(2.0, a)))),
        ("standardize", Size(|n| Ok(f(&[2]).standardize(&[n], 1e-5).0))),
        ("argmax", Axis(|a| Ok(f(&[2]).argmax_dim(a)))),
        ("argmin", Axis(|a| Ok(f(&[2]).argmin_dim(a)))),
        ("any", Axis(|a| Ok(f(&[2]).any_dim(a)))),
        ("all", Axis(|a| Ok(f(&[2]).all_dim(a)))),
        ("count_nonzero", Axis(|a| Ok(f(&[2]).count_nonzero_dim(a)))),
        ("cumsum", Axis(|a| Ok(f(&[2]).cumsum(a)))),
        ("cumprod", Axis(|a| Ok(f(&[2]).cumprod(a)))),
        ("sort", Axis(|a| Ok(f(&[2]).sort(a, false).0))),
        ("argsort", Axis(|a| Ok(f(&[2]).argsort(a, false)))),
        ("topk", Axis(|a| Ok(f(&[2]).topk(1, a).0))),
        ("topk", Size(|n| Ok(f(&[2]).topk(n, 0).0))),
        ("categorical", Axis(|a| Ok(f(&[2]).categorical(a, &g())))),
        ("cosine_similarity", Axis(|a| Ok(f(&[2]).cosine_similarity(&f(&[2]), a, 1e-8)))),
    ]
}

fn indexing() -> Vec<(&'static str, Call)> {
    use Call::{Axis, Size};
    vec![
        ("gather", Axis(|a| Ok(f(&[2]).gather(a, &i(&[0]))))),
        ("scatter", Axis(|a| Ok(f(&[2]).scatter(a, &i(&[0]), &f(&[1]))))),
        ("scatter_add", Axis(|a| Ok(f(&[2]).scatter_add(a, &i(&[0]), &f(&[1]))))),
        ("index_select", Axis(|a| Ok(f(&[2]).index_select(a, &i(&[0]))))),
        ("index_add", Axis(|a| Ok(f(&[2]).index_add(a, &i(&[0]), &f(&[1]))))),
        ("one_hot", Size(|n| Ok(i(&[0, 1]).one_hot(n)))),
        ("one_hot", Size(|n| Ok(i(&[]).one_hot(n)))),
        ("embedding", Size(|n| Ok(f(&[2, 2]).embedding(&i(&[0]), Some(n))))),
        ("scatter_add_rows", Size(|n| Ok(f(&[1, 2]).scatter_add_rows(n, &i(&[0]))))),
        ("scatter_add_rows", Size(|n| Ok(f(&[0, 2]).scatter_add_rows(n, &i(&[]))))),
    ]
}

fn convolutions() -> Vec<(&'static str, Call)> {
    use Call::Size;
    let mut rows: Vec<(&'static str, Call)> = Vec::new();
    macro_rules! forward {
        ($op:ident, $d:literal, $x:expr, $w:expr) => {
            rows.extend([
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, conv::<$d>(|o| o.stride[$d - 1] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, conv::<$d>(|o| o.padding[$d - 1] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, conv::<$d>(|o| o.dilation[0] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, conv::<$d>(|o| o.groups = n))))),
                (
                    stringify!($op),
                    Size(|n| {
                        let all = conv::<$d>(|o| (o.stride, o.padding, o.dilation) = ([n; $d], [n; $d], [n; $d]));
                        Ok(f(&$x).$op(&f(&$w), None, all))
                    }),
                ),
            ]);
        };
    }
    forward!(conv1d, 1, [1, 2, 5], [2, 2, 3]);
    forward!(conv2d, 2, [1, 2, 5, 5], [2, 2, 3, 3]);
    forward!(conv3d, 3, [1, 2, 5, 5, 5], [2, 2, 3, 3, 3]);
    macro_rules! backward {
        ($op:ident, $d:literal, $x:expr, $w:expr) => {
            rows.extend([
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, back::<$d>(|o| o.stride[$d - 1] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, back::<$d>(|o| o.padding[0] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, back::<$d>(|o| o.dilation[$d - 1] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, back::<$d>(|o| o.output_padding[0] = n))))),
                (stringify!($op), Size(|n| Ok(f(&$x).$op(&f(&$w), None, back::<$d>(|o| o.groups = n))))),
                (
                    stringify!($op),
                    Size(|n| {
                        let all = back::<$d>(|o| {
                            (o.stride, o.padding, o.dilation, o.output_padding) = ([n; $d], [n; $d], [n; $d], [n - 1; $d]);
                        });
                        Ok(f(&$x).$op(&f(&$w), None, all))
                    }),
                ),
            ]);
        };
    }
    backward!(conv_transpose1d, 1, [1, 2, 5], [2, 2, 3]);
    backward!(conv_transpose2d, 2, [1, 2, 5, 5], [2, 2, 3, 3]);
    backward!(conv_transpose3d, 3, [1, 2, 5, 5, 5], [2, 2, 3, 3, 3]);
    // Without channels every number of groups divides them.
    rows.push(("conv2d", Size(|n| Ok(f(&[1, 0, 3, 3]).conv2d(&f(&[0, 2, 1, 1]), None, conv(|o| o.groups = n))))));
    rows.push((
        "conv_transpose2d",
        Size(|n| Ok(f(&[1, 0, 3, 3]).conv_transpose2d(&f(&[0, 2, 1, 1]), None, back(|o| o.groups = n)))),
    ));
    rows
}

fn pools() -> Vec<(&'static str, Call)> {
    use Call::Size;
    let mut rows: Vec<(&'static str, Call)> = Vec::new();
    macro_rules! pools {
        ($($op:ident, $plain:ident, $d:literal, $x:expr;)*) => {$(
            rows.extend([
                (
                    stringify!($plain),
                    Size(|n| {
                        let mut kernel = [2; $d];
                        kernel[$d - 1] = n;
                        Ok(f(&$x).$plain(kernel))
                    }),
                ),
                (stringify!($plain), Size(|n| Ok(f(&$x).$op(2, pool(|o| o.stride = Some([n; $d])))))),
                (stringify!($plain), Size(|n| Ok(f(&$x).$op(2, pool(|o| o.padding[0] = n))))),
                (stringify!($plain), Size(|n| Ok(f(&$x).$op(2, pool(|o| o.dilation[0] = n))))),
                (
                    stringify!($plain),
                    Size(|n| Ok(f(&$x).$op(n, pool(|o| o.padding = [n / 2; $d])))),
                ),
            ]);
        )*};
    }
    pools! {
        max_pool1d_with, max_pool1d, 1, [1, 2, 5];
        avg_pool1d_with, avg_pool1d, 1, [1, 2, 5];
        max_pool2d_with, max_pool2d, 2, [1, 2, 5, 5];
        avg_pool2d_with, avg_pool2d, 2, [1, 2, 5, 5];
        max_pool3d_with, max_pool3d, 3, [1, 2, 5, 5, 5];
        avg_pool3d_with, avg_pool3d, 3, [1, 2, 5, 5, 5];
    }
    macro_rules! adaptive {
        ($($op:ident, $x:expr, $size:expr;)*) => {$(
            rows.push((stringify!($op), Size(|n| Ok(f(&$x).$op($size(n))))));
        )*};
    }
    adaptive! {
        adaptive_avg_pool1d, [1, 2, 5], |n| n;
        adaptive_max_pool1d, [1, 2, 5], |n| n;
        adaptive_avg_pool2d, [1, 2, 5, 5], |n| [2, n];
        adaptive_max_pool2d, [1, 2, 5, 5], |n| [n, 2];
        adaptive_avg_pool3d, [1, 2, 5, 5, 5], |n| [n, n, 2];
        adaptive_max_pool3d, [1, 2, 5, 5, 5], |n| [2, n, n];
    }
    let x = [
        ("unfold", Size(|n| Ok(f(&[1, 1, 4, 4]).unfold([2, n], FoldOptions::default())))),
        ("unfold", Size(|n| Ok(f(&[1, 1, 4, 4]).unfold(2, fold(|o| o.stride[1] = n))))),
        ("unfold", Size(|n| Ok(f(&[1, 1, 4, 4]).unfold(2, fold(|o| o.padding[1] = n))))),
        ("unfold", Size(|n| Ok(f(&[1, 1, 4, 4]).unfold(2, fold(|o| o.dilation[1] = n))))),
        ("unfold", Size(|n| Ok(f(&[1, 1, 4, 4]).unfold(n, fold(|o| o.padding = [n; 2]))))),
        ("fold", Size(|n| Ok(f(&[1, 4, 9]).fold([n, 4], 2, FoldOptions::default())))),
        ("fold", Size(|n| Ok(f(&[1, 0, 9]).fold([4, 4], n, fold(|o| o.padding = [n; 2]))))),
        ("fold", Size(|n| Ok(f(&[1, 4, 9]).fold([4, 4], 2, fold(|o| o.stride[0] = n))))),
        ("fold", Size(|n| Ok(f(&[1, 4, 9]).fold([4, 4], 2, fold(|o| o.padding[0] = n))))),
        ("fold", Size(|n| Ok(f(&[1, 4, 9]).fold([4, 4], 2, fold(|o| o.dilation[0] = n))))),
        ("fold", Size(|n| Ok(f(&[1, 4, 1]).fold([2, n], 2, fold(|o| o.stride[1] = n))))),
        ("interpolate", Size(|n| Ok(f(&[1, 1, 3]).interpolate(&[n], Interpolation::Nearest)))),
        ("interpolate", Size(|n| Ok(f(&[1, 1, 3]).interpolate(&[n], Interpolation::Linear)))),
        ("affine_grid", Size(|n| Ok(f(&[1, 2, 3]).affine_grid([n, n], GridOptions::default())))),
        ("affine_grid", Size(|n| Ok(f(&[1, 2, 3]).affine_grid([1, n], GridOptions { align_corners: true })))),
    ];
    rows.extend(x);
    rows
}

fn layers() -> Vec<(&'static str, Call)> {
    use Call::{Right, Size};
    vec![
        ("layer_norm", Size(|n| Ok(f(&[2, 2]).layer_norm([n, n], None, None, 1e-5)))),
        ("rms_norm", Size(|n| Ok(f(&[2, 2]).rms_norm([n, n], None, None)))),
        ("group_norm", Size(|n| Ok(f(&[2, 4, 2]).group_norm(n, None, None, 1e-5)))),
        // A block longer than the queries is all of them.
        (
            "scaled_dot_product_attention",
            Right(
                |a| {
                    let x = i(&[1, 1]).cast(DType::F32).reshape([2, 1]);
                    let options = AttentionOptions { block: Some(a.unsigned_abs()), ..AttentionOptions::default() };
                    Ok(x.scaled_dot_product_attention(&x, &x, &options))
                },
                &[1.0, 1.0],
            ),
        ),
        ("ctc", Size(|n| loss::ctc(&f(&[2, 1, 3]), &i(&[1]).reshape([1, 1]), &[n], &[1], CtcOptions::default()))),
        ("ctc", Size(|n| loss::ctc(&f(&[2, 1, 3]), &i(&[1]).reshape([1, 1]), &[2], &[n], CtcOptions::default()))),
        (
            "ctc",
            Size(|n| {
                let options = CtcOptions { blank: n, ..CtcOptions::default() };
                loss::ctc(&f(&[2, 1, 3]), &i(&[1]).reshape([1, 1]), &[2], &[1], options)
            }),
        ),
    ]
}

fn creation() -> Vec<(&'static str, Call)> {
    use Call::Size;
    let mut rows: Vec<(&'static str, Call)> = Vec::new();
    macro_rules! creation {
        ($($op:ident, $make:expr;)*) => {$(
            rows.push((stringify!($op), Size(|n| $make([n, 1]))));
            rows.push((stringify!($op), Size(|n| $make([n, n]))));
            rows.push((stringify!($op), Size(|n| $make([n, 0]))));
            // A possible shape, with more elements than any kernel counts.
            rows.push((stringify!($op), Size(|_| $make([UNCOUNTED, 1]))));
        )*};
    }
    creation! {
        zeros, |s: [usize; 2]| Tensor::zeros(s, device());
        ones, |s: [usize; 2]| Tensor::ones(s, device());
        full, |s: [usize; 2]| Tensor::full(s, 1.5, device());
        full_of, |s: [usize; 2]| Tensor::full_of(s, 1.5, DType::I32, device());
        random_bits, |s: [usize; 2]| Tensor::random_bits(s, &g(), device());
        rand, |s: [usize; 2]| Tensor::rand(s, &g(), device());
        randn, |s: [usize; 2]| Tensor::randn(s, &g(), device());
        uniform, |s: [usize; 2]| Tensor::uniform(s, 0.0, 1.0, &g(), device());
        normal, |s: [usize; 2]| Tensor::normal(s, 0.0, 1.0, &g(), device());
        bernoulli, |s: [usize; 2]| Tensor::bernoulli(s, 0.5, &g(), device());
        randint, |s: [usize; 2]| Tensor::randint(s, 0, 9, &g(), device());
    }
    rows.extend([
        ("iota", Size(|n| Tensor::iota(n, DType::I32, device()))),
        ("iota", Size(|_| Ok(Tensor::iota(UNCOUNTED, DType::I32, device())?.slice(0, MIDDLE, MIDDLE + 1)))),
        // Parts of a tensor with more elements than 32-bit indices count.
        ("iota", Size(|_| Ok(Tensor::iota(UNCOUNTED, DType::F32, device())?.slice(0, MIDDLE, MIDDLE + 1)))),
        ("random_bits", Size(|_| Ok(Tensor::random_bits([UNCOUNTED], &g(), device())?.slice(0, MIDDLE, MIDDLE + 1)))),
        ("eye", Size(|n| Tensor::eye(n, device()))),
        ("eye", Size(|_| Tensor::eye(1 << 29, device()))),
        ("permutation", Size(|n| Tensor::permutation(n, &g(), device()))),
        ("arange", Size(|n| Tensor::arange(0.0, n as f64, 1.0, device()))),
        ("arange", Size(|n| Tensor::arange(0.0, 1.0, 1.0 / n as f64, device()))),
    ]);
    rows
}

fn calls() -> Vec<(&'static str, Call)> {
    let rows = kernel_ops().into_iter().flat_map(|op| op.huge.iter().map(move |&call| (op.name, call))).collect();
    [rows, movement(), reductions(), indexing(), convolutions(), pools(), layers(), creation()].into_iter().flatten().collect()
}

/// Ops whose only sizes are those of their operands, besides the elementwise ones of `tests/rows`: [`huge_operands`] tries them.
const ONLY_OPERANDS: [&str; 57] = [
    "batch_norm",
    "batch_norm_with",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bmm",
    "cast",
    "clamp",
    "cosine_embedding",
    "cross_entropy_rows",
    "cross_entropy_with",
    "detach",
    "dot",
    "dropout",
    "einsum",
    "elu",
    "focal",
    "full_like",
    "gather_rows",
    "gelu",
    "gelu_tanh",
    "global_avg_pool",
    "global_max_pool",
    "grid_sample",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge",
    "hinge_embedding",
    "huber",
    "instance_norm",
    "kl_div",
    "l1",
    "leaky_relu",
    "lerp",
    "linear",
    "log_sigmoid",
    "margin_ranking",
    "masked_fill",
    "masked_select",
    "matmul",
    "mish",
    "mse",
    "nll",
    "ones_like",
    "outer",
    "powf",
    "relu6",
    "scalar",
    "selu",
    "silu",
    "smooth_l1",
    "softplus_with",
    "softsign",
    "t",
    "triplet_margin",
    "where_",
    "zeros_like",
];

#[test]
fn every_op_has_its_calls_or_takes_no_sizes() {
    let called: BTreeSet<&str> = calls().into_iter().map(|(op, _)| op).collect();
    let without: BTreeSet<&str> = ONLY_OPERANDS
        .into_iter()
        .chain(unary_ops().into_iter().map(|op| op.name))
        .chain(binary_ops().into_iter().map(|op| op.name))
        .chain(kernel_ops().into_iter().filter(|op| op.huge.is_empty()).map(|op| op.name))
        .collect();
    let both: Vec<_> = called.intersection(&without).collect();
    assert!(both.is_empty(), "called with sizes, although listed as having none: {both:?}");
    let all: BTreeSet<&str> = called.union(&without).copied().collect();
    let table: BTreeSet<&str> = ops().into_keys().collect();
    assert!(all == table, "in only one of the lists: {:?}", all.symmetric_difference(&table).collect::<Vec<_>>());
}

#[test]
fn huge_sizes_are_typed_errors() {
    let evaluated = |t: Result<Tensor>| t.and_then(|t| t.eval());
    let mut faults = Vec::new();
    for (k, (op, call)) in calls().into_iter().enumerate() {
        match call {
            Call::Size(run) => {
                faults.extend(HUGE.iter().filter_map(|&n| untyped(&format!("{k} {op}({n:#x})"), || evaluated(run(n)))));
            }
            Call::Axis(run) => {
                faults.extend(ENDS.iter().filter_map(|&a| untyped(&format!("{k} {op}({a})"), || evaluated(run(a)))));
            }
            Call::Right(run, expected) => {
                for a in ENDS {
                    match catch_unwind(|| run(a).and_then(|t| t.to_host())) {
                        Ok(Ok(data)) if data.to_f64() == expected => {}
                        Ok(Ok(data)) => faults.push(format!("{k} {op}({a}): {:?}, not {expected:?}", data.to_f64())),
                        Ok(Err(error)) => faults.push(format!("{k} {op}({a}): {error}")),
                        Err(_) => faults.push(format!("{k} {op}({a}): a panic")),
                    }
                }
            }
        }
    }
    none(&faults);
}

/// Operands of a sample with every axis of length `from` expanded to `to` from one element: they would fit in no memory.
fn stretched(sample: &Sample, from: usize, to: usize) -> Result<Vec<Tensor>> {
    let stretch = |o: &crate::samples::Operand| {
        let dims: Vec<usize> = o.shape.iter().map(|&d| if d == from { to } else { d }).collect();
        let one = upload(&[(o.lo + o.hi) / 2.0], &[1], DType::F32, device());
        let huge = one.expand(Shape::new(&dims)?);
        huge.check().map(|()| huge)
    };
    sample.operands.iter().map(stretch).collect()
}

/// The first two samples of each op whose operands have elements and a length of at least 2.
fn two_of_each() -> Vec<Sample> {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    let long = |s: &Sample| {
        let dims = || s.operands.iter().flat_map(|o| &o.shape);
        dims().any(|&d| d > 1) && !dims().any(|&d| d == 0)
    };
    samples()
        .into_iter()
        .filter(|s| {
            let count = seen.entry(s.op).or_default();
            *count += usize::from(long(s));
            long(s) && *count <= 2
        })
        .collect()
}

#[test]
fn huge_operands() {
    let mut faults = Vec::new();
    let mut tried = BTreeSet::new();
    let (few, many): (usize, usize) = if usize::BITS == 64 { (33, 54) } else { (31, 31) };
    for sample in two_of_each() {
        let lengths: BTreeSet<usize> = sample.operands.iter().flat_map(|o| o.shape.clone()).filter(|&d| d > 1).collect();
        for from in lengths {
            // Long enough that an operand has at least 2^33 elements (2^31 where sizes have 32 bits), or nearly as many as a shape
            // can have.
            let axes = |o: &crate::samples::Operand| o.shape.iter().filter(|&&d| d == from).count();
            let most = sample.operands.iter().map(axes).max().unwrap_or(1);
            for to in [1 << few.div_ceil(most), 1 << (many / most)] {
                let what = format!("{}: {from} to {to:#x}", sample.name);
                let operands = match stretched(&sample, from, to) {
                    Ok(operands) => operands,
                    // With sizes of 32 bits there is no shape that has more elements than kernels count.
                    Err(error) if usize::BITS == 32 => {
                        tried.insert(sample.op);
                        faults.extend(untyped(&what, || Err::<(), _>(error)));
                        continue;
                    }
                    Err(_) => continue,
                };
                tried.insert(sample.op);
                // A sample unwraps methods that return a `Result`: its panic contains that error.
                match catch_unwind(AssertUnwindSafe(|| (sample.run)(&operands).eval())) {
                    Ok(result) => faults.extend(untyped(&what, || result)),
                    Err(panic) => {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        if !text.contains("help: ") {
                            faults.push(format!("{what}: a panic: {text}"));
                        }
                    }
                }
            }
        }
    }
    none(&faults);
    let creation = ["arange", "bernoulli", "eye", "full", "full_of", "iota", "normal", "ones", "permutation", "rand"];
    let creation: BTreeSet<&str> =
        creation.into_iter().chain(["randint", "randn", "random_bits", "scalar", "uniform", "zeros"]).collect();
    let untried: Vec<&str> = ops().into_keys().filter(|op| !tried.contains(op) && !creation.contains(op)).collect();
    assert!(untried.is_empty(), "no operand of {untried:?} could be expanded");
}
