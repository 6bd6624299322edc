//! Puts WGSL together from the files in `shaders/`, which are embedded in the binary.
//!
//! The template language works line by line, on lines that start with `#`:
//! - `#import name`: the text of `shaders/common/name.wgsl`; `#import name A=1 B=2` with these values in it;
//! - `#if A == B`, `#if A != B` or `#if A` (true unless `0` or empty), with `#else` and `#end`;
//! - `#for i in FROM..TO` and `#end`: the lines between, unrolled, with `${i}` the counter.
//!
//! Everywhere, directives included, `${NAME}` is replaced by the value of that name. Values may be whole functions.

use super::snippets::SNIPPETS;
use crate::error::{Error, Result};

/// The kernels, by file name; optimizers' rules bring their formulas themselves.
const FILES: &[(&str, &str)] = &[
    ("attention", include_str!("../../shaders/attention.wgsl")),
    ("attention_grad_kv", include_str!("../../shaders/attention_grad_kv.wgsl")),
    ("attention_grad_q", include_str!("../../shaders/attention_grad_q.wgsl")),
    ("attention_plain", include_str!("../../shaders/attention_plain.wgsl")),
    ("check_indices", include_str!("../../shaders/check_indices.wgsl")),
    ("conv2d", include_str!("../../shaders/conv2d.wgsl")),
    ("conv2d_dgrad", include_str!("../../shaders/conv2d_dgrad.wgsl")),
    ("conv2d_pack", include_str!("../../shaders/conv2d_pack.wgsl")),
    ("conv2d_tiled", include_str!("../../shaders/conv2d_tiled.wgsl")),
    ("conv2d_weights", include_str!("../../shaders/conv2d_weights.wgsl")),
    ("conv2d_wgrad", include_str!("../../shaders/conv2d_wgrad.wgsl")),
    ("conv2d_wgrad_tiled", include_str!("../../shaders/conv2d_wgrad_tiled.wgsl")),
    ("cross_entropy", include_str!("../../shaders/cross_entropy.wgsl")),
    ("gather", include_str!("../../shaders/gather.wgsl")),
    ("gather_packed", include_str!("../../shaders/gather_packed.wgsl")),
    ("grad_norm", include_str!("../../shaders/grad_norm.wgsl")),
    ("grad_squares", include_str!("../../shaders/grad_squares.wgsl")),
    ("lamb_moments", include_str!("../../shaders/lamb_moments.wgsl")),
    ("lamb_norms", include_str!("../../shaders/lamb_norms.wgsl")),
    ("lamb_step", include_str!("../../shaders/lamb_step.wgsl")),
    ("matmul", include_str!("../../shaders/matmul.wgsl")),
    ("matmul_tiled", include_str!("../../shaders/matmul_tiled.wgsl")),
    ("optim", include_str!("../../shaders/optim.wgsl")),
    ("pack", include_str!("../../shaders/pack.wgsl")),
    ("pool", include_str!("../../shaders/pool.wgsl")),
    ("pool_cells", include_str!("../../shaders/pool_cells.wgsl")),
    ("pool_tiled", include_str!("../../shaders/pool_tiled.wgsl")),
    ("recurrent", include_str!("../../shaders/recurrent.wgsl")),
    ("recurrent_first", include_str!("../../shaders/recurrent_first.wgsl")),
    ("recurrent_grad", include_str!("../../shaders/recurrent_grad.wgsl")),
    ("row_apply", include_str!("../../shaders/row_apply.wgsl")),
    ("row_norm", include_str!("../../shaders/row_norm.wgsl")),
    ("row_norm_grad", include_str!("../../shaders/row_norm_grad.wgsl")),
    ("row_norm_loops", include_str!("../../shaders/row_norm_loops.wgsl")),
    ("row_norm_parts", include_str!("../../shaders/row_norm_parts.wgsl")),
    ("row_sums", include_str!("../../shaders/row_sums.wgsl")),
    ("scatter_add", include_str!("../../shaders/scatter_add.wgsl")),
    ("segment_sum", include_str!("../../shaders/segment_sum.wgsl")),
    ("softmax", include_str!("../../shaders/softmax.wgsl")),
    ("softmax_held", include_str!("../../shaders/softmax_held.wgsl")),
    ("sort", include_str!("../../shaders/sort.wgsl")),
    ("sort_group", include_str!("../../shaders/sort_group.wgsl")),
    ("split_sum", include_str!("../../shaders/split_sum.wgsl")),
    ("tile_side", include_str!("../../shaders/tile_side.wgsl")),
];

/// Values for the holes of one kernel file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shader {
    values: Vec<(String, String)>,
}

impl Shader {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a hole its value; flags are 0 and 1.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.values.push((name.to_owned(), value.to_string()));
        self
    }

    /// The text of `shaders/{file}.wgsl` with everything filled in.
    ///
    /// # Errors
    /// [`Error::Internal`] for an unknown file, name or directive.
    pub fn render(&self, file: &str) -> Result<String> {
        self.fill(file, find(FILES.iter().copied(), file)?)
    }

    /// A text from elsewhere with everything filled in; messages name it as `shaders/{file}.wgsl`.
    ///
    /// # Errors
    /// [`Error::Internal`] for an unknown name or directive.
    pub fn fill(&self, file: &str, text: &str) -> Result<String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut values = self.values.clone();
        let mut out = String::with_capacity(text.len() * 2);
        expand(file, &lines, &mut values, &mut out)?;
        Ok(out)
    }
}

