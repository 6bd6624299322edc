//! Learns to write: a small GPT on the characters of a book, tested on the last tenth of it.
//!
//! ```text
//! cargo run --release --example text
//! cargo run --release --example text -- --load target/text/text.safetensors --prompt "LOVE, n.  " --temperature 0.5 --top-k 20
//! ```
//!
//! A character is a Unicode scalar value; in the bundled ASCII text, a byte. The vocabulary is the characters of the first nine
//! tenths plus a placeholder for all others. Each held-out character is predicted once, from the 57 to 64 characters before it,
//! and the result is the mean of `-log2 p`; an unknown character would cost 20 bits more, as many as it takes to say which one it
//! is.
//!
//! At its defaults it prints, on the CPU device in three and a half minutes on two cores:
//!
//! ```text
//! data: 342536 characters to train on and 38059 to test on, 83 different ones
//! model: 812288 parameters
//! step   600/6000  training 3.617 bits  ...
//! ...
//! step  6000/6000  training 2.240 bits  ...
//! test: 2.259 bits per character
//! ...
//! COMPUTER, n.  A law thoUghter of permitty who did not used to parts to a
//! Priest and country of a passion of sturn in most disactic to power
//! and instible by the devot.  The Hades Perroop by his tellow the state
//! ...
//! ```
//!
//! With `xz -9` the whole book takes 2.84 bits per character; character frequencies alone give 4.47 on the test part.

use clap::Parser;
use common::{Outcome, above_zero, finish, open_device, positive, print, share, usage};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wgrad::data::{CharTokenizer, Dataset, Tokenizer, Tokens, read_text};
use wgrad::io::StateDict;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{Gpt, GptConfig};
use wgrad::nn::{Init, Module};
use wgrad::optim::{AdamW, AdamWConfig, Optimizer, Schedule, split_decay};
use wgrad::train::{Meter, Progress};
use wgrad::{Device, Error, Generator, Tensor, no_grad};

mod common;

/// The placeholder for a character that the training text does not have: one that Unicode promises never to use.
const UNKNOWN: char = '\u{ffff}';
/// How many characters there are: Unicode's scalar values.
const ALL_CHARACTERS: u32 = 0x11_0000 - 0x800;

/// Train a small GPT on the characters of a text, test it on the last tenth, and let it write.
#[derive(Debug, Parser)]
struct Options {
    /// gpu, software, cpu, or an index or part of a name that `--example devices` lists; default: a GPU if there is one, else cpu
    #[arg(long)]
    device: Option<String>,
    /// UTF-8 text; the last tenth is for testing
    #[arg(long, default_value = "data/text/devils-dictionary.txt")]
    data: PathBuf,
    /// Steps of training
    #[arg(long, default_value_t = 6000, value_parser = positive)]
    steps: usize,
    /// Windows of text per step
    #[arg(long, default_value_t = 16, value_parser = positive)]
    batch: usize,
    /// Characters per window, which is as far as the model looks back
    #[arg(long, default_value_t = 64, value_parser = positive)]
    context: usize,
    /// Transformer blocks
    #[arg(long, default_value_t = 4, value_parser = positive)]
    layers: usize,
    /// Attention heads per block
    #[arg(long, default_value_t = 4, value_parser = positive)]
    heads: usize,
    /// Width of the model; a multiple of the heads
    #[arg(long, default_value_t = 128, value_parser = positive)]
    width: usize,
    /// Share of activations that each step drops
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    dropout: f64,
    /// Highest learning rate
    #[arg(long, default_value_t = 2e-3, value_parser = above_zero)]
    lr: f64,
    /// Seed of weights, windows, dropout and samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the weights go
    #[arg(long, default_value = "target/text/text.safetensors")]
    save: PathBuf,
    /// Weights of an earlier run with the same options to write with, instead of training and testing
    #[arg(long)]
    load: Option<PathBuf>,
    /// The text that the model continues
    #[arg(long, default_value = "COMPUTER, n.  ")]
    prompt: String,
    /// Characters to write
    #[arg(long, default_value_t = 600)]
    length: usize,
    /// Below 1 for likelier text, above 1 for more surprising text
    #[arg(long, default_value_t = 0.8, value_parser = above_zero)]
    temperature: f64,
    /// Choose only among this many of the likeliest characters
    #[arg(long, value_parser = positive)]
    top_k: Option<usize>,
}

/// The text as tokens. The vocabulary is the characters of the training part plus one placeholder for all others.
struct Text {
    tokenizer: CharTokenizer,
    train: Tokens,
    /// The last window of the training part, then all held-out characters.
    test: Tokens,
    held_out: usize,
    /// How many held-out characters the training part does not have.
    unknown: usize,
    prompt: Vec<i32>,
}

