//! How positions enter terms.

use attnc_algebra::positions::{Along, Coefficients, Positions};
use attnc_algebra::{AxisId, Settings, compile_text};

/// The coefficients of i, j and t in the form through which alone the expression knows several of them.
fn form(expression: &str) -> Option<Vec<i64>> {
    let text = format!("spec t\naxis i, j, t = N\ninput x[h, t]\ninput y[h]\noutput o[h, i, j, t] = {expression}\n");
    let spec = compile_text(&text, &Settings::default()).expect("a spec");
    let axis = |name: &str| {
        let at = spec.axes.iter().position(|axis| axis.name == name).expect("an axis of the spec");
        AxisId(at as u32)
    };
    let axes = ["i", "j", "t"].map(axis);
    let mut whole = Along::default();
    whole.all_of(&Positions::default().along(&spec.terms, spec.outputs[0].term));
    let of_axis = |form: &Coefficients| axes.iter().map(|a| form.get(a).copied().unwrap_or(0)).collect();
    whole.form.as_ref().map(of_axis)
}

#[test]
fn a_term_may_know_one_form_of_positions() {
    let difference = Some(vec![-1, 1, 0]);
    assert_eq!(form("i - j"), difference);
    assert_eq!(form("abs(j - i)"), difference);
    assert_eq!(form("exp(-(i - j) ^ 2) * log(1 + abs(2 * j - 2 * i + 5))"), difference);
    assert_eq!(form("if j > i then y else x[h, max(i - j, 0)]"), difference);
    assert_eq!(form("cos((i + 2 * j) / 3)"), Some(vec![1, 2, 0]));
    assert_eq!(form("(i + j - t) mod 7"), Some(vec![-1, -1, 1]));
    assert_eq!(form("sum[t](x * (i - j))"), difference);
    assert_eq!(form("x * sqrt(i + j)"), Some(vec![1, 1, 0]));
}

#[test]
fn a_term_may_know_more_than_one_form() {
    for more in
        ["i", "abs(i - j) + i", "abs(i - j) * cos(i + j)", "sum[j](abs(i - j))", "x[h, j] * abs(i - j)", "i - i"]
    {
        assert_eq!(form(more), None, "{more}");
    }
}
