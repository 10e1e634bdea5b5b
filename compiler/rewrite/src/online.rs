//! Scores over a prefix that part into what keys have and what positions in between add.
//!
//! Owns [`Separated`]: the score of a prefix's softmax read as `score(j) + sum[j < t and t <= i](decay(t))`, however its
//! distances, gates and running sums are spelled. Its weights are then carried from position to position with a running
//! maximum: they are stable whatever the scores are, in time linear in the length. The records are in
//! [`mod@crate::rules`]; decays that are factors of sums in [`crate::decay`].

use attnc_algebra::{AxisId, ReduceOp, TermId};
use egg::Id;

use crate::build::Tree;
use crate::decay::{NO_TERM, PrefixSum, RunningSum, is_readable_at, multiples, running_sums};
use crate::exponent::{Between, Exponent};
use crate::rule::Site;

pub const JOINS: &str = "the score joins the row and the key";
pub const ROW_IN_VALUE: &str = "the value varies along the row";
pub const CONDITION_ON_ROW: &str = "a further condition mentions the row";
pub const CONDITION_WIDENS: &str = "a further condition brings in an axis that the score does not have";
pub const MAY_BE_INFINITE: &str = "a multiple of the row's position may be infinite";
pub const NOT_PREFIX: &str = "the restriction is not j <= i - k over axes of one extent";

/// A prefix whose last position is the row's or one before it, with further conditions on keys.
pub struct Prefix {
    /// The prefix; its body is the score.
    pub sum: PrefixSum,
    /// What else keys satisfy.
    pub conditions: Vec<TermId>,
}

impl Prefix {
    /// The prefix that a restriction is, for scores and what is weighted by them.
    pub fn of(site: &Site<'_>, axis: AxisId, domain: TermId, parts: &[Id]) -> Result<Self, &'static str> {
        let conjuncts = site.spec().terms.conditions(domain);
        let end = |part: &TermId| site.domain(*part).ends_at(site.spec(), axis).filter(|(_, off)| *off <= 0);
        let Some((at, (row, off))) = conjuncts.iter().enumerate().find_map(|(at, p)| Some((at, end(p)?))) else {
            return Err(NOT_PREFIX);
        };
        let conditions: Vec<TermId> = conjuncts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, p)| *p).collect();
        if conditions.iter().any(|p| site.domain_axes(*p).contains(row)) {
            return Err(CONDITION_ON_ROW);
        }
        let known = |a| parts.iter().any(|part| site.varies(*part, a));
        if conditions.iter().any(|p| site.domain_axes(*p).iter().any(|a| a != axis && !known(a))) {
            return Err(CONDITION_WIDENS);
        }
        let sum = PrefixSum { axis, row, body: parts[0], back: -off, domain: site.domain(domain) };
        Ok(Self { sum, conditions })
    }

    /// A tree over the keys as the row's own position sees it: `back` positions before, where the conditions hold, and
    /// a constant elsewhere.
    pub fn seen(&self, site: &Site<'_>, tree: Tree, classes: &[Id], otherwise: f64) -> Result<Tree, &'static str> {
        let PrefixSum { axis, back, .. } = self.sum;
        let tree = match self.conditions.is_empty() {
            true => tree,
            false => Tree::Guarded(self.conditions.clone(), Box::new(tree), otherwise),
        };
        if back == 0 {
            return Ok(tree);
        }
        match classes.iter().all(|c| is_readable_at(site, *c, axis)) {
            true => Ok(Tree::Shifted(Box::new(tree), axis, axis, back, otherwise)),
            false => Err(NO_TERM),
        }
    }
}

/// `score(j) + sum[t where j < t and t <= i](decay(t))`, with the tree that was matched.
pub struct Separated {
    /// The score's nodes.
    pub from: Tree,
    /// What a position adds to the scores before it.
    pub decay: Tree,
    /// The scores of keys, as the row's own position sees them.
    pub score: Tree,
    /// Whether nothing of the row was left out.
    pub whole: bool,
}

/// What one position adds, as part of a score.
struct Parts {
    decays: Vec<Tree>,
    /// What scores have besides, at the place where the row's own position sees them.
    beside: Vec<Tree>,
    whole: bool,
}

