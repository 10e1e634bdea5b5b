//! Terms to stages: which sub-terms get a buffer of their own, and in which
//! order stages run.
//!
//! A stage is built by `lower`; while it is, it may ask for a
//! sub-term to be *materialised*, which builds that term's stage first.
//! Decisions read extents at a *hint* (the upper end of the plan row); they
//! change speed and memory, never meaning. Knows nothing of loop statements.

mod attends;
mod diagonals;
mod outputs;
mod powers;
pub(crate) mod quotients;
mod segments;
mod sharing;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{
    AxisId, AxisSet, BinaryOp, DType, Extents, InputId, Node, Spec, TermId, TermSet, Terms, Type, UnaryOp,
};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::alike::{Alike, Form};
use crate::error::PlanError;
use crate::graph::{Plan, PlanBuffer, PlanBufferId, Role, Stage};
use crate::loops::{Access, ExprId, Exprs};
use crate::lower::{self, AttendState, Compared, Folded, StageShape};

pub(crate) use outputs::Wanted;

/// The width of a packed block, and key positions of a softmax's tile where rows see many: what is done once for each
/// row of a tile took 3 % of the time of causal attention more with [`CHUNK`] (one Zen 5 core, 2026-11-23).
pub const TILE: i64 = 128;

/// Positions of any other tile along a sum, and the rows of a chunk of a scan. It divides [`TILE`].
pub const CHUNK: i64 = 64;

/// Rows of a task's tile: a multiple of the six rows that the wide product
/// microkernels keep in registers. With 64 rows the last four ran alone and
/// took 12 % of the time of dense attention (one Zen 5 core, 2026-11-22).
pub const ROWS: i64 = 96;

/// An axis of at most this many positions is held whole in a tile.
pub const SHORT: i64 = 1024;

/// What planning may depend on besides the spec.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Typical extents, one for every symbol of the spec: the upper end of the plan row.
    pub hint: Extents,
}

/// How a materialised term lies in memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Layout {
    /// Row-major over the axes in this order.
    Plain(Vec<AxisId>),
    /// Other axes first, then blocks of [`TILE`] positions of `col`, inside a
    /// block all of `row`, and innermost the positions of the block.
    Packed {
        /// Leading axes.
        lead: Vec<AxisId>,
        /// The summed axis of the product that reads it.
        row: AxisId,
        /// The blocked axis.
        col: AxisId,
    },
    /// Other axes first, then pairs of positions of `row`, inside a pair all of `col`, and innermost the positions of the
    /// pair: rounded to bfloat16, the right operand of matrix instructions.
    Pairs {
        /// Leading axes.
        lead: Vec<AxisId>,
        /// The summed axis of the product that reads it.
        row: AxisId,
        /// The other axis of the matrix.
        col: AxisId,
        /// Whether `col` is in blocks of [`TILE`] positions, one after the other before the pairs.
        blocked: bool,
    },
}

impl Layout {
    /// All axes, in the order that tells layouts of one kind apart.
    fn axes(&self) -> Vec<AxisId> {
        match self {
            Self::Plain(axes) => axes.clone(),
            Self::Packed { lead, row, col } | Self::Pairs { lead, row, col, .. } => {
                lead.iter().copied().chain([*col, *row]).collect()
            }
        }
    }

    /// Which kind of layout it is.
    fn kind(&self) -> LayoutKind {
        match self {
            Self::Plain(_) => LayoutKind::Plain,
            Self::Packed { .. } => LayoutKind::Packed,
            Self::Pairs { blocked, .. } => LayoutKind::Pairs { blocked: *blocked },
        }
    }
}

/// The kind of a [`Layout`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum LayoutKind {
    Plain,
    Packed,
    Pairs { blocked: bool },
}

/// Plans `spec`: one stage per output, and the stages they need.
///
/// # Errors
/// [`PlanError::UnboundHint`] if `options.hint` lacks a symbol.
pub fn build(spec: &Spec, options: &PlanOptions) -> Result<Plan, PlanError> {
    for (at, symbol) in spec.symbols.iter().enumerate() {
        if options.hint.get(attnc_algebra::SymbolId(at as u32)).is_none() {
            return Err(PlanError::UnboundHint { symbol: symbol.name.clone() });
        }
    }
    let mut planner = Planner::new(spec, options);
    planner.outputs()?;
    let shared = planner.repeated();
    if !shared.is_empty() {
        // The forms are terms of these arenas.
        let Planner { spec: grown, extents, terms, alike, .. } = planner;
        planner = Planner { spec: grown, extents, terms, alike, shared, ..Planner::new(spec, options) };
        // Inputs that the first plan added are those of its buffers: nothing reads them again.
        planner.inputs.resize(planner.spec.inputs.len(), PlanBufferId(0));
        planner.outputs()?;
    }
    let symbols = 0..spec.symbols.len() as u32;
    let hint: Vec<i64> = symbols.filter_map(|at| options.hint.get(attnc_algebra::SymbolId(at))).collect();
    Ok(planner.plan.scheduled(&hint))
}

