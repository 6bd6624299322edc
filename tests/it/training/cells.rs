//! Recurrent cells, a step at a time, against the layers, which are compared with PyTorch and f64 elsewhere.

use crate::common::{Noise, close, device, upload, values};
use wgrad::nn::{Gru, GruCell, Init, Lstm, LstmCell, Module, RecurrentCellConfig, RecurrentConfig, SequenceOptions};
use wgrad::{DType, Error, Result, Tensor, grad};

/// `[t, n, inputs]`, with 3 steps and 5 sequences.
fn sequences() -> Tensor {
    upload(&Noise(5).values(60, -1.0, 1.0), &[3, 5, 4], DType::F32, device()).variable().unwrap()
}

/// The outputs, and the gradients by the inputs and each parameter of a loss with a random cotangent.
fn results(output: &Tensor, x: &Tensor, module: &dyn Module) -> Vec<Vec<f64>> {
    let cotangent = upload(&Noise(6).values(105, -1.0, 1.0), &[3, 5, 7], DType::F32, device());
    let parameters: Vec<Tensor> = module.parameters().unwrap().iter().map(wgrad::Param::tensor).collect();
    let of: Vec<&Tensor> = std::iter::once(x).chain(&parameters).collect();
    let gradients = grad(&(output * &cotangent).sum(), of).unwrap();
    std::iter::once(output).chain(&gradients).map(values).collect()
}

/// Sets a cell's parameters to those of a layer.
fn share(layer: &dyn Module, cell: &dyn Module, bias: bool) {
    let (of_layer, of_cell) = (layer.named_parameters().unwrap(), cell.named_parameters().unwrap());
    assert_eq!(of_cell.len(), if bias { 4 } else { 2 });
    for ((long, from), (short, to)) in of_layer.iter().zip(&of_cell) {
        assert_eq!(*long, format!("{short}_l0"));
        to.set(&from.tensor()).unwrap();
    }
}

/// Runs a cell over the first axis, from no states.
fn steps<S>(x: &Tensor, mut step: impl FnMut(&Tensor, Option<&S>) -> Result<S>, hidden: impl Fn(&S) -> Tensor) -> Tensor {
    let (mut state, mut outputs): (Option<S>, Vec<Tensor>) = (None, Vec::new());
    for t in 0..x.dim(0).unwrap() {
        let next = step(&x.select(0, t as isize), state.as_ref()).unwrap();
        outputs.push(hidden(&next));
        state = Some(next);
    }
    Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 0)
}

#[test]
fn cells_step_as_layers_do() {
    let init = Init::new(device(), 1);
    for bias in [true, false] {
        let (config, options) = (RecurrentConfig { bias, ..RecurrentConfig::default() }, SequenceOptions::default());
        let x = sequences();
        let (layer, cell) = (Lstm::with(4, 7, config, &init), LstmCell::with(4, 7, RecurrentCellConfig { bias }, &init));
        let (layer, cell) = (layer.unwrap(), cell.unwrap());
        share(&layer, &cell, bias);
        let want = results(&layer.run(&x, &options).unwrap().output, &x, &layer);
        let by_steps = steps(&x, |x, s: Option<&(Tensor, Tensor)>| cell.step(x, s.map(|(h, c)| (h, c))), |(h, _)| h.clone());
        for (n, (got, want)) in results(&by_steps, &x, &cell).iter().zip(&want).enumerate() {
            close(&format!("LSTM, bias {bias}, result {n}"), got, want, 1e-5, 1e-5);
        }
        let (layer, cell) = (Gru::with(4, 7, config, &init), GruCell::with(4, 7, RecurrentCellConfig { bias }, &init));
        let (layer, cell) = (layer.unwrap(), cell.unwrap());
        share(&layer, &cell, bias);
        let want = results(&layer.run(&x, &options).unwrap().output, &x, &layer);
        let by_steps = steps(&x, |x, h: Option<&Tensor>| cell.step(x, h), Tensor::clone);
        for (n, (got, want)) in results(&by_steps, &x, &cell).iter().zip(&want).enumerate() {
            close(&format!("GRU, bias {bias}, result {n}"), got, want, 1e-5, 1e-5);
        }
        let first = x.select(0, 0);
        assert_eq!(values(&cell.forward(&first).unwrap()), values(&cell.step(&first, None).unwrap()));
        let copy = cell.duplicate().unwrap();
        assert_eq!(values(&copy.forward(&first).unwrap()), values(&cell.forward(&first).unwrap()));
    }
}

#[test]
fn cells_say_what_does_not_fit() {
    let init = Init::new(device(), 1);
    let (lstm, gru) = (LstmCell::new(4, 7, &init).unwrap(), GruCell::new(4, 7, &init).unwrap());
    let f = |shape: &[usize]| Tensor::ones(shape, device()).unwrap();
    let (x, h, wide) = (f(&[2, 4]), f(&[2, 7]), f(&[2, 8]));
    let rows: [(Error, &str); 6] = [
        (gru.step(&f(&[1, 2, 4]), None).unwrap_err(), "[GruCell] the input [1, 2, 4] has 3 axes, not 2; help: give [n, inputs]"),
        (gru.step(&f(&[0, 4]), None).unwrap_err(), "[GruCell] the input [0, 4] is empty; help: give at least one sequence"),
        (
            lstm.step(&f(&[2, 3]), None).unwrap_err(),
            "[LstmCell] the input [2, 3] has 3 in its last axis, and the layer takes 4; help: give [n, inputs], or make the layer for \
             this width",
        ),
        (gru.step(&x, Some(&wide)).unwrap_err(), "[GruCell] the hidden state is [2, 8] and not [2, 7]; help: give [n, hidden]"),
        (
            lstm.step(&x, Some((&h, &wide))).unwrap_err(),
            "[LstmCell] the cell state is [2, 8] and not [2, 7]; help: give [n, hidden]",
        ),
        (GruCell::new(4, 0, &init).unwrap_err(), "[GruCell] 0 hidden elements and 1 layers were asked for"),
    ];
    for (error, expected) in rows {
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
