//! Memory as the interpreter sees it: buffers as bytes with shape and strides,
//! tiles as typed vectors, every access checked.

use attnc_algebra::DType;
use thiserror::Error;

use super::arithmetic::Value;
use super::expr::Lane;
use super::layout::TileLayout;

/// Why an element could not be read or written.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StorageError {
    /// An index is outside its dimension.
    #[error("index {index:?} is outside shape {shape:?}")]
    OutOfRange {
        /// The index.
        index: Vec<i64>,
        /// The extents.
        shape: Vec<i64>,
    },
    /// The element lies outside the memory given for the buffer.
    #[error("the memory given ends before element {0:?}")]
    Short(Vec<i64>),
    /// A write to a buffer given for reading.
    #[error("the buffer is only for reading")]
    ReadOnly,
}

/// Bytes of a buffer.
#[derive(Debug)]
pub enum Bytes<'a> {
    /// For reading.
    Read(&'a [u8]),
    /// For reading and writing.
    Write(&'a mut [u8]),
}

/// A tensor in memory, in native byte order.
#[derive(Debug)]
pub struct BufferData<'a> {
    /// Storage type.
    pub dtype: DType,
    /// The memory.
    pub bytes: Bytes<'a>,
    /// Extents.
    pub shape: &'a [i64],
    /// Strides in elements; may be zero or negative.
    pub strides: &'a [i64],
    /// Element of `bytes` that is element (0, 0, …).
    pub origin: i64,
}

