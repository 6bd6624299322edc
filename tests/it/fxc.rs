//! What FXC, DX12's compiler without DXC, takes minutes over or refuses, looked for in texts of devices with short texts:
//!
//! - X3511, X3550: loops with arrays that are filled with zeros or written at an index that is computed, which FXC unrolls to
//!   its end (wgpu#4436, wgpu#6521, wgpu#7443); bodies of hundreds of unrolled multiply-adds take it minutes;
//! - X3663, X4026: barriers where control flow depends on a thread or on what it has loaded;
//! - X3694: all threads of a workgroup write one element;
//! - X3708: switches in loops, or of one body, which it miscompiles (wgpu#4514, wgpu#5656);
//! - X4505: arrays that are values and indexed, of which it makes registers.

use naga::{
    AddressSpace, BinaryOperator, Block, BuiltIn, Expression, Function, Handle, MathFunction, Module, Statement, TypeInner,
};
use std::collections::HashSet;

/// Multiply-adds that the body of a loop may have: those of `fma`, of which kernels unroll copies. One of vectors counts as one,
/// as in DXBC.
pub const UNROLLED: usize = 32;

/// Multiply-adds, by `fma` or by operators, in copies of calls of one function from one body, with what that calls.
pub const COPIED: usize = 256;

/// Lines of HLSL.
pub const LINES: usize = 2_000;

/// A body of a loop, or what stands outside of all loops of a function.
#[derive(Default)]
struct Body {
    fma: usize,
    /// Those by operators.
    sums: usize,
    calls: Vec<Handle<Function>>,
}

struct Looked<'m> {
    module: &'m Module,
    function: &'m Function,
    faults: Vec<String>,
    /// Whether it is called in a loop.
    in_loop: bool,
}

