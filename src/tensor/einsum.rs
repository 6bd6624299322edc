//! Sums of products by Einstein's convention, lowered to views, matrix products and reductions.

use super::join::listed;
use super::{Fault, Tensor};
use crate::dtype::DType;
use crate::error::counted;
use crate::shape::{MAX_RANK, Shape};
use std::collections::BTreeMap;
use std::panic::Location;

/// An axis' name: a letter's code, or [`ELLIPSIS`] and the distance from the ellipsis' last axis.
type Label = u16;

const ELLIPSIS: Label = 0x100;

/// An operand, and a label for each axis.
struct Part {
    tensor: Tensor,
    labels: Vec<Label>,
}

/// Axis lengths by label.
type Sizes = BTreeMap<Label, usize>;

/// # Products by a formula
impl Tensor {
    /// The sum of products that `spec` names: one letter per axis, `,` between operands, `->` before the result's axes.
    /// Letters that the result lacks are summed over; a letter twice in one operand takes the diagonal; `...` stands for any
    /// axes, which broadcast. Without `->` the result has the axes of `...` and then, in alphabetical order, every letter that
    /// occurs once.
    ///
    /// Operands are contracted in pairs, always the pair whose result has the fewest elements compared with what it replaces.
    /// Axes of length 1 stretch. Products of floats run as a [`Tensor::matmul`].
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let a = Tensor::arange(0.0, 6.0, 1.0, &Device::cpu()?)?.reshape([2, 3]);
    /// let gram = Tensor::einsum("ik,jk->ij", &[&a, &a]);
    /// assert_eq!(gram.to_vec::<f32>()?, [5.0, 14.0, 14.0, 50.0]);
    /// assert_eq!(Tensor::einsum("ii->", &[&gram]).item()?, 55.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn einsum(spec: &str, operands: &[impl AsRef<Self>]) -> Self {
        let operands = &listed(operands);
        Self::guard("einsum", operands, Location::caller(), |n| {
            let ranks: Vec<usize> = n.iter().map(|n| n.shape.rank()).collect();
            let (inputs, output) = parse(spec, &ranks)?;
            for node in n {
                if node.dtype != n[0].dtype {
                    return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, node.dtype), "cast one"));
                }
                if node.dtype == DType::Bool {
                    return Err(Fault::dtype("bool has no arithmetic", "cast it to f32 or i32 first"));
                }
            }
            let shapes: Vec<Shape> = n.iter().map(|n| n.shape).collect();
            let sizes = sizes(&inputs, &shapes)?;
            let whole = |(tensor, labels): (&&Self, Vec<Label>)| Part { tensor: (*tensor).clone(), labels }.whole(&sizes);
            let mut parts = operands.iter().zip(inputs).map(whole).collect::<Result<Vec<_>, _>>()?;
            while parts.len() > 1 {
                let (i, j) = cheapest(&parts, &output, &sizes);
                let (b, a) = (parts.remove(j), parts.remove(i));
                let kept = kept(&parts, &output);
                parts.push(pair(a, b, &kept, &sizes)?);
            }
            let Some(last) = parts.pop() else {
                return Err(Fault::shape("no tensors were given", "give at least one"));
            };
            Ok(last.only(&output).ordered(&output))
        })
    }
}

