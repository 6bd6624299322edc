//! Walks the public ops of `Tensor`, as the source declares them: each has documentation and samples, or a stated reason.

use crate::samples::samples;
use std::path::Path;

/// Methods that are not ops: how values are made, marked and moved. Each is tested elsewhere.
const NOT_OPS: [(&str, &str); 18] = [
    ("arange", "ops::creation"),
    ("detach", "samples `detach`"),
    ("eye", "ops::creation"),
    ("from_host", "every sample"),
    ("from_slice", "every sample"),
    ("full", "ops::creation"),
    ("full_like", "used by samples"),
    ("full_of", "ops::creation"),
    ("iota", "ops::creation"),
    ("ones", "ops::creation"),
    ("ones_like", "gradients"),
    ("rand", "ops::random_numbers_are_bit_equal_everywhere"),
    ("randn", "ops::random_numbers_are_bit_equal_everywhere"),
    ("random_bits", "ops::random_numbers_are_bit_equal_everywhere"),
    ("scalar", "a literal"),
    ("to_device", "refusals::operands_of_two_devices_are_refused"),
    ("variable", "gradients"),
    ("zeros", "ops::creation"),
];

/// The public methods of `src/tensor` that return tensors, with the line above each.
fn declared() -> Vec<(String, bool)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tensor");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).expect("the source is at hand") {
        let text = std::fs::read_to_string(entry.expect("readable").path()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix("pub fn ") else { continue };
            let signature: String = lines[i..(i + 4).min(lines.len())].join(" ");
            let signature = signature.split('{').next().unwrap_or_default();
            let method = signature.contains("&self") || signature.contains("&[&Self]");
            if !method
                || !["-> Self", "-> (Self", "-> Result<Self>", "-> Result<Vec<Self>>"].iter().any(|r| signature.contains(r))
            {
                continue;
            }
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let documented = lines[..i]
                .iter()
                .rev()
                .find(|l| !l.trim_start().starts_with("#["))
                .is_some_and(|l| l.trim_start().starts_with("///"));
            // A macro's methods are rows of its table, which `missing_docs` covers.
            if !name.is_empty() {
                found.push((name, documented));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_op_is_documented_and_sampled() {
    let named: Vec<String> = samples().into_iter().map(|s| s.name).collect();
    // `t` and the operators have samples under other words: the words that name them.
    let alias = |op: &str| match op {
        "t" => vec!["transpose", "matmul of transposes"],
        "gather_rows" | "scatter_add_rows" => vec!["gather_rows", "scatter_add_rows"],
        "where_" => vec!["where"],
        "unsqueeze" => vec!["squeeze"],
        "slice_step" => vec!["slice step", "slice back"],
        "zeros_like" => vec!["where"],
        "powf" => vec!["powf"],
        _ => vec![],
    };
    let mut missing = Vec::new();
    let ops = declared();
    assert!(ops.len() > 50, "only {} ops were found", ops.len());
    for (op, documented) in ops {
        assert!(documented, "{op} has no documentation");
        if NOT_OPS.iter().any(|(n, _)| *n == op) {
            continue;
        }
        let mut words = alias(&op);
        words.push(&op);
        let count = named.iter().filter(|n| words.iter().any(|w| n.starts_with(w))).count();
        if count < 2 {
            missing.push(op);
        }
    }
    assert!(missing.is_empty(), "ops with fewer than 2 samples, each in 6 layouts: {missing:?}");
}
