//! Convolutions with both gradients, layer by layer of known networks.

use super::{Case, noise};
use wgrad::{ConvOptions, ConvTransposeOptions, Tensor};

/// A layer over images, or over sequences if its height is 1.
#[derive(Clone, Copy)]
struct Layer {
    group: &'static str,
    batch: usize,
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    groups: usize,
}

const ROLES: [&str; 3] = ["forward", "dgrad", "wgrad"];

impl Layer {
    const fn new(group: &'static str, batch: usize, inputs: usize, outputs: usize, side: usize, kernel: usize) -> Self {
        let (size, kernel, padding) = ([side, side], [kernel, kernel], kernel / 2);
        Self { group, batch, inputs, outputs, size, kernel, stride: 1, padding, groups: 1 }
    }

    const fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    const fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    const fn depthwise(mut self) -> Self {
        self.groups = self.inputs;
        self
    }

    /// Over sequences of a length.
    const fn sequence(mut self, length: usize) -> Self {
        (self.size, self.kernel) = ([1, length], [1, self.kernel[1]]);
        self
    }

    fn case(self, role: &'static str) -> Case {
        let Self { batch, inputs, outputs, size: [height, width], kernel: [kh, kw], stride, padding, groups, .. } = self;
        let sequence = height == 1;
        let along = |length: usize, kernel: usize| (length + 2 * padding - kernel) / stride + 1;
        let (oh, ow) = (if sequence { 1 } else { along(height, kh) }, along(width, kw));
        let name = format!(
            "convolution {batch}x{inputs}x{height}x{width} to {outputs}, {kh}x{kw} stride {stride} groups {groups}, {role}"
        );
        let weights = outputs * (inputs / groups) * kh * kw;
        let elements = batch * inputs * height * width + batch * outputs * oh * ow + weights;
        Case::new(format!("{}.{role}", self.group), name, batch * oh * ow * weights, elements, move |d| {
            // A sequence goes the library's own way from one dimension to two.
            let shape = |lead: [usize; 2], [h, w]: [usize; 2]| {
                if sequence { vec![lead[0], lead[1], w] } else { vec![lead[0], lead[1], h, w] }
            };
            let apply = |x: &Tensor, w: &Tensor| match sequence {
                true => x.conv1d(w, None, ConvOptions::default().stride(stride).padding(padding).groups(groups)),
                false => x.conv2d(w, None, ConvOptions::default().stride(stride).padding(padding).groups(groups)),
            };
            let x = noise(&shape([batch, inputs], [height, width]), 1, d)?;
            let w = noise(&shape([outputs, inputs / groups], [kh, kw]), 2, d)?;
            if role == "forward" {
                return Ok(apply(&x, &w));
            }
            let cotangent = noise(&shape([batch, outputs], [oh, ow]), 3, d)?;
            let (x, w) = if role == "dgrad" { (x.variable()?, w) } else { (x, w.variable()?) };
            let gradients = apply(&x, &w).backward_with(&cotangent)?;
            gradients.get(if role == "dgrad" { &x } else { &w })
        })
    }
}

/// A transposed convolution of 2x2 with stride 2, as a U-Net's way up has.
fn upwards(batch: usize, inputs: usize, outputs: usize, side: usize, role: &'static str) -> Case {
    let name = format!("transposed convolution {batch}x{inputs}x{side}x{side} to {outputs}, 2x2 stride 2, {role}");
    let multiply_adds = batch * inputs * side * side * outputs * 4;
    let elements = batch * (inputs + 4 * outputs) * side * side + 4 * inputs * outputs;
    Case::new(format!("transposed.{role}"), name, multiply_adds, elements, move |d| {
        let options = ConvTransposeOptions::default().stride(2);
        let x = noise(&[batch, inputs, side, side], 1, d)?;
        let w = noise(&[inputs, outputs, 2, 2], 2, d)?;
        if role == "forward" {
            return Ok(x.conv_transpose2d(&w, None, options));
        }
        let cotangent = noise(&[batch, outputs, 2 * side, 2 * side], 3, d)?;
        let (x, w) = if role == "dgrad" { (x.variable()?, w) } else { (x, w.variable()?) };
        let gradients = x.conv_transpose2d(&w, None, options).backward_with(&cotangent)?;
        gradients.get(if role == "dgrad" { &x } else { &w })
    })
}

