//! Wrong calls of ops.

use super::{AXES, HUGE, IMPROBABLE, Table, b, elsewhere, f, far, i};
use crate::common::device;
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, KlDivOptions, Reduction, TripletOptions};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, FoldOptions, Generator, GridOptions, HostData, Interpolation,
    PadMode, PoolOptions, Shape, Tensor, VarOptions, grad,
};

pub fn rows(t: &mut Table) {
    axes(t);
    dtypes(t);
    shapes(t);
    sizes(t);
    numbers(t);
    windows(t);
    losses(t);
    creation(t);
    reading(t);
    devices(t);
}

fn g() -> Generator {
    Generator::new(1)
}

/// The dtypes that are no floats.
const WHOLE: [DType; 3] = [DType::I32, DType::U32, DType::Bool];

fn of(dtype: DType, shape: &[usize]) -> Tensor {
    f(shape).cast(dtype)
}

macro_rules! along {
    ($t:ident: $($op:ident),* $(,)?) => {$(
        $t.tensors(concat!(stringify!($op), ", axis"), &AXES, |a| f(&[2, 3]).$op(a));
        $t.tensors(concat!(stringify!($op), " of a scalar, axis"), &[0isize, -1, 1], |a| f(&[]).$op(a));
    )*};
}

macro_rules! over {
    ($t:ident: $($op:ident),* $(,)?) => {$(
        $t.tensors(concat!(stringify!($op), ", axes"), &AXES, |a| f(&[2, 3]).$op(a));
        $t.tensors(concat!(stringify!($op), ", two axes"), &[[0isize, 0], [1, -1], [0, 2], [-3, 0]], |a| f(&[2, 3]).$op(a));
    )*};
}

fn axes(t: &mut Table) {
    over!(t: sum_dim, prod_dim, max_dim, min_dim, mean_dim, any_dim, all_dim, count_nonzero_dim, logsumexp_dim, var_dim, std_dim);
    over!(t: sum_keepdim, prod_keepdim, max_keepdim, min_keepdim, mean_keepdim, any_keepdim, all_keepdim);
    over!(t: count_nonzero_keepdim, logsumexp_keepdim, var_keepdim, std_keepdim, flip);
    along!(t: softmax, log_softmax, cumsum, cumprod, argmax_dim, argmin_dim, argmax_keepdim, argmin_keepdim, squeeze);
    t.tensors("unsqueeze", &AXES, |a| f(&[2, 3]).unsqueeze(a));
    t.tensors("sort", &AXES, |a| f(&[2, 3]).sort(a, true).0);
    t.tensors("argsort", &AXES, |a| f(&[2, 3]).argsort(a, false));
    t.tensors("topk, axis", &AXES, |a| f(&[2, 3]).topk(1, a).0);
    t.tensors("categorical", &AXES, |a| f(&[2, 3]).categorical(a, &g()));
    t.tensors("select, axis", &AXES, |a| f(&[2, 3]).select(a, 0));
    t.tensors("select, index", &[3isize, -4, isize::MIN, isize::MAX], |a| f(&[2, 3]).select(1, a));
    t.tensors("narrow, axis", &AXES, |a| f(&[2, 3]).narrow(a, 0, 1));
    t.tensors("narrow, start", &[4isize, -4, isize::MIN, isize::MAX], |a| f(&[2, 3]).narrow(1, a, 1));
    t.tensors("slice, axis", &AXES, |a| f(&[2, 3]).slice(a, 0, 1));
    t.tensors("slice, range", &[(2isize, 1isize), (0, 4), (-4, 1), (isize::MIN, isize::MAX)], |(a, z)| f(&[3]).slice(0, a, z));
    t.tensors("slice_step, axis", &AXES, |a| f(&[2, 3]).slice_step(a, 0, 1, 1));
    t.tensors("slice_step, step", &[0isize, -1, isize::MIN], |a| f(&[2, 3]).slice_step(1, 0, 3, a));
    t.tensors("unflatten, axis", &AXES, |a| f(&[2, 3]).unflatten(a, &[1, 3]));
    t.tensors("roll", &AXES, |a| f(&[2, 3]).roll(1, a));
    t.tensors("cat, axis", &AXES, |a| Tensor::cat(&[&f(&[2]), &f(&[2])], a));
    t.tensors("stack, axis", &AXES, |a| Tensor::stack(&[&f(&[2]), &f(&[2])], a));
    t.tensors("transpose, first", &AXES, |a| f(&[2, 3]).transpose(a, 0));
    t.tensors("transpose, second", &AXES, |a| f(&[2, 3]).transpose(0, a));
    t.tensors("flatten, first", &AXES, |a| f(&[2, 3]).flatten(a, 1));
    t.tensors("flatten, last", &AXES, |a| f(&[2, 3]).flatten(0, a));
    t.tensors("gather, axis", &AXES, |a| f(&[2, 3]).gather(a, &i(&[0]).reshape([1, 1])));
    t.tensors("scatter, axis", &AXES, |a| f(&[2, 3]).scatter(a, &i(&[0]).reshape([1, 1]), &f(&[1, 1])));
    t.tensors("scatter_add, axis", &AXES, |a| f(&[2, 3]).scatter_add(a, &i(&[0]).reshape([1, 1]), &f(&[1, 1])));
    t.tensors("index_select, axis", &AXES, |a| f(&[2, 3]).index_select(a, &i(&[0])));
    t.tensors("index_add, axis", &AXES, |a| f(&[2, 3]).index_add(a, &i(&[0]), &f(&[1, 3])));
    t.tensors("norm_dim, axis", &AXES, |a| f(&[2, 3]).norm_dim(2.0, a));
    t.tensors("norm_keepdim, axis", &AXES, |a| f(&[2, 3]).norm_keepdim(2.0, a));
    t.tensors("normalize, axis", &AXES, |a| f(&[2, 3]).normalize(2.0, a));
    t.tensors("cosine_similarity, axis", &AXES, |a| f(&[2, 3]).cosine_similarity(&f(&[2, 3]), a, 1e-8));
    t.tensors("var_with, axis", &AXES, |a| f(&[2, 3]).var_with(a, VarOptions::default()));
    t.tensors("std_with, axis", &AXES, |a| f(&[2, 3]).std_with(a, VarOptions::default()));
    t.each("chunk, axis", &AXES, |a| f(&[2, 3]).chunk(2, a).map(drop));
    t.each("split, axis", &AXES, |a| f(&[2, 3]).split(a, &[1, 2]).map(drop));
    t.each("dim", &AXES, |a| f(&[2, 3]).dim(a).map(drop));
    t.tensors("permute", &[vec![0usize], vec![0, 0], vec![0, 2], vec![usize::MAX, 0], vec![], vec![0, 1, 2]], |o| {
        f(&[2, 3]).permute(&o)
    });
    t.tensors("standardize, axes", &[vec![2usize], vec![0, 0], vec![usize::MAX]], |a| f(&[2, 3]).standardize(&a, 1e-5).0);
}

