//! The trait of everything that maps a tensor to a tensor and may hold parameters.

use super::blend::blend;
use super::fields::{Copier, Field, Fields, address, not_copied};
use super::load::LoadOptions;
use super::snapshot::Snapshot;
use super::state::{self, LoadReport};
use crate::device::Device;
use crate::error::Result;
use crate::io::StateDict;
use crate::lazy::no_grad;
use crate::param::Param;
use crate::site::Caller;
use crate::tensor::Tensor;
use std::panic::Location;
use std::path::Path;

/// A layer or a model.
///
/// Implement `forward`, and `fields` with the macro [`fields!`](crate::fields); the rest follows. Several threads may run one
/// model.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Module",
    label = "not a layer or a model: add `?` if it is a Result",
    note = "a layer's constructor returns a Result: add `?` after the call, as in Linear::new(4, 2, &init)?",
    note = "a struct of layers becomes a Module by `impl Module`, with forward and fields!; a row of layers is a Sequential"
)]
pub trait Module: Send + Sync {
    /// The output for input `x`. Errors of the ops within surface here.
    ///
    /// # Errors
    /// `x` does not fit the module; the first error of any op on the way to `x`.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// Lists the module's fields; written by [`fields!`](crate::fields).
    fn fields(&self, fields: &mut Fields);

    /// What a summary knows the module by while it is not moved. A box has its content's identity.
    #[doc(hidden)]
    fn identity(&self) -> usize {
        address(self)
    }

    /// A deep copy, written by [`fields!`](crate::fields): [`Module::duplicate`] starts it.
    ///
    /// # Errors
    /// The device is out of memory; fields that are listed by hand.
    #[doc(hidden)]
    fn copied(&self, _copier: &mut Copier) -> Result<Self>
    where
        Self: Sized,
    {
        Err(not_copied())
    }

    /// As `copied`, for a module whose type is not known.
    ///
    /// # Errors
    /// As `copied`.
    #[doc(hidden)]
    fn boxed_copy(&self, _copier: &mut Copier) -> Result<Box<dyn Module>>
    where
        Self: 'static,
    {
        Err(not_copied())
    }

    /// Parameters, buffers and modes of the module and all below it.
    fn collect(&self) -> Fields {
        let mut fields = Fields::default();
        self.fields(&mut fields);
        fields
    }

    /// Checks that the module is valid: each name of a parameter, buffer or counter stands for one value. Everything that reads
    /// names or returns parameters begins with this.
    ///
    /// # Errors
    /// Two values under one name; two layers of one name in a [`Sequential`](super::Sequential).
    #[track_caller]
    fn check(&self) -> Result<()> {
        self.collect().check()
    }

    /// Parameters with PyTorch's names, such as `conv1.weight`. A tied parameter appears under each of its names.
    ///
    /// # Errors
    /// As [`Module::check`].
    #[track_caller]
    fn named_parameters(&self) -> Result<Vec<(String, Param)>> {
        let fields = self.collect();
        fields.check()?;
        // A tied parameter keeps its first name.
        fields.parameters.iter().rev().for_each(|(name, param)| param.set_name(name));
        Ok(fields.parameters)
    }

    /// Each parameter once, for an optimizer.
    ///
    /// # Errors
    /// As [`Module::check`].
    #[track_caller]
    fn parameters(&self) -> Result<Vec<Param>> {
        let mut seen = std::collections::HashSet::new();
        Ok(self.named_parameters()?.into_iter().map(|(_, p)| p).filter(|p| seen.insert(p.id())).collect())
    }

    /// State that is saved and not trained, such as running statistics, with its names. Counters of batches, which are kept on
    /// the host, are only in [`Module::state_dict`].
    ///
    /// # Errors
    /// As [`Module::check`].
    #[track_caller]
    fn named_buffers(&self) -> Result<Vec<(String, Param)>> {
        let fields = self.collect();
        fields.check().map(|()| fields.buffers)
    }

    /// Switches to training: dropout drops, batch normalisation uses and tracks the batch's statistics.
    fn train(&self) {
        self.collect().modes.iter().for_each(|m| m.set_training(true));
    }

    /// Switches to evaluation: dropout passes its input on, batch normalisation uses its running statistics.
    fn eval(&self) {
        self.collect().modes.iter().for_each(|m| m.set_training(false));
    }

    /// Takes every parameter out of training.
    fn freeze(&self) {
        self.collect().parameters.iter().for_each(|(_, p)| p.freeze());
    }

    /// Puts every parameter back into training.
    fn unfreeze(&self) {
        self.collect().parameters.iter().for_each(|(_, p)| p.unfreeze());
    }

