//! Predicates as traversals: which key tiles a row block visits.
//!
//! The predicate is split into alternatives (a disjunction of conjunctions);
//! each gives one interval of positions from the bounds of its linear atoms,
//! or the whole axis. The generated code merges the intervals, cuts them into
//! tiles and asks [`super::interval`] for the class of each.

use attnc_algebra::{AxisId, BinaryOp, InputId, NaryOp, Node, ReduceOp, TermId, Type, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Access, Piece, SpanLoop, Stmt, VarId};
use crate::planner::TILE;

use super::nest::{Binding, Block, Dim, Nest};
use super::parts::Part;

/// More alternatives than this are traversed as the whole axis.
const MAX_ALTERNATIVES: usize = 24;

/// One alternative of a predicate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alternative {
    /// Atoms that all hold.
    pub atoms: Vec<(TermId, bool)>,
    /// A small axis of which some position satisfies the atoms.
    pub some: Option<(AxisId, TermId)>,
}

/// Lower and upper bounds on a position, and when the interval is needed.
struct Bounds {
    from: ExprId,
    to: ExprId,
    guard: ExprId,
    repeat: Option<(VarId, ExprId)>,
}

/// What is done for a tile: it gets the domain, or the part of it that is
/// traversed, and a scalar that is false where that holds everywhere.
pub(crate) type TileBody<'b, N> = &'b mut dyn FnMut(&mut N, TermId, Option<ExprId>) -> Result<(), PlanError>;

impl Nest<'_, '_> {
    /// Loops over tiles of `axis`, `size` positions each, on which `domain` may
    /// hold for the current rows, in ascending order of position if `in_order`.
    pub fn for_tiles(
        &mut self,
        axis: AxisId,
        domain: TermId,
        (size, in_order): (i64, bool),
        body: TileBody<'_, Self>,
    ) -> Result<(), PlanError> {
        let limit = self.extent(axis);
        if self.is_true(domain) {
            let (var, from) = self.var(Lane::I64);
            let width = self.x().int(size);
            let left = self.x().difference(limit, from);
            let count = self.x().min(width, left);
            let dim = Dim { base: from, count, cap: width, step: 1, aligned: size % TILE == 0, block: None };
            let stmts = self.inner(Some((axis, Binding::Tile(dim))), |nest| body(nest, domain, None))?;
            let zero = self.x().int(0);
            self.emit(Stmt::For { var, from: zero, to: limit, step: size, body: stmts });
            return Ok(());
        }
        let parts = if in_order { vec![Part { domain, class: None }] } else { self.parts(axis, domain) };
        for part in parts {
            match part.class.map_or_else(|| self.block_size(axis, part.domain), |_| None) {
                Some(block) => self.block_loop(axis, &part, (block, size), body)?,
                None => self.span_loop(axis, &part, None, size, body)?,
            }
        }
        Ok(())
    }

    /// Whether the predicate is the constant true.
    pub fn is_true(&self, domain: TermId) -> bool {
        *self.planner.terms.node(domain) == Node::Bool(true)
    }

    pub fn span_loop(
        &mut self,
        axis: AxisId,
        part: &Part,
        block: Option<Block>,
        size: i64,
        body: TileBody<'_, Self>,
    ) -> Result<(), PlanError> {
        let domain = part.domain;
        let extent = self.extent(axis);
        let (mut pieces, capacity) = self.pieces(axis, domain, block);
        let ((var, from), (end, to)) = (self.var(Lane::I64), self.var(Lane::I64));
        let count = self.x().difference(to, from);
        let cap = self.x().int(size);
        let (limit, base, step) = match part.class {
            None => (extent, from, 1),
            Some(class) => {
                // The loop counts the positions of the residue class.
                for piece in &mut pieces {
                    (piece.from, piece.to) = (self.in_class(piece.from, class), self.in_class(piece.to, class));
                }
                let step = self.x().int(class.modulus);
                let far = self.x().times(from, step);
                (self.in_class(extent, class), self.x().sum(class.first, far), class.modulus)
            }
        };
        let along = Binding::Tile(Dim { base, count, cap, step, aligned: false, block });
        let stmts = self.inner(Some((axis, along.clone())), |nest| {
            let truth = nest.truth(domain);
            let partial = nest.not(truth.must);
            let partial = nest.let_scalar(partial);
            if nest.truth_of(truth.may) == Some(true) {
                return body(nest, domain, Some(partial));
            }
            // Bound again inside the condition, so that nothing is computed for an empty tile.
            let then = nest.inner(Some((axis, along)), |nest| body(nest, domain, Some(partial)))?;
            nest.emit(Stmt::If { cond: truth.may, then, otherwise: Vec::new() });
            Ok(())
        })?;
        let one = self.x().int(1);
        let list = self.tile("spans", Lane::I64, one, capacity);
        self.emit(Stmt::Spans(SpanLoop { list, pieces, limit, tile: size, var, end, body: stmts }));
        Ok(())
    }

