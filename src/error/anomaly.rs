//! What anomaly mode finds: where the first value that is not finite came from.

use crate::dims::Shape;
use std::fmt;
use std::panic::Location;

/// What is not finite, in an [`Anomaly`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnomalyKind {
    /// The result of an op whose operands are finite.
    Value,
    /// A gradient on its way back through an op, where all that it is computed from is finite.
    Gradient,
    /// Data that an op reads: a batch, or what was computed before the mode was on.
    Input,
    /// A parameter or a buffer of a layer, before the step.
    Parameter,
    /// A parameter, or its state, as the optimizer's step would leave it. Its gradient is finite.
    Update,
}

/// The first value, in the order of the program, that is not finite: what [`AnomalyMode`](crate::train::AnomalyMode) finds, and
/// [`Error::NotFinite`](super::Error::NotFinite) reports.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Anomaly {
    /// What is not finite.
    pub kind: AnomalyKind,
    /// The op as the program calls it, `std` or `cross_entropy`. For a gradient, the op that it goes back through; for an input or
    /// a parameter, the op that reads it; for an update, the optimizer's rule.
    pub op: String,
    /// The part of the op, if that is made of others: the `sqrt` of `std`. For an update, the state if it is not the parameter
    /// itself.
    pub part: Option<String>,
    /// The dotted name of the layer, as in [`Launch::layer`](crate::Launch::layer).
    pub layer: Option<String>,
    /// For a parameter and an update, which one it is. Otherwise the first parameter whose gradient, or buffer whose new value,
    /// is not finite because of it.
    pub parameter: Option<String>,
    /// The shape of what is not finite.
    pub shape: Shape,
    /// The position of the first NaN in row-major order, or, if there is none, of the first infinity.
    pub position: usize,
    /// That element: NaN, or an infinity.
    pub value: f64,
    /// What it was computed from. For an op that works element by element, the elements of its operands at that position;
    /// otherwise the largest magnitude in each operand.
    pub operands: Vec<f64>,
    /// Whether `operands` are the elements at that position.
    pub elementwise: bool,
    /// The caller's file and line: for a gradient, those of the call that it goes back through; for an input or a parameter, of
    /// the call that reads it; for an update, of the step. `None` if that call was made before the mode was on.
    pub at: Option<&'static Location<'static>>,
    /// How many times it was found: of the same kind, in the same op and layer, at the same line. What a value spoils in further
    /// evaluations does not count again.
    pub times: usize,
}

impl Anomaly {
    /// Whether another one is of the same place in the program.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_parameter = matches!(self.kind, AnomalyKind::Parameter | AnomalyKind::Update);
        let alike = (self.kind, self.at, &self.op, &self.part, &self.layer)
            == (other.kind, other.at, &other.op, &other.part, &other.layer);
        alike && (!is_parameter || self.parameter == other.parameter)
    }

    /// The coordinates of the element.
    fn coordinates(&self) -> Vec<usize> {
        let mut rest = self.position;
        let mut coordinates: Vec<usize> = self
            .shape
            .iter()
            .rev()
            .map(|&n| {
                let (at, n) = (rest, n.max(1));
                rest /= n;
                at % n
            })
            .collect();
        coordinates.reverse();
        coordinates
    }

    const fn help(&self) -> &'static str {
        match self.kind {
            AnomalyKind::Value => {
                "look at what this call gets: a logarithm or a root out of its range, a division by 0, numbers that have grown"
            }
            AnomalyKind::Gradient => {
                "give the op operands at which its derivative exists: add a small number, clamp, or choose them with where_ before \
                 the op and not after it"
            }
            AnomalyKind::Input => "look at the data: test what is read with x.is_finite().all()",
            AnomalyKind::Parameter => "load an earlier checkpoint, and run with the mode from there",
            AnomalyKind::Update => "use a lower learning rate, or clip the gradients",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.op)?;
        if let Some(layer) = &self.layer {
            write!(f, "in layer {layer}: ")?;
        }
        let of = |part: &Option<String>| part.as_ref().map_or_else(String::new, |part| format!(" ({part})"));
        let parameter = self.parameter.as_deref().unwrap_or("?");
        match self.kind {
            AnomalyKind::Value => write!(f, "the result{} is", of(&self.part))?,
            AnomalyKind::Gradient => write!(f, "the gradient is")?,
            AnomalyKind::Input => write!(f, "the input is")?,
            AnomalyKind::Parameter => write!(f, "parameter {parameter} is")?,
            AnomalyKind::Update => match &self.part {
                Some(state) => write!(f, "after the step {state} of parameter {parameter} would be")?,
                None => write!(f, "after the step parameter {parameter} would be")?,
            },
        }
        write!(f, " {}", self.value)?;
        if self.shape.rank() > 0 {
            write!(f, " at {:?} of {}", self.coordinates(), self.shape)?;
        }
        let numbers: Vec<String> = self.operands.iter().map(|v| format!("{v:?}")).collect();
        match (numbers.is_empty(), self.elementwise) {
            (true, _) => {}
            (false, true) => write!(f, ", from {}", numbers.join(" and "))?,
            (false, false) => write!(f, ", from operands of up to {}", numbers.join(" and "))?,
        }
        let is_own = matches!(self.kind, AnomalyKind::Parameter | AnomalyKind::Update);
        if let Some(parameter) = self.parameter.as_ref().filter(|_| !is_own) {
            write!(f, "; it reaches parameter {parameter}")?;
        }
        write!(f, "; help: {}", self.help())?;
        match self.at {
            Some(at) => write!(f, " (at {}:{})", at.file(), at.line()),
            None => Ok(()),
        }
    }
}
