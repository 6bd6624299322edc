//! Names of devices, and the environment variable that names one.

use crate::common::this_program;
use std::ffi::OsString;
use wgrad::io::{captures, matches};
use wgrad::{Device, DeviceKind, DeviceOptions, Error, Tensor};

/// What a variable may be set to and no text is.
fn not_unicode() -> OsString {
    #[cfg(windows)]
    return std::os::windows::ffi::OsStringExt::from_wide(&[0xd800]);
    #[cfg(not(windows))]
    return std::os::unix::ffi::OsStringExt::from_vec(b"cpu\xFF".to_vec());
}

#[test]
fn a_device_is_named_by_kind_index_or_name() {
    let list = Device::list();
    let cpu = list.last().expect("the CPU device is always there");
    for wanted in ["cpu", " CPU\n", &cpu.index.to_string(), &format!(" {} ", cpu.index), &cpu.name, "cPu, "] {
        assert_eq!(Device::named(wanted).map(|d| d.kind()).expect(wanted), DeviceKind::Cpu);
    }
    // Numbers past the list's end are indices, too, whatever digits the names contain.
    let digits = |d: &wgrad::DeviceInfo| d.name.split(|c: char| !c.is_ascii_digit()).map(String::from).collect::<Vec<_>>();
    let numbers = list.iter().flat_map(digits).filter(|n| n.parse().is_ok_and(|i: usize| i >= list.len()));
    let mut refused: Vec<String> = numbers.chain([list.len().to_string()]).collect();
    refused.extend(["", " ", "\t\n", "18446744073709551616", "-1", "+0", "no such thing", "best gpu"].map(String::from));
    for wanted in refused {
        let error = Device::named(&wanted).expect_err(&format!("{wanted:?}"));
        assert!(matches!(&error, Error::NoDevice { wanted: w, .. } if *w == wanted), "{error}");
        assert!(error.to_string().contains(&cpu.name) && error.to_string().contains("help: use best, gpu"), "{error}");
    }
    // Everyone who names a device gets the same one; with options, even the default ones, it is opened anew.
    for info in list.iter().filter(|d| d.kind != DeviceKind::Gpu) {
        let shared = Device::named(&info.index.to_string()).expect("opens");
        assert!(shared == Device::named(&info.name).expect("opens") && shared.name() == info.name, "{info:?}");
        let (ones, sum) = (Tensor::ones([2], &shared), Tensor::ones([2], &Device::named(&info.name).expect("opens")));
        assert_eq!((ones.expect("uploads") + sum.expect("uploads")).to_vec::<f32>().expect("mixes"), [2.0; 2]);
        let own = Device::open(info, DeviceOptions::default()).expect("opens");
        assert!(own.kind() == info.kind && shared != own);
    }
    let (best, choice) = (Device::named("best").expect("opens"), Device::choice().expect("chooses"));
    assert!(choice.device.kind == best.kind() && choice.to_string().contains(best.name()), "{choice}");
}

/// Whether this process has loaded Vulkan's loader, where the system lists what it has loaded.
fn has_vulkan() -> bool {
    std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains("libvulkan"))
}

/// Run by the test below in a separate process: prints what [`Device::best`] opens.
#[test]
fn best() {
    match Device::best() {
        Ok(device) => println!("opened {}{}", device.kind(), if has_vulkan() { " after a list of adapters" } else { "" }),
        Err(error @ Error::NoDevice { .. }) => println!("refused {error}"),
        Err(error) => panic!("{error}"),
    }
    Device::named("best").expect("the best device, whatever the variable says");
}

