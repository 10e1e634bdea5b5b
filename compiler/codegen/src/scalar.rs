//! Integer arithmetic of one lane that needs more than an instruction.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use crate::function::Lower;

impl Lower<'_, '_> {
    /// Floor division and its remainder; a divisor of 0 counts as 1, and
    /// nothing traps.
    pub(crate) fn floor_div(&mut self, x: Value, y: Value) -> (Value, Value) {
        if let Some(divisor) = self.constant_value(y) {
            return self.floor_div_constant(x, divisor);
        }
        let one = self.int(1);
        let zero_divisor = self.builder.ins().icmp_imm_s(IntCC::Equal, y, 0);
        let y = self.builder.ins().select(zero_divisor, one, y);
        // The quotient by -1 is the negation: the division that could overflow is by 1 instead.
        let minus = self.builder.ins().icmp_imm_s(IntCC::Equal, y, -1);
        let safe = self.builder.ins().select(minus, one, y);
        let quotient = self.builder.ins().sdiv(x, safe);
        let product = self.builder.ins().imul(quotient, safe);
        let rest = self.builder.ins().isub(x, product);
        let zero = self.int(0);
        let inexact = self.builder.ins().icmp(IntCC::NotEqual, rest, zero);
        let signs = self.builder.ins().bxor(rest, safe);
        let differ = self.builder.ins().icmp(IntCC::SignedLessThan, signs, zero);
        let down = self.builder.ins().band(inexact, differ);
        let lower = self.builder.ins().iadd_imm_s(quotient, -1);
        let floor = self.builder.ins().select(down, lower, quotient);
        let raised = self.builder.ins().iadd(rest, safe);
        let modulo = self.builder.ins().select(down, raised, rest);
        let negated = self.builder.ins().ineg(x);
        (self.builder.ins().select(minus, negated, floor), self.builder.ins().select(minus, zero, modulo))
    }

    fn floor_div_constant(&mut self, x: Value, divisor: i64) -> (Value, Value) {
        match divisor {
            0 | 1 => (x, self.int(0)),
            -1 => (self.builder.ins().ineg(x), self.int(0)),
            _ if divisor > 0 && divisor.count_ones() == 1 => {
                let shift = i64::from(divisor.trailing_zeros());
                (self.builder.ins().sshr_imm_s(x, shift), self.builder.ins().band_imm_s(x, divisor - 1))
            }
            _ => {
                let y = self.int(divisor);
                let quotient = self.builder.ins().sdiv(x, y);
                let product = self.builder.ins().imul(quotient, y);
                let rest = self.builder.ins().isub(x, product);
                let zero = self.int(0);
                let cc = if divisor > 0 { IntCC::SignedLessThan } else { IntCC::SignedGreaterThan };
                let down = self.builder.ins().icmp(cc, rest, zero);
                let lower = self.builder.ins().iadd_imm_s(quotient, -1);
                let raised = self.builder.ins().iadd(rest, y);
                (self.builder.ins().select(down, lower, quotient), self.builder.ins().select(down, raised, rest))
            }
        }
    }

    /// The value of an integer constant, if the scalar is one.
    pub(crate) fn constant_value(&self, x: Value) -> Option<i64> {
        use cranelift_codegen::ir::{InstructionData, Opcode, ValueDef};
        let ValueDef::Result(inst, _) = self.builder.func.dfg.value_def(x) else { return None };
        match self.builder.func.dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// Wrapping power by squaring; an exponent below 0 counts as 0.
    pub(crate) fn int_power(&mut self, x: Value, y: Value) -> Value {
        let (header, body, exit) =
            (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        let [base, rest, product] = [(); 3].map(|()| self.builder.append_block_param(header, types::I64));
        let one = self.int(1);
        self.builder.ins().jump(header, &[x, y, one].map(BlockArg::Value));
        self.builder.switch_to_block(header);
        let more = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, rest, 0);
        self.builder.ins().brif(more, body, &[], exit, &[]);
        self.builder.switch_to_block(body);
        self.builder.seal_block(body);
        let odd = self.builder.ins().band_imm_s(rest, 1);
        let times = self.builder.ins().imul(product, base);
        let product_next = self.builder.ins().select(odd, times, product);
        let square = self.builder.ins().imul(base, base);
        let half = self.builder.ins().sshr_imm_s(rest, 1);
        self.builder.ins().jump(header, &[square, half, product_next].map(BlockArg::Value));
        self.builder.seal_block(header);
        self.builder.switch_to_block(exit);
        self.builder.seal_block(exit);
        product
    }
}
