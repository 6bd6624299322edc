//! Under `no_grad` no result of an op requires a gradient, whatever the shape: not even where the op changes nothing.

use crate::common::{device, upload};
use crate::samples::samples;
use wgrad::nn::loss::Reduction;
use wgrad::nn::{Dropout, Identity as Same, Init, Module, Sequential};
use wgrad::{ConvOptions, DType, Generator, Interpolation, PadMode, Param, Tensor, grad, no_grad};

/// An op on a tensor of ones, with a shape on which it changes nothing.
pub struct Identity {
    pub op: &'static str,
    shape: &'static [usize],
    run: fn(&Tensor) -> Tensor,
}

fn index(like: &Tensor, values: &[i32]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &like.device().expect("valid")).expect("uploads")
}

/// Every op that can leave its operand as it is.
pub fn identities() -> Vec<Identity> {
    let row = |op, shape, run| Identity { op, shape, run };
    vec![
        row("reshape", &[1, 3], |p| p.reshape([1, 3])),
        row("flatten", &[1, 3], |p| p.flatten(1, 1)),
        row("unflatten", &[1, 3], |p| p.unflatten(1, &[3])),
        row("permute", &[1, 3], |p| p.permute(&[0, 1])),
        row("transpose", &[1, 3], |p| p.transpose(1, 1)),
        row("t", &[1, 1], |p| p.t()),
        row("squeeze", &[1, 3], |p| p.unsqueeze(0).squeeze(0)),
        row("unsqueeze", &[1, 3], |p| p.unsqueeze(0).squeeze(0)),
        row("expand", &[1, 3], |p| p.expand([1, 3])),
        row("slice", &[1, 3], |p| p.slice(1, 0, 3)),
        row("slice_step", &[1, 3], |p| p.slice_step(1, 0, 3, 1)),
        row("narrow", &[1, 3], |p| p.narrow(1, 0, 3)),
        row("select", &[1, 3], |p| p.unsqueeze(0).select(0, 0)),
        row("split", &[1, 3], |p| p.split(1, &[3]).expect("one part").remove(0)),
        row("chunk", &[1, 3], |p| p.chunk(1, 0).expect("one part").remove(0)),
        row("chunk", &[0, 3], |p| p.chunk(2, 0).expect("two parts").remove(1)),
        row("flip", &[1, 3], |p| p.flip(0)),
        row("roll", &[1, 3], |p| p.roll(0, 1)),
        row("roll", &[1, 3], |p| p.roll(3, 1)),
        row("repeat", &[1, 3], |p| p.repeat(&[1, 1])),
        row("pad", &[1, 3], |p| p.pad(&[(0, 0), (0, 0)])),
        row("pad_with", &[1, 3], |p| p.pad_with(&[(0, 0), (0, 0)], PadMode::Reflect)),
        row("pad_with", &[1, 3], |p| p.pad_with(&[(0, 0), (0, 0)], PadMode::Constant(2.0))),
        row("pad_same", &[1, 1, 3], |p| p.pad_same(&[1], &[1])),
        row("cat", &[1, 3], |p| Tensor::cat(&[p], 0)),
        row("cat", &[0, 3], |p| Tensor::cat(&[p, p], 0)),
        row("stack", &[1, 3], |p| Tensor::stack(&[p], 0).squeeze(0)),
        row("tril", &[1, 3], |p| p.tril(9)),
        row("triu", &[1, 3], |p| p.triu(-9)),
        row("cast", &[1, 3], |p| p.cast(DType::F32)),
        row("detach", &[1, 3], |p| p.detach()),
        row("clamp", &[1, 3], |p| p.clamp(f64::NEG_INFINITY, f64::INFINITY)),
        row("abs", &[1, 3], |p| p.abs()),
        row("relu", &[1, 3], |p| p.relu()),
        row("dropout", &[1, 3], |p| p.dropout(0.0, &Generator::new(0))),
        row("powf", &[1, 3], |p| p.powf(1.0)),
        row("add", &[1, 3], |p| p + 0.0),
        row("sub", &[1, 3], |p| p - 0.0),
        row("mul", &[1, 3], |p| p * 1.0),
        row("div", &[1, 3], |p| p / 1.0),
        row("pow", &[1, 3], |p| p.pow(&p.ones_like())),
        row("lerp", &[1, 3], |p| p.lerp(p, 0.0)),
        row("minimum", &[1, 3], |p| p.minimum(p)),
        row("maximum", &[1, 3], |p| p.maximum(p)),
        row("where_", &[1, 3], |p| p.eq(p).where_(p, p)),
        row("masked_fill", &[1, 3], |p| p.masked_fill(&p.ne(p), 7.0)),
        row("sum", &[1, 3], |p| p.sum_keepdim(0)),
        row("sum", &[1, 3], |p| p.sum_keepdim(&[] as &[isize])),
        row("mean", &[1, 3], |p| p.mean_keepdim(0)),
        row("mean", &[1, 3], |p| p.mean_keepdim(&[] as &[isize])),
        row("prod", &[1, 3], |p| p.prod_dim(&[] as &[isize])),
        row("max", &[1, 3], |p| p.max_dim(&[] as &[isize])),
        row("min", &[1, 3], |p| p.min_dim(&[] as &[isize])),
        row("logsumexp", &[1, 3], |p| p.logsumexp_keepdim(0)),
        row("cumsum", &[1, 3], |p| p.cumsum(0)),
        row("cumprod", &[1, 3], |p| p.cumprod(0)),
        row("cumsum", &[0, 3], |p| p.cumsum(0)),
        row("sort", &[1, 3], |p| p.sort(0, false).0),
        row("sort", &[0, 3], |p| p.sort(0, false).0),
        row("topk", &[1, 3], |p| p.topk(1, 0).0),
        row("gather_rows", &[1, 3], |p| p.gather_rows(&index(p, &[0]))),
        row("scatter_add_rows", &[1, 3], |p| p.scatter_add_rows(1, &index(p, &[0]))),
        row("gather", &[1], |p| p.gather(0, &index(p, &[0]))),
        row("scatter", &[3], |p| p.scatter(0, &index(p, &[]), p)),
        row("scatter_add", &[3], |p| p.scatter_add(0, &index(p, &[]), p)),
        row("index_select", &[1, 3], |p| p.index_select(0, &index(p, &[0]))),
        row("index_add", &[0, 3], |p| p.index_add(0, &index(p, &[]), p)),
        row("embedding", &[1, 3], |p| p.embedding(&index(p, &[0]), Some(0))),
        row("masked_select", &[3], |p| p.masked_select(&p.eq(p)).expect("selects")),
        row("einsum", &[1, 3], |p| Tensor::einsum("ij->ij", &[p])),
        row("einsum", &[1, 3], |p| Tensor::einsum("ij", &[p])),
        row("diag", &[1], |p| p.diag(0).reshape([1])),
        row("matmul", &[1, 3], |p| p.ones_like().slice(1, 0, 1).matmul(p)),
        row("conv1d", &[1, 1, 3], |p| p.conv1d(&p.ones_like().slice(2, 0, 1), None, ConvOptions::default())),
        row("conv2d", &[1, 1, 1, 3], |p| p.conv2d(&p.ones_like().slice(3, 0, 1), None, ConvOptions::default())),
        row("max_pool1d", &[1, 1, 3], |p| p.max_pool1d(1)),
        row("avg_pool1d", &[1, 1, 3], |p| p.avg_pool1d(1)),
        row("max_pool2d", &[1, 1, 1, 3], |p| p.max_pool2d(1)),
        row("avg_pool2d", &[1, 1, 1, 3], |p| p.avg_pool2d(1)),
        row("max_pool3d", &[1, 1, 1, 1, 3], |p| p.max_pool3d(1)),
        row("avg_pool3d", &[1, 1, 1, 1, 3], |p| p.avg_pool3d(1)),
        row("adaptive_avg_pool1d", &[1, 1, 3], |p| p.adaptive_avg_pool1d(3)),
        row("adaptive_max_pool1d", &[1, 1, 3], |p| p.adaptive_max_pool1d(3)),
        row("adaptive_avg_pool2d", &[1, 1, 1, 3], |p| p.adaptive_avg_pool2d([1, 3])),
        row("adaptive_max_pool2d", &[1, 1, 1, 3], |p| p.adaptive_max_pool2d([1, 3])),
        row("adaptive_avg_pool3d", &[1, 1, 1, 1, 3], |p| p.adaptive_avg_pool3d([1, 1, 3])),
        row("adaptive_max_pool3d", &[1, 1, 1, 1, 3], |p| p.adaptive_max_pool3d([1, 1, 3])),
        row("global_avg_pool", &[1, 1, 1, 1], |p| p.global_avg_pool().reshape([1, 1, 1, 1])),
        row("global_max_pool", &[1, 1, 1, 1], |p| p.global_max_pool().reshape([1, 1, 1, 1])),
        row("interpolate", &[1, 1, 3], |p| p.interpolate(&[3], Interpolation::Nearest)),
        row("interpolate", &[1, 1, 3], |p| p.interpolate(&[3], Interpolation::Linear)),
        row("batch_norm_with", &[2, 3], |p| {
            let one = p.ones_like().slice(0, 0, 1).reshape([3]);
            p.batch_norm_with(&one.zeros_like(), &one, None, None, 0.0)
        }),
        row("l1", &[3], |p| wgrad::nn::loss::l1(p, &p.zeros_like(), Reduction::None).expect("of one shape")),
    ]
}

