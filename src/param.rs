//! Mutable cells: parameters that optimizers update, and statistics that layers track.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lazy::{Cell, Node};
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;

/// A user's hold on a cell; the last one to go drops assignments that never ran.
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
/// [`Param::tensor`] reads the current value lazily. Handles read before a change keep the value of that time.
#[derive(Clone)]
pub struct Param(Arc<Owner>);

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({} {} {})", self.name(), self.dtype(), self.shape())
    }
}

impl Param {
    /// A trainable parameter that starts as a copy of `init`.
    ///
    /// # Errors
    /// `init`'s own error; a dtype other than F32 and F64.
    pub fn new(init: &Tensor) -> Result<Self> {
        if init.dtype()? == DType::F16 || !init.dtype()?.is_float() {
            return Err(Error::Read {
                op: "Param::new",
                shape: init.shape()?,
                dtype: init.dtype()?,
                help: "parameters are f32 (f64 on the CPU device): cast it, or use Param::buffer for other state".into(),
            });
        }
        Self::make(init, true)
    }

    /// State that is saved with a module but not trained, such as running statistics.
    ///
    /// # Errors
    /// `init`'s own error.
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
        Tensor::from_node(self.cell().head())
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

    /// Names the parameter.
    pub fn set_name(&self, name: impl Into<String>) {
        self.cell().set_name(name.into());
    }

    /// Whether gradients flow here.
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
    /// Another shape, dtype or device; evaluation errors.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        Self::set_all(&[(self, value)])
    }

    /// Replaces several parameters' values now: all of them, or none if anything fails. Where they lie on several devices,
    /// those of the first ones are taken back if a later one fails; only a device that is lost can prevent that.
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
    /// Another shape, dtype or device; evaluation errors. No parameter has changed then.
    pub fn set_all(values: &[(&Self, &Tensor)]) -> Result<()> {
        let mut assigned: Vec<(&Arc<Cell>, Arc<Node>, Arc<Node>)> = Vec::with_capacity(values.len());
        let outcome = values.iter().try_for_each(|(param, value)| {
            let before = param.cell().head();
            assigned.push((param.cell(), before, param.assign_node(value)?));
            Ok(())
        });
        // Per device its roots, and handles of the old values, which its evaluation keeps for the way back. What stays on one
        // device needs no way back.
        let mut devices: Vec<(&Device, Vec<Arc<Node>>)> = Vec::new();
        for (cell, _, assign) in &assigned {
            match devices.iter_mut().find(|(device, _)| *device == &cell.device) {
                Some((_, roots)) => roots.push(assign.clone()),
                None => devices.push((&cell.device, vec![assign.clone()])),
            }
        }
        let last = devices.len().saturating_sub(1);
        let mut old: Vec<(&Self, Tensor)> = Vec::new();
        let outcome = outcome.and_then(|()| {
            devices.iter().enumerate().try_for_each(|(n, (device, roots))| {
                let here = values.iter().zip(&assigned).filter(|((param, _), _)| n < last && param.device() == *device);
                let own: Vec<(&Self, Tensor)> = here.map(|((p, _), (_, b, _))| (*p, Tensor::from_node(b.clone()))).collect();
                crate::eval::evaluate(roots)?;
                old.extend(own);
                Ok(())
            })
        });
        if outcome.is_err() {
            for (cell, before, assign) in assigned.iter().rev() {
                cell.retract(assign, before);
            }
            // One device at a time: there is no way further back.
            let mut left: Vec<(&Self, &Tensor)> = old.iter().map(|(param, value)| (*param, value)).collect();
            while let Some(first) = left.first() {
                let device = first.0.device().clone();
                let (here, elsewhere): (Vec<_>, Vec<_>) = left.into_iter().partition(|(param, _)| *param.device() == device);
                // The error of the way there is the one to report.
                let _ = Self::set_all(&here);
                left = elsewhere;
            }
        }
        outcome
    }

    /// Replaces the value when `anchor`'s returned twin is evaluated, when the parameter is next read, or at
    /// [`Device::flush`], whichever comes first; exactly once, in program order. Returns `anchor`.
    ///
    /// # Errors
    /// Another shape, dtype or device.
    pub fn assign_with(&self, value: &Tensor, anchor: &Tensor) -> Result<Tensor> {
        let assign = self.assign_node(value)?;
        anchor.node()?.state().anchored.push(assign);
        Ok(anchor.clone())
    }

    fn assign_node(&self, value: &Tensor) -> Result<Arc<Node>> {
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
        Ok(cell.assign(source.clone()))
    }
}

/// Parameters that share settings, such as a weight decay that biases do without.
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
