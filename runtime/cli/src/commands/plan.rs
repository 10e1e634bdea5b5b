//! `attnc plan`: the plan table.

use std::collections::BTreeMap;
use std::path::Path;

use attnc_algebra::{Extents, SymbolId};
use attnc_compiler::extents::{at_length, defaults, length_symbol, listing, m_follows};
use attnc_compiler::{Analysis, Choice, CompileError, PlanRow, PlanTable};
use serde_json::{Value, json};

use super::candidates;
use crate::args::{Common, PlanArgs};
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::picture::{self, Line};
use crate::session::{SpecFile, dumps, options};
use crate::table;

/// Prints which form is used at which sequence length.
pub fn run(args: &PlanArgs) -> Result<String, Failure> {
    let (from, to) = range(&args.n)?;
    if args.calibrate.is_some() && args.common.allow.is_empty() {
        return Err(Failure::Usage("--calibrate measures permitted approximations: it needs --allow".to_string()));
    }
    if args.common.budget.is_some() && args.calibrate.is_none() {
        return Err(Failure::Usage("--budget bounds measured errors: a plan needs --calibrate for it".to_string()));
    }
    let file = SpecFile::read(&args.file)?;
    let options = options(&args.common)?;
    let fail = |e: CompileError| file.failure(e.into());
    let mut clock = attnc::PassClock::new(&dumps(&args.dump_after)?);
    let analysis = Analysis::new(&file.text, &options.compiler, &mut clock).map_err(fail)?;
    let (extents, tables) = match &args.calibrate {
        None => {
            let extents = defaults(analysis.spec(), &options.compiler.settings);
            let table = PlanTable::build(&analysis, &extents, from, to).map_err(fail)?;
            (extents, vec![table])
        }
        Some(inputs) => {
            let (extents, errors) = calibrated(&file, &options, &args.common, inputs)?;
            let tables: Result<Vec<PlanTable>, CompileError> = choices(&errors, args.common.budget)
                .into_iter()
                .map(|choice| PlanTable::of_choice(&analysis, choice, &extents, from, to))
                .collect();
            (extents, tables.map_err(fail)?)
        }
    };
    for (pass, text) in &clock.dumps {
        crate::report(&format!("=== after {}\n{text}", pass.name()));
    }
    if let Some(path) = &args.svg {
        let picture = chart(&analysis, &tables[0], &extents, &args.file.display().to_string()).map_err(fail)?;
        std::fs::write(path, picture).map_err(|e| Failure::file(path, &e))?;
    }
    let spec = analysis.spec();
    let fixed = fixed_extents(&analysis, &extents);
    if args.common.json {
        let rows: Vec<Value> = tables.iter().flat_map(|t| &t.rows).map(row_json).collect();
        let named: serde_json::Map<String, Value> =
            fixed.0.iter().map(|(id, v)| (crate::mask::symbol_name(spec, *id).to_string(), json!(v))).collect();
        return Ok(format!(
            "{}\n",
            json!({ "spec": spec.name, "extents": named, "profile": options.compiler.profile.name, "rows": rows })
        ));
    }
    let rows: Vec<Vec<String>> = tables.iter().flat_map(|t| &t.rows).map(row_text).collect();
    let header = ["N from", "N to", "variant", "form", "ms from", "ms to", "memory", "error"];
    let follows = if m_follows(spec, &options.compiler.settings) { ", M = N" } else { "" };
    Ok(format!(
        "{} with {}{follows}, predicted for profile {}\n\n{}",
        spec.name,
        listing(spec, &fixed),
        options.compiler.profile.name,
        table::render(&header, &rows)
    ))
}

/// The extents of the inputs by which approximations are measured, and the label and the error of each, the
/// most exact first.
fn calibrated(
    file: &SpecFile,
    options: &attnc::Options,
    common: &Common,
    inputs: &Path,
) -> Result<(Extents, Vec<(String, f64)>), Failure> {
    let kernel = file.compile(options, &[])?;
    let common = Common { input: Some(inputs.to_path_buf()), random: None, ..common.clone() };
    let inputs = Inputs::obtain(&kernel, &common, &[])?;
    let extents = kernel.extents(&inputs.views()).map_err(|e| file.failure(e))?;
    let measured = candidates::measured(file, &kernel, options, &extents, &inputs, 1)?;
    let approximate = measured.into_iter().filter(|c| !c.exact);
    let mut errors: Vec<(String, f64)> = approximate.map(|c| (c.approximations, c.error)).collect();
    errors.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok((extents, errors))
}

