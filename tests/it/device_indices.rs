//! Indices that a device computes and that are out of range are clamped, and the next value that comes to the host is an error that
//! names op, position, value and the caller's line: once, and without work beyond one launch per index tensor.

use crate::common::{open, upload, values};
use crate::host_indices::indexed;
use std::panic::Location;
use wgrad::nn::loss::{CrossEntropyOptions, CtcOptions, Reduction, cross_entropy_with, ctc, nll};
use wgrad::nn::{Embedding, Init, Linear, Module, sequential};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::train::{AnomalyMode, AnomalyPolicy};
use wgrad::{DType, Device, DeviceKind, Error, Param, PendingValue, Tensor, no_grad};

/// A device of its own: what another test's read reports would be missing here.
fn own() -> Device {
    open(false)
}

/// Indices that the host has not seen.
fn made(v: &[i32], shape: &[usize], device: &Device) -> Tensor {
    let v: Vec<f64> = v.iter().map(|&x| f64::from(x)).collect();
    (upload(&v, shape, DType::F32, device) * 1.0).cast(DType::I32)
}

type Report = (&'static str, i64, usize, usize, &'static Location<'static>);

/// What an error of an index says.
fn report(error: &Error) -> Report {
    match error {
        Error::Index { op, index, position, len, at, .. } => (op, *index, *position, *len, at),
        other => panic!("{other}"),
    }
}

/// The ways to read a value.
type Read = (&'static str, fn(&Tensor) -> wgrad::Result<Vec<f64>>);

fn reads() -> [Read; 4] {
    [
        ("to_host", |t| t.to_host().map(|data| data.to_f64())),
        ("item of the sum", |t| t.cast(DType::F32).sum().item().map(|v| vec![v])),
        ("read_later", |t| t.read_later().and_then(PendingValue::wait).map(|data| data.to_f64())),
        ("polling", |t| {
            let mut later = t.read_later()?;
            t.device()?.flush()?;
            while !later.is_ready()? {}
            later.wait().map(|data| data.to_f64())
        }),
    ]
}

#[test]
fn every_op_reports_what_a_device_computed() {
    let good = [1, 3, 0, 2, 3, 0];
    let (mut right, mut reported) = (0, 0);
    for unfused in [false, true] {
        let d = open(unfused);
        for row in indexed() {
            for (way, read) in reads() {
                let what = format!("{} by {way}, unfused {unfused}", row.op);
                let expected = row.run(&good, &d).and_then(|t| read(&t)).unwrap_or_else(|e| panic!("{what}: {e}"));
                let got = row.of(&made(&good, row.shape, &d)).and_then(|t| read(&t));
                assert_eq!(got.unwrap_or_else(|e| panic!("{what}: {e}")), expected, "{what}");
                right += 1;
                for (position, wrong, nearest) in [(3, 4, 3), (0, 99, 3), (5, -1, 0), (2, i32::MIN, 0)] {
                    let (mut bad, mut clamped) = (good, good);
                    (bad[position], clamped[position]) = (wrong, nearest);
                    let host = row.run(&bad, &d).and_then(|t| t.eval()).expect_err("the host knows it");
                    let tensor = row.of(&made(&bad, row.shape, &d)).unwrap_or_else(|e| panic!("{what}: {e}"));
                    let error = read(&tensor).expect_err(&what);
                    reported += 1;
                    assert_eq!(report(&error), report(&host), "{what}");
                    assert_eq!(report(&error), (row.op, i64::from(wrong), position, 4, report(&host).4), "{what}");
                    assert!(error.to_string().contains("nearest row in range"), "{error}");
                    // Reported once; the value is that of clamped indices.
                    let after = read(&tensor).unwrap_or_else(|e| panic!("{what}, again: {e}"));
                    assert_eq!(after, row.run(&clamped, &d).and_then(|t| read(&t)).expect("in range"), "{what}");
                }
            }
        }
    }
    println!("{reported} wrong indices were reported, each once; none of {right} right ones");
}

/// In f64, which on the CPU device has an executor of its own.
#[test]
fn graphs_in_f64_report_too() {
    let d = Device::cpu().expect("opens");
    let table = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F64, &d);
    let error = table.gather_rows(&made(&[0, 7, 2], &[3], &d)).to_vec::<f64>().expect_err("7 of 3");
    assert_eq!(report(&error), ("gather_rows", 7, 1, 3, report(&error).4));
    assert_eq!(table.sum().item().expect("nothing else is wrong"), 6.0);
}

/// One step of training by indices: the loss is wrong, the step is taken, and the next read says so.
#[test]
fn a_step_of_training_reports_with_the_loss() {
    let d = own();
    for (index, wrong) in [([1, 3, 0], None), ([1, 4, 0], Some((4, 1))), ([1, 2, -7], Some((-7, 2)))] {
        let table = Param::new(&upload(&[0.5; 8], &[4, 2], DType::F32, &d)).expect("a parameter");
        let mut sgd = Sgd::new(std::slice::from_ref(&table), SgdConfig { lr: 1.0, ..SgdConfig::default() }).expect("valid");
        let line = line!() + 1;
        let loss = table.tensor().gather_rows(&made(&index, &[3], &d)).sum();
        let before = d.counters().submissions;
        sgd.step(loss.backward().expect("a gradient")).expect("a step");
        assert_eq!(d.counters().submissions - before, u64::from(d.kind() != DeviceKind::Cpu), "one submission");
        match (loss.item(), wrong) {
            (Ok(loss), None) => assert_eq!(loss, 3.0),
            (Err(error), Some((value, position))) => {
                let (op, index, at, len, place) = report(&error);
                assert_eq!((op, index, at, len), ("gather_rows", value, position, 4));
                assert_eq!((place.file(), place.line()), (file!(), line));
                assert_eq!(loss.item().expect("reported once"), 3.0);
            }
            (other, _) => panic!("{other:?}, expected {wrong:?}"),
        }
        let expected: Vec<f64> = (0..4).map(|row| 0.5 - index.iter().filter(|&&i| i.clamp(0, 3) == row).count() as f64).collect();
        assert_eq!(values(&table.tensor().slice(1, 0, 1)), expected, "{index:?}");
    }
}

/// The backward pass of an evaluated loss neither checks again nor reports again.
/// Anomaly mode runs what is to be evaluated twice, and an index that is out of range is still reported once, with the loss.
#[test]
fn anomaly_mode_leaves_reports_to_the_read() {
    let d = own();
    let w = Param::new(&upload(&[0.5; 12], &[3, 4], DType::F32, &d)).expect("float");
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig::default()).expect("valid");
    let x = upload(&[1.0; 6], &[2, 3], DType::F32, &d);
    let mode = AnomalyMode::new(AnomalyPolicy::Stop);
    let mut step = |labels: &[i32]| {
        mode.watch(|| {
            let loss = x.matmul(&w.tensor()).cross_entropy(&made(labels, &[2], &d));
            sgd.step(loss.backward()?)?;
            loss.item()
        })
    };
    let error = step(&[0, 7]).expect_err("there are four classes");
    assert_eq!(report(&error).1, 7);
    step(&[0, 3]).expect("reported once");
    assert!(mode.found().is_empty());
}

