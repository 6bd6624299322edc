//! Follows a thread from the entry point to its end.

use super::module::{Function, Inst, Module, Step, Variable, op};
use super::value::Value;
use super::{Counts, Unreadable};
use std::collections::BTreeMap;

/// A thread that passes more blocks is given up.
const LONGEST: u64 = 5_000_000;

/// Which thread of a launch.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The workgroup's place in the grid.
    pub group: [u64; 3],
    /// The thread's number in the workgroup.
    pub thread: u64,
    /// Workgroups along each dimension.
    pub grid: [u32; 3],
}

/// What is the same for all threads, and the memory of one.
pub struct Run<'m> {
    module: &'m Module,
    values: Vec<Value>,
    /// The words of variables, by their ids.
    memory: Vec<Vec<Option<u32>>>,
    passed: u64,
}

impl<'m> Run<'m> {
    /// Constants and uniform buffers are set.
    pub fn new(module: &'m Module, uniforms: &BTreeMap<u32, Vec<u32>>) -> Self {
        let mut run =
            Self { module, values: vec![Value::Unknown; module.bound], memory: vec![Vec::new(); module.bound], passed: 0 };
        for (id, value) in &module.constants {
            run.set(*id, *value);
        }
        for (id, variable) in &module.live {
            run.set(*id, Value::Pointer { root: *id, at: Some(0) });
            let uniform = variable.binding.and_then(|binding| uniforms.get(&binding)).filter(|_| Module::is_known(variable));
            if let (Some(words), Some(memory)) = (uniform, run.memory.get_mut(*id as usize)) {
                memory.extend(words.iter().copied().map(Some));
            }
        }
        run
    }

    /// What a thread executes.
    pub fn thread(&mut self, place: Place) -> Result<Counts, Unreadable> {
        self.passed = 0;
        for (id, variable) in self.module.live.iter().filter(|(_, v)| v.binding.is_none() && Module::is_known(v)) {
            if let Some(memory) = self.memory.get_mut(*id as usize) {
                begin(memory, self.module, variable, place);
            }
        }
        let mut counts = Counts::default();
        self.function(self.module.entry, &mut counts)?;
        Ok(counts)
    }

    fn get(&self, id: u32) -> Value {
        self.values.get(id as usize).copied().unwrap_or(Value::Unknown)
    }

    fn set(&mut self, id: u32, value: Value) {
        if let Some(slot) = self.values.get_mut(id as usize) {
            *slot = value;
        }
    }

    fn function(&mut self, id: u32, counts: &mut Counts) -> Result<Value, Unreadable> {
        let module = self.module;
        let Some(function) = module.functions.get(&id) else { return Ok(Value::Unknown) };
        for (id, initializer) in &function.variables {
            let value = initializer.map(|i| self.get(i));
            if let (Some(memory), Some(value)) = (self.memory.get_mut(*id as usize), value) {
                // A large constant is zeros: naga writes no other.
                let words = value.words();
                let filled = memory.iter_mut().enumerate();
                filled.for_each(|(n, word)| *word = if words.is_empty() { Some(0) } else { words.get(n).copied().flatten() });
            }
        }
        let (mut at, mut before) = (0, 0);
        // Whether it may have returned before, with another value.
        let mut unsure = false;
        loop {
            let Some(block) = function.blocks.get(at) else { return Ok(Value::Unknown) };
            self.passed += 1;
            if self.passed > LONGEST {
                return Err(Unreadable::Endless(LONGEST));
            }
            counts.add(block.counts, 1.0);
            // Phis take what was there before any of them.
            let phis = block.insts.iter().take_while(|i| i.op == op::PHI);
            let rest = phis.clone().count();
            if rest > 0 {
                let phis: Vec<(u32, Value)> = phis.map(|phi| (phi.id, self.phi(phi, before))).collect();
                phis.into_iter().for_each(|(id, value)| self.set(id, value));
            }
            for inst in &block.insts[rest..] {
                if inst.op == op::FUNCTION_CALL {
                    let value = self.call(inst, counts)?;
                    self.set(inst.id, value);
                } else {
                    self.step(inst);
                }
            }
            let end = &block.end;
            let to = match end.op {
                op::BRANCH => end.arg(0),
                op::BRANCH_CONDITIONAL => match self.get(end.arg(0)).word() {
                    Some(word) => end.arg(if word != 0 { 1 } else { 2 }),
                    None => {
                        let arms = [end.arg(1), end.arg(2)];
                        unsure |= self.either(function, arms, block.merge, counts)?.ok_or(Unreadable::Branch(block.label))?;
                        block.merge
                    }
                },
                op::SWITCH => {
                    let word = self.get(end.arg(0)).word().ok_or(Unreadable::Branch(block.label))?;
                    let cases = end.args.get(2..).unwrap_or_default();
                    cases.chunks_exact(2).find(|case| case[0] == word).map_or(end.arg(1), |case| case[1])
                }
                op::RETURN_VALUE if unsure => return Ok(Value::Unknown),
                op::RETURN_VALUE => return Ok(self.get(end.arg(0))),
                _ => return Ok(Value::Unknown),
            };
            before = block.label;
            at = function.places.get(&to).copied().unwrap_or(usize::MAX);
        }
    }

