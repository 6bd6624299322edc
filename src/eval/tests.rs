//! The life of a cell, in all interleavings of a few threads.
//!
//! Threads take turns: each runs to its next point and hands over. An evaluation has points within it, where others may make and
//! drop handles but not evaluate. All orders of turns are tried.

use super::phase;
use crate::device::Device;
use crate::error::Result;
use crate::optim::{Optimizer, Sgd, SgdConfig};
use crate::param::Param;
use crate::tensor::Tensor;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What a thread does; all but the first two need the evaluation lock.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    /// Holds the parameter's value, and a result of it.
    Read,
    /// Lets go of what it holds.
    Drop,
    /// Reads what it holds: the same as always, and the result is twice the value.
    Check,
    /// Subtracts 1 by an optimizer of its own.
    Step,
    /// Goes backward from what it holds and reads the gradient.
    Gradient,
    /// Assigns a value that cannot be computed.
    Fail,
    /// Assigns 100 more, for itself, and has it run.
    Assign,
}

impl Act {
    fn is_free(self) -> bool {
        matches!(self, Self::Read | Self::Drop)
    }
}

/// What one thread of a schedule holds.
struct Actor {
    param: Param,
    sgd: Sgd,
    held: Vec<(Tensor, Tensor, Option<f64>)>,
}

impl Actor {
    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Read => {
                let value = self.param.tensor();
                let twice = &value * 2.0;
                self.held.push((value, twice, None));
            }
            Act::Drop => self.held.clear(),
            Act::Check => {
                for (value, twice, seen) in &mut self.held {
                    let (one, two) = (value.sum().item()?, twice.sum().item()?);
                    assert_eq!(two, 2.0 * one, "a result of another value");
                    assert_eq!(*seen.get_or_insert(one), one, "a value that changes");
                }
            }
            Act::Step => {
                let loss = self.param.tensor().sum();
                self.sgd.step(loss.backward()?)?;
            }
            Act::Gradient => {
                for (_, twice, _) in &self.held {
                    let gradient = twice.square().sum().backward()?.get(&self.param)?;
                    // d(4v²)/dv
                    assert_eq!(gradient.to_vec::<f32>()?, twice.to_vec::<f32>()?.iter().map(|t| 4.0 * t).collect::<Vec<_>>());
                }
            }
            Act::Fail => {
                let n = self.param.shape().numel();
                // A shape of more elements than kernels count; with sizes of 32 bits there is none, and the length of the value is wrong.
                let huge = match 1usize.checked_shl(34) {
                    Some(far) => self.param.tensor().reshape([1, n]).expand([far, n]).sum().expand([n]),
                    None => self.param.tensor().sum().expand([n + 1]),
                };
                assert!(self.param.set(&huge).is_err());
            }
            Act::Assign => {
                let now = self.param.tensor();
                drop(self.param.assign_with(&(&now + 100.0), &now.detach())?);
                drop(now);
                self.param.device().flush()?;
            }
        }
        Ok(())
    }
}

