//! Layers against PyTorch: state names, outputs, and gradients of inputs and parameters.

use super::formula::{floats, state};
use crate::common::{Noise, close, device, fixture, host, near, oracle, upload, values};
use wgrad::nn::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, Bilinear, Celu, DropPath, Dropout, Dropout2d, Elu, FeedForward, Gelu, GeluTanh, Glu,
    Gru, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, Init, LayerNorm, LeakyRelu, Linear, LogSigmoid, LogSoftmax, Lstm, Mish,
    Module, PRelu, PReluConfig, PixelShuffle, PixelUnshuffle, RecurrentConfig, Relu, Relu6, Residual, Rnn, RnnNonlinearity,
    RotaryConfig, RotaryEncoding, Selu, Sequence, SequenceOptions, Sigmoid, Silu, SinusoidalEncoding, Softmax, Softmin, Softplus,
    Softshrink, Softsign, Tanh, Tanhshrink, Threshold, TransformerConfig, TransformerDecoderLayer, TransformerEncoder,
    TransformerEncoderLayer, Upsample,
};
use wgrad::{AttentionOptions, DType, Device, Interpolation, Result, Tensor, grad};

const SEQUENCE: &[usize] = &[5, 3, 4];
const IMAGE: &[usize] = &[2, 4, 3, 3];

