//! Programs as one C++ text: naga's translation of each to Metal's language, which is C++, with what Metal's library has in
//! `metal_stdlib.h`.

use crate::gpu::program::Program;
use naga::back::msl;
use naga::valid::ModuleInfo;
use naga::{AddressSpace, BinaryOperator, BuiltIn, Expression, MathFunction, Module, ScalarKind};
use std::fmt::Write;

/// Bytes for each variable in workgroup memory.
pub(super) const WORKGROUP_VARIABLE: u32 = 1 << 16;

/// A text with its calls from the driver, which knows it by its number.
#[derive(Default)]
pub(super) struct Texts {
    kernels: Vec<Text>,
}

struct Text {
    wgsl: String,
    cpp: String,
    size: u32,
    /// Bytes of workgroup memory.
    shared: u32,
}

impl Texts {
    /// The program's number.
    pub fn number(&mut self, program: &Program) -> usize {
        if let Some(known) = self.kernels.iter().position(|k| k.wgsl == program.source) {
            return known;
        }
        self.kernels.push(translate(self.kernels.len(), program));
        self.kernels.len() - 1
    }

    /// Bytes of workgroup memory that a program wants.
    pub fn shared(&self, kernel: usize) -> u32 {
        self.kernels[kernel].shared
    }

    /// All of it, to be compiled as C++ with `metal_stdlib.h` at hand.
    pub fn cpp(&self) -> String {
        let mut text = "#include <metal_stdlib.h>\n".to_string();
        self.kernels.iter().for_each(|k| text.push_str(&k.cpp));
        let n = self.kernels.len();
        let list = |of: &dyn Fn(usize) -> String| (0..n).map(of).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "extern \"C\" {{\ntypedef void Kernel(const unsigned*, const unsigned*, unsigned, void* const*);\n\
             extern Kernel* const kernels[] = {{ {} }};\nextern const unsigned workgroup_sizes[] = {{ {} }};\n\
             extern const unsigned kernel_count = {n};\n}}",
            list(&|k| format!("run_{k}")),
            list(&|k| self.kernels[k].size.to_string()),
        );
        text
    }
}

fn translate(number: usize, program: &Program) -> Text {
    let (mut module, info) = super::super::validate(&program.source);
    name_quotients(&mut module, &info);
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{e:?}\n{}", program.source));
    let options = msl::Options {
        lang_version: (2, 4),
        fake_missing_bindings: true,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..msl::Options::default()
    };
    let (text, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .unwrap_or_else(|e| panic!("{e}\n{}", program.source));
    let entry = &module.entry_points[0];
    let mut arguments: Vec<String> = Vec::new();
    for argument in &entry.function.arguments {
        arguments.push(match argument.binding {
            Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId)) => "metal::uint3{w[0], w[1], 0}".into(),
            Some(naga::Binding::BuiltIn(BuiltIn::NumWorkGroups)) => "metal::uint3{g[0], g[1], 1}".into(),
            Some(naga::Binding::BuiltIn(BuiltIn::LocalInvocationIndex)) => "lane".into(),
            ref other => panic!("no kernel had {other:?} until now"),
        });
    }
    let mut shared = 0;
    for (handle, variable) in module.global_variables.iter() {
        if info.get_entry_point(0)[handle].is_empty() {
            continue;
        }
        match (variable.space, &variable.binding) {
            (AddressSpace::WorkGroup, _) => {
                let buffers = program.operands.len() + 1;
                arguments.push(format!("Binding{{(char*)b[{buffers}] + {shared}}}"));
                shared += WORKGROUP_VARIABLE;
            }
            (_, Some(at)) => arguments.push(format!("Binding{{b[{}]}}", at.binding)),
            (space, None) => panic!("no kernel had variables in {space:?} until now"),
        }
    }
    if text.contains("_buffer_sizes [[") {
        arguments.push("Binding{b[0]}".into());
    }
    let mut cpp = text;
    for line in ["#include <metal_stdlib>", "#include <simd/simd.h>"] {
        cpp = cpp.replace(line, "");
    }
    for scalar in ["float", "int", "uint"] {
        for n in 2..=4 {
            cpp = cpp.replace(&format!("metal::{scalar}{n}("), &format!("metal::make_{scalar}{n}("));
        }
    }
    let cpp = format!(
        "namespace kernel_{number} {{\n{cpp}\n}}\nextern \"C\" void run_{number}(const unsigned* w, const unsigned* g, unsigned \
         lane, void* const* b) {{\n    kernel_{number}::main_({});\n}}\n",
        arguments.join(", ")
    );
    Text { wgsl: program.source.clone(), cpp, size: entry.workgroup_size.iter().product(), shared }
}

/// Makes quotients of floats powers, of which no kernel has any: `metal_stdlib.h` decides how exact they are.
fn name_quotients(module: &mut Module, info: &ModuleInfo) {
    let functions = module.functions.iter_mut().map(|(handle, f)| (&info[handle], f));
    let entries = module.entry_points.iter_mut().enumerate().map(|(n, e)| (info.get_entry_point(n), &mut e.function));
    for (info, function) in functions.chain(entries) {
        for (handle, expression) in function.expressions.iter_mut() {
            match *expression {
                Expression::Math { fun: MathFunction::Pow, .. } => panic!("a kernel calls WGSL's pow"),
                Expression::Binary { op: BinaryOperator::Divide, left, right }
                    if info[handle].ty.inner_with(&module.types).scalar_kind() == Some(ScalarKind::Float) =>
                {
                    *expression =
                        Expression::Math { fun: MathFunction::Pow, arg: left, arg1: Some(right), arg2: None, arg3: None };
                }
                _ => {}
            }
        }
    }
}
