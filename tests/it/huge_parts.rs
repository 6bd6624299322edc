//! Sizes near 2^64 in layers, models, data, training and schedules: typed errors, or the right result.

use crate::common::{device, upload};
use crate::huge::{HUGE, none, untyped};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgrad::data::transforms::{
    AffineConfig, Cutout, GaussianBlur, RandomAffine, RandomCrop, Resize, TimeMasking, TimeShift, Transform,
};
use wgrad::data::{DataLoader, Dataset, LabelledImages, LogMel, MelConfig, Tokens, VecDataset, split, split_stratified};
use wgrad::nn::models::{Gpt, GptConfig, LeNet, LstmTagger, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2};
use wgrad::nn::models::{ResNet, ResNetConfig, ResNetDepth, TaggerConfig, UNet, UNetConfig};
use wgrad::nn::{
    AdaptiveAvgPool2d, AdaptiveMaxPool1d, AvgPool2d, BatchNorm1d, BatchNorm2d, Bilinear, Conv1d, Conv2d, Conv3d, ConvOptions,
    ConvTranspose1d, ConvTranspose2d, Embedding, EmbeddingConfig, GroupNorm, Gru, Init, InstanceNorm2d, InstanceNormConfig,
    LayerNorm, Linear, LinearConfig, Lstm, MaxPool1d, MaxPool2d, Module, MultiheadAttention, PRelu, PReluConfig, PixelShuffle,
    PixelUnshuffle, RecurrentConfig, RmsNorm, Rnn, RotaryEncoding, SinusoidalEncoding, TransformerConfig,
    TransformerDecoderLayer, TransformerEncoderLayer, Unflatten, Upsample,
};
use wgrad::optim::Schedule;
use wgrad::train::ConfusionMatrix;
use wgrad::{ConvTransposeOptions, DType, Generator, Interpolation, Result, Tensor};

type Refused = fn(usize) -> Result<()>;

/// A data set of the given length, whose samples are all 0.
struct Many(usize);

impl Dataset for Many {
    type Sample = i32;
    fn len(&self) -> usize {
        self.0
    }
    fn get(&self, _: usize) -> Result<i32> {
        Ok(0)
    }
}

/// A loader of the numbers 0 to 4.
fn five(batch_size: usize) -> Result<DataLoader<VecDataset<i32>>> {
    Ok(DataLoader::new(VecDataset(vec![0, 1, 2, 3, 4]), batch_size, device())?.shuffle(true).seed(1))
}

fn init() -> Init {
    Init::new(device(), 1)
}

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

/// What must be computed to see the error.
fn computed(t: Result<Tensor>) -> Result<()> {
    t.and_then(|t| t.eval())
}

fn augmented(transform: &dyn Transform, shape: &[usize]) -> Result<()> {
    computed(transform.apply(&f(shape), &Generator::new(1)))
}

