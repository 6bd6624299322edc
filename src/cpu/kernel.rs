//! A plan's kernels, prepared for this device.

use super::expr::{Context, Program, hoist};
use super::reduce::{ArgReduce, Pair, Reduce};
use super::{attention, conv2d, elementwise, matmul, pool, recurrent, row};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::host::zeroed;
use crate::plan::expr::{Expr, Term};
use crate::plan::{BufferInfo, Conv2d, Kernel, Plan, Step};

/// A kernel with its expressions compiled.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What is computed first, and read after the step's reads.
    tables: Vec<Program>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// `in_place` is the read that is also written, if any.
    Elementwise { program: Program, in_place: Option<usize> },
    /// A reduction.
    Reduce(Reduce),
    /// A reduction to two values.
    Pair(Pair),
    /// An arg-reduction.
    ArgReduce(ArgReduce),
    /// An op over rows of elements of this type.
    Row(DType),
    /// Kernels that run from the plan's own description, with their epilogue.
    Described { epilogue: Option<Program> },
}

impl Prepared {
    /// Compiles a step's expressions and checks that they stay within their operands.
    pub fn new(plan: &Plan, step: &Step) -> Result<Self> {
        let info = |id: usize| plan.buffers.get(id).ok_or_else(|| Error::internal(format!("the plan has no buffer {id}")));
        let reads: Vec<&BufferInfo> = step.reads.iter().map(|&id| info(id)).collect::<Result<_>>()?;
        for expr in step.kernel.exprs() {
            check_loads(expr, &reads)?;
        }
        let mut tables = Vec::new();
        let body = Self::body(plan, step, &reads, &mut tables)?;
        Ok(Self { tables, body })
    }

    fn body(plan: &Plan, step: &Step, reads: &[&BufferInfo], tables: &mut Vec<Program>) -> Result<Body> {
        let mut hoisted = |expr: &Expr| -> Result<Expr> {
            let (found, rest) = hoist(expr, reads.len() + tables.len());
            for table in &found {
                tables.push(Program::new(table, None)?);
            }
            Ok(rest)
        };
        Ok(match &step.kernel {
            Kernel::Elementwise(expr) => {
                let write = step.write.and_then(|id| plan.buffers.get(id));
                let shared = reads.iter().position(|r| write.is_some_and(|w| w.place == r.place));
                // What is read in a different order from the one in which it is written needs a copy, which the executor makes.
                let in_place = shared.filter(|&operand| reads_in_order(expr, operand));
                let program = Program::new(&hoisted(expr)?, in_place)?;
                if write.is_none_or(|w| w.len != program.len) {
                    return Err(Error::internal(format!("{} elements are computed for {write:?}", program.len)));
                }
                Body::Elementwise { program, in_place }
            }
            Kernel::Reduce { op, value, kept, epilogue } => {
                Body::Reduce(Reduce::new(*op, &hoisted(value)?, *kept, &hoisted(epilogue)?)?)
            }
            other if !other.further().is_empty() => {
                return Err(Error::internal("the CPU writes no further results"));
            }
            Kernel::Pair { op, value, kept, .. } => Body::Pair(Pair::new(*op, &hoisted(value)?, *kept)?),
            Kernel::ArgReduce { op, value } => Body::ArgReduce(ArgReduce::new(*op, &hoisted(value)?)?),
            Kernel::MatMul(m) => {
                check_f32("matmul", &reads[..2.min(reads.len())])?;
                Body::Described { epilogue: Some(Program::new(&hoisted(&m.epilogue)?, None)?) }
            }
            Kernel::Pack { .. } | Kernel::Conv2d(Conv2d { packed: Some(_), .. } | Conv2d { moments: Some(_), .. }) => {
                return Err(Error::internal("the CPU packs no weights and writes no further results"));
            }
            Kernel::Conv2d(c) => {
                check_f32("conv2d", &reads[..2.min(reads.len())])?;
                Body::Described { epilogue: Some(Program::new(&hoisted(&c.epilogue)?, None)?) }
            }
            Kernel::Row(row) => {
                let read = reads.first().ok_or_else(|| Error::internal(format!("{} reads nothing", row.op.name())))?;
                Body::Row(read.dtype)
            }
            Kernel::Attention(a) => {
                attention::check(a, reads)?;
                Body::Described { epilogue: None }
            }
            Kernel::Recurrent(op) => {
                recurrent::check(*op, reads)?;
                Body::Described { epilogue: None }
            }
            Kernel::Pool { .. } | Kernel::OptimStep { .. } => Body::Described { epilogue: None },
        })
    }

