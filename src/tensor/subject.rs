//! The table of methods on [`Tensor`](super::Tensor)'s page.

/// A row: a subject, and links to the methods that belong to it.
macro_rules! subject {
    ($title:literal: $($method:ident)*) => {
        concat!("| ", $title, " | ", $("[`", stringify!($method), "`](Tensor::", stringify!($method), ") ",)* "|")
    };
}
pub(super) use subject;
