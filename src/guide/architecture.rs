//! The architecture: what a tensor is, when work happens, when the caller waits, and what you can rely on.
//!
//! ```text
//! Tensor ops  ->  Graph  ->  key -> [plan cache] -> Plan  ->  GPU executor | CPU executor
//! (lazy          (canonical,                       (fused kernels,   (one compute pass
//!  handles)       no values)                        slots, levels)    per submission)
//! ```
//!
//! # What a tensor is
//! A [`Tensor`] is a handle to a node of a lazy graph: an op, its operands, a shape, a dtype, a device, and a value once it
//! has been computed. Calling an op builds a node, which takes well under a microsecond, and returns a tensor, not a
//! `Result`: a call with operands that do not fit returns a tensor that carries the error (the op, both shapes, the caller's
//! file and line), and every later op passes it on. It surfaces as a `Result` from whatever reads the tensor: [`Tensor::shape`],
//! [`Tensor::eval`], [`Tensor::to_vec`], [`Tensor::backward`], an optimizer's step, a module's `forward`.
//!
//! A [`Param`] is a mutable cell with a version. Reading it gives a tensor of the current version, and that tensor keeps its
//! value. Values that a step computes anyway are stored for the handles that need them; for other live handles that depend on the
//! old contents, a step first copies those contents, once per parameter. It computes nothing that nobody reads. Statistics that a
//! layer tracks are cells, too: they change together with the step that follows their forward pass, or not at all.
//!
//! Any thread may read, evaluate, save or step at any time. A read sees a parameter before a step or after it, and
//! [`Module::snapshot`](crate::nn::Module::snapshot) a whole module between two steps.
//!
//! # The house
//! The crate's modules are rooms on floors, and each imports only rooms below it; a test reads the imports and checks this, and
//! that no files import each other in a cycle. From the ground up:
//!
//! ```text
//! sync, math · dtype · dims · error · shape · host · rng     the ground
//! graph       tables of ops, views, canonical graphs; what backward keeps, what an optimizer's step means
//! plan        from a graph to kernels, slots and launches: data, whoever runs it
//! storage     memory on either device, its pool, and what a graph's sources are bound to in it
//! cpu | gpu   each runs plans, and neither knows the other
//! executor    one of the two, its compiled plans, the memory it keeps, and the arenas of optimizers
//! lazy        the types that know one another: tensor, node, cell, device
//! eval        from lazy nodes to a graph, and values back to nodes
//! device      listing and opening devices
//! tensor      the user's methods
//! param       parameters and statistics
//! autodiff    gradients, in rules written with tensors; io: files
//! nn · optim, data · train · guide
//! ```
//!
//! # When work happens
//! At [`Tensor::eval`], at a read, and at an optimizer's step. An evaluation
//! 1. gathers the uncomputed nodes under the wanted values and numbers them canonically. What changes from step to step is
//!    data, not structure: scalars, learning rates, the offsets of random numbers;
//! 2. looks the structure up in the device's plan cache, comparing it in full. A training loop compiles one plan for each shape
//!    it sees, so an ordinary imperative loop costs what a recorded one does;
//! 3. on a miss, compiles (`src/plan`): values that are cheap or read once are inlined into the kernels that read them,
//!    products and reductions take the elementwise work that follows them as epilogues, views (permute, expand, slice, pad,
//!    most reshapes) become index arithmetic, and values whose lifetimes do not overlap share slots of memory;
//! 4. runs the plan. On a GPU that is one compute pass in one submission, or a few where the estimated time exceeds 200 ms,
//!    because Windows ends a job after two seconds. In the steady state no buffer, bind group or pipeline is created;
//! 5. commits: values go to their nodes, and the cells' versions go up. A failure before that leaves every cell as it was.
//!
//! A computed node forgets its operands unless a gradient can still flow through it. Computing a tensor that requires
//! gradients also keeps what its gradient rules will read, so that looking at the loss before `backward` does not run the
//! forward pass twice.
//!
//! # Memory
//! The memory of a value returns to its device's pool when its last handle is dropped, and the next value of that size reuses it.
//! What is only cached (the pool, slots and scratch memory, plans and what belongs to them) stays within [`CacheLimits`], and the
//! least recently used goes first; the memory that plans work in shrinks with the plans. When memory runs out, everything that is
//! only cached is freed, and the work is tried again before it fails. [`Device::counters`] reports what is live and what is
//! cached, to the byte except for plans and pipelines, which are estimated.
//!
//! # When the caller waits
//! Only where a value must be on the host: [`Tensor::to_vec`], [`Tensor::item`], `Display`, [`Tensor::to_device`], saving.
//! [`Tensor::eval`] and optimizer steps return when the work is queued. [`Tensor::read_later`] has a value copied to the host
//! with the next submission; [`train::Meter`] averages losses that way. A wait ends with an error if the device is lost, or if
//! nothing that it was given comes to an end for too long ([`DeviceOptions::stall`]).
//!
//! # Gradients
//! [`Tensor::backward`] is a transform from graph to graph, made of the same ops: gradients are lazy tensors, fused and
//! cached like any others. Every rule uses the incoming gradient. [`grad`] gives gradients that can be differentiated again.
//!
//! # Optimizers
//! Parameters, gradients and state are stored in flat arenas, and one dispatch per arena updates all of them: a table of blocks
//! of 1,024 elements says which parameter each belongs to. Bias corrections, learning rates and decay are worked out on the host
//! in f64, a few numbers per parameter and step, rather than by a kernel of their own before the step. Only the device knows at
//! once whether a gated step is taken (a gradient may not be finite, or the loss scale may have overflowed); so the host supplies
//! the numbers for every count of skipped steps that is still possible, the kernel picks the right ones, and no step waits.
//!
//! # Devices
//! [`Device::best`] takes a hardware GPU, else the CPU device. A software adapter (lavapipe, SwiftShader, WARP) is for tests
//! and is used on request. f64 exists on the CPU device alone, where it runs node by node on the reference executor.
//!
//! # Randomness and determinism
//! All random numbers are Threefry-2x32-20 of a seed, an offset that a [`Generator`] counts, and an element's index: bits,
//! integers and uniforms are equal on every device, and a resumed run continues exactly. Reductions have a fixed order and
//! kernel choice is a function of shapes and limits, so a rerun on one device is bit-identical. Different devices agree to
//! rounding.
//!
//! The CPU device and the f64 reference give the same bits on every platform, with any number of threads: functions such as `sin`
//! come from the crate `libm`, never from the platform, and sums are added up in an order that depends on shapes alone. A test
//! compares hashes of what they compute with a table. What may differ: the sign and payload of NaN; single f32 results that
//! round to the smallest normal number, which x86 keeps and ARM flushes to 0; and matrix products and convolutions on a processor
//! that cannot multiply and add in one step (x86 before AVX2), where other roundings add up.
//!
//! # Deviations from PyTorch
//! Names, layouts and defaults are PyTorch's, except:
//!
//! | here | there |
//! |---|---|
//! | no dtype is promoted silently except F16, to F32 (see [`dtype`]); numbers take the tensor's dtype | promotion lattice |
//! | integer division by 0 gives 0 | an error |
//! | a gradient exists only for parameters and variables | also for `retain_grad` tensors |
//! | indices out of range are errors: of the call if they are from the host, through views and casts; of the next value that is read if a device computed them, which clamps them and works on | a device-side assertion |
//! | of several elements scattered to one place, the last one is taken | any one |
//! | an infinite CTC loss has gradient 0 | NaN |
//! | a Bool attention mask is true where a key may be seen | in `MultiheadAttention`, where it may not |
//! | backward may run any number of times | once, unless `retain_graph` |
//!
//! # Numerics
//! Every op is measured against f64 by `cargo run --release --example numerics -- --device NAME`; the tests hold it to these
//! budgets over all of f32. One ULP is the distance between neighbouring f32 numbers at the result. Subnormal operands and
//! results may count as 0; NaN and infinities come out as in f64.
//!
//! | ops | error at most |
//! |---|---|
//! | `neg abs sign floor ceil round trunc relu relu6 clamp hardtanh minimum maximum where`, comparisons | 0 |
//! | other elementwise ops and activations, `pow`, `atan2` and `rem` included | 4 ULP |
//! | `tan`; `mish` | 5 ULP; 6 ULP |
//! | `gelu gelu_tanh hardswish` | 4 ULP of the larger of x and the result: they multiply x by a difference from 1 |
//! | `hardsigmoid` | 4 ULP of 1 |
//! | `silu mish` | results below 1.1e-36 may be 0: the sigmoid is subnormal there |
//! | `rem` | results below 2e-31 may be 0: the remainder may be subnormal before the divisor is added |
//! | products, convolutions, reductions, norms, softmax, losses and their gradients | `Σ(y - e)² / Σe²` of 1e-7 |
//!
//! # Facts about adapters
//! WGSL leaves open what `exp`, `log` and `max` make of NaN, and on SwiftShader the softmax of a row with NaN would contain
//! numbers: shaders test for NaN by bits, before and after. No adapter met so far needs a probe for this at start-up. lavapipe
//! simplifies `x - x` to 0 and SwiftShader `x·(1/x)` to 1: expressions in which something cancels hide an operand's bits from the
//! compiler.
//!
//! lavapipe ends an invocation's loops after 65,535 iterations in total, silently: kernels bound their loops and reduce in
//! stages. Workgroup memory and barriers are also slow on it, so products and convolutions have a register-tile form
//! without them. wgpu tracks whole buffers: two ranges of one buffer cannot be read and written in one dispatch, which is why
//! each value has a buffer of its own and only optimizers use arenas.
//!
//! [`Tensor`]: crate::Tensor
//! [`Tensor::shape`]: crate::Tensor::shape
//! [`Tensor::eval`]: crate::Tensor::eval
//! [`Tensor::to_vec`]: crate::Tensor::to_vec
//! [`Tensor::backward`]: crate::Tensor::backward
//! [`Param`]: crate::Param
//! [`CacheLimits`]: crate::CacheLimits
//! [`Device::counters`]: crate::Device::counters
//! [`DeviceOptions::stall`]: crate::DeviceOptions::stall
//! [`Tensor::item`]: crate::Tensor::item
//! [`Tensor::to_device`]: crate::Tensor::to_device
//! [`Tensor::read_later`]: crate::Tensor::read_later
//! [`train::Meter`]: crate::train::Meter
//! [`grad`]: crate::grad
//! [`Device::best`]: crate::Device::best
//! [`Generator`]: crate::Generator
//! [`dtype`]: crate::dtype
