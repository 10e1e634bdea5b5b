//! Comparisons of integers that are affine in the column, as thresholds: one
//! instruction on 32-bit lanes instead of 64-bit arithmetic.

use attnc_plan::loops::Lane;

use super::{Binary, Graph, Id, Op, Relation, Unary};

impl Graph {
    /// A comparison; of integers affine in the column, as thresholds.
    pub(super) fn comparison(&mut self, op: Binary, x: Id, y: Id) -> Id {
        if self.lane(x) != Lane::I64 || !(self.node(x).col || self.node(y).col) {
            return self.two(op, x, y);
        }
        if let (Some(k), Some(l)) = (self.node(x).slope, self.node(y).slope) {
            return self.affine_comparison(op, k.checked_sub(l), x, y);
        }
        let split = if matches!(op, Binary::Lt | Binary::Le) { self.split_comparison(op, x, y) } else { None };
        split
            .or_else(|| self.column_mod(op, x, y))
            .or_else(|| self.column_mod(op, y, x))
            .unwrap_or_else(|| self.two(op, x, y))
    }

    /// `|a| <= y` is `a <= y and -a <= y`, `x <= min(a, b)` is `x <= a and x <= b`,
    /// and so on, where the parts are affine.
    fn split_comparison(&mut self, op: Binary, x: Id, y: Id) -> Option<Id> {
        let (left, right) = (self.node(x).op.clone(), self.node(y).op.clone());
        let affine = |graph: &Self, ids: &[Id]| ids.iter().all(|id| graph.node(*id).slope.is_some());
        let (pairs, join) = match (left, right) {
            (Op::Unary(Unary::Abs, a), _) if affine(self, &[a, y]) => {
                let minus = self.one(Unary::Neg, a);
                ([(a, y), (minus, y)], Binary::And)
            }
            (_, Op::Unary(Unary::Abs, b)) if affine(self, &[x, b]) => {
                let minus = self.one(Unary::Neg, b);
                ([(x, b), (x, minus)], Binary::Or)
            }
            (Op::Binary(side @ (Binary::Max | Binary::Min), a, b), _) if affine(self, &[a, b, y]) => {
                ([(a, y), (b, y)], if side == Binary::Max { Binary::And } else { Binary::Or })
            }
            (_, Op::Binary(side @ (Binary::Max | Binary::Min), a, b)) if affine(self, &[a, b, x]) => {
                ([(x, a), (x, b)], if side == Binary::Max { Binary::Or } else { Binary::And })
            }
            _ => return None,
        };
        let [first, second] = pairs.map(|(x, y)| self.comparison(op, x, y));
        Some(self.two(join, first, second))
    }

    /// `(affine) mod 2^k == scalar`, which 32-bit lanes decide.
    fn column_mod(&mut self, op: Binary, x: Id, y: Id) -> Option<Id> {
        let (Binary::Eq | Binary::Ne, Op::Binary(Binary::Mod, a, m)) = (op, &self.node(x).op) else { return None };
        let (a, m) = (*a, *m);
        let modulus = self.as_int(m).filter(|m| *m > 0 && *m <= 1 << 30 && m.count_ones() == 1)?;
        let slope = self.node(a).slope.filter(|k| i32::try_from(*k).is_ok() && !self.node(y).col)?;
        let zero = self.at_zero(a);
        // A remainder lies in 0..modulus, so this clamp changes no answer.
        let (low, high) = (self.int(-1), self.int(modulus));
        let is = self.two(Binary::Max, y, low);
        let is = self.two(Binary::Min, is, high);
        Some(self.add(Op::ColumnModIs { zero, slope, modulus, is, negated: op == Binary::Ne }, Lane::Bool))
    }

    /// A comparison of affine integers whose difference has slope 1 or -1 is a
    /// threshold on the column.
    fn affine_comparison(&mut self, op: Binary, difference: Option<i64>, x: Id, y: Id) -> Id {
        let Some(slope @ -1..=1) = difference else { return self.two(op, x, y) };
        let (left, right) = (self.at_zero(x), self.at_zero(y));
        let relation = match (op, slope) {
            (_, 0) => return self.two(op, left, right),
            (Binary::Eq, _) => Relation::Equal,
            (Binary::Ne, _) => Relation::Unequal,
            (Binary::Lt, 1) => Relation::Below,
            (Binary::Lt, _) => Relation::Above,
            (_, 1) => Relation::AtMost,
            _ => Relation::AtLeast,
        };
        let threshold =
            if slope == 1 { self.two(Binary::Sub, right, left) } else { self.two(Binary::Sub, left, right) };
        // Columns lie in 0..2^31 - 1, so these clamps change no answer.
        let (low, high) = (self.int(-1), self.int(i64::from(i32::MAX)));
        let threshold = self.two(Binary::Max, threshold, low);
        let threshold = self.two(Binary::Min, threshold, high);
        self.add(Op::ColumnIs(relation, threshold), Lane::Bool)
    }
}
