//! One node of a statement's graph: as a scalar, and in the lanes of a group.

use attnc_plan::loops::Lane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::cells::{Cells, Lanes};
use crate::function::Lower;
use crate::graph::{Binary, Graph, Id, Op, Relation};
use crate::lanes::{Parts, part_type};
use crate::place::Context;

impl Lower<'_, '_> {
    /// A node's scalar, its operands' scalars being in `zero`.
    pub(crate) fn zero_node(
        &mut self,
        graph: &Graph,
        zero: &[Option<Value>],
        row: Option<Value>,
        id: Id,
    ) -> Result<Value, CodegenError> {
        let node = graph.node(id);
        let of = |x: &Id| zero[x.0 as usize].expect("operands are evaluated before their users");
        Ok(match &node.op {
            Op::Real(Lane::F32, v) => self.builder.ins().f32const(v.get() as f32),
            Op::Real(_, v) => self.builder.ins().f64const(v.get()),
            Op::Int(v) => self.int(*v),
            Op::Truth(v) => self.builder.ins().iconst(types::I8, i64::from(*v)),
            Op::Extent(n) => self.extent(*n),
            Op::Var(v) => self.variable(*v)?,
            Op::Row => row.ok_or_else(|| self.malformed("a scalar mentions the row"))?,
            Op::Col => self.int(0),
            Op::AtZero(x) => of(x),
            Op::Tile { tile, row, col } => {
                let context = Context { graph, zero, scalar: true };
                let place = self.tile_place(&context, *tile, *row, *col);
                self.load_scalar_place(&place)
            }
            Op::Load { buffer, index, clamp } => {
                let context = Context { graph, zero, scalar: true };
                let place = self.buffer_place(&context, *buffer, index, *clamp)?;
                self.load_scalar_place(&place)
            }
            Op::LowerBound { index, count, value, .. } => {
                let index: Vec<Value> = index.iter().map(of).collect();
                self.lower_bound(&node.op, &index, of(count), of(value))?
            }
            Op::Unary(op, x) => self.unary(*op, graph.node(*x).lane, 1, &vec![of(x)])?[0],
            Op::Binary(op, x, y) => self.binary(*op, graph.node(*x).lane, 1, &vec![of(x)], &vec![of(y)])?[0],
            Op::Select(c, a, b) => self.builder.ins().select(of(c), of(a), of(b)),
            Op::Cast(lane, x) => self.convert(graph.node(*x).lane, *lane, 1, &vec![of(x)])?[0],
            Op::Call(function, xs) => {
                let args: Vec<Value> = xs.iter().map(of).collect();
                self.scalar_call(*function, node.lane, &args)?
            }
            Op::ColumnIs(relation, x) => {
                let zero = self.int(0);
                self.builder.ins().icmp(condition(*relation), zero, of(x))
            }
            Op::ColumnModIs { zero: start, modulus, is, negated, .. } => {
                let rest = self.builder.ins().band_imm_s(of(start), modulus - 1);
                self.builder.ins().icmp(equality(*negated), rest, of(is))
            }
        })
    }

    /// The lanes of the nodes in `order`.
    pub(crate) fn lane_nodes(
        &mut self,
        cells: &Cells<'_>,
        order: &[Id],
        lanes: &mut Lanes,
    ) -> Result<(), CodegenError> {
        for id in order {
            if !lanes.values.contains_key(id) {
                let parts = self.lane_node(cells, *id, lanes)?;
                lanes.values.insert(*id, parts);
            }
        }
        Ok(())
    }

    fn lane_node(&mut self, cells: &Cells<'_>, id: Id, lanes: &Lanes) -> Result<Parts, CodegenError> {
        let graph = cells.graph;
        let node = graph.node(id);
        let width = lanes.width;
        let of = |x: &Id| cells.group(lanes, *x);
        if let Some(slope) = node.slope {
            return Ok(self.affine(cells.scalar(id), slope, lanes));
        }
        match &node.op {
            Op::Tile { .. } | Op::Load { .. } => {
                let place = &cells.places[&id];
                let indices = cells.indices(place, lanes);
                self.load_place(place, &indices, lanes.col)
            }
            Op::LowerBound { .. } => self.lower_bounds(cells, &node.op, lanes),
            Op::Unary(op, x) => self.unary(*op, graph.node(*x).lane, width, &of(x)),
            Op::Binary(op @ (Binary::FloorDiv | Binary::Mod), x, y) if width > 1 => {
                self.divide_lanes(cells, *op, *x, *y, lanes)
            }
            Op::Binary(op, x, y) => self.binary(*op, graph.node(*x).lane, width, &of(x), &of(y)),
            Op::Select(c, a, b) => Ok(self.select(node.lane, width, &of(c), &of(a), &of(b))),
            Op::Cast(to, x) => match graph.node(*x).slope {
                Some(slope) if graph.node(*x).lane == Lane::I64 && *to != Lane::Bool => {
                    self.affine_real(*to, cells.scalar(*x), slope, lanes)
                }
                _ => self.convert(graph.node(*x).lane, *to, width, &of(x)),
            },
            Op::Call(function, xs) => {
                let args: Vec<Parts> = xs.iter().map(of).collect();
                let args: Vec<&Parts> = args.iter().collect();
                self.lanewise(node.lane, width, &args, |s, args| s.scalar_call(*function, node.lane, args))
            }
            Op::ColumnIs(relation, x) => Ok(self.column_is(cells, *relation, *x, lanes)),
            Op::ColumnModIs { .. } => Ok(self.column_mod_is(cells, &node.op, lanes)),
            _ => Err(self.malformed("a scalar is asked for in lanes")),
        }
    }

