//! Running means of weights.

use super::names::Names;
use crate::error::{Error, Result};
use crate::io::number::Range;
use crate::io::{HostTensor, StateDict, StateReport};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;

/// Exponential moving averages of parameters, which often do better on new data than the parameters themselves:
/// `s = decay · s + (1 - decay) · w`, from `s = w`.
///
/// Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992;
/// [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html) with `get_ema_multi_avg_fn`.
#[derive(Debug)]
#[must_use = "averages move only when they are updated"]
pub struct Ema {
    decay: f64,
    params: Vec<Param>,
    averages: Vec<Param>,
    /// The parameters' names in files.
    names: Names,
    swapped: bool,
}

impl Ema {
    /// Averages that start as the parameters are now. Give buffers too, if batch normalisation is to be averaged.
    ///
    /// # Errors
    /// No parameters; a decay outside 0..1; evaluation errors.
    #[track_caller]
    pub fn new(params: &[Param], decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::argument("Ema", format!("decay is {decay}"), "use a value in 0..1, such as 0.999"));
        }
        if params.is_empty() {
            return Err(Error::argument("Ema", "there are no parameters", "give the model's parameters()"));
        }
        let copy = |p: &Param| no_grad(|| Param::buffer(&p.tensor().detach()));
        let averages = params.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { decay, params: params.to_vec(), averages, names: Names::new(params), swapped: false })
    }

    /// Moves the averages towards the parameters, in one submission. Call it after each of the optimizer's steps. Does not wait
    /// for the device.
    ///
    /// # Errors
    /// The averages are swapped in; evaluation errors. No average changes in that case.
    #[track_caller]
    pub fn update(&mut self) -> Result<()> {
        if self.swapped {
            return Err(Error::argument("Ema::update", "the averages are swapped in", "swap them out before training goes on"));
        }
        no_grad(|| {
            let mix = |(p, a): (&Param, &Param)| a.tensor() * self.decay + p.tensor().detach() * (1.0 - self.decay);
            let next: Vec<Tensor> = self.params.iter().zip(&self.averages).map(mix).collect();
            Param::set_all(&self.averages.iter().zip(&next).collect::<Vec<_>>())
        })
    }

    /// Exchanges parameters and averages: once to evaluate or save with the averages, once more to train on.
    ///
    /// # Errors
    /// Evaluation errors; nothing is exchanged in that case.
    #[track_caller]
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

    /// Whether the averages are swapped in now.
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// The averages, in the order of the parameters; while swapped in, the parameters' own values.
    pub fn averages(&self) -> Vec<Tensor> {
        self.averages.iter().map(Param::tensor).collect()
    }

    /// The averages and the decay in host memory. Waits for the device.
    ///
    /// # Errors
    /// The averages are swapped in; a lost device.
    #[track_caller]
    pub fn state_dict(&self) -> Result<StateDict> {
        if self.swapped {
            return Err(Error::argument("Ema::state_dict", "the averages are swapped in", "swap them out first"));
        }
        let mut dict = StateDict::new();
        for (i, average) in self.averages.iter().enumerate() {
            let tensor = HostTensor::new(average.dtype(), average.shape(), average.tensor().to_host()?)?;
            dict.insert(format!("ema.{}.average", self.names.key(i)), tensor)?;
            self.names.write_position(i, "ema.", &mut dict)?;
        }
        dict.insert("ema.decay", HostTensor::scalar(self.decay))?;
        Ok(dict)
    }

    /// Restores what [`Ema::state_dict`] gave, whole or not at all. The decay becomes the file's; the report says if it was
    /// different before.
    ///
    /// # Errors
    /// The averages are swapped in; the state is of other parameters, or its decay is outside 0..1; evaluation errors. Nothing
    /// changes in that case.
    #[track_caller]
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<StateReport> {
        const LOAD: &str = "Ema::load_state_dict";
        if self.swapped {
            // Their cells hold the parameters' own values now, which training goes on with.
            return Err(Error::argument(LOAD, "the averages are swapped in", "swap them out first"));
        }
        #[track_caller]
        fn bad(reason: String) -> Error {
            Error::argument(LOAD, reason, "load the averages of the same model")
        }
        let own = dict.under("ema.");
        let decay = own.number(LOAD, "decay", Range::Factor)?;
        let mut report = StateReport::default();
        let keys = self.names.find(LOAD, &own, &mut report, bad)?;
        let mut values = Vec::new();
        for (average, key) in self.averages.iter().zip(&keys) {
            let Some(found) = own.tensors.get(&format!("{key}.average")).or_else(|| own.tensors.get(key)) else {
                return Err(bad(format!("the average {key} is missing")));
            };
            if found.shape != average.shape() || found.dtype != average.dtype() {
                let (a, b) = (average.dtype(), average.shape());
                return Err(bad(format!("the average {key} is {} {}, not {a} {b}", found.dtype, found.shape)));
            }
            found.check(LOAD, &format!("the average {key}"))?;
            values.push(found);
        }
        let known =
            |name: &str| name == "decay" || keys.iter().any(|k| k == name) || Names::knows(&keys, name, |f| f == "average");
        if let Some(name) = own.unknown(known) {
            return Err(bad(format!("the file holds ema.{name}, and there are {} averages", values.len())));
        }
        let upload = |(found, average): (&HostTensor, &Param)| found.clone().into_tensor(average.device());
        let values = values.into_iter().zip(&self.averages).map(upload).collect::<Result<Vec<_>>>()?;
        Param::set_all(&self.averages.iter().zip(&values).collect::<Vec<_>>())?;
        report.note("ema.decay", self.decay, decay);
        self.decay = decay;
        Ok(report)
    }
}
