//! Plans of specs, run by the interpreter, against the reference evaluator.

use std::collections::BTreeMap;

use attnc_algebra::tensor::Tensor;
use attnc_algebra::{DType, Extents, Settings, Spec, SymbolId};
use attnc_plan::loops::interpret::{self, BufferData, Bytes};
use attnc_plan::{Plan, PlanOptions, Role};

/// Elements of every output of a plan, run stage by stage.
fn run_plan(plan: &Plan, extents: &[i64], inputs: &[Tensor]) -> Vec<Vec<u8>> {
    let shapes: Vec<Vec<i64>> = (0..plan.buffers.len())
        .map(|b| plan.shape(attnc_plan::PlanBufferId(b as u32), extents).expect("small shapes"))
        .collect();
    let mut memory: Vec<Vec<u8>> = plan
        .buffers
        .iter()
        .zip(&shapes)
        .map(|(b, s)| match b.role {
            Role::Input(k) => bytes_of(&inputs[k as usize]),
            _ => vec![0xff; s.iter().product::<i64>() as usize * b.dtype.size()],
        })
        .collect();
    for stage in plan.stages() {
        let strides: Vec<Vec<i64>> = stage.args.iter().map(|a| row_major(&shapes[a.0 as usize])).collect();
        let mut taken: Vec<Vec<u8>> = stage.args.iter().map(|a| std::mem::take(&mut memory[a.0 as usize])).collect();
        let mut buffers: Vec<BufferData<'_>> = taken
            .iter_mut()
            .zip(&stage.args)
            .zip(&strides)
            .map(|((bytes, a), strides)| BufferData {
                dtype: plan.buffers[a.0 as usize].dtype,
                bytes: Bytes::Write(bytes),
                shape: &shapes[a.0 as usize],
                strides,
                origin: 0,
            })
            .collect();
        let result = interpret::run(&stage.program, extents, &mut buffers);
        if let Err(e) = result {
            panic!("{}: {e}\n{}", stage.program.name, stage.program);
        }
        for (a, bytes) in stage.args.iter().zip(taken) {
            memory[a.0 as usize] = bytes;
        }
    }
    plan.buffers.iter().zip(memory).filter(|(b, _)| matches!(b.role, Role::Output(_))).map(|(_, m)| m).collect()
}

fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k].max(1);
    }
    strides
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    (0..tensor.len())
        .flat_map(|at| match tensor.dtype() {
            DType::F32 => (tensor.get_f64(at) as f32).to_ne_bytes().to_vec(),
            DType::F64 => tensor.get_f64(at).to_ne_bytes().to_vec(),
            DType::I32 => (tensor.get_i64(at) as i32).to_ne_bytes().to_vec(),
            DType::I64 => tensor.get_i64(at).to_ne_bytes().to_vec(),
            DType::Bool | DType::U8 | DType::I8 => vec![tensor.get_i64(at) as u8],
            other => panic!("{other:?} is not drawn here"),
        })
        .collect()
}

fn check(spec: &Spec, set: &BTreeMap<String, i64>) -> f64 {
    let mut extents = default_extents(spec);
    for (name, value) in set {
        if let Some(symbol) = spec.symbol(name) {
            extents.0.insert(symbol, *value);
        }
    }
    let inputs = draw_inputs(spec, &extents);
    let plan = attnc_plan::build(spec, &PlanOptions { hint: extents.clone() }).expect("a plan");
    let values: Vec<i64> = (0..spec.symbols.len()).map(|s| extents.get(SymbolId(s as u32)).expect("bound")).collect();
    let outputs = run_plan(&plan, &values, &inputs);
    let mut worst = 0.0f64;
    for (k, bytes) in outputs.iter().enumerate() {
        let reference = reference_output(spec, &extents, &inputs, k);
        let top = reference.iter().fold(0.0f64, |m, x| m.max(x.abs())).max(1e-30);
        let got: Vec<f64> =
            bytes.chunks_exact(4).map(|c| f64::from(f32::from_ne_bytes([c[0], c[1], c[2], c[3]]))).collect();
        assert_eq!(got.len(), reference.len());
        for (a, b) in got.iter().zip(&reference) {
            let error = if a == b { 0.0 } else { (a - b).abs() / top };
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    worst
}

fn reference_output(spec: &Spec, extents: &Extents, inputs: &[Tensor], k: usize) -> Vec<f64> {
    let mut reference = attnc_algebra::reference::Reference::new(spec, extents, inputs).expect("a reference");
    reference.output(k).expect("an output").iter().copied().collect()
}

#[test]
fn every_spec_runs_as_written() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs");
    let only = std::env::var("SPEC").ok();
    let mut failures = Vec::new();
    for family in ["dense", "masked", "linear"] {
        for entry in std::fs::read_dir(root.join(family)).expect("ir-specs") {
            let path = entry.expect("an entry").path();
            let name = path.display().to_string();
            if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a spec");
            for n in [17, 130] {
                let spec = match attnc_algebra::compile_text(&text, &Settings::default()) {
                    Ok(spec) => spec,
                    Err(e) => {
                        failures.push(format!("{name}: {e:?}"));
                        continue;
                    }
                };
                let set = [("N", n), ("M", n), ("H", 2)].map(|(k, v)| (k.to_owned(), v)).into();
                let result = std::panic::catch_unwind(|| check(&spec, &set));
                match result {
                    Ok(worst) if worst <= 2e-5 => {}
                    Ok(worst) => failures.push(format!("{name} at {n}: error {worst:e}")),
                    Err(e) => failures.push(format!(
                        "{name} at {n}: {}",
                        e.downcast_ref::<String>().cloned().unwrap_or_else(|| "panic".to_owned())
                    )),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn default_extents(spec: &Spec) -> Extents {
    let mut out = Extents::default();
    for (k, s) in spec.symbols.iter().enumerate() {
        let v = match s.name.as_str() {
            "B" => 1,
            "H" => 2,
            "D" | "E" => 24,
            "N" | "M" => 130,
            _ => 16,
        };
        out.0.insert(SymbolId(k as u32), v);
    }
    out
}

fn draw_inputs(spec: &Spec, extents: &Extents) -> Vec<Tensor> {
    let mut state = 1u64;
    spec.inputs
        .iter()
        .map(|i| {
            let shape: Vec<usize> = i
                .axes
                .iter()
                .map(|a| spec.eval_extent(spec.axis(*a).extent, extents).expect("extent") as usize)
                .collect();
            let elements: Vec<f64> = (0..shape.iter().product::<usize>())
                .map(|at| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let u = (state >> 40) as f64 / (1u64 << 24) as f64;
                    match i.dtype {
                        DType::F32 if i.range.is_some() => 0.9 + 0.1 * u,
                        DType::F32 => 2.0 * u - 1.0,
                        DType::Bool => f64::from(u > 0.5),
                        _ if i.runs.is_some() => (at % shape[shape.len() - 1] / 37) as f64,
                        _ => (u * 2.0).floor(),
                    }
                })
                .collect();
            Tensor::from_f64(i.dtype, shape, &elements).expect("a tensor")
        })
        .collect()
}
