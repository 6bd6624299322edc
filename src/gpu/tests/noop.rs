//! Whole pieces of work on wgpu's `noop` backend: every text is compiled, every buffer bound, every launch encoded and submitted as
//! on a GPU, and wgpu's validation judges all of it. Nothing is computed, so results are not checked; no adapter is needed.

use super::*;
use crate::device::{CacheLimits, Device, DeviceKind, DeviceOptions};
use crate::error::{Error, Result};
use crate::gpu::context;
use crate::gpu::kernels::lab::{self, Lab, Target};
use crate::gpu::program::{Caps, Lowered, Operand};
use crate::gpu::{kernels::variants::Variant, shader};
use crate::graph::op::ConvSpec;
use crate::nn::loss::{cross_entropy, mse};
use crate::nn::{self, Init, Module, Reduction, Sequential};
use crate::optim::{self, Optimizer};
use crate::param::Param;
use crate::plan::{Conv2d, ConvRole, MatMul, MatrixView};
use crate::rng::Generator;
use crate::tensor::{AttentionOptions, Tensor};

/// A piece of work on a device.
type Work = fn(&Device) -> Result<()>;

/// Makes an optimizer of parameters.
type Make = fn(&[Param]) -> Result<Box<dyn Optimizer>>;

/// A mistake to make in programs.
type Mistake = fn(&mut Lowered);

/// Pieces of work that together need every kernel.
const WORK: &[(&str, Work)] = &[
    ("perceptron", perceptron),
    ("convolutions", convolutions),
    ("transformer", transformer),
    ("recurrence", recurrence),
    ("optimizers", optimizers),
    ("rows and orders", rows),
    ("elements and reductions", elements),
];

fn noise(shape: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::randn(shape.to_vec(), &Generator::new(7), device)
}

fn labels(n: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&vec![1i32; n], [n], device)
}

/// Two steps of training.
fn train(model: &dyn Module, optimizer: &mut dyn Optimizer, x: &Tensor, target: &Tensor) -> Result<()> {
    for _ in 0..2 {
        let y = model.forward(x)?;
        let loss = if target.dtype()? == DType::I32 {
            cross_entropy(&y, target, Reduction::Mean)?
        } else {
            mse(&y, target, Reduction::Mean)?
        };
        let mut gradients = loss.backward()?;
        gradients.clip_by_norm(1.0)?;
        optimizer.step(gradients)?;
        loss.item()?;
    }
    Ok(())
}

fn perceptron(device: &Device) -> Result<()> {
    let init = Init::new(device, 1);
    for (inputs, hidden, batch) in [(33, 17, 5), (784, 256, 128), (64, 64, 64)] {
        let model = Sequential::new()
            .push(nn::Linear::new(inputs, hidden, &init)?)
            .push(nn::BatchNorm1d::new(hidden, &init)?)
            .push(nn::Relu)
            .push(nn::Dropout::new(0.1, &init)?)
            .push(nn::Linear::new(hidden, 10, &init)?);
        let mut sgd = optim::Sgd::new(&model.parameters()?, optim::SgdConfig { momentum: 0.9, ..Default::default() })?;
        train(&model, &mut sgd, &noise(&[batch, inputs], device)?, &labels(batch, device)?)?;
    }
    Ok(())
}

fn convolutions(device: &Device) -> Result<()> {
    let init = Init::new(device, 2);
    for (stride, groups, len, kernel) in [(1, 1, 28, 3), (2, 2, 15, 3), (1, 4, 16, 9)] {
        let config = nn::ConvOptions { stride: [stride; 2], padding: [1; 2], groups, ..Default::default() };
        let model = Sequential::new()
            .push(nn::Conv2d::with(4, 12, kernel, config, &init)?)
            .push(nn::BatchNorm2d::new(12, &init)?)
            .push(nn::Silu)
            .push(nn::MaxPool2d::new(2))
            .push(nn::GroupNorm::new(2, 12, &init)?)
            .push(nn::AvgPool2d::new(2))
            .push(nn::GlobalAvgPool)
            .push(nn::Flatten)
            .push(nn::Linear::new(12, 10, &init)?);
        let mut adam = optim::Adam::new(&model.parameters()?, optim::AdamConfig::default())?;
        train(&model, &mut adam, &noise(&[3, 4, len, len], device)?, &labels(3, device)?)?;
    }
    // Few channels, whose input gradient tiles would mostly pad.
    let x = Param::new(&noise(&[2, 3, 9, 9], device)?)?;
    let options = crate::ConvOptions::default().stride(2).padding(1);
    let y = x.tensor().conv2d(&noise(&[8, 3, 3, 3], device)?, None, options);
    y.square().sum().backward()?.get(&x)?.to_vec::<f32>().map(drop)?;
    // Channels enough on both sides for packed weights.
    let wide = Param::new(&noise(&[2, 16, 9, 9], device)?)?;
    let y = wide.tensor().conv2d(&noise(&[24, 16, 3, 3], device)?, None, crate::ConvOptions::default());
    y.square().sum().backward()?.get(&wide)?.to_vec::<f32>().map(drop)?;
    // Windows that overlap.
    let options = crate::PoolOptions { stride: Some([2; 2]), padding: [1; 2], ..Default::default() };
    let y = x.tensor().max_pool2d_with(3, options);
    y.square().sum().backward()?.get(&x)?.to_vec::<f32>().map(drop)
}

