//! The settings of optimizers, each declared once: its type, what it starts as, and which numbers it may be.

use crate::io::number::Range;

/// Numbers among an optimizer's settings: the name, the range, the value.
pub type Settings<'a> = Vec<(&'static str, Range, &'a mut f64)>;

/// What all optimizers' settings have. Implemented by [`config!`].
pub trait Config: Clone + Default + std::fmt::Debug {
    /// The learning rate.
    fn lr(&mut self) -> &mut f64;
    /// Whether steps go up the gradient instead of down.
    fn maximize(&self) -> bool;
    /// All numbers among the settings, each by its name and with its range: what is checked, saved and loaded.
    fn settings(&mut self) -> Settings<'_>;
}

/// One field of the settings, which may be several numbers.
pub trait Setting {
    /// Adds the numbers to a list.
    fn list<'a>(&'a mut self, name: &'static str, range: Range, all: &mut Settings<'a>);
}

impl Setting for f64 {
    fn list<'a>(&'a mut self, name: &'static str, range: Range, all: &mut Settings<'a>) {
        all.push((name, range, self));
    }
}

/// The decays of two running means, under PyTorch's names.
impl Setting for (f64, f64) {
    fn list<'a>(&'a mut self, _: &'static str, range: Range, all: &mut Settings<'a>) {
        all.push(("beta1", range, &mut self.0));
        all.push(("beta2", range, &mut self.1));
    }
}

/// Declares an optimizer's settings: `field: type = default, range;` for a number, `field: type = default;` for the rest. Every
/// optimizer has an `lr` and a `maximize`. Defaults go into the documentation.
macro_rules! config {
    (
        $(#[$meta:meta])+
        $name:ident {
            $($(#[$doc:meta])+ $field:ident: $type:ty = $default:expr $(, $range:ident)?;)+
        }
    ) => {
        $(#[$meta])+
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name {
            $($(#[$doc])+ #[doc = concat!("Defaults to `", stringify!($default), "`.")] pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::optim::config::Config for $name {
            fn lr(&mut self) -> &mut f64 {
                &mut self.lr
            }

            fn maximize(&self) -> bool {
                self.maximize
            }

            fn settings(&mut self) -> $crate::optim::config::Settings<'_> {
                let mut all = Vec::new();
                $($($crate::optim::config::Setting::list(
                    &mut self.$field,
                    stringify!($field),
                    $crate::io::number::Range::$range,
                    &mut all,
                );)?)+
                all
            }
        }
    };
}
pub(super) use config;
