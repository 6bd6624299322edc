//! The table of ops and samples: what each op is, on which inputs it is tried, and how exact it must be.

use wgrad::{ConvOptions, DType, PoolOptions, Tensor};

/// One operand: its shape and the range of its values.
#[derive(Debug, Clone)]
pub struct Operand {
    pub shape: Vec<usize>,
    pub lo: f64,
    pub hi: f64,
}

pub type Run = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

/// One op on operands of given shapes.
pub struct Sample {
    pub name: String,
    pub operands: Vec<Operand>,
    pub run: Run,
    /// Relative error of the forward pass against f64.
    pub relative: f64,
    /// Absolute error of the forward pass against f64.
    pub absolute: f64,
    /// Whether gradients are checked (the op is differentiable at almost every point of the ranges).
    pub gradient: bool,
    /// Whether second derivatives are checked as well.
    pub second: bool,
}

fn operand(shape: &[usize], lo: f64, hi: f64) -> Operand {
    Operand { shape: shape.to_vec(), lo, hi }
}

impl Sample {
    fn new(name: impl Into<String>, operands: Vec<Operand>, run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Self {
        let (relative, absolute) = (2e-6, 1e-6);
        Self { name: name.into(), operands, run: Box::new(run), relative, absolute, gradient: true, second: false }
    }
    fn within(mut self, relative: f64, absolute: f64) -> Self {
        (self.relative, self.absolute) = (relative, absolute);
        self
    }
    fn flat(mut self) -> Self {
        self.gradient = false;
        self
    }
    fn smooth(mut self) -> Self {
        self.second = true;
        self
    }
}

/// Every sample of every op, small enough for finite differences.
pub fn samples() -> Vec<Sample> {
    let mut all = unary();
    all.extend(binary());
    all.extend(movement());
    all.extend(reductions());
    all.extend(contractions());
    all.extend(windows());
    all.extend(rows());
    all
}

/// One-operand elementwise ops over a shape.
pub fn unary_over(shape: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, f64, f64, fn(&Tensor) -> Tensor);
    let smooth: [Row; 24] = [
        ("neg", -3.0, 3.0, Tensor::neg),
        ("sqrt", 0.1, 4.0, Tensor::sqrt),
        ("rsqrt", 0.1, 4.0, Tensor::rsqrt),
        ("reciprocal", 0.2, 3.0, Tensor::reciprocal),
        ("square", -3.0, 3.0, Tensor::square),
        ("exp", -3.0, 3.0, Tensor::exp),
        ("expm1", -1.0, 2.0, Tensor::expm1),
        ("log", 0.1, 4.0, Tensor::log),
        ("log1p", -0.5, 3.0, Tensor::log1p),
        ("sin", -6.0, 6.0, Tensor::sin),
        ("cos", -6.0, 6.0, Tensor::cos),
        ("tan", -1.2, 1.2, Tensor::tan),
        ("asin", -0.9, 0.9, Tensor::asin),
        ("acos", -0.9, 0.9, Tensor::acos),
        ("atan", -3.0, 3.0, Tensor::atan),
        ("sinh", -2.0, 2.0, Tensor::sinh),
        ("cosh", -2.0, 2.0, Tensor::cosh),
        ("tanh", -3.0, 3.0, Tensor::tanh),
        ("erf", -3.0, 3.0, Tensor::erf),
        ("sigmoid", -5.0, 5.0, Tensor::sigmoid),
        ("softplus", -5.0, 5.0, Tensor::softplus),
        ("powf 3", -2.0, 2.0, |x| x.powf(3.0)),
        ("scale", -2.0, 2.0, |x| 1.5 - x * 3.0 / 7.0),
        ("detach", -2.0, 2.0, |x| x * x.detach()),
    ];
    let kinked: [Row; 6] = [
        ("abs", 0.2, 3.0, Tensor::abs),
        ("abs negative", -3.0, -0.2, Tensor::abs),
        ("relu", 0.2, 3.0, Tensor::relu),
        ("relu negative", -3.0, -0.2, Tensor::relu),
        ("clamp", -3.0, 3.0, |x| x.clamp(-4.0, 4.0)),
        ("clamp outside", -3.0, 3.0, |x| x.clamp(4.0, 5.0)),
    ];
    let flat: [Row; 13] = [
        ("sign", -2.0, 2.0, Tensor::sign),
        ("floor", -4.0, 4.0, Tensor::floor),
        ("ceil", -4.0, 4.0, Tensor::ceil),
        ("round", -4.0, 4.0, Tensor::round),
        ("trunc", -4.0, 4.0, Tensor::trunc),
        ("is_nan", -1.0, 1.0, |x| x.log().is_nan()),
        ("is_finite", -1.0, 1.0, |x| x.log().is_finite()),
        ("logical_not", -1.0, 1.0, |x| x.gt(&x.zeros_like()).logical_not()),
        ("cast i32", -5.0, 5.0, |x| x.cast(DType::I32)),
        ("cast u32", -5.0, 5.0, |x| x.cast(DType::U32)),
        ("cast bool", -5.0, 5.0, |x| x.trunc().cast(DType::Bool)),
        ("integers", -50.0, 50.0, |x| {
            let i = x.cast(DType::I32);
            &i * 3 - (&i % 7) + &i / 5
        }),
        ("relu mixed", -3.0, 3.0, Tensor::relu),
    ];
    let make =
        |&(name, lo, hi, f): &Row| Sample::new(format!("{name} {shape:?}"), vec![operand(shape, lo, hi)], move |x| f(&x[0]));
    let mut rows: Vec<Sample> = smooth.iter().map(|r| if r.0 == "detach" { make(r).flat() } else { make(r).smooth() }).collect();
    rows.extend(kinked.iter().map(make));
    rows.extend(flat.iter().map(|r| make(r).flat()));
    rows
}

