//! Single calls: which of them is named, and which are no anomalies.

use super::{here, is_here, stopped};
use crate::common::{Noise, device, devices, oracle, upload};
use crate::samples::{Operand, samples};
use wgrad::error::AnomalyKind;
use wgrad::nn::loss::{Reduction, binary_cross_entropy, mse};
use wgrad::train::{AnomalyMode, AnomalyPolicy};
use wgrad::{AttentionOptions, DType, Device, Error, Param, PoolOptions, Tensor, no_grad};

/// Stands for a number of which two overflow.
const BIG: f64 = 7e77;

/// A loss of a parameter, and what is named.
struct Row {
    what: &'static str,
    values: &'static [f64],
    loss: fn(&Tensor) -> Tensor,
    kind: AnomalyKind,
    op: &'static str,
    part: Option<&'static str>,
    position: usize,
    value: f64,
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn row(what: &'static str, values: &'static [f64], loss: fn(&Tensor) -> Tensor, kind: AnomalyKind, op: &'static str) -> Row {
    Row { what, values, loss, kind, op, part: None, position: 0, value: INF }
}

impl Row {
    fn at(mut self, position: usize, value: f64) -> Self {
        (self.position, self.value) = (position, value);
        self
    }
    fn part(mut self, part: &'static str) -> Self {
        self.part = Some(part);
        self
    }
}

/// Ones of a tensor's shape that hold data.
fn ones(w: &Tensor) -> Tensor {
    let shape = w.shape().expect("valid");
    upload(&vec![1.0; shape.numel()], &shape, w.dtype().expect("valid"), &w.device().expect("valid"))
}

fn rows() -> Vec<Row> {
    use AnomalyKind::{Gradient, Value};
    vec![
        row("exp overflows", &[1.0, 800.0], |w| here(line!(), w.exp()).sum(), Value, "exp").at(1, INF),
        row("expm1 overflows later", &[1.0, 800.0], |w| (here(line!(), w.expm1()) * 0.5).sum(), Value, "expm1").at(1, INF),
        row("log of a negative number", &[1.0, -1.0], |w| here(line!(), w.log()).sum(), Value, "log").at(1, NAN),
        row("log of 0", &[0.0, 1.0], |w| here(line!(), w.log()).sum(), Value, "log").at(0, -INF),
        row("sqrt of a negative number", &[1.0, -1.0], |w| here(line!(), w.sqrt()).sum(), Value, "sqrt").at(1, NAN),
        row("division by 0", &[1.0, 2.0], |w| here(line!(), w / (ones(w) - 1.0)).sum(), Value, "div"),
        row("division by the number 0", &[1.0, 2.0], |w| here(line!(), w / 0.0).sum(), Value, "div"),
        row("0 divided by 0", &[1.0, 0.0], |w| here(line!(), w / &(w * 0.0)).sum(), Value, "div").at(1, NAN),
        row("a difference of infinities", &[800.0], |w| (here(line!(), w.exp()) - w.exp()).sum(), Value, "exp"),
        row("an infinite number times 0", &[1.0, 0.0], |w| here(line!(), w * INF).sum(), Value, "mul").at(1, NAN),
        row("the number NaN", &[1.0, 2.0], |w| here(line!(), w * NAN).sum(), Value, "mul").at(0, NAN),
        row("a sum overflows", &[BIG, BIG], |w| here(line!(), w.sum()), Value, "sum"),
        row("a square overflows", &[1.0, BIG], |w| here(line!(), w.square()).sum(), Value, "square").at(1, INF),
        row("a product overflows", &[BIG, BIG], |w| here(line!(), w.dot(&ones(w))), Value, "dot"),
        row("a part of a loss", &[1.0, BIG], |w| here(line!(), mse(w, &ones(w), Reduction::Sum)).expect("fits"), Value, "mse")
            .part("square")
            .at(1, INF),
        row(
            "half precision",
            &[1.0, 1e6],
            |w| here(line!(), w.cast(DType::F16)).cast(w.dtype().expect("valid")).sum(),
            Value,
            "cast",
        )
        .at(1, INF),
        row("the root's slope at 0", &[4.0, 0.0], |w| here(line!(), w.sqrt()).sum(), Gradient, "sqrt").at(1, INF),
        row("a power's slope at 0", &[4.0, 0.0], |w| here(line!(), w.powf(0.5)).sum(), Gradient, "powf").at(1, INF),
        row(
            "a branch that is not taken",
            &[0.0, 1.0],
            |w| w.gt(0).where_(&here(line!(), w.log()), &w.zeros_like()).sum(),
            Gradient,
            "log",
        )
        .at(0, NAN),
        row(
            "a product with itself overflows",
            &[1.0, BIG],
            |w| (here(line!(), w * w.detach()) * 0.0).sum() + w.sum(),
            Value,
            "mul",
        )
        .at(1, INF),
        row(
            "the last of many ops",
            &[0.5, 3.0],
            |w| {
                let h = (w * 2.0).tanh().exp().sigmoid() + w.sin().square();
                here(line!(), (h - 100.0).log()).sum()
            },
            Value,
            "log",
        )
        .at(0, NAN),
        row(
            "a gradient on its way through others",
            &[0.0, 3.0],
            |w| {
                let root = here(line!(), w.abs().sqrt());
                (root.tanh() * 3.0).exp().mean()
            },
            Gradient,
            "sqrt",
        )
        .at(0, INF),
    ]
}

/// A parameter with these values.
fn parameter(values: &[f64], dtype: DType, device: &Device) -> Param {
    let big = if dtype == DType::F64 { 1.7e308 } else { 3e38 };
    let values: Vec<f64> = values.iter().map(|&v| if v == BIG { big } else { v }).collect();
    let w = Param::new(&upload(&values, &[values.len()], dtype, device)).expect("a float");
    w.set_name("layer.w");
    w
}

/// The devices and dtypes that there are.
fn places() -> Vec<(&'static str, Device, DType)> {
    let both = devices();
    vec![("fused", both.fused.clone(), DType::F32), ("unfused", both.unfused.clone(), DType::F32), ("f64", oracle(), DType::F64)]
}

#[test]
fn the_call_that_is_the_cause_is_named() {
    for (place, device, dtype) in places() {
        for row in rows() {
            let what = format!("{}, {place}", row.what);
            let w = parameter(row.values, dtype, &device);
            let found = stopped(|| {
                let loss = (row.loss)(&w.tensor());
                loss.eval()?;
                loss.backward()?.get(&w)?.eval()
            });
            let found = found.unwrap_or_else(|| panic!("{what}: nothing was found"));
            assert_eq!((found.kind, found.op.as_str()), (row.kind, row.op), "{what}: {found}");
            assert!(row.part.is_none() || found.part.as_deref() == row.part, "{what}: {found}");
            assert_eq!(found.position, row.position, "{what}: {found}");
            assert!(found.value == row.value || found.value.is_nan() && row.value.is_nan(), "{what}: {found}");
            assert!(is_here(&found, file!()), "{what}: {found}");
            assert_eq!(found.layer.as_deref(), Some("layer"), "{what}: {found}");
            if row.kind == AnomalyKind::Gradient {
                assert_eq!(found.parameter.as_deref(), Some("layer.w"), "{what}: {found}");
            }
        }
    }
}

#[test]
fn the_message_says_where_and_from_what() {
    let w = parameter(&[1.0, 800.0], DType::F32, &oracle());
    let found = stopped(|| here(line!(), w.tensor().reshape([1, 2]).exp()).eval()).expect("it overflows");
    let wanted = format!(
        "[exp] in layer layer: the result is inf at [0, 1] of [1, 2], from 800.0; help: look at what this call \
                          gets: a logarithm or a root out of its range, a division by 0, numbers that have grown (at {}:{})",
        file!(),
        super::LINE.get()
    );
    assert_eq!(found.to_string(), wanted);
    assert_eq!(Error::NotFinite(Box::new(found)).to_string(), wanted);
}

#[test]
fn data_and_what_was_there_before_is_an_input() {
    for (place, device, dtype) in places() {
        let x = upload(&[1.0, NAN, 2.0], &[3], dtype, &device);
        let found = stopped(|| here(line!(), (&x * 2.0).exp()).sum().item()).expect("NaN");
        assert_eq!((found.kind, found.op.as_str(), found.position), (AnomalyKind::Input, "mul", 1), "{place}: {found}");
        assert!(is_here(&found, file!()), "{place}: {found}");
        let before = x.log();
        before.eval().expect("a value");
        let found = stopped(|| here(line!(), before.transpose(0, 0).square()).sum().item()).expect("NaN");
        assert_eq!((found.kind, found.op.as_str()), (AnomalyKind::Input, "square"), "{place}: {found}");
        // What was called before has no line.
        let lazy = x.nan_to_zero().log().exp();
        let found = stopped(|| lazy.eval());
        assert!(found.is_none(), "{place}");
    }
}

/// For the test above.
trait NanToZero {
    fn nan_to_zero(&self) -> Tensor;
}

impl NanToZero for Tensor {
    fn nan_to_zero(&self) -> Tensor {
        self.is_nan().where_(&self.ones_like(), self)
    }
}

#[test]
fn infinities_that_reach_nothing_are_no_anomalies() {
    type Clean = fn(&Tensor) -> wgrad::Result<Tensor>;
    let rows: [(&str, Clean); 13] = [
        ("a logarithm of 0 beside the branch taken", |w| Ok(no_grad(|| w.gt(0).where_(&w.log(), &w.zeros_like())))),
        ("a mask by masked_fill", |w| Ok(w.masked_fill(&w.eq(0), f64::NEG_INFINITY).softmax(-1).square().sum())),
        ("a mask by where_", |w| Ok(w.gt(0).where_(w, &w.full_like(f64::NEG_INFINITY)).log_softmax(-1).exp().sum())),
        ("all masked", |w| Ok(w.masked_fill(&w.lt(100), f64::NEG_INFINITY).softmax(-1).sum())),
        ("a mask of a float dtype", |w| {
            let [n] = w.dims::<1>()?;
            let x = w.unsqueeze(1).expand([n, 4]) * ones(&w.unsqueeze(1).expand([n, 4]));
            let mask = Tensor::zeros([n, n], &w.device()?)?.cast(w.dtype()?);
            let mask = mask.masked_fill(&mask.ones_like().triu(1).ne(0), f64::NEG_INFINITY);
            let options = AttentionOptions { mask: Some(mask), ..AttentionOptions::default() };
            Ok(x.scaled_dot_product_attention(&x, &x, &options).square().sum())
        }),
        ("a mask of host data", |w| {
            let [n] = w.dims::<1>()?;
            let x = w.unsqueeze(1).expand([n, 4]) * ones(&w.unsqueeze(1).expand([n, 4]));
            let values: Vec<f64> = (0..n * n).map(|i| if i % n > i / n { f64::NEG_INFINITY } else { 0.0 }).collect();
            let mask = upload(&values, &[n, n], w.dtype()?, &w.device()?);
            let options = AttentionOptions { mask: Some(mask), ..AttentionOptions::default() };
            Ok(x.scaled_dot_product_attention(&x, &x, &options).square().sum())
        }),
        ("causal attention", |w| {
            let x = w.unsqueeze(1) * ones(&w.unsqueeze(1));
            let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
            Ok(x.scaled_dot_product_attention(&x, &x, &options).sum())
        }),
        ("padding of a maximum", |w| {
            let [n] = w.dims::<1>()?;
            Ok(w.reshape([1, 1, 1, n]).max_pool2d_with([1, 3], PoolOptions::default().padding([0, 1])).sum())
        }),
        ("an infinite number by itself", |w| Ok(w.detach() + INF)),
        ("an infinite constant", |w| Tensor::full([3], f64::NEG_INFINITY, &w.device()?)),
        ("1 divided by an infinite number", |w| Ok((1.0 / (w + INF)).sum())),
        ("probabilities of 0 and 1", |w| binary_cross_entropy(&w.clamp(0.0, 1.0), &ones(w), Reduction::Mean)),
        ("a test for NaN", |w| Ok(w.log().is_finite())),
    ];
    for (place, device, dtype) in places() {
        for (what, f) in &rows {
            let w = parameter(&[0.0, 1.0, 0.5, 2.0], dtype, &device);
            let found = stopped(|| {
                let y = f(&w.tensor())?;
                y.eval()?;
                if y.requires_grad() && y.shape()?.numel() == 1 {
                    y.backward()?.get(&w)?.eval()?;
                }
                Ok(())
            });
            assert!(found.is_none(), "{what}, {place}: {}", found.expect("found"));
        }
    }
}

#[test]
fn every_op_is_named_with_the_line_of_its_call() {
    let (mut named, mut passed) = (0, 0);
    // Every plan is compiled for one run: a part of the table where that takes long.
    let part = if device().kind() == wgrad::DeviceKind::Cpu { 1 } else { 29 };
    for sample in samples().into_iter().step_by(part) {
        let mut noise = Noise(3);
        let mut data: Vec<Vec<f64>> =
            sample.operands.iter().map(|o| noise.values(o.shape.iter().product(), o.lo, o.hi)).collect();
        let run = |data: &[Vec<f64>]| {
            let leaf = |(o, v): (&Operand, &Vec<f64>)| upload(v, &o.shape, DType::F32, device()).variable().expect("a float");
            let leaves: Vec<Tensor> = sample.operands.iter().zip(data).map(leaf).collect();
            let mode = AnomalyMode::new(AnomalyPolicy::Stop);
            mode.watch(|| {
                let y = (sample.run)(&leaves);
                y.eval()?;
                if sample.gradient && y.requires_grad() {
                    y.sum().backward()?.eval()?;
                }
                Ok(y)
            })
        };
        let clean = run(&data);
        if let Err(Error::NotFinite(found)) = &clean {
            // Some samples are of NaN on purpose.
            assert!(sample.name.contains("NaN"), "{} on ordinary numbers: {found}", sample.name);
            continue;
        }
        drop(clean.unwrap_or_else(|e| panic!("{}: {e}", sample.name)));
        let Some(first) = data.first_mut().and_then(|d| d.first_mut()) else { continue };
        *first = NAN;
        match run(&data) {
            Err(Error::NotFinite(found)) => {
                let at = found.at.unwrap_or_else(|| panic!("{}: no line: {found}", sample.name));
                // A call through a pointer to a method has no line; it has the method's name.
                assert!(at.file().starts_with("tests") || sample.name.starts_with(&found.op), "{}: {found}", sample.name);
                // CTC makes NaN of its own in branches that are not taken.
                assert!(found.kind == AnomalyKind::Input || sample.op == "ctc", "{}: {found}", sample.name);
                named += 1;
            }
            Err(error) if crate::common::is_refusal(&error) => {}
            Err(error) => panic!("{}: {error}", sample.name),
            Ok(y) => {
                let read = y.to_host().expect("computed").to_f64();
                assert!(!y.dtype().expect("valid").is_float() || read.iter().all(|v| !v.is_nan()), "{}: {read:?}", sample.name);
                passed += 1;
            }
        }
    }
    assert!(named * part > 400, "{named} named, {passed} passed");
}
