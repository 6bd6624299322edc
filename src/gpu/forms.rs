//! Which form of each kernel family a device uses: the one chosen for its class, or, if a trial has found that a driver refuses
//! or miscompiles it, a simpler one.

use super::context::Context;
use super::program::Caps;
use crate::sync::{lock, remembered};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The forms of a family, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// The one for the device's class.
    Chosen,
    /// Without workgroup memory, barriers and long unrolled loops, as for software adapters.
    Plain,
}

impl Form {
    /// Its name in records.
    fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Plain => "plain",
        }
    }
}

/// What is known of a family.
#[derive(Debug, Clone, Copy)]
struct Known {
    form: Form,
    proven: bool,
}

/// The results of an adapter's trials, for all its devices.
#[derive(Debug, Clone)]
pub(crate) struct Forms {
    known: Arc<Mutex<HashMap<&'static str, Known>>>,
    trials: bool,
    /// What a test has a driver do wrong.
    #[cfg(test)]
    pub faults: Vec<Fault>,
}

/// A form that a pretended driver gets wrong.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The family.
    pub family: &'static str,
    /// The form.
    pub form: Form,
    /// Whether it is refused; else its results are wrong.
    pub refused: bool,
}

impl Forms {
    /// The forms of an adapter, as far as this process has tested them.
    pub fn of(context: &Context) -> Self {
        static KNOWN: Mutex<Vec<(String, Forms)>> = Mutex::new(Vec::new());
        let trials = context.options.self_test.unwrap_or(!context.info.is_software());
        let name = format!("{} {} {trials} {:?}", context.info.name, context.info.backend, context.options);
        remembered(&KNOWN, name, || Self {
            known: Arc::default(),
            trials,
            #[cfg(test)]
            faults: Vec::new(),
        })
    }

    /// The forms of an adapter that nobody has tested, whose driver does these things wrong.
    #[cfg(test)]
    pub fn faulty(trials: bool, faults: Vec<Fault>) -> Self {
        Self { known: Arc::default(), trials, faults }
    }

    /// What a family's kernels may use.
    pub fn caps(&self, family: &str, caps: Caps) -> Caps {
        match lock(&self.known).get(family).map_or(Form::Chosen, |known| known.form) {
            Form::Chosen => caps,
            Form::Plain => Caps { software: true, ..caps }.with_short_texts(),
        }
    }

    /// Whether a family is to be tested before it is used.
    pub fn unproven(&self, family: &'static str) -> bool {
        self.trials && !lock(&self.known).get(family).is_some_and(|known| known.proven)
    }

    /// The family's form has passed its trial.
    pub fn prove(&self, family: &'static str) {
        lock(&self.known).entry(family).or_insert(Known { form: Form::Chosen, proven: false }).proven = true;
    }

    /// The family's form has failed: moves on to the next. Returns whether there is one.
    pub fn next(&self, family: &'static str) -> bool {
        let mut known = lock(&self.known);
        let known = known.entry(family).or_insert(Known { form: Form::Chosen, proven: false });
        let last = known.form == Form::Plain;
        known.form = Form::Plain;
        !last
    }

    /// The families that do not run in the form of the device's class.
    pub fn replaced(&self) -> Vec<&'static str> {
        let known = lock(&self.known);
        let mut families: Vec<_> = known.iter().filter(|(_, k)| k.form != Form::Chosen).map(|(family, _)| *family).collect();
        families.sort_unstable();
        families
    }

    /// The families that have passed a trial, in which form: a line each, in the order of their names.
    pub fn record(&self) -> String {
        let known = lock(&self.known);
        let proven = known.iter().filter(|(_, known)| known.proven);
        let mut lines: Vec<String> = proven.map(|(family, known)| format!("{family} {}\n", known.form.name())).collect();
        lines.sort_unstable();
        lines.concat()
    }

    /// Takes over a record of these families, all or nothing. Families tested by this process keep their results. Returns whether
    /// every line is one of a record.
    pub fn adopt(&self, record: &str, families: &[&'static str]) -> bool {
        let read = |line: &str| {
            let (family, form) = line.split_once(' ')?;
            let family = *families.iter().find(|known| **known == family)?;
            Some((family, [Form::Chosen, Form::Plain].into_iter().find(|known| known.name() == form)?))
        };
        let Some(lines) = record.lines().map(read).collect::<Option<Vec<_>>>() else { return false };
        let mut known = lock(&self.known);
        for (family, form) in lines {
            known.entry(family).or_insert(Known { form, proven: true });
        }
        true
    }

    /// What a test has the driver do wrong with a family in its present form.
    #[cfg(test)]
    pub fn fault(&self, family: &str) -> Option<Fault> {
        let form = lock(&self.known).get(family).map_or(Form::Chosen, |known| known.form);
        self.faults.iter().copied().find(|fault| fault.family == family && fault.form == form)
    }
}
