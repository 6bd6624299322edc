//! The house: each room (a top-level module) imports only rooms on lower floors, and no two files import each other, directly or
//! through others.
//!
//! Imports are read from the source: `use` trees with `crate`, `super`, `self`, groups and globs; paths in bodies, types and
//! macros; names that a module re-exports count as belonging to the file that declares them. Test code is left out. There is no
//! list of exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit::{self, Visit};

/// The floors from the ground up: rooms on one floor do not import each other.
const FLOORS: [&[&str]; 23] = [
    &["ending", "sync", "math", "memory"],
    &["dtype", "faults"],
    &["dims"],
    &["error"],
    &["shape"],
    &["atomic", "host", "site"],
    &["source"],
    &["rng"],
    &["graph"],
    &["plan"],
    &["storage"],
    &["cpu", "gpu"],
    &["executor"],
    &["lazy"],
    &["eval"],
    &["device"],
    &["tensor"],
    &["param"],
    &["autodiff", "io"],
    &["nn"],
    &["optim", "data"],
    &["train", "guide"],
    &["lib"],
];

type ModulePath = Vec<String>;

/// One module: a file, or a `mod` with braces in one.
#[derive(Default)]
struct Module {
    file: String,
    /// Names that it imports, and from where, as written and made absolute.
    imports: BTreeMap<String, ModulePath>,
    globs: Vec<ModulePath>,
    /// Names that it declares itself.
    items: BTreeSet<String>,
    /// Absolute paths that its items mention.
    mentions: BTreeSet<ModulePath>,
}

struct House {
    modules: BTreeMap<ModulePath, Module>,
}

fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|a| a.path().is_ident("cfg") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string() == "test"))
}

/// Collects a module's imports and mentions; children become modules of their own.
struct Walk<'a> {
    house: &'a mut House,
    at: ModulePath,
    file: String,
}

