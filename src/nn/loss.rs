//! Losses: how far predictions are from what they should be. PyTorch's formulas, names (without `_loss`) and defaults.
//!
//! The two sides of a loss must have the same shape: broadcasting them is nearly always a mistake, above all `[n]` against
//! `[n, 1]`. Every loss is a composition of tensor ops, which the planner fuses; all have second derivatives.
//!
//! | for | |
//! |---|---|
//! | classes | [`cross_entropy`] [`cross_entropy_with`] [`CrossEntropyOptions`] [`nll`] [`accuracy`] |
//! | yes or no | [`binary_cross_entropy`] [`binary_cross_entropy_with_logits`] [`focal`] [`hinge`] |
//! | numbers | [`mse`] [`l1`] [`huber`] [`smooth_l1`] |
//! | distributions | [`kl_div`] [`kl_div_with`] [`KlDivOptions`] |
//! | embeddings, ranking | [`triplet_margin`] [`TripletOptions`] [`cosine_embedding`] [`hinge_embedding`] [`margin_ranking`] |
//! | sequences without alignment | [`ctc`] [`CtcOptions`] |
//! | how losses of a batch become one number | [`Reduction`] |

mod binary;
mod class;
mod common;
mod ctc;
mod distance;
mod regression;

pub use binary::{binary_cross_entropy, binary_cross_entropy_with_logits, focal, hinge};
pub use class::{CrossEntropyOptions, accuracy, cross_entropy, cross_entropy_with, nll};
pub use common::Reduction;
pub use ctc::{CtcOptions, ctc};
pub use distance::{TripletOptions, cosine_embedding, hinge_embedding, margin_ranking, triplet_margin};
pub use regression::{KlDivOptions, huber, kl_div, kl_div_with, l1, mse, smooth_l1};
