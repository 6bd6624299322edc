//! The manifest is correct: every dependency on every platform has a licence that `deny.toml` allows, comes from crates.io,
//! occurs in one version (or is listed as an exception there), and compiles with the Rust version that we promise; and
//! `Cargo.toml` says why each dependency is needed.

use crate::common::ROOT;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(format!("{ROOT}/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// The strings of a list in `deny.toml`: `key = ["a", "b"]`, over any number of lines.
fn denied(key: &str) -> Vec<String> {
    let settings = read("deny.toml");
    let (_, rest) = settings.split_once(&format!("\n{key} = [")).unwrap_or_else(|| panic!("deny.toml has no {key}"));
    let (list, _) = rest.split_once(']').expect("a list ends");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression offers a choice of allowed licences; "/" is an old notation for OR. AND binds more strongly.
fn permits(expression: &str, allowed: &[String]) -> bool {
    fn alternatives<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
        let (mut any, mut all) = (false, true);
        loop {
            let one = match words.next() {
                Some("(") => alternatives(words, allowed),
                Some(name) => allowed.iter().any(|a| a == name),
                None => false,
            };
            all &= one;
            if words.peek() == Some(&"WITH") {
                words.next();
                words.next();
            }
            match words.next() {
                Some("AND") => {}
                Some("OR") => {
                    any |= all;
                    all = true;
                }
                _ => return any | all,
            }
        }
    }
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    alternatives(&mut spaced.split_whitespace().peekable(), allowed)
}

#[test]
fn licences_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned(), "Apache-2.0".to_owned()];
    for (expression, good) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(MIT OR GPL-3.0) AND Zlib", false),
        ("Zlib AND GPL-3.0 OR MIT", true),
        ("MIT OR Zlib AND GPL-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Zlib WITH LLVM-exception OR GPL-3.0", false),
    ] {
        assert_eq!(permits(expression, &allowed), good, "{expression}");
    }
}

#[test]
fn dependencies_are_allowed_single_and_old_enough() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "{} packages", packages.len());
    let allowed = denied("allow");
    let number = |version: &str| -> Vec<u64> { version.split('.').map(|n| n.parse().expect("a number")).collect() };
    let own = packages.iter().find(|p| text(p, "name") == "wgrad").expect("this package");
    let msrv = number(text(own, "rust_version"));
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let (name, version) = (text(package, "name"), text(package, "version"));
        versions.entry(name).or_default().push(version);
        if !permits(text(package, "license"), &allowed) {
            faults.push(format!("{name} {version}: its licence, {}, is not allowed by deny.toml", package["license"]));
        }
        let source = text(package, "source");
        if !name.starts_with("wgrad") && source != "registry+https://github.com/rust-lang/crates.io-index" {
            faults.push(format!("{name} {version} comes from {source:?}, not from crates.io"));
        }
        let needs = package["rust_version"].as_str().map(number);
        if needs.as_ref().is_some_and(|needs| *needs > msrv) {
            faults.push(format!("{name} {version} needs Rust {needs:?}, and we promise {msrv:?}"));
        }
    }
    let skipped = denied("skip");
    for (name, versions) in versions.iter().filter(|(_, v)| v.len() > 1) {
        // All but one version must be listed.
        let listed = versions.iter().filter(|v| skipped.contains(&format!("{name}@{v}"))).count();
        if listed + 1 < versions.len() {
            faults.push(format!("{name} is there in versions {versions:?}, which deny.toml does not skip"));
        }
    }
    for skip in &skipped {
        let (name, version) = skip.split_once('@').expect("name@version");
        if versions.get(name).is_none_or(|v| v.len() < 2 || !v.contains(&version)) {
            faults.push(format!("deny.toml skips {skip}, which is not a duplicate"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("Cargo.toml") + &read("tests/it/Cargo.toml");
    let mut section = "";
    let mut before = "";
    let mut named = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if matches!(section, "[dependencies]" | "[dev-dependencies]") && line.contains(" = ") {
            // Two dependencies that belong together share a comment.
            let reason = before.starts_with("# ") || (before.contains(" = ") && section == "[dev-dependencies]");
            assert!(reason, "no comment above `{line}`");
            named += 1;
        }
        before = line;
    }
    assert!(named > 15, "{named} dependencies were found");
}

/// Public items need no private types: the planner's graphs and other inner modules stay private.
#[test]
fn inner_rooms_are_private() {
    let root = read("src/lib.rs");
    for room in ["cpu", "eval", "executor", "gpu", "graph", "host", "lazy", "plan", "source", "storage", "sync"] {
        assert!(root.contains(&format!("\npub(crate) mod {room};")), "{room} is public");
    }
}