    /// The module as it is now, between two steps, whatever other threads do to it afterwards.
    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.collect())
    }

    /// Parameters, buffers and counters in host memory, all from one moment between two steps. Waits for the device.
    ///
    /// # Errors
    /// As [`Module::check`]; evaluation errors; a lost device.
    #[track_caller]
    fn state_dict(&self) -> Result<StateDict> {
        self.snapshot().state_dict()
    }

    /// Replaces all parameters, buffers and counters, or nothing: everything is checked, and on the device, before the first one
    /// changes. Counters (`num_batches_tracked`) may be missing, as they are in files of PyTorch before 0.4.1.
    ///
    /// # Errors
    /// A tensor is missing, unknown, or of a different shape or dtype; the message counts them, names a few, and gives
    /// the rules of [`LoadOptions::rename`] that would fit.
    #[track_caller]
    fn load_state_dict(&self, dict: &StateDict) -> Result<()> {
        state::load(&self.collect(), dict, &LoadOptions::strict()).map(|_| ())
    }

    /// As [`Module::load_state_dict`], leaving parameters without a tensor as they are and ignoring unknown tensors.
    ///
    /// # Errors
    /// A tensor has a different shape or dtype.
    #[track_caller]
    fn load_state_dict_partial(&self, dict: &StateDict) -> Result<LoadReport> {
        state::load(&self.collect(), dict, &LoadOptions::lenient())
    }

    /// As [`Module::load_state_dict`], with names changed, matrices transposed, or tensors that differ skipped.
    ///
    /// # Errors
    /// A rule that matches nothing; names or shapes that the options do not allow. Nothing changes in that case.
    #[track_caller]
    fn load_state_dict_with(&self, dict: &StateDict, options: &LoadOptions) -> Result<LoadReport> {
        state::load(&self.collect(), dict, options)
    }

    /// A deep copy: parameters, buffers, counters and modes of its own, as they are now. What is tied or frozen stays so in the
    /// copy. Generators are shared.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Linear, Module, Sequential};
    /// # fn main() -> wgrad::Result<()> {
    /// # let init = Init::new(&wgrad::Device::cpu()?, 0);
    /// let online = Sequential::new().push(Linear::new(3, 2, &init)?);
    /// let target = online.duplicate()?;
    /// target.freeze();
    /// assert_eq!(target.state_dict()?, online.state_dict()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The device is out of memory; a module within lists its fields by hand, or skips one that is not `Clone`.
    #[track_caller]
    fn duplicate(&self) -> Result<Self>
    where
        Self: Sized,
    {
        self.snapshot().read(|| self.copied(&mut Copier::onto(None)))
    }

    /// A deep copy on another device, like [`Module::duplicate`]; make the optimizer for the copy. Waits for the values.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Linear, Module};
    /// # use wgrad::Device;
    /// # fn main() -> wgrad::Result<()> {
    /// # let init = Init::new(&Device::cpu()?, 0);
    /// let model = Linear::new(3, 2, &init)?;
    /// let device = Device::cpu()?; // or Device::best()?
    /// let model = model.to(&device)?;
    /// assert_eq!(model.weight.device(), &device);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Module::duplicate`]; a dtype that the device does not have.
    #[track_caller]
    fn to(&self, device: &Device) -> Result<Self>
    where
        Self: Sized,
    {
        self.snapshot().read(|| self.copied(&mut Copier::onto(Some(device))))
    }

    /// Copies another module's parameters, buffers and counters into this one, on the device, all or none: for a target network,
    /// say. The other module may be on another device.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Linear, Module};
    /// # fn main() -> wgrad::Result<()> {
    /// # let init = Init::new(&wgrad::Device::cpu()?, 0);
    /// let (online, target) = (Linear::new(3, 2, &init)?, Linear::new(3, 2, &init)?);
    /// target.copy_from(&online)?;
    /// assert_eq!(target.state_dict()?, online.state_dict()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Names, shapes or dtypes differ; evaluation errors. Nothing changes in that case.
    #[track_caller]
    fn copy_from(&self, other: &dyn Module) -> Result<()> {
        blend("copy_from", &self.collect(), &other.collect(), 1.0)
    }

    /// Moves towards another module, on the device: `w += weight · (other - w)` for parameters and floating-point buffers;
    /// integers and counters are copied. A weight of 0.005 is the usual soft update of a target network.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Linear, Module};
    /// # use wgrad::Tensor;
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = wgrad::Device::cpu()?;
    /// # let init = Init::new(&device, 0);
    /// let (online, target) = (Linear::new(1, 1, &init)?, Linear::new(1, 1, &init)?);
    /// online.weight.set(&Tensor::full([1, 1], 2.0, &device)?)?;
    /// target.weight.set(&Tensor::full([1, 1], 1.0, &device)?)?;
    /// target.lerp_from(&online, 0.25)?;
    /// assert_eq!(target.weight.tensor().to_vec::<f32>()?, [1.25]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Module::copy_from`]; a weight outside 0..=1.
    #[track_caller]
    fn lerp_from(&self, other: &dyn Module, weight: f64) -> Result<()> {
        blend("lerp_from", &self.collect(), &other.collect(), weight)
    }

    /// Writes parameters and buffers to a safetensors file that PyTorch can read, whole or not at all. For a `dyn Module` use
    /// `model.state_dict()?.save(path)`.
    ///
    /// # Errors
    /// Evaluation errors; the file cannot be written.
    #[track_caller]
    fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        self.state_dict()?.save(path)
    }

    /// Reads parameters and buffers from a safetensors file, as [`Module::load_state_dict`]. For a `dyn Module` use
    /// `model.load_state_dict(&StateDict::load(path)?)`.
    ///
    /// # Errors
    /// The file cannot be read or does not fit the module.
    #[track_caller]
    fn load(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        self.load_state_dict(&StateDict::load(path)?)
    }
}