fn transformer(device: &Device) -> Result<()> {
    let init = Init::new(device, 3);
    let layer = || nn::TransformerEncoderLayer::new(16, 4, &init);
    let model = nn::TransformerEncoder::new(vec![layer()?, layer()?], Some(nn::LayerNorm::new([16], &init)?));
    let mut adamw = optim::AdamW::new(&model.parameters()?, optim::AdamWConfig::default())?;
    train(&model, &mut adamw, &noise(&[2, 7, 16], device)?, &noise(&[2, 7, 16], device)?)?;
    // Without dropout attention is one kernel.
    for d in [6, 64, 80] {
        let x = Param::new(&noise(&[2, 2, 70, d], device)?)?;
        let (q, options) = (x.tensor(), AttentionOptions { causal: d == 64, ..AttentionOptions::default() });
        q.scaled_dot_product_attention(&q, &q, &options).square().sum().backward()?.get(&x)?.eval()?;
    }
    Ok(())
}

fn recurrence(device: &Device) -> Result<()> {
    let init = Init::new(device, 4);
    let (embedding, lstm) = (nn::Embedding::new(50, 12, &init)?, nn::Lstm::new(12, 8, &init)?);
    let tokens = Tensor::from_slice(&[1i32; 15], [3, 5], device)?;
    let y = lstm.forward(&embedding.forward(&tokens)?)?;
    let gradients = y.square().mean().backward()?;
    let mut parameters = embedding.parameters()?;
    parameters.extend(lstm.parameters()?);
    optim::RmsProp::new(&parameters, optim::RmsPropConfig::default())?.step(gradients)?;
    // Sequences that end, states that are not whole vectors.
    let (gru, rnn) = (nn::Gru::new(12, 7, &init)?, nn::Rnn::new(7, 8, &init)?);
    let options = nn::SequenceOptions { lengths: Some(vec![3, 1, 2, 3, 1]), ..Default::default() };
    let y = gru.run(&noise(&[3, 5, 12], device)?, &options)?.output;
    let gradients = rnn.forward(&y)?.square().mean().backward()?;
    parameters = gru.parameters()?;
    parameters.extend(rnn.parameters()?);
    optim::RmsProp::new(&parameters, optim::RmsPropConfig::default())?.step(gradients)?;
    device.flush()
}

fn optimizers(device: &Device) -> Result<()> {
    let made: &[Make] = &[
        |p| Ok(Box::new(optim::Sgd::new(p, optim::SgdConfig::default())?)),
        |p| Ok(Box::new(optim::Adam::new(p, optim::AdamConfig { amsgrad: true, ..Default::default() })?)),
        |p| Ok(Box::new(optim::AdamW::new(p, optim::AdamWConfig::default())?)),
        |p| Ok(Box::new(optim::RmsProp::new(p, optim::RmsPropConfig::default())?)),
        |p| Ok(Box::new(optim::AdaGrad::new(p, optim::AdaGradConfig::default())?)),
        |p| Ok(Box::new(optim::AdaDelta::new(p, optim::AdaDeltaConfig::default())?)),
        |p| Ok(Box::new(optim::Adamax::new(p, optim::AdamaxConfig::default())?)),
        |p| Ok(Box::new(optim::NAdam::new(p, optim::NAdamConfig::default())?)),
        |p| Ok(Box::new(optim::RAdam::new(p, optim::RAdamConfig::default())?)),
        |p| Ok(Box::new(optim::Lamb::new(p, optim::LambConfig::default())?)),
        |p| Ok(Box::new(optim::Lion::new(p, optim::LionConfig::default())?)),
    ];
    for make in made {
        let model = nn::Linear::new(40, 30, &Init::new(device, 5))?;
        train(&model, &mut *make(&model.parameters()?)?, &noise(&[6, 40], device)?, &noise(&[6, 30], device)?)?;
    }
    Ok(())
}

