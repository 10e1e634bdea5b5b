//! Arithmetic on groups of lanes.
//!
//! A group of width 1 is a scalar (a truth value an I8 of 0 or 1); of width
//! 4, 8, … it is 128-bit vectors: F32 in F32X4, F64 in F64X2, I64 in I64X2, and
//! truth values as I32X4 masks of all ones or zeros. What Cranelift lacks on
//! vectors (division of integers, wide conversions) is done lane by lane.

use attnc_plan::loops::Lane;
use attnc_plan::loops::print::lane_name;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use crate::CodegenError;
use crate::function::{Lower, scalar_type};
use crate::graph::{Binary, Unary};

/// The vectors (or the one scalar) of a group.
pub(crate) type Parts = Vec<Value>;

/// Lanes held by one vector of a lane type.
pub(crate) fn lanes_per_part(lane: Lane) -> usize {
    match lane {
        Lane::F32 | Lane::Bool => 4,
        Lane::F64 | Lane::I64 => 2,
    }
}

/// The IR type of a part.
pub(crate) fn part_type(lane: Lane, width: usize) -> Type {
    match lane {
        _ if width == 1 => scalar_type(lane),
        Lane::F32 => types::F32X4,
        Lane::F64 => types::F64X2,
        Lane::I64 => types::I64X2,
        Lane::Bool => types::I32X4,
    }
}

/// Number of parts of a group.
pub(crate) fn part_count(lane: Lane, width: usize) -> usize {
    (width / lanes_per_part(lane)).max(1)
}

/// Bytes 0–7 of one vector, then 0–7 of the other.
const LOW_HALVES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
/// The upper half moved down.
const HIGH_HALF: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
/// The low 32 bits of each 64-bit lane of two vectors.
const EVEN_WORDS: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];

impl Lower<'_, '_> {
    pub(crate) fn no_lane(&self, operation: impl Into<String>, lane: Lane) -> CodegenError {
        let (program, lane) = (self.program.name.clone(), lane_name(lane));
        CodegenError::Lane { program, operation: operation.into(), lane }
    }

    /// A scalar in every lane.
    pub(crate) fn splat(&mut self, lane: Lane, width: usize, x: Value) -> Parts {
        if width == 1 {
            return vec![x];
        }
        let vector = match lane {
            Lane::Bool => {
                let mask = self.mask_of(x);
                self.builder.ins().splat(types::I32X4, mask)
            }
            _ => self.builder.ins().splat(part_type(lane, width), x),
        };
        vec![vector; part_count(lane, width)]
    }

    /// A truth value (0 or 1) as 0 or -1 in an I32.
    pub(crate) fn mask_of(&mut self, x: Value) -> Value {
        let wide = self.builder.ins().uextend(types::I32, x);
        self.builder.ins().ineg(wide)
    }

    /// Lane `at` of a group, as a scalar.
    pub(crate) fn extract(&mut self, lane: Lane, width: usize, parts: &[Value], at: usize) -> Value {
        if width == 1 {
            return parts[0];
        }
        let per = lanes_per_part(lane);
        let x = self.builder.ins().extractlane(parts[at / per], (at % per) as u8);
        if lane == Lane::Bool { self.builder.ins().icmp_imm_s(IntCC::NotEqual, x, 0) } else { x }
    }

    /// A group of the given scalars.
    pub(crate) fn gather(&mut self, lane: Lane, scalars: &[Value]) -> Parts {
        if scalars.len() == 1 {
            return scalars.to_vec();
        }
        let ty = part_type(lane, scalars.len());
        let mut parts = Vec::new();
        for group in scalars.chunks(lanes_per_part(lane)) {
            let group: Vec<Value> =
                group.iter().map(|x| if lane == Lane::Bool { self.mask_of(*x) } else { *x }).collect();
            let mut vector = self.builder.ins().scalar_to_vector(ty, group[0]);
            for (at, x) in group.iter().enumerate().skip(1) {
                vector = self.builder.ins().insertlane(vector, *x, at as u8);
            }
            parts.push(vector);
        }
        parts
    }

