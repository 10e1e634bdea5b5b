//! Decays: factors of a prefix's summand that are products over the positions up to the row.
//!
//! Owns [`PrefixSum`], a sum over `j <= i - back`, and how its decays are read: as powers whose exponent is a multiple
//! of the distance ([`crate::exponent`]), or as products of gates over a segment, whichever ends it has. Any number of
//! them is one scan. The records are in [`mod@crate::rules`].

use attnc_algebra::{AxisId, Node, ReduceOp, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::domain::Domain;
use crate::exponent::{Between, Power};
use crate::facts::any_sub_term;
use crate::language::ENode;
use crate::rule::{Outcome, Site};

pub const ROW_REMAINS: &str = "a summand's factor joins the row and the summed axis";
pub const NOT_SUMMED: &str = "no factor varies along the summed axis";
pub const NOT_SEGMENT: &str = "the decay does not run from j to the row";
pub const NO_TERM: &str = "a factor cannot be read at another position";

/// Gates of single positions that a segment's ends may have besides the scan's.
const MAX_ENDS: i64 = 3;

/// A sum over the positions of an axis up to `back` before a row's.
pub struct PrefixSum {
    pub axis: AxisId,
    pub row: AxisId,
    pub body: Id,
    /// Positions between the last summand and the row.
    pub back: i64,
    /// The restriction, which is no more than that.
    pub domain: Domain,
}

/// Which decays a rule is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Powers alone.
    Powers,
    /// At least one product over a segment.
    Segments,
}

/// One factor that decays.
enum Decay {
    Power(Power),
    /// `prod[t where j + start <= t and t <= i + end](gate)`
    Segment {
        t: AxisId,
        gate: Tree,
        start: i64,
        end: i64,
    },
}

impl PrefixSum {
    /// Unites the sum with a scan for each way to read its summand as decays and a part without the row.
    pub fn scans(&self, site: &Site<'_>, node: &ENode, kinds: Kinds, out: &mut Outcome) {
        for (from, factors) in site.factorings(self.body) {
            let mut matched = from;
            let (mut decays, mut rest) = (Vec::new(), Vec::new());
            for (at, factor) in factors.iter().enumerate() {
                match self.decay(site, *factor, out) {
                    Some((tree, decay)) => {
                        matched = with_factor(&matched, at, tree);
                        decays.push(decay);
                    }
                    None => rest.push(*factor),
                }
            }
            let found = match decays.iter().any(|d| matches!(d, Decay::Segment { .. })) {
                true => Kinds::Segments,
                false => Kinds::Powers,
            };
            if decays.is_empty() || found != kinds {
                continue;
            }
            match self.scan(site, &decays, &rest) {
                Ok(to) => out.union(Tree::Node(node.clone(), vec![matched]), to),
                Err(reason) => out.decline(reason),
            }
        }
    }