#[test]
fn backward_does_not_check_twice() {
    let d = own();
    let table = Param::new(&upload(&[0.5; 8], &[4, 2], DType::F32, &d)).expect("a parameter");
    for wrong in [2, 9] {
        let loss = table.tensor().embedding(&made(&[wrong, 1], &[2], &d), None).square().sum();
        let forward = loss.item();
        assert_eq!(forward.is_err(), wrong == 9);
        let gradient = loss.backward().and_then(|g| g.get(&table)).expect("a gradient");
        assert!(!gradient.explain().expect("a plan").contains("check_indices"), "{}", gradient.explain().expect("a plan"));
        gradient.to_host().expect("reported once");
    }
}

/// Reached by its gradient alone, an index is checked once, as the forward op's.
#[test]
fn a_gradient_alone_reports_the_forward_op() {
    let d = own();
    let table = Param::new(&upload(&[0.5; 8], &[4, 2], DType::F32, &d)).expect("a parameter");
    let line = line!() + 1;
    let rows = table.tensor().gather_rows(&made(&[5, 1], &[2], &d));
    let gradient = rows.sum().backward().and_then(|g| g.get(&table)).expect("a gradient");
    let error = gradient.to_host().expect_err("5 of 4");
    assert_eq!((report(&error).0, report(&error).1, report(&error).4.line()), ("gather_rows", 5, line));
    rows.to_host().expect("reported once");
}

