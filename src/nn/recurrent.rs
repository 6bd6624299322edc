//! Recurrent layers: Elman's, LSTM and GRU, in several layers and both directions, for sequences of equal or given lengths.
//!
//! The inputs of all steps are projected by one product. What remains is one op per layer and direction: on GPUs it takes a launch
//! per time step, and on the CPU device each thread runs some of the sequences through all steps.

use super::dropout::probability;
use super::fields::{Copier, Fields};
use super::init::{Init, need_few};
use super::mode::Mode;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::graph::recurrent::RecurrentCell;
use crate::lazy::anomaly;
use crate::param::Param;
use crate::rng::Generator;
use crate::shape::product;
use crate::tensor::Tensor;
use crate::tensor::recurrent::{Recurrence, States, unstack};
use std::panic::Location;

/// The hidden activation of an [`Rnn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RnnNonlinearity {
    /// Hyperbolic tangent.
    #[default]
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

/// Settings of an [`Rnn`], [`Lstm`] or [`Gru`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecurrentConfig {
    /// How many layers are stacked. Defaults to 1.
    pub num_layers: usize,
    /// Whether biases are added. Defaults to true.
    pub bias: bool,
    /// Inputs and outputs are `[n, t, ..]` rather than `[t, n, ..]`. Defaults to false.
    pub batch_first: bool,
    /// In training, drops each layer's outputs but the last one's with this probability. Defaults to 0.
    pub dropout: f64,
    /// Adds a second pass from the end, whose outputs follow those of the first. Defaults to false.
    pub bidirectional: bool,
    /// [`Rnn`] only: its activation. Defaults to tanh.
    pub nonlinearity: RnnNonlinearity,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self {
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            nonlinearity: RnnNonlinearity::Tanh,
        }
    }
}

impl RecurrentConfig {
    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// A parameter's name in a file; passes are counted layer by layer.
    fn name(&self, what: &str, pass: usize) -> String {
        let (layer, backward) = (pass / self.directions(), pass % self.directions() == 1);
        format!("{what}_l{layer}{}", if backward { "_reverse" } else { "" })
    }
}

/// What a recurrent layer starts from, and how long each sequence of the batch is.
#[derive(Debug, Clone, Default)]
pub struct SequenceOptions {
    /// The first hidden states `[layers · directions, n, h]`. Defaults to 0.
    pub hidden: Option<Tensor>,
    /// [`Lstm`] only: the first cell states, of the same shape. Defaults to 0.
    pub cell: Option<Tensor>,
    /// The length of each of the n sequences, from 1 to t, as in PyTorch's packed sequences: steps past a sequence's end change
    /// no state and give 0, and their inputs reach no gradient. Defaults to t for all.
    pub lengths: Option<Vec<usize>>,
}

/// What a recurrent layer returns.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// The last layer's hidden states, `[t, n, directions · h]`, or `[n, t, ..]` if batch comes first.
    pub output: Tensor,
    /// Hidden states after each sequence's last step, `[layers · directions, n, h]`; backward passes end at its first step.
    pub hidden: Tensor,
    /// [`Lstm`] only: the cell states, of the same shape.
    pub cell: Option<Tensor>,
}

impl Sequence {
    /// What the next part of the same sequences starts from: these states, through which no gradient flows back (truncated
    /// backpropagation through time).
    ///
    /// In training a step computes them along with the rest. Without gradients nothing does: call
    /// [`Tensor::eval_all`] with the output and the states, or each part computes all parts before it again.
    ///
    /// ```
    /// # use wgrad::nn::{Gru, Init, SequenceOptions};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let gru = Gru::new(1, 4, &Init::new(&device, 0))?;
    /// let x = Tensor::arange(0.0, 6.0, 1.0, &device)?.reshape([6, 1, 1]);
    /// let mut from = SequenceOptions::default();
    /// for part in x.chunk(2, 0)? {
    ///     let sequence = gru.run(&part, &from)?;
    ///     Tensor::eval_all(&[&sequence.output, &sequence.hidden])?;
    ///     from = sequence.carry();
    /// }
    /// let whole = gru.run(&x, &SequenceOptions::default())?.hidden;
    /// assert!(from.hidden.is_some_and(|h| h.mse(&whole).item().is_ok_and(|e| e < 1e-12)));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn carry(&self) -> SequenceOptions {
        SequenceOptions {
            hidden: Some(self.hidden.detach()),
            cell: self.cell.as_ref().map(Tensor::detach),
            ..SequenceOptions::default()
        }
    }
}

