//! Tensors: lazy handles, and the methods that build graphs of them. One file per family of methods.

mod activation;
mod algebra;
mod arrange;
mod attention;
mod attention_fused;
mod band;
mod contract;
mod conv_nd;
mod create;
mod display;
mod einsum;
mod elementwise;
mod fault;
mod geometry;
mod image;
mod index;
mod index_rows;
mod join;
mod movement;
mod norm;
mod operators;
mod options;
pub(crate) mod origin;
mod pending;
mod pool_adaptive;
mod pool_nd;
mod random;
mod range;
pub(crate) mod recurrent;
mod reduce;
mod rows;
mod scan;
mod slice;
mod sort;
mod statistics;
mod subject;
mod window;

/// An n-dimensional array of numbers on a device; its methods are the ops.
///
/// # Methods by subject
///
/// | subject | methods |
/// |---|---|
#[doc = subject!(
    "creation":
    from_slice from_host scalar full full_of zeros ones zeros_like ones_like full_like arange iota eye
)]
#[doc = subject!("random numbers": rand randn rand_like randn_like uniform normal randint bernoulli permutation random_bits categorical dropout)]
#[doc = subject!("shape, dtype, device": shape dim dims dtype device cast to_device)]
#[doc = subject!("computing, reading": eval eval_all check item to_vec to_host read_later explain)]
#[doc = subject!("gradients": variable requires_grad detach backward backward_with with_gradient)]
#[doc = elementwise::subjects!()]
#[doc = subject!(
    "sums and products over axes":
    sum sum_dim sum_keepdim mean mean_dim mean_keepdim prod prod_dim prod_keepdim logsumexp logsumexp_dim logsumexp_keepdim
    cumsum cumprod
)]
#[doc = subject!(
    "extremes and order":
    max max_dim max_keepdim min min_dim min_keepdim argmax argmax_dim argmax_keepdim argmin argmin_dim argmin_keepdim sort
    argsort topk
)]
#[doc = subject!(
    "statistics and norms over axes":
    var var_dim var_keepdim var_with std std_dim std_keepdim std_with norm norm_dim norm_keepdim normalize standardize
    cosine_similarity
)]
#[doc = subject!(
    "any, all and counts over axes":
    any any_dim any_keepdim all all_dim all_keepdim count_nonzero count_nonzero_dim count_nonzero_keepdim
)]
#[doc = subject!("shapes and axes": reshape flatten unflatten squeeze unsqueeze permute transpose t expand)]
#[doc = subject!("joining, splitting, repeating": cat stack split chunk repeat roll flip pad pad_with pad_same tril triu diag)]
#[doc = subject!(
    "slices and indices":
    select narrow slice slice_step index_select index_add gather scatter scatter_add masked_select masked_fill nonzero one_hot
    embedding
)]
#[doc = subject!("products": matmul bmm dot outer linear einsum)]
#[doc = subject!("attention": scaled_dot_product_attention)]
#[doc = rows::subjects!()]
#[doc = subject!(
    "activations":
    relu sigmoid softplus gelu gelu_tanh silu mish elu selu relu6 leaky_relu hardtanh hardsigmoid hardswish softplus_with
    softsign log_sigmoid
)]
#[doc = subject!("convolution": conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d unfold fold)]
#[doc = subject!(
    "pooling":
    max_pool1d max_pool2d max_pool3d max_pool1d_with max_pool2d_with max_pool3d_with avg_pool1d avg_pool2d avg_pool3d
    avg_pool1d_with avg_pool2d_with avg_pool3d_with adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d global_avg_pool global_max_pool
)]
#[doc = subject!("images": interpolate grid_sample affine_grid)]
#[doc = subject!("normalisation": layer_norm rms_norm group_norm instance_norm batch_norm batch_norm_with)]
#[doc = subject!("losses ([`nn::loss`](crate::nn::loss) has the others)": cross_entropy mse)]
///
/// Operators: `+ - * / %` and unary `-`, `+= -= *= /= %=`, with tensors and numbers on either side ([`Operand`] lists the methods
/// that take numbers, too); `sum` and `product` of iterators of tensors.
///
/// # What a tensor is
pub use crate::lazy::Tensor;
pub use arrange::PadMode;
pub use attention::AttentionOptions;
pub use image::{GridOptions, Interpolation};
pub use operators::Operand;
pub(crate) use operators::{RightSide, sealed};
pub use options::{ConvOptions, ConvTransposeOptions, FoldOptions, PoolOptions};
pub use pending::PendingValue;
pub use reduce::VarOptions;

