//! Tensors at the boundary of the engine: borrowed views over `ndarray`, for reading and for writing.
//!
//! A view may have any strides, negative ones too; nothing is copied unless a kernel needs unit stride where
//! the view has none (`crate::bind` decides). Owned results are [`attnc_algebra::Tensor`]. Must not know specs.

use attnc_algebra::tensor::Data;
use attnc_algebra::{DType, Tensor};
use half::{bf16, f16};
use ndarray::{ArrayBase, ArrayViewD, ArrayViewMutD, Axis, Dimension, IxDyn, RawData};

/// An element of one of the storage types.
pub trait Element: Copy + Send + Sync + 'static {
    /// The storage type's name in specs.
    const DTYPE: DType;
    /// Zero, or false.
    const ZERO: Self;
    /// A borrowed tensor of this type.
    fn view(view: ArrayViewD<'_, Self>) -> TensorView<'_>;
    /// A borrowed tensor of this type, for writing.
    fn view_mut(view: ArrayViewMutD<'_, Self>) -> TensorViewMut<'_>;
    /// Elements of this type.
    fn data(elements: Vec<Self>) -> Data;
    /// The value as f64; exact but for large i64.
    fn to_f64(self) -> f64;
    /// The value of little-endian bits, of exactly the type's size.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// Appends the bits, little-endian.
    fn push_bytes(self, out: &mut Vec<u8>);
}

macro_rules! dtypes {
    ($($variant:ident $ty:ty, $zero:expr, $to:expr, $bytes:expr, $parse:expr;)*) => {
        /// A borrowed tensor of one of the storage types, with any strides.
        #[derive(Clone, Debug)]
        pub enum TensorView<'a> {
            $(#[doc = concat!("Elements of type `", stringify!($ty), "`.")] $variant(ArrayViewD<'a, $ty>),)*
        }

        /// A tensor borrowed for writing, with any strides.
        #[derive(Debug)]
        pub enum TensorViewMut<'a> {
            $(#[doc = concat!("Elements of type `", stringify!($ty), "`.")] $variant(ArrayViewMutD<'a, $ty>),)*
        }

        $(impl Element for $ty {
            const DTYPE: DType = DType::$variant;
            const ZERO: Self = $zero;
            fn view(view: ArrayViewD<'_, Self>) -> TensorView<'_> { TensorView::$variant(view) }
            fn view_mut(view: ArrayViewMutD<'_, Self>) -> TensorViewMut<'_> { TensorViewMut::$variant(view) }
            fn data(elements: Vec<Self>) -> Data { Data::$variant(elements) }
            fn to_f64(self) -> f64 { ($to)(self) }
            fn from_bytes(bytes: &[u8]) -> Self { ($parse)(bytes.try_into().expect("callers cut by the type's size")) }
            fn push_bytes(self, out: &mut Vec<u8>) { out.extend_from_slice(&($bytes)(self)) }
        })*

        /// Runs the same expression on whichever array or vector an enum over the storage types holds.
        macro_rules! on_array {
            ($kind:ident, $value:expr, $array:ident => $body:expr) => {
                match $value { $($kind::$variant($array) => $body,)* }
            };
        }

        /// Runs an expression with the element type of a storage type.
        macro_rules! with_element {
            ($dtype:expr, $elem:ident => $body:expr) => {
                match $dtype { $(DType::$variant => { type $elem = $ty; $body })* }
            };
        }

        /// Runs an expression on a source and a target view of one storage type; `None` if the types differ.
        macro_rules! on_pair {
            ($target:expr, $source:expr, $t:ident, $s:ident => $body:expr) => {
                match ($target, $source) {
                    $((TensorViewMut::$variant($t), TensorView::$variant($s)) => Some($body),)*
                    _ => None,
                }
            };
        }
    };
}

dtypes! {
    F32 f32, 0.0, f64::from, f32::to_le_bytes, f32::from_le_bytes;
    F64 f64, 0.0, |v: f64| v, f64::to_le_bytes, f64::from_le_bytes;
    F16 f16, f16::ZERO, |v: f16| v.to_f64(), f16::to_le_bytes, f16::from_le_bytes;
    Bf16 bf16, bf16::ZERO, |v: bf16| v.to_f64(), bf16::to_le_bytes, bf16::from_le_bytes;
    I8 i8, 0, f64::from, i8::to_le_bytes, i8::from_le_bytes;
    U8 u8, 0, f64::from, u8::to_le_bytes, u8::from_le_bytes;
    I32 i32, 0, f64::from, i32::to_le_bytes, i32::from_le_bytes;
    I64 i64, 0, |v: i64| v as f64, i64::to_le_bytes, i64::from_le_bytes;
    Bool bool, false, |v: bool| f64::from(u8::from(v)), |v: bool| [u8::from(v)], |b: [u8; 1]| b[0] != 0;
}

pub(crate) use on_array;

impl TensorView<'_> {
    /// The storage type.
    pub fn dtype(&self) -> DType {
        fn dtype<T: Element>(_: &ArrayViewD<'_, T>) -> DType {
            T::DTYPE
        }
        on_array!(Self, self, a => dtype(a))
    }

    /// The extents, in storage order.
    pub fn shape(&self) -> &[usize] {
        on_array!(Self, self, a => a.shape())
    }

    /// Strides in elements.
    pub fn strides(&self) -> &[isize] {
        on_array!(Self, self, a => a.strides())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        on_array!(Self, self, a => a.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements with a leading axis of extent 1.
    pub fn with_leading_axis(self) -> Self {
        on_array!(Self, self, a => Element::view(a.insert_axis(Axis(0))))
    }

    /// A copy that owns its elements, row-major.
    pub fn to_tensor(&self) -> Tensor {
        let data = on_array!(Self, self, a => Element::data(a.iter().copied().collect()));
        Tensor::new(self.shape().to_vec(), data).expect("a view holds as many elements as its shape says")
    }

    /// The elements as f64, in row-major order of the view.
    pub fn to_f64(&self) -> Vec<f64> {
        on_array!(Self, self, a => a.iter().map(|v| v.to_f64()).collect())
    }

    /// Address of element (0, 0, …).
    pub(crate) fn address(&self) -> *const u8 {
        on_array!(Self, self, a => a.as_ptr().cast())
    }
}

impl<'a> TensorViewMut<'a> {
    /// The same elements, for reading.
    pub fn view(&self) -> TensorView<'_> {
        on_array!(Self, self, a => Element::view(a.view()))
    }

    /// The storage type.
    pub fn dtype(&self) -> DType {
        fn dtype<T: Element>(_: &ArrayViewMutD<'_, T>) -> DType {
            T::DTYPE
        }
        on_array!(Self, self, a => dtype(a))
    }

    /// The extents, in storage order.
    pub fn shape(&self) -> &[usize] {
        on_array!(Self, self, a => a.shape())
    }

    /// Strides in elements.
    pub fn strides(&self) -> &[isize] {
        on_array!(Self, self, a => a.strides())
    }

    /// Copies all elements of `source`, which has the same type and shape. Whether it has.
    pub(crate) fn assign(&mut self, source: &TensorView<'_>) -> bool {
        self.shape() == source.shape() && on_pair!(self, source, t, s => t.assign(s)).is_some()
    }

    /// Address of element (0, 0, …), for writing.
    pub(crate) fn address(&mut self) -> *mut u8 {
        on_array!(Self, self, a => a.as_mut_ptr().cast())
    }

    /// Address of element (0, 0, …), for comparisons.
    pub(crate) fn start(&self) -> *const u8 {
        on_array!(Self, self, a => a.as_ptr().cast())
    }
}

/// Zeros of a storage type.
pub(crate) fn zeros(dtype: DType, elements: usize) -> Data {
    with_element!(dtype, T => T::data(vec![T::ZERO; elements]))
}

/// A view of owned elements, with `order[0]` the outermost dimension in memory and the last innermost; the view's
/// dimensions are in their own order. `None` if the shape does not fit the elements.
pub(crate) fn view_data_mut<'a>(data: &'a mut Data, shape: &[usize], order: &[usize]) -> Option<TensorViewMut<'a>> {
    // Without an allocation up to four dimensions: warm calls come here.
    let (mut stored, mut back) = (IxDyn::zeros(order.len()), IxDyn::zeros(order.len()));
    for (at, d) in order.iter().enumerate() {
        (stored[at], back[*d]) = (shape[*d], at);
    }
    Some(on_array!(Data, data, v => {
        let array = ArrayViewMutD::from_shape(stored, v.as_mut_slice()).ok()?;
        Element::view_mut(array.permuted_axes(back))
    }))
}

/// A row-major output kept between runs: allocated once, written by [`crate::Kernel::run_into`] as often as wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnedOutput {
    shape: Vec<usize>,
    data: Data,
}