/// Which of the three layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rnn,
    Lstm,
    Gru,
}

impl Kind {
    /// Blocks of rows in the weights.
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// One layer in one direction.
#[derive(Debug)]
struct Pass {
    weight_ih: Param,
    weight_hh: Param,
    bias: Option<[Param; 2]>,
}

/// What the three layers share.
#[derive(Debug)]
struct Recurrent {
    name: &'static str,
    kind: Kind,
    inputs: usize,
    hidden: usize,
    config: RecurrentConfig,
    /// Layer by layer, forward before backward.
    passes: Vec<Pass>,
    mode: Mode,
    generator: Generator,
}

/// A named parameter, uniform in `±bound`.
#[track_caller]
fn uniform(name: String, dims: &[usize], bound: f64, init: &Init) -> Result<Param> {
    let param = Param::new(&init.uniform(dims, bound)?)?;
    param.set_name(name);
    Ok(param)
}

impl Recurrent {
    #[track_caller]
    fn new(name: &'static str, kind: Kind, sizes: [usize; 2], config: RecurrentConfig, init: &Init) -> Result<Self> {
        let [inputs, hidden] = sizes;
        if hidden == 0 || config.num_layers == 0 {
            let reason = format!("{hidden} hidden elements and {} layers were asked for", config.num_layers);
            return Err(Error::argument(name, reason, "use at least one of each"));
        }
        probability(name, config.dropout)?;
        let directions = config.directions();
        let bound = 1.0 / (hidden as f64).sqrt();
        need_few(name, "layers", product(&[config.num_layers, directions]))?;
        let rows = product(&[kind.gates(), hidden]);
        let mut passes = Vec::new();
        for i in 0..config.num_layers * directions {
            let width = if i < directions { inputs } else { product(&[directions, hidden]) };
            let weight_ih = uniform(config.name("weight_ih", i), &[rows, width], bound, init)?;
            let weight_hh = uniform(config.name("weight_hh", i), &[rows, hidden], bound, init)?;
            let mut bias = None;
            if config.bias {
                let bias_ih = uniform(config.name("bias_ih", i), &[rows], bound, init)?;
                bias = Some([bias_ih, uniform(config.name("bias_hh", i), &[rows], bound, init)?]);
            }
            passes.push(Pass { weight_ih, weight_hh, bias });
        }
        Ok(Self { name, kind, inputs, hidden, config, passes, mode: Mode::default(), generator: init.generator.clone() })
    }

    fn list(&self, fields: &mut Fields) {
        // Not the parameters' own names: those are for messages, and the caller may change them.
        for (i, pass) in self.passes.iter().enumerate() {
            let bias = pass.bias.iter().flatten();
            let kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
            for (what, param) in kinds.into_iter().zip([&pass.weight_ih, &pass.weight_hh].into_iter().chain(bias)) {
                fields.parameter(&self.config.name(what, i), param);
            }
        }
        fields.modes.push(self.mode.clone());
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        let mut passes = Vec::with_capacity(self.passes.len());
        for Pass { weight_ih, weight_hh, bias } in &self.passes {
            let (weight_ih, weight_hh) = (copier.copy(weight_ih)?, copier.copy(weight_hh)?);
            passes.push(Pass { weight_ih, weight_hh, bias: copier.copy(bias)? });
        }
        let (config, mode, generator) = (self.config, copier.copy(&self.mode)?, self.generator.clone());
        Ok(Self { name: self.name, kind: self.kind, inputs: self.inputs, hidden: self.hidden, config, passes, mode, generator })
    }

    fn directions(&self) -> usize {
        self.config.directions()
    }

