//! Wrong calls: each gives a typed error that names the op, the shapes and a remedy; none panics, and the device keeps working.

use crate::common::{device, file_of, upload, values};
use crate::numerics::elementwise::{BinaryRow, Pairs, Takes, UnaryRow, binary_ops, unary_ops};
use crate::samples::kernel_ops;
use wgrad::{ConvOptions, DType, Device, Error, Generator, PoolOptions, Tensor};

pub fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

pub fn i(v: &[i32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).expect("valid")
}

pub fn b(shape: &[usize]) -> Tensor {
    f(shape).gt(&f(shape))
}

/// One wrong call of an op, and what its error must say.
pub struct WrongCall {
    pub op: &'static str,
    /// The name in brackets: the op's, or that of the op that it delegates to.
    says: &'static str,
    error: Error,
    parts: Vec<&'static str>,
}

impl WrongCall {
    pub fn new(op: &'static str, result: wgrad::Result<Tensor>, parts: &[&'static str]) -> Self {
        // Nothing is submitted if `check` alone finds the mistake: that is all except indices out of range.
        let error = result.and_then(|t| t.check()).expect_err(op);
        let says = match op {
            "where_" => "where",
            "t" => "transpose",
            "slice_step" => "slice",
            "batch_norm_with" => "batch_norm",
            _ => op,
        };
        Self { op, says, error, parts: parts.to_vec() }
    }
    pub fn saying(mut self, says: &'static str) -> Self {
        self.says = says;
        self
    }
    /// What is wrong with the error.
    fn faults(&self) -> Option<String> {
        let message = self.error.to_string();
        let say = |what: &str| Some(format!("{}: {what}: {message}", self.op));
        if !message.starts_with(&format!("[{}]", self.says)) {
            return say("the op is not named");
        }
        if !message.contains("help: ") {
            return say("no remedy");
        }
        // The calls are made in the files of the rows.
        if !["refusals", "tests/rows/", "kernel_ops"]
            .iter()
            .any(|place| file_of(&self.error).is_some_and(|file| file.contains(place)))
        {
            return say("it does not say where");
        }
        match &self.error {
            Error::Op(error) => {
                if error.operands.iter().any(|(shape, dtype)| !message.contains(&format!("{dtype} {shape}"))) {
                    return say("an operand is left out");
                }
            }
            // Tensors made of nothing have no operands.
            Error::Argument { .. } => {}
            _ => return say("another kind of error"),
        }
        self.parts.iter().find(|p| !message.contains(**p)).and_then(|p| say(&format!("no \"{p}\"")))
    }
}

