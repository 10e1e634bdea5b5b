//! What is the same along diagonals is computed once for each of them.
//!
//! A term may know positions of several axes through one whole-number form of them alone, such as `i - j`: the bucket
//! of a distance and a table's value there, a power or an exponential of it. As written it is computed for each pair;
//! here it becomes a row over the values of the form, which are as many as the axes are long, read at the form. The
//! row is computed by the same operations, so that what decides in it decides the same. Domains are left alone: their
//! bounds are what traversals are made of.

use std::collections::BTreeMap;

use attnc_algebra::positions::{Along, Coefficients, Positions, combined, compared, multiple};
use attnc_algebra::{AxisId, AxisSet, BinaryOp, DType, NaryOp, Node, TermId, Terms, Type, UnaryOp};

use super::Planner;

/// Pairs for each value of the form from which on a row is worth a stage of its own.
const READS: f64 = 8.0;

/// Pointwise work from which on a read takes less: of a real number, and of what is read by no vectors.
const WORTH: [f64; 2] = [4.0, 8.0];

/// Pointwise work of all pairs that a stage of its own takes.
const STAGE: f64 = 32_768.0;

/// Work of a read at a computed place, but for that of the place.
const GATHER: f64 = 4.0;

/// A form, and the axis of its values.
struct Row {
    form: Coefficients,
    /// A value of the form, as a term over the axis.
    value: TermId,
}

/// The rewriting of one plan's terms.
pub(super) struct Diagonals<'p, 'a> {
    planner: &'p mut Planner<'a>,
    positions: Positions,
    done: BTreeMap<TermId, TermId>,
}

impl<'p, 'a> Diagonals<'p, 'a> {
    pub fn new(planner: &'p mut Planner<'a>) -> Self {
        Self { planner, positions: Positions::default(), done: BTreeMap::new() }
    }

    /// The term with what is the same along diagonals read from rows.
    pub fn apart(&mut self, term: TermId) -> TermId {
        if let Some(known) = self.done.get(&term) {
            return *known;
        }
        let new = match self.row_read(term) {
            Some(read) => read,
            None => self.operands_apart(term),
        };
        self.done.insert(term, new);
        new
    }

    fn operands_apart(&mut self, term: TermId) -> TermId {
        let node = self.planner.terms.node(term).clone();
        let node = match node {
            // Whatever decides keeps the order of its operations.
            node if node.decides() => return term,
            Node::Nary(op @ (NaryOp::Add | NaryOp::Mul), xs) if self.planner.terms.ty(term) == Type::Real => {
                let xs = self.joined(op, xs);
                if let [one] = xs[..] {
                    return self.apart(one);
                }
                let axes: Vec<AxisSet> = xs.iter().map(|x| self.planner.terms.free(*x).clone()).collect();
                let mut apart = Vec::new();
                for (at, x) in xs.iter().enumerate() {
                    let mut others = axes.iter().enumerate().filter(|(other, _)| op == NaryOp::Mul && *other != at);
                    let lines = others.any(|(_, weights)| self.reads_lines(*x, weights));
                    apart.push(if lines { self.operands_apart(*x) } else { self.apart(*x) });
                }
                Node::Nary(op, apart)
            }
            Node::Reduce { op, axis, domain, body } => Node::Reduce { op, axis, domain, body: self.apart(body) },
            Node::Softmax { axis, domain, body } => Node::Softmax { axis, domain, body: self.apart(body) },
            Node::Attend { axis, domain, score, value } => {
                let terms = &self.planner.terms;
                let weights = terms.free(score).union(terms.free(domain));
                Node::Attend { axis, domain, score: self.apart(score), value: self.value_apart(value, &weights) }
            }
            node => node.map_operands(|t| self.apart(t)),
        };
        self.planner.terms.add(node)
    }

    /// As [`Self::apart`], of what meets weights over such axes.
    fn value_apart(&mut self, term: TermId, weights: &AxisSet) -> TermId {
        match self.planner.terms.node(term).clone() {
            Node::Nary(op @ (NaryOp::Add | NaryOp::Mul), xs) => {
                let xs = xs.into_iter().map(|x| self.value_apart(x, weights)).collect();
                self.planner.terms.add(Node::Nary(op, xs))
            }
            _ if self.reads_lines(term, weights) => self.operands_apart(term),
            _ => self.apart(term),
        }
    }

    /// Whether it is a table of which each pair of the weights reads a line: weights are added up by the places of the
    /// table, which a row over the form would have many more of.
    fn reads_lines(&mut self, term: TermId, weights: &AxisSet) -> bool {
        if !matches!(self.planner.terms.node(term), Node::Input { .. }) {
            return false;
        }
        let Some(form) = self.form_of(term) else { return false };
        let lines = self.planner.terms.free(term).iter().any(|a| !weights.contains(a));
        lines && form.keys().all(|a| weights.contains(*a))
    }

