//! Errors name the caller's file and line: public functions that can fail are `#[track_caller]`. `wrong` checks the lines.

use syn::visit::Visit;

/// Rooms whose functions a program calls with tensors, settings and files of its own.
const ROOMS: [&str; 7] = ["autodiff", "data", "io", "nn", "optim", "tensor", "train"];

/// Functions of traits without it: layers behind a pointer have their errors' lines replaced by who holds them, and the others are
/// called by this crate alone.
const BY_OTHER_MEANS: [&str; 7] = ["forward", "copied", "boxed_copy", "lookup", "value", "title", "beside"];

/// Public functions and functions of public traits that return a `Result` without `#[track_caller]`, and how many return one.
#[derive(Default)]
struct Fallible {
    untracked: Vec<String>,
    found: usize,
}

impl Fallible {
    fn look(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature) {
        let syn::ReturnType::Type(_, output) = &signature.output else { return };
        let syn::Type::Path(path) = &**output else { return };
        if path.path.segments.last().is_some_and(|segment| segment.ident == "Result") {
            self.found += 1;
            if !attributes.iter().any(|attribute| attribute.path().is_ident("track_caller")) {
                self.untracked.push(signature.ident.to_string());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Fallible {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            syn::visit::visit_item_mod(self, item);
        }
    }
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if matches!(item.vis, syn::Visibility::Public(_)) {
            self.look(&item.attrs, &item.sig);
        }
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        for part in item.items.iter().filter(|_| matches!(item.vis, syn::Visibility::Public(_))) {
            if let syn::TraitItem::Fn(f) = part
                && !BY_OTHER_MEANS.contains(&&*f.sig.ident.to_string())
            {
                self.look(&f.attrs, &f.sig);
            }
        }
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if matches!(item.vis, syn::Visibility::Public(_)) {
            self.look(&item.attrs, &item.sig);
        }
    }
}

/// The functions of a file of source text.
fn fallible(text: &str) -> Fallible {
    let mut fallible = Fallible::default();
    fallible.visit_file(&syn::parse_file(text).expect("it compiles"));
    fallible
}

#[test]
fn public_functions_that_can_fail_are_track_caller() {
    let planted = fallible(
        "pub fn a() -> Result<()> {} #[track_caller] pub fn b() -> Result<()> {} fn c() -> Result<()> {} \
        pub trait T { fn d() -> Result<()>; #[track_caller] fn e() -> Result<()>; fn forward() -> Result<()>; }",
    );
    assert_eq!((planted.found, planted.untracked), (4, vec!["a".to_owned(), "d".to_owned()]));
    let (mut found, mut untracked) = (0, Vec::new());
    for (path, text) in crate::floors::sources() {
        if ROOMS.contains(&path.split('/').next().unwrap_or_default()) || path == "param.rs" {
            let here = fallible(&text);
            found += here.found;
            untracked.extend(here.untracked.into_iter().map(|name| format!("{path}: {name}")));
        }
    }
    assert!(found > 200, "{found}");
    assert!(untracked.is_empty(), "{untracked:#?}");
}
