//! Executes a kernel: its loops, its steps over lanes, its fold.
//!
//! Every fold takes its operands in axis order, so the lanes and loops chosen
//! do not change a bit. A failure (an index out of range, an integer
//! overflow) spoils the elements that use it, and only where a guard holds.

use std::rc::Rc;

use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::tensor::{Data, Tensor};
use crate::term::{TermId, Type};

use super::context::Context;
use super::failure::{Failure, Failures};
use super::lanes;
use super::plan::{Action, Address, Computed, Finish, Kernel, LANES, LoopKind, Op2, Reg, Step, Table};

/// Whether the running state of a fold over values of type `ty` is real.
pub(super) fn state_is_real(op: ReduceOp, ty: Type) -> bool {
    match op {
        ReduceOp::Sum | ReduceOp::Prod => ty == Type::Real,
        ReduceOp::Any | ReduceOp::All => false,
        _ => true,
    }
}

/// A table of `volume` elements that hold the result over nothing.
pub(super) fn identity_table(kernel: &Kernel, volume: usize) -> Table {
    let (real, int) = match kernel.finish {
        Finish::Map { .. } | Finish::Scan { .. } => (0.0, 0),
        Finish::Fold { op: ReduceOp::ArgMax | ReduceOp::ArgMin, .. } => (0.0, -1),
        Finish::Fold { op, .. } => (op.identity(), op.identity() as i64),
    };
    let keeps_extremum = matches!(kernel.finish, Finish::Fold { op: ReduceOp::ArgMax | ReduceOp::ArgMin, .. });
    let reals = if kernel.real || keeps_extremum { volume } else { 0 };
    let ints = if kernel.real { 0 } else { volume };
    Table { real: vec![real; reals], int: vec![int; ints], failed: Vec::new() }
}

/// Executes `kernel` at the positions `pos` of the fixed axes and writes into `out`.
///
/// Without a loop for its reduction the kernel folds one position into the state that `out` holds.
pub(super) fn run(
    context: &Context,
    kernel: &Kernel,
    tables: &[Rc<Table>],
    pos: &mut [usize],
    failures: &mut Failures,
    out: &mut Table,
) {
    let before: Vec<usize> = kernel.loops.iter().map(|l| pos[l.axis.0 as usize]).collect();
    let row_before = kernel.capture.map(|c| pos[c.row.0 as usize]);
    let streamed = !kernel.loops.iter().any(|l| matches!(l.kind, LoopKind::Reduce | LoopKind::ReduceLanes));
    let mut run = Run {
        context,
        kernel,
        tables,
        pos,
        failures,
        out,
        reals: registers(kernel.reals),
        ints: registers(kernel.ints),
        lanes: 1,
        state: State::default(),
        streamed,
        folded: false,
        level: 0,
        failed: vec![Vec::new(); kernel.code.len()],
    };
    kernel.real_constants.iter().for_each(|(reg, v)| run.reals[reg.at][0] = *v);
    kernel.int_constants.iter().for_each(|(reg, v)| run.ints[reg.at][0] = *v);
    run.enter(0);
    kernel.loops.iter().zip(before).for_each(|(l, p)| pos[l.axis.0 as usize] = p);
    if let (Some(capture), Some(p)) = (kernel.capture, row_before) {
        pos[capture.row.0 as usize] = p;
    }
}

fn registers<T: Copy + Default>(count: usize) -> Vec<Vec<T>> {
    vec![vec![T::default(); LANES]; count]
}

/// The state of a fold, by lane.
#[derive(Default)]
struct State {
    real: Vec<f64>,
    int: Vec<i64>,
    failed: Vec<u32>,
}

struct Run<'r> {
    context: &'r Context<'r>,
    kernel: &'r Kernel,
    tables: &'r [Rc<Table>],
    pos: &'r mut [usize],
    failures: &'r mut Failures,
    out: &'r mut Table,
    reals: Vec<Vec<f64>>,
    ints: Vec<Vec<i64>>,
    lanes: usize,
    state: State,
    streamed: bool,
    /// Whether the innermost level was reached since the flag was cleared.
    folded: bool,
    /// The level whose steps run.
    level: usize,
    /// Failures of the steps of each level, by lane; empty if there is none.
    failed: Vec<Vec<u32>>,
}

