//! Owned dense host tensors in any storage type.
//!
//! Owns the data that tests, the reference evaluator, drawing and file
//! readers exchange. Knows nothing of specs. Views into a caller's memory
//! belong to the engine.

use half::{bf16, f16};

use crate::spec::DType;

/// Elements in row-major order, by storage type.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// IEEE halves.
    F16(Vec<f16>),
    /// Brain floats.
    Bf16(Vec<bf16>),
    /// 8-bit signed integers.
    I8(Vec<i8>),
    /// 8-bit unsigned integers.
    U8(Vec<u8>),
    /// 32-bit signed integers.
    I32(Vec<i32>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// Runs an expression with `$v` bound to the vector inside a [`Data`].
macro_rules! with_elements {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::F32($v) => $body,
            Data::F64($v) => $body,
            Data::F16($v) => $body,
            Data::Bf16($v) => $body,
            Data::I8($v) => $body,
            Data::U8($v) => $body,
            Data::I32($v) => $body,
            Data::I64($v) => $body,
            Data::Bool($v) => $body,
        }
    };
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        with_elements!(self, v => v.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The storage type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::F16(_) => DType::F16,
            Self::Bf16(_) => DType::Bf16,
            Self::I8(_) => DType::I8,
            Self::U8(_) => DType::U8,
            Self::I32(_) => DType::I32,
            Self::I64(_) => DType::I64,
            Self::Bool(_) => DType::Bool,
        }
    }
}

/// A shape whose product is not the number of elements.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a tensor of shape {shape:?} cannot hold {elements} elements")]
pub struct ShapeError {
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// The elements given.
    pub elements: usize,
}

/// An owned dense tensor in row-major order.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of `data` in row-major order.
    ///
    /// # Errors
    /// If the product of `shape` is not the number of elements.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self, ShapeError> {
        let volume = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
        if volume == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError { shape, elements: data.len() })
        }
    }

    /// A tensor of 32-bit floats.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn f32(shape: &[usize], elements: Vec<f32>) -> Result<Self, ShapeError> {
        Self::new(shape.to_vec(), Data::F32(elements))
    }

    /// A tensor of type `dtype`, each element rounded once from f64 (integers: truncated and saturated; truth
    /// values: non-zero).
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn from_f64(dtype: DType, shape: Vec<usize>, elements: &[f64]) -> Result<Self, ShapeError> {
        let data = match dtype {
            DType::F32 => Data::F32(elements.iter().map(|x| *x as f32).collect()),
            DType::F64 => Data::F64(elements.to_vec()),
            DType::F16 => Data::F16(elements.iter().map(|x| f16::from_f64(*x)).collect()),
            DType::Bf16 => Data::Bf16(elements.iter().map(|x| bf16::from_f64(*x)).collect()),
            DType::I8 => Data::I8(elements.iter().map(|x| *x as i8).collect()),
            DType::U8 => Data::U8(elements.iter().map(|x| *x as u8).collect()),
            DType::I32 => Data::I32(elements.iter().map(|x| *x as i32).collect()),
            DType::I64 => Data::I64(elements.iter().map(|x| *x as i64).collect()),
            DType::Bool => Data::Bool(elements.iter().map(|x| *x != 0.0).collect()),
        };
        Self::new(shape, data)
    }

    /// A tensor of zeros (false).
    ///
    /// # Errors
    /// If the volume overflows.
    pub fn zeros(dtype: DType, shape: Vec<usize>) -> Result<Self, ShapeError> {
        let volume = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
        match volume {
            Some(volume) => Self::from_f64(dtype, shape, &vec![0.0; volume]),
            None => Err(ShapeError { shape, elements: 0 }),
        }
    }

    /// The storage type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Extents of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype().size()
    }

    /// Element steps between neighbours along each axis.
    pub fn strides(&self) -> Vec<usize> {
        row_major_strides(&self.shape)
    }

    /// The element at the flat position `at`, widened exactly (64-bit integers: rounded).
    ///
    /// # Panics
    /// If `at` is not below [`Tensor::len`].
    pub fn get_f64(&self, at: usize) -> f64 {
        match &self.data {
            Data::F32(v) => f64::from(v[at]),
            Data::F64(v) => v[at],
            Data::F16(v) => v[at].to_f64(),
            Data::Bf16(v) => v[at].to_f64(),
            Data::I8(v) => f64::from(v[at]),
            Data::U8(v) => f64::from(v[at]),
            Data::I32(v) => f64::from(v[at]),
            Data::I64(v) => v[at] as f64,
            Data::Bool(v) => f64::from(u8::from(v[at])),
        }
    }

    /// The integer or truth value (0 or 1) at the flat position `at`; reals are truncated.
    ///
    /// # Panics
    /// If `at` is not below [`Tensor::len`].
    pub fn get_i64(&self, at: usize) -> i64 {
        match &self.data {
            Data::I8(v) => i64::from(v[at]),
            Data::U8(v) => i64::from(v[at]),
            Data::I32(v) => i64::from(v[at]),
            Data::I64(v) => v[at],
            Data::Bool(v) => i64::from(v[at]),
            Data::F32(_) | Data::F64(_) | Data::F16(_) | Data::Bf16(_) => self.get_f64(at) as i64,
        }
    }

    /// All elements, widened as by [`Tensor::get_f64`].
    pub fn to_f64(&self) -> Vec<f64> {
        (0..self.len()).map(|at| self.get_f64(at)).collect()
    }

    /// Least and greatest element of an integer or truth-value tensor; `None` for reals and for no elements.
    pub fn integer_range(&self) -> Option<(i64, i64)> {
        if self.dtype().ty() == crate::term::Type::Real {
            return None;
        }
        let ends = |range: Option<(i64, i64)>, v: i64| Some(range.map_or((v, v), |(lo, hi)| (lo.min(v), hi.max(v))));
        (0..self.len()).map(|at| self.get_i64(at)).fold(None, ends)
    }
}

/// Element steps between neighbours along each axis of a row-major array.
pub(crate) fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].wrapping_mul(shape[axis]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_match_its_elements() {
        assert!(Tensor::f32(&[2, 3], vec![0.0; 6]).is_ok());
        assert!(Tensor::f32(&[2, 3], vec![0.0; 5]).is_err());
        assert!(Tensor::zeros(DType::F64, vec![usize::MAX, 2]).is_err());
        assert_eq!(Tensor::f32(&[], vec![1.5]).map(|t| t.get_f64(0)), Ok(1.5));
    }

    #[test]
    fn narrow_floats_widen_exactly() {
        let elements = [1.5, -0.25, 3.0e4];
        for dtype in [DType::F16, DType::F32, DType::F64] {
            let tensor = Tensor::from_f64(dtype, vec![3], &elements).expect("three elements");
            assert_eq!(tensor.to_f64(), elements, "{}", dtype.name());
        }
        let tensor = Tensor::from_f64(DType::Bf16, vec![1], &[1.0 + 1.0 / 256.0]).expect("one element");
        assert_eq!(tensor.to_f64(), [1.0]);
    }

    #[test]
    fn integer_ranges_cover_the_elements() {
        let tensor = Tensor::from_f64(DType::I8, vec![3], &[-3.0, 7.0, 0.0]).expect("three elements");
        assert_eq!(tensor.integer_range(), Some((-3, 7)));
        assert_eq!(Tensor::f32(&[1], vec![0.0]).map(|t| t.integer_range()), Ok(None));
    }
}
