//! Products by their parts.

use super::expr::ExprId;
use super::program::{Masked, Open, Stmt, View};

impl Stmt {
    /// A tile product of `[rows, cols, depth]`, nothing masked.
    pub fn product(dst: View, lhs: View, rhs: View, [rows, cols, depth]: [ExprId; 3], accumulate: bool) -> Self {
        Self::masked_product(dst, lhs, rhs, [rows, cols, depth], accumulate, None)
    }

    /// As [`Self::product`], with exact zeros of `lhs` masked.
    pub fn masked_product(
        dst: View,
        lhs: View,
        rhs: View,
        [rows, cols, depth]: [ExprId; 3],
        accumulate: bool,
        masked: Option<Masked>,
    ) -> Self {
        let (open, rounded, factor) = (Open::All, false, None);
        Self::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, rounded, factor }
    }

    /// A product of which only some elements are computed.
    #[must_use]
    pub fn of_open(mut self, some: Open) -> Self {
        if let Self::Product { open, .. } = &mut self {
            *open = some;
        }
        self
    }

    /// A product with pairs, multiplied by what there is.
    #[must_use]
    pub fn times(mut self, by: Option<ExprId>) -> Self {
        if let Self::Product { factor, .. } = &mut self {
            *factor = by;
        }
        self
    }

    /// As [`Self::product`], with terms that are rounded before they are added.
    pub fn rounded_product(dst: View, lhs: View, rhs: View, [rows, cols, depth]: [ExprId; 3]) -> Self {
        let mut product = Self::product(dst, lhs, rhs, [rows, cols, depth], false);
        if let Self::Product { rounded, .. } = &mut product {
            *rounded = true;
        }
        product
    }
}