/// What a buffer holds and how.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Made {
    /// The number of the term's form.
    number: u32,
    kind: LayoutKind,
    exact: bool,
    /// Which of the form's axes each dimension runs along, or an axis that is none of them.
    places: Vec<Result<usize, AxisId>>,
}

impl Made {
    /// The axes of the dimensions for an alike term; `None` if one is none of that term's.
    fn axes(&self, form: &Form) -> Option<Vec<AxisId>> {
        self.places.iter().map(|place| place.ok().and_then(|at| form.axes.get(at).copied())).collect()
    }
}

/// What a state is made for: the attend node, the state in which it begins, and how it lies.
type StateKey = (TermId, Option<PlanBufferId>, Vec<AxisId>, Option<AxisId>);

/// A reduction that stages compute as part of something else.
struct Inlined {
    /// The stages, by number.
    stages: BTreeSet<u32>,
    /// Elements of its value.
    volume: f64,
    /// Points of its iteration, nested reductions included.
    work: f64,
}

/// How deep reductions are nested in a term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nesting {
    /// Reductions one inside the other, down to those computed apart.
    depth: u32,
    /// Whether the term is a reduction that is computed apart.
    pub apart: bool,
}

/// Nested reductions from which on a small one gets a stage of its own.
const DEEP: u32 = 6;

/// Nested reductions from which on any does, whatever its size.
const DEEPEST: u32 = 10;

/// How much smaller than the largest input a value is that gets a buffer because stages share it.
const SUMMARY: f64 = 8.0;

/// How many times less work a reduction has that no stage is shaped for.
const MINOR: f64 = 256.0;

/// Elements up to which any value may be given a buffer.
const FEW_ELEMENTS: f64 = 4_194_304.0;

/// State of planning one spec.
pub(crate) struct Planner<'a> {
    /// With axes and inputs that planning adds.
    pub spec: Cow<'a, Spec>,
    pub terms: Terms,
    hint: Extents,
    /// Extents of the spec's axes at the hint.
    pub extents: Vec<i64>,
    plan: Plan,
    producers: BTreeMap<PlanBufferId, NodeIndex>,
    /// The axes of which tasks have a part each, by the axis of the parts.
    pub partitions: BTreeMap<AxisId, AxisId>,
    states: BTreeMap<StateKey, AttendState>,
    made: BTreeMap<Made, PlanBufferId>,
    alike: Alike,
    inlined: BTreeMap<(u32, bool), Inlined>,
    /// Forms of reductions that several stages need: each gets a buffer.
    shared: BTreeSet<(u32, bool)>,
    /// What ranks are compared with, by their form, where no other use is made of them.
    pub ranks: BTreeMap<u32, Option<Vec<Compared>>>,
    /// Pointwise terms that get a buffer.
    joint: BTreeSet<TermId>,
    stages: u32,
    /// What [`Planner::pointwise_work`] has found.
    pointwise_works: RefCell<BTreeMap<TermId, f64>>,
    /// Log-sum-exp outputs that no stage writes yet.
    by_the_way: Vec<Wanted>,
    /// All sums of the outputs' terms.
    sums: Vec<TermId>,
    /// Log-sum-exps of which outputs are read, with the axes of their buffers.
    read_later: Vec<(TermId, Vec<AxisId>)>,
    /// Buffers of the inputs.
    pub inputs: Vec<PlanBufferId>,
    data_free: BTreeMap<TermId, bool>,
    depths: BTreeMap<TermId, Nesting>,
    compute: DType,
}

