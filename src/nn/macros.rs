//! What is written for every module: its list of fields, and its copies.

/// Writes [`Module::fields`](crate::nn::Module::fields): lists every field of the struct, so that forgetting one does not
/// compile.
///
/// Fields after `skip` are left out: settings of a type that is not a [`Field`](crate::nn::Field).
///
/// ```compile_fail,E0063
/// use wgrad::nn::{Linear, Module, fields};
/// struct Net { fc1: Linear, fc2: Linear }
/// impl Module for Net {
///     fn forward(&self, x: &wgrad::Tensor) -> wgrad::Result<wgrad::Tensor> { self.fc2.forward(&self.fc1.forward(x)?) }
///     fields!(fc1); // error: missing field `fc2` in initializer of `Net`
/// }
/// ```
#[macro_export]
macro_rules! fields {
    ($($field:ident),* $(,)? $(; skip $($skipped:ident),+ $(,)?)?) => {
        fn fields(&self, fields: &mut $crate::nn::Fields) {
            // Never called. In another crate the compiler names the field that a struct expression lacks, but not one that a
            // pattern lacks.
            #[allow(unreachable_code, clippy::diverging_sub_expression, reason = "for the compiler alone")]
            let _ = || Self { $($field: ::core::unreachable!(),)* $($($skipped: ::core::unreachable!(),)+)? };
            $(fields.add($crate::nn::field_name(::core::stringify!($field)), &self.$field);)*
            let _ = fields;
        }

        $crate::copies!($($field),* $(; skip $($skipped),+)?);
    };
    ($($other:tt)*) => {
        fn fields(&self, _: &mut $crate::nn::Fields) {
            ::core::compile_error!("fields! takes the names of the struct's fields: fields!(fc1, fc2; skip config)")
        }
    };
}

/// A [`Sequential`](crate::nn::Sequential) of these layers: `sequential![a, b]` is `Sequential::new().push(a).push(b)`.
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module, Relu, sequential};
/// # fn main() -> wgrad::Result<()> {
/// # let init = Init::new(&wgrad::Device::cpu()?, 0);
/// let model = sequential![Linear::new(4, 8, &init)?, Relu, Linear::new(8, 2, &init)?];
/// assert_eq!(model.named_parameters()?[2].0, "2.weight");
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! sequential {
    ($($layer:expr),* $(,)?) => {
        $crate::nn::Sequential::new()$(.push($layer))*
    };
}

/// Writes `Module::copied` and `boxed_copy` for a struct of these fields; a part of `fields!`.
#[doc(hidden)]
#[macro_export]
macro_rules! copies {
    ($($field:ident),* $(,)? $(; skip $($skipped:ident),+ $(,)?)?) => {
        fn copied(&self, copier: &mut $crate::nn::Copier) -> $crate::Result<Self>
        where
            Self: Sized,
        {
            #[allow(unused_imports, reason = "for fields under skip")]
            use $crate::nn::duplicate::SkippedClone as _;
            #[allow(unused_imports, reason = "for fields under skip")]
            use $crate::nn::duplicate::SkippedField as _;
            #[allow(unused_imports, reason = "for fields under skip")]
            use $crate::nn::duplicate::SkippedOther as _;
            let _ = &copier;
            Ok(Self {
                $($field: copier.copy(&self.$field)?,)*
                $($($skipped: (&&&$crate::nn::duplicate::Skipped(&self.$skipped)).copied(copier)?,)+)?
            })
        }

        fn boxed_copy(&self, copier: &mut $crate::nn::Copier) -> $crate::Result<::std::boxed::Box<dyn $crate::nn::Module>>
        where
            Self: 'static,
        {
            Ok(::std::boxed::Box::new($crate::nn::Module::copied(self, copier)?))
        }
    };
}
