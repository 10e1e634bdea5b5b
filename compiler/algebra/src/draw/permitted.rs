//! Which values of an integer table its uses permit.
//!
//! An index made of a table's element must lie in its axis, whatever the rest
//! of the index; an element compared with something is drawn from where that
//! something lies, so that both outcomes occur.

use std::collections::BTreeSet;

use crate::axis::InputId;
use crate::ops::NaryOp;
use crate::range::{Interval, Intervals, declared_interval};
use crate::spec::{Extents, Spec};
use crate::term::{Node, TermId, Type};

use super::{DrawError, unconstrained};

/// The least and the greatest value to draw for an integer input.
pub(super) fn permitted_values(spec: &Spec, extents: &Extents, id: InputId) -> Result<(i64, i64), DrawError> {
    let input = spec.input(id);
    let nothing = |reason: String| DrawError::NothingPermitted { input: input.name.clone(), reason };
    let of_type = declared_interval(spec, extents, id.0 as usize).unwrap_or(Interval::I64);
    let uses = Uses::find(spec, extents, id);
    let indexed = uses.indexed.map_err(nothing)?;
    // Behind guards that read the table itself, any value is one that some use is for.
    let guarded = uses.guarded.filter(|_| input.range.is_none() && indexed.is_none());
    let compared = uses.compared.and_then(|c| c.meet(of_type));
    let (lo, hi) = unconstrained(input.dtype);
    let by_default = Interval { lo: lo.into(), hi: hi.into() };
    let wanted = match (input.range.is_some(), indexed) {
        _ if guarded.is_some() => guarded.unwrap_or(of_type),
        (true, None) => of_type,
        (true, Some(indexed)) => indexed,
        (false, Some(indexed)) => compared.and_then(|c| c.meet(indexed)).unwrap_or(indexed),
        (false, None) if input.runs.is_some() => of_type,
        (false, None) => compared.unwrap_or(by_default),
    };
    let values = wanted.meet(of_type).ok_or_else(|| {
        nothing(format!(
            "its uses need {} .. {}, its declaration {} .. {}",
            wanted.lo, wanted.hi, of_type.lo, of_type.hi
        ))
    })?;
    Ok((values.lo as i64, values.hi as i64))
}

/// What the uses of one input say.
struct Uses {
    /// Where its elements must lie to be legal indices, if any use is one.
    indexed: Result<Option<Interval>, String>,
    /// Where they must lie for one of the uses behind a guard to be legal.
    guarded: Option<Interval>,
    /// Where the things it is compared with lie.
    compared: Option<Interval>,
}

impl Uses {
    fn find(spec: &Spec, extents: &Extents, id: InputId) -> Self {
        // The table itself counts as 0, so that the rest of an index can be bounded.
        let tables: Vec<Option<Interval>> = (0..spec.inputs.len())
            .map(|at| if at == id.0 as usize { Interval::new(0, 0) } else { declared_interval(spec, extents, at) })
            .collect();
        let search = Search { spec, id, intervals: Intervals::new(spec, &spec.terms, extents, &tables) };
        let mut uses = Self { indexed: Ok(None), guarded: None, compared: None };
        let unguarded = search.unguarded();
        for at in 0..spec.terms.len() {
            match spec.terms.node(TermId(at as u32)) {
                Node::Input { input, index } => {
                    for (axis, index) in index.iter().enumerate().filter(|(_, index)| search.is_direct(**index)) {
                        let axis = spec.axis(spec.input(*input).axes[axis]);
                        let extent = spec.eval_extent(axis.extent, extents).unwrap_or(0);
                        let guarded = !unguarded.contains(&TermId(at as u32));
                        uses.index(&search, (*index, guarded), extent, &axis.name);
                    }
                }
                Node::Binary(op, x, y) if op.is_comparison() && spec.terms.ty(*x) == Type::Int => {
                    for (own, other) in [(x, y), (y, x)] {
                        if search.is_direct(*own) && !search.reads(*other) {
                            uses.compare(&search, *own, *other);
                        }
                    }
                }
                _ => {}
            }
        }
        uses
    }

    /// `index` is the table's element plus something; it must lie in an axis of this extent.
    /// With `guarded`, a condition on the table decides whether it is used.
    fn index(&mut self, search: &Search, (index, guarded): (TermId, bool), extent: i64, axis: &str) {
        let Some(rest) = search.intervals.get(index) else { return };
        let fits = Interval::new(-rest.lo, i128::from(extent) - 1 - rest.hi);
        if guarded {
            self.guarded = fits.map(|fits| self.guarded.map_or(fits, |p| p.hull(fits))).or(self.guarded);
            return;
        }
        let Ok(so_far) = self.indexed else { return };
        let both = match (so_far, fits) {
            (Some(a), Some(b)) => a.meet(b),
            (None, b) => b,
            (_, None) => None,
        };
        self.indexed = match both {
            Some(both) => Ok(Some(both)),
            None => Err(format!("as an index of axis `{axis}` of extent {extent} none fits at every position")),
        };
    }

    fn compare(&mut self, search: &Search, own: TermId, other: TermId) {
        if let (Some(rest), Some(other)) = (search.intervals.get(own), search.intervals.get(other))
            && let Some(values) = other.plus(rest.negated())
        {
            self.compared = Some(self.compared.map_or(values, |c| c.hull(values)));
        }
    }
}

struct Search<'a> {
    spec: &'a Spec,
    id: InputId,
    /// With the table's elements taken as 0.
    intervals: Intervals,
}

impl Search<'_> {
    /// Whether the term is an element of the table, or a sum with one such summand.
    fn is_direct(&self, id: TermId) -> bool {
        match self.spec.terms.node(id) {
            Node::Input { input, .. } => *input == self.id,
            Node::Nary(NaryOp::Add, xs) => {
                xs.iter().filter(|x| self.reads(**x)).count() == 1 && xs.iter().any(|x| self.is_direct(*x))
            }
            _ => false,
        }
    }

    /// Terms on some way from an output on which no condition reads the table.
    fn unguarded(&self) -> BTreeSet<TermId> {
        let mut open: Vec<TermId> = self.spec.outputs.iter().map(|o| o.term).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = self.spec.terms.node(id);
            let condition = match node {
                Node::Select(condition, ..) => Some(*condition),
                Node::Reduce { domain, .. } | Node::Softmax { domain, .. } | Node::Attend { domain, .. } => {
                    Some(*domain)
                }
                _ => None,
            };
            match condition.filter(|c| self.reads(*c)) {
                Some(condition) => open.push(condition),
                None => open.extend(node.operands()),
            }
        }
        seen
    }

    /// Whether the table is read anywhere in the term.
    fn reads(&self, id: TermId) -> bool {
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let node = self.spec.terms.node(id);
            if matches!(node, Node::Input { input, .. } if *input == self.id) {
                return true;
            }
            open.extend(node.operands().into_iter().filter(|t| seen.insert(*t)));
        }
        false
    }
}
