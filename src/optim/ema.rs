//! Running means of weights.

use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict};
use crate::param::Param;
use crate::tensor::Tensor;
use crate::tensor::node::no_grad;

/// Exponential moving averages of parameters, which often do better on new data than the parameters themselves:
/// `s = decay · s + (1 - decay) · w`, from `s = w`.
///
/// Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html) with `get_ema_multi_avg_fn`.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    params: Vec<Param>,
    averages: Vec<Param>,
    swapped: bool,
}

impl Ema {
    /// Averages that start as the parameters are now. Give buffers too, if batch normalisation is to be averaged.
    ///
    /// # Errors
    /// No parameters; a decay outside 0..1; evaluation errors.
    pub fn new(params: &[Param], decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::argument("Ema", format!("decay is {decay}"), "use a value in 0..1, such as 0.999"));
        }
        if params.is_empty() {
            return Err(Error::argument("Ema", "there are no parameters", "give the model's parameters()"));
        }
        let copy = |p: &Param| no_grad(|| Param::buffer(&p.tensor().detach()));
        let averages = params.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { decay, params: params.to_vec(), averages, swapped: false })
    }

    /// Moves the averages towards the parameters, in one submission. Call it after each of the optimizer's steps.
    ///
    /// # Errors
    /// The averages are swapped in; evaluation errors.
    pub fn update(&mut self) -> Result<()> {
        if self.swapped {
            return Err(Error::argument("Ema::update", "the averages are swapped in", "swap them out before training goes on"));
        }
        no_grad(|| {
            for (param, average) in self.params.iter().zip(&self.averages) {
                let next = average.tensor() * self.decay + param.tensor().detach() * (1.0 - self.decay);
                average.assign_with(&next, &next)?;
            }
            self.flush()
        })
    }

    /// Exchanges parameters and averages: once to evaluate or save with the averages, once more to train on.
    ///
    /// # Errors
    /// Evaluation errors.
    pub fn swap(&mut self) -> Result<()> {
        no_grad(|| {
            let old: Vec<Tensor> = self.params.iter().map(|p| p.tensor().detach()).collect();
            let new: Vec<Tensor> = self.averages.iter().map(|p| p.tensor().detach()).collect();
            let pairs: Vec<(&Param, &Tensor)> = self.params.iter().zip(&new).chain(self.averages.iter().zip(&old)).collect();
            Param::set_all(&pairs)
        })?;
        self.swapped = !self.swapped;
        Ok(())
    }

    /// Whether the parameters hold the averages now.
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// The averages, in the order of the parameters; while swapped in, the parameters' own values.
    pub fn averages(&self) -> Vec<Tensor> {
        self.averages.iter().map(Param::tensor).collect()
    }

    fn flush(&self) -> Result<()> {
        self.params.first().map_or(Ok(()), |p| p.device().flush())
    }

    /// The averages and the decay in host memory. Waits for the device.
    ///
    /// # Errors
    /// The averages are swapped in; a lost device.
    pub fn state_dict(&self) -> Result<StateDict> {
        if self.swapped {
            return Err(Error::argument("Ema::state_dict", "the averages are swapped in", "swap them out first"));
        }
        let mut dict = StateDict::new();
        for (i, average) in self.averages.iter().enumerate() {
            let tensor = HostTensor::new(average.dtype(), average.shape(), average.tensor().to_host()?)?;
            dict.insert(format!("ema.{i}"), tensor);
        }
        dict.insert("ema.decay", HostTensor::scalar(self.decay));
        Ok(dict)
    }

    /// Restores what [`Ema::state_dict`] gave.
    ///
    /// # Errors
    /// The state is of other parameters; nothing has changed then.
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<()> {
        let bad = |reason| Error::argument("Ema::load_state_dict", reason, "load the averages of the same model");
        let own = dict.under("ema.");
        let decay = own.tensors.get("decay").and_then(|t| t.data.to_f64().first().copied());
        let decay = decay.filter(|d| (0.0..1.0).contains(d)).ok_or_else(|| bad("there is no decay in 0..1".to_owned()))?;
        if own.tensors.len() != self.averages.len() + 1 {
            let reason = format!("the file holds {} averages, and there are {}", own.tensors.len() - 1, self.averages.len());
            return Err(bad(reason));
        }
        let mut values = Vec::new();
        for (i, average) in self.averages.iter().enumerate() {
            let found = own.tensors.get(&i.to_string()).ok_or_else(|| bad(format!("average {i} is missing")))?;
            if found.shape != average.shape() || found.dtype != average.dtype() {
                let (a, b) = (average.dtype(), average.shape());
                return Err(bad(format!("average {i} is {} {}, not {a} {b}", found.dtype, found.shape)));
            }
            values.push(Tensor::from_host(found.data.clone(), found.dtype, found.shape, average.device())?);
        }
        Param::set_all(&self.averages.iter().zip(&values).collect::<Vec<_>>())?;
        self.decay = decay;
        Ok(())
    }
}
