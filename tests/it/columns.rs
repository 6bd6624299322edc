//! Columns of the table of ops: what each op promises beyond its values. An op without a row, and a row without its tests, fail.

use crate::host_indices::indexed;
use crate::no_grad::identities;
use crate::numerics::elementwise::{binary_ops, unary_ops};
use crate::samples::kernel_ops;
use crate::table::ops;
use std::collections::BTreeSet;

/// Whether an op can leave its operand as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// It always makes a node of its own.
    Never,
    /// For some shapes or attributes: `no_grad::identities` checks it under `no_grad` there.
    Tested,
}

/// Whether an op takes indices or labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indices {
    None,
    /// Host values are checked through views and casts: `host_indices::indexed` tests that.
    Checked,
}

use Identity::{Never, Tested};
use Indices::{Checked, None as NoIndex};

/// Every op except those with rows elsewhere: elementwise ones, and kernel ops, which take no indices and make nodes of their
/// own.
const COLUMNS: [(&str, Identity, Indices); 155] = [
    ("powf", Tested, NoIndex),
    ("clamp", Tested, NoIndex),
    ("dropout", Tested, NoIndex),
    ("cast", Tested, NoIndex),
    ("detach", Tested, NoIndex),
    ("lerp", Tested, NoIndex),
    ("where_", Tested, NoIndex),
    ("masked_fill", Tested, NoIndex),
    ("gelu", Never, NoIndex),
    ("gelu_tanh", Never, NoIndex),
    ("silu", Never, NoIndex),
    ("mish", Never, NoIndex),
    ("softplus_with", Never, NoIndex),
    ("softsign", Never, NoIndex),
    ("log_sigmoid", Never, NoIndex),
    ("selu", Never, NoIndex),
    ("elu", Never, NoIndex),
    ("relu6", Never, NoIndex),
    ("leaky_relu", Never, NoIndex),
    ("hardtanh", Never, NoIndex),
    ("hardsigmoid", Never, NoIndex),
    ("hardswish", Never, NoIndex),
    ("reshape", Tested, NoIndex),
    ("permute", Tested, NoIndex),
    ("expand", Tested, NoIndex),
    ("slice", Tested, NoIndex),
    ("pad", Tested, NoIndex),
    ("pad_with", Tested, NoIndex),
    ("split", Tested, NoIndex),
    ("chunk", Tested, NoIndex),
    ("repeat", Tested, NoIndex),
    ("roll", Tested, NoIndex),
    ("tril", Tested, NoIndex),
    ("triu", Tested, NoIndex),
    ("diag", Tested, NoIndex),
    ("flip", Tested, NoIndex),
    ("stack", Tested, NoIndex),
    ("cat", Tested, NoIndex),
    ("select", Tested, NoIndex),
    ("narrow", Tested, NoIndex),
    ("unflatten", Tested, NoIndex),
    ("flatten", Tested, NoIndex),
    ("transpose", Tested, NoIndex),
    ("t", Tested, NoIndex),
    ("squeeze", Tested, NoIndex),
    ("unsqueeze", Tested, NoIndex),
    ("slice_step", Tested, NoIndex),
    ("pad_same", Tested, NoIndex),
    ("sum", Tested, NoIndex),
    ("mean", Tested, NoIndex),
    ("prod", Tested, NoIndex),
    ("max", Tested, NoIndex),
    ("min", Tested, NoIndex),
    ("var", Never, NoIndex),
    ("std", Never, NoIndex),
    ("logsumexp", Tested, NoIndex),
    ("norm", Never, NoIndex),
    ("normalize", Never, NoIndex),
    ("standardize", Never, NoIndex),
    ("argmax", Never, NoIndex),
    ("argmin", Never, NoIndex),
    ("any", Never, NoIndex),
    ("all", Never, NoIndex),
    ("count_nonzero", Never, NoIndex),
    ("cumsum", Tested, NoIndex),
    ("cumprod", Tested, NoIndex),
    ("sort", Tested, NoIndex),
    ("topk", Tested, NoIndex),
    ("argsort", Never, NoIndex),
    ("cross_entropy_rows", Never, Checked),
    ("gather_rows", Tested, Checked),
    ("scatter_add_rows", Tested, Checked),
    ("gather", Tested, Checked),
    ("scatter", Tested, Checked),
    ("scatter_add", Tested, Checked),
    ("index_select", Tested, Checked),
    ("index_add", Tested, Checked),
    ("embedding", Tested, Checked),
    ("masked_select", Tested, NoIndex),
    ("one_hot", Never, Checked),
    ("categorical", Never, NoIndex),
    ("matmul", Tested, NoIndex),
    ("bmm", Never, NoIndex),
    ("dot", Never, NoIndex),
    ("outer", Never, NoIndex),
    ("linear", Never, NoIndex),
    ("cosine_similarity", Never, NoIndex),
    ("einsum", Tested, NoIndex),
    ("conv1d", Tested, NoIndex),
    ("conv2d", Tested, NoIndex),
    ("conv_transpose1d", Never, NoIndex),
    ("conv_transpose2d", Never, NoIndex),
    ("avg_pool1d", Tested, NoIndex),
    ("avg_pool2d", Tested, NoIndex),
    ("avg_pool3d", Tested, NoIndex),
    ("adaptive_avg_pool2d", Tested, NoIndex),
    ("unfold", Never, NoIndex),
    ("fold", Never, NoIndex),
    ("affine_grid", Never, NoIndex),
    ("conv3d", Never, NoIndex),
    ("conv_transpose3d", Never, NoIndex),
    ("max_pool1d", Tested, NoIndex),
    ("max_pool2d", Tested, NoIndex),
    ("max_pool3d", Tested, NoIndex),
    ("adaptive_max_pool2d", Tested, NoIndex),
    ("adaptive_avg_pool1d", Tested, NoIndex),
    ("adaptive_max_pool1d", Tested, NoIndex),
    ("adaptive_avg_pool3d", Tested, NoIndex),
    ("adaptive_max_pool3d", Tested, NoIndex),
    ("global_avg_pool", Tested, NoIndex),
    ("global_max_pool", Tested, NoIndex),
    ("interpolate", Tested, NoIndex),
    ("grid_sample", Never, NoIndex),
    ("layer_norm", Never, NoIndex),
    ("rms_norm", Never, NoIndex),
    ("group_norm", Never, NoIndex),
    ("instance_norm", Never, NoIndex),
    ("batch_norm", Never, NoIndex),
    ("batch_norm_with", Tested, NoIndex),
    ("scaled_dot_product_attention", Never, NoIndex),
    ("mse", Never, NoIndex),
    ("kl_div", Never, NoIndex),
    ("binary_cross_entropy", Never, NoIndex),
    ("binary_cross_entropy_with_logits", Never, NoIndex),
    ("focal", Never, NoIndex),
    ("ctc", Never, Checked),
    ("cross_entropy_with", Never, Checked),
    ("l1", Tested, NoIndex),
    ("huber", Never, NoIndex),
    ("smooth_l1", Never, NoIndex),
    ("hinge", Never, NoIndex),
    ("hinge_embedding", Never, NoIndex),
    ("margin_ranking", Never, NoIndex),
    ("cosine_embedding", Never, NoIndex),
    ("triplet_margin", Never, NoIndex),
    ("nll", Never, Checked),
    ("zeros", Never, NoIndex),
    ("ones", Never, NoIndex),
    ("full", Never, NoIndex),
    ("full_of", Never, NoIndex),
    ("zeros_like", Never, NoIndex),
    ("ones_like", Never, NoIndex),
    ("full_like", Never, NoIndex),
    ("scalar", Never, NoIndex),
    ("arange", Never, NoIndex),
    ("iota", Never, NoIndex),
    ("eye", Never, NoIndex),
    ("random_bits", Never, NoIndex),
    ("rand", Never, NoIndex),
    ("randn", Never, NoIndex),
    ("uniform", Never, NoIndex),
    ("normal", Never, NoIndex),
    ("bernoulli", Never, NoIndex),
    ("randint", Never, NoIndex),
    ("permutation", Never, NoIndex),
];

