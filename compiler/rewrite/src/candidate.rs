//! Candidates of extraction: e-nodes with their own cost at given extents.
//!
//! Owns the work of each e-node as the planner would run it: contractions at
//! the tile-product rate with their operands hoisted to the axes they vary
//! over, attention and scans as fused stages, results of reductions written
//! and read back unless an enclosing reduction absorbs them. Choosing among
//! candidates is in [`crate::extract`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use attnc_algebra::{
    AxisId, AxisSet, DType, Extents, NaryOp, Node, ReduceOp, Spec, SymbolId, TermId, TermSet, UnaryOp,
};
use attnc_cost::{MachineProfile, NodeCost, Volumes};
use egg::{Id, Language};

use crate::density;
use crate::facts::{Facts, Graph, any_sub_term};
use crate::language::{ENode, Kind};

/// Positions of one chunk of a scan.
const CHUNK: f64 = 64.0;

/// Keys of both sides are sorted where rows are brought back from their order.
const SIDES: f64 = 2.0;

/// Pointwise operations for each pair of a restriction that compares a weight: products and exponentials in f64, twice.
const WEIGHED: f64 = 800.0;

/// A position looked at for a pair of positions, in pointwise operations.
const SEARCHED: f64 = 16.0;

/// A comparison of two gathered keys, in pointwise operations.
const GATHERS: f64 = 16.0;

/// What storing a tensor over pairs of positions counts for where no input is as large: memory stays linear in the
/// length wherever a fused form exists.
const STORED_PAIRS: f64 = 64.0;

/// What a quotient of exponential sums costs where its shift-stable form is known, in ns: it is never chosen.
const UNSTABLE: f64 = 1e15;

/// Pointwise operations of a difference of prefixes.
const PREFIXED: f64 = 3.0;

/// Pointwise operations of a position of a prefix, one after the other.
const SUMMED: f64 = 32.0;

/// What a constant in a sum of products costs more than outside of it where nothing else tells the two apart: sums that
/// differ by a constant are then one sum.
const SCALED: f64 = 1.0001;

/// One way to compute a class.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The e-node, with canonical children.
    pub node: ENode,
    /// For a reduction fused with its body's product: that product.
    pub fused: Option<ENode>,
    /// Indices of the classes it needs.
    pub children: Vec<usize>,
    /// Its own time in ns, operands apart.
    pub own: f64,
    /// Time in ns to write the result and read it back, and to start a stage.
    pub pending: f64,
    /// What it reduces, if anything.
    pub reduced: Option<Reduced>,
}

/// The restriction and axis that a reduction puts on its operands.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The axis.
    pub axis: AxisId,
    /// Length axes of the restriction, with the reduced one: along the others shares are averages.
    pub domain: AxisSet,
    /// Share of pairs in the restriction.
    pub density: f64,
    /// Length axes of the result.
    pub rows: AxisSet,
}

/// One class with its candidates.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its free axes.
    pub free: AxisSet,
    /// The ways to compute it.
    pub candidates: Vec<Candidate>,
}

/// All classes with their candidates, in order of class ids.
pub struct Slots {
    /// The classes.
    pub slots: Vec<Slot>,
    /// Index of each class.
    pub index: BTreeMap<Id, usize>,
}

/// Rates, volumes and densities at given extents.
pub struct Pricing<'a> {
    graph: &'a Graph,
    extents: &'a Extents,
    volumes: Volumes,
    cost: NodeCost<'a>,
    lengths: AxisSet,
    /// Elements of the largest input.
    largest_input: f64,
    densities: BTreeMap<(TermId, AxisId), f64>,
}

/// Axes whose extent is made of the sequence length N or the query length M; in a spec without
/// them, of the largest extent.
pub fn length_axes(spec: &Spec, extents: &Extents) -> AxisSet {
    let mut symbols: Vec<SymbolId> = ["N", "M"].into_iter().filter_map(|name| spec.symbol(name)).collect();
    if symbols.is_empty() {
        let all = (0..spec.symbols.len() as u32).map(SymbolId);
        symbols.extend(all.max_by_key(|s| (extents.get(*s), Reverse(*s))));
    }
    let is_length =
        |term: TermId| any_sub_term(&spec.terms, term, |node| matches!(node, Node::Extent(s) if symbols.contains(s)));
    (0..spec.axes.len() as u32).map(AxisId).filter(|a| is_length(spec.axis(*a).extent)).collect()
}

