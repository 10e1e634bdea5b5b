//! Where a run's inputs come from: a safetensors file, or a seeded generator.

use std::collections::BTreeMap;

use attnc::{Kernel, Tensor, TensorView};
use attnc_algebra::{Extents, Spec};
use attnc_compiler::extents::defaults;

use crate::args::Common;
use crate::failure::Failure;
use crate::tensorfile::TensorFile;

/// The inputs of a run, in the spec's order.
pub struct Inputs {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    file: Option<TensorFile>,
}

impl Inputs {
    /// The inputs that the flags mean.
    ///
    /// # Errors
    /// If neither a file nor a seed is given, or the file lacks an input.
    pub fn obtain(kernel: &Kernel, common: &Common, rename: &[String]) -> Result<Self, Failure> {
        let spec = kernel.spec();
        match (&common.input, common.random) {
            (Some(path), _) => Self::from_file(spec, TensorFile::read(path)?, rename),
            (None, Some(seed)) => {
                let settings = &kernel.analysis().options().settings;
                Self::drawn(spec, &defaults(spec, settings), seed)
            }
            (None, None) if spec.inputs.is_empty() => Self::drawn(spec, &defaults(spec, &Default::default()), 0),
            (None, None) => {
                Err(Failure::Usage("inputs are needed: give --input FILE.safetensors or --random SEED".to_string()))
            }
        }
    }

    /// Inputs drawn from a seeded generator at given extents.
    ///
    /// # Errors
    /// If the sizes overflow or a declared range is empty.
    pub fn drawn(spec: &Spec, extents: &Extents, seed: u64) -> Result<Self, Failure> {
        if let Some(why) = beyond_memory(spec, extents, 1.0) {
            return Err(Failure::Input(why));
        }
        let tensors =
            attnc_algebra::draw::draw_inputs(spec, extents, seed).map_err(|e| Failure::input(e.to_string()))?;
        Ok(Self { names: spec.inputs.iter().map(|i| i.name.clone()).collect(), tensors, file: None })
    }

    fn from_file(spec: &Spec, file: TensorFile, rename: &[String]) -> Result<Self, Failure> {
        let renamed = renames(spec, rename)?;
        let mut tensors = Vec::new();
        for input in &spec.inputs {
            let name = renamed.get(&input.name).unwrap_or(&input.name);
            let mut view = file.get(name)?;
            // A tensor without the batch axis is a batch of one.
            let batched = input.axes.first().is_some_and(|a| spec.axis(*a).name == "b");
            if batched && view.shape().len() + 1 == input.axes.len() {
                view = view.with_leading_axis();
            }
            tensors.push(view.to_tensor());
        }
        Ok(Self { names: spec.inputs.iter().map(|i| i.name.clone()).collect(), tensors, file: Some(file) })
    }

    /// The inputs by name.
    pub fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        self.names.iter().map(String::as_str).zip(self.tensors.iter().map(TensorView::from)).collect()
    }

    /// The inputs in the spec's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// A tensor of the input file, for comparisons.
    ///
    /// # Errors
    /// If there is no input file, or it does not hold the tensor.
    pub fn recorded(&self, name: &str) -> Result<Tensor, Failure> {
        match &self.file {
            Some(file) => Ok(file.get(name)?.to_tensor()),
            None => Err(Failure::Usage("--expect needs --input: it compares with a tensor of that file".to_string())),
        }
    }
}

/// Why inputs should not be drawn, rather than to be killed while drawing: they and the outputs would take more than
/// `part` of the machine's free memory.
pub fn beyond_memory(spec: &Spec, extents: &Extents, part: f64) -> Option<String> {
    let bytes = |axes: &[attnc_algebra::AxisId], size: usize| {
        let extent = |a: &attnc_algebra::AxisId| spec.eval_extent(spec.axis(*a).extent, extents).unwrap_or(1) as f64;
        axes.iter().map(extent).product::<f64>() * size as f64
    };
    let inputs: f64 = spec.inputs.iter().map(|i| bytes(&i.axes, i.dtype.size())).sum();
    let outputs: f64 = spec.outputs.iter().map(|o| bytes(&o.axes, 4)).sum();
    let free = free_memory().filter(|free| inputs + outputs > part * *free as f64)?;
    let [wanted, free] = [(inputs + outputs) as u64, free].map(crate::table::bytes);
    Some(format!("inputs and outputs would take {wanted}, but {free} of memory is free"))
}

/// Free memory in bytes, where the system tells.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn renames(spec: &Spec, rename: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut out = BTreeMap::new();
    for item in rename {
        let Some((input, tensor)) = item.split_once('=') else {
            return Err(Failure::Usage(format!("--rename {item}: expected INPUT=TENSOR")));
        };
        if !spec.inputs.iter().any(|i| i.name == input) {
            let names: Vec<&str> = spec.inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(Failure::input(format!(
                "--rename: the spec has no input `{input}`; it has {}",
                names.join(", ")
            )));
        }
        out.insert(input.to_string(), tensor.to_string());
    }
    Ok(out)
}