fn columns() -> Vec<(&'static str, Identity, Indices)> {
    let identity = |can| if can { Tested } else { Never };
    let unary = unary_ops().into_iter().map(|op| (op.name, identity(op.identity), NoIndex));
    let binary = binary_ops().into_iter().map(|op| (op.name, identity(op.identity), NoIndex));
    let kernels = kernel_ops().into_iter().map(|op| (op.name, Never, NoIndex));
    unary.chain(binary).chain(kernels).chain(COLUMNS).collect()
}

#[test]
fn every_op_has_its_columns_and_their_tests() {
    let columns = columns();
    let rows: BTreeSet<&str> = columns.iter().map(|c| c.0).collect();
    assert_eq!(rows.len(), columns.len(), "an op is listed twice");
    let table: BTreeSet<&str> = ops().into_keys().collect();
    assert_eq!(rows, table, "left: columns, right: the table of ops");
    let of = |keep: fn(&(&'static str, Identity, Indices)) -> bool| columns.iter().filter(|c| keep(c)).map(|c| c.0).collect();
    let tested: BTreeSet<&str> = of(|c| c.1 == Tested);
    assert_eq!(tested, identities().iter().map(|i| i.op).collect(), "left: columns, right: no_grad::identities");
    let checked: BTreeSet<&str> = of(|c| c.2 == Checked);
    assert_eq!(checked, indexed().iter().map(|i| i.op).collect(), "left: columns, right: host_indices::indexed");
}