impl BufferData<'_> {
    /// Clamps every index into its dimension.
    pub fn clamp(&self, index: &mut [i64]) {
        for (i, extent) in index.iter_mut().zip(self.shape) {
            *i = (*i).min(extent - 1).max(0);
        }
    }

    /// The byte range of an element.
    fn place(&self, index: &[i64]) -> Result<std::ops::Range<usize>, StorageError> {
        let inside = index.iter().zip(self.shape).all(|(i, extent)| (0..*extent).contains(i));
        if !inside || index.len() != self.shape.len() {
            return Err(StorageError::OutOfRange { index: index.to_vec(), shape: self.shape.to_vec() });
        }
        let size = self.dtype.size();
        let bytes = match &self.bytes {
            Bytes::Read(bytes) => bytes.len(),
            Bytes::Write(bytes) => bytes.len(),
        };
        let offset = index
            .iter()
            .zip(self.strides)
            .try_fold(self.origin, |at, (i, stride)| i.checked_mul(*stride).and_then(|step| at.checked_add(step)));
        let start = offset.and_then(|at| usize::try_from(at).ok()?.checked_mul(size));
        match start {
            Some(start) if start.checked_add(size).is_some_and(|end| end <= bytes) => Ok(start..start + size),
            _ => Err(StorageError::Short(index.to_vec())),
        }
    }

    /// Reads an element, widened to its lane type.
    pub fn read(&self, index: &[i64]) -> Result<Value, StorageError> {
        let place = self.place(index)?;
        let bytes = match &self.bytes {
            Bytes::Read(bytes) => &bytes[place],
            Bytes::Write(bytes) => &bytes[place],
        };
        let mut word = [0u8; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        if cfg!(target_endian = "big") {
            word[..bytes.len()].reverse();
        }
        Ok(decode(self.dtype, u64::from_le_bytes(word)))
    }

    /// Writes an element, narrowed to the storage type: reals rounded to
    /// nearest (f16 and bf16 from f32), integers wrapped.
    pub fn write(&mut self, index: &[i64], value: Value) -> Result<(), StorageError> {
        let place = self.place(index)?;
        let Bytes::Write(bytes) = &mut self.bytes else { return Err(StorageError::ReadOnly) };
        let target = &mut bytes[place];
        target.copy_from_slice(&encode(self.dtype, value).to_le_bytes()[..target.len()]);
        if cfg!(target_endian = "big") {
            target.reverse();
        }
        Ok(())
    }

    /// First of `count` positions along `dim` whose element is at least `value`.
    pub fn lower_bound(&self, mut index: Vec<i64>, dim: usize, count: i64, value: i64) -> Result<i64, StorageError> {
        let (mut low, mut high) = (0, count.max(0));
        while low < high {
            let middle = low + (high - low) / 2;
            if let Some(at) = index.get_mut(dim) {
                *at = middle;
            }
            if self.read(&index)?.int() < value { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

/// The lane type of elements of `dtype`.
pub fn lane_of(dtype: DType) -> Lane {
    match dtype {
        DType::F32 | DType::F16 | DType::Bf16 => Lane::F32,
        DType::F64 => Lane::F64,
        DType::I8 | DType::U8 | DType::I32 | DType::I64 => Lane::I64,
        DType::Bool => Lane::Bool,
    }
}

fn decode(dtype: DType, word: u64) -> Value {
    match dtype {
        DType::F32 => Value::Real(f64::from(f32::from_bits(word as u32))),
        DType::F64 => Value::Real(f64::from_bits(word)),
        DType::F16 => Value::Real(f64::from(f32_of_f16(word as u16))),
        DType::Bf16 => Value::Real(f64::from(f32::from_bits((word as u32) << 16))),
        DType::I8 => Value::Int(i64::from(word as u8 as i8)),
        DType::U8 => Value::Int(i64::from(word as u8)),
        DType::I32 => Value::Int(i64::from(word as u32 as i32)),
        DType::I64 => Value::Int(word as i64),
        DType::Bool => Value::Truth(word != 0),
    }
}

/// The value as f32, an integer in one rounding.
fn single(value: Value) -> f32 {
    match value {
        Value::Int(x) => x as f32,
        _ => value.real() as f32,
    }
}

fn encode(dtype: DType, value: Value) -> u64 {
    match dtype {
        DType::F32 => u64::from(single(value).to_bits()),
        DType::F64 => value.real().to_bits(),
        DType::F16 => u64::from(f16_of_f32(single(value))),
        DType::Bf16 => u64::from(bf16_of_f32(single(value))),
        DType::I8 | DType::U8 => u64::from(value.int() as u8),
        DType::I32 => u64::from(value.int() as u32),
        DType::I64 => value.int() as u64,
        DType::Bool => u64::from(value.truth()),
    }
}

/// The f32 of a half-precision pattern.
fn f32_of_f16(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7fff) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let value = if magnitude >= 0x0f80_0000 {
        f32::from_bits(magnitude | 0x7f80_0000)
    } else {
        // The exponent's bias differs by 112; the product is exact, also for subnormals.
        f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)
    };
    f32::from_bits(value.to_bits() | sign)
}

/// The half-precision pattern nearest to `x`, ties to even.
fn f16_of_f32(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & 0x8000;
    let bits = x.to_bits() & 0x7fff_ffff;
    let half = if bits > 0x7f80_0000 {
        0x7e00
    } else if bits >= 0x477f_f000 {
        0x7c00
    } else if bits < 0x3880_0000 {
        // Subnormal: the sum's unit in the last place is that of a subnormal half.
        let magic = f32::from_bits(126 << 23);
        ((f32::from_bits(bits) + magic).to_bits() - magic.to_bits()) as u16
    } else {
        let even = (bits >> 13) & 1;
        ((bits - (112 << 23) + 0xfff + even) >> 13) as u16
    };
    half | sign
}

/// The bfloat16 pattern nearest to `x`, ties to even.
fn bf16_of_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The bfloat16 nearest to `x`, ties to even.
pub(super) fn rounded_to_bf16(x: f64) -> f64 {
    f64::from(f32::from_bits(u32::from(bf16_of_f32(x as f32)) << 16))
}

/// The elements of a tile.
#[derive(Clone, Debug)]
enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

/// One tile.
#[derive(Clone, Debug)]
pub(super) struct TileData {
    layout: TileLayout,
    elements: Elements,
}

impl TileData {
    /// A tile whose contents show that they were never written.
    pub(super) fn undefined(lane: Lane, layout: TileLayout) -> Self {
        let count = usize::try_from(layout.rows * layout.row_stride).unwrap_or(0);
        let elements = match lane {
            Lane::F32 => Elements::F32(vec![f32::NAN; count]),
            Lane::F64 => Elements::F64(vec![f64::NAN; count]),
            Lane::I64 => Elements::I64(vec![0x5a5a_5a5a_5a5a_5a5a; count]),
            Lane::Bool => Elements::Bool(vec![true; count]),
        };
        Self { layout, elements }
    }

    fn place(&self, row: i64, col: i64) -> Result<usize, StorageError> {
        let TileLayout { rows, cols, row_stride, .. } = self.layout;
        if (0..rows).contains(&row) && (0..cols).contains(&col) {
            return Ok((row * row_stride + col) as usize);
        }
        Err(StorageError::OutOfRange { index: vec![row, col], shape: vec![rows, cols] })
    }

    pub(super) fn read(&self, row: i64, col: i64) -> Result<Value, StorageError> {
        let at = self.place(row, col)?;
        Ok(match &self.elements {
            Elements::F32(x) => Value::Real(f64::from(x[at])),
            Elements::F64(x) => Value::Real(x[at]),
            Elements::I64(x) => Value::Int(x[at]),
            Elements::Bool(x) => Value::Truth(x[at]),
        })
    }

    pub(super) fn write(&mut self, row: i64, col: i64, value: Value) -> Result<(), StorageError> {
        let at = self.place(row, col)?;
        match &mut self.elements {
            Elements::F32(x) => x[at] = single(value),
            Elements::F64(x) => x[at] = value.real(),
            Elements::I64(x) => x[at] = value.int(),
            Elements::Bool(x) => x[at] = value.truth(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_through_f32() {
        for half in 0..=u16::MAX {
            let wide = f32_of_f16(half);
            let back = f16_of_f32(wide);
            if wide.is_nan() {
                assert_eq!(back & 0x7e00, 0x7e00);
            } else {
                assert_eq!(back, half);
            }
        }
    }

    #[test]
    fn narrowing_rounds_ties_to_even() {
        assert_eq!(f16_of_f32(1.0 + 1.0 / 2048.0), 0x3c00);
        assert_eq!(f16_of_f32(1.0 + 3.0 / 2048.0), 0x3c02);
        assert_eq!(f16_of_f32(65519.0), 0x7bff);
        assert_eq!(f16_of_f32(65520.0), 0x7c00);
        assert_eq!(f16_of_f32(2f32.powi(-25)), 0);
        assert_eq!(f16_of_f32(1.5 * 2f32.powi(-24)), 2);
        assert_eq!(bf16_of_f32(1.0 + 1.0 / 256.0), 0x3f80);
        assert_eq!(bf16_of_f32(1.0 + 3.0 / 256.0), 0x3f82);
        assert_eq!(bf16_of_f32(f32::NAN) & 0x7fc0, 0x7fc0);
    }

    #[test]
    fn a_write_outside_is_an_error() {
        let (shape, strides) = ([2, 3], [3, 1]);
        let mut bytes = [0u8; 24];
        let mut data = BufferData {
            dtype: DType::F32,
            bytes: Bytes::Write(&mut bytes),
            shape: &shape,
            strides: &strides,
            origin: 0,
        };
        assert!(data.write(&[1, 2], Value::Real(1.5)).is_ok());
        assert_eq!(data.read(&[1, 2]), Ok(Value::Real(1.5)));
        assert!(matches!(data.write(&[2, 0], Value::Real(0.0)), Err(StorageError::OutOfRange { .. })));
        assert!(matches!(data.read(&[0, -1]), Err(StorageError::OutOfRange { .. })));
        data.bytes = Bytes::Read(&[0; 8]);
        assert!(matches!(data.read(&[1, 2]), Err(StorageError::Short(_))));
    }
}