/// Loads the formula's weights, runs, and compares output and gradients.
fn check(name: &str, shape: &[usize], module: &dyn Module, run: &dyn Fn(&Tensor) -> Result<Tensor>) {
    let dict = fixture("layers.safetensors");
    module.load_state_dict(&state(&dict.metadata[name])).unwrap_or_else(|e| panic!("{name}: {e}"));
    let x = floats("x", shape).variable().unwrap();
    let y = run(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = host(&dict, &format!("{name}.out"));
    assert_eq!(y.shape().unwrap(), expected.shape, "{name}");
    near(name, &values(&y), &expected.data.to_f64(), 1e-5);
    let ct = floats("ct", &y.shape().unwrap());
    let gradients = (y * ct).sum().backward().unwrap();
    near(
        &format!("{name}, x"),
        &values(&gradients.get(&x).unwrap()),
        &host(&dict, &format!("{name}.grad.x")).data.to_f64(),
        2e-5,
    );
    for (key, param) in module.named_parameters().unwrap() {
        let found = gradients.get(&param).unwrap_or_else(|e| panic!("{name}, {key}: {e}"));
        near(&format!("{name}, {key}"), &values(&found), &host(&dict, &format!("{name}.grad.{key}")).data.to_f64(), 2e-5);
    }
}

#[test]
fn layers_without_state_agree_with_pytorch() {
    let linear = Interpolation::Linear;
    let rows: Vec<(&str, Box<dyn Module>)> = vec![
        ("ReLU", Box::new(Relu)),
        ("ReLU6", Box::new(Relu6)),
        ("LeakyReLU", Box::new(LeakyRelu::default())),
        ("LeakyReLU.2", Box::new(LeakyRelu::new(0.2))),
        ("ELU", Box::new(Elu::default())),
        ("ELU.2", Box::new(Elu::new(0.5))),
        ("CELU", Box::new(Celu::default())),
        ("CELU.2", Box::new(Celu { alpha: 0.5 })),
        ("SELU", Box::new(Selu)),
        ("GELU", Box::new(Gelu)),
        ("GELU.tanh", Box::new(GeluTanh)),
        ("SiLU", Box::new(Silu)),
        ("Mish", Box::new(Mish)),
        ("Hardsigmoid", Box::new(Hardsigmoid)),
        ("Hardswish", Box::new(Hardswish)),
        ("Hardtanh", Box::new(Hardtanh::default())),
        ("Hardtanh.2", Box::new(Hardtanh::new(-0.2, 0.7))),
        ("Hardshrink", Box::new(Hardshrink::default())),
        ("Hardshrink.2", Box::new(Hardshrink::new(0.2))),
        ("Softshrink", Box::new(Softshrink::default())),
        ("Softshrink.2", Box::new(Softshrink::new(0.2))),
        ("Tanhshrink", Box::new(Tanhshrink)),
        ("Softplus", Box::new(Softplus::default())),
        ("Softplus.2", Box::new(Softplus::new(2.0, 1.0))),
        ("Softsign", Box::new(Softsign)),
        ("Sigmoid", Box::new(Sigmoid)),
        ("LogSigmoid", Box::new(LogSigmoid)),
        ("Tanh", Box::new(Tanh)),
        ("Threshold", Box::new(Threshold::new(0.1, 2.0))),
        ("GLU", Box::new(Glu::new(1))),
        ("Softmax", Box::new(Softmax::default())),
        ("LogSoftmax", Box::new(LogSoftmax::default())),
        ("Softmin", Box::new(Softmin::default())),
        ("PixelShuffle", Box::new(PixelShuffle::new(2))),
        ("Upsample", Box::new(Upsample::new(2))),
        ("Upsample.linear", Box::new(Upsample::to(&[5, 4], linear))),
        ("AdaptiveAvgPool2d", Box::new(AdaptiveAvgPool2d::new([2, 1]))),
        ("AdaptiveMaxPool2d", Box::new(AdaptiveMaxPool2d::new([2, 2]))),
        (
            "PReLU",
            Box::new(PRelu::with(PReluConfig { num_parameters: 4, ..Default::default() }, &Init::new(device(), 0)).unwrap()),
        ),
    ];
    for (name, module) in rows {
        check(name, IMAGE, module.as_ref(), &|x| module.forward(x));
    }
}

/// Output and last states in one row, as the fixture has them.
pub fn joined(s: &Sequence) -> Tensor {
    let flat = |t: &Tensor| t.reshape([t.shape().unwrap().numel()]);
    let mut parts = vec![flat(&s.output), flat(&s.hidden)];
    parts.extend(s.cell.as_ref().map(flat));
    Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
}

macro_rules! recurrent {
    ($($test:ident: $name:literal, $layer:ident;)*) => {$(
        #[test]
        fn $test() {
            let init = Init::new(device(), 0);
            let (whole, packed) =
                (SequenceOptions::default(), SequenceOptions { lengths: Some(vec![5, 2, 4]), ..SequenceOptions::default() });
            let one = $layer::new(4, 3, &init).unwrap();
            check($name, SEQUENCE, &one, &|x| Ok(joined(&one.run(x, &whole)?)));
            let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..RecurrentConfig::default() };
            let deep = $layer::with(4, 3, config, &init).unwrap();
            check(concat!($name, ".deep"), SEQUENCE, &deep, &|x| Ok(joined(&deep.run(x, &whole)?)));
            check(concat!($name, ".packed"), SEQUENCE, &deep, &|x| Ok(deep.run(x, &packed)?.output));
        }
    )*};
}

recurrent! {
    rnn_agrees_with_pytorch: "RNN", Rnn;
    lstm_agrees_with_pytorch: "LSTM", Lstm;
    gru_agrees_with_pytorch: "GRU", Gru;
}

#[test]
fn other_layers_agree_with_pytorch() {
    let init = Init::new(device(), 0);
    let relu = RecurrentConfig { nonlinearity: RnnNonlinearity::Relu, bias: false, ..RecurrentConfig::default() };
    let rnn = Rnn::with(4, 3, relu, &init).unwrap();
    check("RNN.relu", SEQUENCE, &rnn, &|x| Ok(joined(&rnn.run(x, &SequenceOptions::default())?)));
    let bilinear = Bilinear::new(4, 4, 3, &init).unwrap();
    check("Bilinear", SEQUENCE, &bilinear, &|x| bilinear.forward(x));
    let post = TransformerConfig { dim_feedforward: 6, dropout: 0.0, ..TransformerConfig::default() };
    let pre = TransformerConfig { norm_first: true, activation: FeedForward::Gelu, ..post };
    let plain = AttentionOptions::default();
    for (name, config) in [("post", post), ("pre", pre)] {
        let encoder = TransformerEncoderLayer::with(4, 2, config, &init).unwrap();
        check(&format!("encoder.{name}"), SEQUENCE, &encoder, &|x| encoder.forward(x));
        let decoder = TransformerDecoderLayer::with(4, 2, config, &init).unwrap();
        let memory = floats("memory", &[5, 2, 4]);
        check(&format!("decoder.{name}"), SEQUENCE, &decoder, &|x| decoder.decode(x, &memory, &plain, &plain));
    }
    let layers = (0..2).map(|_| TransformerEncoderLayer::with(4, 2, post, &init).unwrap()).collect();
    let stack = TransformerEncoder::new(layers, Some(LayerNorm::new([4], &init).unwrap()));
    let causal = AttentionOptions { causal: true, ..AttentionOptions::default() };
    check("encoder.stack", SEQUENCE, &stack, &|x| stack.encode(x, &causal));
}

