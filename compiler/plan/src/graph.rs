//! A plan: the DAG of stages and the buffers between them.
//!
//! Owns the planned form of one spec; what a stage does is its
//! [`LoopProgram`]. The engine allocates the buffers and runs the stages in
//! the order of [`Plan::order`].

use std::cmp::Reverse;
use std::collections::BTreeSet;

use attnc_algebra::DType;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::loops::{ExprId, Exprs, LoopProgram};

/// Index into [`Plan::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlanBufferId(pub u32);

/// What a buffer of a plan is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Input number .0 of the spec.
    Input(u32),
    /// Output number .0 of the spec.
    Output(u32),
    /// Made and consumed inside the plan; contiguous, row-major.
    Intermediate,
}

/// A tensor that stages read or write.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanBuffer {
    /// Name for printing.
    pub name: String,
    /// Storage type.
    pub dtype: DType,
    /// Extent of each dimension, in [`Plan::shapes`].
    pub shape: Vec<ExprId>,
    /// What it is.
    pub role: Role,
    /// Mean run length of a non-decreasing table, in [`Plan::shapes`]: declared, or guessed for sorted keys.
    pub runs: Option<ExprId>,
}

/// The kind of a stage, for reports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StageKind {
    /// Online softmax over keys.
    Attend,
    /// Chunked or recurrent prefix over the rows.
    Scan,
    /// Tile products.
    Contract,
    /// Pointwise work and row reductions only.
    MapReduce,
    /// A copy into a layout that a microkernel reads.
    Pack,
    /// A stable sort of positions by an integer key, or a gather along one.
    Bucket,
}

impl StageKind {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attend => "attend",
            Self::Scan => "scan",
            Self::Contract => "contract",
            Self::MapReduce => "map-reduce",
            Self::Pack => "pack",
            Self::Bucket => "bucket",
        }
    }
}

/// One fused kernel of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Stage {
    /// What it does.
    pub kind: StageKind,
    /// Its loop nest.
    pub program: LoopProgram,
    /// The plan buffer behind each buffer of the program.
    pub args: Vec<PlanBufferId>,
}

/// Stages and buffers that together compute all outputs of a spec.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The DAG: an edge carries the buffer that its target reads from its source.
    pub graph: DiGraph<Stage, PlanBufferId>,
    /// All buffers.
    pub buffers: Vec<PlanBuffer>,
    /// Arena of the buffers' extents: launch-time integers only.
    pub shapes: Exprs,
}

impl Plan {
    /// The stages in an order that runs producers before consumers.
    pub fn order(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.graph.node_indices()
    }

    /// The plan with its stages in an order that does not depend on the order of operands: before each stage its
    /// producers, those that need most stages first, of equals those whose stages write most at these extents. What a
    /// deep chain needs is then free again when a short one begins.
    pub(crate) fn scheduled(mut self, extents: &[i64]) -> Self {
        let elements = |buffer: &PlanBufferId| {
            self.shape(*buffer, extents).map_or(f64::INFINITY, |shape| shape.iter().map(|e| *e as f64).product())
        };
        let count = self.graph.node_count();
        let mut below: Vec<BTreeSet<NodeIndex>> = vec![BTreeSet::new(); count];
        for node in self.graph.node_indices() {
            let producers: Vec<NodeIndex> = self.graph.neighbors_directed(node, petgraph::Incoming).collect();
            let mut all: BTreeSet<NodeIndex> = producers.iter().flat_map(|p| below[p.index()].clone()).collect();
            all.insert(node);
            below[node.index()] = all;
        }
        let written = |node: &NodeIndex| -> f64 {
            let out: BTreeSet<&PlanBufferId> = self.graph.edges(*node).map(|edge| edge.weight()).collect();
            out.into_iter().map(elements).sum()
        };
        let need: Vec<(Reverse<usize>, f64)> =
            below.iter().map(|all| (Reverse(all.len()), -all.iter().map(written).sum::<f64>())).collect();
        let mut order: Vec<NodeIndex> = Vec::new();
        let sinks = self.graph.externals(petgraph::Outgoing);
        let mut open: Vec<(NodeIndex, bool)> =
            sinks.collect::<Vec<_>>().into_iter().rev().map(|n| (n, false)).collect();
        let mut seen = BTreeSet::new();
        while let Some((node, ready)) = open.pop() {
            if ready {
                order.push(node);
                continue;
            }
            if !seen.insert(node) {
                continue;
            }
            open.push((node, true));
            let producers: BTreeSet<NodeIndex> = self.graph.neighbors_directed(node, petgraph::Incoming).collect();
            let mut producers: Vec<NodeIndex> = producers.into_iter().collect();
            producers.sort_by(|a, b| {
                let (a, b) = (need[a.index()], need[b.index()]);
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            open.extend(producers.into_iter().rev().map(|n| (n, false)));
        }
        let mut places = vec![NodeIndex::end(); count];
        let mut graph = DiGraph::new();
        for node in &order {
            places[node.index()] = graph.add_node(self.graph[*node].clone());
            let mut edges: Vec<_> = self.graph.edges_directed(*node, petgraph::Incoming).collect();
            edges.sort_by_key(|edge| edge.id());
            for edge in edges {
                graph.add_edge(places[edge.source().index()], places[node.index()], *edge.weight());
            }
        }
        self.graph = graph;
        self
    }

    /// The stages in running order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> + '_ {
        self.order().map(|n| &self.graph[n])
    }

    /// The first of each set of stages that do the same, and for every stage in running order which of these it is.
    pub fn distinct(&self) -> (Vec<&Stage>, Vec<usize>) {
        let mut distinct: Vec<&Stage> = Vec::new();
        let mut which = Vec::new();
        for stage in self.stages() {
            let known = distinct.iter().position(|other| other.program.does_the_same(&stage.program));
            which.push(known.unwrap_or(distinct.len()));
            if known.is_none() {
                distinct.push(stage);
            }
        }
        (distinct, which)
    }

    /// Extents of a buffer at the given values of the spec's extent symbols;
    /// `None` on overflow, or if one is not at least 1.
    pub fn shape(&self, buffer: PlanBufferId, extents: &[i64]) -> Option<Vec<i64>> {
        let extent = |e: &ExprId| self.shapes.eval_launch(*e, extents).filter(|extent| *extent >= 1);
        self.buffers[buffer.0 as usize].shape.iter().map(extent).collect()
    }
}