impl Separated {
    /// The ways to read the score of a prefix.
    pub fn all(site: &Site<'_>, prefix: &Prefix) -> Vec<Result<Self, &'static str>> {
        let score = prefix.sum.body;
        let mut readings: Vec<(Tree, Vec<Id>)> =
            site.additions(score).map(|(addition, xs)| (Tree::matched(addition), xs.to_vec())).collect();
        if readings.is_empty() {
            readings.push((Tree::Class(score), vec![score]));
        }
        readings.into_iter().map(|(from, summands)| Self::of(site, prefix, from, &summands)).collect()
    }

    /// Whether the score of a prefix parts at all.
    pub fn exists(site: &Site<'_>, prefix: &Prefix) -> bool {
        Self::all(site, prefix).iter().any(|reading| reading.is_ok())
    }

    fn of(site: &Site<'_>, prefix: &Prefix, from: Tree, summands: &[Id]) -> Result<Self, &'static str> {
        let sum = &prefix.sum;
        let mut parts = Parts { decays: Vec::new(), beside: Vec::new(), whole: true };
        let mut plain = Vec::new();
        for summand in summands {
            if parts.segment(site, sum, *summand)? {
                continue;
            }
            if !parts.running(site, sum, *summand)? {
                plain.push(*summand);
            }
        }
        let between = Between { row: sum.row, axis: sum.axis, domain: &sum.domain };
        let (drift, balanced) = Exponent::drifting(site, &plain, &between).ok_or(JOINS)?;
        if !balanced && !plain.iter().all(|class| site.facts(*class).defined) {
            return Err(MAY_BE_INFINITE);
        }
        parts.whole &= balanced;
        if !drift.is_level() {
            parts.decays.push(drift.rate());
            parts.beside.extend((0..sum.back).map(|_| drift.rate()));
        }
        let rest: Vec<Id> = drift.rest_classes().collect();
        let own = prefix.seen(site, drift.rest(0), &rest, f64::NEG_INFINITY)?;
        parts.beside.push(own);
        Ok(Self { from, decay: Tree::Sum(parts.decays), score: Tree::Sum(parts.beside), whole: parts.whole })
    }
}

impl Parts {
    /// Adds a summand that is a sum over the positions in between; whether it is one.
    fn segment(&mut self, site: &Site<'_>, sum: &PrefixSum, summand: Id) -> Result<bool, &'static str> {
        if !site.varies(summand, sum.row) || !site.varies(summand, sum.axis) {
            return Ok(false);
        }
        for (times, class) in multiples(site, summand) {
            for (_, t, domain, gate) in site.reductions(class, ReduceOp::Sum) {
                if site.varies(gate, sum.row) || site.varies(gate, sum.axis) {
                    continue;
                }
                let Some(ends) = sum.segment(site.domain(domain).between(site.spec(), t)) else { continue };
                if !is_readable_at(site, gate, sum.axis) || !is_readable_at(site, gate, t) {
                    return Err(NO_TERM);
                }
                self.add(sum, (times, gate, t), ends);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a summand of the keys that is a running sum: up to a number of the row's, it is the negative of what lies
    /// between. Whether it is one.
    fn running(&mut self, site: &Site<'_>, sum: &PrefixSum, summand: Id) -> Result<bool, &'static str> {
        if site.varies(summand, sum.row) || !site.varies(summand, sum.axis) {
            return Ok(false);
        }
        for running in running_sums(site, summand) {
            let RunningSum { times, axis: t, until, end, body } = running;
            if until != sum.axis || !(-1..=0).contains(&end) || sum.back + end < 0 || site.varies(body, sum.axis) {
                continue;
            }
            if !is_readable_at(site, body, sum.axis) || !is_readable_at(site, body, t) {
                return Err(NO_TERM);
            }
            self.add(sum, (-times, body, t), (end + 1, 0));
            self.whole = false;
            return Ok(true);
        }
        Ok(false)
    }

    /// Adds `times` the sum of a gate over `j + start <= t and t <= i + end`.
    fn add(&mut self, sum: &PrefixSum, (times, gate, t): (f64, Id, AxisId), (start, end): (i64, i64)) {
        let read = |back: i64| {
            let gate = Tree::Class(gate).back_by(t, sum.axis, back);
            if times == 1.0 { gate } else { Tree::Product(vec![Tree::Const(times), gate]) }
        };
        self.decays.push(read(-end));
        // What the segment has before the scan's own begins.
        self.beside.extend((start..=sum.back + end).map(|at| read(sum.back - at)));
    }
}
