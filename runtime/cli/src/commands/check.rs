//! `attnc check`: parse and type-check.

use attnc_algebra::diagnostic;
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::failure::Failure;
use crate::session::{SpecFile, settings};

/// Checks every file and reports all errors of all of them.
pub fn run(args: &CheckArgs) -> Result<String, Failure> {
    let settings = settings(&args.set)?;
    let mut rows: Vec<Value> = Vec::new();
    let mut text = String::new();
    let mut wrong = 0;
    for path in &args.files {
        match SpecFile::read(path) {
            Err(failure) => {
                wrong += 1;
                text.push_str(&format!("{failure}\n"));
                rows.push(json!({ "file": path.display().to_string(), "ok": false, "errors": [{ "message": failure.to_string() }] }));
            }
            Ok(file) => match attnc_algebra::compile_text(&file.text, &settings) {
                Ok(spec) => {
                    text.push_str(&format!("{}: ok ({})\n", file.name, spec.name));
                    rows.push(json!({ "file": file.name, "ok": true, "spec": spec.name, "errors": [] }));
                }
                Err(diagnostics) => {
                    wrong += 1;
                    text.push_str(&diagnostic::render(&file.name, &file.text, &diagnostics));
                    let errors: Vec<Value> = diagnostics.iter().map(|d| error_of(&file.text, d)).collect();
                    rows.push(json!({ "file": file.name, "ok": false, "errors": errors }));
                }
            },
        }
    }
    let object = format!("{}\n", json!({ "ok": wrong == 0, "rows": rows }));
    match (wrong, args.json) {
        (0, true) => Ok(object),
        (0, false) => Ok(text),
        (_, true) => Err(Failure::Report { stdout: object, message: text }),
        (_, false) => Err(Failure::input(text)),
    }
}

fn error_of(source: &str, diagnostic: &attnc_algebra::Diagnostic) -> Value {
    let place = diagnostic.span().map(|span| {
        let before = source.get(..(span.start as usize).min(source.len())).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        json!({ "start": span.start, "end": span.end, "line": line, "column": column })
    });
    json!({
        "code": diagnostic.code,
        "message": diagnostic.message,
        "span": place,
        "labels": diagnostic.labels.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(),
        "help": diagnostic.help,
    })
}
