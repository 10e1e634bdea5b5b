//! Executes one step of a kernel: a register from registers, inputs and tables.

use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::tensor::{Data, Tensor};
use crate::term::TermId;

use super::failure::Failure;
use super::lanes;
use super::plan::{Action, Address, Computed, Op2, Reg, Table};
use super::run::Run;

impl Run<'_> {
    /// Computes the register `to`.
    pub(super) fn compute(&mut self, to: Reg, action: &Action, guard: Option<Reg>, site: TermId) {
        let n = self.width(to);
        if to.real {
            let mut reals = std::mem::take(&mut self.reals[to.at]);
            self.compute_reals(&mut reals[..n], action, guard, site);
            self.reals[to.at] = reals;
        } else {
            let mut ints = std::mem::take(&mut self.ints[to.at]);
            self.compute_ints(&mut ints[..n], action, guard, site);
            self.ints[to.at] = ints;
        }
    }

    fn compute_reals(&mut self, to: &mut [f64], action: &Action, guard: Option<Reg>, site: TermId) {
        match action {
            Action::Input { input, address, computed } => {
                let context = self.context;
                let tensor = &context.inputs[input.0 as usize];
                self.load(to, address, computed, guard, site, |to, base, stride| load_reals(tensor, to, base, stride));
            }
            Action::Table { table, address } => {
                let (base, table) = (self.base(address), self.tables[*table].clone());
                copy_strided(to, &table.real, base, address.lane_stride, |v| v);
                self.spread_failures(&table, base, address, to.len(), guard, site);
            }
            Action::One(op, x) => real_one(*op, to, self.reals_of(*x)),
            Action::Two(op, x, y) => real_two(*op, to, self.reals_of(*x), self.reals_of(*y)),
            Action::Select(c, a, b) => {
                let (c, a, b) = (self.ints_of(*c), self.reals_of(*a), self.reals_of(*b));
                select(to, c, a, b);
            }
            Action::Widen(x) => lanes::map(to, self.ints_of(*x), |v| v as f64),
            Action::Position(_) | Action::Truncate(_) | Action::Mask { .. } => unreachable!("these give integers"),
        }
    }

    fn compute_ints(&mut self, to: &mut [i64], action: &Action, guard: Option<Reg>, site: TermId) {
        match action {
            Action::Input { input, address, computed } => {
                let context = self.context;
                let tensor = &context.inputs[input.0 as usize];
                self.load(to, address, computed, guard, site, |to, base, stride| load_ints(tensor, to, base, stride));
            }
            Action::Table { table, address } => {
                let (base, table) = (self.base(address), self.tables[*table].clone());
                copy_strided(to, &table.int, base, address.lane_stride, |v| v);
                self.spread_failures(&table, base, address, to.len(), guard, site);
            }
            Action::Position(axis) => {
                let first = self.pos[axis.0 as usize] as i64;
                to.iter_mut().zip(first..).for_each(|(t, p)| *t = p);
            }
            Action::One(op, x) => self.int_one(to, *op, *x, guard, site),
            Action::Two(op, x, y) if x.real => {
                let (x, y) = (self.reals_of(*x), self.reals_of(*y));
                compare_reals(*op, to, x, y);
            }
            Action::Two(op, x, y) => self.int_two(to, *op, (*x, *y), guard, site),
            Action::Select(c, a, b) => {
                let (c, a, b) = (self.ints_of(*c), self.ints_of(*a), self.ints_of(*b));
                select(to, c, a, b);
            }
            Action::Truncate(x) => lanes::map(to, self.reals_of(*x), |v| v as i64),
            Action::Mask { outer, condition, negated } => {
                let condition = self.ints_of(*condition);
                lanes::map(to, condition, |c| i64::from((c != 0) != *negated));
                if let Some(outer) = outer {
                    let outer = self.ints_of(*outer);
                    to.iter_mut().enumerate().for_each(|(lane, t)| *t &= lanes::at(outer, lane));
                }
            }
            Action::Widen(_) => unreachable!("widening gives reals"),
        }
    }

    /// Loads elements of an input through `copy(to, first element, stride)`, checking computed indices.
    fn load<T: Default + Copy>(
        &mut self,
        to: &mut [T],
        address: &Address,
        computed: &[Computed],
        guard: Option<Reg>,
        site: TermId,
        copy: impl Fn(&mut [T], usize, usize),
    ) {
        let base = self.base(address);
        if computed.iter().all(|c| !c.index.wide) {
            let offset = self.computed_offset(computed, 0);
            match offset {
                Ok(offset) => copy(to, base + offset, address.lane_stride),
                Err(failure) => {
                    to.fill(T::default());
                    self.fail(None, guard, site, || failure);
                }
            }
            return;
        }
        for lane in 0..to.len() {
            match self.computed_offset(computed, lane) {
                Ok(offset) => copy(&mut to[lane..=lane], base + offset + lane * address.lane_stride, 0),
                Err(failure) => {
                    to[lane] = T::default();
                    self.fail(Some(lane), guard, site, || failure);
                }
            }
        }
    }

    fn computed_offset(&self, computed: &[Computed], lane: usize) -> Result<usize, Failure> {
        let mut offset = 0;
        for c in computed {
            let index = lanes::at(self.ints_of(c.index), lane);
            match usize::try_from(index) {
                Ok(p) if p < c.extent => offset += p * c.stride,
                _ => return Err(Failure::Index { axis: c.axis, index, extent: c.extent }),
            }
        }
        Ok(offset)
    }

    fn spread_failures(
        &mut self,
        table: &Table,
        base: usize,
        address: &Address,
        lanes: usize,
        guard: Option<Reg>,
        site: TermId,
    ) {
        if table.failed.is_empty() {
            return;
        }
        for lane in 0..lanes {
            let code = table.failed[base + lane * address.lane_stride];
            if code != 0 {
                let spread = if lanes == 1 { None } else { Some(lane) };
                self.fail(spread, guard, site, || Failure::Known(code));
            }
        }
    }

    fn int_one(&mut self, to: &mut [i64], op: UnaryOp, x: Reg, guard: Option<Reg>, site: TermId) {
        for lane in 0..to.len() {
            let x = lanes::at(self.ints_of(x), lane);
            let value = match op {
                UnaryOp::Neg => x.checked_neg(),
                UnaryOp::Abs => x.checked_abs(),
                UnaryOp::Not => Some(i64::from(x == 0)),
                UnaryOp::Sign => Some(x.signum()),
                UnaryOp::Relu => Some(x.max(0)),
                _ => Some(x),
            };
            to[lane] = self.checked(value, lane, to.len(), guard, site, || Failure::Overflow);
        }
    }

    fn int_two(&mut self, to: &mut [i64], op: Op2, (x, y): (Reg, Reg), guard: Option<Reg>, site: TermId) {
        let (xs, ys) = (self.ints_of(x), self.ints_of(y));
        match op {
            Op2::Binary(BinaryOp::Eq) => return lanes::zip(to, xs, ys, |x, y| i64::from(x == y)),
            Op2::Binary(BinaryOp::Ne) => return lanes::zip(to, xs, ys, |x, y| i64::from(x != y)),
            Op2::Binary(BinaryOp::Lt) => return lanes::zip(to, xs, ys, |x, y| i64::from(x < y)),
            Op2::Binary(BinaryOp::Le) => return lanes::zip(to, xs, ys, |x, y| i64::from(x <= y)),
            Op2::Nary(NaryOp::And) => return lanes::zip(to, xs, ys, |x, y| i64::from(x != 0 && y != 0)),
            Op2::Nary(NaryOp::Or) => return lanes::zip(to, xs, ys, |x, y| i64::from(x != 0 || y != 0)),
            Op2::Nary(NaryOp::Min) => return lanes::zip(to, xs, ys, i64::min),
            Op2::Nary(NaryOp::Max) => return lanes::zip(to, xs, ys, i64::max),
            _ => {}
        }
        for lane in 0..to.len() {
            let (x, y) = (lanes::at(self.ints_of(x), lane), lanes::at(self.ints_of(y), lane));
            let value = match op {
                Op2::Binary(op) => op.eval_int(x, y),
                Op2::Nary(op) => op.eval_int(x, y),
            };
            let divides = matches!(op, Op2::Binary(BinaryOp::FloorDiv | BinaryOp::Mod));
            let failure = || if divides && y == 0 { Failure::ZeroDivisor } else { Failure::Overflow };
            to[lane] = self.checked(value, lane, to.len(), guard, site, failure);
        }
    }

    fn checked(
        &mut self,
        value: Option<i64>,
        lane: usize,
        lanes: usize,
        guard: Option<Reg>,
        site: TermId,
        failure: impl FnOnce() -> Failure,
    ) -> i64 {
        value.unwrap_or_else(|| {
            self.fail(if lanes == 1 { None } else { Some(lane) }, guard, site, failure);
            0
        })
    }
}

