//! The public interface as text, `docs/api.txt`, so that changes show up in the diff. It is read from rustdoc's pages, since
//! macros generate a good part of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// The text of a piece of HTML on one line.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            // Marks a tooltip.
            'ⓘ' => {}
            _ if !in_tag => text.push(c),
            _ => {}
        }
    }
    let plain =
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&nbsp;", " ");
    plain.replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The pieces of text between two marks, in order.
fn pieces<'t>(text: &'t str, from: &'t str, to: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
}

/// The part of a page under a heading of this id, up to the next such heading.
fn section<'t>(page: &'t str, id: &str) -> &'t str {
    let begin = format!("<h2 id=\"{id}\"");
    let Some((_, rest)) = page.split_once(begin.as_str()) else { return "" };
    rest.split("<h2 id=").next().unwrap_or(rest)
}

/// A page's item and its members, one line each.
fn lines_of(place: &str, page: &str, out: &mut BTreeSet<String>) {
    for declaration in pieces(page, "<pre class=\"rust item-decl\">", "</pre>") {
        out.insert(format!("{place}: {}", text_of(declaration)));
    }
    for reexport in pieces(section(page, "reexports"), "<code>", "</code>") {
        out.insert(format!("{place}: {}", text_of(reexport)));
    }
    for method in pieces(section(page, "implementations"), "<h4 class=\"code-header\">", "</h4>") {
        out.insert(format!("{place}: {}", text_of(method)));
    }
    for implementation in pieces(section(page, "trait-implementations"), "<h3 class=\"code-header\">", "</h3>").map(text_of) {
        // What `derive(PartialEq)` generates.
        if !implementation.contains("StructuralPartialEq") {
            out.insert(format!("{place}: {implementation}"));
        }
    }
}

/// A module's page and the pages that it lists: stale pages of removed items may be in the same folder.
fn collect(folder: &Path, place: &str, out: &mut BTreeSet<String>) {
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{place}, {file}: {e}"));
    let page = read("index.html");
    lines_of(place, &page, out);
    for link in pieces(&page, "<dt><a class=\"", "</a>").filter_map(|item| item.split("href=\"").nth(1)?.split('"').next()) {
        match link.strip_suffix("/index.html") {
            Some(module) => collect(&folder.join(module), &format!("{place}::{module}"), out),
            None => {
                // `struct.Tensor.html` and the like.
                let name = link.strip_suffix(".html").and_then(|name| name.split_once('.')).map_or(link, |(_, name)| name);
                lines_of(&format!("{place}::{name}"), &read(link), out);
            }
        }
    }
}

#[test]
fn the_public_interface_is_as_recorded() {
    let root = Path::new(crate::common::ROOT);
    // The same command as in scripts/test, which then finds the work done.
    let documented = Command::new(env!("CARGO"))
        .args(["doc", "-q", "--no-deps"])
        .current_dir(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .output()
        .expect("cargo runs");
    assert!(documented.status.success(), "{}", String::from_utf8_lossy(&documented.stderr));
    let test = std::env::current_exe().expect("this test's program");
    let target = test.ancestors().nth(3).expect("<target>/debug/deps/it");
    let mut lines = BTreeSet::new();
    collect(&target.join("doc/wgrad"), "wgrad", &mut lines);
    assert!(lines.len() > 1000, "only {} lines", lines.len());
    let mut now = String::new();
    lines.iter().for_each(|line| writeln!(now, "{line}").expect("a string grows"));
    let recorded = root.join("docs/api.txt");
    if std::env::var_os("WGRAD_RECORD_API").is_some() {
        std::fs::write(&recorded, &now).expect("writable");
        return;
    }
    let before = std::fs::read_to_string(&recorded).unwrap_or_default();
    let before: BTreeSet<String> = before.lines().map(str::to_owned).collect();
    let changes: Vec<String> = before
        .difference(&lines)
        .map(|line| format!("- {line}"))
        .chain(lines.difference(&before).map(|line| format!("+ {line}")))
        .collect();
    let shown = changes[..changes.len().min(40)].join("\n");
    assert!(
        changes.is_empty(),
        "the public interface has changed in {} lines. If that is meant: WGRAD_RECORD_API=1 cargo test --test it api::\n{shown}",
        changes.len()
    );
}

#[test]
fn pages_are_read_as_they_are_seen() {
    let page = "<pre class=\"rust item-decl\"><code>pub struct <b>A</b>&lt;T&gt; {\n    pub x: &amp;'static str,\n}</code></pre>\
        <h2 id=\"implementations\">I</h2><h3 class=\"code-header\">impl A</h3><h4 class=\"code-header\">pub fn <a>f</a>(&amp;self) -&gt; \
        T<a>ⓘ</a></h4><h2 id=\"trait-implementations\">T</h2><h3 class=\"code-header\">impl Clone for A</h3>\
        <h4 class=\"code-header\">fn clone(&amp;self)</h4><h2 id=\"blanket-implementations\">B</h2><h3 class=\"code-header\">impl B</h3>";
    let mut lines = BTreeSet::new();
    lines_of("wgrad::A", page, &mut lines);
    let expected =
        ["wgrad::A: impl Clone for A", "wgrad::A: pub fn f(&self) -> T", "wgrad::A: pub struct A<T> { pub x: &'static str, }"];
    assert_eq!(lines.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
