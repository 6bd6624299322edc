//! Texts of errors: short, exact, and with a remedy.

use crate::common::device;
use std::panic::Location;
use wgrad::data::{ByteTokenizer, Tokenizer};
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::loss::{CrossEntropyOptions, Reduction, cross_entropy, cross_entropy_with, nll};
use wgrad::nn::models::{ResNet, ResNetConfig};
use wgrad::nn::transfer::freeze;
use wgrad::nn::{
    BatchNorm2d, Embedding, Gru, Init, InstanceNorm2d, Linear, LoadOptions, Lstm, Module, MultiheadAttention, RecurrentConfig,
    Sequential,
};
use wgrad::{AttentionOptions, ConvOptions, ConvTransposeOptions, Device, DeviceOptions, Param, Result, Tensor, grad};

fn f(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, device()).unwrap()
}

fn text<T>(result: Result<T>) -> String {
    result.map(|_| "no error").unwrap_err().to_string()
}

/// A message without its file and line, and whether they were in this file.
fn placed(message: &str) -> (&str, bool) {
    match message.rsplit_once(" (at ") {
        Some((text, place)) => (text, place.starts_with(file!())),
        None => (message, false),
    }
}

#[test]
fn what_is_read_wrongly_names_file_and_line() {
    let d = device();
    let w = Param::new(&f(&[2])).unwrap();
    let (x, free) = (f(&[2]), f(&[3]).variable().unwrap());
    let gradients = w.tensor().square().sum().backward().unwrap();
    let labels = Tensor::from_slice(&[9], [1], d).unwrap();
    let whole = Tensor::from_slice(&[1, 2], [2], d).unwrap();
    // The line is that of the call.
    let here = Location::caller().line();
    let message = text(x.item());
    assert!(message.ends_with(&format!("(at {}:{})", file!(), here + 1)), "{message}");
    let depends = "the tensor depends on no trainable parameter or variable; help: build it outside no_grad, from a Param \
                   that is not frozen or a tensor marked with variable()";
    let flows = "help: make the loss depend on it, unfreeze it, or mark a tensor with variable()";
    let rows = [
        (message, "[item] f32 [2]: the tensor has 2 elements, not 1; help: reduce it to one element, or read it with to_vec".into()),
        (
            text(x.to_vec::<i32>()),
            "[to_vec] f32 [2]: the elements are f32, not i32; help: read it as f32, or cast it first: .cast(DType::I32)".into(),
        ),
        (text(whole.variable()), "[variable] i32 [2]: i32 is not a floating-point dtype; help: cast it to f32 first".to_owned()),
        (
            text(Param::new(&whole)),
            "[Param::new] i32 [2]: i32 cannot be trained; help: parameters are f32 (f64 on the CPU device): cast it, or use \
             Param::buffer for other state"
                .into(),
        ),
        (text(x.sum().backward()), format!("[backward] {depends}")),
        (
            text(w.tensor().backward()),
            "[backward] the tensor has shape [2], and a loss has one element; help: reduce it, say with .mean(), or give a \
             cotangent with backward_with"
                .into(),
        ),
        (
            text(w.tensor().backward_with(&f(&[3]))),
            "[backward] the cotangent is f32 [3] and the tensor f32 [2]; help: give a cotangent of the tensor's shape and dtype"
                .into(),
        ),
        (text(gradients.get(&free)), format!("[get] the tensor of shape [3] has no gradient: the loss does not depend on it; {flows}")),
        (
            text(grad(&w.tensor().sum(), &[&x])),
            "[grad] tensor 0 of `wrt`, of shape [2], requires no gradient: it is not a variable; x.variable() leaves x as it is \
             and returns the tensor to use in its place, in the loss and here; help: mark a tensor with variable(), or unfreeze \
             the parameter, before the output is built from it"
                .into(),
        ),
        (
            text(f(&[4, 2]).gather_rows(&labels).eval()),
            "[gather_rows] index 9 at position 0 is outside 0..4; help: indices count rows from 0".into(),
        ),
        (
            text(ByteTokenizer.decode(&[65, 300])),
            "[decode] index 300 at position 1 is outside 0..256; help: use tokens that this tokeniser has made, or a model with \
             its vocabulary"
                .into(),
        ),
        (
            text(Embedding::new(4, 2, &Init::new(d, 0)).unwrap().forward(&labels)),
            "[Embedding] index 9 at position 0 is outside 0..4; help: the layer's vocabulary has 4 tokens: use tokens below 4, or \
             make the layer with more rows"
                .into(),
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(placed(&message), (expected.as_str(), true), "{message}");
    }
}

#[test]
fn layers_say_what_does_not_fit() {
    let init = Init::new(device(), 0);
    let batch_first = RecurrentConfig { batch_first: true, ..RecurrentConfig::default() };
    let lstm = |config, shape: &[usize]| text(Lstm::with(3, 5, config, &init).unwrap().forward(&f(shape)));
    let plain = RecurrentConfig::default();
    let attention = MultiheadAttention::new(4, 2, &init).unwrap();
    let masked = |x: &[usize], mask: &[usize]| {
        let options = AttentionOptions { mask: Some(f(mask).gt(0.0)), ..AttentionOptions::default() };
        text(attention.attend(&f(x), &f(x), &f(x), &options))
    };
    let scores = |q: &[usize], mask: &[usize]| {
        let options = AttentionOptions { mask: Some(f(mask)), ..AttentionOptions::default() };
        text(f(q).scaled_dot_product_attention(&f(q), &f(q), &options).check())
    };
    let (conv, line) = (ConvOptions::default(), ConvOptions::<1>::default());
    let labels = |label: i32| Tensor::from_slice(&[0, label], [2], device()).unwrap();
    let (two, ignored) = (f(&[2, 3]), CrossEntropyOptions::default());
    let rows = [
        (
            lstm(plain, &[4, 3]),
            "[Lstm] the input [4, 3] has 2 axes, not 3; help: give [t, n, inputs]: x.unsqueeze(1) is a batch of one sequence",
        ),
        (
            lstm(batch_first, &[4, 3]),
            "[Lstm] the input [4, 3] has 2 axes, not 3; help: give [n, t, inputs]: x.unsqueeze(0) is a batch of one sequence",
        ),
        (
            lstm(plain, &[4, 1, 2]),
            "[Lstm] the input [4, 1, 2] has 2 in its last axis, and the layer takes 3; help: give [t, n, inputs], or make the layer \
             for this width",
        ),
        (lstm(plain, &[0, 1, 3]), "[Lstm] the input [0, 1, 3] is empty; help: give at least one step and one sequence"),
        (
            text(Gru::with(3, 5, plain, &init).unwrap().forward(&f(&[3]))),
            "[Gru] the input [3] has 1 axis, not 3; help: give [t, n, inputs]",
        ),
        (
            text(Linear::new(3, 2, &init).unwrap().forward(&f(&[4, 5]))),
            "[Linear] f32 [4, 5]: the input [4, 5] has 5 in its last axis, and the layer takes 3; help: give [.., 3], or make the \
             layer for this width",
        ),
        (
            text(BatchNorm2d::new(3, &init).unwrap().forward(&f(&[2, 1, 4, 4]))),
            "[BatchNorm2d] the input [2, 1, 4, 4] has 1 channel, and the layer takes 3; help: give [n, channels, h, w]",
        ),
        (
            text(BatchNorm2d::new(3, &init).unwrap().forward(&f(&[2, 3, 4]))),
            "[BatchNorm2d] the input [2, 3, 4] has 3 axes, not 4; help: give [n, channels, h, w]",
        ),
        (
            text(InstanceNorm2d::new(3, &init).unwrap().forward(&f(&[2, 4]))),
            "[InstanceNorm2d] the input [2, 4] has 2 axes, not 3 or 4; help: give",
        ),
        (
            text(f(&[1, 1, 5, 5]).conv2d(&f(&[4, 3, 3, 3]), None, conv).check()),
            "[conv2d] f32 [1, 1, 5, 5], f32 [4, 3, 3, 3]: the input has 1 channel, and the weight [4, 3, 3, 3] takes 3; help: the \
             weight's second axis is the input's channels divided by groups",
        ),
        (
            text(f(&[1, 4, 5]).conv1d(&f(&[4, 3, 3]), None, ConvOptions { groups: 2, ..line }).check()),
            "[conv1d] f32 [1, 4, 5], f32 [4, 3, 3]: the input has 4 channels, and the weight [4, 3, 3] takes 6 (2 groups of 3); help: ",
        ),
        (
            text(f(&[1, 4, 5, 5]).conv2d(&f(&[3, 2, 3, 3]), None, ConvOptions { groups: 2, ..conv }).check()),
            "[conv2d] f32 [1, 4, 5, 5], f32 [3, 2, 3, 3]: 3 output channels cannot be split into 2 groups; help: use a number of \
             groups that divides both channels",
        ),
        (
            text(f(&[1, 1, 5]).conv_transpose1d(&f(&[2, 3, 3]), None, ConvTransposeOptions::default()).check()),
            "[conv_transpose1d] f32 [1, 1, 5], f32 [2, 3, 3]: the input has 1 channel, and the weight [2, 3, 3] takes 2; help: the \
             weight's first axis is the input's channels",
        ),
        (
            masked(&[3, 5, 4], &[3, 5]),
            "[MultiheadAttention] the mask [3, 5] does not stretch to the scores [n, heads, l, s], [3, 2, 5, 5]; help: a padding \
             mask [n, s] needs axes for what lies between: mask.reshape([3, 1, 1, 5])",
        ),
        (
            masked(&[3, 5, 4], &[4, 5]),
            "[MultiheadAttention] the mask [4, 5] does not stretch to the scores [n, heads, l, s], [3, 2, 5, 5]; help: use a mask \
             [l, s], or with leading axes that agree or are 1",
        ),
        (
            scores(&[3, 5, 4], &[3, 5]),
            "[scaled_dot_product_attention] f32 [3, 5, 4], f32 [3, 5, 4], f32 [3, 5, 4], f32 [3, 5]: the mask [3, 5] does not \
             stretch to the scores' [3, 5, 5]; help: a padding mask [n, s] needs axes for what lies between: mask.reshape([3, 1, 5])",
        ),
        (
            text(cross_entropy(&two, &labels(-100), Reduction::Mean)),
            "[cross_entropy] index -100 at position 1 is outside 0..3; help: to leave out the samples of label -100, use \
             cross_entropy_with and set ignore_index: Some(-100)",
        ),
        (
            text(cross_entropy_with(&two, &labels(-100), &ignored)),
            "[cross_entropy_with] index -100 at position 1 is outside 0..3; help: to leave out the samples of label -100, set \
             ignore_index: Some(-100)",
        ),
        (
            text(nll(&two, &labels(-1), None, None, Reduction::Mean)),
            "[nll] index -1 at position 1 is outside 0..3; help: to leave out the samples of label -1, set ignore_index: Some(-1)",
        ),
        (
            text(cross_entropy(&two, &labels(3), Reduction::Mean)),
            "[cross_entropy] index 3 at position 1 is outside 0..3; help: labels count classes from 0; the logits' second axis is \
             the class count",
        ),
    ];
    for (message, expected) in rows {
        assert!(message.starts_with(expected), "{message}\n{expected}");
        assert!(message.len() < 400 && message.lines().count() == 1, "{message}");
    }
    // A mask of the suggested shape is accepted.
    let options = AttentionOptions { mask: Some(f(&[3, 1, 1, 5]).gt(0.0)), ..AttentionOptions::default() };
    attention.attend(&f(&[3, 5, 4]), &f(&[3, 5, 4]), &f(&[3, 5, 4]), &options).unwrap().eval().unwrap();
}

#[test]
#[cfg_attr(target_pointer_width = "32", ignore = "with sizes of 32 bits no shape has so many elements")]
fn a_tensor_past_what_kernels_count_says_the_bound() {
    let x = f(&[1]).expand([1 << 17, 1 << 17]);
    let message = text((&x + &x.t()).sum().eval());
    let bound = "would run over 17179869184 elements, and a kernel runs over 4294967295 (2^32 - 1) at most";
    assert!(message.contains(bound), "{message}");
    assert!(message.contains("help: reduce before you expand, or use smaller batches or tensors"), "{message}");
}

#[test]
fn a_device_that_is_not_there_is_told_shortly() {
    let found = Device::list().len();
    let message = text(Device::named("no such device"));
    assert!(
        message
            .contains("help: use best, gpu, software or cpu, an index, part of a name, or an API and one of these (dx12:nvidia)"),
        "{message}"
    );
    assert!(message.matches(" (").count() >= found.min(5) && message.len() < 600, "{message}");
    if let Err(error) = Device::gpu() {
        let message = error.to_string();
        assert!(message.ends_with("help: install the GPU vendor's Vulkan driver, or use `software` or `cpu`"), "{message}");
    }
}

#[test]
fn files_of_other_formats_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let torch = "help: convert it in Python:\n    import safetensors.torch, torch\n    state = torch.load(\"";
    let rows: [(&[u8], &str, &str); 8] = [
        (b"PK\x03\x04\0\0\x08\x08archive/data.pkl", "this is a zip file, as torch.save writes, not a safetensors file", torch),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "this is a PyTorch pickle, not a safetensors file", torch),
        (b"\x80\x04\x95\x1f\0\0\0\0\0\0\0}", "this is a Python pickle, not a safetensors file", torch),
        (b"\x93NUMPY\x01\0v\0{'descr'", "this is a NumPy array, not", "help: convert it in Python: safetensors.numpy.save_file("),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "this is a pointer of Git LFS, not",
            "help: fetch the file itself: git lfs pull",
        ),
        (b"<!DOCTYPE html><html>", "this is a web page, not", "help: download the file itself"),
        (b"", "this is not a whole safetensors file (header too small)", "help: save or download it again"),
        (b"nonsense and more", "this is not a whole safetensors file (header too large)", "help: save or download it again"),
    ];
    for (bytes, reason, help) in rows {
        let path = folder.path().join("model.pt");
        std::fs::write(&path, bytes).unwrap();
        let message = text(StateDict::load(&path));
        assert!(message.starts_with(&format!("{}: {reason}", path.display())), "{message}");
        assert!(message.contains(help), "{message}");
    }
}