impl Walk<'_> {
    fn module(&mut self) -> &mut Module {
        self.house.modules.entry(self.at.clone()).or_default()
    }

    /// Makes a path absolute: without `crate`; `None` for other crates and local names.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut at = self.at.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" | "$crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|s| s == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            // A child module; other first segments are looked up once all modules are known.
            _ => {}
        }
        at.extend(rest.iter().cloned());
        Some(at)
    }

    fn tree(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|t| self.tree(t, prefix.clone())),
            syn::UseTree::Glob(_) => {
                if let Some(path) = self.absolute(&prefix) {
                    self.module().globs.push(path);
                }
            }
            syn::UseTree::Name(_) | syn::UseTree::Rename(_) => {
                let (from, name) = match tree {
                    syn::UseTree::Rename(r) => (r.ident.to_string(), r.rename.to_string()),
                    syn::UseTree::Name(n) => (n.ident.to_string(), n.ident.to_string()),
                    _ => return,
                };
                let name = if from == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
                if from != "self" {
                    prefix.push(from);
                }
                if let Some(path) = self.absolute(&prefix) {
                    self.module().imports.insert(name, path);
                }
            }
        }
    }

    fn mention(&mut self, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            self.module().mentions.insert(path);
        }
    }

    /// Paths among a macro's tokens: identifiers joined by `::`.
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut dollar = false;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.flush(&mut path);
                    }
                    path.push(if dollar { format!("${ident}") } else { ident.to_string() });
                    (colons, dollar) = (0, false);
                }
                proc_macro2::TokenTree::Punct(p) if p.as_char() == ':' => colons += 1,
                proc_macro2::TokenTree::Punct(p) => {
                    dollar = p.as_char() == '$';
                    colons = 0;
                    self.flush(&mut path);
                }
                proc_macro2::TokenTree::Group(group) => {
                    // A group of a `use` tree repeats the path in front of it.
                    let prefix = if colons == 2 { path.clone() } else { Vec::new() };
                    self.flush(&mut path);
                    colons = 0;
                    if prefix.is_empty() { self.tokens(group.stream()) } else { self.mention(&prefix) }
                }
                proc_macro2::TokenTree::Literal(_) => {
                    self.flush(&mut path);
                    colons = 0;
                }
            }
        }
        self.flush(&mut path);
    }

    fn flush(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.mention(path);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs = match item {
            syn::Item::Fn(i) => &i.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Use(i) => &i.attrs,
            syn::Item::Mod(i) => &i.attrs,
            syn::Item::Const(i) => &i.attrs,
            syn::Item::Struct(i) => &i.attrs,
            _ => &Vec::new(),
        };
        if is_test(attrs) {
            return;
        }
        let name = match item {
            syn::Item::Fn(i) => Some(&i.sig.ident),
            syn::Item::Const(i) => Some(&i.ident),
            syn::Item::Static(i) => Some(&i.ident),
            syn::Item::Struct(i) => Some(&i.ident),
            syn::Item::Enum(i) => Some(&i.ident),
            syn::Item::Trait(i) => Some(&i.ident),
            syn::Item::Type(i) => Some(&i.ident),
            _ => None,
        };
        if let Some(name) = name.map(ToString::to_string) {
            self.module().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, Vec::new());
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        self.at.push(item.ident.to_string());
        self.module().file = self.file.clone();
        items.iter().for_each(|i| self.visit_item(i));
        self.at.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.mention(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = item.ident.as_ref().filter(|_| item.attrs.iter().any(|a| a.path().is_ident("macro_export"))) {
            // Exported macros are named from the root.
            let path = self.at.iter().cloned().chain([name.to_string()]).collect();
            self.house.modules.entry(Vec::new()).or_default().imports.insert(name.to_string(), path);
        }
        self.tokens(item.mac.tokens.clone());
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

impl House {
    /// From files as (path below `src/`, text).
    fn of(sources: &[(String, String)]) -> Self {
        let mut house = Self { modules: BTreeMap::new() };
        for (file, text) in sources {
            let stem = file.trim_end_matches(".rs");
            let at: ModulePath = stem.split('/').filter(|s| *s != "mod").map(str::to_owned).collect();
            let at = if at == ["lib"] { Vec::new() } else { at };
            let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}"));
            house.modules.entry(at.clone()).or_default().file = file.clone();
            let mut walk = Walk { house: &mut house, at, file: file.clone() };
            parsed.items.iter().for_each(|item| walk.visit_item(item));
        }
        house
    }

    /// The file that declares what an absolute path names, or `None` if the path leaves the crate.
    fn owner(&self, path: &[String], depth: usize) -> Option<&str> {
        // The longest module, then the name in it.
        let len = (0..=path.len()).rev().find(|&n| self.modules.contains_key(&path[..n]))?;
        let module = &self.modules[&path[..len]];
        let Some(name) = path.get(len) else { return Some(&module.file) };
        if depth > 8 || module.items.contains(name) {
            return Some(&module.file);
        }
        if let Some(from) = module.imports.get(name).filter(|from| **from != path[..=len]) {
            let mut whole = from.clone();
            whole.extend(path[len + 1..].iter().cloned());
            // From another crate, or an item of the same module.
            return self.owner(&whole, depth + 1).filter(|_| from.len() > 1 || self.modules.contains_key(from));
        }
        for glob in &module.globs {
            let mut whole = glob.clone();
            whole.extend(path[len..].iter().cloned());
            if self.modules.get(glob).is_some_and(|m| m.imports.contains_key(name)) {
                return self.owner(&whole, depth + 1);
            }
        }
        Some(&module.file)
    }

    /// Which files each file imports.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for module in self.modules.values() {
            let to = arrows.entry(&module.file).or_default();
            let named = module.imports.values().chain(&module.globs).chain(&module.mentions);
            to.extend(named.filter_map(|path| self.owner(path, 0)).filter(|file| *file != module.file));
        }
        arrows
    }

    /// Imports that do not go to a lower floor, as "from -> to".
    fn upward(&self) -> Vec<String> {
        let floor = |file: &str| {
            let room = file.trim_end_matches(".rs").split('/').next().unwrap_or_default().to_owned();
            let found = FLOORS.iter().position(|f| f.contains(&&room[..]));
            (found.unwrap_or_else(|| panic!("{file}: the room {room} has no floor")), room)
        };
        let mut wrong = Vec::new();
        for (from, files) in self.arrows() {
            for to in files {
                let ((a, room), (b, other)) = (floor(from), floor(to));
                if room != other && a <= b {
                    wrong.push(format!("{from} -> {to}"));
                }
            }
        }
        wrong
    }

    /// Cycles of files that import each other, largest first.
    fn circles(&self) -> Vec<Vec<&str>> {
        let arrows = self.arrows();
        fn reach<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> BTreeSet<&'a str> {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(file) = open.pop() {
                open.extend(arrows.get(file).into_iter().flatten().filter(|to| seen.insert(**to)));
            }
            seen
        }
        let reached: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|&f| (f, reach(&arrows, f))).collect();
        let mut circles: Vec<Vec<&str>> = Vec::new();
        for (&file, to) in &reached {
            if to.contains(file) && !circles.iter().any(|c| c.contains(&file)) {
                circles.push(to.iter().copied().filter(|t| reached[t].contains(file)).collect());
            }
        }
        circles.sort_by_key(|c| std::cmp::Reverse(c.len()));
        circles
    }
}

