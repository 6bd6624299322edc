//! Further layers against PyTorch with default and other settings, and a check of the fixtures: every public layer and
//! optimizer is in a file that PyTorch wrote, or in a list with the reason why not.

use super::formula::{floats, integers, state};
use super::layers::joined;
use crate::common::{device, fixture, host, near, values};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use wgrad::nn::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool1d,
    AvgPool2d, AvgPool3d, Bilinear, BilinearConfig, Conv1d, Conv2d, Conv3d, ConvOptions, ConvTranspose1d, ConvTranspose2d,
    ConvTranspose3d, Dropout, Dropout1d, Dropout2d, Dropout3d, Embedding, EmbeddingConfig, FeedForward, Flatten, GlobalAvgPool,
    GlobalMaxPool, Glu, GroupNorm, GroupNormConfig, Gru, Identity, Init, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm,
    MaxPool1d, MaxPool2d, MaxPool3d, Module, MultiheadAttention, MultiheadAttentionConfig, PRelu, PixelShuffle, PixelUnshuffle,
    RecurrentConfig, Residual, RmsNorm, RmsNormConfig, Rnn, RotaryConfig, RotaryEncoding, SequenceOptions, Sequential,
    SinusoidalEncoding, Tanh, Threshold, TransformerConfig, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder,
    TransformerEncoderLayer, Unflatten, Upsample,
};
use wgrad::{AttentionOptions, ConvTransposeOptions, Interpolation, PoolOptions, Result, Tensor};

const SEQUENCE: &[usize] = &[5, 3, 4];
const ROWS: &[usize] = &[2, 4, 9];
const IMAGE: &[usize] = &[2, 4, 6, 5];
const VOLUME: &[usize] = &[1, 4, 4, 5, 4];

type Run = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

/// A case's name, the input's shape, the layer, and how it is called.
type Case = (String, Vec<usize>, Rc<dyn Module>, Run);

/// The layers of `layers_more.safetensors`.
#[derive(Default)]
struct Cases {
    rows: Vec<Case>,
}

impl Cases {
    /// A layer that is called as it is.
    fn add(&mut self, name: impl Into<String>, shape: &[usize], module: impl Module + 'static) {
        self.call(name, shape, module, |m, x| m.forward(x));
    }

    fn call<M: Module + 'static>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        module: M,
        run: impl Fn(&M, &Tensor) -> Result<Tensor> + 'static,
    ) {
        let module = Rc::new(module);
        let same = module.clone();
        self.rows.push((name.into(), shape.to_vec(), module, Box::new(move |x| run(&same, x))));
    }
}

/// A layer in evaluation.
fn eval<M: Module>(module: M) -> M {
    module.eval();
    module
}

macro_rules! convolutions {
    ($c:ident, $init:ident, $d:literal, $shape:expr, $conv:ident, $transposed:ident) => {
        let one = |a: usize, b: usize, c: usize| -> [usize; $d] { std::array::from_fn(|i| [a, b, c][i]) };
        let (kernel, stride, padding, dilation) = (one(3, 2, 2), one(2, 1, 2), one(1, 2, 0), one(2, 1, 1));
        let conv = ConvOptions { stride, padding, dilation, groups: 2, bias: false };
        let (name, back) = (stringify!($conv), stringify!($transposed));
        $c.add(name, $shape, $conv::new(4, 3, kernel, $init).unwrap());
        $c.add(format!("{name}.other"), $shape, $conv::with(4, 6, kernel, conv, $init).unwrap());
        convolutions!(@transposed $c, $init, $shape, $transposed, back, kernel, stride, padding, dilation, one);
    };
    (@transposed $c:ident, $init:ident, $shape:expr, $transposed:ident, $back:ident, $kernel:ident, $stride:ident, $padding:ident,
        $dilation:ident, $one:ident) => {
        let (stride, padding, dilation) = ($stride, $padding, $dilation);
        let options = ConvTransposeOptions { stride, padding, dilation, groups: 2, output_padding: $one(1, 0, 1), bias: false };
        $c.add($back, $shape, $transposed::new(4, 3, $kernel, $init).unwrap());
        $c.add(format!("{}.other", $back), $shape, $transposed::with(4, 6, $kernel, options, $init).unwrap());
    };
}

