//! Prints scalar expressions as WGSL.
//!
//! A linear index becomes coordinates only where a view needs them: neighbouring axes that every view walks as one are
//! merged first, inner extents and strides are constants of the text, and the outermost extent never appears, so that one
//! text serves every batch size.

use super::cancel::hidden;
use super::math;
use super::program::{ExprCode, Word};
use crate::dtype::{DType, F16};
use crate::graph::View;
use crate::graph::op::RandomWord;
use crate::plan::expr::{Expr, Term, TermId, operands};
use std::fmt::Write;

/// How an expression fits into the kernel around it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Site<'a> {
    /// Operands whose elements are passed in, as parameters: see [`given_name`].
    pub given: &'a [usize],
    /// The operand whose loads read `out`, because the kernel overwrites it in place.
    pub in_place: Option<usize>,
    /// What `out` is called, if not that.
    pub output: Option<&'a str>,
    /// The function takes two indices: i over the axes before this one, j over the others.
    pub split: Option<usize>,
}

/// Emits `fn NAME(i: u32, acc: A) -> T` and the functions that it calls: the expression at linear index i of its shape.
///
/// T is the expression's dtype (Bool as u32), A that of [`Term::Acc`] (T if there is none). Loads read `b{operand}`; its
/// scalars and random keys start at word `first_word` of the record.
pub(crate) fn emit(name: &str, expr: &Expr, first_word: usize) -> ExprCode {
    let mut code = emit_at(name, expr, first_word, Site::default());
    code.function = math::snippets(&[expr], &[]) + &code.function;
    code
}

/// As [`emit`], without the functions that it calls; `fn NAME(i: u32, j: u32) -> T` where the site splits the index.
pub(crate) fn emit_at(name: &str, expr: &Expr, first_word: usize, site: Site<'_>) -> ExprCode {
    let mut printer =
        Printer { axes: Axes::of(expr, site.split), first_word, words: Vec::new(), site, body: String::new(), packed: 0 };
    printer.coordinates();
    printer.terms(expr);
    let element = math::wgsl_type(expr.dtype());
    let is_pair = matches!(expr.terms.last(), Some((Term::Pair(..), _)));
    let result = if is_pair { format!("vec2<{element}>") } else { element.to_string() };
    let acc = expr.terms.iter().find(|(t, _)| matches!(t, Term::Acc)).map_or(element, |t| math::wgsl_type(t.1));
    let mut parameters = if site.split.is_some() { "i: u32, j: u32".to_string() } else { format!("i: u32, acc: {acc}") };
    for operand in site.given {
        let dtype = expr.terms.iter().find(|(t, _)| matches!(t, Term::Load { operand: o, .. } if o == operand)).map(|t| t.1);
        for n in 0..views_of(expr, *operand).count() {
            let _ = write!(parameters, ", v{}: {}", given_name(*operand, n), math::wgsl_type(dtype.unwrap_or(DType::F32)));
        }
    }
    let value = match expr.terms.len() {
        0 => "acc".to_string(),
        n => format!("t{}", n - 1),
    };
    let function = format!("fn {name}({parameters}) -> {result} {{\n{}    return {value};\n}}\n", printer.body);
    ExprCode { function, words: printer.words }
}

/// What a given element of an operand is called, after a letter: the n-th of the views that the operand is loaded through.
pub(crate) fn given_name(operand: usize, n: usize) -> String {
    if n == 0 { operand.to_string() } else { format!("{operand}_{n}") }
}

/// The different views through which an expression loads an operand, in the order of its terms.
pub(crate) fn views_of(expr: &Expr, operand: usize) -> impl Iterator<Item = &View> {
    let mut seen: Vec<&View> = Vec::new();
    expr.terms.iter().filter_map(move |(term, _)| match term {
        Term::Load { operand: o, view } if *o == operand && !seen.contains(&view) => {
            seen.push(view);
            Some(view)
        }
        _ => None,
    })
}

/// WGSL that reads word `k` of the record, as u32.
pub(crate) fn word(k: usize) -> String {
    format!("params[{}].{}", k / 4, ["x", "y", "z", "w"][k % 4])
}