fn unary() -> Vec<Sample> {
    let mut rows = unary_over(&[3, 4]);
    rows.extend(unary_over(&[1]));
    rows.extend(unary_over(&[0, 3]).into_iter().map(Sample::flat));
    rows
}

/// Two-operand elementwise ops over two shapes.
pub fn binary_over(a: &[usize], b: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, [f64; 2], [f64; 2], fn(&Tensor, &Tensor) -> Tensor);
    let wide = [-2.0, 2.0];
    let smooth: [Row; 6] = [
        ("add", wide, wide, |a, b| a + b),
        ("sub", wide, wide, |a, b| a - b),
        ("mul", wide, wide, |a, b| a * b),
        ("div", wide, [0.5, 2.0], |a, b| a / b),
        ("pow", [0.2, 2.0], wide, Tensor::pow),
        ("atan2", [0.5, 2.0], wide, Tensor::atan2),
    ];
    let kinked: [Row; 4] = [
        ("rem", [0.1, 0.9], [1.0, 2.0], Tensor::rem),
        ("minimum", [0.0, 1.0], [2.0, 3.0], Tensor::minimum),
        ("maximum", [0.0, 1.0], [2.0, 3.0], Tensor::maximum),
        ("where", wide, wide, |a, b| b.gt(&b.full_like(9.0)).where_(a, &(a * b))),
    ];
    let flat: [Row; 10] = [
        ("rem mixed", [-9.0, 9.0], [0.5, 2.0], Tensor::rem),
        ("minimum mixed", wide, wide, Tensor::minimum),
        ("eq", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().eq(&b.floor())),
        ("ne", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().ne(&b.floor())),
        ("lt", wide, wide, Tensor::lt),
        ("le", wide, wide, Tensor::le),
        ("gt", wide, wide, Tensor::gt),
        ("ge", wide, wide, Tensor::ge),
        ("and or", wide, wide, |a, b| {
            let (p, q) = (a.gt(&a.zeros_like()), b.gt(&b.zeros_like()));
            p.logical_and(&q).logical_or(&p.logical_xor(&q))
        }),
        ("bits", [0.0, 99.0], [0.0, 99.0], |a, b| a.cast(DType::I32).logical_xor(&b.cast(DType::I32))),
    ];
    let make = |&(name, ra, rb, f): &Row| {
        let operands = vec![operand(a, ra[0], ra[1]), operand(b, rb[0], rb[1])];
        Sample::new(format!("{name} {a:?} {b:?}"), operands, move |x| f(&x[0], &x[1]))
    };
    let mut rows: Vec<Sample> = smooth.iter().map(|r| make(r).smooth()).collect();
    rows.extend(kinked.iter().map(make));
    rows.extend(flat.iter().map(|r| make(r).flat()));
    rows
}

fn binary() -> Vec<Sample> {
    let shapes: [(&[usize], &[usize]); 5] =
        [(&[3, 4], &[3, 4]), (&[3, 4], &[4]), (&[2, 1, 3], &[4, 1]), (&[], &[2, 2]), (&[5], &[1])];
    shapes.iter().flat_map(|(a, b)| binary_over(a, b)).collect()
}

