//! 2-D convolution and its gradients.

mod columns;
mod depthwise;
mod product;
mod stencil;
mod tile;
mod weights;
mod window;

use super::elementwise;
use super::expr::{Context, Program};
use crate::error::Result;
use crate::plan::{Conv2d, ConvRole};
use bytemuck::{cast_slice, cast_slice_mut};
use depthwise::Depthwise;
use product::Product;
use weights::WeightGrad;

/// The floats that all threads share, and those that each works in.
pub(super) fn scratch(conv: &Conv2d) -> [usize; 2] {
    match conv.role {
        _ if Depthwise::suits(conv) => [0, Depthwise::new(conv).scratch()],
        ConvRole::Forward | ConvRole::InputGrad => Product::new(conv).scratch(),
        ConvRole::WeightGrad => WeightGrad::new(conv).scratch(),
    }
}

/// Runs one of the three products.
pub(super) fn run(conv: &Conv2d, epilogue: &Program, context: Context, out: &mut [u32]) -> Result<()> {
    let (a, b): (&[f32], &[f32]) = (cast_slice(context.operands[0]), cast_slice(context.operands[1]));
    if out.is_empty() {
        return Ok(());
    }
    match conv.role {
        ConvRole::Forward | ConvRole::InputGrad if Depthwise::suits(conv) => {
            Depthwise::new(conv).run(a, b, epilogue, context, out)
        }
        ConvRole::Forward | ConvRole::InputGrad => Product::new(conv).run(a, b, epilogue, context, out),
        ConvRole::WeightGrad => {
            if Depthwise::suits(conv) {
                Depthwise::new(conv).weight_grad(a, b, cast_slice_mut(out))?;
            } else {
                WeightGrad::new(conv).run(a, b, cast_slice_mut(out))?;
            }
            if !epilogue.is_identity {
                elementwise::run(epilogue, context, out);
            }
            Ok(())
        }
    }
}
