//! Loads and stores of a scalar or a group at an address: widening from and
//! narrowing to storage types.

use attnc_algebra::DType;
use attnc_plan::loops::Lane;
use attnc_plan::loops::storage::lane_of;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use crate::function::{Lower, plain};
use crate::lanes::{Parts, part_type};

/// How elements lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Storage {
    /// A buffer's element, or a tile's of the same form.
    Data(DType),
    /// A truth value of a tile: an i32, 0 or -1.
    Mask,
}

impl Storage {
    pub(crate) fn of_tile(lane: Lane) -> Self {
        match lane {
            Lane::F32 => Self::Data(DType::F32),
            Lane::F64 => Self::Data(DType::F64),
            Lane::I64 => Self::Data(DType::I64),
            Lane::Bool => Self::Mask,
        }
    }

    pub(crate) fn lane(self) -> Lane {
        match self {
            Self::Data(dtype) => lane_of(dtype),
            Self::Mask => Lane::Bool,
        }
    }

    pub(crate) fn size(self) -> i64 {
        match self {
            Self::Data(dtype) => dtype.size() as i64,
            Self::Mask => 4,
        }
    }
}

impl Lower<'_, '_> {
    /// Reads `width` adjacent elements.
    pub(crate) fn load(&mut self, storage: Storage, width: usize, at: Value) -> Parts {
        if width == 1 {
            return vec![self.load_scalar(storage, at)];
        }
        let lane = storage.lane();
        let ty = part_type(lane, width);
        let mut parts = Vec::new();
        for group in 0..width / 4 {
            let offset = group as i32 * 4 * storage.size() as i32;
            match storage {
                Storage::Data(DType::F32) | Storage::Mask => {
                    parts.push(self.builder.ins().load(ty, plain(), at, offset));
                }
                Storage::Data(DType::F64 | DType::I64) => {
                    parts.push(self.builder.ins().load(ty, plain(), at, offset));
                    parts.push(self.builder.ins().load(ty, plain(), at, offset + 16));
                }
                Storage::Data(dtype) => self.load_narrow(dtype, at, offset, &mut parts),
            }
        }
        parts
    }

    /// Four elements of a type narrower than its lane.
    fn load_narrow(&mut self, dtype: DType, at: Value, offset: i32, parts: &mut Parts) {
        let words = match dtype {
            DType::I32 => self.builder.ins().load(types::I32X4, plain(), at, offset),
            DType::F16 | DType::Bf16 => self.builder.ins().uload16x4(plain(), at, offset),
            _ => {
                let word = self.builder.ins().load(types::I32, plain(), at, offset);
                let bytes = self.builder.ins().scalar_to_vector(types::I32X4, word);
                let bytes = self.bits(types::I8X16, bytes);
                if dtype == DType::I8 {
                    let halves = self.builder.ins().swiden_low(bytes);
                    self.builder.ins().swiden_low(halves)
                } else {
                    let halves = self.builder.ins().uwiden_low(bytes);
                    self.builder.ins().uwiden_low(halves)
                }
            }
        };
        match dtype {
            DType::F16 => parts.push(self.f32_of_half(words)),
            DType::Bf16 => {
                let bits = self.builder.ins().ishl_imm_s(words, 16);
                parts.push(self.bits(types::F32X4, bits));
            }
            DType::Bool => {
                let zero = self.word(types::I32X4, 0);
                parts.push(self.builder.ins().icmp(IntCC::NotEqual, words, zero));
            }
            _ => {
                parts.push(self.builder.ins().swiden_low(words));
                parts.push(self.builder.ins().swiden_high(words));
            }
        }
    }