    /// The two I64X2 masks of an I32X4 mask.
    fn wide_mask(&mut self, mask: Value) -> [Value; 2] {
        [self.builder.ins().swiden_low(mask), self.builder.ins().swiden_high(mask)]
    }

    /// Masks (or small integers) in 64-bit lanes as 32-bit lanes.
    pub(crate) fn narrow_words(&mut self, parts: &[Value]) -> Parts {
        let pairs = parts.chunks(2);
        pairs
            .map(|pair| {
                let words = self.shuffle(pair[0], pair[1], EVEN_WORDS);
                self.bits(types::I32X4, words)
            })
            .collect()
    }

    fn each(&mut self, xs: &[Value], mut f: impl FnMut(&mut Self, Value) -> Value) -> Parts {
        xs.iter().map(|x| f(self, *x)).collect()
    }

    fn pairs(&mut self, xs: &[Value], ys: &[Value], mut f: impl FnMut(&mut Self, Value, Value) -> Value) -> Parts {
        xs.iter().zip(ys).map(|(x, y)| f(self, *x, *y)).collect()
    }

    /// `f` on every lane by itself.
    pub(crate) fn lanewise(
        &mut self,
        lane: Lane,
        width: usize,
        operands: &[&Parts],
        mut f: impl FnMut(&mut Self, &[Value]) -> Result<Value, CodegenError>,
    ) -> Result<Parts, CodegenError> {
        let mut scalars = Vec::with_capacity(width);
        for at in 0..width {
            let args: Vec<Value> = operands.iter().map(|parts| self.extract(lane, width, parts, at)).collect();
            scalars.push(f(self, &args)?);
        }
        Ok(self.gather(lane, &scalars))
    }
}

/// Operations of one and two operands.
impl Lower<'_, '_> {
    pub(crate) fn unary(&mut self, op: Unary, lane: Lane, width: usize, x: &Parts) -> Result<Parts, CodegenError> {
        let float = matches!(lane, Lane::F32 | Lane::F64);
        Ok(match (op, lane) {
            (Unary::Not, Lane::Bool) if width == 1 => self.each(x, |s, x| s.builder.ins().bxor_imm_s(x, 1)),
            (Unary::Not, Lane::Bool) => self.each(x, |s, x| s.builder.ins().bnot(x)),
            (Unary::Neg, Lane::I64) => self.each(x, |s, x| s.builder.ins().ineg(x)),
            (Unary::Abs, Lane::I64) => self.each(x, |s, x| s.builder.ins().iabs(x)),
            (Unary::Neg, _) if float => self.each(x, |s, x| s.builder.ins().fneg(x)),
            (Unary::Abs, _) if float => self.each(x, |s, x| s.builder.ins().fabs(x)),
            (Unary::Sqrt, _) if float => self.each(x, |s, x| s.builder.ins().sqrt(x)),
            (Unary::Floor, _) if float => self.each(x, |s, x| s.builder.ins().floor(x)),
            (Unary::Ceil, _) if float => self.each(x, |s, x| s.builder.ins().ceil(x)),
            (Unary::Trunc, _) if float => self.each(x, |s, x| s.builder.ins().trunc(x)),
            _ => return Err(self.no_lane(format!("{op:?}"), lane)),
        })
    }

    /// `lane` is the operands' type; comparisons give truth values.
    pub(crate) fn binary(
        &mut self,
        op: Binary,
        lane: Lane,
        width: usize,
        x: &Parts,
        y: &Parts,
    ) -> Result<Parts, CodegenError> {
        match lane {
            Lane::F32 | Lane::F64 => self.float_binary(op, lane, width, x, y),
            Lane::I64 => self.int_binary(op, width, x, y),
            Lane::Bool => self.truth_binary(op, width, x, y),
        }
    }