#[test]
fn the_variable_chooses_or_is_refused() {
    // Nothing here depends on the device under test: once is enough.
    if std::env::var_os("WGRAD_TEST_DEVICE").is_some_and(|device| device != "cpu") {
        return;
    }
    let without = match Device::gpu() {
        Ok(_) => "opened gpu",
        Err(_) => "opened cpu",
    };
    let rows: Vec<(Option<OsString>, Vec<&str>)> = vec![
        (None, vec![without]),
        (Some("".into()), vec![without]),
        (Some(" \t".into()), vec![without]),
        (Some("best".into()), vec![without]),
        (Some(" BEST ".into()), vec![without]),
        (Some(" cpu ".into()), vec!["opened cpu\n"]),
        (Some("77777".into()), vec!["refused", "\"77777\"", "WGRAD_DEVICE asks for it", "help: "]),
        (Some("no such thing".into()), vec!["refused", "\"no such thing\"", "WGRAD_DEVICE asks for it", "help: "]),
        (Some(not_unicode()), vec!["refused", "WGRAD_DEVICE is not UTF-8", "help: "]),
    ];
    for (value, expected) in rows {
        let mut child = this_program();
        child.args(["environment::best", "--exact", "--nocapture", "--color", "never"]).env_remove("WGRAD_DEVICE");
        if let Some(value) = &value {
            child.env("WGRAD_DEVICE", value);
        }
        let output = child.output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{value:?}: {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        assert!(expected.iter().all(|piece| text.contains(piece)), "{value:?}: {expected:?} is not in {text}");
    }
}

/// Run by the test below in a separate process.
#[test]
fn profiled() {
    let device = Device::named_with("cpu", DeviceOptions::default()).expect("opens");
    let x = Tensor::ones([4, 4], &device).expect("uploads");
    x.eval().expect("runs");
    assert_eq!(x.matmul(&x).sum().item().expect("computes"), 64.0);
    // Who asks gets a profile of what they ask about.
    let (_, profile) = device.profile(|| x.matmul(&x).eval()).expect("runs");
    assert_eq!(profile.launches.len(), 1);
}

#[test]
fn a_variable_profiles_a_program() {
    // Nothing here depends on the device under test: once is enough.
    if std::env::var_os("WGRAD_TEST_DEVICE").is_some_and(|device| device != "cpu") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.json");
    let rows: Vec<(OsString, Vec<&str>)> = vec![
        ("".into(), vec![]),
        ("table".into(), vec!["matmul 4x4x4", "% of ceiling", "layer", "3 runs of 3 plans"]),
        (file.clone().into(), vec!["WGRAD_PROFILE: ", "launches on CPU", "trace.json"]),
        (folder.path().join("trace.json/inner.json").into(), vec!["WGRAD_PROFILE: ", "trace.json: "]),
        ("tables".into(), vec!["WGRAD_PROFILE=\"tables\" is neither \"table\" nor the name of a .json file"]),
        (not_unicode(), vec!["is neither"]),
    ];
    for (value, expected) in rows {
        let mut child = this_program();
        child.args(["environment::profiled", "--exact", "--nocapture", "--color", "never"]).env("WGRAD_PROFILE", &value);
        let output = child.output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{value:?}: {}: {text}", output.status);
        assert!(expected.iter().all(|piece| text.contains(piece)), "{value:?}: {expected:?} is not in {text}");
        assert_eq!(text.is_empty(), expected.is_empty(), "{value:?}: {text}");
    }
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("written")).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    assert_eq!(events.iter().filter(|event| event["name"] == "matmul 4x4x4").count(), 2, "{trace}");
}

#[test]
fn patterns_take_as_little_as_they_can() {
    let rows: [(&str, &str, Option<&[&str]>); 12] = [
        ("a", "a", Some(&[])),
        ("a", "ab", None),
        ("*", "", Some(&[""])),
        ("**", "ab", Some(&["", "ab"])),
        ("a*", "a.b", Some(&[".b"])),
        ("*b", "a.b.b", Some(&["a.b."])),
        ("*.*.w", "a.b.c.w", Some(&["a", "b.c"])),
        ("*.w", "a.b", None),
        ("a*a", "a", None),
        ("a*b*c", "abc", Some(&["", ""])),
        ("*é*", "aéb", Some(&["a", "b"])),
        ("x*y*z", "xz", None),
    ];
    for (pattern, name, expected) in rows {
        assert_eq!(captures(pattern, name).as_deref(), expected, "{pattern} in {name}");
    }
    // Any number of stars.
    let stars = "*".repeat(300_000);
    assert!(matches(&stars, "layer.weight") && !matches(&(stars + "!"), "layer.weight"));
}