    /// Passes a selection whose condition is data: the busier arm counts, and what either changes is unknown. Gives whether one of them returns; none if they are more than a block each, or leave a loop.
    fn either(
        &mut self,
        function: &Function,
        arms: [u32; 2],
        merge: u32,
        counts: &mut Counts,
    ) -> Result<Option<bool>, Unreadable> {
        let (mut busiest, mut returns) = (Counts::default(), 0);
        for arm in arms.into_iter().filter(|&arm| arm != merge) {
            let Some(block) = function.places.get(&arm).and_then(|&at| function.blocks.get(at)) else { return Ok(None) };
            match block.end.op {
                op::BRANCH if block.end.arg(0) == merge => {}
                op::RETURN | op::RETURN_VALUE => returns += 1,
                _ => return Ok(None),
            }
            let mut own = block.counts;
            for inst in &block.insts {
                match inst.op {
                    op::FUNCTION_CALL => {
                        self.call(inst, &mut own)?;
                        self.set(inst.id, Value::Unknown);
                    }
                    op::STORE => {
                        if let Some(memory) = self.memory.get_mut(inst.ty as usize) {
                            memory.fill(None);
                        }
                    }
                    _ => self.set(inst.id, Value::Unknown),
                }
            }
            busiest = busiest.busier(own);
        }
        counts.add(busiest, 1.0);
        // Both return: there is nothing to go on with.
        Ok((merge != 0 && returns < 2).then_some(returns > 0))
    }

    /// Calls a function, with unknown arguments where they are unknown.
    fn call(&mut self, inst: &Inst, counts: &mut Counts) -> Result<Value, Unreadable> {
        let Some(callee) = self.module.functions.get(&inst.arg(0)) else { return Ok(Value::Unknown) };
        for (n, &parameter) in callee.parameters.iter().enumerate() {
            self.set(parameter, self.get(inst.arg(n + 1)));
        }
        self.function(inst.arg(0), counts)
    }

    fn phi(&self, inst: &Inst, before: u32) -> Value {
        let pair = inst.args.chunks_exact(2).find(|pair| pair[1] == before);
        pair.map_or(Value::Unknown, |pair| self.get(pair[0]))
    }

