//! The mask of a spec: which pairs its softmaxes and sums allow, by the reference evaluator.

use std::collections::BTreeMap;

use attnc::Tensor;
use attnc_algebra::{Axis, AxisId, AxisSet, Extents, Node, Output, Reference, Spec, SymbolId, TermId, Terms, Type};
use attnc_algebra::{NaryOp, ReduceOp, UnaryOp};

/// A predicate over pairs of positions, as it restricts a softmax or a reduction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mask {
    /// The axis that is restricted: keys.
    pub column: AxisId,
    /// The longest other axis that the predicate reads: queries.
    pub row: Option<AxisId>,
    /// The predicate.
    pub domain: TermId,
}

/// The distinct masks of a spec's outputs; those of softmaxes first.
pub fn masks(spec: &Spec, extents: &Extents) -> Vec<Mask> {
    let mut found: BTreeMap<(bool, AxisId, TermId), Mask> = BTreeMap::new();
    for id in reachable(spec) {
        let (axis, domain, softmax) = match spec.terms.node(id) {
            Node::Softmax { axis, domain, .. } | Node::Attend { axis, domain, .. } => (*axis, *domain, true),
            Node::Reduce { axis, domain, .. } => (*axis, *domain, false),
            _ => continue,
        };
        if matches!(spec.terms.node(domain), Node::Bool(_)) && !softmax {
            continue;
        }
        let others = spec.terms.free(domain).without(axis);
        let row = others.iter().max_by_key(|a| (extent(spec, *a, extents), std::cmp::Reverse(*a)));
        found.insert((!softmax, axis, domain), Mask { column: axis, row, domain });
    }
    found.into_values().collect()
}

/// The share of pairs that each restricted axis's predicate allows, by sampled rows; 1 for what cannot be evaluated.
fn density(spec: &Spec, extents: &Extents, inputs: &[Tensor], mask: &Mask) -> f64 {
    if let Node::Bool(all) = spec.terms.node(mask.domain) {
        return f64::from(u8::from(*all));
    }
    let mut counting = spec.clone();
    let one = counting.terms.add(Node::Int(1));
    let op = ReduceOp::Sum;
    let count = counting.terms.add(Node::Reduce { op, axis: mask.column, domain: mask.domain, body: one });
    let mut axes: Vec<AxisId> = counting.terms.free(count).iter().collect();
    // Rows come in order of their positions, and neighbours share what they do not differ in.
    axes.sort_by_key(|a| (extent(spec, *a, extents), *a));
    let shape: Vec<usize> = axes.iter().map(|a| extent(spec, *a, extents)).collect();
    // The reference returns rows over the last axis; one of extent 1 makes each position of the others a row.
    let single = counting.terms.add(Node::Int(1));
    axes.push(AxisId(counting.axes.len() as u32));
    counting.axes.push(Axis { name: "one".to_string(), extent: single });
    counting.outputs = vec![Output { name: "pairs".to_string(), axes, term: count }];
    let Ok(mut reference) = Reference::new(&counting, extents, inputs) else { return 1.0 };
    let columns = extent(spec, mask.column, extents).max(1);
    let rows: usize = shape.iter().product();
    let inside = operations(&counting, [mask.domain], extents) / rows.max(1) as f64;
    let affordable = (MASK_OPERATIONS as f64 / (columns as f64 + inside)) as usize;
    let wanted = affordable.clamp(8, rows.max(8)).min(rows);
    let positions: Vec<Vec<usize>> =
        (0..wanted).map(|k| position(rows as u128 * (2 * k as u128 + 1) / (2 * wanted as u128), &shape)).collect();
    let counts = reference.output_rows(0, &positions);
    counts.map_or(1.0, |c| c.sum() / (wanted.max(1) * columns) as f64)
}

/// The position with a flat number in a row-major array.
fn position(number: u128, shape: &[usize]) -> Vec<usize> {
    let mut rest = number as usize;
    let mut position = vec![0; shape.len()];
    for (p, extent) in position.iter_mut().zip(shape).rev() {
        *p = rest % extent;
        rest /= extent;
    }
    position
}