/// What a text has that FXC does not take.
pub fn faults(module: &Module) -> Vec<String> {
    let looped = called_in_loops(module);
    let mut faults = Vec::new();
    let functions = module.functions.iter().map(|(handle, f)| (f, looped.contains(&handle)));
    for (function, in_loop) in functions.chain(module.entry_points.iter().map(|e| (&e.function, false))) {
        let mut looked = Looked { module, function, faults: Vec::new(), in_loop };
        looked.arrays();
        looked.block(&function.body, in_loop);
        looked.bodies();
        looked.barriers();
        let name = function.name.as_deref().unwrap_or("main");
        faults.extend(looked.faults.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    for entry in &module.entry_points {
        if entry.workgroup_size.iter().product::<u32>() > 1 {
            races(module, &entry.function, &entry.function.body, &mut faults);
        }
    }
    faults
}

/// Whether a text has more multiply-adds in copies of one function than a short one.
pub fn repeats(module: &Module) -> bool {
    let functions = module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    functions.into_iter().any(|function| {
        let looked = Looked { module, function, faults: Vec::new(), in_loop: false };
        looked.copies().into_iter().any(|(copies, each, _)| copies * each > COPIED / 2)
    })
}

/// The functions that are called, however indirectly, from a loop.
fn called_in_loops(module: &Module) -> HashSet<Handle<Function>> {
    fn visit(block: &Block, in_loop: bool, found: &mut Vec<Handle<Function>>) {
        each(block, in_loop, &mut |statement, in_loop| {
            if let (Statement::Call { function, .. }, true) = (statement, in_loop) {
                found.push(*function);
            }
        });
    }
    let mut open = Vec::new();
    module.functions.iter().for_each(|(_, f)| visit(&f.body, false, &mut open));
    module.entry_points.iter().for_each(|e| visit(&e.function.body, false, &mut open));
    let mut looped = HashSet::new();
    while let Some(handle) = open.pop() {
        if looped.insert(handle) {
            visit(&module.functions[handle].body, true, &mut open);
        }
    }
    looped
}

/// Visits each statement of a block and of those in it, and says of each whether it is in a loop.
fn each<'b>(block: &'b Block, in_loop: bool, visit: &mut impl FnMut(&'b Statement, bool)) {
    for statement in block {
        visit(statement, in_loop);
        match statement {
            Statement::Block(inner) => each(inner, in_loop, visit),
            Statement::If { accept, reject, .. } => {
                each(accept, in_loop, visit);
                each(reject, in_loop, visit);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| each(&case.body, in_loop, visit)),
            Statement::Loop { body, continuing, .. } => {
                each(body, true, visit);
                each(continuing, true, visit);
            }
            _ => {}
        }
    }
}

/// Whether nothing in a block satisfies a condition.
fn none(block: &Block, condition: impl Fn(&Statement) -> bool) -> bool {
    let mut found = false;
    each(block, false, &mut |statement, _| found |= condition(statement));
    !found
}

impl Looked<'_> {
    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    fn is_array(&self, ty: Handle<naga::Type>) -> bool {
        matches!(self.module.types[ty].inner, TypeInner::Array { .. })
    }

    /// Arrays of functions that loops call, and arrays as values.
    fn arrays(&mut self) {
        let local: Vec<String> = self
            .function
            .local_variables
            .iter()
            .filter(|(_, v)| self.in_loop && self.is_array(v.ty))
            .map(|(_, v)| format!("{:?}", v.name))
            .collect();
        for name in local {
            self.fault(format!("X3511: the array {name} of a function that loops call"));
        }
        for (_, expression) in self.function.expressions.iter() {
            match expression {
                Expression::Access { base, .. } if self.variable(*base).is_none() && self.global(*base).is_none() => {
                    self.fault("X4505: a value is indexed by a number that is computed");
                }
                Expression::Derivative { .. } | Expression::ImageSample { .. } => self.fault("X3570: a gradient"),
                _ => {}
            }
        }
    }

    /// The local variable that a pointer leads to.
    fn variable(&self, pointer: Handle<Expression>) -> Option<Handle<naga::LocalVariable>> {
        match self.function.expressions[pointer] {
            Expression::LocalVariable(variable) => Some(variable),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.variable(base),
            _ => None,
        }
    }

    /// The global variable that a pointer leads to.
    fn global(&self, pointer: Handle<Expression>) -> Option<Handle<naga::GlobalVariable>> {
        match self.function.expressions[pointer] {
            Expression::GlobalVariable(variable) => Some(variable),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.global(base),
            _ => None,
        }
    }

    /// Whether a pointer has an index that is computed.
    fn is_computed(&self, pointer: Handle<Expression>) -> bool {
        match self.function.expressions[pointer] {
            Expression::Access { .. } => true,
            Expression::AccessIndex { base, .. } => self.is_computed(base),
            _ => false,
        }
    }

    fn block(&mut self, block: &Block, in_loop: bool) {
        let mut found = Vec::new();
        each(block, in_loop, &mut |statement, in_loop| match statement {
            Statement::Store { pointer, .. } => {
                let Some(variable) = self.variable(*pointer) else { return };
                let name = format!("{:?}", self.function.local_variables[variable].name);
                let whole = matches!(self.function.expressions[*pointer], Expression::LocalVariable(_));
                if whole && in_loop && self.is_array(self.function.local_variables[variable].ty) {
                    found.push(format!("X3511: the array {name} is filled in a loop"));
                }
                if self.is_computed(*pointer) {
                    found.push(format!("X3550: {name} is written at an index that is computed"));
                }
            }
            Statement::Switch { cases, .. } => {
                if in_loop
                    && !cases.iter().all(|case| none(&case.body, |s| matches!(s, Statement::Store { .. } | Statement::Continue)))
                {
                    found.push("X3708: a switch in a loop does more than to choose a value".into());
                }
                if cases.iter().filter(|case| !case.fall_through).count() < 2 {
                    found.push("a switch of one body".into());
                }
            }
            _ => {}
        });
        found.into_iter().for_each(|fault| self.fault(fault));
    }

    /// What is in a block, and not in loops of it; the bodies of those go to `bodies`.
    fn count(&self, block: &Block, here: &mut Body, bodies: &mut Vec<Body>) {
        for statement in block {
            match statement {
                Statement::Emit(range) => range.clone().for_each(|e| self.count_one(e, here)),
                Statement::Call { function, .. } => here.calls.push(*function),
                Statement::Block(inner) => self.count(inner, here, bodies),
                Statement::If { accept, reject, .. } => {
                    self.count(accept, here, bodies);
                    self.count(reject, here, bodies);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.count(&case.body, here, bodies)),
                Statement::Loop { body, continuing, .. } => {
                    let mut inner = Body::default();
                    self.count(body, &mut inner, bodies);
                    self.count(continuing, &mut inner, bodies);
                    bodies.push(inner);
                }
                _ => {}
            }
        }
    }

    fn count_one(&self, e: Handle<Expression>, here: &mut Body) {
        let is_product = |e: Handle<Expression>| {
            matches!(self.function.expressions[e], Expression::Binary { op: BinaryOperator::Multiply, .. })
        };
        match self.function.expressions[e] {
            Expression::Math { fun: MathFunction::Fma, .. } => here.fma += 1,
            Expression::Binary { op: BinaryOperator::Add | BinaryOperator::Subtract, left, right }
                if is_product(left) || is_product(right) =>
            {
                here.sums += 1;
            }
            _ => {}
        }
    }

    /// Bounds what is unrolled.
    fn bodies(&mut self) {
        let (mut whole, mut bodies) = (Body::default(), Vec::new());
        self.count(&self.function.body, &mut whole, &mut bodies);
        for body in &bodies {
            if body.fma > UNROLLED {
                self.fault(format!("X3511: {} multiply-adds are unrolled, more than {UNROLLED}", body.fma));
            }
        }
        for (copies, each, callee) in self.copies() {
            if copies * each > COPIED {
                let name = &self.module.functions[callee].name;
                self.fault(format!("{copies} copies of {name:?}, of {each} multiply-adds each, more than {COPIED}"));
            }
        }
    }

    /// The functions that one body calls several times: how often, and their multiply-adds.
    fn copies(&self) -> Vec<(usize, usize, Handle<Function>)> {
        let (mut whole, mut bodies) = (Body::default(), Vec::new());
        self.count(&self.function.body, &mut whole, &mut bodies);
        bodies.push(whole);
        let repeated = bodies.iter().flat_map(|body| {
            let callees: HashSet<_> = body.calls.iter().copied().collect();
            callees.into_iter().map(|callee| (body.calls.iter().filter(|c| **c == callee).count(), callee))
        });
        repeated.filter(|(n, _)| *n > 1).map(|(n, callee)| (n, weight(self.module, callee), callee)).collect()
    }

    /// Barriers must stand where neither a thread's number nor what it has loaded decides.
    fn barriers(&mut self) {
        let waits = |s: &Statement| match s {
            Statement::ControlBarrier(_) => true,
            Statement::Call { function, .. } => {
                !none(&self.module.functions[*function].body, |s| matches!(s, Statement::ControlBarrier(_)))
            }
            _ => false,
        };
        if none(&self.function.body, waits) {
            return;
        }
        let varying = self.varying();
        let mut found = 0;
        // A barrier in a branch; an end of the thread or of a loop in a branch, where barriers may follow.
        each(&self.function.body, false, &mut |statement, _| {
            if let Statement::If { condition, accept, reject } = statement
                && self.varies(*condition, &varying)
                && !(none(accept, waits) && none(reject, waits))
            {
                found += 1;
            }
        });
        self.leaves(&self.function.body, &waits, &varying, &mut found);
        if found > 0 {
            self.fault(format!("X3663: {found} branches that vary decide on a barrier"));
        }
    }

    /// Counts branches that vary and leave a block in which a barrier comes later, or a loop with a barrier.
    fn leaves(
        &self,
        block: &Block,
        waits: &impl Fn(&Statement) -> bool,
        varying: &HashSet<Handle<naga::LocalVariable>>,
        found: &mut usize,
    ) {
        for (n, statement) in block.iter().enumerate() {
            match statement {
                Statement::If { condition, accept, reject } => {
                    let ends = |s: &Statement| matches!(s, Statement::Return { .. });
                    let later = block.iter().skip(n + 1).any(|s| {
                        waits(s) || {
                            let mut any = false;
                            if let Statement::Loop { body, .. } | Statement::Block(body) = s {
                                any = !none(body, waits);
                            }
                            any
                        }
                    });
                    if later && self.varies(*condition, varying) && !(none(accept, ends) && none(reject, ends)) {
                        *found += 1;
                    }
                    self.leaves(accept, waits, varying, found);
                    self.leaves(reject, waits, varying, found);
                }
                Statement::Loop { body, continuing, .. } => {
                    if !(none(body, waits) && none(continuing, waits)) {
                        let ends = |s: &Statement| matches!(s, Statement::Return { .. } | Statement::Break);
                        each(body, false, &mut |s, nested| {
                            if let Statement::If { condition, accept, reject } = s
                                && !nested
                                && self.varies(*condition, varying)
                                && !(none(accept, ends) && none(reject, ends))
                            {
                                *found += 1;
                            }
                        });
                    }
                    self.leaves(body, waits, varying, found);
                }
                Statement::Block(inner) => self.leaves(inner, waits, varying, found),
                _ => {}
            }
        }
    }

    /// The variables that differ between threads.
    fn varying(&self) -> HashSet<Handle<naga::LocalVariable>> {
        let mut varying = HashSet::new();
        loop {
            let before = varying.len();
            each(&self.function.body, false, &mut |statement, _| {
                if let Statement::Store { pointer, value } = statement
                    && let Some(variable) = self.variable(*pointer)
                    && self.varies(*value, &varying)
                {
                    varying.insert(variable);
                }
            });
            if varying.len() == before {
                return varying;
            }
        }
    }

    /// Whether an expression differs between threads: it has a thread's number, an argument, a result of a call or a loaded element in it.
    fn varies(&self, e: Handle<Expression>, varying: &HashSet<Handle<naga::LocalVariable>>) -> bool {
        let of = |e: Handle<Expression>| self.varies(e, varying);
        match &self.function.expressions[e] {
            Expression::Load { pointer } => {
                self.global(*pointer).is_some_and(|g| self.module.global_variables[g].space != AddressSpace::Uniform)
                    || self.variable(*pointer).is_some_and(|v| varying.contains(&v))
            }
            Expression::FunctionArgument(n) => {
                let binding = self.function.arguments[*n as usize].binding.as_ref();
                !matches!(binding, Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)))
            }
            // That of a workgroup's own index does not.
            Expression::CallResult(function) => self.module.functions[*function].name.as_deref() != Some("linear_workgroup"),
            Expression::Access { base, index } => of(*base) || of(*index),
            Expression::AccessIndex { base, .. }
            | Expression::Splat { value: base, .. }
            | Expression::Swizzle { vector: base, .. } => of(*base),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => of(*expr),
            Expression::Binary { left, right, .. } => of(*left) || of(*right),
            Expression::Select { condition, accept, reject } => of(*condition) || of(*accept) || of(*reject),
            Expression::Compose { components, .. } => components.iter().any(|c| of(*c)),
            Expression::Math { arg, arg1, arg2, .. } => of(*arg) || arg1.is_some_and(of) || arg2.is_some_and(of),
            Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => false,
            _ => true,
        }
    }
}