use crate::device::Device;
use crate::dtype::{DType, Element, HostData};
use crate::error::{Error, OpErrorKind, Result, counted};
use crate::graph::Op;
use crate::graph::layer::Layer;
use crate::graph::row::RowOp;
use crate::lazy::{Inputs, Node, Origin, Payload, anomaly, grad_enabled, no_grad};
use crate::shape::Shape;
pub(crate) use attention::{mask_help, reaching, zeroed};
use fault::CAST_U8;
pub(crate) use fault::{At, Fault, need_axis, need_few, need_float, need_number, need_possible};
pub(crate) use range::{Range, as_index, need_index};
use std::panic::Location;
use std::sync::Arc;
use subject::subject;

/// # Properties, computing, reading
impl Tensor {
    // ---- inside the crate ----

    /// A new node over these operands. The first operand that carries an error passes it on.
    #[track_caller]
    pub(crate) fn build(op: Op, inputs: &[&Self], shape: Shape, dtype: DType) -> Self {
        if let Some(error) = inputs.iter().find_map(|input| input.outcome().as_ref().err()) {
            return Self::from_error(error.clone());
        }
        let given: Inputs = inputs.iter().filter_map(|input| Some(input.outcome().as_ref().ok()?.node.clone())).collect();
        let Some(first) = given.first() else {
            return Self::from_error(Error::internal(format!("{} was built without operands", op.name())));
        };
        if !shape.is_possible() {
            return Self::refuse(op.name(), inputs, Location::caller(), Fault::too_large(&shape));
        }
        let device = first.device.clone();
        let _call = anomaly::called(op.name(), Location::caller());
        // The one place where storage types meet arithmetic: F16 is widened, U8 refused.
        let selects = op == Op::Where && given.get(1).map(|n| n.dtype) == given.get(2).map(|n| n.dtype);
        let stores = selects || op.is_movement() || matches!(op, Op::Cast | Op::Row(RowOp::Gather) | Op::Assign);
        let dtype = if stores { dtype } else { dtype.arithmetic() };
        let is_plain = stores || given.iter().all(|n| !matches!(n.dtype, DType::U8 | DType::F16));
        let nodes = if is_plain { Ok(given) } else { given.iter().map(|node| Self::widened(&op, node)).collect() };
        let nodes = match nodes {
            Ok(nodes) => nodes,
            Err(error) => return Self::from_error(error),
        };
        let differentiable = dtype.is_float() && !matches!(op, Op::ArgReduce { .. });
        let requires_grad = differentiable && grad_enabled() && nodes.iter().any(|n| n.requires_grad);
        let origin = Origin::of(&op, &nodes, shape, dtype);
        let node = Node::new(op, nodes, shape, dtype, &device, Payload::None, requires_grad);
        if !matches!(origin, Origin::Device) {
            node.state().origin = origin;
        }
        Self::from_node(node)
    }

    /// An operand of arithmetic.
    fn widened(op: &Op, node: &Arc<Node>) -> Result<Arc<Node>, Arc<Error>> {
        match node.dtype {
            DType::U8 => {
                let reason = "u8 is a storage type without arithmetic".into();
                Err(Error::Unsupported { op: op.name(), reason, help: CAST_U8.into() }.into())
            }
            DType::F16 => {
                let wide = Self::build(Op::Cast, &[&Self::from_node(node.clone())], node.shape, DType::F32);
                wide.outcome().as_ref().map(|handle| handle.node.clone()).map_err(Arc::clone)
            }
            _ => Ok(node.clone()),
        }
    }

    /// A source node.
    pub(crate) fn source(op: Op, shape: Shape, dtype: DType, device: &Device, payload: Payload) -> Self {
        Self::from_node(Node::new(op, Inputs::None, shape, dtype, device, payload, false))
    }

    /// A tensor that reports a wrong call.
    pub(crate) fn refuse(op: &'static str, operands: &[&Self], at: At, fault: Fault) -> Self {
        let mut listed = Vec::new();
        for operand in operands {
            match operand.outcome() {
                Ok(handle) => listed.push((handle.node.shape, handle.node.dtype)),
                Err(error) => return Self::from_error(error.clone()),
            }
        }
        Self::from_error(fault.of(op, listed, at))
    }