    #[track_caller]
    fn refuse<T>(&self, reason: String, help: &str) -> Result<T> {
        Err(Error::argument(self.name, reason, help))
    }

    /// The first state of every pass.
    #[track_caller]
    fn initial(&self, given: Option<&Tensor>, what: &str, n: usize, x: &Tensor) -> Result<Vec<Tensor>> {
        let count = self.passes.len();
        let Some(given) = given else {
            let zero = Tensor::zeros([n, self.hidden], &x.device()?)?.cast(x.dtype()?);
            return Ok(vec![zero; count]);
        };
        let expected = [count, n, self.hidden];
        if given.shape()?.dims() != expected {
            let reason = format!("the first {what} states are {} and not {expected:?}", given.shape()?);
            return self.refuse(reason, "give [layers · directions, n, hidden]");
        }
        Ok(unstack(given, count))
    }

    /// `[t, n, 1]`: true where a sequence still runs.
    #[track_caller]
    fn running(&self, lengths: Option<&[usize]>, n: usize, t: usize, x: &Tensor) -> Result<Option<Tensor>> {
        let Some(lengths) = lengths else { return Ok(None) };
        if lengths.len() != n {
            let reason = format!("{} lengths were given for {n} sequences", lengths.len());
            return self.refuse(reason, "give one length per sequence");
        }
        if let Some((i, len)) = lengths.iter().enumerate().find(|&(_, len)| !(1..=t).contains(len)) {
            return self.refuse(format!("length {len} of sequence {i} is outside 1..={t}"), "give lengths from 1 to the input's");
        }
        let mask: Vec<bool> = (0..t).flat_map(|t| lengths.iter().map(move |&len| t < len)).collect();
        Ok(Some(Tensor::from_slice(&mask, [t, n, 1], &x.device()?)?))
    }

    #[track_caller]
    fn run(&self, x: &Tensor, options: &SequenceOptions) -> Result<Sequence> {
        let _call = anomaly::called(self.name, Location::caller());
        let shape = x.shape()?;
        let (layout, batch) = if self.config.batch_first { ("[n, t, inputs]", 0) } else { ("[t, n, inputs]", 1) };
        if shape.rank() == 2 {
            let reason = format!("the input {shape} has 2 axes, not 3");
            return self.refuse(reason, &format!("give {layout}: x.unsqueeze({batch}) is a batch of one sequence"));
        }
        if shape.rank() != 3 {
            return self
                .refuse(format!("the input {shape} has {}, not 3", counted(shape.rank(), "axis")), &format!("give {layout}"));
        }
        if shape[2] != self.inputs {
            let reason = format!("the input {shape} has {} in its last axis, and the layer takes {}", shape[2], self.inputs);
            return self.refuse(reason, &format!("give {layout}, or make the layer for this width"));
        }
        if shape[0] == 0 || shape[1] == 0 {
            return self.refuse(format!("the input {shape} is empty"), "give at least one step and one sequence");
        }
        if options.cell.is_some() && self.kind != Kind::Lstm {
            return self.refuse("cell states were given".into(), "give only hidden states; only LSTM has cells");
        }
        let x = if self.config.batch_first { x.transpose(0, 1) } else { x.clone() };
        let [t, n, _] = x.dims::<3>()?;
        need_few(self.name, "steps", t)?;
        let hidden = self.initial(options.hidden.as_ref(), "hidden", n, &x)?;
        let cell = match self.kind {
            Kind::Lstm => self.initial(options.cell.as_ref(), "cell", n, &x)?,
            _ => hidden.clone(),
        };
        let running = self.running(options.lengths.as_deref(), n, t, &x)?;
        // Weights' gradients multiply inputs by cotangents: 0 times NaN in the padding would be NaN.
        let x = running.as_ref().map_or(x.clone(), |running| running.where_(&x, &x.scalar_like(0.0)));
        let running = running.map(|running| running.squeeze(2));
        let (mut input, mut last) = (x, Vec::new());
        for (layer, passes) in self.passes.chunks(self.directions()).enumerate() {
            if layer > 0 && self.config.dropout > 0.0 && self.mode.is_training() {
                input = input.dropout(self.config.dropout, &self.generator);
            }
            let mut outputs = Vec::new();
            for (direction, pass) in passes.iter().enumerate() {
                let i = layer * self.directions() + direction;
                let states = self.pass(pass, &input, [&hidden[i], &cell[i]], direction == 1, running.as_ref())?;
                outputs.push(states.outputs);
                last.push((states.hidden, states.cell));
            }
            input = Tensor::cat(&outputs.iter().collect::<Vec<_>>(), -1);
        }
        let (last, cells): (Vec<Tensor>, Vec<Option<Tensor>>) = last.into_iter().unzip();
        let stacked = |of: &[Tensor]| Tensor::stack(&of.iter().collect::<Vec<_>>(), 0);
        let cells: Option<Vec<Tensor>> = cells.into_iter().collect();
        let output = if self.config.batch_first { input.transpose(0, 1) } else { input };
        output.check()?;
        Ok(Sequence { output, hidden: stacked(&last), cell: cells.as_deref().map(stacked) })
    }