impl<'a> Planner<'a> {
    fn new(spec: &'a Spec, options: &PlanOptions) -> Self {
        let plan = Plan { graph: DiGraph::new(), buffers: Vec::new(), shapes: Exprs::default() };
        let compute = if spec.inputs.iter().any(|i| i.dtype == DType::F64) { DType::F64 } else { DType::F32 };
        let extents = spec.axes.iter().map(|axis| spec.eval_extent(axis.extent, &options.hint).unwrap_or(1).max(1));
        let mut planner = Self {
            spec: Cow::Borrowed(spec),
            terms: spec.terms.clone(),
            hint: options.hint.clone(),
            extents: extents.collect(),
            plan,
            producers: BTreeMap::new(),
            made: BTreeMap::new(),
            states: BTreeMap::new(),
            partitions: BTreeMap::new(),
            alike: Alike::default(),
            inlined: BTreeMap::new(),
            shared: BTreeSet::new(),
            ranks: BTreeMap::new(),
            joint: BTreeSet::new(),
            stages: 0,
            pointwise_works: RefCell::default(),
            by_the_way: Vec::new(),
            sums: Vec::new(),
            read_later: Vec::new(),
            inputs: Vec::new(),
            data_free: BTreeMap::new(),
            depths: BTreeMap::new(),
            compute,
        };
        for (k, input) in spec.inputs.iter().enumerate() {
            let shape = input.axes.iter().map(|a| planner.axis_extent(*a)).collect();
            let id = planner.add_buffer(&input.name, input.dtype, shape, Role::Input(k as u32));
            if let Some(runs) = input.runs {
                let runs = lower::extent::extent(&planner.terms, runs, &mut planner.plan.shapes);
                planner.plan.buffers[id.0 as usize].runs = Some(runs);
            }
            planner.inputs.push(id);
        }
        planner
    }

    fn add_buffer(&mut self, name: &str, dtype: DType, shape: Vec<ExprId>, role: Role) -> PlanBufferId {
        self.plan.buffers.push(PlanBuffer { name: name.to_owned(), dtype, shape, role, runs: None });
        PlanBufferId(self.plan.buffers.len() as u32 - 1)
    }

    /// The plan under construction.
    pub fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// Notes the mean run length of a non-decreasing buffer.
    pub fn note_runs(&mut self, buffer: PlanBufferId, runs: ExprId) {
        self.plan.buffers[buffer.0 as usize].runs = Some(runs);
    }

    /// The launch-time extent of an axis.
    pub fn axis_extent(&mut self, axis: AxisId) -> ExprId {
        lower::extent::extent(&self.terms, self.spec.axis(axis).extent, &mut self.plan.shapes)
    }

    /// The term with quotients of data written as products with a reciprocal,
    /// so that a divisor is a factor like any other. Whatever decides is left
    /// as it stands: its bits matter.
    fn divisions_as_factors(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let new = match &node {
            node if node.decides() => term,
            Node::At { .. } if self.terms.ty(term) != Type::Real => term,
            _ if self.is_data_free(term) => term,
            Node::Binary(BinaryOp::Div, x, y) => {
                let (x, y) = (self.divisions_as_factors(*x, done), self.divisions_as_factors(*y, done));
                let mut factors = self.factors(x);
                factors.push(self.terms.unary(UnaryOp::Recip, y));
                self.product(factors)
            }
            _ => {
                let node = node.map_operands(|t| self.divisions_as_factors(t, done));
                self.terms.add(node)
            }
        };
        done.insert(term, new);
        new
    }

    fn stage(
        &mut self,
        term: TermId,
        axes: Vec<AxisId>,
        layout: Layout,
        exact: bool,
        target: PlanBufferId,
    ) -> Result<(), PlanError> {
        let shape = StageShape::choose(self, term, &axes, &layout);
        let plain = !exact && matches!(layout, Layout::Plain(_));
        let folded = if plain { self.folded(term, &axes, &shape)? } else { None };
        let (term, shape) = folded.unwrap_or((term, shape));
        let stage = lower::lower_stage(self, term, &shape, &layout, exact, target)?;
        self.add_stage(stage);
        Ok(())
    }

    /// Adds a stage, after those that write what it reads.
    fn add_stage(&mut self, stage: Stage) {
        let accessed = |access: Access| {
            let buffers = stage.args.iter().zip(&stage.program.buffers);
            buffers.filter(|(_, b)| b.access == access).map(|(id, _)| *id).collect::<Vec<PlanBufferId>>()
        };
        let (reads, writes) = (accessed(Access::Read), accessed(Access::Write));
        let node = self.plan.graph.add_node(stage);
        for buffer in reads {
            if let Some(source) = self.producers.get(&buffer) {
                self.plan.graph.add_edge(*source, node, buffer);
            }
        }
        self.producers.extend(writes.iter().map(|target| (*target, node)));
    }

