//! Wrong calls: a typed error that names the op, the shapes and a remedy; never a panic, and the device works on.

use crate::common::{device, upload, values};
use wgrad::{ConvOptions, DType, Device, Error, Generator, PoolOptions, Tensor};

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

fn i(v: &[i32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).expect("valid")
}

#[test]
fn wrong_calls_name_the_op_and_the_remedy() {
    let conv = ConvOptions::default();
    let rows: Vec<(&str, Tensor, &[&str])> = vec![
        ("add", f(&[2, 3]) + f(&[4]), &["[2, 3]", "[4]", "broadcast"]),
        ("add", f(&[2]) + i(&[1, 2]), &["f32", "i32", "cast"]),
        ("sub", f(&[2]) - i(&[1, 2]), &["dtypes"]),
        ("mul", f(&[2]).gt(&f(&[2])) * 2.0, &["bool", "cast"]),
        ("logical_and", f(&[2]).logical_and(&f(&[2])), &["logic"]),
        ("logical_not", f(&[2]).logical_not(), &["truth"]),
        ("exp", i(&[1]).exp(), &["floating"]),
        ("where", f(&[2]).where_(&f(&[2]), &f(&[2])), &["condition"]),
        ("where", f(&[2]).gt(&f(&[2])).where_(&f(&[2]), &i(&[1, 2])), &["branches"]),
        ("clamp", f(&[2]).clamp(2.0, 1.0), &["order"]),
        ("clamp", f(&[2]).clamp(f64::NAN, 1.0), &["order"]),
        ("dropout", f(&[2]).dropout(1.5, &Generator::new(0)), &["probability"]),
        ("reshape", f(&[2, 3]).reshape([4]), &["6 elements", "[4]"]),
        ("reshape", f(&[1]).reshape([1; 9]), &["at most 8"]),
        ("flatten", f(&[2, 3]).flatten(1, 0), &["range"]),
        ("permute", f(&[2, 3]).permute(&[0, 0]), &["order"]),
        ("transpose", f(&[2]).t(), &["axis"]),
        ("expand", f(&[2]).expand([3]), &["stretch"]),
        ("unsqueeze", f(&[2]).unsqueeze(3), &["added"]),
        ("squeeze", f(&[2]).squeeze(0), &["length 2"]),
        ("slice", f(&[4]).slice(0, 2, 9), &["length 4"]),
        ("slice", f(&[4]).slice(1, 0, 1), &["axis 1"]),
        ("slice", f(&[4]).slice_step(0, 0, 4, 0), &["step"]),
        ("flip", f(&[4]).flip(-2), &["axis -2"]),
        ("pad", f(&[4]).pad(&[]), &["one pair"]),
        ("pad", f(&[4]).pad(&[(usize::MAX, 1)]), &["too large"]),
        ("cat", Tensor::cat(&[&f(&[2, 2]), &f(&[3, 3])], 0), &["differ"]),
        ("cat", Tensor::cat(&[], 0), &["no tensors"]),
        ("sum", f(&[2, 3]).sum(2, false), &["axis 2", "-2..2"]),
        ("sum", f(&[2, 3]).sum([0, -2], false), &["twice"]),
        ("max", f(&[2, 0]).max(1, false), &["no element"]),
        ("argmax", f(&[0]).argmax(0, false), &["no element"]),
        ("mean", i(&[1]).mean((), false), &["floating"]),
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
        ("max_pool2d", f(&[1, 1, 2, 2]).max_pool2d(PoolOptions::square(3)), &["longer"]),
        ("max_pool2d", f(&[1, 1, 4, 4]).max_pool2d(PoolOptions::square(2).padding(2)), &["half"]),
        ("avg_pool2d", f(&[4, 4]).avg_pool2d(PoolOptions::square(2)), &["4 axes"]),
        ("softmax", f(&[2, 3]).softmax(2), &["axis 2"]),
        ("cross_entropy", f(&[2, 3]).cross_entropy(&i(&[0])), &["[n, classes]"]),
        ("cross_entropy", f(&[2, 3]).cross_entropy(&f(&[2])), &["i32"]),
        ("gather_rows", f(&[2]).gather_rows(&i(&[0])), &["[rows, d]"]),
        ("scatter_add_rows", f(&[2, 3]).scatter_add_rows(4, &i(&[0])), &["[n, d]"]),
    ];
    for (op, tensor, parts) in rows {
        let error = tensor.eval().expect_err(op);
        let message = error.to_string();
        assert!(matches!(error, Error::Op(_)), "{op}: {message}");
        assert!(message.starts_with(&format!("[{op}]")) && message.contains("help: "), "{op}: {message}");
        assert!(message.contains("refusals.rs"), "{op} does not say where: {message}");
        for part in parts {
            assert!(message.contains(part), "{op}: no \"{part}\" in {message}");
        }
    }
    assert_eq!(values(&(f(&[2]) + 1.0)), [1.5, 1.5], "the device works on");
}

#[test]
fn labels_and_indices_out_of_range_are_named() {
    let message = |t: Tensor| t.eval().expect_err("out of range").to_string();
    let text = message(f(&[3, 4]).cross_entropy(&i(&[0, 4, 1])));
    assert!(text.contains("index 4 at position 1 is outside 0..4"), "{text}");
    assert!(message(f(&[3, 4]).cross_entropy(&i(&[0, 1, -1]))).contains("index -1 at position 2"));
    assert!(message(f(&[3, 4]).gather_rows(&i(&[3]))).contains("outside 0..3"));
    assert!(message(f(&[1, 4]).scatter_add_rows(2, &i(&[2]))).contains("outside 0..2"));
}

#[test]
fn an_error_travels_to_whoever_reads() {
    let wrong = f(&[2]).reshape([3]);
    let later = (wrong.exp() * 2.0 + f(&[3])).sum((), false);
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
    assert!(text(Tensor::from_slice(&[1.0f32], [2], d).map(|_| ())).contains("1 elements"));
    assert!(text(Tensor::zeros([1; 9], d).map(|_| ())).contains("at most 8"));
    assert!(text(Tensor::arange(0.0, 1.0, 0.0, d).map(|_| ())).contains("step"));
    assert!(text(f(&[2]).backward().map(|_| ())).contains("one element"));
    assert!(text(f(&[]).backward().map(|_| ())).contains("no trainable"));
    assert!(text(Device::named("no such thing").map(|_| ())).contains("no such thing"));
    let huge = Tensor::zeros([1 << 20, 1 << 20], d).expect("lazy") + 1.0;
    if d.kind() != wgrad::DeviceKind::Cpu {
        assert!(matches!(huge.eval(), Err(Error::OutOfMemory { .. })));
        assert!(text(Tensor::from_slice(&[1.0f64], [1], d).map(|_| ())).contains("f64"));
    }
    assert_eq!(values(&(f(&[2]) + 1.0)), [1.5, 1.5], "the device works on");
}

#[test]
fn operands_of_two_devices_are_refused() {
    let other = Device::cpu_with(wgrad::DeviceOptions::default()).expect("opens");
    let elsewhere = upload(&[1.0], &[1], DType::F32, &other);
    let message = (f(&[1]) + &elsewhere).eval().expect_err("two devices").to_string();
    assert!(message.contains("to_device"), "{message}");
    assert_eq!(values(&(f(&[1]) + elsewhere.to_device(device()).expect("copies"))), [1.5]);
}
