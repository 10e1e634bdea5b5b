//! Tensors laid out in awkward ways, with canaries around and between their elements.
//!
//! A canary has all bits set: NaN as a float, -1 as a signed integer. A kernel that reads one by mistake computes
//! nonsense; one that writes it is found by [`Padded::canaries_live`].

use attnc::tensor::{Element, TensorView, TensorViewMut};
use attnc_algebra::{Data, Tensor};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Axis, IxDyn, Slice};

/// How a tensor lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Storage {
    /// Row-major, canaries before the first and after the last element of every axis.
    Plain,
    /// Axes in reversed order: the first axis has the smallest stride.
    Transposed,
    /// Every second element of every axis.
    Strided,
    /// Every axis runs backwards in memory.
    Reversed,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Transposed, Self::Strided, Self::Reversed];
}

/// A tensor among canaries.
pub enum Padded {
    /// 32-bit floats.
    F32(Laid<f32>),
    /// Any other type of element; only read.
    Other(Box<dyn View>),
}

/// Something that can be read as a tensor.
pub trait View {
    /// The tensor.
    fn view(&self) -> TensorView<'_>;
}

/// An array with the tensor somewhere inside.
pub struct Laid<T> {
    array: ArrayD<T>,
    storage: Storage,
}

impl<T: Element> Laid<T> {
    /// An array of canaries with room for a tensor of this shape.
    fn canaries(shape: &[usize], storage: Storage) -> Self {
        let room = |extent: &usize| if storage == Storage::Strided { 2 * extent + 1 } else { extent + 2 };
        let mut stored: Vec<usize> = shape.iter().map(room).collect();
        if storage == Storage::Transposed {
            stored.reverse();
        }
        Self { array: ArrayD::from_elem(IxDyn(&stored), canary()), storage }
    }

    fn of(shape: &[usize], elements: &[T], storage: Storage) -> Self {
        let mut laid = Self::canaries(shape, storage);
        let source = ArrayViewD::from_shape(IxDyn(shape), elements).expect("a tensor's shape fits its elements");
        laid.part_mut().assign(&source);
        laid
    }

    fn part(&self) -> ArrayViewD<'_, T> {
        let mut part = self.array.view();
        for axis in 0..part.ndim() {
            part.slice_axis_inplace(Axis(axis), within(self.array.shape()[axis], self.storage));
        }
        if self.storage == Storage::Transposed { part.reversed_axes() } else { part }
    }

    fn part_mut(&mut self) -> ArrayViewMutD<'_, T> {
        let (storage, stored) = (self.storage, self.array.shape().to_vec());
        let mut part = self.array.view_mut();
        for (axis, extent) in stored.into_iter().enumerate() {
            part.slice_axis_inplace(Axis(axis), within(extent, storage));
        }
        if storage == Storage::Transposed { part.reversed_axes() } else { part }
    }
}

impl<T: Element> View for Laid<T> {
    fn view(&self) -> TensorView<'_> {
        T::view(self.part())
    }
}

/// The elements of an axis of `stored` elements that hold the tensor.
fn within(stored: usize, storage: Storage) -> Slice {
    match storage {
        Storage::Plain | Storage::Transposed => Slice::new(1, Some(stored as isize - 1), 1),
        Storage::Strided => Slice::new(1, None, 2),
        Storage::Reversed => Slice::new(1, Some(stored as isize - 1), -1),
    }
}

/// All bits set.
fn canary<T: Element>() -> T {
    T::from_bytes(&vec![0xff; T::DTYPE.size()])
}

impl Padded {
    /// A tensor's elements among canaries.
    pub fn of(tensor: &Tensor, storage: Storage) -> Self {
        fn other<T: Element>(shape: &[usize], elements: &[T], storage: Storage) -> Padded {
            Padded::Other(Box::new(Laid::of(shape, elements, storage)))
        }
        let shape = tensor.shape();
        match tensor.data() {
            Data::F32(v) => Self::F32(Laid::of(shape, v, storage)),
            Data::F64(v) => other(shape, v, storage),
            Data::F16(v) => other(shape, v, storage),
            Data::Bf16(v) => other(shape, v, storage),
            Data::I8(v) => other(shape, v, storage),
            Data::U8(v) => other(shape, v, storage),
            Data::I32(v) => other(shape, v, storage),
            Data::I64(v) => other(shape, v, storage),
            Data::Bool(v) => other(shape, v, storage),
        }
    }

    /// Room for a 32-bit result, all canaries.
    pub fn room(shape: &[usize], storage: Storage) -> Self {
        Self::F32(Laid::canaries(shape, storage))
    }

    /// The tensor.
    pub fn view(&self) -> TensorView<'_> {
        match self {
            Self::F32(laid) => laid.view(),
            Self::Other(other) => other.view(),
        }
    }

    /// The tensor, to be written to; `None` but for 32-bit floats.
    pub fn view_mut(&mut self) -> Option<TensorViewMut<'_>> {
        match self {
            Self::F32(laid) => Some(f32::view_mut(laid.part_mut())),
            Self::Other(_) => None,
        }
    }

    /// Whether every canary around and between the elements is as it was; the tensor itself becomes canaries.
    pub fn canaries_live(&mut self) -> bool {
        match self {
            Self::F32(laid) => {
                laid.part_mut().fill(canary());
                let bits = canary::<f32>().to_bits();
                laid.array.iter().all(|x| x.to_bits() == bits)
            }
            Self::Other(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_reads_back_as_it_was() {
        let tensor = Tensor::f32(&[2, 3, 4], (0..24).map(|x| x as f32).collect()).expect("24 elements");
        for storage in Storage::ALL {
            let padded = Padded::of(&tensor, storage);
            assert_eq!(padded.view().shape(), [2, 3, 4]);
            assert_eq!(padded.view().to_tensor(), tensor, "{storage:?}");
        }
    }

    #[test]
    fn a_written_canary_is_found() {
        for storage in Storage::ALL {
            let mut padded = Padded::room(&[2, 3], storage);
            if let Padded::F32(laid) = &mut padded {
                laid.part_mut().fill(1.0);
            }
            assert!(padded.canaries_live());
            if let Padded::F32(laid) = &mut padded {
                laid.array[[0, 0].as_slice()] = 1.0;
            }
            assert!(!padded.canaries_live(), "{storage:?}");
        }
    }
}
