//! Patterns of tensor names.

/// What each `*` of `pattern` stands for in `name`, or `None` if they do not match. A `*` takes any run of characters, including
/// dots, but as few as possible; everything else stands for itself.
///
/// ```
/// # use wgrad::io::{captures, matches};
/// assert!(matches("layer4.*", "layer4.0.conv1.weight") && !matches("layer4", "layer4.0.conv1.weight"));
/// assert_eq!(captures("*.h.*.weight", "gpt.h.0.weight"), Some(vec!["gpt", "0"]));
/// ```
pub fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let Some((first, rest)) = pattern.split_once('*') else {
        return (pattern == name).then(Vec::new);
    };
    let mut name = name.strip_prefix(first)?;
    // Between two stars, the first place where a literal fits is enough: whatever matches later matches after it, too. The
    // last star takes the rest at once, and the literal at the end decides.
    let (between, last) = match rest.rsplit_once('*') {
        Some((between, last)) => (Some(between), last),
        None => (None, rest),
    };
    let mut all = Vec::new();
    for literal in between.into_iter().flat_map(|b| b.split('*')) {
        let end = name.find(literal)?;
        all.push(&name[..end]);
        name = &name[end + literal.len()..];
    }
    all.push(name.strip_suffix(last)?);
    Some(all)
}

/// Whether `name` matches `pattern`; see [`captures`].
pub fn matches(pattern: &str, name: &str) -> bool {
    captures(pattern, name).is_some()
}