    /// The buffer that holds `term` in `layout`, built on first request. With
    /// `exact`, reals are computed and stored in f64.
    pub fn materialise(&mut self, term: TermId, layout: &Layout, exact: bool) -> Result<PlanBufferId, PlanError> {
        let order = layout.axes();
        let key = self.key(term, &order, layout.kind(), exact);
        if let Some(id) = self.made.get(&key) {
            return Ok(*id);
        }
        let dtype = match self.terms.ty(term) {
            Type::Real if exact => DType::F64,
            Type::Real if matches!(layout, Layout::Pairs { .. }) => DType::Bf16,
            Type::Real => self.compute,
            Type::Int => DType::I64,
            Type::Bool => DType::Bool,
        };
        let (axes, shape) = match layout {
            Layout::Plain(axes) => (order, axes.iter().map(|a| self.axis_extent(*a)).collect()),
            Layout::Packed { lead, row, col } => {
                let mut shape: Vec<ExprId> = lead.iter().map(|a| self.axis_extent(*a)).collect();
                let (rows, cols) = (self.axis_extent(*row), self.axis_extent(*col));
                let shapes = &mut self.plan.shapes;
                let tile = shapes.int(TILE);
                shape.extend([lower::extent::blocks(shapes, cols, TILE), rows, tile]);
                (order, shape)
            }
            Layout::Pairs { lead, row, col, blocked } => {
                let mut shape: Vec<ExprId> = lead.iter().map(|a| self.axis_extent(*a)).collect();
                let (rows, cols) = (self.axis_extent(*row), self.axis_extent(*col));
                let shapes = &mut self.plan.shapes;
                let (pairs, two) = (lower::extent::blocks(shapes, rows, 2), shapes.int(2));
                if *blocked {
                    let tile = shapes.int(TILE);
                    shape.extend([lower::extent::blocks(shapes, cols, TILE), pairs, tile, two]);
                } else {
                    shape.extend([pairs, cols, two]);
                }
                (order, shape)
            }
        };
        let name = format!("t{}", self.plan.buffers.len());
        let target = self.add_buffer(&name, dtype, shape, Role::Intermediate);
        self.stage(term, axes, layout.clone(), exact, target)?;
        self.made.insert(key, target);
        Ok(target)
    }

    /// The state of an attend node over the axes `lead`, rows among them, and the columns, begun in the state
    /// `before`; built on first request.
    pub fn attend_state(
        &mut self,
        term: TermId,
        before: Option<AttendState>,
        lead: &[AxisId],
        (rows, folded): (AxisId, Option<Folded>),
        cols: Option<AxisId>,
    ) -> Result<AttendState, PlanError> {
        let key = (term, before.as_ref().map(|before| before.acc), lead.to_vec(), cols);
        if let Some(state) = self.states.get(&key) {
            return Ok(state.clone());
        }
        let shape: Vec<ExprId> = lead.iter().map(|a| self.axis_extent(*a)).collect();
        let mut wide = shape.clone();
        wide.extend(cols.map(|a| self.axis_extent(a)));
        let [max, sum, acc] = [&shape, &shape, &wide].map(|shape| {
            let name = format!("t{}", self.plan.buffers.len());
            self.add_buffer(&name, self.compute, shape.clone(), Role::Intermediate)
        });
        let state = AttendState { lead: lead.to_vec(), max, sum, acc };
        let grid = lead.iter().copied().filter(|a| *a != rows).collect();
        let shape = StageShape { rows: Some(rows), cols, grid, sequential: false, folded };
        let stage = lower::lower_state_stage(self, term, &shape, before.as_ref(), &state)?;
        self.add_stage(stage);
        self.states.insert(key, state.clone());
        Ok(state)
    }

    /// A row-major buffer that holds `term`, and the order of its axes: one
    /// made before for it, or for a copy of it on other axes, if there is one.
    pub fn materialise_plain(
        &mut self,
        term: TermId,
        axes: &[AxisId],
        exact: bool,
    ) -> Result<(PlanBufferId, Vec<AxisId>), PlanError> {
        let wanted = self.key(term, axes, LayoutKind::Plain, exact);
        if let Some(id) = self.made.get(&wanted) {
            return Ok((*id, axes.to_vec()));
        }
        let form = self.form(term, exact);
        let any = Made { places: Vec::new(), ..wanted.clone() };
        let same = |made: &Made| (made.number, made.kind, made.exact) == (any.number, any.kind, any.exact);
        let made = self.made.range(any.clone()..).take_while(|(made, _)| same(made));
        for (made, id) in made {
            if let Some(order) = made.axes(&form) {
                return Ok((*id, order));
            }
        }
        let buffer = self.materialise(term, &Layout::Plain(axes.to_vec()), exact)?;
        Ok((buffer, axes.to_vec()))
    }