    /// The first position and the end of an interval outside of which the domain holds nowhere on the current tile:
    /// that of a conjunction, else the whole axis.
    pub fn one_span(&mut self, axis: AxisId, domain: TermId) -> (ExprId, ExprId) {
        let (zero, limit) = (self.x().int(0), self.extent(axis));
        match self.pieces(axis, domain, None).0[..] {
            [Piece { repeat: None, from, to, .. }] => (self.x().max(from, zero), self.x().min(to, limit)),
            _ => (zero, limit),
        }
    }

    /// The intervals on which the domain may hold, in a block if one is given, with a bound of twice their number.
    pub fn pieces(&mut self, axis: AxisId, domain: TermId, block: Option<Block>) -> (Vec<Piece>, ExprId) {
        let mark = self.bindings_mark();
        // What is known of the positions is the block alone.
        let mut dim = self.whole(axis);
        if let Some(block) = block {
            dim = self.block_dim(axis, block);
        }
        self.bind(axis, Binding::Tile(dim.clone()), false);
        let result = self.pieces_in(axis, domain, &dim);
        self.bindings_reset(mark);
        result
    }

    fn pieces_in(&mut self, axis: AxisId, domain: TermId, dim: &Dim) -> (Vec<Piece>, ExprId) {
        let from = dim.base;
        let to = self.x().sum(dim.base, dim.count);
        let whole = |nest: &mut Self| {
            let guard = nest.x().truth(true);
            let two = nest.x().int(2);
            (vec![Piece { repeat: None, guard, from, to }], two)
        };
        let Some(alternatives) = self.alternatives(domain, true) else {
            return whole(self);
        };
        let mut pieces = Vec::new();
        let mut capacity = self.x().int(0);
        for alternative in alternatives {
            let bounds = self.bounds(axis, &alternative, (from, to));
            if self.truth_of(bounds.guard) == Some(false) {
                continue;
            }
            let count = bounds.repeat.map_or_else(|| self.program.exprs.int(1), |(_, n)| n);
            let two = self.x().int(2);
            let entries = self.x().times(count, two);
            capacity = self.x().sum(capacity, entries);
            pieces.push(Piece { repeat: bounds.repeat, guard: bounds.guard, from: bounds.from, to: bounds.to });
        }
        let one_pair = self.x().int(2);
        let capacity = self.x().max(capacity, one_pair);
        (pieces, capacity)
    }

