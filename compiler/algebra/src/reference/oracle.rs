//! Element-by-element evaluation by recursion over terms: slow, and simple
//! enough to be seen right. Reads the doc comments of the nodes literally.

use super::ReferenceError;
use super::tests::Build;
use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::term::{Carry, Node, TermId, Type};

/// A value: reals as they are, integers and truth values apart.
#[derive(Clone, Copy, Debug)]
enum Value {
    Real(f64),
    Int(i64),
}

impl Value {
    fn real(self) -> f64 {
        match self {
            Self::Real(v) => v,
            Self::Int(v) => v as f64,
        }
    }

    fn int(self) -> i64 {
        match self {
            Self::Real(v) => v as i64,
            Self::Int(v) => v,
        }
    }
}

type Outcome = Result<Value, ReferenceError>;

/// Which failing operands of a conjunction or disjunction count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Connective {
    /// Those that no other operand, before or after, makes irrelevant.
    Symmetric,
    /// Those that no operand before makes irrelevant.
    InOrder,
}

struct Oracle<'b> {
    build: &'b Build,
    connective: Connective,
    pos: Vec<usize>,
}

/// All elements of output 0 in row-major order.
pub(super) fn oracle(build: &Build, connective: Connective) -> Result<Vec<f64>, ReferenceError> {
    let output = &build.spec.outputs[0];
    let mut o = Oracle { build, connective, pos: vec![0; build.spec.axes.len()] };
    let shape: Vec<usize> = output.axes.iter().map(|a| o.extent(*a)).collect();
    let volume = shape.iter().product();
    (0..volume)
        .map(|at| {
            let position = super::unflatten(at, &shape);
            output.axes.iter().zip(position).for_each(|(a, p)| o.pos[a.0 as usize] = p);
            o.value(output.term).map(Value::real)
        })
        .collect()
}