impl Text {
    fn load(options: &Options) -> Outcome<Self> {
        let text = read_text(&options.data)?;
        let length = text.chars().count();
        let cut = length - length / 10;
        let (before, after) = text.split_at(text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at));
        if cut <= options.context || after.is_empty() {
            return Err(usage(format!(
                "{}: {cut} characters to train on and {} to test on; --context {} needs a longer text",
                options.data.display(),
                length - cut,
                options.context
            )));
        }
        let strict = CharTokenizer::of(before)?;
        if options.prompt.is_empty() {
            return Err(usage("--prompt is empty; give at least one character"));
        }
        if let Some(new) = options.prompt.chars().find(|c| !strict.characters().contains(c)) {
            return Err(usage(format!("--prompt has {new:?}, which the training text does not have; leave it out")));
        }
        let prompt = strict.encode(&options.prompt)?;
        let tokenizer = strict.with_unknown(UNKNOWN);
        let (train, held_out) = (tokenizer.encode(before)?, tokenizer.encode(after)?);
        let unknown = held_out.iter().filter(|&&t| Some(t) == tokenizer.unknown()).count();
        let test = [&train[cut - options.context..], &held_out].concat();
        Ok(Self { tokenizer, train: Tokens::new(train), test: Tokens::new(test), held_out: held_out.len(), unknown, prompt })
    }

    /// How many characters the model can write.
    fn known(&self) -> usize {
        self.tokenizer.vocabulary() - 1
    }
}

/// The cross-entropy of the held-out characters in bits, each predicted once, from the characters before it: windows overlap, and
/// only the last `stride` predictions of each count.
fn bits_per_character(model: &Gpt, text: &Text, context: usize, device: &Device) -> Result<f64, Error> {
    let stride = context.div_ceil(8);
    let all = text.test.windows(context)?.stride(1)?;
    let mut windows = Vec::new();
    let mut next = context;
    while next < text.test.len() {
        let end = text.test.len().min(next + stride);
        windows.push((end - 1 - context, end - next));
        next = end;
    }
    let mut nats = 0.0;
    for windows in windows.chunks(32) {
        let starts: Vec<usize> = windows.iter().map(|w| w.0).collect();
        let (x, y) = all.batch(&starts, device)?;
        let last = |t: &Tensor| t.slice(1, -(stride as isize), context as isize).flatten(0, 1);
        let losses = no_grad(|| {
            let logits = model.lm_head.forward(&last(&model.transformer.forward(&x)?))?;
            cross_entropy(&logits, &last(&y), Reduction::None)?.to_vec::<f32>()
        })?;
        for (losses, (_, fresh)) in losses.chunks(stride).zip(windows) {
            nats += losses[stride - fresh..].iter().map(|&l| f64::from(l)).sum::<f64>();
        }
    }
    // The placeholder only says that a character is new; which one of all others it is costs extra.
    let which = (f64::from(ALL_CHARACTERS) - text.known() as f64).log2();
    let bits = nats / std::f64::consts::LN_2 + text.unknown as f64 * which;
    Ok(bits / text.held_out as f64)
}

/// Trains until the steps are done or `stop` is set.
fn train(model: &Gpt, text: &Text, options: &Options, init: &Init, stop: &AtomicBool) -> Outcome<()> {
    let start = Instant::now();
    // The second moment averages over about 100 steps, as there are few steps; biases and norm layers do not decay.
    let config = AdamWConfig { betas: (0.9, 0.99), weight_decay: 0.1, ..AdamWConfig::default() };
    let mut optimizer = AdamW::with_groups(split_decay(model, config, AdamWConfig { weight_decay: 0.0, ..config })?)?;
    let (steps, batch, context) = (options.steps, options.batch, options.context);
    let schedule = Schedule::Cosine { base: options.lr, warmup: steps.div_ceil(20), total: steps, floor: 0.02 };
    let report = steps.div_ceil(10);
    let windows = text.train.windows(context)?.stride(1)?;
    let mut done = 0;
    while done < steps && !stop.load(Ordering::Relaxed) {
        let (first, last) = (done, steps.min(done + report));
        let mut progress = Progress::new(format!("to step {last}"), last - first).unit("characters");
        let mut loss = Meter::new();
        for step in first..last {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (x, y) = windows.batch(&windows.draw(batch, &init.generator, step)?, &init.device)?;
            let logits = model.forward(&x)?.flatten(0, 1);
            let batch_loss = cross_entropy(&logits, &y.flatten(0, 1), Reduction::Mean)?;
            loss.push(&batch_loss, 1.0)?;
            optimizer.set_lr(schedule.lr(step));
            let mut gradients = batch_loss.backward()?;
            gradients.clip_by_norm(1.0)?;
            optimizer.step(gradients)?;
            progress.step(batch * context, loss.recent());
            done = step + 1;
        }
        progress.finish();
        let (bits, seconds) = (loss.mean()? / std::f64::consts::LN_2, start.elapsed().as_secs_f64());
        say!("step {done:>5}/{steps}  training {bits:.3} bits  {seconds:.1} s");
    }
    if done < steps {
        say!("stopped after {done} steps");
    }
    Ok(())
}