    /// The predicate (or its negation) as a disjunction of conjunctions; `None` if there are too many.
    pub fn alternatives(&mut self, term: TermId, positive: bool) -> Option<Vec<Alternative>> {
        let node = self.planner.terms.node(term).clone();
        match (&node, positive) {
            (Node::Bool(v), _) => Some(if *v == positive { vec![Alternative::default()] } else { Vec::new() }),
            (Node::Unary(UnaryOp::Not, x), _) => self.alternatives(*x, !positive),
            (Node::Nary(NaryOp::And, xs), true) | (Node::Nary(NaryOp::Or, xs), false) => self.conjunction(xs, positive),
            (Node::Nary(NaryOp::Or, xs), true) | (Node::Nary(NaryOp::And, xs), false) => {
                let mut all = Vec::new();
                for x in xs {
                    all.extend(self.alternatives(*x, positive)?);
                }
                (all.len() <= MAX_ALTERNATIVES).then_some(all)
            }
            // A search along an axis that means something outside, too, stays whole: its atoms speak of other positions.
            (Node::Reduce { op: ReduceOp::Any, axis, domain, body }, true) if !self.is_bound(*axis) => {
                let inside = if self.is_true(*domain) {
                    *body
                } else {
                    self.planner.terms.nary(NaryOp::And, vec![*domain, *body])
                };
                let mut all = self.alternatives(inside, true)?;
                for alternative in &mut all {
                    match alternative.some {
                        None => alternative.some = Some((*axis, inside)),
                        // Two nested searches: keep no atom of the inner one.
                        Some(_) => *alternative = Alternative::default(),
                    }
                }
                Some(all)
            }
            (Node::Binary(BinaryOp::Ne, x, y), true) | (Node::Binary(BinaryOp::Eq, x, y), false) => {
                let sides = [(*x, *y), (*y, *x)].into_iter().filter(|(low, high)| self.may_be_less(*low, *high));
                let sides: Vec<(TermId, TermId)> = sides.collect();
                let side = |(low, high)| Alternative {
                    atoms: vec![(self.planner.terms.binary(BinaryOp::Lt, low, high), true)],
                    some: None,
                };
                Some(sides.into_iter().map(side).collect())
            }
            (Node::Binary(op @ (BinaryOp::Le | BinaryOp::Lt), x, y), false)
                if self.integral(*x) && self.integral(*y) =>
            {
                let flipped = if *op == BinaryOp::Le { BinaryOp::Lt } else { BinaryOp::Le };
                let atom = self.planner.terms.binary(flipped, *y, *x);
                self.alternatives(atom, true)
            }
            (Node::Binary(BinaryOp::Le | BinaryOp::Lt, ..), true) => Some(self.comparison(term, &node)),
            _ => Some(vec![Alternative { atoms: vec![(term, positive)], some: None }]),
        }
    }

    /// Whether one term may be less than another, by what is known of remainders and positions.
    pub fn may_be_less(&self, low: TermId, high: TermId) -> bool {
        let terms = &self.planner.terms;
        let least = match terms.node(low) {
            Node::Int(v) => Some(*v),
            Node::Position(_) | Node::Extent(_) | Node::Unary(UnaryOp::Abs, _) => Some(0),
            Node::Binary(BinaryOp::Mod, _, m) if matches!(terms.node(*m), Node::Int(m) if *m > 0) => Some(0),
            _ => None,
        };
        let most = match terms.node(high) {
            Node::Int(v) => Some(*v),
            Node::Binary(BinaryOp::Mod, _, m) => match terms.node(*m) {
                Node::Int(m) if *m > 0 => Some(m - 1),
                _ => None,
            },
            _ => None,
        };
        least.is_none_or(|least| most.is_none_or(|most| least < most))
    }

    pub fn integral(&self, term: TermId) -> bool {
        self.planner.terms.ty(term) == Type::Int
    }

    fn conjunction(&mut self, xs: &[TermId], positive: bool) -> Option<Vec<Alternative>> {
        let mut all = vec![Alternative::default()];
        for x in xs {
            let right = self.alternatives(*x, positive)?;
            if all.len() * right.len() > MAX_ALTERNATIVES {
                return None;
            }
            all = all
                .iter()
                .flat_map(|a| {
                    right.iter().map(move |b| {
                        let mut atoms = a.atoms.clone();
                        // With two searches over small axes, only the first one's atoms bound the position.
                        if a.some.is_none() || b.some.is_none() {
                            atoms.extend(b.atoms.iter().copied());
                        }
                        Alternative { atoms, some: a.some.or(b.some) }
                    })
                })
                .collect();
        }
        Some(all)
    }