/// The first op of the program wins, then the earliest evaluation; afterwards the device works on and reports again.
#[test]
fn the_first_one_wins() {
    let d = own();
    let x = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, &d);
    let [first, second] = [5, 6].map(|wrong| made(&[0, wrong], &[2], &d));
    let (a, b) = (x.gather_rows(&first), x.index_select(0, &second));
    // In one evaluation, whatever the order of the operands.
    let error = (&b - &a).to_host().expect_err("5 and 6 of 3");
    assert_eq!((report(&error).0, report(&error).1), ("gather_rows", 5));
    (&b + &a).to_host().expect("what has run is not checked again");
    // In several; none of them is read.
    let evaluated = |wrong: i32| {
        let t = x.gather_rows(&made(&[0, 0, wrong], &[3], &d));
        t.eval().expect("computes");
        t
    };
    let all = [1, 7, 2, 8].map(evaluated);
    let error = x.to_host().expect_err("any value brings the report");
    assert_eq!((report(&error).1, report(&error).2), (7, 2));
    for t in &all {
        t.to_host().expect("reported once");
    }
    let error = x.gather_rows(&made(&[9], &[1], &d)).to_host().expect_err("9 of 3");
    assert_eq!(report(&error).1, 9);
    x.to_host().expect("reported once");
}

/// Reads under way when the first one reports do not report again, nor does what was evaluated between.
#[test]
fn reads_under_way_report_once() {
    let d = own();
    let x = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, &d);
    let wrong = x.gather_rows(&made(&[4], &[1], &d));
    let outcomes: Vec<_> = (0..3).map(|_| wrong.read_later().and_then(|v| v.wait())).collect();
    assert_eq!(outcomes.iter().filter(|o| o.is_err()).count(), 1);
    let wrong = x.gather_rows(&made(&[4], &[1], &d));
    let started: Vec<_> = (0..3).map(|k| (&wrong * f64::from(k)).read_later()).collect();
    let outcomes: Vec<_> = started.into_iter().map(|s| s.and_then(|v| v.wait())).collect();
    assert_eq!(outcomes.iter().filter(|o| o.is_err()).count(), 1, "{outcomes:?}");
    // A value whose arrival was the report is there all the same.
    let mut later = match x.gather_rows(&made(&[1, 4], &[2], &d)).read_later() {
        Ok(later) => later,
        Err(_) => return, // the CPU device, which has computed it
    };
    d.flush().expect("submits");
    let error = loop {
        match later.is_ready() {
            Ok(false) => {}
            Ok(true) => panic!("no report"),
            Err(error) => break error,
        }
    };
    assert_eq!(report(&error).1, 4);
    assert_eq!(later.wait().expect("the value").to_f64(), [2.0, 3.0]);
}

