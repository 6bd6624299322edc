//! Chains as long as loops make them, and longer ones in `scripts/sweep repeated`. Nothing recurses on data: everything here runs
//! on a stack of half a megabyte. Nothing takes quadratic time either: each part of a test has seconds, and would take hours in
//! quadratic time.

use crate::common::{device, near, oracle, upload, values};
use std::time::{Duration, Instant};
use wgrad::io::{HostTensor, StateDict, captures};
use wgrad::nn::transfer::LoadOptions;
use wgrad::nn::{Init, Linear, Module, Relu, Residual, Sequential, summary};
use wgrad::optim::{Optimizer, Schedule, Sgd, SgdConfig};
use wgrad::{DType, Device, DeviceKind, Error, Gradients, HostData, Param, Shape, Tensor, grad};

/// How long each part of a test may take, with a large margin for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Ops in the longest chains.
const LONG: usize = 100_000;
/// Ops in a chain that takes longer to plan or to run: still more than a stack of this size has frames for.
const MANY: usize = 25_000;
/// Kernels in a chain: each is a launch.
const KERNELS: usize = 10_000;

/// Runs `work` on a thread with a small stack.
fn on_a_small_stack(work: impl FnOnce() + Send) {
    // A driver compiles shaders on the caller's stack.
    on_a_stack(if device().kind() == DeviceKind::Cpu { 512 << 10 } else { 2 << 20 }, work);
}

/// Runs `work` on a thread with a stack of the given size in bytes.
fn on_a_stack(bytes: usize, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, work).expect("a thread starts");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Runs a part of a test, and checks that it stays within the limit.
fn timed<R>(what: &str, part: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = part();
    let elapsed = start.elapsed();
    eprintln!("{what}: {:.2} s", elapsed.as_secs_f64());
    assert!(elapsed < LIMIT, "{what} took {elapsed:?}");
    result
}

/// One more op: from the chain so far, its length, and the parameter.
type Next = fn(&Tensor, usize, &Tensor) -> Tensor;

/// A chain of `n` ops over a parameter of shape [2, 2], and the parameter.
fn build(n: usize, next: Next, dtype: DType, device: &Device) -> (Param, Tensor) {
    let w = Param::new(&upload(&[1.0; 4], &[2, 2], dtype, device)).expect("float");
    let x = upload(&[0.5, -1.0, 2.0, 1.0], &[2, 2], dtype, device);
    let mut y = x * w.tensor();
    for i in 0..n {
        y = next(&y, i, &w.tensor());
    }
    (w, y)
}

/// The chain's sum, value and gradient.
fn results(what: &str, w: &Param, y: &Tensor) -> [Vec<f64>; 2] {
    let value = timed(&format!("{what}, evaluated"), || values(y));
    let gradients = timed(&format!("{what}, differentiated"), || y.sum().backward().expect("differentiable"));
    let gradient = timed(&format!("{what}, the gradient"), || values(&gradients.get(w).expect("a gradient flows")));
    [value, gradient]
}

/// Does everything with a chain that can be done with a tensor, and compares with the reference in f64.
fn chain(what: &str, n: usize, next: Next) {
    // In full only in a sweep: the host's work is the same on every device, and the devices' compilers and launches take most of
    // the time.
    let n = match device().kind() {
        DeviceKind::Cpu if std::env::var_os("WGRAD_TEST_PART").is_some_and(|part| part == "all") => n,
        DeviceKind::Cpu => n / 4,
        _ => n / 10,
    };
    on_a_small_stack(|| {
        let (w, y) = timed(&format!("{what}, built"), || build(n, next, DType::F32, device()));
        let plan = timed(&format!("{what}, explained"), || y.explain().expect("plans"));
        assert!(plan.contains("kernels"), "{what}: {plan}");
        assert!(format!("{y:?} {:?}", y.clone()).contains("not computed"), "{what}");
        // Forward and backward in one plan, then forward first and backward after it.
        let gradients = timed(&format!("{what}, differentiated"), || y.sum().backward().expect("differentiable"));
        let at_once = timed(&format!("{what}, both at once"), || {
            let gradient = gradients.get(&w).expect("a gradient flows");
            Tensor::eval_all(&[&gradient, &y]).expect("evaluates");
            [values(&y), values(&gradient)]
        });
        assert!(y.to_string().contains("f32"), "{what}");
        timed(&format!("{what}, dropped"), || drop((gradients, y, w)));
        let (w, y) = build(n, next, DType::F32, device());
        let apart = results(what, &w, &y);
        // Never computed.
        let unused = build(n, next, DType::F32, device());
        timed(&format!("{what}, dropped before it was computed"), || drop(unused));
        let (w, y) = build(n, next, DType::F64, &oracle());
        let expected = results(&format!("{what} in f64"), &w, &y);
        for (got, order) in [(at_once, "at once"), (apart, "apart")] {
            near(&format!("{what} {order}: the value"), &got[0], &expected[0], 1e-5);
            near(&format!("{what} {order}: the gradient"), &got[1], &expected[1], 1e-5);
        }
    });
}

