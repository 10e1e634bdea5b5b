//! `attnc show`: draw the mask.

use attnc_algebra::{Extents, Spec};
use attnc_compiler::extents::{defaults, length_symbol, listing};
use serde_json::json;

use crate::args::ShowArgs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::mask::{self, Panel};
use crate::picture;
use crate::session::{SpecFile, settings};

/// Heads, batches and other axes of inputs are kept this short unless set: a drawing needs no more.
const SHORT: i64 = 8;

/// Cells of a drawing, at most.
const CELLS: usize = 1 << 26;

/// Draws the masks of a spec in the terminal, and as a picture if wanted.
pub fn run(args: &ShowArgs) -> Result<String, Failure> {
    let file = SpecFile::read(&args.file)?;
    let settings = settings(&args.common.set)?;
    let spec = attnc_algebra::compile_text(&file.text, &settings)
        .map_err(|d| Failure::input(attnc_algebra::render(&file.name, &file.text, &d)))?;
    let extents = extents_to_draw(&spec, &settings, args.n);
    let inputs = Inputs::drawn(&spec, &extents, args.common.random.unwrap_or(1))?;
    let mut drawn: Vec<(String, Vec<Panel>)> = Vec::new();
    for m in mask::masks(&spec, &extents) {
        let row = m.row.map_or("-".to_string(), |a| spec.axis(a).name.clone());
        let title = format!(
            "{} against {}: where {}",
            row,
            spec.axis(m.column).name,
            attnc_algebra::print_term(&spec, m.domain)
        );
        if mask::cells(&spec, &extents, &m) > CELLS {
            return Err(Failure::input(format!("the mask has too many cells to draw; try a smaller --n ({title})")));
        }
        let panels = mask::panels(&spec, &extents, inputs.tensors(), &m).map_err(Failure::input)?;
        drawn.push((title, panels));
    }
    let head = format!("{} at {}", spec.name, listing(&spec, &extents));
    if let Some(path) = &args.svg {
        let panels: Vec<Panel> = drawn.iter().flat_map(|(_, p)| p.clone()).collect();
        std::fs::write(path, picture::masks(&head, &panels)).map_err(|e| Failure::file(path, &e))?;
    }
    if args.common.json {
        let rows: Vec<_> =
            drawn.iter().flat_map(|(title, panels)| panels.iter().map(move |p| panel_json(title, p))).collect();
        return Ok(format!("{}\n", json!({ "spec": spec.name, "extents": named(&spec, &extents), "rows": rows })));
    }
    let mut out = format!("{head}\n");
    if drawn.is_empty() {
        out.push_str("no softmax or restricted sum: nothing is masked\n");
    }
    for (title, panels) in &drawn {
        out.push_str(&format!("\n{title}\n"));
        for panel in panels {
            out.push_str(&text_of(panel));
        }
    }
    Ok(out)
}

/// Short extents for a drawing: N as asked (64 unless set), others as defaults but short.
fn extents_to_draw(spec: &Spec, settings: &attnc_algebra::Settings, n: Option<i64>) -> Extents {
    let set = settings.extents(spec);
    let mut extents = defaults(spec, settings);
    let length = length_symbol(spec);
    let m = spec.symbol("M");
    for (id, value) in &mut extents.0 {
        let fixed = set.get(*id).is_some() || spec.example.contains_key(id);
        if Some(*id) == length {
            let default = if set.get(*id).is_some() { *value } else { 64 };
            *value = n.unwrap_or(default);
        } else if !fixed && Some(*id) != m {
            *value = (*value).min(SHORT);
        }
    }
    if let (Some(m), Some(length)) = (m, length)
        && set.get(m).is_none()
        && let Some(n) = extents.get(length)
    {
        extents.0.insert(m, n);
    }
    extents
}

fn named(spec: &Spec, extents: &Extents) -> serde_json::Map<String, serde_json::Value> {
    extents.0.iter().map(|(id, v)| (mask::symbol_name(spec, *id).to_string(), json!(v))).collect()
}

fn panel_json(title: &str, (label, cells): &Panel) -> serde_json::Value {
    let lines: Vec<String> = cells.iter().map(|l| l.iter().map(|c| if *c { '#' } else { '.' }).collect()).collect();
    let allowed: usize = cells.iter().map(|l| l.iter().filter(|c| **c).count()).sum();
    json!({ "mask": title, "heads": label, "allowed": allowed, "rows": cells.len(), "cells": lines })
}

/// Terminal cells per line, at most; larger masks are shown by blocks.
const WIDTH: usize = 96;

/// A panel in half-block characters: two rows of cells per line; a block is shown by whether any cell is allowed.
fn text_of((label, cells): &Panel) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let allowed: usize = cells.iter().map(|l| l.iter().filter(|c| **c).count()).sum();
    let step = columns.max(cells.len()).div_ceil(WIDTH).max(1);
    let block = |row: usize, col: usize| {
        let lines = cells.iter().skip(row * step).take(step);
        lines.flat_map(|l| l.iter().skip(col * step).take(step)).any(|c| *c)
    };
    let (rows, cols) = (cells.len().div_ceil(step), columns.div_ceil(step));
    let share = 100.0 * allowed as f64 / (cells.len() * columns).max(1) as f64;
    let scale = if step > 1 { format!(", one cell for {step} x {step}") } else { String::new() };
    let mut out = format!("  {label} ({share:.1} % allowed{scale})\n");
    for pair in 0..rows.div_ceil(2) {
        out.push_str("  ");
        for col in 0..cols {
            let (upper, lower) = (block(2 * pair, col), 2 * pair + 1 < rows && block(2 * pair + 1, col));
            out.push(match (upper, lower) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => '·',
            });
        }
        out.push('\n');
    }
    out
}
