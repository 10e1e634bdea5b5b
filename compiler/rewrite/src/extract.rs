//! Extraction: the cheapest form at given extents, each shared class paid once.
//!
//! Owns the choice among candidates. A class's cost is a set of shares, one
//! for each class it needs, so that what is shared is counted once; a
//! reduction scales the shares that lie inside its restriction and absorbs
//! the results that its loop consumes as they are made. Greedy to a fixpoint,
//! then single exchanges while they help. Ties go to the e-node order, which
//! is the order of interning.

use attnc_algebra::{Extents, Spec, TermId};
use attnc_cost::{MachineProfile, Nanos};
use egg::{Id, Language, RecExpr};
use std::collections::{BTreeMap, BTreeSet};

use crate::candidate::{Pricing, Slot, Slots};
use crate::convert;
use crate::facts::Graph;
use crate::form::{self, Form};
use crate::language::{ENode, Kind};
use crate::saturate::{Saturated, Stopped};
use crate::total::{Effect, Totals};

/// The chosen form of a spec at given extents.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// The spec, its outputs replaced by the chosen terms.
    pub spec: Spec,
    /// Predicted time.
    pub cost_estimate: Nanos,
    /// How its work grows.
    pub form: Form,
    /// The cheapest other form.
    pub runner_up: Option<RunnerUp>,
    /// The cheapest of each other form, cheapest first; what is as the spec writes it is among them.
    pub alternatives: Vec<RunnerUp>,
    /// The chosen e-nodes, one expression for each output.
    pub(crate) exprs: Vec<RecExpr<ENode>>,
}

/// A form that was not chosen.
#[derive(Clone, Debug)]
pub struct RunnerUp {
    /// The outputs' terms, in the arena of [`RunnerUp::spec`].
    pub spec: Spec,
    /// How its work grows.
    pub form: Form,
    /// Predicted time.
    pub cost_estimate: Nanos,
    /// Its e-nodes, one expression for each output.
    pub(crate) exprs: Vec<RecExpr<ENode>>,
}

impl From<RunnerUp> for Extracted {
    /// The form as if it had been chosen, so that it can be explained; nothing is known of others.
    fn from(form: RunnerUp) -> Self {
        let RunnerUp { spec, form, cost_estimate, exprs } = form;
        Self { spec, cost_estimate, form, runner_up: None, alternatives: Vec::new(), exprs }
    }
}

impl From<Extracted> for RunnerUp {
    fn from(form: Extracted) -> Self {
        let Extracted { spec, form, cost_estimate, exprs, .. } = form;
        Self { spec, form, cost_estimate, exprs }
    }
}

/// Share of one class in a cost: `(class, time, time if it must be stored)`.
type Share = (u32, f64, f64);
/// Costs by class, sorted.
type Shares = Vec<Share>;

/// Passes of the greedy fixpoint.
const MAX_PASSES: usize = 16;
/// Tried choices looked at for other forms.
const MAX_ALTERNATIVES: usize = 48;
/// Exchanges tried.
const MAX_TRIALS: usize = 96;
/// Classes looked at in all of them: a large form is tried less often.
const TRIAL_CLASSES: usize = 12_000;

impl Saturated {
    /// The cheapest form at `extents` on `profile`, with what else there is.
    pub fn extract(&self, extents: &Extents, profile: &MachineProfile) -> Extracted {
        self.extracted(extents, profile, true)
    }

    /// The cheapest form at `extents` on `profile`; nothing is said of others.
    pub fn cheapest(&self, extents: &Extents, profile: &MachineProfile) -> Extracted {
        self.extracted(extents, profile, false)
    }