    /// Runs a rule over the operands' nodes; its fault becomes an error that names the op and the operands. Under `no_grad` a
    /// rule may return an operand: the caller gets its value, through which no gradient flows.
    pub(crate) fn guard(
        op: &'static str,
        operands: &[&Self],
        at: At,
        rule: impl FnOnce(&[&Arc<Node>]) -> Result<Self, Fault>,
    ) -> Self {
        let _call = Self::called(op, operands, at);
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            match operand.outcome() {
                Ok(handle) => nodes.push(&handle.node),
                Err(error) => return Self::from_error(error.clone()),
            }
        }
        if let [first, rest @ ..] = nodes.as_slice()
            && let Some(other) = rest.iter().find(|n| n.device != first.device)
        {
            let (a, b) = (first.device.to_string(), other.device.to_string());
            let (reason, help) = if a == b {
                (
                    format!("the operands are on two devices named {a}"),
                    "open a device once and use clones of it, or move one with to_device",
                )
            } else {
                (format!("the operands are on different devices, {a} and {b}"), "move one with to_device")
            };
            return Self::refuse(op, operands, at, Fault::new(OpErrorKind::Device, reason, help));
        }
        let out = rule(&nodes).unwrap_or_else(|fault| Self::refuse(op, operands, at, fault));
        if let Err(error) = out.outcome()
            && let Error::Op(part) = &**error
            && part.kind == OpErrorKind::TooLarge
        {
            // Found where a part of the op was built: the caller knows the whole.
            let fault = Fault { kind: part.kind, reason: part.reason.clone(), help: part.help.clone() };
            return Self::refuse(op, operands, at, fault);
        }
        if let Err(error) = out.outcome()
            && let Error::Index { .. } | Error::Argument { .. } = &**error
        {
            return Self::from_error(Error::clone(error).met_at(at));
        }
        out.returned()
    }

    /// Until the result is dropped, what is built belongs to this call, for anomaly mode; [`Tensor::guard`] begins with it.
    pub(crate) fn called(op: &'static str, operands: &[&Self], at: At) -> Option<anomaly::Within> {
        let layer = |operand: &&Self| operand.node().ok().map(|node| node.layer);
        anomaly::called_on(op, at, || Layer::of(operands.iter().map(layer)))
    }

    /// What an op or a layer returns to its caller: under `no_grad` an operand that it passes on is detached.
    pub(crate) fn returned(self) -> Self {
        if grad_enabled() { self } else { self.detach() }
    }

    /// A 0-d value of this tensor's dtype and device, passed as data.
    pub(crate) fn scalar_like(&self, value: f64) -> Self {
        match self.outcome() {
            Ok(h) => {
                Self::source(Op::Scalar, Shape::SCALAR, create::counted_in(h.node.dtype), &h.node.device, Payload::Scalar(value))
            }
            Err(error) => Self::from_error(error.clone()),
        }
    }

    // ---- what a tensor is ----

    /// The error that the tensor carries, if any.
    ///
    /// # Errors
    /// The first wrong call on the way to this tensor.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        self.node().map(|_| ())
    }

    /// The shape. Costs nothing.
    ///
    /// # Errors
    /// The error that the tensor carries.
    #[track_caller]
    pub fn shape(&self) -> Result<Shape> {
        self.node().map(|n| n.shape)
    }

    /// The length of one axis; negative axes count from the end.
    ///
    /// # Errors
    /// The error that the tensor carries; an axis out of range.
    #[track_caller]
    pub fn dim(&self, axis: isize) -> Result<usize> {
        let shape = self.shape()?;
        let Some(axis) = shape.axis(axis) else {
            return Err(Error::argument("dim", format!("axis {axis} is outside {shape}"), "use an axis below the rank"));
        };
        Ok(shape[axis])
    }

    /// The dimensions as an array.
    ///
    /// # Errors
    /// The error that the tensor carries; a different rank.
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        let shape = self.shape()?;
        let rank = shape.rank();
        let Ok(dims) = shape.dims().try_into() else {
            let reason = format!("the tensor has shape {shape}, of rank {rank}, not {N}");
            return Err(Error::argument("dims", reason, "reshape it first"));
        };
        Ok(dims)
    }

    /// The element type.
    ///
    /// # Errors
    /// The error that the tensor carries.
    #[track_caller]
    pub fn dtype(&self) -> Result<DType> {
        self.node().map(|n| n.dtype)
    }

    /// The device.
    ///
    /// # Errors
    /// The error that the tensor carries.
    #[track_caller]
    pub fn device(&self) -> Result<Device> {
        self.node().map(|n| n.device.clone())
    }

    /// Whether a gradient can flow through the tensor.
    pub fn requires_grad(&self) -> bool {
        self.node().is_ok_and(|n| n.requires_grad)
    }

    // ---- reading ----

    /// Computes the value, if that has not been done. Does not wait for the device.
    ///
    /// # Errors
    /// The error that the tensor carries; whatever the device reports.
    #[track_caller]
    pub fn eval(&self) -> Result<()> {
        crate::eval::evaluate(std::slice::from_ref(self.node()?))
    }

    /// Computes several tensors of one device in one go, sharing work and submission.
    ///
    /// # Errors
    /// The first error that a tensor carries; tensors of different devices; whatever the device reports.
    #[track_caller]
    pub fn eval_all(tensors: &[impl AsRef<Self>]) -> Result<()> {
        let nodes = tensors.iter().map(|t| t.as_ref().node().cloned()).collect::<Result<Vec<_>>>()?;
        if let Some(first) = nodes.first()
            && nodes.iter().any(|n| n.device != first.device)
        {
            return Err(Error::argument(
                "eval_all",
                "the tensors are on different devices",
                "evaluate each device's tensors separately",
            ));
        }
        crate::eval::evaluate(&nodes)
    }

    /// The elements in row-major order. Computes the value and waits for it.
    ///
    /// # Errors
    /// The error that the tensor carries; whatever the device reports.
    #[track_caller]
    pub fn to_host(&self) -> Result<HostData> {
        crate::eval::read(self.node()?)
    }

    /// The elements in row-major order, as their Rust type. Computes the value and waits for it.
    ///
    /// # Errors
    /// `T` is not the tensor's dtype; as [`Tensor::to_host`].
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let node = self.node()?;
        if T::DTYPE != node.dtype {
            let help = format!("read it as {}, or cast it first: .cast(DType::{:?})", node.dtype, T::DTYPE);
            let fault = Fault::dtype(format!("the elements are {}, not {}", node.dtype, T::DTYPE), help);
            return Err(fault.of("to_vec", vec![(node.shape, node.dtype)], Location::caller()));
        }
        T::unpack(self.to_host()?).ok_or_else(|| Error::internal("host data of another dtype than its tensor"))
    }

    /// The value of a tensor with one element. Computes it and waits for it.
    ///
    /// # Errors
    /// A number of elements other than 1; as [`Tensor::to_host`].
    #[track_caller]
    pub fn item(&self) -> Result<f64> {
        let node = self.node()?;
        if node.shape.numel() != 1 {
            let reason = format!("the tensor has {}, not 1", counted(node.shape.numel(), "element"));
            let fault = Fault::shape(reason, "reduce it to one element, or read it with to_vec");
            return Err(fault.of("item", vec![(node.shape, node.dtype)], Location::caller()));
        }
        self.to_host()?.to_f64().first().copied().ok_or_else(|| Error::internal("an empty read"))
    }

    /// The plan that would compute this tensor, as a table of kernels. Computes nothing; [`Device::profile`] measures what runs.
    ///
    /// # Errors
    /// The error that the tensor carries; whatever planning reports.
    #[track_caller]
    pub fn explain(&self) -> Result<String> {
        crate::eval::explain(self.node()?)
    }

    // ---- gradients ----

    /// The same value, through which no gradient flows.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor, grad};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::scalar(3.0, &device)?.variable()?;
    /// let gradients = grad(&(&x * x.detach()), &[&x])?;
    /// assert_eq!(gradients[0].item()?, 3.0); // of x·x it would be 6
    /// # Ok(()) }
    /// ```
    pub fn detach(&self) -> Self {
        match self.node() {
            Ok(node) if node.requires_grad => {
                // A reshape to the same shape: a view, and not differentiable under no_grad.
                no_grad(|| Self::build(Op::Reshape, &[self], node.shape, node.dtype))
            }
            _ => self.clone(),
        }
    }

    /// A variable with this tensor's value: gradients with respect to it can be asked for.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor, grad};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::scalar(3.0, &device)?.variable()?;
    /// assert_eq!(grad(&x.square(), &[&x])?[0].item()?, 6.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; a dtype that is not floating-point; evaluation errors.
    #[track_caller]
    pub fn variable(&self) -> Result<Self> {
        let node = self.node()?;
        if !node.dtype.is_float() {
            let fault = Fault::dtype(format!("{} is not a floating-point dtype", node.dtype), "cast it to f32 first");
            return Err(fault.of("variable", vec![(node.shape, node.dtype)], Location::caller()));
        }
        // A cell's memory changes; a variable must not.
        let storage = crate::eval::fixed(node)?;
        let leaf = Node::new(Op::Data, Inputs::None, node.shape, node.dtype, &node.device, Payload::None, true);
        leaf.state().value = Some(storage);
        Ok(Self::from_node(leaf))
    }

    /// A copy on another device. Waits for the value; gradients do not flow across.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::ones([2], &device)?;
    /// let other = Device::cpu()?; // or Device::best()?
    /// let sum = x.to_device(&other)? + Tensor::ones([2], &other)?;
    /// assert_eq!(sum.to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; f64 on a device without it; whatever the devices report.
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device()? == *device {
            return Ok(self.clone().returned());
        }
        Self::from_host(self.to_host()?, self.dtype()?, self.shape()?, device)
    }
}
