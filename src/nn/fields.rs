//! What a module consists of, as plain lists.

use crate::error::{Error, Result};
use crate::lazy::Tally;
use crate::param::Param;
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a layer trains or evaluates; clones share it. Starts in training.
#[derive(Debug, Clone)]
pub struct Mode(Arc<AtomicBool>);

impl Default for Mode {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

thread_local! {
    /// Modes that a thread has for itself, by address, innermost last.
    static OWN: RefCell<Vec<HashMap<usize, bool>>> = const { RefCell::new(Vec::new()) };
}

impl Mode {
    /// Whether the layer trains.
    pub fn is_training(&self) -> bool {
        let own = OWN.with_borrow(|all| all.iter().rev().find_map(|own| own.get(&self.address()).copied()));
        own.unwrap_or_else(|| self.0.load(Ordering::Relaxed))
    }

    /// Switches between training and evaluation. Within [`evaluating`](super::evaluating) it does so for this thread, until
    /// that ends.
    pub fn set_training(&self, training: bool) {
        let own = OWN.with_borrow_mut(|all| {
            let own = all.iter_mut().rev().find_map(|own| own.get_mut(&self.address()));
            own.map(|mode| *mode = training)
        });
        if own.is_none() {
            self.0.store(training, Ordering::Relaxed);
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// A whole number that a layer keeps on the host and saves with its state, such as the batches that it has seen; clones
/// share it. In files it is a 0-d i32, where PyTorch has an i64.
///
/// One that counts what training passes track counts steps that were taken: this thread sees its passes counted at once, others
/// when their step is.
#[derive(Debug, Clone, Default)]
pub struct Counter(Tally);

impl Counter {
    /// The number. Waits for the device if that still has to decide about steps.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    /// Counts one up, and gives the new number.
    pub fn increment(&self) -> u64 {
        self.0.increment();
        self.0.get()
    }

    /// What counts up with an assignment.
    pub(super) fn tally(&self) -> &Tally {
        &self.0
    }
}

/// The parameters, buffers, counters, modes and submodules of a module and all below it, in order, with dotted names.
///
/// One value may have several names, as a tied weight has; one name has one value, which [`Fields::check`] holds.
#[derive(Debug, Default)]
pub struct Fields {
    /// Trainable state.
    pub parameters: Vec<(String, Param)>,
    /// State that is saved, not trained.
    pub buffers: Vec<(String, Param)>,
    /// Numbers that are saved and live on the host.
    pub counters: Vec<(String, Counter)>,
    /// Every layer's mode.
    pub modes: Vec<Mode>,
    /// The submodules' addresses, to label a [`summary`](super::summary()), and where each is in `trail`.
    pub(crate) modules: Vec<(usize, usize)>,
    prefix: String,
    /// The fields on the way: what each is within, and its own name. Names in full would take memory in the square of the depth.
    trail: Vec<(usize, String)>,
    /// The field that is being listed: its place in `trail` from 1, or 0 for the module itself.
    at: usize,
    error: Option<Error>,
}

impl Fields {
    /// Adds a field and what is below it.
    pub fn add(&mut self, name: &str, field: &dyn Field) {
        let length = self.prefix.len();
        if length > 0 {
            self.prefix.push('.');
        }
        self.prefix.push_str(name);
        let outer = self.at;
        self.trail.push((outer, name.into()));
        self.at = self.trail.len();
        field.list(self);
        self.at = outer;
        self.prefix.truncate(length);
    }

    /// Adds a parameter; for layers that list their fields by hand.
    pub fn parameter(&mut self, name: &str, parameter: &Param) {
        self.parameters.push((self.path(name), parameter.clone()));
    }

    /// Adds a buffer; for layers that list their fields by hand.
    pub fn buffer(&mut self, name: &str, buffer: &Param) {
        self.buffers.push((self.path(name), buffer.clone()));
    }

    /// Notes that the module is not sound, such as a [`Sequential`](super::Sequential) with two layers of one name. The first
    /// note counts: [`Fields::check`] returns it.
    pub fn refuse(&mut self, error: &Error) {
        if self.error.is_none() {
            let error = error.clone();
            self.error = Some(if self.prefix.is_empty() { error } else { error.in_layer(&self.prefix) });
        }
    }

    /// Whether every name has one value.
    ///
    /// # Errors
    /// The first error that a module has noted by [`Fields::refuse`]; two parameters, buffers or counters under one name.
    pub fn check(&self) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.clash().map_or(Ok(()), |name| {
            let reason = format!("two values are named \"{name}\", and a file has one place for them");
            Err(Error::argument("Module::fields", reason, "give each field a name of its own"))
        })
    }

    /// The first name with two values.
    pub(super) fn clash(&self) -> Option<&str> {
        /// What tells values apart.
        #[derive(PartialEq)]
        enum Value {
            Cell(u64),
            Counter(usize),
        }
        let cells = self.parameters.iter().chain(&self.buffers).map(|(name, param)| (name, Value::Cell(param.id())));
        let counters = self.counters.iter().map(|(name, counter)| (name, Value::Counter(counter.0.address())));
        let mut values: HashMap<&str, Value> = HashMap::new();
        cells.chain(counters).find_map(|(name, value)| match values.get(name.as_str()) {
            Some(first) => (*first != value).then_some(name.as_str()),
            None => {
                values.insert(name, value);
                None
            }
        })
    }

    /// Notes a submodule here, by its address.
    pub(super) fn module(&mut self, address: usize) {
        self.modules.push((address, self.at));
    }

    /// The dotted name of a submodule.
    pub(super) fn name_at(&self, mut place: usize) -> String {
        let mut parts = Vec::new();
        while let Some((outer, name)) = place.checked_sub(1).and_then(|p| self.trail.get(p)) {
            parts.push(name.as_str());
            place = *outer;
        }
        parts.reverse();
        parts.join(".")
    }

    /// Has this thread, and no other, switch modes for itself until the value is dropped: then each is again what it was.
    #[must_use = "the modes go back when the value is dropped"]
    pub(super) fn keep_modes(&self) -> KeptModes {
        let own = self.modes.iter().map(|mode| (mode.address(), mode.is_training())).collect();
        OWN.with_borrow_mut(|all| all.push(own));
        KeptModes { modes: self.modes.clone(), of_this_thread: PhantomData }
    }

    /// The dotted name of a field here.
    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.into() } else { format!("{}.{name}", self.prefix) }
    }
}

/// Modes that this thread switches for itself as long as this lives.
pub(super) struct KeptModes {
    /// They live at least as long as their addresses count.
    modes: Vec<Mode>,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for KeptModes {
    fn drop(&mut self) {
        OWN.with_borrow_mut(Vec::pop);
        self.modes.clear();
    }
}

/// A module's identity while it is not moved.
pub(super) fn address<M: ?Sized>(module: &M) -> usize {
    std::ptr::from_ref(module).cast::<()>().addr()
}

/// What may be a field of a module: a module, a [`Param`], a [`Counter`], a [`Mode`]; an `Option`, a `Vec`, an array, a tuple or a
/// `Box` of these, of any depth; and plain settings. Elements of lists, arrays and tuples are named by their place: `blocks.0.weight`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be listed by fields!",
    label = "not a module, a parameter or a plain setting",
    note = "a field may be a Module, a Param, a Mode, a number, a string, a Device or a Generator, or an Option, a Vec, an array, a tuple or a Box of these",
    note = "what makes a layer gives a Result: add `?` behind the call, as in Linear::new(4, 2, &init)?",
    note = "leave other settings out: fields!(fc1, fc2; skip config)"
)]
pub trait Field {
    /// Adds the field to the lists, under the name that `fields` is at.
    fn list(&self, fields: &mut Fields);
}

