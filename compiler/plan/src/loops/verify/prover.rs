//! Proofs of `form >= 0` from the bounds of loop variables, rows and columns.
//!
//! The youngest atom is replaced by a bound that makes the form smaller: a
//! positive coefficient takes a lower bound, a negative one an upper bound.
//! Where several bounds hold any may serve; where the atom is one of several
//! values (the lower side of a minimum) all must. What is left at the end is a
//! form over extents, which are at least 1, or a multiple of a buffer's
//! dimension, which is, too. The search is bounded, so a failure
//! means "not proved" and never "wrong".

use std::collections::BTreeMap;

use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};

use super::linear::{Atom, Linear};
use crate::loops::expr::{Expr, ExprId, Exprs, Lane};
use crate::loops::program::VarId;

/// Steps one proof may take.
const MAX_STEPS: usize = 400;

/// What is known of a variable.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It is that value.
    Equal(ExprId),
    /// Each lower bound holds, and each upper bound.
    Range { low: Vec<Linear>, high: Vec<Linear> },
    /// Nothing but that it has a value.
    Opaque,
}

/// How an atom may be replaced.
enum Replacement {
    /// Any one will do: a factor and a bound of `factor * atom`.
    Any(Vec<(i64, Linear)>),
    /// All of the forms must be tried.
    All(Vec<Linear>),
    /// Nothing is known.
    None,
}

/// The facts of the current scope.
pub(super) struct Prover<'p> {
    exprs: &'p Exprs,
    vars: Vec<Option<Known>>,
    /// Age of each variable's definition.
    ages: Vec<u32>,
    /// What each variable is a multiple of.
    multiples: Vec<i64>,
    next_age: u32,
    /// Upper bounds of row and column inside a map.
    row: Option<Linear>,
    col: Option<Linear>,
    /// Forms that are at least 1.
    positive: Vec<Linear>,
    forms: BTreeMap<ExprId, Linear>,
    ranks: BTreeMap<ExprId, (u32, u32)>,
    steps: usize,
}