impl<M: Module> Field for M {
    fn list(&self, fields: &mut Fields) {
        fields.module(self.identity());
        self.fields(fields);
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Module::copied(self, copier)
    }
}

/// A module in a box is that module.
macro_rules! boxed {
    ($([$($generic:tt)*] $module:ty, $this:ident, $copier:ident => $copied:expr;)*) => {$(
        impl<$($generic)*> Module for Box<$module> {
            #[inline]
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let _caller = Caller::of(Location::caller());
                (**self).forward(x)
            }

            #[inline]
            fn fields(&self, fields: &mut Fields) {
                (**self).fields(fields);
            }

            #[inline]
            fn identity(&self) -> usize {
                (**self).identity()
            }

            fn copied(&self, $copier: &mut Copier) -> Result<Self> {
                let $this = &**self;
                $copied
            }

            fn boxed_copy(&self, copier: &mut Copier) -> Result<Box<dyn Module>>
            where
                Self: 'static,
            {
                (**self).boxed_copy(copier)
            }
        }
    )*};
}
boxed! {
    [M: Module] M, module, copier => Ok(Self::new(Module::copied(module, copier)?));
    [] dyn Module, module, copier => module.boxed_copy(copier);
}

/// Runs `f` without gradients, with a module in evaluation mode and as it is now ([`Module::snapshot`]), for this thread alone.
/// Other threads may go on training it. Afterwards every layer is back in its own mode, whatever happens: what was in evaluation
/// before, such as a frozen part of a model, stays so.
///
/// ```
/// # use wgrad::nn::{Dropout, Init, Linear, Module, Sequential, evaluating};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// # let init = Init::new(&device, 0);
/// let model = Sequential::new().push(Dropout::new(0.9, &init)?).push(Linear::new(3, 2, &init)?);
/// let x = Tensor::ones([1, 3], &device)?;
/// let y = evaluating(&model, || model.forward(&x))?;
/// assert!(!y.requires_grad() && model.forward(&x)?.requires_grad());
/// # Ok(()) }
/// ```
pub fn evaluating<R>(module: &dyn Module, f: impl FnOnce() -> R) -> R {
    let fields = module.collect();
    let _modes = fields.keep_modes();
    module.eval();
    no_grad(|| Snapshot::of(&fields).read(f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::nn::{Dropout, Init, Linear, Mode, Sequential};

    #[test]
    fn threads_share_a_model() {
        let init = Init::new(&Device::cpu().unwrap(), 0);
        let model = Sequential::new().push(Linear::new(4, 3, &init).unwrap()).push(Linear::new(3, 2, &init).unwrap());
        let run = |model: &dyn Module, value: f64| {
            let y = model.forward(&init.constant([1, 4], value).unwrap()).unwrap();
            y.to_vec::<f32>().unwrap()
        };
        let alone: Vec<_> = (0..4).map(|i| run(&model, f64::from(i))).collect();
        let together: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    scope.spawn({
                        let (run, model) = (&run, &model);
                        move || run(model, f64::from(i))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(alone, together);
    }

    #[test]
    fn every_layer_gets_its_mode_back() {
        let init = Init::new(&Device::cpu().unwrap(), 0);
        let dropout = || Dropout::new(0.5, &init).unwrap();
        let frozen = Sequential::new().push(dropout());
        frozen.eval();
        let model = Sequential::new().push(frozen).push(Linear::new(2, 2, &init).unwrap()).push(dropout());
        let modes = || model.collect().modes.iter().map(Mode::is_training).collect::<Vec<_>>();
        assert_eq!(evaluating(&model, modes), [false, false]);
        assert_eq!(modes(), [false, true]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| evaluating(&model, || panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!(modes(), [false, true]);
        assert!(model.forward(&init.constant([1, 2], 1.0).unwrap()).unwrap().requires_grad());
    }
}
