//! Indices that leave their axis, and divisors that are 0, whatever the extents are.
//!
//! A position at the ends of axes, at which the guards hold and the index is outside at all extents, is a proof; what
//! may be right at some extents has none.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::{AxisId, AxisSet};
use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::positions::Positions;
use crate::spec::Spec;
use crate::term::{Node, TermId, Type};

use super::polynomial::Polynomial;
use super::walk::{Guards, Site, Walk};

/// Axes of a constant extent up to this are gone through, others only at their ends.
const SHORT: i128 = 16;
/// Positions tried for one site, at most.
const POINT_LIMIT: usize = 256;
/// Positions tried for a spec, at most.
const WORK_LIMIT: usize = 1 << 14;

/// A site at which every evaluation of the spec fails.
pub(crate) struct AlwaysWrong {
    pub site: Site,
    /// Where the index or divisor is wrong: `j = N - 1`.
    pub place: String,
    /// What it is there.
    pub value: String,
    /// The least and greatest value over all positions, where they are known.
    pub range: Option<(String, String)>,
    /// The last position of the axis indexed.
    pub last: String,
}

/// Every index of an input, and every divisor, that is wrong at all extents.
pub(crate) fn always_wrong(spec: &Spec) -> Vec<AlwaysWrong> {
    let is_open = |site: Site| match site {
        Site::Index { input, axis, index, .. } => {
            *spec.terms.node(index) != Node::Position(spec.input(input).axes[axis])
        }
        Site::Divisor { by, .. } => !matches!(spec.terms.node(by), Node::Int(_) | Node::Extent(_)),
    };
    let mut walk = Walk::new(&spec.terms, &is_open);
    let mut search = Search { spec, found: Vec::new(), wrong: BTreeSet::new(), work: 0 };
    for output in &spec.outputs {
        walk.visit(output.term, &Guards::new(), &mut |site, guards| search.site(site, guards));
    }
    search.found
}

struct Search<'a> {
    spec: &'a Spec,
    found: Vec<AlwaysWrong>,
    wrong: BTreeSet<Site>,
    work: usize,
}

impl Search<'_> {
    fn site(&mut self, site: Site, guards: &Guards) {
        if self.wrong.contains(&site) {
            return;
        }
        let Some(wrong) = self.wrong_at(site, guards) else { return };
        self.wrong.insert(site);
        self.found.push(wrong);
    }

    fn wrong_at(&mut self, site: Site, guards: &Guards) -> Option<AlwaysWrong> {
        let (term, last) = match site {
            Site::Index { input, axis, index, .. } => (index, Some(self.last(self.spec.input(input).axes[axis])?)),
            Site::Divisor { by, .. } => (by, None),
        };
        let mut axes = self.spec.terms.free(term).clone();
        guards.iter().for_each(|(guard, _)| axes.extend(self.spec.terms.free(*guard)));
        let places = self.places(&axes)?;
        let is_wrong = |value: &Polynomial| match &last {
            Some(last) => {
                value.plus(last, -1).is_some_and(|beyond| beyond.is_at_least(1))
                    || Polynomial::default().plus(value, -1).is_some_and(|below| below.is_at_least(1))
            }
            None => value.as_constant() == Some(0),
        };
        for place in &places {
            self.work += 1;
            let mut point = Point { spec: self.spec, place, done: BTreeMap::new() };
            if !guards.iter().all(|(guard, holds)| point.truth(*guard) == Some(*holds)) {
                continue;
            }
            if let Some(value) = point.int(term).filter(is_wrong) {
                let own: Vec<String> = self.spec.terms.free(term).iter().map(|a| self.placed(a, place)).collect();
                return Some(AlwaysWrong {
                    site,
                    place: own.join(", "),
                    value: self.text(&value),
                    range: self.range(term, &places),
                    last: last.map(|last| self.text(&last)).unwrap_or_default(),
                });
            }
        }
        None
    }

    fn text(&self, value: &Polynomial) -> String {
        value.text(&|symbol| self.spec.symbols[symbol.0 as usize].name.clone())
    }

    fn placed(&self, axis: AxisId, place: &BTreeMap<AxisId, Polynomial>) -> String {
        format!("{} = {}", self.spec.axis(axis).name, place.get(&axis).map(|at| self.text(at)).unwrap_or_default())
    }

    /// The last position along an axis, if its extent is by its form at least 1.
    fn last(&self, axis: AxisId) -> Option<Polynomial> {
        let nowhere = BTreeMap::new();
        let mut point = Point { spec: self.spec, place: &nowhere, done: BTreeMap::new() };
        point.int(self.spec.axis(axis).extent)?.plus(&Polynomial::constant(1), -1).filter(|last| last.is_at_least(0))
    }

    /// All combinations of the ends of axes, and of all positions of short ones.
    fn places(&self, axes: &AxisSet) -> Option<Vec<BTreeMap<AxisId, Polynomial>>> {
        let mut places = vec![BTreeMap::new()];
        for axis in axes.iter() {
            let last = self.last(axis)?;
            let own: Vec<Polynomial> = match last.as_constant() {
                Some(last) if last < SHORT => (0..=last).map(Polynomial::constant).collect(),
                _ => vec![Polynomial::default(), last],
            };
            if places.len() * own.len() > POINT_LIMIT || self.work > WORK_LIMIT {
                return None;
            }
            let with = |place: &BTreeMap<AxisId, Polynomial>, at: &Polynomial| {
                let mut place = place.clone();
                place.insert(axis, at.clone());
                place
            };
            places = places.iter().flat_map(|place| own.iter().map(|at| with(place, at))).collect();
        }
        Some(places)
    }

    /// The ends of a sum of multiples of positions, if one value is the least and one the greatest at all extents.
    fn range(&self, term: TermId, places: &[BTreeMap<AxisId, Polynomial>]) -> Option<(String, String)> {
        let along = Positions::default().along(&self.spec.terms, term);
        if along.form.is_some() || !along.other.is_empty() {
            return None;
        }
        let value = |place| Point { spec: self.spec, place, done: BTreeMap::new() }.int(term);
        let values: Vec<Polynomial> = places.iter().map(value).collect::<Option<_>>()?;
        let is_end = |end: &Polynomial, factor: i128| {
            let above = |v: &Polynomial| v.plus(end, -1).and_then(|d| Polynomial::default().plus(&d, factor));
            values.iter().all(|v| above(v).is_some_and(|d| d.is_at_least(0)))
        };
        let end = |factor| values.iter().find(|v| is_end(v, factor)).map(|v| self.text(v));
        Some((end(1)?, end(-1)?))
    }
}

