//! What a module consists of, as plain lists.

use super::mode::{Counter, KeptModes, Mode};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;
use std::collections::HashMap;

/// The parameters, buffers, counters, modes and submodules of a module and all below it, in order, with dotted names.
///
/// One value may have several names, as a tied weight has; one name has one value, which [`Fields::check`] verifies.
#[derive(Debug, Default)]
pub struct Fields {
    /// Trainable state.
    pub parameters: Vec<(String, Param)>,
    /// State that is saved, not trained.
    pub buffers: Vec<(String, Param)>,
    /// Numbers that are saved and kept on the host.
    pub counters: Vec<(String, Counter)>,
    /// Every layer's mode.
    pub modes: Vec<Mode>,
    /// The submodules' addresses, to label a [`summary`](super::summary()), and where each is in `trail`.
    pub(crate) modules: Vec<(usize, usize)>,
    prefix: String,
    /// The fields on the way: what each is within, and its own name. Full names would take memory quadratic in the depth.
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

    /// Notes that the module is not valid, such as a [`Sequential`](super::Sequential) with two layers of one name. The first
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
    /// The first error that a module has noted with [`Fields::refuse`]; two parameters, buffers or counters under one name.
    #[track_caller]
    pub fn check(&self) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let Some(name) = self.clash() else { return Ok(()) };
        let reason = format!("two values are named \"{name}\", and a file has one place for them");
        Err(Error::argument("Module::fields", reason, "give each field a name of its own"))
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
        let counters = self.counters.iter().map(|(name, counter)| (name, Value::Counter(counter.tally().address())));
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

    /// Has this thread, and no other, switch modes for itself until the value is dropped, which restores each of them.
    #[must_use = "the modes go back when the value is dropped"]
    pub(super) fn keep_modes(&self) -> KeptModes {
        KeptModes::of(&self.modes)
    }

    /// The dotted name of a field here.
    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.into() } else { format!("{}.{name}", self.prefix) }
    }
}

/// A module's identity while it is not moved.
pub(super) fn address<M: ?Sized>(module: &M) -> usize {
    std::ptr::from_ref(module).cast::<()>().addr()
}

/// Makes a copy of a module's fields, one by one. What several fields share, such as a tied weight, their copies share.
///
/// [`fields!`](crate::fields) writes the calls; [`Module::duplicate`](super::Module::duplicate) and [`Module::to`](super::Module::to)
/// start them.
#[derive(Debug, Default)]
pub struct Copier {
    /// Where the copy goes; `None` for the device of each value.
    device: Option<Device>,
    params: HashMap<u64, Param>,
    counters: HashMap<usize, Counter>,
    modes: HashMap<usize, Mode>,
}

impl Copier {
    pub(super) fn onto(device: Option<&Device>) -> Self {
        Self { device: device.cloned(), ..Self::default() }
    }

    /// Copies a field.
    ///
    /// # Errors
    /// The device is out of memory; a module without [`fields!`](crate::fields).
    #[track_caller]
    pub fn copy<F: Field>(&mut self, field: &F) -> Result<F> {
        field.copied(self)
    }

    pub(super) fn param(&mut self, param: &Param) -> Result<Param> {
        if let Some(copy) = self.params.get(&param.id()) {
            return Ok(copy.clone());
        }
        let value = self.tensor(&no_grad(|| param.tensor().detach()))?;
        let copy = no_grad(|| if param.is_buffer() { Param::buffer(&value) } else { Param::new(&value) })?;
        param.given_name().into_iter().for_each(|name| copy.set_name(name));
        if !param.is_trainable() {
            copy.freeze();
        }
        self.params.insert(param.id(), copy.clone());
        Ok(copy)
    }

    pub(super) fn counter(&mut self, counter: &Counter) -> Counter {
        let copy = || {
            let copy = Counter::default();
            copy.set(counter.get());
            copy
        };
        self.counters.entry(counter.tally().address()).or_insert_with(copy).clone()
    }

    pub(super) fn mode(&mut self, mode: &Mode) -> Mode {
        let copy = || {
            let copy = Mode::default();
            copy.set_training(mode.is_training());
            copy
        };
        self.modes.entry(mode.address()).or_insert_with(copy).clone()
    }

    pub(super) fn device(&self, device: &Device) -> Device {
        self.device.as_ref().unwrap_or(device).clone()
    }