    /// What the term is but for the names of its axes.
    pub fn form(&mut self, term: TermId, exact: bool) -> Form {
        self.alike.form(&self.spec, &self.terms, term, exact)
    }

    fn key(&mut self, term: TermId, order: &[AxisId], kind: LayoutKind, exact: bool) -> Made {
        let form = self.form(term, exact);
        let place = |axis: &AxisId| form.axes.iter().position(|a| a == axis).ok_or(*axis);
        Made { number: form.number, kind, exact, places: order.iter().map(place).collect() }
    }

    /// A number for the next stage.
    pub fn next_stage(&mut self) -> u32 {
        self.stages += 1;
        self.stages
    }

    /// Points over which the reductions in a term run, each once.
    fn work(&self, term: TermId) -> f64 {
        let mut points = 0.0;
        self.find(term, &mut |t, node| {
            if matches!(node, Node::Reduce { .. }) {
                points += self.points(t).unwrap_or(0.0);
            }
            false
        });
        points
    }

    /// Points over which a reduction runs; `None` for another term.
    pub fn points(&self, term: TermId) -> Option<f64> {
        let (axis, operands) = match *self.terms.node(term) {
            Node::Reduce { axis, body, domain, .. } => (axis, [body, domain, domain]),
            Node::Attend { axis, domain, score, value } => (axis, [domain, score, value]),
            _ => return None,
        };
        let mut axes = self.terms.free(term).clone();
        axes.insert(axis);
        Some(self.volume(&operands.iter().fold(axes, |axes, t| axes.union(self.terms.free(*t)))))
    }

    /// The buffer of an input.
    pub fn input_buffer(&self, input: InputId) -> PlanBufferId {
        self.inputs[input.0 as usize]
    }

    /// The description of a buffer.
    pub fn buffer(&self, id: PlanBufferId) -> &PlanBuffer {
        &self.plan.buffers[id.0 as usize]
    }

    /// A launch-time integer of the plan's shapes.
    pub fn shapes(&self) -> &Exprs {
        &self.plan.shapes
    }

    /// Type in which reals are computed: f32, or f64 if an input is f64.
    pub fn compute(&self) -> DType {
        self.compute
    }

    /// Extent of an axis at the hint.
    pub fn hint_extent(&self, axis: AxisId) -> i64 {
        self.extents[axis.0 as usize]
    }

    /// An extent symbol at the hint.
    pub fn hint_symbol(&self, symbol: attnc_algebra::SymbolId) -> Option<i64> {
        self.hint.get(symbol)
    }

    /// Whether the axis is held whole in a tile.
    pub fn is_short(&self, axis: AxisId) -> bool {
        self.hint_extent(axis) <= SHORT
    }

    /// Whether the term's values may be given a buffer: at most one long axis, few elements, or no more than the
    /// largest input with at most one long axis has.
    pub fn fits_a_buffer(&self, term: TermId) -> bool {
        let free = self.terms.free(term);
        let is_flat = |axes: &mut dyn Iterator<Item = AxisId>| axes.filter(|a| !self.is_short(*a)).count() <= 1;
        let inputs = self.spec.inputs.iter().filter(|input| is_flat(&mut input.axes.iter().copied()));
        let largest = inputs.map(|input| self.size(input.axes.iter().copied())).fold(FEW_ELEMENTS, f64::max);
        is_flat(&mut free.iter()) || self.volume(free) <= largest
    }

    /// Number of elements over a set of axes at the hint.
    pub fn volume(&self, axes: &AxisSet) -> f64 {
        self.size(axes.iter())
    }

    fn size(&self, axes: impl Iterator<Item = AxisId>) -> f64 {
        axes.map(|a| self.hint_extent(a) as f64).product()
    }

    /// Whether no input occurs in the term.
    pub fn is_data_free(&mut self, term: TermId) -> bool {
        if let Some(known) = self.data_free.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let free = !matches!(node, Node::Input { .. }) && node.operands().iter().all(|t| self.is_data_free(*t));
        self.data_free.insert(term, free);
        free
    }

