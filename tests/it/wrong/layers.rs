//! Wrong calls of layers and models: what makes them, and what is passed through them.

use super::{AXES, HUGE, IMPROBABLE, Table, b, f, far, i};
use crate::common::device;
use wgrad::nn::models::{
    Gpt, GptConfig, LeNet, LstmTagger, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, TaggerConfig, UNet,
    UNetConfig,
};
use wgrad::nn::transfer::{freeze, param_groups, replace_head, unfreeze};
use wgrad::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormConfig, Bilinear, Conv1d, Conv2d, Conv3d,
    ConvTranspose1d, ConvTranspose2d, DropPath, Dropout, Dropout1d, Dropout2d, Dropout3d, Embedding, EmbeddingConfig, Glu,
    GroupNorm, Gru, GruCell, Init, InstanceNorm1d, InstanceNorm2d, InstanceNormConfig, LayerNorm, Linear, LogSoftmax, Lstm,
    LstmCell, MaxPool1d, MaxPool2d, Module, MultiheadAttention, MultiheadAttentionConfig, PRelu, PReluConfig, PixelShuffle,
    PixelUnshuffle, RecurrentConfig, RmsNorm, Rnn, RotaryConfig, RotaryEncoding, SequenceOptions, Sequential, SinusoidalEncoding,
    Softmax, TransformerConfig, TransformerDecoderLayer, TransformerEncoderLayer, Unflatten, Upsample,
};
use wgrad::optim::SgdConfig;
use wgrad::{AttentionOptions, ConvOptions, ConvTransposeOptions, DType, Interpolation, Param, Result};

pub fn rows(t: &mut Table) {
    made(t);
    passed(t);
    stated(t);
    models(t);
}

fn init() -> Init {
    Init::new(device(), 1)
}

/// What no layer holds, and nothing.
const NONE: [usize; 5] = [0, usize::MAX, usize::MAX / 2 + 1, usize::MAX / 3 + 1, 1 << (usize::BITS - 2)];

