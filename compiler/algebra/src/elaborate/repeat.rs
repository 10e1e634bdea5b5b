//! `iterate`, unrolled, and `concat`, a choice by position.

use super::substitute::{Replacement, substitute};
use super::{Elaborator, Local};
use crate::axis::AxisId;
use crate::diagnostic::{Diagnostic, Span};
use crate::ops::{BinaryOp, NaryOp};
use crate::problem::Problem;
use crate::spec::Require;
use crate::syntax::ast::{ConcatPart, Iterate, Name};
use crate::term::{Node, TermId};

impl<'a> Elaborator<'a> {
    /// The body applied `count` times. The variable keeps the axis order of its first value while its axes stay.
    pub(super) fn iterate(&mut self, iterate: &'a Iterate) -> Option<TermId> {
        let init = self.expr(&iterate.init);
        let count = self.iteration_count(iterate);
        let mut local = Local { name: iterate.variable.text.clone(), value: init, order: None };
        // With an error above, or no repetition, one reading still finds the body's errors.
        let sound = init.is_some() && count.is_some_and(|n| n > 0);
        if !sound {
            self.locals.push(Local { value: None, ..local });
            self.expr(&iterate.body);
            self.locals.pop();
            return init.filter(|_| count == Some(0));
        }
        for _ in 0..count? {
            let value = local.value?;
            let order = self.facts.order(&self.spec.terms, value);
            let same =
                local.order.as_ref().is_some_and(|o| o.len() == order.len() && o.iter().all(|a| order.contains(a)));
            if !same {
                local.order = Some(order.to_vec());
            }
            self.locals.push(local.clone());
            local.value = self.expr(&iterate.body);
            self.locals.pop();
        }
        local.value
    }

    fn iteration_count(&mut self, iterate: &'a Iterate) -> Option<i64> {
        let span = iterate.count.span;
        let term = self.expr(&iterate.count)?;
        let term = self.integer(span, "the number of repetitions", term)?;
        let Node::Int(count) = *self.spec.terms.node(term) else {
            let why = "extents, positions or data".to_string();
            let problem = Problem::NotConstant { what: "the number of repetitions", why };
            return self.fail(Diagnostic::at(span, problem).help("give a number or a `param`"));
        };
        let limit = self.settings.limits.iterations;
        if !(0..=limit).contains(&count) {
            return self.fail(Diagnostic::at(span, Problem::IterationCount { count, limit }));
        }
        Some(count)
    }

    /// `if j < U then a at u = j else b at w = j - U`, and so on for more parts.
    pub(super) fn concat(&mut self, span: Span, axis: &'a Name, parts: &'a [ConcatPart]) -> Option<TermId> {
        let joined = self.axis(axis);
        let parts: Vec<Option<(AxisId, TermId)>> = parts.iter().map(|p| self.concat_part(axis, joined, p)).collect();
        let joined = joined?;
        let parts: Option<Vec<(AxisId, TermId)>> = parts.into_iter().collect();
        let mut offset = self.spec.terms.int(0);
        let mut sections = Vec::new();
        for (from, term) in parts? {
            let here = self.spec.terms.position(joined);
            let local = self.difference(span, here, offset)?;
            let section = substitute(&mut self.spec, term, &Replacement::from([(from, local)]));
            let extent = self.spec.axis(from).extent;
            offset = self.total(span, offset, extent)?;
            sections.push((offset, section));
        }
        self.check_joined_extent(span, joined, offset)?;
        let (_, mut out) = sections.pop()?;
        for (end, section) in sections.into_iter().rev() {
            let here = self.spec.terms.position(joined);
            let inside = self.spec.terms.comparison(BinaryOp::Lt, here, end);
            out = self.spec.terms.choice(inside, section, out);
        }
        Some(out)
    }

    fn concat_part(&mut self, joined: &Name, to: Option<AxisId>, part: &'a ConcatPart) -> Option<(AxisId, TermId)> {
        let in_index = std::mem::replace(&mut self.in_index, false);
        let term = self.name(&part.tensor.text, part.tensor.span);
        self.in_index = in_index;
        let from = self.axis(&part.axis)?;
        let term = term?;
        let free = self.spec.terms.free(term);
        let (tensor, axis) = (&part.tensor.text, &part.axis.text);
        let message = if !free.contains(from) {
            format!("`{tensor}` has no axis `{axis}` to join")
        } else if to.is_some_and(|to| free.contains(to)) {
            format!("`{tensor}` has the joined axis `{}` already", joined.text)
        } else {
            return Some((from, term));
        };
        let help = format!("`concat[{}]({tensor}[axis], ...)` names an axis of each tensor", joined.text);
        self.fail(Diagnostic::at(part.axis.span, Problem::ConcatAxis { message }).help(help))
    }

    fn total(&mut self, span: Span, x: TermId, y: TermId) -> Option<TermId> {
        let zero = self.spec.terms.int(0);
        let mut operands = vec![x, y];
        operands.retain(|t| *t != zero);
        if operands.is_empty() {
            return Some(zero);
        }
        let folded = self.spec.terms.arithmetic(NaryOp::Add, operands);
        self.folded(span, folded)
    }

    fn difference(&mut self, span: Span, x: TermId, y: TermId) -> Option<TermId> {
        let folded = self.spec.terms.negative(y);
        let minus = self.folded(span, folded)?;
        self.total(span, x, minus)
    }

    /// The extent of the joined axis is the sum of the parts': known here, or a requirement.
    fn check_joined_extent(&mut self, span: Span, joined: AxisId, total: TermId) -> Option<()> {
        let extent = self.spec.axis(joined).extent;
        let term = if extent == total {
            return Some(());
        } else {
            self.spec.terms.comparison(BinaryOp::Eq, extent, total)
        };
        let name = self.spec.axis(joined).name.clone();
        let (have, want) = (crate::print_term(&self.spec, extent), crate::print_term(&self.spec, total));
        if *self.spec.terms.node(term) == Node::Bool(false) {
            let message = format!("axis `{name}` has extent {have}, but the joined parts have {want}");
            return self.fail(Diagnostic::at(span, Problem::ConcatAxis { message }));
        }
        let require = Require { term, text: format!("{have} == {want}") };
        if !self.spec.requires.contains(&require) {
            self.spec.requires.push(require);
        }
        Some(())
    }
}