macro_rules! floats {
    ($t:ident: $($op:ident($($a:expr),*)),* $(,)?) => {$(
        $t.tensors(concat!(stringify!($op), ", dtype"), &WHOLE, |d| of(d, &[2, 3]).$op($($a),*));
    )*};
}

macro_rules! pairs {
    ($t:ident: $($op:ident),* $(,)?) => {$(
        $t.tensors(concat!(stringify!($op), ", dtypes"), &WHOLE, |d| f(&[2, 3]).$op(&of(d, &[2, 3])));
        $t.tensors(concat!(stringify!($op), ", the first dtype"), &WHOLE, |d| of(d, &[2, 3]).$op(&f(&[2, 3])));
        $t.tensors(concat!(stringify!($op), ", shapes"), &[vec![2usize], vec![4], vec![3, 2], vec![2, 2, 2], vec![0]], |s| f(&[2, 3]).$op(&f(&s)));
        $t.tensors(concat!(stringify!($op), ", another device"), &[0], |_| f(&[2, 3]).$op(&far(&[2, 3])));
    )*};
}

fn dtypes(t: &mut Table) {
    floats!(t: exp(), expm1(), log(), log1p(), sqrt(), rsqrt(), reciprocal(), sin(), cos(), tan(), asin(), acos(), atan());
    floats!(t: sinh(), cosh(), tanh(), erf(), sigmoid(), softplus(), gelu(), gelu_tanh(), silu(), mish(), selu(), elu(1.0));
    floats!(t: softsign(), log_sigmoid(), hardsigmoid(), hardswish(), leaky_relu(0.1), softplus_with(1.0, 20.0), powf(0.5));
    floats!(t: dropout(0.5, &g()), softmax(0), log_softmax(0), logsumexp(), var(), std(), mean(), normalize(2.0, 0));
    floats!(t: categorical(1, &g()), norm(2.0), layer_norm([3], None, None, 1e-5), rms_norm([3], None, None));
    floats!(t: matmul_of(), linear_of(), conv_of(), pool_of(), bmm_of(), outer_of(), mse_of(), scaled_of());
    pairs!(t: add, sub, mul, div, pow, maximum, minimum, atan2, rem, eq, ne, lt, le, gt, ge);
    t.tensors("logical_and, dtype", &[DType::F32, DType::I32, DType::U32], |d| of(d, &[2]).logical_and(&b(&[2])));
    t.tensors("logical_or, dtype", &[DType::F32, DType::I32, DType::U32], |d| b(&[2]).logical_or(&of(d, &[2])));
    t.tensors("logical_xor, dtype", &[DType::F32, DType::I32, DType::U32], |d| of(d, &[2]).logical_xor(&b(&[2])));
    t.tensors("logical_not, dtype", &[DType::F32, DType::I32, DType::U32], |d| of(d, &[2]).logical_not());
    t.tensors("where_, condition", &[DType::F32, DType::I32, DType::U32], |d| of(d, &[2]).where_(&f(&[2]), &f(&[2])));
    t.tensors("where_, branches", &WHOLE, |d| b(&[2]).where_(&f(&[2]), &of(d, &[2])));
    t.tensors("masked_fill, mask", &[DType::F32, DType::I32, DType::U32], |d| f(&[2]).masked_fill(&of(d, &[2]), 0.0));
    t.each("masked_select, mask", &[DType::F32, DType::I32, DType::U32], |d| f(&[2]).masked_select(&of(d, &[2])).map(drop));
    t.tensors("lerp, dtype", &WHOLE, |d| f(&[2]).lerp(&of(d, &[2]), 0.5));
    t.tensors("cat, dtypes", &WHOLE, |d| Tensor::cat(&[f(&[2]), of(d, &[2])], 0));
    t.tensors("stack, dtypes", &WHOLE, |d| Tensor::stack(&[f(&[2]), of(d, &[2])], 0));
    for_indices(t);
}

/// Ops of two operands as methods of one, for the rows above.
trait OfTwo {
    fn matmul_of(&self) -> Tensor;
    fn bmm_of(&self) -> Tensor;
    fn outer_of(&self) -> Tensor;
    fn linear_of(&self) -> Tensor;
    fn conv_of(&self) -> Tensor;
    fn pool_of(&self) -> Tensor;
    fn mse_of(&self) -> Tensor;
    fn scaled_of(&self) -> Tensor;
}

impl OfTwo for Tensor {
    #[track_caller]
    fn matmul_of(&self) -> Tensor {
        self.matmul(&self.t())
    }
    #[track_caller]
    fn bmm_of(&self) -> Tensor {
        let x = self.unsqueeze(0);
        x.bmm(&x.transpose(1, 2))
    }
    #[track_caller]
    fn outer_of(&self) -> Tensor {
        let x = self.flatten(0, 1);
        x.outer(&f(&[2]))
    }
    #[track_caller]
    fn linear_of(&self) -> Tensor {
        self.linear(self, None)
    }
    #[track_caller]
    fn conv_of(&self) -> Tensor {
        let x = self.reshape([1, 1, 2, 3]);
        x.conv2d(&x, None, ConvOptions::default())
    }
    #[track_caller]
    fn pool_of(&self) -> Tensor {
        self.reshape([1, 1, 2, 3]).avg_pool2d(2)
    }
    #[track_caller]
    fn mse_of(&self) -> Tensor {
        self.mse(&f(&[2, 3]))
    }
    #[track_caller]
    fn scaled_of(&self) -> Tensor {
        self.scaled_dot_product_attention(self, self, &AttentionOptions::default())
    }
}