    /// `abs(u) <= w` is two linear atoms, `w <= abs(u)` two alternatives.
    fn comparison(&mut self, term: TermId, node: &Node) -> Vec<Alternative> {
        let Node::Binary(op, x, y) = node else { unreachable!("called on comparisons") };
        let terms = &mut self.planner.terms;
        if let Node::Unary(UnaryOp::Abs, u) = *terms.node(*x) {
            let minus = terms.unary(UnaryOp::Neg, u);
            let atoms = vec![(terms.binary(*op, u, *y), true), (terms.binary(*op, minus, *y), true)];
            return vec![Alternative { atoms, some: None }];
        }
        if let Node::Unary(UnaryOp::Abs, u) = *terms.node(*y) {
            let minus = terms.unary(UnaryOp::Neg, u);
            let (a, b) = (terms.binary(*op, *x, u), terms.binary(*op, *x, minus));
            return [a, b].map(|t| Alternative { atoms: vec![(t, true)], some: None }).to_vec();
        }
        vec![Alternative { atoms: vec![(term, true)], some: None }]
    }

    fn bounds(&mut self, axis: AxisId, alternative: &Alternative, (from, to): (ExprId, ExprId)) -> Bounds {
        let mut bounds = Bounds { from, to, guard: self.x().truth(true), repeat: None };
        let bound = self.bindings_mark();
        if let Some((some, _)) = alternative.some {
            let (var, at) = self.var(Lane::I64);
            let count = self.extent(some);
            self.bind(some, Binding::Fixed(at), false);
            bounds.repeat = Some((var, count));
        }
        for (atom, positive) in &alternative.atoms {
            self.narrow(axis, *atom, *positive, &mut bounds);
        }
        self.bindings_reset(bound);
        bounds
    }

    /// Narrows the bounds by one atom.
    fn narrow(&mut self, axis: AxisId, atom: TermId, positive: bool, bounds: &mut Bounds) {
        // A search is statements of its own, which have no place inside the repetition of a piece.
        let told = bounds.repeat.is_none() || !self.planner.has_reduction(atom);
        if told && (!self.planner.terms.free(atom).contains(axis) || self.knows_more_in_block(axis, atom)) {
            let truth = self.truth(atom);
            let holds = if positive { truth.may } else { self.not(truth.must) };
            bounds.guard = self.and(bounds.guard, holds);
        }
        if !self.planner.terms.free(atom).contains(axis) {
            return;
        }
        if !positive {
            return;
        }
        let Node::Binary(op, x, y) = self.planner.terms.node(atom).clone() else { return };
        if !self.integral(x) || !self.integral(y) {
            return;
        }
        match op {
            BinaryOp::Le => self.narrow_le(axis, x, y, 0, bounds),
            BinaryOp::Lt => self.narrow_le(axis, x, y, 1, bounds),
            BinaryOp::Eq if self.narrow_equal(axis, x, y, bounds) || self.narrow_equal(axis, y, x, bounds) => {}
            BinaryOp::Eq => {
                self.narrow_le(axis, x, y, 0, bounds);
                self.narrow_le(axis, y, x, 0, bounds);
            }
            _ => {}
        }
    }

    /// Narrows by `x == y` where x is sorted keys along the axis.
    fn narrow_equal(&mut self, axis: AxisId, x: TermId, y: TermId, bounds: &mut Bounds) -> bool {
        if self.depends(y, axis) || self.planner.terms.sorted_key(x).is_none() {
            return false;
        }
        let Some((from, to)) = self.equal_run(axis, x, y) else { return false };
        bounds.from = self.x().max(bounds.from, from);
        bounds.to = self.x().min(bounds.to, to);
        true
    }

    /// Narrows by `x + gap <= y`.
    fn narrow_le(&mut self, axis: AxisId, x: TermId, y: TermId, gap: i64, bounds: &mut Bounds) {
        match (self.planner.terms.node(x).clone(), self.planner.terms.node(y).clone()) {
            // u div B + gap <= y  iff  u < (y - gap + 1) * B, for B above 0 (a B of 0 is refused at bind)
            (Node::Binary(BinaryOp::FloorDiv, u, b), _)
                if self.depends(u, axis) && !self.depends(y, axis) && self.planner.is_natural(b) =>
            {
                let shifted = self.shift(y, 1 - gap);
                let edge = self.planner.terms.nary(NaryOp::Mul, vec![shifted, b]);
                return self.narrow_le(axis, u, edge, 1, bounds);
            }
            // x + gap <= u div B  iff  (x + gap) * B <= u
            (_, Node::Binary(BinaryOp::FloorDiv, u, b))
                if self.depends(u, axis) && !self.depends(x, axis) && self.planner.is_natural(b) =>
            {
                let shifted = self.shift(x, gap);
                let edge = self.planner.terms.nary(NaryOp::Mul, vec![shifted, b]);
                return self.narrow_le(axis, edge, u, 0, bounds);
            }
            (Node::Input { input, index }, _) if !self.depends(y, axis) => {
                return self.narrow_runs(axis, input, &index, y, gap, true, bounds);
            }
            (_, Node::Input { input, index }) if !self.depends(x, axis) => {
                return self.narrow_runs(axis, input, &index, x, gap, false, bounds);
            }
            _ => {}
        }
        self.narrow_linear(axis, x, y, gap, bounds);
    }