    /// Operands that know positions through one form as one.
    fn joined(&mut self, op: NaryOp, xs: Vec<TermId>) -> Vec<TermId> {
        let mut groups: Vec<(Option<Coefficients>, Vec<TermId>)> = Vec::new();
        for x in xs {
            let form = self.form_of(x);
            match groups.iter_mut().find(|(known, _)| form.is_some() && *known == form) {
                Some((_, group)) => group.push(x),
                None => groups.push((form, vec![x])),
            }
        }
        let mut all = Vec::new();
        for (_, group) in groups {
            if group.len() == 1 {
                all.extend(group);
                continue;
            }
            let joint = self.planner.terms.nary(op, group.clone());
            match self.row_read(joint) {
                Some(read) => {
                    self.done.insert(joint, read);
                    all.push(joint);
                }
                None => all.extend(group),
            }
        }
        all
    }

    /// The form through which alone the term knows positions of several axes.
    fn form_of(&mut self, term: TermId) -> Option<Coefficients> {
        let mut whole = Along::default();
        let along = self.along(term);
        whole.all_of(&along);
        whole.form
    }

    fn along(&mut self, term: TermId) -> Along {
        self.positions.along(&self.planner.terms, term)
    }

    /// The term as a read of a row, if it knows several axes through one form alone and a read takes less.
    fn row_read(&mut self, term: TermId) -> Option<TermId> {
        let form = self.form_of(term)?;
        let extent = |axis: &AxisId| self.planner.hint_extent(*axis) as f64;
        let pairs: f64 = form.keys().map(extent).product();
        let values: f64 =
            1.0 + form.iter().map(|(axis, c)| (extent(axis) - 1.0) * c.unsigned_abs() as f64).sum::<f64>();
        if pairs < READS * values {
            return None;
        }
        let work = self.work(term, &form, &mut BTreeMap::new());
        let worth = WORTH[usize::from(self.planner.terms.ty(term) != Type::Real)];
        if work < worth || work * pairs < STAGE {
            return None;
        }
        let terms = &mut self.planner.terms;
        let one = terms.int(1);
        let (mut below, mut size, mut place) = (Vec::new(), vec![one], Vec::new());
        for (axis, c) in &form {
            let (extent, less) = (self.planner.spec.axis(*axis).extent, terms.int(-1));
            let last = terms.nary(NaryOp::Add, vec![extent, less]);
            let reach = times(terms, last, c.saturating_abs());
            let at = terms.position(*axis);
            place.push(times(terms, at, *c));
            size.push(reach);
            if *c < 0 {
                below.push(reach);
            }
        }
        let before = sum(terms, below);
        let size = sum(terms, size).unwrap_or(one);
        place.extend(before);
        let index = sum(terms, place)?;
        let axis = self.planner.new_axis("diagonals", size);
        let terms = &mut self.planner.terms;
        let at = terms.position(axis);
        let minus = before.map(|before| terms.unary(UnaryOp::Neg, before));
        let value = sum(terms, [at].into_iter().chain(minus).collect())?;
        let body = self.on_row(term, &Row { form, value }, &mut BTreeMap::new())?;
        let body = self.flushed(body, axis);
        if !self.planner.fits_a_buffer(body) {
            return None;
        }
        Some(self.planner.terms.add(Node::At { axis, index, body }))
    }

    /// A row that fades, 0 where an `f32` of it is subnormal: what is multiplied by such a number takes a hundred cycles on
    /// some processors.
    fn flushed(&mut self, body: TermId, axis: AxisId) -> TermId {
        let powers = |node: &Node| matches!(node, Node::Unary(UnaryOp::Exp, _) | Node::Binary(BinaryOp::Pow, ..));
        let fades = |id, node: &Node| powers(node) && self.planner.terms.free(id).contains(axis);
        if self.planner.compute() != DType::F32
            || self.planner.terms.ty(body) != Type::Real
            || !self.planner.find(body, &mut |id, node| fades(id, node))
        {
            return body;
        }
        let terms = &mut self.planner.terms;
        let (least, zero) = (terms.real(f64::from(f32::MIN_POSITIVE)), terms.real(0.0));
        let magnitude = terms.unary(UnaryOp::Abs, body);
        let faint = terms.binary(BinaryOp::Lt, magnitude, least);
        terms.add(Node::Select(faint, zero, body))
    }

    /// Work for each pair of what reads or steps do not give for nothing: a multiple of a position, an input read at
    /// multiples of positions.
    fn work(&mut self, term: TermId, form: &Coefficients, done: &mut BTreeMap<TermId, f64>) -> f64 {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let moves = |s: &Self, t: TermId| form.keys().any(|a| s.planner.terms.free(t).contains(*a));
        let node = self.planner.terms.node(term).clone();
        let work = match &node {
            _ if !moves(self, term) || self.along(term).form.is_none() => 0.0,
            Node::Unary(UnaryOp::Neg | UnaryOp::ToReal | UnaryOp::ToInt, x) => self.work(*x, form, done),
            Node::Nary(NaryOp::Add | NaryOp::Mul, xs) => {
                let moving: Vec<TermId> = xs.iter().copied().filter(|x| moves(self, *x)).collect();
                let parts: f64 = moving.iter().map(|x| self.work(*x, form, done)).sum();
                // A multiple of a position, by what does not move.
                let own = if parts == 0.0 && moving.len() < 2 { 0.0 } else { xs.len() as f64 - 1.0 };
                parts + own
            }
            Node::Input { index, .. } => {
                let places: Vec<TermId> = index.iter().copied().filter(|t| self.along(*t).form.is_some()).collect();
                places.iter().map(|t| GATHER + self.work(*t, form, done)).sum()
            }
            Node::Reduce { axis, body, domain, .. } => {
                let each = 1.0 + self.work(*body, form, done) + self.work(*domain, form, done);
                each * self.planner.hint_extent(*axis) as f64
            }
            node if node.runs_over_axis() => 0.0,
            node => {
                let own = match node {
                    Node::Unary(op, _) => op.work(),
                    Node::Binary(op, ..) => op.work(),
                    Node::Nary(_, xs) => xs.len() as f64 - 1.0,
                    _ => 1.0,
                };
                own + node.operands().iter().map(|t| self.work(*t, form, done)).sum::<f64>()
            }
        };
        done.insert(term, work);
        work
    }

