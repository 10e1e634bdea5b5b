//! What launches need beside their arguments, kept between calls: aligned blocks of memory, and bound calls.
//!
//! Where what lies in a block is the layout's business (`attnc_compiler::layout`).

use std::sync::Mutex;

use attnc_compiler::ALIGN;

use crate::bind::Call;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

const _: () = assert!(align_of::<Line>() == ALIGN);

/// Bytes aligned to [`ALIGN`].
#[derive(Debug, Default)]
pub struct AlignedBytes(Vec<Line>);

impl AlignedBytes {
    /// At least `bytes` bytes, zeroed when made.
    pub fn new(bytes: usize) -> Self {
        Self(vec![Line([0; ALIGN]); bytes.div_ceil(ALIGN)])
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.0.len() * ALIGN
    }

    /// Address of the first byte.
    pub fn address(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// Blocks given back by finished launches, for the next ones.
#[derive(Debug, Default)]
pub struct ScratchPool {
    free: Mutex<Vec<AlignedBytes>>,
}

/// Calls bound before, for the next ones that fit them.
#[derive(Default)]
pub struct CallPool {
    free: Mutex<Vec<Call>>,
}

impl CallPool {
    /// A call for which `fits` holds.
    pub fn take(&self, fits: impl Fn(&Call) -> bool) -> Option<Call> {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = free.iter().rposition(fits)?;
        Some(free.remove(at))
    }

    /// Gives a call back; the one that was used least recently makes room.
    pub fn give(&self, call: Call) {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if free.len() >= KEPT {
            free.remove(0);
        }
        free.push(call);
    }
}

/// How many blocks or calls a pool keeps: as many concurrent launches run without allocating.
const KEPT: usize = 8;

impl ScratchPool {
    /// A block of at least `bytes` bytes with any contents.
    pub fn take(&self, bytes: usize) -> AlignedBytes {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let fit = (0..free.len()).filter(|at| free[*at].len() >= bytes).min_by_key(|at| free[*at].len());
        match fit {
            Some(at) => free.swap_remove(at),
            None => {
                // Too small for this launch size: most likely for the next as well.
                free.pop();
                drop(free);
                AlignedBytes::new(bytes)
            }
        }
    }

    /// Gives a block back.
    pub fn give(&self, block: AlignedBytes) {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if free.len() < KEPT {
            free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_given_back_is_taken_again() {
        let pool = ScratchPool::default();
        let mut block = pool.take(1000);
        let address = block.address();
        pool.give(block);
        assert_eq!(pool.take(500).address(), address);
    }
}