fn layers() -> Vec<(&'static str, Refused)> {
    let plain = [
        ("Linear, inputs", (|n| Linear::new(n, 2, &init()).map(drop)) as Refused),
        ("Linear, both", |n| Linear::new(n, n, &init()).map(drop)),
        ("Linear without bias", |n| Linear::with(2, n, LinearConfig { bias: false }, &init()).map(drop)),
        ("Bilinear", |n| Bilinear::new(n, n, n, &init()).map(drop)),
        ("Embedding", |n| Embedding::new(n, n, &init()).map(drop)),
        ("Embedding, padding", |n| Embedding::with(2, 2, EmbeddingConfig { padding_idx: Some(n) }, &init()).map(drop)),
        ("PRelu", |n| PRelu::with(PReluConfig { num_parameters: n, slope: 0.2 }, &init()).map(drop)),
        ("BatchNorm1d", |n| BatchNorm1d::new(n, &init()).map(drop)),
        ("BatchNorm2d", |n| BatchNorm2d::new(n, &init()).map(drop)),
        ("InstanceNorm2d", |n| {
            let config = InstanceNormConfig { affine: true, ..InstanceNormConfig::default() };
            InstanceNorm2d::with(n, config, &init()).map(drop)
        }),
        ("GroupNorm, channels", |n| GroupNorm::new(1, n, &init()).map(drop)),
        ("GroupNorm, groups", |n| GroupNorm::new(n, 4, &init()).map(drop)),
        ("LayerNorm", |n| LayerNorm::new([n, n], &init()).map(drop)),
        ("RmsNorm", |n| RmsNorm::new([n, 2], &init()).map(drop)),
        ("MultiheadAttention", |n| MultiheadAttention::new(n, 1, &init()).map(drop)),
        ("MultiheadAttention, heads", |n| MultiheadAttention::new(4, n, &init()).map(drop)),
        ("SinusoidalEncoding, width", |n| SinusoidalEncoding::new(n, 2, &init()).map(drop)),
        ("SinusoidalEncoding, length", |n| SinusoidalEncoding::new(2, n, &init()).map(drop)),
        ("RotaryEncoding, width", |n| RotaryEncoding::new(n & !1, 2, &init()).map(drop)),
        ("RotaryEncoding, length", |n| RotaryEncoding::new(2, n, &init()).map(drop)),
        ("RotaryEncoding, offset", |n| computed(RotaryEncoding::new(2, 4, &init())?.rotate(&f(&[2, 2]), n))),
        ("TransformerEncoderLayer", |n| {
            let config = TransformerConfig { dim_feedforward: n, ..TransformerConfig::default() };
            TransformerEncoderLayer::with(4, 2, config, &init()).map(drop)
        }),
        ("TransformerDecoderLayer", |n| TransformerDecoderLayer::new(n, 1, &init()).map(drop)),
    ];
    let recurrent: [(&'static str, Refused); 6] = [
        ("Rnn, inputs", |n| Rnn::new(n, 2, &init()).map(drop)),
        ("Gru, hidden", |n| Gru::new(2, n, &init()).map(drop)),
        ("Lstm, hidden", |n| Lstm::new(0, n, &init()).map(drop)),
        ("Lstm, layers", |n| {
            Lstm::with(1, 1, RecurrentConfig { num_layers: n, ..RecurrentConfig::default() }, &init()).map(drop)
        }),
        ("Lstm, layers in two directions", |n| {
            let config = RecurrentConfig { num_layers: n, bidirectional: true, ..RecurrentConfig::default() };
            Lstm::with(1, 1, config, &init()).map(drop)
        }),
        ("Gru, steps", |_| {
            let steps = Tensor::zeros([1 << 31, 1, 1], device())?;
            Gru::new(1, 1, &init())?.forward(&steps).map(drop)
        }),
    ];
    let windows: [(&'static str, Refused); 20] = [
        ("Conv2d, channels", |n| Conv2d::new(n, n, 1, &init()).map(drop)),
        ("Conv2d, kernel", |n| Conv2d::new(1, 1, n, &init()).map(drop)),
        ("Conv2d, groups", |n| Conv2d::with(4, 4, 1, ConvOptions { groups: n, ..ConvOptions::default() }, &init()).map(drop)),
        ("Conv2d, padding", |n| {
            let config = ConvOptions { padding: [n, n], ..ConvOptions::default() };
            computed(Conv2d::with(1, 1, 3, config, &init())?.forward(&f(&[1, 1, 4, 4])))
        }),
        ("Conv2d, dilation", |n| {
            let config = ConvOptions { dilation: [n, 1], ..ConvOptions::default() };
            computed(Conv2d::with(1, 1, 3, config, &init())?.forward(&f(&[1, 1, 4, 4])))
        }),
        ("Conv1d, kernel", |n| Conv1d::new(1, 1, n, &init()).map(drop)),
        ("Conv1d, padding", |n| {
            let options = ConvOptions { padding: [n], ..ConvOptions::default() };
            computed(Conv1d::with(1, 1, 3, options, &init())?.forward(&f(&[1, 1, 4])))
        }),
        ("Conv3d, channels", |n| Conv3d::new(n, 1, 1, &init()).map(drop)),
        ("ConvTranspose1d, groups", |n| {
            ConvTranspose1d::with(4, 4, 1, ConvTransposeOptions { groups: n, ..ConvTransposeOptions::default() }, &init())
                .map(drop)
        }),
        ("ConvTranspose2d, stride", |n| {
            let options = ConvTransposeOptions { stride: [n, n], ..ConvTransposeOptions::default() };
            computed(ConvTranspose2d::with(1, 1, 3, options, &init())?.forward(&f(&[1, 1, 4, 4])))
        }),
        ("MaxPool2d", |n| computed(MaxPool2d::new(n).forward(&f(&[1, 1, 4, 4])))),
        ("AvgPool2d", |n| computed(AvgPool2d::new(n).forward(&f(&[1, 1, 4, 4])))),
        ("MaxPool1d", |n| computed(MaxPool1d::new(n).forward(&f(&[1, 1, 4])))),
        ("AdaptiveAvgPool2d", |n| computed(AdaptiveAvgPool2d::new([n, n]).forward(&f(&[1, 1, 4, 4])))),
        ("AdaptiveMaxPool1d", |n| computed(AdaptiveMaxPool1d::new(n).forward(&f(&[1, 1, 4])))),
        ("Unflatten", |n| computed(Unflatten::new(1, [n, n]).forward(&f(&[1, 4])))),
        ("Upsample", |n| computed(Upsample::new(n).forward(&f(&[1, 1, 4])))),
        ("Upsample, to", |n| computed(Upsample::to(&[n], Interpolation::Nearest).forward(&f(&[1, 1, 4])))),
        ("PixelShuffle", |n| computed(PixelShuffle::new(n).forward(&f(&[1, 0, 4, 4])))),
        ("PixelUnshuffle", |n| computed(PixelUnshuffle::new(n).forward(&f(&[1, 1, 0, 0])))),
    ];
    plain.into_iter().chain(recurrent).chain(windows).collect()
}

fn models() -> Vec<(&'static str, Refused)> {
    vec![
        ("Mlp", |n| Mlp::new(&[2, n, n], &init()).map(drop)),
        ("LeNet, channels", |n| LeNet::new(n, 10, &init()).map(drop)),
        ("LeNet, classes", |n| LeNet::new(1, n, &init()).map(drop)),
        ("M5, width", |n| M5::new(M5Config { width: n, ..M5Config::default() }, &init()).map(drop)),
        ("Gpt, width", |n| Gpt::new(GptConfig { n_embd: n, n_head: 1, ..GptConfig::default() }, &init()).map(drop)),
        ("Gpt, vocabulary", |n| Gpt::new(GptConfig { vocab_size: n, ..GptConfig::default() }, &init()).map(drop)),
        ("Gpt, layers", |n| {
            let small = GptConfig { n_embd: 2, n_head: 1, vocab_size: 2, block_size: 2, ..GptConfig::default() };
            Gpt::new(GptConfig { n_layer: n, ..small }, &init()).map(drop)
        }),
        ("LstmTagger, hidden", |n| {
            let config = TaggerConfig { vocab_size: 2, hidden_dim: n, bidirectional: true, ..TaggerConfig::default() };
            LstmTagger::new(config, &init()).map(drop)
        }),
        ("LstmTagger, layers", |n| {
            let config = TaggerConfig { vocab_size: 2, hidden_dim: 1, num_layers: n, ..TaggerConfig::default() };
            LstmTagger::new(config, &init()).map(drop)
        }),
        ("MobileNetV2", |n| {
            MobileNetV2::new(MobileNetConfig { width: n as f64 * 1e9, ..MobileNetConfig::default() }, &init()).map(drop)
        }),
        ("ResNet 18", |n| {
            let depth = ResNetDepth::R18;
            ResNet::new(ResNetConfig { depth, width: n, ..ResNetConfig::default() }, &init()).map(drop)
        }),
        ("ResNet 50", |n| {
            let depth = ResNetDepth::R50;
            ResNet::new(ResNetConfig { depth, width: n, ..ResNetConfig::default() }, &init()).map(drop)
        }),
        ("UNet, width", |n| UNet::new(UNetConfig { width: n, ..UNetConfig::default() }, &init()).map(drop)),
        ("UNet, levels", |n| UNet::new(UNetConfig { levels: n, width: 0, ..UNetConfig::default() }, &init()).map(drop)),
    ]
}

fn data() -> Vec<(&'static str, Refused)> {
    vec![
        ("LogMel, window", |n| LogMel::new(MelConfig { window: n, ..MelConfig::default() }, device()).map(drop)),
        ("LogMel, bands", |n| LogMel::new(MelConfig { bands: n, ..MelConfig::default() }, device()).map(drop)),
        ("LogMel, hop", |n| {
            let mel = LogMel::new(MelConfig { window: 64, hop: n, bands: 4, ..MelConfig::default() }, device())?;
            computed(mel.apply(&f(&[1, 100]), &Generator::new(1)))
        }),
        ("RandomAffine", |n| RandomAffine::new(AffineConfig::default(), [n, n], device()).map(drop)),
        ("RandomAffine, height", |n| RandomAffine::new(AffineConfig::default(), [n, 1], device()).map(drop)),
        ("RandomAffine, width", |n| RandomAffine::new(AffineConfig::default(), [1, n], device()).map(drop)),
        ("RandomCrop", |n| augmented(&RandomCrop::new([n, 2]), &[2, 1, 4, 4])),
        ("RandomCrop, padding", |n| augmented(&RandomCrop::new([4, 4]).padding(n), &[2, 1, 4, 4])),
        ("Resize", |n| augmented(&Resize { size: [n, n] }, &[2, 1, 4, 4])),
        ("GaussianBlur", |n| GaussianBlur::new(n, (1.0, 2.0)).map(drop)),
        ("TimeShift", |n| augmented(&TimeShift { limit: n }, &[2, 8])),
        ("DataLoader", |n| DataLoader::new(Many(n), 4, device()).map(drop)),
        ("split", |n| split(n, [0.5, 0.5], 1).map(drop)),
        ("split, counts", |n| split(4, [n, 4], 1).map(drop)),
        ("split_stratified", |n| split_stratified(&[0, 1, 1, 0], [n, n], 1).map(drop)),
        ("draw_per_class", |n| wgrad::data::draw_per_class(&[0, 1, 1, 0], n, 1).map(drop)),
        ("Generator::permutation", |n| Generator::new(1).permutation(n, 0).map(drop)),
        ("Windows::batch, length", |n| Tokens::new(vec![1; 8]).windows(n)?.batch(&[0, 1], device()).map(drop)),
        ("Windows::batch, index", |n| Tokens::new(vec![1; 8]).windows(2)?.batch(&[n], device()).map(drop)),
        ("Windows::batch of none", |n| Tokens::new(vec![1; 8]).windows(n)?.batch(&[], device()).map(drop)),
        ("Windows::draw", |n| Tokens::new(vec![1; 8]).windows(2)?.draw(n, &Generator::new(1), 0).map(drop)),
        ("Windows::draw, length", |n| Tokens::new(vec![1; 8]).windows(n)?.draw(1, &Generator::new(1), 0).map(drop)),
        ("LabelledImages", |n| LabelledImages::new([1, n, n], vec![0; 4], vec![0]).map(drop)),
        ("LabelledImages, none", |n| LabelledImages::new([n, 2, 2], vec![], vec![])?.batch(&[0; 3], device()).map(drop)),
        ("LabelledImages, a part", |n| LabelledImages::new([n, 2, 2], vec![], vec![])?.subset(&[0; 3]).map(drop)),
        ("LabelledImages::batch", |n| LabelledImages::new([1, 1, 1], vec![0], vec![0])?.batch(&[n], device()).map(drop)),
        ("ConfusionMatrix", |n| ConfusionMatrix::new(n).map(drop)),
        ("Schedule, past its end", |n| Schedule::one_cycle(1.0, 7).lr_within(n).map(drop)),
        ("Schedule, warm-up", |n| Schedule::Cosine { base: 1.0, warmup: n, total: 9, floor: 0.0 }.validate().map(drop)),
    ]
}

#[test]
fn huge_sizes_of_parts_are_typed_errors() {
    let rows = layers().into_iter().chain(models()).chain(data());
    let mut faults = Vec::new();
    for (name, run) in rows {
        faults.extend(HUGE.iter().filter_map(|&n| untyped(&format!("{name} ({n:#x})"), || run(n))));
    }
    none(&faults);
}

/// Calls that are valid with any number.
#[test]
fn huge_sizes_that_make_sense_work() {
    type Right = fn(usize) -> Result<bool>;
    let schedules: fn(usize) -> Vec<Schedule> = |n| {
        let constant = || Box::new(Schedule::Constant { base: 0.5 });
        vec![
            Schedule::Step { base: 0.5, every: n, gamma: 0.1 },
            Schedule::MultiStep { base: 0.5, milestones: vec![n, n], gamma: 0.1 },
            Schedule::Linear { base: 0.5, start: 0.1, end: 1.0, steps: n },
            Schedule::Polynomial { base: 0.5, steps: n, power: 2.0 },
            Schedule::Cosine { base: 0.5, warmup: n, total: n, floor: 0.1 },
            Schedule::Cosine { base: 0.5, warmup: 1, total: n, floor: 0.1 },
            Schedule::CosineRestarts { base: 0.5, period: n, growth: n, floor: 0.1 },
            Schedule::CosineRestarts { base: 0.5, period: 1, growth: 2, floor: 0.1 },
            Schedule::one_cycle(0.5, n),
            Schedule::Warmup { steps: n, then: constant() },
            Schedule::Warmup { steps: n, then: Box::new(Schedule::Warmup { steps: n, then: constant() }) },
            Schedule::Joined { parts: vec![(n, *constant()), (n, Schedule::one_cycle(0.5, n))] },
        ]
    };
    let rows: Vec<(&'static str, Right)> = vec![
        ("a loader of batches", |n| {
            let loader = five(n)?;
            Ok(loader.len() == 1 && loader.epoch(0).next().expect("a batch")?.to_vec::<i32>()?.len() == 5)
        }),
        ("a loader's epochs", |n| {
            let loader = five(2)?;
            let batches = loader.epoch(n).map(|batch| batch?.to_vec::<i32>()).collect::<Result<Vec<_>>>()?;
            let mut all = batches.concat();
            all.sort_unstable();
            Ok(all == [0, 1, 2, 3, 4] && loader.epoch(0).nth(n).is_none())
        }),
        ("statistics of no images", |n| Ok(LabelledImages::new([n, 2, 2], vec![], vec![])?.statistics().0.is_empty())),
        ("windows of tokens", |n| Ok(Tokens::new(vec![1; 8]).windows(n)?.is_empty())),
        ("windows far apart", |n| Ok(Tokens::new(vec![1; 8]).windows(2)?.stride(n)?.len() == 1)),
        ("a draw at a late step", |n| {
            let (windows, g) = (Tokens::new(vec![1; 5000]).windows(2)?.stride(1)?, Generator::new(1));
            let at = |step| windows.draw(8, &g, step);
            // Steps that agree in their lower bits have different draws.
            Ok(at(n)?.iter().all(|&s| s < 4998) && at(3)? != at(3 + (1 << (usize::BITS / 2)))?)
        }),
        ("generators at late offsets", |n| {
            let at = |offset| Tensor::random_bits([8], &Generator::at(1, offset), device())?.to_vec::<u32>();
            Ok(at(n as u64)? != at(n as u64 & 0xFFFF_FFFF)? || n as u64 <= 0xFFFF_FFFF)
        }),
        ("frames of sound", |n| {
            let mel = LogMel::new(MelConfig { window: 64, hop: 1, bands: 4, ..MelConfig::default() }, device())?;
            Ok(mel.frames(n) >= n)
        }),
        ("a mask of sound", |n| {
            let spectrogram = TimeMasking::new(n).apply(&f(&[1, 2, 3]), &Generator::new(1))?;
            Ok(spectrogram.to_vec::<f32>()? == [0.5; 6])
        }),
        ("a hole in images", |n| {
            let holes = Cutout { size: n }.apply(&f(&[1, 1, 2, 2]), &Generator::new(1))?;
            Ok(holes.to_vec::<f32>()? == [0.0; 4])
        }),
        ("cells of a confusion matrix", |n| {
            Ok(ConfusionMatrix::new(2)?.count(n, n) == 0 && ConfusionMatrix::new(2)?.count(0, n) == 0)
        }),
        ("progress", |n| {
            let mut progress = wgrad::train::Progress::new("test", n);
            progress.skip(n);
            progress.step(n, None);
            progress.step(n, None);
            Ok(progress.rate() > 0.0)
        }),
    ];
    let mut faults = Vec::new();
    for n in HUGE {
        for (name, run) in &rows {
            match catch_unwind(|| run(n)) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => faults.push(format!("{name} ({n:#x}): wrong")),
                Ok(Err(error)) => faults.push(format!("{name} ({n:#x}): {error}")),
                Err(_) => faults.push(format!("{name} ({n:#x}): a panic")),
            }
        }
        for schedule in schedules(n) {
            for step in [0, 1, n / 2, n - 1, n, usize::MAX] {
                let lr = catch_unwind(AssertUnwindSafe(|| schedule.lr(step)));
                if !lr.as_ref().is_ok_and(|lr| (0.0..=0.5 + 1e-9).contains(lr)) {
                    faults.push(format!("{schedule:?} at {step:#x}: {lr:?}"));
                }
            }
        }
    }
    none(&faults);
}
