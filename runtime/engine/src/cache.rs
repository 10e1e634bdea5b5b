//! Compiled kernels kept by spec, options and profile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::kernel::{Kernel, compile};
use crate::options::Options;

/// Kernels kept for reuse, the least recently used dropped first.
#[derive(Default)]
pub struct KernelCache {
    capacity: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    kernels: BTreeMap<String, (u64, Arc<Kernel>)>,
    clock: u64,
}

impl KernelCache {
    /// A cache of up to `capacity` kernels.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, held: Mutex::default() }
    }

    /// The kernel of a spec's text with these options, compiled if it is not held.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn compile(&self, source: &str, options: &Options) -> Result<Arc<Kernel>, Error> {
        let key = key(source, options);
        if let Some(kernel) = self.touch(&key) {
            return Ok(kernel);
        }
        // Not under the lock: two threads may compile the same spec once each; the first one kept serves both.
        let kernel = Arc::new(compile(source, options)?);
        Ok(self.keep(key, kernel))
    }

    /// Number of kernels held.
    pub fn len(&self) -> usize {
        self.lock().kernels.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn touch(&self, key: &str) -> Option<Arc<Kernel>> {
        let mut held = self.lock();
        held.clock += 1;
        let now = held.clock;
        let (used, kernel) = held.kernels.get_mut(key)?;
        *used = now;
        Some(Arc::clone(kernel))
    }

    fn keep(&self, key: String, kernel: Arc<Kernel>) -> Arc<Kernel> {
        let mut held = self.lock();
        held.clock += 1;
        let now = held.clock;
        let kept = Arc::clone(&held.kernels.entry(key).or_insert((now, kernel)).1);
        while held.kernels.len() > self.capacity.max(1) {
            let oldest = held.kernels.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| held.kernels.remove(&key));
        }
        kept
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Everything that a kernel depends on, as text.
fn key(source: &str, options: &Options) -> String {
    format!("{options:?}\n{source}")
}
