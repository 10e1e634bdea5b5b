//! The microkernel table of an instruction set in the order of the launch ABI.

use attnc_codegen::abi::Microkernel;
use attnc_kernels::Isa;

use super::call::FunctionTable;
use crate::error::HostError;

/// Addresses of the microkernels of `isa`, by [`Microkernel::index`]. The types of the table's fields are those that
/// [`Microkernel`]'s variants document; a test calls one of every form through generated code.
///
/// # Errors
/// If this CPU lacks the instruction set.
pub fn function_table(isa: Isa) -> Result<FunctionTable, HostError> {
    let kernels = attnc_kernels::table(isa).ok_or_else(|| HostError::no_isa(isa))?;
    let address = |kernel: &Microkernel| kernels.address(kernel.name()).expect("every microkernel is in the table");
    Ok(FunctionTable(Microkernel::ALL.iter().map(address).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_microkernel_is_in_the_table() {
        for isa in Isa::available() {
            let table = function_table(isa).expect("an available instruction set");
            assert_eq!(table.0.len(), Microkernel::ALL.len());
        }
    }
}