    /// Evaluates an instruction other than a call.
    fn step(&mut self, inst: &Inst) {
        let a = |n: usize| self.get(inst.arg(n));
        let value = match inst.op {
            op::STORE => {
                let value = a(1);
                let Value::Pointer { root, at } = a(0) else {
                    // It may point anywhere.
                    let local = self.module.live.iter().filter(|(_, v)| v.binding.is_none() && v.builtin.is_none());
                    for (id, _) in local {
                        if let Some(memory) = self.memory.get_mut(*id as usize) {
                            memory.fill(None);
                        }
                    }
                    return;
                };
                let Some(memory) = self.memory.get_mut(root as usize) else { return };
                match at.and_then(|at| memory.get_mut(at as usize..at as usize + value.words().len().max(1))) {
                    Some(place) if place.len() == value.words().len() => place.copy_from_slice(value.words()),
                    // Anywhere, or more than a vector.
                    _ => memory.fill(None),
                }
                return;
            }
            op::LOAD => {
                let Value::Pointer { root, at: Some(at) } = a(0) else { return self.set(inst.id, Value::Unknown) };
                let size = self.module.size(inst.ty) as usize;
                let words = self.memory.get(root as usize).and_then(|memory| memory.get(at as usize..at as usize + size));
                words.map_or(Value::Unknown, Value::of)
            }
            op::ACCESS_CHAIN | op::IN_BOUNDS_ACCESS_CHAIN => self.chain(inst),
            op::COPY_OBJECT | op::BITCAST => a(0),
            op::VECTOR_SHUFFLE => {
                let both: Vec<Option<u32>> = [a(0), a(1)].iter().flat_map(|v| v.words().to_vec()).collect();
                let pick = |n: &u32| both.get(*n as usize).copied().flatten();
                Value::of(&inst.args.iter().skip(2).map(pick).collect::<Vec<_>>())
            }
            op::COMPOSITE_CONSTRUCT => {
                let parts: Vec<Value> = inst.args.iter().map(|id| self.get(*id)).collect();
                let unknown = [None];
                let words = parts.iter().flat_map(|v| if v.words().is_empty() { &unknown[..] } else { v.words() });
                Value::of(&words.copied().collect::<Vec<_>>())
            }
            op::COMPOSITE_EXTRACT if inst.args.len() == 2 => match a(0).words().get(inst.arg(1) as usize) {
                Some(word) => Value::of(&[*word]),
                None => Value::Unknown,
            },
            // VectorExtractDynamic
            77 => match (a(0), a(1).word()) {
                (vector, Some(n)) => vector.words().get(n as usize).map_or(Value::Unknown, |word| Value::of(&[*word])),
                _ => Value::Unknown,
            },
            // Select, by one condition or one per word.
            169 => {
                let (condition, yes, no) = (a(0), a(1), a(2));
                let pick = |n: usize| {
                    let word = condition.words().get(n).or(condition.words().first()).copied().flatten()?;
                    (if word != 0 { &yes } else { &no }).words().get(n).copied().flatten()
                };
                Value::of(&(0..yes.words().len().max(no.words().len())).map(pick).collect::<Vec<_>>())
            }
            154 | 155 => {
                let words: Option<Vec<u32>> = a(0).words().iter().copied().collect();
                let word = |words: Vec<u32>| {
                    let truth = if inst.op == 154 { words.iter().any(|&w| w != 0) } else { words.iter().all(|&w| w != 0) };
                    Value::scalar(u32::from(truth))
                };
                words.filter(|words| !words.is_empty()).map_or(Value::Unknown, word)
            }
            op::EXT_INST => extended(inst.arg(1), &[a(2), a(3), a(4)]),
            _ if inst.args.len() == 1 => a(0).map(|x| unary(inst.op, x)),
            _ if inst.args.len() == 2 => a(0).zip(&a(1), |x, y| binary(inst.op, x, y)),
            _ => Value::Unknown,
        };
        self.set(inst.id, value);
    }

    /// A pointer to a part of what another points to.
    fn chain(&self, inst: &Inst) -> Value {
        let Value::Pointer { root, mut at } = self.get(inst.arg(0)) else { return Value::Unknown };
        for step in &inst.path {
            let words = match *step {
                Step::Member(words) => Some(words),
                Step::Element(index, stride) => self.get(index).word().and_then(|n| n.checked_mul(stride)),
                Step::Unknown => return Value::Unknown,
            };
            at = at.zip(words).and_then(|(at, words)| at.checked_add(words));
        }
        Value::Pointer { root, at }
    }
}

