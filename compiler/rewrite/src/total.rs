//! The total time of a choice of candidates, by one walk from the roots down.
//!
//! A class is paid once, at the dearest of the paths that lead to it: a
//! reduction on the way scales what lies inside its restriction and consumes
//! what is made as it goes. What a reduction does to a class depends on the
//! class's free axes alone, of which there are few sets, so the walk is done
//! once for each set.

use std::collections::BTreeMap;

use attnc_algebra::AxisSet;

use crate::candidate::{Reduced, Slots};

/// The classes by their sets of free axes.
pub struct Totals {
    /// The sets.
    sets: Vec<AxisSet>,
    /// The set of each class.
    of: Vec<usize>,
}

/// What lies on the dearest path to a class, for one set of free axes.
#[derive(Clone, Copy)]
struct Reached {
    /// The product of the densities.
    density: f64,
    /// Whether some path has no reduction that consumes it.
    stored: bool,
}

impl Totals {
    /// For the classes of `slots`.
    pub fn new(slots: &Slots) -> Self {
        let mut numbers: BTreeMap<&AxisSet, usize> = BTreeMap::new();
        let of = slots.slots.iter().map(|slot| {
            let next = numbers.len();
            *numbers.entry(&slot.free).or_insert(next)
        });
        let of: Vec<usize> = of.collect();
        let mut sets = vec![AxisSet::new(); numbers.len()];
        for (set, number) in numbers {
            sets[number] = set.clone();
        }
        Self { sets, of }
    }

    /// The total of a choice; `None` if it is cyclic.
    pub fn total(&self, slots: &Slots, roots: &[usize], choice: &[usize]) -> Option<f64> {
        let order = order(slots, roots, choice)?;
        let chosen = |at: usize| &slots.slots[at].candidates[choice[at]];
        let mut total = 0.0;
        let unreached = Reached { density: 0.0, stored: false };
        let mut reached = vec![unreached; choice.len()];
        for (number, set) in self.sets.iter().enumerate() {
            if !order.iter().any(|at| self.of[*at] == number) {
                continue;
            }
            order.iter().for_each(|at| reached[*at] = unreached);
            roots.iter().for_each(|at| reached[*at] = Reached { density: 1.0, stored: true });
            for at in order.iter().rev() {
                let candidate = chosen(*at);
                let here = reached[*at];
                if self.of[*at] == number {
                    total += candidate.own * here.density + if here.stored { candidate.pending } else { 0.0 };
                }
                let below = candidate.reduced.as_ref().map_or(here, |reduced| inside(here, reduced, set));
                for child in &candidate.children {
                    let child = &mut reached[*child];
                    child.density = child.density.max(below.density);
                    child.stored |= below.stored;
                }
            }
        }
        Some(total)
    }
}

/// A path after a reduction, for a class with these free axes.
fn inside(path: Reached, reduced: &Reduced, free: &AxisSet) -> Reached {
    if !free.contains(reduced.axis) {
        return path;
    }
    let scaled = reduced.density < 1.0 && reduced.domain.is_subset(free);
    Reached {
        density: if scaled { path.density * reduced.density } else { path.density },
        stored: path.stored && !reduced.rows.is_subset(free),
    }
}

/// The classes that a choice uses, operands first; `None` if it is cyclic.
fn order(slots: &Slots, roots: &[usize], choice: &[usize]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        Open,
        Done,
    }
    let mut seen = vec![Seen::Never; choice.len()];
    let mut order = Vec::new();
    let mut todo: Vec<(usize, bool)> = roots.iter().map(|root| (*root, false)).collect();
    while let Some((at, operands_done)) = todo.pop() {
        if operands_done {
            seen[at] = Seen::Done;
            order.push(at);
            continue;
        }
        match seen[at] {
            Seen::Done => continue,
            Seen::Open => return None,
            Seen::Never => {}
        }
        seen[at] = Seen::Open;
        todo.push((at, true));
        for child in &slots.slots[at].candidates.get(choice[at])?.children {
            match seen[*child] {
                Seen::Done => {}
                Seen::Open => return None,
                Seen::Never => todo.push((*child, false)),
            }
        }
    }
    Some(order)
}
