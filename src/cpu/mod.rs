//! The CPU device: a reference executor that is easy to trust, and a fast one.

use crate::dtype::HostData;
use std::sync::{Arc, RwLock};

/// Host memory that holds a value. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// The elements.
    pub data: Arc<RwLock<HostData>>,
}