impl Run<'_> {
    // --- loops

    fn enter(&mut self, level: usize) {
        self.level = level;
        self.failed[level].clear();
        let kernel = self.kernel;
        for step in &kernel.code[level] {
            match step {
                Step::Compute { to, action, guard, site } => self.compute(*to, action, *guard, *site),
                Step::Skip(mask) => {
                    let none = self.ints_of(*mask).iter().all(|m| *m == 0);
                    if none && self.failed.iter().all(Vec::is_empty) {
                        return;
                    }
                }
            }
        }
        let Some(l) = kernel.loops.get(level) else {
            self.finish();
            self.folded = true;
            return self.failed[level].clear();
        };
        let axis = l.axis.0 as usize;
        match l.kind {
            LoopKind::Plain => {
                for p in 0..l.extent {
                    self.pos[axis] = p;
                    self.enter(level + 1);
                }
            }
            LoopKind::Lanes => {
                for first in (0..l.extent).step_by(LANES) {
                    self.lanes = LANES.min(l.extent - first);
                    self.pos[axis] = first;
                    self.enter(level + 1);
                }
                self.lanes = 1;
            }
            LoopKind::Reduce | LoopKind::ReduceLanes => self.reduce(level),
        }
        self.failed[level].clear();
    }

    fn reduce(&mut self, level: usize) {
        let kernel = self.kernel;
        let l = kernel.loops[level];
        let axis = l.axis.0 as usize;
        let extent = kernel.stop.map_or(l.extent, |row| l.extent.min(self.pos[row.0 as usize] + 1));
        let in_lanes = l.kind == LoopKind::ReduceLanes;
        self.start_state(if in_lanes { 1 } else { self.lanes });
        for first in (0..extent).step_by(if in_lanes { LANES } else { 1 }) {
            self.pos[axis] = first;
            if in_lanes {
                self.lanes = LANES.min(extent - first);
                self.folded = false;
                self.enter(level + 1);
                if kernel.capture.is_some() && !self.folded {
                    (first..first + self.lanes).for_each(|row| self.store_state_at(row));
                }
                self.lanes = 1;
                continue;
            }
            self.capture(first, true);
            self.enter(level + 1);
            self.capture(first, false);
        }
        match kernel.capture {
            None => self.store_state(),
            Some(capture) => {
                let rows = self.context.extent(capture.row);
                (extent..rows).for_each(|row| self.store_state_at(row));
            }
        }
    }

    /// Stores the state for the row at position `row`, if the kernel takes it at this moment.
    fn capture(&mut self, row: usize, before: bool) {
        if let Some(capture) = self.kernel.capture
            && capture.strict == before
        {
            self.store_state_at(row);
        }
    }

    fn store_state_at(&mut self, row: usize) {
        if let Some(capture) = self.kernel.capture
            && row < self.context.extent(capture.row)
        {
            self.pos[capture.row.0 as usize] = row;
            self.store_state();
        }
    }

    fn finish(&mut self) {
        match self.kernel.finish {
            Finish::Map { value } => self.store_value(value),
            _ if self.streamed => {
                self.load_state();
                self.fold();
                self.store_state();
            }
            _ if self.folds_lanes() => self.fold_in_order(),
            _ => self.fold(),
        }
    }

    fn folds_lanes(&self) -> bool {
        self.kernel.loops.last().is_some_and(|l| l.kind == LoopKind::ReduceLanes)
    }

    // --- the result

    fn out_address(&self) -> (usize, usize) {
        let folds_lanes = self.folds_lanes();
        let address = &self.kernel.out;
        (self.base(address), if folds_lanes { 0 } else { address.lane_stride })
    }

    fn store_value(&mut self, value: Reg) {
        let (base, stride) = self.out_address();
        for lane in 0..self.lanes {
            let to = base + lane * stride;
            if value.real {
                self.out.real[to] = lanes::at(self.reals_of(value), lane);
            } else {
                self.out.int[to] = lanes::at(self.ints_of(value), lane);
            }
        }
        if self.any_failure() {
            for lane in 0..self.lanes {
                let code = self.failure_in(lane);
                self.mark(base + lane * stride, code);
            }
        }
    }

    fn start_state(&mut self, lanes: usize) {
        let (real, int) = match self.kernel.finish {
            Finish::Fold { op: ReduceOp::ArgMax | ReduceOp::ArgMin, .. } => (0.0, -1),
            Finish::Fold { op, .. } => (op.identity(), op.identity() as i64),
            _ => (0.0, 0),
        };
        self.state.real.clear();
        self.state.real.resize(lanes, real);
        self.state.int.clear();
        self.state.int.resize(lanes, int);
        self.state.failed.clear();
    }

    fn load_state(&mut self) {
        self.start_state(self.lanes);
        let (base, stride) = self.out_address();
        for lane in 0..self.lanes {
            let from = base + lane * stride;
            if let Some(v) = self.out.real.get(from) {
                self.state.real[lane] = *v;
            }
            if let Some(v) = self.out.int.get(from) {
                self.state.int[lane] = *v;
            }
        }
        if !self.out.failed.is_empty() {
            self.state.failed = (0..self.lanes).map(|lane| self.out.failed[base + lane * stride]).collect();
        }
    }

    fn store_state(&mut self) {
        let (base, stride) = self.out_address();
        let lanes = if self.folds_lanes() { 1 } else { self.lanes };
        for lane in 0..lanes {
            let to = base + lane * stride;
            if let Some(v) = self.out.real.get_mut(to) {
                *v = self.state.real[lane];
            }
            if let Some(v) = self.out.int.get_mut(to) {
                *v = self.state.int[lane];
            }
        }
        for lane in 0..self.state.failed.len() {
            self.mark(base + lane * stride, self.state.failed[lane]);
        }
    }

    fn mark(&mut self, at: usize, code: u32) {
        if code != 0 {
            let volume = self.out.real.len().max(self.out.int.len());
            self.out.failed.resize(volume, 0);
            self.out.failed[at] = code;
        }
    }

    // --- folds

    fn fold(&mut self) {
        let n = self.lanes;
        let kernel = self.kernel;
        let mut state = std::mem::take(&mut self.state);
        match kernel.finish {
            Finish::Map { .. } => {}
            Finish::Scan { axis, decay, value } => {
                if self.pos[axis.0 as usize] > 0 {
                    lanes::fold(&mut state.real[..n], None, self.reals_of(decay), |s, g| s * g);
                }
                lanes::fold(&mut state.real[..n], None, self.reals_of(value), |s, x| s + x);
            }
            Finish::Fold { op, axis, mask, value } => {
                let mask = mask.map(|m| self.ints_of(m));
                let at = self.pos[axis.0 as usize] as i64;
                fold_lanes(op, &mut state, n, mask, || self.reals_of(value), || self.ints_of(value), value.real, at);
            }
        }
        self.state = state;
        self.absorb_failures();
    }

    /// Folds the lanes into one state, lowest position first.
    fn fold_in_order(&mut self) {
        let kernel = self.kernel;
        let n = self.lanes;
        let mut state = std::mem::take(&mut self.state);
        for lane in 0..n {
            let failure = if self.any_failure() { self.failure_in(lane) } else { 0 };
            if kernel.capture.is_some() {
                self.state = state;
                self.capture(self.reduced_position(lane), true);
                state = std::mem::take(&mut self.state);
            }
            match kernel.finish {
                Finish::Map { .. } => {}
                Finish::Scan { decay, value, .. } => {
                    if self.reduced_position(lane) > 0 {
                        state.real[0] *= lanes::at(self.reals_of(decay), lane);
                    }
                    state.real[0] += lanes::at(self.reals_of(value), lane);
                }
                Finish::Fold { op, mask, value, .. } => {
                    if lanes::holds(mask.map(|m| self.ints_of(m)), lane) {
                        let at = self.reduced_position(lane) as i64;
                        let real = || std::slice::from_ref(&self.reals[value.at][if value.wide { lane } else { 0 }]);
                        let int = || std::slice::from_ref(&self.ints[value.at][if value.wide { lane } else { 0 }]);
                        fold_lanes(op, &mut state, 1, None, real, int, value.real, at);
                    }
                }
            }
            if failure != 0 {
                state.failed.resize(1, 0);
                state.failed[0] = failure;
            }
            if kernel.capture.is_some() {
                self.state = state;
                self.capture(self.reduced_position(lane), false);
                state = std::mem::take(&mut self.state);
            }
        }
        self.state = state;
    }

    fn reduced_position(&self, lane: usize) -> usize {
        let axis = self.kernel.loops.last().map_or(0, |l| l.axis.0 as usize);
        self.pos[axis] + lane
    }

    // --- failures

    fn any_failure(&self) -> bool {
        self.failed.iter().any(|f| !f.is_empty())
    }

    fn failure_in(&self, lane: usize) -> u32 {
        let codes = self.failed.iter().filter(|f| !f.is_empty()).map(|f| lanes::at(f, lane.min(f.len() - 1)));
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }

    fn absorb_failures(&mut self) {
        if self.any_failure() {
            let n = self.lanes;
            self.state.failed.resize(n, 0);
            for lane in 0..n {
                let code = self.failure_in(lane);
                if code != 0 {
                    self.state.failed[lane] = code;
                }
            }
        }
    }

    /// Notes that the step for `site` failed in a lane (in all, for a step of one number), where the guard holds.
    fn fail(&mut self, lane: Option<usize>, guard: Option<Reg>, site: TermId, failure: impl FnOnce() -> Failure) {
        let n = self.lanes;
        let active = |lane: usize| lanes::holds(guard.map(|g| self.ints_of(g)), lane);
        let hit: Vec<usize> = match lane {
            Some(lane) => (lane..=lane).filter(|lane| active(*lane)).collect(),
            None => (0..n).filter(|lane| active(*lane)).collect(),
        };
        if hit.is_empty() {
            return;
        }
        let code = self.failures.code(site, failure);
        let failed = &mut self.failed[self.level];
        failed.resize(n, 0);
        hit.into_iter().filter(|lane| *lane < n).for_each(|lane| failed[lane] = code);
    }

    // --- registers

    fn width(&self, reg: Reg) -> usize {
        if reg.wide { self.lanes } else { 1 }
    }

    fn reals_of(&self, reg: Reg) -> &[f64] {
        &self.reals[reg.at][..self.width(reg)]
    }

    fn ints_of(&self, reg: Reg) -> &[i64] {
        &self.ints[reg.at][..self.width(reg)]
    }

    fn base(&self, address: &Address) -> usize {
        address.terms.iter().map(|(axis, stride)| self.pos[axis.0 as usize] * stride).sum()
    }

    // --- steps

    fn compute(&mut self, to: Reg, action: &Action, guard: Option<Reg>, site: TermId) {
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

// --- arithmetic

#[allow(clippy::too_many_arguments, reason = "one fold over either bank")]
fn fold_lanes<'v>(
    op: ReduceOp,
    state: &mut State,
    n: usize,
    mask: Option<&[i64]>,
    reals: impl Fn() -> &'v [f64],
    ints: impl Fn() -> &'v [i64],
    real: bool,
    at: i64,
) {
    let largest = |s: f64, x: f64| NaryOp::Max.eval(s, x);
    let least = |s: f64, x: f64| NaryOp::Min.eval(s, x);
    match op {
        ReduceOp::Sum if real => lanes::fold(&mut state.real[..n], mask, reals(), |s, x| s + x),
        ReduceOp::Prod if real => lanes::fold(&mut state.real[..n], mask, reals(), |s, x| s * x),
        ReduceOp::Sum => fold_ints(state, n, mask, ints(), i64::checked_add),
        ReduceOp::Prod => fold_ints(state, n, mask, ints(), i64::checked_mul),
        ReduceOp::Max => lanes::fold(&mut state.real[..n], mask, reals(), largest),
        ReduceOp::Min => lanes::fold(&mut state.real[..n], mask, reals(), least),
        ReduceOp::Any => lanes::fold(&mut state.int[..n], mask, ints(), |s, x| i64::from(s != 0 || x != 0)),
        ReduceOp::All => lanes::fold(&mut state.int[..n], mask, ints(), |s, x| i64::from(s != 0 && x != 0)),
        ReduceOp::ArgMax | ReduceOp::ArgMin => {
            for lane in (0..n).filter(|lane| lanes::holds(mask, *lane)) {
                let x = lanes::at(reals(), lane);
                let best = state.real[lane];
                let better = if op == ReduceOp::ArgMax { x > best } else { x < best };
                if state.int[lane] < 0 || better || (best.is_nan() && !x.is_nan()) {
                    state.real[lane] = x;
                    state.int[lane] = at;
                }
            }
        }
        ReduceOp::LogSumExp => unreachable!("the core form has no log-sum-exp"),
    }
}

fn fold_ints(state: &mut State, n: usize, mask: Option<&[i64]>, x: &[i64], f: impl Fn(i64, i64) -> Option<i64>) {
    for lane in (0..n).filter(|lane| lanes::holds(mask, *lane)) {
        match f(state.int[lane], lanes::at(x, lane)) {
            Some(v) => state.int[lane] = v,
            None => {
                state.failed.resize(n, 0);
                state.failed[lane] = Failures::SUM_OVERFLOW;
            }
        }
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
