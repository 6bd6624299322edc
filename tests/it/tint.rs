//! Every text that the catalogue emits, in Tint: headless Chromium, on SwiftShader, compiles modules and pipelines. Tint is the
//! other implementation of WGSL and of WebGPU's rules, beside naga, which is the one that wgpu has.
//!
//! The page `tint.html` asks a small server here for texts, while the device under test still emits them.

use crate::common::{Layout, SLOW, device, has_short_texts, open_as, open_unlimited};
use crate::samples::{Sample, samples};
use crate::sweep::{emitted, in_part};
use crate::{fxc, gradients, ops, shaders, training};
use naga::{AddressSpace, StorageAccess};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wgrad::{CacheLimits, ConvOptions, Device, Generator, Tensor};

/// Texts that the page compiles at a time; a large one goes alone.
const BATCH: usize = 16;

/// Unrolled multiply-adds from which on a text is large.
const LARGE: usize = 64;

/// What a text, and the others of its batch, may take: SwiftShader's compiler takes minutes for the largest kernels.
const SECONDS_A_TEXT: u64 = 1_800;

/// The part of the samples that `scripts/test` takes: one in so many.
const ONE_IN: usize = 64;

/// What the page may be silent for beyond that.
const SILENCE: Duration = Duration::from_secs(60);

/// A text, and how the engine binds its buffers.
fn described(id: usize, code: &str) -> Value {
    let module = naga::front::wgsl::parse_str(code).unwrap_or_else(|e| panic!("{}\n{code}", e.emit_to_string(code)));
    let bound = |binding: usize| {
        let is_here =
            |g: &naga::GlobalVariable| g.binding.as_ref().is_some_and(|b| b.group == 0 && b.binding as usize == binding);
        let (_, global) = module.global_variables.iter().find(|(_, g)| is_here(g))?;
        Some(match global.space {
            AddressSpace::Uniform => "uniform",
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => "storage",
            AddressSpace::Storage { .. } => "read-only-storage",
            space => panic!("binding {binding} is in {space:?}\n{code}"),
        })
    };
    let types: Vec<&str> = (0..).map_while(bound).collect();
    let all = module.global_variables.iter().filter(|(_, g)| g.binding.is_some()).count();
    assert_eq!(types.len(), all, "bindings are numbered from 0 in group 0\n{code}");
    let [entry] = &module.entry_points[..] else { panic!("one entry point\n{code}") };
    // SwiftShader's compiler takes minutes and gigabytes over copies of functions with branches: such texts become modules alone.
    // No device whose texts are short has any.
    let pipeline = has_short_texts() || !fxc::repeats(&module);
    json!({ "id": id, "code": code, "entry": entry.name, "types": types, "pipeline": pipeline })
}

/// A page in a browser that compiles texts.
struct Browser {
    listener: TcpListener,
    process: Child,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own processes end when they lose it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What came of the texts.
#[derive(Default)]
struct Verdict {
    adapter: String,
    compiled: usize,
    pipelines: usize,
    refused: Vec<String>,
    slowest: (f64, String),
}

impl Browser {
    fn start() -> Self {
        let program = std::env::var_os("WGRAD_CHROMIUM").unwrap_or_else(|| "chromium".into());
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of this machine");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let profile = tempfile::tempdir().expect("a folder");
        let process = Command::new(&program)
            .args(["--headless", "--no-sandbox", "--no-first-run", "--disable-extensions", "--disable-background-networking"])
            // A large kernel compiles for longer than a frame may take, and containers have little shared memory.
            .args(["--disable-gpu-watchdog", "--disable-gpu-process-crash-limit", "--disable-dev-shm-usage"])
            .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://{}/", listener.local_addr().expect("an address")))
            // Chromium brings drivers of its own.
            .env_remove("VK_DRIVER_FILES")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; WGRAD_CHROMIUM names another Chromium or Chrome", program.display()));
        Self { listener, process, _profile: profile }
    }

