//! What is drawn, and that it is always legal.

use super::*;
use crate::settings::Settings;
use crate::{SymbolId, check_indices, compile_text};

fn spec(lines: &str) -> Spec {
    let text = format!("spec t\naxis i, j = N\n{lines}\n");
    compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{}", crate::render("t", &text, &e)))
}

fn extents(spec: &Spec, n: i64) -> Extents {
    let value = |name: &str| if name == "N" { n } else { 4 };
    Extents((0..spec.symbols.len()).map(|at| (SymbolId(at as u32), value(&spec.symbols[at].name))).collect())
}

fn drawn(lines: &str, n: i64) -> Tensor {
    let spec = spec(lines);
    draw_inputs(&spec, &extents(&spec, n), 1).unwrap().remove(0)
}

#[test]
fn the_same_seed_draws_the_same() {
    let spec = spec("input x[i, d]\ninput y[i, d]\noutput o[i] = sum[d](x * y)");
    let extents = extents(&spec, 10);
    let first = draw_inputs(&spec, &extents, 7).unwrap();
    assert_eq!(first, draw_inputs(&spec, &extents, 7).unwrap());
    assert_ne!(first, draw_inputs(&spec, &extents, 8).unwrap());
    assert_ne!(first[0], first[1]);
}

#[test]
fn reals_are_standard_normal() {
    let x = drawn("input x[i]\noutput o[i] = x", 20_000).to_f64();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
}

#[test]
fn ranged_reals_stay_in_their_range_after_rounding() {
    for dtype in ["f32", "f16", "bf16", "f64"] {
        let x = drawn(&format!("input x: {dtype}[i] in 0.9 .. 0.999\noutput o[i] = x"), 5_000).to_f64();
        assert!(x.iter().all(|v| (0.9..=0.999).contains(v)), "{dtype}");
        assert!(x.iter().any(|v| *v < 0.92) && x.iter().any(|v| *v > 0.98), "{dtype}");
    }
}

#[test]
fn a_table_of_indices_covers_the_axis_it_indexes() {
    let range = drawn("input at: i32[i]\ninput x[d]\noutput o[i] = x[at[i]]", 500).integer_range();
    assert_eq!(range, Some((0, 3)));
    let range = drawn("input at: i32[i]\ninput x[d]\noutput o[i] = x[at[i] + 1] + x[at[i]]", 500).integer_range();
    assert_eq!(range, Some((0, 2)));
}

#[test]
fn a_table_of_blocks_covers_the_blocks_it_is_compared_with() {
    let lines = "axis x = (N + 63) div 64\ninput random: i32[x, r]\ninput v[j]\n\
                 output o[i] = sum[j where any[r](random[i div 64, r] == j div 64)](v)";
    let (low, high) = drawn(lines, 6_400).integer_range().unwrap();
    assert!(low < 5 && (95..100).contains(&high), "{low} .. {high}");
    assert_eq!(drawn(lines, 17).integer_range(), Some((0, 0)));
}

#[test]
fn runs_count_up_from_zero() {
    let doc = drawn("input doc: i32[j] runs 8\ninput v[j]\noutput o[i] = sum[j where doc[i] == doc[j]](v)", 8_000);
    let values: Vec<i64> = (0..doc.len()).map(|at| doc.get_i64(at)).collect();
    assert_eq!(values[0], 0);
    assert!(values.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] + 1));
    let mean = 8_000.0 / (values[7_999] + 1) as f64;
    assert!((6.0..10.0).contains(&mean), "mean run {mean}");
}

#[test]
fn truth_values_are_fair() {
    let table = drawn("input t: bool[i]\noutput o[i] = if t then 1 else 0", 10_000).to_f64();
    let share = table.iter().sum::<f64>() / 10_000.0;
    assert!((0.48..0.52).contains(&share), "{share}");
}

#[test]
fn what_nothing_permits_is_an_error() {
    let spec = spec("input at: i32[i] in 5 .. 9\ninput x[d]\noutput o[i] = x[at[i]]");
    let error = draw_inputs(&spec, &extents(&spec, 3), 1).unwrap_err();
    assert_eq!(error.to_string(), "no value of `at` is permitted: its uses need 0 .. 3, its declaration 5 .. 9");
}

#[test]
fn a_guard_on_a_table_opens_all_its_parts() {
    let lines = "input at: i32[i]\ninput x[d]\ninput y[d]\n\
                 output o[i] = if at < D then x[at[i]] else y[at[i] - D]";
    let (low, high) = drawn(lines, 1_000).integer_range().unwrap();
    assert_eq!(low, 0);
    assert!(high > 0);
    let shifted = "input at: i32[i] in 0 .. 0\ninput x[d]\noutput o[i] = if at > 0 then x[at[i] - 1] else 0";
    assert_eq!(drawn(shifted, 10).integer_range(), Some((0, 0)));
}

#[test]
fn drawn_tables_pass_the_check_of_indices() {
    let spec = spec("input at: i32[i]\ninput x[d, j]\noutput o[i] = sum[j where j <= i](x[at[i], i - j])");
    let extents = extents(&spec, 50);
    let tensors = draw_inputs(&spec, &extents, 3).unwrap();
    let tables: Vec<_> = tensors.iter().map(Tensor::integer_range).collect();
    assert_eq!(check_indices(&spec, &extents, &tables), Ok(()));
}