    fn depends(&self, term: TermId, axis: AxisId) -> bool {
        self.planner.terms.free(term).contains(axis)
    }

    fn shift(&mut self, term: TermId, by: i64) -> TermId {
        if by == 0 {
            return term;
        }
        let by = self.planner.terms.int(by);
        self.planner.terms.nary(NaryOp::Add, vec![term, by])
    }

    /// `x + gap <= y` with y - x = c * position + rest.
    fn narrow_linear(&mut self, axis: AxisId, x: TermId, y: TermId, gap: i64, bounds: &mut Bounds) {
        let mut linear = Linear::default();
        let mut scale = 1;
        if !linear.add(self, axis, y, 1) || !linear.add(self, axis, x, -1) {
            let Some((quotient, size)) = self.quotient_in(axis, &[x, y]) else { return };
            linear = Linear { variable: Some(quotient), ..Linear::default() };
            if !linear.add(self, axis, y, 1) || !linear.add(self, axis, x, -1) {
                return;
            }
            scale = size;
        }
        if linear.coefficient == 0 {
            return;
        }
        // c * position >= gap - rest, weakest over the rows: rest at its upper bound.
        let Some(rest) = linear.upper_rest(self) else { return };
        let gap = self.x().int(gap);
        let need = self.x().difference(gap, rest);
        if linear.coefficient > 0 {
            let lo = self.ceil_div(need, linear.coefficient);
            let scale = self.x().int(scale);
            let lo = self.x().times(lo, scale);
            bounds.from = self.x().max(bounds.from, lo);
        } else {
            let zero = self.x().int(0);
            let top = self.x().difference(zero, need);
            let hi = self.div(top, -linear.coefficient);
            let to = self.plus(hi, 1);
            let scale = self.x().int(scale);
            let to = self.x().times(to, scale);
            bounds.to = self.x().min(bounds.to, to);
        }
    }

    pub fn ceil_div(&mut self, x: ExprId, by: i64) -> ExprId {
        let x = self.plus(x, by - 1);
        self.div(x, by)
    }

    /// `table[.., position] + gap <= y` (`below`) or `y + gap <= table[.., position]`
    /// for a table that does not decrease along the position.
    #[expect(clippy::too_many_arguments, reason = "one comparison, spelled out")]
    fn narrow_runs(
        &mut self,
        axis: AxisId,
        input: InputId,
        index: &[TermId],
        y: TermId,
        gap: i64,
        below: bool,
        bounds: &mut Bounds,
    ) {
        let declared = self.planner.spec.input(input).clone();
        let last = index.len() - 1;
        let along = matches!(self.planner.terms.node(index[last]), Node::Position(a) if *a == axis);
        if declared.runs.is_none() || !along || !self.in_range_by_name(index[last], declared.axes[last]) {
            return;
        }
        let plan_buffer = self.planner.input_buffer(input);
        let buffer = self.buffer(plan_buffer, Access::Read);
        let mut at = Vec::new();
        for (dim, term) in index[..last].iter().enumerate() {
            match self.interval(*term) {
                Some(bounds) if bounds.is_point() && self.in_range_by_name(*term, declared.axes[dim]) => {
                    at.push(bounds.lo);
                }
                Some(bounds) if bounds.is_point() => at.push(self.clamped(bounds.lo, buffer, dim)),
                _ => return,
            }
        }
        at.push(self.x().int(0));
        let Some(y) = self.interval(y) else { return };
        let value = if below { self.plus(y.hi, 1 - gap) } else { self.plus(y.lo, gap) };
        let count = self.extent(axis);
        let found = self.x().add(Expr::LowerBound { buffer, index: at, dim: last, count, value }, None);
        // A bound that may be none is not searched for: the table's elements may lie beyond it.
        if below {
            let doubtful = self.doubtful_above(y.hi);
            let to = self.choose(doubtful, count, found);
            bounds.to = self.x().min(bounds.to, to);
        } else {
            let doubtful = self.doubtful_below(y.lo);
            let zero = self.x().int(0);
            let from = self.choose(doubtful, zero, found);
            bounds.from = self.x().max(bounds.from, from);
        }
    }
}

