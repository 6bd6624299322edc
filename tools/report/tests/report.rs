//! Reports of a part of the list, on the software adapter, or where there is none on the GPU, with faults that are pretended.

use std::path::Path;
use std::process::{Command, Output};
use wgrad::{Device, DeviceKind};

/// One of the operations that are tried here.
const PRODUCT: &str = "product 128x10x512 NT";

struct Made {
    output: Output,
    page: String,
    record: serde_json::Value,
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gpu-report"))
}

fn adapter() -> &'static str {
    if Device::list().iter().any(|info| info.kind == DeviceKind::Software) { "software" } else { "gpu" }
}

fn make(folder: &Path, arguments: &[&str]) -> Made {
    let output = program().args(["--device", adapter(), "--out"]).arg(folder).args(arguments).output().expect("runs");
    let read = |ending: &str| {
        let file =
            std::fs::read_dir(folder).expect("a folder").flatten().find(|f| f.file_name().to_string_lossy().ends_with(ending));
        file.map(|f| std::fs::read_to_string(f.path()).expect("text")).unwrap_or_else(|| panic!("no file: {output:?}"))
    };
    let (page, json) = (read(".md"), read(".json"));
    Made { page, record: serde_json::from_str(&json).expect("JSON"), output }
}

/// The outcome of an item, by its name.
fn outcome<'m>(made: &'m Made, name: &str) -> &'m serde_json::Value {
    let items = made.record["items"].as_array().expect("a list");
    &items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name}: {items:?}"))["outcome"]
}

#[test]
fn a_crash_and_a_hang_are_noted_and_the_rest_goes_on() {
    for (pretend, kind, said) in [("crash", "crashed", "the process died"), ("hang", "hung", "not finished in 15 s")] {
        let folder = tempfile::tempdir().expect("a folder");
        let pretended = format!("{pretend}={PRODUCT}");
        let made = make(folder.path(), &["--only", "product.head", "--patience", "15", "--pretend", &pretended]);
        assert_eq!(made.output.status.code(), Some(1), "{:?}", made.output);
        assert!(!outcome(&made, PRODUCT)[kind].is_null(), "{}", made.record);
        for other in ["product 128x512x10 NN", "product 10x512x128 TN", "product 64x1000x512 NT"] {
            let operation = &outcome(&made, other)["operation"];
            assert!(operation["time"].as_f64().is_some_and(|t| t > 0.0), "{operation}");
            assert!(operation["error"].as_f64().is_some_and(|e| e < 1e-4), "{operation}");
        }
        assert!(made.page.contains(said), "{}", made.page);
        assert!(made.page.contains("1 with a fault"), "{}", made.page);
    }
}

/// A program in place of Python, which never reads its input.
fn script(folder: &Path, commands: &str) -> String {
    let path = folder.join("python");
    std::fs::write(&path, format!("#!/bin/sh\n{commands}\n")).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    path.to_string_lossy().into_owned()
}

#[test]
fn a_network_stands_beside_another_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = script(folder.path(), "echo '{\"name\": \"PyTorch 9\", \"steps\": [[\"mlp\", 1e6]]}'");
    let out = folder.path().join("out");
    let made = make(&out, &["--only", "network mlp", "--python", &python]);
    assert_eq!(made.output.status.code(), Some(0), "{:?}", made.output);
    let network = &outcome(&made, "network mlp")["network"];
    assert!(network["loss"].as_f64().is_some_and(f64::is_finite) && network["launches"].as_u64() > Some(5), "{network}");
    assert!(made.page.contains("Beside PyTorch 9") && made.page.contains("| 1000000.00 |"), "{}", made.page);

    let made = make(&out, &["--only", "network mlp", "--python", "no-such-python"]);
    assert!(made.page.contains("Not compared with PyTorch (no-such-python"), "{}", made.page);

    // More errors than a pipe holds, none of them lost to the answer.
    let noisy = script(
        folder.path(),
        "i=0; while [ $i -lt 3000 ]; do echo 'a warning of some length' >&2; i=$((i + 1)); done; echo 'no torch' >&2; exit 1",
    );
    let made = make(&out, &["--only", "network mlp", "--python", &noisy]);
    assert!(made.page.contains(&format!("Not compared with PyTorch ({noisy}: no torch)")), "{}", made.page);
}

#[test]
fn what_time_does_not_allow_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = make(folder.path(), &["--only", "3x3", "--minutes", "0.1"]);
    assert!(made.page.contains("not reached"), "{}", made.page);
    let last = made.record["items"].as_array().and_then(|items| items.last()).expect("items");
    assert_eq!(last["outcome"], "not_reached");
}

#[test]
fn mistakes_are_explained() {
    for (arguments, said) in [
        (&["--device", "no such card"][..], "no adapter is \"no such card\""),
        (&["--device", adapter(), "--only", "no such thing"], "nothing has \"no such thing\""),
        (&["--minuts", "3"], "--minutes"),
    ] {
        let output = program().args(arguments).output().expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(said), "{errors}");
    }
}
