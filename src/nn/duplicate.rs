//! Deep copies of modules: what `fields!` writes for them.

use super::fields::{Copier, Field};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A field of a module under `skip`, for the macro `fields!`: a [`Field`] or anything `Clone` can be copied. The number of
/// references in front of it decides which of the three traits below provides the method.
#[doc(hidden)]
#[derive(Debug)]
pub struct Skipped<'a, T>(pub &'a T);

#[doc(hidden)]
pub trait SkippedField<T> {
    fn copied(&self, copier: &mut Copier) -> Result<T>;
}

impl<T: Field> SkippedField<T> for &&Skipped<'_, T> {
    fn copied(&self, copier: &mut Copier) -> Result<T> {
        copier.copy(self.0)
    }
}

impl SkippedField<Tensor> for &&Skipped<'_, Tensor> {
    fn copied(&self, copier: &mut Copier) -> Result<Tensor> {
        copier.tensor(self.0)
    }
}

#[doc(hidden)]
pub trait SkippedClone<T> {
    fn copied(&self, copier: &mut Copier) -> Result<T>;
}

impl<T: Clone> SkippedClone<T> for &Skipped<'_, T> {
    fn copied(&self, _: &mut Copier) -> Result<T> {
        Ok(self.0.clone())
    }
}

#[doc(hidden)]
pub trait SkippedOther<T> {
    fn copied(&self, copier: &mut Copier) -> Result<T>;
}

impl<T> SkippedOther<T> for Skipped<'_, T> {
    fn copied(&self, _: &mut Copier) -> Result<T> {
        let kind = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
        Err(Error::Unsupported {
            op: "duplicate",
            reason: format!("a skipped field of type {kind} is not Clone"),
            help: "derive Clone for it".into(),
        })
    }
}