fn for_indices(t: &mut Table) {
    const NONE: [DType; 3] = [DType::F32, DType::F16, DType::Bool];
    t.tensors("gather_rows, dtype", &NONE, |d| f(&[2, 3]).gather_rows(&of(d, &[2])));
    t.tensors("scatter_add_rows, dtype", &NONE, |d| f(&[2, 3]).scatter_add_rows(4, &of(d, &[2])));
    t.tensors("cross_entropy_rows, dtype", &NONE, |d| f(&[2, 3]).cross_entropy_rows(&of(d, &[2])));
    t.tensors("gather, dtype", &NONE, |d| f(&[2, 3]).gather(0, &of(d, &[1, 1])));
    t.tensors("scatter, dtype", &NONE, |d| f(&[2, 3]).scatter(0, &of(d, &[1, 1]), &f(&[1, 1])));
    t.tensors("scatter_add, dtype", &NONE, |d| f(&[2, 3]).scatter_add(0, &of(d, &[1, 1]), &f(&[1, 1])));
    t.tensors("index_select, dtype", &NONE, |d| f(&[2, 3]).index_select(0, &of(d, &[2])));
    t.tensors("index_add, dtype", &NONE, |d| f(&[2, 3]).index_add(0, &of(d, &[2]), &f(&[2, 3])));
    t.tensors("one_hot, dtype", &NONE, |d| of(d, &[2]).one_hot(3));
    t.tensors("embedding, dtype", &NONE, |d| f(&[2, 3]).embedding(&of(d, &[2]), None));
    const OUTSIDE: [i32; 4] = [2, -1, i32::MAX, i32::MIN];
    t.each("gather_rows, index", &OUTSIDE, |n| f(&[2, 3]).gather_rows(&i(&[0, n])).eval());
    t.each("scatter_add_rows, index", &OUTSIDE, |n| f(&[2, 3]).scatter_add_rows(2, &i(&[0, n])).eval());
    t.each("cross_entropy_rows, label", &OUTSIDE, |n| f(&[2, 2]).cross_entropy_rows(&i(&[0, n])).eval());
    t.each("gather, index", &OUTSIDE, |n| f(&[2, 3]).gather(0, &i(&[n]).reshape([1, 1])).eval());
    t.each("scatter, index", &OUTSIDE, |n| f(&[2, 3]).scatter(0, &i(&[n]).reshape([1, 1]), &f(&[1, 1])).eval());
    t.each("scatter_add, index", &OUTSIDE, |n| f(&[2, 3]).scatter_add(0, &i(&[n]).reshape([1, 1]), &f(&[1, 1])).eval());
    t.each("index_select, index", &OUTSIDE, |n| f(&[2, 3]).index_select(0, &i(&[n])).eval());
    t.each("index_add, index", &OUTSIDE, |n| f(&[2, 3]).index_add(0, &i(&[n]), &f(&[1, 3])).eval());
    t.each("embedding, index", &OUTSIDE, |n| f(&[2, 3]).embedding(&i(&[n]), None).eval());
    t.each("one_hot, index", &OUTSIDE, |n| i(&[n]).one_hot(2).eval());
}

