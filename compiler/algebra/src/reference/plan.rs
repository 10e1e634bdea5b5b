//! The flat program of one term: loops, steps on registers, and a reduction.
//!
//! Owns the data types only. A kernel computes one *stored* term (a reduction,
//! a scan, or a pointwise term worth keeping) for all positions of its axes
//! that are not fixed, from inputs and other stored terms. `compile` makes
//! kernels, `run` executes them.

use crate::axis::{AxisId, InputId};
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::term::TermId;

/// Elements in flight of one register.
pub(super) const LANES: usize = 256;

/// A register: one number, or one per lane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reg {
    /// Index in its bank.
    pub at: usize,
    /// Bank: reals, or integers and truth values.
    pub real: bool,
    /// One number per lane.
    pub wide: bool,
    /// The loop level at which it is computed: 0 before all loops.
    pub level: usize,
}

/// Position in a row-major array: the sum of position times stride.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    /// Axes with their strides; the lanes' axis stands at the first lane.
    pub terms: Vec<(AxisId, usize)>,
    /// Stride between lanes; 0 if the address does not depend on the lane.
    pub lane_stride: usize,
}

/// An index that is not simply the position along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Computed {
    /// The index.
    pub index: Reg,
    /// Number of the axis in the input's list.
    pub axis: usize,
    /// Extent of that axis.
    pub extent: usize,
    /// Its stride.
    pub stride: usize,
}

/// An operation of two operands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op2 {
    Binary(BinaryOp),
    Nary(NaryOp),
}

/// What a step does. `to` is the register written; a `guard` tells in which
/// lanes a failure counts; `site` is the term a failure is reported for.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Elements of an input.
    Input { input: InputId, address: Address, computed: Vec<Computed> },
    /// Elements of the stored term `Kernel::needs[.table]`.
    Table { table: usize, address: Address },
    /// Positions along an axis.
    Position(AxisId),
    /// A function of one operand.
    One(UnaryOp, Reg),
    /// A function of two operands of one bank; comparisons of reals give integers.
    Two(Op2, Reg, Reg),
    /// Lane by lane, `.1` where `.0` holds, else `.2`.
    Select(Reg, Reg, Reg),
    /// Integers to reals.
    Widen(Reg),
    /// Reals to integers by truncation.
    Truncate(Reg),
    /// Lanes where `outer` holds (if any) and `condition` holds, or does not if `negated`.
    Mask { outer: Option<Reg>, condition: Reg, negated: bool },
}

/// One step of a kernel.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Computes a register.
    Compute { to: Reg, action: Action, guard: Option<Reg>, site: TermId },
    /// Leaves this level unless a lane of the mask holds.
    Skip(Reg),
}

/// What the positions of a loop stand for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum LoopKind {
    /// One position of the result after the other.
    Plain,
    /// Many positions of the result at once.
    Lanes,
    /// The reduction, one position after the other.
    Reduce,
    /// The reduction, with the summands of many positions computed at once and added in order.
    ReduceLanes,
}

/// One loop, outermost first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    pub axis: AxisId,
    pub extent: usize,
    pub kind: LoopKind,
}

/// Results taken while a reduction runs: the state after the positions up to
/// that of the row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Capture {
    /// The axis of the prefix ends.
    pub row: AxisId,
    /// The position of the row itself is not included.
    pub strict: bool,
}

/// What becomes of the values of the innermost level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finish {
    /// They are the result.
    Map { value: Reg },
    /// They are folded over `axis` where `mask` holds.
    Fold { op: ReduceOp, axis: AxisId, mask: Option<Reg>, value: Reg },
    /// Decayed prefix sums over `axis`.
    Scan { op: ReduceOp, axis: AxisId, decay: Reg, value: Reg },
}

/// The program of one stored term.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// Axes of the result in storage order, with extents.
    pub space: Vec<(AxisId, usize)>,
    /// Whether the result is real.
    pub real: bool,
    pub loops: Vec<Loop>,
    /// Steps by level: `code[0]` before all loops, `code[n]` inside the n-th.
    pub code: Vec<Vec<Step>>,
    /// Registers of each bank.
    pub reals: usize,
    pub ints: usize,
    pub real_constants: Vec<(Reg, f64)>,
    pub int_constants: Vec<(Reg, i64)>,
    pub finish: Finish,
    pub capture: Option<Capture>,
    /// The row at which a scan without capture stops.
    pub stop: Option<AxisId>,
    /// Where the result of the innermost level goes.
    pub out: Address,
    /// The stored terms read.
    pub needs: Vec<TermId>,
}

/// A stored term: its values over its axes that are not fixed.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Values, if the term is real; else the extremum found by an argmax in progress.
    pub real: Vec<f64>,
    /// Values, if the term is an integer or a truth value.
    pub int: Vec<i64>,
    /// Number of the failure that made each element worthless, 0 for none; empty if there is none at all.
    pub failed: Vec<u32>,
}

impl Action {
    /// The registers read.
    pub fn operands(&self) -> Vec<Reg> {
        match self {
            Self::Table { .. } | Self::Position(_) => Vec::new(),
            Self::Input { computed, .. } => computed.iter().map(|c| c.index).collect(),
            Self::One(_, x) | Self::Widen(x) | Self::Truncate(x) => vec![*x],
            Self::Two(_, x, y) => vec![*x, *y],
            Self::Select(c, a, b) => vec![*c, *a, *b],
            Self::Mask { outer, condition, .. } => outer.iter().copied().chain([*condition]).collect(),
        }
    }

    /// The axes whose positions are read.
    pub fn axes(&self) -> Vec<AxisId> {
        match self {
            Self::Input { address, .. } | Self::Table { address, .. } => address.terms.iter().map(|t| t.0).collect(),
            Self::Position(axis) => vec![*axis],
            _ => Vec::new(),
        }
    }
}
