//! Layers one after another.

use super::fields::{Copier, Field, Fields};
use super::module::Module;
use crate::error::{Error, OpError, OpErrorKind, Result};
use crate::lazy::anomaly;
use crate::tensor::Tensor;
use std::collections::BTreeSet;
use std::panic::Location;

/// Feeds each layer's output to the next. Layers are named `0`, `1` ... as in PyTorch, or as given.
///
/// A model may be a layer of another. Each level takes some stack in `forward`, in listing parameters and when the model is dropped:
/// a main thread's 8 MiB have room for 10,000 levels in a release build. The same goes for your own layers that contain layers.
///
/// A name that another layer has becomes the model's first error: `forward`, `parameters`, `save` and [`Module::check`] return
/// it.
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module, Relu, Sequential};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let init = Init::new(&device, 0);
/// let model = Sequential::new().push(Linear::new(4, 8, &init)?).push(Relu).push(Linear::new(8, 2, &init)?);
/// // The same: sequential![Linear::new(4, 8, &init)?, Relu, Linear::new(8, 2, &init)?]
/// assert_eq!(model.forward(&Tensor::ones([3, 4], &device)?)?.dims::<2>()?, [3, 2]);
/// assert_eq!(model.named_parameters()?[2].0, "2.weight");
/// # Ok(()) }
/// ```
#[derive(Default)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Sequential {
    layers: Vec<(String, Box<dyn Module>)>,
    names: BTreeSet<String>,
    error: Option<Error>,
}

impl Sequential {
    /// A model without layers, which passes its input on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer, named by its position.
    #[track_caller]
    pub fn push(self, layer: impl Module + 'static) -> Self {
        let name = self.layers.len().to_string();
        self.append(name, Box::new(layer), "Sequential::push", Location::caller())
    }

    /// Appends a layer under a name of its own. In a name with dots, such as `body.0`, each part names a level of the model.
    #[track_caller]
    pub fn push_named(self, name: impl Into<String>, layer: impl Module + 'static) -> Self {
        self.append(name.into(), Box::new(layer), "Sequential::push_named", Location::caller())
    }

    fn append(mut self, name: String, layer: Box<dyn Module>, op: &'static str, at: &'static Location<'static>) -> Self {
        if self.error.is_none()
            && let Some(reason) = self.clash(&name, &layer)
        {
            let help = "give each layer a name of its own with push_named; push takes the layer's position".to_owned();
            let error = OpError { kind: OpErrorKind::Attribute, op, operands: Vec::new(), reason, help, at };
            self.error = Some(Error::Op(Box::new(error)));
        }
        self.names.insert(name.clone());
        self.layers.push((name, layer));
        self
    }

    /// What is wrong with a layer's name, given those of the other layers.
    fn clash(&self, name: &str, layer: &dyn Field) -> Option<String> {
        if name.split('.').any(str::is_empty) {
            return Some(format!("the name \"{name}\" is empty or has an empty part"));
        }
        if self.names.contains(name) {
            return Some(format!("two layers are named \"{name}\""));
        }
        let below = format!("{name}.");
        let holds = self.names.range(below.clone()..).next().is_some_and(|other| other.starts_with(&below));
        // A layer that is invalid by itself reports that when it is asked.
        if !holds && !name.match_indices('.').any(|(dot, _)| self.names.contains(&name[..dot])) {
            return None;
        }
        let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        let mut fields = Fields::default();
        for (other, its) in self.layers.iter().filter(|(other, _)| within(other, name) || within(name, other)) {
            fields.add(other, its);
        }
        fields.add(name, layer);
        fields.clash().map(|two| format!("with the layer \"{name}\", two values are named \"{two}\""))
    }

    /// Replaces the layer of that name, for example with a new head.
    ///
    /// # Errors
    /// There is no layer of that name; a value of the new layer has a name that another layer's value has. Nothing changes in
    /// that case.
    #[track_caller]
    pub fn replace(&mut self, name: &str, layer: impl Module + 'static) -> Result<()> {
        let names: Vec<&str> = self.layers.iter().map(|(n, _)| n.as_str()).collect();
        let Some(i) = names.iter().position(|n| *n == name) else {
            let reason = format!("there is no layer \"{name}\"");
            return Err(Error::argument("Sequential::replace", reason, format!("use one of {}", names.join(", "))));
        };
        let (name, old) = self.layers.remove(i);
        let layer: Box<dyn Module> = Box::new(layer);
        self.names.remove(&name);
        let clash = self.clash(&name, &layer);
        self.names.insert(name.clone());
        self.layers.insert(i, (name, if clash.is_some() { old } else { layer }));
        let Some(reason) = clash else { return Ok(()) };
        Err(Error::argument("Sequential::replace", reason, "give each layer a name of its own"))
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl std::fmt::Debug for Sequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.layers.iter().map(|(name, _)| name)).finish()
    }
}