#[test]
fn dropouts_drop_whole_channels_and_examples() {
    let init = Init::new(device(), 7);
    let x = Tensor::ones([16, 8, 3, 3], device()).unwrap();
    let rows: Vec<(Box<dyn Module>, usize)> =
        vec![(Box::new(Dropout2d::new(0.5, &init).unwrap()), 9), (Box::new(DropPath::new(0.5, &init).unwrap()), 72)];
    for (layer, unit) in rows {
        let y = values(&layer.forward(&x).unwrap());
        let units: Vec<&[f64]> = y.chunks(unit).collect();
        assert!(units.iter().all(|u| u.iter().all(|&v| v == u[0]) && (u[0] == 0.0 || u[0] == 2.0)), "{unit}");
        let dropped = units.iter().filter(|u| u[0] == 0.0).count();
        assert!(dropped > units.len() / 5 && dropped < units.len() * 4 / 5, "{dropped} of {}", units.len());
        layer.eval();
        assert!(values(&layer.forward(&x).unwrap()).iter().all(|&v| v == 1.0));
    }
}

#[test]
fn encodings_and_rearrangements_keep_their_promises() {
    let init = Init::new(device(), 0);
    let y = SinusoidalEncoding::new(4, 8, &init).unwrap().forward(&Tensor::zeros([2, 3, 4], device()).unwrap()).unwrap();
    let expected: Vec<f64> =
        (0..3).flat_map(|p| [1.0, 0.01].map(|r| f64::from(p) * r)).flat_map(|a| [a.sin(), a.cos()]).collect();
    near("sinusoidal", &values(&y)[12..], &expected, 1e-6);
    let x = floats("x", &[2, 6, 4]);
    for interleaved in [false, true] {
        // Scores of rotated vectors depend only on the distance of their positions, and lengths are preserved.
        let rotary = RotaryEncoding::with(4, 16, RotaryConfig { base: 100.0, interleaved }, &init).unwrap();
        let scores = |offset| {
            let r = rotary.rotate(&x, offset).unwrap();
            values(&r.matmul(&r.transpose(-1, -2)))
        };
        near("rotary", &scores(7), &scores(0), 1e-5);
        let turned = values(&rotary.rotate(&x.slice(1, 1, 2), 1).unwrap());
        let (v, (i, j)) = (values(&x.slice(1, 1, 2)), if interleaved { (0, 1) } else { (0, 2) });
        let (c, s) = (1f64.cos(), 1f64.sin());
        near("rotary, first pair", &[turned[i], turned[j]], &[v[i] * c - v[j] * s, v[j] * c + v[i] * s], 1e-5);
        assert!(rotary.rotate(&x, 11).unwrap_err().to_string().contains("max_len"));
    }
    let image = floats("x", IMAGE);
    let back = PixelUnshuffle::new(2).forward(&PixelShuffle::new(2).forward(&image).unwrap()).unwrap();
    assert_eq!(values(&back), values(&image));
    let block = Residual::new(Linear::new(3, 5, &init).unwrap());
    assert!(block.forward(&Tensor::ones([2, 3], device()).unwrap()).unwrap_err().to_string().contains("shortcut"));
}

