//! Positions of largest scores, decided in f32 where that is certain.
//!
//! What decides is defined in f64, in axis order. Where a score is a sum of products that split over the frame, an
//! f32 tile product computes it many times faster, off by at most a bound that the norms of its factors give. A row
//! whose largest f32 score leads by more than twice the bound has the same largest in f64; only the other rows are
//! computed by the definition.
//!
//! The bound: n roundings of relative size u = 2^-24 in a sum of products change it by at most n u times the sum of
//! the products' magnitudes (to first order; see Higham, Accuracy and Stability of Numerical Algorithms, section
//! 3.1), and the sum of |l(d) r(d)| is at most |l| |r| (Cauchy and Schwarz).

use attnc_algebra::{AxisId, AxisSet, BinaryOp, DType, NaryOp, Node, ReduceOp, TermId, Terms, Type, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId, View};

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// More monomials than this are not worth a product each.
const MOST_MONOMIALS: usize = 8;

/// Multiplications for each row from which on a product is worth its preparation.
const WORTH_A_PRODUCT: i64 = 256;

/// Half a unit in the last place of an f32 near 1, and of an f64.
const ROUNDING: f64 = 1.0 / 16_777_216.0;
const DOUBLE_ROUNDING: f64 = ROUNDING * ROUNDING / 32.0;

/// Above any sum of squares of f32 values that underflow, over a short axis.
const TINY: f64 = 1e-30;

/// Magnitudes up to which no f32 product or sum overflows.
const LARGE: f64 = 1e30;

/// A constant times a product of factors where all guards hold, else 0; summed over `over` if there is one.
#[derive(Clone)]
struct Monomial {
    coefficient: f64,
    /// In ascending order.
    factors: Vec<TermId>,
    /// In ascending order.
    guards: Vec<TermId>,
    over: Option<AxisId>,
}

impl Monomial {
    fn constant(coefficient: f64) -> Self {
        Self { coefficient, factors: Vec::new(), guards: Vec::new(), over: None }
    }

    fn guard(guard: TermId) -> Self {
        Self { guards: vec![guard], ..Self::constant(1.0) }
    }

    /// The product of both inside a sum over `inside`, or outside of sums; `None` if it is no monomial.
    fn times(&self, other: &Self, inside: Option<AxisId>, terms: &Terms) -> Option<Self> {
        let sums = [(self, other.over), (other, self.over)];
        let over = match (self.over, other.over) {
            (Some(_), Some(_)) if inside.is_none() => return None,
            (a, b) => a.or(b),
        };
        // What goes into a sum from outside must not speak of another axis of that name.
        let parts = |m: &Self| m.factors.iter().chain(&m.guards).copied().collect::<Vec<TermId>>();
        let caught = |(m, axis): &(&Self, Option<AxisId>)| {
            axis.is_some_and(|a| m.over.is_none() && parts(m).iter().any(|t| terms.free(*t).contains(a)))
        };
        if inside.is_none() && sums.iter().any(caught) {
            return None;
        }
        let coefficient = self.coefficient * other.coefficient;
        let mut product = Self { coefficient, over, ..self.clone() };
        product.factors.extend(&other.factors);
        product.factors.sort();
        product.guards.extend(&other.guards);
        product.guards.sort();
        product.guards.dedup();
        coefficient.is_finite().then_some(product)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.factors == other.factors && self.guards == other.guards && self.over == other.over
    }
}

/// `lhs(rows, over) * rhs(over, cols)`, summed.
struct Split {
    lhs: TermId,
    rhs: TermId,
    over: AxisId,
}

/// A score as a sum.
#[derive(Default)]
struct Score {
    products: Vec<Split>,
    /// Without the rows.
    columns: Vec<Monomial>,
    /// Without the columns: it moves no largest score, but counts among the magnitudes.
    rows: Vec<Monomial>,
    /// Factors of the longest monomial.
    longest: usize,
}

