//! Losses for one class among several.

use super::common::{Reduction, checked, loss, one_dtype};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lazy::Node;
use crate::shape::Shape;
use crate::tensor::{At, Fault, Range, Tensor, as_index, need_float, need_index};
use std::panic::Location;

/// `-log_softmax(logits)[i, labels[i]]` for logits `[n, classes, ..]` and integer labels `[n, ..]`, or `-Σ_c t_c·log_softmax(logits)_c`
/// for probabilities t of the logits' shape. [`cross_entropy_with`] has options.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, cross_entropy}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let logits = Tensor::zeros([2, 4], &device)?;
/// let labels = Tensor::from_slice(&[0, 3], [2], &device)?;
/// assert!((cross_entropy(&logits, &labels, Reduction::Mean)?.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit; labels from the host outside `0..classes`; those of a device are reported by the next value
/// that is read.
#[track_caller]
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let by_rows = logits.shape()?.rank() == 2 && labels.shape()?.rank() == 1;
    if by_rows || logits.shape()?.rank() < 2 {
        return checked(reduction.apply(&logits.cross_entropy_as("cross_entropy", labels, Location::caller())));
    }
    general(
        "cross_entropy",
        logits,
        labels,
        &CrossEntropyOptions { reduction, ..CrossEntropyOptions::default() },
        Location::caller(),
    )
}

/// # Cross-entropy
impl Tensor {
    /// The mean cross-entropy of logits `[n, classes, ..]` with integer labels `[n, ..]` or probabilities `[n, classes, ..]`,
    /// like PyTorch's function: `-Σ_c t_c·log_softmax(logits)_c`, averaged over everything else. [`cross_entropy`] reduces in
    /// other ways, [`cross_entropy_with`] has the options.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let logits = Tensor::zeros([2, 4], &device)?;
    /// let labels = Tensor::from_slice(&[0, 3], [2], &device)?;
    /// assert!((logits.cross_entropy(&labels).item()? - 4f64.ln()).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, target: &Self) -> Self {
        cross_entropy(self, target, Reduction::Mean).unwrap_or_else(Self::from_error)
    }
}

/// Options of [`cross_entropy_with`].
#[derive(Debug, Clone, Default)]
pub struct CrossEntropyOptions {
    /// A weight per class, `[classes]`. Defaults to 1 for each.
    pub weight: Option<Tensor>,
    /// The share of every target that is spread over all classes, in 0..=1. Defaults to 0.
    pub label_smoothing: f64,
    /// A label whose samples do not count; it need not be a class. PyTorch's default is -100, here none.
    pub ignore_index: Option<i32>,
    /// Defaults to the mean: over labels, weighted by the weights of their classes; over distributions, unweighted.
    pub reduction: Reduction,
}

/// The cross-entropy of logits `[n, classes, ..]` with integer labels `[n, ..]`, or with probabilities of the logits' shape:
/// `-Σ_c w_c·t_c·log_softmax(logits)_c`, where `t` is the target (1 for the label) with `label_smoothing` of it spread evenly.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{CrossEntropyOptions, cross_entropy_with}};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let logits = Tensor::zeros([3, 4], &device)?;
/// let labels = Tensor::from_slice(&[1, -100, 3], [3], &device)?;
/// let options = CrossEntropyOptions { ignore_index: Some(-100), label_smoothing: 0.1, ..Default::default() };
/// assert!((cross_entropy_with(&logits, &labels, &options)?.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit; a smoothing outside 0..=1; labels from the host that are neither ignored nor in
/// `0..classes`; an `ignore_index` with probabilities.
#[track_caller]
pub fn cross_entropy_with(logits: &Tensor, target: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
    general("cross_entropy_with", logits, target, options, Location::caller())
}

