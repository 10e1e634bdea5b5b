//! Log-sum-exps of sums as attention over exponentials.
//!
//! `logsumexp[x](L(rows, x) + R(x, cols))` is `m + n + log(sum[x](exp(L - m) exp(R - n)))` with the largest L of each row and
//! the largest R of each column: a product of tiles, with one exponential for each pair of a row and an x. The two need
//! not have their largest at the same x. Where a sum is so small that what was rounded to 0 may count beside it, the row
//! is computed by the definition.

use attnc_algebra::{NaryOp, ReduceOp, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId};
use crate::loops::{Dst, Stmt, TileId};

use super::attend::Attending;
use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// Columns from which on a product is less work than an exponential for each of them.
const COLUMNS: i64 = 4;

/// Exponentials of less are taken for this one's, which no sum beside [`LEAST_SUM`] has digits for, and which is not so
/// small that products with it are subnormal.
const LEAST_EXPONENT: f64 = -80.0;

/// Weights below 2^-100 of the largest are 0: of a million of them, f32 has no digit beside 2^-50.
const LEAST_SUM: f64 = 1.0 / (1_u64 << 50) as f64;

impl Nest<'_, '_> {
    /// Lowers such a log-sum-exp; `None` if it is not of this form.
    pub fn lower_lse_plus(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let many = frame.cols.is_some_and(|cols| self.planner.hint_extent(cols) >= COLUMNS);
        let tiled = frame.rows.is_some_and(|rows| matches!(self.binding(rows), Binding::Tile(_)));
        if r.op != ReduceOp::LogSumExp || !many || !tiled || self.lane(r.body, false) != self.program.compute {
            return Ok(None);
        }
        let Some(split) = self.split_sum(r, frame) else { return Ok(None) };
        let terms = &mut self.planner.terms;
        let everywhere = terms.truth(true);
        let top = terms.reduce(ReduceOp::Max, r.axis, everywhere, split.rhs);
        let minus = terms.unary(UnaryOp::Neg, top);
        let below = terms.nary(NaryOp::Add, vec![split.rhs, minus]);
        let least = terms.real(LEAST_EXPONENT);
        let below = terms.nary(NaryOp::Max, vec![below, least]);
        let value = terms.unary(UnaryOp::Exp, below);
        let of_cols = Frame::new(None, frame.cols);
        let top = self.eval(top, of_cols, false)?;
        let (online, acc) = self.attend_start(frame);
        let (axis, domain, score) = (r.axis, r.domain, split.lhs);
        self.attend_tiles(Attending { axis, domain, score, value, frame, online: &online, acc })?;
        let (sum, max) = (self.element(acc, frame), self.element(online.max, online.rows));
        let least = self.frame_tile("least", self.program.compute, online.rows);
        let (rows, cols) = self.counts(frame);
        let op = ReduceOp::Min;
        self.emit(Stmt::RowReduce { dst: least, op, rows, cols, domain: None, value: sum, accumulate: false });
        let log = self.x().unary(UnaryOp::Log, sum);
        let of_both = self.x().sum(log, top);
        let value = self.x().sum(max, of_both);
        self.map(acc, frame, value);
        self.small_sums_again(r, frame, (acc, least))?;
        Ok(Some(self.element(acc, frame)))
    }

    /// The rows with a small sum, each by the definition.
    fn small_sums_again(
        &mut self,
        r: Reduction,
        frame: Frame,
        (result, least): (TileId, TileId),
    ) -> Result<(), PlanError> {
        let (Some(rows), lane) = (frame.rows, self.program.compute) else { return Ok(()) };
        let dim = self.dim(rows);
        let (var, row) = self.var(crate::loops::expr::Lane::I64);
        let body = self.inner(None, |nest| {
            let step = nest.x().int(dim.step);
            let far = nest.x().times(row, step);
            let at = nest.x().sum(dim.base, far);
            let otherwise = nest.inner(Some((rows, Binding::Fixed(at))), |nest| {
                // The columns are the rows of its tiles.
                let down = Frame::new(frame.cols, None);
                let value = nest.lower_logsumexp(r, down)?;
                let tile = nest.as_tile("again", value, down);
                let of_cols = Frame::new(None, frame.cols);
                let (zero, col) = nest.lane_index(of_cols);
                let value = nest.x().add(Expr::Tile { tile, row: col, col: zero }, Some(lane));
                let (rows, cols) = nest.counts(of_cols);
                nest.emit(Stmt::Map { dst: Dst::Tile { tile: result, row, col }, rows, cols, value });
                Ok(())
            })?;
            let zero = nest.x().int(0);
            let found = nest.x().add(Expr::Tile { tile: least, row, col: zero }, Some(lane));
            let bound = nest.constant(LEAST_SUM);
            let cond = nest.x().binary(attnc_algebra::BinaryOp::Le, bound, found);
            nest.emit(Stmt::If { cond, then: Vec::new(), otherwise });
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        Ok(())
    }
}
