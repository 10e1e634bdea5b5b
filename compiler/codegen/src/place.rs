//! Where an access lies: addresses of tile and buffer elements as functions of
//! the column.
//!
//! A place is made once per row (or once per statement, if the row does not
//! matter): the address at column 0, the step from column to column, and the
//! dimensions whose index is not affine in the column or must be clamped.

use attnc_plan::loops::{BufferId, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::function::Lower;
use crate::graph::{Graph, Id};
use crate::lanes::{Parts, part_count, part_type};
use crate::memory::Storage;

/// Elements from one column to the next.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Known(i64),
    Runtime(Value),
}

/// An index that is evaluated lane by lane.
#[derive(Clone, Copy)]
enum Index {
    /// `zero + slope * col`
    Affine { zero: Value, slope: i64 },
    /// The group of a node.
    Lanes(Id),
}

/// One dimension of a [`Place`] that its step does not cover.
#[derive(Clone, Copy)]
struct Varying {
    index: Index,
    /// Elements per unit of the index.
    stride: Value,
    /// The extent into which the index is clamped.
    clamp: Option<Value>,
}

/// An access as a function of the column.
#[derive(Clone)]
pub(crate) struct Place {
    pub storage: Storage,
    /// Address at column 0, without the varying dimensions.
    base: Value,
    step: Step,
    varying: Vec<Varying>,
}

/// What a place needs of its surroundings.
pub(crate) struct Context<'a> {
    pub graph: &'a Graph,
    /// Scalars: nodes at column 0.
    pub zero: &'a [Option<Value>],
    /// Whether only the element at column 0 is wanted.
    pub scalar: bool,
}

impl Context<'_> {
    fn slope(&self, id: Id) -> Option<i64> {
        if self.scalar { Some(0) } else { self.graph.node(id).slope }
    }

    fn at_zero(&self, id: Id) -> Value {
        self.zero[id.0 as usize].expect("operands are evaluated before their users")
    }
}

impl Lower<'_, '_> {
    /// The place of a tile's element.
    pub(crate) fn tile_place(&mut self, context: &Context<'_>, tile: TileId, row: Id, col: Id) -> Place {
        let (base, row_stride) = self.tile(tile);
        let storage = Storage::of_tile(self.program.tiles[tile.0 as usize].lane);
        let column = self.program.tiles[tile.0 as usize].is_column(&self.program.exprs);
        let one = self.int(1);
        let dims = [(row, row_stride, if column { Some(1) } else { None }), (col, one, Some(1))];
        self.place(context, storage, base, &dims, None)
    }

