//! SVG pictures: a line chart on logarithmic axes, and a grid of cells.

use std::fmt::Write;

/// One line of a chart.
pub struct Line {
    /// What it shows.
    pub label: String,
    /// Points, both coordinates positive.
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [&str; 8] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"];

/// A chart with both axes logarithmic. `marks` are vertical lines at x with a label.
pub fn chart(title: &str, x_label: &str, y_label: &str, lines: &[Line], marks: &[(f64, String)]) -> String {
    let (width, height) = (820.0, 460.0);
    let (left, right, top, bottom) = (70.0, 20.0, 40.0, 50.0);
    let points = || lines.iter().flat_map(|l| &l.points);
    let (x0, x1) = bounds(points().map(|p| p.0));
    let (y0, y1) = bounds(points().map(|p| p.1));
    let x = |v: f64| left + (v.ln() - x0.ln()) / (x1.ln() - x0.ln()) * (width - left - right);
    let y = |v: f64| height - bottom - (v.ln() - y0.ln()) / (y1.ln() - y0.ln()) * (height - top - bottom);
    let mut out = open(width, height, title);
    for tick in powers(x0, x1, 4.0) {
        let at = x(tick);
        let _ = write!(out, "<path d=\"M{at:.1} {top}V{:.1}\" stroke=\"#eee\"/>", height - bottom);
        text(&mut out, at, height - bottom + 16.0, "middle", &count(tick));
    }
    for tick in powers(y0, y1, 10.0) {
        let at = y(tick);
        let _ = write!(out, "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#eee\"/>", width - right);
        text(&mut out, left - 6.0, at + 4.0, "end", &format!("{tick}"));
    }
    for (at, label) in marks {
        let at = x(*at);
        let _ =
            write!(out, "<path d=\"M{at:.1} {top}V{:.1}\" stroke=\"#999\" stroke-dasharray=\"4 3\"/>", height - bottom);
        text(&mut out, at + 4.0, top + 12.0, "start", label);
    }
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        let row = top + 14.0 + 16.0 * index as f64;
        let _ = write!(out, "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>", left + 12.0, row);
        text(&mut out, left + 28.0, row + 9.0, "start", &line.label);
    }
    text(&mut out, width / 2.0, height - 10.0, "middle", x_label);
    text(&mut out, left, top - 8.0, "middle", y_label);
    out.push_str("</svg>\n");
    out
}

/// A picture of a square or rectangular mask per panel: dark cells are allowed pairs.
pub fn masks(title: &str, panels: &[(String, Vec<Vec<bool>>)]) -> String {
    let cell = |rows: usize| (256.0 / rows.max(1) as f64).clamp(1.0, 8.0);
    let size = |cells: &[Vec<bool>]| {
        let scale = cell(cells.len().max(cells.first().map_or(0, Vec::len)));
        (scale, cells.first().map_or(0, Vec::len) as f64 * scale, cells.len() as f64 * scale)
    };
    let width: f64 = 20.0 + panels.iter().map(|(_, c)| size(c).1.max(120.0) + 20.0).sum::<f64>();
    let height = 90.0 + panels.iter().map(|(_, c)| size(c).2).fold(0.0, f64::max);
    let mut out = open(width, height, title);
    let mut left = 20.0;
    for (label, cells) in panels {
        let (scale, w, h) = size(cells);
        text(&mut out, left, 54.0, "start", label);
        let _ = write!(out, "<rect x=\"{left}\" y=\"60\" width=\"{w}\" height=\"{h}\" fill=\"#f4f4f4\"/>");
        let mut path = String::new();
        for (row, line) in cells.iter().enumerate() {
            for (from, to) in runs(line) {
                let (x, y) = (left + from as f64 * scale, 60.0 + row as f64 * scale);
                let run = (to - from) as f64 * scale;
                let _ = write!(path, "M{x:.2} {y:.2}h{run:.2}v{scale:.2}h-{run:.2}z");
            }
        }
        let _ = write!(out, "<path fill=\"#1f4e79\" d=\"{path}\"/>");
        left += w.max(120.0) + 20.0;
    }
    out.push_str("</svg>\n");
    out
}

/// The maximal intervals of true cells.
fn runs(line: &[bool]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (at, _) in line.iter().enumerate().filter(|(_, on)| **on) {
        match out.last_mut() {
            Some(last) if last.1 == at => last.1 = at + 1,
            _ => out.push((at, at + 1)),
        }
    }
    out
}

fn open(width: f64, height: f64, title: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let _ = write!(out, "<text x=\"20\" y=\"24\" font-size=\"15\">{}</text>", escaped(title));
    out
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(content));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The least and greatest positive value, kept apart so that an axis has a length.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite() && *v > 0.0)
        .fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    match (low.is_finite(), high > low) {
        (false, _) => (1.0, 10.0),
        (true, false) => (low / 2.0, low * 2.0),
        (true, true) => (low, high),
    }
}

fn powers(low: f64, high: f64, base: f64) -> Vec<f64> {
    let first = low.log(base).ceil() as i32;
    (first..).map(|e| base.powi(e)).take_while(|v| *v <= high * 1.0001).collect()
}

fn count(value: f64) -> String {
    match value {
        v if v >= 1048576.0 => format!("{}M", v / 1048576.0),
        v if v >= 1024.0 => format!("{}k", v / 1024.0),
        v => format!("{v}"),
    }
}