#[test]
fn a_note_that_is_missing_lists_those_there_are() {
    let mut dict = StateDict::new();
    let help = "help: resume from a file of the same program, which wrote it with Checkpoint::with";
    let message = format!("[note] the note \"settings\" is missing: the file has no notes; {help}");
    assert_eq!(placed(&text(dict.note::<usize>("settings"))), (message.as_str(), true));
    dict.metadata.extend(["step", "epoch"].map(|key| (key.into(), "a".into())));
    let message = format!("[note] the note \"settings\" is missing: the file has \"epoch\", \"step\"; {help}");
    assert_eq!(placed(&text(dict.note::<usize>("settings"))), (message.as_str(), true));
    let message = "[note] the note \"epoch\" is \"a\", which does not parse; help: read it as the type it was written as";
    assert_eq!(placed(&text(dict.note::<usize>("epoch"))), (message, true));
}

/// Two layers with names of their own.
struct Net {
    conv: Linear,
    head: Linear,
}

impl Module for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.conv.forward(x)?)
    }
    wgrad::nn::fields!(conv, head);
}

fn net(init: &Init, classes: usize) -> Net {
    Net { conv: Linear::new(3, 4, init).unwrap(), head: Linear::new(4, classes, init).unwrap() }
}

fn renamed(dict: &StateDict, name: impl Fn(&str) -> String) -> StateDict {
    let mut out = StateDict::new();
    dict.tensors.iter().for_each(|(key, tensor)| out.insert(name(key), tensor.clone()).unwrap());
    out
}

