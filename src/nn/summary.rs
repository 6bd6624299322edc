//! A table of a model's layers, their output shapes and parameters.

use super::fields::address;
use super::module::Module;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::shape::{IntoShape, Shape};
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

thread_local! {
    /// What layers report while a summary is made; `None` otherwise.
    static TRACE: RefCell<Option<Vec<Call>>> = const { RefCell::new(None) };
}

/// One layer's call: its address, kind, output and parameters.
struct Call {
    address: usize,
    kind: &'static str,
    output: Shape,
    parameters: Vec<Param>,
}

/// Checks a layer's output at the module's boundary, and reports it if a summary is being made.
pub(super) fn observe(layer: &impl Module, kind: &'static str, output: Tensor) -> Result<Tensor> {
    output.check()?;
    let output = output.returned();
    TRACE.with_borrow_mut(|trace| {
        if let Some(calls) = trace {
            calls.push(Call { address: address(layer), kind, output: output.shape()?, parameters: layer.parameters()? });
        }
        Ok(output)
    })
}

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// The dotted name; empty if the layer is not a field of the model.
    pub name: String,
    /// The layer's type.
    pub kind: &'static str,
    /// The shape of its output.
    pub output: Shape,
    /// Elements of its own parameters that no earlier row has counted.
    pub parameters: usize,
}

/// A model's layers in the order in which they run. `Display` prints a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The layers.
    pub rows: Vec<SummaryRow>,
    /// Elements of all parameters, each counted once.
    pub parameters: usize,
    /// Those of them that are trained.
    pub trainable: usize,
}

/// Runs the model's graph building, in evaluation mode and without computing anything, on an input of the given shape and of the
/// parameters' dtype. [`summary_with`] takes other inputs, such as tokens.
///
/// # Errors
/// The input does not fit the model; the model has no parameters, so no device is known.
#[track_caller]
pub fn summary(model: &dyn Module, input: impl IntoShape) -> Result<Summary> {
    let parameters = model.parameters()?;
    let Some(first) = parameters.first() else {
        return Err(Error::argument("summary", "the model has no parameters", "summarise a model with at least one"));
    };
    let x = Tensor::zeros(input, first.device())?.cast(first.dtype());
    summary_with(model, || model.forward(&x))
}

/// As [`summary`], for a call of your own: with tokens, or with several inputs. The call builds a graph; nothing is computed.
///
/// ```
/// # use wgrad::nn::{Embedding, Init, Linear, Module, Sequential, summary_with};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let init = Init::new(&device, 0);
/// let model = Sequential::new().push(Embedding::new(10, 4, &init)?).push(Linear::new(4, 2, &init)?);
/// let tokens = Tensor::from_slice(&[1, 2, 3], [1, 3], &device)?;
/// assert_eq!(summary_with(&model, || model.forward(&tokens))?.rows[1].output, [1, 3, 2]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of the call.
#[track_caller]
pub fn summary_with(model: &dyn Module, call: impl FnOnce() -> Result<Tensor>) -> Result<Summary> {
    /// Ends the trace, whatever happens.
    struct Untraced;
    impl Drop for Untraced {
        fn drop(&mut self) {
            TRACE.set(None);
        }
    }
    let fields = model.collect();
    let parameters = model.parameters()?;
    let (_modes, _trace) = (fields.keep_modes(), Untraced);
    model.eval();
    TRACE.set(Some(Vec::new()));
    no_grad(call)?.check()?;
    let calls = TRACE.take().unwrap_or_default();
    let mut counted = HashSet::new();
    let mut places: HashMap<usize, VecDeque<usize>> = HashMap::new();
    for &(address, place) in &fields.modules {
        places.entry(address).or_default().push_back(place);
    }
    let rows = calls.into_iter().map(|call| {
        // Layers without fields may share an address, so names take turns.
        let place = places.get_mut(&call.address).and_then(|all| {
            all.rotate_left(1);
            all.back().copied()
        });
        SummaryRow {
            name: place.map(|place| fields.name_at(place)).unwrap_or_default(),
            kind: call.kind,
            output: call.output,
            parameters: call.parameters.iter().filter(|p| counted.insert(p.id())).map(|p| p.shape().numel()).sum(),
        }
    });
    let rows = rows.collect();
    let count = |trainable: bool| parameters.iter().filter(|p| !trainable || p.is_trainable()).map(|p| p.shape().numel()).sum();
    Ok(Summary { rows, parameters: count(false), trainable: count(true) })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |r: &SummaryRow| if r.name.is_empty() { r.kind.to_string() } else { format!("{} ({})", r.name, r.kind) };
        let cells: Vec<[String; 3]> = self.rows.iter().map(|r| [label(r), r.output.to_string(), grouped(r.parameters)]).collect();
        let head = ["layer", "output", "parameters"];
        let width = |c: usize| cells.iter().map(|row| row[c].chars().count()).chain([head[c].len()]).max().unwrap_or(0);
        let (a, b, c) = (width(0), width(1), width(2));
        writeln!(f, "{:<a$}  {:<b$}  {:>c$}", head[0], head[1], head[2])?;
        for [layer, output, parameters] in &cells {
            writeln!(f, "{layer:<a$}  {output:<b$}  {parameters:>c$}")?;
        }
        write!(f, "{} parameters, {} trainable", grouped(self.parameters), grouped(self.trainable))?;
        match self.parameters.saturating_sub(self.rows.iter().map(|r| r.parameters).sum()) {
            0 => Ok(()),
            rest => write!(f, ", {} outside of these layers", grouped(rest)),
        }
    }
}

/// A number with commas between its thousands.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::nn::{Init, Linear};
    use crate::param::Param;

    #[test]
    fn parameters_of_no_layer_are_told() {
        struct Own {
            fc: Linear,
            scale: Param,
        }
        impl Module for Own {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(self.fc.forward(x)? * self.scale.tensor())
            }
            crate::fields!(fc, scale);
        }
        let init = Init::new(&Device::cpu().unwrap(), 0);
        let scale = Param::new(&init.constant([2], 1.0).unwrap()).unwrap();
        let model = Own { fc: Linear::new(3, 2, &init).unwrap(), scale };
        let text = summary(&model, [1, 3]).unwrap().to_string();
        assert!(text.ends_with("10 parameters, 10 trainable, 2 outside of these layers"), "{text}");
        assert!(summary(&model.fc, [1, 3]).unwrap().to_string().ends_with("8 parameters, 8 trainable"));
        // A call that fails leaves modes as they were, and no trace.
        assert!(summary_with(&model, || Ok(Tensor::zeros([2], &init.device)?.reshape([3]))).is_err());
        assert!(summary(&model, [1, 3]).is_ok());
    }
}