/// A thread that waits for its turns.
struct Player {
    turn: Sender<()>,
    /// Tells whether the thread is within an evaluation, or has come to the end of an act.
    told: Receiver<bool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

fn play(script: &'static [Act], param: &Param) -> Player {
    let (turn, turns) = channel();
    let (tell, told) = channel();
    let param = param.clone();
    let thread = std::thread::spawn(move || {
        let config = SgdConfig { lr: 1.0, ..SgdConfig::default() };
        let mut actor = Actor { sgd: Sgd::new(std::slice::from_ref(&param), config)?, param, held: Vec::new() };
        let turns = Arc::new(Mutex::new(turns));
        let wait = {
            let turns = turns.clone();
            move || turns.lock().unwrap().recv().unwrap_or(())
        };
        tell.send(false).unwrap_or(());
        wait();
        phase::hook({
            let (tell, wait) = (tell.clone(), wait.clone());
            move || {
                tell.send(true).unwrap_or(());
                wait();
            }
        });
        for &act in script {
            actor.act(act)?;
            tell.send(false).unwrap_or(());
            wait();
        }
        Ok(())
    });
    Player { turn, told, thread }
}

/// Plays one schedule: at the n-th turn it picks the `path[n]`-th of those that can move, afterwards always the first. Returns,
/// for each turn, how many could.
fn schedule(scripts: &[&'static [Act]], path: &[usize], device: &Device) -> Vec<usize> {
    let param = Param::new(&Tensor::full([2], 8.0, device).unwrap()).unwrap();
    let players: Vec<Player> = scripts.iter().map(|script| play(script, &param)).collect();
    for player in &players {
        player.told.recv().unwrap();
    }
    let mut done = vec![0usize; scripts.len()];
    let mut within: Option<usize> = None;
    let mut choices = Vec::new();
    loop {
        let can = |i: &usize| match (scripts[*i].get(done[*i]), within) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(act), Some(evaluating)) => *i == evaluating || act.is_free(),
        };
        let movable: Vec<usize> = (0..scripts.len()).filter(can).collect();
        if movable.is_empty() {
            break;
        }
        let chosen = movable[path.get(choices.len()).copied().unwrap_or(0)];
        choices.push(movable.len());
        players[chosen].turn.send(()).unwrap();
        match players[chosen].told.recv() {
            Ok(true) => within = Some(chosen),
            Ok(false) => {
                done[chosen] += 1;
                within = within.filter(|&w| w != chosen);
            }
            // It has failed, which the join reports.
            Err(_) => done[chosen] = scripts[chosen].len(),
        }
    }
    for Player { turn, thread, .. } in players {
        drop(turn);
        thread
            .join()
            .unwrap_or_else(|_| panic!("{scripts:?} by {path:?}"))
            .unwrap_or_else(|e| panic!("{scripts:?} by {path:?}: {e}"));
    }
    let count = |wanted: Act| scripts.iter().flat_map(|s| s.iter()).filter(|a| **a == wanted).count() as f32;
    let expected = 8.0 - count(Act::Step) + 100.0 * count(Act::Assign);
    assert_eq!(param.tensor().to_vec::<f32>().unwrap(), [expected; 2], "{scripts:?} by {path:?}");
    drop(param);
    assert_eq!(device.counters().bytes_kept, 0, "{scripts:?} by {path:?}");
    choices
}

/// The next path in order, after one that had `choices` choices at its turns.
fn next(mut path: Vec<usize>, choices: &[usize]) -> Option<Vec<usize>> {
    path.resize(choices.len(), 0);
    while let Some(last) = path.pop() {
        if last + 1 < choices[path.len()] {
            path.push(last + 1);
            return Some(path);
        }
    }
    None
}

#[test]
fn no_interleaving_takes_a_value_from_its_reader() {
    use Act::{Assign, Check, Drop, Fail, Gradient, Read, Step};
    let scripts: &[&[&'static [Act]]] = &[
        &[&[Step], &[Read, Check]],
        &[&[Step], &[Read, Check], &[Read, Drop]],
        &[&[Step], &[Step], &[Read, Check]],
        &[&[Step], &[Read, Gradient, Check]],
        &[&[Fail], &[Read, Check], &[Step]],
        &[&[Fail, Step], &[Read, Check, Drop]],
        &[&[Assign], &[Read, Check], &[Read, Drop]],
        &[&[Step, Step], &[Read, Check, Check]],
        &[&[Read, Step, Check], &[Read, Step, Check]],
    ];
    let device = Device::cpu_with(crate::device::DeviceOptions::default()).unwrap();
    let mut total = 0;
    for script in scripts {
        let mut path = Some(Vec::new());
        while let Some(taken) = path {
            let choices = schedule(script, &taken, &device);
            path = next(taken, &choices);
            total += 1;
        }
    }
    println!("{total} schedules");
    assert!(total > 1000, "{total} schedules");
}