    /// The read that is also written, if any.
    pub fn in_place(&self) -> Option<usize> {
        if let Body::Elementwise { in_place, .. } = self.body { in_place } else { None }
    }

    /// Runs the kernel; `context.operands` are the step's reads, `out` what it writes.
    pub fn run(&self, kernel: &Kernel, context: Context, out: &mut [u32]) -> Result<()> {
        let tables = self.tables.iter().map(|table| {
            let mut values = zeroed("values that channels share", table.len)?;
            elementwise::run(table, context, &mut values);
            Ok(values)
        });
        let tables = tables.collect::<Result<Vec<Vec<u32>>>>()?;
        let operands: Vec<&[u32]> = context.operands.iter().copied().chain(tables.iter().map(Vec::as_slice)).collect();
        let operands = &operands[..];
        let context = Context { operands, ..context };
        match (&self.body, kernel) {
            (Body::Elementwise { program, .. }, _) => elementwise::run(program, context, out),
            (Body::Reduce(reduce), _) => reduce.run(context, out),
            (Body::Pair(pair), _) => pair.run(context, out),
            (Body::ArgReduce(reduce), _) => reduce.run(context, out),
            (Body::Described { epilogue: Some(epilogue) }, Kernel::MatMul(m)) => matmul::run(m, epilogue, context, out)?,
            (Body::Described { epilogue: Some(epilogue) }, Kernel::Conv2d(c)) => conv2d::run(c, epilogue, context, out)?,
            (_, Kernel::Attention(a)) => attention::run(a, operands, out)?,
            (_, Kernel::Recurrent(op)) => recurrent::run(*op, operands, out)?,
            (_, &Kernel::Pool { op, ref spec, x, y }) => pool::run(op, spec, x, y, operands, out),
            (&Body::Row(dtype), Kernel::Row(row)) => row::run(row, dtype, operands, out),
            (_, kernel) => return Err(Error::internal(format!("the CPU does not run {} here", kernel.name()))),
        }
        Ok(())
    }
}

fn reads_in_order(expr: &Expr, operand: usize) -> bool {
    expr.terms.iter().all(|(t, _)| !matches!(t, Term::Load { operand: o, view } if *o == operand && !view.is_identity()))
}

fn check_f32(op: &'static str, reads: &[&BufferInfo]) -> Result<()> {
    match reads.iter().find(|r| r.dtype != DType::F32) {
        None if reads.len() == 2 => Ok(()),
        None => Err(Error::internal(format!("{op} needs two operands"))),
        Some(read) => {
            Err(Error::Unsupported { op, reason: format!("operands are {}", read.dtype), help: "cast them to f32".into() })
        }
    }
}

fn check_loads(expr: &Expr, reads: &[&BufferInfo]) -> Result<()> {
    for (term, _) in &expr.terms {
        if let Term::Load { operand, view } = term {
            let len = reads.get(*operand).ok_or_else(|| Error::internal(format!("operand {operand} is not read")))?.len;
            let bounds = super::expr::Walk::new(view).bounds();
            if bounds.is_some_and(|(low, high)| low < 0 || high >= len as i64) {
                return Err(Error::internal(format!("{view:?} reaches outside its {len} elements")));
            }
        }
    }
    Ok(())
}
