//! Errors of evaluation, and how a failed element remembers its reason.

use std::collections::BTreeMap;

use crate::spec::{DType, Spec, unusable_extent};
use crate::term::{Node, TermId, Terms};

/// Why the reference cannot evaluate a spec on given inputs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Not one tensor per declared input.
    #[error("the spec has {expected} inputs, but {given} tensors came")]
    InputCount {
        /// Declared inputs.
        expected: usize,
        /// Tensors given.
        given: usize,
    },
    /// A tensor of another storage type than declared.
    #[error("input `{input}` is declared {}, but a tensor of {} came", expected.name(), given.name())]
    InputType {
        /// Its name.
        input: String,
        /// The declared type.
        expected: DType,
        /// The type that came.
        given: DType,
    },
    /// A tensor whose shape is not that of the declared axes.
    #[error("input `{input}` has the axes {axes}, but a tensor of shape {given:?} came")]
    InputShape {
        /// Its name.
        input: String,
        /// Its axes with their extents.
        axes: String,
        /// The shape that came.
        given: Vec<usize>,
    },
    /// An axis whose extent is not bound, not positive, or too large.
    #[error("{}", unusable_extent(axis, *extent))]
    AxisExtent {
        /// Its name.
        axis: String,
        /// Its extent, if it is a number.
        extent: Option<i64>,
    },
    /// An index that decides a result lies outside its axis.
    #[error("index {index} of axis `{axis}` of `{input}` is out of range: the axis has {extent} positions")]
    IndexOutOfRange {
        /// The input.
        input: String,
        /// The axis indexed.
        axis: String,
        /// The index.
        index: i64,
        /// The axis' extent.
        extent: usize,
    },
    /// An integer that decides a result does not fit in 64 bits.
    #[error("integer arithmetic overflows 64 bits")]
    IntegerOverflow,
    /// Floor division by zero, or the remainder of one, decides a result.
    #[error("integer division by zero")]
    DivisionByZero,
    /// No output with this number.
    #[error("the spec has no output number {output}")]
    UnknownOutput {
        /// The number asked for.
        output: usize,
    },
    /// A row that is not in the output.
    #[error("row {row:?} is not in output `{output}`")]
    UnknownRow {
        /// The output's name.
        output: String,
        /// The row asked for.
        row: Vec<usize>,
    },
    /// An output of too many elements.
    #[error("output `{output}` has too many elements")]
    OutputTooLarge {
        /// The output's name.
        output: String,
    },
    /// Terms nested too deeply to evaluate.
    #[error("the spec nests {depth} operations; the reference evaluates up to {limit}")]
    TooDeep {
        /// The depth.
        depth: usize,
        /// The limit.
        limit: usize,
    },
}

/// What went wrong in one element.
pub(super) enum Failure {
    /// An index outside its axis.
    Index { axis: usize, index: i64, extent: usize },
    /// A result beyond 64 bits.
    Overflow,
    /// Division of integers by zero.
    ZeroDivisor,
    /// What a stored term remembers.
    Known(u32),
}

/// Reasons by number, one for each term that failed somewhere.
pub(super) struct Failures {
    errors: Vec<ReferenceError>,
    by_term: BTreeMap<TermId, u32>,
    describe: Box<dyn Fn(TermId, Failure) -> ReferenceError>,
}

impl Failures {
    /// The number of an overflow in an integer sum or product.
    pub const SUM_OVERFLOW: u32 = 1;

    pub fn new(spec: &Spec, terms: &Terms) -> Self {
        // Names of the inputs' axes by term, so that no borrow of the spec is kept.
        let mut names: BTreeMap<TermId, (String, Vec<String>)> = BTreeMap::new();
        for at in 0..terms.len() {
            let id = TermId(at as u32);
            if let Node::Input { input, .. } = terms.node(id) {
                let input = spec.input(*input);
                let axes = input.axes.iter().map(|a| spec.axis(*a).name.clone()).collect();
                names.insert(id, (input.name.clone(), axes));
            }
        }
        let describe = move |site: TermId, failure: Failure| match (failure, names.get(&site)) {
            (Failure::Index { axis, index, extent }, Some((input, axes))) => {
                ReferenceError::IndexOutOfRange { input: input.clone(), axis: axes[axis].clone(), index, extent }
            }
            (Failure::ZeroDivisor, _) => ReferenceError::DivisionByZero,
            _ => ReferenceError::IntegerOverflow,
        };
        Self { errors: vec![ReferenceError::IntegerOverflow], by_term: BTreeMap::new(), describe: Box::new(describe) }
    }

    /// The number of a failure of `site`; the first one is remembered.
    pub fn code(&mut self, site: TermId, failure: impl FnOnce() -> Failure) -> u32 {
        if let Some(code) = self.by_term.get(&site) {
            return *code;
        }
        let failure = failure();
        if let Failure::Known(code) = failure {
            return code;
        }
        self.errors.push((self.describe)(site, failure));
        let code = self.errors.len() as u32;
        self.by_term.insert(site, code);
        code
    }

    /// The error with a number.
    pub fn error(&self, code: u32) -> ReferenceError {
        self.errors[code as usize - 1].clone()
    }
}