const LAYERS: &[Layer] = &[
    // First layers: few channels in.
    Layer::new("first", 64, 1, 16, 28, 3),
    Layer::new("first", 128, 3, 16, 32, 3),
    Layer::new("first", 32, 3, 64, 224, 7).stride(2).padding(3),
    Layer::new("first", 32, 3, 32, 224, 3).stride(2),
    Layer::new("first", 8, 3, 64, 128, 3),
    Layer::new("first", 32, 3, 96, 224, 4).stride(4).padding(0),
    // ResNet-18 of 224x224, and of CIFAR's 32x32.
    Layer::new("3x3", 16, 64, 64, 32, 3),
    Layer::new("3x3", 32, 64, 64, 56, 3),
    Layer::new("3x3", 32, 128, 128, 28, 3),
    Layer::new("3x3", 32, 256, 256, 14, 3),
    Layer::new("3x3", 32, 512, 512, 7, 3),
    Layer::new("3x3", 64, 512, 512, 4, 3),
    Layer::new("3x3-strided", 32, 64, 128, 56, 3).stride(2),
    Layer::new("3x3-strided", 32, 256, 512, 14, 3).stride(2),
    Layer::new("3x3-strided", 128, 16, 32, 32, 3).stride(2),
    Layer::new("1x1-strided", 32, 64, 128, 56, 1).stride(2),
    // Narrow ones: a small CNN, ResNet-20 of CIFAR, a U-Net that begins with 16 channels.
    Layer::new("narrow", 64, 16, 32, 14, 3),
    Layer::new("narrow", 128, 16, 16, 32, 3),
    Layer::new("narrow", 128, 32, 32, 16, 3),
    Layer::new("narrow", 128, 64, 64, 8, 3),
    Layer::new("narrow", 8, 16, 16, 128, 3),
    Layer::new("narrow", 8, 32, 16, 128, 3),
    Layer::new("narrow", 8, 32, 32, 64, 3),
    Layer::new("narrow", 8, 64, 64, 32, 3),
    // A U-Net that begins with 64 channels; its convolutions after joining have twice as many.
    Layer::new("unet", 4, 64, 64, 128, 3),
    Layer::new("unet", 4, 128, 64, 128, 3),
    Layer::new("unet", 4, 256, 128, 64, 3),
    Layer::new("unet", 4, 512, 1024, 8, 3),
    // Few channels out: heads of U-Nets.
    Layer::new("1x1-head", 4, 64, 2, 128, 1),
    Layer::new("1x1-head", 8, 16, 2, 128, 1),
    // MobileNetV2: expand and project.
    Layer::new("1x1", 32, 256, 64, 56, 1),
    Layer::new("1x1", 32, 24, 144, 56, 1),
    Layer::new("1x1", 32, 144, 24, 56, 1),
    Layer::new("1x1", 32, 96, 576, 14, 1),
    Layer::new("1x1", 32, 576, 96, 14, 1),
    Layer::new("1x1", 32, 320, 1280, 7, 1),
    // ConvNeXt's pointwise layers.
    Layer::new("1x1", 32, 96, 384, 56, 1),
    Layer::new("1x1", 32, 384, 96, 56, 1),
    Layer::new("depthwise", 32, 96, 96, 56, 3).depthwise(),
    Layer::new("depthwise", 32, 144, 144, 56, 3).depthwise(),
    Layer::new("depthwise", 32, 576, 576, 14, 3).depthwise(),
    Layer::new("depthwise-strided", 32, 96, 96, 112, 3).depthwise().stride(2),
    Layer::new("depthwise-strided", 32, 192, 192, 28, 3).depthwise().stride(2),
    Layer::new("depthwise-7x7", 32, 96, 96, 56, 7).depthwise(),
    Layer::new("depthwise-7x7", 32, 384, 384, 14, 7).depthwise(),
    // Sequences: the layers of M5, which hears words.
    Layer::new("sequence-first", 32, 1, 32, 0, 80).stride(16).padding(0).sequence(8000),
    Layer::new("sequence", 32, 32, 32, 0, 3).padding(0).sequence(124),
    Layer::new("sequence", 32, 64, 64, 0, 3).padding(0).sequence(498),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = LAYERS.iter().flat_map(|layer| ROLES.map(|role| layer.case(role))).collect();
    for (batch, inputs, outputs, side) in [(4, 128, 64, 64), (4, 1024, 512, 8), (8, 32, 16, 64)] {
        cases.extend(ROLES.map(|role| upwards(batch, inputs, outputs, side, role)));
    }
    cases
}