#[test]
fn a_sequence_in_parts_goes_on_from_the_state_carried_on_without_its_gradient() {
    let init = Init::new(device(), 0);
    let config = RecurrentConfig { num_layers: 2, ..RecurrentConfig::default() };
    let lstm = Lstm::with(4, 3, config, &init).unwrap();
    let x = floats("x", SEQUENCE).variable().unwrap();
    let (first, second) = (x.narrow(0, 0, 2), x.narrow(0, 2, 3));
    let whole = lstm.run(&x, &SequenceOptions::default()).unwrap();
    let state = lstm.run(&first, &SequenceOptions::default()).unwrap().carry();
    let rest = lstm.run(&second, &state).unwrap();
    close("the second part", &values(&rest.output), &values(&whole.output.narrow(0, 2, 3)), 1e-5, 1e-6);
    close("the cells", &values(&rest.cell.unwrap()), &values(&whole.cell.unwrap()), 1e-5, 1e-6);
    // The gradient reaches only the steps of the second part.
    let slope = values(&rest.output.sum().backward().unwrap().get(&x).unwrap().abs().sum_dim([1, 2]));
    assert!(slope[..2].iter().all(|&g| g == 0.0) && slope[2..].iter().all(|&g| g > 0.0), "{slope:?}");
}

/// Gradients of states and outputs with random cotangents, by the op that has them all and by those of which they can be derived
/// again, and the derivative of their squares, on odd sizes: the device in f32 against f64, in which time is unrolled.
#[test]
fn recurrent_layers_agree_with_f64() {
    let run = |device: &Device, dtype: DType, kind: usize, config: RecurrentConfig, lengths: Option<Vec<usize>>| {
        let mut noise = Noise(7);
        let mut tensor = |shape: &[usize]| {
            let count = shape.iter().product();
            upload(&noise.values(count, -1.0, 1.0), shape, dtype, device)
        };
        let x = tensor(&[5, 7, 4]).variable().unwrap();
        let h0 = tensor(&[4, 7, 9]).variable().unwrap();
        let c0 = tensor(&[4, 7, 9]).variable().unwrap();
        let init = Init::new(device, 3).with_dtype(dtype);
        let cell = (kind == 2).then(|| c0.clone());
        let options = SequenceOptions { hidden: Some(h0.clone()), cell, lengths };
        let (layer, y) = match kind {
            0 => finish(|init| Rnn::with(4, 9, config, init), &init, |l| l.run(&x, &options)),
            1 => finish(|init| Gru::with(4, 9, config, init), &init, |l| l.run(&x, &options)),
            _ => finish(|init| Lstm::with(4, 9, config, init), &init, |l| l.run(&x, &options)),
        };
        let loss = (tensor(&[5, 7, 18]) * &y.output).sum() + (tensor(&[4, 7, 9]) * &y.hidden).sum();
        let loss = y.cell.iter().fold(loss, |loss, cell| loss + (tensor(&[4, 7, 9]) * cell).sum());
        let params = layer.named_parameters().unwrap();
        let params: Vec<Tensor> = params.iter().map(|(_, p)| p.tensor()).collect();
        let mut of: Vec<&Tensor> = [&x, &h0].into_iter().chain(&params).collect();
        if kind == 2 {
            of.push(&c0);
        }
        let direct = loss.backward().unwrap();
        let direct: Vec<Tensor> = of.iter().map(|t| direct.get(*t).unwrap()).collect();
        let slopes = grad(&loss, &of).unwrap();
        let squares = slopes.iter().map(|g| g.square().sum()).reduce(|a, b| a + b).unwrap();
        let second = grad(&squares, &of).unwrap();
        direct.iter().chain(&slopes).chain(&second).map(values).collect::<Vec<_>>()
    };
    for (kind, nonlinearity) in
        [(0, RnnNonlinearity::Tanh), (0, RnnNonlinearity::Relu), (1, RnnNonlinearity::Tanh), (2, RnnNonlinearity::Tanh)]
    {
        for lengths in [None, Some(vec![5, 1, 3, 4, 5, 2, 1])] {
            let bias = lengths.is_none();
            let config = RecurrentConfig { num_layers: 2, bidirectional: true, nonlinearity, bias, ..RecurrentConfig::default() };
            let want = run(&oracle(), DType::F64, kind, config, lengths.clone());
            let got = run(device(), DType::F32, kind, config, lengths.clone());
            for (n, (got, want)) in got.iter().zip(&want).enumerate() {
                near(&format!("{kind} {nonlinearity:?} {lengths:?}, gradient {n}"), got, want, 5e-5);
            }
        }
    }
}