macro_rules! pools {
    ($c:ident, $shape:expr, $d:literal, $max:ident, $avg:ident) => {
        let d = $d;
        let other = PoolOptions::<$d>::default().stride(2).padding(1);
        $c.add(format!("MaxPool{d}d"), $shape, $max::new(2));
        $c.add(format!("MaxPool{d}d.other"), $shape, $max::with(3, other.dilation(2)));
        $c.add(format!("AvgPool{d}d"), $shape, $avg::new(2));
        $c.add(format!("AvgPool{d}d.other"), $shape, $avg::with(3, other.count_include_pad(false)));
        $c.add(format!("GlobalAvgPool.{d}d"), $shape, GlobalAvgPool);
        $c.add(format!("GlobalMaxPool.{d}d"), $shape, GlobalMaxPool);
    };
}

fn windows(c: &mut Cases, init: &Init) {
    convolutions!(c, init, 1, ROWS, Conv1d, ConvTranspose1d);
    convolutions!(c, init, 3, VOLUME, Conv3d, ConvTranspose3d);
    let one = |a: usize, b: usize, _: usize| [a, b];
    let (kernel, stride, padding, dilation) = ([3, 2], [2, 1], [1, 2], [2, 1]);
    let other = ConvOptions { stride, padding, dilation, groups: 2, bias: false };
    c.add("Conv2d", IMAGE, Conv2d::new(4, 3, kernel, init).unwrap());
    c.add("Conv2d.other", IMAGE, Conv2d::with(4, 6, kernel, other, init).unwrap());
    let back = "ConvTranspose2d";
    convolutions!(@transposed c, init, IMAGE, ConvTranspose2d, back, kernel, stride, padding, dilation, one);
    pools!(c, ROWS, 1, MaxPool1d, AvgPool1d);
    pools!(c, IMAGE, 2, MaxPool2d, AvgPool2d);
    pools!(c, VOLUME, 3, MaxPool3d, AvgPool3d);
    c.add("AdaptiveAvgPool1d", ROWS, AdaptiveAvgPool1d::new(2));
    c.add("AdaptiveAvgPool1d.other", ROWS, AdaptiveAvgPool1d::new(3));
    c.add("AdaptiveMaxPool1d", ROWS, AdaptiveMaxPool1d::new(2));
    c.add("AdaptiveMaxPool1d.other", ROWS, AdaptiveMaxPool1d::new(3));
    c.add("AdaptiveAvgPool2d", IMAGE, AdaptiveAvgPool2d::new([2, 2]));
    c.add("AdaptiveAvgPool2d.other", IMAGE, AdaptiveAvgPool2d::new([3, 4]));
    c.add("AdaptiveMaxPool2d", IMAGE, AdaptiveMaxPool2d::new([2, 2]));
    c.add("AdaptiveMaxPool2d.other", IMAGE, AdaptiveMaxPool2d::new([3, 4]));
    c.add("AdaptiveAvgPool3d", VOLUME, AdaptiveAvgPool3d::new([2, 2, 2]));
    c.add("AdaptiveAvgPool3d.other", VOLUME, AdaptiveAvgPool3d::new([3, 4, 2]));
    c.add("AdaptiveMaxPool3d", VOLUME, AdaptiveMaxPool3d::new([2, 2, 2]));
    c.add("AdaptiveMaxPool3d.other", VOLUME, AdaptiveMaxPool3d::new([3, 4, 2]));
}

