//! What of a statement's graph is needed as scalars and what as lanes.
//!
//! Everything free of the column, and everything affine in it, is needed as a
//! scalar only (at column 0); the rest lane by lane. Calls of f32 microkernels
//! on lanes split a row into *stages*: the arguments of stage p are written to
//! memory, the microkernels run over them, stage p + 1 reads the results.

use std::collections::BTreeSet;

use attnc_plan::loops::Lane;

use crate::graph::{Binary, Graph, Id, Op};

/// The demand of one statement.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Needed as scalars, operands first.
    pub zero: Vec<Id>,
    /// Needed as lanes, operands first.
    pub lanes: Vec<Id>,
    /// Scalars needed in every lane of a group.
    pub splats: BTreeSet<Id>,
    /// Scalars needed in every 32-bit lane, truncated: thresholds on the column.
    pub thresholds: BTreeSet<Id>,
    /// Stage in which a node's lanes can be computed, by id.
    stage: Vec<u32>,
    /// Number of stages before the last.
    pub stages: u32,
}

/// Whether a node is computed by a microkernel over a row.
pub(crate) fn is_staged(graph: &Graph, id: Id) -> bool {
    let node = graph.node(id);
    node.col && node.lane == Lane::F32 && matches!(node.op, Op::Call(..))
}

/// Instructions for four lanes of a node, roughly.
fn lane_code(graph: &Graph, id: Id) -> usize {
    let node = graph.node(id);
    let wide = if matches!(node.lane, Lane::F64 | Lane::I64) { 2 } else { 1 };
    if node.slope.is_some() {
        return wide;
    }
    let from = node.op.operands().first().map_or(node.lane, |x| graph.node(*x).lane);
    let affine = |x: &Id| graph.node(*x).slope.is_some();
    match &node.op {
        Op::Tile { row, col, .. } if affine(row) && affine(col) => wide,
        // The way for strides other than 1 is code too.
        Op::Load { index, .. } if index.iter().all(affine) => 3 * wide,
        Op::Tile { .. } | Op::Load { .. } | Op::LowerBound { .. } => 16,
        // In 32 bits and, elsewhere, in 64.
        Op::Cast(Lane::F32, x) if from == Lane::I64 && affine(x) => 4,
        Op::Cast(to, _) if (from == Lane::I64) != (*to == Lane::I64) => 12,
        Op::Call(..) if node.lane == Lane::F64 => 16,
        Op::Binary(Binary::FloorDiv | Binary::Mod | Binary::IntPow, ..) => 16,
        _ => wide,
    }
}

struct Marks<'g> {
    graph: &'g Graph,
    zero: BTreeSet<Id>,
    lanes: BTreeSet<Id>,
    out: Demand,
}

impl Marks<'_> {
    /// The value of every lane is needed.
    fn lanes(&mut self, id: Id) {
        if self.graph.node(id).col {
            self.lanes.insert(id);
        } else {
            self.zero.insert(id);
            self.out.splats.insert(id);
        }
    }

    /// An index: a scalar if affine.
    fn index(&mut self, id: Id) {
        if self.graph.node(id).slope.is_some() {
            self.zero.insert(id);
        } else {
            self.lanes.insert(id);
        }
    }

    fn lane_operands(&mut self, id: Id) {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            _ if node.slope.is_some() => _ = self.zero.insert(id),
            Op::Tile { .. } | Op::Load { .. } | Op::LowerBound { .. } => {
                node.op.operands().into_iter().for_each(|x| self.index(x));
            }
            Op::Cast(Lane::F32 | Lane::F64, x)
                if graph.node(*x).slope.is_some() && graph.node(*x).lane == Lane::I64 =>
            {
                self.zero.insert(*x);
            }
            Op::ColumnIs(_, x) => {
                self.zero.insert(*x);
                self.out.thresholds.insert(*x);
            }
            Op::ColumnModIs { zero, is, .. } => {
                self.zero.extend([*zero, *is]);
                self.out.thresholds.extend([*zero, *is]);
            }
            op => op.operands().into_iter().for_each(|x| self.lanes(x)),
        }
    }
}

impl Demand {
    /// The demand of `values`, needed in every lane, and of `indices`, needed
    /// as places.
    pub(crate) fn new(graph: &Graph, values: &[Id], indices: &[Id]) -> Self {
        let mut marks = Marks { graph, zero: BTreeSet::new(), lanes: BTreeSet::new(), out: Self::default() };
        values.iter().for_each(|id| marks.lanes(*id));
        indices.iter().for_each(|id| marks.index(*id));
        // Operands have smaller numbers, so users are met first.
        for number in (0..graph.len() as u32).rev() {
            let id = Id(number);
            if marks.lanes.contains(&id) {
                marks.lane_operands(id);
            }
            if marks.zero.contains(&id) {
                marks.zero.extend(graph.node(id).op.operands());
            }
        }
        let mut out = marks.out;
        out.zero = marks.zero.into_iter().collect();
        out.lanes = marks.lanes.into_iter().collect();
        out.number_stages(graph);
        out
    }

    /// Lanes of a full group: more, for fewer loop passes, where a lane costs
    /// little code.
    pub(crate) fn width(&self, graph: &Graph) -> usize {
        let code: usize = self.lanes.iter().map(|id| lane_code(graph, *id)).sum();
        match code {
            0..=6 => 16,
            7..=20 => 8,
            _ => 4,
        }
    }

    fn number_stages(&mut self, graph: &Graph) {
        self.stage = vec![0; graph.len()];
        for &id in &self.lanes {
            let ready = self.inputs(graph, id).into_iter().map(|x| self.stage[x.0 as usize]).max().unwrap_or(0);
            let stage = ready + u32::from(is_staged(graph, id));
            self.stage[id.0 as usize] = stage;
            self.stages = self.stages.max(stage);
        }
    }

    /// The operands whose lanes a node's lanes are computed from.
    fn inputs(&self, graph: &Graph, id: Id) -> Vec<Id> {
        let node = graph.node(id);
        if node.slope.is_some() {
            return Vec::new();
        }
        let operands = node.op.operands().into_iter();
        operands.filter(|x| self.lanes.binary_search(x).is_ok()).collect()
    }

    /// The microkernel calls between stage `stage` and the next.
    pub(crate) fn calls(&self, graph: &Graph, stage: u32) -> Vec<Id> {
        let staged = self.lanes.iter().copied().filter(|id| is_staged(graph, *id));
        staged.filter(|id| self.stage[id.0 as usize] == stage + 1).collect()
    }

    /// What is computed lane by lane for `roots`, in order, given the results
    /// of earlier calls.
    pub(crate) fn needed(&self, graph: &Graph, roots: &[Id]) -> Vec<Id> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<Id> = roots.iter().copied().filter(|id| graph.node(*id).col).collect();
        while let Some(id) = open.pop() {
            if self.lanes.binary_search(&id).is_ok() && reached.insert(id) && !is_staged(graph, id) {
                open.extend(self.inputs(graph, id));
            }
        }
        reached.into_iter().collect()
    }
}
