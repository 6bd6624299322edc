//! Learns to balance a pole on a cart by trial and error: deep Q-learning with a replay memory, and a target network that follows
//! the learning one.
//!
//! ```text
//! cargo run --release --example dqn
//! cargo run --release --example dqn -- --steps 40000 --tau 0.005
//! cargo run --release --example dqn -- --steps 4000 --lr 2e-3
//! ```
//!
//! The last of these prints, on the CPU device:
//!
//! ```text
//! random play: 20.4 steps
//! step    400    18 episodes, the last 18: 22.2 steps
//! ...
//! step   4000   197 episodes, the last 20: 74.5 steps
//!
//! after learning: 254.2 steps of at most 500, mean of 20 episodes
//! ```
//!
//! with the time at the end of each progress line. During learning it also tries random pushes, so the pole falls sooner.

use clap::Parser;
use common::{Outcome, above_zero, finish, learning_rate, open_device, positive, share, usage};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgrad::data::Collate;
use wgrad::nn::loss::{Reduction, huber};
use wgrad::nn::models::Mlp;
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Result, Tensor, no_grad};

mod common;

/// Transitions that the replay memory keeps.
const MEMORY: usize = 10_000;
/// Transitions before learning starts.
const FIRST: usize = 1000;
/// Steps after which an episode counts as a success and ends.
const LONGEST: usize = 500;
/// Episodes played to measure the result.
const EPISODES: usize = 20;

/// Learn to balance a pole on a cart.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// Steps in the environment
    #[arg(long, default_value_t = 20_000, value_parser = positive)]
    steps: usize,
    /// Transitions per learning step
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 5e-4, value_parser = learning_rate)]
    lr: f64,
    /// Discount factor: what a reward is worth one step earlier
    #[arg(long, default_value_t = 0.99, value_parser = share)]
    gamma: f64,
    /// Share of the way that the target network moves to the learning one per step; by default, it is copied every 500 steps
    #[arg(long, value_parser = above_zero)]
    tau: Option<f64>,
    /// Seed of weights, play and draws from the memory
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights go
    #[arg(long, default_value = "target/dqn/dqn.safetensors")]
    save: PathBuf,
}

/// Position, speed, angle (radians) and angular speed.
type State = [f32; 4];

/// A pole of half a metre's half-length and 0.1 kg on a cart of 1 kg, pushed left or right with 10 N fifty times a second.
///
/// Source: A. Barto, R. Sutton, C. Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems",
/// 1983; the bounds are those of Gymnasium's CartPole-v1.
struct CartPole {
    state: State,
    steps: usize,
}

impl CartPole {
    fn new(rng: &mut fastrand::Rng) -> Self {
        Self { state: [(); 4].map(|()| rng.f32() * 0.1 - 0.05), steps: 0 }
    }

    /// Pushes right (1) or left (0); returns whether the pole fell or the cart left the track.
    fn step(&mut self, action: i32) -> bool {
        let [x, v, angle, w] = self.state;
        let (sin, cos) = angle.sin_cos();
        let force = if action == 1 { 10.0 } else { -10.0 };
        let push = (force + 0.05 * w * w * sin) / 1.1;
        let turn = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
        let acceleration = push - 0.05 * turn * cos / 1.1;
        self.state = [x + 0.02 * v, v + 0.02 * acceleration, angle + 0.02 * w, w + 0.02 * turn];
        self.steps += 1;
        self.state[0].abs() > 2.4 || self.state[2].abs() > 0.2095
    }
}

/// A state, the action taken there, the resulting state, and 1 if that ended the episode.
type Transition = (State, i32, State, f32);

/// The action with the highest value.
#[allow(clippy::cast_possible_truncation, reason = "0 or 1")]
fn best(q: &Mlp, state: &State, device: &Device) -> Result<i32> {
    let values = no_grad(|| q.forward(&Tensor::from_slice(state, [1, 4], device)?))?;
    Ok(values.argmax_dim(1).item()? as i32)
}

