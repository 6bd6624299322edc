//! Modules, optimizers, data and training parts through the public interface.

mod atomic;
mod augment;
mod augmentations;
mod by_name;
mod cells;
mod copies;
mod formula;
mod half;
mod layers;
mod layers_more;
mod loading;
mod mistakes;
pub mod models;
mod modules;
mod norms;
mod optimizers;
mod optimizers_more;
mod padding;
mod regularize;
mod resume;
mod steady;
mod traces;
mod transfer;
