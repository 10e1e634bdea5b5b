//! Plans of specs as written, without rewrite rules, run by the interpreter
//! and compared with the reference evaluator: the planner computes any term,
//! whatever form the rules would give it.

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

/// Extents that a plan is tested at unless a test sets them.
fn small_extents(spec: &Spec) -> Extents {
    let mut extents = Extents::default();
    for (k, symbol) in spec.symbols.iter().enumerate() {
        let value = match symbol.name.as_str() {
            "B" => 1,
            "H" | "G" => 2,
            "D" | "E" => 24,
            "N" | "M" => 130,
            _ => 16,
        };
        extents.0.insert(SymbolId(k as u32), value);
    }
    extents
}

fn check(spec: &Spec, set: &BTreeMap<String, i64>) -> f64 {
    let mut extents = small_extents(spec);
    for (name, value) in set {
        if let Some(symbol) = spec.symbol(name) {
            extents.0.insert(symbol, *value);
        }
    }
    let inputs = attnc_algebra::draw::draw_inputs(spec, &extents, 1).expect("drawn inputs");
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

fn corpus(family: &str, name: &str) -> Spec {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs");
    let path = root.join(family).join(name).with_extension("attn");
    let text = std::fs::read_to_string(&path).expect("a spec of the corpus");
    attnc_algebra::compile_text(&text, &Settings::default()).expect("specs of the corpus are correct")
}

fn holds(family: &str, name: &str) {
    let spec = corpus(family, name);
    for n in [17, 130] {
        let set = [("N", n), ("M", n), ("H", 2)].map(|(k, v)| (k.to_owned(), v)).into();
        let worst = check(&spec, &set);
        assert!(worst <= 2e-5, "{name} at N = {n}: relative error {worst:e}");
    }
}

#[test]
fn softmax_weights_are_computed_in_two_passes() {
    holds("dense", "softmax");
}

#[test]
fn a_union_of_domains_visits_each_tile_once() {
    holds("masked", "longformer");
}

#[test]
fn runs_of_a_table_bound_the_keys() {
    holds("masked", "document");
}

#[test]
fn a_table_of_blocks_is_searched() {
    holds("masked", "bigbird");
}

#[test]
fn features_with_a_maximum_over_all_keys() {
    holds("linear", "performer");
}

#[test]
fn products_of_gates_between_two_positions() {
    holds("linear", "gated-linear");
}

#[test]
fn a_score_that_is_no_product() {
    holds("dense", "additive");
}

#[test]
fn angles_are_tabulated_once() {
    let spec = corpus("dense", "rope");
    let hint = small_extents(&spec);
    let plan = attnc_plan::build(&spec, &PlanOptions { hint }).expect("a plan");
    let tables = plan.stages().filter(|s| s.kind == attnc_plan::StageKind::MapReduce && s.args.len() == 1).count();
    assert!(tables >= 1, "cosines and sines of positions have stages without inputs");
}
