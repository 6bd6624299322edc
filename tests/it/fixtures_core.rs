//! Basic elementwise ops, reductions and movements against PyTorch.

use crate::common::{close, device, upload, values};
use crate::fixtures::{Fixture, agree};
use crate::numerics::elementwise::{BinaryRow, Pairs, UnaryRow, binary_ops, unary_ops};
use crate::samples::{KernelOp, Known, kernel_ops};
use serde_json::Value;
use wgrad::{DType, Tensor, VarOptions};

fn run(op: &str, arguments: &Value, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    let number = |k: &str| arguments.get(k).and_then(Value::as_f64);
    let whole = |k: &str| arguments.get(k).and_then(Value::as_i64).map(|v| v as isize);
    let list = |k: &str| -> Vec<isize> {
        let numbers = arguments.get(k).and_then(Value::as_array);
        numbers.into_iter().flatten().filter_map(Value::as_i64).map(|v| v as isize).collect()
    };
    let counts = |k: &str| -> Vec<usize> { list(k).into_iter().map(isize::unsigned_abs).collect() };
    let keep = arguments.get("keepdim").and_then(Value::as_bool).unwrap_or(false);
    let (x, a, b) = (|| get("x"), || get("a"), || get("b"));
    let truth = |t: Tensor| t.cast(DType::Bool);
    Some(match op {
        "logical_not" => truth(a()).logical_not(),
        "where" => truth(get("c")).where_(&a(), &b()),
        "clamp" => x().clamp(number("low")?, number("high")?),
        "sum" => {
            if keep {
                x().sum_keepdim(&list("dim"))
            } else {
                x().sum_dim(&list("dim"))
            }
        }
        "mean" => {
            if keep {
                x().mean_keepdim(&list("dim"))
            } else {
                x().mean_dim(&list("dim"))
            }
        }
        "prod" => {
            if keep {
                x().prod_keepdim(&list("dim"))
            } else {
                x().prod_dim(&list("dim"))
            }
        }
        "max" => {
            if keep {
                x().max_keepdim(&list("dim"))
            } else {
                x().max_dim(&list("dim"))
            }
        }
        "min" => {
            if keep {
                x().min_keepdim(&list("dim"))
            } else {
                x().min_dim(&list("dim"))
            }
        }
        "var" => x().var_with(&list("dim"), VarOptions { correction: whole("correction")?.unsigned_abs(), keepdim: keep }),
        "argmax" => {
            if keep {
                x().argmax_keepdim(whole("dim")?)
            } else {
                x().argmax_dim(whole("dim")?)
            }
        }
        "argmin" => {
            if keep {
                x().argmin_keepdim(whole("dim")?)
            } else {
                x().argmin_dim(whole("dim")?)
            }
        }
        "reshape" => x().reshape(counts("shape")),
        "flatten" => x().flatten(whole("first")?, whole("last")?),
        "permute" => x().permute(&counts("dims")),
        "transpose" => x().transpose(whole("a")?, whole("b")?),
        "expand" => x().expand(counts("shape")),
        "unsqueeze" => x().unsqueeze(whole("dim")?),
        "squeeze" => x().squeeze(whole("dim")?),
        "slice" => x().slice_step(whole("dim")?, whole("start")?, whole("stop")?, whole("step")?),
        "cat" => Tensor::cat(&[&a(), &b(), &a()], whole("dim")?),
        "stack" => Tensor::stack(&[&a(), &b()], whole("dim")?),
        _ => return elementwise(op, get),
    })
}

/// An op of the table of elementwise ones.
pub fn elementwise(op: &str, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    if let Some(UnaryRow { run, of, .. }) = unary_ops().into_iter().find(|row| row.name == op) {
        return Some(run(&of(&get("x"))));
    }
    let BinaryRow { run, pairs, .. } = binary_ops().into_iter().find(|row| row.name == op)?;
    Some(match pairs {
        Pairs::Numbers => run(&get("a"), &get("b")),
        Pairs::Truths => run(&get("a").cast(DType::Bool), &get("b").cast(DType::Bool)),
    })
}

#[test]
fn basic_ops_agree_with_pytorch() {
    let checked = agree("core.safetensors", &run);
    assert_eq!(checked, Fixture::open("core.safetensors").cases().len(), "every case of the file is checked");
}

#[test]
fn cases_of_elementwise_ops_follow_their_rows() {
    let file = Fixture::open("core.safetensors");
    let mut cases = 0;
    for UnaryRow { name, pytorch, .. } in unary_ops() {
        let Some([low, high]) = pytorch else { continue };
        for case in ["vector", "image"] {
            let x = file.values(&format!("{name}.{case}.in.x"));
            // The ends, rounded to f32.
            let inside = |&x: &f64| x >= f64::from(low as f32) && x <= f64::from(high as f32);
            assert!(x.iter().all(inside), "{name}.{case} was not made with the range {low} to {high}: {x:?}");
            cases += 1;
        }
    }
    assert!(cases >= 42, "{cases} cases");
}

#[test]
fn known_values_and_derivatives() {
    for UnaryRow { name, run, known, .. } in unary_ops() {
        let x: Vec<f64> = known.iter().map(|row| row.0).collect();
        let (y, dy): (Vec<f64>, Vec<f64>) = known.iter().map(|row| (row.1, row.2)).unzip();
        if x.is_empty() {
            continue;
        }
        let x = upload(&x, &[x.len()], DType::F32, device()).variable().expect("float");
        let out = run(&x);
        let g = out.sum().backward().and_then(|g| g.get(&x)).unwrap_or_else(|e| panic!("{name}: {e}"));
        close(name, &values(&out), &y, 2e-5, 2e-5);
        close(&format!("{name}'s gradient"), &values(&g), &dy, 5e-5, 5e-5);
    }
}

#[test]
fn known_results_and_gradients() {
    for KernelOp { name, known, .. } in kernel_ops() {
        for (k, Known { run, x, y, ct, dx }) in known.iter().enumerate() {
            let matrix = |rows: &[&[f64]; 2]| upload(&rows.concat(), &[2, rows[0].len()], DType::F32, device());
            let x = matrix(x).variable().expect("float");
            let out = run(&x);
            let g = out.backward_with(&matrix(ct)).and_then(|g| g.get(&x)).unwrap_or_else(|e| panic!("{name}: {e}"));
            close(&format!("{name} {k}"), &values(&out), &y.concat(), 2e-5, 2e-5);
            close(&format!("{name} {k}, gradient"), &values(&g), &dx.concat(), 5e-5, 5e-5);
        }
    }
}