    /// The next request of the page.
    fn request(&mut self) -> (TcpStream, String, Vec<u8>) {
        let since = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("a stream that waits");
                    stream.set_read_timeout(Some(SILENCE)).expect("a limit");
                    // A browser opens connections that it does not use, too.
                    if let Some((path, body)) = read(&stream) {
                        return (stream, path, body);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(2)),
                Err(e) => panic!("the server: {e}"),
            }
            if let Some(status) = self.process.try_wait().expect("a process of this one") {
                panic!("the browser has ended: {status}");
            }
            assert!(since.elapsed() < Duration::from_secs(SECONDS_A_TEXT) + SILENCE, "the browser has fallen silent");
        }
    }

    /// Hands texts to the page until there are no more, and takes down what it says of each.
    fn judge(mut self, texts: &Receiver<String>) -> Verdict {
        let (mut verdict, mut given) = (Verdict::default(), 0);
        let mut texts = texts.iter().peekable();
        let mut open: HashMap<usize, String> = HashMap::new();
        loop {
            let (stream, path, body) = self.request();
            let value = || serde_json::from_slice::<Value>(&body).expect("JSON");
            match path.as_str() {
                "/" => answer(&stream, "200 OK", "text/html", include_str!("tint.html")),
                "/opened" => {
                    verdict.adapter = value().as_str().expect("a name").to_owned();
                    answer(&stream, "204 No Content", "text/plain", "");
                }
                "/next" => {
                    let mut batch: Vec<String> = texts.next().into_iter().collect();
                    if batch.iter().all(|text| !is_large(text)) {
                        let more = std::iter::from_fn(|| texts.next_if(|text| !is_large(text)));
                        batch.extend(more.take(BATCH - 1));
                    }
                    if batch.is_empty() {
                        answer(&stream, "204 No Content", "text/plain", "");
                        continue;
                    }
                    let described: Vec<Value> = batch.iter().zip(given..).map(|(text, id)| described(id, text)).collect();
                    open.extend((given..).zip(batch));
                    given += described.len();
                    let page = json!({ "texts": described, "seconds": SECONDS_A_TEXT });
                    answer(&stream, "200 OK", "application/json", &page.to_string());
                }
                "/results" => {
                    for result in value().as_array().expect("results") {
                        let id = result["id"].as_u64().expect("a number") as usize;
                        let text = open.remove(&id).unwrap_or_else(|| panic!("nobody asked for text {id}"));
                        verdict.take(result, text);
                    }
                    answer(&stream, "204 No Content", "text/plain", "");
                }
                "/finished" => break,
                "/failed" => {
                    let lost: Vec<&str> = open.values().map(String::as_str).collect();
                    panic!("the page: {}; it was compiling\n{}", value(), lost.join("\n\n"));
                }
                _ => answer(&stream, "404 Not Found", "text/plain", ""),
            }
        }
        assert!(open.is_empty(), "{} texts were not answered for", open.len());
        verdict
    }
}

impl Verdict {
    fn take(&mut self, result: &Value, text: String) {
        self.compiled += 1;
        self.pipelines += usize::from(result["pipeline"].as_bool().expect("a truth value"));
        let messages = result["messages"].as_array().expect("messages");
        // Warnings, too: other browsers may take them for errors.
        if !messages.is_empty() {
            let said = messages.iter().map(|m| format!("{} at {}:{}: {}\n", m["kind"], m["line"], m["column"], m["message"]));
            let lines = text.lines().zip(1..).map(|(line, n)| format!("{n:4} {line}\n"));
            self.refused.push(said.chain(lines).collect());
        }
        let ms = result["ms"].as_f64().expect("a time");
        if ms > self.slowest.0 {
            self.slowest = (ms, text);
        }
    }
}

fn is_large(text: &str) -> bool {
    text.matches("fma(").count() > LARGE
}

/// The path and the body of an HTTP request; `None` if there was none.
fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

fn answer(mut stream: &TcpStream, status: &str, kind: &str, body: &str) {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("the page listens");
}

/// The way of texts to the page, each of them once.
struct Texts {
    page: SyncSender<String>,
    // Hashes, since the texts would be hundreds of megabytes.
    seen: HashSet<u64>,
    /// How many of them came to the page.
    sent: usize,
}

