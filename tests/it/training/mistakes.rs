//! What the compiler says about likely mistakes. Its messages in other crates differ from those in this one, so the programs
//! are crates of their own, compiled against the library that this test is linked to.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with one mistake, in the line that ends in `// here`, and what the compiler must say: its error, and the help.
struct Mistake {
    name: &'static str,
    program: String,
    says: &'static [&'static str],
}

/// A model whose definition has a mistake.
fn model(name: &'static str, fields: &str, forward: &str, list: &str, says: &'static [&'static str]) -> Mistake {
    let forward = format!("    fn forward(&self, x: &Tensor) -> Result<Tensor> {{ {forward} }}");
    let program = format!("struct Settings;\nstruct Net {{ {fields} }}\nimpl Module for Net {{\n{forward}\n{list}\n}}\n");
    Mistake { name, program, says }
}

/// A statement with a mistake.
fn statement(name: &'static str, line: &str, says: &'static [&'static str]) -> Mistake {
    let head = "pub fn f(x: &Tensor, fc: &Linear, init: &Init, adam: &mut Adam) -> Result<()> {";
    Mistake { name, program: format!("{head}\n    {line} // here\n    Ok(())\n}}\n"), says }
}

#[rustfmt::skip]
fn mistakes() -> [Mistake; 26] {
    let forward = "self.fc1.forward(x)";
    [
        model("a field is forgotten", "fc1: Linear, fc2: Linear", forward, "fields!(fc1); // here",
            &["error[E0063]: missing field `fc2` in initializer of `Net`"]),
        model("a skipped field is forgotten", "fc1: Linear, settings: Settings", forward, "fields!(fc1); // here",
            &["error[E0063]: missing field `settings` in initializer of `Net`"]),
        model("a field is not there", "fc1: Linear", forward, "fields!(fc1, fc3); // here",
            &["error[E0560]: struct `Net` has no field named `fc3`"]),
        model("a field stands twice", "fc1: Linear", forward, "fields!(fc1, fc1); // here",
            &["error[E0062]: field `fc1` specified more than once"]),
        model("a field is neither layer nor setting", "fc1: Linear, settings: Settings", forward, "fields!(fc1, settings); // here",
            &["error[E0277]: `Settings` cannot be listed by fields!", "not a module, a parameter or a plain setting",
              "leave other settings out: fields!(fc1, fc2; skip config)"]),
        model("fields with self", "fc1: Linear", forward, "fields!(self.fc1); // here",
            &["error: fields! takes the names of the struct's fields: fields!(fc1, fc2; skip config)"]),
        model("a layer is called as a function", "fc1: Linear", "self.fc1(x) // here\n", "fields!(fc1);",
            &["error[E0599]: no method named `fc1` found", "field, not a method"]),
        statement("a layer without ?", "let _ = Sequential::new().push(Linear::new(2, 3, init));",
            &["error[E0277]: `Result<Linear, Error>` is not a Module", "not a layer or a model: add `?` if it is a Result",
              "add `?` after the call, as in Linear::new(4, 2, &init)?"]),
        statement("layers of one name without ?", "let _ = Sequential::new().push_named(\"fc\", Linear::new(2, 3, init));",
            &["error[E0277]: `Result<Linear, Error>` is not a Module", "add `?` if it is a Result"]),
        statement("a block without ?", "let _ = wgrad::nn::Residual::new(wgrad::nn::Conv2d::new(2, 2, 1, init));",
            &["error[E0277]: `Result<Conv2d, Error>` is not a Module", "add `?` if it is a Result"]),
        model("layers that are Results", "fc: Result<Linear>", "Ok(x.clone())", "fields!(fc); // here",
            &["error[E0277]: `Result<Linear, Error>` cannot be listed by fields!", "add `?` after the call"]),
        model("settings in an array", "settings: [Settings; 2]", "Ok(x.clone())", "fields!(settings); // here",
            &["error[E0277]: `[Settings; 2]` cannot be listed by fields!", "an array, a tuple or a Box of these"]),
        statement("a kernel of the wrong number of axes", "wgrad::nn::Conv2d::new(1, 2, [3, 3, 3], init)?;",
            &["error[E0277]: `[{integer}; 3]` is not one number per axis, for 2 axes", "an array of one for each, as in [3; 2]"]),
        statement("an output without ?", "fc.forward(&fc.forward(x))?;",
            &["error[E0308]: mismatched types", "expected `&Tensor`, found `&Result<Tensor, Error>`"]),
        statement("a method of an output without ?", "fc.forward(x).relu();",
            &["error[E0599]: no method named `relu` found", "use the `?` operator to extract the `Tensor` value"]),
        statement("a step without gradients", "x.sum().backward()?; adam.step()?;",
            &["error[E0061]: this method takes 1 argument but 0 arguments were supplied", "argument #1 of type `Gradients` is missing"]),
        statement("labels of 64 bits", "Tensor::from_slice(&[1i64, 2], [2], fc.weight.device())?;",
            &["error[E0277]: tensors have no elements of type `i64`", "such as i64 labels or usize indices to i32"]),
        statement("a shape in parentheses", "let _ = x.reshape((2, 3));",
            &["error[E0277]: `({integer}, {integer})` is not a shape", "a shape is an array, slice or Vec of usize"]),
        statement("an axis of type usize", "let _ = x.sum_dim(1usize);",
            &["error[E0277]: `usize` names no axes", "axes are an isize such as 1 or -1"]),
        statement("an op whose result is dropped", "x.relu();",
            &["error: unused `Tensor` that must be used", "an op changes no tensor: it gives a new one"]),
        statement("a detached tensor that is dropped", "x.detach();",
            &["error: unused `Tensor` that must be used", "an op changes no tensor: it gives a new one"]),
        statement("gradients without a step", "x.sum().backward()?;",
            &["error: unused `Gradients` that must be used", "gradients change nothing until an optimizer steps with them"]),
        statement("an optimizer that is dropped", "Adam::new(&fc.parameters()?, AdamConfig::default())?;",
            &["that must be used", "an optimizer changes nothing until it steps"]),
        statement("a layer that is dropped", "Linear::new(2, 3, init)?;",
            &["that must be used", "a layer computes nothing until its forward is called"]),
        statement("a loader that is dropped", "DataLoader::new(wgrad::data::VecDataset(vec![1.0f32]), 1, fc.weight.device())?;",
            &["that must be used", "a loader makes batches only when it is iterated over"]),
        statement("a layer's output beside a tensor, without ?", "let _ = x + fc.forward(x);",
            &["error[E0277]: `Result<Tensor, Error>` cannot be combined with a tensor", "write `?` after the call"]),
    ]
}

/// The library in this test's folder, the newest one if there are others from earlier builds or with other features.
fn library() -> (PathBuf, PathBuf) {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let ours = |name: &str| name.starts_with("libwgrad-") && name.ends_with(".rlib");
    let newest =
        files.filter(|f| f.file_name().to_str().is_some_and(ours)).max_by_key(|f| f.metadata().unwrap().modified().unwrap());
    (newest.unwrap_or_else(|| panic!("{} holds no libwgrad-*.rlib", folder.display())).path(), folder.to_owned())
}

/// What the compiler says about a program.
fn compile(program: &Path, library: &Path, dependencies: &Path) -> (bool, String) {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "--color",
            "never",
            "-A",
            "unused",
            "-D",
            "unused_must_use",
            "-o",
        ])
        .arg(program.with_extension("rmeta"))
        .arg("--extern")
        .arg(format!("wgrad={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg(program)
        .output()
        .expect("rustc runs");
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_compiler_names_the_mistake_in_the_users_line() {
    // Nothing here depends on the device: once is enough.
    if std::env::var_os("WGRAD_TEST_DEVICE").is_some_and(|device| device != "cpu") {
        return;
    }
    let (library, dependencies) = library();
    let folder = tempfile::tempdir().unwrap();
    let said = |program: &str| {
        let path = folder.path().join("program.rs");
        std::fs::write(&path, format!("use wgrad::prelude::*;\n{program}")).unwrap();
        compile(&path, &library, &dependencies)
    };
    // Without a mistake it compiles: what fails below fails because of the mistake.
    let right = model("", "fc1: Linear, settings: Settings", "self.fc1.forward(x)", "fields!(fc1; skip settings);", &[]);
    let (compiled, text) = said(&(right.program + &statement("", "fc.forward(&fc.forward(x)?.relu())?.shape()?;", &[]).program));
    assert!(compiled && text.is_empty(), "{text}");
    let mut wrong = Vec::new();
    for Mistake { name, program, says } in mistakes() {
        let (compiled, text) = said(&program);
        let line = 2 + program.lines().position(|line| line.ends_with("// here")).unwrap();
        // Whether a name is printed in full depends on what else is imported.
        let plain = text.replace("wgrad::nn::", "").replace("wgrad::", "").replace("std::result::", "");
        let missing: Vec<&&str> = says.iter().filter(|piece| !plain.contains(**piece)).collect();
        // Every error points to the line, and none into the library.
        let places: Vec<&str> =
            plain.split("\nerror").filter_map(|error| error.lines().find(|l| l.trim_start().starts_with("-->"))).collect();
        let here = format!("program.rs:{line}:");
        if compiled || !missing.is_empty() || places.is_empty() || !places.iter().all(|place| place.contains(&here)) {
            wrong.push(format!("== {name}: {missing:?} is missing, or an error is elsewhere than in line {line}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