impl Nest<'_, '_> {
    /// Lowers argmax and argmin of a frame without columns; `None` if the scores are of another kind.
    pub fn lower_clear_arg(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let (Some(rows), None) = (frame.rows, frame.cols) else { return Ok(None) };
        let tiled = matches!(self.binding(rows), Binding::Tile(_));
        if self.program.compute != Lane::F32 || !tiled || !self.is_mask_of_pairs(r.domain) {
            return Ok(None);
        }
        let Some(score) = self.score(r, rows) else { return Ok(None) };
        let result = self.frame_tile("r", Lane::I64, frame);
        self.with_whole(r.axis, |nest| {
            let slack = nest.slack(&score, r.axis, frame)?;
            let scores = nest.approximate_scores(&score, Frame::new(frame.rows, Some(r.axis)))?;
            let both = Frame::new(frame.rows, Some(r.axis));
            if !nest.is_true(r.domain) {
                // What is left out is never the largest, and leaves a row open that has nothing else.
                let always = nest.x().truth(true);
                nest.mask_tile(scores, r.domain, both, always, f64::NEG_INFINITY)?;
            }
            let (rows, cols) = nest.counts(both);
            nest.emit(Stmt::ClearLargest { dst: result, scores, slack, rows, cols });
            Ok(())
        })?;
        self.decide_exactly(r, rows, result)?;
        Ok(Some(self.element(result, frame)))
    }

    /// Whether a domain can mask a tile of scores: it is a conjunction of which no part is settled unasked, and it
    /// reduces nothing.
    fn is_mask_of_pairs(&self, domain: TermId) -> bool {
        let parts = self.planner.terms.conditions(domain);
        self.is_true(domain) || !self.planner.has_reduction(domain) && !parts.iter().any(|part| self.is_settled(*part))
    }