fn shapes(t: &mut Table) {
    let no: [Vec<usize>; 6] = [vec![], vec![3], vec![5, 2], vec![2, 3, 4], vec![0, 2], vec![1; 8]];
    t.tensors("matmul, right", &no, |s| f(&[2, 6]).matmul(&f(&s)));
    t.tensors("matmul, left", &no, |s| f(&s).matmul(&f(&[7, 2])));
    t.tensors("bmm, right", &no, |s| f(&[3, 2, 6]).bmm(&f(&s)));
    t.tensors("bmm, left", &no, |s| f(&s).bmm(&f(&[3, 7, 2])));
    t.tensors("dot", &[vec![], vec![3usize], vec![2, 2], vec![0]], |s| f(&[2]).dot(&f(&s)));
    t.tensors("outer", &[vec![], vec![2usize, 2], vec![1, 1, 1]], |s| f(&[2]).outer(&f(&s)));
    t.tensors("linear, weight", &no, |s| f(&[2, 7]).linear(&f(&s), None));
    t.tensors("linear, bias", &no, |s| f(&[2, 7]).linear(&f(&[4, 7]), Some(&f(&s))));
    t.tensors("reshape", &[vec![4usize], vec![], vec![0], vec![7, 1], vec![usize::MAX, 2], vec![1; 9], vec![6; 8]], |s| {
        f(&[2, 3]).reshape(s)
    });
    t.tensors("expand", &[vec![3usize], vec![], vec![2, 4], vec![4, 3], vec![1; 9], vec![usize::MAX; 3], vec![0, 3]], |s| {
        f(&[2, 3]).expand(s)
    });
    t.tensors("unflatten, sizes", &[vec![2usize, 2], vec![], vec![0], vec![usize::MAX, 3], vec![1; 9]], |s| {
        f(&[2, 3]).unflatten(1, &s)
    });
    t.tensors("repeat", &[vec![1usize], vec![], vec![usize::MAX, 1], vec![usize::MAX / 2, 3]], |s| f(&[2, 3]).repeat(&s));
    t.tensors(
        "pad, pairs",
        &[vec![], vec![(1usize, 1usize)], vec![(usize::MAX, 1), (0, 0)], vec![(0, 0), (1, usize::MAX)]],
        |p| f(&[2, 3]).pad(&p),
    );
    t.tensors("pad_with reflection", &[vec![(2usize, 0usize), (0, 0)], vec![(0, 0), (0, 3)], vec![]], |p| {
        f(&[2, 3]).pad_with(&p, PadMode::Reflect)
    });
    t.tensors("pad_with edges", &[vec![(usize::MAX, 0usize), (0, 0)], vec![(0, 0)]], |p| {
        f(&[2, 3]).pad_with(&p, PadMode::Replicate)
    });
    t.tensors("pad_with edges of nothing", &[1usize, usize::MAX], |n| f(&[0]).pad_with(&[(n, 0)], PadMode::Replicate));
    t.tensors("pad_same", &[vec![3usize, 3, 3], vec![usize::MAX, 3]], |k| {
        f(&[1, 1, 4, 4]).pad_same(&k, &vec![usize::MAX; k.len()])
    });
    t.tensors("cat, shapes", &[vec![3usize], vec![2, 3], vec![3, 3, 1], vec![]], |s| Tensor::cat(&[f(&[2, 2]), f(&s)], 0));
    t.tensors("stack, shapes", &no, |s| Tensor::stack(&[f(&[2, 2]), f(&s)], 0));
    t.each("split, sizes", &[vec![1usize, 1], vec![], vec![4], vec![usize::MAX, 4], vec![3, usize::MAX]], |s| {
        f(&[3]).split(0, &s).map(drop)
    });
    t.each("chunk, count", &[0usize], |n| f(&[3]).chunk(n, 0).map(drop));
    t.tensors("where_, shapes", &[vec![3usize], vec![2, 2, 3]], |s| b(&[2, 4]).where_(&f(&s), &f(&s)));
    t.tensors("masked_fill, shape", &[vec![3usize], vec![2, 2, 3]], |s| f(&[2, 4]).masked_fill(&b(&s), 1.0));
    t.each("masked_select, shape", &[vec![3usize], vec![2, 2, 3]], |s| f(&[2, 4]).masked_select(&b(&s)).map(drop));
    t.tensors("diag", &[vec![], vec![2usize, 2, 2]], |s| f(&s).diag(0));
    t.tensors("tril", &[vec![], vec![3usize]], |s| f(&s).tril(0));
    t.tensors("triu", &[vec![], vec![3usize]], |s| f(&s).triu(0));
    t.tensors("t", &[vec![], vec![3usize]], |s| f(&s).t());
    t.tensors("layer_norm, shape", &[vec![2usize], vec![3, 2], vec![2, 2, 3], vec![0]], |s| {
        f(&[2, 3]).layer_norm(s, None, None, 1e-5)
    });
    t.tensors("layer_norm, weight", &no, |s| f(&[2, 4]).layer_norm([4], Some(&f(&s)), None, 1e-5));
    t.tensors("layer_norm, bias", &no, |s| f(&[2, 4]).layer_norm([4], None, Some(&f(&s)), 1e-5));
    t.tensors("rms_norm, weight", &no, |s| f(&[2, 4]).rms_norm([4], Some(&f(&s)), None));
    t.tensors("group_norm, weight", &no, |s| f(&[2, 4, 2]).group_norm(2, Some(&f(&s)), None, 1e-5));
    t.tensors("group_norm, groups", &[0usize, 3, 5, usize::MAX], |n| f(&[2, 4, 2]).group_norm(n, None, None, 1e-5));
    t.tensors("instance_norm, weight", &no, |s| f(&[2, 4, 2]).instance_norm(Some(&f(&s)), None, 1e-5));
    t.tensors("batch_norm, weight", &no, |s| f(&[2, 4]).batch_norm(Some(&f(&s)), None, 1e-5).0);
    t.tensors("batch_norm_with, mean", &no, |s| f(&[2, 4]).batch_norm_with(&f(&s), &f(&[4]), None, None, 1e-5));
    t.tensors("batch_norm_with, variance", &no, |s| f(&[2, 4]).batch_norm_with(&f(&[4]), &f(&s), None, None, 1e-5));
    t.tensors("attention, key", &no, |s| {
        f(&[2, 5, 4]).scaled_dot_product_attention(&f(&s), &f(&[2, 5, 4]), &AttentionOptions::default())
    });
    t.tensors("attention, value", &no[..2], |s| {
        f(&[2, 5, 4]).scaled_dot_product_attention(&f(&[2, 5, 4]), &f(&s), &AttentionOptions::default())
    });
    t.tensors("attention, mask", &[vec![3usize, 3], vec![2, 5], vec![2, 2, 5, 5]], |s| {
        let options = AttentionOptions { mask: Some(b(&s)), ..AttentionOptions::default() };
        f(&[2, 5, 4]).scaled_dot_product_attention(&f(&[2, 5, 4]), &f(&[2, 5, 4]), &options)
    });
    t.tensors("gather_rows, shape", &[vec![], vec![3usize], vec![2, 2, 2]], |s| f(&s).gather_rows(&i(&[0])));
    t.tensors("embedding, shape", &[vec![], vec![3usize], vec![2, 2, 2]], |s| f(&s).embedding(&i(&[0]), None));
    t.tensors("embedding, padding", &[2usize, 3, usize::MAX], |n| f(&[2, 2]).embedding(&i(&[0]), Some(n)));
    t.tensors("index_add, source", &[vec![], vec![3usize], vec![2, 3], vec![1, 2]], |s| {
        f(&[2, 3]).index_add(0, &i(&[0]), &f(&s))
    });
    t.tensors("gather, index's shape", &[vec![], vec![1usize], vec![1, 4], vec![1, 1, 1]], |s| {
        f(&[2, 3]).gather(0, &of(DType::I32, &s))
    });
    t.tensors("scatter, index's shape", &[vec![], vec![1usize], vec![1, 4]], |s| {
        f(&[2, 3]).scatter(0, &of(DType::I32, &s), &f(&s))
    });
    t.tensors("scatter, source's shape", &[vec![], vec![1usize]], |s| f(&[2, 3]).scatter(0, &i(&[0]).reshape([1, 1]), &f(&s)));
    t.tensors("cross_entropy_rows, shape", &[vec![], vec![3usize], vec![2, 2, 2], vec![2, 0]], |s| {
        f(&s).cross_entropy_rows(&i(&[0, 0]))
    });
    t.tensors("lerp, shape", &[vec![3usize], vec![2, 2]], |s| f(&[4]).lerp(&f(&s), 0.5));
    t.tensors("cosine_similarity, shape", &[vec![3usize], vec![2, 5]], |s| f(&[2, 4]).cosine_similarity(&f(&s), 1, 1e-8));
    let specs = [
        "",
        "i",
        "ij,jk",
        "i->",
        "ii->ij",
        "ij->ijj",
        "ij->k",
        "i,j->ij",
        "ij,ij,ij->i",
        "->",
        "ij->i->j",
        "...",
        "1->1",
        "i j",
        "ij->…",
    ];
    t.tensors("einsum", &specs[..], |spec| Tensor::einsum(if spec == "..." { ".." } else { spec }, &[f(&[2, 3]), f(&[2])]));
}

fn sizes(t: &mut Table) {
    t.tensors("expand, size", &HUGE, |n| f(&[1, 1]).expand([n, 4]));
    t.tensors("repeat, size", &HUGE, |n| f(&[2, 4]).repeat(&[n, 2]));
    t.tensors("reshape, size", &HUGE, |n| f(&[2, 3]).reshape([n, 2]));
    t.tensors("narrow, length", &HUGE, |n| f(&[3]).narrow(0, 1, n));
    t.tensors("pad, size", &HUGE, |n| f(&[3]).pad(&[(n, n)]));
    t.tensors("topk, size", &HUGE, |n| f(&[3]).topk(n, 0).0);
    t.tensors("one_hot, size", &HUGE, |n| i(&[0, 1]).reshape([2, 1]).expand([2, 8]).one_hot(n));
    t.tensors("scatter_add_rows, size", &HUGE, |n| f(&[1, 8]).scatter_add_rows(n, &i(&[0])));
    t.tensors("group_norm, size", &HUGE, |n| f(&[2, 4, 2]).group_norm(n, None, None, 1e-5));
    t.tensors("interpolate", &HUGE, |n| f(&[1, 1, 2, 2]).interpolate(&[n, 2], Interpolation::Nearest));
    t.tensors("interpolate, linear", &HUGE, |n| f(&[1, 1, 2, 2]).interpolate(&[2, n], Interpolation::Linear));
    t.tensors("affine_grid", &HUGE, |n| f(&[1, 2, 3]).affine_grid([n, 4], GridOptions::default()));
    t.tensors("unfold", &HUGE, |n| f(&[1, 1, 4, 4]).unfold([n, 2], FoldOptions::default()));
    t.tensors("fold", &HUGE, |n| f(&[1, 4, 9]).fold([4, n], 2, FoldOptions::default()));
    t.tensors("adaptive_avg_pool2d", &HUGE, |n| f(&[1, 2, 4, 4]).adaptive_avg_pool2d([n, 4]));
    t.tensors("adaptive_max_pool2d", &HUGE, |n| f(&[1, 2, 4, 4]).adaptive_max_pool2d([4, n]));
    t.tensors("diag, offset", &[isize::MIN, isize::MAX, isize::MAX / 2], |k| f(&[3]).diag(k));
}