/// Ignored labels and padding may hold anything.
#[test]
fn what_does_not_count_is_not_reported() {
    let d = own();
    let logits = upload(&[0.5; 24], &[6, 4], DType::F32, &d);
    let ignoring = CrossEntropyOptions { ignore_index: Some(-100), ..Default::default() };
    for (labels, wrong) in
        [([0, -100, 1, 2, 3, -100], None), ([0, -100, 1, -1, 3, 0], Some((3, -1))), ([-100, 7, 1, 2, 3, 0], Some((1, 7)))]
    {
        let labels = made(&labels, &[6], &d);
        for result in [cross_entropy_with(&logits, &labels, &ignoring), nll(&logits, &labels, None, Some(-100), Reduction::Mean)]
        {
            match (result.and_then(|t| t.item()), wrong) {
                (Ok(_), None) => {}
                (Err(error), Some((position, value))) => assert_eq!((report(&error).2, report(&error).1), (position, value)),
                (other, _) => panic!("{other:?}, expected {wrong:?}"),
            }
        }
    }
    let error = cross_entropy_with(&logits, &made(&[0, 1, -3, 0, 0, 0], &[6], &d), &CrossEntropyOptions::default());
    let error = error.and_then(|t| t.item()).expect_err("-3 of 4").to_string();
    assert!(error.contains("to leave out the samples of label -3, set ignore_index: Some(-3); "), "{error}");
    let scores = upload(&[0.5; 40], &[5, 2, 4], DType::F32, &d).log_softmax(-1);
    for evaluated in [false, true] {
        let loss = |v: &[i32]| {
            let labels = made(v, &[2, 3], &d);
            if evaluated {
                labels.eval()?;
            }
            ctc(&scores, &labels, &[5, 5], &[1, 2], CtcOptions::default())?.item()
        };
        assert_eq!(loss(&[1, -1, 99, 2, 3, -100]).expect("padding"), loss(&[1, 0, 0, 2, 3, 0]).expect("labels"));
        let error = loss(&[1, -1, 99, 2, 4, -100]).expect_err("4 of 4");
        assert_eq!((report(&error).0, report(&error).1, report(&error).2), ("ctc", 4, 4));
    }
}

/// A negative index of u32 is a large one.
#[test]
fn words_are_read_as_such() {
    let d = own();
    let x = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, &d);
    let words = (upload(&[1.0, 4_294_967_040.0], &[2], DType::F32, &d) * 1.0).cast(DType::U32);
    for index in [words.clone(), words.reshape([1, 2]).reshape([2])] {
        let error = x.gather_rows(&index).to_host().expect_err("4294967040 of 3");
        assert_eq!((report(&error).1, report(&error).2), (4_294_967_040, 1));
    }
    let labels = cross_entropy_with(&upload(&[0.5; 8], &[2, 4], DType::F32, &d), &words, &CrossEntropyOptions::default());
    let error = labels.and_then(|t| t.item()).expect_err("4294967040 of 4");
    assert_eq!((report(&error).1, report(&error).2), (4_294_967_040, 1));
}

/// What a layer, or a model that calls layers through pointers, is called from.
#[test]
fn layers_report_the_callers_line() {
    let d = own();
    let init = Init::new(&d, 1);
    let embedding = Embedding::new(4, 2, &init).expect("valid");
    let model = sequential![sequential![Embedding::new(4, 2, &init).expect("valid")], Linear::new(2, 2, &init).expect("valid")];
    let tokens = made(&[1, 6], &[2], &d);
    let a = (line!(), embedding.forward(&tokens).and_then(|t| t.to_host()));
    let b = (line!(), model.forward(&tokens).and_then(|t| t.to_host()));
    for (line, outcome) in [a, b] {
        let error = outcome.expect_err("6 of 4");
        let (op, index, position, len, at) = report(&error);
        assert_eq!((op, index, position, len), ("Embedding", 6, 1, 4));
        assert_eq!((at.file(), at.line()), (file!(), line));
    }
}