impl<'p> Prover<'p> {
    pub(super) fn new(exprs: &'p Exprs, vars: usize) -> Self {
        Self {
            exprs,
            vars: vec![None; vars],
            ages: vec![0; vars],
            multiples: vec![1; vars],
            next_age: 1,
            row: None,
            col: None,
            positive: Vec::new(),
            forms: BTreeMap::new(),
            ranks: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Says that an expression over extents is at least 1.
    pub(super) fn assume_positive(&mut self, id: ExprId) {
        let form = self.form(id);
        if form.as_constant().is_none() && !self.positive.contains(&form) {
            self.positive.push(form);
        }
    }

    /// Whether `form > -scale` as a multiple of something that is at least 1.
    fn is_positive_multiple(&self, form: &Linear, scale: i64) -> bool {
        self.positive.iter().any(|known| {
            let (Some((_, k)), Some((_, of))) = (form.terms.first(), known.terms.first()) else { return false };
            let Some(times) = k.checked_div(*of).filter(|times| *times > 0) else { return false };
            let rest = form.plus(known, times.saturating_neg()).and_then(|rest| rest.as_constant());
            rest.and_then(|rest| rest.checked_add(times)).is_some_and(|least| least > -scale)
        })
    }

    /// Whether the variable has a value here.
    pub(super) fn is_set(&self, var: VarId) -> bool {
        self.vars.get(var.0 as usize).is_some_and(Option::is_some)
    }

    /// Sets a variable; false if it is out of the table.
    pub(super) fn set(&mut self, var: VarId, known: Known) -> bool {
        let at = var.0 as usize;
        let Some(slot) = self.vars.get_mut(at) else { return false };
        if slot.replace(known).is_some() || self.ages[at] != 0 {
            // Forms that looked into the old definition are void.
            self.forms.clear();
            self.ranks.clear();
        }
        self.ages[at] = self.next_age;
        self.multiples[at] = 1;
        self.next_age += 1;
        true
    }

    /// Says that a variable that is set is a multiple of a positive number.
    pub(super) fn set_multiple(&mut self, var: VarId, of: i64) {
        if let Some(multiple) = self.multiples.get_mut(var.0 as usize) {
            *multiple = of.max(1);
        }
    }

    /// The set variables, to be given back to [`Self::leave`].
    pub(super) fn enter(&self) -> Vec<bool> {
        self.vars.iter().map(Option::is_some).collect()
    }

    /// Forgets the variables set since `mark`.
    pub(super) fn leave(&mut self, mark: &[bool]) {
        for (var, was) in self.vars.iter_mut().zip(mark) {
            if !was {
                *var = None;
            }
        }
    }

    /// Sets the numbers of rows and columns of the enclosing map.
    pub(super) fn cells(&mut self, rows: Option<ExprId>, cols: Option<ExprId>) {
        let last = |prover: &mut Self, count: Option<ExprId>| {
            count.and_then(|count| prover.form(count).plus(&Linear::constant(1), -1))
        };
        self.row = last(self, rows);
        self.col = last(self, cols);
    }

    /// A loop variable in `from..to`.
    pub(super) fn range(&mut self, from: ExprId, to: ExprId) -> Known {
        let high = self.form(to).plus(&Linear::constant(1), -1);
        Known::Range { low: vec![self.form(from)], high: high.into_iter().collect() }
    }

    /// Normal form of an integer expression.
    pub(super) fn form(&mut self, id: ExprId) -> Linear {
        if let Some(form) = self.forms.get(&id) {
            return form.clone();
        }
        let form = self.expand(id).unwrap_or_else(|| Linear::atom(Atom::Expr(id)));
        self.forms.insert(id, form.clone());
        form
    }

    fn expand(&mut self, id: ExprId) -> Option<Linear> {
        let exprs = self.exprs;
        match exprs.get(id) {
            Expr::Int(v) => Some(Linear::constant(*v)),
            Expr::Row => Some(Linear::atom(Atom::Row)),
            Expr::Col => Some(Linear::atom(Atom::Col)),
            Expr::Var(v) => match self.vars.get(v.0 as usize) {
                Some(Some(Known::Equal(value))) => {
                    let value = *value;
                    Some(self.form(value))
                }
                _ => None,
            },
            Expr::Unary(UnaryOp::Neg, x) => self.form(*x).scaled(-1),
            Expr::Unary(UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::ToInt, x) if exprs.lane(*x) == Lane::I64 => {
                Some(self.form(*x))
            }
            Expr::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), x, y) => self.divided(*op, *x, *y),
            Expr::Nary(NaryOp::Add, xs) => {
                let mut sum = Linear::default();
                for x in xs {
                    sum = sum.plus(&self.form(*x), 1)?;
                }
                Some(sum)
            }
            Expr::Nary(NaryOp::Mul, xs) => {
                let mut product = Linear::constant(1);
                for x in xs {
                    let x = self.form(*x);
                    product = match (product.as_constant(), x.as_constant()) {
                        (_, Some(k)) => product.scaled(k)?,
                        (Some(k), _) => x.scaled(k)?,
                        _ => return None,
                    };
                }
                Some(product)
            }
            _ => None,
        }
    }

    /// Whether `form >= 0` can be proved.
    pub(super) fn proves(&mut self, form: &Linear) -> bool {
        self.steps = 0;
        self.nonnegative(form)
    }

    fn nonnegative(&mut self, form: &Linear) -> bool {
        self.above(form, 1)
    }

