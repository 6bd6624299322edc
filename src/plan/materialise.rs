//! Which values get a buffer: a greedy, deterministic pass over the graph.
//!
//! A value is materialised when a kernel needs it as a buffer, when it is expensive and several kernels would repeat it, or when
//! fusing it would exceed a limit; everything else is inlined into the expression of the kernel that reads it.

use crate::graph::{Graph, NodeId, Op};

/// What a device wants from its plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// Inline elementwise values into their readers.
    pub fuse: bool,
    /// Optimizer steps read gradients from an arena, rather than from buffers of their own.
    pub gradient_arena: bool,
    /// What a kernel may compute again, in units of one arithmetic operation, rather than read it from memory.
    pub repeat: u32,
    /// Products write the sums of their operands' lines besides, where a bias's gradient asks for them.
    pub sums_in_products: bool,
    /// Convolutions that share weights read them packed, and those of several are packed in one launch.
    pub packs: bool,
    /// Convolutions compute the moments of what they write, where batch normalisation asks for them.
    pub moments_in_convolutions: bool,
    /// The most buffers that a kernel reads besides the one it writes.
    pub max_operands: usize,
    /// The most bytes of one value.
    pub max_bytes: u64,
}

impl Options {
    /// What a GPU of any kind takes.
    pub const fn of_gpu(max_bytes: u64) -> Self {
        Self {
            fuse: true,
            gradient_arena: true,
            repeat: REPEAT,
            sums_in_products: false,
            packs: false,
            moments_in_convolutions: false,
            max_operands: MAX_OPERANDS,
            max_bytes,
        }
    }

    /// With what a hardware GPU gains by.
    pub const fn on_hardware(self) -> Self {
        Self { repeat: REPEAT_ON_HARDWARE, sums_in_products: true, packs: true, moments_in_convolutions: true, ..self }
    }
}

/// The most buffers that one fused kernel reads: with its output and its table of numbers it stays within WebGPU's default
/// limit on storage buffers.
const MAX_OPERANDS: usize = 7;
/// What a device may repeat where arithmetic costs as much as memory: the host's cores.
const REPEAT: u32 = 2;
/// The same of a hardware GPU, which computes some 20 multiply-adds in the time that an element takes to be written and read.
const REPEAT_ON_HARDWARE: u32 = 32;
/// Values of fewer elements than this are read again at no cost.
const LARGE: usize = 4096;
/// The most nodes that are fused into one expression.
const MAX_FUSED: usize = 48;
/// The most nodes that are copied into one expression, once per view.
const MAX_COPIED: usize = 8;

/// Per node, the one that it looks at through a chain of movements: itself if it is not a movement.
fn bases(graph: &Graph) -> Vec<NodeId> {
    let mut bases: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        bases.push(if node.op.is_movement() { bases[node.inputs[0]] } else { id });
    }
    bases
}

/// Whether a node computes with a kernel of its own (is neither elementwise, nor a view, nor a source, nor an effect).
pub(super) fn is_heavy(op: &Op) -> bool {
    !(op.is_elementwise() || op.is_movement() || op.is_source() || op.is_effect())
}

/// Which nodes get a buffer, before any lowering.
pub(super) fn decide(graph: &Graph, options: Options) -> Vec<bool> {
    let bases = bases(graph);
    let mut materialised = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        materialised[id] = is_heavy(&node.op) || (!options.fuse && node.op.is_elementwise());
        // Operands that kernels address themselves; reductions and elementwise kernels take expressions instead.
        let addressed: &[NodeId] = match node.op {
            Op::Reduce { .. } | Op::ArgReduce { .. } | Op::Pair { .. } => &[],
            _ if is_heavy(&node.op) => &node.inputs,
            Op::OptimStep { .. } => &node.inputs[1..],
            Op::Recomputed => &node.inputs[..1],
            _ => &[],
        };
        for &input in addressed {
            let b = bases[input];
            if graph.nodes[b].op.is_elementwise() {
                materialised[b] = true;
            }
        }
    }
    for &o in &graph.outputs {
        // Of a reshape, which shows the whole value in order, the output is the value's buffer.
        let mut shown = o;
        while graph.nodes[shown].op == Op::Reshape {
            shown = graph.nodes[shown].inputs[0];
        }
        if graph.nodes[shown].op.is_elementwise() {
            materialised[shown] = true;
        }
    }
    if options.fuse {
        let kernels = share(graph, &bases, &mut materialised, options.repeat);
        reread(graph, &bases, &kernels, &mut materialised);
        limit(graph, &bases, &mut materialised, options.max_operands);
    }
    materialised
}

