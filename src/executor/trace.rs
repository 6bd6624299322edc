//! A profile as a trace that Chrome and Perfetto open.

use super::profile::{Pass, Profile};
use serde_json::{Value, json};

impl Profile {
    /// The launches in Chrome's trace format, for `chrome://tracing` and [Perfetto](https://ui.perfetto.dev): a row for each
    /// pass, with launches end to end, since devices tell how long each took and not when it began. Its arguments are layer, run,
    /// plan, step, FLOPs and bytes. A launch without a time takes a microsecond.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions::default())?; // nobody else profiles this one
    /// let a = Tensor::ones([8, 8], &device)?;
    /// let (_, profile) = device.profile(|| a.matmul(&a).eval())?;
    /// assert!(profile.to_chrome_trace().contains("\"name\":\"matmul 8x8x8\""));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn to_chrome_trace(&self) -> String {
        let row = |pass: Pass| pass as u32;
        let named = [Pass::Forward, Pass::Backward, Pass::Step].map(
            |pass| json!({ "name": "thread_name", "ph": "M", "pid": 0, "tid": row(pass), "args": { "name": pass.to_string() } }),
        );
        let mut at = 0.0;
        let launches = self.launches.iter().map(|launch| {
            let micros = launch.time.map_or(1.0, |time| time.as_secs_f64() * 1e6);
            let event = json!({
                "name": launch.kernel, "cat": launch.variant, "ph": "X", "pid": 0, "tid": row(launch.pass), "ts": at, "dur": micros,
                "args": {
                    "layer": launch.layer, "run": launch.run, "plan": launch.plan, "step": launch.step, "flops": launch.flops,
                    "bytes": launch.bytes,
                },
            });
            at += micros;
            event
        });
        let device = json!({ "name": "process_name", "ph": "M", "pid": 0, "args": { "name": self.device } });
        let events: Vec<Value> = std::iter::once(device).chain(named).chain(launches).collect();
        json!({ "displayTimeUnit": "ms", "traceEvents": events }).to_string()
    }
}