/// Neither indices of the host, nor those that cannot be out of range, nor those of the crate's own gathers are checked by a device.
#[test]
fn what_needs_no_check_has_none() {
    let d = own();
    let x = upload(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2], DType::F32, &d);
    let host = Tensor::from_slice(&[2, 0], [2], &d).expect("uploads");
    let never: Vec<(&str, Tensor)> = vec![
        ("the host's", x.gather_rows(&host)),
        ("the host's, evaluated", x.gather_rows(&(&host * 1.0))),
        ("an argmax over no more", x.gather_rows(&x.argmax_dim(0))),
        ("an order", x.gather_rows(&x.sort(0, true).1.slice(1, 0, 1).reshape([3]))),
        ("a comparison", x.gather_rows(&x.gt(&x.zeros_like()).cast(DType::I32).reshape([6]))),
        ("a sorted value", x.sort(0, false).0),
        ("a largest value", x.topk(1, 0).0),
    ];
    for (what, t) in never {
        assert!(!t.explain().expect("a plan").contains("check_indices"), "{what}: {}", t.explain().expect("a plan"));
        t.to_host().unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    let labels = || made(&[0, 1], &[2], &d);
    let count = |t: &Tensor| t.explain().expect("a plan").matches("check_indices").count();
    assert_eq!(count(&x.gather_rows(&labels())), 1);
    let both = labels();
    assert_eq!(count(&(x.gather_rows(&both) + x.gather_rows(&both))), 1, "one index tensor, one length");
    assert_eq!(count(&(x.gather_rows(&both) + x.slice(0, 0, 2).gather_rows(&both))), 2, "two lengths");
    let empty = made(&[], &[0], &d);
    assert_eq!(count(&x.gather_rows(&empty)), 0);
}

/// Many indices are checked in parts; the first one out of range is found in any of them.
#[test]
fn long_indices_are_checked_to_their_end() {
    let d = own();
    let table = upload(&[1.0, 2.0], &[2, 1], DType::F32, &d);
    for n in [63, 64, 65, 4096, 4097, 300_001] {
        let at = Tensor::iota(n, DType::I32, &d).expect("valid");
        for (wrong, also) in [(0, n - 1), (n - 1, n - 1), (n / 2, n - 1), (62, 63)] {
            // 0 everywhere but there.
            let is = |p: usize| at.eq(&at.full_like(p as f64)).cast(DType::I32);
            let sum = table.gather_rows(&(is(wrong) * 5.0 + is(also) * -9.0)).sum();
            let error = sum.item().expect_err("5 of 2");
            let value = if wrong == also { -4 } else { 5 };
            assert_eq!((report(&error).1, report(&error).2), (value, wrong), "{n}");
        }
        table.gather_rows(&(at.eq(&at.full_like(1.0)).cast(DType::I32) * 1.0)).sum().item().expect("in range");
    }
}

/// A check is one launch, and no submission, of a step that has one submission anyway.
#[test]
fn a_check_is_one_launch() {
    let d = own();
    let x = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, &d);
    let [host, made] = [Tensor::from_slice(&[0, 2], [2], &d).expect("uploads"), made(&[0, 2], &[2], &d)];
    // The CPU device looks at what it has computed when the op is called.
    let made = if d.kind() == DeviceKind::Cpu { made } else { made.eval().map(|()| made).expect("computes") };
    let cost = |index: &Tensor| {
        let run = || no_grad(|| (x.gather_rows(index) * 2.0).sum().item()).expect("in range");
        run();
        let before = d.counters();
        run();
        let after = d.counters();
        (after.dispatches - before.dispatches, after.submissions - before.submissions)
    };
    let (host, made) = (cost(&host), cost(&made));
    println!("a check adds {} launches and {} submissions", made.0 - host.0, made.1 - host.1);
    // On the CPU device, that of the indices besides.
    let extra = if d.kind() == DeviceKind::Cpu { 2 } else { 1 };
    assert_eq!(made, (host.0 + extra, host.1));
}

/// Devices report by themselves.
#[test]
fn another_device_reports_nothing() {
    let (a, b) = (own(), own());
    let of = |d: &Device| upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, d);
    let wrong = of(&a).gather_rows(&made(&[4], &[1], &a));
    wrong.eval().expect("computes");
    of(&b).to_host().expect("nothing is wrong here");
    wrong.to_host().expect_err("4 of 3");
}
