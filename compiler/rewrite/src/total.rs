//! The total time of a choice of candidates, by one walk from the roots down.
//!
//! A class is paid once, at the dearest of the paths that lead to it: a
//! reduction on the way scales what lies inside its restriction and consumes
//! what is made as it goes. What a reduction does to a class depends on the
//! class's free axes alone, of which there are few sets, so the walk is done
//! once for each set.

use std::collections::BTreeMap;

use attnc_algebra::AxisSet;

use crate::candidate::{Candidate, Reduced, Slots};

/// The classes by their sets of free axes.
pub struct Totals {
    /// How many sets there are.
    sets: usize,
    /// The set of each class.
    of: Vec<usize>,
    /// What each candidate's reduction does to the classes below it, by class, candidate and set.
    effects: Vec<Vec<Option<Vec<Effect>>>>,
}

/// What a reduction does to what lies below it, for one set of free axes.
#[derive(Clone, Copy)]
pub struct Effect {
    /// The share of pairs in its restriction, if that scales it.
    pub density: Option<f64>,
    /// Whether it consumes what is made as it goes.
    pub consumes: bool,
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
        let effects_of = |candidate: &Candidate| {
            let reduced = candidate.reduced.as_ref()?;
            Some(sets.iter().map(|set| Effect::new(reduced, set)).collect())
        };
        let effects = slots.slots.iter().map(|slot| slot.candidates.iter().map(effects_of).collect()).collect();
        Self { sets: sets.len(), of, effects }
    }

    /// What a candidate of a class does to a class below it; `None` if it reduces nothing.
    pub fn effects(&self, class: usize, candidate: usize) -> Option<impl Fn(usize) -> Effect + '_> {
        let effects = self.effects[class][candidate].as_ref()?;
        Some(|below: usize| effects[self.of[below]])
    }

    /// The total of a choice; `None` if it is cyclic.
    pub fn total(&self, slots: &Slots, roots: &[usize], choice: &[usize]) -> Option<f64> {
        let order = order(slots, roots, choice)?;
        let mut met = vec![0u32; self.sets];
        order.iter().for_each(|at| met[self.of[*at]] += 1);
        let mut total = 0.0;
        let unreached = Reached { density: 0.0, stored: false };
        let mut reached = vec![unreached; choice.len()];
        for (number, mut left) in met.into_iter().enumerate().filter(|(_, met)| *met > 0) {
            order.iter().for_each(|at| reached[*at] = unreached);
            roots.iter().for_each(|at| reached[*at] = Reached { density: 1.0, stored: true });
            for at in order.iter().rev() {
                let candidate = &slots.slots[*at].candidates[choice[*at]];
                let here = reached[*at];
                if self.of[*at] == number {
                    total += candidate.own * here.density + if here.stored { candidate.pending } else { 0.0 };
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
                let effects = &self.effects[*at][choice[*at]];
                let below = effects.as_ref().map_or(here, |effects| effects[number].inside(here));
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

impl Effect {
    /// Of a reduction on a class with these free axes.
    fn new(reduced: &Reduced, free: &AxisSet) -> Self {
        let below = free.contains(reduced.axis);
        let scaled = below && reduced.density < 1.0 && reduced.domain.is_subset(free);
        Self { density: scaled.then_some(reduced.density), consumes: below && reduced.rows.is_subset(free) }
    }

    /// A path after the reduction.
    fn inside(self, path: Reached) -> Reached {
        Reached {
            density: self.density.map_or(path.density, |density| path.density * density),
            stored: path.stored && !self.consumes,
        }
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
