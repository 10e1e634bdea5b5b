//! What steers a loop program: the variables on which it depends what its statements do. It knows nothing of costs; the
//! estimate follows more iterations of a loop where they differ.

use std::collections::BTreeSet;

use crate::loops::expr::{Expr, ExprId};
use crate::loops::{LoopProgram, Stmt, VarId};

impl LoopProgram {
    /// The variables on which it depends what the statements do: bounds, counts and conditions.
    pub(super) fn steering(&self, body: &[Stmt]) -> BTreeSet<VarId> {
        let mut steering = BTreeSet::new();
        let mut lets = Vec::new();
        self.steer(body, &mut steering, &mut lets);
        // Later scalars may use earlier ones.
        for (var, value) in lets.into_iter().rev() {
            if steering.contains(&var) {
                steering.extend(self.vars_of(value));
            }
        }
        steering
    }

    fn steer(&self, body: &[Stmt], steering: &mut BTreeSet<VarId>, lets: &mut Vec<(VarId, ExprId)>) {
        for stmt in body {
            match stmt {
                Stmt::Let { var, value } => lets.push((*var, *value)),
                Stmt::For { from, to, body, .. } => {
                    steering.extend([*from, *to].into_iter().flat_map(|e| self.vars_of(e)));
                    self.steer(body, steering, lets);
                }
                Stmt::Spans(spans) => {
                    for piece in &spans.pieces {
                        let counts = piece.repeat.map(|(_, count)| count);
                        let all = [piece.guard, piece.from, piece.to].into_iter().chain(counts);
                        steering.extend(all.flat_map(|e| self.vars_of(e)));
                    }
                    self.steer(&spans.body, steering, lets);
                }
                Stmt::If { cond, then, otherwise } => {
                    steering.extend(self.vars_of(*cond));
                    self.steer(then, steering, lets);
                    self.steer(otherwise, steering, lets);
                }
                Stmt::Map { rows, cols, .. }
                | Stmt::RowReduce { rows, cols, .. }
                | Stmt::SoftmaxUpdate { rows, cols, .. }
                | Stmt::ScaleRows { rows, cols, .. }
                | Stmt::Flush { rows, cols, .. }
                | Stmt::Ranks { rows, cols, .. }
                | Stmt::KeepSpans { rows, cols, .. }
                | Stmt::KeepKeys { rows, cols, .. }
                | Stmt::NarrowSpans { rows, cols, .. }
                | Stmt::DropUnweighted { rows, cols, .. }
                | Stmt::ScatterAdd { rows, cols, .. }
                | Stmt::Pack { rows, cols, .. }
                | Stmt::List { rows, cols, .. }
                | Stmt::ClearLargest { rows, cols, .. } => {
                    steering.extend([*rows, *cols].into_iter().flat_map(|e| self.vars_of(e)));
                }
                Stmt::Product { rows, cols, depth, .. }
                | Stmt::Dots { rows, cols, depth, .. }
                | Stmt::DotsListed { rows, cols, depth, .. }
                | Stmt::SumListed { rows, cols, depth, .. }
                | Stmt::MaxPlus { rows, cols, depth, .. }
                | Stmt::ProductTanh { rows, cols, depth, .. } => {
                    steering.extend([*rows, *cols, *depth].into_iter().flat_map(|e| self.vars_of(e)));
                }
                Stmt::Order { count, .. } => steering.extend(self.vars_of(*count)),
            }
        }
    }

    fn vars_of(&self, root: ExprId) -> Vec<VarId> {
        let var = |id: ExprId| if let Expr::Var(v) = self.exprs.get(id) { Some(*v) } else { None };
        self.exprs.under(&[root]).into_iter().filter_map(var).collect()
    }
}
