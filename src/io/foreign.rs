//! Files of other formats that people take for safetensors files.

use std::path::Path;

const FROM_PAGE: &str = "download the file itself";
/// What other files begin with, what they are, and what to do with them.
const FOREIGN: [(&[u8], &str, &str); 6] = [
    (
        b"\x93NUMPY",
        "a NumPy array",
        "convert it in Python: safetensors.numpy.save_file({\"x\": numpy.load(path)}, \"x.safetensors\")",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", "save the weights with safetensors in Python"),
    (b"GGUF", "a GGUF file", "download the model's *.safetensors"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (b"<!DOCTYPE", "a web page", FROM_PAGE),
    (b"<html", "a web page", FROM_PAGE),
];
/// How many bytes of a file are enough to know it.
pub const ENOUGH: usize = 24;

/// What a file is that begins so, and what to do with it.
pub fn recognised(start: &[u8], path: &Path) -> Option<(&'static str, String)> {
    if let Some(what) = torch(start) {
        return Some((what, from_torch(path)));
    }
    FOREIGN.iter().find(|row| start.starts_with(row.0)).map(|row| (row.1, row.2.to_owned()))
}

/// Files of `torch.save`: zip files, and pickles before PyTorch 1.6.
fn torch(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"PK\x03\x04") {
        return Some("a zip file, as torch.save writes");
    }
    if start.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46") {
        return Some("a PyTorch pickle");
    }
    match start {
        // The protocol, then a first instruction of those that lists, dictionaries, numbers and objects begin with.
        [0x80, 2..=5, b'}' | b']' | b')' | b'(' | b'c' | b'K' | b'X' | 0x8a | 0x8c | 0x95, ..] => Some("a Python pickle"),
        _ => None,
    }
}

/// Three lines of Python that make a safetensors file of such a file.
fn from_torch(path: &Path) -> String {
    let name = |path: &Path| path.display().to_string().replace('\\', "/").replace('"', "\\\"");
    format!(
        "convert it in Python:\n    \
         import safetensors.torch, torch\n    \
         state = torch.load(\"{}\", map_location=\"cpu\", weights_only=True)\n    \
         safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in state.items()}}, \"{}\")",
        name(path),
        name(&path.with_extension("safetensors")),
    )
}