    fn extracted(&self, extents: &Extents, profile: &MachineProfile, others: bool) -> Extracted {
        let slots = Pricing::new(&self.graph, extents, profile).slots();
        if self.stopped == Stopped::TooLarge {
            return self.as_written(&slots, extents);
        }
        let mut search = Search::new(&slots, self.roots.iter().map(|r| slots.index[r]).collect());
        search.greedy();
        let best = search.improve();
        let exprs = self.expressions(&slots, &best.choice);
        let mut spec = self.graph.analysis.spec.clone();
        self.put(&mut spec, &slots, &best.choice);
        let form = form::classify(&spec, extents);
        let alternatives = if others {
            search.try_as_written(&self.graph, &self.naive_exprs);
            self.alternatives(&search, &spec, form, extents)
        } else {
            Vec::new()
        };
        let runner_up = alternatives.first().cloned();
        Extracted { spec, cost_estimate: Nanos(best.total), form, runner_up, alternatives, exprs }
    }

    /// The spec's own form, priced by its e-nodes alone.
    fn as_written(&self, slots: &Slots, extents: &Extents) -> Extracted {
        let own = |slot: &Slot| slot.candidates.last().map_or(0.0, |c| c.own);
        let cost_estimate = Nanos(slots.slots.iter().map(own).sum());
        let form = form::classify(&self.original, extents);
        let spec = self.original.clone();
        Extracted { spec, cost_estimate, form, runner_up: None, alternatives: Vec::new(), exprs: Vec::new() }
    }

    /// The cheapest tried choice of each other form, cheapest first; one of the chosen form too.
    fn alternatives(&self, search: &Search<'_>, chosen: &Spec, form: Form, extents: &Extents) -> Vec<RunnerUp> {
        let mut tried: Vec<&Choice> = search.tried.iter().collect();
        tried.sort_by(|a, b| a.total.total_cmp(&b.total));
        // As written comes last into `tried`, and is looked at however dear it is.
        let as_written = search.tried.last();
        let mut scratch = chosen.clone();
        let mut seen = BTreeSet::from([terms_of(chosen)]);
        let mut out: Vec<RunnerUp> = Vec::new();
        for choice in tried.into_iter().take(MAX_ALTERNATIVES).chain(as_written) {
            self.put(&mut scratch, search.slots, &choice.choice);
            if !seen.insert(terms_of(&scratch)) {
                continue;
            }
            let form = form::classify(&scratch, extents);
            if out.iter().all(|r| r.form != form) {
                let exprs = self.expressions(search.slots, &choice.choice);
                out.push(RunnerUp { spec: scratch.clone(), form, cost_estimate: Nanos(choice.total), exprs });
            }
        }
        // Another form says more than another term of the same form.
        out.sort_by_key(|r| r.form == form);
        out
    }

    /// The chosen e-nodes of every output.
    fn expressions(&self, slots: &Slots, choice: &[usize]) -> Vec<RecExpr<ENode>> {
        self.roots.iter().map(|r| expression(slots, choice, slots.index[r])).collect()
    }

    /// Makes the chosen terms the outputs of `spec`.
    fn put(&self, spec: &mut Spec, slots: &Slots, choice: &[usize]) {
        for (at, root) in self.roots.iter().enumerate() {
            let expr = expression(slots, choice, slots.index[root]);
            let term = convert::to_term(&mut spec.terms, &expr);
            let output = &mut spec.outputs[at];
            let closed = spec.terms.free(term).iter().all(|a| output.axes.contains(&a));
            // Equal up to the order of operands is no rewrite: the spec's own term stays.
            let rewritten = term != self.naive[at] && closed;
            output.term = if rewritten { term } else { self.original.outputs[at].term };
        }
    }
}

fn terms_of(spec: &Spec) -> Vec<TermId> {
    spec.outputs.iter().map(|o| o.term).collect()
}

/// The chosen e-nodes under a class.
fn expression(slots: &Slots, choice: &[usize], at: usize) -> RecExpr<ENode> {
    let mut expr = RecExpr::default();
    build(slots, choice, at, &mut expr, &mut BTreeMap::new());
    expr
}

