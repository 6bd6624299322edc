//! Compiling texts with clang, and running what comes of it.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// How texts are compiled.
pub(super) struct Build {
    pub name: &'static str,
    pub flags: &'static [&'static str],
    /// How wrong quotients and roots are: see `metal_stdlib.h`.
    pub rough: u8,
    /// Whether subnormal numbers count as 0 when it runs.
    pub flush: bool,
}

const FAST: &[&str] = &["-O2", "-ffast-math", "-fno-math-errno", "-ffp-contract=fast"];

const AS_WRITTEN: &[&str] = &["-O1", "-ffp-contract=off"];

/// The first of [`BUILDS`], which a sample takes.
pub(super) const SAMPLED: usize = 2;

/// Compilations of every kind.
pub(super) const BUILDS: &[Build] = &[
    Build { name: "fast math", flags: FAST, rough: 0, flush: false },
    Build { name: "fast math and rough quotients", flags: FAST, rough: 3, flush: true },
    Build { name: "fast math, flushing subnormals", flags: FAST, rough: 0, flush: true },
    Build { name: "as written", flags: AS_WRITTEN, rough: 0, flush: false },
    Build { name: "rough quotients", flags: AS_WRITTEN, rough: 3, flush: false },
    Build { name: "quotients too large", flags: AS_WRITTEN, rough: 1, flush: false },
    Build { name: "quotients too small", flags: AS_WRITTEN, rough: 2, flush: false },
];

/// The name of clang's program.
fn clang() -> String {
    std::env::var("WGRAD_CLANG").unwrap_or_else(|_| "clang".into())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install clang, or set WGRAD_CLANG"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles a text in a directory; what runs it.
pub(super) fn compile(build: &Build, cpp: &str, directory: &Path) -> Kernels {
    let at = |name: &str| directory.join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("a scratch file is written");
    write("metal_stdlib.h", include_str!("metal_stdlib.h"));
    write("driver.c", include_str!("driver.c"));
    write("kernels.cpp", cpp);
    let mut kernels = Command::new(clang());
    // In Metal's language, 1.0 is a float.
    kernels
        .args(["-std=c++17", "-w", "-fno-exceptions", "-Xclang", "-cl-single-precision-constant", "-c", "-I"])
        .arg(directory)
        .args(build.flags);
    if build.rough > 0 {
        kernels.arg(format!("-DFAST_MATH_QUOTIENTS={}", build.rough));
    }
    if cfg!(target_arch = "x86_64") {
        kernels.arg("-mrecip=none");
    }
    run(kernels.arg(at("kernels.cpp")).arg("-o").arg(at("kernels.o")));
    run(Command::new(clang()).args(["-O1", "-c"]).arg(at("driver.c")).arg("-o").arg(at("driver.o")));
    let program = at("kernels");
    run(Command::new(clang()).arg(at("kernels.o")).arg(at("driver.o")).arg("-lm").arg("-o").arg(&program));
    Kernels::start(&program, build.flush)
}

/// A process that runs kernels over memory that it is given.
pub(super) struct Kernels {
    child: Child,
    jobs: BufWriter<ChildStdin>,
    results: BufReader<ChildStdout>,
}

impl Kernels {
    fn start(program: &Path, flush: bool) -> Self {
        let mut command = Command::new(program);
        if flush {
            command.arg("flush");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let (jobs, results) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, jobs: BufWriter::new(jobs), results: BufReader::new(results) }
    }

    /// Runs a kernel over buffers, in the order of their bindings.
    pub fn run(&mut self, kernel: usize, grid: [u32; 3], shared: u32, buffers: &mut [&mut Vec<u8>]) {
        assert_eq!(grid[2], 1, "grids have two dimensions");
        let job = [kernel as u32, grid[0], grid[1], shared, buffers.len() as u32];
        let mut carry = || -> std::io::Result<()> {
            job.iter().try_for_each(|n| self.jobs.write_all(&n.to_le_bytes()))?;
            for buffer in buffers.iter() {
                self.jobs.write_all(&(buffer.len() as u32).to_le_bytes())?;
                self.jobs.write_all(buffer)?;
            }
            self.jobs.flush()?;
            buffers.iter_mut().try_for_each(|buffer| self.results.read_exact(buffer))
        };
        carry().unwrap_or_else(|e| panic!("kernel {kernel}: {e}; the program ended: {:?}", self.child.try_wait()));
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        // It is the process that this started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