/// What the tables choose from: under a budget one table, of the exact forms and what keeps the budget; else one of
/// the exact forms and one for each approximation.
fn choices(errors: &[(String, f64)], budget: Option<f64>) -> Vec<Choice<'_>> {
    match budget {
        Some(budget) => {
            let keep = errors.iter().take_while(|(_, error)| *error <= budget).count();
            vec![Choice { exact: true, approximate: &errors[..keep] }]
        }
        None => {
            let each = errors.chunks(1).map(|one| Choice { exact: false, approximate: one });
            std::iter::once(Choice::EXACT).chain(each).collect()
        }
    }
}

/// The extents that are the same in all rows: neither the length nor what follows it.
fn fixed_extents(analysis: &Analysis, extents: &Extents) -> Extents {
    let spec = analysis.spec();
    let length = length_symbol(spec);
    let follower = spec.symbol("M").filter(|_| m_follows(spec, &analysis.options().settings));
    let is_fixed = |id: &SymbolId| Some(*id) != length && Some(*id) != follower;
    Extents(extents.0.iter().filter(|(id, _)| is_fixed(id)).map(|(id, v)| (*id, *v)).collect())
}

/// `N` or `A..B`.
fn range(text: &str) -> Result<(i64, i64), Failure> {
    let bad = || Failure::Usage(format!("--n {text}: expected a length N or a range A..B"));
    let number = |t: &str| t.trim().parse::<i64>().map_err(|_| bad());
    match text.split_once("..") {
        None => number(text).map(|n| (n, n)),
        Some((from, to)) => match (number(from)?, number(to)?) {
            (from, to) if (1..=to).contains(&from) => Ok((from, to)),
            _ => Err(Failure::Usage(format!("--n {text}: a range runs upwards from 1 or more"))),
        },
    }
}

fn row_json(row: &PlanRow) -> Value {
    json!({
        "n_from": row.n_from, "n_to": row.n_to,
        "variant": row.candidate.name(), "form": row.candidate.form(),
        "predicted_ms_from": row.predicted_ms_from, "predicted_ms_to": row.predicted_ms_to,
        "bytes": row.bytes, "exact": row.candidate.is_exact(), "error": row.error,
    })
}

fn row_text(row: &PlanRow) -> Vec<String> {
    vec![
        row.n_from.to_string(),
        row.n_to.to_string(),
        row.candidate.name().to_string(),
        row.candidate.form().to_string(),
        table::number(row.predicted_ms_from),
        table::number(row.predicted_ms_to),
        row.bytes.map_or("overflow".to_string(), |b| table::bytes(b as u64)),
        if row.candidate.is_exact() { "exact".to_string() } else { table::number(row.error) },
    ]
}

/// Points per power of two in the chart.
const POINTS: u32 = 2;

/// Predicted time against N: a line for the best candidate of each form, a mark at each crossover.
fn chart(analysis: &Analysis, plan: &PlanTable, extents: &Extents, title: &str) -> Result<String, CompileError> {
    let (from, to) = (plan.rows.first().map_or(16, |r| r.n_from), plan.rows.last().map_or(16, |r| r.n_to));
    let follows = m_follows(analysis.spec(), &analysis.options().settings);
    let mut lines: Vec<Line> = Vec::new();
    for step in 0..=POINTS * 20 {
        let n = (16.0 * 2f64.powf(f64::from(step) / f64::from(POINTS))).round() as i64;
        if n < from || n > to {
            continue;
        }
        let mut best: BTreeMap<&'static str, f64> = BTreeMap::new();
        for candidate in analysis.candidates(&at_length(analysis.spec(), extents, n, follows))? {
            let ms = best.entry(candidate.form()).or_insert(f64::INFINITY);
            *ms = ms.min(candidate.predicted_ms());
        }
        for (form, ms) in best {
            let point = (n as f64, ms);
            match lines.iter_mut().find(|l| l.label == form) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { label: form.to_string(), points: vec![point] }),
            }
        }
    }
    let marks: Vec<(f64, String)> =
        plan.rows.iter().skip(1).map(|r| (r.n_from as f64, format!("N = {}", r.n_from))).collect();
    Ok(picture::chart(title, "N", "predicted ms", &lines, &marks))
}