/// The mean number of steps of some episodes, each action chosen by `act`.
fn play(rng: &mut fastrand::Rng, mut act: impl FnMut(&mut fastrand::Rng, &State) -> Result<i32>) -> Result<f64> {
    let mut steps = 0;
    for _ in 0..EPISODES {
        let mut world = CartPole::new(rng);
        while !world.step(act(rng, &world.state)?) && world.steps < LONGEST {}
        steps += world.steps;
    }
    Ok(steps as f64 / EPISODES as f64)
}

/// The loss of the values of the actions taken: each should be the reward plus the discounted value of the next state's best
/// action. The learning network chooses that action and the target network evaluates it, so that a value is not chosen merely
/// because it is overestimated.
///
/// Source: H. van Hasselt, A. Guez, D. Silver, "Deep reinforcement learning with double Q-learning", 2016.
fn loss(online: &Mlp, target: &Mlp, batch: Vec<Transition>, gamma: f64, device: &Device) -> Result<Tensor> {
    let (state, action, next, ended) = Collate::collate(batch, device)?;
    let wanted = no_grad(|| -> Result<Tensor> {
        let value = target.forward(&next)?.gather(1, &online.forward(&next)?.argmax_keepdim(1));
        Ok(1 + gamma * (1 - ended) * value.squeeze(1)) // every step survived is worth 1
    })?;
    huber(&online.forward(&state)?.gather(1, &action.unsqueeze(1)).squeeze(1), &wanted, 1.0, Reduction::Mean)
}

fn run(options: &Options) -> Outcome<()> {
    if options.tau.is_some_and(|tau| tau > 1.0) {
        return Err(usage("--tau is above 1; use a share, such as 0.005"));
    }
    if options.batch > FIRST {
        return Err(usage(format!("--batch {} is more than the {FIRST} transitions that learning starts with", options.batch)));
    }
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let online = Mlp::new(&[4, 64, 64, 2], &Init::new(&device, options.seed))?;
    let target = online.duplicate()?;
    let mut optimizer = Adam::new(&online.parameters()?, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
    let mut rng = fastrand::Rng::with_seed(options.seed);
    say!("random play: {:.1} steps", play(&mut rng, |rng, _| Ok(rng.i32(0..2)))?);

    let mut memory: VecDeque<Transition> = VecDeque::with_capacity(MEMORY);
    let (mut world, mut lengths) = (CartPole::new(&mut rng), Vec::new());
    for step in 0..options.steps {
        // Over the first 30 % of the steps, random actions become rarer.
        let curious = (1.0 - step as f64 / (0.3 * options.steps as f64)).max(0.02);
        let state = world.state;
        let action = if rng.f64() < curious { rng.i32(0..2) } else { best(&online, &state, &device)? };
        let fell = world.step(action);
        if memory.len() == MEMORY {
            memory.pop_front();
        }
        // An episode that was cut off at the limit still has a future value; one that ended in a fall does not.
        memory.push_back((state, action, world.state, f32::from(u8::from(fell))));
        if fell || world.steps == LONGEST {
            lengths.push(world.steps);
            world = CartPole::new(&mut rng);
        }
        if memory.len() >= FIRST {
            let batch = (0..options.batch).map(|_| memory[rng.usize(..memory.len())]).collect();
            let mut gradients = loss(&online, &target, batch, options.gamma, &device)?.backward()?;
            gradients.clip_by_norm(10.0)?;
            optimizer.step(gradients)?;
            match options.tau {
                Some(tau) => target.lerp_from(&online, tau)?,
                None if step % 500 == 0 => target.copy_from(&online)?,
                None => {}
            }
        }
        if (step + 1) % (options.steps / 10).max(1) == 0 {
            let last = &lengths[lengths.len().saturating_sub(EPISODES)..];
            let mean = last.iter().sum::<usize>() as f64 / last.len().max(1) as f64;
            let seconds = start.elapsed().as_secs_f64();
            say!("step {:>6}  {:>4} episodes, the last {}: {mean:.1} steps  {seconds:.1} s", step + 1, lengths.len(), last.len());
        }
    }
    let learnt = play(&mut rng, |_, state| best(&online, state, &device))?;
    say!("\nafter learning: {learnt:.1} steps of at most {LONGEST}, mean of {EPISODES} episodes");
    online.save(&options.save)?;
    say!("weights: {}", options.save.display());
    Ok(())
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}