/// One test per chain: `name: length, the next op;`.
macro_rules! chains {
    ($($name:ident: $n:expr, $next:expr;)+) => {$(
        #[test]
        fn $name() {
            chain(stringify!($name), $n, $next);
        }
    )+};
}

chains! {
    elementwise: LONG, |y, i, w| match i % 4 {
        0 => y + w,
        1 => -y,
        2 => y * 1.0,
        _ => w + y,
    };
    a_parameter_again_and_again: MANY, |y, _, w| y * w;
    squares: MANY, |y, i, _| if i % 2 == 0 { y.abs() } else { y.sqrt() * y.sqrt() };
    selections: MANY, |y, i, w| if i % 2 == 0 { y.gt(&y.full_like(0.0)).where_(y, &-y) } else { y.minimum(&(w * 5.0)) };
    halves: MANY, |y, i, _| y.cast(if i % 2 == 0 { DType::F16 } else { DType::F32 });
    transposes: LONG, |y, _, _| y.t();
    flips: LONG, |y, i, _| y.flip((i % 2) as isize);
    reshapes: LONG, |y, i, _| if i % 2 == 0 { y.reshape([4]) } else { y.reshape([2, 2]) };
    slices_of_pads: MANY, |y, i, _| if i % 2 == 0 { y.pad(&[(1, 0), (0, 1)]) } else { y.slice(0, 1, 3).slice(1, 0, 2) };
    reshapes_of_transposes: MANY, |y, i, _| match i % 3 {
        0 => y.t(),
        1 => y.reshape([4]),
        _ => y.reshape([2, 2]),
    };
    views_between_ops: MANY, |y, i, w| match i % 6 {
        0 => y.t(),
        1 => -y,
        2 => y.reshape([4]),
        3 => y * 1.0,
        4 => y.reshape([2, 2]),
        _ => y.maximum(&-w),
    };
    pads_between_ops: MANY, |y, i, w| match i % 4 {
        0 => y.pad(&[(1, 1), (0, 1)]),
        1 => y * 1.0,
        2 => y.slice(0, 1, 3).slice(1, 0, 2),
        _ => y - w * 0.0,
    };
    stretches: KERNELS, |y, i, _| if i % 2 == 0 { y.sum_keepdim([0]) * 0.5 } else { y.expand([2, 2]) };
    reductions: KERNELS, |y, i, w| if i % 2 == 0 { y.sum_dim([0]) * 0.5 } else { y.reshape([1, 2]) * w };
    products: KERNELS, |y, _, w| y.matmul(w) * 0.5;
    rows: KERNELS, |y, _, w| y.softmax(-1) + w;
    joins: KERNELS / 10, |y, _, _| Tensor::cat(&[&y.slice(0, 1, 2), &y.slice(0, 0, 1)], 0);
}