fn made(t: &mut Table) {
    t.each("Linear::new, inputs", &HUGE, |n| Linear::new(n, 2, &init()).map(drop));
    t.each("Linear::new, outputs", &HUGE, |n| Linear::new(2, n, &init()).map(drop));
    t.each("Bilinear::new", &HUGE, |n| Bilinear::new(2, 2, n, &init()).map(drop));
    t.each("Embedding::new", &HUGE, |n| Embedding::new(n, 2, &init()).map(drop));
    t.each("Embedding::with, padding", &[2usize, 3, usize::MAX], |n| {
        Embedding::with(2, 2, EmbeddingConfig { padding_idx: Some(n) }, &init()).map(drop)
    });
    t.each("PRelu::with", &HUGE, |n| PRelu::with(PReluConfig { num_parameters: n, slope: 0.2 }, &init()).map(drop));
    t.each("BatchNorm1d::new", &HUGE, |n| BatchNorm1d::new(n, &init()).map(drop));
    t.each("BatchNorm2d::new", &HUGE, |n| BatchNorm2d::new(n, &init()).map(drop));
    t.each("BatchNorm3d::new", &HUGE, |n| BatchNorm3d::new(n, &init()).map(drop));
    t.each("BatchNorm2d::with, momentum", &IMPROBABLE, |p| {
        BatchNorm2d::with(2, BatchNormConfig { momentum: Some(p), ..BatchNormConfig::default() }, &init()).map(drop)
    });
    t.each("InstanceNorm1d::with", &HUGE, |n| {
        InstanceNorm1d::with(n, InstanceNormConfig { affine: true, ..InstanceNormConfig::default() }, &init()).map(drop)
    });
    t.each("GroupNorm::new, groups", &[0usize, 3, 5, usize::MAX], |n| GroupNorm::new(n, 4, &init()).map(drop));
    t.each("GroupNorm::new, channels", &HUGE, |n| GroupNorm::new(1, n, &init()).map(drop));
    t.each("LayerNorm::new", &[vec![usize::MAX, 2], vec![1; 9], vec![usize::MAX]], |s| LayerNorm::new(s, &init()).map(drop));
    t.each("RmsNorm::new", &[vec![usize::MAX, 2], vec![1; 9], vec![usize::MAX]], |s| RmsNorm::new(s, &init()).map(drop));
    t.each("MultiheadAttention::new, heads", &[0usize, 3, 5, usize::MAX], |n| MultiheadAttention::new(4, n, &init()).map(drop));
    t.each("MultiheadAttention::new, width", &NONE, |n| MultiheadAttention::new(n, 1, &init()).map(drop));
    t.each("MultiheadAttention::with, dropout", &IMPROBABLE, |p| {
        MultiheadAttention::with(4, 2, MultiheadAttentionConfig { dropout: p, ..MultiheadAttentionConfig::default() }, &init())
            .map(drop)
    });
    t.each("SinusoidalEncoding::new, width", &HUGE, |n| SinusoidalEncoding::new(n, 2, &init()).map(drop));
    t.each("SinusoidalEncoding::new, length", &HUGE, |n| SinusoidalEncoding::new(2, n, &init()).map(drop));
    t.each("RotaryEncoding::new, width", &[1usize, 3, usize::MAX], |n| RotaryEncoding::new(n, 2, &init()).map(drop));
    t.each("RotaryEncoding::new, length", &HUGE, |n| RotaryEncoding::new(2, n, &init()).map(drop));
    t.each("RotaryEncoding::with, base", &[0.0, -1.0, f64::NAN], |base| {
        RotaryEncoding::with(4, 2, RotaryConfig { base, ..RotaryConfig::default() }, &init()).map(drop)
    });
    t.each("Rnn::new, inputs", &HUGE, |n| Rnn::new(n, 2, &init()).map(drop));
    t.each("Gru::new, inputs", &HUGE, |n| Gru::new(n, 2, &init()).map(drop));
    t.each("Lstm::new, inputs", &HUGE, |n| Lstm::new(n, 2, &init()).map(drop));
    t.each("Rnn::new, hidden", &NONE, |n| Rnn::new(2, n, &init()).map(drop));
    t.each("Gru::new, hidden", &NONE, |n| Gru::new(2, n, &init()).map(drop));
    t.each("Lstm::new, hidden", &NONE, |n| Lstm::new(2, n, &init()).map(drop));
    t.each("GruCell::new, hidden", &NONE, |n| GruCell::new(2, n, &init()).map(drop));
    t.each("LstmCell::new, hidden", &NONE, |n| LstmCell::new(2, n, &init()).map(drop));
    t.each("Lstm::with, layers", &NONE, |n| {
        Lstm::with(2, 2, RecurrentConfig { num_layers: n, ..RecurrentConfig::default() }, &init()).map(drop)
    });
    t.each("Gru::with, dropout", &IMPROBABLE, |p| {
        Gru::with(2, 2, RecurrentConfig { num_layers: 2, dropout: p, ..RecurrentConfig::default() }, &init()).map(drop)
    });
    t.each("TransformerEncoderLayer::new, heads", &[0usize, 3, usize::MAX], |n| {
        TransformerEncoderLayer::new(4, n, &init()).map(drop)
    });
    t.each("TransformerDecoderLayer::new, width", &NONE, |n| TransformerDecoderLayer::new(n, 1, &init()).map(drop));
    t.each("TransformerEncoderLayer::with, width", &HUGE, |n| {
        TransformerEncoderLayer::with(4, 2, TransformerConfig { dim_feedforward: n, ..TransformerConfig::default() }, &init())
            .map(drop)
    });
    t.each("TransformerEncoderLayer::with, dropout", &IMPROBABLE, |p| {
        TransformerEncoderLayer::with(4, 2, TransformerConfig { dropout: p, ..TransformerConfig::default() }, &init()).map(drop)
    });
    t.each("Dropout::new", &IMPROBABLE, |p| Dropout::new(p, &init()).map(drop));
    t.each("Dropout1d::new", &IMPROBABLE, |p| Dropout1d::new(p, &init()).map(drop));
    t.each("Dropout2d::new", &IMPROBABLE, |p| Dropout2d::new(p, &init()).map(drop));
    t.each("Dropout3d::new", &IMPROBABLE, |p| Dropout3d::new(p, &init()).map(drop));
    t.each("DropPath::new", &IMPROBABLE, |p| DropPath::new(p, &init()).map(drop));
    t.each("Conv1d::new, kernel", &HUGE, |n| Conv1d::new(2, 2, n, &init()).map(drop));
    t.each("Conv2d::new, kernel", &HUGE, |n| Conv2d::new(2, 2, n, &init()).map(drop));
    t.each("Conv3d::new, kernel", &HUGE, |n| Conv3d::new(2, 2, n, &init()).map(drop));
    t.each("Conv2d::new, inputs", &HUGE, |n| Conv2d::new(n, 2, 3, &init()).map(drop));
    t.each("Conv2d::new, outputs", &HUGE, |n| Conv2d::new(2, n, 3, &init()).map(drop));
    t.each("Conv2d::with, groups", &[0usize, 3, 5, usize::MAX], |n| {
        Conv2d::with(4, 4, 3, ConvOptions { groups: n, ..ConvOptions::default() }, &init()).map(drop)
    });
    t.each("Conv1d::with, groups", &[0usize, 3, 5, usize::MAX], |n| {
        Conv1d::with(4, 4, 3, ConvOptions { groups: n, ..ConvOptions::default() }, &init()).map(drop)
    });
    t.each("ConvTranspose1d::new, kernel", &HUGE, |n| ConvTranspose1d::new(2, 2, n, &init()).map(drop));
    t.each("ConvTranspose2d::with, groups", &[0usize, 3, 5, usize::MAX], |n| {
        ConvTranspose2d::with(4, 4, 3, ConvTransposeOptions { groups: n, ..ConvTransposeOptions::default() }, &init()).map(drop)
    });
}