    fn float_binary(
        &mut self,
        op: Binary,
        lane: Lane,
        width: usize,
        x: &Parts,
        y: &Parts,
    ) -> Result<Parts, CodegenError> {
        Ok(match op {
            Binary::Add => self.pairs(x, y, |s, x, y| s.builder.ins().fadd(x, y)),
            Binary::Sub => self.pairs(x, y, |s, x, y| s.builder.ins().fsub(x, y)),
            Binary::Mul => self.pairs(x, y, |s, x, y| s.builder.ins().fmul(x, y)),
            Binary::Div => self.pairs(x, y, |s, x, y| s.builder.ins().fdiv(x, y)),
            Binary::Min => self.pairs(x, y, |s, x, y| s.float_extreme(FloatCC::LessThan, x, y)),
            Binary::Max => self.pairs(x, y, |s, x, y| s.float_extreme(FloatCC::GreaterThan, x, y)),
            Binary::FloorDiv => self.pairs(x, y, |s, x, y| s.floor_quotient(x, y)),
            Binary::Mod => self.pairs(x, y, |s, x, y| {
                let whole = s.floor_quotient(x, y);
                let product = s.builder.ins().fmul(y, whole);
                s.builder.ins().fsub(x, product)
            }),
            Binary::Eq => self.float_compare(FloatCC::Equal, lane, width, x, y),
            Binary::Ne => self.float_compare(FloatCC::NotEqual, lane, width, x, y),
            Binary::Lt => self.float_compare(FloatCC::LessThan, lane, width, x, y),
            Binary::Le => self.float_compare(FloatCC::LessThanOrEqual, lane, width, x, y),
            Binary::IntPow | Binary::And | Binary::Or => return Err(self.no_lane(format!("{op:?}"), lane)),
        })
    }

    fn floor_quotient(&mut self, x: Value, y: Value) -> Value {
        let quotient = self.builder.ins().fdiv(x, y);
        self.builder.ins().floor(quotient)
    }

    /// Minimum or maximum, NaN if an operand is, -0 below 0: the instruction
    /// in both orders, which gives the second operand where they are equal or
    /// unordered. The bits of both results hold the sign of a zero.
    pub(crate) fn float_extreme(&mut self, better: FloatCC, x: Value, y: Value) -> Value {
        let ty = self.builder.func.dfg.value_type(x);
        let least = better == FloatCC::LessThan;
        if !ty.is_vector() {
            return if least { self.builder.ins().fmin(x, y) } else { self.builder.ins().fmax(x, y) };
        }
        let better_or_second = |s: &mut Self, x, y| {
            let wins = if least {
                s.builder.ins().fcmp(FloatCC::LessThan, x, y)
            } else {
                s.builder.ins().fcmp(FloatCC::LessThan, y, x)
            };
            let wins = s.bits(ty, wins);
            s.builder.ins().bitselect(wins, x, y)
        };
        let (one, other) = (better_or_second(self, x, y), better_or_second(self, y, x));
        if least {
            return self.builder.ins().bor(one, other);
        }
        let best = self.builder.ins().band(one, other);
        let unordered = self.builder.ins().fcmp(FloatCC::Unordered, x, y);
        let nan = self.builder.ins().fadd(x, y);
        self.blend(unordered, nan, best)
    }

    /// Bits of `x` where the mask has ones, else of `y`.
    pub(crate) fn blend(&mut self, mask: Value, x: Value, y: Value) -> Value {
        let ty = self.builder.func.dfg.value_type(x);
        let words = self.builder.func.dfg.value_type(mask);
        let (x, y) = (self.bits(words, x), self.bits(words, y));
        let chosen = self.builder.ins().bitselect(mask, x, y);
        self.bits(ty, chosen)
    }

    fn float_compare(&mut self, cc: FloatCC, lane: Lane, width: usize, x: &Parts, y: &Parts) -> Parts {
        let masks = self.pairs(x, y, |s, x, y| s.builder.ins().fcmp(cc, x, y));
        if width > 1 && lane == Lane::F64 { self.narrow_words(&masks) } else { masks }
    }

    fn int_compare(&mut self, cc: IntCC, width: usize, x: &Parts, y: &Parts) -> Parts {
        let masks = self.pairs(x, y, |s, x, y| s.builder.ins().icmp(cc, x, y));
        if width > 1 { self.narrow_words(&masks) } else { masks }
    }

