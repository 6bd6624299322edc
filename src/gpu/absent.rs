//! What takes the place of GPUs in a build without the feature `gpu`: types that have no values, and a list of no adapters.

use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::plan::materialise::Options;
use crate::plan::{Launched, Plan};
use crate::storage::bindings::Bindings;
use crate::storage::gpu::Buffer;
use crate::storage::pool::{Account, KINDS, Workspace};
use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

pub(crate) mod adapters {
    //! None.

    use std::convert::Infallible;

    /// What an adapter lacks.
    #[derive(Debug, Clone)]
    pub(crate) enum Quirk {}

    impl Quirk {
        pub fn text(&self) -> (&'static str, &'static str) {
            match *self {}
        }
    }

    /// An adapter.
    #[derive(Debug, Clone)]
    pub(crate) struct AdapterSummary {
        pub id: usize,
        pub listed_as: usize,
        pub name: String,
        pub backend: String,
        pub kind: Infallible,
        pub driver: String,
        pub limits: Vec<(&'static str, String)>,
        pub quirks: Vec<Quirk>,
        pub also: Vec<String>,
    }

    impl AdapterSummary {
        pub fn is_listed(&self) -> bool {
            match self.kind {}
        }

        pub fn is_software(&self) -> bool {
            match self.kind {}
        }
    }

    /// Always empty.
    pub(crate) fn list() -> Vec<AdapterSummary> {
        Vec::new()
    }
}

pub(crate) mod context {
    //! How a device would be opened.

    use std::time::Duration;

    /// As with the feature.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Options {
        pub clamped: bool,
        pub checks: bool,
        pub hardware_kernels: bool,
        pub short_texts: bool,
        pub self_test: Option<bool>,
        pub submission: Option<Duration>,
        pub stall: Option<Duration>,
    }
}

#[path = "model.rs"]
pub(crate) mod model;

pub(crate) mod download {
    //! Downloads.

    /// There are none.
    #[derive(Debug)]
    pub(crate) enum Download {}
}

/// There are none.
#[derive(Debug)]
pub(crate) struct GpuExecutor {
    never: Infallible,
    pub pipelines: Mutex<Pipelines>,
    pub forms: Forms,
}

/// Nothing to test.
#[derive(Debug)]
pub(crate) enum Forms {}

impl Forms {
    pub fn unproven(&self, _: &str) -> bool {
        match *self {}
    }

    pub fn prove(&self, _: &str) {
        match *self {}
    }

    pub fn replaced(&self) -> Vec<&'static str> {
        match *self {}
    }

    pub fn next(&self, _: &str) -> bool {
        match *self {}
    }

    pub fn record(&self) -> String {
        match *self {}
    }

    pub fn adopt(&self, _: &str, _: &[&'static str]) -> bool {
        match *self {}
    }
}

/// There are none.
#[derive(Debug)]
pub(crate) enum Pipelines {}

/// There are none.
#[derive(Debug)]
pub(crate) enum Compiled {}

/// What a device has done.
pub(crate) struct Counters {
    pub pipelines: u64,
    pub bind_groups: u64,
    pub buffers_created: u64,
    pub submissions: u64,
    pub dispatches: u64,
}

/// What kernel choice may depend on.
pub(crate) struct Caps {
    pub software: bool,
    pub max_binding: u64,
}

impl Pipelines {
    pub fn sources(&self) -> Vec<String> {
        match *self {}
    }
}

impl Compiled {
    pub fn workspace(&self) -> &Workspace {
        match *self {}
    }

    pub fn launches(&self) -> usize {
        match *self {}
    }
}

/// Methods of a device that cannot exist: each as with the feature.
macro_rules! methods {
    ($($name:ident($($argument:ident: $ty:ty),*) -> $result:ty;)*) => {
        impl GpuExecutor {
            $(pub fn $name(&self, $($argument: $ty),*) -> $result {
                $(let _ = $argument;)*
                match self.never {}
            })*
        }
    };
}

methods! {
    name() -> &str;
    identity() -> String;
    faults() -> Arc<crate::faults::Faults>;
    is_lost() -> bool;
    is_software() -> bool;
    caps() -> Caps;
    max_bytes() -> u64;
    plan_options() -> Options;
    upload(data: &HostData) -> Result<Buffer>;
    upload_bytes(bytes: &[u8]) -> Result<Buffer>;
    alloc(bytes: u64) -> Result<Buffer>;
    copy(src: &Buffer, dst: &Buffer) -> Result<()>;
    read(buffer: &Buffer, dtype: DType, len: usize) -> Result<HostData>;
    submit() -> Result<()>;
    wait() -> Result<()>;
    counters() -> Counters;
    account() -> Account;
    limit_memory(bytes: u64) -> ();
    memory_limit() -> u64;
    aside() -> Arc<AtomicU64>;
    allow(bytes: u64, latest: u64) -> ();
    uses() -> u64;
    forget(uses: u64) -> ();
    fit(workspace: &Workspace, submissions: u64) -> ();
    clear() -> Result<()>;
    compile(plan: Arc<Plan>) -> Result<Compiled>;
    run(compiled: &Compiled, bindings: &Bindings) -> Result<Vec<Option<Buffer>>>;
    run_timed(compiled: &Compiled, bindings: &Bindings) -> Result<(Vec<Option<Buffer>>, Vec<Launched>)>;
    start_download(from: &Buffer, bytes: u64, flag: Option<&Buffer>) -> Result<download::Download>;
    stand_in() -> Result<GpuExecutor>;
    hollow_out(kinds: [Arc<AtomicU64>; KINDS]) -> ();
    is_hollow() -> bool;
    at_peak() -> ([u64; KINDS], Account);
    pretend_download(from: &Buffer) -> ();
}

impl GpuExecutor {
    /// Never called: there is no adapter to name.
    pub fn open(adapter: usize, _: context::Options) -> Result<Self> {
        Err(crate::Error::NoDevice {
            wanted: format!("adapter {adapter}"),
            reason: "this build has no GPU devices".into(),
            help: "build wgrad with its default features, or use the CPU device".into(),
        })
    }

    /// Nothing stands for what this build knows nothing of.
    pub fn of_model(model: &model::GpuModel, _: context::Options) -> Result<Self> {
        Err(crate::Error::Unsupported {
            op: "Device::stand_in_for",
            reason: format!("this build knows nothing of GPUs such as {}", model.name),
            help: "build wgrad with its default features".into(),
        })
    }

    pub fn try_download<T>(&self, _: &download::Download, _: impl FnOnce(&[u8], &[u8]) -> T) -> Result<Option<T>> {
        match self.never {}
    }

    pub fn finish_download<T>(&self, _: &download::Download, _: impl FnOnce(&[u8], &[u8]) -> T) -> Result<T> {
        match self.never {}
    }
}
