//! A network in training or in use, which the offline instrument traces, too.

use super::networks;
use super::shared::rows::{Batch, HostInput, Row};
use std::rc::Rc;
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor, no_grad};

/// A row's network and its batches.
pub struct Work {
    row: &'static Row,
    pub device: Device,
    pub model: Box<dyn Module>,
    adam: Option<Adam>,
    batches: Batches,
}

/// A row's batches on the host, again and again.
pub type Batches = Box<dyn Iterator<Item = Rc<Batch>>>;

impl Work {
    /// With weights that are always the same.
    pub fn new(row: &'static Row, device: &Device) -> Result<Self> {
        Self::with(row, device, Box::new(row.batches()))
    }

    /// As [`Work::new`], with batches that are there already.
    pub fn with(row: &'static Row, device: &Device, batches: Batches) -> Result<Self> {
        let model = networks::build(row.network, &Init::new(device, 0))?;
        let params = model.parameters()?;
        let adam = if row.is_training() { Some(Adam::new(&params, AdamConfig::default())?) } else { None };
        if adam.is_none() {
            model.eval();
        }
        let values: Vec<Tensor> = params.iter().map(|p| p.tensor().detach()).collect();
        Tensor::eval_all(&values.iter().collect::<Vec<_>>())?;
        device.flush()?;
        Ok(Self { row, device: device.clone(), model, adam, batches })
    }

    /// Whether its steps train.
    pub fn is_training(&self) -> bool {
        self.row.is_training()
    }

    /// Queues a step: a batch is uploaded, and the loss or the outputs remain to be read.
    pub fn submit(&mut self) -> Result<Tensor> {
        let Some(batch) = self.batches.next() else { return Tensor::scalar(f64::NAN, &self.device) };
        let x = match &batch.input {
            HostInput::Numbers(numbers) => Tensor::from_slice(numbers, self.row.input_shape(), &self.device)?,
            HostInput::Tokens(tokens) => Tensor::from_slice(tokens, self.row.input_shape(), &self.device)?,
        };
        let Some(adam) = &mut self.adam else {
            let outputs = no_grad(|| self.model.forward(&x))?;
            outputs.eval()?;
            return Ok(outputs);
        };
        let shape = self.row.label_shape();
        let labels = Tensor::from_slice(&batch.labels, shape, &self.device)?;
        let output = self.model.forward(&x)?;
        // Time steps and words count as examples; pixels keep their axes.
        let logits = if let [count] = shape { output.reshape([*count, output.dim(-1)?]) } else { output };
        let loss = logits.cross_entropy(&labels);
        adam.step(loss.backward()?)?;
        Ok(loss)
    }
}