    /// `zero + slope * col` in every lane.
    fn affine(&mut self, zero: Value, slope: i64, lanes: &Lanes) -> Parts {
        let far = self.builder.ins().imul_imm_s(lanes.col, slope);
        let first = self.builder.ins().iadd(zero, far);
        if lanes.width == 1 {
            return vec![first];
        }
        let first = self.builder.ins().splat(types::I64X2, first);
        let steps = (0..lanes.width / 2).map(|pair| {
            let at = |lane: i64| (slope.wrapping_mul(2 * pair as i64 + lane)).to_le_bytes();
            let constant = self.vector_constant(&[at(0), at(1)].concat());
            let steps = self.builder.ins().vconst(types::I64X2, constant);
            self.builder.ins().iadd(first, steps)
        });
        steps.collect()
    }

    /// The same as F32 or F64, rounded once.
    fn affine_real(&mut self, to: Lane, zero: Value, slope: i64, lanes: &Lanes) -> Result<Parts, CodegenError> {
        let far = self.builder.ins().imul_imm_s(lanes.col, slope);
        let first = self.builder.ins().iadd(zero, far);
        if lanes.width == 1 {
            return Ok(vec![self.builder.ins().fcvt_from_sint(part_type(to, 1), first)]);
        }
        if to == Lane::F64 || slope.unsigned_abs() > 1 << 20 {
            return Ok(self.affine_wide(to, first, slope, lanes));
        }
        // In 32 bits where the group is far from their ends.
        let word = self.builder.ins().ireduce(types::I32, first);
        let shifted = self.builder.ins().iadd_imm_s(first, 1 << 30);
        let fits = self.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, shifted, 1 << 31);
        let types = vec![types::F32X4; lanes.width / 4];
        self.choose(
            fits,
            &types,
            |s| {
                let first = s.builder.ins().splat(types::I32X4, word);
                let words = s.steps(first, slope as i32, lanes.width);
                Ok(words.into_iter().map(|x| s.builder.ins().fcvt_from_sint(types::F32X4, x)).collect())
            },
            |s| Ok(s.affine_wide(to, first, slope, lanes)),
        )
    }

    /// `first + slope * lane`: exact in f64, then rounded.
    fn affine_wide(&mut self, to: Lane, first: Value, slope: i64, lanes: &Lanes) -> Parts {
        let first = self.builder.ins().fcvt_from_sint(types::F64, first);
        let first = self.builder.ins().splat(types::F64X2, first);
        let wide: Parts = (0..lanes.width / 2)
            .map(|pair| {
                let at = |lane: i64| (slope as f64 * (2 * pair as i64 + lane) as f64).to_le_bytes();
                let constant = self.vector_constant(&[at(0), at(1)].concat());
                let steps = self.builder.ins().vconst(types::F64X2, constant);
                self.builder.ins().fadd(first, steps)
            })
            .collect();
        if to == Lane::F64 { wide } else { wide.chunks(2).map(|pair| self.demote(pair)).collect() }
    }

    pub(crate) fn vector_constant(&mut self, bytes: &[u8]) -> cranelift_codegen::ir::Constant {
        self.builder.func.dfg.constants.insert(bytes.into())
    }

    fn column_is(&mut self, cells: &Cells<'_>, relation: Relation, x: Id, lanes: &Lanes) -> Parts {
        let cc = condition(relation);
        if lanes.width == 1 {
            return vec![self.builder.ins().icmp(cc, lanes.col, cells.scalar(x))];
        }
        let threshold = cells.thresholds[&x];
        let word = self.builder.ins().ireduce(types::I32, lanes.col);
        let first = self.builder.ins().splat(types::I32X4, word);
        let cols = self.steps(first, 1, lanes.width);
        cols.into_iter().map(|cols| self.builder.ins().icmp(cc, cols, threshold)).collect()
    }

    /// `first + slope * lane` in 32-bit lanes, wrapping.
    fn steps(&mut self, first: Value, slope: i32, width: usize) -> Parts {
        let groups = (0..width / 4).map(|group| {
            let at = |lane: i32| slope.wrapping_mul(group as i32 * 4 + lane);
            let bytes: Vec<u8> = (0..4).flat_map(|lane| at(lane).to_le_bytes()).collect();
            let constant = self.vector_constant(&bytes);
            let steps = self.builder.ins().vconst(types::I32X4, constant);
            self.builder.ins().iadd(first, steps)
        });
        groups.collect()
    }

    fn column_mod_is(&mut self, cells: &Cells<'_>, op: &Op, lanes: &Lanes) -> Parts {
        let Op::ColumnModIs { zero, slope, modulus, is, negated } = op else { return Vec::new() };
        let far = self.builder.ins().imul_imm_s(lanes.col, *slope);
        if lanes.width == 1 {
            let at = self.builder.ins().iadd(cells.scalar(*zero), far);
            let rest = self.builder.ins().band_imm_s(at, modulus - 1);
            return vec![self.builder.ins().icmp(equality(*negated), rest, cells.scalar(*is))];
        }
        // The low 32 bits decide: the modulus divides 2^32.
        let far = self.builder.ins().ireduce(types::I32, far);
        let far = self.builder.ins().splat(types::I32X4, far);
        let first = self.builder.ins().iadd(cells.thresholds[zero], far);
        let mask = self.builder.ins().iconst(types::I32, modulus - 1);
        let mask = self.builder.ins().splat(types::I32X4, mask);
        let (cc, is) = (equality(*negated), cells.thresholds[is]);
        let values = self.steps(first, *slope as i32, lanes.width);
        let rests: Parts = values.into_iter().map(|x| self.builder.ins().band(x, mask)).collect();
        rests.into_iter().map(|rest| self.builder.ins().icmp(cc, rest, is)).collect()
    }

    /// Floor division and remainder of groups; scalar divisors are known here.
    fn divide_lanes(
        &mut self,
        cells: &Cells<'_>,
        op: Binary,
        x: Id,
        y: Id,
        lanes: &Lanes,
    ) -> Result<Parts, CodegenError> {
        let lane = cells.graph.node(x).lane;
        let (left, width) = (cells.group(lanes, x), lanes.width);
        if lane != Lane::I64 {
            return self.binary(op, lane, width, &left, &cells.group(lanes, y));
        }
        if cells.graph.node(y).col {
            return self.binary(op, lane, width, &left, &cells.group(lanes, y));
        }
        let divisor = cells.graph.as_int(y);
        if let Some(divisor) = divisor.filter(|divisor| *divisor > 0 && divisor.count_ones() == 1) {
            let shift = i64::from(divisor.trailing_zeros());
            let mask = self.int(divisor - 1);
            let mask = self.builder.ins().splat(types::I64X2, mask);
            let each = left.iter().map(|x| match op {
                Binary::FloorDiv => self.builder.ins().sshr_imm_s(*x, shift),
                _ => self.builder.ins().band(*x, mask),
            });
            return Ok(each.collect());
        }
        self.divide_whole(op, width, &left, cells.scalar(y))
    }

    fn lower_bounds(&mut self, cells: &Cells<'_>, op: &Op, lanes: &Lanes) -> Result<Parts, CodegenError> {
        let Op::LowerBound { index, count, value, .. } = op else { return Ok(Vec::new()) };
        let mut scalars = Vec::new();
        for lane in 0..lanes.width {
            let mut of = |id: &Id| self.lane_of(cells, *id, lanes, lane);
            let index: Vec<Value> = index.iter().map(&mut of).collect();
            let (count, value) = (of(count), of(value));
            scalars.push(self.lower_bound(op, &index, count, value)?);
        }
        Ok(self.gather(Lane::I64, &scalars))
    }

    /// One lane of an integer node.
    fn lane_of(&mut self, cells: &Cells<'_>, id: Id, lanes: &Lanes, lane: usize) -> Value {
        let node = cells.graph.node(id);
        match node.slope {
            Some(0) => cells.scalar(id),
            Some(slope) => {
                let col = self.builder.ins().iadd_imm_s(lanes.col, lane as i64);
                let far = self.builder.ins().imul_imm_s(col, slope);
                self.builder.ins().iadd(cells.scalar(id), far)
            }
            None => self.extract(node.lane, lanes.width, &cells.group(lanes, id), lane),
        }
    }
}

fn equality(negated: bool) -> IntCC {
    if negated { IntCC::NotEqual } else { IntCC::Equal }
}

fn condition(relation: Relation) -> IntCC {
    match relation {
        Relation::Below => IntCC::SignedLessThan,
        Relation::AtMost => IntCC::SignedLessThanOrEqual,
        Relation::Above => IntCC::SignedGreaterThan,
        Relation::AtLeast => IntCC::SignedGreaterThanOrEqual,
        Relation::Equal => IntCC::Equal,
        Relation::Unequal => IntCC::NotEqual,
    }
}