fn movement() -> Vec<Sample> {
    let x = |shape: &[usize]| vec![operand(shape, -2.0, 2.0)];
    // A product after each view: its gradient is not constant.
    let twice = |t: Tensor| &t * &t;
    vec![
        Sample::new("reshape", x(&[2, 6]), move |x| twice(x[0].reshape([3, 4]))).smooth(),
        Sample::new("flatten", x(&[2, 3, 2]), move |x| twice(x[0].flatten(1, -1))),
        Sample::new("permute", x(&[2, 3, 4]), move |x| twice(x[0].permute(&[2, 0, 1]))).smooth(),
        Sample::new("transpose", x(&[3, 4]), move |x| twice(x[0].t()).reshape([12])),
        Sample::new("expand", x(&[3, 1]), move |x| twice(x[0].expand([2, 3, 4]))).smooth(),
        Sample::new("squeeze", x(&[3, 1, 2]), move |x| twice(x[0].squeeze(1).unsqueeze(0))),
        Sample::new("slice", x(&[4, 5]), move |x| twice(x[0].slice(1, 1, -1).slice(0, 1, 3))).smooth(),
        Sample::new("slice step", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 1, 7, 3))),
        Sample::new("slice back", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 6, 0, -2))),
        Sample::new("slice to the start", x(&[5]), move |x| twice(x[0].slice_step(0, -1, isize::MIN, -2))),
        Sample::new("empty slice", x(&[4]), move |x| twice(x[0].slice(0, 2, 2))).flat(),
        Sample::new("flip", x(&[3, 4]), move |x| twice(x[0].flip(0) + x[0].flip(1))),
        Sample::new("pad", x(&[2, 3]), move |x| twice(x[0].pad(&[(1, 0), (2, 1)]) + 1.0)).smooth(),
        Sample::new("pad of a function", x(&[2, 3]), |x| x[0].cos().pad(&[(1, 1), (0, 2)]) * 2.0),
        Sample::new("pad, then reshape", x(&[2, 3]), move |x| twice(x[0].pad(&[(0, 1), (1, 0)]).reshape([12]) - 0.5)),
        Sample::new("cat", vec![operand(&[2, 3], -1.0, 1.0), operand(&[2, 2], -1.0, 1.0)], move |x| {
            twice(Tensor::cat(&[&x[0], &x[1], &x[0]], 1))
        }),
        Sample::new("stack", vec![operand(&[2, 3], -1.0, 1.0); 2], move |x| twice(Tensor::stack(&[&x[0], &x[1]], 1))),
        Sample::new("diamond", x(&[3, 3]), |x| {
            let y = &x[0] * 2.0;
            &y * y.t() + (&y + &x[0]).t()
        })
        .smooth(),
    ]
}

