//! An optimizer's memory: on a GPU flat arenas that the parameters move into, on the CPU state beside each parameter.

use super::Executor;
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::graph::optim::{BLOCK, Coefficients};
use crate::host::zeroed;
use crate::storage::Storage;
use crate::storage::bindings::{Entry, OptimStore};
use crate::sync::lock;

/// A parameter that an optimizer adopts.
#[derive(Debug, Clone)]
pub(crate) struct Adoptee {
    /// Where its value is now.
    pub storage: Storage,
    pub dtype: DType,
    pub len: usize,
}

/// Stores, and the place of each parameter in them: (store, entry).
pub(crate) type Adopted = (Vec<OptimStore>, Vec<(usize, usize)>);

impl Executor {
    /// Memory for these parameters and `states` state arrays of each, which are 0. On a GPU the stores hold copies of the
    /// parameters; nothing reads them before the parameters are told so.
    ///
    /// # Errors
    /// Out of memory.
    pub fn adopt(&self, parameters: &[Adoptee], states: usize) -> Result<Adopted> {
        match self.arena_limit() {
            None => self.beside(parameters, states),
            Some(limit) => self.in_arenas(parameters, states, limit),
        }
    }

    /// A store with copies of another one's contents. `parameters` are the dtypes and lengths of its entries.
    ///
    /// # Errors
    /// Out of memory.
    pub fn copy_store(&self, of: &OptimStore, parameters: &[(DType, usize)]) -> Result<OptimStore> {
        let coefficients = lock(&of.coefficients).clone().into();
        let (Some(arena), Some(gradients)) = (&of.parameters, &of.gradients) else {
            let mut entries = Vec::new();
            for (entry, &(dtype, len)) in of.entries.iter().zip(parameters) {
                entries.push(Entry { parameter: self.duplicate(&entry.parameter, dtype, len)?, len, offset: entry.offset });
            }
            let states = of.state.iter().zip(parameters.iter().cycle());
            let state = states.map(|(state, &(dtype, len))| self.duplicate(state, dtype, len)).collect::<Result<_>>()?;
            return Ok(OptimStore { entries, state, parameters: None, gradients: None, coefficients });
        };
        let ends = of.entries.iter().map(|e| e.offset + e.len.next_multiple_of(BLOCK).max(BLOCK));
        let len = ends.max().unwrap_or(0);
        let copy = |storage: &Storage| self.duplicate(storage, DType::F32, len);
        let (arena, gradients) = (copy(arena)?, copy(gradients)?);
        let state = of.state.iter().map(copy).collect::<Result<_>>()?;
        let entry = |e: &Entry| Entry { parameter: arena.range(e.offset, e.len), len: e.len, offset: e.offset };
        let entries = of.entries.iter().map(entry).collect();
        Ok(OptimStore { entries, state, parameters: Some(arena), gradients: Some(gradients), coefficients })
    }

    /// Parameters stay where they are, and state is kept beside them.
    fn beside(&self, parameters: &[Adoptee], states: usize) -> Result<Adopted> {
        let entries: Vec<Entry> =
            parameters.iter().map(|p| Entry { parameter: p.storage.clone(), len: p.len, offset: 0 }).collect();
        let mut state = Vec::with_capacity(states * parameters.len());
        for _ in 0..states {
            for p in parameters {
                self.expect_upload(p.dtype.bytes(p.len) as u64)?;
                let zeros = match p.dtype {
                    DType::F64 => HostData::F64(zeroed("an optimizer's state", p.len)?),
                    _ => HostData::F32(zeroed("an optimizer's state", p.len)?),
                };
                state.push(self.upload(zeros)?);
            }
        }
        let places = (0..entries.len()).map(|e| (0, e)).collect();
        Ok((vec![store(entries, state, None, None)], places))
    }

    /// Each arena holds as many parameters as `limit` elements can.
    fn in_arenas(&self, parameters: &[Adoptee], states: usize, limit: usize) -> Result<Adopted> {
        let padded = |p: &Adoptee| p.len.next_multiple_of(BLOCK).max(BLOCK);
        let mut chunks: Vec<&[Adoptee]> = Vec::new();
        let mut rest = parameters;
        while !rest.is_empty() {
            let mut filled = 0usize;
            let fits = rest.iter().take_while(|p| {
                filled = filled.saturating_add(padded(p));
                filled <= limit
            });
            // One that exceeds the limit by itself is refused by the allocation, which names its size.
            let (chunk, more) = rest.split_at(fits.count().max(1));
            chunks.push(chunk);
            rest = more;
        }
        let (mut stores, mut places) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let arena = || self.zeroed(chunk.iter().map(padded).sum());
            let (parameters, gradients) = (arena()?, arena()?);
            let state = (0..states).map(|_| arena()).collect::<Result<Vec<_>>>()?;
            let mut entries = Vec::new();
            let mut offset = 0;
            for p in chunk {
                let parameter = parameters.range(offset, p.len);
                if p.len > 0 {
                    self.copy(&p.storage, &parameter)?;
                }
                places.push((stores.len(), entries.len()));
                entries.push(Entry { parameter, len: p.len, offset });
                offset += padded(p);
            }
            stores.push(store(entries, state, Some(parameters), Some(gradients)));
        }
        Ok((stores, places))
    }
}

fn store(entries: Vec<Entry>, state: Vec<Storage>, parameters: Option<Storage>, gradients: Option<Storage>) -> OptimStore {
    let coefficients = vec![Coefficients::default(); entries.len()].into();
    OptimStore { entries, state, parameters, gradients, coefficients }
}