fn norms(c: &mut Cases, init: &Init) {
    let plain = LayerNormConfig { eps: 0.1, elementwise_affine: false, ..LayerNormConfig::default() };
    c.add("LayerNorm", SEQUENCE, LayerNorm::new([4], init).unwrap());
    c.add("LayerNorm.plain", SEQUENCE, LayerNorm::with([3, 4], plain, init).unwrap());
    let scale = LayerNormConfig { bias: false, ..LayerNormConfig::default() };
    c.add("LayerNorm.scale", SEQUENCE, LayerNorm::with([3, 4], scale, init).unwrap());
    c.add("RMSNorm", SEQUENCE, RmsNorm::new([4], init).unwrap());
    c.add(
        "RMSNorm.plain",
        SEQUENCE,
        RmsNorm::with([3, 4], RmsNormConfig { eps: Some(0.1), elementwise_affine: false }, init).unwrap(),
    );
    c.add("GroupNorm", IMAGE, GroupNorm::new(2, 4, init).unwrap());
    c.add("GroupNorm.plain", ROWS, GroupNorm::with(4, 4, GroupNormConfig { eps: 0.1, affine: false }, init).unwrap());
}

macro_rules! recurrent {
    ($c:ident, $init:ident, $name:literal, $layer:ident, $cell:expr) => {
        let whole = |m: &$layer, x: &Tensor| Ok(joined(&m.run(x, &SequenceOptions::default())?));
        let with = |hidden, config| $layer::with(4, hidden, config, $init).unwrap();
        let default = RecurrentConfig::default();
        let first = RecurrentConfig { batch_first: true, ..default };
        let plain = RecurrentConfig { bias: false, bidirectional: true, ..default };
        let deep = RecurrentConfig { num_layers: 3, dropout: 0.5, ..default };
        $c.call(concat!($name, ".batch_first"), SEQUENCE, with(2, first), whole);
        $c.call(concat!($name, ".plain"), SEQUENCE, with(2, plain), whole);
        $c.call(concat!($name, ".eval"), SEQUENCE, eval(with(2, deep)), whole);
        let two = RecurrentConfig { num_layers: 2, ..default };
        $c.call(concat!($name, ".states"), SEQUENCE, with(2, two), |m, x| {
            let options = SequenceOptions { hidden: Some(floats("hidden", &[2, 3, 2])), cell: $cell, lengths: None };
            Ok(joined(&m.run(x, &options)?))
        });
    };
}