/// Every view of a chain is read by a kernel of its own, and is a view of memory, of a product or of what its readers compute.
#[test]
fn views_that_are_all_read() {
    type Base = fn(&Tensor) -> Tensor;
    let bases: [(&str, Base); 3] = [("a leaf", Tensor::clone), ("a product", |w| w.matmul(w)), ("an op", |w| -w)];
    on_a_small_stack(|| {
        let param = |dtype, device: &Device| Param::new(&upload(&[1.0, 2.0, 3.0, 4.0], &[2, 2], dtype, device)).expect("float");
        for (what, base) in bases {
            let w = param(DType::F32, device());
            let mut view = base(&w.tensor());
            let mut sum = view.sum();
            for i in 1..KERNELS {
                view = view.flip((i % 2) as isize);
                sum += view.sum();
            }
            let gradients = sum.backward().expect("differentiable");
            let gradient = gradients.get(&w).expect("a gradient flows");
            timed(&format!("views of {what}"), || Tensor::eval_all(&[&sum, &gradient]).expect("evaluates"));
            let w = param(DType::F64, &oracle());
            let one = base(&w.tensor()).sum() * KERNELS as f64;
            let gradients = one.backward().expect("differentiable");
            near(what, &values(&sum), &values(&one), 1e-5);
            near(what, &values(&gradient), &values(&gradients.get(&w).expect("a gradient flows")), 1e-5);
        }
    });
}

/// Indices that the host knows pass through casts, views and arithmetic, and are still checked where they are used.
#[test]
fn indices_far_from_the_host() {
    type Step = fn(&Tensor, usize) -> Tensor;
    let steps: [(&str, Step); 4] = [
        ("casts", |i, n| i.cast([DType::F32, DType::I32, DType::U32, DType::I32][n % 4])),
        ("views", |i, n| if n.is_multiple_of(2) { i.flip(0) } else { i.reshape([3, 1]).reshape([3]) }),
        ("arithmetic", |i, n| if n.is_multiple_of(2) { i + 1 } else { i - 1 }),
        ("all", |i, n| match n % 4 {
            0 => i.cast(DType::F32),
            1 => i.flip(0),
            2 => i.cast(DType::I32),
            _ => i.flip(0),
        }),
    ];
    on_a_small_stack(|| {
        let x = upload(&[5.0, 6.0, 7.0, 8.0], &[4], DType::F32, device());
        for (what, step) in steps {
            for (last, wrong) in [(2.0, false), (4.0, true)] {
                let mut index = upload(&[0.0, 1.0, last], &[3], DType::I32, device());
                timed(&format!("{what} of indices"), || (0..MANY - MANY % 4).for_each(|n| index = step(&index, n)));
                let taken = timed(&format!("{what} of indices, used"), || x.index_select(0, &index));
                if wrong {
                    assert!(matches!(taken.eval(), Err(Error::Index { index: 4, .. })), "{what}: {taken:?}");
                } else {
                    assert_eq!(values(&taken), [5.0, 6.0, 7.0], "{what}");
                }
                timed(&format!("{what} of indices, dropped"), || drop((taken, index)));
            }
        }
        // Indices that the device computes.
        let mut index = x.argmax_dim(0).reshape([1]);
        for n in 0..MANY {
            index = index.cast(if n.is_multiple_of(2) { DType::F32 } else { DType::I32 });
        }
        assert_eq!(values(&timed("computed indices", || x.index_select(0, &index))), [8.0]);
    });
}

#[test]
fn assignments_that_wait_for_each_other() {
    on_a_small_stack(|| {
        let p = Param::buffer(&upload(&[0.0], &[1], DType::F32, device())).expect("valid");
        let anchor = upload(&[0.0], &[1], DType::F32, device()) * 1.0;
        for _ in 0..MANY {
            let _ = p.assign_with(&(p.tensor() + 1.0), &anchor).expect("assigns");
        }
        timed("assignments", || anchor.eval().expect("evaluates"));
        assert_eq!(values(&p.tensor()), [MANY as f64]);
        // Never run.
        for _ in 0..MANY {
            let _ = p.assign_with(&(p.tensor() + 1.0), &(&anchor * 1.0)).expect("assigns");
        }
        timed("assignments, dropped", || drop((p, anchor)));
    });
}

/// Every tensor of a chain has a handle when a step overwrites what all of them read.
#[test]
fn handles_that_outlive_a_step() {
    on_a_small_stack(|| {
        let w = Param::new(&upload(&[1.0, 2.0], &[2], DType::F32, device())).expect("float");
        let mut kept = vec![w.tensor()];
        for _ in 0..KERNELS {
            kept.push(kept[kept.len() - 1].clone() + 1.0);
        }
        let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 1.0, ..SgdConfig::default() }).expect("float");
        timed("a step under many handles", || {
            sgd.step(w.tensor().sum().backward().expect("differentiable")).expect("steps");
        });
        assert_eq!(
            (values(&w.tensor()), values(&kept[KERNELS])),
            (vec![0.0, 1.0], vec![1.0 + KERNELS as f64, 2.0 + KERNELS as f64])
        );
    });
}