/// Predicates evaluated to estimate a density.
const MASK_OPERATIONS: usize = 1 << 23;

/// Floating-point operations on allowed pairs: two for each point of every sum of the spec as written that its own
/// restriction, the softmax weights it sums, or the softmax whose score it is in allows.
pub fn flops(spec: &Spec, extents: &Extents, inputs: &[Tensor]) -> f64 {
    let mut densities: BTreeMap<(AxisId, TermId), f64> = BTreeMap::new();
    for mask in masks(spec, extents) {
        let share = density(spec, extents, inputs, &mask);
        densities.insert((mask.column, mask.domain), share);
    }
    let share_of = |axis: AxisId, domain: TermId| densities.get(&(axis, domain)).copied().unwrap_or(1.0);
    // Operands have lower numbers than their users: a term's share is known when it is reached.
    let mut shares: BTreeMap<TermId, f64> = spec.outputs.iter().map(|o| (o.term, 1.0)).collect();
    let mut total = 0.0;
    while let Some((id, share)) = shares.pop_last() {
        let node = spec.terms.node(id);
        let own = match node {
            Node::Softmax { axis, domain, .. } | Node::Attend { axis, domain, .. } => share_of(*axis, *domain),
            Node::Reduce { axis, domain, body, .. } => {
                let weights = softmax_factors(spec, *body, *axis).into_iter().map(|d| share_of(*axis, d));
                weights.fold(share_of(*axis, *domain).min(share), f64::min)
            }
            _ => share,
        };
        if let Node::Reduce { op: ReduceOp::Sum, axis, body, .. } = node {
            let mut axes = spec.terms.free(*body).clone();
            axes.insert(*axis);
            total += 2.0 * own * volume(spec, &axes, extents);
        }
        for operand in node.operands() {
            let known = shares.entry(operand).or_insert(own);
            *known = known.max(own);
        }
    }
    total
}

/// The domains of the softmaxes along `axis` among the factors of a product.
fn softmax_factors(spec: &Spec, term: TermId, axis: AxisId) -> Vec<TermId> {
    match spec.terms.node(term) {
        Node::Nary(NaryOp::Mul, factors) => factors.iter().flat_map(|f| softmax_factors(spec, *f, axis)).collect(),
        Node::Softmax { axis: along, domain, .. } if *along == axis => vec![*domain],
        _ => Vec::new(),
    }
}

/// Operations of a naive evaluation, one for each point of every reduction.
pub fn naive_operations(spec: &Spec, extents: &Extents) -> f64 {
    operations(spec, spec.outputs.iter().map(|o| o.term), extents)
}

fn operations(spec: &Spec, roots: impl IntoIterator<Item = TermId>, extents: &Extents) -> f64 {
    let points = |id: TermId| match spec.terms.node(id) {
        Node::Reduce { axis, body, domain, .. } | Node::Softmax { axis, body, domain } => {
            let mut axes = spec.terms.free(*body).union(spec.terms.free(*domain));
            axes.insert(*axis);
            volume(spec, &axes, extents)
        }
        _ => 0.0,
    };
    below(spec, roots).into_iter().map(points).sum()
}

/// One panel of a drawn mask: a label and its cells, rows of queries and columns of keys.
pub type Panel = (String, Vec<Vec<bool>>);