#[test]
fn a_file_that_does_not_fit_is_told_in_few_lines_with_the_rules_that_would() {
    let init = Init::new(device(), 0);
    let net = net(&init, 2);
    let own = net.state_dict().unwrap();
    type Name = fn(&str) -> String;
    let rows: [(Name, &str); 4] = [
        (|name| format!("module.{name}"), ".rename(\"module.*\", \"*\") makes 4 of the missing names fit"),
        (|name| name.replace("conv.", "features.0."), ".rename(\"features.0.*\", \"conv.*\") makes 2 of the missing names fit"),
        (
            |name| name.replace("conv.", "0.").replace("head.", "2."),
            ".rename(\"0.*\", \"conv.*\").rename(\"2.*\", \"head.*\") makes 4 of the missing names fit",
        ),
        (
            |name| format!("{name}_"),
            "load the file that belongs to this model, or rename, transpose and ignore tensors with LoadOptions",
        ),
    ];
    for (name, expected) in rows {
        let message = text(net.load_state_dict(&renamed(&own, name)));
        assert!(message.contains(expected), "{message}");
        assert!(message.lines().count() <= 10, "{message}");
    }
    // The rules are those that load.
    let options = LoadOptions::strict().rename("0.*", "conv.*").rename("2.*", "head.*");
    net.load_state_dict_with(&renamed(&own, |n| n.replace("conv.", "0.").replace("head.", "2.")), &options).unwrap();
    let message = text(net.load_state_dict(&renamed(&own, |name| format!("module.{name}"))));
    let expected = "[load_state_dict] the file has 4 tensors and the module 4, of which 0 fit\n  conv.bias, conv.weight, head.bias and 1 \
                    more are missing\n  module.conv.bias, module.conv.weight, module.head.bias and 1 more are unknown to the module; \
                    help: LoadOptions::strict().rename(\"module.*\", \"*\") makes 4 of the missing names fit";
    let sorted = message.replace("conv.weight, conv.bias, head.weight", "conv.bias, conv.weight, head.bias");
    assert_eq!(placed(&sorted), (expected, true));
}