/// The view of a term, if it has one.
fn view_of(term: &Term) -> Option<&View> {
    match term {
        Term::Load { view, .. } | Term::Random { view, .. } | Term::Index { view } | Term::Valid { view } => Some(view),
        _ => None,
    }
}

/// An axis after merging: the run of original axes `first..=last`, walked as one.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// The innermost original axis, whose stride and mask stand for the run.
    last: usize,
    len: usize,
    /// Whether it is the outermost of its index, so that its coordinate needs no remainder.
    outermost: bool,
    /// The index it is taken from: `i` or `j`.
    index: char,
    /// Whether any view needs its coordinate.
    used: bool,
}

struct Axes {
    /// Outermost first.
    axes: Vec<Axis>,
}

impl Axes {
    fn of(expr: &Expr, split: Option<usize>) -> Self {
        let views: Vec<&View> = expr.terms.iter().filter_map(|(t, _)| view_of(t)).filter(|v| !direct(v, split)).collect();
        let shape = &expr.shape;
        let split = split.unwrap_or(shape.rank());
        let mut axes: Vec<Axis> = Vec::new();
        for d in (0..shape.rank()).filter(|&d| shape[d] != 1) {
            let index = if d < split { 'i' } else { 'j' };
            let used = views.iter().any(|v| v.strides()[d] != 0 || masked(v, d));
            if let Some(outer) = axes.last_mut().filter(|a| a.index == index && views.iter().all(|v| merge(v, a.last, d))) {
                outer.len *= shape[d];
                outer.last = d;
                outer.used |= used;
                continue;
            }
            let outermost = axes.last().is_none_or(|a| a.index != index);
            axes.push(Axis { last: d, len: shape[d], outermost, index, used });
        }
        Self { axes }
    }

    /// A view's buffer index without the offset: `Σ coord * stride`, in wrapping u32 arithmetic.
    fn linear(&self, view: &View) -> Vec<String> {
        let mut sum = Vec::new();
        for axis in &self.axes {
            match view.strides()[axis.last] {
                0 => {}
                1 => sum.push(coordinate(axis)),
                s => sum.push(format!("{} * {}u", coordinate(axis), wrap(s))),
            }
        }
        sum
    }
}

/// Whether the linear index itself is the view's buffer index.
fn direct(view: &View, split: Option<usize>) -> bool {
    split.is_none() && view.is_identity()
}

/// Whether a mask cuts axis `d`.
fn masked(view: &View, d: usize) -> bool {
    view.mask().is_some_and(|m| m[d].0 > 0 || m[d].1 < view.shape[d] as i64)
}

/// Whether a view walks axes `outer` and `d` as one. Axes of length 1 between them do not matter.
fn merge(view: &View, outer: usize, d: usize) -> bool {
    let strides = view.strides();
    strides[outer] == strides[d].wrapping_mul(view.shape[d] as i64) && !masked(view, outer) && !masked(view, d)
}

/// A signed number in wrapping u32 arithmetic.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "buffer indices are arithmetic modulo 2^32")]
const fn wrap(x: i64) -> u32 {
    x as u32
}

fn coordinate(axis: &Axis) -> String {
    format!("{}{}", if axis.index == 'i' { "c" } else { "r" }, axis.last)
}

struct Printer<'a> {
    axes: Axes,
    first_word: usize,
    words: Vec<Word>,
    site: Site<'a>,
    body: String,
    /// How many indices of packed elements the body names.
    packed: usize,
}

