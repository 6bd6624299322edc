//! Measuring errors: a device's f32 results against f64.
//!
//! The CPU device runs f64 node by node on its reference executor: that is the truth here. A device may flush subnormal
//! operands and results to 0; an error is the smallest over all that this allows.

use super::elementwise::{At, Binary, Budget, Division, TINY, Unary};
use wgrad::{DType, Device, HostData, Result, Tensor};

/// The end of f32's range: from here on, numbers round to infinity.
const OVERFLOW: f64 = f32::MAX as f64 * (1.0 + f32::EPSILON as f64 / 4.0);

/// The values at which functions go wrong.
#[allow(dead_code, reason = "tests try them; the report measures sweeps")]
pub const SPECIAL: [f32; 40] = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    1e-39,
    -1e-39,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-20,
    -1e-20,
    0.5,
    -0.5,
    1.0,
    -1.0,
    1.5,
    -1.5,
    2.0,
    -2.0,
    2.5,
    -2.5,
    3.0,
    -3.0,
    13.24,
    -13.24,
    88.72,
    -88.72,
    88.73,
    -88.73,
    104.0,
    -104.0,
    1000.0,
    -1000.0,
    16_777_217.0,
    -16_777_215.0,
    1e20,
    3.4e38,
    -3.4e38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// SplitMix64, for bits that differ from the generator under test.
pub struct Bits(pub u64);

impl Bits {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform on [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Any f32 except a subnormal.
    #[allow(clippy::cast_possible_truncation, reason = "the low 32 bits")]
    fn normal(&mut self) -> f32 {
        loop {
            let x = f32::from_bits(self.next() as u32);
            if !x.is_subnormal() {
                return x;
            }
        }
    }
}

/// `n` numbers evenly over a range, as many of all magnitudes in it, and as many random bit patterns.
#[allow(clippy::cast_possible_truncation, reason = "operands have single precision")]
pub fn sweep([low, high]: [f64; 2], n: usize, seed: u64) -> Vec<f32> {
    let mut bits = Bits(seed);
    let mut values = Vec::with_capacity(3 * n);
    values.extend((0..n).map(|i| (low + (high - low) * (i as f64 + bits.unit()) / n as f64) as f32));
    let inside = |x: f64| if x < low || x > high { x.clamp(low, high) } else { x };
    for i in 0..n {
        let largest = low.abs().max(high.abs());
        let magnitude = largest * 10f64.powf(-8.0 * bits.unit());
        values.push(inside(if i % 2 == 0 { magnitude } else { -magnitude }) as f32);
    }
    values.extend((0..n).map(|_| bits.normal()));
    values
}

/// The worst error of an op, in the unit of its budget, and where.
#[derive(Debug, Clone)]
pub struct Worst {
    pub error: f64,
    pub operands: Vec<f32>,
    pub got: f64,
    pub expected: f64,
}

impl Worst {
    /// The operands, as text.
    pub fn place(&self) -> String {
        self.operands.iter().map(|x| format!("{x:e}")).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} at {}: {:e}, not {:e}", self.error, self.place(), self.got, self.expected)
    }
}

fn upload(values: &[f32], dtype: DType, device: &Device) -> Result<Tensor> {
    let data = match dtype {
        DType::F64 => HostData::F64(values.iter().map(|&x| f64::from(x)).collect()),
        _ => HostData::F32(values.to_vec()),
    };
    Tensor::from_host(data, dtype, [values.len()], device)
}

fn read(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.to_host()?.to_f64())
}

/// A zero with the same sign for a subnormal; anything else unchanged.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// The truth about an op at some points: what it gives in f64 for its operands, each as it is and with subnormal numbers flushed.
pub struct Truth {
    expected: Vec<Vec<f64>>,
    /// The first operand.
    operand: Vec<f64>,
    budget: Budget,
}

impl Truth {
    /// Of a unary op.
    pub fn unary(op: &Unary, x: &[f32]) -> Result<Self> {
        let cpu = Device::cpu()?;
        let from_flushed: Vec<f32> = x.iter().map(|&x| flushed(x)).collect();
        let of = |x: &[f32]| read(&(op.run)(&upload(x, DType::F64, &cpu)?));
        Ok(Self { expected: vec![of(x)?, of(&from_flushed)?], operand: x.iter().map(|&x| x.into()).collect(), budget: op.budget })
    }

    /// Of a binary op.
    pub fn binary(op: &Binary, a: &[f32], b: &[f32]) -> Result<Self> {
        let cpu = Device::cpu()?;
        let [fa, fb] = [a, b].map(|v| v.iter().map(|&x| flushed(x)).collect::<Vec<f32>>());
        let of = |(a, b): (&[f32], &[f32])| read(&(op.run)(&upload(a, DType::F64, &cpu)?, &upload(b, DType::F64, &cpu)?));
        let expected = [(a, b), (&fa[..], b), (a, &fb[..]), (&fa[..], &fb[..])].into_iter().map(of).collect::<Result<_>>()?;
        Ok(Self { expected, operand: a.iter().map(|&x| x.into()).collect(), budget: op.budget })
    }