/// Multiply-adds of a function and of those that it calls.
fn weight(module: &Module, handle: Handle<Function>) -> usize {
    let looked = Looked { module, function: &module.functions[handle], faults: Vec::new(), in_loop: false };
    let (mut whole, mut bodies) = (Body::default(), Vec::new());
    looked.count(&looked.function.body, &mut whole, &mut bodies);
    bodies.push(whole);
    bodies.iter().map(|b| b.fma + b.sums + b.calls.iter().map(|c| weight(module, *c)).sum::<usize>()).sum()
}

/// Finds elements that every thread of a workgroup writes.
fn races(module: &Module, function: &Function, block: &Block, faults: &mut Vec<String>) {
    let looked = Looked { module, function, faults: Vec::new(), in_loop: false };
    for statement in block {
        match statement {
            Statement::Block(inner) => races(module, function, inner, faults),
            Statement::Loop { body, .. } => races(module, function, body, faults),
            Statement::Store { pointer, .. } if looked.global(*pointer).is_some() && !looked.is_computed(*pointer) => {
                faults.push("X3694: every thread writes one element".into());
            }
            _ => {}
        }
    }
}

fn found(text: &str) -> Vec<String> {
    faults(&naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text))))
}

#[test]
fn what_fxc_refuses_is_found() {
    let rows = [
        ("X3511", "for (var i = 0u; i < n; i++) { var a: array<f32, 4>; a[0] = f32(i); x += a[0]; }"),
        ("X3511", "for (var i = 0u; i < n; i++) { x += filled(x); }"),
        ("X3550", "var a: array<f32, 4>; for (var i = 0u; i < n; i++) { a[i] = x; } x = a[0];"),
        ("X3550", "var v = vec4<f32>(); v[n % 4u] = x; x = v.x;"),
        ("X4505", "let v = array<f32, 2>(1.0, 2.0); x = v[n % 2u];"),
        ("X3663", "if (lane < n) { workgroupBarrier(); }"),
        ("X3663", "if (lane >= n) { return; } workgroupBarrier();"),
        ("X3663", "for (var i = lane; i < n; i++) { workgroupBarrier(); }"),
        ("X3663", "if (b[0] > 1.0) { return; } waits();"),
        ("X3694", "b[0] = x;"),
        ("X3708", "for (var i = 0u; i < n; i++) { switch i { case 1u: { x += 1.0; } default: { x += 2.0; } } }"),
        ("one body", "switch n { default: { x += 2.0; } }"),
        ("", "var a: array<f32, 4>; for (var i = 0u; i < n; i++) { a[0] = x; a[1] = a[0] + 1.0; x = a[1]; }"),
        ("", "for (var h = 32u; h > 0u; h = h / 2u) { if (lane < h) { x += 1.0; } workgroupBarrier(); }"),
        ("", "if (wid.x >= n) { return; } workgroupBarrier(); if (lane > 0u) { return; }"),
        ("", "if (lane == 0u) { b[0] = x; }"),
        ("", "b[lane] = x;"),
    ];
    let text = |body: &str| {
        format!(
            "@group(0) @binding(0) var<uniform> params: array<vec4<u32>, 1>;
            @group(0) @binding(1) var<storage, read_write> b: array<f32>;
            fn filled(x: f32) -> f32 {{ var a: array<f32, 2>; a[0] = x; return a[0] + a[1]; }}
            fn waits() {{ workgroupBarrier(); }}
            @compute @workgroup_size(64)
            fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{
                let n = params[0].x;
                var x = f32(n);
                {body}
                b[lane + 1u] = x;
            }}"
        )
    };
    for (expected, body) in rows {
        let faults = found(&text(body));
        let right = if expected.is_empty() { faults.is_empty() } else { faults.iter().any(|f| f.contains(expected)) };
        assert!(right, "{body}: {faults:?}, expected {expected}");
    }
    let unrolled = |n: usize| format!("for (var i = 0u; i < n; i++) {{ {} }}", "x = fma(x, x, 1.0);".repeat(n));
    assert!(found(&text(&unrolled(UNROLLED))).is_empty());
    assert!(found(&text(&unrolled(UNROLLED + 1)))[0].contains("33 multiply-adds"));
}