impl Texts {
    fn send(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            // The same number in every process, unlike a `HashMap`'s.
            if self.seen.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(&text)) {
                self.sent += 1;
                self.page.send(text).expect("the browser is there");
            }
        }
    }
}

/// Where `scripts/sweep` keeps the numbers of the texts that it has had compiled for other devices.
fn known() -> Option<PathBuf> {
    std::env::var_os("WGRAD_TINT_KNOWN").map(PathBuf::from)
}

const UNLIMITED: CacheLimits = CacheLimits { bytes: u64::MAX, plans: usize::MAX };

/// A step of a small network, of kernels that a slow device splits.
fn step(device: &Device) {
    let random = |shape: &[usize]| Tensor::rand(shape, &Generator::new(1), device).and_then(|t| t.variable()).expect("valid");
    let (x, w, v) = (random(&[8, 4, 32, 32]), random(&[8, 4, 3, 3]), random(&[8 * 15 * 15, 40]));
    let y = x.conv2d(&w, None, ConvOptions::default()).relu().max_pool2d(2);
    let loss = y.reshape([8, 8 * 15 * 15]).matmul(&v).log_softmax(1).square().mean();
    let gradients = loss.backward().expect("differentiable");
    [&x, &w, &v].into_iter().for_each(|t| gradients.get(t).and_then(|g| g.eval()).expect("evaluates"));
}

/// What the engine makes of ops and their gradients, optimizers, models, and larger products and convolutions.
fn emit(texts: &mut Texts) {
    for unfused in [false, true] {
        let device = open_unlimited(unfused);
        shaders::emit(&device);
        texts.send(device.shader_sources());
    }
    let slow = open_as(|options| options.submission = Some(SLOW));
    slow.set_cache_limits(UNLIMITED);
    shaders::emit(&slow);
    step(&slow);
    texts.send(slow.shader_sources());
    device().set_cache_limits(UNLIMITED);
    ops::larger_products_agree();
    ops::larger_convolutions_agree();
    texts.send(device().shader_sources());
    let samples = samples();
    let forward: Vec<&Sample> = samples.iter().step_by(if in_part() { ONE_IN } else { 1 }).collect();
    let backward: Vec<&Sample> = forward.iter().copied().filter(|s| s.gradient).collect();
    let contiguous: &'static [Layout] = &[Layout::Contiguous];
    emitted(&forward, Sample::layouts, ops::run_alone, |found| texts.send(found));
    emitted(&backward, |_| contiguous, gradients::run_alone, |found| texts.send(found));
    if !in_part() {
        training::models::train_all();
        texts.send(device().shader_sources());
    }
}

/// Runs with a GPU as the device under test, whose texts they are.
#[test]
#[ignore = "needs Chromium, and takes minutes: scripts/sweep tint; scripts/test takes a part"]
fn every_text_compiles_in_chromium() {
    let browser = Browser::start();
    let (page, texts) = sync_channel(4 * BATCH);
    let server = std::thread::spawn(move || browser.judge(&texts));
    let known = known();
    let before = known.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let seen = before.lines().map(|line| line.parse().expect("a number")).collect();
    let mut texts = Texts { page, seen, sent: 0 };
    emit(&mut texts);
    let Texts { sent, seen, page } = texts;
    drop(page);
    let verdict = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (ms, slowest) = &verdict.slowest;
    let (compiled, pipelines, lines) = (verdict.compiled, verdict.pipelines, slowest.lines().count());
    println!("{compiled} texts in Tint, {pipelines} as pipelines, on {}; {ms:.0} ms for {lines} lines", verdict.adapter);
    assert!(verdict.refused.is_empty(), "{} of {sent} texts are refused:\n{}", verdict.refused.len(), verdict.refused.join("\n"));
    assert!(sent > 100, "{sent} texts");
    assert_eq!(compiled, sent, "each text is compiled");
    // SwiftShader's compiler ends over some.
    assert!(pipelines >= sent / 10 * 9, "{pipelines} pipelines of {sent} texts");
    if let Some(file) = known {
        let lines: String = seen.iter().map(|hash| format!("{hash}\n")).collect();
        std::fs::write(file, lines).expect("writable");
    }
}
