//! The call into machine code: launch contexts and the tasks that run on them.
//!
//! Contexts hold raw pointers into buffers, strides and tiles. A [`StageLaunch`] owns the tables those point to and
//! the code; the buffers themselves are borrowed by the call that it is pointed to.

use std::sync::Arc;

use attnc_codegen::abi::{BufferArg, Entry, LaunchContext, TileArg};
use attnc_compiler::layout::TilePlace;

use super::memory::CodeMemory;
use crate::threads::Tasks;

/// What a buffer of a stage lies in; where that is, a call says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// An input, by its number in the spec.
    Input(usize),
    /// An output, by its number in the spec.
    Output(usize),
    /// The block of intermediates, at an offset.
    Block(usize),
    /// The copy of an input.
    Copy(usize),
    /// What is copied to an output afterwards.
    Late(usize),
}

/// A buffer of a stage as bound: what it lies in, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct BoundBuffer {
    /// What it lies in.
    pub home: Home,
    /// Strides in elements, and extents: as many as the buffer has dimensions.
    pub strides: Vec<i64>,
    /// Extents.
    pub shape: Vec<i64>,
}

/// The tiles of a stage: their places in each participant's memory.
#[derive(Clone, Debug)]
pub struct BoundTiles {
    /// Offsets in bytes with the elements from one row to the next.
    pub places: Vec<TilePlace>,
    /// Bytes from one participant's tiles to the next one's.
    pub thread_bytes: usize,
    /// How many participants there are.
    pub participants: usize,
}

/// One stage of a launch, ready to run its tasks once it is pointed to memory.
pub struct StageLaunch {
    entry: Entry,
    /// One per participant.
    contexts: Vec<LaunchContext>,
    /// What the contexts point to.
    tables: Tables,
    homes: Vec<Home>,
    bound: BoundTiles,
    tasks: i64,
    _code: Arc<CodeMemory>,
}

struct Tables {
    extents: Vec<i64>,
    /// Kept for the pointers in `buffers`.
    _shapes: Vec<Vec<i64>>,
    buffers: Vec<BufferArg>,
    tiles: Vec<Vec<TileArg>>,
    functions: Arc<FunctionTable>,
}

/// Addresses of the microkernels in the order of the ABI.
pub struct FunctionTable(pub Vec<*const ()>);

// SAFETY: the addresses are of functions, which are immutable and live as long as the process.
unsafe impl Send for FunctionTable {}
// SAFETY: as above.
unsafe impl Sync for FunctionTable {}

// SAFETY: the pointers in the contexts lead to tables owned by this value, which nothing writes while tasks run, to
// the caller's buffers, of which tasks write disjoint elements (the loop program's verifier and the planner's grid:
// one task per output block), and to tiles, of which each participant has its own.
unsafe impl Send for StageLaunch {}
// SAFETY: as above.
unsafe impl Sync for StageLaunch {}

impl StageLaunch {
    /// Puts a stage's launch together: `buffers` in the program's order. It points nowhere yet.
    pub fn new(
        code: Arc<CodeMemory>,
        stage: usize,
        functions: Arc<FunctionTable>,
        extents: Vec<i64>,
        buffers: Vec<BoundBuffer>,
        bound: BoundTiles,
        tasks: i64,
    ) -> Self {
        let mut shapes = Vec::new();
        let mut args = Vec::new();
        let homes = buffers.iter().map(|buffer| buffer.home).collect();
        for BoundBuffer { strides, shape, .. } in buffers {
            args.push(BufferArg { base: std::ptr::null_mut(), strides: strides.as_ptr(), shape: shape.as_ptr() });
            // Moving a vector does not move its elements.
            shapes.push(strides);
            shapes.push(shape);
        }
        let tile = |t: &TilePlace| TileArg { base: std::ptr::null_mut(), row_stride: t.row_stride };
        let own_tiles = || bound.places.iter().map(tile).collect();
        let tiles: Vec<Vec<TileArg>> = (0..bound.participants).map(|_| own_tiles()).collect();
        let entry = code.entry(stage);
        let tables = Tables { extents, _shapes: shapes, buffers: args, tiles, functions };
        Self { entry, contexts: Vec::with_capacity(bound.participants), tables, homes, bound, tasks, _code: code }
    }

    /// How many tasks it has.
    pub fn tasks(&self) -> i64 {
        self.tasks
    }

    /// How many threads may take part.
    pub fn participants(&self) -> usize {
        self.bound.participants
    }

    /// Points it to the memory of one call; `tiles` is that of the participants' tiles.
    ///
    /// # Safety
    /// Until it is pointed elsewhere or no task is run any more, every buffer must be valid for its shape and strides
    /// (for writing where the program writes it), every tile for the size the layout gives it, and the stage's program
    /// must be one that the verifier has accepted, lowered to its entry of the code.
    pub unsafe fn point(&mut self, mut address: impl FnMut(Home) -> *mut u8, tiles: *mut u8) {
        let Tables { extents, buffers, tiles: all, functions, .. } = &mut self.tables;
        for (buffer, home) in buffers.iter_mut().zip(&self.homes) {
            buffer.base = address(*home);
        }
        for (slot, own) in all.iter_mut().enumerate() {
            let memory = tiles.wrapping_add(slot * self.bound.thread_bytes);
            for (tile, place) in own.iter_mut().zip(&self.bound.places) {
                tile.base = memory.wrapping_add(place.offset);
            }
        }
        self.contexts.clear();
        self.contexts.extend(all.iter().map(|own| LaunchContext {
            kernels: functions.0.as_ptr(),
            extents: extents.as_ptr(),
            buffers: buffers.as_ptr(),
            tiles: own.as_ptr(),
        }));
    }
}

impl Tasks for StageLaunch {
    fn run(&self, slot: usize, task: i64) {
        let context: *const LaunchContext = &self.contexts[slot];
        // SAFETY: `point`'s caller vouches for buffers, tiles and program, and without it there is no context; the
        // entry is alive because `_code` is; the pool hands a slot to one thread at a time, so its tiles are this
        // thread's own.
        unsafe { (self.entry)(context, task) };
    }
}
