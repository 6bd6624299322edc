//! A SPIR-V module as far as it is needed: types, constants, variables, and functions whose blocks hold only what branches depend
//! on.

use super::value::Value;
use super::{Access, Unreadable};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Opcodes, by their names in the specification.
pub mod op {
    #![allow(missing_docs, reason = "the specification's names")]
    pub const UNDEF: u16 = 1;
    pub const EXT_INST: u16 = 12;
    pub const ENTRY_POINT: u16 = 15;
    pub const EXECUTION_MODE: u16 = 16;
    pub const TYPE_BOOL: u16 = 20;
    pub const TYPE_INT: u16 = 21;
    pub const TYPE_FLOAT: u16 = 22;
    pub const TYPE_VECTOR: u16 = 23;
    pub const TYPE_MATRIX: u16 = 24;
    pub const TYPE_ARRAY: u16 = 28;
    pub const TYPE_RUNTIME_ARRAY: u16 = 29;
    pub const TYPE_STRUCT: u16 = 30;
    pub const TYPE_POINTER: u16 = 32;
    pub const CONSTANT_TRUE: u16 = 41;
    pub const CONSTANT_FALSE: u16 = 42;
    pub const CONSTANT: u16 = 43;
    pub const CONSTANT_COMPOSITE: u16 = 44;
    pub const CONSTANT_NULL: u16 = 46;
    pub const FUNCTION: u16 = 54;
    pub const FUNCTION_PARAMETER: u16 = 55;
    pub const FUNCTION_CALL: u16 = 57;
    pub const VARIABLE: u16 = 59;
    pub const LOAD: u16 = 61;
    pub const STORE: u16 = 62;
    pub const ACCESS_CHAIN: u16 = 65;
    pub const IN_BOUNDS_ACCESS_CHAIN: u16 = 66;
    pub const DECORATE: u16 = 71;
    pub const MEMBER_DECORATE: u16 = 72;
    pub const VECTOR_SHUFFLE: u16 = 79;
    pub const COMPOSITE_CONSTRUCT: u16 = 80;
    pub const COMPOSITE_EXTRACT: u16 = 81;
    pub const COPY_OBJECT: u16 = 83;
    pub const BITCAST: u16 = 124;
    pub const DOT: u16 = 148;
    pub const PHI: u16 = 245;
    pub const SELECTION_MERGE: u16 = 247;
    pub const LABEL: u16 = 248;
    pub const BRANCH: u16 = 249;
    pub const BRANCH_CONDITIONAL: u16 = 250;
    pub const SWITCH: u16 = 251;
    pub const RETURN: u16 = 253;
    pub const RETURN_VALUE: u16 = 254;
    pub const UNREACHABLE: u16 = 255;
}

/// `Fma` of GLSL.std.450.
const FMA: u32 = 50;

/// Storage classes.
const UNIFORM: u32 = 2;
const STORAGE: u32 = 12;
const LOCAL: [u32; 2] = [6, 7];

/// An instruction; the type and the result are 0 where there are none.
#[derive(Debug, Clone, Default)]
pub struct Inst {
    pub op: u16,
    pub ty: u32,
    pub id: u32,
    pub args: Vec<u32>,
    /// Of an access chain: where each of its indices leads.
    pub path: Vec<Step>,
}

/// A step from a variable to a part of it.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// To a member, this many words on.
    Member(u32),
    /// To an element: the index's id, and words from one to the next.
    Element(u32, u32),
    /// Into what is not looked into.
    Unknown,
}

impl Inst {
    /// The n-th operand.
    pub fn arg(&self, n: usize) -> u32 {
        self.args.get(n).copied().unwrap_or(0)
    }

    /// The operands that are ids and on which the result depends; a called function's body is not looked into.
    fn inputs(&self) -> Vec<u32> {
        let first = |n: usize| self.args.iter().take(n).copied().collect();
        match self.op {
            op::CONSTANT | op::CONSTANT_NULL | op::CONSTANT_TRUE | op::CONSTANT_FALSE | op::UNDEF => Vec::new(),
            op::COMPOSITE_EXTRACT | op::LOAD | op::RETURN_VALUE => first(1),
            op::VECTOR_SHUFFLE | op::STORE => first(2),
            op::EXT_INST => self.args.iter().skip(2).copied().collect(),
            op::PHI => self.args.iter().step_by(2).copied().collect(),
            op::VARIABLE => self.args.iter().skip(1).copied().collect(),
            op::FUNCTION_CALL | op::FUNCTION_PARAMETER => Vec::new(),
            _ => self.args.clone(),
        }
    }
}

