//! The repository's habits, checked: sizes, dependency arrows, unsafe code, marks of unfinished work, links, indexes.
//!
//! Reads files only; knows no crate of the project. Each test names one invariant of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use attnc_tests::repository::{files, read, relative, root};
use attnc_tests::source::{code, functions};

/// Longest file, in lines.
const FILE_LINES: usize = 700;

/// Longest function, in lines.
const FUNCTION_LINES: usize = 80;

/// Files and functions (`path::function`) that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Crates in which unsafe code is allowed; every other one forbids it.
const UNSAFE_CRATES: &[&str] = &["runtime/kernels", "runtime/engine", "runtime/capi", "tests/bench/module"];

/// What each crate of the project may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("attnc-algebra", &[]),
    ("attnc-cost", &["attnc-algebra"]),
    ("attnc-rewrite", &["attnc-algebra", "attnc-cost"]),
    ("attnc-plan", &["attnc-algebra", "attnc-cost"]),
    ("attnc-codegen", &["attnc-algebra", "attnc-plan"]),
    ("attnc-compiler", &["attnc-algebra", "attnc-cost", "attnc-rewrite", "attnc-plan"]),
    ("attnc-kernels", &[]),
    ("attnc", &["attnc-algebra", "attnc-cost", "attnc-plan", "attnc-codegen", "attnc-compiler", "attnc-kernels"]),
    ("attnc-cli", &["attnc", "attnc-algebra", "attnc-compiler", "attnc-plan"]),
    ("attnc-tests", &["attnc", "attnc-algebra", "attnc-compiler", "attnc-plan"]),
    ("attnc-bench", &["attnc", "attnc-algebra", "attnc-compiler", "attnc-kernels", "attnc-plan"]),
];

/// Libraries that only some crates may name.
const FENCED: &[(&str, &[&str])] = &[
    ("egg", &["attnc-rewrite"]),
    ("petgraph", &["attnc-plan"]),
    ("cranelift-codegen", &["attnc-codegen", "attnc"]),
    ("cranelift-frontend", &["attnc-codegen"]),
    ("cranelift-module", &["attnc"]),
    ("cranelift-jit", &["attnc"]),
    ("cranelift-native", &["attnc"]),
    ("ndarray", &["attnc-algebra", "attnc", "attnc-cli", "attnc-tests", "attnc-bench"]),
];

fn rust_files() -> Vec<PathBuf> {
    files(&root(), ".rs")
}

/// Fails with all findings at once.
fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn files_and_functions_stay_short() {
    let reasons: BTreeMap<&str, &str> = LONGER.iter().copied().collect();
    let mut unused: BTreeSet<&str> = reasons.keys().copied().collect();
    let mut findings = Vec::new();
    for path in rust_files() {
        let (name, text) = (relative(&path), read(&path));
        let lines = text.lines().count();
        if lines > FILE_LINES && !unused.remove(name.as_str()) {
            findings.push(format!("{name}: {lines} lines; at most {FILE_LINES}"));
        }
        for function in functions(&text).iter().filter(|f| f.lines > FUNCTION_LINES) {
            let full = format!("{name}::{}", function.name);
            if !unused.remove(full.as_str()) {
                let (line, lines) = (function.line, function.lines);
                findings
                    .push(format!("{name}:{line}: `{}` has {lines} lines; at most {FUNCTION_LINES}", function.name));
            }
        }
    }
    findings.extend(unused.iter().map(|name| format!("{name} is listed as longer and is not")));
    report(findings);
}

#[test]
fn every_source_file_opens_with_what_it_owns() {
    let without = rust_files().into_iter().filter(|path| !read(path).starts_with("//! "));
    report(without.map(|path| format!("{} does not open with `//!`", relative(&path))).collect());
}

/// A crate's manifest.
struct Manifest {
    directory: PathBuf,
    name: String,
    dependencies: Vec<String>,
}

fn manifests() -> Vec<Manifest> {
    let workspace: toml::Table = read(&root().join("Cargo.toml")).parse().expect("the workspace's manifest is TOML");
    let members = workspace["workspace"]["members"].as_array().expect("members are a list");
    members.iter().map(|member| manifest(&root().join(member.as_str().expect("a member is a path")))).collect()
}

fn manifest(directory: &Path) -> Manifest {
    let table: toml::Table = read(&directory.join("Cargo.toml")).parse().expect("a manifest is TOML");
    let name = table["package"]["name"].as_str().expect("a package has a name").to_string();
    let dependencies = table.get("dependencies").and_then(|d| d.as_table());
    let dependencies = dependencies.map(|d| d.keys().cloned().collect()).unwrap_or_default();
    Manifest { directory: directory.to_path_buf(), name, dependencies }
}

#[test]
fn dependencies_point_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut findings = Vec::new();
    for Manifest { name, dependencies, .. } in manifests() {
        let Some(allowed) = arrows.get(name.as_str()) else {
            findings.push(format!("{name} is not in the table of arrows"));
            continue;
        };
        for dependency in &dependencies {
            let ours = arrows.contains_key(dependency.as_str());
            let fence = FENCED.iter().find(|(library, _)| library == dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                findings.push(format!("{name} must not know {dependency}"));
            }
            if fence.is_some_and(|(_, crates)| !crates.contains(&name.as_str())) {
                findings.push(format!("{name} must not use {dependency}"));
            }
        }
    }
    report(findings);
}