fn rows(device: &Device) -> Result<()> {
    let index = |n: usize| Tensor::from_slice(&vec![0i32; n], [n], device);
    for (rows, cols, n) in [(9, 5, 4), (40, 64, 33), (2000, 8, 3000)] {
        let table = Param::new(&noise(&[rows, cols], device)?)?;
        let x = table.tensor();
        let picked = x.index_select(0, &index(n)?);
        picked.square().sum().backward()?.get(&table).map_or(Ok(()), |g| g.eval())?;
        picked.cast(DType::F16).index_select(0, &index(3)?).eval()?;
        x.softmax(1).eval()?;
        x.log_softmax(0).square().sum().backward()?.get(&table).map_or(Ok(()), |g| g.eval())?;
        x.argmax_dim(1isize).eval()?;
        x.argsort(0, true).eval()?;
        x.sort(1, false).0.eval()?;
        x.cumsum(0).eval()?;
        let scale = Param::new(&noise(&[cols], device)?)?;
        let y = x.layer_norm([cols], Some(&scale.tensor()), None, 1e-5);
        y.square().sum().backward()?.get(&scale).map_or(Ok(()), |g| g.eval())?;
    }
    // Rows that no workgroup holds, in parts.
    let x = Param::new(&noise(&[3, 9001], device)?)?;
    for y in [x.tensor().softmax(1), x.tensor().log_softmax(1), x.tensor().cross_entropy_rows(&index(3)?)] {
        y.square().sum().backward()?.get(&x)?.eval()?;
    }
    // Rows of halves that are not whole words.
    noise(&[9, 5], device)?.cast(DType::F16).index_select(0, &index(4)?).eval()?;
    noise(&[100_000], device)?.argsort(0, false).eval()
}

fn elements(device: &Device) -> Result<()> {
    for shape in [&[1][..], &[4099], &[3, 1021], &[64, 64], &[2, 3, 4, 5, 6], &[300, 1000]] {
        let x = noise(shape, device)?;
        let y = x.exp().log1p().sin() * &x + x.gelu();
        y.eval()?;
        for dtype in [DType::F16, DType::U8, DType::I32, DType::U32, DType::Bool] {
            y.cast(dtype).eval()?;
        }
        y.sum().item()?;
        y.max_keepdim(-1).eval()?;
        y.prod_dim(0).eval()?;
        y.argmax_dim(-1).eval()?;
    }
    Ok(())
}

fn open(options: DeviceOptions) -> Device {
    adapters::with_noop(|| Device::first(DeviceKind::Software, options)).expect("opens")
}

#[test]
fn every_plan_of_representative_work_is_valid() {
    let plain = DeviceOptions { checks: Some(true), ..DeviceOptions::default() };
    let mut sources = Vec::new();
    let hardware = DeviceOptions { hardware_kernels: true, ..plain };
    for options in [
        plain,
        hardware,
        DeviceOptions { short_texts: true, ..plain },
        DeviceOptions { short_texts: true, ..hardware },
        DeviceOptions { checks: Some(false), unfused: true, ..plain },
    ] {
        let device = open(options);
        // Whatever was compiled is checked in the end.
        device.set_cache_limits(CacheLimits { bytes: u64::MAX, plans: usize::MAX });
        for (name, work) in WORK {
            work(&device).unwrap_or_else(|e| panic!("{name} with {options:?}: {e}"));
            device.flush().unwrap_or_else(|e| panic!("{name} with {options:?}: {e}"));
        }
        assert!(device.counters().dispatches > 500, "{:?}", device.counters());
        sources.extend(device.shader_sources());
    }
    // What no adapter uses but one whose driver fails at the tiles.
    for example in crate::cpu::attention::examples::examples() {
        let mut buffers: Vec<(DType, usize)> = example.reads.iter().map(|(dtype, data)| (*dtype, data.len())).collect();
        buffers.push((DType::F32, example.want.len()));
        let plan = lab::one_step(example.kernel, &buffers);
        let lowered = kernels::lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(true)).expect("lowers");
        sources.extend(lowered.programs.into_iter().map(|p| p.source));
    }
    // Each file of `shaders/` is among them, recognised by a line that no other file has.
    let files = shader::files();
    for (name, text) in files {
        let own = |line: &&str| {
            let plain = !line.trim().is_empty() && !line.contains("${") && !line.trim_start().starts_with('#');
            plain && files.iter().filter(|(_, other)| other.contains(*line)).count() == 1
        };
        let seen = text.lines().filter(own).any(|line| sources.iter().any(|s| s.contains(line)));
        assert!(seen, "no work here needs shaders/{name}.wgsl");
    }
}

