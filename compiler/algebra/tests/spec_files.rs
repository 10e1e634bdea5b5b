//! Every file of ir-specs compiles, its indices are in range, and it evaluates to finite numbers, at lengths on both
//! sides of its blocks and windows.

use std::path::PathBuf;

use attnc_algebra::{
    Extents, Reference, Settings, Spec, SymbolId, Tensor, check_indices, compile_text, draw_inputs, render,
};

fn files() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs");
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).expect("ir-specs is part of the repository") {
        let folder = folder.expect("readable").path();
        if folder.is_dir() {
            files.extend(std::fs::read_dir(folder).expect("readable").map(|f| f.expect("readable").path()));
        }
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "attn"));
    files.sort();
    files
}

fn specs() -> Vec<Spec> {
    let mut failed = String::new();
    let mut specs = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("readable");
        match compile_text(&text, &Settings::default()) {
            Ok(spec) => specs.push(spec),
            Err(errors) => failed += &render(&file.display().to_string(), &text, &errors),
        }
    }
    assert!(failed.is_empty(), "{failed}");
    specs
}

/// Extents for drawing: `n` positions, two heads and the rest small, or as the spec's example says.
fn extents(spec: &Spec, n: i64) -> Extents {
    let value = |at: usize| match spec.symbols[at].name.as_str() {
        "N" => n,
        "B" | "M" => 1,
        "H" => 2,
        "G" => 1,
        "D" | "E" => 32,
        _ => 5,
    };
    Extents((0..spec.symbols.len()).map(|at| (SymbolId(at as u32), value(at))).collect())
}

#[test]
fn every_spec_file_has_the_name_of_its_spec() {
    let names: Vec<String> = files().iter().map(|f| f.file_stem().unwrap_or_default().display().to_string()).collect();
    assert_eq!(names, specs().iter().map(|s| s.name.clone()).collect::<Vec<_>>());
}

#[test]
fn every_spec_file_evaluates_to_finite_numbers() {
    for spec in specs() {
        for n in [1, 17, 130] {
            let extents = extents(&spec, n);
            let inputs = draw_inputs(&spec, &extents, 1).unwrap_or_else(|e| panic!("{}: {e}", spec.name));
            let tables: Vec<_> = inputs.iter().map(Tensor::integer_range).collect();
            assert_eq!(check_indices(&spec, &extents, &tables), Ok(()), "{} at N = {n}", spec.name);
            let mut reference =
                Reference::new(&spec, &extents, &inputs).unwrap_or_else(|e| panic!("{}: {e}", spec.name));
            let out = reference.output(0).unwrap_or_else(|e| panic!("{}: {e}", spec.name));
            assert!(out.iter().all(|v| v.is_finite()), "{} at N = {n}", spec.name);
            assert!(n < 17 || out.iter().any(|v| v.abs() > 1e-6), "{} at N = {n} is zero", spec.name);
        }
    }
}

/// The README's code blocks marked `attn`, each a whole spec.
fn readme_specs() -> Vec<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs/README.md");
    let text = std::fs::read_to_string(file).expect("readable");
    text.split("```attn\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_string())).collect()
}

#[test]
fn the_examples_of_the_language_reference_compile() {
    let examples = readme_specs();
    assert!(examples.len() >= 8);
    for text in examples {
        compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{}", render("README.md", &text, &e)));
    }
}

#[test]
fn the_index_lists_every_file() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs/README.md");
    let text = std::fs::read_to_string(file).expect("readable");
    for file in files() {
        let folder = file.parent().and_then(|p| p.file_name()).unwrap_or_default().display().to_string();
        let link = format!("({folder}/{})", file.file_name().unwrap_or_default().display());
        assert!(text.contains(&link), "the index lacks {link}");
    }
}