/// An integer term as `coefficient * variable + rest`.
#[derive(Default)]
pub(crate) struct Linear {
    /// What stands for the variable; the position if `None`.
    pub variable: Option<TermId>,
    pub coefficient: i64,
    pub rest: Vec<(TermId, i64)>,
    pub constant: i64,
}

impl Linear {
    /// Adds `scale * term`; false if the term is not linear in the axis.
    pub fn add(&mut self, nest: &mut Nest<'_, '_>, axis: AxisId, term: TermId, scale: i64) -> bool {
        if self.variable == Some(term) {
            self.coefficient += scale;
            return true;
        }
        let node = nest.planner.terms.node(term).clone();
        if let Node::Binary(op, x, y) = node
            && nest.in_block(op, x, y).is_some_and(|(a, _)| a == axis)
        {
            return self.add_in_block(nest, axis, term, (op, x, y), scale);
        }
        let terms = &nest.planner.terms;
        match &node {
            Node::Position(a) if *a == axis && self.variable.is_none() => self.coefficient += scale,
            Node::Int(v) => match v.checked_mul(scale).and_then(|v| self.constant.checked_add(v)) {
                Some(sum) => self.constant = sum,
                None => return false,
            },
            Node::Unary(UnaryOp::Neg, x) => return self.add(nest, axis, *x, -scale),
            Node::Nary(NaryOp::Add, xs) => return xs.iter().all(|x| self.add(nest, axis, *x, scale)),
            Node::Nary(NaryOp::Mul, xs) if terms.free(term).contains(axis) => match xs.as_slice() {
                [a, b] => match (terms.node(*a), terms.node(*b)) {
                    (Node::Int(v), _) if v.abs() < 1 << 20 => return self.add(nest, axis, *b, scale * v),
                    (_, Node::Int(v)) if v.abs() < 1 << 20 => return self.add(nest, axis, *a, scale * v),
                    _ => return false,
                },
                _ => return false,
            },
            _ if terms.free(term).contains(axis) => return false,
            _ => self.rest.push((term, scale)),
        }
        true
    }

    /// Adds `scale` times a quotient or a remainder that the block settles.
    fn add_in_block(
        &mut self,
        nest: &mut Nest<'_, '_>,
        axis: AxisId,
        term: TermId,
        (op, x, y): (BinaryOp, TermId, TermId),
        scale: i64,
    ) -> bool {
        if op == BinaryOp::FloorDiv {
            self.rest.push((term, scale));
            return true;
        }
        let (quotient, Node::Int(size)) =
            (nest.planner.terms.binary(BinaryOp::FloorDiv, x, y), nest.planner.terms.node(y).clone())
        else {
            return false;
        };
        self.rest.push((quotient, -size * scale));
        self.add(nest, axis, x, scale)
    }

    /// Upper bound of the rest over the current rows.
    fn upper_rest(&self, nest: &mut Nest<'_, '_>) -> Option<ExprId> {
        let mut sum = nest.x().int(self.constant);
        for (term, scale) in &self.rest {
            let bounds = nest.interval(*term)?;
            let scale_expr = nest.x().int(*scale);
            let end = if *scale > 0 { bounds.hi } else { bounds.lo };
            let part = nest.x().times(end, scale_expr);
            sum = nest.x().sum(sum, part);
        }
        Some(sum)
    }
}
