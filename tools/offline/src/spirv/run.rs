//! Follows a thread from the entry point to its end.

use super::module::{Inst, Module, Type, Variable, op};
use super::value::Value;
use super::{Counts, Unreadable};
use std::collections::{BTreeMap, HashMap};

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
    uniforms: &'m BTreeMap<u32, Vec<u32>>,
    values: Vec<Value>,
    /// The words of variables.
    memory: HashMap<u32, Vec<Option<u32>>>,
    passed: u64,
}

impl<'m> Run<'m> {
    /// Constants are set.
    pub fn new(module: &'m Module, uniforms: &'m BTreeMap<u32, Vec<u32>>) -> Self {
        let mut values = vec![Value::Unknown; module.bound];
        for (id, value) in &module.constants {
            if let Some(slot) = values.get_mut(*id as usize) {
                *slot = *value;
            }
        }
        let mut run = Self { module, uniforms, values, memory: HashMap::new(), passed: 0 };
        for id in module.variables.keys() {
            run.set(*id, Value::Pointer { root: *id, at: Some(0) });
        }
        run
    }

    /// What a thread executes.
    pub fn thread(&mut self, place: Place) -> Result<Counts, Unreadable> {
        self.passed = 0;
        self.memory.clear();
        let module = self.module;
        for (id, variable) in &module.variables {
            let words = initial(module, variable, self.uniforms, place);
            self.memory.insert(*id, words);
        }
        let mut counts = Counts::default();
        self.function(module.entry, &mut counts)?;
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
        for id in &function.variables {
            let initializer = module.variables.get(id).and_then(|v| v.initializer);
            let words = initializer.map(|i| self.get(i).words().to_vec());
            if let (Some(memory), Some(words)) = (self.memory.get_mut(id), words) {
                // A large constant is zeros: naga writes no other.
                let filled = memory.iter_mut().enumerate();
                filled.for_each(|(n, word)| *word = if words.is_empty() { Some(0) } else { words.get(n).copied().flatten() });
            }
        }
        let (mut at, mut before) = (0, 0);
        loop {
            let Some(block) = function.blocks.get(at) else { return Ok(Value::Unknown) };
            self.passed += 1;
            if self.passed > LONGEST {
                return Err(Unreadable::Endless(LONGEST));
            }
            counts.add(block.counts, 1.0);
            // Phis take what was there before any of them.
            let phis = block.insts.iter().take_while(|i| i.op == op::PHI);
            let phis: Vec<(u32, Value)> = phis.map(|phi| (phi.id, self.phi(phi, before))).collect();
            let rest = phis.len();
            phis.into_iter().for_each(|(id, value)| self.set(id, value));
            for inst in &block.insts[rest..] {
                if inst.op == op::FUNCTION_CALL {
                    let Some(callee) = module.functions.get(&inst.arg(0)) else { continue };
                    for (n, &parameter) in callee.parameters.iter().enumerate() {
                        self.set(parameter, self.get(inst.arg(n + 1)));
                    }
                    let value = self.function(inst.arg(0), counts)?;
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
                    None => return Err(Unreadable::Branch(block.label)),
                },
                op::SWITCH => {
                    let word = self.get(end.arg(0)).word().ok_or(Unreadable::Branch(block.label))?;
                    let cases = end.args.get(2..).unwrap_or_default();
                    cases.chunks_exact(2).find(|case| case[0] == word).map_or(end.arg(1), |case| case[1])
                }
                op::RETURN_VALUE => return Ok(self.get(end.arg(0))),
                _ => return Ok(Value::Unknown),
            };
            before = block.label;
            at = function.places.get(&to).copied().unwrap_or(usize::MAX);
        }
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
                    let local = self.module.variables.iter().filter(|(_, v)| v.binding.is_none() && v.builtin.is_none());
                    for (id, _) in local {
                        self.memory.entry(*id).or_default().fill(None);
                    }
                    return;
                };
                let Some(memory) = self.memory.get_mut(&root) else { return };
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
                let words = self.memory.get(&root).and_then(|memory| memory.get(at as usize..at as usize + size));
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
        let Value::Pointer { root, at } = self.get(inst.arg(0)) else { return Value::Unknown };
        let mut at = at;
        let mut ty = match self.pointee(inst.arg(0)) {
            Some(ty) => ty,
            None => return Value::Unknown,
        };
        for index in inst.args.iter().skip(1) {
            let index = self.get(*index).word();
            let (inner, words) = match self.module.types.get(&ty) {
                Some(Type::Struct(members)) => {
                    let Some(member) = index.and_then(|n| members.get(n as usize)) else { return Value::Unknown };
                    (member.0, Some(member.1))
                }
                Some(Type::Array(element, _, stride)) => (*element, index.and_then(|n| n.checked_mul(*stride))),
                Some(Type::Vector(element, _)) => {
                    let size = self.module.size(*element);
                    (*element, index.and_then(|n| n.checked_mul(size)))
                }
                _ => return Value::Unknown,
            };
            ty = inner;
            at = at.zip(words).and_then(|(at, words)| at.checked_add(words));
        }
        Value::Pointer { root, at }
    }

    /// What a pointer that is a variable, a parameter or a chain points to.
    fn pointee(&self, pointer: u32) -> Option<u32> {
        match self.module.types.get(self.module.pointers.get(&pointer)?)? {
            Type::Pointer(ty) => Some(*ty),
            _ => None,
        }
    }
}

/// A variable's words before a thread begins.
fn initial(module: &Module, variable: &Variable, uniforms: &BTreeMap<u32, Vec<u32>>, place: Place) -> Vec<Option<u32>> {
    if !Module::is_known(variable) {
        return Vec::new();
    }
    if let Some(builtin) = variable.builtin {
        let local = module.local.map(u64::from);
        let thread = [place.thread % local[0], place.thread / local[0] % local[1], place.thread / (local[0] * local[1])];
        let words: Vec<u64> = match builtin {
            // NumWorkgroups, WorkgroupId, LocalInvocationId, GlobalInvocationId, LocalInvocationIndex
            24 => place.grid.map(u64::from).to_vec(),
            26 => place.group.to_vec(),
            27 => thread.to_vec(),
            28 => (0..3).map(|d| place.group[d] * local[d] + thread[d]).collect(),
            29 => vec![place.thread],
            // SubgroupSize, NumSubgroups, SubgroupId, SubgroupLocalInvocationId
            36 => vec![super::WAVE.into()],
            38 => vec![(local[0] * local[1] * local[2]).div_ceil(super::WAVE.into())],
            40 => vec![place.thread / u64::from(super::WAVE)],
            41 => vec![place.thread % u64::from(super::WAVE)],
            _ => return vec![None; 4],
        };
        return words.into_iter().map(|w| u32::try_from(w).ok()).collect();
    }
    if let Some(binding) = variable.binding {
        return uniforms.get(&binding).into_iter().flatten().copied().map(Some).collect();
    }
    vec![None; module.size(variable.ty) as usize]
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
    let signed = |f: fn(i32, i32) -> i32| {
        move |x: u32, y: u32| Some(f(x.cast_signed(), y.cast_signed()).cast_unsigned())
    };
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