#[test]
fn a_large_model_and_a_strangers_file_make_a_short_message() {
    let init = Init::new(device(), 0);
    let model = ResNet::new(ResNetConfig { width: 4, classes: 10, ..ResNetConfig::default() }, &init).unwrap();
    let own = model.state_dict().unwrap();
    let strange = renamed(&own, |name| format!("backbone.{}", name.replace("layer", "stage").replace("bn", "norm")));
    let mut other = StateDict::new();
    (0..300).for_each(|i| other.insert(format!("encoder.block.{i}.attention.weight"), HostTensor::scalar(0.0)).unwrap());
    for file in [&strange, &other, &StateDict::new()] {
        let message = text(model.load_state_dict(file));
        assert!(message.lines().count() <= 10 && message.len() < 1200, "{} characters: {message}", message.len());
        let report = model.load_state_dict_partial(file).unwrap().to_string();
        assert!(report.lines().count() <= 20, "{report}");
    }
    let message = text(model.load_state_dict(&renamed(&own, |name| format!("model.{name}"))));
    assert!(message.contains(".rename(\"model.*\", \"*\")"), "{message}");
}

#[test]
fn what_nearly_fits_is_told_how_to() {
    let (d, init) = (device(), Init::new(device(), 0));
    let (logits, labels) = (f(&[4, 3]), Tensor::from_slice(&[0, 1, 2], [3], d).unwrap());
    let net = Sequential::new().push_named("body", Linear::new(3, 4, &init).unwrap());
    let dict = net.state_dict().unwrap();
    // A GPU takes no f64.
    let cpu = Device::cpu().unwrap();
    let literals = Tensor::from_slice(&[1.0, 2.0], [2], &cpu).unwrap() + Tensor::ones([2], &cpu).unwrap();
    let second = Device::cpu_with(DeviceOptions::default()).unwrap();
    let named = format!(
        "[add] f32 [2], f32 [2]: the operands are on two devices named {cpu}; help: open a device once and use clones of it, or move one with to_device"
    );
    let twins = Tensor::ones([2], &cpu).unwrap() + Tensor::ones([2], &second).unwrap();
    let rows = [
        (
            text(logits.cross_entropy(&labels).eval()),
            "[cross_entropy] f32 [4, 3], i32 [3]: 3 labels for 4 rows of logits; help: give one label per row",
        ),
        (
            text(logits.cross_entropy(&f(&[4])).eval()),
            "[cross_entropy] f32 [4, 3], f32 [4]: labels are f32, not i32; help: cast them: .cast(DType::I32)",
        ),
        (text(logits.sum_dim(2).eval()), "[sum] f32 [4, 3]: axis 2 is outside shape [4, 3]; help: use an axis from -2 to 1"),
        (
            text(literals.eval()),
            "[add] f64 [2], f32 [2]: dtypes f64 and f32 differ; help: cast one: .cast(DType::F32); literals are f32 as 1.0f32",
        ),
        (text(twins.eval()), named.as_str()),
        (text(freeze(&net, "body")), "[freeze] the pattern \"body\" matches no name; help: \"body.*\" matches 2 names"),
        (
            text(dict.tensor("bias", d)),
            "[StateDict::tensor] none of 2 tensors has the name \"bias\"; help: use a name of the file: there are \"body.bias\", \
             \"body.weight\"",
        ),
        (
            text((labels * 0.5).eval()),
            "[mul] i32 [3]: 0.5 is not a number of dtype i32; help: use a whole number, or cast the tensor to f32 first",
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(placed(&message).0, expected);
    }
}

#[test]
fn a_device_is_listed_in_one_line() {
    for info in Device::list() {
        let line = info.to_string();
        assert!(line.starts_with(&format!("{}: {} ({}, {}", info.index, info.name, info.kind, info.backend)), "{line}");
        assert!(line.ends_with(')') && !line.contains(", )") && !line.contains('\n'), "{line}");
    }
}