    /// Whether `form > -scale`: the form is at most `scale` times an integer
    /// that is to be shown not negative.
    fn above(&mut self, form: &Linear, scale: i64) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return false;
        }
        let Some(atom) = self.youngest(form) else { return form.constant > -scale };
        if self.is_positive_multiple(form, scale) {
            return true;
        }
        let (rest, coefficient) = form.without(atom);
        match self.replacement(atom, coefficient > 0) {
            Replacement::None => false,
            Replacement::Any(bounds) => bounds.iter().any(|(factor, bound)| {
                let next = rest.scaled(*factor).and_then(|rest| rest.plus(bound, coefficient));
                scale.checked_mul(*factor).zip(next).is_some_and(|(scale, next)| self.above(&next, scale))
            }),
            Replacement::All(forms) => forms.iter().all(|value| {
                let next = rest.plus(value, coefficient);
                next.is_some_and(|next| self.above(&next, scale))
            }),
        }
    }

    /// The atom whose bounds mention only others of the form's, or older ones.
    fn youngest(&mut self, form: &Linear) -> Option<Atom> {
        let mut best: Option<((u32, u32), Atom)> = None;
        for (atom, _) in &form.terms {
            let rank = self.rank(*atom);
            if best.is_none_or(|(top, _)| rank > top) {
                best = Some((rank, *atom));
            }
        }
        best.map(|(_, atom)| atom)
    }

    /// Age of the youngest variable in an atom, then its height.
    fn rank(&mut self, atom: Atom) -> (u32, u32) {
        let id = match atom {
            Atom::Row | Atom::Col => return (u32::MAX, 0),
            Atom::Expr(id) => id,
        };
        if let Some(rank) = self.ranks.get(&id) {
            return *rank;
        }
        let exprs = self.exprs;
        let rank = match exprs.get(id) {
            Expr::Var(v) => {
                let at = v.0 as usize;
                match self.vars.get(at) {
                    Some(Some(Known::Equal(value))) => {
                        let value = *value;
                        let (age, height) = self.rank(Atom::Expr(value));
                        (age, height + 1)
                    }
                    _ => (self.ages.get(at).copied().unwrap_or(0), 0),
                }
            }
            Expr::Row | Expr::Col => (u32::MAX, 0),
            other => {
                let mut rank = (0, 0);
                for x in other.operands() {
                    let (age, height) = self.rank(Atom::Expr(x));
                    rank = rank.max((age, height + 1));
                }
                rank
            }
        };
        self.ranks.insert(id, rank);
        rank
    }

    /// Bounds of an atom: lower ones if `low`, else upper ones.
    fn replacement(&mut self, atom: Atom, low: bool) -> Replacement {
        let any = |forms: Vec<Linear>| Replacement::Any(forms.into_iter().map(|form| (1, form)).collect());
        let id = match atom {
            Atom::Row | Atom::Col if low => return any(vec![Linear::default()]),
            Atom::Row => return any(self.row.iter().cloned().collect()),
            Atom::Col => return any(self.col.iter().cloned().collect()),
            Atom::Expr(id) => id,
        };
        let exprs = self.exprs;
        match exprs.get(id) {
            Expr::Extent(_) if low => any(vec![Linear::constant(1)]),
            Expr::Var(v) => match self.vars.get(v.0 as usize) {
                Some(Some(Known::Range { low: lower, high })) => any(if low { lower.clone() } else { high.clone() }),
                _ => Replacement::None,
            },
            Expr::Nary(op @ (NaryOp::Min | NaryOp::Max), xs) => {
                let forms = xs.iter().map(|x| self.form(*x)).collect();
                if (*op == NaryOp::Max) == low { any(forms) } else { Replacement::All(forms) }
            }
            Expr::Nary(NaryOp::Mul, xs) if low => {
                // A product of what is not negative is not negative.
                let forms: Vec<Linear> = xs.iter().map(|x| self.form(*x)).collect();
                let all = forms.iter().all(|form| self.nonnegative(form));
                if all { any(vec![Linear::default()]) } else { Replacement::None }
            }
            Expr::Select(_, a, b) => Replacement::All(vec![self.form(*a), self.form(*b)]),
            Expr::Unary(UnaryOp::Abs, x) => {
                let form = self.form(*x);
                let forms = form.scaled(-1).into_iter().chain([form]);
                if low { any(forms.chain([Linear::default()]).collect()) } else { Replacement::All(forms.collect()) }
            }
            Expr::Cast(Lane::I64, x) if exprs.lane(*x) == Lane::Bool => any(vec![Linear::constant(i64::from(!low))]),
            Expr::LowerBound { count, .. } => {
                let zero = Linear::default();
                if low { any(vec![zero]) } else { Replacement::All(vec![self.form(*count), zero]) }
            }
            Expr::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), x, y) => self.division(*op, *x, *y, low),
            _ => Replacement::None,
        }
    }

    /// `m * (x div m) <= x <= m * (x div m) + m - d` and `0 <= x mod m <= m - 1` for m >= 1 and a d that divides both.
    fn division(&mut self, op: BinaryOp, x: ExprId, y: ExprId, low: bool) -> Replacement {
        let (x, y) = (self.form(x), self.form(y));
        let positive = y.plus(&Linear::constant(1), -1);
        if !positive.is_some_and(|form| self.nonnegative(&form)) {
            return Replacement::None;
        }
        let natural = self.nonnegative(&x);
        let mut bounds: Vec<(i64, Linear)> = Vec::new();
        match (op, low) {
            (BinaryOp::Mod, true) => bounds.push((1, Linear::default())),
            (BinaryOp::Mod, false) => {
                bounds.extend(y.plus(&Linear::constant(1), -1).map(|last| (1, last)));
                bounds.extend(natural.then_some((1, x)));
            }
            (_, true) => {
                bounds.extend(natural.then(|| (1, Linear::default())));
                if let Some(m) = y.as_constant() {
                    let divisor = gcd(self.divisor(&x), m);
                    bounds.extend(x.plus(&Linear::constant(m - divisor), -1).map(|form| (m, form)));
                }
            }
            (_, false) => {
                bounds.extend(y.as_constant().map(|m| (m, x.clone())));
                bounds.extend(natural.then_some((1, x)));
            }
        }
        Replacement::Any(bounds)
    }

    /// Whether an expression is a multiple of 2, as far as its factors tell.
    pub(super) fn is_even(&mut self, id: ExprId) -> bool {
        let form = self.form(id);
        self.divisor(&form) % 2 == 0
    }

    /// A number that divides the form, 0 if that is 0.
    fn divisor(&self, form: &Linear) -> i64 {
        let multiple = |atom: &Atom| match atom {
            Atom::Expr(id) => match self.exprs.get(*id) {
                Expr::Var(v) => self.multiples.get(v.0 as usize).copied().unwrap_or(1),
                _ => 1,
            },
            Atom::Row | Atom::Col => 1,
        };
        // A factor that overflows is left out: what divides the rest of a term divides the term.
        let terms = form.terms.iter().map(|(atom, k)| k.checked_mul(multiple(atom)).unwrap_or(*k));
        terms.fold(form.constant, gcd)
    }

    /// Quotient and remainder of a form whose terms the divisor divides.
    fn divided(&mut self, op: BinaryOp, x: ExprId, y: ExprId) -> Option<Linear> {
        let (x, m) = (self.form(x), self.form(y).as_constant().filter(|m| *m > 0)?);
        if x.terms.iter().any(|(_, k)| k % m != 0) {
            return None;
        }
        Some(match op {
            BinaryOp::Mod => Linear::constant(x.constant.rem_euclid(m)),
            _ => Linear {
                constant: x.constant.div_euclid(m),
                terms: x.terms.iter().map(|(atom, k)| (*atom, k / m)).collect(),
            },
        })
    }
}

/// The greatest common divisor, not negative; of a number and 0 the number.
fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.checked_abs().unwrap_or(1)
}
