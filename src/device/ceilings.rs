//! What a device reaches at best, measured on the spot.

use super::{Ceilings, Device, DeviceKind, Launch};
use crate::error::Result;
use crate::rng::Generator;
use crate::tensor::Tensor;
use std::time::Duration;

/// How often each is measured; the best counts.
const ROUNDS: usize = 4;

impl Device {
    /// The rates of a large product and of a large sum, measured when first asked for: some ten milliseconds, and on a GPU two
    /// kernels to compile. `None` if the device takes no timestamps, or stands for another. [`Device::profile`] compares kernels with them.
    ///
    /// # Errors
    /// Those of an evaluation, such as a lack of memory; a profile is being recorded.
    #[track_caller]
    pub fn ceilings(&self) -> Result<Option<Ceilings>> {
        if let Some(known) = self.executor().ceilings.get() {
            return Ok(*known);
        }
        if self.is_stand_in() {
            return Ok(None);
        }
        let hardware = !matches!(self.kind(), DeviceKind::Cpu | DeviceKind::Software);
        let (side, len) = if hardware { (2048, 1 << 24) } else { (512, 1 << 22) };
        let generator = Generator::new(0);
        let [a, b] = [Tensor::randn([side, side], &generator, self)?, Tensor::randn([side, side], &generator, self)?];
        let [x, y] = [Tensor::randn([len], &generator, self)?, Tensor::randn([len], &generator, self)?];
        Tensor::eval_all(&[&a, &b, &x, &y])?;
        let recording = self.executor().record()?;
        for _ in 0..ROUNDS {
            a.matmul(&b).eval()?;
            (&x + &y).eval()?;
        }
        let launches = recording.finish(self.name()).launches;
        // One kernel may have several launches, which follow each other.
        let rate = |amount: fn(&Launch) -> u64, of: usize| {
            let of_run = |run: usize| launches.iter().filter(move |launch| launch.run == run);
            let rates = (of..2 * ROUNDS).step_by(2).filter_map(|run| {
                let time = of_run(run).map(|launch| launch.time).sum::<Option<Duration>>()?.as_secs_f64();
                (time > 0.0).then(|| of_run(run).map(amount).sum::<u64>() as f64 / time)
            });
            rates.reduce(f64::max)
        };
        let found = rate(|l| l.flops, 0).zip(rate(|l| l.bytes, 1)).map(|(flops, bytes)| Ceilings { flops, bytes });
        Ok(*self.executor().ceilings.get_or_init(|| found))
    }
}