#[test]
fn what_changes_nothing_passes_no_gradient_under_no_grad() {
    for Identity { op, shape, run } in identities() {
        let ones = vec![1.0; shape.iter().product()];
        let p = Param::new(&upload(&ones, shape, DType::F32, device())).expect("a parameter");
        let y = no_grad(|| run(&p.tensor()));
        assert_eq!(
            y.to_vec::<f32>().unwrap_or_else(|e| panic!("{op}: {e}")),
            vec![1.0; ones.len()],
            "{op} {shape:?} is the identity"
        );
        assert!(!y.requires_grad(), "{op} {shape:?} under no_grad");
        // The same of a variable, and of an intermediate result.
        for x in [p.tensor().variable().expect("floats"), p.tensor() * 1.0] {
            assert!(!no_grad(|| run(&x)).requires_grad(), "{op} {shape:?} of {x:?} under no_grad");
        }
        // Outside, the gradient flows; after detach, it does not.
        assert!(!run(&p.tensor()).detach().requires_grad() && !run(&p.tensor().detach()).requires_grad(), "{op} and detach");
        let loss = p.tensor().sum() + (y * 10.0).sum();
        let gradient = loss.backward().and_then(|g| g.get(&p)?.to_vec::<f32>()).unwrap_or_else(|e| panic!("{op}: {e}"));
        assert_eq!(gradient, ones.iter().map(|_| 1.0).collect::<Vec<f32>>(), "{op} {shape:?}");
    }
}

