//! Scores that fall by a running sum fall by what lies between query and key.
//!
//! `c[i] - c[j]`, or under a softmax `-c[j]` alone, of a running sum c that has grown over thousands of positions loses the
//! digits that the two ends differ in. Where the restriction says `j <= i` the difference is the sum over the positions between
//! both, whose lowering ([`crate::lower`]'s segments) subtracts in f64 what a tile's ends have in common.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use super::Planner;

/// A summand: a number times factors times a term.
#[derive(Clone)]
struct Summand {
    number: f64,
    factors: Vec<TermId>,
    term: TermId,
    /// If the term is a running sum: up to whose position it runs, over which axis, and what it sums but for the number.
    running: Option<(AxisId, AxisId, TermId)>,
}

/// Where a row's running sum may be found, if it is not in the score.
enum Row<'t> {
    /// Nowhere: what is the same for all of a row's keys makes no odds under a softmax.
    Free,
    /// Among what is added to the result.
    Beside(&'t mut Vec<TermId>),
}

impl Planner<'_> {
    /// The term with such scores by segments.
    pub(super) fn segments_in_scores(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = match self.terms.node(term).clone() {
            // Whatever decides keeps the order of its operations.
            node if node.decides() => return term,
            Node::Attend { axis, domain, score, value } => {
                Node::Attend { axis, domain, score: self.by_segments(axis, domain, score, Row::Free), value }
            }
            Node::Softmax { axis, domain, body } => {
                Node::Softmax { axis, domain, body: self.by_segments(axis, domain, body, Row::Free) }
            }
            Node::Reduce { op: ReduceOp::LogSumExp, axis, domain, body } => {
                let body = self.by_segments(axis, domain, body, Row::Beside(&mut Vec::new()));
                Node::Reduce { op: ReduceOp::LogSumExp, axis, domain, body }
            }
            Node::Nary(NaryOp::Add, xs) => Node::Nary(NaryOp::Add, self.rows_into_logsumexp(xs)),
            node => node,
        };
        let new = match node.map_operands(|t| self.segments_in_scores(t, done)) {
            Node::Nary(NaryOp::Add, xs) if xs.len() == 1 => xs[0],
            node => self.terms.add(node),
        };
        done.insert(term, new);
        new
    }

    /// Summands in which a log-sum-exp has taken in the running sums of the row beside it.
    fn rows_into_logsumexp(&mut self, mut summands: Vec<TermId>) -> Vec<TermId> {
        let lse = |x: &TermId| match *self.terms.node(*x) {
            Node::Reduce { op: ReduceOp::LogSumExp, axis, domain, body } => Some((axis, domain, body)),
            _ => None,
        };
        let Some((at, (axis, domain, body))) = summands.iter().enumerate().find_map(|(at, x)| Some((at, lse(x)?)))
        else {
            return summands;
        };
        summands.remove(at);
        let body = self.by_segments(axis, domain, body, Row::Beside(&mut summands));
        summands.push(self.terms.reduce(ReduceOp::LogSumExp, axis, domain, body));
        summands
    }

    /// The score with its running sums by segments.
    fn by_segments(&mut self, axis: AxisId, domain: TermId, score: TermId, of_row: Row<'_>) -> TermId {
        let Some(row) = self.row_at_or_after(axis, domain) else { return score };
        let mut summands = self.summands(score);
        let beside: Vec<Vec<Summand>> = match &of_row {
            Row::Free => Vec::new(),
            Row::Beside(others) => others.iter().map(|x| self.summands(*x)).collect(),
        };
        let (mut segments, mut taken) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < summands.len() {
            let of_keys = summands[at].clone();
            let Some((_, over, body)) = of_keys.running.filter(|(until, ..)| *until == axis) else {
                at += 1;
                continue;
            };
            let opposite = |other: &Summand| {
                let same = other.running == Some((row, over, body)) && other.factors == of_keys.factors;
                same && other.number == -of_keys.number
            };
            let own = summands.iter().position(opposite);
            let other = beside
                .iter()
                .enumerate()
                .position(|(at, x)| !taken.contains(&at) && matches!(&x[..], [x] if opposite(x)));
            match (own, other, &of_row) {
                (Some(own), ..) => drop(summands.remove(own)),
                (None, _, Row::Free) => {}
                (None, Some(other), Row::Beside(_)) => taken.push(other),
                (None, None, Row::Beside(_)) => {
                    at += 1;
                    continue;
                }
            }
            at -= usize::from(own.is_some_and(|own| own < at));
            summands.remove(at);
            let term = self.segment(over, body, axis, row);
            segments.push(Summand { number: -of_keys.number, term, running: None, ..of_keys });
        }
        if segments.is_empty() {
            return score;
        }
        if let Row::Beside(others) = of_row {
            let left = others.iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, x)| *x).collect();
            *others = left;
        }
        summands.extend(segments);
        let terms: Vec<TermId> = summands.into_iter().map(|summand| self.product_of(summand)).collect();
        if let [one] = terms[..] { one } else { self.terms.nary(NaryOp::Add, terms) }
    }

    /// The sum over the positions after a key, up to the row's.
    fn segment(&mut self, over: AxisId, body: TermId, key: AxisId, row: AxisId) -> TermId {
        let [between, key, row] = [over, key, row].map(|axis| self.terms.position(axis));
        let after = self.terms.binary(BinaryOp::Lt, key, between);
        let up_to = self.terms.binary(BinaryOp::Le, between, row);
        let domain = self.terms.nary(NaryOp::And, vec![after, up_to]);
        self.terms.reduce(ReduceOp::Sum, over, domain, body)
    }

    fn product_of(&mut self, summand: Summand) -> TermId {
        let Summand { number, mut factors, term, .. } = summand;
        factors.push(term);
        if number == -1.0 && factors.len() == 1 {
            return self.terms.unary(UnaryOp::Neg, term);
        }
        if number != 1.0 {
            factors.push(self.terms.real(number));
        }
        self.product(factors)
    }

    /// The axis whose position a restriction says the keys' do not exceed.
    fn row_at_or_after(&self, axis: AxisId, domain: TermId) -> Option<AxisId> {
        let conditions = self.terms.conditions(domain);
        conditions.into_iter().find_map(|condition| match *self.terms.node(condition) {
            Node::Binary(BinaryOp::Le | BinaryOp::Lt, x, y) if *self.terms.node(x) == Node::Position(axis) => {
                if let Node::Position(row) = *self.terms.node(y) {
                    Some(row)
                } else {
                    None
                }
            }
            _ => None,
        })
    }

    /// A term as a sum, multiplied out as far as running sums are in it.
    fn summands(&mut self, term: TermId) -> Vec<Summand> {
        let whole = |number: f64, factors: Vec<TermId>, term: TermId| Summand { number, factors, term, running: None };
        match self.terms.node(term).clone() {
            Node::Nary(NaryOp::Add, xs) => xs.into_iter().flat_map(|x| self.summands(x)).collect(),
            Node::Unary(UnaryOp::Neg, x) => {
                let inner = self.summands(x);
                inner.into_iter().map(|x| Summand { number: -x.number, ..x }).collect()
            }
            Node::Nary(NaryOp::Mul, _) => {
                let (number, factors) = self.number_and_factors(term);
                let inner = factors.iter().enumerate().find_map(|(at, x)| {
                    let inner = self.summands(*x);
                    inner.iter().any(|x| x.running.is_some()).then_some((at, inner))
                });
                let Some((at, inner)) = inner else { return vec![whole(1.0, Vec::new(), term)] };
                let others: Vec<TermId> = [&factors[..at], &factors[at + 1..]].concat();
                let times = |x: Summand| {
                    let mut factors = [x.factors, others.clone()].concat();
                    factors.sort();
                    // A factor of the key or the row is none of the difference's.
                    let own = |(until, ..): &(AxisId, AxisId, TermId)| {
                        others.iter().any(|x| self.terms.free(*x).contains(*until))
                    };
                    let running = x.running.filter(|running| !own(running));
                    Summand { number: x.number * number, factors, term: x.term, running }
                };
                inner.into_iter().map(times).collect()
            }
            _ => match self.running(term) {
                Some((until, over, body)) => {
                    let (number, factors) = self.number_and_factors(body);
                    let body = self.product(factors);
                    let plain = Summand { running: Some((until, over, body)), ..whole(1.0, Vec::new(), term) };
                    if number == 1.0 { vec![plain] } else { vec![self.without_number(plain, number)] }
                }
                None => vec![whole(1.0, Vec::new(), term)],
            },
        }
    }

    /// A running sum whose summand had a number as a factor: the number times the sum of what is left.
    fn without_number(&mut self, summand: Summand, number: f64) -> Summand {
        let Some((_, _, body)) = summand.running else { return summand };
        let node = match self.terms.node(summand.term).clone() {
            Node::Scan { carry, axis, row, decay, .. } => Node::Scan { carry, axis, row, decay, body },
            Node::Reduce { op, axis, domain, .. } => Node::Reduce { op, axis, domain, body },
            node => node,
        };
        Summand { number, term: self.terms.add(node), ..summand }
    }

    /// A product's number, and its other factors.
    fn number_and_factors(&self, term: TermId) -> (f64, Vec<TermId>) {
        if let Node::Unary(UnaryOp::Neg, x) = *self.terms.node(term) {
            return (-1.0, vec![x]);
        }
        let (mut number, mut others) = (1.0, Vec::new());
        for factor in self.factors(term) {
            match self.terms.node(factor) {
                Node::Real(value) => number *= value.get(),
                _ => others.push(factor),
            }
        }
        (number, others)
    }

    /// Up to whose position a running sum runs, over which axis, and its summand.
    fn running(&self, term: TermId) -> Option<(AxisId, AxisId, TermId)> {
        match *self.terms.node(term) {
            Node::Scan { carry: Carry::Sum, axis, row, decay, body } => {
                let plain = matches!(self.terms.node(decay), Node::Real(value) if value.get() == 1.0);
                plain.then_some((row, axis, body))
            }
            Node::Reduce { op: ReduceOp::Sum, axis, domain, body } => {
                let until = self.row_at_or_after(axis, domain)?;
                let plain = matches!(self.terms.node(domain), Node::Binary(BinaryOp::Le, ..));
                (plain && !self.terms.free(body).contains(until)).then_some((until, axis, body))
            }
            _ => None,
        }
    }
}
