//! Layers one after another.

use super::fields::Fields;
use super::module::Module;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

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
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.layers.iter().try_fold(x.clone(), |x, (_, layer)| layer.forward(&x))
    }

    fn fields(&self, fields: &mut Fields) {
        for (name, layer) in &self.layers {
            fields.add(name, layer);
        }
    }
}