/// The cells of a mask at small extents, one panel for each group of equal heads.
///
/// # Errors
/// If the reference cannot evaluate the predicate.
pub fn panels(spec: &Spec, extents: &Extents, inputs: &[Tensor], mask: &Mask) -> Result<Vec<Panel>, String> {
    let mut drawing = spec.clone();
    let shown = if spec.terms.ty(mask.domain) == Type::Bool {
        drawing.terms.add(Node::Unary(UnaryOp::ToInt, mask.domain))
    } else {
        mask.domain
    };
    let rows = mask.row;
    let mut axes: Vec<AxisId> =
        drawing.terms.free(shown).iter().filter(|a| Some(*a) != rows && *a != mask.column).collect();
    let outer = axes.len();
    axes.extend(rows);
    axes.push(mask.column);
    drawing.outputs = vec![Output { name: "mask".to_string(), axes: axes.clone(), term: shown }];
    let mut reference = Reference::new(&drawing, extents, inputs).map_err(|e| e.to_string())?;
    let cells = reference.output(0).map_err(|e| e.to_string())?;
    let shape: Vec<usize> = cells.shape().to_vec();
    let width = shape[shape.len() - 1];
    let height = if rows.is_some() { shape[shape.len() - 2] } else { 1 };
    let values: Vec<f64> = cells.iter().copied().collect();
    let mut panels: Vec<(Vec<String>, Vec<Vec<bool>>)> = Vec::new();
    for (number, panel) in values.chunks(width * height).enumerate() {
        let grid: Vec<Vec<bool>> = panel.chunks(width).map(|line| line.iter().map(|v| *v != 0.0).collect()).collect();
        let place = label(spec, &axes[..outer], &shape[..outer], number);
        match panels.iter_mut().find(|(_, known)| *known == grid) {
            Some((places, _)) => places.push(place),
            None => panels.push((vec![place], grid)),
        }
    }
    Ok(panels.into_iter().map(|(places, grid)| (joined(&places), grid)).collect())
}

/// Groups of heads that a label lists one by one.
const LISTED: usize = 4;

fn joined(places: &[String]) -> String {
    match places {
        [] => String::new(),
        [one] => one.clone(),
        [_, ..] if places.len() <= LISTED => places.join("; "),
        [first, .., last] => format!("{first} … {last}, {} in all", places.len()),
    }
}

fn label(spec: &Spec, axes: &[AxisId], shape: &[usize], mut number: usize) -> String {
    let mut parts = Vec::new();
    for (axis, extent) in axes.iter().zip(shape).rev() {
        parts.push(format!("{} = {}", spec.axis(*axis).name, number % extent));
        number /= extent;
    }
    parts.reverse();
    if parts.is_empty() { "all heads".to_string() } else { parts.join(", ") }
}

/// Cells that [`panels`] would evaluate.
pub fn cells(spec: &Spec, extents: &Extents, mask: &Mask) -> usize {
    let mut axes = spec.terms.free(mask.domain).clone();
    axes.insert(mask.column);
    axes.iter().map(|a| extent(spec, a, extents)).fold(1, usize::saturating_mul)
}

/// The value of a constant term, such as a parameter's.
pub fn constant(spec: &Spec, term: TermId, extents: &Extents) -> f64 {
    attnc::constant(spec, term, extents).unwrap_or(f64::NAN)
}

fn reachable(spec: &Spec) -> Vec<TermId> {
    below(spec, spec.outputs.iter().map(|o| o.term))
}

/// The terms and their sub-terms, each once.
fn below(spec: &Spec, roots: impl IntoIterator<Item = TermId>) -> Vec<TermId> {
    let mut seen = std::collections::BTreeSet::new();
    let mut open: Vec<TermId> = roots.into_iter().collect();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(Terms::node(&spec.terms, id).operands());
        }
    }
    seen.into_iter().collect()
}

fn extent(spec: &Spec, axis: AxisId, extents: &Extents) -> usize {
    spec.eval_extent(spec.axis(axis).extent, extents).and_then(|e| usize::try_from(e).ok()).unwrap_or(1)
}

fn volume(spec: &Spec, axes: &AxisSet, extents: &Extents) -> f64 {
    axes.iter().map(|a| extent(spec, a, extents) as f64).product()
}

/// The name of an extent symbol.
pub fn symbol_name(spec: &Spec, id: SymbolId) -> &str {
    spec.symbols.get(id.0 as usize).map_or("?", |s| s.name.as_str())
}