/// A type, as far as memory and counting are concerned.
#[derive(Debug, Clone)]
pub enum Type {
    Float(u32),
    /// An integer, a boolean, or what is not looked into.
    Scalar,
    Vector(u32, u32),
    /// Element, length (0 if it is known only at run time), stride in words.
    Array(u32, u32, u32),
    /// Members and their places in words.
    Struct(Vec<(u32, u32)>),
    Pointer(u32),
}

/// A variable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variable {
    /// What it holds.
    pub ty: u32,
    pub class: u32,
    pub binding: Option<u32>,
    pub builtin: Option<u32>,
}

/// Instructions up to a branch.
#[derive(Debug, Default)]
pub struct Block {
    pub label: u32,
    /// Only those that branches depend on, and calls.
    pub insts: Vec<Inst>,
    pub end: Inst,
    /// Where the arms of its selection meet again; 0 without one.
    pub merge: u32,
    pub counts: super::Counts,
}

/// A function.
#[derive(Debug, Default)]
pub struct Function {
    pub parameters: Vec<u32>,
    /// Variables of its own on which branches depend, with their initializers.
    pub variables: Vec<(u32, Option<u32>)>,
    pub blocks: Vec<Block>,
    pub places: HashMap<u32, usize>,
}

/// A compute shader.
#[derive(Debug, Default)]
pub struct Module {
    pub bound: usize,
    pub types: HashMap<u32, Type>,
    pub variables: HashMap<u32, Variable>,
    pub constants: Vec<(u32, Value)>,
    pub functions: HashMap<u32, Function>,
    pub entry: u32,
    pub local: [u32; 3],
    /// The types of pointers.
    pointers: HashMap<u32, u32>,
    /// The variables on which branches depend.
    pub live: Vec<(u32, Variable)>,
    accesses: BTreeMap<u32, Access>,
}