/// A layer with the same weights in any dtype, and what it gives.
fn finish<L: Module + 'static>(
    layer: impl Fn(&Init) -> Result<L>,
    init: &Init,
    run: impl Fn(&L) -> Result<Sequence>,
) -> (Box<dyn Module>, Sequence) {
    let weights = layer(&Init::new(&oracle(), 3)).unwrap().state_dict().unwrap();
    let layer = layer(init).unwrap();
    layer.load_state_dict(&weights).unwrap();
    let y = run(&layer).unwrap();
    (Box::new(layer), y)
}

#[test]
fn impossible_settings_and_inputs_are_refused() {
    let init = Init::new(device(), 0);
    let lstm = Lstm::new(4, 3, &init).unwrap();
    let x = floats("x", SEQUENCE);
    let run = |lengths: Option<Vec<usize>>, hidden: Option<Tensor>| {
        lstm.run(&x, &SequenceOptions { lengths, hidden, cell: None }).unwrap_err().to_string()
    };
    let bad = TransformerConfig { dropout: 1.5, ..TransformerConfig::default() };
    let rows = [
        (run(Some(vec![5, 2]), None), "2 lengths were given for 3"),
        (run(Some(vec![5, 6, 1]), None), "length 6 of sequence 1"),
        (run(Some(vec![5, 0, 1]), None), "length 0 of sequence 1"),
        (run(None, Some(floats("x", &[1, 3, 4]))), "[1, 3, 3]"),
        (lstm.forward(&floats("x", &[5, 3, 2])).unwrap_err().to_string(), "the layer takes 4"),
        (Dropout::new(-0.1, &init).unwrap_err().to_string(), "probability of -0.1"),
        (DropPath::new(f64::NAN, &init).unwrap_err().to_string(), "probability of NaN"),
        (TransformerEncoderLayer::with(4, 2, bad, &init).unwrap_err().to_string(), "probability of 1.5"),
        (PixelShuffle::new(3).forward(&floats("x", IMAGE)).unwrap_err().to_string(), "not a multiple of 3²"),
    ];
    for (message, expected) in rows {
        assert!(message.contains(expected) && message.contains("help: "), "{message}");
    }
}

#[test]
fn a_long_sequence_unrolls_at_bearable_cost() {
    let device = crate::common::open(false);
    let lstm = Lstm::new(16, 32, &Init::new(&device, 0)).unwrap();
    let x = Tensor::from_host(floats("x", &[64, 8, 16]).to_host().unwrap(), DType::F32, [64, 8, 16], &device).unwrap();
    let step = || {
        let start = std::time::Instant::now();
        let gradients = lstm.forward(&x).unwrap().square().mean().backward().unwrap();
        let all: Vec<Tensor> = lstm.parameters().unwrap().iter().map(|p| gradients.get(p).unwrap()).collect();
        Tensor::eval_all(&all.iter().collect::<Vec<_>>()).unwrap();
        let finite = all.iter().all(|g| values(g).iter().all(|v| v.is_finite()));
        assert!(finite, "a gradient is not finite");
        start.elapsed()
    };
    let (first, second) = (step(), step());
    let pipelines = device.counters().pipelines;
    println!("LSTM, 64 steps: first {first:?}, then {second:?}; {pipelines} pipelines");
    // Steps share their kernels: only data differs between them.
    assert!(pipelines <= 48, "{pipelines} pipelines");
}
