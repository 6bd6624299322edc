//! Habits of language that a native technical writer does not have: a table of patterns, searched for in everything that is read.

use std::path::{Path, PathBuf};

/// "one row a step": a count, at most one more word, an article, and one of these.
const PER: &[&str] = &[
    "arena",
    "array",
    "axis",
    "batch",
    "block",
    "call",
    "case",
    "cell",
    "channel",
    "character",
    "class",
    "device",
    "dispatch",
    "element",
    "entry",
    "epoch",
    "family",
    "file",
    "group",
    "image",
    "index",
    "iteration",
    "kernel",
    "label",
    "launch",
    "layer",
    "line",
    "node",
    "op",
    "optimizer",
    "parameter",
    "pass",
    "plan",
    "row",
    "sample",
    "second",
    "slot",
    "step",
    "submission",
    "tensor",
    "test",
    "thread",
    "token",
    "value",
    "word",
];
const COUNTS: &[&str] = &["one", "once", "twice", "two", "three", "four", "five", "eight"];
/// Between a count and an article they begin something else: "one of a row".
const JOINS: &[&str] = &[
    "and", "as", "at", "before", "beside", "by", "for", "from", "has", "if", "in", "into", "is", "of", "on", "or", "over",
    "since", "than", "that", "to", "until", "when", "where", "with", "within",
];
/// "is no F32": what begins with a capital, and these.
const NOT_A: &[&str] = &["class", "duplicate", "float", "module", "movement", "part", "progress", "scalar", "tensor", "variable"];

/// The habits in a text, with their lines.
fn habits(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bare: Vec<&str> = words.iter().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric())).collect();
        // A comma or a full stop ends what a count counts.
        let ends = |i: usize| words[i].ends_with(['.', ',', ';', ':', ')', '|', '"']);
        for i in 0..words.len() {
            let is_count = COUNTS.contains(&bare[i].to_lowercase().as_str()) || bare[i].parse::<u32>().is_ok();
            let article = (i + 1..(i + 3).min(words.len())).find(|&a| matches!(words[a], "a" | "an"));
            if let Some(a) = article.filter(|&a| is_count && a + 1 < words.len() && !(i..a).any(ends))
                && PER.contains(&bare[a + 1])
                && !(i + 1..a).any(|m| JOINS.contains(&bare[m]))
            {
                found.push((n + 1, words[i..a + 2].join(" ")));
            }
            if let [is, no, what] = words[i..(i + 3).min(words.len())]
                && (bare[i], no) == ("is", "no")
                && !is.is_empty()
                && (what.starts_with(|c: char| c.is_uppercase()) || NOT_A.contains(&bare[i + 2]))
            {
                // "there is no GPU" is as it should be.
                let there = i > 0 && bare[i - 1].eq_ignore_ascii_case("there");
                found.extend((!there).then(|| (n + 1, words[i..i + 3].join(" "))));
            }
            if matches!(bare[i], "an" | "no") && bare.get(i + 1) == Some(&"own") {
                found.push((n + 1, words[i..i + 2].join(" ")));
            }
        }
    }
    found
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("readable") {
            collect(&entry.expect("readable").path(), files);
        }
    } else if path.extension().is_some_and(|e| ["rs", "md", "wgsl", "toml", "sh"].iter().any(|known| e == *known)) {
        files.push(path.to_owned());
    }
}

#[test]
fn the_texts_have_none_of_these_habits() {
    let root = Path::new(crate::common::ROOT);
    let mut files = Vec::new();
    for part in [
        "src",
        "shaders",
        "tests",
        "benches",
        "examples",
        "tools",
        "docs",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "Cargo.toml",
    ] {
        collect(&root.join(part), &mut files);
    }
    assert!(files.len() > 350, "only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("it/english.rs")) {
        let text = std::fs::read_to_string(file).expect("text");
        let place = file.strip_prefix(root).expect("below the root").display();
        wrong.extend(habits(&text).into_iter().map(|(line, habit)| format!("{place}:{line}: {habit}")));
    }
    assert!(wrong.is_empty(), "{} habits:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn habits_are_found() {
    let rows = [
        ("one dispatch an arena", 1),
        ("4 bytes an element, once a step", 2),
        ("each holds one a row.", 1),
        ("the file is no WAV file", 1),
        ("it is no part of a checkpoint", 1),
        ("a way of no own, an own way", 2),
        ("one dispatch per arena, once per step", 0),
        ("one of a row, twice on a device, one that a call makes", 0),
        ("if one, a row is left", 0),
        ("there is no GPU, and it is not F32", 0),
        ("is no longer than a row", 0),
    ];
    for (text, count) in rows {
        assert_eq!(habits(text).len(), count, "{text}: {:?}", habits(text));
    }
}