impl<'a> Pricing<'a> {
    /// Prices for the classes of `graph`.
    pub fn new(graph: &'a Graph, extents: &'a Extents, profile: &'a MachineProfile) -> Self {
        let spec = &graph.analysis.spec;
        let double = spec.inputs.iter().any(|i| i.dtype == DType::F64);
        let volumes = Volumes::new(spec, extents);
        let elements = |axes: &[AxisId]| axes.iter().map(|a| volumes.extent(*a)).product::<f64>();
        let largest_input = spec.inputs.iter().map(|i| elements(&i.axes)).fold(0.0, f64::max);
        Self {
            graph,
            extents,
            volumes,
            cost: NodeCost::new(profile, double),
            lengths: length_axes(spec, extents),
            largest_input,
            densities: BTreeMap::new(),
        }
    }

    /// All classes with their candidates.
    pub fn slots(mut self) -> Slots {
        let graph = self.graph;
        let mut classes: Vec<Id> = graph.classes().map(|c| c.id).collect();
        classes.sort_unstable();
        let index: BTreeMap<Id, usize> = classes.iter().enumerate().map(|(n, c)| (*c, n)).collect();
        let slots = classes
            .iter()
            .map(|class| {
                let mut nodes: Vec<ENode> = graph[*class].nodes.clone();
                nodes.iter_mut().for_each(|n| n.update_children(|c| graph.find(c)));
                nodes.sort_unstable();
                nodes.dedup();
                let candidates = nodes.into_iter().flat_map(|n| self.candidates(*class, n, &index)).collect();
                Slot { free: self.facts(*class).free.clone(), candidates }
            })
            .collect();
        Slots { slots, index }
    }