fn general(name: &'static str, logits: &Tensor, target: &Tensor, options: &CrossEntropyOptions, at: At) -> Result<Tensor> {
    let target = as_index(target);
    let mut operands = vec![logits, &target];
    operands.extend(&options.weight);
    loss(name, &operands, at, |n| {
        let smoothing = options.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Fault::attribute(format!("label smoothing {smoothing} is not a share"), "use 0 to 1"));
        }
        let classes = class_axis(n[0])?;
        check_weight(n, classes)?;
        let rows = rows(logits, &n[0].shape);
        if n[1].dtype.is_float() {
            one_dtype(&n[..2])?;
            if n[1].shape != n[0].shape {
                return Err(Fault::shape(
                    "probabilities must have the logits' shape",
                    "give integer labels, or one value per class",
                ));
            }
            if options.ignore_index.is_some() {
                return Err(Fault::attribute("probabilities cannot be ignored by index", "set their rows to 0"));
            }
            let spread = self::rows(&target, &n[1].shape) * (1.0 - smoothing) + smoothing / classes as f64;
            let terms = weighted(&(spread * rows.log_softmax(-1)), options.weight.as_ref());
            let losses = -terms.sum_dim(-1);
            return Ok(options.reduction.apply(&losses.reshape(without_classes(&n[0].shape))));
        }
        let range = labels_range(name, classes, options.ignore_index, at);
        let labels = match Labels::new(n, &target, range)? {
            Ok(labels) => labels,
            Err(error) => return Ok(Tensor::from_error(error)),
        };
        let rows = labels.counted(&rows);
        let scale = labels.scale(options.weight.as_ref(), &rows);
        let mut losses = rows.cross_entropy_rows(&labels.index) * &scale;
        if smoothing > 0.0 {
            let all = weighted(&rows.log_softmax(-1), options.weight.as_ref()).sum_dim(-1);
            losses = losses * (1.0 - smoothing) - all * (smoothing / classes as f64);
        }
        Ok(labels.reduce(&losses, &scale, options.reduction))
    })
}

/// `-w[labels]·log_probabilities[.., labels, ..]` for log-probabilities `[n, classes, ..]`, integer labels `[n, ..]` and a
/// weight per class `[classes]` (1 if none is given). Samples with the label `ignore_index` do not count. The mean is weighted.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{Reduction, nll}};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let log_p = Tensor::from_slice(&[-1.0f32, -2.0, -3.0, -4.0], [2, 2], &device)?;
/// let labels = Tensor::from_slice(&[1, 0], [2], &device)?;
/// let weight = Tensor::from_slice(&[1.0f32, 3.0], [2], &device)?;
/// assert_eq!(nll(&log_p, &labels, Some(&weight), None, Reduction::Mean)?.item()?, (3.0 * 2.0 + 1.0 * 3.0) / (3.0 + 1.0));
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit; labels from the host that are neither ignored nor in `0..classes`.
#[track_caller]
pub fn nll(
    log_probabilities: &Tensor,
    labels: &Tensor,
    weight: Option<&Tensor>,
    ignore_index: Option<i32>,
    reduction: Reduction,
) -> Result<Tensor> {
    let target = as_index(labels);
    let mut operands = vec![log_probabilities, &target];
    operands.extend(weight);
    let at = Location::caller();
    loss("nll", &operands, at, |n| {
        let classes = class_axis(n[0])?;
        check_weight(n, classes)?;
        let range = labels_range("nll", classes, ignore_index, at);
        let labels = match Labels::new(n, &target, range)? {
            Ok(labels) => labels,
            Err(error) => return Ok(Tensor::from_error(error)),
        };
        let rows = labels.counted(&rows(log_probabilities, &n[0].shape));
        let scale = labels.scale(weight, &rows);
        let picked = rows.gather_within(1, &labels.index.unsqueeze(1)).squeeze(1);
        Ok(labels.reduce(&(-picked * &scale), &scale, reduction))
    })
}

/// The share of rows of logits `[n, classes]` whose largest element is at their label, as an F32 scalar.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::accuracy};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let logits = Tensor::from_slice(&[0.0f32, 9.0, 5.0, 1.0], [2, 2], &device)?;
/// let labels = Tensor::from_slice(&[1, 1], [2], &device)?;
/// assert_eq!(accuracy(&logits, &labels)?.item()?, 0.5);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit.
#[track_caller]
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let predicted = logits.detach().argmax_dim(-1);
    let (rows, given) = (predicted.shape()?, labels.shape()?);
    if rows != given {
        let reason = format!("labels of shape {given} for predictions of shape {rows}");
        return Err(Error::argument("accuracy", reason, "give one label for each row of logits"));
    }
    checked(predicted.eq(labels).cast(DType::F32).mean())
}

/// Integer labels as one vector, those to ignore as 0.
struct Labels {
    index: Tensor,
    /// Bool: the label counts.
    counts: Option<Tensor>,
    shape: Shape,
}

