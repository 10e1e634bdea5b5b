//! How far a result may be from the reference: one function of storage type and reduction length.

use attnc_algebra::DType;

/// The largest permitted error of a specification, relative to the largest output of the same head: what every
/// f32 result must keep whatever its length.
pub const F32_CEILING: f64 = 2e-5;

/// The permitted error, relative to the largest absolute reference value of the same batch and head.
///
/// A sum of `length` products in working precision `u` is off by about `u √length` when roundings are independent
/// and by `u length` at worst; the elementary functions of the score chain add some ten units each. The constant
/// covers a chain of a few functions on scores of moderate size, the root term the reduction.
///
/// Narrow storage types round each operand of a tile product once, softmax weights included: half a unit in the
/// last place of each of two operands, which do not average out when one operand dominates.
pub fn tolerance(dtype: DType, length: usize) -> f64 {
    let reduction = 64.0 + 4.0 * (length.max(1) as f64).sqrt();
    let single = (f64::powi(2.0, -24) * reduction).min(F32_CEILING);
    match dtype {
        DType::F64 => f64::powi(2.0, -53) * reduction,
        DType::F16 => f64::powi(2.0, -11) * 2.0 + single,
        DType::Bf16 => f64::powi(2.0, -8) * 2.0 + single,
        DType::F32 | DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::Bool => single,
    }
}

/// A rounding to a narrow storage type, relatively: what an operand of a tile product, computed or not, may be rounded
/// to once where an input has that type. `None` for types that no operand is narrowed to.
pub fn narrow_unit(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F16 => Some(f64::powi(2.0, -12)),
        DType::Bf16 => Some(f64::powi(2.0, -9)),
        _ => None,
    }
}

/// How many roundings of inputs and results an error may amount to, where conditioning is allowed for.
const ROUNDINGS: f64 = 16.0;

/// How often the tolerance an error may be at most, whatever the conditioning.
const STRAIN: f64 = 64.0;

/// The largest error of f32 that conditioning excuses.
pub const CONDITIONED_CEILING: f64 = 1e-3;

/// The permitted error of a result that moves by `sensitivity` when every input and result on the way is rounded once
/// more: a few roundings of each, up to a ceiling.
pub fn conditioned_tolerance(tolerance: f64, sensitivity: f64) -> f64 {
    let ceiling = if tolerance <= F32_CEILING { CONDITIONED_CEILING } else { f64::INFINITY };
    (tolerance + ROUNDINGS * sensitivity).min(STRAIN * tolerance).min(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_never_exceeds_its_ceiling() {
        assert!(tolerance(DType::F32, 1) < 5e-6);
        assert!(tolerance(DType::F32, 1000) < F32_CEILING);
        assert!(tolerance(DType::F32, usize::MAX) <= F32_CEILING);
    }

    #[test]
    fn conditioning_excuses_a_few_roundings_up_to_a_ceiling() {
        assert_eq!(conditioned_tolerance(1e-5, 0.0), 1e-5);
        assert_eq!(conditioned_tolerance(1e-5, 1e-6), 1e-5 + 16e-6);
        assert_eq!(conditioned_tolerance(1e-5, 1.0), 64e-5);
        assert_eq!(conditioned_tolerance(2e-5, 1.0), CONDITIONED_CEILING);
    }

    #[test]
    fn the_tolerance_of_a_narrow_type_is_a_rounding_of_each_of_two_operands() {
        for dtype in [DType::F16, DType::Bf16] {
            let two_roundings = narrow_unit(dtype).map(|unit| 4.0 * unit);
            let permitted = tolerance(dtype, 1);
            assert!(two_roundings.is_some_and(|two| (two..two + F32_CEILING).contains(&permitted)), "{dtype:?}");
        }
        assert_eq!(narrow_unit(DType::F32), None);
    }

    #[test]
    fn wider_types_are_held_to_more() {
        let at = |dtype| tolerance(dtype, 256);
        assert!(at(DType::F64) < at(DType::F32));
        assert!(at(DType::F32) < at(DType::F16));
        assert!(at(DType::F16) < at(DType::Bf16));
    }
}