fn sequences(c: &mut Cases, init: &Init) {
    c.add("Linear", SEQUENCE, Linear::new(4, 3, init).unwrap());
    c.add("Linear.plain", SEQUENCE, Linear::with(4, 3, LinearConfig { bias: false }, init).unwrap());
    c.call("Bilinear.two", SEQUENCE, Bilinear::new(4, 2, 3, init).unwrap(), |m, x| m.apply(x, &floats("second", &[5, 3, 2])));
    c.add("Bilinear.plain", SEQUENCE, Bilinear::with(4, 4, 3, BilinearConfig { bias: false }, init).unwrap());
    let memory = || floats("memory", &[5, 2, 4]);
    let plain = AttentionOptions::default;
    let causal = || AttentionOptions { causal: true, ..AttentionOptions::default() };
    c.add("MultiheadAttention", SEQUENCE, MultiheadAttention::new(4, 2, init).unwrap());
    c.add(
        "MultiheadAttention.plain",
        SEQUENCE,
        MultiheadAttention::with(4, 1, MultiheadAttentionConfig { bias: false, ..Default::default() }, init).unwrap(),
    );
    c.call("MultiheadAttention.cross", SEQUENCE, MultiheadAttention::new(4, 2, init).unwrap(), move |m, x| {
        m.attend(x, &memory(), &memory(), &plain())
    });
    c.call("MultiheadAttention.causal", SEQUENCE, MultiheadAttention::new(4, 2, init).unwrap(), move |m, x| {
        m.attend(x, x, x, &causal())
    });
    c.add(
        "MultiheadAttention.eval",
        SEQUENCE,
        eval(MultiheadAttention::with(4, 2, MultiheadAttentionConfig { dropout: 0.5, ..Default::default() }, init).unwrap()),
    );
    recurrent!(c, init, "RNN", Rnn, None);
    recurrent!(c, init, "LSTM", Lstm, Some(floats("cell", &[2, 3, 2])));
    recurrent!(c, init, "GRU", Gru, None);
    let post = TransformerConfig { dim_feedforward: 6, dropout: 0.0, ..TransformerConfig::default() };
    let pre = |activation| TransformerConfig { norm_first: true, activation, ..post };
    let bare = TransformerConfig { layer_norm_eps: 0.1, bias: false, ..post };
    let encoder = |config| TransformerEncoderLayer::with(4, 2, config, init).unwrap();
    let decoder = |config| TransformerDecoderLayer::with(4, 2, config, init).unwrap();
    c.add("encoder.silu", SEQUENCE, encoder(pre(FeedForward::Silu)));
    c.add("encoder.tanh", SEQUENCE, encoder(pre(FeedForward::GeluTanh)));
    c.add("encoder.plain", SEQUENCE, encoder(bare));
    c.add("encoder.eval", SEQUENCE, eval(encoder(TransformerConfig { dropout: 0.5, ..post })));
    c.call("decoder.plain", SEQUENCE, decoder(bare), move |m, x| m.decode(x, &memory(), &plain(), &plain()));
    let norm = Some(LayerNorm::new([4], init).unwrap());
    c.call("decoder.stack", SEQUENCE, TransformerDecoder::new(vec![decoder(post), decoder(post)], norm), move |m, x| {
        // True where PyTorch's mask is false: in PyTorch, true hides a key.
        let seen = Tensor::from_slice(&[true, false, true, true, false, true], [3, 2], device())?;
        m.decode(x, &memory(), &causal(), &AttentionOptions { mask: Some(seen), ..plain() })
    });
    c.call("decoder.bare", SEQUENCE, TransformerDecoder::new(vec![decoder(post)], None), move |m, x| {
        m.decode(x, &memory(), &plain(), &plain())
    });
    c.add("encoder.bare", SEQUENCE, TransformerEncoder::new(vec![encoder(post)], None));
    c.add("SinusoidalEncoding", SEQUENCE, SinusoidalEncoding::new(4, 8, init).unwrap());
    c.add("SinusoidalEncoding.image", &[2, 3, 4, 6], SinusoidalEncoding::new(6, 4, init).unwrap());
    c.add("RotaryEncoding", SEQUENCE, RotaryEncoding::new(4, 8, init).unwrap());
    let rotary = RotaryEncoding::with(6, 8, RotaryConfig { base: 100.0, interleaved: true }, init).unwrap();
    c.call("RotaryEncoding.interleaved", &[2, 3, 4, 6], rotary, |m, x| m.rotate(x, 3));
    c.add("Embedding", &[4, 5], Embedding::new(7, 3, init).unwrap());
    c.add("Embedding.padding", &[4, 5], Embedding::with(7, 3, EmbeddingConfig { padding_idx: Some(2) }, init).unwrap());
    c.add("Sequential", SEQUENCE, {
        let first = Sequential::new().push(Linear::new(4, 3, init).unwrap());
        first.push(Tanh).push(Linear::new(3, 2, init).unwrap())
    });
    let shortcut = Linear::with(4, 3, LinearConfig { bias: false }, init).unwrap();
    c.add("Residual.shortcut", SEQUENCE, Residual::new(Linear::new(4, 3, init).unwrap()).with_shortcut(shortcut));
}

