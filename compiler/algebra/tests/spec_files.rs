//! Every file of ir-specs parses, elaborates and evaluates.

use std::path::PathBuf;

use attnc_algebra::{Settings, compile_text, render};

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

#[test]
fn every_spec_file_compiles() {
    let mut failed = String::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("readable");
        let name = file.display().to_string();
        match compile_text(&text, &Settings::default()) {
            Ok(spec) => assert_eq!(Some(spec.name.as_str()), file.file_stem().and_then(|s| s.to_str())),
            Err(errors) => failed += &render(&name, &text, &errors),
        }
    }
    assert!(failed.is_empty(), "{failed}");
}
