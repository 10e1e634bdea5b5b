//! A tensor as the border describes it, and views of it.

use std::ffi::c_char;

use attnc::tensor::Element;
use attnc::{TensorView, TensorViewMut};
use half::{bf16, f16};
use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn, ShapeBuilder, StrideShape};

/// A tensor in the caller's memory.
#[repr(C)]
pub struct TensorArg {
    /// Name of the input or output.
    pub name: *const c_char,
    /// Its first element, aligned for the type.
    pub data: *mut u8,
    /// Extents, as many as there are axes.
    pub shape: *const i64,
    /// Elements from one position to the next, not negative, as many as there are axes.
    pub strides: *const i64,
    /// Number of axes, at most 8.
    pub rank: i32,
    /// Type, by its place in [`TYPES`].
    pub dtype: i32,
}

/// Types by number; `../engine.py` has the same list.
pub const TYPES: [&str; 9] = ["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "bool"];

impl TensorArg {
    /// The tensor, for reading.
    ///
    /// # Safety
    /// It must be valid for its type, shape and strides for as long as the view is used.
    pub unsafe fn view<'a>(&self) -> Result<TensorView<'a>, String> {
        // SAFETY: as the caller vouches; the type is the one that it names.
        unsafe {
            match TYPES.get(self.dtype as usize).copied() {
                Some("f32") => self.array::<f32>(),
                Some("f64") => self.array::<f64>(),
                Some("f16") => self.array::<f16>(),
                Some("bf16") => self.array::<bf16>(),
                Some("i8") => self.array::<i8>(),
                Some("u8") => self.array::<u8>(),
                Some("i32") => self.array::<i32>(),
                Some("i64") => self.array::<i64>(),
                Some("bool") => self.array::<bool>(),
                _ => Err(format!("no type has the number {}", self.dtype)),
            }
        }
    }

    /// The tensor, for writing: outputs of attention are f32.
    ///
    /// # Safety
    /// As [`TensorArg::view`], and nothing else may use the elements.
    pub unsafe fn view_mut<'a>(&self) -> Result<TensorViewMut<'a>, String> {
        if TYPES.get(self.dtype as usize) != Some(&"f32") {
            return Err("an output is expected to be f32".to_string());
        }
        let shape = self.shape()?;
        // SAFETY: as the caller vouches.
        Ok(f32::view_mut(unsafe { ArrayViewMutD::from_shape_ptr(shape, self.data.cast()) }))
    }

    /// # Safety
    /// As [`TensorArg::view`], with elements of type `T`.
    unsafe fn array<'a, T: Element>(&self) -> Result<TensorView<'a>, String> {
        let shape = self.shape()?;
        // SAFETY: as the caller vouches.
        Ok(T::view(unsafe { ArrayViewD::from_shape_ptr(shape, self.data.cast()) }))
    }

    fn shape(&self) -> Result<StrideShape<IxDyn>, String> {
        let rank = usize::try_from(self.rank).ok().filter(|rank| *rank <= 8).ok_or("expected at most 8 axes")?;
        let (mut shape, mut strides) = ([0usize; 8], [0usize; 8]);
        for at in 0..rank {
            // SAFETY: both lists have as many elements as there are axes.
            let (extent, stride) = unsafe { (*self.shape.add(at), *self.strides.add(at)) };
            shape[at] = usize::try_from(extent).map_err(|_| "a negative extent")?;
            strides[at] = usize::try_from(stride).map_err(|_| "a negative stride")?;
        }
        Ok(IxDyn(&shape[..rank]).strides(IxDyn(&strides[..rank])))
    }
}