    /// One layer in one direction over an input `[t, n, ..]`, from first states.
    #[track_caller]
    fn pass(&self, pass: &Pass, input: &Tensor, first: [&Tensor; 2], backward: bool, running: Option<&Tensor>) -> Result<States> {
        let [t, n, width] = input.dims::<3>()?;
        let rows = self.kind.gates() * self.hidden;
        let mut projected = input.reshape([t * n, width]).matmul(&pass.weight_ih.tensor().t());
        let mut bias = None;
        if let Some([ih, hh]) = &pass.bias {
            projected += ih.tensor();
            // GRU's reset gate reaches into the hidden part, so its bias stays there.
            if self.kind == Kind::Gru { bias = Some(hh.tensor()) } else { projected += hh.tensor() }
        }
        let cell = match (self.kind, self.config.nonlinearity) {
            (Kind::Rnn, RnnNonlinearity::Tanh) => RecurrentCell::Tanh,
            (Kind::Rnn, RnnNonlinearity::Relu) => RecurrentCell::Relu,
            (Kind::Lstm, _) => RecurrentCell::Lstm,
            (Kind::Gru, _) => RecurrentCell::Gru,
        };
        let recurrence = Recurrence {
            cell,
            backward,
            input: projected.reshape([t, n, rows]),
            weight: pass.weight_hh.tensor(),
            first: first[0].clone(),
            first_cell: (self.kind == Kind::Lstm).then(|| first[1].clone()),
            bias,
            running: running.cloned(),
        };
        recurrence.run()
    }
}

/// A layer of one pass, of which a step is run at a time.
#[derive(Debug)]
pub(super) struct Steps(Recurrent);

impl Steps {
    #[track_caller]
    pub fn new(name: &'static str, kind: Kind, sizes: [usize; 2], config: RecurrentConfig, init: &Init) -> Result<Self> {
        let steps = Self(Recurrent::new(name, kind, sizes, config, init)?);
        steps.named().for_each(|(name, param)| param.set_name(name));
        Ok(steps)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &Param)> {
        let pass = self.0.passes.iter().take(1);
        let all = pass.flat_map(|pass| [&pass.weight_ih, &pass.weight_hh].into_iter().chain(pass.bias.iter().flatten()));
        ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].into_iter().zip(all)
    }

    pub fn list(&self, fields: &mut Fields) {
        self.named().for_each(|(name, param)| fields.parameter(name, param));
    }

