//! Row-wise ops, dropout.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn rows() -> Vec<Sample> {
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