    fn load_scalar(&mut self, storage: Storage, at: Value) -> Value {
        let flags = plain();
        match storage {
            Storage::Data(DType::F32) => self.builder.ins().load(types::F32, flags, at, 0),
            Storage::Data(DType::F64) => self.builder.ins().load(types::F64, flags, at, 0),
            Storage::Data(DType::I64) => self.builder.ins().load(types::I64, flags, at, 0),
            Storage::Data(DType::I32) => self.builder.ins().sload32(flags, at, 0),
            Storage::Data(DType::I8) => self.builder.ins().sload8(types::I64, flags, at, 0),
            Storage::Data(DType::U8) => self.builder.ins().uload8(types::I64, flags, at, 0),
            Storage::Data(DType::Bool) => {
                let byte = self.builder.ins().load(types::I8, flags, at, 0);
                self.builder.ins().icmp_imm_s(IntCC::NotEqual, byte, 0)
            }
            Storage::Mask => {
                let word = self.builder.ins().load(types::I32, flags, at, 0);
                self.builder.ins().icmp_imm_s(IntCC::NotEqual, word, 0)
            }
            Storage::Data(DType::F16) => {
                let word = self.builder.ins().uload16(types::I32, flags, at, 0);
                self.f32_of_half(word)
            }
            Storage::Data(DType::Bf16) => {
                let word = self.builder.ins().uload16(types::I32, flags, at, 0);
                let bits = self.builder.ins().ishl_imm_s(word, 16);
                self.bits(types::F32, bits)
            }
        }
    }

    /// Writes `width` adjacent elements whose lane type is the storage's.
    pub(crate) fn store(&mut self, storage: Storage, width: usize, at: Value, parts: &Parts) {
        if width == 1 {
            return self.store_scalar(storage, at, parts[0]);
        }
        let size = storage.size() as i32;
        match storage {
            Storage::Data(DType::F32 | DType::F64 | DType::I64) | Storage::Mask => {
                for (number, part) in parts.iter().enumerate() {
                    self.builder.ins().store(plain(), *part, at, number as i32 * 16);
                }
            }
            Storage::Data(DType::I32) => {
                for (number, part) in self.narrow_words(parts).into_iter().enumerate() {
                    self.builder.ins().store(plain(), part, at, number as i32 * 16);
                }
            }
            Storage::Data(dtype @ (DType::F16 | DType::Bf16)) => {
                for (number, part) in parts.iter().enumerate() {
                    let words = if dtype == DType::F16 { self.half_of_f32(*part) } else { self.bf16_of_f32(*part) };
                    let halves = self.shuffle(words, words, LOW_UNITS);
                    let halves = self.bits(types::I64X2, halves);
                    let low = self.builder.ins().extractlane(halves, 0);
                    self.builder.ins().store(plain(), low, at, number as i32 * 8);
                }
            }
            Storage::Data(DType::I8 | DType::U8 | DType::Bool) => {
                for lane in 0..width {
                    let x = self.extract(storage.lane(), width, parts, lane);
                    let place = self.builder.ins().iadd_imm_s(at, i64::from(lane as i32 * size));
                    self.store_scalar(storage, place, x);
                }
            }
        }
    }

    pub(crate) fn store_scalar(&mut self, storage: Storage, at: Value, x: Value) {
        let x = match storage {
            Storage::Data(DType::F16) => self.half_of_f32(x),
            Storage::Data(DType::Bf16) => self.bf16_of_f32(x),
            Storage::Mask => self.mask_of(x),
            Storage::Data(_) => x,
        };
        match storage {
            Storage::Data(DType::I8 | DType::U8) => self.builder.ins().istore8(plain(), x, at, 0),
            Storage::Data(DType::I32) => self.builder.ins().istore32(plain(), x, at, 0),
            Storage::Data(DType::F16 | DType::Bf16) => self.builder.ins().istore16(plain(), x, at, 0),
            _ => self.builder.ins().store(plain(), x, at, 0),
        };
    }
}

/// The low 16 bits of each 32-bit lane, packed into the low half.
const LOW_UNITS: [u8; 16] = [0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13];

/// Half precision and bfloat16, by the same steps as the interpreter's, on a
/// scalar or on four lanes.
impl Lower<'_, '_> {
    /// A 32-bit constant of type I32 or I32X4.
    fn word(&mut self, ty: Type, value: u32) -> Value {
        let scalar = self.builder.ins().iconst(types::I32, i64::from(value));
        if ty.is_vector() { self.builder.ins().splat(ty, scalar) } else { scalar }
    }

    fn float_of(&mut self, words: Value) -> Value {
        let vector = self.builder.func.dfg.value_type(words).is_vector();
        self.bits(if vector { types::F32X4 } else { types::F32 }, words)
    }

    fn words_of(&mut self, x: Value) -> (Type, Value) {
        let ty = if self.builder.func.dfg.value_type(x).is_vector() { types::I32X4 } else { types::I32 };
        (ty, self.bits(ty, x))
    }