    #[track_caller]
    pub fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Ok(Self(self.0.copied(copier)?))
    }

    /// A step over `[n, inputs]` from a hidden state and a cell state, `[n, h]`, which default to 0.
    #[track_caller]
    pub fn step(&self, x: &Tensor, states: [Option<&Tensor>; 2]) -> Result<States> {
        let (layer, shape) = (&self.0, x.shape()?);
        if shape.rank() != 2 {
            let reason = format!("the input {shape} has {}, not 2", counted(shape.rank(), "axis"));
            return layer.refuse(reason, "give [n, inputs]");
        }
        if shape[0] == 0 {
            return layer.refuse(format!("the input {shape} is empty"), "give at least one sequence");
        }
        if shape[1] != layer.inputs {
            let reason = format!("the input {shape} has {} in its last axis, and the layer takes {}", shape[1], layer.inputs);
            return layer.refuse(reason, "give [n, inputs], or make the layer for this width");
        }
        let expected = [shape[0], layer.hidden];
        let mut first = Vec::with_capacity(2);
        for (given, what) in states.into_iter().zip(["hidden", "cell"]) {
            first.push(match given {
                None => Tensor::zeros(expected, &x.device()?)?.cast(x.dtype()?),
                Some(state) if state.shape()?.dims() == expected => state.clone(),
                Some(state) => {
                    let reason = format!("the {what} state is {} and not {expected:?}", state.shape()?);
                    return layer.refuse(reason, "give [n, hidden]");
                }
            });
        }
        let next = layer.pass(&layer.passes[0], &x.unsqueeze(0), [&first[0], &first[1]], false, None)?;
        next.hidden.check()?;
        Ok(next)
    }
}

macro_rules! recurrent {
    ($($(#[$doc:meta])* $name:ident, $kind:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Weights, uniform in ±`1/√h`, are `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then `_reverse` and
        /// the other layers, in PyTorch's layout `[gates · h, inputs]`. [`Module::forward`] gives only the output.
        #[derive(Debug)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name(Recurrent);

        impl $name {
            /// One layer from `inputs` to `hidden` elements with PyTorch's settings.
            ///
            /// # Errors
            /// No hidden elements; the device is out of memory.
            #[track_caller]
            pub fn new(inputs: usize, hidden: usize, init: &Init) -> Result<Self> {
                Self::with(inputs, hidden, RecurrentConfig::default(), init)
            }

            /// A layer with its own settings.
            ///
            /// # Errors
            /// No hidden elements or layers; a dropout outside `0..=1`; the device is out of memory.
            #[track_caller]
            pub fn with(inputs: usize, hidden: usize, config: RecurrentConfig, init: &Init) -> Result<Self> {
                Ok(Self(Recurrent::new(stringify!($name), $kind, [inputs, hidden], config, init)?))
            }

            /// Runs over `[t, n, inputs]`, or `[n, t, inputs]` if batch comes first.
            ///
            /// # Errors
            /// An input, a state or lengths that do not fit.
            #[track_caller]
            pub fn run(&self, x: &Tensor, options: &SequenceOptions) -> Result<Sequence> {
                self.0.run(x, options)
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), self.run(x, &SequenceOptions::default())?.output)
            }

            fn fields(&self, fields: &mut Fields) {
                self.0.list(fields);
            }

            fn copied(&self, copier: &mut Copier) -> Result<Self> {
                Ok(Self(self.0.copied(copier)?))
            }

            fn boxed_copy(&self, copier: &mut Copier) -> Result<Box<dyn Module>> {
                Ok(Box::new(Module::copied(self, copier)?))
            }
        }
    )*};
}

recurrent! {
    /// Elman's network: `h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh)`.
    Rnn, Kind::Rnn;
    /// Long short-term memory: `c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`.
    ///
    /// Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Lstm, SequenceOptions};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let lstm = Lstm::new(3, 4, &Init::new(&device, 0))?;
    /// let options = SequenceOptions { lengths: Some(vec![5, 2]), ..SequenceOptions::default() };
    /// let y = lstm.run(&Tensor::ones([5, 2, 3], &device)?, &options)?;
    /// assert_eq!((y.output.shape()?.to_vec(), y.hidden.shape()?.to_vec()), (vec![5, 2, 4], vec![1, 2, 4]));
    /// # Ok(()) }
    /// ```
    Lstm, Kind::Lstm;
    /// Gated recurrent unit: `n = tanh(W_in·x + b_in + r·(W_hn·h + b_hn))`, `h' = (1 - z)·n + z·h`.
    ///
    /// Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, in PyTorch's form.
    Gru, Kind::Gru;
}