impl Labels {
    /// Checks labels against logits `n[0]`. The outer fault is a wrong shape or dtype, the inner a label out of range.
    fn new(n: &[&std::sync::Arc<Node>], labels: &Tensor, range: Range) -> Result<Result<Self>, Fault> {
        need_index(n[1])?;
        let shape = without_classes(&n[0].shape);
        if n[1].shape != shape {
            let reason = format!("labels have shape {}, not {shape}", n[1].shape);
            return Err(Fault::shape(reason, "give one label per sample: the logits' shape without its second axis"));
        }
        if let Some(error) = range.wrong(n[1]) {
            return Ok(Err(error));
        }
        let flat = labels.reshape([shape.numel()]);
        let counts = range.ignored().map(|ignored| flat.ne(&flat.scalar_like(f64::from(ignored))));
        let index = match &counts {
            Some(counts) => counts.where_(&flat, &flat.scalar_like(0.0)),
            None => flat,
        };
        let index = if Range::is_for_device(n[1]) { range.on_device(&index) } else { index };
        Ok(Ok(Self { index, counts, shape }))
    }

    /// Rows of scores, with 0 where a sample is ignored: its contents do not affect gradients either.
    fn counted(&self, rows: &Tensor) -> Tensor {
        match &self.counts {
            Some(counts) => counts.unsqueeze(1).where_(rows, &rows.scalar_like(0.0)),
            None => rows.clone(),
        }
    }

    /// How much each sample counts: the weight of its class, or 0 where it is ignored.
    fn scale(&self, weight: Option<&Tensor>, like: &Tensor) -> Tensor {
        let own = match weight {
            Some(weight) => weight.unsqueeze(1).gather_rows_within(&self.index).squeeze(1),
            None => like.scalar_like(1.0).broadcast_to(Shape::of(&[self.shape.numel()])),
        };
        match &self.counts {
            Some(counts) => counts.where_(&own, &own.scalar_like(0.0)),
            None => own,
        }
    }

    fn reduce(&self, losses: &Tensor, scale: &Tensor, reduction: Reduction) -> Tensor {
        let losses = match &self.counts {
            // Even where a sample to ignore is infinite.
            Some(counts) => counts.where_(losses, &losses.scalar_like(0.0)),
            None => losses.clone(),
        };
        match reduction {
            Reduction::Mean => losses.sum() / scale.sum(),
            Reduction::Sum => losses.sum(),
            Reduction::None => losses.reshape(self.shape),
        }
    }
}

/// What labels of a loss must be.
fn labels_range(name: &'static str, classes: usize, ignored: Option<i32>, at: At) -> Range {
    let help = "labels count classes from 0; the second axis has the classes";
    Range::new(name, classes, help, at).but(ignored).ignorable("set")
}

/// The number of classes of `[n, classes, ..]`.
fn class_axis(logits: &Node) -> Result<usize, Fault> {
    need_float(logits)?;
    match logits.shape.dims() {
        [_, classes, ..] if *classes > 0 => Ok(*classes),
        _ => Err(Fault::shape("there is no axis of classes", "use [n, classes, ..], with at least one class")),
    }
}

fn check_weight(n: &[&std::sync::Arc<Node>], classes: usize) -> Result<(), Fault> {
    let Some(weight) = n.get(2) else { return Ok(()) };
    one_dtype(&[n[0], weight])?;
    if weight.shape == [classes] {
        return Ok(());
    }
    Err(Fault::shape(format!("the weight must have shape [{classes}]"), "give one weight per class"))
}

fn without_classes(shape: &Shape) -> Shape {
    let mut dims = shape.to_vec();
    dims.remove(1);
    Shape::of(&dims)
}

/// `[n, classes, ..]` as rows of classes.
fn rows(x: &Tensor, shape: &Shape) -> Tensor {
    let order: Vec<usize> = std::iter::once(0).chain(2..shape.rank()).chain([1]).collect();
    let classes = shape[1];
    x.permute(&order).reshape([without_classes(shape).numel(), classes])
}

/// Rows times a weight per class.
fn weighted(x: &Tensor, weight: Option<&Tensor>) -> Tensor {
    weight.map_or_else(|| x.clone(), |w| x * w)
}