fn stateless(c: &mut Cases, init: &Init) {
    c.add("Identity", IMAGE, Identity);
    c.add("PReLU.one", IMAGE, PRelu::new(init).unwrap());
    c.add("Threshold.zero", IMAGE, Threshold::default());
    c.add("GLU.last", SEQUENCE, Glu::default());
    c.add("Flatten", IMAGE, Flatten);
    c.add("Unflatten", IMAGE, Unflatten::new(1, [2, 2]));
    c.add("Unflatten.last", ROWS, Unflatten::new(-1, [3, 3, 1]));
    c.add("PixelShuffle.one", IMAGE, PixelShuffle::new(1));
    c.add("PixelUnshuffle", &[2, 3, 4, 6], PixelUnshuffle::new(2));
    c.add("PixelUnshuffle.three", &[1, 2, 3, 6], PixelUnshuffle::new(3));
    c.add("Upsample.three", ROWS, Upsample::new(3));
    c.add("Upsample.corners", IMAGE, Upsample::to(&[3, 8], Interpolation::LinearAligned));
    macro_rules! dropouts {
        ($($layer:ident: $shape:expr;)*) => {$(
            c.add(concat!(stringify!($layer), ".eval"), $shape, eval($layer::new(0.3, init).unwrap()));
            c.add(concat!(stringify!($layer), ".none"), $shape, $layer::new(0.0, init).unwrap());
            c.add(concat!(stringify!($layer), ".all"), $shape, $layer::new(1.0, init).unwrap());
        )*};
    }
    dropouts! {
        Dropout: SEQUENCE;
        Dropout1d: ROWS;
        Dropout2d: IMAGE;
        Dropout3d: VOLUME;
    }
}

#[test]
fn further_layers_agree_with_pytorch() {
    let init = Init::new(device(), 0);
    let mut cases = Cases::default();
    windows(&mut cases, &init);
    norms(&mut cases, &init);
    sequences(&mut cases, &init);
    stateless(&mut cases, &init);
    let dict = fixture("layers_more.safetensors");
    let mut checked = BTreeSet::new();
    for (name, shape, module, run) in &cases.rows {
        let note = dict.metadata.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"));
        compare(name, shape, module.as_ref(), run, note);
        assert!(checked.insert(name.clone()), "{name} is here twice");
    }
    // A residual block of PyTorch's has no name for its body.
    let block = Residual::new(Linear::new(4, 4, &init).unwrap());
    compare("Residual", SEQUENCE, &block, &|x| block.forward(x), "body.weight:4,4;body.bias:4");
    checked.insert("Residual".into());
    let expected: BTreeSet<String> = dict.metadata.keys().filter(|k| *k != "torch").cloned().collect();
    assert_eq!(checked, expected, "every case of the file is checked");
}