macro_rules! inputs {
    ($t:ident: $($name:literal, $layer:expr, $shapes:expr;)*) => {$(
        $t.each(concat!($name, ", input"), &$shapes, |s| $layer?.forward(&f(&s))?.check());
        $t.each(concat!($name, ", dtype of its input"), &[DType::I32, DType::Bool], |d| $layer?.forward(&f(&$shapes[0]).cast(d))?.check());
    )*};
}

fn passed(t: &mut Table) {
    inputs! { t:
        "Linear", Linear::new(3, 2, &init()), [vec![4usize], vec![], vec![3, 4], vec![0, 2], vec![3, 0]];
        "Bilinear", Bilinear::new(3, 3, 2, &init()), [vec![4usize], vec![], vec![3, 4]];
        "BatchNorm1d", BatchNorm1d::new(3, &init()), [vec![4usize], vec![], vec![3, 4], vec![2, 3, 4, 5]];
        "BatchNorm2d", BatchNorm2d::new(3, &init()), [vec![4usize], vec![], vec![3, 4], vec![2, 4, 3, 3], vec![1; 6]];
        "BatchNorm3d", BatchNorm3d::new(3, &init()), [vec![4usize], vec![], vec![2, 3, 4, 4], vec![2, 4, 3, 3, 3]];
        "InstanceNorm1d", InstanceNorm1d::new(3, &init()), [vec![4usize], vec![], vec![2, 3, 4, 5]];
        "InstanceNorm2d", InstanceNorm2d::new(3, &init()), [vec![4usize], vec![], vec![2, 4], vec![1; 5]];
        "GroupNorm", GroupNorm::new(2, 4, &init()), [vec![5usize], vec![], vec![2, 5], vec![2, 3, 3]];
        "LayerNorm", LayerNorm::new([3], &init()), [vec![4usize], vec![], vec![3, 4]];
        "RmsNorm", RmsNorm::new([3], &init()), [vec![4usize], vec![], vec![3, 4]];
        "Conv1d", Conv1d::new(2, 3, 2, &init()), [vec![4usize], vec![], vec![1, 3, 4], vec![1, 2, 1], vec![1; 5]];
        "Conv2d", Conv2d::new(2, 3, 2, &init()), [vec![4usize], vec![], vec![1, 3, 4, 4], vec![1, 2, 1, 1], vec![1; 5]];
        "Conv3d", Conv3d::new(2, 3, 2, &init()), [vec![4usize], vec![], vec![1, 3, 4, 4, 4], vec![1, 2, 1, 1, 1]];
        "ConvTranspose1d", ConvTranspose1d::new(2, 3, 2, &init()), [vec![4usize], vec![], vec![1, 3, 4]];
        "ConvTranspose2d", ConvTranspose2d::new(2, 3, 2, &init()), [vec![4usize], vec![], vec![1, 3, 4, 4]];
        "MaxPool1d", Result::Ok(MaxPool1d::new(2)), [vec![4usize], vec![], vec![1, 1, 1], vec![1, 1, 4, 4]];
        "MaxPool2d", Result::Ok(MaxPool2d::new(2)), [vec![4usize], vec![], vec![4, 4], vec![1, 1, 1, 1]];
        "AvgPool2d", Result::Ok(AvgPool2d::new(2)), [vec![4usize], vec![], vec![4, 4], vec![1, 1, 1, 1]];
        "AdaptiveAvgPool2d", Result::Ok(AdaptiveAvgPool2d::new(2)), [vec![4usize], vec![], vec![4, 4]];
        "MultiheadAttention", MultiheadAttention::new(4, 2, &init()), [vec![4usize], vec![], vec![2, 3], vec![1; 4]];
        "Rnn", Rnn::new(3, 2, &init()), [vec![3usize], vec![], vec![4, 3], vec![4, 1, 2], vec![0, 1, 3], vec![4, 0, 3]];
        "Gru", Gru::new(3, 2, &init()), [vec![3usize], vec![], vec![4, 3], vec![4, 1, 2], vec![0, 1, 3], vec![4, 0, 3]];
        "Lstm", Lstm::new(3, 2, &init()), [vec![3usize], vec![], vec![4, 3], vec![4, 1, 2], vec![0, 1, 3], vec![4, 0, 3]];
        "SinusoidalEncoding", SinusoidalEncoding::new(4, 3, &init()), [vec![4usize], vec![], vec![2, 3], vec![1, 4, 4]];
        "TransformerEncoderLayer", TransformerEncoderLayer::new(4, 2, &init()), [vec![5usize], vec![], vec![2, 3, 5]];
        "PixelShuffle", Result::Ok(PixelShuffle::new(2)), [vec![4usize], vec![], vec![1, 3, 2, 2]];
        "PixelUnshuffle", Result::Ok(PixelUnshuffle::new(2)), [vec![4usize], vec![], vec![1, 1, 3, 3]];
        "Dropout2d", Dropout2d::new(0.5, &init()), [vec![4usize], vec![], vec![1; 6]];
    }
    t.each("PixelShuffle, factor", &[0usize, usize::MAX, 1 << (usize::BITS / 2)], |n| {
        PixelShuffle::new(n).forward(&f(&[1, 4, 2, 2]))?.check()
    });
    t.each("PixelUnshuffle, factor", &[0usize, usize::MAX, 1 << (usize::BITS / 2)], |n| {
        PixelUnshuffle::new(n).forward(&f(&[1, 4, 2, 2]))?.check()
    });
    t.each("Unflatten", &[vec![3usize], vec![0], vec![usize::MAX, 2]], |s| Unflatten::new(1, s).forward(&f(&[1, 4]))?.check());
    t.each("Softmax", &AXES, |a| Softmax::new(a).forward(&f(&[2, 2]))?.check());
    t.each("LogSoftmax", &AXES, |a| LogSoftmax::new(a).forward(&f(&[2, 2]))?.check());
    t.each("Glu, axis", &AXES, |a| Glu::new(a).forward(&f(&[2, 2]))?.check());
    t.each("Glu, odd length", &[1usize, 3], |n| Glu::new(0).forward(&f(&[n]))?.check());
    t.each("Upsample", &HUGE, |n| Upsample::new(n).forward(&f(&[1, 1, 4]))?.check());
    t.each("Upsample::to", &HUGE, |n| Upsample::to(&[n, n], Interpolation::Linear).forward(&f(&[1, 1, 4, 4]))?.check());
    t.each("MaxPool2d, kernel", &NONE, |n| MaxPool2d::new(n).forward(&f(&[1, 1, 4, 4]))?.check());
    t.each("AvgPool2d, kernel", &NONE, |n| AvgPool2d::new(n).forward(&f(&[1, 1, 4, 4]))?.check());
    t.each("Embedding, token", &[3i32, -1, i32::MAX, i32::MIN], |n| Embedding::new(3, 2, &init())?.forward(&i(&[n]))?.eval());
    t.each("Embedding, dtype", &[DType::F32, DType::Bool], |d| Embedding::new(3, 2, &init())?.forward(&f(&[2]).cast(d))?.check());
    t.each("Linear, another device", &[0], |_| Linear::new(3, 2, &init())?.forward(&far(&[1, 3]))?.check());
    t.each("Conv2d, another device", &[0], |_| Conv2d::new(1, 1, 2, &init())?.forward(&far(&[1, 1, 3, 3]))?.check());
    t.each("BatchNorm2d, another device", &[0], |_| BatchNorm2d::new(1, &init())?.forward(&far(&[1, 1, 3, 3]))?.check());
    t.each("Lstm, another device", &[0], |_| Lstm::new(3, 2, &init())?.forward(&far(&[1, 1, 3]))?.check());
    t.each("MultiheadAttention, another device", &[0], |_| {
        MultiheadAttention::new(4, 2, &init())?.forward(&far(&[2, 4]))?.check()
    });
    t.each("MultiheadAttention::attend, key", &[vec![2usize, 3], vec![3, 2, 4], vec![4]], |s| {
        MultiheadAttention::new(4, 2, &init())?.attend(&f(&[2, 5, 4]), &f(&s), &f(&s), &AttentionOptions::default())?.check()
    });
    t.each("MultiheadAttention::attend, mask", &[vec![3usize, 3], vec![2, 5], vec![7, 5, 5]], |s| {
        let options = AttentionOptions { mask: Some(b(&s)), ..AttentionOptions::default() };
        MultiheadAttention::new(4, 2, &init())?.attend(&f(&[2, 5, 4]), &f(&[2, 5, 4]), &f(&[2, 5, 4]), &options)?.check()
    });
    t.each("TransformerDecoderLayer::decode, memory", &[vec![2usize, 3], vec![3, 2, 4], vec![4]], |s| {
        let (layer, options) = (TransformerDecoderLayer::new(4, 2, &init())?, AttentionOptions::default());
        layer.decode(&f(&[2, 5, 4]), &f(&s), &options, &options)?.check()
    });
    t.each("Lstm::run, hidden", &[vec![2usize], vec![1, 2, 2], vec![2, 1, 2]], |s| {
        let options = SequenceOptions { hidden: Some(f(&s)), ..SequenceOptions::default() };
        Lstm::new(3, 2, &init())?.run(&f(&[4, 1, 3]), &options)?.output.check()
    });
    t.each("Lstm::run, cells", &[vec![2usize], vec![1, 2, 2], vec![2, 1, 2]], |s| {
        let options = SequenceOptions { hidden: Some(f(&[1, 1, 2])), cell: Some(f(&s)), ..SequenceOptions::default() };
        Lstm::new(3, 2, &init())?.run(&f(&[4, 1, 3]), &options)?.output.check()
    });
    t.each("Gru::run, cells", &[0], |_| {
        let options = SequenceOptions { cell: Some(f(&[1, 1, 2])), ..SequenceOptions::default() };
        Gru::new(3, 2, &init())?.run(&f(&[4, 1, 3]), &options)?.output.check()
    });
    t.each("Rnn::run, lengths", &[vec![], vec![0usize], vec![5], vec![1, 1], vec![usize::MAX]], |lengths| {
        let options = SequenceOptions { lengths: Some(lengths), ..SequenceOptions::default() };
        Rnn::new(3, 2, &init())?.run(&f(&[4, 1, 3]), &options)?.output.check()
    });
    t.each("GruCell::step", &[vec![3usize], vec![1, 2], vec![0, 3]], |s| {
        GruCell::new(3, 2, &init())?.step(&f(&s), None)?.check()
    });
    t.each("GruCell::step, hidden", &[vec![2usize], vec![1, 3], vec![2, 2]], |s| {
        GruCell::new(3, 2, &init())?.step(&f(&[1, 3]), Some(&f(&s)))?.check()
    });
    t.each("LstmCell::step, cells", &[vec![2usize], vec![1, 3], vec![2, 2]], |s| {
        LstmCell::new(3, 2, &init())?.step(&f(&[1, 3]), Some((&f(&[1, 2]), &f(&s))))?.0.check()
    });
    t.each("RotaryEncoding::rotate, shape", &[vec![2usize], vec![3, 3], vec![5, 4]], |s| {
        RotaryEncoding::new(4, 4, &init())?.rotate(&f(&s), 0)?.check()
    });
    t.each("RotaryEncoding::rotate, offset", &[4usize, 3, usize::MAX, usize::MAX - 1], |n| {
        RotaryEncoding::new(4, 4, &init())?.rotate(&f(&[2, 4]), n)?.check()
    });
}