    /// The term over the row's axis; `None` where it knows positions otherwise after all.
    fn on_row(&mut self, term: TermId, row: &Row, done: &mut BTreeMap<TermId, TermId>) -> Option<TermId> {
        if !row.form.keys().any(|a| self.planner.terms.free(term).contains(*a)) {
            return Some(term);
        }
        if let Some(known) = done.get(&term) {
            return Some(*known);
        }
        let node = self.planner.terms.node(term).clone();
        let new = if let Some((op, x, y)) = compared(&self.planner.terms, &node) {
            let linear = combined(&self.along(x).linear, &self.along(y).linear, -1)?;
            let moved = self.value_of(&linear, row)?;
            let left = [moved, self.left_over(x, row, done)?];
            let terms = &mut self.planner.terms;
            let left = sum(terms, left.into_iter().flatten().collect()).unwrap_or_else(|| terms.int(0));
            let right = self.left_over(y, row, done)?;
            let terms = &mut self.planner.terms;
            let right = right.unwrap_or_else(|| terms.int(0));
            terms.binary(op, left, right)
        } else if self.along(term).is_sum {
            let linear = self.along(term).linear;
            let real = self.planner.terms.ty(term) == Type::Real;
            let moved = self.value_of(&linear, row)?;
            let moved = moved.map(|v| if real { self.planner.terms.unary(UnaryOp::ToReal, v) } else { v });
            let rest = self.left_over(term, row, done)?;
            let terms = &mut self.planner.terms;
            let zero = if real { terms.real(0.0) } else { terms.int(0) };
            sum(terms, moved.into_iter().chain(rest).collect()).unwrap_or(zero)
        } else {
            let mut whole = true;
            let node = node.map_operands(|t| {
                let new = self.on_row(t, row, done);
                whole &= new.is_some();
                new.unwrap_or(t)
            });
            if !whole {
                return None;
            }
            self.planner.terms.add(node)
        };
        done.insert(term, new);
        Some(new)
    }

    /// Multiples of positions as a multiple of the row's value; `Some(None)` for 0.
    fn value_of(&mut self, linear: &Coefficients, row: &Row) -> Option<Option<TermId>> {
        let Some((axis, c)) = linear.first_key_value() else { return Some(None) };
        let factor = c / row.form.get(axis)?;
        let whole: Coefficients = row.form.iter().map(|(axis, c)| (*axis, c * factor)).collect();
        (whole == *linear).then(|| Some(times(&mut self.planner.terms, row.value, factor)))
    }

    /// What is added to the multiples of positions in a linear term; `Some(None)` for nothing.
    fn left_over(&mut self, term: TermId, row: &Row, done: &mut BTreeMap<TermId, TermId>) -> Option<Option<TermId>> {
        let node = self.planner.terms.node(term).clone();
        if !self.along(term).is_sum {
            return self.on_row(term, row, done).map(Some);
        }
        match node {
            Node::Position(axis) if row.form.contains_key(&axis) => Some(None),
            Node::Unary(op, x) => {
                let x = self.left_over(x, row, done)?;
                Some(x.map(|x| self.planner.terms.unary(op, x)))
            }
            Node::Nary(NaryOp::Add, xs) => {
                let mut rest = Vec::new();
                for x in xs {
                    rest.extend(self.left_over(x, row, done)?);
                }
                Some(sum(&mut self.planner.terms, rest))
            }
            Node::Nary(NaryOp::Mul, xs) => {
                let (factor, x) = multiple(&self.planner.terms, &xs)?;
                let x = self.left_over(x, row, done)?;
                Some(x.map(|x| times(&mut self.planner.terms, x, factor)))
            }
            _ => Some(Some(term)),
        }
    }
}

fn times(terms: &mut Terms, term: TermId, factor: i64) -> TermId {
    if factor == 1 {
        return term;
    }
    let factor = terms.int(factor);
    terms.nary(NaryOp::Mul, vec![factor, term])
}

fn sum(terms: &mut Terms, mut xs: Vec<TermId>) -> Option<TermId> {
    match xs.len() {
        0 => None,
        1 => xs.pop(),
        _ => Some(terms.nary(NaryOp::Add, xs)),
    }
}
