//! Executes a kernel: its loops, its steps over lanes, its fold.
//!
//! Every fold takes its operands in axis order, so the lanes and loops chosen
//! do not change a bit. A failure (an index out of range, an integer
//! overflow) spoils the elements that use it, and only where a guard holds.

use std::rc::Rc;

use crate::ops::{BinaryOp, ReduceOp};
use crate::term::{TermId, Type};

use super::context::Context;
use super::failure::{Failure, Failures};
use super::fold::{State, fold_lanes};
use super::lanes;
use super::plan::{Address, Finish, Kernel, LANES, LoopKind, Reg, Step, Table};

/// Whether the running state of a fold over values of type `ty` is real.
pub(super) fn state_is_real(op: ReduceOp, ty: Type) -> bool {
    match op {
        ReduceOp::Sum | ReduceOp::Prod => ty == Type::Real,
        ReduceOp::Any | ReduceOp::All => false,
        _ => true,
    }
}

/// A step of two reals.
type Step2 = fn(f64, f64) -> f64;

/// How the state of a scan meets a decay, and what is next.
fn scan_step(op: ReduceOp) -> (Step2, Step2) {
    match op {
        ReduceOp::LogSumExp => (|state, decay| state + decay, |state, score| BinaryOp::LogAddExp.eval(state, score)),
        _ => (|state, decay| state * decay, |state, summand| state + summand),
    }
}

/// A table of `volume` elements that hold the result over nothing.
pub(super) fn identity_table(kernel: &Kernel, volume: usize) -> Table {
    let (real, int) = match kernel.finish {
        Finish::Map { .. } => (0.0, 0),
        Finish::Scan { op, .. } => (op.identity(), 0),
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

/// A kernel under execution.
pub(super) struct Run<'r> {
    pub(super) context: &'r Context<'r>,
    kernel: &'r Kernel,
    pub(super) tables: &'r [Rc<Table>],
    pub(super) pos: &'r mut [usize],
    pub(super) failures: &'r mut Failures,
    out: &'r mut Table,
    pub(super) reals: Vec<Vec<f64>>,
    pub(super) ints: Vec<Vec<i64>>,
    pub(super) lanes: usize,
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
            Finish::Scan { op, .. } => (op.identity(), 0),
            Finish::Map { .. } => (0.0, 0),
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
            Finish::Scan { op, axis, decay, value } => {
                let (fade, join) = scan_step(op);
                if self.pos[axis.0 as usize] > 0 {
                    lanes::fold(&mut state.real[..n], None, self.reals_of(decay), fade);
                }
                lanes::fold(&mut state.real[..n], None, self.reals_of(value), join);
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
                Finish::Scan { op, decay, value, .. } => {
                    let (fade, join) = scan_step(op);
                    if self.reduced_position(lane) > 0 {
                        state.real[0] = fade(state.real[0], lanes::at(self.reals_of(decay), lane));
                    }
                    state.real[0] = join(state.real[0], lanes::at(self.reals_of(value), lane));
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
    pub(super) fn fail(
        &mut self,
        lane: Option<usize>,
        guard: Option<Reg>,
        site: TermId,
        failure: impl FnOnce() -> Failure,
    ) {
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

    pub(super) fn width(&self, reg: Reg) -> usize {
        if reg.wide { self.lanes } else { 1 }
    }

    pub(super) fn reals_of(&self, reg: Reg) -> &[f64] {
        &self.reals[reg.at][..self.width(reg)]
    }

    pub(super) fn ints_of(&self, reg: Reg) -> &[i64] {
        &self.ints[reg.at][..self.width(reg)]
    }

    pub(super) fn base(&self, address: &Address) -> usize {
        address.terms.iter().map(|(axis, stride)| self.pos[axis.0 as usize] * stride).sum()
    }
}