impl Oracle<'_> {
    fn extent(&self, axis: AxisId) -> usize {
        let spec = &self.build.spec;
        spec.eval_extent(spec.axis(axis).extent, &self.build.extents).unwrap() as usize
    }

    fn truth(&mut self, id: TermId) -> Result<bool, ReferenceError> {
        Ok(self.value(id)?.int() != 0)
    }

    /// Runs `f` at every position of `axis` where `domain` holds.
    fn each(
        &mut self,
        axis: AxisId,
        domain: TermId,
        f: &mut dyn FnMut(&mut Self, usize) -> Result<(), ReferenceError>,
    ) -> Result<(), ReferenceError> {
        let before = self.pos[axis.0 as usize];
        let outcome = (0..self.extent(axis)).try_for_each(|p| {
            self.pos[axis.0 as usize] = p;
            if self.truth(domain)? { f(self, p) } else { Ok(()) }
        });
        self.pos[axis.0 as usize] = before;
        outcome
    }

    fn value(&mut self, id: TermId) -> Outcome {
        let terms = &self.build.spec.terms;
        let ty = terms.ty(id);
        if self.is_open(id)? == Some(false) {
            return Ok(Value::Real(0.0));
        }
        Ok(match terms.node(id) {
            Node::Real(v) => Value::Real(v.get()),
            Node::Int(v) => Value::Int(*v),
            Node::Bool(v) => Value::Int(i64::from(*v)),
            Node::Extent(s) => Value::Int(self.build.extents.get(*s).unwrap()),
            Node::Position(axis) => Value::Int(self.pos[axis.0 as usize] as i64),
            Node::Input { input, index } => {
                let tensor = &self.build.inputs[input.0 as usize];
                let mut at = 0;
                for (axis, index) in index.iter().enumerate() {
                    let index = self.value(*index)?.int();
                    let extent = tensor.shape()[axis];
                    let position = usize::try_from(index).ok().filter(|p| *p < extent).ok_or_else(|| {
                        let input = self.build.spec.input(*input);
                        let axis = self.build.spec.axis(input.axes[axis]).name.clone();
                        ReferenceError::IndexOutOfRange { input: input.name.clone(), axis, index, extent }
                    })?;
                    at = at * extent + position;
                }
                if ty == Type::Real { Value::Real(tensor.get_f64(at)) } else { Value::Int(tensor.get_i64(at)) }
            }
            Node::Unary(op, x) => {
                let x = self.value(*x)?;
                match (op, ty) {
                    (UnaryOp::ToReal, _) => Value::Real(x.real()),
                    (UnaryOp::ToInt | UnaryOp::RealToInt, _) => Value::Int(x.int()),
                    (_, Type::Real) => Value::Real(op.eval(x.real())),
                    _ => Value::Int(op.eval(x.real()) as i64),
                }
            }
            Node::Binary(op, x, y) => {
                let by_reals = ty == Type::Real || [*x, *y].iter().any(|t| terms.ty(*t) == Type::Real);
                let (x, y) = (self.value(*x)?, self.value(*y)?);
                match (by_reals, ty) {
                    (true, Type::Real) => Value::Real(op.eval(x.real(), y.real())),
                    (true, _) => Value::Int(op.eval(x.real(), y.real()) as i64),
                    _ => Value::Int(op.eval_int(x.int(), y.int()).ok_or(ReferenceError::IntegerOverflow)?),
                }
            }
            Node::Nary(op, xs) => self.nary(*op, xs, ty)?,
            Node::Select(c, a, b) => {
                let taken = if self.truth(*c)? { *a } else { *b };
                let value = self.value(taken)?;
                if ty == Type::Real { Value::Real(value.real()) } else { value }
            }
            Node::Reduce { op, axis, domain, body } => self.reduce(*op, *axis, *domain, *body, ty)?,
            Node::Softmax { axis, domain, body } => match self.weight(*axis, *domain, *body)? {
                Some(weight) => Value::Real(weight),
                None => Value::Real(0.0),
            },
            Node::Attend { axis, domain, score, value } => self.attended(*axis, *domain, *score, *value)?,
            Node::Order { axis, key } => self.ordered(*axis, *key)?,
            Node::At { axis, index, body } => {
                let index = self.value(*index)?.int().clamp(0, self.extent(*axis) as i64 - 1);
                let before = std::mem::replace(&mut self.pos[axis.0 as usize], index as usize);
                let value = self.value(*body);
                self.pos[axis.0 as usize] = before;
                value?
            }
            Node::Scan { carry: Carry::Sum, axis, row, decay, body } => self.scanned(*axis, *row, *decay, *body)?,
            Node::Scan { carry, axis, row, decay, body } => self.scored(*carry, (*axis, *row), *decay, *body)?,
        })
    }

    fn attended(&mut self, axis: AxisId, domain: TermId, score: TermId, value: TermId) -> Outcome {
        let mut sum = 0.0;
        self.each(axis, domain, &mut |o, _| {
            if let Some(weight) = o.weight(axis, domain, score)? {
                sum += weight * o.value(value)?.real();
            }
            Ok(())
        })?;
        Ok(Value::Real(sum))
    }

    fn scanned(&mut self, axis: AxisId, row: AxisId, decay: TermId, body: TermId) -> Outcome {
        let row = self.pos[row.0 as usize];
        let before = self.pos[axis.0 as usize];
        let last = row.min(self.extent(axis) - 1);
        let state = (0..=last).try_fold(0.0, |state, p| {
            self.pos[axis.0 as usize] = p;
            let decay = if p > 0 { self.value(decay)?.real() } else { 1.0 };
            Ok(state * decay + self.value(body)?.real())
        });
        self.pos[axis.0 as usize] = before;
        Ok(Value::Real(state?))
    }

    /// A scan of scores, each with its decays one after the other.
    fn scored(&mut self, carry: Carry, (axis, row): (AxisId, AxisId), decay: TermId, body: TermId) -> Outcome {
        let row = self.pos[row.0 as usize];
        let before = self.pos[axis.0 as usize];
        let last = row.min(self.extent(axis) - 1);
        let mut pairs: Vec<(f64, f64)> = Vec::new();
        let filled = (0..=last).try_for_each(|p| {
            self.pos[axis.0 as usize] = p;
            let decay = if p > 0 { self.value(decay)?.real() } else { 0.0 };
            pairs.iter_mut().for_each(|(score, _)| *score += decay);
            let body = self.value(body)?.real();
            pairs.push(match carry {
                Carry::Attend(score) => (self.value(score)?.real(), body),
                _ => (body, 0.0),
            });
            Ok(())
        });
        self.pos[axis.0 as usize] = before;
        filled?;
        let top = pairs.iter().map(|(score, _)| *score).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = pairs.iter().map(|(score, _)| (score - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        Ok(Value::Real(match carry {
            Carry::Attend(_) if top == f64::NEG_INFINITY => 0.0,
            Carry::Attend(_) => {
                weights.iter().zip(&pairs).map(|(weight, (_, value))| weight * value).sum::<f64>() / total
            }
            _ if top.is_infinite() => top,
            _ => top + total.ln(),
        }))
    }

    fn ordered(&mut self, axis: AxisId, key: TermId) -> Outcome {
        let before = self.pos[axis.0 as usize];
        let mut keys = Vec::new();
        let outcome = (0..self.extent(axis)).try_for_each(|p| {
            self.pos[axis.0 as usize] = p;
            keys.push((self.value(key)?.int(), p));
            Ok(())
        });
        self.pos[axis.0 as usize] = before;
        outcome?;
        keys.sort_unstable();
        Ok(Value::Int(keys[before].1 as i64))
    }

    /// For a term made of softmax weights: whether it is inside the domains, so that it is not the zero that wins
    /// against any factor. A product is open if all its weights are, a sum of weights if one is.
    fn is_open(&mut self, id: TermId) -> Result<Option<bool>, ReferenceError> {
        let terms = &self.build.spec.terms;
        match terms.node(id) {
            Node::Softmax { axis, domain, body } => Ok(Some(self.weight(*axis, *domain, *body)?.is_some())),
            Node::Unary(UnaryOp::Neg, x) | Node::Binary(BinaryOp::Div, x, _) => self.is_open(*x),
            Node::Nary(op @ (NaryOp::Mul | NaryOp::Add), xs) => {
                // As in a conjunction or disjunction, a part that fails counts unless another decides.
                let parts: Vec<Result<Option<bool>, ReferenceError>> = xs.iter().map(|x| self.is_open(*x)).collect();
                let weights = parts.iter().filter(|part| !matches!(part, Ok(None))).count();
                let decisive = *op == NaryOp::Add;
                if weights == 0 || (decisive && weights < xs.len()) {
                    Ok(None)
                } else if let (Connective::InOrder, Some(Err(e))) = (self.connective, parts.iter().find(|p| p.is_err()))
                {
                    Err(e.clone())
                } else if parts.contains(&Ok(Some(decisive))) {
                    Ok(Some(decisive))
                } else {
                    parts.into_iter().find(Result::is_err).unwrap_or(Ok(Some(!decisive)))
                }
            }
            _ => Ok(None),
        }
    }

    fn nary(&mut self, op: NaryOp, xs: &[TermId], ty: Type) -> Outcome {
        if matches!(op, NaryOp::And | NaryOp::Or) {
            // An operand that fails counts unless another decides.
            let decisive = i64::from(op == NaryOp::Or);
            let mut failure = None;
            for x in xs {
                match self.value(*x) {
                    Ok(v) if i64::from(v.int() != 0) == decisive => return Ok(Value::Int(decisive)),
                    Ok(_) => {}
                    Err(e) if self.connective == Connective::InOrder => return Err(e),
                    Err(e) => failure = Some(e),
                }
            }
            return failure.map_or(Ok(Value::Int(1 - decisive)), Err);
        }
        let mut acc = self.value(xs[0])?;
        for x in &xs[1..] {
            let x = self.value(*x)?;
            acc = if ty == Type::Real {
                Value::Real(op.eval(acc.real(), x.real()))
            } else {
                Value::Int(op.eval_int(acc.int(), x.int()).ok_or(ReferenceError::IntegerOverflow)?)
            };
        }
        Ok(acc)
    }

    /// The softmax weight at the position of `axis`; `None` outside the domain.
    fn weight(&mut self, axis: AxisId, domain: TermId, body: TermId) -> Result<Option<f64>, ReferenceError> {
        if !self.truth(domain)? {
            return Ok(None);
        }
        let top = self.reduce(ReduceOp::Max, axis, domain, body, Type::Real)?.real();
        if top == f64::NEG_INFINITY {
            return Ok(None);
        }
        let mut total = 0.0;
        self.each(axis, domain, &mut |o, _| {
            total += libm::exp(o.value(body)?.real() - top);
            Ok(())
        })?;
        Ok(Some(libm::exp(self.value(body)?.real() - top) / total))
    }

    fn reduce(&mut self, op: ReduceOp, axis: AxisId, domain: TermId, body: TermId, ty: Type) -> Outcome {
        let mut values: Vec<(usize, Value)> = Vec::new();
        self.each(axis, domain, &mut |o, p| {
            let v = o.value(body)?;
            values.push((p, v));
            Ok(())
        })?;
        let reals = || values.iter().map(|(_, v)| v.real());
        let fold = |f: &dyn Fn(f64, f64) -> f64| reals().fold(op.identity(), f);
        let ints = |f: &dyn Fn(i64, i64) -> Option<i64>| {
            let all = values.iter().try_fold(op.identity() as i64, |s, (_, v)| f(s, v.int()));
            all.map(Value::Int).ok_or(ReferenceError::IntegerOverflow)
        };
        Ok(match op {
            ReduceOp::Sum if ty == Type::Real => Value::Real(fold(&|s, x| s + x)),
            ReduceOp::Prod if ty == Type::Real => Value::Real(fold(&|s, x| s * x)),
            ReduceOp::Sum => ints(&i64::checked_add)?,
            ReduceOp::Prod => ints(&i64::checked_mul)?,
            ReduceOp::Max => Value::Real(fold(&|s, x| NaryOp::Max.eval(s, x))),
            ReduceOp::Min => Value::Real(fold(&|s, x| NaryOp::Min.eval(s, x))),
            ReduceOp::Any => Value::Int(i64::from(values.iter().any(|(_, v)| v.int() != 0))),
            ReduceOp::All => Value::Int(i64::from(values.iter().all(|(_, v)| v.int() != 0))),
            ReduceOp::ArgMax | ReduceOp::ArgMin => {
                let sign = if op == ReduceOp::ArgMax { 1.0 } else { -1.0 };
                let numbers = values.iter().filter(|(_, v)| !v.real().is_nan());
                let best = numbers.fold(None, |best: Option<(usize, f64)>, (p, v)| match best {
                    Some((_, b)) if sign * v.real() <= sign * b => best,
                    _ => Some((*p, v.real())),
                });
                let first = values.first().map(|(p, _)| *p);
                Value::Int(best.map(|(p, _)| p).or(first).map_or(-1, |p| p as i64))
            }
            ReduceOp::LogSumExp => {
                let top = fold(&|s, x| NaryOp::Max.eval(s, x));
                let total = reals().fold(0.0, |s, x| s + libm::exp(x - top));
                Value::Real(if top.is_infinite() { top } else { top + libm::log(total) })
            }
        })
    }
}