fn numbers(t: &mut Table) {
    t.tensors("dropout", &IMPROBABLE, |p| f(&[2]).dropout(p, &g()));
    t.tensors("clamp", &[(2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN)], |(low, high)| f(&[2]).clamp(low, high));
    t.tensors("hardtanh", &[(2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN)], |(low, high)| f(&[2]).hardtanh(low, high));
    t.tensors("norm", &[-1.0, f64::NAN, f64::NEG_INFINITY], |p| f(&[2]).norm(p));
    t.tensors("norm_dim", &[-1.0, f64::NAN, f64::NEG_INFINITY], |p| f(&[2]).norm_dim(p, 0));
    t.tensors("normalize", &[-1.0, f64::NAN, f64::NEG_INFINITY], |p| f(&[2]).normalize(p, 0));
    t.tensors("attention, dropout", &IMPROBABLE, |p| {
        let options = AttentionOptions { dropout: Some((p, g())), ..AttentionOptions::default() };
        f(&[2, 2]).scaled_dot_product_attention(&f(&[2, 2]), &f(&[2, 2]), &options)
    });
    t.tensors("attention, block", &[0usize], |n| {
        let options = AttentionOptions { block: Some(n), ..AttentionOptions::default() };
        f(&[2, 2]).scaled_dot_product_attention(&f(&[2, 2]), &f(&[2, 2]), &options)
    });
}

fn windows(t: &mut Table) {
    let (one, two, three) = (ConvOptions::<1>::default(), ConvOptions::<2>::default(), ConvOptions::<3>::default());
    let _ = (one, two, three);
    const BAD: [usize; 6] = [0, usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 2 + 1, 1 << (usize::BITS - 2)];
    const FAR: [usize; 5] = [usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 2 + 1, 1 << (usize::BITS - 2)];
    macro_rules! convolutions {
        ($($op:ident, $d:literal, $x:expr, $w:expr;)*) => {$(
            t.tensors(concat!(stringify!($op), ", stride"), &[0usize], |n| f(&$x).$op(&f(&$w), None, ConvOptions { stride: [n; $d], ..ConvOptions::default() }));
            t.tensors(concat!(stringify!($op), ", padding"), &FAR, |n| f(&$x).$op(&f(&$w), None, ConvOptions { padding: [n; $d], ..ConvOptions::default() }));
            t.tensors(concat!(stringify!($op), ", dilation"), &BAD, |n| f(&$x).$op(&f(&$w), None, ConvOptions { dilation: [n; $d], ..ConvOptions::default() }));
            t.tensors(concat!(stringify!($op), ", groups"), &BAD, |n| f(&$x).$op(&f(&$w), None, ConvOptions { groups: n, ..ConvOptions::default() }));
            t.tensors(concat!(stringify!($op), ", input"), &[vec![], vec![2usize], vec![1, 3, 4, 4], vec![1; 6]], |s| f(&s).$op(&f(&$w), None, ConvOptions::default()));
            t.tensors(concat!(stringify!($op), ", weight"), &[vec![], vec![2usize], vec![2, 3, 3], vec![2, 3, 1, 1], vec![1; 6]], |s| f(&$x).$op(&f(&s), None, ConvOptions::default()));
            t.tensors(concat!(stringify!($op), ", bias"), &[vec![], vec![3usize], vec![1, 2]], |s| f(&$x).$op(&f(&$w), Some(&f(&s)), ConvOptions::default()));
            t.tensors(concat!(stringify!($op), ", weight's dtype"), &WHOLE, |d| f(&$x).$op(&of(d, &$w), None, ConvOptions::default()));
        )*};
    }
    convolutions! {
        conv1d, 1, [1, 2, 5], [2, 2, 3];
        conv2d, 2, [1, 2, 5, 5], [2, 2, 3, 3];
        conv3d, 3, [1, 2, 5, 5, 5], [2, 2, 3, 3, 3];
    }
    macro_rules! backward {
        ($($op:ident, $d:literal, $x:expr, $w:expr;)*) => {$(
            t.tensors(concat!(stringify!($op), ", stride"), &BAD, |n| f(&$x).$op(&f(&$w), None, ConvTransposeOptions { stride: [n; $d], ..ConvTransposeOptions::default() }));
            t.tensors(concat!(stringify!($op), ", padding"), &FAR, |n| f(&$x).$op(&f(&$w), None, ConvTransposeOptions { padding: [n; $d], ..ConvTransposeOptions::default() }));
            t.tensors(concat!(stringify!($op), ", output padding"), &[1usize, 2, usize::MAX], |n| f(&$x).$op(&f(&$w), None, ConvTransposeOptions { output_padding: [n; $d], ..ConvTransposeOptions::default() }));
            t.tensors(concat!(stringify!($op), ", dilation"), &BAD, |n| f(&$x).$op(&f(&$w), None, ConvTransposeOptions { dilation: [n; $d], ..ConvTransposeOptions::default() }));
            t.tensors(concat!(stringify!($op), ", groups"), &BAD, |n| f(&$x).$op(&f(&$w), None, ConvTransposeOptions { groups: n, ..ConvTransposeOptions::default() }));
            t.tensors(concat!(stringify!($op), ", input"), &[vec![], vec![2usize], vec![1, 3, 4, 4], vec![1; 6]], |s| f(&s).$op(&f(&$w), None, ConvTransposeOptions::default()));
        )*};
    }
    backward! {
        conv_transpose1d, 1, [1, 2, 5], [2, 2, 3];
        conv_transpose2d, 2, [1, 2, 5, 5], [2, 2, 3, 3];
        conv_transpose3d, 3, [1, 2, 5, 5, 5], [2, 2, 3, 3, 3];
    }
    macro_rules! pools {
        ($($op:ident, $with:ident, $d:literal, $x:expr;)*) => {$(
            t.tensors(concat!(stringify!($op), ", kernel"), &BAD, |n| f(&$x).$op([n; $d]));
            t.tensors(concat!(stringify!($with), ", stride"), &[0usize], |n| f(&$x).$with(2, PoolOptions { stride: Some([n; $d]), ..PoolOptions::default() }));
            t.tensors(concat!(stringify!($with), ", padding"), &[2usize, usize::MAX, usize::MAX / 2], |n| f(&$x).$with(2, PoolOptions { padding: [n; $d], ..PoolOptions::default() }));
            t.tensors(concat!(stringify!($with), ", dilation"), &BAD, |n| f(&$x).$with(2, PoolOptions { dilation: [n; $d], ..PoolOptions::default() }));
            t.tensors(concat!(stringify!($op), ", input"), &[vec![], vec![2usize], vec![5, 5], vec![1; 6]], |s| f(&s).$op(1));
            t.tensors(concat!(stringify!($op), ", dtype"), &WHOLE, |d| of(d, &$x).$op(2));
        )*};
    }
    pools! {
        max_pool1d, max_pool1d_with, 1, [1, 2, 5];
        avg_pool1d, avg_pool1d_with, 1, [1, 2, 5];
        max_pool2d, max_pool2d_with, 2, [1, 2, 5, 5];
        avg_pool2d, avg_pool2d_with, 2, [1, 2, 5, 5];
        max_pool3d, max_pool3d_with, 3, [1, 2, 5, 5, 5];
        avg_pool3d, avg_pool3d_with, 3, [1, 2, 5, 5, 5];
    }
    macro_rules! adaptive {
        ($($op:ident, $d:literal, $x:expr;)*) => {$(
            t.tensors(concat!(stringify!($op), ", size"), &HUGE, |n| f(&$x).$op([n; $d]));
            t.tensors(concat!(stringify!($op), ", input"), &[vec![], vec![2usize], vec![5, 5], vec![1; 6]], |s| f(&s).$op(1));
        )*};
    }
    adaptive! {
        adaptive_avg_pool1d, 1, [1, 2, 5];
        adaptive_max_pool1d, 1, [1, 2, 5];
        adaptive_avg_pool3d, 3, [1, 2, 5, 5, 5];
        adaptive_max_pool3d, 3, [1, 2, 5, 5, 5];
    }
    let no: [Vec<usize>; 4] = [vec![], vec![2], vec![1, 2, 3], vec![1; 6]];
    t.tensors("unfold, input", &no, |s| f(&s).unfold(2, FoldOptions::default()));
    t.tensors("fold, input", &[vec![], vec![2usize], vec![1, 3, 9], vec![1, 4, 8]], |s| {
        f(&s).fold([4, 4], 2, FoldOptions::default())
    });
    t.tensors("unfold, stride", &[0usize], |n| {
        f(&[1, 1, 4, 4]).unfold(2, FoldOptions { stride: [n; 2], ..FoldOptions::default() })
    });
    t.tensors("unfold, dilation", &BAD, |n| {
        f(&[1, 1, 4, 4]).unfold(2, FoldOptions { dilation: [n; 2], ..FoldOptions::default() })
    });
    t.tensors("fold, padding", &FAR, |n| {
        f(&[1, 4, 9]).fold([4, 4], 2, FoldOptions { padding: [n; 2], ..FoldOptions::default() })
    });
    t.tensors("interpolate, input", &[vec![], vec![2usize], vec![1, 2, 3]], |s| {
        f(&s).interpolate(&[2, 2], Interpolation::Nearest)
    });
    t.tensors("interpolate, sizes", &[vec![], vec![1usize], vec![2, 2, 2]], |s| {
        f(&[1, 1, 2, 2]).interpolate(&s, Interpolation::Nearest)
    });
    t.tensors("grid_sample, input", &no, |s| f(&s).grid_sample(&f(&[1, 2, 2, 2]), GridOptions::default()));
    t.tensors("grid_sample, grid", &no, |s| f(&[1, 1, 2, 2]).grid_sample(&f(&s), GridOptions::default()));
    t.tensors("affine_grid, maps", &[vec![], vec![2usize], vec![1, 3, 3]], |s| f(&s).affine_grid([2, 2], GridOptions::default()));
    t.tensors("global_avg_pool", &[vec![], vec![2usize], vec![2, 2]], |s| f(&s).global_avg_pool());
    t.tensors("global_max_pool", &[vec![], vec![2usize], vec![2, 2]], |s| f(&s).global_max_pool());
}