fn lab() -> Lab {
    let options = Options { checks: true, ..Options::default() };
    Lab::new(adapters::with_noop(|| context::open(0, options)).expect("opens"))
}

/// Runs programs over zeros.
fn judge(lab: &Lab, lowered: &Lowered, lens: &[usize]) -> Result<()> {
    let (&written, read) = lens.split_last().expect("a result");
    let reads: Vec<HostData> = read.iter().map(|&n| HostData::F32(vec![0.0; n])).collect();
    let target = Target { operand: Operand::Write, data: HostData::F32(vec![0.0; written]) };
    let prepared = lab.load(lowered, &reads, &[target])?;
    lab.repeat(&prepared, 1)?;
    lab.context.check()
}

fn product(m: usize, n: usize, k: usize) -> Kernel {
    let view = |cols: usize| MatrixView { batch: vec![], row: cols as i64, col: 1, offset: 0 };
    let epilogue = Expr::identity(Shape::of(&[m, n]), DType::F32);
    Kernel::MatMul(MatMul { batch: Shape::SCALAR, m, n, k, a: view(k), b: view(n), epilogue, sums: None })
}

#[test]
fn every_forced_variant_is_valid() {
    let lab = lab();
    let spec = ConvSpec { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
    let (x, w, y) = ([2, 3, 9, 8], [5, 3, 3, 3], [2, 5, 9, 8]);
    let convolution = |role, out: [usize; 4]| {
        Kernel::Conv2d(Conv2d {
            role,
            spec,
            x,
            w,
            y,
            epilogue: Expr::identity(Shape::of(&out), DType::F32),
            packed: None,
            moments: None,
        })
    };
    let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
    for (kernel, lens) in [
        (product(17, 33, 65), vec![17 * 65, 65 * 33, 17 * 33]),
        (product(64, 64, 64), vec![4096, 4096, 4096]),
        (convolution(ConvRole::Forward, y), vec![nx, nw, ny]),
        (convolution(ConvRole::InputGrad, x), vec![ny, nw, nx]),
        (convolution(ConvRole::WeightGrad, w), vec![nx, ny, nw]),
    ] {
        let buffers: Vec<(DType, usize)> = lens.iter().map(|&n| (DType::F32, n)).collect();
        let plan = lab::one_step(kernel.clone(), &buffers);
        let variants = Variant::all(&kernel);
        assert!(variants.len() > 1, "{}", kernel.name());
        for variant in variants {
            let lowered = variant.lower(&plan.steps[0], &plan, &lab.context.caps).expect("lowers");
            judge(&lab, &lowered, &lens).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        }
    }
}

/// What the two tests above rest on: mistakes of every kind are seen with nothing computed.
#[test]
fn planted_mistakes_are_refused() {
    let lab = lab();
    let lens = [64, 64, 64];
    let plan = lab::one_step(product(8, 8, 8), &lens.map(|n| (DType::F32, n)));
    let sound = kernels::lower(&plan.steps[0], &plan, &lab.context.caps).expect("lowers");
    judge(&lab, &sound, &lens).expect("the kernel is sound");
    let mistakes: [(&str, Mistake); 6] = [
        ("a record that is too short", |l| l.programs[0].record.truncate(4)),
        ("a binding that may not be written", |l| l.programs[0].operands[2] = Operand::Read(0)),
        ("a binding that the text does not write", |l| l.programs[0].operands[0] = Operand::Write),
        ("a binding that is not there", |l| l.programs[0].operands.truncate(2)),
        ("a launch past the limit", |l| l.programs[0].grid = [65_536, 1, 1]),
        ("a text that does not compile", |l| l.programs[0].source.push_str("fn")),
    ];
    for (what, plant) in mistakes {
        let mut lowered = sound.clone();
        plant(&mut lowered);
        let judged = judge(&lab, &lowered, &lens);
        assert!(matches!(judged, Err(Error::Internal { .. })), "{what}: {judged:?}");
    }
    judge(&lab, &sound, &lens).expect("the device goes on");
}
