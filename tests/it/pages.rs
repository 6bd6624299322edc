//! Pages of the documentation: tables of contents name every public item below them once, and the guide's links lead to chapters
//! both in the repository and in rustdoc.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{ImplItem, Item, Type, UseTree, Visibility};

fn read(path: &str) -> String {
    let path = Path::new(crate::common::ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The folder and the text of a file.
type Source = (PathBuf, String);

/// Every Rust file under a folder.
fn sources(folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((folder.to_owned(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn is_tensor(ty: &Type) -> bool {
    matches!(ty, Type::Path(p) if p.path.is_ident("Tensor"))
}

/// The methods that the rows of a macro generate: the name before a colon, as in `neg: Neg, ..;`, or all before an arrow, as in
/// `sum(), sum_dim, sum_keepdim => sums;`.
fn rows(tokens: TokenStream) -> Vec<String> {
    let mut names = Vec::new();
    // Whether more names of the row follow; otherwise its rest is skipped up to the semicolon.
    let (mut open, mut fresh) = (true, Vec::new());
    for token in tokens {
        match token {
            TokenTree::Ident(name) if open => fresh.push(name.to_string()),
            TokenTree::Punct(p) if p.as_char() == ';' => {
                names.append(&mut fresh);
                open = true;
            }
            TokenTree::Punct(p) if matches!(p.as_char(), ':' | '=') => open = false,
            _ => {}
        }
    }
    names
}

/// The public methods of `Tensor` that these files declare, directly or by macros of their folder, and the blocks without a
/// title.
fn methods(sources: &[Source]) -> (Vec<String>, Vec<String>) {
    let files: Vec<_> = sources.iter().map(|(folder, text)| (folder, syn::parse_file(text).unwrap())).collect();
    let items = || files.iter().flat_map(|(folder, file)| file.items.iter().map(move |item| (folder, item)));
    let (mut found, mut untitled, mut makers) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (folder, item) in items() {
        match item {
            Item::Macro(m) if m.ident.is_some() => {
                let (name, body) = (m.ident.as_ref().unwrap().to_string(), m.mac.tokens.to_string());
                if body.contains("impl Tensor {") {
                    if !body.contains("] impl Tensor {") {
                        untitled.push(format!("macro {name}"));
                    }
                    makers.insert((folder, name));
                }
            }
            Item::Impl(block) if block.trait_.is_none() && is_tensor(&block.self_ty) => {
                let public = block.items.iter().filter_map(|item| match item {
                    ImplItem::Fn(f) if matches!(f.vis, Visibility::Public(_)) => Some(f.sig.ident.to_string()),
                    _ => None,
                });
                let public: Vec<String> = public.collect();
                if !block.attrs.iter().any(|a| a.path().is_ident("doc")) {
                    untitled.extend(public.first().map(|first| format!("the block of {first}")));
                }
                found.extend(public);
            }
            _ => {}
        }
    }
    for (folder, item) in items() {
        if let Item::Macro(m) = item
            && m.mac.path.get_ident().is_some_and(|name| makers.contains(&(folder, name.to_string())))
        {
            found.extend(rows(m.mac.tokens.clone()));
        }
    }
    (found, untitled)
}

/// The names in the rows of `Tensor`'s table, `subject!("title": names)`.
fn subjects(sources: &[Source]) -> Vec<String> {
    let calls = sources.iter().flat_map(|(_, text)| text.split("subject!(").skip(1));
    let names = calls.map(|call| call.split_once("\":").expect("a title").1.split_once(')').expect("an end").0);
    names.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// What is not in a list exactly once: missing, duplicate, or unknown.
fn faults(public: &[String], listed: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
    public.iter().for_each(|name| counts.entry(name).or_default().0 += 1);
    listed.iter().for_each(|name| counts.entry(name).or_default().1 += 1);
    counts.iter().filter(|(_, n)| **n != (1, 1)).map(|(name, n)| format!("{name}: {} there, {} listed", n.0, n.1)).collect()
}

#[test]
fn the_page_of_tensor_lists_every_method_under_one_subject() {
    let mut files = Vec::new();
    sources(&Path::new(crate::common::ROOT).join("src"), &mut files);
    let (public, untitled) = methods(&files);
    assert!(public.len() > 200, "only {} methods were found", public.len());
    let faults = faults(&public, &subjects(&files));
    assert!(faults.is_empty(), "the rows of `subject!` in src/tensor: {faults:#?}");
    assert!(untitled.is_empty(), "`impl Tensor` without a title: {untitled:?}");
}

#[test]
fn methods_and_rows_are_found() {
    let text = "/// T.\nimpl Tensor {\npub fn a(&self) {}\npub(crate) fn b(&self) {}\nfn c(&self) {}\n}\n\
        impl Tensor {\npub fn d() {}\n}\nimpl Other {\npub fn e() {}\n}\nimpl Tensor {\nfn f() {}\n}\n\
        macro_rules! made { ($($t:tt)*) => { impl Tensor {} }; }\nmacro_rules! other { ($($t:tt)*) => {}; }\n\
        made! {\n/// G.\ng: G, [1] => i32 [1];\n/// H.\nh(p: f64), h_dim, h_keepdim => hs;\n}\nother! {\ni: I;\n}\n\
        #[doc = subject!(\"one (of [two](x))\": a d\ng)] #[doc = subject!(\"two\": g h h_dim i)]\nuse x as y;\n";
    let elsewhere = "made! {\nj: J;\n}\n";
    let files = [("a".into(), text.to_owned()), ("b".into(), elsewhere.to_owned())];
    let (public, untitled) = methods(&files);
    assert_eq!(public, ["a", "d", "g", "h", "h_dim", "h_keepdim"]);
    assert_eq!(untitled, ["the block of d", "macro made"]);
    let faults = faults(&public, &subjects(&files));
    assert_eq!(faults, ["g: 1 there, 2 listed", "h_keepdim: 1 there, 0 listed", "i: 0 there, 1 listed"]);
}

/// The pages whose tables name what their modules export.
const PAGES: [&str; 5] = ["src/nn/mod.rs", "src/nn/loss.rs", "src/optim/mod.rs", "src/data/mod.rs", "src/train/mod.rs"];

/// The names that a `use` brings in.
fn leaves(tree: &UseTree, found: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, found)),
        UseTree::Name(name) => found.push(name.ident.to_string()),
        UseTree::Rename(name) => found.push(name.rename.to_string()),
        UseTree::Glob(_) => found.push("*".to_owned()),
    }
}

/// What a module's file exports, and the names that its tables link to.
fn page(text: &str) -> (Vec<String>, Vec<String>) {
    let file = syn::parse_file(text).unwrap();
    let mut public = Vec::new();
    for item in &file.items {
        match item {
            Item::Use(item) if matches!(item.vis, Visibility::Public(_)) && item.attrs.is_empty() => {
                leaves(&item.tree, &mut public)
            }
            Item::Mod(item) if matches!(item.vis, Visibility::Public(_)) && item.attrs.is_empty() => {
                public.push(item.ident.to_string())
            }
            _ => {}
        }
    }
    let rows = text.lines().filter(|line| line.starts_with("//! |"));
    let links = rows.flat_map(|row| row.split("[`").skip(1)).filter_map(|link| link.split('`').next());
    let names = links.filter(|name| !name.contains("::")).map(|name| name.trim_end_matches('!').to_owned());
    (public, names.collect())
}

#[test]
fn pages_of_modules_list_what_they_export() {
    for path in PAGES {
        let (public, listed) = page(&read(path));
        assert!(public.len() > 8, "{path}: only {} names were found", public.len());
        let faults = faults(&public, &listed);
        assert!(faults.is_empty(), "the tables at the top of {path}: {faults:#?}");
    }
    let text = "//! | one | [`a`] [`b!`](c) [`A::x`] |\n//! [`d`]\npub use x::{a, y::z as b, d};\npub(crate) use x::e;\n\
        #[doc(hidden)]\npub use x::f;\npub mod g;\nmod h;\n#[doc(hidden)]\npub mod i;\n";
    let (public, listed) = page(text);
    assert_eq!(faults(&public, &listed), ["d: 1 there, 0 listed", "g: 1 there, 0 listed"]);
}

/// `[label]: target` lines.
fn definitions(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    lines.filter(|(_, target)| !target.contains(' ')).collect()
}

#[test]
fn links_of_the_guide_lead_to_chapters_in_both_places() {
    let (pages, modules) = (read("src/guide/links.md"), read("src/guide/mod.rs"));
    let pages = definitions(&pages);
    let folder = Path::new(crate::common::ROOT).join("docs/guide");
    let mut chapters = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = read(&format!("docs/guide/{name}"));
        let included = modules.matches(&format!("#[doc = include_str!(\"../../docs/guide/{name}\")]")).count();
        let included = included + modules.matches(&format!("#![doc = include_str!(\"../../docs/guide/{name}\")]")).count();
        assert_eq!(included, 1, "{name} in src/guide/mod.rs");
        assert!(!text.contains(".md)"), "{name}: links between chapters are [text][label], with the label at the end");
        let files = definitions(&text);
        let used: BTreeSet<&str> = text.split("][").skip(1).filter_map(|rest| rest.split(']').next()).collect();
        for (label, file) in &files {
            assert!(used.contains(label), "{name}: no link to [{label}]");
            assert!(folder.join(file.split('#').next().unwrap()).is_file(), "{name}: there is no {file}");
            // Both lead to the same chapter, and the same heading in it.
            let page = pages.get(label).unwrap_or_else(|| panic!("{name}: src/guide/links.md lacks [{label}]"));
            let stem = |target: &str| target.replace('-', "_").replace(".md", "").replace(".rs", "");
            let last = |target: &str| stem(target).rsplit(['/', ':']).next().map(str::to_owned);
            assert_eq!(last(page), last(file), "{name}: [{label}]");
        }
        assert!(
            used.iter().filter(|label| pages.contains_key(*label)).all(|label| files.contains_key(label)),
            "{name}: {used:?}"
        );
        chapters += 1;
    }
    assert!(chapters > 10, "only {chapters} chapters were found");
}