    /// A tensor that a layer holds besides its fields, such as a table.
    pub(super) fn tensor(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_device(&self.device(&tensor.device()?))
    }
}

/// The error of a module without `fields!`.
pub(super) fn not_copied() -> Error {
    Error::Unsupported {
        op: "duplicate",
        reason: "a module lists its fields by hand".into(),
        help: "list them with fields!, or implement copied and boxed_copy as well".into(),
    }
}

/// What may be a field of a module: a module, a [`Param`], a [`Counter`], a [`Mode`]; an `Option`, a `Vec`, an array, a tuple or a
/// `Box` of these, of any depth; and plain settings. Elements of lists, arrays and tuples are named by their place: `blocks.0.weight`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be listed by fields!",
    label = "not a module, a parameter or a plain setting",
    note = "a field may be a Module, a Param, a Mode, a number, a string, a Device or a Generator, or an Option, a Vec, an array, a tuple or a Box of these",
    note = "a layer's constructor returns a Result: add `?` after the call, as in Linear::new(4, 2, &init)?",
    note = "leave other settings out: fields!(fc1, fc2; skip config)"
)]
pub trait Field {
    /// Adds the field to the lists, under the name that `fields` is at.
    fn list(&self, fields: &mut Fields);

    /// A deep copy.
    ///
    /// # Errors
    /// The device is out of memory; a module that cannot be copied.
    fn copied(&self, copier: &mut Copier) -> Result<Self>
    where
        Self: Sized;
}

impl Field for Param {
    fn list(&self, fields: &mut Fields) {
        let entry = (fields.prefix.clone(), self.clone());
        if self.is_buffer() { fields.buffers.push(entry) } else { fields.parameters.push(entry) }
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        copier.param(self)
    }
}

impl Field for Counter {
    fn list(&self, fields: &mut Fields) {
        fields.counters.push((fields.prefix.clone(), self.clone()));
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Ok(copier.counter(self))
    }
}

impl Field for Mode {
    fn list(&self, fields: &mut Fields) {
        fields.modes.push(self.clone());
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Ok(copier.mode(self))
    }
}

impl<F: Field> Field for Option<F> {
    fn list(&self, fields: &mut Fields) {
        if let Some(field) = self {
            field.list(fields);
        }
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        self.as_ref().map(|field| field.copied(copier)).transpose()
    }
}

/// Elements are named by their index, as in PyTorch's `ModuleList`.
fn list_all<F: Field>(elements: &[F], fields: &mut Fields) {
    elements.iter().enumerate().for_each(|(i, element)| fields.add(&i.to_string(), element));
}

impl<F: Field> Field for Vec<F> {
    fn list(&self, fields: &mut Fields) {
        list_all(self, fields);
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        self.iter().map(|field| field.copied(copier)).collect()
    }
}

impl<F: Field, const N: usize> Field for [F; N] {
    fn list(&self, fields: &mut Fields) {
        list_all(self, fields);
    }

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        let copies: Vec<F> = self.iter().map(|field| field.copied(copier)).collect::<Result<_>>()?;
        copies.try_into().map_err(|_| Error::internal("an array and its copy differ in length"))
    }
}

/// The elements are named by their index.
macro_rules! tuples {
    ($($($element:ident $i:tt),+;)+) => {$(
        impl<$($element: Field),+> Field for ($($element,)+) {
            fn list(&self, fields: &mut Fields) {
                $(fields.add(stringify!($i), &self.$i);)+
            }

            fn copied(&self, copier: &mut Copier) -> Result<Self> {
                Ok(($(self.$i.copied(copier)?,)+))
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

            fn copied(&self, _: &mut Copier) -> Result<Self> {
                Ok(self.clone())
            }
        }
    )*};
}
plain!(bool, usize, u32, i32, u64, i64, f32, f64, String, &'static str, crate::rng::Generator);

impl Field for Device {
    fn list(&self, _: &mut Fields) {}

    fn copied(&self, copier: &mut Copier) -> Result<Self> {
        Ok(copier.device(self))
    }
}

/// A field's name without the mark of a raw identifier: `r#gen` is `gen`. For [`fields!`](crate::fields).
#[doc(hidden)]
pub fn field_name(identifier: &'static str) -> &'static str {
    identifier.strip_prefix("r#").unwrap_or(identifier)
}