impl Field for Param {
    fn list(&self, fields: &mut Fields) {
        let entry = (fields.prefix.clone(), self.clone());
        if self.is_buffer() { fields.buffers.push(entry) } else { fields.parameters.push(entry) }
    }
}

impl Field for Counter {
    fn list(&self, fields: &mut Fields) {
        fields.counters.push((fields.prefix.clone(), self.clone()));
    }
}

impl Field for Mode {
    fn list(&self, fields: &mut Fields) {
        fields.modes.push(self.clone());
    }
}

impl<F: Field> Field for Option<F> {
    fn list(&self, fields: &mut Fields) {
        if let Some(field) = self {
            field.list(fields);
        }
    }
}

impl<F: Field> Field for [F] {
    /// The elements are named by their index, as in PyTorch's `ModuleList`.
    fn list(&self, fields: &mut Fields) {
        for (i, field) in self.iter().enumerate() {
            fields.add(&i.to_string(), field);
        }
    }
}

impl<F: Field> Field for Vec<F> {
    fn list(&self, fields: &mut Fields) {
        self.as_slice().list(fields);
    }
}

impl<F: Field, const N: usize> Field for [F; N] {
    fn list(&self, fields: &mut Fields) {
        self.as_slice().list(fields);
    }
}

/// The elements are named by their index.
macro_rules! tuples {
    ($($($element:ident $i:tt),+;)+) => {$(
        impl<$($element: Field),+> Field for ($($element,)+) {
            fn list(&self, fields: &mut Fields) {
                $(fields.add(stringify!($i), &self.$i);)+
            }
        }
    )+};
}
tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}

/// Settings hold no state.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn list(&self, _: &mut Fields) {}
        }
    )*};
}
plain!(bool, usize, u32, i32, u64, i64, f32, f64, String, &'static str, crate::rng::Generator, crate::device::Device);

/// A field's name without the mark of a raw identifier: `r#gen` is `gen`. For [`fields!`](crate::fields).
#[doc(hidden)]
pub fn field_name(identifier: &'static str) -> &'static str {
    identifier.strip_prefix("r#").unwrap_or(identifier)
}

/// Writes [`Module::fields`](crate::nn::Module::fields): lists every field of the struct, so that one that is forgotten does not compile.
///
/// Fields after `skip` are left out: settings of a type that is not a [`Field`].
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
    };
    ($($other:tt)*) => {
        fn fields(&self, _: &mut $crate::nn::Fields) {
            ::core::compile_error!("fields! takes the names of the struct's fields: fields!(fc1, fc2; skip config)")
        }
    };
}
