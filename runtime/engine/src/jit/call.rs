//! The call into machine code: launch contexts and the tasks that run on them.
//!
//! Contexts hold raw pointers into buffers, strides and tiles. A [`StageLaunch`] owns the tables those point to and
//! the code; the buffers themselves belong to the `BoundArgs` whose launch this is.

use std::sync::Arc;

use attnc_codegen::abi::{BufferArg, Entry, LaunchContext, TileArg};

use super::memory::CodeMemory;
use crate::threads::Tasks;

/// A buffer of a stage as bound: its first element and its strides.
#[derive(Clone, Debug)]
pub struct BoundBuffer {
    /// Address of element (0, 0, …).
    pub base: *mut u8,
    /// Strides in elements, and extents: as many as the buffer has dimensions.
    pub strides: Vec<i64>,
    /// Extents.
    pub shape: Vec<i64>,
}

/// A tile of a stage in one thread's memory.
#[derive(Clone, Copy, Debug)]
pub struct BoundTile {
    /// Address of element (0, 0).
    pub base: *mut u8,
    /// Elements from one row to the next.
    pub row_stride: i64,
}

/// One stage of a launch, ready to run its tasks.
pub struct StageLaunch {
    entry: Entry,
    /// One per participant.
    contexts: Vec<LaunchContext>,
    /// What the contexts point to, and the code: kept, never read.
    _tables: Tables,
    _code: Arc<CodeMemory>,
}

struct Tables {
    _extents: Vec<i64>,
    _shapes: Vec<Vec<i64>>,
    _buffers: Vec<BufferArg>,
    _tiles: Vec<Vec<TileArg>>,
    _functions: Arc<FunctionTable>,
}

/// Addresses of the microkernels in the order of the ABI.
pub struct FunctionTable(pub Vec<*const ()>);

// SAFETY: the addresses are of functions, which are immutable and live as long as the process.
unsafe impl Send for FunctionTable {}
// SAFETY: as above.
unsafe impl Sync for FunctionTable {}

// SAFETY: the pointers in the contexts lead to tables owned by this value, which nothing writes after construction, to
// the caller's buffers, of which tasks write disjoint elements (the loop program's verifier and the planner's grid:
// one task per output block), and to tiles, of which each participant has its own.
unsafe impl Send for StageLaunch {}
// SAFETY: as above.
unsafe impl Sync for StageLaunch {}

impl StageLaunch {
    /// Puts a stage's launch together: `buffers` in the program's order, `tiles` per participant.
    ///
    /// # Safety
    /// For as long as the value is used, every buffer must be valid for its shape and strides (for writing where the
    /// program writes it), every tile for the size the layout gives it, and the stage's program must be one that the
    /// verifier has accepted, lowered to entry `stage` of `code`.
    pub unsafe fn new(
        code: Arc<CodeMemory>,
        stage: usize,
        functions: Arc<FunctionTable>,
        extents: Vec<i64>,
        buffers: Vec<BoundBuffer>,
        tiles: Vec<Vec<BoundTile>>,
    ) -> Self {
        let mut shapes = Vec::new();
        let mut args = Vec::new();
        for buffer in buffers {
            args.push(BufferArg { base: buffer.base, strides: buffer.strides.as_ptr(), shape: buffer.shape.as_ptr() });
            // Moving a vector does not move its elements.
            shapes.push(buffer.strides);
            shapes.push(buffer.shape);
        }
        let tile_args: Vec<Vec<TileArg>> = tiles
            .iter()
            .map(|own| own.iter().map(|t| TileArg { base: t.base, row_stride: t.row_stride }).collect())
            .collect();
        let contexts = tile_args
            .iter()
            .map(|own| LaunchContext {
                kernels: functions.0.as_ptr(),
                extents: extents.as_ptr(),
                buffers: args.as_ptr(),
                tiles: own.as_ptr(),
            })
            .collect();
        let entry = code.entry(stage);
        let tables =
            Tables { _extents: extents, _shapes: shapes, _buffers: args, _tiles: tile_args, _functions: functions };
        Self { entry, contexts, _tables: tables, _code: code }
    }
}

impl Tasks for StageLaunch {
    fn run(&self, slot: usize, task: i64) {
        let context: *const LaunchContext = &self.contexts[slot];
        // SAFETY: `new`'s caller vouches for buffers, tiles and program; the entry is alive because `_code` is; the
        // pool hands a slot to one thread at a time, so its tiles are this thread's own.
        unsafe { (self.entry)(context, task) };
    }
}