    /// The rows that were left open, each by the definition.
    fn decide_exactly(&mut self, r: Reduction, rows: AxisId, result: TileId) -> Result<(), PlanError> {
        let dim = self.dim(rows);
        let (var, row) = self.var(Lane::I64);
        let body = self.inner(None, |nest| {
            let (zero, one, step) = (nest.x().int(0), nest.x().int(1), nest.x().int(dim.step));
            let far = nest.x().times(row, step);
            let at = nest.x().sum(dim.base, far);
            let otherwise = nest.inner(Some((rows, Binding::Fixed(at))), |nest| {
                let value = nest.lower_row_reduce(r, Frame::default(), true)?;
                nest.emit(Stmt::Map { dst: Dst::Tile { tile: result, row, col: zero }, rows: one, cols: one, value });
                Ok(())
            })?;
            let found = nest.x().add(crate::loops::expr::Expr::Tile { tile: result, row, col: zero }, Some(Lane::I64));
            let clear = nest.x().binary(BinaryOp::Le, zero, found);
            nest.emit(Stmt::If { cond: clear, then: Vec::new(), otherwise });
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        Ok(())
    }

    /// The scores in f32, without what is the same along a row; those of an argmin negated.
    fn approximate_scores(&mut self, score: &Score, frame: Frame) -> Result<TileId, PlanError> {
        let acc = self.frame_tile("acc", Lane::F32, frame);
        for (at, split) in score.products.iter().enumerate() {
            self.with_whole(split.over, |nest| {
                let (left, right) =
                    (Frame::new(frame.rows, Some(split.over)), Frame::new(Some(split.over), frame.cols));
                let lhs = match nest.rounded_if_far(split.lhs, left)? {
                    Some(view) => view,
                    None => nest.lhs_view(split.lhs, left)?,
                };
                let rhs = match nest.rounded_if_far(split.rhs, right)? {
                    Some(view) => view,
                    None => nest.rhs_view(split.rhs, right)?,
                };
                let (rows, cols) = nest.counts(frame);
                let (dst, depth) = (nest.tile_view(acc), nest.dim(split.over).count);
                nest.emit(Stmt::product(dst, lhs, rhs, [rows, cols, depth], at > 0));
                Ok(())
            })?;
        }
        let columns: Vec<TermId> = score.columns.clone().into_iter().map(|m| self.summed(m, false)).collect();
        if !columns.is_empty() {
            let columns = self.total(columns);
            let tile = self.rounded(columns, Frame::new(None, frame.cols))?;
            let (old, more) = (self.element(acc, frame), self.element(tile, Frame::new(None, frame.cols)));
            let value = self.x().sum(old, more);
            self.map(acc, frame, value);
        }
        Ok(acc)
    }

    /// An operand whose own f32 value would be off by more than its roundings, as a tile of rounded f64 values.
    fn rounded_if_far(&mut self, term: TermId, frame: Frame) -> Result<Option<View>, PlanError> {
        if self.is_near(term) {
            return Ok(None);
        }
        let tile = self.rounded(term, frame)?;
        Ok(Some(self.tile_view(tile)))
    }

    /// A term evaluated in f64, once for all tasks, and rounded to f32, in the scope of its own axes.
    fn rounded(&mut self, term: TermId, frame: Frame) -> Result<TileId, PlanError> {
        let depth = self.depth_of(term);
        let own = [frame.rows, frame.cols];
        let free = self.planner.terms.free(term).clone();
        let held = |a: &AxisId| own.contains(&Some(*a));
        let lead: Vec<AxisId> = free.iter().filter(|a| !held(a)).collect();
        let fixed = lead.iter().all(|a| matches!(self.binding(*a), Binding::Fixed(_)));
        let whole = own.iter().flatten().all(|a| free.contains(*a));
        let once = fixed && whole && self.repeats(term) > 1.0 && self.may_materialise(term);
        self.at(depth, |nest| {
            let value = if once {
                let axes: Vec<AxisId> = lead.into_iter().chain(own.into_iter().flatten()).collect();
                let (buffer, axes) = nest.planner.materialise_plain(term, &axes, true)?;
                nest.load_plain(buffer, &axes, frame)?
            } else {
                nest.eval(term, frame, true)?
            };
            let value = nest.x().cast(Lane::F32, value);
            Ok(nest.as_tile("x", value, frame))
        })
    }

    /// By how much the largest score of a row must lead to be the largest by the definition too: a tile of one
    /// column, infinite where a magnitude is too large for f32.
    fn slack(&mut self, score: &Score, cols: AxisId, frame: Frame) -> Result<TileId, PlanError> {
        let mut magnitudes = Vec::new();
        for split in &score.products {
            let tiny = self.planner.terms.real(TINY);
            let everywhere = self.planner.terms.truth(true);
            let terms = &mut self.planner.terms;
            let [left, right] = [split.lhs, split.rhs].map(|x| {
                let square = terms.nary(NaryOp::Mul, vec![x, x]);
                let sum = terms.reduce(ReduceOp::Sum, split.over, everywhere, square);
                let some = terms.nary(NaryOp::Add, vec![sum, tiny]);
                terms.unary(UnaryOp::Sqrt, some)
            });
            let right = terms.reduce(ReduceOp::Max, cols, everywhere, right);
            magnitudes.push(terms.nary(NaryOp::Mul, vec![left, right]));
        }
        let columns: Vec<TermId> = score.columns.clone().into_iter().map(|m| self.summed(m, true)).collect();
        if !columns.is_empty() {
            let sum = self.total(columns);
            let everywhere = self.planner.terms.truth(true);
            magnitudes.push(self.planner.terms.reduce(ReduceOp::Max, cols, everywhere, sum));
        }
        let rows: Vec<TermId> = score.rows.clone().into_iter().map(|m| self.summed(m, true)).collect();
        let magnitude = self.total(magnitudes);
        let all = self.total([vec![magnitude], rows].concat());
        let roundings = self.roundings(score);
        let terms = &mut self.planner.terms;
        // The magnitudes are themselves rounded, and two scores err: a little more than twice.
        let (single, double, tiny) = (terms.real(2.1 * ROUNDING), terms.real(4.0 * DOUBLE_ROUNDING), terms.real(TINY));
        let single = terms.nary(NaryOp::Mul, vec![single, roundings, magnitude]);
        let double = terms.nary(NaryOp::Mul, vec![double, roundings, all]);
        let slack = terms.nary(NaryOp::Add, vec![single, double, tiny]);
        // Not `all <= LARGE`: a comparison decides, and would be made in f64.
        let large = terms.real(LARGE);
        let slack = self.eval(slack, frame, false)?;
        let (all, large) = (self.eval(all, frame, false)?, self.eval(large, frame, false)?);
        let fits = self.x().binary(BinaryOp::Le, all, large);
        let infinite = self.x().real(Lane::F32, f64::INFINITY);
        let slack = self.choose(fits, slack, infinite);
        let tile = self.frame_tile("slack", Lane::F32, frame);
        self.map(tile, frame, slack);
        Ok(tile)
    }

    /// How many roundings an f32 score takes part in, at most, as a real without data.
    fn roundings(&mut self, score: &Score) -> TermId {
        let axes: Vec<AxisId> = score.products.iter().map(|s| s.over).collect();
        // An element of a chain is multiplied and added; a factor is rounded and multiplied.
        let own = self.planner.terms.int(8 + 2 * score.longest as i64 + 2 * score.products.len() as i64);
        let mut parts = vec![own];
        for axis in axes {
            let extent = self.planner.spec.axis(axis).extent;
            parts.extend([extent, extent]);
        }
        let count = self.planner.terms.nary(NaryOp::Add, parts);
        self.planner.terms.unary(UnaryOp::ToReal, count)
    }

    /// Whether an f32 value of the term differs from its f64 value by one rounding per factor at most.
    fn is_near(&mut self, term: TermId) -> bool {
        match self.planner.terms.node(term).clone() {
            Node::Input { input, .. } => {
                matches!(self.planner.spec.input(input).dtype, DType::F32 | DType::F16 | DType::Bf16)
            }
            Node::Nary(NaryOp::Mul, xs) => xs.into_iter().all(|x| self.is_near(x)),
            Node::Unary(UnaryOp::Neg, x) => self.is_near(x),
            Node::Select(_, a, b) => self.is_near(a) && self.is_near(b),
            _ => self.planner.is_data_free(term),
        }
    }

    /// The value of a monomial, or the sum of its magnitudes.
    fn summed(&mut self, monomial: Monomial, magnitude: bool) -> TermId {
        let Monomial { coefficient, factors, guards, over } = monomial;
        let product = self.side(coefficient, factors, guards);
        let terms = &mut self.planner.terms;
        let product = if magnitude { terms.unary(UnaryOp::Abs, product) } else { product };
        let Some(axis) = over else { return product };
        let everywhere = terms.truth(true);
        terms.reduce(ReduceOp::Sum, axis, everywhere, product)
    }

    fn total(&mut self, mut parts: Vec<TermId>) -> TermId {
        match parts.len() {
            0 => self.planner.terms.real(0.0),
            1 => parts.remove(0),
            _ => self.planner.terms.nary(NaryOp::Add, parts),
        }
    }

    /// The product of a constant and factors where the guards hold, else 0.
    fn side(&mut self, coefficient: f64, mut factors: Vec<TermId>, mut guards: Vec<TermId>) -> TermId {
        if coefficient != 1.0 {
            factors.push(self.planner.terms.real(coefficient));
        }
        let product = self.planner.product(factors);
        let terms = &mut self.planner.terms;
        let guard = match guards.len() {
            0 => return product,
            1 => guards.remove(0),
            _ => terms.nary(NaryOp::And, guards),
        };
        let zero = terms.real(0.0);
        terms.add(Node::Select(guard, product, zero))
    }

    /// The body of a search as a sum of products that split over `rows` and the searched axis, negated for an
    /// argmin. `None` if it is no such sum, or none of its products is worth a tile product.
    fn score(&mut self, r: Reduction, rows: AxisId) -> Option<Score> {
        if self.planner.terms.ty(r.body) != Type::Real {
            return None;
        }
        let mut monomials = self.monomials(r.body, None, [rows, r.axis])?;
        if r.op == ReduceOp::ArgMin {
            monomials.iter_mut().for_each(|m| m.coefficient = -m.coefficient);
        }
        let mut score = Score::default();
        for monomial in monomials {
            score.longest = score.longest.max(monomial.factors.len() + 1);
            let axes = self.axes(&monomial);
            match (axes.contains(rows), axes.contains(r.axis), monomial.over) {
                (true, true, Some(over)) => score.products.push(self.sides(monomial, r.axis, over)),
                (true, true, None) => return None,
                (_, false, _) => score.rows.push(monomial),
                (false, true, _) => score.columns.push(monomial),
            }
        }
        let products: i64 = score.products.iter().map(|s| self.planner.hint_extent(s.over)).sum();
        let worth = products.saturating_mul(self.planner.hint_extent(r.axis)) >= WORTH_A_PRODUCT;
        (worth && score.products.len() <= MOST_MONOMIALS).then_some(score)
    }

    fn axes(&self, monomial: &Monomial) -> AxisSet {
        let parts = monomial.factors.iter().chain(&monomial.guards);
        parts.fold(AxisSet::new(), |axes, part| axes.union(self.planner.terms.free(*part)))
    }

    /// The sides of a product; what belongs to neither goes to the left.
    fn sides(&mut self, monomial: Monomial, cols: AxisId, over: AxisId) -> Split {
        let terms = &self.planner.terms;
        let right = |t: &TermId| terms.free(*t).contains(cols);
        let (rhs, lhs): (Vec<TermId>, Vec<TermId>) = monomial.factors.into_iter().partition(right);
        let (rhs_guards, lhs_guards): (Vec<TermId>, Vec<TermId>) = monomial.guards.into_iter().partition(right);
        let lhs = self.side(monomial.coefficient, lhs, lhs_guards);
        Split { lhs, rhs: self.side(1.0, rhs, rhs_guards), over }
    }

    /// The monomials of a term inside a sum over `inside`, none of whose factors has both axes of `sides`; `None` if
    /// it is no such sum.
    fn monomials(&mut self, term: TermId, inside: Option<AxisId>, sides: [AxisId; 2]) -> Option<Vec<Monomial>> {
        let mixed = |nest: &Self, t: TermId| sides.iter().all(|a| nest.planner.terms.free(t).contains(*a));
        let found = match self.planner.terms.node(term).clone() {
            Node::Real(v) => vec![Monomial { over: inside, ..Monomial::constant(v.get()) }],
            Node::Unary(UnaryOp::Neg, x) => {
                let negated = self.monomials(x, inside, sides)?;
                self.expanded(&negated, &[Monomial::constant(-1.0)], inside)?
            }
            _ if !mixed(self, term) => vec![Monomial { factors: vec![term], over: inside, ..Monomial::constant(1.0) }],
            Node::Nary(NaryOp::Add, xs) => {
                let mut sum = Vec::new();
                for x in xs {
                    add(&mut sum, self.monomials(x, inside, sides)?);
                }
                sum
            }
            Node::Nary(NaryOp::Mul, xs) => {
                let mut product = vec![Monomial { over: inside, ..Monomial::constant(1.0) }];
                for x in xs {
                    let more = self.monomials(x, inside, sides)?;
                    product = self.expanded(&product, &more, inside)?;
                }
                product
            }
            Node::Binary(BinaryOp::Div, x, y) if !mixed(self, y) => {
                let one = self.planner.terms.real(1.0);
                let inverse = self.planner.terms.binary(BinaryOp::Div, one, y);
                let inverse = self.monomials(inverse, inside, sides)?;
                let divided = self.monomials(x, inside, sides)?;
                self.expanded(&divided, &inverse, inside)?
            }
            Node::Binary(BinaryOp::Pow, x, y) if self.is_two(y) => {
                let root = self.monomials(x, inside, sides)?;
                self.expanded(&root, &root, inside)?
            }
            Node::Select(guard, then, otherwise) if !mixed(self, guard) => {
                let not = self.planner.terms.unary(UnaryOp::Not, guard);
                let mut sum = Vec::new();
                for (guard, branch) in [(guard, then), (not, otherwise)] {
                    let branch = self.monomials(branch, inside, sides)?;
                    add(&mut sum, self.expanded(&branch, &[Monomial::guard(guard)], inside)?);
                }
                sum
            }
            Node::Reduce { op: ReduceOp::Sum, axis, domain, body }
                if inside.is_none() && self.is_true(domain) && self.planner.is_short(axis) =>
            {
                self.monomials(body, Some(axis), sides)?
            }
            _ => return None,
        };
        (found.len() <= 2 * MOST_MONOMIALS).then_some(found)
    }

    /// The product of two sums.
    fn expanded(&self, xs: &[Monomial], ys: &[Monomial], inside: Option<AxisId>) -> Option<Vec<Monomial>> {
        let mut sum = Vec::new();
        for x in xs {
            for y in ys {
                add(&mut sum, vec![x.times(y, inside, &self.planner.terms)?]);
            }
        }
        Some(sum)
    }

    fn is_two(&self, term: TermId) -> bool {
        match self.planner.terms.node(term) {
            Node::Real(v) => v.get() == 2.0,
            Node::Unary(UnaryOp::ToReal, x) => matches!(self.planner.terms.node(*x), Node::Int(2)),
            _ => false,
        }
    }
}

/// Adds monomials to a sum.
fn add(sum: &mut Vec<Monomial>, more: Vec<Monomial>) {
    for monomial in more {
        match sum.iter_mut().find(|m| m.is_like(&monomial)) {
            Some(like) => like.coefficient += monomial.coefficient,
            None => sum.push(monomial),
        }
    }
}
