//! Exponents as multiples of the distance between two positions.
//!
//! Owns [`Exponent`]: an e-class read as a linear form in the positions of a row and of a summed axis, whose
//! coefficients are classes without either. However a distance is spelled, `-(i - j) * w`, `(j - i) / m`, `w * j - w * i`
//! or `w * abs(i - j)` under `j <= i`, it is one rate for each position. Must not know of sums or scans.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, Node, TermId, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::domain::Domain;
use crate::language::{ENode, Kind};
use crate::linear_form::LinearForm;
use crate::rule::Site;

/// The positions between which a distance is taken, and where that is done.
pub struct Between<'s> {
    /// The axis of the later position.
    pub row: AxisId,
    /// The axis of the earlier one.
    pub axis: AxisId,
    /// Holds for all pairs that count.
    pub domain: &'s Domain,
}

/// A constant times the classes of a product.
type Monomial = (Vec<Id>, f64);

/// A summand that is no multiple of a position: a monomial, or one of an integer's other parts.
#[derive(Clone, Debug)]
struct Rest {
    monomial: Monomial,
    integer: Option<(Vec<(TermId, i64)>, i64)>,
}

/// `rate * (row - axis) + rest`, the rate free of both axes and the rest free of the row.
#[derive(Clone, Debug)]
pub struct Exponent {
    rate: Vec<Monomial>,
    rest: Vec<Rest>,
}

/// Bound on nested sums and products that are looked into.
const DEPTH: usize = 4;

impl Exponent {
    /// The exponent of a class; `None` where it is no multiple of the distance, or its rest varies along the row.
    pub fn of(site: &Site<'_>, class: Id, between: &Between<'_>) -> Option<Self> {
        let form = Form::of(site, class, between)?;
        let opposite = |(factors, c): (&Vec<Id>, &f64)| form.axis.get(factors) == Some(&-c);
        let balanced = form.row.len() == form.axis.len() && form.row.iter().all(opposite);
        (balanced && !form.row.is_empty()).then(|| Self { rate: form.row.into_iter().collect(), rest: form.rest })
    }

    /// The sum of classes, `rate * (row - axis) + rest` but for multiples of the row's position alone; and whether there
    /// are none. `None` where something in it varies along the row and is no multiple of its position.
    pub fn drifting(site: &Site<'_>, classes: &[Id], between: &Between<'_>) -> Option<(Self, bool)> {
        let mut form = Form::default();
        classes.iter().try_for_each(|class| form.add(site, *class, &(Vec::new(), 1.0), between, DEPTH))?;
        let opposite = |(factors, c): (&Vec<Id>, &f64)| form.axis.get(factors) == Some(&-c);
        let balanced = form.row.len() == form.axis.len() && form.row.iter().all(opposite);
        let rate = form.axis.into_iter().map(|(factors, c)| (factors, -c)).collect();
        Some((Self { rate, rest: form.rest }, balanced))
    }

    /// The negative.
    pub fn negated(mut self) -> Self {
        self.rate.iter_mut().for_each(|m| m.1 = -m.1);
        self.rest.iter_mut().for_each(|r| r.monomial.1 = -r.monomial.1);
        self
    }

    /// Whether no position adds anything.
    pub fn is_level(&self) -> bool {
        self.rate.is_empty()
    }

    /// What one position more adds.
    pub fn rate(&self) -> Tree {
        Tree::Sum(self.rate.iter().map(monomial).collect())
    }

    /// The rate, if it is a constant.
    pub fn constant_rate(&self) -> Option<f64> {
        match self.rate.as_slice() {
            [(factors, c)] if factors.is_empty() => Some(*c),
            _ => None,
        }
    }

    /// What there is besides the distance beyond `back` positions, if it is a constant.
    pub fn constant_rest(&self, back: i64) -> Option<f64> {
        let rate = if back == 0 { 0.0 } else { self.constant_rate()? * back as f64 };
        self.rest.iter().try_fold(rate, |sum, rest| match (&rest.monomial, &rest.integer) {
            ((factors, c), None) if factors.is_empty() => Some(sum + c),
            ((factors, c), Some((atoms, n))) if factors.is_empty() && atoms.is_empty() => Some(sum + c * *n as f64),
            _ => None,
        })
    }

    /// What there is besides the distance beyond `back` positions.
    pub fn rest(&self, back: i64) -> Tree {
        let mut parts: Vec<Tree> = self.rest.iter().map(Rest::tree).collect();
        if back != 0 {
            parts.extend(self.rate.iter().map(|(factors, c)| monomial(&(factors.clone(), c * back as f64))));
        }
        Tree::Sum(parts)
    }

    /// The classes in the rest.
    pub fn rest_classes(&self) -> impl Iterator<Item = Id> {
        self.rest.iter().flat_map(|r| r.monomial.0.iter().copied())
    }
}

