//! The table of ops: one entry per op. Its tests compare the table with the ops that the source declares, and count what each op
//! has: samples, gradient checks, wrong calls, documentation.

use crate::fixtures::Fixture;
use crate::numerics::elementwise::{Mark, Pairs, Takes, binary_ops, unary_ops};
use crate::refusals::wrong_calls;
use crate::samples::{kernel_ops, samples};
use std::collections::BTreeMap;
use std::path::Path;

/// Family, mark, ops.
type Family = (&'static str, Mark, &'static [&'static str]);

/// Every op except those of `tests/rows` and `samples/kernel_ops.rs`.
const FAMILIES: [Family; 33] = [
    ("unary", Mark::Smooth, &["powf"]),
    ("unary", Mark::Once, &["clamp", "dropout"]),
    ("unary", Mark::NoGradient, &["cast", "detach"]),
    ("binary", Mark::Smooth, &["lerp"]),
    ("binary", Mark::Once, &["where_", "masked_fill"]),
    (
        "activation",
        Mark::Smooth,
        &["gelu", "gelu_tanh", "silu", "mish", "softplus_with", "softsign", "log_sigmoid", "selu", "elu"],
    ),
    ("activation", Mark::Once, &["relu6", "leaky_relu", "hardtanh", "hardsigmoid", "hardswish"]),
    ("movement", Mark::Smooth, &["reshape", "permute", "expand", "slice", "pad", "pad_with", "split", "chunk", "repeat", "roll"]),
    ("movement", Mark::Smooth, &["tril", "triu", "diag", "flip", "stack", "cat", "select", "narrow", "unflatten"]),
    ("movement", Mark::Once, &["flatten", "transpose", "t", "squeeze", "unsqueeze", "slice_step", "pad_same"]),
    ("reduction", Mark::Once, &["sum", "mean", "prod", "max", "min", "var"]),
    ("reduction", Mark::Smooth, &["std", "logsumexp", "norm", "normalize", "standardize"]),
    ("reduction", Mark::NoGradient, &["argmax", "argmin", "any", "all", "count_nonzero"]),
    ("scan", Mark::Smooth, &["cumsum"]),
    ("scan", Mark::Once, &["cumprod"]),
    ("order", Mark::Smooth, &["sort", "topk"]),
    ("order", Mark::NoGradient, &["argsort"]),
    ("row", Mark::Smooth, &["cross_entropy_rows", "gather_rows"]),
    ("row", Mark::Once, &["scatter_add_rows"]),
    ("index", Mark::Smooth, &["gather", "scatter", "scatter_add", "index_select", "index_add", "embedding"]),
    ("index", Mark::Once, &["masked_select"]),
    ("index", Mark::NoGradient, &["one_hot", "categorical"]),
    ("product", Mark::Smooth, &["matmul", "bmm", "dot", "outer", "linear", "cosine_similarity", "einsum"]),
    (
        "window",
        Mark::Smooth,
        &["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "avg_pool1d", "avg_pool2d", "avg_pool3d"],
    ),
    ("window", Mark::Smooth, &["adaptive_avg_pool2d", "unfold", "fold", "affine_grid"]),
    ("window", Mark::Once, &["conv3d", "conv_transpose3d", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d"]),
    ("window", Mark::Once, &["adaptive_avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool3d", "adaptive_max_pool3d"]),
    ("window", Mark::Once, &["global_avg_pool", "global_max_pool", "interpolate", "grid_sample"]),
    ("norm", Mark::Smooth, &["layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm", "batch_norm_with"]),
    ("norm", Mark::Smooth, &["scaled_dot_product_attention"]),
    (
        "loss",
        Mark::Smooth,
        &["mse", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits", "focal", "ctc", "cross_entropy_with"],
    ),
    ("loss", Mark::Once, LOSSES_WITH_KINKS),
    ("creation", Mark::NoGradient, CREATION),
];

const LOSSES_WITH_KINKS: &[&str] =
    &["l1", "huber", "smooth_l1", "hinge", "hinge_embedding", "margin_ranking", "cosine_embedding", "triplet_margin", "nll"];

const CREATION: &[&str] = &[
    "zeros",
    "ones",
    "full",
    "full_of",
    "zeros_like",
    "ones_like",
    "full_like",
    "scalar",
    "arange",
    "iota",
    "eye",
    "random_bits",
    "rand",
    "randn",
    "uniform",
    "normal",
    "bernoulli",
    "randint",
    "permutation",
];

/// Public functions that return tensors and are not ops, with the test that covers each.
const NOT_OPS: [(&str, &str); 17] = [
    ("cross_entropy", "the reduced cross_entropy_rows or cross_entropy_with: samples of theirs, fixtures of losses"),
    ("accuracy", "a composition of argmax, eq and mean: fixtures of losses"),
    ("avg_pool1d_with", "most samples of avg_pool1d"),
    ("avg_pool2d_with", "most samples of avg_pool2d"),
    ("avg_pool3d_with", "most samples of avg_pool3d"),
    ("from_host", "every sample uploads with it"),
    ("from_slice", "ops::creation, and every label"),
    ("kl_div_with", "the samples of kl_div of logarithms"),
    ("max_pool1d_with", "most samples of max_pool1d"),
    ("max_pool2d_with", "most samples of max_pool2d"),
    ("max_pool3d_with", "most samples of max_pool3d"),
    ("rand_like", "refusals::draws_like_another_tensor_take_its_shape_device_and_float_dtype"),
    ("randn_like", "refusals::draws_like_another_tensor_take_its_shape_device_and_float_dtype"),
    ("std_with", "most samples of std"),
    ("to_device", "refusals::operands_of_two_devices_are_refused"),
    ("var_with", "most samples of var"),
    ("variable", "every gradient check"),
];

/// Ops with no wrong call, and why.
const NEVER_REFUSED: [(&str, &str); 9] = [
    ("cast", "every dtype becomes every other, except f64 on a GPU"),
    ("detach", "takes every tensor"),
    ("eye", "takes every size that memory holds"),
    ("full_like", "takes every tensor and number"),
    ("iota", "takes every size that memory holds, and every dtype but f64 on a GPU"),
    ("ones_like", "takes every tensor"),
    ("permutation", "refuses only more than i32::MAX numbers"),
    ("scalar", "takes every number"),
    ("zeros_like", "takes every tensor"),
];

/// Ops whose cases in PyTorch's fixtures start with something other than their name and a dot.
const IN_FIXTURES_AS: [(&str, &str); 9] = [
    ("cross_entropy_rows", "cross_entropy."),
    ("gelu_tanh", "gelu.random_tanh gelu.wide_tanh"),
    ("log_sigmoid", "logsigmoid."),
    ("pad_with", "shape pad."),
    ("powf", "pow.negative_base pow.half"),
    ("rem", "remainder."),
    ("scaled_dot_product_attention", "attention."),
    ("slice_step", "core slice."),
    ("where_", "where."),
];

/// Why an op has no fixture made by PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoFixture {
    /// Draws at random, and PyTorch's draws differ: the named test checks bounds, moments or known answers.
    Random(&'static str),
}

const WITHOUT_FIXTURE: [(&str, NoFixture); 9] = [
    ("bernoulli", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("categorical", NoFixture::Random("random::categories_come_by_their_probabilities")),
    ("normal", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("permutation", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("rand", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("randint", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("random_bits", NoFixture::Random("kills::random_bits_are_threefrys")),
    ("randn", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
    ("uniform", NoFixture::Random("random::draws_have_their_range_mean_and_variance")),
];

/// The files whose every case is checked by the tests of their name.
const FIXTURES: [&str; 6] = ["core", "image", "loss", "ops", "rest", "shape"];

/// PyTorch cases that each op needs, one of them with gradients if the op has any.
const FIXTURES_AN_OP: usize = 2;

const SAMPLES_AN_OP: usize = 12;
const WRONG_CALLS_AN_OP: usize = 3;
const WRONG_CALLS: usize = 250;
const CASES: usize = 2_500;

/// Every op with its mark.
pub fn ops() -> BTreeMap<&'static str, Mark> {
    let mut table = BTreeMap::new();
    let mut insert = |family: &str, name, mark| {
        assert!(table.insert(name, mark).is_none(), "{name} ({family}) is in the table twice");
    };
    unary_ops().iter().for_each(|op| insert("unary", op.name, op.mark));
    binary_ops().iter().for_each(|op| insert("binary", op.name, op.mark));
    kernel_ops().iter().for_each(|op| insert("kernel", op.name, op.mark));
    for (family, mark, names) in FAMILIES {
        names.iter().for_each(|name| insert(family, name, mark));
    }
    table
}

/// The ops that a file declares, and whether each is documented with an example: public functions that return tensors, and the
/// rows of the macros that generate reductions and elementwise methods, whose examples follow `=>`.
fn declared_in(text: &str, found: &mut BTreeMap<String, bool>) {
    let lines: Vec<&str> = text.lines().collect();
    let (mut in_macro, mut examples_in_rows) = (false, false);
    // An op that is declared twice, among the losses and on `Tensor`, needs an example in both.
    let mut declare = |name, documented| *found.entry(name).or_insert(true) &= documented;
    for (i, line) in lines.iter().enumerate() {
        let word: String =
            line.trim_start().trim_start_matches("pub fn ").chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
        let above = lines[..i].iter().rev().map(|l| l.trim_start()).skip_while(|l| l.starts_with("#["));
        let doc: Vec<&str> = above.take_while(|l| l.starts_with("///")).collect();
        let example = doc.contains(&"/// ```") && doc.iter().any(|l| l.contains("assert"));
        match *line {
            "unary! {" | "binary! {" | "reductions! {" => (in_macro, examples_in_rows) = (true, *line != "reductions! {"),
            "}" => in_macro = false,
            _ if in_macro && line.ends_with(';') && !line.contains("///") => {
                declare(word, !doc.is_empty() && (example || examples_in_rows && line.contains("=>")))
            }
            _ if line.trim_start().starts_with("pub fn ") && !word.is_empty() => {
                // A signature ends at its brace, which may be some lines below.
                let signature = lines[i..(i + 10).min(lines.len())].join(" ");
                let signature = signature.split('{').next().unwrap_or_default();
                let result = signature.split("->").last().unwrap_or_default().trim();
                if ["Self", "Result<Self>", "Result<Vec<Self>>", "Result<Tensor>"].contains(&result)
                    || result.starts_with("(Self")
                {
                    declare(word, example);
                }
            }
            _ => {}
        }
    }
}

fn declared() -> BTreeMap<String, bool> {
    let root = Path::new(crate::common::ROOT).join("src");
    let mut found = BTreeMap::new();
    for folder in ["tensor", "nn/loss"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the source is at hand") {
            let path = entry.expect("readable").path();
            let text = std::fs::read_to_string(&path).expect("text");
            // Only the methods of `Tensor`: builders of options return `Self` as well.
            let of_options = |line: &str| line.starts_with("impl") && !line.starts_with("impl Tensor");
            let mut kept = String::new();
            let mut skip = false;
            for line in text.lines() {
                skip = (skip || of_options(line)) && line != "}";
                if !skip {
                    kept += line;
                    kept.push('\n');
                }
            }
            declared_in(&kept, &mut found);
        }
    }
    found
}

#[test]
fn the_table_holds_every_op_and_no_other() {
    let (table, declared) = (ops(), declared());
    assert!(declared.len() > 150, "only {} ops were found in the source", declared.len());
    let not_ops: Vec<&str> = NOT_OPS.iter().map(|(name, _)| *name).collect();
    let missing: Vec<&String> =
        declared.keys().filter(|n| !table.contains_key(n.as_str()) && !not_ops.contains(&n.as_str())).collect();
    assert!(missing.is_empty(), "declared in the source and not in the table: {missing:?}");
    let stale: Vec<&&str> = table.keys().chain(&not_ops).filter(|n| !declared.contains_key(**n)).collect();
    assert!(stale.is_empty(), "in the table and not in the source: {stale:?}");
    let undocumented: Vec<_> = declared.iter().filter(|(_, documented)| !**documented).map(|(name, _)| name).collect();
    assert!(undocumented.is_empty(), "without a documented example: {undocumented:?}");
}

#[test]
fn an_op_without_an_example_counts_as_undocumented() {
    let text = "unary! {\n/// `-x`.\nneg: Neg;\n/// `x²`.\nsquare: Square, [2] => [4];\nabs: Abs, [-1] => [1];\n}\n\
        /// `eˣ`.\n#[track_caller]\npub fn exp(&self) -> Self {\n}\n\
        /// `ln x`.\n///\n/// ```\n/// assert!(true);\n/// ```\n#[track_caller]\npub fn log(&self) -> Self {\n}\n";
    let mut found = BTreeMap::new();
    declared_in(text, &mut found);
    let documented: Vec<&str> = found.iter().filter(|(_, documented)| **documented).map(|(name, _)| &name[..]).collect();
    assert_eq!((documented, found.len()), (vec!["log", "square"], 5));
    // A second op of the same name, without an example.
    declared_in("/// Of rows.\npub fn log(&self) -> Self {\n}\n", &mut found);
    assert!(!found["log"]);
}

#[test]
fn every_op_has_its_samples_and_wrong_calls() {
    let (table, samples, wrong) = (ops(), samples(), wrong_calls());
    let mut short = Vec::new();
    for (op, mark) in &table {
        let of: Vec<_> = samples.iter().filter(|s| s.op == *op).collect();
        let mut names: Vec<&str> = of.iter().map(|s| &s.name[..]).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < SAMPLES_AN_OP {
            short.push(format!("{op}: {} samples", names.len()));
        }
        if names.len() < of.len() {
            short.push(format!("{op}: {} samples of one name", of.len() - names.len()));
        }
        let (first, second) = (of.iter().any(|s| s.gradient), of.iter().any(|s| s.gradient && s.second));
        let kept = match mark {
            Mark::Smooth => first && second,
            Mark::Once => first && !second,
            Mark::NoGradient => !first,
        };
        if !kept {
            short.push(format!("{op} is {mark:?}: gradients checked {first}, second ones {second}"));
        }
        let calls = wrong.iter().filter(|w| w.op == *op).count();
        let never = NEVER_REFUSED.iter().any(|(name, _)| name == op);
        if calls < WRONG_CALLS_AN_OP && !never || calls > 0 && never {
            short.push(format!("{op}: {calls} wrong calls"));
        }
    }
    // Ops that take numbers are swept in ULPs.
    let unswept = unary_ops().into_iter().filter(|op| op.takes != Takes::Truths && op.sweep.is_none()).map(|op| op.name);
    short.extend(unswept.map(|op| format!("{op} has no sweep")));
    let unswept = binary_ops().into_iter().filter(|op| op.pairs != Pairs::Truths && op.sweep.is_none()).map(|op| op.name);
    short.extend(unswept.map(|op| format!("{op} has no sweep")));
    let strangers = samples.iter().map(|s| s.op).chain(wrong.iter().map(|w| w.op)).filter(|op| !table.contains_key(op));
    short.extend(strangers.map(|op| format!("{op} has rows and is not in the table")));
    assert!(short.is_empty(), "{} shortcomings:\n{}", short.len(), short.join("\n"));
    assert!(wrong.len() >= WRONG_CALLS, "{} wrong calls", wrong.len());
}

#[test]
fn every_op_has_fixtures_made_by_pytorch_or_a_reason() {
    // (file, case, whether it has gradients)
    let mut cases = Vec::new();
    for name in FIXTURES {
        let file = Fixture::open(&format!("{name}.safetensors"));
        let names = file.under("");
        for (case, _) in file.cases() {
            let prefix = format!("{case}.grad.");
            cases.push((name, case.to_owned(), names.iter().any(|n| n.starts_with(&prefix))));
        }
    }
    assert!(cases.len() > 650, "only {} cases were found", cases.len());
    let (renamed, without): (BTreeMap<_, _>, BTreeMap<_, _>) = (IN_FIXTURES_AS.into(), WITHOUT_FIXTURE.into());
    let table = ops();
    let mut known: BTreeMap<_, _> = unary_ops().iter().map(|row| (row.name, row.known.len())).collect();
    known.extend(kernel_ops().iter().map(|row| (row.name, row.known.len())));
    let mut short = Vec::new();
    for (op, mark) in &table {
        let of: Vec<_> = match renamed.get(op) {
            // A file's name and a prefix, or prefixes.
            Some(&places) => {
                let (file, prefixes): (Option<&str>, Vec<&str>) = match places.split_once(' ') {
                    Some((file, prefix)) if FIXTURES.contains(&file) => (Some(file), vec![prefix]),
                    _ => (None, places.split(' ').collect()),
                };
                let fits =
                    |c: &&(&str, String, bool)| file.is_none_or(|f| f == c.0) && prefixes.iter().any(|p| c.1.starts_with(p));
                cases.iter().filter(fits).collect()
            }
            None => cases.iter().filter(|c| c.1.split('.').next() == Some(op)).collect(),
        };
        let graded = of.iter().filter(|c| c.2).count();
        match without.get(op) {
            Some(reason) if !of.is_empty() => {
                short.push(format!("{op} has {} cases, and a reason for none: {reason:?}", of.len()))
            }
            // Known values include their derivatives.
            None if known.get(op).is_some_and(|&known| known >= FIXTURES_AN_OP) => {}
            None if of.len() < FIXTURES_AN_OP => short.push(format!("{op}: {} cases", of.len())),
            None if *mark != Mark::NoGradient && graded == 0 => short.push(format!("{op}: no case has gradients")),
            _ => {}
        }
    }
    for (op, NoFixture::Random(test)) in &without {
        let (module, function) = test.split_once("::").expect("a module and a test");
        let path = Path::new(crate::common::ROOT).join(format!("tests/it/{module}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if !text.contains(&format!("fn {function}()")) {
            short.push(format!("{op}: there is no test {test}"));
        }
    }
    let listed = without.keys().chain(renamed.keys());
    short.extend(listed.filter(|op| !table.contains_key(**op)).map(|op| format!("{op} is listed and no op")));
    assert!(short.is_empty(), "{} shortcomings:\n{}", short.len(), short.join("\n"));
}

#[test]
fn cases_are_counted() {
    let samples = samples();
    // Fused and unfused.
    let forward: usize = samples.iter().map(|s| s.layouts().len() * 2).sum();
    let of_gradients = || samples.iter().filter(|s| s.gradient);
    let backward: usize = of_gradients().map(|s| if s.full { 3 } else { 1 } * 2).sum();
    let (first, second) = (of_gradients().count(), samples.iter().filter(|s| s.second && s.gradient).count());
    println!(
        "{} ops, {} samples; on this device {forward} forward and {backward} backward cases; against differences in f64 {first} \
         samples, {second} of them twice; {} wrong calls",
        ops().len(),
        samples.len(),
        wrong_calls().len()
    );
    assert!(samples.len() >= SAMPLES_AN_OP * ops().len() && forward >= CASES && backward >= CASES);
}