    /// The factors `back` positions before the summed axis, nothing before its first.
    pub fn further_back(&self, site: &Site<'_>, factors: &[Id]) -> Result<Tree, &'static str> {
        if factors.iter().any(|f| site.varies(*f, self.row)) {
            return Err(ROW_REMAINS);
        }
        if !factors.iter().any(|f| site.varies(*f, self.axis)) {
            return Err(NOT_SUMMED);
        }
        let moved = factors.iter().map(|f| self.moved(site, Tree::Class(*f), &[*f]));
        Ok(Tree::Product(moved.collect::<Result<Vec<Tree>, _>>()?))
    }

    /// A tree over some classes, `back` positions before the summed axis if it varies along it.
    fn moved(&self, site: &Site<'_>, tree: Tree, classes: &[Id]) -> Result<Tree, &'static str> {
        if self.back == 0 || !classes.iter().any(|c| site.varies(*c, self.axis)) {
            return Ok(tree);
        }
        match classes.iter().all(|c| is_readable_at(site, *c, self.axis)) {
            true => Ok(tree.back_by(self.axis, self.axis, self.back)),
            false => Err(NO_TERM),
        }
    }

    fn scan(&self, site: &Site<'_>, decays: &[Decay], rest: &[Id]) -> Result<Tree, &'static str> {
        let varying = |id: &Id| site.varies(*id, self.axis);
        let (mut each, mut outside, mut inside, mut begins) = (Vec::new(), Vec::new(), Vec::new(), false);
        for decay in decays {
            match decay {
                Decay::Power(power) => {
                    each.push(power.each());
                    let classes: Vec<Id> = power.beside_classes().collect();
                    if let Some(beside) = power.beside(self.back) {
                        let along = classes.iter().any(varying);
                        begins |= along;
                        let to = if along { &mut inside } else { &mut outside };
                        to.push(self.moved(site, beside, &classes)?);
                    }
                }
                Decay::Segment { t, gate, start, end } => {
                    let read = |back: i64| gate.clone().back_by(*t, self.axis, back);
                    each.push(read(-end));
                    begins |= *start < self.back;
                    // What the segment has before the scan's own begins.
                    inside.extend((*start..=self.back + end).map(|at| read(self.back - at)));
                }
            }
        }
        // Something has to be 0 before the first position.
        if self.back > 0 && !begins && !rest.iter().any(varying) {
            inside.push(Tree::Const(1.0).back_by(self.axis, self.axis, self.back));
        }
        if rest.iter().any(|f| site.varies(*f, self.row)) {
            return Err(ROW_REMAINS);
        }
        for factor in rest {
            inside.push(self.moved(site, Tree::Class(*factor), &[*factor])?);
        }
        let scan = Tree::scan(self.axis, self.row, Tree::Product(each), Tree::Product(inside));
        outside.push(scan);
        Ok(Tree::Product(outside))
    }

    /// The decay that a factor is, with the tree that was matched.
    fn decay(&self, site: &Site<'_>, factor: Id, out: &mut Outcome) -> Option<(Tree, Decay)> {
        if !site.varies(factor, self.row) {
            return None;
        }
        let between = Between { row: self.row, axis: self.axis, domain: &self.domain };
        if let Some((tree, power)) = Power::of(site, factor, &between).filter(|(_, p)| p.splits(site, self.back)) {
            return Some((tree, Decay::Power(power)));
        }
        for (product, t, domain, gate) in site.reductions(factor, ReduceOp::Prod) {
            if site.varies(gate, self.row) || site.varies(gate, self.axis) {
                out.decline(ROW_REMAINS);
                continue;
            }
            let Some((start, end)) = self.segment(site.domain(domain).between(site.spec(), t)) else {
                out.decline(NOT_SEGMENT);
                continue;
            };
            if !is_readable_at(site, gate, self.axis) || !is_readable_at(site, gate, t) {
                out.decline(NO_TERM);
                continue;
            }
            return Some((Tree::matched(product), Decay::Segment { t, gate: Tree::Class(gate), start, end }));
        }
        self.difference_of_sums(site, factor)
    }

    /// `exp(sum[t where t <= i + end](a) - sum[t where t <= j + end](a))` is a segment of gates `exp(a)`.
    fn difference_of_sums(&self, site: &Site<'_>, factor: Id) -> Option<(Tree, Decay)> {
        for (exp, x) in site.unaries(factor, UnaryOp::Exp) {
            for (addition, summands) in site.additions(x) {
                let [one, other] = *summands else { continue };
                for a in running_sums(site, one) {
                    for b in running_sums(site, other) {
                        let same = a.axis == b.axis && a.body == b.body && a.end == b.end && a.times == -b.times;
                        let times = match (a.until, b.until) {
                            _ if !same || !(-1..=0).contains(&a.end) => continue,
                            ends if ends == (self.row, self.axis) => a.times,
                            ends if ends == (self.axis, self.row) => b.times,
                            _ => continue,
                        };
                        if self.back + a.end > MAX_ENDS
                            || [self.axis, a.axis].iter().any(|x| !is_readable_at(site, a.body, *x))
                        {
                            continue;
                        }
                        let gate =
                            Tree::unary(UnaryOp::Exp, Tree::Product(vec![Tree::Const(times), Tree::Class(a.body)]));
                        let from = Tree::matched_with(exp, 0, Tree::matched(addition));
                        return Some((from, Decay::Segment { t: a.axis, gate, start: a.end + 1, end: a.end }));
                    }
                }
            }
        }
        None
    }

    /// `(a, b)` of `j + a <= t and t <= i + b`, where the scan's own positions are the last of these.
    pub fn segment(&self, between: Option<((AxisId, i64), (AxisId, i64))>) -> Option<(i64, i64)> {
        let ((from, start), (to, end)) = between?;
        let ends = self.back + end - start + 1;
        let own = (from, to) == (self.axis, self.row) && (-1..=0).contains(&end);
        (own && start >= 0 && (0..=MAX_ENDS).contains(&ends)).then_some((start, end))
    }
}

/// `times * sum[axis where axis <= until + end](body)`, the body free of `until`.
pub struct RunningSum {
    pub times: f64,
    pub axis: AxisId,
    pub until: AxisId,
    pub end: i64,
    pub body: Id,
}

/// The multiples of sums over prefixes that a class is.
pub fn running_sums(site: &Site<'_>, class: Id) -> Vec<RunningSum> {
    let sums = multiples(site, class).into_iter().flat_map(|(times, class)| {
        site.reductions(class, ReduceOp::Sum).filter_map(move |(_, axis, domain, body)| {
            let (until, end) = site.domain(domain).ends_at(site.spec(), axis)?;
            let body = site.find(body);
            (!site.varies(body, until)).then_some(RunningSum { times, axis, until, end, body })
        })
    });
    sums.collect()
}

/// The numbers and classes that a class is a product of.
pub fn multiples(site: &Site<'_>, class: Id) -> Vec<(f64, Id)> {
    let mut multiples = vec![(1.0, class)];
    for (_, factors) in site.products(class) {
        let [one, other] = *factors else { continue };
        for (number, class) in [(one, other), (other, one)] {
            multiples.extend(site.facts(number).constant.map(|c| (c.get(), class)));
        }
    }
    multiples
}

/// The matched product with a tree for one factor.
fn with_factor(from: &Tree, at: usize, factor: Tree) -> Tree {
    match from {
        Tree::Node(product, children) => {
            let mut children = children.clone();
            children[at] = factor;
            Tree::Node(product.clone(), children)
        }
        _ => factor,
    }
}

/// Whether no binder in the oldest form of the class would capture `axis`.
pub fn is_readable_at(site: &Site<'_>, class: Id, axis: AxisId) -> bool {
    let terms = &site.spec().terms;
    let binds = |node: &Node| match node {
        Node::Reduce { axis: a, .. } | Node::Attend { axis: a, .. } | Node::Scan { axis: a, .. } => *a == axis,
        Node::Softmax { .. } | Node::Order { .. } | Node::At { .. } => true,
        _ => false,
    };
    !site.oldest(class).as_ref().iter().any(|node| match node {
        ENode::Reduce(_, a, ..) | ENode::Attend(a, ..) | ENode::Scan(a, ..) | ENode::Online(a, ..) => *a == axis,
        ENode::Softmax(..) | ENode::At(..) => true,
        ENode::Closed(term) => any_sub_term(terms, *term, binds),
        _ => false,
    })
}
