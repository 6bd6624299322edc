//! What can go wrong, and the exit code that says so.

use std::io;
use std::path::PathBuf;

/// An error of the tool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no driver to look at, or no floors for its version.
    #[error("NOT CHECKED: {0}")]
    NotChecked(String),
    /// Something of wgrad's.
    #[error(transparent)]
    Wgrad(#[from] wgrad::Error),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of floors has a line that is not understood.
    #[error("{path}:{line}: {reason}")]
    Floors {
        /// Which one.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is not in a list.
    #[error("there is no {what} \"{name}\"; there are: {known}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What could be asked for.
        known: String,
    },
    /// A text of WGSL.
    #[error("{name}: {reason}")]
    Text {
        /// Which one.
        name: String,
        /// What the compiler says.
        reason: String,
    },
    /// The tool was started in a way that it does not start itself.
    #[error("{0}")]
    Start(String),
}

impl Error {
    /// For `map_err` on operations on a file.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// 3 if nothing was checked, else 1.
    pub fn code(&self) -> u8 {
        if matches!(self, Self::NotChecked(_)) { 3 } else { 1 }
    }
}

/// A result of the tool.
pub type Result<T> = std::result::Result<T, Error>;