#[test]
fn an_error_passes_through_every_op() {
    on_a_small_stack(|| {
        let wrong = upload(&[1.0], &[1], DType::F32, device()).reshape([2]);
        let mut y = wrong.clone();
        (0..LONG).for_each(|i| y = if i.is_multiple_of(2) { &y + 1.0 } else { y.t() });
        let message = |t: &Tensor| t.eval().expect_err("a wrong call").to_string();
        assert_eq!(message(&y), message(&wrong));
        assert_eq!(y.to_string(), wrong.to_string());
    });
}

#[test]
fn many_tensors_are_joined() {
    on_a_small_stack(|| {
        let all: Vec<Param> =
            (0..1000).map(|i| Param::new(&upload(&[f64::from(i)], &[1], DType::F32, device())).expect("float")).collect();
        let tensors: Vec<Tensor> = all.iter().map(Param::tensor).collect();
        let joined = timed("joined", || Tensor::cat(&tensors.iter().collect::<Vec<_>>(), 0));
        let gradients = timed("joined, differentiated", || joined.square().sum().backward().expect("differentiable"));
        timed("joined, evaluated", || gradients.eval().expect("evaluates"));
        assert_eq!(values(&gradients.get(&all[999]).expect("a gradient flows")), [1998.0]);
        assert_eq!(values(&joined), (0..1000).map(f64::from).collect::<Vec<_>>());
    });
}

#[test]
fn gradients_of_gradients_and_sums_of_them() {
    on_a_small_stack(|| {
        let x = upload(&[1.0], &[1], DType::F32, device()).variable().expect("float");
        let mut y = x.clone();
        (0..1000).for_each(|_| y = &y * &x);
        let second = timed("second derivatives", || {
            let first = grad(&y, &[&x]).expect("differentiable").remove(0);
            grad(&first, &[&x]).expect("differentiable").remove(0)
        });
        assert_eq!(timed("second derivatives, evaluated", || second.item().expect("a number")), 1001.0 * 1000.0);
        let mut sum = Gradients::default();
        for _ in 0..KERNELS {
            sum.accumulate(&(&x * 1.0).sum().backward().expect("differentiable"));
        }
        assert_eq!(timed("sums of gradients", || values(&sum.get(&x).expect("a gradient flows"))), [KERNELS as f64]);
    });
}

/// Levels of modules within modules. A model's `forward` calls that of its fields, so depth costs stack there: the frames of this
/// crate leave room for that many levels on a stack of 8 MiB, which main threads have.
const LEVELS: usize = 10_000;

#[test]
fn modules_within_modules() {
    on_a_stack(8 << 20, || {
        let init = Init::new(device(), 0);
        let mut model = Sequential::new().push(Linear::new(3, 2, &init).expect("sizes"));
        timed("levels", || {
            for level in 1..LEVELS {
                let inner = std::mem::take(&mut model);
                model = if level.is_multiple_of(2) {
                    Sequential::new().push_named("in", inner)
                } else {
                    Sequential::new().push(inner)
                };
            }
        });
        let x = Tensor::ones([1, 3], device()).expect("valid");
        let y = timed("levels, called", || model.forward(&x).expect("fits"));
        assert_eq!(y.shape().expect("valid"), [1, 2]);
        let error = timed("levels, called in vain", || model.forward(&y).expect_err("a wrong width"));
        assert!(error.to_string().contains("0.in.0.in"), "the layer is named");
        assert_eq!(timed("levels, parameters", || model.parameters().expect("sound")).len(), 2);
        let dict = timed("levels, saved", || model.state_dict().expect("saves"));
        timed("levels, loaded", || model.load_state_dict(&dict).expect("fits"));
        timed("levels, modes", || {
            model.eval();
            model.train();
        });
        let table = timed("levels, summarised", || summary(&model, [1, 3]).expect("fits"));
        assert_eq!((table.rows.len(), table.parameters), (1, 8));
        assert!(table.to_string().contains("0.in.0.in"), "the layer is named");
        assert!(format!("{model:?}").len() < 100);
        timed("levels, dropped", || drop(model));
    });
}