    /// The place of a buffer's element.
    pub(crate) fn buffer_place(
        &mut self,
        context: &Context<'_>,
        buffer: BufferId,
        index: &[Id],
        clamp: bool,
    ) -> Result<Place, CodegenError> {
        let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
            return Err(self.malformed("a buffer is out of the table"));
        };
        if declared.shape.len() != index.len() {
            return Err(self.malformed("an access has the wrong number of indices"));
        }
        let reference = self.buffer(buffer);
        let unit = declared.unit_dim;
        let dims: Vec<(Id, Value, Option<i64>)> = index
            .iter()
            .enumerate()
            .map(|(dim, id)| (*id, self.stride(buffer, reference, dim), (unit == Some(dim)).then_some(1)))
            .collect();
        let shape = if clamp { Some((0..index.len()).map(|dim| self.shape(reference, dim)).collect()) } else { None };
        Ok(self.place(context, Storage::Data(declared.dtype), reference.base, &dims, shape))
    }

    /// `dims`: index, stride, and the stride again where it is known.
    fn place(
        &mut self,
        context: &Context<'_>,
        storage: Storage,
        base: Value,
        dims: &[(Id, Value, Option<i64>)],
        clamp: Option<Vec<Value>>,
    ) -> Place {
        let mut place = Place { storage, base, step: Step::Known(0), varying: Vec::new() };
        let mut flat: Option<Value> = None;
        for (dim, &(id, stride, known)) in dims.iter().enumerate() {
            let clamp = clamp.as_ref().map(|shape| shape[dim]);
            let index = match context.slope(id) {
                Some(slope) if slope == 0 || clamp.is_none() => {
                    let mut at = context.at_zero(id);
                    if let Some(extent) = clamp {
                        at = self.clamped(at, extent);
                    }
                    place.step = self.add_step(place.step, slope, stride, known);
                    let part = self.scaled(at, stride, known);
                    flat = Some(flat.map_or(part, |sum| self.builder.ins().iadd(sum, part)));
                    continue;
                }
                Some(slope) => Index::Affine { zero: context.at_zero(id), slope },
                None => Index::Lanes(id),
            };
            place.varying.push(Varying { index, stride, clamp });
        }
        if let Some(flat) = flat {
            place.base = self.advance(base, flat, storage);
        }
        place
    }

    fn scaled(&mut self, at: Value, stride: Value, known: Option<i64>) -> Value {
        if known == Some(1) { at } else { self.builder.ins().imul(at, stride) }
    }

    fn add_step(&mut self, step: Step, slope: i64, stride: Value, known: Option<i64>) -> Step {
        match (step, known) {
            _ if slope == 0 => return step,
            (Step::Known(sum), Some(stride)) => return Step::Known(sum + slope * stride),
            _ => {}
        }
        let part = if slope == 1 { stride } else { self.builder.ins().imul_imm_s(stride, slope) };
        match step {
            Step::Known(0) => Step::Runtime(part),
            Step::Known(sum) => Step::Runtime(self.builder.ins().iadd_imm_s(part, sum)),
            Step::Runtime(sum) => Step::Runtime(self.builder.ins().iadd(sum, part)),
        }
    }

    /// The address `elements` further on.
    fn advance(&mut self, base: Value, elements: Value, storage: Storage) -> Value {
        let shift = i64::from(storage.size().trailing_zeros());
        let bytes = if shift == 0 { elements } else { self.builder.ins().ishl_imm_s(elements, shift) };
        self.builder.ins().iadd(base, bytes)
    }

    fn clamped(&mut self, index: Value, extent: Value) -> Value {
        let last = self.builder.ins().iadd_imm_s(extent, -1);
        let zero = self.int(0);
        let low = self.builder.ins().smin(index, last);
        self.builder.ins().smax(low, zero)
    }

    /// The address of the element at `col`, the first lane of a group, without
    /// the varying dimensions.
    fn at_column(&mut self, place: &Place, step: Step, col: Value) -> Value {
        let elements = match step {
            Step::Known(0) => return place.base,
            Step::Known(1) => col,
            Step::Known(step) => self.builder.ins().imul_imm_s(col, step),
            Step::Runtime(step) => self.builder.ins().imul(col, step),
        };
        self.advance(place.base, elements, place.storage)
    }

    /// The address of lane `lane` of the group that starts at `col`.
    fn lane_address(&mut self, place: &Place, lanes: &LaneIndices, col: Value, lane: usize) -> Value {
        let here = if lane == 0 { col } else { self.builder.ins().iadd_imm_s(col, lane as i64) };
        let mut address = self.at_column(place, place.step, here);
        for (varying, parts) in place.varying.iter().zip(&lanes.parts) {
            let mut index = match varying.index {
                Index::Affine { zero, slope } => {
                    let far = if slope == 1 { here } else { self.builder.ins().imul_imm_s(here, slope) };
                    self.builder.ins().iadd(zero, far)
                }
                Index::Lanes(_) => self.extract(attnc_plan::loops::Lane::I64, lanes.width, parts, lane),
            };
            if let Some(extent) = varying.clamp {
                index = self.clamped(index, extent);
            }
            let elements = self.builder.ins().imul(index, varying.stride);
            address = self.advance(address, elements, place.storage);
        }
        address
    }
}

