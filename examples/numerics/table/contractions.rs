//! Matrix products, convolutions and attention, and the definition of a case.

use super::error::{Bits, normalised};
use wgrad::{AttentionOptions, ConvOptions, ConvTransposeOptions, DType, Device, HostData, Result, Tensor};

/// What the contract allows: the normalised squared error.
pub const LIMIT: f64 = 1e-7;

type Run = Box<dyn Fn(&[Tensor]) -> Tensor>;

/// An op on random operands.
pub struct Case {
    pub name: &'static str,
    pub shapes: Vec<Vec<usize>>,
    ranges: Vec<[f64; 2]>,
    run: Run,
}

impl Case {
    pub fn new(name: &'static str, operands: &[(&[usize], [f64; 2])], run: impl Fn(&[Tensor]) -> Tensor + 'static) -> Self {
        let (shapes, ranges) = operands.iter().map(|(s, r)| (s.to_vec(), *r)).unzip();
        Self { name, shapes, ranges, run: Box::new(run) }
    }

    /// Normalised squared errors on a device: of the result, and the worst of the gradients with a random cotangent.
    #[allow(clippy::cast_possible_truncation, reason = "operands are rounded to what the device computes in")]
    pub fn measure(&self, device: &Device) -> Result<(f64, f64)> {
        let mut bits = Bits(5);
        let data: Vec<Vec<f32>> = self
            .shapes
            .iter()
            .zip(&self.ranges)
            .map(|(s, [low, high])| (0..s.iter().product::<usize>()).map(|_| (low + (high - low) * bits.unit()) as f32).collect())
            .collect();
        let (got, expected) = (self.values(&data, DType::F32, device)?, self.values(&data, DType::F64, &Device::cpu()?)?);
        let errors: Vec<f64> = got.iter().zip(&expected).map(|(g, e)| normalised(g, e)).collect();
        Ok((errors[0], errors[1..].iter().copied().fold(0.0, f64::max)))
    }

    /// The result, then the gradients.
    #[allow(clippy::cast_possible_truncation, reason = "operands are rounded to what the device computes in")]
    fn values(&self, data: &[Vec<f32>], dtype: DType, device: &Device) -> Result<Vec<Vec<f64>>> {
        let mut leaves = Vec::new();
        for (values, shape) in data.iter().zip(&self.shapes) {
            leaves.push(upload(values, shape, dtype, device)?.variable()?);
        }
        let y = (self.run)(&leaves);
        let mut values = vec![y.to_host()?.to_f64()];
        let shape = y.shape()?;
        let mut bits = Bits(9);
        let cotangent: Vec<f32> = (0..shape.numel()).map(|_| (2.0 * bits.unit() - 1.0) as f32).collect();
        let gradients = y.backward_with(&upload(&cotangent, shape.dims(), dtype, device)?)?;
        for leaf in &leaves {
            // A target that only selects has no gradient.
            if let Ok(g) = gradients.get(leaf) {
                values.push(g.to_host()?.to_f64());
            }
        }
        Ok(values)
    }
}

fn upload(values: &[f32], shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    let data = match dtype {
        DType::F64 => HostData::F64(values.iter().map(|&x| f64::from(x)).collect()),
        _ => HostData::F32(values.to_vec()),
    };
    Tensor::from_host(data, dtype, shape, device)
}

pub fn contractions() -> Vec<Case> {
    let part = [-1.0, 1.0];
    let conv = |stride: usize, padding: usize, groups: usize| ConvOptions {
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
        groups,
        ..Default::default()
    };
    vec![
        Case::new("matmul", &[(&[64, 64], part), (&[64, 64], part)], |x| x[0].matmul(&x[1])),
        Case::new("matmul", &[(&[129, 257], part), (&[257, 65], part)], |x| x[0].matmul(&x[1])),
        Case::new("matmul, long", &[(&[16, 20_000], part), (&[20_000, 8], part)], |x| x[0].matmul(&x[1])),
        Case::new("matmul, positive", &[(&[16, 4096], [0.0, 1.0]), (&[4096, 16], [0.0, 1.0])], |x| x[0].matmul(&x[1])),
        Case::new("matmul, transposed", &[(&[128, 96], part), (&[80, 128], part)], |x| x[0].t().matmul(&x[1].t())),
        Case::new("matmul, batched", &[(&[6, 33, 40], part), (&[6, 40, 17], part)], |x| x[0].matmul(&x[1])),
        Case::new("matmul, vector", &[(&[1, 700], part), (&[700, 300], part)], |x| x[0].matmul(&x[1])),
        Case::new("linear", &[(&[64, 200], part), (&[100, 200], part), (&[100], part)], |x| x[0].linear(&x[1], Some(&x[2]))),
        Case::new("conv2d 3x3", &[(&[2, 8, 20, 20], part), (&[16, 8, 3, 3], part), (&[16], part)], move |x| {
            x[0].conv2d(&x[1], Some(&x[2]), conv(1, 1, 1))
        }),
        Case::new("conv2d 1x1", &[(&[2, 16, 14, 14], part), (&[24, 16, 1, 1], part)], move |x| {
            x[0].conv2d(&x[1], None, conv(1, 0, 1))
        }),
        Case::new("conv2d 5x5, stride 2, groups 2", &[(&[2, 8, 17, 17], part), (&[6, 4, 5, 5], part)], move |x| {
            x[0].conv2d(&x[1], None, conv(2, 2, 2))
        }),
        Case::new("conv2d, depthwise", &[(&[2, 16, 15, 15], part), (&[16, 1, 3, 3], part)], move |x| {
            x[0].conv2d(&x[1], None, conv(1, 1, 16))
        }),
        Case::new("conv1d", &[(&[2, 4, 100], part), (&[8, 4, 5], part)], |x| x[0].conv1d(&x[1], None, ConvOptions::default())),
        Case::new("conv3d", &[(&[1, 3, 8, 8, 8], part), (&[4, 3, 3, 3, 3], part)], |x| {
            x[0].conv3d(&x[1], None, ConvOptions::default())
        }),
        Case::new("conv_transpose2d", &[(&[2, 8, 7, 7], part), (&[8, 4, 4, 4], part)], |x| {
            x[0].conv_transpose2d(&x[1], None, ConvTransposeOptions { stride: [2; 2], padding: [1; 2], ..Default::default() })
        }),
        Case::new("attention", &[(&[2, 40, 16], part), (&[2, 50, 16], part), (&[2, 50, 16], part)], |x| {
            x[0].scaled_dot_product_attention(&x[1], &x[2], &AttentionOptions::default())
        }),
        Case::new("einsum", &[(&[8, 9, 10], part), (&[9, 10, 11], part)], |x| Tensor::einsum("abc,bcd->ad", &[&x[0], &x[1]])),
    ]
}