    fn int_binary(&mut self, op: Binary, width: usize, x: &Parts, y: &Parts) -> Result<Parts, CodegenError> {
        Ok(match op {
            Binary::Add => self.pairs(x, y, |s, x, y| s.builder.ins().iadd(x, y)),
            Binary::Sub => self.pairs(x, y, |s, x, y| s.builder.ins().isub(x, y)),
            Binary::Mul => self.pairs(x, y, |s, x, y| s.builder.ins().imul(x, y)),
            Binary::Min => self.pairs(x, y, |s, x, y| s.int_extreme(IntCC::SignedLessThan, x, y)),
            Binary::Max => self.pairs(x, y, |s, x, y| s.int_extreme(IntCC::SignedGreaterThan, x, y)),
            Binary::FloorDiv => self.lanewise(Lane::I64, width, &[x, y], |s, a| Ok(s.floor_div(a[0], a[1]).0))?,
            Binary::Mod => self.lanewise(Lane::I64, width, &[x, y], |s, a| Ok(s.floor_div(a[0], a[1]).1))?,
            Binary::IntPow => self.lanewise(Lane::I64, width, &[x, y], |s, a| Ok(s.int_power(a[0], a[1])))?,
            Binary::Eq => self.int_compare(IntCC::Equal, width, x, y),
            Binary::Ne => self.int_compare(IntCC::NotEqual, width, x, y),
            Binary::Lt => self.int_compare(IntCC::SignedLessThan, width, x, y),
            Binary::Le => self.int_compare(IntCC::SignedLessThanOrEqual, width, x, y),
            Binary::Div | Binary::And | Binary::Or => return Err(self.no_lane(format!("{op:?}"), Lane::I64)),
        })
    }

    pub(crate) fn int_extreme(&mut self, better: IntCC, x: Value, y: Value) -> Value {
        if !self.builder.func.dfg.value_type(x).is_vector() {
            return if better == IntCC::SignedLessThan {
                self.builder.ins().smin(x, y)
            } else {
                self.builder.ins().smax(x, y)
            };
        }
        let wins = self.builder.ins().icmp(better, x, y);
        self.builder.ins().bitselect(wins, x, y)
    }

    fn truth_binary(&mut self, op: Binary, width: usize, x: &Parts, y: &Parts) -> Result<Parts, CodegenError> {
        let differ = |s: &mut Self| s.pairs(x, y, |s, x, y| s.builder.ins().bxor(x, y));
        Ok(match op {
            Binary::And | Binary::Min | Binary::Mul => self.pairs(x, y, |s, x, y| s.builder.ins().band(x, y)),
            Binary::Or | Binary::Max | Binary::Add => self.pairs(x, y, |s, x, y| s.builder.ins().bor(x, y)),
            Binary::Ne => differ(self),
            Binary::Eq => {
                let differ = differ(self);
                self.unary(Unary::Not, Lane::Bool, width, &differ)?
            }
            Binary::Lt => {
                let low = self.unary(Unary::Not, Lane::Bool, width, x)?;
                self.pairs(&low, y, |s, x, y| s.builder.ins().band(x, y))
            }
            Binary::Le => {
                let low = self.unary(Unary::Not, Lane::Bool, width, x)?;
                self.pairs(&low, y, |s, x, y| s.builder.ins().bor(x, y))
            }
            _ => return Err(self.no_lane(format!("{op:?}"), Lane::Bool)),
        })
    }

    /// Lane-wise `if c then a else b`.
    pub(crate) fn select(&mut self, lane: Lane, width: usize, c: &Parts, a: &Parts, b: &Parts) -> Parts {
        if width == 1 {
            return vec![self.builder.ins().select(c[0], a[0], b[0])];
        }
        let masks: Parts = match lane {
            Lane::F32 | Lane::Bool => c.clone(),
            Lane::F64 | Lane::I64 => c.iter().flat_map(|mask| self.wide_mask(*mask)).collect(),
        };
        let sides: Vec<(Value, Value)> = a.iter().copied().zip(b.iter().copied()).collect();
        masks.iter().zip(sides).map(|(mask, (a, b))| self.blend(*mask, a, b)).collect()
    }
}

