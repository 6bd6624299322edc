//! Integration tests. One process tests one device: `WGRAD_TEST_DEVICE` is `cpu` (the default), `software`, `gpu`, or any
//! name that `Device::named` takes; suffixes: `+clamped` opens it with WebGPU's default limits, `+hardware` chooses the kernels
//! for hardware GPUs, `+short` those for DX12 without DXC, `+slow` splits long kernels as on a slow GPU. `WGRAD_TEST_PART=sample`
//! (or `half`, `quarter`, `eighth`) takes a fixed part of each long sweep.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail by a panic, and knows its numbers")]

mod adapters;
mod anomalies;
mod api;
mod bits;
mod callers;
mod columns;
mod common;
mod confined;
mod damage;
mod depth;
mod device_indices;
mod empty;
mod english;
mod environment;
mod errors;
mod estimates;
mod eval;
mod extremes;
mod extremes_algebra;
mod extremes_rows;
mod extremes_shape;
mod files;
mod fixtures;
mod fixtures_core;
mod fixtures_image;
mod fixtures_loss;
mod fixtures_rest;
mod fixtures_shape;
mod floors;
mod fuzz;
mod fxc;
mod gradients;
mod handles;
mod host_indices;
mod huge;
mod huge_parts;
mod kills;
mod layers_image;
mod limits;
mod logging;
mod magnitudes;
mod manifest;
mod memory;
mod messages;
mod mutations;
mod names;
mod no_grad;
#[path = "../../examples/numerics/table/mod.rs"]
mod numerics;
mod operators;
mod ops;
mod optim;
mod ordering;
mod own_gradients;
mod pages;
mod params;
mod pieces;
mod printing;
mod profile;
mod random;
mod readers;
mod refusals;
mod refusals_image;
mod refusals_index;
mod refusals_shape;
#[path = "../rows/optimizers.rs"]
mod rows;
mod samples;
mod saves;
mod shaders;
mod sizes;
mod sounds;
mod state;
mod state_numbers;
mod steady;
mod storage;
mod sweep;
mod table;
mod threads;
mod tiles;
mod tint;
mod training;
mod ulp;
mod wrong;