fn stated(t: &mut Table) {
    fn pair() -> Result<Sequential> {
        Ok(Sequential::new().push_named("body", Linear::new(3, 2, &init())?).push_named("head", Linear::new(2, 2, &init())?))
    }
    t.each("freeze", &["", "nothing", "*.gain", "body", "[", "**.x"], |pattern| freeze(&pair()?, pattern).map(drop));
    t.each("unfreeze", &["", "nothing", "*.gain", "body", "[", "**.x"], |pattern| unfreeze(&pair()?, pattern).map(drop));
    t.each("param_groups", &["", "nothing", "body.*"], |pattern| {
        param_groups(&pair()?, [(pattern, SgdConfig::default())]).map(drop)
    });
    t.each("replace_head", &[1usize, 3, 4], |n| replace_head(&mut Linear::new(2, 2, &init())?, Linear::new(n, 2, &init())?));
    t.each("load_state_dict of another model", &[1usize, 2, 4], |n| {
        Linear::new(3, 2, &init())?.load_state_dict(&Linear::new(n, 2, &init())?.state_dict()?).map(drop)
    });
    t.each("load_state_dict of other names", &[0], |_| {
        pair()?.load_state_dict(&Linear::new(3, 2, &init())?.state_dict()?).map(drop)
    });
    t.each("Param::new", &[DType::I32, DType::U32, DType::Bool], |d| Param::new(&f(&[2]).cast(d)).map(drop));
    t.each("Param::set, shape", &[vec![], vec![3usize], vec![2, 1]], |s| Param::new(&f(&[2]))?.set(&f(&s)));
    t.each("Param::set, dtype", &[DType::I32, DType::Bool], |d| Param::new(&f(&[2]))?.set(&f(&[2]).cast(d)));
    t.each("Param::set, another device", &[0], |_| Param::new(&f(&[2]))?.set(&far(&[2])));
}