/// Elementwise ops, whose calls can be wrong in few ways: dtypes, and shapes that do not broadcast.
fn elementwise() -> Vec<WrongCall> {
    let mut rows = Vec::new();
    for UnaryRow { name, run, takes, .. } in unary_ops() {
        let (wrong, says): ([Tensor; 3], &[&str]) = match takes {
            Takes::Floats => ([i(&[1, 2]), b(&[3]), f(&[2, 2]).cast(DType::U32)], &["floating", "cast"]),
            Takes::Numbers => ([b(&[3]), b(&[]), b(&[2, 0])], &["bool", "cast"]),
            Takes::Truths => ([f(&[2]), i(&[1]), f(&[]).cast(DType::U32)], &["truth"]),
        };
        rows.extend(wrong.iter().map(|x| WrongCall::new(name, Ok(run(x)), says)));
    }
    for x in [i(&[1, 2]), b(&[3]), f(&[2, 2]).cast(DType::U32)] {
        rows.push(WrongCall::new("mean", Ok(x.mean()), &["floating", "cast"]));
    }
    for BinaryRow { name, run, pairs, .. } in binary_ops() {
        let make = |shape: &[usize]| match pairs {
            Pairs::Truths => b(shape),
            Pairs::Numbers => f(shape),
        };
        rows.push(WrongCall::new(name, Ok(run(&make(&[2, 3]), &make(&[4]))), &["[2, 3]", "[4]", "broadcast"]));
        rows.push(WrongCall::new(name, Ok(run(&make(&[2]), &make(&[2, 3]))), &["[2]", "[2, 3]", "broadcast"]));
        rows.push(WrongCall::new(name, Ok(run(&make(&[2]), &i(&[1, 2]))), &["i32", "cast"]));
    }
    type Over = (&'static str, fn(&Tensor, &[isize]) -> Tensor);
    let reductions: [Over; 7] = [
        ("sum", |x, a| x.sum_dim(a)),
        ("prod", |x, a| x.prod_dim(a)),
        ("max", |x, a| x.max_dim(a)),
        ("min", |x, a| x.min_dim(a)),
        ("mean", |x, a| x.mean_dim(a)),
        ("argmax", |x, a| x.argmax_dim(a)),
        ("argmin", |x, a| x.argmin_dim(a)),
    ];
    for (op, run) in reductions {
        rows.push(WrongCall::new(op, Ok(run(&f(&[2, 3]), &[2])), &["axis 2", "from -2 to 1"]));
        rows.push(WrongCall::new(op, Ok(run(&f(&[2, 3]), &[1, -1])), &["twice"]));
        rows.push(WrongCall::new(op, Ok(run(&f(&[]), &[0])), &["scalar"]));
    }
    rows
}

/// Every wrong call of every op.
pub fn wrong_calls() -> Vec<WrongCall> {
    let kernels = kernel_ops().into_iter().flat_map(|op| (op.wrong)()).collect();
    [kernels, core(), elementwise(), crate::refusals_image::rows(), crate::refusals_index::rows(), crate::refusals_shape::rows()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn wrong_calls_name_op_operands_remedy_and_place() {
    let faults: Vec<String> = wrong_calls().iter().filter_map(WrongCall::faults).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(values(&(f(&[2]) + 1.0)), [1.5, 1.5], "the device keeps working");
}

fn core() -> Vec<WrongCall> {
    let conv = ConvOptions::default();
    let rows: Vec<(&'static str, Tensor, &[&'static str])> = vec![
        ("add", f(&[2, 3]) + f(&[4]), &["[2, 3]", "[4]", "broadcast"]),
        ("add", f(&[2]) + i(&[1, 2]), &["f32", "i32", "cast"]),
        ("sub", f(&[2]) - i(&[1, 2]), &["dtypes"]),
        ("mul", f(&[2]).gt(&f(&[2])) * 2.0, &["bool", "cast"]),
        ("logical_and", f(&[2]).logical_and(&f(&[2])), &["logic"]),
        ("logical_not", f(&[2]).logical_not(), &["truth"]),
        ("exp", i(&[1]).exp(), &["floating"]),
        ("where_", f(&[2]).where_(&f(&[2]), &f(&[2])), &["condition"]),
        ("where_", f(&[2]).gt(&f(&[2])).where_(&f(&[2]), &i(&[1, 2])), &["branches"]),
        ("clamp", f(&[2]).clamp(2.0, 1.0), &["order"]),
        ("clamp", f(&[2]).clamp(f64::NAN, 1.0), &["order"]),
        ("dropout", f(&[2]).dropout(1.5, &Generator::new(0)), &["probability"]),
        ("reshape", f(&[2, 3]).reshape([4]), &["6 elements", "[4]"]),
        ("reshape", f(&[1]).reshape([1; 9]), &["at most 8"]),
        ("flatten", f(&[2, 3]).flatten(1, 0), &["range"]),
        ("permute", f(&[2, 3]).permute(&[0, 0]), &["order"]),
        ("t", f(&[2]).t(), &["axis"]),
        ("expand", f(&[2]).expand([3]), &["stretch"]),
        ("unsqueeze", f(&[2]).unsqueeze(3), &["added"]),
        ("squeeze", f(&[2]).squeeze(0), &["length 2"]),
        ("slice", f(&[4]).slice(0, 2, 9), &["length 4"]),
        ("slice", f(&[4]).slice(1, 0, 1), &["axis 1"]),
        ("slice_step", f(&[4]).slice_step(0, 0, 4, 0), &["step"]),
        ("flip", f(&[4]).flip(-2), &["axis -2"]),
        ("pad", f(&[4]).pad(&[]), &["one pair"]),
        ("pad", f(&[4]).pad(&[(usize::MAX, 1)]), &["too large"]),
        ("cat", Tensor::cat(&[&f(&[2, 2]), &f(&[3, 3])], 0), &["differ"]),
        ("cat", Tensor::cat(&[] as &[Tensor], 0), &["no tensors"]),
        ("sum", f(&[2, 3]).sum_dim(2), &["axis 2", "from -2 to 1"]),
        ("sum", f(&[2, 3]).sum_dim([0, -2]), &["twice"]),
        ("max", f(&[2, 0]).max_dim(1), &["no element"]),
        ("argmax", f(&[0]).argmax_dim(0), &["no element"]),
        ("mean", i(&[1]).mean(), &["floating"]),
        ("matmul", f(&[2, 3]).matmul(&f(&[4, 5])), &["inner dimensions 3 and 4", "[2, 3]", "[4, 5]"]),
        ("matmul", f(&[2, 3]).matmul(&f(&[4, 3])), &["transpose rhs"]),
        ("matmul", f(&[2, 2, 3]).matmul(&f(&[3, 3, 4])), &["batch"]),
        ("matmul", f(&[]).matmul(&f(&[2])), &["scalar"]),
        ("matmul", i(&[1]).matmul(&i(&[1])), &["floating"]),
        ("conv2d", f(&[1, 3, 5, 5]).conv2d(&f(&[4, 2, 3, 3]), None, conv), &["channels"]),
        ("conv2d", f(&[1, 3, 2, 2]).conv2d(&f(&[4, 3, 3, 3]), None, conv), &["longer than 2"]),
        ("conv2d", f(&[3, 5, 5]).conv2d(&f(&[4, 3, 3, 3]), None, conv), &["4 axes"]),
        ("conv2d", f(&[1, 3, 5, 5]).conv2d(&f(&[4, 3, 3, 3]), Some(&f(&[5])), conv), &["bias", "[4]"]),
        ("conv2d", f(&[1, 3, 5, 5]).conv2d(&f(&[4, 3, 3, 3]), None, ConvOptions { stride: [0, 1], ..conv }), &["stride"]),
        ("max_pool2d", f(&[1, 1, 2, 2]).max_pool2d(3), &["longer"]),
        ("max_pool2d", f(&[1, 1, 4, 4]).max_pool2d_with(2, PoolOptions::default().padding(2)), &["half"]),
        ("avg_pool2d", f(&[4, 4]).avg_pool2d(2), &["4 axes"]),
        ("cross_entropy_rows", f(&[2, 3]).cross_entropy_rows(&i(&[0])), &["1 label for 2 rows of logits"]),
        ("cross_entropy_rows", f(&[2, 3]).cross_entropy_rows(&f(&[2])), &["i32"]),
        ("gather_rows", f(&[2]).gather_rows(&i(&[0])), &["[rows, d]"]),
        ("scatter_add_rows", f(&[2, 3]).scatter_add_rows(4, &i(&[0])), &["[n, d]"]),
        ("scatter_add_rows", f(&[2]).scatter_add_rows(4, &i(&[0, 0])), &["[n, d]"]),
        ("scatter_add_rows", f(&[2, 3]).scatter_add_rows(4, &f(&[2])), &["i32"]),
        ("gather_rows", f(&[2, 3]).gather_rows(&f(&[2])), &["i32"]),
        ("gather_rows", f(&[2, 3, 4]).gather_rows(&i(&[0])), &["[rows, d]"]),
        ("cross_entropy_rows", f(&[6]).cross_entropy_rows(&i(&[0])), &["[n, classes]"]),
        ("where_", b(&[2]).where_(&f(&[3]), &f(&[3])), &["[2]", "[3]"]),
        ("clamp", b(&[2]).clamp(0.0, 1.0), &["bool"]),
        ("dropout", f(&[2]).dropout(f64::NAN, &Generator::new(0)), &["probability"]),
        ("dropout", i(&[1]).dropout(0.5, &Generator::new(0)), &["floating"]),
        ("powf", i(&[1]).powf(0.5), &["floating"]),
        ("powf", b(&[1]).powf(2.0), &["bool", "cast"]),
        ("powf", f(&[2]).cast(DType::U32).powf(2.0), &["floating"]),
        ("reshape", f(&[0]).reshape([1]), &["0 elements"]),
        ("flatten", f(&[2, 3]).flatten(0, 2), &["0 to 2"]),
        ("flatten", f(&[2, 3]).flatten(-3, 1), &["-3 to 1"]),
        ("permute", f(&[2, 3]).permute(&[0]), &["order"]),
        ("permute", f(&[2, 3]).permute(&[0, 2]), &["order"]),
        ("transpose", f(&[2, 3]).transpose(0, 2), &["axis 2"]),
        ("transpose", f(&[2, 3]).transpose(-3, 0), &["axis -3"]),
        ("transpose", f(&[]).transpose(0, 0), &["scalar"]),
        ("t", f(&[]).t(), &["scalar"]),
        ("t", i(&[1, 2, 3]).t(), &["axis"]),
        ("expand", f(&[2, 3]).expand([3]), &["stretch"]),
        ("expand", f(&[2, 3]).expand([2, 4]), &["stretch"]),
        ("unsqueeze", f(&[2]).unsqueeze(-3), &["added"]),
        ("unsqueeze", f(&[1; 8]).unsqueeze(0), &["8"]),
        ("squeeze", f(&[1]).squeeze(1), &["axis 1"]),
        ("squeeze", f(&[]).squeeze(0), &["scalar"]),
        ("slice_step", f(&[4]).slice_step(1, 0, 4, 2), &["axis 1"]),
        ("slice_step", f(&[4]).slice_step(0, 0, 9, 2), &["length 4"]),
        ("pad", f(&[4]).pad(&[(0, 0), (1, 1)]), &["one pair"]),
        ("slice", f(&[4]).slice(0, 3, 1), &[]),
        ("stack", Tensor::stack(&[] as &[Tensor], 0), &["no tensors"]),
        ("stack", Tensor::stack(&[&f(&[2])], 2), &["added", "[2]"]),
        ("stack", Tensor::stack(&[&f(&[2]), &f(&[3])], 0), &["differ"]),
        ("stack", Tensor::stack(&[&f(&[2]), &i(&[1, 2])], 0), &["cast"]),
        ("max_pool2d", i(&[1]).max_pool2d(1), &["floating"]),
        ("avg_pool2d", f(&[1, 1, 2, 2]).avg_pool2d(3), &["longer"]),
        ("avg_pool2d", f(&[1, 1, 4, 4]).avg_pool2d_with(2, PoolOptions::default().padding(2)), &["half"]),
        ("var", i(&[1]).var(), &["floating"]),
        ("var", f(&[2]).var_dim(1), &["axis 1"]),
        ("var", f(&[2]).var_dim([0, 0]), &["twice"]),
        ("normalize", i(&[1]).normalize(2.0, 0), &["floating"]),
        ("normalize", f(&[2]).normalize(2.0, 1), &["axis"]),
        ("normalize", f(&[2]).normalize(-1.0, 0), &["order of a norm"]),
        ("standardize", i(&[1]).standardize(&[0], 1e-5).0, &["floating"]),
        ("standardize", f(&[2]).standardize(&[1], 1e-5).0, &["axis"]),
        ("standardize", f(&[2]).standardize(&[0, 0], 1e-5).0, &["twice"]),
    ];
    rows.into_iter().map(|(op, tensor, parts)| WrongCall::new(op, Ok(tensor), parts)).collect()
}

#[test]
fn labels_and_indices_out_of_range_are_named() {
    let message = |t: Tensor| t.eval().expect_err("out of range").to_string();
    let text = message(f(&[3, 4]).cross_entropy_rows(&i(&[0, 4, 1])));
    assert!(text.contains("index 4 at position 1 is outside 0..4"), "{text}");
    assert!(message(f(&[3, 4]).cross_entropy_rows(&i(&[0, 1, -1]))).contains("index -1 at position 2"));
    assert!(message(f(&[3, 4]).gather_rows(&i(&[3]))).contains("outside 0..3"));
    assert!(message(f(&[1, 4]).scatter_add_rows(2, &i(&[2]))).contains("outside 0..2"));
}

#[test]
fn an_error_travels_to_whoever_reads() {
    let wrong = f(&[2]).reshape([3]);
    let later = (wrong.exp() * 2.0 + f(&[3])).sum();
    for error in [later.check(), later.eval(), later.item().map(|_| ()), later.shape().map(|_| ()), later.backward().map(|_| ())]
    {
        assert!(error.expect_err("carried").to_string().starts_with("[reshape]"));
    }
}

#[test]
fn wrong_reads_and_creations() {
    let d = device();
    let text = |r: wgrad::Result<()>| r.expect_err("refused").to_string();
    assert!(text(f(&[2]).to_vec::<i32>().map(|_| ())).contains("cast it first"));
    assert!(text(f(&[2]).item().map(|_| ())).contains("[2]"));
    assert!(text(f(&[2]).dims::<3>().map(|_| ())).contains("rank"));
    assert!(text(Tensor::from_slice(&[1.0f32], [2], d).map(|_| ())).contains("the data have 1 element, and shape [2] holds 2"));
    assert!(text(Tensor::zeros([1; 9], d).map(|_| ())).contains("at most 8"));
    assert!(text(Tensor::arange(0.0, 1.0, 0.0, d).map(|_| ())).contains("step"));
    assert!(text(f(&[2]).backward().map(|_| ())).contains("one element"));
    assert!(text(f(&[]).backward().map(|_| ())).contains("no trainable"));
    assert!(text(Device::named("no such thing").map(|_| ())).contains("no such thing"));
    if d.kind() != wgrad::DeviceKind::Cpu {
        if usize::BITS == 64 {
            let huge = Tensor::zeros([1 << 20, 1 << 20], d).expect("lazy") + 1.0;
            assert!(matches!(huge.eval(), Err(Error::OutOfMemory { .. })));
        }
        assert!(text(Tensor::from_slice(&[1.0f64], [1], d).map(|_| ())).contains("f64"));
    }
    assert_eq!(values(&(f(&[2]) + 1.0)), [1.5, 1.5], "the device keeps working");
}

#[test]
fn draws_like_another_tensor_take_its_shape_device_and_float_dtype() {
    let x = Tensor::zeros([3, 5], device()).unwrap();
    let g = Generator::new(4);
    for (dtype, expected) in
        [(DType::F16, DType::F16), (DType::F32, DType::F32), (DType::I32, DType::F32), (DType::Bool, DType::F32)]
    {
        for (like, of_shape) in [
            (x.cast(dtype).rand_like(&Generator::new(4)), Tensor::rand([3, 5], &Generator::new(4), device())),
            (x.cast(dtype).randn_like(&Generator::new(4)), Tensor::randn([3, 5], &Generator::new(4), device())),
        ] {
            assert_eq!(like.dtype().unwrap(), expected);
            assert_eq!(&like.device().unwrap(), device());
            assert_eq!(values(&like.cast(DType::F32)), values(&of_shape.unwrap().cast(expected).cast(DType::F32)));
        }
    }
    assert_ne!(values(&x.randn_like(&g)), values(&x.randn_like(&g)));
    let wrong = x.reshape([4]);
    for like in [wrong.rand_like(&g), wrong.randn_like(&g)] {
        assert!(like.eval().unwrap_err().to_string().starts_with("[reshape]"));
    }
}

#[test]
fn operands_of_two_devices_are_refused() {
    let other = Device::cpu_with(wgrad::DeviceOptions::default()).expect("opens");
    let elsewhere = upload(&[1.0], &[1], DType::F32, &other);
    let message = (f(&[1]) + &elsewhere).eval().expect_err("two devices").to_string();
    assert!(message.contains("to_device"), "{message}");
    assert_eq!(values(&(f(&[1]) + elsewhere.to_device(device()).expect("copies"))), [1.5]);
}