// Models within models call each other, so what `forward` does itself is in separate functions: its frame stays small.
impl Sequential {
    /// The input, if it and the model are valid.
    #[inline(never)]
    fn input(&self, x: &Tensor) -> Result<Tensor> {
        x.check()?;
        self.error.clone().map_or_else(|| Ok(x.clone()), Err)
    }
}

/// A layer's output; its error with the layer's name and the line of the model's caller.
#[inline(never)]
fn output(name: &str, y: Result<Tensor>, caller: &'static Location<'static>) -> Result<Tensor> {
    y.and_then(|y| y.check().map(|()| y)).map_err(|error| error.in_layer(name).seen_from(caller))
}

impl Module for Sequential {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let caller = Location::caller();
        let _seen = anomaly::seen_from(caller);
        let mut y = self.input(x)?;
        for (name, layer) in &self.layers {
            y = output(name, (**layer).forward(&y), caller)?;
        }
        Ok(y.returned())
    }

    fn fields(&self, fields: &mut Fields) {
        if let Some(error) = &self.error {
            fields.refuse(error);
        }
        for (name, layer) in &self.layers {
            fields.add(name, layer);
        }
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        let copy = |(name, layer): &(String, Box<dyn Module>)| Ok((name.clone(), (**layer).boxed_copy(copier)?));
        let layers = self.layers.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { layers, names: self.names.clone(), error: self.error.clone() })
    }

    fn boxed_copy(&self, copier: &mut Copier) -> Result<Box<dyn Module>> {
        Ok(Box::new(Module::copied(self, copier)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::nn::{Conv2d, Flatten, Init, Linear, Residual};

    #[test]
    fn errors_name_the_layer() {
        /// Gives a tensor that carries an error.
        struct Careless;
        impl Module for Careless {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                Ok(x.reshape([7]))
            }
            crate::fields!();
        }
        let device = Device::cpu().unwrap();
        let init = Init::new(&device, 0);
        let conv = |inputs| Conv2d::new(inputs, 4, 3, &init).unwrap();
        let inner = Sequential::new().push(Flatten).push_named("fc", Linear::new(9, 2, &init).unwrap());
        let rows: [(Sequential, &str); 3] = [
            (Sequential::new().push(conv(1)).push_named("second", conv(3)), "in layer second: "),
            (Sequential::new().push(conv(1)).push(inner), "in layer 1.fc: "),
            (Sequential::new().push(conv(1)).push(Careless).push(Flatten), "in layer 1: "),
        ];
        for (model, wanted) in rows {
            let message = model.forward(&Tensor::ones([2, 1, 8, 8], &device).unwrap()).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
            // An error from before the model is none of its layers'.
            let earlier = Tensor::ones([3], &device).unwrap().reshape([2]);
            assert!(!model.forward(&earlier).unwrap_err().to_string().contains("in layer"));
        }
    }

    #[test]
    fn errors_name_the_line_outside_of_this_crate() {
        let device = Device::cpu().unwrap();
        let conv = Conv2d::new(1, 4, 3, &Init::new(&device, 0)).unwrap();
        let model = Sequential::new().push(Sequential::new().push(Residual::new(conv)));
        let (error, line) = (model.forward(&Tensor::ones([2, 3, 8, 8], &device).unwrap()).unwrap_err(), line!());
        assert!(error.to_string().ends_with(&format!("(at {}:{line})", file!())), "{error}");
    }

    #[test]
    fn errors_of_layers_name_the_caller() {
        let device = Device::cpu().unwrap();
        let init = Init::new(&device, 0);
        let wrong = [
            Linear::new(3, 2, &init).unwrap().forward(&Tensor::ones([4, 5], &device).unwrap()),
            Conv2d::new(1, 2, 3, &init).unwrap().forward(&Tensor::ones([4, 5], &device).unwrap()),
        ];
        for result in wrong {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(&format!("(at {}:", file!())), "{message}");
        }
    }
}