fn real_one(op: UnaryOp, to: &mut [f64], x: &[f64]) {
    match op {
        UnaryOp::Neg => lanes::map(to, x, |x| -x),
        UnaryOp::Exp => lanes::map(to, x, libm::exp),
        _ => lanes::map(to, x, |x| op.eval(x)),
    }
}

fn real_two(op: Op2, to: &mut [f64], x: &[f64], y: &[f64]) {
    match op {
        Op2::Nary(NaryOp::Add) => lanes::zip(to, x, y, |x, y| x + y),
        Op2::Nary(NaryOp::Mul) => lanes::zip(to, x, y, |x, y| x * y),
        Op2::Binary(BinaryOp::Div) => lanes::zip(to, x, y, |x, y| x / y),
        // The power function returns just this.
        Op2::Binary(BinaryOp::Pow) if *y == [2.0] => lanes::map(to, x, |x| x * x),
        Op2::Nary(op) => lanes::zip(to, x, y, |x, y| op.eval(x, y)),
        Op2::Binary(op) => lanes::zip(to, x, y, |x, y| op.eval(x, y)),
    }
}

fn compare_reals(op: Op2, to: &mut [i64], x: &[f64], y: &[f64]) {
    match op {
        Op2::Binary(op) => lanes::zip(to, x, y, |x, y| op.eval(x, y) as i64),
        Op2::Nary(op) => lanes::zip(to, x, y, |x, y| op.eval(x, y) as i64),
    }
}