impl OwnedOutput {
    /// Zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: zeros(dtype, shape.iter().product()) }
    }

    /// All of it, for writing.
    pub fn view_mut(&mut self) -> TensorViewMut<'_> {
        let order: Vec<usize> = (0..self.shape.len()).collect();
        view_data_mut(&mut self.data, &self.shape, &order).expect("allocated with the shape's element count")
    }

    /// The elements, as a tensor.
    pub fn into_tensor(self) -> Tensor {
        Tensor::new(self.shape, self.data).expect("allocated with the shape's element count")
    }
}

/// A row-major tensor of little-endian bits; `None` if the length does not fit the shape.
pub fn from_le_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
    if !bytes.len().is_multiple_of(dtype.size()) {
        return None;
    }
    let data = with_element!(dtype, T => T::data(bytes.chunks_exact(dtype.size()).map(T::from_bytes).collect()));
    Tensor::new(shape.to_vec(), data).ok()
}

/// The elements' bits, little-endian, row-major.
pub fn to_le_bytes(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::with_capacity(tensor.bytes());
    on_array!(Data, tensor.data(), v => v.iter().for_each(|x| x.push_bytes(&mut out)));
    out
}

impl<'a, T: Element, S: RawData<Elem = T> + ndarray::Data, D: Dimension> From<&'a ArrayBase<S, D>> for TensorView<'a> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        T::view(array.view().into_dyn())
    }
}

impl<'a, T: Element, S: RawData<Elem = T> + ndarray::DataMut, D: Dimension> From<&'a mut ArrayBase<S, D>>
    for TensorViewMut<'a>
{
    fn from(array: &'a mut ArrayBase<S, D>) -> Self {
        T::view_mut(array.view_mut().into_dyn())
    }
}

impl<'a> From<&'a Tensor> for TensorView<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        let shape = IxDyn(tensor.shape());
        on_array!(Data, tensor.data(), v => {
            let view = ArrayViewD::from_shape(shape, v.as_slice());
            Element::view(view.expect("a tensor holds as many elements as its shape says"))
        })
    }
}