    /// Errors of results, one per element: (error, got, expected).
    pub fn errors(&self, got: &[f64]) -> Vec<(f64, f64, f64)> {
        assert_eq!(got.len(), self.operand.len(), "one result per point");
        let errors = got.iter().enumerate().map(|(i, &got)| {
            let of = |expected: &Vec<f64>| error(got, expected[i], self.operand[i], self.budget);
            (self.expected.iter().map(of).fold(f64::INFINITY, f64::min), got, self.expected[0][i])
        });
        errors.collect()
    }
}

/// How a device divides and takes square roots, from a table of quotients and roots.
pub fn division(device: &Device) -> Result<Division> {
    let normal = |(a, b): &(f32, f32)| a.is_normal() && b.is_normal() && (a / b).is_normal();
    let pairs = sweep([-1e3, 1e3], 4000, 21).into_iter().zip(sweep([-1e3, 1e3], 4000, 22));
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.filter(normal).unzip();
    let (ta, tb) = (upload(&a, DType::F32, device)?, upload(&b, DType::F32, device)?);
    let (quotients, roots) = (read(&(&ta / &tb))?, read(&ta.abs().sqrt())?);
    let exact = (0..a.len()).all(|i| quotients[i] == f64::from(a[i] / b[i]) && roots[i] == f64::from(a[i].abs().sqrt()));
    Ok(if exact { Division::Exact } else { Division::Rough })
}

/// Errors of a unary op on a device, one per element: (error, got, expected).
pub fn unary_errors(op: &Unary, x: &[f32], device: &Device) -> Result<Vec<(f64, f64, f64)>> {
    let got = read(&(op.run)(&upload(x, DType::F32, device)?))?;
    Ok(Truth::unary(op, x)?.errors(&got))
}

/// Errors of a binary op on a device.
pub fn binary_errors(op: &Binary, a: &[f32], b: &[f32], device: &Device) -> Result<Vec<(f64, f64, f64)>> {
    let got = read(&(op.run)(&upload(a, DType::F32, device)?, &upload(b, DType::F32, device)?))?;
    Ok(Truth::binary(op, a, b)?.errors(&got))
}

/// The largest of `errors`.
pub fn worst(errors: &[(f64, f64, f64)], operands: &[&[f32]]) -> Worst {
    let mut worst = Worst { error: -1.0, operands: Vec::new(), got: 0.0, expected: 0.0 };
    for (i, &(error, got, expected)) in errors.iter().enumerate() {
        if error > worst.error {
            worst = Worst { error, operands: operands.iter().map(|v| v[i]).collect(), got, expected };
        }
    }
    worst
}

/// The distance of a result from the truth in ULPs at the place that the budget names; ∞ for a wrong NaN or infinity.
///
/// Zeros are equal whatever their signs. Results that are lost to flushing, or round to infinity, count as 0.
pub fn error(got: f64, expected: f64, operand: f64, budget: Budget) -> f64 {
    if got.is_nan() || expected.is_nan() {
        return if got.is_nan() && expected.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == expected || (expected.abs() >= OVERFLOW && got == expected.signum() * f64::INFINITY) {
        return 0.0;
    }
    if expected.is_infinite() {
        return f64::INFINITY;
    }
    if expected.abs() < budget.lost * (1.0 + 1e-6)
        && (got.abs() <= budget.lost && (got == 0.0 || got.signum() == expected.signum()))
    {
        return 0.0;
    }
    let magnitude = match budget.at {
        At::Result => expected.abs(),
        At::One => expected.abs().max(1.0),
        At::Operand => expected.abs().max(operand.abs().min(f64::from(f32::MAX))),
    };
    // Infinity in place of a number near the end of the range is off by the distance to the end.
    let got = if got.is_infinite() { got.signum() * f64::from(f32::MAX) * (1.0 + f64::from(f32::EPSILON)) } else { got };
    (got - expected).abs() / ulp(magnitude)
}

/// The spacing of f32 numbers at a magnitude.
fn ulp(magnitude: f64) -> f64 {
    let exponent = magnitude.clamp(TINY, f64::from(f32::MAX)).log2().floor();
    (exponent - 23.0).exp2()
}

/// `Σ(got - expected)² / Σ expected²`; 0 if all are equal, ∞ if one value is finite and the other is not.
pub fn normalised(got: &[f64], expected: &[f64]) -> f64 {
    let error: f64 = got.iter().zip(expected).map(|(g, e)| if g == e { 0.0 } else { (g - e) * (g - e) }).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    if error == 0.0 {
        0.0
    } else if error.is_nan() || got.len() != expected.len() {
        f64::INFINITY
    } else {
        error / norm
    }
}