impl Printer<'_> {
    /// Text that reads a record word as u32; equal words share a place.
    fn word(&mut self, w: Word) -> String {
        let k = self.words.iter().position(|x| *x == w).unwrap_or_else(|| {
            self.words.push(w);
            self.words.len() - 1
        });
        word(self.first_word + k)
    }

    /// `let` lines for the coordinates that views need.
    fn coordinates(&mut self) {
        for index in ['i', 'j'] {
            let axes: Vec<Axis> = self.axes.axes.iter().copied().filter(|a| a.index == index).collect();
            let mut rest = index.to_string();
            for (k, axis) in axes.iter().enumerate().rev() {
                let more = axes[..k].iter().any(|a| a.used);
                let name = coordinate(axis);
                if axis.outermost {
                    if axis.used {
                        let _ = writeln!(self.body, "    let {name} = {rest};");
                    }
                    continue;
                }
                if more {
                    let _ = writeln!(self.body, "    let q{name} = {rest} / {}u;", axis.len);
                }
                if axis.used {
                    let _ = writeln!(self.body, "    let {name} = {rest} % {}u;", axis.len);
                }
                rest = format!("q{name}");
            }
        }
    }

    /// The buffer index of a view, as u32 text.
    fn index(&mut self, view: &View) -> String {
        if direct(view, self.site.split) {
            return "i".into();
        }
        let mut sum = self.axes.linear(view);
        if view.offset != 0 {
            // An offset may depend on the batch size (a flip's does), so it is data.
            sum.push(self.word(Word::U32(wrap(view.offset))));
        }
        if sum.is_empty() { "0u".into() } else { sum.join(" + ") }
    }

    /// The condition under which a view has an element, or `None` for always.
    fn valid(&self, view: &View) -> Option<String> {
        let mask = view.mask()?;
        let mut tests = Vec::new();
        for (d, &(lo, hi)) in mask.iter().enumerate() {
            let len = view.shape[d] as i64;
            if lo <= 0 && hi >= len {
                continue;
            }
            // An axis of length 1 is not among the merged ones, and its only coordinate is masked.
            let Some(axis) = self.axes.axes.iter().find(|a| a.last == d).filter(|_| lo < hi) else {
                return Some("false".into());
            };
            let c = coordinate(axis);
            if lo > 0 {
                tests.push(format!("{c} >= {lo}u"));
            }
            if hi < len {
                tests.push(format!("{c} < {hi}u"));
            }
        }
        (!tests.is_empty()).then(|| tests.join(" && "))
    }

    /// A term's text `what`, or 0 where the view is masked.
    fn guarded(&self, view: &View, dtype: DType, what: &str) -> String {
        match self.valid(view) {
            Some(test) => format!("select({}, {what}, {test})", math::zero(dtype)),
            None => what.to_string(),
        }
    }

    /// Element `index` of a buffer; a storage type's is cut out of its word.
    fn element(&mut self, buffer: &str, dtype: DType, index: &str) -> String {
        let per_word = dtype.per_word();
        if per_word == 1 {
            return format!("{buffer}[{index}]");
        }
        self.packed += 1;
        let (at, bits) = (format!("at{}", self.packed), 32 / per_word);
        let _ = writeln!(self.body, "    let {at} = {index};");
        let mask = (1u64 << bits) - 1;
        format!("({buffer}[{at} / {per_word}u] >> ({at} % {per_word}u * {bits}u)) & {mask}u")
    }

    fn terms(&mut self, expr: &Expr) {
        let (exposed, hidden) = (exposed_constants(expr), hidden(expr));
        for (n, (term, dtype)) in expr.terms.iter().enumerate() {
            let keyword = if exposed[n] { "var" } else { "let" };
            let text = match *term {
                Term::Binary(op, a, b) if hidden[n] => math::binary(op, expr.terms[a].1, &format!("t{a}"), &self.opaque(b)),
                Term::Unary(_, a) if hidden[n] => format!("t{a} * {}", self.opaque(a)),
                _ => self.term(expr, term, *dtype),
            };
            let _ = writeln!(self.body, "    {keyword} t{n} = {text};");
        }
    }

    /// The float t{a}, through bits that only the record knows to be the same.
    fn opaque(&mut self, a: TermId) -> String {
        let zero = self.word(Word::U32(0));
        format!("bitcast<f32>(bitcast<u32>(t{a}) ^ {zero})")
    }

    fn term(&mut self, expr: &Expr, term: &Term, dtype: DType) -> String {
        match term {
            Term::Load { operand, view } if self.site.given.contains(operand) => {
                let n = views_of(expr, *operand).position(|other| other == view).unwrap_or(0);
                format!("v{}", given_name(*operand, n))
            }
            Term::Load { operand, view } => {
                let buffer = if self.site.in_place == Some(*operand) {
                    self.site.output.unwrap_or("out").to_string()
                } else {
                    format!("b{operand}")
                };
                let index = self.index(view);
                match self.valid(view) {
                    // The index is made safe too: `select` evaluates both sides.
                    Some(test) => {
                        let element = self.element(&buffer, dtype, &format!("select(0u, {index}, {test})"));
                        format!("select({}, {element}, {test})", math::zero(dtype))
                    }
                    None => self.element(&buffer, dtype, &index),
                }
            }
            Term::Acc => "acc".into(),
            Term::Scalar { slot } => {
                let word = self.word(Word::Scalar { slot: *slot, dtype });
                from_word(dtype, &word)
            }
            Term::Constant { bits } => self.constant(f64::from_bits(*bits), dtype),
            Term::Random { slot, word, view } => {
                let key: Vec<String> = (0..3).map(|w| self.word(Word::Random { slot: *slot, word: w })).collect();
                // Some drivers walk chains of values that are the same in all invocations without remembering where they
                // have been: 2²⁰ steps for a draw at a constant index. `i` is below its limit, so nothing is added.
                let index = self.index(view);
                let constant = !direct(view, self.site.split) && self.axes.linear(view).is_empty();
                let index = if constant { format!("{index} + u32(i == 0xffffffffu)") } else { index };
                let part = match word {
                    RandomWord::First => "x",
                    RandomWord::Second => "y",
                };
                let draw = format!("threefry2x32(vec2<u32>({}, {}), vec2<u32>({index}, {})).{part}", key[0], key[1], key[2]);
                self.guarded(view, DType::U32, &draw)
            }
            Term::Index { view } => {
                let index = self.index(view);
                let value = match dtype {
                    DType::F32 | DType::F64 => format!("f32(i32({index}))"),
                    DType::I32 => format!("i32({index})"),
                    DType::U32 | DType::U8 | DType::F16 => index,
                    DType::Bool => format!("min({index}, 1u)"),
                };
                self.guarded(view, dtype, &value)
            }
            Term::Valid { view } => match self.valid(view) {
                Some(test) => format!("select(0u, 1u, {test})"),
                None => "1u".into(),
            },
            Term::Unary(op, a) => math::unary(*op, expr.terms[*a].1, &format!("t{a}")),
            Term::Binary(op, a, b) => math::binary(*op, expr.terms[*a].1, &format!("t{a}"), &format!("t{b}")),
            Term::Select(c, a, b) => format!("select(t{b}, t{a}, t{c} != 0u)"),
            Term::Cast(a) => math::cast(expr.terms[*a].1, dtype, &format!("t{a}")),
            Term::Pair(a, b) => format!("vec2<{}>(t{a}, t{b})", math::wgsl_type(dtype)),
        }
    }

    /// A literal; numbers that WGSL cannot write (infinities, NaN, -0, subnormals, the smallest i32) go through the record.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounding to the dtype is what is asked for")]
    fn constant(&mut self, value: f64, dtype: DType) -> String {
        match dtype {
            DType::F32 | DType::F64 => {
                let v = value as f32;
                if v.is_normal() || v.to_bits() == 0 {
                    return format!("{v:?}f");
                }
                let word = self.word(Word::U32(v.to_bits()));
                from_word(DType::F32, &word)
            }
            DType::I32 if value as i32 == i32::MIN => {
                let word = self.word(Word::U32(0x8000_0000));
                from_word(DType::I32, &word)
            }
            DType::I32 => format!("{}i", value as i32),
            DType::U32 => format!("{}u", value as u32),
            DType::U8 => format!("{}u", value as u8),
            DType::F16 => format!("{}u", F16::from_f32(value as f32).to_bits()),
            DType::Bool => if value == 0.0 { "0u" } else { "1u" }.into(),
        }
    }
}

/// A record word as a value of a dtype.
pub(crate) fn from_word(dtype: DType, word: &str) -> String {
    match dtype {
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => word.into(),
        _ => format!("bitcast<{}>({word})", math::wgsl_type(dtype)),
    }
}

/// Marks constants that meet only constants: as variables, so that WGSL's constant folding, for which an overflow is an
/// error, leaves them alone.
fn exposed_constants(expr: &Expr) -> Vec<bool> {
    let constant = |i: usize| matches!(expr.terms[i].0, Term::Constant { .. });
    let mut exposed = vec![false; expr.terms.len()];
    for (term, _) in &expr.terms {
        let from = operands(term);
        if !from.is_empty() && from.iter().all(|&i| constant(i)) {
            for i in from {
                exposed[i] = true;
            }
        }
    }
    exposed
}