    /// How deep reductions are nested in the term. Each level is a loop inside
    /// the level above, and what two levels share is written twice: from some
    /// depth on a reduction is better computed apart.
    pub fn nesting(&mut self, term: TermId) -> Nesting {
        if let Some(known) = self.depths.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let inner = node.operands().iter().map(|t| self.nesting(*t)).filter(|n| !n.apart).map(|n| n.depth).max();
        let reduces = matches!(node, Node::Reduce { .. } | Node::Attend { .. } | Node::Scan { .. });
        let depth = inner.unwrap_or(0) + u32::from(node.runs_over_axis());
        let apart = reduces && (depth >= DEEPEST || depth >= DEEP && self.is_summary(term));
        let nesting = Nesting { depth, apart };
        self.depths.insert(term, nesting);
        nesting
    }

    /// Whether the term is much smaller than the largest input.
    fn is_summary(&self, term: TermId) -> bool {
        self.volume(self.terms.free(term)) * SUMMARY <= self.largest_input()
    }

    /// Whether the term is a pointwise value that several stages read from one buffer.
    pub fn is_joint(&self, term: TermId) -> bool {
        self.joint.contains(&term)
    }

    /// Elements of the largest input at the hint.
    pub fn largest_input(&self) -> f64 {
        self.spec.inputs.iter().map(|i| self.size(i.axes.iter().copied())).fold(0.0, f64::max)
    }

    /// Whether the term contains a reduction, a softmax or a derived node.
    pub fn has_reduction(&self, term: TermId) -> bool {
        self.find(term, &mut |_, node| node.runs_over_axis())
    }

    /// Whether `test` holds for the term or one of its sub-terms. Orders and gathers read buffers, so it does not
    /// look below them.
    pub fn find(&self, term: TermId, test: &mut dyn FnMut(TermId, &Node) -> bool) -> bool {
        let mut seen = TermSet::new();
        let mut open = vec![term];
        while let Some(t) = open.pop() {
            if !seen.insert(t) {
                continue;
            }
            let node = self.terms.node(t);
            if test(t, node) {
                return true;
            }
            if !matches!(node, Node::Order { .. } | Node::At { .. }) {
                open.extend(node.operands());
            }
        }
        false
    }

    /// The reductions that a stage for `term` computes itself: none of what has a buffer of its own, nor what has much
    /// less work than a reduction that it is part of.
    pub fn main_reductions(&mut self, term: TermId) -> Vec<TermId> {
        let mut main = Vec::new();
        let mut seen = TermSet::new();
        let mut open = vec![(term, 0.0_f64)];
        while let Some((t, around)) = open.pop() {
            let apart = t != term && (self.is_joint(t) || self.nesting(t).apart);
            if apart || !seen.insert(t) {
                continue;
            }
            let points = self.points(t).unwrap_or(0.0);
            if points > 0.0 && points * MINOR >= around {
                main.push(t);
            }
            let node = self.terms.node(t);
            if !matches!(node, Node::Order { .. } | Node::At { .. }) {
                open.extend(node.operands().into_iter().map(|t| (t, around.max(points))));
            }
        }
        main
    }

    /// Pointwise work of one element of the term, not looking into reductions; what several operands share counts for
    /// each of them.
    pub fn pointwise_work(&self, term: TermId) -> f64 {
        if let Some(known) = self.pointwise_works.borrow().get(&term) {
            return *known;
        }
        let node = self.terms.node(term);
        let own = match node {
            Node::Unary(op, _) => op.work(),
            Node::Binary(op, ..) => op.work(),
            Node::Nary(_, xs) => xs.len() as f64 - 1.0,
            Node::Select(..) => 1.0,
            Node::Input { index, .. } => index
                .iter()
                .filter(|t| !matches!(self.terms.node(**t), Node::Position(_)))
                .map(|t| 2.0 + self.pointwise_work(*t))
                .sum(),
            _ => return 0.0,
        };
        let of_operands = match node {
            Node::Input { .. } => 0.0,
            _ => node.operands().iter().map(|t| self.pointwise_work(*t)).sum::<f64>(),
        };
        self.pointwise_works.borrow_mut().insert(term, own + of_operands);
        own + of_operands
    }

    /// Adds a finished stage's program name.
    pub fn stage_name(&self, kind: crate::graph::StageKind, target: PlanBufferId) -> String {
        format!("{}-{}", kind.name(), self.buffer(target).name)
    }
}
