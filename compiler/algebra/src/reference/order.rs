//! Orders and gathers: the two stored terms that no kernel computes.
//!
//! Owns the stable order of a key along an axis, and reading a term at a
//! computed position. Both work on whole tables.

use std::rc::Rc;

use crate::axis::{AxisId, AxisSet};
use crate::term::{TermId, Type};

use super::evaluate::Evaluator;
use super::plan::Table;
use super::unflatten;

/// A table with the axes it is over and where each stands in a result.
struct Source {
    table: Rc<Table>,
    axes: Vec<AxisId>,
    shape: Vec<usize>,
}

impl Source {
    /// The element at the positions of `axes`, given by axis.
    fn at(&self, position: impl Fn(AxisId) -> usize) -> usize {
        self.axes.iter().zip(&self.shape).fold(0, |at, (axis, extent)| at * extent + position(*axis))
    }

    fn failure(&self, at: usize) -> u32 {
        self.table.failed.get(at).copied().unwrap_or(0)
    }
}

impl Evaluator<'_> {
    /// The stable ascending order of `key` along `axis`, over `axes`.
    pub(super) fn order(&mut self, axis: AxisId, key: TermId, axes: &[AxisId], fixed: &AxisSet) -> Table {
        let keys = self.source(key, fixed);
        let shape = self.shape(axes);
        let at = axes.iter().position(|a| *a == axis).expect("the axis ordered stays free");
        let mut int = vec![0; shape.iter().product()];
        let mut failed = Vec::new();
        let mut outer = shape.clone();
        outer[at] = 1;
        for line in 0..outer.iter().product() {
            let mut point = unflatten(line, &outer);
            let place = |point: &[usize], p: usize| {
                keys.at(|a| if a == axis { p } else { point[axes.iter().position(|b| *b == a).unwrap_or(at)] })
            };
            let mut order: Vec<usize> = (0..shape[at]).collect();
            order.sort_by_key(|p| keys.table.int[place(&point, *p)]);
            let code = order.iter().map(|p| keys.failure(place(&point, *p))).max().unwrap_or(0);
            for (p, from) in order.into_iter().enumerate() {
                point[at] = p;
                let to = point.iter().zip(&shape).fold(0, |flat, (p, extent)| flat * extent + p);
                int[to] = from as i64;
                if code != 0 {
                    failed.resize(int.len(), 0);
                    failed[to] = code;
                }
            }
        }
        Table { real: Vec::new(), int, failed }
    }

    /// `body` at position `index` of `axis`, over `axes`.
    pub(super) fn gather(
        &mut self,
        (axis, index, body): (AxisId, TermId, TermId),
        axes: &[AxisId],
        fixed: &AxisSet,
    ) -> Table {
        let places = self.source(index, fixed);
        let values = self.source(body, &fixed.without(axis));
        let (shape, last) = (self.shape(axes), self.context.extent(axis) as i64 - 1);
        let volume: usize = shape.iter().product();
        let real = self.context.terms.ty(body) == Type::Real;
        let mut out = Table { real: Vec::new(), int: Vec::new(), failed: Vec::new() };
        for flat in 0..volume {
            let point = unflatten(flat, &shape);
            let position =
                |a: AxisId| axes.iter().position(|b| *b == a).map_or_else(|| self.position(a), |at| point[at]);
            let place = places.at(position);
            let index = places.table.int[place].clamp(0, last) as usize;
            let from = values.at(|a| if a == axis { index } else { position(a) });
            if real {
                out.real.push(values.table.real[from]);
            } else {
                out.int.push(values.table.int[from]);
            }
            let code = places.failure(place).max(values.failure(from));
            if code != 0 {
                out.failed.resize(volume, 0);
                out.failed[flat] = code;
            }
        }
        out
    }

    /// The table of a term at the fixed positions.
    fn source(&mut self, term: TermId, fixed: &AxisSet) -> Source {
        let (table, axes) = self.evaluate(term, fixed);
        let table = self.at_fixed(table, &axes, fixed);
        let axes: Vec<AxisId> = axes.into_iter().filter(|a| !fixed.contains(*a)).collect();
        let shape = self.shape(&axes);
        Source { table, axes, shape }
    }

    fn shape(&self, axes: &[AxisId]) -> Vec<usize> {
        axes.iter().map(|a| self.context.extent(*a)).collect()
    }
}