/// Conversions.
impl Lower<'_, '_> {
    pub(crate) fn convert(&mut self, from: Lane, to: Lane, width: usize, x: &Parts) -> Result<Parts, CodegenError> {
        if from == to {
            return Ok(x.clone());
        }
        if width == 1 {
            return Ok(vec![self.convert_scalar(from, to, x[0])]);
        }
        Ok(match (from, to) {
            (Lane::F32, Lane::F64) => {
                let halves: Vec<Value> = x.iter().flat_map(|x| self.promote(*x)).collect();
                halves
            }
            (Lane::F64, Lane::F32) => x.chunks(2).map(|pair| self.demote(pair)).collect(),
            (Lane::Bool, Lane::F32) => {
                let one = self.builder.ins().f32const(1.0);
                let one = self.builder.ins().splat(types::F32X4, one);
                let one = self.bits(types::I32X4, one);
                let bits = self.each(x, |s, x| s.builder.ins().band(x, one));
                self.each(&bits, |s, x| s.bits(types::F32X4, x))
            }
            (Lane::Bool, Lane::F64) => {
                let one = self.builder.ins().f64const(1.0);
                let one = self.builder.ins().splat(types::F64X2, one);
                let one = self.bits(types::I64X2, one);
                let masks: Parts = x.iter().flat_map(|mask| self.wide_mask(*mask)).collect();
                let bits = self.each(&masks, |s, x| s.builder.ins().band(x, one));
                self.each(&bits, |s, x| s.bits(types::F64X2, x))
            }
            (Lane::Bool, Lane::I64) => {
                let masks: Parts = x.iter().flat_map(|mask| self.wide_mask(*mask)).collect();
                self.each(&masks, |s, x| s.builder.ins().ineg(x))
            }
            (Lane::I64, Lane::F32 | Lane::F64) => self.reals_of_whole(to, width, x)?,
            _ => self.convert_lanewise(from, to, width, x)?,
        })
    }

    pub(crate) fn convert_lanewise(
        &mut self,
        from: Lane,
        to: Lane,
        width: usize,
        x: &Parts,
    ) -> Result<Parts, CodegenError> {
        let mut scalars = Vec::with_capacity(width);
        for at in 0..width {
            let scalar = self.extract(from, width, x, at);
            scalars.push(self.convert_scalar(from, to, scalar));
        }
        Ok(self.gather(to, &scalars))
    }

    fn promote(&mut self, x: Value) -> [Value; 2] {
        let high = self.shuffle(x, x, HIGH_HALF);
        let high = self.bits(types::F32X4, high);
        [self.builder.ins().fvpromote_low(x), self.builder.ins().fvpromote_low(high)]
    }

    /// Four F32 lanes of two F64X2.
    pub(crate) fn demote(&mut self, pair: &[Value]) -> Value {
        let (low, high) = (self.builder.ins().fvdemote(pair[0]), self.builder.ins().fvdemote(pair[1]));
        let both = self.shuffle(low, high, LOW_HALVES);
        self.bits(types::F32X4, both)
    }

    fn convert_scalar(&mut self, from: Lane, to: Lane, x: Value) -> Value {
        match (from, to) {
            (Lane::F32, Lane::F64) => self.builder.ins().fpromote(types::F64, x),
            (Lane::F64, Lane::F32) => self.builder.ins().fdemote(types::F32, x),
            (Lane::I64, Lane::F32 | Lane::F64) => self.builder.ins().fcvt_from_sint(scalar_type(to), x),
            (Lane::F32 | Lane::F64, Lane::I64) => self.builder.ins().fcvt_to_sint_sat(types::I64, x),
            (Lane::Bool, Lane::I64) => self.builder.ins().uextend(types::I64, x),
            (Lane::Bool, Lane::F32 | Lane::F64) => {
                let word = self.builder.ins().uextend(types::I32, x);
                self.builder.ins().fcvt_from_sint(scalar_type(to), word)
            }
            (Lane::I64, Lane::Bool) => self.builder.ins().icmp_imm_s(IntCC::NotEqual, x, 0),
            (Lane::F32, Lane::Bool) => {
                let zero = self.builder.ins().f32const(0.0);
                self.builder.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            (Lane::F64, Lane::Bool) => {
                let zero = self.builder.ins().f64const(0.0);
                self.builder.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            _ => x,
        }
    }
}