    fn facts(&self, class: Id) -> &'a Facts {
        &self.graph[class].data
    }

    fn free(&self, class: Id) -> &'a AxisSet {
        &self.facts(class).free
    }

    fn volume(&self, axes: &AxisSet) -> f64 {
        self.volumes.volume(axes)
    }

    /// What storing a tensor over these axes counts for.
    fn storing(&self, axes: &AxisSet) -> f64 {
        let pairs = axes.intersection(&self.lengths).len() > 1;
        if pairs && self.volume(axes) > self.largest_input { STORED_PAIRS } else { 1.0 }
    }

    fn density(&mut self, domain: TermId, axis: AxisId) -> f64 {
        let spec = &self.graph.analysis.spec;
        let extents = self.extents;
        *self.densities.entry((domain, axis)).or_insert_with(|| density::visited(spec, extents, domain, axis))
    }

    fn candidates(&mut self, class: Id, node: ENode, index: &BTreeMap<Id, usize>) -> Vec<Candidate> {
        let mut out = Vec::new();
        if let ENode::Reduce(ReduceOp::Sum, _, _, [body]) | ENode::Scan(_, _, [_, body]) = &node {
            for product in &self.graph[*body].nodes {
                if product.discriminant() == Kind::Nary(NaryOp::Mul) {
                    let mut product = product.clone();
                    product.update_children(|c| self.graph.find(c));
                    out.push(self.candidate(class, node.clone(), Some(product), index));
                }
            }
        }
        out.push(self.candidate(class, node, None, index));
        out
    }

    fn candidate(&mut self, class: Id, node: ENode, fused: Option<ENode>, index: &BTreeMap<Id, usize>) -> Candidate {
        let mut operands: Vec<Id> = node.children().to_vec();
        if let Some(product) = &fused {
            operands.pop();
            operands.extend(product.children());
        }
        let children = operands.iter().map(|c| index[&self.graph.find(*c)]).collect();
        let reduced = self.reduced(class, &node);
        let share = reduced.as_ref().map_or(1.0, |r| r.density);
        let factors = fused.as_ref().map(|p| p.children());
        let own = match self.prefixes(class, &node) {
            Some(own) => own,
            None => self.own(class, &node, factors) * share,
        };
        let pending = match &node {
            ENode::Reduce(..) | ENode::Attend(..) | ENode::Scan(..) | ENode::Online(..) => {
                let free = self.free(class);
                let stored = self.cost.round_trip(self.volume(free)).0 + self.cost.stage().0;
                stored * self.storing(free)
            }
            _ => 0.0,
        };
        Candidate { node, fused, children, own, pending, reduced }
    }

    fn reduced(&mut self, class: Id, node: &ENode) -> Option<Reduced> {
        let (axis, domain) = match node {
            ENode::Reduce(_, axis, domain, _) | ENode::Attend(axis, domain, _) | ENode::Softmax(axis, domain, _) => {
                (*axis, *domain)
            }
            _ => return None,
        };
        let density = self.density(domain, axis);
        let mut axes = self.graph.analysis.spec.terms.free(domain).intersection(&self.lengths);
        axes.insert(axis);
        Some(Reduced { axis, domain: axes, density, rows: self.free(class).intersection(&self.lengths) })
    }

    /// Time of a sum over the positions between a row's and a column's, a difference of two prefixes; `None` of
    /// anything else.
    fn prefixes(&self, class: Id, node: &ENode) -> Option<f64> {
        let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return None };
        let spec = &self.graph.analysis.spec;
        let ((from, _), (to, _)) = self.graph.analysis.domains.get(spec, *domain).between(spec, *axis)?;
        let body = self.free(*body);
        let apart = !body.contains(from) && !body.contains(to);
        let points = PREFIXED * self.volume(self.free(class)) + SUMMED * self.volume(body);
        apart.then(|| points * self.cost.pointwise() + self.cost.stage().0)
    }

    /// Time of the node itself over its whole box.
    fn own(&self, class: Id, node: &ENode, factors: Option<&[Id]>) -> f64 {
        let points = self.volume(self.free(class));
        let pointwise = self.cost.pointwise();
        match node {
            ENode::Const(_) => 0.0,
            ENode::Closed(term) => match self.graph.analysis.spec.terms.node(*term) {
                Node::Input { .. } => self.cost.read(points).0,
                _ => points * pointwise,
            },
            ENode::Unary(op, _) => points * self.cost.unary(*op),
            ENode::Binary(op, _) => points * self.cost.binary(*op),
            ENode::Nary(_, xs) if self.is_unstable_quotient(class, xs) => self.chain(xs) + UNSTABLE,
            ENode::Nary(_, xs) => self.chain(xs),
            ENode::Select(..) => points * pointwise * 2.0,
            ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) => {
                let axes = self.box_of(&[*body], *axis, *domain);
                let tested = self.volumes.volume(self.graph.analysis.spec.terms.free(*domain));
                let tests = tested * self.searches(*domain, *axis) * pointwise;
                tests
                    + match factors {
                        Some(factors) => self.contraction(factors, &axes),
                        None => self.volume(&axes) * pointwise,
                    }
            }
            ENode::Reduce(op, axis, domain, [body]) => {
                let rate = if *op == ReduceOp::LogSumExp { self.cost.exp() + 2.0 * pointwise } else { pointwise };
                self.volume(&self.box_of(&[*body], *axis, *domain)) * (rate + self.searches(*domain, *axis) * pointwise)
            }
            ENode::Softmax(axis, domain, [score]) => {
                let axes = self.box_of(&[*score], *axis, *domain);
                // Weights alone take a second pass and are stored.
                let tests = self.searches(*domain, *axis);
                let passes = self.volume(&axes) * (self.cost.exp() + (8.0 + tests) * pointwise);
                let stored = 2.0 * self.cost.round_trip(points).0 + self.cost.stage().0;
                (passes + stored) * self.storing(&axes)
            }
            ENode::Attend(axis, domain, [score, value]) => {
                let weights =
                    self.volume(&self.box_of(&[*score], *axis, *domain)) * self.repeats(*score, *value, *axis);
                let products = self.volume(&self.box_of(&[*score, *value], *axis, *domain));
                weights * (self.cost.exp() + (4.0 + self.searches(*domain, *axis)) * pointwise)
                    + products * self.cost.product()
            }
            ENode::Scan(axis, _, [_, body]) => self.scan(*axis, *body, factors),
            ENode::Online(axis, _, parts) => self.online(*axis, parts),
            ENode::At(_, index, _) => {
                self.cost.round_trip(points).0 + self.cost.stage().0 + SIDES * self.orders(*index)
            }
        }
    }

    /// Whether a product divides by a sum of unbounded exponentials, where its class has a stable form.
    fn is_unstable_quotient(&self, class: Id, factors: &[Id]) -> bool {
        let nodes = |id: Id| self.graph[self.graph.find(id)].nodes.iter();
        let stable = |id: Id| nodes(id).any(|n| matches!(n.discriminant(), Kind::Attend | Kind::Softmax));
        let factors_of = |id: Id| nodes(id).filter(|n| n.discriminant() == Kind::Nary(NaryOp::Mul));
        let gated = |id: Id| stable(id) || factors_of(id).flat_map(|n| n.children()).any(|c| stable(*c));
        let has_stable_form = || {
            let additions = nodes(class).filter(|n| n.discriminant() == Kind::Nary(NaryOp::Add));
            gated(class) || additions.flat_map(|n| n.children()).any(|c| gated(*c))
        };
        let overflows =
            |id: Id| nodes(id).any(|n| matches!(n, ENode::Unary(UnaryOp::Exp, [x]) if !self.facts(*x).small));
        let exponential_sum =
            |id: Id| nodes(id).any(|n| matches!(n, ENode::Reduce(ReduceOp::Sum, _, _, [body]) if overflows(*body)));
        let divisor = |id: Id| {
            let additions = nodes(id).filter(|n| n.discriminant() == Kind::Nary(NaryOp::Add));
            exponential_sum(id) || additions.flat_map(|n| n.children()).any(|c| exponential_sum(*c))
        };
        let divides = |id: Id| nodes(id).any(|n| matches!(n, ENode::Unary(UnaryOp::Recip, [x]) if divisor(*x)));
        factors.iter().any(|f| divides(*f)) && has_stable_form()
    }

    /// Axes of a reduction's iteration.
    fn box_of(&self, operands: &[Id], axis: AxisId, domain: TermId) -> AxisSet {
        let mut axes = self.graph.analysis.spec.terms.free(domain).clone();
        axes.insert(axis);
        operands.iter().fold(axes, |axes, x| axes.union(self.free(*x)))
    }

    /// How often fused weights are made anew: once for each place along the axes that the values alone have, but for
    /// the widest, which lies along the columns of a tile.
    fn repeats(&self, score: Id, value: Id, axis: AxisId) -> f64 {
        let score = self.free(score);
        let alone = self.free(value).iter().filter(|a| *a != axis && !score.contains(*a));
        let extents: Vec<f64> = alone.map(|a| self.volumes.extent(a)).collect();
        extents.iter().product::<f64>() / extents.iter().copied().fold(1.0, f64::max)
    }

    /// Pointwise operands combined smallest first; among equals, whose axes add least.
    fn chain(&self, operands: &[Id]) -> f64 {
        let mut rest: Vec<&AxisSet> = operands.iter().map(|x| self.free(*x)).collect();
        let mut so_far = AxisSet::new();
        let mut points = 0.0;
        for at in 0..operands.len() {
            let size = |axes: &AxisSet| (self.volume(axes), self.volume(&so_far.union(axes)));
            let least = |a: &&AxisSet, b: &&AxisSet| {
                let ((a, with_a), (b, with_b)) = (size(a), size(b));
                a.total_cmp(&b).then(with_a.total_cmp(&with_b))
            };
            let next = (0..rest.len()).min_by(|a, b| least(&rest[*a], &rest[*b])).unwrap_or(0);
            so_far = so_far.union(rest.swap_remove(next));
            points += if at == 0 { 0.0 } else { self.volume(&so_far) };
        }
        points * self.cost.pointwise()
    }

    /// A sum over a product: a tile product of two operands where no factor spans the whole box. The left operand has
    /// the axes of a largest factor; of several, those that make it cheapest.
    fn contraction(&self, factors: &[Id], axes: &AxisSet) -> f64 {
        let largest = factors.iter().map(|f| self.volume(self.free(*f))).fold(0.0, f64::max);
        let sides = factors.iter().filter(|f| self.volume(self.free(**f)) >= largest);
        let costs = sides.map(|f| self.tile_product(factors, axes, self.free(*f)));
        costs.reduce(f64::min).unwrap_or_else(|| self.tile_product(factors, axes, &AxisSet::new()))
    }

    /// A sum over a product whose left operand has the axes of `side`.
    fn tile_product(&self, factors: &[Id], axes: &AxisSet, side: &AxisSet) -> f64 {
        let volume = self.volume(axes);
        let (left, right): (Vec<Id>, Vec<Id>) = factors.iter().partition(|f| self.free(**f).is_subset(side));
        let scaled = factors.iter().any(|f| self.facts(*f).constant.is_some());
        let scan = factors.iter().any(|f| self.graph[*f].nodes.iter().any(|n| n.discriminant() == Kind::Scan));
        let spans = self.volume(side) * 1.5 >= volume || right.is_empty();
        let rate = if spans && !scan { 2.0 * self.cost.pointwise() } else { self.cost.product() };
        let time = self.chain(&left) + self.chain(&right) + volume * rate;
        if scaled { time * SCALED } else { time }
    }

    /// Pointwise operations for each pair of a restriction that looks for some position of an axis, or weighs. What does
    /// not vary along the reduced axis is looked for once for each row.
    fn searches(&self, domain: TermId, reduced: AxisId) -> f64 {
        let terms = &self.graph.analysis.spec.terms;
        let mut seen = TermSet::new();
        let mut open = vec![domain];
        let mut work = 0.0;
        while let Some(term) = open.pop() {
            if !terms.free(term).contains(reduced) || !seen.insert(term) {
                continue;
            }
            let node = terms.node(term);
            match node {
                Node::Reduce { op: ReduceOp::Any | ReduceOp::All, axis, .. } => {
                    work += SEARCHED * self.volumes.extent(*axis);
                }
                Node::Softmax { .. } => work += WEIGHED,
                _ => {}
            }
            if !matches!(node, Node::Order { .. } | Node::At { .. }) {
                open.extend(node.operands());
            }
        }
        work
    }

    /// The sorts that a position through orders needs.
    fn orders(&self, term: TermId) -> f64 {
        let terms = &self.graph.analysis.spec.terms;
        match terms.node(term) {
            Node::Order { axis, key } => {
                let halvings = self.volumes.extent(*axis).max(2.0).log2();
                let lines = self.volume(terms.free(term));
                lines * halvings * GATHERS * self.cost.pointwise() + self.cost.stage().0 + self.orders(*key)
            }
            _ => 0.0,
        }
    }

    /// A scan of scores: two exponentials for each of them, and what a value's state takes besides.
    fn online(&self, axis: AxisId, parts: &[Id]) -> f64 {
        let mut weights = self.free(parts[0]).union(self.free(parts[1]));
        weights.insert(axis);
        let states = parts.iter().fold(weights.clone(), |axes, part| axes.union(self.free(*part)));
        let scores = 2.0 * self.cost.exp() + 8.0 * self.cost.pointwise();
        self.volume(&weights) * scores + self.volume(&states) * 4.0 * self.cost.pointwise()
    }

    /// A chunked scan: state updates at the product rate and quadratic work inside chunks.
    fn scan(&self, axis: AxisId, body: Id, factors: Option<&[Id]>) -> f64 {
        let mut axes = self.free(body).clone();
        axes.insert(axis);
        let state = self.volume(&axes);
        let chunk = CHUNK.min(self.volumes.extent(axis));
        match factors {
            Some(factors) => {
                let inside: f64 = factors.iter().map(|f| self.volume(self.free(*f))).sum::<f64>() * chunk / 2.0;
                (state + inside) * self.cost.product()
            }
            None => state * 2.0 * self.cost.pointwise(),
        }
    }
}