fn compare(name: &str, shape: &[usize], module: &dyn Module, run: &dyn Fn(&Tensor) -> Result<Tensor>, note: &str) {
    let dict = fixture("layers_more.safetensors");
    let mut given = state(note);
    if name == "Residual" {
        // The formula uses the names of PyTorch's layer.
        let own = state("weight:4,4;bias:4");
        given.tensors = own.tensors.into_iter().map(|(key, tensor)| (format!("body.{key}"), tensor)).collect();
    }
    module.load_state_dict(&given).unwrap_or_else(|e| panic!("{name}: {e}"));
    let tokens = name.starts_with("Embedding");
    let x = if tokens { integers("x", shape, 7) } else { floats("x", shape).variable().unwrap() };
    let y = run(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = host(&dict, &format!("{name}.out"));
    assert_eq!(y.shape().unwrap(), expected.shape, "{name}");
    near(name, &values(&y), &expected.data.to_f64(), 1e-5);
    let ct = floats("ct", &y.shape().unwrap());
    let gradients = (y * ct).sum().backward().unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut found: Vec<(String, Tensor)> = Vec::new();
    if !tokens {
        found.push(("x".into(), gradients.get(&x).unwrap_or_else(|e| panic!("{name}, x: {e}"))));
    }
    for (key, param) in module.named_parameters().unwrap() {
        found.push((key.clone(), gradients.get(&param).unwrap_or_else(|e| panic!("{name}, {key}: {e}"))));
    }
    for (key, gradient) in found {
        let theirs = if name == "Residual" { key.trim_start_matches("body.") } else { &key };
        let expected = host(&dict, &format!("{name}.grad.{theirs}")).data.to_f64();
        near(&format!("{name}, {key}"), &values(&gradient), &expected, 2e-5);
    }
}

/// Why a public name of a module has no fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Options, reports, traits, functions: it is not a layer.
    NotALayer,
    /// Draws at random, and PyTorch's draws differ: the named test checks moments.
    Random(&'static str),
    /// No rule of its own: the named test compares it with its parts.
    MadeOfOthers(&'static str),
}

const LAYERS_WITHOUT: [(&str, Without); 18] = [
    ("Copier", Without::NotALayer),
    ("Counter", Without::NotALayer),
    ("Field", Without::NotALayer),
    ("Fields", Without::NotALayer),
    ("Init", Without::NotALayer),
    ("Interpolation", Without::NotALayer),
    ("LoadReport", Without::NotALayer),
    ("Mode", Without::NotALayer),
    ("Module", Without::NotALayer),
    ("Reduction", Without::NotALayer),
    ("Sequence", Without::NotALayer),
    ("Snapshot", Without::NotALayer),
    ("Summary", Without::NotALayer),
    ("SummaryRow", Without::NotALayer),
    ("GruCell", Without::MadeOfOthers("cells::cells_step_as_layers_do")),
    ("LstmCell", Without::MadeOfOthers("cells::cells_step_as_layers_do")),
    ("DropPath", Without::Random("layers::dropouts_drop_whole_channels_and_examples")),
    ("ModuleList", Without::MadeOfOthers("modules::names_are_pytorchs")),
];

/// Layers whose cases have another name.
const LAYERS_AS: [(&str, &str); 7] = [
    ("GeluTanh", "gelu.tanh"),
    ("TransformerEncoderLayer", "encoder.p"),
    ("TransformerDecoderLayer", "decoder.p"),
    ("TransformerEncoder", "encoder.bare"),
    ("TransformerDecoder", "decoder.stack"),
    ("FeedForward", "encoder.silu"),
    ("RnnNonlinearity", "rnn.relu"),
];

/// Layers without settings, for which one case is enough.
const WITHOUT_SETTINGS: [&str; 24] = [
    "FeedForward",
    "Flatten",
    "Gelu",
    "GeluTanh",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Relu",
    "Relu6",
    "RnnNonlinearity",
    "Selu",
    "Sequential",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softmin",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "TransformerDecoder",
    "TransformerEncoder",
];

/// Reasons that name a test that does not exist.
fn missing_tests<'a>(reasons: impl Iterator<Item = (&'a &'a str, &'a Without)>) -> Vec<String> {
    let missing = |(name, reason): (&&str, &Without)| {
        let (Without::Random(test) | Without::MadeOfOthers(test)) = reason else { return None };
        let (module, function) = test.split_once("::")?;
        let path = Path::new(crate::common::ROOT).join(format!("tests/it/training/{module}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (!text.contains(&format!("fn {function}()"))).then(|| format!("{name}: there is no test {test}"))
    };
    reasons.filter_map(missing).collect()
}

/// The types that a file's `pub use` lines export.
fn public(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(crate::common::ROOT).join(file)).unwrap();
    let uses = text.split("pub use ").skip(1).map(|rest| rest.split(';').next().unwrap_or_default());
    let names = uses.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_'));
    names.filter(|n| n.starts_with(|c: char| c.is_uppercase())).map(str::to_owned).collect()
}

#[test]
fn every_layer_has_fixtures_or_a_reason() {
    let mut cases: Vec<String> = Vec::new();
    for file in ["layers", "layers_more", "norms"] {
        let dict = fixture(&format!("{file}.safetensors"));
        cases.extend(dict.metadata.keys().map(|k| k.to_lowercase()));
    }
    let (without, renamed): (BTreeMap<_, _>, BTreeMap<_, _>) = (LAYERS_WITHOUT.into(), LAYERS_AS.into());
    let mut layers = public("src/nn/mod.rs");
    // Settings are not layers.
    layers.retain(|name| !name.ends_with("Config") && !name.ends_with("Options"));
    assert!(layers.len() > 90, "only {} names were found", layers.len());
    let mut problems = missing_tests(without.iter());
    for layer in &layers {
        let found = match renamed.get(layer.as_str()) {
            Some(prefix) => cases.iter().filter(|c| c.starts_with(prefix)).count(),
            None => cases.iter().filter(|c| c.split('.').next() == Some(&layer.to_lowercase())).count(),
        };
        let needed = if WITHOUT_SETTINGS.contains(&layer.as_str()) { 1 } else { 2 };
        match without.get(layer.as_str()) {
            Some(reason) if found > 0 => problems.push(format!("{layer} has {found} cases, and a reason for none: {reason:?}")),
            None if found < needed => problems.push(format!("{layer} has {found} cases and needs {needed}, or a reason")),
            _ => {}
        }
    }
    let listed = without.keys().chain(renamed.keys()).chain(&WITHOUT_SETTINGS);
    problems.extend(listed.filter(|n| !layers.contains(**n)).map(|n| format!("{n} is listed and not public")));
    assert!(problems.is_empty(), "{problems:#?}");
}

const OPTIM_WITHOUT: [(&str, Without); 12] = [
    ("DecayMode", Without::NotALayer),
    ("Ema", Without::MadeOfOthers("regularize::averages_follow_swap_and_resume")),
    ("Fused", Without::NotALayer),
    ("GradientAccumulator", Without::MadeOfOthers("regularize::accumulated_batches_give_the_whole_batchs_gradient")),
    ("LossScaler", Without::MadeOfOthers("optimizers_more::the_loss_scale_adapts_and_skips")),
    ("Optimizer", Without::NotALayer),
    ("ParamGroup", Without::NotALayer),
    ("PlateauMode", Without::NotALayer),
    ("PreparedState", Without::NotALayer),
    ("ReduceOnPlateau", Without::MadeOfOthers("regularize::plateaus_agree_with_pytorch_and_resume")),
    ("Schedule", Without::MadeOfOthers("regularize::schedules_agree_with_pytorch")),
    ("Threshold", Without::NotALayer),
];

#[test]
fn every_optimizer_has_rows_or_a_reason() {
    let cases: BTreeSet<String> = crate::rows::ROWS.iter().map(|row| row.name.to_owned()).collect();
    let without: BTreeMap<_, _> = OPTIM_WITHOUT.into();
    let names = public("src/optim/mod.rs");
    let mut problems = missing_tests(without.iter());
    problems.extend(without.keys().filter(|n| !names.contains(**n)).map(|n| format!("{n} is listed and not public")));
    for name in names.iter().filter(|n| !n.ends_with("Config")) {
        let prefix = name.to_lowercase();
        let of: Vec<&String> = cases.iter().filter(|c| c.split('_').next() == Some(&prefix)).collect();
        match without.get(name.as_str()) {
            Some(reason) if !of.is_empty() => problems.push(format!("{name} has {of:?}, and a reason for none: {reason:?}")),
            None if of.len() < 2 => problems.push(format!("{name} has {of:?} and needs 2 cases, or a reason")),
            None if !names.contains(&format!("{name}Config")) => problems.push(format!("{name} has no settings of its own")),
            _ => {}
        }
    }
    assert!(cases.len() >= 35, "only {} cases were found", cases.len());
    assert!(problems.is_empty(), "{problems:#?}");
}