/// Appends the chosen e-nodes under a class and returns the position of its own.
fn build(slots: &Slots, choice: &[usize], at: usize, expr: &mut RecExpr<ENode>, built: &mut BTreeMap<usize, Id>) -> Id {
    if let Some(id) = built.get(&at) {
        return *id;
    }
    let candidate = &slots.slots[at].candidates[choice[at]];
    let ids: Vec<Id> = candidate.children.iter().map(|c| build(slots, choice, *c, expr, built)).collect();
    let mut node = candidate.node.clone();
    let children = match &candidate.fused {
        None => ids,
        Some(product) => {
            let kept = node.children().len() - 1;
            let mut product = product.clone();
            product.children_mut().copy_from_slice(&ids[kept..]);
            let body = expr.add(product);
            ids[..kept].iter().copied().chain([body]).collect()
        }
    };
    node.children_mut().copy_from_slice(&children);
    let id = expr.add(node);
    built.insert(at, id);
    id
}

/// A candidate for every class, with the total of the roots.
#[derive(Clone, Debug)]
struct Choice {
    choice: Vec<usize>,
    total: f64,
}

struct Search<'a> {
    slots: &'a Slots,
    prices: Totals,
    roots: Vec<usize>,
    choice: Vec<usize>,
    costs: Vec<Option<Shares>>,
    totals: Vec<f64>,
    tried: Vec<Choice>,
}

impl<'a> Search<'a> {
    fn new(slots: &'a Slots, roots: Vec<usize>) -> Self {
        let n = slots.slots.len();
        Self {
            slots,
            prices: Totals::new(slots),
            roots,
            choice: vec![0; n],
            costs: vec![None; n],
            totals: vec![f64::INFINITY; n],
            tried: Vec::new(),
        }
    }