/// The text of every kernel's file, by name.
#[cfg(test)]
pub(crate) const fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

fn find(mut table: impl Iterator<Item = (&'static str, &'static str)>, name: &str) -> Result<&'static str> {
    let found = table.find(|(n, _)| *n == name);
    found.map(|(_, text)| text).ok_or_else(|| Error::internal(format!("no shader file {name}")))
}

fn expand(file: &str, lines: &[&str], values: &mut Vec<(String, String)>, out: &mut String) -> Result<()> {
    let broken = |line: &str, why: &str| Error::internal(format!("shaders/{file}.wgsl: {why}: {line}"));
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            substitute(file, line, values, out)?;
            out.push('\n');
            continue;
        };
        let mut filled = String::new();
        substitute(file, directive, values, &mut filled)?;
        let words: Vec<&str> = filled.split_whitespace().collect();
        match words[..] {
            ["import", name, ref given @ ..] => {
                let text: Vec<&str> = find(SNIPPETS.iter().map(|s| (s.name, s.source)), name)?.lines().collect();
                let before = values.len();
                for pair in given {
                    let (name, value) = pair.split_once('=').ok_or_else(|| broken(line, "a value is NAME=VALUE"))?;
                    values.push((name.to_owned(), value.to_owned()));
                }
                expand(file, &text, values, out)?;
                values.truncate(before);
            }
            ["if", ref condition @ ..] => {
                let (end, middle) = block(lines, at).ok_or_else(|| broken(line, "no #end"))?;
                let holds = match *condition {
                    [] => false,
                    [a] => a != "0",
                    [a, "==", b] => a == b,
                    [a, "!=", b] => a != b,
                    _ => return Err(broken(line, "a condition is A, A == B or A != B")),
                };
                match (holds, middle) {
                    (true, _) => expand(file, &lines[at..middle.unwrap_or(end)], values, out)?,
                    (false, Some(middle)) => expand(file, &lines[middle + 1..end], values, out)?,
                    (false, None) => {}
                }
                at = end + 1;
            }
            ["for", name, "in", range] => {
                let (end, _) = block(lines, at).ok_or_else(|| broken(line, "no #end"))?;
                let bounds = range.split_once("..").and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
                let (from, to) = bounds.ok_or_else(|| broken(line, "a range is two numbers"))?;
                for i in from..to {
                    values.push((name.to_owned(), i.to_string()));
                    expand(file, &lines[at..end], values, out)?;
                    values.pop();
                }
                at = end + 1;
            }
            _ => return Err(broken(line, "unknown directive")),
        }
    }
    Ok(())
}

/// The `#end` of the block whose body starts at `from`, and its `#else` if it has one.
fn block(lines: &[&str], from: usize) -> Option<(usize, Option<usize>)> {
    let (mut depth, mut middle) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(from) {
        let line = line.trim();
        if line.starts_with("#if") || line.starts_with("#for") {
            depth += 1;
        } else if line == "#else" && depth == 0 {
            middle = Some(i);
        } else if line == "#end" {
            if depth == 0 {
                return Some((i, middle));
            }
            depth -= 1;
        }
    }
    None
}

fn substitute(file: &str, line: &str, values: &[(String, String)], out: &mut String) -> Result<()> {
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        let end =
            rest[start..].find('}').ok_or_else(|| Error::internal(format!("shaders/{file}.wgsl: open hole: {line}")))? + start;
        let name = &rest[start + 2..end];
        let value = values.iter().rev().find(|(n, _)| n == name);
        let (_, value) = value.ok_or_else(|| Error::internal(format!("shaders/{file}.wgsl: nothing named {name}")))?;
        out.push_str(&rest[..start]);
        out.push_str(value);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_expand() {
        let rows: &[(&str, &str)] = &[
            ("a ${X} b", "a 3 b\n"),
            ("#for i in 0..${X}\nv${i} = ${i};\n#end", "v0 = 0;\nv1 = 1;\nv2 = 2;\n"),
            ("#if ${X} == 3\nyes\n#else\nno\n#end\nafter", "yes\nafter\n"),
            ("#if ${OFF}\nyes\n#else\nno\n#end", "no\n"),
            ("#for i in 0..2\n#if ${i} != 0\n${i}\n#end\n#end", "1\n"),
        ];
        for (text, expected) in rows {
            let mut values = Shader::new().set("X", 3).set("OFF", 0).values;
            let mut out = String::new();
            expand("test", &text.lines().collect::<Vec<_>>(), &mut values, &mut out).unwrap();
            assert_eq!(&out, expected, "{text}");
        }
        for broken in ["${NONE}", "#if ${X}", "#what", "#for i in a..b\n#end", "${X"] {
            let mut values = Shader::new().set("X", 3).values;
            assert!(expand("test", &broken.lines().collect::<Vec<_>>(), &mut values, &mut String::new()).is_err(), "{broken}");
        }
    }
}
