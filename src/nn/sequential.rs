//! Layers one after another.

use super::fields::Fields;
use super::module::Module;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::panic::Location;

/// Feeds each layer's output to the next. Layers are named `0`, `1` ... as in PyTorch, or as given.
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module, Relu, Sequential};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let init = Init::new(&device, 0);
/// let model = Sequential::new().push(Linear::new(4, 8, &init)?).push(Relu).push(Linear::new(8, 2, &init)?);
/// assert_eq!(model.forward(&Tensor::ones([3, 4], &device)?)?.dims::<2>()?, [3, 2]);
/// assert_eq!(model.named_parameters()[2].0, "2.weight");
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Sequential {
    layers: Vec<(String, Box<dyn Module>)>,
}

impl Sequential {
    /// A model without layers, which passes its input on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer, named by its position.
    #[must_use]
    pub fn push(self, layer: impl Module + 'static) -> Self {
        let name = self.layers.len().to_string();
        self.push_named(name, layer)
    }

    /// Appends a layer under a name of its own.
    #[must_use]
    pub fn push_named(mut self, name: impl Into<String>, layer: impl Module + 'static) -> Self {
        self.layers.push((name.into(), Box::new(layer)));
        self
    }

    /// Puts another layer in the place of the one of that name, such as a new head.
    ///
    /// # Errors
    /// There is no layer of that name.
    pub fn replace(&mut self, name: &str, layer: impl Module + 'static) -> Result<()> {
        let names: Vec<&str> = self.layers.iter().map(|(n, _)| n.as_str()).collect();
        let Some(i) = names.iter().position(|n| *n == name) else {
            let reason = format!("there is no layer \"{name}\"");
            return Err(Error::argument("Sequential::replace", reason, format!("use one of {}", names.join(", "))));
        };
        self.layers[i].1 = Box::new(layer);
        Ok(())
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

impl Module for Sequential {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let caller = Location::caller();
        x.check()?;
        let y = self.layers.iter().try_fold(x.clone(), |x, (name, layer)| {
            let y = layer.forward(&x).and_then(|y| y.check().map(|()| y));
            y.map_err(|error| error.in_layer(name).seen_from(caller))
        });
        y.map(Tensor::returned)
    }

    fn fields(&self, fields: &mut Fields) {
        for (name, layer) in &self.layers {
            fields.add(name, layer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::nn::{Conv2d, Conv2dConfig, Flatten, Init, Linear, Residual};

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
        let conv = |inputs| Conv2d::new(inputs, 4, [3, 3], Conv2dConfig::default(), &init).unwrap();
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
        let conv = Conv2d::new(1, 4, [3, 3], Conv2dConfig::default(), &Init::new(&device, 0)).unwrap();
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
            Conv2d::new(1, 2, [3, 3], Conv2dConfig::default(), &init).unwrap().forward(&Tensor::ones([4, 5], &device).unwrap()),
        ];
        for result in wrong {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(&format!("(at {}:", file!())), "{message}");
        }
    }
}