    fn choose_words(&mut self, ty: Type, cond: Value, x: Value, y: Value) -> Value {
        if ty.is_vector() { self.builder.ins().bitselect(cond, x, y) } else { self.builder.ins().select(cond, x, y) }
    }

    fn f32_of_half(&mut self, half: Value) -> Value {
        let ty = self.builder.func.dfg.value_type(half);
        let (low, top) = (self.word(ty, 0x7fff), self.word(ty, 0x8000));
        let magnitude = self.builder.ins().band(half, low);
        let magnitude = self.builder.ins().ishl_imm_s(magnitude, 13);
        let sign = self.builder.ins().band(half, top);
        let sign = self.builder.ins().ishl_imm_s(sign, 16);
        let scale = self.word(ty, (127 + 112) << 23);
        let (value, scale) = (self.float_of(magnitude), self.float_of(scale));
        let scaled = self.builder.ins().fmul(value, scale);
        let scaled = self.bits(ty, scaled);
        let (limit, exponent) = (self.word(ty, 0x0f80_0000), self.word(ty, 0x7f80_0000));
        let special = self.builder.ins().icmp(IntCC::SignedGreaterThanOrEqual, magnitude, limit);
        let infinite = self.builder.ins().bor(magnitude, exponent);
        let bits = self.choose_words(ty, special, infinite, scaled);
        let bits = self.builder.ins().bor(bits, sign);
        self.float_of(bits)
    }

    fn half_of_f32(&mut self, x: Value) -> Value {
        let (ty, all) = self.words_of(x);
        let (top, low) = (self.word(ty, 0x8000), self.word(ty, 0x7fff_ffff));
        let sign = self.builder.ins().ushr_imm_s(all, 16);
        let sign = self.builder.ins().band(sign, top);
        let bits = self.builder.ins().band(all, low);
        // Normal: rebias and round to even.
        let one = self.word(ty, 1);
        let even = self.builder.ins().ushr_imm_s(bits, 13);
        let even = self.builder.ins().band(even, one);
        let bias = self.word(ty, 0xfff_u32.wrapping_sub(112 << 23));
        let normal = self.builder.ins().iadd(bits, bias);
        let normal = self.builder.ins().iadd(normal, even);
        let normal = self.builder.ins().ushr_imm_s(normal, 13);
        // Subnormal: let the addition of 0.5 round.
        let magic = self.word(ty, 126 << 23);
        let (value, half) = (self.float_of(bits), self.float_of(magic));
        let sum = self.builder.ins().fadd(value, half);
        let sum = self.bits(ty, sum);
        let small = self.builder.ins().isub(sum, magic);
        let limit = self.word(ty, 0x3880_0000);
        let is_normal = self.builder.ins().icmp(IntCC::SignedGreaterThanOrEqual, bits, limit);
        let finite = self.choose_words(ty, is_normal, normal, small);
        let (limit, infinity) = (self.word(ty, 0x477f_f000), self.word(ty, 0x7c00));
        let is_large = self.builder.ins().icmp(IntCC::SignedGreaterThanOrEqual, bits, limit);
        let number = self.choose_words(ty, is_large, infinity, finite);
        let (limit, nan) = (self.word(ty, 0x7f80_0000), self.word(ty, 0x7e00));
        let is_nan = self.builder.ins().icmp(IntCC::SignedGreaterThan, bits, limit);
        let half = self.choose_words(ty, is_nan, nan, number);
        self.builder.ins().bor(half, sign)
    }

    fn bf16_of_f32(&mut self, x: Value) -> Value {
        let (ty, bits) = self.words_of(x);
        let (one, round, quiet) = (self.word(ty, 1), self.word(ty, 0x7fff), self.word(ty, 0x40));
        let top = self.builder.ins().ushr_imm_s(bits, 16);
        let even = self.builder.ins().band(top, one);
        let sum = self.builder.ins().iadd(bits, round);
        let sum = self.builder.ins().iadd(sum, even);
        let number = self.builder.ins().ushr_imm_s(sum, 16);
        let nan = self.builder.ins().bor(top, quiet);
        let is_nan = self.builder.ins().fcmp(FloatCC::NotEqual, x, x);
        self.choose_words(ty, is_nan, nan, number)
    }
}
