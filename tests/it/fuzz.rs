//! Random calls with random shapes, dtypes and axes: a value or a typed error that names op, operands and remedy; no panic.

use crate::common::{Noise, device, upload};
use wgrad::{ConvOptions, DType, Error, Generator, PoolOptions, Tensor};

const DRAWS: usize = 100_000;
/// Every so many draws the result is computed as well.
const EVALUATED: usize = 500;

struct Draw(Noise);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next() * n as f64) as usize
    }
    fn axis(&mut self) -> isize {
        self.below(11) as isize - 5
    }
    fn dims(&mut self) -> Vec<usize> {
        let rank = self.below(6);
        (0..rank).map(|_| self.below(5)).collect()
    }
    fn pair(&mut self) -> [usize; 2] {
        [self.below(4), self.below(4)]
    }
    fn tensor(&mut self) -> Tensor {
        let shape = if self.below(3) == 0 { vec![2, 4, 5, 5] } else { self.dims() };
        let dtype = [DType::F32, DType::F32, DType::F32, DType::I32, DType::U32, DType::Bool][self.below(6)];
        let high = if dtype == DType::Bool { 2.0 } else { 4.0 };
        let values = self.0.values(shape.iter().product(), 0.0, high);
        upload(&values, &shape, dtype, device())
    }
    fn dtype(&mut self) -> DType {
        [DType::F32, DType::F64, DType::I32, DType::U32, DType::Bool][self.below(5)]
    }
}

type Call = fn(&mut Draw, &[Tensor; 3]) -> Tensor;

/// Calls with every argument drawn, sensible or not.
fn calls() -> Vec<Call> {
    vec![
        |_, t| &t[0] + &t[1],
        |_, t| &t[0] / &t[1],
        |_, t| &t[0] % &t[1],
        |_, t| t[0].pow(&t[1]),
        |_, t| t[0].atan2(&t[1]),
        |_, t| t[0].maximum(&t[1]),
        |_, t| t[0].eq(&t[1]),
        |_, t| t[0].lt(&t[1]),
        |_, t| t[0].logical_and(&t[1]),
        |_, t| t[0].where_(&t[1], &t[2]),
        |_, t| t[0].exp(),
        |_, t| t[0].relu(),
        |_, t| t[0].neg(),
        |_, t| t[0].logical_not(),
        |_, t| t[0].is_nan(),
        |_, t| t[0].square(),
        |d, t| t[0].clamp(d.below(5) as f64 - 2.0, d.below(5) as f64 - 2.0),
        |d, t| t[0].cast(d.dtype()),
        |d, t| t[0].powf(d.below(5) as f64 - 2.0),
        |d, t| t[0].dropout(d.below(7) as f64 / 4.0 - 0.25, &Generator::new(1)),
        |d, t| t[0].reshape(d.dims()),
        |d, t| t[0].flatten(d.axis(), d.axis()),
        |d, t| {
            let order: Vec<usize> = (0..d.below(5)).map(|_| d.below(5)).collect();
            t[0].permute(&order)
        },
        |d, t| t[0].transpose(d.axis(), d.axis()),
        |_, t| t[0].t(),
        |d, t| t[0].expand(d.dims()),
        |d, t| t[0].unsqueeze(d.axis()),
        |d, t| t[0].squeeze(d.axis()),
        |d, t| t[0].slice(d.axis(), d.axis(), d.axis()),
        |d, t| t[0].slice_step(d.axis(), d.axis(), d.axis(), d.axis()),
        |d, t| t[0].flip(d.axis()),
        |d, t| {
            let amounts: Vec<(usize, usize)> = (0..d.below(5)).map(|_| (d.below(3), d.below(3))).collect();
            t[0].pad(&amounts)
        },
        |d, t| Tensor::cat(&[&t[0], &t[1], &t[0]], d.axis()),
        |d, t| Tensor::stack(&[&t[0], &t[1]], d.axis()),
        |d, t| t[0].sum(d.axis(), d.below(2) == 0),
        |d, t| t[0].sum([d.axis(), d.axis()], false),
        |_, t| t[0].mean((), false),
        |d, t| t[0].prod(d.axis(), true),
        |d, t| t[0].max(d.axis(), false),
        |d, t| t[0].var(d.axis(), d.below(3), false),
        |d, t| t[0].argmax(d.axis(), false),
        |d, t| t[0].argmin([d.axis(), d.axis()], true),
        |d, t| t[0].normalize(&[d.below(2)], 1e-5).0,
        |_, t| t[0].matmul(&t[1]),
        |_, t| t[0].matmul(&t[0].t()),
        |d, t| {
            let options = ConvOptions { stride: d.pair(), padding: d.pair(), dilation: d.pair(), groups: d.below(4) };
            t[0].conv2d(&t[1], None, options)
        },
        |d, t| {
            let channels = 1 + d.below(4);
            let weight = upload(&vec![0.5; channels * 4 * 9], &[channels, 4, 3, 3], DType::F32, device());
            t[0].conv2d(&weight, Some(&t[1]), ConvOptions { stride: d.pair(), padding: d.pair(), ..ConvOptions::default() })
        },
        |d, t| {
            let stride = if d.below(2) == 0 { None } else { Some(d.pair()) };
            let options = PoolOptions {
                kernel: d.pair(),
                stride,
                padding: d.pair(),
                dilation: d.pair(),
                count_include_pad: d.below(2) == 0,
            };
            if d.below(2) == 0 { t[0].max_pool2d(options) } else { t[0].avg_pool2d(options) }
        },
        |d, t| t[0].softmax(d.axis()),
        |d, t| t[0].log_softmax(d.axis()),
        |_, t| t[0].cross_entropy(&t[1]),
        |_, t| t[0].gather_rows(&t[1]),
        |d, t| t[0].scatter_add_rows(d.below(5), &t[1]),
        |_, t| t[0].detach(),
    ]
}

#[test]
fn random_calls_give_values_or_typed_errors() {
    let calls = calls();
    let mut draw = Draw(Noise(2026));
    let (mut good, mut refused) = (0, 0);
    for n in 0..DRAWS {
        let call = draw.below(calls.len());
        let operands = [draw.tensor(), draw.tensor(), draw.tensor()];
        let result = calls[call](&mut draw, &operands);
        let outcome = if n % EVALUATED == 0 { result.to_host().map(|_| ()) } else { result.check() };
        match outcome {
            Ok(()) => good += 1,
            Err(error) => {
                let message = error.to_string();
                assert!(matches!(error, Error::Op(_) | Error::Index { .. }), "draw {n}, call {call}: {message}");
                assert!(message.contains("help: ") && message.starts_with('['), "draw {n}, call {call}: {message}");
                refused += 1;
            }
        }
    }
    assert!(good > DRAWS / 10 && refused > DRAWS / 10, "{good} values and {refused} refusals: the draws are lopsided");
}