/// The labels of each operand's axes, and of the result's.
fn parse(spec: &str, ranks: &[usize]) -> Result<(Vec<Vec<Label>>, Vec<Label>), Fault> {
    let spec: String = spec.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = spec.split_once("->").map_or((spec.as_str(), None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        let reason = format!("\"{spec}\" names {} operands, and {} were given", terms.len(), ranks.len());
        return Err(Fault::attribute(reason, "separate the operands' axes by commas"));
    }
    let mut widest = 0;
    let mut inputs = Vec::new();
    for (term, &rank) in terms.iter().zip(ranks) {
        let (before, after) = term.split_once("...").map_or((*term, None), |(b, a)| (b, Some(a)));
        let mut labels = letters(before)?;
        let last = letters(after.unwrap_or_default())?;
        let named = labels.len() + last.len();
        if named > rank || (after.is_none() && named < rank) {
            let reason = format!("\"{term}\" names {} of an operand with {rank}", counted(named, "axis"));
            return Err(Fault::attribute(reason, "use one letter per axis, or ..."));
        }
        let unnamed = rank - named;
        widest = widest.max(unnamed);
        labels.extend(ellipsis(unnamed));
        labels.extend(last);
        inputs.push(labels);
    }
    let all: Vec<Label> = inputs.iter().flatten().copied().collect();
    let Some(right) = right else {
        let mut once: Vec<Label> =
            all.iter().copied().filter(|&l| l < ELLIPSIS && all.iter().filter(|&&o| o == l).count() == 1).collect();
        once.sort_unstable();
        return Ok((inputs, ellipsis(widest).chain(once).collect()));
    };
    let (before, after) = right.split_once("...").map_or((right, None), |(b, a)| (b, Some(a)));
    let mut output = letters(before)?;
    if let Some(after) = after {
        output.extend(ellipsis(widest));
        output.extend(letters(after)?);
    }
    for (i, label) in output.iter().enumerate() {
        if !all.contains(label) || output[..i].contains(label) {
            let reason = format!("the result's axis {} must occur in an operand, and once in the result", name(*label));
            return Err(Fault::attribute(reason, "name each axis of the result once"));
        }
    }
    if output.len() > MAX_RANK {
        return Err(Fault::shape(format!("the result would have {} axes", output.len()), "at most 8 are supported"));
    }
    Ok((inputs, output))
}

fn letters(term: &str) -> Result<Vec<Label>, Fault> {
    let label = |c: char| {
        let wrong = || Fault::attribute(format!("'{c}' is not an axis"), "use letters, ',', '->' and one '...' per operand");
        if c.is_ascii_alphabetic() { u8::try_from(c).map(Label::from).map_err(|_| wrong()) } else { Err(wrong()) }
    };
    term.chars().map(label).collect()
}

/// The labels of `count` axes, aligned at the last.
#[allow(clippy::cast_possible_truncation, reason = "at most `MAX_RANK` labels")]
fn ellipsis(count: usize) -> impl Iterator<Item = Label> {
    (0..count.min(MAX_RANK) as Label).rev().map(|i| ELLIPSIS + i)
}

fn name(label: Label) -> String {
    u8::try_from(label).map_or_else(|_| "...".into(), |c| char::from(c).to_string())
}

fn sizes(inputs: &[Vec<Label>], shapes: &[Shape]) -> Result<Sizes, Fault> {
    let mut sizes = Sizes::new();
    for (labels, shape) in inputs.iter().zip(shapes) {
        for (&label, &len) in labels.iter().zip(shape.iter()) {
            let known = sizes.entry(label).or_insert(len);
            if *known == 1 {
                *known = len;
            } else if len != 1 && len != *known {
                let reason = format!("axis {} has lengths {known} and {len}", name(label));
                return Err(Fault::shape(reason, "axes of one letter must agree or have length 1"));
            }
        }
    }
    Ok(sizes)
}

/// What the result and the other operands need.
fn kept(others: &[Part], output: &[Label]) -> Vec<Label> {
    others.iter().flat_map(|p| &p.labels).chain(output).copied().collect()
}

/// The pair whose contraction adds the fewest elements.
fn cheapest(parts: &[Part], output: &[Label], sizes: &Sizes) -> (usize, usize) {
    let volume = |labels: &[Label]| labels.iter().map(|l| sizes[l] as f64).product::<f64>();
    let mut best = (0, 1, f64::INFINITY);
    for j in 1..parts.len() {
        for i in 0..j {
            let needed =
                |l: &Label| output.contains(l) || (0..parts.len()).any(|k| k != i && k != j && parts[k].labels.contains(l));
            let (a, b) = (&parts[i].labels, &parts[j].labels);
            let mut result: Vec<Label> = a.iter().chain(b).copied().filter(needed).collect();
            result.sort_unstable();
            result.dedup();
            let growth = volume(&result) - volume(a) - volume(b);
            if growth < best.2 {
                best = (i, j, growth);
            }
        }
    }
    (best.0, best.1)
}

/// The product of two parts, summed over what is not kept.
fn pair(a: Part, b: Part, kept: &[Label], sizes: &Sizes) -> Result<Part, Fault> {
    let with = |other: &Part| [kept, other.labels.as_slice()].concat();
    let (of_a, of_b) = (with(&b), with(&a));
    let (a, b) = (a.only(&of_a), b.only(&of_b));
    let split = |from: &Part, shared: bool, keep: bool, other: &Part| -> Vec<Label> {
        let wanted = |l: &&Label| other.labels.contains(l) == shared && kept.contains(l) == keep;
        from.labels.iter().filter(wanted).copied().collect()
    };
    let (batch, summed) = (split(&a, true, true, &b), split(&a, true, false, &b));
    let (rows, cols) = (split(&a, false, true, &b), split(&b, false, true, &a));
    let labels = [&batch[..], &rows, &cols].concat();
    let product = a.tensor.dtype().is_ok_and(DType::is_float) && !summed.is_empty();
    let axes = labels.len() + if product { 0 } else { summed.len() };
    if axes > MAX_RANK {
        let reason = format!("an intermediate result would have {axes} axes");
        return Err(Fault::shape(reason, "at most 8 are supported; contract fewer operands at once"));
    }
    let volume = |labels: &[Label]| labels.iter().map(|l| sizes[l]).product::<usize>();
    let dims = |labels: &[Label]| labels.iter().map(|l| sizes[l]).collect::<Vec<_>>();
    if product {
        let (m, k, n) = (volume(&rows), volume(&summed), volume(&cols));
        let lhs = a.ordered(&[&batch[..], &rows, &summed].concat());
        let rhs = b.ordered(&[&batch[..], &summed, &cols].concat());
        let out = if batch.is_empty() {
            lhs.reshape([m, k]).matmul(&rhs.reshape([k, n]))
        } else {
            let count = volume(&batch);
            lhs.reshape([count, m, k]).matmul(&rhs.reshape([count, k, n]))
        };
        return Ok(Part { tensor: out.reshape(dims(&labels)), labels });
    }
    let shared = [&batch[..], &summed].concat();
    let ones = |labels: &[Label]| vec![1; labels.len()];
    let lhs = a.ordered(&[&shared[..], &rows].concat()).reshape([dims(&shared), dims(&rows), ones(&cols)].concat());
    let rhs = b.ordered(&[&shared[..], &cols].concat()).reshape([dims(&shared), ones(&rows), dims(&cols)].concat());
    Ok(Part { tensor: lhs * rhs, labels: [&shared[..], &rows, &cols].concat() }.only(&labels))
}

impl Part {
    /// With each label once, and every axis at its full length.
    fn whole(mut self, sizes: &Sizes) -> Result<Self, Fault> {
        while let Some((i, j)) = twice(&self.labels) {
            let shape = self.tensor.shape().map_err(|e| Fault::shape(e.to_string(), "use a valid tensor"))?;
            let (len, other) = (shape[i], shape[j]);
            if len != other {
                let reason = format!("axis {} has lengths {len} and {other} in one operand", name(self.labels[i]));
                return Err(Fault::shape(reason, "a diagonal needs equal lengths"));
            }
            let rest: Vec<usize> = (0..shape.rank()).filter(|&d| d != i && d != j).collect();
            let mut dims: Vec<usize> = rest.iter().map(|&d| shape[d]).collect();
            dims.push(len * len);
            let merged = self.tensor.permute(&[&rest[..], &[i, j]].concat()).reshape(dims);
            let label = self.labels[i];
            self.labels = rest.iter().map(|&d| self.labels[d]).collect();
            self.labels.push(label);
            self.tensor = merged.slice_step(-1, 0, (len * len) as isize, len as isize + 1);
        }
        let full: Vec<usize> = self.labels.iter().map(|l| sizes[l]).collect();
        self.tensor = self.tensor.broadcast_to(Shape::of(&full));
        Ok(self)
    }

    /// Summed over every axis that is not among these.
    fn only(self, kept: &[Label]) -> Self {
        let (mut axes, mut labels) = (Vec::new(), Vec::new());
        for (d, &label) in self.labels.iter().enumerate() {
            if kept.contains(&label) { labels.push(label) } else { axes.push(d as isize) }
        }
        if axes.is_empty() {
            return self;
        }
        Self { tensor: self.tensor.sum_dim(&axes), labels }
    }

    /// The tensor with its axes in this order, which names each of them.
    fn ordered(&self, order: &[Label]) -> Tensor {
        let place = |label: &Label| self.labels.iter().position(|l| l == label);
        self.tensor.permute(&order.iter().filter_map(place).collect::<Vec<_>>())
    }
}

/// Two axes with one label.
fn twice(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|j| labels[..j].iter().position(|&l| l == labels[j]).map(|i| (i, j)))
}