#[test]
fn unsafe_code_is_forbidden_but_in_fenced_crates() {
    let mut findings = Vec::new();
    for Manifest { directory, name, .. } in manifests() {
        let fenced = UNSAFE_CRATES.iter().any(|c| root().join(c) == directory);
        let roots = ["src/lib.rs", "src/main.rs", "harness/lib.rs"].map(|file| directory.join(file));
        for file in roots.iter().filter(|file| file.exists()) {
            if !fenced && !read(file).contains("#![forbid(unsafe_code)]") {
                findings.push(format!("{name}: {} does not forbid unsafe code", relative(file)));
            }
        }
    }
    report(findings);
}

/// Files whose code says `unsafe`, but those in a crate's `src` that the compiler holds to its promise to have none.
fn unsafe_files() -> BTreeSet<String> {
    let promised: Vec<PathBuf> = manifests()
        .iter()
        .map(|m| m.directory.join("src"))
        .filter(|src| src.join("lib.rs").exists() && read(&src.join("lib.rs")).contains("#![forbid(unsafe_code)]"))
        .collect();
    let is_unsafe = |path: &PathBuf| {
        let code = code(&read(path));
        let says = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        says && !promised.iter().any(|src| path.starts_with(src))
    };
    rust_files().into_iter().filter(is_unsafe).map(|path| relative(&path)).collect()
}

#[test]
fn the_list_of_unsafe_files_is_true() {
    let text = read(&root().join("runtime/README.md"));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: Vec<String> = rows
        .map(|(path, _)| match path.split('/').next() {
            Some("compiler" | "tests") => path.to_string(),
            _ => format!("runtime/{path}"),
        })
        .filter(|path| path.ends_with(".rs") || path.ends_with("/**"))
        .collect();
    let covers = |row: &String, file: &String| match row.strip_suffix("**") {
        Some(folder) => file.starts_with(folder),
        None => row == file,
    };
    let found = unsafe_files();
    let missing = found.iter().filter(|file| !listed.iter().any(|row| covers(row, file)));
    let missing = missing.map(|file| format!("{file} has unsafe code and is not in runtime/README.md"));
    let stale = listed.iter().filter(|row| !found.iter().any(|file| covers(row, file)));
    let stale = stale.map(|row| format!("{row} is in runtime/README.md and has no unsafe code"));
    report(missing.chain(stale).collect());
}

#[test]
fn unsafe_blocks_say_what_makes_them_true() {
    let mut findings = Vec::new();
    for name in unsafe_files() {
        let text = read(&root().join(&name));
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in code(&text).lines().enumerate() {
            let block = line.contains("unsafe {") || line.contains("unsafe impl");
            // A comment may stand above the statement that the block is part of.
            let near = lines[at.saturating_sub(6)..=at].iter().any(|l| l.contains("SAFETY:"));
            if block && !near {
                findings.push(format!("{name}:{}: no `// SAFETY:` above", at + 1));
            }
        }
    }
    report(findings);
}

/// Marks of unfinished work; in pieces, so that this file does not find itself.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
];

/// Paths and names of one machine.
const PLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/fa", "rm/"),
    concat!("/tmp", "/team"),
    concat!(".lib", "rary"),
    concat!("index.crates", ".io"),
];

fn text_files() -> Vec<PathBuf> {
    [".rs", ".md", ".toml", ".attn", ".txt", ".json", "run"].iter().flat_map(|e| files(&root(), e)).collect()
}

#[test]
fn nothing_is_left_unfinished_or_points_to_a_machine() {
    let mut findings = Vec::new();
    for path in text_files() {
        for (at, line) in read(&path).lines().enumerate() {
            for mark in MARKS.iter().chain(PLACES).filter(|mark| line.contains(**mark)) {
                findings.push(format!("{}:{}: `{mark}`", relative(&path), at + 1));
            }
        }
    }
    report(findings);
}

#[test]
fn the_index_of_specs_is_complete() {
    let folder = root().join("ir-specs");
    let index = read(&folder.join("README.md"));
    let mut findings = Vec::new();
    for path in files(&folder, ".attn") {
        let text = read(&path);
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let from_index = relative(&path).replace("ir-specs/", "");
        if !index.contains(&from_index) {
            findings.push(format!("{from_index} is not in ir-specs/README.md"));
        }
        if !text.starts_with("# ") {
            findings.push(format!("{from_index} does not say what it is"));
        }
        if !text.lines().any(|line| line.trim() == format!("spec {name}")) {
            findings.push(format!("{from_index} does not define `spec {name}`"));
        }
    }
    report(findings);
}

/// A document without its fenced blocks and its code.
fn prose(text: &str) -> String {
    let outside = text.split("\n```").step_by(2);
    outside.flat_map(|part| part.split('`').step_by(2)).collect::<Vec<_>>().join("\n")
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for path in files(&root(), ".md") {
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        for target in prose(&read(&path)).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !outside && !folder.join(file).exists() {
                findings.push(format!("{}: {target} does not exist", relative(&path)));
            }
        }
    }
    report(findings);
}