/// Whether an instruction has neither result nor type, or a result without a type.
fn shape(op: u16) -> (bool, bool) {
    match op {
        // Names, lines, modes, decorations, stores, merges, branches, barriers.
        0 | 3..=6 | 8 | 10 | 14..=17 | 62..=64 | 71 | 72 | 224 | 225 | 228 | 246 | 247 | 249..=257 | 317 | 330..=332 => {
            (false, false)
        }
        // Strings, imports, types, labels.
        7 | 11 | 19..=39 | 248 => (false, true),
        // The end of a function.
        56 => (false, false),
        _ => (true, true),
    }
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// [`Unreadable::Word`].
    pub fn parse(words: &[u32]) -> Result<Self, Unreadable> {
        if words.len() < 5 || words[0] != 0x0723_0203 {
            return Err(Unreadable::Word(0));
        }
        let mut insts: Vec<Inst> = Vec::new();
        let mut at = 5;
        while at < words.len() {
            let (length, op) = ((words[at] >> 16) as usize, (words[at] & 0xffff) as u16);
            let rest = words.get(at + 1..at + length).filter(|_| length > 0).ok_or(Unreadable::Word(at))?;
            let (typed, named) = shape(op);
            let skip = usize::from(typed) + usize::from(named);
            if rest.len() < skip {
                return Err(Unreadable::Word(at));
            }
            let ty = if typed { rest[0] } else { 0 };
            let id = if named { rest[skip - 1] } else { 0 };
            insts.push(Inst { op, ty, id, args: rest[skip..].to_vec(), path: Vec::new() });
            at += length;
        }
        let mut module = Self { bound: words[3] as usize, local: [1; 3], ..Self::default() };
        module.declare(&insts);
        let slice = Slice::of(&insts, &module);
        module.pointers = slice.roots.keys().filter_map(|id| Some((*id, *slice.types.get(id)?))).collect();
        module.define(&insts, &slice);
        Ok(module)
    }

    /// Types, constants, variables, the entry point.
    fn declare(&mut self, insts: &[Inst]) {
        let mut strides: HashMap<u32, u32> = HashMap::new();
        let mut offsets: HashMap<(u32, u32), u32> = HashMap::new();
        let mut bindings: HashMap<u32, u32> = HashMap::new();
        let mut builtins: HashMap<u32, u32> = HashMap::new();
        let mut lengths: HashMap<u32, u32> = HashMap::new();
        for inst in insts {
            let a = |n: usize| inst.arg(n);
            match inst.op {
                op::ENTRY_POINT => self.entry = a(1),
                op::EXECUTION_MODE if a(1) == 17 => self.local = [a(2), a(3), a(4)],
                op::DECORATE => match a(1) {
                    6 => _ = strides.insert(a(0), a(2) / 4),
                    11 => _ = builtins.insert(a(0), a(2)),
                    33 => _ = bindings.insert(a(0), a(2)),
                    _ => {}
                },
                op::MEMBER_DECORATE if a(2) == 35 => _ = offsets.insert((a(0), a(1)), a(3) / 4),
                op::TYPE_FLOAT => _ = self.types.insert(inst.id, Type::Float(a(0))),
                op::TYPE_BOOL | op::TYPE_INT => _ = self.types.insert(inst.id, Type::Scalar),
                op::TYPE_VECTOR | op::TYPE_MATRIX => _ = self.types.insert(inst.id, Type::Vector(a(0), a(1))),
                op::TYPE_ARRAY | op::TYPE_RUNTIME_ARRAY => {
                    let length = if inst.op == op::TYPE_ARRAY { lengths.get(&a(1)).copied().unwrap_or(0) } else { 0 };
                    let stride = strides.get(&inst.id).copied().unwrap_or_else(|| self.size(a(0)));
                    self.types.insert(inst.id, Type::Array(a(0), length, stride));
                }
                op::TYPE_STRUCT => {
                    let mut next = 0;
                    let mut members = Vec::new();
                    for (n, &ty) in (0..).zip(&inst.args) {
                        let place = offsets.get(&(inst.id, n)).copied().unwrap_or(next);
                        next = place + self.size(ty);
                        members.push((ty, place));
                    }
                    self.types.insert(inst.id, Type::Struct(members));
                }
                op::TYPE_POINTER => _ = self.types.insert(inst.id, Type::Pointer(a(1))),
                op::CONSTANT => {
                    lengths.insert(inst.id, a(0));
                    self.constants.push((inst.id, Value::scalar(a(0))));
                }
                op::CONSTANT_TRUE | op::CONSTANT_FALSE => {
                    self.constants.push((inst.id, Value::scalar(u32::from(inst.op == op::CONSTANT_TRUE))));
                }
                op::CONSTANT_NULL => {
                    let words = vec![Some(0); self.size(inst.ty) as usize];
                    self.constants.push((inst.id, Value::of(&words)));
                }
                op::CONSTANT_COMPOSITE => {
                    let value = |id: &u32| self.constants.iter().find(|(c, _)| c == id).and_then(|(_, v)| v.word());
                    let words: Vec<Option<u32>> = inst.args.iter().map(value).collect();
                    self.constants.push((inst.id, Value::of(&words)));
                }
                op::VARIABLE => {
                    let Some(&Type::Pointer(ty)) = self.types.get(&inst.ty) else { continue };
                    let variable = Variable {
                        ty,
                        class: a(0),
                        binding: bindings.get(&inst.id).copied(),
                        builtin: builtins.get(&inst.id).copied(),
                    };
                    self.variables.insert(inst.id, variable);
                }
                _ => {}
            }
        }
    }

    /// Functions, their blocks and what those count.
    fn define(&mut self, insts: &[Inst], slice: &Slice) {
        let mut function = 0;
        for inst in insts {
            if inst.op == op::FUNCTION {
                function = inst.id;
                self.functions.insert(function, Function::default());
            }
            self.count_access(inst, slice);
            let counts = self.counts(inst, slice);
            let path =
                if matches!(inst.op, op::ACCESS_CHAIN | op::IN_BOUNDS_ACCESS_CHAIN) { self.path(inst) } else { Vec::new() };
            let live = inst.op == op::VARIABLE && slice.needed.contains(&inst.id);
            if let Some(variable) = self.variables.get(&inst.id).filter(|_| live) {
                self.live.push((inst.id, *variable));
            }
            let Some(f) = self.functions.get_mut(&function) else { continue };
            match inst.op {
                op::FUNCTION_PARAMETER => f.parameters.push(inst.id),
                op::VARIABLE if live => f.variables.push((inst.id, inst.args.get(1).copied())),
                op::LABEL => {
                    f.places.insert(inst.id, f.blocks.len());
                    f.blocks.push(Block { label: inst.id, ..Block::default() });
                }
                _ => {
                    let Some(block) = f.blocks.last_mut() else { continue };
                    block.counts.add(counts, 1.0);
                    match inst.op {
                        op::BRANCH..=op::UNREACHABLE => block.end = inst.clone(),
                        op::SELECTION_MERGE => block.merge = inst.arg(0),
                        // With the variable that it changes.
                        op::STORE if slice.keeps(inst) => {
                            let ty = slice.root(inst.arg(0)).unwrap_or(0);
                            block.insts.push(Inst { ty, ..inst.clone() });
                        }
                        _ if slice.keeps(inst) => block.insts.push(Inst { path, ..inst.clone() }),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Where the indices of an access chain lead.
    fn path(&self, inst: &Inst) -> Vec<Step> {
        let mut ty = match self.pointers.get(&inst.arg(0)).and_then(|ty| self.types.get(ty)) {
            Some(Type::Pointer(ty)) => *ty,
            _ => return vec![Step::Unknown],
        };
        let mut path = Vec::new();
        for &index in inst.args.iter().skip(1) {
            let (inner, step) = match self.types.get(&ty) {
                Some(Type::Struct(members)) => {
                    let constant = self.constants.iter().find(|(id, _)| *id == index).and_then(|(_, value)| value.word());
                    match constant.and_then(|n| members.get(n as usize)) {
                        Some((ty, place)) => (*ty, Step::Member(*place)),
                        None => return vec![Step::Unknown],
                    }
                }
                Some(Type::Array(element, _, stride)) => (*element, Step::Element(index, *stride)),
                Some(Type::Vector(element, _)) => (*element, Step::Element(index, self.size(*element))),
                _ => return vec![Step::Unknown],
            };
            ty = inner;
            path.push(step);
        }
        path
    }

    /// Notes reads and writes of a binding.
    fn count_access(&mut self, inst: &Inst, slice: &Slice) {
        // Atomics do both.
        let (reads, writes) = match inst.op {
            op::LOAD => (true, false),
            op::STORE => (false, true),
            227 | 229..=242 => (true, true),
            _ => return,
        };
        let binding = slice.root(inst.arg(0)).and_then(|root| self.variables.get(&root)?.binding);
        if let Some(binding) = binding {
            let access = self.accesses.entry(binding).or_default();
            access.reads |= reads;
            access.writes |= writes;
        }
    }

    /// Which bindings are read and written.
    pub fn access(&self) -> &BTreeMap<u32, Access> {
        &self.accesses
    }

    /// What an instruction counts.
    fn counts(&self, inst: &Inst, slice: &Slice) -> super::Counts {
        let mut counts = super::Counts::default();
        let in_storage =
            |pointer: u32| slice.root(pointer).and_then(|root| self.variables.get(&root)).is_some_and(|v| v.class == STORAGE);
        match inst.op {
            op::EXT_INST if inst.arg(1) == FMA && self.is_f32(inst.ty) => counts.multiply_adds = f64::from(self.size(inst.ty)),
            op::DOT => {
                let operand = slice.types.get(&inst.arg(0)).copied().unwrap_or(0);
                counts.multiply_adds = f64::from(self.size(operand));
            }
            op::LOAD if in_storage(inst.arg(0)) => counts.loaded = 4.0 * f64::from(self.size(inst.ty)),
            op::STORE if in_storage(inst.arg(0)) => {
                let stored = slice.types.get(&inst.arg(1)).copied().unwrap_or(0);
                counts.stored = 4.0 * f64::from(self.size(stored));
            }
            _ => {}
        }
        counts
    }

    fn is_f32(&self, ty: u32) -> bool {
        match self.types.get(&ty) {
            Some(Type::Float(bits)) => *bits == 32,
            Some(Type::Vector(element, _)) => self.is_f32(*element),
            _ => false,
        }
    }

    /// Words that a value of a type takes.
    pub fn size(&self, ty: u32) -> u32 {
        match self.types.get(&ty) {
            Some(Type::Vector(element, n)) => n * self.size(*element),
            Some(Type::Array(_, n, stride)) => n * stride,
            Some(Type::Struct(members)) => members.last().map_or(0, |(ty, at)| at + self.size(*ty)),
            _ => 1,
        }
    }

    /// Whether a variable's words can be known.
    pub fn is_known(variable: &Variable) -> bool {
        variable.class == UNIFORM || variable.builtin.is_some() || LOCAL.contains(&variable.class)
    }
}

/// The instructions that branches depend on, directly or through others, memory and calls included.
#[derive(Default)]
struct Slice {
    needed: HashSet<u32>,
    /// Variables whose contents are needed.
    variables: HashSet<u32>,
    parameters: HashSet<u32>,
    /// The variable or parameter behind a pointer.
    roots: HashMap<u32, u32>,
    types: HashMap<u32, u32>,
}

impl Slice {
    fn of(insts: &[Inst], module: &Module) -> Self {
        let mut slice = Self::default();
        let mut definitions: HashMap<u32, &Inst> = HashMap::new();
        let mut parameters: HashMap<u32, (u32, usize)> = HashMap::new();
        let mut returns: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut calls: HashMap<u32, Vec<&Inst>> = HashMap::new();
        let mut stores: Vec<&Inst> = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let (mut function, mut count) = (0, 0);
        for inst in insts {
            if inst.id != 0 {
                definitions.insert(inst.id, inst);
                slice.types.insert(inst.id, inst.ty);
            }
            match inst.op {
                op::FUNCTION => (function, count) = (inst.id, 0),
                op::FUNCTION_PARAMETER => {
                    parameters.insert(inst.id, (function, count));
                    slice.parameters.insert(inst.id);
                    slice.roots.insert(inst.id, inst.id);
                    count += 1;
                }
                op::VARIABLE => _ = slice.roots.insert(inst.id, inst.id),
                op::ACCESS_CHAIN | op::IN_BOUNDS_ACCESS_CHAIN | op::COPY_OBJECT => {
                    if let Some(root) = slice.root(inst.arg(0)) {
                        slice.roots.insert(inst.id, root);
                    }
                }
                op::FUNCTION_CALL => calls.entry(inst.arg(0)).or_default().push(inst),
                op::RETURN_VALUE => returns.entry(function).or_default().push(inst.arg(0)),
                op::STORE => stores.push(inst),
                op::BRANCH_CONDITIONAL | op::SWITCH => open.push(inst.arg(0)),
                _ => {}
            }
        }
        while let Some(id) = open.pop() {
            if !slice.needed.insert(id) {
                continue;
            }
            let Some(inst) = definitions.get(&id) else { continue };
            open.extend(inst.inputs());
            match inst.op {
                op::FUNCTION_CALL => open.extend(returns.get(&inst.arg(0)).into_iter().flatten()),
                op::FUNCTION_PARAMETER => {
                    let Some(&(function, n)) = parameters.get(&id) else { continue };
                    open.extend(calls.get(&function).into_iter().flatten().map(|call| call.arg(n + 1)));
                }
                op::VARIABLE if module.variables.get(&id).is_some_and(|v| LOCAL.contains(&v.class)) => {
                    slice.variables.insert(id);
                    let own = stores.iter().filter(|s| slice.root(s.arg(0)) == Some(id));
                    open.extend(own.flat_map(|s| [s.arg(0), s.arg(1)]));
                }
                _ => {}
            }
        }
        slice
    }

    /// The variable or parameter behind a pointer.
    fn root(&self, pointer: u32) -> Option<u32> {
        self.roots.get(&pointer).copied()
    }

    /// Whether a followed thread evaluates an instruction.
    fn keeps(&self, inst: &Inst) -> bool {
        match inst.op {
            // Functions count as well.
            op::FUNCTION_CALL => true,
            // What a function stores through a pointer that it was given may be needed by its callers.
            op::STORE => self.root(inst.arg(0)).is_some_and(|r| self.variables.contains(&r) || self.parameters.contains(&r)),
            _ => inst.id != 0 && self.needed.contains(&inst.id),
        }
    }
}
