//! Whole numbers by vectors of reals.
//!
//! There is no vector instruction that divides integers, and before AVX-512 none that converts 64-bit ones. Between
//! -2^50 and 2^50 f64 does both exactly: where all lanes of a group lie there, which one test tells, so it is done;
//! else lane by lane.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use attnc_plan::loops::Lane;

use crate::CodegenError;
use crate::function::Lower;
use crate::graph::Binary;
use crate::lanes::Parts;

/// Integers below `2^NARROW` in size are taken by this way.
const NARROW: i64 = 50;

/// `1.5 * 2^52`: an integer of the lower half of an f64's digits added to its bits is added to the number.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

impl Lower<'_, '_> {
    /// Floor quotients or remainders by a scalar.
    ///
    /// The rounded quotient of two integers of less than 2^50 has the floor of the exact one: that is a whole number or
    /// at least `1/y` below the next, which is more than it is rounded by.
    pub(crate) fn divide_whole(
        &mut self,
        op: Binary,
        width: usize,
        left: &Parts,
        divisor: Value,
    ) -> Result<Parts, CodegenError> {
        let narrow = self.are_narrow(left);
        let below = self.builder.ins().iadd_imm_s(divisor, -1);
        let suits = self.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, below, (1 << NARROW) - 1);
        let suits = self.builder.ins().band(narrow, suits);
        self.choose(
            suits,
            &vec![types::I64X2; left.len()],
            |s| {
                let y = s.builder.ins().fcvt_from_sint(types::F64, divisor);
                let y = s.builder.ins().splat(types::F64X2, y);
                let each = left.iter().map(|x| {
                    let x = s.real_of_whole(*x);
                    let quotient = s.builder.ins().fdiv(x, y);
                    let floor = s.builder.ins().floor(quotient);
                    let result = if op == Binary::FloorDiv {
                        floor
                    } else {
                        let product = s.builder.ins().fmul(floor, y);
                        s.builder.ins().fsub(x, product)
                    };
                    s.whole_of_real(result)
                });
                Ok(each.collect())
            },
            |s| {
                s.lanewise(Lane::I64, width, &[left], |s, args| {
                    let (quotient, rest) = s.floor_div(args[0], divisor);
                    Ok(if op == Binary::FloorDiv { quotient } else { rest })
                })
            },
        )
    }

    /// Integers as F32 or F64, rounded once.
    pub(crate) fn reals_of_whole(&mut self, to: Lane, width: usize, x: &Parts) -> Result<Parts, CodegenError> {
        let narrow = self.are_narrow(x);
        let (ty, parts) = if to == Lane::F64 { (types::F64X2, x.len()) } else { (types::F32X4, x.len() / 2) };
        self.choose(
            narrow,
            &vec![ty; parts],
            |s| {
                let wide: Parts = x.iter().map(|x| s.real_of_whole(*x)).collect();
                Ok(if to == Lane::F64 { wide } else { wide.chunks(2).map(|pair| s.demote(pair)).collect() })
            },
            |s| s.convert_lanewise(Lane::I64, to, width, x),
        )
    }

    /// Whether all lanes lie between `-2^NARROW` and `2^NARROW`.
    fn are_narrow(&mut self, parts: &Parts) -> Value {
        let (half, above) = (self.whole_splat(1 << NARROW), self.whole_splat(-(1 << (NARROW + 1))));
        let mut over = None;
        for x in parts {
            let shifted = self.builder.ins().iadd(*x, half);
            over = Some(over.map_or(shifted, |over| self.builder.ins().bor(over, shifted)));
        }
        let over = over.expect("a group has lanes");
        let over = self.builder.ins().band(over, above);
        let some = self.builder.ins().vany_true(over);
        self.builder.ins().bxor_imm_s(some, 1)
    }

    /// The same 64 bits in both lanes, as a constant in memory.
    fn whole_splat(&mut self, x: i64) -> Value {
        let constant = self.vector_constant(&[x.to_le_bytes(); 2].concat());
        self.builder.ins().vconst(types::I64X2, constant)
    }

    fn rounder(&mut self) -> [Value; 2] {
        let bits = self.whole_splat(ROUNDER.to_bits() as i64);
        [bits, self.bits(types::F64X2, bits)]
    }

    /// Narrow integers as f64.
    fn real_of_whole(&mut self, x: Value) -> Value {
        let [bits, real] = self.rounder();
        let sum = self.builder.ins().iadd(x, bits);
        let sum = self.bits(types::F64X2, sum);
        self.builder.ins().fsub(sum, real)
    }

    /// Narrow whole numbers as integers.
    fn whole_of_real(&mut self, x: Value) -> Value {
        let [bits, real] = self.rounder();
        let sum = self.builder.ins().fadd(x, real);
        let sum = self.bits(types::I64X2, sum);
        self.builder.ins().isub(sum, bits)
    }
}