/// Integer terms and predicates at one position of all axes, at all extents at once.
struct Point<'a> {
    spec: &'a Spec,
    place: &'a BTreeMap<AxisId, Polynomial>,
    done: BTreeMap<TermId, Option<Polynomial>>,
}

impl Point<'_> {
    /// The value of an integer term; `None` where it is no polynomial of the extents.
    fn int(&mut self, id: TermId) -> Option<Polynomial> {
        if let Some(known) = self.done.get(&id) {
            return known.clone();
        }
        let value = self.derive(id);
        self.done.insert(id, value.clone());
        value
    }

    fn derive(&mut self, id: TermId) -> Option<Polynomial> {
        let terms = &self.spec.terms;
        if terms.ty(id) != Type::Int {
            return None;
        }
        match terms.node(id) {
            Node::Int(v) => Some(Polynomial::constant((*v).into())),
            Node::Extent(symbol) => Some(Polynomial::extent(*symbol)),
            Node::Position(axis) => self.place.get(axis).cloned(),
            Node::Unary(UnaryOp::Neg, x) => Polynomial::default().plus(&self.int(*x)?, -1),
            Node::Unary(UnaryOp::Abs, x) => {
                let x = self.int(*x)?;
                let negated = Polynomial::default().plus(&x, -1)?;
                [x, negated].into_iter().find(|v| v.is_at_least(0))
            }
            Node::Unary(UnaryOp::ToInt, p) if terms.ty(*p) == Type::Bool => {
                Some(Polynomial::constant(self.truth(*p)?.into()))
            }
            Node::Unary(UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil, x) => self.int(*x),
            Node::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), x, y) => {
                let (quotient, remainder) = self.int(*x)?.divided(&self.int(*y)?)?;
                Some(if *op == BinaryOp::FloorDiv { quotient } else { remainder })
            }
            Node::Nary(op, xs) => {
                let values = xs.iter().map(|x| self.int(*x)).collect::<Option<Vec<Polynomial>>>()?;
                values.into_iter().map(Some).reduce(|x, y| combined(*op, &x?, &y?))?
            }
            Node::Select(condition, a, b) => {
                let branch = if self.truth(*condition)? { a } else { b };
                self.int(*branch)
            }
            _ => None,
        }
    }

    /// Whether a predicate holds; `None` where that depends on the extents or on data.
    fn truth(&mut self, id: TermId) -> Option<bool> {
        match self.spec.terms.node(id) {
            Node::Bool(v) => Some(*v),
            Node::Unary(UnaryOp::Not, x) => self.truth(*x).map(|v| !v),
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), parts) => {
                truth_of_parts(*op, parts.iter().map(|p| self.truth(*p)))
            }
            Node::Binary(op, x, y) if op.is_comparison() => {
                let more = self.int(*y)?.plus(&self.int(*x)?, -1)?;
                compared(*op, &more, &Polynomial::default().plus(&more, -1)?)
            }
            _ => None,
        }
    }
}

/// Whether a conjunction or a disjunction holds, by what is known of its parts.
pub(super) fn truth_of_parts(op: NaryOp, parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let decisive = op == NaryOp::Or;
    let truths: Vec<Option<bool>> = parts.collect();
    if truths.contains(&Some(decisive)) {
        return Some(decisive);
    }
    (!truths.contains(&None)).then_some(!decisive)
}

fn combined(op: NaryOp, x: &Polynomial, y: &Polynomial) -> Option<Polynomial> {
    let more = || x.plus(y, -1);
    match op {
        NaryOp::Add => x.plus(y, 1),
        NaryOp::Mul => x.times(y),
        NaryOp::Min | NaryOp::Max => {
            let (above, below) = if op == NaryOp::Max { (x, y) } else { (y, x) };
            if more()?.is_at_least(0) {
                return Some(above.clone());
            }
            Polynomial::default().plus(&more()?, -1)?.is_at_least(0).then(|| below.clone())
        }
        NaryOp::And | NaryOp::Or => None,
    }
}

/// Whether `x op y`, of `y - x` and `x - y`.
fn compared(op: BinaryOp, more: &Polynomial, less: &Polynomial) -> Option<bool> {
    let differ = more.is_at_least(1) || less.is_at_least(1);
    let equal = more.as_constant() == Some(0);
    let (holds, fails) = match op {
        BinaryOp::Le => (more.is_at_least(0), less.is_at_least(1)),
        BinaryOp::Lt => (more.is_at_least(1), less.is_at_least(0)),
        BinaryOp::Eq => (equal, differ),
        BinaryOp::Ne => (differ, equal),
        _ => (false, false),
    };
    if holds { Some(true) } else { fails.then_some(false) }
}
