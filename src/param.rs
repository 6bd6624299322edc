//! Mutable cells: parameters that optimizers update, and statistics that layers track.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lazy::{Cell, Node, Tally};
use crate::shape::Shape;
use crate::tensor::{At, Fault, RightSide, Tensor, sealed};
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::panic::Location;
use std::sync::Arc;

/// A user's handle to a cell; dropping the last one drops assignments that never ran.
#[derive(Debug)]
struct Owner {
    cell: Arc<Cell>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.cell.abandon();
    }
}

/// A parameter, or a statistic that a layer tracks: a tensor that changes in place. Clones share it.
///
/// [`Param::tensor`] reads the current value lazily, and so do the operators. Tensors read before a change keep the value of that
/// time.
///
/// ```
/// # use wgrad::{Device, Param, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &Device::cpu()?)?;
/// let (weight, bias) = (Param::new(&x.full_like(3.0))?, Param::new(&x.ones_like())?);
/// assert_eq!((&x * &weight + &bias).to_vec::<f32>()?, [4.0, 7.0]);
/// assert_eq!((&weight - 1).to_vec::<f32>()?, [2.0, 2.0]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Param(Arc<Owner>);

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({} {} {})", self.name(), self.dtype(), self.shape())
    }
}

impl sealed::Sealed for &Param {}
impl RightSide for &Param {
    fn beside(self, left: &Tensor, name: &'static str, op: sealed::Op, at: At) -> Tensor {
        self.tensor().beside(left, name, op, at)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident;)*) => {$(
        impl<R: RightSide> $trait<R> for &Param {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, right: R) -> Tensor {
                self.tensor().$method(right)
            }
        }
        operators!(@number $trait $method, f64);
        operators!(@number $trait $method, i32);
    )*};
    (@number $trait:ident $method:ident, $number:ty) => {
        impl $trait<&Param> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, right: &Param) -> Tensor {
                self.$method(right.tensor())
            }
        }
    };
}
operators! {
    Add add;
    Sub sub;
    Mul mul;
    Div div;
    Rem rem;
}

impl Neg for &Param {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        -self.tensor()
    }
}

impl Param {
    /// A trainable parameter that starts as a copy of `init`.
    ///
    /// # Errors
    /// `init`'s own error; a dtype other than F32 and F64.
    #[track_caller]
    pub fn new(init: &Tensor) -> Result<Self> {
        if init.dtype()? == DType::F16 || !init.dtype()?.is_float() {
            let help = "parameters are f32 (f64 on the CPU device): cast it, or use Param::buffer for other state";
            let fault = Fault::dtype(format!("{} cannot be trained", init.dtype()?), help);
            return Err(fault.of("Param::new", vec![(init.shape()?, init.dtype()?)], std::panic::Location::caller()));
        }
        Self::make(init, true)
    }

    /// State that is saved with a module but not trained, such as running statistics.
    ///
    /// # Errors
    /// `init`'s own error.
    #[track_caller]
    pub fn buffer(init: &Tensor) -> Result<Self> {
        Self::make(init, false)
    }

    fn make(init: &Tensor, trainable: bool) -> Result<Self> {
        // A private copy: the initial tensor may share its memory with other handles.
        let device = init.device()?;
        let storage = crate::eval::duplicate(init.node()?)?;
        let cell = Cell::new(storage, init.shape()?, init.dtype()?, device, trainable);
        Ok(Self(Arc::new(Owner { cell })))
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.0.cell
    }

    /// The current value, lazily.
    pub fn tensor(&self) -> Tensor {
        Tensor::from_handle(self.cell().read())
    }

    /// A number that no other parameter of this process has.
    pub fn id(&self) -> u64 {
        self.cell().id
    }

    /// The shape, which never changes.
    pub fn shape(&self) -> Shape {
        self.cell().shape
    }

    /// The dtype, which never changes.
    pub fn dtype(&self) -> DType {
        self.cell().dtype
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.cell().device
    }

    /// The name, for messages; `#id` if none was given.
    pub fn name(&self) -> String {
        self.cell().name()
    }

    /// The name, if one was given.
    pub fn given_name(&self) -> Option<String> {
        self.cell().given_name()
    }

    /// Names the parameter. [`Module::parameters`](crate::nn::Module::parameters) does so by its place in the module.
    pub fn set_name(&self, name: impl Into<String>) {
        self.cell().set_name(name.into());
    }

    /// Whether gradients flow to the parameter.
    pub fn is_trainable(&self) -> bool {
        self.cell().is_trainable()
    }

    /// Whether this is tracked state made by [`Param::buffer`], which is saved and never trained.
    pub fn is_buffer(&self) -> bool {
        self.cell().buffer
    }

    /// Takes the parameter out of training: backward computes nothing for it, optimizers leave it alone.
    pub fn freeze(&self) {
        self.cell().set_trainable(false);
    }

    /// Puts the parameter back into training; a buffer stays as it is.
    pub fn unfreeze(&self) {
        if !self.is_buffer() {
            self.cell().set_trainable(true);
        }
    }

