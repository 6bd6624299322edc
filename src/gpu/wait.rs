//! Waits that end: with what is waited for, with the loss of the device, or once nothing has come to an end for too long.
//!
//! wgpu can wait without a limit. A driver that hangs would then hang the program, and a loss that another thread is told of would
//! not end the wait. So each wait is made of short ones. Nothing else here blocks on the device: error scopes and mappings are
//! futures that are ready by the time they are asked.

use super::context::Context;
use super::failure::{Failure, record};
use super::loss::caught;
use super::watch::Patience;
use crate::error::Result;
use std::fmt;
use std::time::Duration;

/// How long a wait keeps others from submitting, the first time. From then on it leaves the device to them between two looks.
const ALONE: Duration = Duration::from_millis(4);

/// The time between two looks.
const PAUSE: Duration = Duration::from_micros(100);

/// What a wait knows of its short waits so far.
#[derive(Default)]
struct Looks {
    not_the_first: bool,
    /// Other threads use the device.
    in_company: bool,
}

impl Context {
    /// Blocks until the queue has done everything, or one submission; `what` says for what, in an error.
    ///
    /// # Errors
    /// A lost device; one that has stalled.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>, what: fmt::Arguments<'_>) -> Result<()> {
        let mut patience = Patience::new(&self.watch);
        let mut looks = Looks::default();
        while !self.wait_a_little(submission.clone(), &mut looks)? {
            self.endure(&mut patience, what)?;
        }
        Ok(())
    }

    /// Blocks until `done`, which the callback of a submission under way makes true.
    ///
    /// # Errors
    /// As [`Context::wait`].
    pub fn wait_until(&self, done: impl Fn() -> bool, what: fmt::Arguments<'_>) -> Result<()> {
        let mut patience = Patience::new(&self.watch);
        let mut looks = Looks::default();
        while !done() {
            // Whatever is under way. The callback may be another thread's to run, which has not got round to it yet.
            if self.wait_a_little(None, &mut looks)? && !done() {
                std::thread::sleep(Duration::from_micros(50));
            }
            self.endure(&mut patience, what)?;
        }
        Ok(())
    }

    /// One of the short waits, and whether it was not in vain.
    fn wait_a_little(&self, submission: Option<wgpu::SubmissionIndex>, looks: &mut Looks) -> Result<bool> {
        let before = self.gate.arrivals();
        let timeout = if looks.in_company { Duration::ZERO } else { ALONE };
        let arrived =
            self.poll(wgpu::PollType::Wait { submission_index: submission, timeout: Some(timeout) }, looks.not_the_first)?;
        *looks = Looks { not_the_first: true, in_company: looks.in_company || self.gate.arrivals() != before + 1 };
        if !arrived && looks.in_company {
            std::thread::sleep(PAUSE);
        }
        Ok(arrived)
    }

    /// After a short wait in vain: fails if that has gone on for too long.
    fn endure(&self, patience: &mut Patience, what: fmt::Arguments<'_>) -> Result<()> {
        if let Some(stuck) = patience.is_over(&self.watch) {
            let waited_for = format!("{what}, behind {stuck}");
            if record(&self.failure, Failure::Stalled { waited_for, limit: self.watch.limit }) {
                self.leave();
            }
        }
        self.check_lost()
    }

    /// Holds a stalled device until it is idle, for as long as that takes: wgpu waits for it without a limit when the last handle
    /// drops, and that must not be the caller's.
    fn leave(&self) {
        let (device, queue) = (self.device.clone(), self.queue.clone());
        let until_idle = move || {
            // A lost device panics, and is idle. A poll that waits would keep others from releasing buffers.
            while matches!(caught(|| device.poll(wgpu::PollType::Poll)), Ok(Ok(status)) if !status.is_queue_empty()) {
                std::thread::sleep(Duration::from_secs(1));
            }
            drop((device, queue));
        };
        let (device, queue) = (self.device.clone(), self.queue.clone());
        if std::thread::Builder::new().name("wgrad-stalled".into()).spawn(until_idle).is_err() {
            std::mem::forget((device, queue));
        }
    }
}
