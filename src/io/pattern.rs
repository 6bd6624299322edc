//! Patterns of tensor names.

/// What each `*` of `pattern` stands for in `name`, or `None` if they do not match. A `*` takes any run of characters, dots
/// among them, and as few as possible; all else stands for itself.
///
/// ```
/// # use wgrad::io::{captures, matches};
/// assert!(matches("layer4.*", "layer4.0.conv1.weight") && !matches("layer4", "layer4.0.conv1.weight"));
/// assert_eq!(captures("*.h.*.weight", "gpt.h.0.weight"), Some(vec!["gpt", "0"]));
/// ```
pub fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let Some((literal, rest)) = pattern.split_once('*') else {
        return (pattern == name).then(Vec::new);
    };
    let name = name.strip_prefix(literal)?;
    // The ends of what this star may take: in front of every character, and the end.
    let ends = name.char_indices().map(|(i, _)| i).chain([name.len()]);
    // A pattern's last star takes the rest at once; its trailing literal decides.
    if !rest.contains('*') {
        return name.strip_suffix(rest).map(|taken| vec![taken]);
    }
    // The first place where the next literal fits is enough: whatever matches later matches after it, too.
    let next = rest.split('*').next().unwrap_or_default();
    let end = ends.into_iter().find(|&end| name[end..].starts_with(next))?;
    let mut all = vec![&name[..end]];
    all.extend(captures(rest, &name[end..])?);
    Some(all)
}

/// Whether `name` matches `pattern`; see [`captures`].
pub fn matches(pattern: &str, name: &str) -> bool {
    captures(pattern, name).is_some()
}