#[test]
fn blocks_within_blocks() {
    on_a_stack(8 << 20, || {
        let mut model = Residual::new(Relu);
        for _ in 1..LEVELS {
            model = Residual::new(model);
        }
        let y = timed("blocks, called", || model.forward(&(Tensor::ones([1], device()).expect("valid") * -1.0)).expect("fits"));
        assert_eq!(values(&y), [-(LEVELS as f64)]);
        assert!(timed("blocks, parameters", || model.parameters().expect("sound")).is_empty());
        timed("blocks, dropped", || drop(model));
    });
}

#[test]
fn models_of_many_layers() {
    on_a_small_stack(|| {
        let init = Init::new(device(), 0);
        let mut model = Sequential::new();
        timed("layers", || {
            for i in 0..MANY {
                let layers = std::mem::take(&mut model);
                model = if i % 1000 == 0 { layers.push(Linear::new(2, 2, &init).expect("sizes")) } else { layers.push(Relu) };
            }
        });
        let x = Tensor::ones([1, 2], device()).expect("valid");
        let y = timed("layers, called", || model.forward(&x).expect("fits"));
        let gradients = timed("layers, differentiated", || y.sum().backward().expect("differentiable"));
        timed("layers, evaluated", || gradients.eval().expect("evaluates"));
        let table = timed("layers, summarised", || summary(&model, [1, 2]).expect("fits"));
        assert_eq!((table.rows.len(), &*table.rows[MANY - 1].name), (MANY, &*(MANY - 1).to_string()));
        timed("layers, dropped", || drop((model, gradients, y)));
    });
}

#[test]
fn patterns_of_many_stars() {
    const STARS: usize = 1000;
    let quick = |what: &str, part: &dyn Fn() -> bool| {
        let start = Instant::now();
        let found = part();
        assert!(start.elapsed() < Duration::from_secs(1), "{what} took {:?}", start.elapsed());
        found
    };
    on_a_small_stack(|| {
        let name = "a".repeat(20 * STARS);
        // Each star could match many runs of characters, and none of them leads to a match of the whole.
        let rows = [
            ("a*".repeat(STARS), true),
            ("*a".repeat(STARS), true),
            ("*a".repeat(STARS) + "b", false),
            ("*".repeat(STARS), true),
        ];
        for (pattern, matching) in rows {
            assert_eq!(quick(&pattern[..4], &|| captures(&pattern, &name).is_some()), matching, "{}", &pattern[..4]);
        }
        assert_eq!(captures(&"a*".repeat(STARS), &name).expect("matches").len(), STARS);
        let model = Linear::new(1, 1, &Init::new(device(), 0)).expect("sizes");
        let mut dict = StateDict::new();
        let shape = Shape::new(&[1, 1]).expect("small");
        let one = HostTensor::new(DType::F32, shape, HostData::F32(vec![1.0])).expect("as many");
        dict.insert(name.clone(), one).expect("new");
        let options = LoadOptions::lenient().rename("*a".repeat(STARS), "weight").ignore("*a".repeat(STARS) + "b");
        assert!(quick("rules", &|| model.load_state_dict_with(&dict, &options).is_err()), "a rule matches nothing");
        let options = LoadOptions::lenient().rename("*a".repeat(STARS), "weight");
        assert_eq!(model.load_state_dict_with(&dict, &options).expect("fits").loaded, ["weight"]);
    });
}

#[test]
fn schedules_within_schedules() {
    on_a_stack(8 << 20, || {
        let mut schedule = Schedule::Constant { base: 0.5 };
        for level in 0..LEVELS {
            schedule = match level % 2 {
                0 => Schedule::Warmup { steps: 1, then: Box::new(schedule) },
                _ => Schedule::Joined { parts: vec![(1, Schedule::Constant { base: 1.0 }), (1, schedule)] },
            };
        }
        on_a_small_stack(|| {
            assert_eq!((schedule.lr(0), schedule.lr(LEVELS), schedule.steps()), (1.0, 0.5, None));
        });
        let same = schedule.clone();
        assert!(same == schedule, "equal");
        let schedule = schedule.validate().expect("sound");
        drop((schedule, same));
    });
}