fn losses(t: &mut Table) {
    use Reduction::Mean;
    let no: [Vec<usize>; 4] = [vec![3], vec![4, 2], vec![3, 2, 5], vec![0]];
    t.each("mse", &no, |s| loss::mse(&f(&[2, 4]), &f(&s), Mean)?.check());
    t.each("l1", &no, |s| loss::l1(&f(&[2, 4]), &f(&s), Mean)?.check());
    t.each("huber", &no, |s| loss::huber(&f(&[2, 4]), &f(&s), 1.0, Mean)?.check());
    t.each("smooth_l1", &no, |s| loss::smooth_l1(&f(&[2, 4]), &f(&s), 1.0, Mean)?.check());
    t.each("kl_div", &no, |s| loss::kl_div(&f(&[2, 4]), &f(&s), Mean)?.check());
    t.each("kl_div_with", &no, |s| loss::kl_div_with(&f(&[2, 4]), &f(&s), KlDivOptions::default())?.check());
    t.each("hinge", &no, |s| loss::hinge(&f(&[2, 4]), &f(&s), Mean)?.check());
    t.each("hinge_embedding", &no, |s| loss::hinge_embedding(&f(&[2, 4]), &f(&s), 1.0, Mean)?.check());
    t.each("binary_cross_entropy", &no, |s| loss::binary_cross_entropy(&f(&[2, 4]), &f(&s), Mean)?.check());
    t.each("focal", &no, |s| loss::focal(&f(&[2, 4]), &f(&s), None, 2.0, Mean)?.check());
    t.each("binary_cross_entropy_with_logits", &no, |s| {
        loss::binary_cross_entropy_with_logits(&f(&[2, 4]), &f(&s), None, Mean)?.check()
    });
    t.each("binary_cross_entropy_with_logits, weight", &no, |s| {
        loss::binary_cross_entropy_with_logits(&f(&[2, 4]), &f(&[2, 4]), Some(&f(&s)), Mean)?.check()
    });
    t.each("margin_ranking", &no, |s| loss::margin_ranking(&f(&[2, 4]), &f(&s), &f(&[2, 4]), 0.0, Mean)?.check());
    t.each("margin_ranking, target", &no, |s| loss::margin_ranking(&f(&[2, 4]), &f(&[2, 4]), &f(&s), 0.0, Mean)?.check());
    t.each("cosine_embedding", &no, |s| loss::cosine_embedding(&f(&[2, 4]), &f(&s), &f(&[2]), 0.0, Mean)?.check());
    t.each("cosine_embedding, target", &no, |s| loss::cosine_embedding(&f(&[2, 4]), &f(&[2, 4]), &f(&s), 0.0, Mean)?.check());
    t.each("triplet_margin", &no, |s| loss::triplet_margin(&f(&[2, 4]), &f(&s), &f(&[2, 4]), TripletOptions::default())?.check());
    t.each("triplet_margin, negative", &no, |s| {
        loss::triplet_margin(&f(&[2, 4]), &f(&[2, 4]), &f(&s), TripletOptions::default())?.check()
    });
    t.each("cross_entropy, labels", &no, |s| loss::cross_entropy(&f(&[2, 4]), &of(DType::I32, &s), Mean)?.check());
    t.each("cross_entropy, logits", &[vec![], vec![2usize], vec![2, 0]], |s| {
        loss::cross_entropy(&f(&s), &i(&[0, 0]), Mean)?.check()
    });
    t.each("cross_entropy_with, targets", &no, |s| {
        loss::cross_entropy_with(&f(&[2, 4]), &f(&s), &CrossEntropyOptions::default())?.check()
    });
    t.each("cross_entropy_with, weight", &no, |s| {
        let options = CrossEntropyOptions { weight: Some(f(&s)), ..CrossEntropyOptions::default() };
        loss::cross_entropy_with(&f(&[2, 4]), &i(&[0, 1]), &options)?.check()
    });
    t.each("cross_entropy_with, smoothing", &IMPROBABLE, |p| {
        let options = CrossEntropyOptions { label_smoothing: p, ..CrossEntropyOptions::default() };
        loss::cross_entropy_with(&f(&[2, 4]), &i(&[0, 1]), &options)?.check()
    });
    t.each("nll, labels", &no, |s| loss::nll(&f(&[2, 4]), &of(DType::I32, &s), None, None, Mean)?.check());
    t.each("nll, weight", &no, |s| loss::nll(&f(&[2, 4]), &i(&[0, 1]), Some(&f(&s)), None, Mean)?.check());
    t.each("accuracy", &no, |s| loss::accuracy(&f(&[2, 4]), &of(DType::I32, &s))?.check());
    t.each("huber, delta", &[0.0, -1.0, f64::NAN], |d| loss::huber(&f(&[2]), &f(&[2]), d, Mean)?.check());
    t.each("smooth_l1, beta", &[-1.0, f64::NAN], |d| loss::smooth_l1(&f(&[2]), &f(&[2]), d, Mean)?.check());
    t.each("focal, alpha", &IMPROBABLE, |a| loss::focal(&f(&[2]), &f(&[2]), Some(a), 2.0, Mean)?.check());
    t.each("focal, gamma", &[-1.0, f64::NAN], |g| loss::focal(&f(&[2]), &f(&[2]), None, g, Mean)?.check());
    t.each("triplet_margin, p", &[-1.0, 0.0, f64::NAN], |p| {
        loss::triplet_margin(&f(&[2, 2]), &f(&[2, 2]), &f(&[2, 2]), TripletOptions { p, ..TripletOptions::default() })?.check()
    });
    t.each("triplet_margin, margin", &[-1.0, f64::NAN], |margin| {
        loss::triplet_margin(&f(&[2, 2]), &f(&[2, 2]), &f(&[2, 2]), TripletOptions { margin, ..TripletOptions::default() })?
            .check()
    });
    t.each("ctc, times", &[vec![], vec![4usize], vec![1, 1], vec![usize::MAX]], |n| {
        loss::ctc(&f(&[3, 1, 4]), &i(&[1, 2]).reshape([1, 2]), &n, &[2], CtcOptions::default())?.check()
    });
    t.each("ctc, counts", &[vec![], vec![3usize], vec![1, 1], vec![usize::MAX]], |n| {
        loss::ctc(&f(&[3, 1, 4]), &i(&[1, 2]).reshape([1, 2]), &[3], &n, CtcOptions::default())?.check()
    });
    t.each("ctc, blank", &[4usize, usize::MAX], |blank| {
        let options = CtcOptions { blank, ..CtcOptions::default() };
        loss::ctc(&f(&[3, 1, 4]), &i(&[1, 2]).reshape([1, 2]), &[3], &[2], options)?.check()
    });
    t.each("ctc, shape", &[vec![], vec![3usize, 4], vec![3, 2, 4]], |s| {
        loss::ctc(&f(&s), &i(&[1, 2]).reshape([1, 2]), &[3], &[2], CtcOptions::default())?.check()
    });
}