    /// Chooses the cheapest candidate of every class until nothing changes.
    fn greedy(&mut self) {
        // The passes in which classes changed last, and the one under way; a candidate is looked at again only if a
        // class it needs has changed since.
        let mut changed_in = vec![0; self.slots.slots.len()];
        let mut merged = Merged::default();
        for pass in 1..=MAX_PASSES {
            let mut changed = false;
            for at in 0..self.slots.slots.len() {
                for n in 0..self.slots.slots[at].candidates.len() {
                    let candidate = &self.slots.slots[at].candidates[n];
                    if pass > 1 && candidate.children.iter().all(|c| changed_in[*c] + 1 < pass) {
                        continue;
                    }
                    if self.is_dearer(at, n) {
                        continue;
                    }
                    let Some(shares) = self.shares(at, n, &mut merged) else { continue };
                    let total = total(shares);
                    if total < self.totals[at] * (1.0 - 1e-9) {
                        (self.totals[at], self.choice[at], self.costs[at]) = (total, n, Some(shares.clone()));
                        changed_in[at] = pass;
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Whether a candidate costs more than what the class has, by its own time and its dearest operand alone: what is
    /// shared among operands is paid at least once. Of a reduction nothing is said, since it may scale its operands.
    fn is_dearer(&self, at: usize, n: usize) -> bool {
        let candidate = &self.slots.slots[at].candidates[n];
        let dearest = candidate.children.iter().map(|child| self.totals[*child]).fold(0.0, f64::max);
        let least = candidate.own + candidate.pending + dearest;
        candidate.reduced.is_none() && least.is_finite() && least * (1.0 - 1e-12) >= self.totals[at]
    }

    /// The cost of a class by a candidate; `None` if an operand has none yet or needs the class itself.
    fn shares<'m>(&self, at: usize, n: usize, merged: &'m mut Merged) -> Option<&'m Shares> {
        let candidate = &self.slots.slots[at].candidates[n];
        merged.sum.clear();
        for child in &candidate.children {
            let child = self.costs[*child].as_ref()?;
            if child.binary_search_by_key(&(at as u32), |s| s.0).is_ok() {
                return None;
            }
            merged.add(child);
        }
        let sum = &mut merged.sum;
        if let Some(effects) = self.prices.effects(at, n) {
            sum.iter_mut().for_each(|share| absorb(effects(share.0 as usize), share));
        }
        let own = (at as u32, candidate.own, candidate.pending);
        let place = sum.partition_point(|s| s.0 < own.0);
        sum.insert(place, own);
        Some(sum)
    }

    /// Prices the form as written, so that it can be the runner-up.
    fn try_as_written(&mut self, graph: &Graph, exprs: &[RecExpr<ENode>]) {
        let mut choice = self.choice.clone();
        for expr in exprs {
            let mut classes: Vec<Id> = Vec::with_capacity(expr.len());
            for node in expr.as_ref() {
                let mut node = node.clone();
                node.update_children(|c| classes[usize::from(c)]);
                if let Kind::Nary(_) = node.discriminant() {
                    node.children_mut().sort_unstable();
                }
                let Some(class) = graph.lookup(node.clone()).map(|c| graph.find(c)) else { return };
                let at = self.slots.index[&class];
                // The first candidate with this node is the one fused with its body's product.
                if let Some(n) = self.slots.slots[at].candidates.iter().position(|c| c.node == node) {
                    choice[at] = n;
                }
                classes.push(class);
            }
        }
        if let Some(total) = self.evaluate(&choice) {
            self.tried.push(Choice { choice, total });
        }
    }

    /// Exchanges single candidates of the chosen form while the total falls.
    fn improve(&mut self) -> Choice {
        let total = self.evaluate(&self.choice).unwrap_or(f64::INFINITY);
        let mut best = Choice { choice: self.choice.clone(), total };
        let mut trials = 0;
        let allowed = MAX_TRIALS.min(TRIAL_CLASSES / self.reachable(&best.choice).len().max(1));
        for _ in 0..2 {
            let mut improved = false;
            for at in self.reachable(&best.choice) {
                for n in 0..self.slots.slots[at].candidates.len() {
                    if n == best.choice[at] || trials >= allowed {
                        continue;
                    }
                    let mut choice = best.choice.clone();
                    choice[at] = n;
                    trials += 1;
                    let Some(total) = self.evaluate(&choice) else { continue };
                    let tried = Choice { choice, total };
                    if total < best.total * (1.0 - 1e-9) {
                        self.tried.push(std::mem::replace(&mut best, tried));
                        improved = true;
                    } else {
                        self.tried.push(tried);
                    }
                }
            }
            if !improved {
                break;
            }
        }
        best
    }

    /// Classes that a choice uses, roots first.
    fn reachable(&self, choice: &[usize]) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = vec![false; choice.len()];
        let mut todo: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(at) = todo.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            order.push(at);
            todo.extend(self.slots.slots[at].candidates[choice[at]].children.iter().rev());
        }
        order
    }

    /// The total of a choice; `None` if it is cyclic.
    fn evaluate(&self, choice: &[usize]) -> Option<f64> {
        self.prices.total(self.slots, &self.roots, choice)
    }
}

/// Scales a share by a restriction it lies in, and drops its storage if the reduction consumes it as it is made.
fn absorb(effect: Effect, share: &mut Share) {
    if let Some(density) = effect.density {
        share.1 *= density;
    }
    if effect.consumes && share.2 > 0.0 {
        share.2 = 0.0;
    }
}

/// Costs of operands, each class once; the memory serves one candidate after the other.
#[derive(Default)]
struct Merged {
    sum: Shares,
    before: Shares,
}

impl Merged {
    /// Joins the cost of a further operand.
    fn add(&mut self, b: &Shares) {
        if self.sum.is_empty() {
            self.sum.extend_from_slice(b);
            return;
        }
        std::mem::swap(&mut self.sum, &mut self.before);
        let (a, out) = (&self.before, &mut self.sum);
        out.clear();
        let (mut x, mut y) = (0, 0);
        while x < a.len() && y < b.len() {
            let (p, q) = (a[x], b[y]);
            let (mine, theirs) = (p.0 <= q.0, q.0 <= p.0);
            let dearer = (p.0, p.1.max(q.1), p.2.max(q.2));
            out.push(if mine && theirs {
                dearer
            } else if mine {
                p
            } else {
                q
            });
            x += usize::from(mine);
            y += usize::from(theirs);
        }
        out.extend_from_slice(&a[x..]);
        out.extend_from_slice(&b[y..]);
    }
}

fn total(shares: &Shares) -> f64 {
    shares.iter().map(|s| s.1 + s.2).sum()
}