fn reductions() -> Vec<Sample> {
    type Row = (&'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let ops: [Row; 6] = [
        ("sum", |x, a, k| x.sum(a, k)),
        ("mean", |x, a, k| x.mean(a, k)),
        ("prod", |x, a, k| x.prod(a, k)),
        ("max", |x, a, k| x.max(a, k)),
        ("min", |x, a, k| x.min(a, k)),
        ("var", |x, a, k| x.var(a, 1, k)),
    ];
    let mut rows = Vec::new();
    for (name, f) in ops {
        for (axes, keep) in [(&[0isize][..], false), (&[-1], true), (&[0, 2], false), (&[0, 1, 2], false), (&[1], false)] {
            let run = move |x: &[Tensor]| f(&x[0], axes, keep).square();
            rows.push(Sample::new(format!("{name} over {axes:?}"), vec![operand(&[2, 3, 4], 0.3, 2.0)], run).within(4e-6, 2e-6));
        }
    }
    rows.push(Sample::new("sum of a product, transposed", vec![operand(&[3, 4], -1.0, 1.0), operand(&[4, 3], -1.0, 1.0)], |x| {
        (&x[0] * x[1].t()).sum(0, false) * 2.0
    }));
    rows.push(Sample::new("sum of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].sum(1, false) + 1.0).flat());
    rows.push(
        Sample::new("prod with zeros", vec![operand(&[2, 3], 0.5, 1.0)], |x| {
            (&x[0] * x[0].gt(&x[0].full_like(0.6)).cast(x[0].dtype().expect("valid"))).prod(1, false)
        })
        .flat(),
    );
    rows.push(Sample::new("argmax", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmax(1, false)).flat());
    rows.push(Sample::new("argmin", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmin(0, true)).flat());
    rows.push(Sample::new("argmax of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmax(1, false)).flat());
    rows.push(
        Sample::new("normalize", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].normalize(&[0, 2], 1e-5).0)
            .within(2e-5, 2e-5)
            .smooth(),
    );
    rows.push(
        Sample::new(
            "batch norm",
            vec![operand(&[4, 3, 2, 2], -1.0, 1.0), operand(&[3], 0.5, 1.5), operand(&[3], -1.0, 1.0)],
            |x| {
                let channel = |t: &Tensor| t.reshape([1, 3, 1, 1]);
                (x[0].normalize(&[0, 2, 3], 1e-5).0 * channel(&x[1]) + channel(&x[2])).tanh()
            },
        )
        .within(2e-5, 2e-5),
    );
    rows
}

fn contractions() -> Vec<Sample> {
    let shapes: [(&[usize], &[usize]); 13] = [
        (&[1, 1], &[1, 1]),
        (&[2, 3], &[3, 4]),
        (&[5, 7], &[7, 3]),
        (&[1, 9], &[9, 5]),
        (&[9, 4], &[4, 1]),
        (&[4], &[4]),
        (&[4], &[4, 3]),
        (&[3, 4], &[4]),
        (&[2, 3, 4], &[2, 4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[2, 1, 3, 4], &[3, 4, 2]),
        (&[3, 0], &[0, 2]),
        (&[8, 16], &[16, 12]),
    ];
    let mut rows = Vec::new();
    for (a, b) in shapes {
        let operands = vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
        let run = |x: &[Tensor]| x[0].matmul(&x[1]);
        let sample = Sample::new(format!("matmul {a:?} {b:?}"), operands, run).within(4e-6, 4e-6).smooth();
        rows.push(if a.contains(&0) { sample.flat() } else { sample });
    }
    let ab = |a: &[usize], b: &[usize]| vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
    rows.push(Sample::new("matmul of transposes", ab(&[4, 3], &[5, 4]), |x| x[0].t().matmul(&x[1].t())).within(4e-6, 4e-6));
    rows.push(Sample::new("matmul with itself", ab(&[3, 3], &[1]), |x| x[0].matmul(&x[0]) * &x[1]).within(4e-6, 4e-6));
    rows.push(
        Sample::new("linear", ab(&[5, 7], &[4, 7]), |x| (x[0].matmul(&x[1].t()) + x[0].slice(1, 0, 4)).tanh() * 2.0)
            .within(4e-6, 4e-6),
    );
    rows.push(Sample::new("matmul of a slice", ab(&[6, 8], &[4, 5]), |x| x[0].slice(1, 2, 6).matmul(&x[1])).within(4e-6, 4e-6));
    rows.push(Sample::new("matmul of a function", ab(&[6, 8], &[8, 5]), |x| x[0].exp().matmul(&x[1].sin())).within(1e-5, 1e-5));
    rows
}

fn windows() -> Vec<Sample> {
    struct Conv {
        x: [usize; 4],
        w: [usize; 4],
        options: ConvOptions,
    }
    let plain = ConvOptions::default();
    let rows = [
        Conv { x: [1, 1, 3, 3], w: [1, 1, 1, 1], options: plain },
        Conv { x: [2, 3, 5, 5], w: [4, 3, 3, 3], options: plain },
        Conv { x: [2, 3, 5, 4], w: [4, 3, 3, 3], options: ConvOptions { padding: [1, 1], ..plain } },
        Conv { x: [1, 2, 6, 7], w: [3, 2, 3, 2], options: ConvOptions { stride: [2, 2], padding: [1, 0], ..plain } },
        Conv { x: [2, 2, 7, 7], w: [3, 2, 3, 3], options: ConvOptions { dilation: [2, 2], padding: [2, 1], ..plain } },
        Conv { x: [2, 4, 5, 5], w: [6, 2, 3, 3], options: ConvOptions { groups: 2, padding: [1, 1], ..plain } },
        Conv { x: [2, 4, 5, 5], w: [4, 1, 3, 3], options: ConvOptions { groups: 4, stride: [2, 1], ..plain } },
        Conv { x: [2, 3, 8, 8], w: [5, 3, 5, 5], options: ConvOptions { stride: [3, 2], padding: [2, 2], ..plain } },
        Conv { x: [3, 8, 4, 4], w: [8, 8, 1, 1], options: plain },
        Conv {
            x: [1, 5, 9, 6],
            w: [7, 5, 2, 4],
            options: ConvOptions { stride: [2, 3], dilation: [3, 1], padding: [1, 2], ..plain },
        },
    ];
    let mut out = Vec::new();
    for Conv { x, w, options } in rows {
        let operands = vec![operand(&x, -1.0, 1.0), operand(&w, -1.0, 1.0), operand(&w[..1], -1.0, 1.0)];
        out.push(
            Sample::new(format!("conv2d {x:?} {w:?} {options:?}"), operands.clone(), move |t| t[0].conv2d(&t[1], None, options))
                .within(4e-6, 4e-6)
                .smooth(),
        );
        out.push(
            Sample::new(format!("conv2d, bias, tanh {x:?} {w:?}"), operands, move |t| {
                t[0].conv2d(&t[1], Some(&t[2]), options).tanh()
            })
            .within(4e-6, 4e-6),
        );
    }
    let pools = [
        PoolOptions::square(2),
        PoolOptions::square(3).stride(2).padding(1),
        PoolOptions::square(3).stride(1),
        PoolOptions { kernel: [2, 3], stride: Some([1, 2]), padding: [1, 1], count_include_pad: false, dilation: [1, 1] },
    ];
    for options in pools {
        for shape in [[2, 3, 6, 6], [1, 2, 7, 5]] {
            let x = vec![operand(&shape, -1.0, 1.0)];
            out.push(Sample::new(format!("max_pool2d {shape:?} {options:?}"), x.clone(), move |t| {
                t[0].max_pool2d(options).square()
            }));
            out.push(
                Sample::new(format!("avg_pool2d {shape:?} {options:?}"), x, move |t| t[0].avg_pool2d(options).square()).smooth(),
            );
        }
    }
    let dilated = PoolOptions { dilation: [2, 1], ..PoolOptions::square(2).stride(1) };
    out.push(Sample::new("max_pool2d dilated", vec![operand(&[1, 2, 5, 5], -1.0, 1.0)], move |t| {
        t[0].max_pool2d(dilated).square()
    }));
    out
}

fn rows() -> Vec<Sample> {
    let labels = |t: &Tensor, v: &[i32]| Tensor::from_slice(v, [v.len()], &t.device().expect("valid")).expect("labels upload");
    let x = |shape: &[usize]| vec![operand(shape, -3.0, 3.0)];
    vec![
        Sample::new("softmax", x(&[3, 5]), |x| x[0].softmax(-1)).smooth(),
        Sample::new("softmax of one", x(&[3, 1]), |x| x[0].softmax(-1)),
        Sample::new("softmax axis 0", x(&[3, 5]), |x| x[0].softmax(0)),
        Sample::new("softmax axis 1 of 3", x(&[2, 3, 4]), |x| x[0].softmax(1)),
        Sample::new("log_softmax", x(&[3, 5]), |x| x[0].log_softmax(-1)).smooth(),
        Sample::new("log_softmax axis 0", x(&[3, 5]), |x| x[0].log_softmax(0)),
        Sample::new("cross_entropy", x(&[4, 5]), move |x| x[0].cross_entropy(&labels(&x[0], &[0, 4, 2, 2]))).smooth(),
        Sample::new("cross_entropy, one class", x(&[3, 1]), move |x| x[0].cross_entropy(&labels(&x[0], &[0, 0, 0]))),
        Sample::new("cross_entropy mean", x(&[4, 5]), move |x| x[0].cross_entropy(&labels(&x[0], &[1, 4, 0, 2])).mean((), false)),
        Sample::new("gather_rows", x(&[4, 3]), move |x| x[0].gather_rows(&labels(&x[0], &[3, 0, 3, 1, 3])).square()).smooth(),
        Sample::new("scatter_add_rows", x(&[4, 3]), move |x| x[0].scatter_add_rows(6, &labels(&x[0], &[5, 0, 5, 2])).square()),
        Sample::new("dropout", x(&[6, 6]), |x| x[0].dropout(0.4, &wgrad::Generator::new(5))),
        Sample::new("dropout of nothing", x(&[3]), |x| x[0].dropout(0.0, &wgrad::Generator::new(5))),
        Sample::new("dropout of all", x(&[3]), |x| x[0].dropout(1.0, &wgrad::Generator::new(5))).flat(),
    ]
}
