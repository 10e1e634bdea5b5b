//! The total time of a choice of candidates, by one walk from the roots down.
//!
//! A class is paid once, at the dearest of the paths that lead to it: a
//! reduction on the way scales what lies inside its restriction and consumes
//! what is made as it goes. What a reduction does to a class depends on the
//! class's free axes alone, of which there are few sets, so a walk is done
//! for [`LANES`] sets at a time.

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
    /// The same by groups of sets.
    inside: Vec<Vec<Option<Vec<Inside>>>>,
}

/// What a reduction does to what lies below it, for one set of free axes.
#[derive(Clone, Copy)]
pub struct Effect {
    /// The share of pairs in its restriction, if that scales it.
    pub density: Option<f64>,
    /// Whether it consumes what is made as it goes.
    pub consumes: bool,
}

/// Sets of free axes that one walk serves.
const LANES: usize = 8;

/// What lies on the dearest path to a class, for some sets of free axes.
#[derive(Clone, Copy)]
struct Reached {
    /// The products of the densities.
    density: [f64; LANES],
    /// A bit for each set: whether some path has no reduction that consumes it.
    stored: u8,
}

/// What a reduction does to what lies below it, for some sets of free axes.
#[derive(Clone, Copy)]
struct Inside {
    /// The shares of pairs in its restriction, 1 where that scales nothing.
    density: [f64; LANES],
    /// A bit for each set: whether it is not consumed.
    kept: u8,
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
        let effects: Vec<Vec<Option<Vec<Effect>>>> =
            slots.slots.iter().map(|slot| slot.candidates.iter().map(effects_of).collect()).collect();
        let grouped = |effects: &Option<Vec<Effect>>| {
            effects.as_ref().map(|effects| effects.chunks(LANES).map(Inside::new).collect())
        };
        let inside = effects.iter().map(|slot| slot.iter().map(grouped).collect()).collect();
        Self { sets: sets.len(), of, effects, inside }
    }

    /// What a candidate of a class does to a class below it; `None` if it reduces nothing.
    pub fn effects(&self, class: usize, candidate: usize) -> Option<impl Fn(usize) -> Effect + '_> {
        let effects = self.effects[class][candidate].as_ref()?;
        Some(|below: usize| effects[self.of[below]])
    }

    /// The total of a choice; `None` if it is cyclic.
    pub fn total(&self, slots: &Slots, roots: &[usize], choice: &[usize]) -> Option<f64> {
        let order = order(slots, roots, choice)?;
        let mut met = vec![false; self.sets.div_ceil(LANES)];
        order.iter().for_each(|at| met[self.of[*at] / LANES] = true);
        let mut total = 0.0;
        let unreached = Reached { density: [0.0; LANES], stored: 0 };
        let mut reached = vec![unreached; choice.len()];
        for (group, _) in met.into_iter().enumerate().filter(|(_, met)| *met) {
            order.iter().for_each(|at| reached[*at] = unreached);
            roots.iter().for_each(|at| reached[*at] = Reached { density: [1.0; LANES], stored: u8::MAX });
            for at in order.iter().rev() {
                let candidate = &slots.slots[*at].candidates[choice[*at]];
                let here = reached[*at];
                let (own_group, lane) = (self.of[*at] / LANES, self.of[*at] % LANES);
                if own_group == group {
                    let stored = here.stored >> lane & 1 == 1;
                    total += candidate.own * here.density[lane] + if stored { candidate.pending } else { 0.0 };
                }
                let inside = self.inside[*at][choice[*at]].as_ref().map(|groups| groups[group]);
                let below = inside.map_or(here, |inside| inside.of(here));
                for child in &candidate.children {
                    reached[*child].join(below);
                }
            }
        }
        Some(total)
    }
}

impl Reached {
    /// As this path or that, whichever is dearer.
    fn join(&mut self, path: Self) {
        for (density, other) in self.density.iter_mut().zip(path.density) {
            *density = density.max(other);
        }
        self.stored |= path.stored;
    }
}

impl Inside {
    /// Of the effects on a group of sets.
    fn new(effects: &[Effect]) -> Self {
        let mut inside = Self { density: [1.0; LANES], kept: u8::MAX };
        for (lane, effect) in effects.iter().enumerate() {
            inside.density[lane] = effect.density.unwrap_or(1.0);
            inside.kept &= !(u8::from(effect.consumes) << lane);
        }
        inside
    }

    /// A path after the reduction.
    fn of(&self, path: Reached) -> Reached {
        let mut below = path;
        below.density.iter_mut().zip(self.density).for_each(|(density, share)| *density *= share);
        below.stored &= self.kept;
        below
    }
}

impl Effect {
    /// Of a reduction on a class with these free axes.
    fn new(reduced: &Reduced, free: &AxisSet) -> Self {
        let below = free.contains(reduced.axis);
        let scaled = below && reduced.density < 1.0 && reduced.domain.is_subset(free);
        Self { density: scaled.then_some(reduced.density), consumes: below && reduced.rows.is_subset(free) }
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
