//! Errors of indices and divisors that are wrong whatever the extents are.
//!
//! What is wrong at some extents only is found when these are bound; see [`crate::range`].

use super::Elaborator;
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;
use crate::range::{AlwaysWrong, Site, always_wrong};
use crate::term::{Node, TermId};

const GUARD: &str = "guard the access: `if 0 <= index and index < extent then x[index] else 0`";

impl Elaborator<'_> {
    /// Reports every index and divisor of the text that is wrong at all extents. Those that a `concat` makes fit if the
    /// extents do, which is checked where these are bound.
    pub(super) fn check_bounds(&mut self) {
        for wrong in always_wrong(&self.spec) {
            let diagnostic = match wrong.site {
                Site::Index { read, input, axis, .. } => {
                    let places = self.read_at.get(&read);
                    let Some(place) = places.and_then(|p| p.get(axis).or(p.first())).copied() else { continue };
                    let input = self.spec.input(input);
                    let (name, index) = (input.name.clone(), wrong.value.clone());
                    let axis = self.spec.axis(input.axes[axis]).name.clone();
                    let problem = Problem::IndexOutOfRange { name, axis, index };
                    Diagnostic::at(place, problem).says(outside(&wrong)).help(GUARD)
                }
                Site::Divisor { quotient, .. } => {
                    let Some(place) = self.divided_at.get(&quotient).copied() else { continue };
                    let says = format!("the divisor is 0 where {}", wrong.place);
                    let help = "leave that position out: `if j > 0 then i mod j else 0`";
                    Diagnostic::at(place, Problem::DivisionByZero).says(says).help(help)
                }
            };
            self.report(diagnostic);
        }
    }

    /// Notes that the terms from number `before` on were made for an index expression at `span`.
    pub(super) fn note_reads(&mut self, before: usize, span: Span) {
        for at in before..self.spec.terms.len() {
            let term = TermId(at as u32);
            match self.spec.terms.node(term) {
                Node::Input { .. } => {
                    self.read_at.entry(term).or_insert_with(|| vec![span]);
                }
                Node::Binary(..) => {
                    self.divided_at.entry(term).or_insert(span);
                }
                _ => {}
            }
        }
    }
}

/// Where an index lies, and where it may.
fn outside(wrong: &AlwaysWrong) -> String {
    let AlwaysWrong { place, value, range, last, .. } = wrong;
    let at = if place.is_empty() { String::new() } else { format!("{value} where {place}; ") };
    let over = match range {
        Some((low, high)) if low != high => format!("lies in {low} .. {high}; "),
        _ => String::new(),
    };
    format!("{at}{over}positions are 0 .. {last}")
}
