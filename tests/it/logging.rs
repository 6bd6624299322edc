//! What the library logs, tested in a separate process with a logger that prints.

use crate::common::{device, open, this_program};
use wgrad::train::{AnomalyMode, AnomalyPolicy};
use wgrad::{CacheLimits, Device, Tensor};

/// Prints what is logged.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wgrad::")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Run by the test below in a separate process.
#[test]
fn program() {
    if std::env::var_os("WGRAD_TEST_LOG").is_none() {
        return;
    }
    log::set_logger(&Printer).expect("no other logger");
    log::set_max_level(log::LevelFilter::Debug);
    Device::best().expect("opens");
    let device = open(false);
    device.set_cache_limits(CacheLimits { plans: 1, ..CacheLimits::default() });
    for n in [3, 4] {
        Tensor::ones([n], &device).and_then(|x| x.exp().sum().item()).expect("computes");
    }
    let mode = AnomalyMode::new(AnomalyPolicy::Ignore);
    for _ in 0..2 {
        mode.watch(|| Tensor::full([2], -1.0, &device).and_then(|x| x.log().sum().item())).expect("only tells");
    }
}

#[test]
fn choices_compiles_and_evictions_are_logged() {
    let mut child = this_program();
    child.args(["logging::program", "--exact", "--nocapture", "--color", "never"]);
    let output = child.env("WGRAD_TEST_LOG", "1").env_remove("WGRAD_DEVICE").output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let choice = Device::choice().expect("chooses");
    let mut expected = vec![
        format!("INFO wgrad::device: {choice}"),
        "DEBUG wgrad::compile: a plan of ".into(),
        "DEBUG wgrad::cache: the least recently used of ".into(),
        "WARN wgrad::train: not finite: [log] the result is NaN at [0] of [2], from -1.0; help: ".into(),
    ];
    if device().kind() != wgrad::DeviceKind::Cpu {
        expected.push(format!("INFO wgrad::device: opened {} (", device().name()));
        expected.push(" a pipeline in ".into());
    }
    for line in expected {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert_eq!(text.matches("WARN wgrad::train").count(), 1, "{text}");
}