/// Materialises values that several kernels would otherwise compute again at some cost. Returns, for each node, up to three of the
/// kernels (named by the node they materialise) that its value is inlined into.
fn share(graph: &Graph, bases: &[NodeId], materialised: &mut [bool], repeat: u32) -> Vec<Vec<NodeId>> {
    let repeated = repeated(graph, bases, materialised, repeat);
    let mut kernels: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    for id in (0..graph.nodes.len()).rev() {
        let node = &graph.nodes[id];
        let view_of_output = node.op.is_movement() && graph.is_output(id);
        if node.op.is_elementwise() && !materialised[id] && kernels[id].len() > 1 && cost(graph, id) > REPEAT && !repeated[id] {
            materialised[id] = true;
        }
        let own = materialised[id] || view_of_output || node.op.is_effect();
        let reached = if own { vec![id] } else { kernels[id].clone() };
        for &input in &node.inputs {
            for &k in &reached {
                if kernels[input].len() < 3 && !kernels[input].contains(&k) {
                    kernels[input].push(k);
                }
            }
        }
    }
    kernels
}

/// The values that may be computed again although they cost something: all of their arithmetic is within the limit, and they read no
/// more memory of their size than they would take.
fn repeated(graph: &Graph, bases: &[NodeId], materialised: &[bool], repeat: u32) -> Vec<bool> {
    let mut repeated = vec![false; graph.nodes.len()];
    if repeat <= REPEAT {
        return repeated;
    }
    let len = |id: NodeId| graph.nodes[id].shape.numel();
    // What a value costs with all that it is made of, and the buffer of its size that it reads; a second one is too many.
    let mut chains: Vec<(u32, Option<NodeId>)> = vec![(0, None); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Data | Op::Cell) || is_heavy(&node.op) || materialised[bases[id]] {
            chains[id].1 = Some(bases[id]);
            continue;
        }
        let own = match &node.op {
            Op::Unary(op) => op.cost(),
            Op::Random(_) | Op::Standardize { .. } | Op::StandardizeGrad { .. } => repeat,
            op if op.is_elementwise() => 1,
            _ => 0,
        };
        let (mut all, mut read) = (own, None);
        for &input in &node.inputs {
            let (more, buffer) = chains[input];
            all = all.saturating_add(more);
            if let Some(buffer) = buffer.filter(|&b| len(b) >= len(id)) {
                all = if read.is_some_and(|other| other != buffer) { u32::MAX } else { all };
                read = Some(buffer);
            }
        }
        chains[id] = (all, read);
        repeated[id] = all <= repeat;
    }
    repeated
}

/// Materialises values for which several kernels would otherwise read more than is written and read with a buffer: gradients that
/// are masked and added up along the shortcuts of a network.
fn reread(graph: &Graph, bases: &[NodeId], kernels: &[Vec<NodeId>], materialised: &mut [bool]) {
    let len = |id: NodeId| graph.nodes[id].shape.numel();
    // Per node without a buffer, the buffers of at least its size that it reads.
    let mut reads: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Data | Op::Cell) || is_heavy(&node.op) || materialised[bases[id]] {
            reads[id] = vec![bases[id]];
            continue;
        }
        let mut all: Vec<NodeId> = node.inputs.iter().flat_map(|&i| &reads[i]).copied().filter(|&b| len(b) >= len(id)).collect();
        all.sort_unstable();
        all.dedup();
        // More are not told apart from these.
        all.truncate(8);
        let (n, k) = (kernels[id].len(), all.len());
        reads[id] = all;
        if node.op.is_elementwise() && len(id) >= LARGE && n * k > n + k + 1 {
            materialised[id] = true;
            reads[id] = vec![id];
        }
    }
}

/// What repeating a node costs, in units of one arithmetic operation; sources and views are free.
fn cost(graph: &Graph, id: NodeId) -> u32 {
    let node = &graph.nodes[id];
    let own = match &node.op {
        Op::Unary(op) => op.cost(),
        Op::Binary(_) | Op::Where | Op::Cast => 1,
        // Memory that is read for it again is cheaper than memory of its own.
        Op::Standardize { .. } | Op::StandardizeGrad { .. } => return 1,
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice { .. } | Op::Pad { .. } | Op::Recomputed => 0,
        // Sources cost nothing, and what has a kernel of its own is not repeated.
        Op::Data
        | Op::Scalar
        | Op::Cell
        | Op::Iota
        | Op::Random(_)
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Pair { .. }
        | Op::MatMul
        | Op::Conv2d(_)
        | Op::Conv2dInputGrad(_)
        | Op::Conv2dWeightGrad(_)
        | Op::Attention(_)
        | Op::Recurrent(_)
        | Op::Pool(..)
        | Op::Row(_)
        | Op::Assign
        | Op::OptimStep { .. }
        | Op::OptimStore => return 0,
    };
    // Two levels are enough to tell cheap from expensive.
    own + node.inputs.iter().map(|&i| if graph.nodes[i].op.is_elementwise() { 1 } else { 0 }).sum::<u32>()
}