impl Rest {
    fn tree(&self) -> Tree {
        let Tree::Product(mut factors) = monomial(&self.monomial) else { unreachable!("a monomial is a product") };
        if let Some((atoms, constant)) = &self.integer {
            match atoms.as_slice() {
                [] => factors.push(Tree::Const(*constant as f64)),
                _ => factors.push(Tree::Integer(atoms.clone(), *constant)),
            }
        }
        Tree::Product(factors)
    }
}

fn monomial((factors, c): &Monomial) -> Tree {
    let mut out: Vec<Tree> = factors.iter().map(|f| Tree::Class(*f)).collect();
    out.push(Tree::Const(*c));
    Tree::Product(out)
}

/// Multiples of both positions, by the classes of their coefficients.
#[derive(Clone, Default)]
struct Form {
    row: BTreeMap<Vec<Id>, f64>,
    axis: BTreeMap<Vec<Id>, f64>,
    rest: Vec<Rest>,
}

impl Form {
    fn of(site: &Site<'_>, class: Id, between: &Between<'_>) -> Option<Self> {
        let mut form = Self::default();
        form.add(site, class, &(Vec::new(), 1.0), between, DEPTH)?;
        Some(form)
    }

    /// Adds a multiple of a class; `None`, and anything may have been added, where it varies along the row and is not
    /// linear in its position.
    fn add(&mut self, site: &Site<'_>, class: Id, by: &Monomial, between: &Between<'_>, depth: usize) -> Option<()> {
        let (row, axis) = (site.varies(class, between.row), site.varies(class, between.axis));
        if (row || axis) && depth > 0 {
            for way in [Self::integer, Self::product, Self::addition, Self::magnitude] {
                let mut tried = self.clone();
                if way(&mut tried, site, class, by, between, depth - 1).is_some() {
                    *self = tried;
                    return Some(());
                }
            }
        }
        if row {
            return None;
        }
        let monomial = match site.facts(class).constant {
            Some(c) => (by.0.clone(), by.1 * c.get()),
            None => times(site, by, [class]),
        };
        self.rest.push(Rest { monomial, integer: None });
        Some(())
    }

    fn integer(
        &mut self,
        site: &Site<'_>,
        class: Id,
        by: &Monomial,
        between: &Between<'_>,
        _depth: usize,
    ) -> Option<()> {
        let spec = site.spec();
        let terms = &spec.terms;
        let mut term = site.closed(class)?;
        while let Node::Unary(UnaryOp::ToReal | UnaryOp::ToInt, x) = terms.node(term) {
            term = *x;
        }
        let form = between.domain.settled(spec, LinearForm::of(terms, term)?)?;
        let mut others = Vec::new();
        for (atom, c) in &form.atoms {
            match terms.node(*atom) {
                Node::Position(a) if *a == between.row => add_to(&mut self.row, by, *c),
                Node::Position(a) if *a == between.axis => add_to(&mut self.axis, by, *c),
                _ if [between.row, between.axis].iter().any(|a| terms.free(*atom).contains(*a)) => return None,
                _ => others.push((*atom, *c)),
            }
        }
        if !others.is_empty() || form.constant != 0 {
            self.rest.push(Rest { monomial: by.clone(), integer: Some((others, form.constant)) });
        }
        Some(())
    }

    fn product(
        &mut self,
        site: &Site<'_>,
        class: Id,
        by: &Monomial,
        between: &Between<'_>,
        depth: usize,
    ) -> Option<()> {
        site.products(class).find_map(|(_, factors)| {
            let moves = |f: &Id| site.varies(*f, between.row) || site.varies(*f, between.axis);
            let (moving, fixed): (Vec<Id>, Vec<Id>) = factors.iter().partition(|f| moves(f));
            let [one] = moving[..] else { return None };
            let mut tried = self.clone();
            tried.add(site, one, &times(site, by, fixed), between, depth)?;
            *self = tried;
            Some(())
        })
    }

    fn addition(
        &mut self,
        site: &Site<'_>,
        class: Id,
        by: &Monomial,
        between: &Between<'_>,
        depth: usize,
    ) -> Option<()> {
        site.additions(class).find_map(|(_, summands)| {
            let mut tried = self.clone();
            summands.iter().try_for_each(|s| tried.add(site, *s, by, between, depth))?;
            *self = tried;
            Some(())
        })
    }

    /// The absolute value of a multiple of the distance whose sign is known.
    fn magnitude(
        &mut self,
        site: &Site<'_>,
        class: Id,
        by: &Monomial,
        between: &Between<'_>,
        depth: usize,
    ) -> Option<()> {
        let positive = |f: &Id| site.facts(*f).positive;
        site.unaries(class, UnaryOp::Abs).find_map(|(_, x)| {
            let exponent = Exponent::of(site, x, between).filter(|e| depth > 0 && e.rest.is_empty())?;
            let above = |sign: f64| exponent.rate.iter().all(|(fs, c)| sign * c > 0.0 && fs.iter().all(positive));
            let sign = if above(1.0) {
                1.0
            } else if above(-1.0) {
                -1.0
            } else {
                return None;
            };
            for (factors, c) in exponent.rate {
                let (factors, c) = times(site, &(by.0.clone(), by.1 * sign * c), factors);
                add_real(&mut self.row, &factors, c);
                add_real(&mut self.axis, &factors, -c);
            }
            Some(())
        })
    }
}

