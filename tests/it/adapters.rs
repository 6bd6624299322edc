//! Plain `cargo test`, without a choice of device: the suite runs on the CPU device, and this test runs on the adapter if there
//! is one.

use crate::common::this_program;
use std::io::Write;
use wgrad::{Device, DeviceKind};

#[test]
fn the_suite_passes_on_the_adapter_that_is_there() {
    if std::env::var_os("WGRAD_TEST_DEVICE").is_some() {
        return;
    }
    // Directly to standard error: what a test prints is shown only if it fails.
    let say = |line: String| drop(writeln!(std::io::stderr(), "{line}"));
    // A hardware GPU, else a software adapter.
    let Some(adapter) = Device::list().into_iter().find(|d| d.kind != DeviceKind::Cpu) else {
        return say("NOT TESTED: there is no adapter; the tests ran on the CPU device alone".into());
    };
    say(format!("running the tests on {} ({}), too, which takes minutes", adapter.name, adapter.kind));
    let mut child = this_program();
    child.env("WGRAD_TEST_DEVICE", adapter.index.to_string()).env("WGRAD_TEST_PART", "sample").arg("--color=never");
    let output = child.output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let result = text.lines().find(|line| line.starts_with("test result:")).expect("a result");
    say(format!("on {}: {}", adapter.name, result.trim_start_matches("test result: ")));
}