/// Continues the prompt, printing each character as it is drawn.
#[allow(clippy::cast_possible_truncation, reason = "token numbers are small")]
fn write(model: &Gpt, text: &Text, options: &Options, init: &Init, stop: &AtomicBool) -> Outcome<()> {
    let generator = Generator::new(options.seed).fork("write");
    let known = text.known();
    let mut tokens = text.prompt.clone();
    print(format_args!("{}", options.prompt))?;
    for _ in 0..options.length {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let seen = &tokens[tokens.len().saturating_sub(options.context)..];
        // A causal model ignores what follows the last character, and with one shape there is one plan.
        let mut window = seen.to_vec();
        window.resize(options.context, 0);
        let window = Tensor::from_slice(&window, [1, options.context], &init.device)?;
        let last = Tensor::from_slice(&[seen.len() as i32 - 1], [1], &init.device)?;
        let drawn = no_grad(|| {
            let logits = model.lm_head.forward(&model.transformer.forward(&window)?.index_select(1, &last))?.flatten(0, -1);
            // Never the placeholder.
            let mut logits = logits.slice(0, 0, known as isize) / options.temperature;
            if let Some(k) = options.top_k.filter(|&k| k < known) {
                let least = logits.topk(k, 0).0.slice(0, -1, k as isize);
                logits = logits.lt(&least).where_(&logits.full_like(f64::NEG_INFINITY), &logits);
            }
            logits.categorical(0, &generator).to_vec::<i32>()
        })?;
        print(format_args!("{}", text.tokenizer.decode(&drawn)?))?;
        tokens.extend(drawn);
    }
    print(format_args!("\n"))
}

fn run(options: &Options, stop: &AtomicBool) -> Outcome<()> {
    let start = Instant::now();
    let device = open_device(options.device.as_deref())?;
    let text = Text::load(options)?;
    say!("data: {} characters to train on and {} to test on, {} different ones", text.train.len(), text.held_out, text.known());
    let init = Init::new(&device, options.seed);
    let config = GptConfig {
        vocab_size: text.tokenizer.vocabulary(),
        block_size: options.context,
        n_layer: options.layers,
        n_head: options.heads,
        n_embd: options.width,
        dropout: options.dropout,
        ..GptConfig::default()
    };
    let model = Gpt::new(config, &init).map_err(usage)?;
    let numbers: usize = model.parameters()?.iter().map(|p| p.shape().numel()).sum();
    say!("model: {numbers} parameters");

    // The settings that must agree for weights to fit.
    let Options { context, layers, heads, width, .. } = options;
    let settings = format!("--context {context} --layers {layers} --heads {heads} --width {width}");
    let characters: String = text.tokenizer.characters().iter().collect();
    if let Some(path) = &options.load {
        let dict = StateDict::load(path)?;
        let (before, known): (String, String) = (dict.note("settings")?, dict.note("characters")?);
        if before != settings {
            return Err(usage(format!("{} was made with {before}, not with {settings}; use the same options", path.display())));
        }
        if known != characters {
            return Err(usage(format!("{} was made from a text with other characters; use the same --data", path.display())));
        }
        model.load_state_dict(&dict)?;
        model.eval();
    } else {
        train(&model, &text, options, &init, stop)?;
        stop.store(false, Ordering::Relaxed);
        model.eval();
        let bits = bits_per_character(&model, &text, *context, &device)?;
        let unknown = if text.unknown == 0 { String::new() } else { format!(", {} of them unknown", text.unknown) };
        say!("test: {bits:.3} bits per character{unknown}");
        let mut dict = model.state_dict()?;
        dict.metadata.insert("settings".into(), settings);
        dict.metadata.insert("characters".into(), characters);
        dict.save(&options.save)?;
        say!("weights: {}\ntotal time {:.1} s", options.save.display(), start.elapsed().as_secs_f64());
    }
    say!("");
    write(&model, &text, options, &init, stop)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Ctrl-C ends the training, and later the writing, early; a second one ends the program.
    let handler = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        eprintln!("warning: Ctrl-C will not save: {error}");
    }
    finish(run(&options, &stop))
}