fn creation(t: &mut Table) {
    let no: [Vec<usize>; 4] = [vec![usize::MAX, 2], vec![1; 9], vec![usize::MAX / 2, 3], vec![1 << (usize::BITS - 1), 2]];
    t.each("zeros", &no, |s| Tensor::zeros(s, device()).map(drop));
    t.each("ones", &no, |s| Tensor::ones(s, device()).map(drop));
    t.each("full", &no, |s| Tensor::full(s, 1.0, device()).map(drop));
    t.each("full_of", &no, |s| Tensor::full_of(s, 1.0, DType::I32, device()).map(drop));
    t.each("rand", &no, |s| Tensor::rand(s, &g(), device()).map(drop));
    t.each("randn", &no, |s| Tensor::randn(s, &g(), device()).map(drop));
    t.each("uniform", &no, |s| Tensor::uniform(s, 0.0, 1.0, &g(), device()).map(drop));
    t.each("normal", &no, |s| Tensor::normal(s, 0.0, 1.0, &g(), device()).map(drop));
    t.each("bernoulli", &no, |s| Tensor::bernoulli(s, 0.5, &g(), device()).map(drop));
    t.each("randint", &no, |s| Tensor::randint(s, 0, 2, &g(), device()).map(drop));
    t.each("random_bits", &no, |s| Tensor::random_bits(s, &g(), device()).map(drop));
    t.each("from_slice, shape", &no, |s| Tensor::from_slice(&[1.0f32], s, device()).map(drop));
    t.each("from_slice, length", &[vec![], vec![0usize], vec![3], vec![2, 2]], |s| {
        Tensor::from_slice(&[1.0f32, 2.0], s, device()).map(drop)
    });
    t.each("from_host, length", &[vec![], vec![0usize], vec![3]], |s| {
        Tensor::from_host(HostData::I32(vec![1, 2]), DType::I32, s, device()).map(drop)
    });
    t.each("from_host, dtype", &[DType::F32, DType::F16, DType::F64, DType::U8], |d| {
        Tensor::from_host(HostData::I32(vec![1]), d, [1], device()).map(drop)
    });
    t.each("Shape::new", &no, |s| Shape::new(&s).map(drop));
    t.each("bernoulli, probability", &IMPROBABLE, |p| Tensor::bernoulli([2], p, &g(), device()).map(drop));
    t.each("uniform, range", &[(1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)], |(a, z)| {
        Tensor::uniform([2], a, z, &g(), device()).map(drop)
    });
    t.each("normal, deviation", &[-1.0, f64::NAN], |s| Tensor::normal([2], 0.0, s, &g(), device()).map(drop));
    t.each("randint, range", &[(1, 0), (0, 0), (i32::MAX, i32::MIN)], |(a, z)| {
        Tensor::randint([2], a, z, &g(), device()).map(drop)
    });
    t.each(
        "arange",
        &[(0.0, 1.0, 0.0), (0.0, 1.0, f64::NAN), (0.0, f64::INFINITY, 1.0), (0.0, 1.0, 1e-300), (f64::NAN, 1.0, 1.0)],
        |(a, z, s)| Tensor::arange(a, z, s, device()).map(drop),
    );
    t.each("iota", &HUGE, |n| Tensor::iota(n, DType::I32, device())?.eval());
    t.each("eye", &HUGE, |n| Tensor::eye(n, device())?.check());
    t.each("permutation", &HUGE, |n| Tensor::permutation(n, &g(), device()).map(drop));
}