fn select<T: Copy>(to: &mut [T], condition: &[i64], a: &[T], b: &[T]) {
    for (lane, t) in to.iter_mut().enumerate() {
        *t = if lanes::at(condition, lane) != 0 { lanes::at(a, lane) } else { lanes::at(b, lane) };
    }
}

fn copy_strided<A: Copy, T>(to: &mut [T], from: &[A], base: usize, stride: usize, f: impl Fn(A) -> T) {
    match (to.len(), stride) {
        (1, _) => to[0] = f(from[base]),
        (n, 1) => to.iter_mut().zip(&from[base..base + n]).for_each(|(t, v)| *t = f(*v)),
        _ => to.iter_mut().enumerate().for_each(|(lane, t)| *t = f(from[base + lane * stride])),
    }
}

fn load_reals(tensor: &Tensor, to: &mut [f64], base: usize, stride: usize) {
    match tensor.data() {
        Data::F32(v) => copy_strided(to, v, base, stride, f64::from),
        Data::F64(v) => copy_strided(to, v, base, stride, |x| x),
        Data::F16(v) => copy_strided(to, v, base, stride, f64::from),
        Data::Bf16(v) => copy_strided(to, v, base, stride, f64::from),
        _ => to.iter_mut().enumerate().for_each(|(lane, t)| *t = tensor.get_f64(base + lane * stride)),
    }
}

fn load_ints(tensor: &Tensor, to: &mut [i64], base: usize, stride: usize) {
    match tensor.data() {
        Data::I32(v) => copy_strided(to, v, base, stride, i64::from),
        Data::I64(v) => copy_strided(to, v, base, stride, |x| x),
        Data::Bool(v) => copy_strided(to, v, base, stride, i64::from),
        _ => to.iter_mut().enumerate().for_each(|(lane, t)| *t = tensor.get_i64(base + lane * stride)),
    }
}