/// Keeps to the limits where views have got buffers of their own: expressions then read several copies in the place of one buffer.
pub(super) fn limit_again(graph: &Graph, materialised: &mut [bool], options: Options) {
    if options.fuse {
        limit(graph, &bases(graph), materialised, options.max_operands);
    }
}

/// Keeps expressions below the limits on terms and on distinct buffers.
fn limit(graph: &Graph, bases: &[NodeId], materialised: &mut [bool], max_operands: usize) {
    // What each unmaterialised node pulls in: fused nodes, and buffers. Sorted, unique.
    let uses = graph.uses();
    let mut moved = vec![false; graph.nodes.len()];
    for node in graph.nodes.iter().filter(|n| n.op.is_movement()) {
        moved[node.inputs[0]] = true;
    }
    let mut fused: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    let mut buffers: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    // Per elementwise node without a buffer, the views of it so far.
    let mut views: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes.len()];
    for id in 0..graph.nodes.len() {
        let node = &graph.nodes[id];
        if matches!(node.op, Op::Data | Op::Cell) {
            buffers[id] = vec![id];
            continue;
        }
        if !(node.op.is_elementwise() || node.op.is_movement()) {
            // A reduction's prologue is bound by the same limits as any other expression.
            if is_heavy(&node.op) {
                buffers[id] = vec![id];
            }
            // Both values of a pair are one expression.
            let is_pair = matches!(node.op, Op::Pair { .. });
            if is_pair && pulled_in(id, &node.inputs, &fused, &buffers).1.len() > max_operands {
                for cut in node.inputs.iter().map(|&i| bases[i]).filter(|&i| graph.nodes[i].op.is_elementwise()) {
                    materialised[cut] = true;
                    (fused[cut], buffers[cut]) = (Vec::new(), vec![cut]);
                    for view in std::mem::take(&mut views[cut]) {
                        (fused[view], buffers[view]) = (vec![view], vec![cut]);
                    }
                }
            }
            continue;
        }
        let base = bases[id];
        if node.op.is_movement() && (materialised[base] || !graph.nodes[base].op.is_elementwise()) {
            // However many movements there are, they are one view.
            let own = materialised[id];
            (fused[id], buffers[id]) = if own { (vec![], vec![id]) } else { (vec![id], buffers[node.inputs[0]].clone()) };
            continue;
        }
        let inputs = if node.op.is_movement() { &node.inputs[..1] } else { &node.inputs[..] };
        loop {
            (fused[id], buffers[id]) = pulled_in(id, inputs, &fused, &buffers);
            if fused[id].len() <= MAX_FUSED && buffers[id].len() <= max_operands {
                break;
            }
            // Cut where most is pulled in.
            let can_be_cut = |&i: &NodeId| !materialised[i] && graph.nodes[i].op.is_elementwise();
            let candidates = inputs.iter().map(|&i| bases[i]).filter(can_be_cut);
            let Some(cut) = candidates.max_by_key(|&i| (buffers[i].len(), fused[i].len(), i)) else { break };
            materialised[cut] = true;
            (fused[cut], buffers[cut]) = (Vec::new(), vec![cut]);
            for view in std::mem::take(&mut views[cut]) {
                (fused[view], buffers[view]) = (vec![view], vec![cut]);
            }
        }
        if node.op.is_movement() {
            views[base].push(id);
        }
        // Each view of a fused value is a copy of its expression: through several views copies multiply.
        let several_views = uses[id] > 1 && moved[id];
        if several_views && node.op.is_elementwise() && fused[id].len() > MAX_COPIED {
            materialised[id] = true;
        }
        if materialised[id] {
            fused[id] = Vec::new();
            buffers[id] = vec![id];
        }
    }
}

/// What a node and its operands pull in: fused nodes, and buffers.
fn pulled_in(id: NodeId, inputs: &[NodeId], fused: &[Vec<NodeId>], buffers: &[Vec<NodeId>]) -> (Vec<NodeId>, Vec<NodeId>) {
    let unique = |mut ids: Vec<NodeId>| {
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let nodes = std::iter::once(id).chain(inputs.iter().flat_map(|&i| fused[i].iter().copied())).collect();
    let reads = inputs.iter().flat_map(|&i| buffers[i].iter().copied()).collect();
    (unique(nodes), unique(reads))
}