fn reading(t: &mut Table) {
    t.each("item", &[vec![2usize], vec![0], vec![1, 2]], |s| f(&s).item().map(drop));
    t.each("dims", &[vec![], vec![2usize], vec![1, 2, 3]], |s| f(&s).dims::<2>().map(drop));
    t.each("to_vec of i32", &[DType::F32, DType::U32, DType::Bool], |d| of(d, &[2]).to_vec::<i32>().map(drop));
    t.each("to_vec of f32", &[DType::I32, DType::U32], |d| of(d, &[2]).to_vec::<f32>().map(drop));
    t.each("variable", &WHOLE, |d| of(d, &[2]).variable().map(drop));
    t.each("backward, shape", &[vec![2usize], vec![0], vec![1, 2]], |s| f(&s).variable()?.backward().map(drop));
    t.each("backward, nothing", &[0], |_| f(&[]).backward().map(drop));
    t.each("backward_with", &[vec![3usize], vec![], vec![1, 2]], |s| {
        f(&[2]).variable()?.square().backward_with(&f(&s)).map(drop)
    });
    t.each("backward_with, dtype", &WHOLE, |d| f(&[2]).variable()?.square().backward_with(&of(d, &[2])).map(drop));
    t.each("grad", &[0], |_| grad(&f(&[2]).variable()?.sum(), &[&f(&[2])]).map(drop));
    t.each("Gradients::get", &[0], |_| f(&[2]).variable()?.sum().backward()?.get(&f(&[2])).map(drop));
    t.each("clip_by_norm", &[-1.0, f64::NAN], |n| f(&[2]).variable()?.sum().backward()?.clip_by_norm(n).map(drop));
    t.each("clip_by_value", &[-1.0, f64::NAN], |n| f(&[2]).variable()?.sum().backward()?.clip_by_value(n));
}

fn devices(t: &mut Table) {
    t.tensors("matmul, another device", &[0], |_| f(&[2, 2]).matmul(&far(&[2, 2])));
    t.tensors("linear, another device", &[0], |_| f(&[2, 2]).linear(&far(&[2, 2]), None));
    t.tensors("conv2d, another device", &[0], |_| f(&[1, 1, 3, 3]).conv2d(&far(&[1, 1, 2, 2]), None, ConvOptions::default()));
    t.tensors("cat, another device", &[0], |_| Tensor::cat(&[f(&[2]), far(&[2])], 0));
    t.tensors("stack, another device", &[0], |_| Tensor::stack(&[f(&[2]), far(&[2])], 0));
    t.tensors("where_, another device", &[0], |_| b(&[2]).where_(&f(&[2]), &far(&[2])));
    t.tensors("masked_fill, another device", &[0], |_| f(&[2]).masked_fill(&far(&[2]).gt(0.0), 1.0));
    t.tensors("lerp, another device", &[0], |_| f(&[2]).lerp(&far(&[2]), 0.5));
    t.tensors("gather_rows, another device", &[0], |_| f(&[2, 2]).gather_rows(&far(&[2]).cast(DType::I32)));
    t.tensors("gather, another device", &[0], |_| f(&[2, 2]).gather(0, &far(&[1, 1]).cast(DType::I32)));
    t.tensors("scatter, another device", &[0], |_| f(&[2, 2]).scatter(0, &i(&[0]).reshape([1, 1]), &far(&[1, 1])));
    t.tensors("index_select, another device", &[0], |_| f(&[2, 2]).index_select(0, &far(&[2]).cast(DType::I32)));
    t.tensors("embedding, another device", &[0], |_| f(&[2, 2]).embedding(&far(&[2]).cast(DType::I32), None));
    t.tensors("cross_entropy_rows, another device", &[0], |_| f(&[2, 2]).cross_entropy_rows(&far(&[2]).cast(DType::I32)));
    t.tensors("layer_norm, another device", &[0], |_| f(&[2, 2]).layer_norm([2], Some(&far(&[2])), None, 1e-5));
    t.tensors("batch_norm, another device", &[0], |_| f(&[2, 2]).batch_norm(Some(&far(&[2])), None, 1e-5).0);
    t.tensors("attention, another device", &[0], |_| {
        f(&[2, 2]).scaled_dot_product_attention(&far(&[2, 2]), &f(&[2, 2]), &AttentionOptions::default())
    });
    t.tensors("grid_sample, another device", &[0], |_| f(&[1, 1, 2, 2]).grid_sample(&far(&[1, 2, 2, 2]), GridOptions::default()));
    t.tensors("einsum, another device", &[0], |_| Tensor::einsum("i,i->", &[f(&[2]), far(&[2])]));
    t.tensors("mse, another device", &[0], |_| f(&[2]).mse(&far(&[2])));
    t.each("masked_select, another device", &[0], |_| f(&[2]).masked_select(&far(&[2]).gt(0.0)).map(drop));
    t.each("backward_with, another device", &[0], |_| f(&[2]).variable()?.square().backward_with(&far(&[2])).map(drop));
    t.each("eval_all of two devices' wrong call", &[0], |_| {
        Tensor::eval_all(&[f(&[2]), Tensor::ones([2], elsewhere())?.reshape([3])])
    });
}