    /// Replaces the value now.
    ///
    /// # Errors
    /// A different shape, dtype or device; evaluation errors.
    #[track_caller]
    pub fn set(&self, value: &Tensor) -> Result<()> {
        Self::set_all(&[(self, value)])
    }

    /// Replaces several parameters' values now: all of them, or none if anything fails. If they are on several devices and a
    /// later device fails, the values on the earlier ones are restored; only a lost device can prevent that.
    ///
    /// ```
    /// # use wgrad::{Device, Param, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let (a, b) = (Param::new(&Tensor::zeros([2], &device)?)?, Param::new(&Tensor::zeros([3], &device)?)?);
    /// let one = Tensor::ones([2], &device)?;
    /// assert!(Param::set_all(&[(&a, &one), (&b, &one)]).is_err());
    /// assert_eq!(a.tensor().to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A different shape, dtype or device; evaluation errors. No parameter changes in that case.
    #[track_caller]
    pub fn set_all(values: &[(&Self, &Tensor)]) -> Result<()> {
        let mut devices: Vec<&Device> = Vec::new();
        for (param, _) in values {
            if !devices.contains(&param.device()) {
                devices.push(param.device());
            }
        }
        // Handles to the old values are the way back. The last device needs none.
        let keeps = |param: &Self| devices.last().is_some_and(|last| *last != param.device());
        let mut made: Vec<Assigned<'_>> = Vec::with_capacity(values.len());
        let at = Location::caller();
        let mut outcome = values.iter().try_for_each(|(param, value)| {
            let (before, waiting) = (keeps(param).then(|| param.tensor()), param.cell().pending());
            made.push(Assigned { param, before, waiting, assign: param.assign_node(value, None, false)? });
            Ok(())
        });
        outcome = outcome.map_err(|error: Error| error.seen_from(at));
        let mut done = 0;
        while let Some(device) = devices.get(done).filter(|_| outcome.is_ok()) {
            let here = made.iter().filter(|m| m.param.device() == *device);
            outcome = crate::eval::evaluate(&here.map(|m| m.assign.clone()).collect::<Vec<_>>());
            done += usize::from(outcome.is_ok());
        }
        if outcome.is_err() {
            for made in made.iter().rev() {
                made.param.cell().retract(&made.assign, made.waiting.clone());
            }
            // One device at a time: if this fails, there is nothing left to try. The first error is the one to report.
            for device in &devices[..done] {
                let here = made.iter().filter(|m| m.param.device() == *device);
                let old: Vec<(&Self, &Tensor)> = here.filter_map(|m| Some((m.param, m.before.as_ref()?))).collect();
                let _ = Self::set_all(&old);
            }
        }
        outcome
    }

    /// Replaces the value in program order, exactly once: when the parameter is next read by this thread, at [`Device::flush`],
    /// or with `anchor`. With `anchor` means: if a gradient can flow through it, with this thread's next optimizer step that
    /// computes what the value is made of, provided that the step is taken; otherwise when `anchor` is evaluated. Until then all
    /// other threads read the old value. Returns `anchor`.
    ///
    /// # Errors
    /// A different shape, dtype or device.
    #[track_caller]
    pub fn assign_with(&self, value: &Tensor, anchor: &Tensor) -> Result<Tensor> {
        self.assign_tallied(value, anchor, None)
    }

    /// As [`Param::assign_with`]; `tally` is incremented when it is done.
    pub(crate) fn assign_tallied(&self, value: &Tensor, anchor: &Tensor, tally: Option<&Tally>) -> Result<Tensor> {
        let node = anchor.node()?;
        let assign = self.assign_node(value, tally, node.requires_grad)?;
        if !node.requires_grad {
            node.state().anchored.push(assign);
        }
        Ok(anchor.clone())
    }

    #[track_caller]
    fn assign_node(&self, value: &Tensor, tally: Option<&Tally>, tracks: bool) -> Result<Arc<Node>> {
        let cell = self.cell();
        let source = value.node()?;
        if source.shape != cell.shape || source.dtype != cell.dtype {
            return Err(Error::argument(
                format!("assign {}", self.name()),
                format!("the value is {} {} and the parameter {} {}", source.dtype, source.shape, cell.dtype, cell.shape),
                "reshape or cast the value first",
            ));
        }
        if source.device != cell.device {
            return Err(Error::argument(
                format!("assign {}", self.name()),
                format!("the value is on {} and the parameter on {}", source.device.name(), cell.device.name()),
                "move the value with to_device",
            ));
        }
        Ok(cell.assign(source.clone(), tally, tracks))
    }
}

/// A value that is on its way to a parameter.
struct Assigned<'p> {
    param: &'p Param,
    before: Option<Tensor>,
    /// The assignment that was pending before.
    waiting: Option<Arc<Node>>,
    assign: Arc<Node>,
}

/// Parameters that share settings, such as a weight decay that does not apply to biases.
#[derive(Debug, Clone)]
pub struct ParamGroup<C> {
    /// The parameters.
    pub params: Vec<Param>,
    /// Their settings.
    pub config: C,
}

impl<C> ParamGroup<C> {
    /// A group.
    pub fn new(params: impl IntoIterator<Item = Param>, config: C) -> Self {
        Self { params: params.into_iter().collect(), config }
    }
}
