//! Steps with this library.

use crate::networks;
use crate::shared::figures::{Figures, milliseconds, resident, time};
use crate::shared::rows::{Batch, HostInput, Row};
use std::rc::Rc;
use std::time::Instant;
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, DeviceKind, Result, Tensor, no_grad};

/// Steps that measure the host's part; the median counts.
const HOST_STEPS: usize = 7;
const MIB: f64 = 1024.0 * 1024.0;

/// A row's figures, from this process.
pub fn take(row: &'static Row, device: &str, steps: u32) -> Result<Figures> {
    let device = Device::named(device)?;
    let start_memory = resident();
    let mut work = Work::new(row, &device)?;
    let parameters = work.model.parameters()?.iter().map(|p| p.shape().numel()).sum();
    let times = time(steps, || {
        let value = work.submit()?;
        if row.is_training() { value.item() } else { Ok(f64::from(value.to_vec::<f32>()?[0])) }
    })?;
    let device_memory = Some(device.counters().bytes_peak as f64 / MIB);
    let mut host = (0..HOST_STEPS).map(|_| work.host()).collect::<Result<Vec<_>>>()?;
    host.sort_by(f64::total_cmp);
    let host = Some(host[HOST_STEPS / 2]);
    Ok(Figures { program: "wgrad", device: device.to_string(), parameters, times, host, start_memory, device_memory })
}

/// A row's network and its batches.
struct Work {
    row: &'static Row,
    device: Device,
    model: Box<dyn Module>,
    adam: Option<Adam>,
    batches: Box<dyn Iterator<Item = Rc<Batch>>>,
}

impl Work {
    fn new(row: &'static Row, device: &Device) -> Result<Self> {
        let model = networks::build(row.network, &Init::new(device, 0))?;
        let params = model.parameters()?;
        let adam = if row.is_training() { Some(Adam::new(&params, AdamConfig::default())?) } else { None };
        if adam.is_none() {
            model.eval();
        }
        let values: Vec<Tensor> = params.iter().map(|p| p.tensor().detach()).collect();
        Tensor::eval_all(&values.iter().collect::<Vec<_>>())?;
        device.flush()?;
        Ok(Self { row, device: device.clone(), model, adam, batches: Box::new(row.batches()) })
    }

    /// Queues a step: a batch is uploaded, and the loss or the outputs remain to be read.
    fn submit(&mut self) -> Result<Tensor> {
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

    /// What a step costs the host, in milliseconds. The CPU device computes while a step is submitted, in launches that a profile
    /// knows. An adapter computes in parallel; the host waits for it where a step has several submissions, which is not counted
    /// where the system reports the processor time of a thread.
    fn host(&mut self) -> Result<f64> {
        let device = self.device.clone();
        device.flush()?;
        if device.kind() == DeviceKind::Cpu {
            let (_, profile) = device.profile(|| self.submit())?;
            return Ok(profile.wall.saturating_sub(profile.time().unwrap_or_default()).as_secs_f64() * 1e3);
        }
        let (start, before) = (Instant::now(), processor_time());
        drop(self.submit()?);
        let wall = milliseconds(start);
        Ok(before.zip(processor_time()).map_or(wall, |(before, after)| after - before))
    }
}

/// The processor time of this thread, in milliseconds. Linux only.
fn processor_time() -> Option<f64> {
    // The scheduler counts a thread's time when it may take another.
    std::thread::yield_now();
    let nanoseconds: f64 =
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}