fn models(t: &mut Table) {
    t.each("Mlp::new", &[vec![], vec![2usize], vec![2, usize::MAX], vec![usize::MAX, usize::MAX]], |s| {
        Mlp::new(&s, &init()).map(drop)
    });
    t.each("Mlp::with", &IMPROBABLE, |p| Mlp::with(&[2, 3, 2], p, &init()).map(drop));
    t.each("LeNet::new", &HUGE, |n| LeNet::new(n, 2, &init()).map(drop));
    t.each("LeNet, input", &[vec![], vec![4usize], vec![1, 1, 4, 4], vec![1, 3, 28, 28]], |s| {
        LeNet::new(1, 2, &init())?.forward(&f(&s))?.check()
    });
    t.each("M5::new", &HUGE, |n| M5::new(M5Config { width: n, ..M5Config::default() }, &init()).map(drop));
    t.each("Gpt::new, vocabulary", &HUGE, |n| Gpt::new(GptConfig { vocab_size: n, ..small() }, &init()).map(drop));
    t.each("Gpt::new, heads", &[0usize, 3, usize::MAX], |n| Gpt::new(GptConfig { n_head: n, ..small() }, &init()).map(drop));
    t.each("Gpt::new, dropout", &IMPROBABLE, |p| Gpt::new(GptConfig { dropout: p, ..small() }, &init()).map(drop));
    t.each("Gpt, input", &[vec![], vec![1usize, 5], vec![1, 1, 1]], |s| {
        Gpt::new(small(), &init())?.forward(&f(&s).cast(DType::I32))?.check()
    });
    t.each("Gpt, token", &[4i32, -1, i32::MAX], |n| Gpt::new(small(), &init())?.forward(&i(&[n]).reshape([1, 1]))?.eval());
    t.each("LstmTagger::new", &NONE, |n| {
        LstmTagger::new(TaggerConfig { vocab_size: 4, hidden_dim: n, ..TaggerConfig::default() }, &init()).map(drop)
    });
    t.each("MobileNetV2::new, width", &[-1.0, f64::NAN, f64::INFINITY, 1e300], |width| {
        MobileNetV2::new(MobileNetConfig { width, ..MobileNetConfig::default() }, &init()).map(drop)
    });
    t.each("ResNet::new, width", &HUGE, |n| ResNet::new(ResNetConfig { width: n, ..ResNetConfig::default() }, &init()).map(drop));
    t.each("UNet::new, width", &HUGE, |n| UNet::new(UNetConfig { width: n, ..UNetConfig::default() }, &init()).map(drop));
    t.each("UNet::new, levels", &HUGE, |n| UNet::new(UNetConfig { levels: n, ..UNetConfig::default() }, &init()).map(drop));
}

fn small() -> GptConfig {
    GptConfig { vocab_size: 4, block_size: 4, n_layer: 1, n_head: 1, n_embd: 4, ..GptConfig::default() }
}
