//! Attention of odd sizes, with all masks, and what the reference makes of it: for the tests of each device's kernels.

use crate::cpu::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, Value};
use crate::cpu::tests::floats;
use crate::dtype::{DType, HostData};
use crate::graph::attention::{AttentionMask, AttentionOp, AttentionPart, AttentionSizes};
use crate::graph::{Graph, GraphNode, Op, View};
use crate::plan::{Attention, Kernel};
use crate::shape::Shape;

/// A kernel, what it reads, and its result in f64.
pub(crate) struct Example {
    pub name: String,
    pub kernel: Kernel,
    pub reads: Vec<(DType, HostData)>,
    pub want: Vec<f64>,
}

/// Sizes, whether it is causal, the mask.
type Row = ([usize; 7], bool, AttentionMask);

const ROWS: [Row; 11] = [
    ([1, 1, 1, 1, 1, 4, 4], false, AttentionMask::None),
    ([1, 2, 2, 3, 5, 3, 2], false, AttentionMask::None),
    ([2, 4, 2, 65, 63, 16, 16], true, AttentionMask::None),
    ([1, 2, 1, 63, 130, 24, 32], false, AttentionMask::Bool),
    ([1, 2, 2, 70, 70, 64, 64], true, AttentionMask::Added),
    ([1, 3, 1, 5, 257, 80, 128], false, AttentionMask::None),
    ([1, 1, 1, 130, 64, 128, 80], true, AttentionMask::Bool),
    ([1, 2, 2, 257, 33, 32, 64], true, AttentionMask::None),
    ([1, 1, 1, 64, 64, 64, 64], false, AttentionMask::None),
    ([2, 2, 2, 9, 600, 5, 7], false, AttentionMask::Added),
    ([1, 4, 1, 31, 40, 12, 20], true, AttentionMask::Added),
];

/// All of them: the attention, the attention with NaN in a query, and the gradient.
pub(crate) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    for ([batch, heads, key_heads, queries, keys, width, value_width], causal, mask) in ROWS {
        let n = AttentionSizes { batch, heads, key_heads, queries, keys, width, value_width };
        let op = AttentionOp { part: AttentionPart::Forward, causal, mask, scale: (1.0 / (width as f64).sqrt()).to_bits() };
        let shapes = [
            [batch, heads, queries, width],
            [batch, key_heads, keys, width],
            [batch, key_heads, keys, value_width],
            [batch, heads, queries, value_width],
            [batch, heads, queries, keys],
        ];
        let [q, k, v, dy] = [0, 1, 2, 3].map(|i| (DType::F32, floats(shapes[i].iter().product(), i as u32)));
        let masked: Option<(DType, HostData)> = hidden(&shapes[4], mask);
        let forward = example(
            op,
            n,
            &shapes,
            [&[q.clone(), k.clone(), v.clone()], &masked.clone().into_iter().collect::<Vec<_>>()[..]].concat(),
        );
        let flat = HostData::F32(forward.want.iter().map(|&x| x as f32).collect());
        let mut undefined = q.clone();
        if let HostData::F32(values) = &mut undefined.1 {
            values[0] = f32::NAN;
        }
        let mut reads = vec![undefined, k.clone(), v.clone()];
        reads.extend(masked.clone());
        let mut with_nan = example(op, n, &shapes, reads);
        with_nan.name.push_str(", NaN");
        let mut reads = vec![q, k, v, (DType::F32, flat), dy];
        reads.extend(masked);
        let gradient = example(AttentionOp { part: AttentionPart::Gradient, ..op }, n, &shapes, reads);
        all.extend([forward, with_nan, gradient]);
    }
    all
}

/// A mask with holes; the second query of each head sees nothing.
fn hidden(shape: &[usize; 4], mask: AttentionMask) -> Option<(DType, HostData)> {
    let keys = shape[3];
    let open = |i: usize| (shape[2] == 1 || i / keys % shape[2] != 1) && !(i * 7).is_multiple_of(5);
    let all = 0..shape.iter().product::<usize>();
    match mask {
        AttentionMask::None => None,
        AttentionMask::Bool => Some((DType::Bool, HostData::U32(all.map(|i| u32::from(open(i))).collect()))),
        AttentionMask::Added => {
            let value = |i: usize| if open(i) { (i % 11) as f32 / 4.0 } else { f32::NEG_INFINITY };
            Some((DType::F32, HostData::F32(all.map(value).collect())))
        }
    }
}

fn example(op: AttentionOp, sizes: AttentionSizes, shapes: &[[usize; 4]; 5], reads: Vec<(DType, HostData)>) -> Example {
    let mut dims: Vec<Shape> = shapes[..3].iter().map(|s| Shape::of(s)).collect();
    if op.part == AttentionPart::Gradient {
        dims.extend([Shape::of(&[sizes.elements(AttentionPart::Forward)]), Shape::of(&shapes[3])]);
    }
    if op.mask_operand().is_some() {
        dims.push(Shape::of(&shapes[4]));
    }
    let want = wanted(Op::Attention(op), &dims, &reads, sizes.elements(op.part));
    let operands = dims.iter().map(|&shape| View::contiguous(shape)).collect();
    let kernel = Kernel::Attention(Attention { op, sizes, operands });
    Example { name: format!("{op:?} of {sizes:?}"), kernel, reads, want }
}

/// What the reference makes of an op with a flat result.
pub(crate) fn wanted(op: Op, dims: &[Shape], reads: &[(DType, HostData)], elements: usize) -> Vec<f64> {
    let mut nodes: Vec<GraphNode> = Vec::new();
    for (shape, (dtype, _)) in dims.iter().zip(reads) {
        nodes.push(GraphNode { op: Op::Data, inputs: vec![], shape: *shape, dtype: *dtype });
    }
    let inputs = (0..nodes.len()).collect();
    nodes.push(GraphNode { op, inputs, shape: Shape::of(&[elements]), dtype: DType::F32 });
    let graph = Graph { outputs: vec![nodes.len() - 1], nodes, ..Graph::default() };
    let leaves =
        dims.iter().zip(reads).map(|(shape, (dtype, data))| ReferenceLeaf::Value(Value::from_host(data, *dtype, *shape)));
    let mut inputs = ReferenceInputs { leaves: leaves.collect(), ..ReferenceInputs::default() };
    reference::run(&graph, &mut inputs, Precision::F64).expect("the graph is valid")[0].to_host().to_f64()
}