/// A variable's words before a thread begins.
fn begin(memory: &mut Vec<Option<u32>>, module: &Module, variable: &Variable, place: Place) {
    memory.clear();
    let Some(builtin) = variable.builtin else { return memory.resize(module.size(variable.ty) as usize, None) };
    let local = module.local.map(u64::from);
    let [x, y, z] = [place.thread % local[0], place.thread / local[0] % local[1], place.thread / (local[0] * local[1])];
    let (group, wave) = (place.group, u64::from(super::WAVE));
    let words: &[u64] = match builtin {
        // NumWorkgroups, WorkgroupId, LocalInvocationId, GlobalInvocationId, LocalInvocationIndex
        24 => &place.grid.map(u64::from),
        26 => &group,
        27 => &[x, y, z],
        28 => &[group[0] * local[0] + x, group[1] * local[1] + y, group[2] * local[2] + z],
        29 => &[place.thread],
        // SubgroupSize, NumSubgroups, SubgroupId, SubgroupLocalInvocationId
        36 => &[wave],
        38 => &[(local[0] * local[1] * local[2]).div_ceil(wave)],
        40 => &[place.thread / wave],
        41 => &[place.thread % wave],
        _ => return memory.resize(4, None),
    };
    memory.extend(words.iter().map(|&w| u32::try_from(w).ok()));
}

fn unary(op: u16, x: u32) -> Option<u32> {
    Some(match op {
        // UConvert, SConvert: from and to 32 bits.
        113 | 114 => x,
        126 => x.wrapping_neg(),
        168 => u32::from(x == 0),
        200 => !x,
        205 => x.count_ones(),
        _ => return None,
    })
}

fn binary(op: u16, x: u32, y: u32) -> Option<u32> {
    let (a, b) = (x.cast_signed(), y.cast_signed());
    Some(match op {
        128 => x.wrapping_add(y),
        130 => x.wrapping_sub(y),
        132 => x.wrapping_mul(y),
        134 => x.checked_div(y)?,
        135 => a.checked_div(b)?.cast_unsigned(),
        137 => x.checked_rem(y)?,
        138 => a.checked_rem(b)?.cast_unsigned(),
        139 => a.checked_rem_euclid(b).filter(|_| b > 0)?.cast_unsigned(),
        164 | 170 => u32::from(x == y),
        165 | 171 => u32::from(x != y),
        166 => x | y,
        167 => x & y,
        172 => u32::from(x > y),
        173 => u32::from(a > b),
        174 => u32::from(x >= y),
        175 => u32::from(a >= b),
        176 => u32::from(x < y),
        177 => u32::from(a < b),
        178 => u32::from(x <= y),
        179 => u32::from(a <= b),
        194 => x.checked_shr(y)?,
        195 => a.checked_shr(y)?.cast_unsigned(),
        196 => x.checked_shl(y)?,
        197 => x | y,
        198 => x ^ y,
        199 => x & y,
        _ => return None,
    })
}

/// Functions of GLSL.std.450 on integers.
fn extended(function: u32, args: &[Value; 3]) -> Value {
    let signed = |f: fn(i32, i32) -> i32| move |x: u32, y: u32| Some(f(x.cast_signed(), y.cast_signed()).cast_unsigned());
    let [a, b, c] = args;
    match function {
        5 => a.map(|x| Some(x.cast_signed().wrapping_abs().cast_unsigned())),
        38 => a.zip(b, |x, y| Some(x.min(y))),
        39 => a.zip(b, signed(i32::min)),
        41 => a.zip(b, |x, y| Some(x.max(y))),
        42 => a.zip(b, signed(i32::max)),
        44 => a.zip(b, |x, y| Some(x.max(y))).zip(c, |x, y| Some(x.min(y))),
        45 => a.zip(b, signed(i32::max)).zip(c, signed(i32::min)),
        73 => a.map(|x| Some(if x == 0 { u32::MAX } else { x.trailing_zeros() })),
        75 => a.map(|x| Some(if x == 0 { u32::MAX } else { 31 - x.leading_zeros() })),
        _ => Value::Unknown,
    }
}
