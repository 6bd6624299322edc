//! Several ops in one graph: those that are fused into one kernel, and those that end a kernel.

use super::{Sample, operand};
use wgrad::{DType, Tensor, VarOptions};

/// Graphs of two operands, at full size and at a size small enough for finite differences.
pub fn graphs() -> Vec<Sample> {
    let large = graphs_of([4, 6, 10]).into_iter().map(|row| Sample::flat(row).within(1e-5, 1e-5));
    large.chain(graphs_of([2, 2, 5]).into_iter().map(Sample::brief)).collect()
}

type Graph = Box<dyn Fn(&Tensor, &Tensor) -> Tensor + Send + Sync>;

fn graphs_of(shape: [usize; 3]) -> Vec<Sample> {
    let [a, b, c] = shape;
    let operands = || vec![operand(&shape, 0.05, 1.0); 2];
    let graph = |op, what, run: fn(&Tensor, &Tensor) -> Tensor| Sample::new(op, what, operands(), move |x| run(&x[0], &x[1]));
    let sized = |op, what, run: Graph| Sample::new(op, what, operands(), move |x| run(&x[0], &x[1]));
    let (folded, end) = ([c, a * b], c.cast_signed() + 4);
    vec![
        graph("sum", "of a chain", |a, b| (a * b + a.tanh()).sum()),
        graph("mean", "of rows, taken off", |a, _| a - &a.mean_keepdim(-1)),
        graph("var", "over the batch", |a, _| a.var_with([0, 2], VarOptions { correction: 0, keepdim: false })),
        graph("standardize", "of channels", |a, _| a.standardize(&[0, 2], 1e-5).0),
        graph("transpose", "of both factors", |a, b| &a.transpose(0, 2) * &b.transpose(0, 2).exp()),
        sized(
            "pad",
            "flipped and strided",
            Box::new(move |a, b| a.pad(&[(1, 0), (0, 2), (3, 1)]).flip(2).slice_step(2, 0, end, 2) + b.sum()),
        ),
        graph("add", "of a column", |a, b| a + &b.slice(2, 3, 4)),
        graph("cat", "under a sigmoid", |a, b| Tensor::cat(&[a, b], 1).sigmoid()),
        graph("max", "over rows under a softplus", |a, _| a.max_dim(1).softplus()),
        graph("argmax", "as numbers", |a, _| a.argmax_dim(-1).cast(DType::F32)).flat(),
        sized("reshape", "of a permutation", Box::new(move |a, b| a.permute(&[2, 0, 1]).reshape(folded) * b.reshape(folded))),
        graph("log", "of a sum of powers", |a, _| {
            let m = a.max_keepdim(-1);
            (a - &m).exp().sum_keepdim(-1).log() + m
        }),
        graph("where_", "by a comparison", |a, b| a.gt(b).where_(&a.sqrt(), &b.sin())),
        graph("prod", "of a few", |a, _| a.slice(2, 0, 3).prod_dim(2)),
        graph("sum", "and a maximum of one value", |a, b| {
            let x = (a * b).relu();
            x.sum_keepdim(0) * x.max_keepdim(0)
        }),
    ]
}