/// The library's source, as (path below `src/`, text).
pub fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("the source is readable") {
            let path = entry.expect("readable").path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                collect(&path, root, found);
            } else if name.ends_with(".rs") && !name.contains("/tests") {
                found.push((name, std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let root = Path::new(crate::common::ROOT).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found.sort();
    found
}

#[test]
fn rooms_import_only_rooms_below_and_no_files_form_a_circle() {
    let sources = sources();
    let house = House::of(&sources);
    let arrows: usize = house.arrows().values().map(BTreeSet::len).sum();
    println!("{} files, {arrows} arrows", sources.len());
    assert!(sources.len() > 200 && arrows > 1_000, "{} files and {arrows} arrows were found", sources.len());
    assert!(house.upward().is_empty(), "imports that do not go down: {:#?}", house.upward());
    assert!(house.circles().is_empty(), "files that import each other, directly or through others: {:#?}", house.circles());
}

/// A small house that is in order, and files that break it, each in its own way.
#[test]
fn planted_violations_are_reported() {
    let source = |file: &str, text: &str| (file.to_owned(), text.to_owned());
    let base = [
        source("lib.rs", "pub mod dtype; pub mod graph; pub mod plan; pub mod tensor; pub mod nn; pub use tensor::Tensor;"),
        source("dtype.rs", "pub enum DType { F32 }"),
        source("graph.rs", "use crate::dtype::DType; pub struct Op(pub DType);"),
        source("plan/mod.rs", "pub mod size; pub use crate::graph::Op; pub use size::bytes;"),
        source("plan/size.rs", "use super::Op; pub fn bytes(op: &Op) -> usize { crate::dtype::DType::F32 as usize }"),
        source("tensor/mod.rs", "pub mod view; pub struct Tensor; #[cfg(test)] mod tests { use crate::nn::Linear; }"),
        source("tensor/view.rs", "use crate::plan::{self, bytes}; pub fn view() { plan::size::bytes(); }"),
        source("nn.rs", "use crate::{dtype::DType, tensor::{Tensor, view::view}}; pub struct Linear;"),
    ];
    let report = |planted: &[(String, String)]| {
        let mut sources = base.to_vec();
        for (file, text) in planted {
            sources.retain(|(name, _)| name != file);
            sources.push((file.clone(), text.clone()));
        }
        let house = House::of(&sources);
        let circles = house.circles().iter().map(|c| c.join(" ")).collect::<Vec<_>>();
        (house.upward().join(", "), circles.join(", "))
    };
    assert_eq!(report(&[]), (String::new(), String::new()), "the house is in order");
    for (file, text, upward, circle) in [
        // Grouped, and through a re-export at the root; by super; in a body; in a macro; in a macro's rule; a glob.
        ("dtype.rs", "use crate::{graph::Op, Tensor};", "dtype.rs -> graph.rs, dtype.rs -> tensor/mod.rs", "dtype.rs graph.rs"),
        ("graph.rs", "use super::plan::size::bytes;", "graph.rs -> plan/size.rs", "graph.rs plan/size.rs"),
        ("plan/size.rs", "pub fn bytes() { let t = crate::tensor::Tensor; }", "plan/size.rs -> tensor/mod.rs", ""),
        (
            "plan/size.rs",
            "pub fn bytes() { vec![(1, crate::nn::Linear)]; }",
            "plan/size.rs -> nn.rs",
            "nn.rs plan/mod.rs plan/size.rs tensor/view.rs",
        ),
        (
            "graph.rs",
            "macro_rules! op { ($x:expr) => { $crate::tensor::view::view($x) }; }",
            "graph.rs -> tensor/view.rs",
            "graph.rs plan/mod.rs plan/size.rs tensor/view.rs",
        ),
        ("tensor/view.rs", "use super::*; use crate::nn::*; pub fn view() {}", "tensor/view.rs -> nn.rs", "nn.rs tensor/view.rs"),
    ] {
        assert_eq!(report(&[source(file, text)]), (upward.to_owned(), circle.to_owned()), "{file}: {text}");
    }
    // A parent may import its child, and two files of one room may not import each other.
    let planted = [source("tensor/mod.rs", "pub mod view; use self::view::view; pub struct Tensor;")];
    assert_eq!(report(&planted), (String::new(), String::new()));
    let planted = [
        source("tensor/mod.rs", "pub mod view; pub use view::view; pub fn new() { view::view() }"),
        source("tensor/view.rs", "use super::new; pub fn view() { new() }"),
    ];
    assert_eq!(report(&planted), (String::new(), "tensor/mod.rs tensor/view.rs".to_owned()));
}