/// A monomial times further classes, constants folded.
fn times(site: &Site<'_>, (factors, c): &Monomial, more: impl IntoIterator<Item = Id>) -> Monomial {
    let (mut factors, mut c) = (factors.clone(), *c);
    for class in more {
        match site.facts(class).constant {
            Some(value) => c *= value.get(),
            None => factors.push(site.find(class)),
        }
    }
    factors.sort_unstable();
    (factors, c)
}

fn add_to(coefficients: &mut BTreeMap<Vec<Id>, f64>, (factors, c): &Monomial, times: i64) {
    add_real(coefficients, factors, c * times as f64);
}

fn add_real(coefficients: &mut BTreeMap<Vec<Id>, f64>, factors: &[Id], c: f64) {
    let sum = coefficients.entry(factors.to_vec()).or_insert(0.0);
    *sum += c;
    if *sum == 0.0 {
        coefficients.remove(factors);
    }
}

/// A power of a base, or of e, whose exponent is a multiple of a distance.
pub struct Power {
    /// The base; e where there is none.
    base: Option<Id>,
    exponent: Exponent,
}

impl Power {
    /// The powers that a class is, or is the reciprocal of, each with the tree of nodes that were matched.
    pub fn of(site: &Site<'_>, class: Id, between: &Between<'_>) -> Option<(Tree, Self)> {
        let direct = Self::plain(site, class, between);
        direct.or_else(|| {
            site.unaries(class, UnaryOp::Recip).find_map(|(recip, x)| {
                let (from, power) = Self::plain(site, x, between)?;
                let power = Self { exponent: power.exponent.negated(), ..power };
                Some((Tree::matched_with(recip, 0, from), power))
            })
        })
    }

    fn plain(site: &Site<'_>, class: Id, between: &Between<'_>) -> Option<(Tree, Self)> {
        let fixed = |id: Id| !site.varies(id, between.row) && !site.varies(id, between.axis);
        let powers = site.nodes(class, Kind::Binary(BinaryOp::Pow)).filter_map(|node| match node {
            ENode::Binary(_, [base, exponent]) if fixed(*base) => Some((node, Some(*base), *exponent)),
            _ => None,
        });
        let exponentials = site.unaries(class, UnaryOp::Exp).map(|(node, x)| (node, None, x));
        powers.chain(exponentials).find_map(|(node, base, x)| {
            let power = Self { base, exponent: Exponent::of(site, x, between)? };
            Some((Tree::matched(node), power))
        })
    }

    /// Whether the power is the product of what [`Power::each`] and [`Power::beside`] give, whatever the base is.
    pub fn splits(&self, site: &Site<'_>, back: i64) -> bool {
        let Some(base) = self.base else { return true };
        if site.facts(base).positive || site.facts(base).constant.is_some_and(|c| c.get() > 0.0) {
            return true;
        }
        // A power of a base that may be 0 or below has whole exponents, and 0 ^ 0 is 1.
        match (self.exponent.constant_rate(), self.exponent.constant_rest(back)) {
            (Some(rate), Some(rest)) => rate.fract() == 0.0 && (rest == 0.0 || (rate == 1.0 && rest > 0.0)),
            _ => false,
        }
    }

    /// The factor for each position of the distance.
    pub fn each(&self) -> Tree {
        match (self.base, self.exponent.constant_rate()) {
            (Some(base), Some(1.0)) => Tree::Class(base),
            (Some(base), Some(-1.0)) => Tree::unary(UnaryOp::Recip, Tree::Class(base)),
            _ => self.raised(self.exponent.rate()),
        }
    }

    /// The factor for what there is besides the distance beyond `back` positions; `None` where that is 1.
    pub fn beside(&self, back: i64) -> Option<Tree> {
        match (self.base, self.exponent.constant_rest(back)) {
            (_, Some(0.0)) => None,
            (Some(base), Some(1.0)) => Some(Tree::Class(base)),
            (_, Some(rest)) => Some(self.raised(Tree::Const(rest))),
            _ => Some(self.raised(self.exponent.rest(back))),
        }
    }

    /// The classes that vary along the summed axis in [`Power::beside`].
    pub fn beside_classes(&self) -> impl Iterator<Item = Id> {
        self.exponent.rest_classes()
    }

    fn raised(&self, exponent: Tree) -> Tree {
        match self.base {
            None => Tree::unary(UnaryOp::Exp, exponent),
            Some(base) => Tree::Node(ENode::Binary(BinaryOp::Pow, [Id::from(0); 2]), vec![Tree::Class(base), exponent]),
        }
    }
}
