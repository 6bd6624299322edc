//! One module's values in another, on the device.

use super::fields::Fields;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// How many names a message lists.
const SHOWN: usize = 3;

/// Moves `to`'s values towards `from`'s by a share `weight`; integers and counters are copied, and with a weight of 1 so is
/// everything else.
#[track_caller]
pub(super) fn blend(op: &'static str, to: &Fields, from: &Fields, weight: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&weight) {
        return Err(Error::argument(op, format!("the weight is {weight}"), "use a share in 0..=1, such as 0.005"));
    }
    to.check()?;
    from.check()?;
    let (targets, sources) = (cells(to), cells(from));
    let counted = |fields: &Fields| fields.counters.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if !targets.keys().eq(sources.keys()) || counted(to) != counted(from) {
        return Err(Error::argument(op, differences(&targets, &sources), "copy between two models of one architecture"));
    }
    let pairs: Vec<(&Param, &Param)> = targets.values().copied().zip(sources.values().copied()).collect();
    for ((name, target), source) in targets.iter().zip(sources.values()) {
        if (target.shape(), target.dtype()) != (source.shape(), source.dtype()) {
            let (a, b) = (format!("{} {}", target.dtype(), target.shape()), format!("{} {}", source.dtype(), source.shape()));
            let reason = format!("{name} is {a} here and {b} in the other");
            return Err(Error::argument(op, reason, "copy between two models of one architecture"));
        }
    }
    let values = no_grad(|| {
        let of = |(target, source): &(&Param, &Param)| -> Result<Tensor> {
            let value = source.tensor().to_device(target.device())?;
            let blends = weight < 1.0 && target.dtype().is_float();
            Ok(if blends { target.tensor().lerp(&value, weight) } else { value })
        };
        Snapshot::of(from).read(|| pairs.iter().map(of).collect::<Result<Vec<_>>>())
    })?;
    let targets: Vec<(&Param, &Tensor)> = pairs.iter().map(|(target, _)| *target).zip(&values).collect();
    no_grad(|| Param::set_all(&targets))?;
    for ((_, to), (_, from)) in to.counters.iter().zip(&from.counters) {
        to.set(from.get());
    }
    Ok(())
}

/// Parameters and buffers by name.
fn cells(fields: &Fields) -> BTreeMap<&str, &Param> {
    fields.parameters.iter().chain(&fields.buffers).map(|(name, param)| (name.as_str(), param)).collect()
}

fn differences(here: &BTreeMap<&str, &Param>, there: &BTreeMap<&str, &Param>) -> String {
    let only = |a: &BTreeMap<&str, &Param>, b: &BTreeMap<&str, &Param>| {
        let names: Vec<&str> = a.keys().filter(|name| !b.contains_key(*name)).copied().collect();
        let shown = names[..names.len().min(SHOWN)].join(", ");
        (!names.is_empty()).then(|| format!("{} ({shown}{})", names.len(), if names.len() > SHOWN { ", ..." } else { "" }))
    };
    let parts = [(only(here, there), "only here"), (only(there, here), "only in the other")];
    let parts: Vec<String> = parts.into_iter().filter_map(|(names, place)| Some(format!("{} {place}", names?))).collect();
    format!("the modules' names differ: {}", if parts.is_empty() { "those of counters".into() } else { parts.join(", ") })
}
