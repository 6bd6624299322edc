//! The page of errors lists what the enum has.

use std::collections::BTreeSet;
use syn::Item;

fn read(path: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(crate::common::ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_page_of_errors_has_each_of_them() {
    let file = syn::parse_file(&read("src/error.rs")).expect("Rust");
    let variants: Vec<String> = file
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Enum(e) if e.ident == "Error" => Some(e.variants.iter().map(|v| v.ident.to_string())),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(variants.len() > 10, "{variants:?}");
    let page = read("docs/errors.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `Error::"))
        .map(|row| row.trim_end_matches(" |").split(" | ").collect())
        .collect();
    let listed: Vec<String> = rows.iter().map(|row| row[0].trim_end_matches('`').to_owned()).collect();
    assert_eq!(listed, variants, "rows of docs/errors.md, in the enum's order");
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
    for row in rows {
        assert!(row.len() == 3 && row[1..].iter().all(|cell| cell.len() > 5), "{row:?}");
    }
}