#[test]
fn no_sample_of_any_op_requires_a_gradient_under_no_grad() {
    for sample in samples() {
        let leaf = |o: &crate::samples::Operand| {
            let mean = vec![(o.lo + o.hi) / 2.0; o.shape.iter().product()];
            upload(&mean, &o.shape, DType::F32, device()).variable().expect("floats")
        };
        let leaves: Vec<Tensor> = sample.operands.iter().map(leaf).collect();
        assert!(!no_grad(|| (sample.run)(&leaves)).requires_grad(), "{} under no_grad", sample.name);
        let detached: Vec<Tensor> = leaves.iter().map(Tensor::detach).collect();
        assert!(!(sample.run)(&detached).requires_grad(), "{} of detached operands", sample.name);
    }
}

#[test]
fn layers_that_change_nothing_pass_no_gradient_under_no_grad() {
    let init = Init::new(device(), 0);
    let dropout = Dropout::new(0.5, &init).expect("a share");
    dropout.eval();
    let empty = Sequential::new();
    let nested = Sequential::new().push(Same);
    let layers: [&dyn Module; 4] = [&Same, &dropout, &empty, &nested];
    let p = Param::new(&upload(&[1.0, 2.0], &[1, 2], DType::F32, device())).expect("a parameter");
    for layer in layers {
        assert!(!no_grad(|| layer.forward(&p.tensor())).expect("forwards").requires_grad());
        assert!(layer.forward(&p.tensor()).expect("forwards").requires_grad());
    }
}

/// A parameter's own tensor is not the result of an op: it requires a gradient, as in PyTorch.
#[test]
fn a_parameters_tensor_requires_its_gradient_under_no_grad() {
    let p = Param::new(&upload(&[1.0], &[1], DType::F32, device())).expect("a parameter");
    assert!(no_grad(|| p.tensor()).requires_grad());
}

#[test]
fn the_gradient_by_what_is_no_variable_is_an_error() {
    let x = upload(&[3.0, 4.0], &[2], DType::F32, device());
    let v = x.variable().expect("floats");
    let says = |error: wgrad::Error, parts: &[&str]| {
        let text = error.to_string();
        assert!(parts.iter().all(|p| text.contains(p)), "{text}");
    };
    says(grad(&x.square(), &[&x]).expect_err("x is not a variable"), &["[grad]", "tensor 0", "[2]", "variable()"]);
    says(grad(&v.square(), &[&v, &x]).expect_err("x is not a variable"), &["tensor 1", "use in its place"]);
    let gradients = v.square().sum().backward().expect("v is a variable");
    says(gradients.get(&x).expect_err("v is"), &["[get]", "not a variable", "x.variable() leaves x as it is"]);
    let inner = v.square();
    let gradients = inner.sum().backward().expect("v is a variable");
    says(gradients.get(&inner).expect_err("an inner node"), &["result of an op", "wgrad::grad"]);
    says(gradients.get(&x.variable().expect("floats")).expect_err("another"), &["the loss does not depend on it"]);
    let frozen = Param::new(&x).expect("a parameter");
    frozen.freeze();
    says(grad(&(frozen.tensor() * &v), &[&frozen.tensor()]).expect_err("frozen"), &["requires no gradient", "unfreeze"]);
}

/// A parameter read twice is one parameter: its gradients add up, and none is lost.
#[test]
fn gradients_of_all_reads_of_a_parameter_add_up() {
    let p = Param::new(&upload(&[2.0], &[1], DType::F32, device())).expect("a parameter");
    let first = p.tensor();
    p.set(&upload(&[5.0], &[1], DType::F32, device())).expect("is set");
    let loss = (&first * 3.0 + p.tensor() * 4.0).sum();
    assert_eq!(loss.backward().and_then(|g| g.get(&p)?.item()).expect("a gradient"), 7.0);
    assert_eq!(grad(&loss, &[&p.tensor()]).and_then(|g| g[0].item()).expect("a gradient"), 7.0);
}
