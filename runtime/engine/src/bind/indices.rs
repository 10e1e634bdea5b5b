//! Indices inside their axes: proved from the extents, else from the tables' values.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use attnc_algebra::range::check_indices;
use attnc_algebra::{Extents, Spec};

use super::names::Inputs;
use super::values::table_ranges;
use crate::error::BindError;

/// Least and greatest element of each input, where they count.
pub type Ends = Vec<Option<(i64, i64)>>;

/// Proofs found so far.
#[derive(Default)]
pub struct IndexChecks {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Extents at which no table can break an index.
    by_extents: BTreeSet<Extents>,
    /// Extents at which the tables' values count.
    open: BTreeSet<Extents>,
    /// Extents and tables' ends for which all indices hold.
    by_tables: BTreeSet<(Extents, Ends)>,
}

/// How many proofs of a kind are kept.
const KEPT: usize = 256;

impl IndexChecks {
    /// Checks all indices of a launch. A proof by extents alone is looked for first, and once; tables are read only
    /// where there is none. Returns the ends of the tables for which the indices hold; `None` if they hold for any.
    ///
    /// # Errors
    /// The indices that may leave their axes.
    pub fn check(&self, spec: &Spec, extents: &Extents, inputs: Inputs<'_, '_>) -> Result<Option<Ends>, BindError> {
        if self.by_extents(spec, extents, inputs.len()) {
            return Ok(None);
        }
        let key = (extents.clone(), table_ranges(inputs).collect::<Ends>());
        if self.lock().by_tables.contains(&key) {
            return Ok(Some(key.1));
        }
        match check_indices(spec, extents, &key.1) {
            Ok(()) => {
                let ends = key.1.clone();
                keep(&mut self.lock().by_tables, key);
                Ok(Some(ends))
            }
            Err(errors) => {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(BindError::Index(lines.join("; ")))
            }
        }
    }

    fn by_extents(&self, spec: &Spec, extents: &Extents, inputs: usize) -> bool {
        let known = self.lock();
        if known.by_extents.contains(extents) || known.open.contains(extents) {
            return known.by_extents.contains(extents);
        }
        drop(known);
        let proved = check_indices(spec, extents, &vec![None; inputs]).is_ok();
        let mut known = self.lock();
        keep(if proved { &mut known.by_extents } else { &mut known.open }, extents.clone());
        proved
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn keep<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    if set.len() >= KEPT {
        set.pop_first();
    }
    set.insert(item);
}