impl Lower<'_, '_> {
    /// The addresses of all lanes of the group that starts at `col`.
    fn lane_addresses(&mut self, place: &Place, lanes: &LaneIndices, col: Value) -> Vec<Value> {
        if !place.varying.is_empty() {
            return (0..lanes.width).map(|lane| self.lane_address(place, lanes, col, lane)).collect();
        }
        let step = match place.step {
            Step::Known(step) => self.int(step * place.storage.size()),
            Step::Runtime(step) => self.builder.ins().imul_imm_s(step, place.storage.size()),
        };
        let mut address = self.at_column(place, place.step, col);
        let mut addresses = vec![address];
        while addresses.len() < lanes.width {
            address = self.builder.ins().iadd(address, step);
            addresses.push(address);
        }
        addresses
    }
}

/// The groups of a place's non-affine indices.
pub(crate) struct LaneIndices {
    width: usize,
    /// Whether steps known at run time only are 1.
    unit: bool,
    /// One entry per varying dimension; empty where the index is affine.
    parts: Vec<Parts>,
}

impl LaneIndices {
    /// The step of a place in this group.
    fn step(&self, place: &Place) -> Step {
        match place.step {
            Step::Runtime(_) if self.unit => Step::Known(1),
            step => step,
        }
    }
}

impl Place {
    /// The step from column to column, if it is all that varies and known at run time only.
    pub(crate) fn runtime_step(&self) -> Option<Value> {
        match self.step {
            Step::Runtime(step) if self.varying.is_empty() => Some(step),
            _ => None,
        }
    }

    /// Collects the groups of the non-affine indices; with `unit`, steps known at run time only are 1.
    pub(crate) fn indices(&self, width: usize, unit: bool, mut group: impl FnMut(Id) -> Parts) -> LaneIndices {
        let parts = |v: &Varying| match v.index {
            Index::Lanes(id) => group(id),
            Index::Affine { .. } => Vec::new(),
        };
        LaneIndices { width, unit: unit && self.varying.is_empty(), parts: self.varying.iter().map(parts).collect() }
    }
}

/// Groups in and out of memory.
impl Lower<'_, '_> {
    /// Reads the element of a place made for a scalar.
    pub(crate) fn load_scalar_place(&mut self, place: &Place) -> Value {
        self.load(place.storage, 1, place.base)[0]
    }
}

impl Lower<'_, '_> {
    /// Reads the group of `width` lanes that starts at column `col`.
    pub(crate) fn load_place(&mut self, place: &Place, lanes: &LaneIndices, col: Value) -> Result<Parts, CodegenError> {
        let (storage, width) = (place.storage, lanes.width);
        if width == 1 {
            let address = self.lane_address(place, lanes, col, 0);
            return Ok(self.load(storage, 1, address));
        }
        let step = lanes.step(place);
        match (step, &place.varying[..]) {
            (Step::Known(0), []) => {
                let scalar = self.load(storage, 1, place.base)[0];
                Ok(self.splat(storage.lane(), width, scalar))
            }
            (Step::Known(1), []) => {
                let address = self.at_column(place, step, col);
                Ok(self.load(storage, width, address))
            }
            (Step::Known(-1), []) => {
                let address = self.at_column(place, step, col);
                let address = self.builder.ins().iadd_imm_s(address, -(width as i64 - 1) * storage.size());
                let parts = self.load(storage, width, address);
                Ok(self.reversed(storage, &parts))
            }
            (Step::Runtime(step), []) => {
                let unit = self.builder.ins().icmp_imm_s(IntCC::Equal, step, 1);
                self.load_if(place, lanes, col, unit, 1)
            }
            (Step::Known(0), [Varying { index: Index::Affine { zero, slope: slope @ (1 | -1) }, stride, clamp }]) => {
                let inside = self.group_inside(*zero, *slope, *clamp, col, width);
                let unit = self.builder.ins().icmp_imm_s(IntCC::Equal, *stride, 1);
                let fast = self.builder.ins().band(inside, unit);
                self.load_if(place, lanes, col, fast, *slope)
            }
            _ => self.load_lanes(place, lanes, col),
        }
    }

