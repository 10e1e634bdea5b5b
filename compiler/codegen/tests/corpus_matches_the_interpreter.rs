//! Every stage of every spec file, in every form the rewriter knows for it:
//! accepted by the verifier, and generated code against the interpreter.

mod support;

use attnc_algebra::{DType, Extents, Spec, SymbolId};
use attnc_compiler::{Analysis, Options, Unobserved};
use attnc_plan::loops::verify::verify;
use attnc_plan::loops::{Access, LoopProgram};
use support::{Memory, check};

/// Extents that are no multiples of any tile, small enough for the interpreter.
fn extents(analysis: &Analysis, n: i64) -> Extents {
    let symbols = analysis.spec().symbols.iter().enumerate();
    let value = |name: &str| match name {
        "B" => 1,
        "H" => 2,
        "D" | "E" => 12,
        "N" | "M" => n,
        _ => 6,
    };
    let mut all = Extents(symbols.map(|(k, s)| (SymbolId(k as u32), value(&s.name))).collect());
    for (symbol, v) in &analysis.spec().example {
        if !["N", "M", "H", "D", "E"].contains(&analysis.spec().symbols[symbol.0 as usize].name.as_str()) {
            all.0.insert(*symbol, *v);
        }
    }
    all
}

/// Buffers for a program. Inputs with a declared scale are small, and so is what has a long dimension: sums of products
/// of large values would lose in differences what the tolerance asks for.
fn memories(spec: &Spec, program: &LoopProgram, extents: &[i64]) -> Vec<Memory> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut all = Vec::new();
    for (at, buffer) in program.buffers.iter().enumerate() {
        let shape = program.buffer_shape(at, extents).expect("launch-time shapes");
        let padding = if buffer.access == Access::Read { 0 } else { 2 };
        let memory = Memory::new(buffer.dtype, &shape, padding, |_| 0x40);
        let scaled = spec.inputs.iter().any(|input| input.name == buffer.name && input.scale.is_some());
        let longest = shape.iter().copied().max().unwrap_or(1).max(1) as f64;
        let size = if scaled { 0.125 } else { (8.0 / longest.sqrt()).min(1.0) };
        let length = shape.last().copied().unwrap_or(1).max(1) as usize;
        all.push(memory.fill(|at| match buffer.dtype {
            DType::F32 | DType::F64 | DType::F16 | DType::Bf16 => size * (random() as f64 / (1u64 << 31) as f64 + 0.05),
            DType::Bool => (random() % 2) as f64,
            _ => (at % length / 7) as f64,
        }));
    }
    all
}

#[test]
fn every_stage_of_every_spec() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs");
    let only = std::env::var("SPEC").ok();
    let mut failures = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(&root)
        .expect("the corpus")
        .filter_map(|family| std::fs::read_dir(family.ok()?.path()).ok())
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "attn"))
        .filter(|path| only.as_ref().is_none_or(|o| path.display().to_string().contains(o.as_str())))
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a spec file");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for n in [21, 70] {
            if let Err(error) = std::panic::catch_unwind(|| check_spec(&text, n)) {
                let error = error.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_string());
                failures.push(format!("{name} at {n}: {error}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn check_spec(text: &str, n: i64) {
    let analysis = Analysis::new(text, &Options::default(), &mut Unobserved).unwrap_or_else(|e| panic!("{e}"));
    let extents = extents(&analysis, n);
    let numbers = attnc_compiler::extents::by_number(analysis.spec(), &extents);
    let candidates = analysis.candidates(&extents).unwrap_or_else(|e| panic!("{e}"));
    for candidate in candidates {
        let plan = match analysis.plan(&candidate, &extents) {
            Ok(plan) => plan,
            Err(e) => panic!("{}: {e}", candidate.name()),
        };
        for stage in plan.stages() {
            let program = &stage.program;
            if std::env::var("LOOPS").is_ok() {
                eprintln!("{} {}\n{program}", analysis.spec().name, candidate.name());
            }
            let errors: Vec<String> = verify(program).iter().map(ToString::to_string).collect();
            assert!(errors.is_empty(), "{}\n{program}", errors.join("\n"));
            let memories = memories(analysis.spec(), program, &numbers);
            check(program, &numbers, &memories, 3e-5);
        }
    }
}
