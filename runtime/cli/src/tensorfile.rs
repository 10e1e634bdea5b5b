//! Tensors in safetensors files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use attnc::{Tensor, TensorView};
use attnc_algebra::DType;
use safetensors::{Dtype, SafeTensors, View};

use crate::failure::Failure;

/// The tensors of a file, by name. Tensors of types that specs do not have are listed with that type.
pub struct TensorFile {
    tensors: BTreeMap<String, Held>,
}

/// A tensor of a file, or why it cannot be used.
enum Held {
    Tensor(Tensor),
    Unsupported(String, Vec<usize>),
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not a safetensors file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| Failure::input(format!("{}: not a safetensors file: {e}", path.display())))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let shape = view.shape();
            let held = dtype_of(view.dtype())
                .and_then(|dtype| attnc::tensor::from_le_bytes(dtype, shape, view.data()))
                .map_or_else(|| Held::Unsupported(format!("{:?}", view.dtype()), shape.to_vec()), Held::Tensor);
            tensors.insert(name.to_string(), held);
        }
        Ok(Self { tensors })
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// If there is none (the message lists what there is), or specs have no such type.
    pub fn get(&self, name: &str) -> Result<TensorView<'_>, Failure> {
        match self.tensors.get(name) {
            Some(Held::Tensor(tensor)) => Ok(tensor.into()),
            Some(Held::Unsupported(dtype, _)) => {
                Err(Failure::input(format!("tensor `{name}` has type {dtype}, which specs do not have")))
            }
            None => Err(Failure::input(format!("the file holds no tensor `{name}`; it holds:\n{}", self.listing()))),
        }
    }

    fn listing(&self) -> String {
        let line = |(name, held): (&String, &Held)| match held {
            Held::Tensor(t) => format!("  {name}: {}{:?}\n", t.dtype().name(), t.shape()),
            Held::Unsupported(dtype, shape) => format!("  {name}: {dtype}{shape:?} (not a type of specs)\n"),
        };
        self.tensors.iter().map(line).collect::<String>().trim_end().to_string()
    }
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::Bf16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

struct Written<'a>(&'a Tensor);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::Bf16 => Dtype::BF16,
            DType::I8 => Dtype::I8,
            DType::U8 => Dtype::U8,
            DType::I32 => Dtype::I32,
            DType::I64 => Dtype::I64,
            DType::Bool => Dtype::BOOL,
        }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(attnc::tensor::to_le_bytes(self.0))
    }

    fn data_len(&self) -> usize {
        self.0.bytes()
    }
}

/// Writes tensors to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), Failure> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), Written(tensor)));
    let bytes = safetensors::serialize(views, None)
        .map_err(|e| Failure::input(format!("{}: cannot be written: {e}", path.display())))?;
    std::fs::write(path, bytes).map_err(|e| Failure::file(path, &e))
}