    /// Whether all indices `zero + slope * c` of a group lie in the extent.
    fn group_inside(&mut self, zero: Value, slope: i64, extent: Option<Value>, col: Value, width: usize) -> Value {
        let Some(extent) = extent else { return self.builder.ins().iconst(types::I8, 1) };
        let far = self.builder.ins().imul_imm_s(col, slope);
        let first = self.builder.ins().iadd(zero, far);
        let last = self.builder.ins().iadd_imm_s(first, slope * (width as i64 - 1));
        let low = self.builder.ins().icmp(IntCC::UnsignedLessThan, first, extent);
        let high = self.builder.ins().icmp(IntCC::UnsignedLessThan, last, extent);
        self.builder.ins().band(low, high)
    }

    /// A vector load where `fast` holds (adjacent elements, forwards or
    /// backwards), else lane by lane.
    fn load_if(
        &mut self,
        place: &Place,
        lanes: &LaneIndices,
        col: Value,
        fast: Value,
        direction: i64,
    ) -> Result<Parts, CodegenError> {
        let (storage, width) = (place.storage, lanes.width);
        let lane = storage.lane();
        let types = vec![part_type(lane, width); part_count(lane, width)];
        self.choose(
            fast,
            &types,
            |s| {
                let first = if direction == 1 { 0 } else { width - 1 };
                let address = s.lane_address(place, lanes, col, first);
                let parts = s.load(storage, width, address);
                Ok(if direction == 1 { parts } else { s.reversed(storage, &parts) })
            },
            |s| s.load_lanes(place, lanes, col),
        )
    }

    fn load_lanes(&mut self, place: &Place, lanes: &LaneIndices, col: Value) -> Result<Parts, CodegenError> {
        let addresses = self.lane_addresses(place, lanes, col);
        let scalars: Vec<Value> =
            addresses.into_iter().map(|address| self.load(place.storage, 1, address)[0]).collect();
        Ok(self.gather(place.storage.lane(), &scalars))
    }

    /// The lanes of a group in reverse order.
    fn reversed(&mut self, storage: Storage, parts: &Parts) -> Parts {
        let wide = crate::lanes::lanes_per_part(storage.lane()) == 2;
        let mask: [u8; 16] = if wide {
            [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]
        } else {
            [12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3]
        };
        let mut out = Vec::with_capacity(parts.len());
        for part in parts.iter().rev() {
            let ty = self.builder.func.dfg.value_type(*part);
            let turned = self.shuffle(*part, *part, mask);
            out.push(self.bits(ty, turned));
        }
        out
    }

    /// Writes a group that starts at column `col`; its lane type is the storage's.
    pub(crate) fn store_place(
        &mut self,
        place: &Place,
        lanes: &LaneIndices,
        col: Value,
        parts: &Parts,
    ) -> Result<(), CodegenError> {
        let (storage, width) = (place.storage, lanes.width);
        if width == 1 {
            let address = self.lane_address(place, lanes, col, 0);
            self.store_scalar(storage, address, parts[0]);
            return Ok(());
        }
        let step = lanes.step(place);
        match (step, place.varying.is_empty()) {
            (Step::Known(1), true) => {
                let address = self.at_column(place, step, col);
                self.store(storage, width, address, parts);
                Ok(())
            }
            (Step::Runtime(step), true) => {
                let unit = self.builder.ins().icmp_imm_s(IntCC::Equal, step, 1);
                self.either(
                    unit,
                    |s| {
                        let address = s.at_column(place, Step::Known(1), col);
                        s.store(storage, width, address, parts);
                        Ok(())
                    },
                    |s| s.store_lanes(place, lanes, col, parts),
                )
            }
            _ => self.store_lanes(place, lanes, col, parts),
        }
    }

    fn store_lanes(
        &mut self,
        place: &Place,
        lanes: &LaneIndices,
        col: Value,
        parts: &Parts,
    ) -> Result<(), CodegenError> {
        for (lane, address) in self.lane_addresses(place, lanes, col).into_iter().enumerate() {
            let x = self.extract(place.storage.lane(), lanes.width, parts, lane);
            self.store_scalar(place.storage, address, x);
        }
        Ok(())
    }
}
