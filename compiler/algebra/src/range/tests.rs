//! Indices that are proved, and indices that are not.

use crate::settings::Settings;
use crate::spec::{Extents, Spec};
use crate::{check_indices, compile_text};

fn extents(spec: &Spec, n: i64) -> Extents {
    let value = |name: &str| match name {
        "N" => n,
        "B" => 2,
        "H" => 4,
        "G" => 2,
        _ => 8,
    };
    (0..spec.symbols.len()).map(|at| (crate::SymbolId(at as u32), value(&spec.symbols[at].name))).fold(
        Extents::default(),
        |mut all, (id, v)| {
            all.0.insert(id, v);
            all
        },
    )
}

/// The messages for a spec with these lines, at N = 1, 7 and 70.
fn messages(lines: &str, tables: &[Option<(i64, i64)>]) -> Vec<String> {
    let text = format!("spec t\naxis i, j = N\n{lines}\n");
    let spec =
        compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{}", crate::render("t", &text, &e)));
    let mut out = Vec::new();
    for n in [1, 7, 70] {
        if let Err(errors) = check_indices(&spec, &extents(&spec, n), tables) {
            out.extend(errors.iter().map(|e| format!("N = {n}: {e}")));
        }
    }
    out
}

fn assert_proved(lines: &str) {
    assert_eq!(messages(lines, &[]), Vec::<String>::new(), "{lines}");
}

#[test]
fn indices_that_intervals_bound() {
    assert_proved("axis t = 2 * N - 1\ninput bias[h, t]\noutput o[h, i, j] = bias[h, i - j + N - 1]");
    assert_proved(
        "axis h = H\nrequire H mod 2 == 0\naxis g = 2\ninput k[g, j]\noutput o[h, j] = k[h div (H div 2), j]",
    );
    assert_proved("axis x = (N + 15) div 16\ninput t: bool[x]\noutput o[i] = if t[i div 16] then 1 else 0");
    assert_proved("input x[d]\noutput o[i] = x[i mod D]");
    assert_proved("input x[i]\noutput o[i] = x[max(0, min(N - 1, i + 3))]");
}

#[test]
fn indices_that_guards_bound() {
    assert_proved("input x[i]\noutput o[i] = sum[j where j <= i](x[i - j])");
    assert_proved("input x[i]\noutput o[i] = sum[j where j < i](x[i - j - 1])");
    assert_proved("input x[i]\noutput o[i] = if i > 0 then x[i - 1] else 0");
    assert_proved("input x[i]\noutput o[i] = if i == 0 then 0 else x[i - 1]\n# ruled out by trying all");
    assert_proved("axis t = 7\ninput x[t]\noutput o[i] = sum[j where abs(i - j) <= 3](x[i - j + 3])");
    assert_proved("axis t = 7\ninput x[t]\noutput o[i] = sum[j where i - j <= 3 and (j <= i + 3)](x[i - j + 3])");
    assert_proved("input x[i]\noutput o[i] = sum[j where not (j > i)](x[i - j])");
    assert_proved("input x[i]\noutput o[i] = sum[j where j < i or j + 1 < i](x[i - j - 1])");
    assert_proved("input x[i]\noutput o[i] = if i > 0 and x[i - 1] > 0 then 1 else 0");
    assert_proved("input x[i]\noutput o[i, j] = sum[j where i div 4 == j div 4](x[min(i - 4 * (j div 4) + j, N - 1)])");
}

#[test]
fn indices_that_only_trying_bounds() {
    assert_proved("axis d = 8\ninput x[d]\noutput o[d] = x[d + 1 - 2 * (d mod 2)]");
    assert_proved("axis d = 8\ninput x[d]\noutput o[d] = x[7 - 2 * d + d * d mod 3 - d * d mod 3 + d]");
    assert_proved("axis t = 8\ninput x[t]\noutput o[i] = x[floor(log(i + 1.0))]");
}

#[test]
fn indices_that_are_made_of_reals() {
    let table = "axis t = 32\ninput x[t]\ninput a[i]\n";
    let proved = |index: &str| assert_proved(&format!("{table}output o[i, j] = x[{index}]"));
    proved("max(0, min(31, floor(sqrt(abs(i - j)))))");
    proved("min(31, max(0, floor(a)))");
    proved("if 0 <= j - i and j - i < 8 then j - i else min(31, max(8, floor(a)))");
    proved("floor(31 * sigmoid(a))");
    proved("if abs(i - j) < 8 then abs(i - j) else min(31, 8 + floor(log(abs(i - j) / 8) * 5))");
    proved(
        "(if j > i then 16 else 0) + (if abs(i - j) < 8 then abs(i - j) else min(15, 8 + floor(8 * log(max(abs(i - j), \
         1) / 8) / log(16))))",
    );
    let open = messages(&format!("{table}output o[i, j] = x[min(32, floor(abs(a)))]"), &[]);
    assert_eq!(
        open[0],
        "N = 1: axis `t` of `x` has 32 positions, but its index `min(32.0, floor(abs(a)))` may lie anywhere in 0 .. 32"
    );
    let open =
        messages(&format!("{table}output o[i, j] = x[if i < 8 then max(0, min(31, floor(a))) else i + 31]"), &[]);
    let last = open.last().map(String::as_str);
    let expected = "N = 70: axis `t` of `x` has 32 positions, but its index `if i < 8 then max(0.0, min(31.0, floor(a))) else i \
                    + 31` may lie anywhere in 0 .. 100";
    assert_eq!(last, Some(expected));
}

#[test]
fn guards_about_a_rebound_axis_do_not_count() {
    let messages = messages("input x[i]\noutput o[i] = sum[j where j <= i](sum[j](x[i - j]))", &[]);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[1], "N = 70: axis `i` of `x` has 70 positions, but is indexed at -1 by `i - j`");
}

#[test]
fn unguarded_indices_are_reported() {
    let found = messages("axis t = 7\ninput x[t]\noutput o[i] = x[i + 6] + x[3 - i]", &[]);
    let expected = [
        "N = 7: axis `t` of `x` has 7 positions, but is indexed at -1 by `3 - i`",
        "N = 7: axis `t` of `x` has 7 positions, but is indexed at 7 by `i + 6`",
    ];
    assert_eq!(&found[..2], expected);
}

#[test]
fn tables_are_bounded_by_their_values() {
    let spec = "input at: i32[i]\ninput x[j]\noutput o[i] = x[at[i]]";
    let found = messages(spec, &[]);
    assert_eq!(
        found[0],
        "N = 1: axis `j` of `x` has 1 positions, but its index `at` may lie anywhere in -2147483648 .. 2147483647"
    );
    assert_eq!(messages(spec, &[Some((0, 0)), None]), Vec::<String>::new());
    assert_eq!(messages(spec, &[Some((0, 7)), None]).len(), 2);
    assert_proved("input at: i32[i] in 0 .. N - 1\ninput x[j]\noutput o[i] = x[at[i]]");
    assert_proved("input at: i32[i]\ninput x[j]\noutput o[i] = if 0 <= at[i] and at[i] < N then x[at[i]] else 0");
}

#[test]
fn indices_that_know_a_difference_alone_are_tried_for_each() {
    let found = |index: &str, sum: &str, n: i64| {
        let text = format!(
            "spec t\naxis i, j = N\naxis t = 32\ninput x[t]\nfar = abs(i - j)\n\
             large = 8 + floor(log(max(far, 1) / 8) / log(16) * 8)\noutput o[i] = {sum}(x[{index}])\n"
        );
        let spec = compile_text(&text, &Settings::default()).expect("a spec");
        check_indices(&spec, &extents(&spec, n), &[]).err().map(|errors| errors[0].to_string())
    };
    let bucket = "(if j > i then 16 else 0) + (if far < 8 then far else min(15, large))";
    assert_eq!(found(bucket, "sum[j]", 100_000), None);
    assert_eq!(found("min(31, large - 4)", "sum[j where i - j > 7]", 100_000), None);
    let certain = found("min(31, large - 9)", "sum[j where j <= i]", 100_000);
    assert!(certain.is_some_and(|m| m.starts_with("axis `t` of `x` has 32 positions, but is indexed at -1")));
    // Too many sums of other multiples to try.
    assert!(found("floor(log(1 + far + 3 * abs(i - 2 * j)))", "sum[j]", 100_000).is_some());
}

#[test]
fn ranks_are_places() {
    let keys = "input x[j]\ninput q[i, d]\ninput k[j, d]\ns = sum[d](q * k)\n";
    assert_proved(&format!("{keys}output o[j] = x[rank[j](x)]"));
    assert_proved(&format!("{keys}output o[i, j] = x[rank[j](s)]"));
    assert_proved(&format!("{keys}output o[i, j] = x[rank[j where j <= i](floor(s))]"));
    assert_proved(&format!("{keys}output o[i] = x[count[j where x[i] < x[j] or j < i]]"));
    for all in ["count[j where x[i] <= x[j]]", "count[j where not x[i] < x[j]]", "count[j where x[i] < x[j] or j <= i]"]
    {
        assert_eq!(messages(&format!("{keys}output o[i] = x[{all}]"), &[]).len(), 3, "{all}");
    }
}

#[test]
fn divisors_are_not_0() {
    assert_proved("output o[i] = sum[j](i mod (j + 1) + i div (N + 1 - j) + j mod (i - N))");
    assert_proved("output o[i] = sum[j where j > 0](i mod j)");
    assert_proved("output o[i] = if i != 0 then 12 div i else 0");
    assert_proved("input t: i32[i] in 1 .. 9\noutput o[i] = i div t");
    let found = messages("output o[i] = sum[j where j != i](i mod (2 * j - i))", &[]);
    assert_eq!(
        found,
        [
            "N = 7: `i mod (2 * j - i)` divides by 0 at some position",
            "N = 70: `i mod (2 * j - i)` divides by 0 at some position"
        ]
    );
    let table = "input t: i32[i]\noutput o[i] = i div t";
    assert_eq!(messages(table, &[])[0], "N = 1: `i div t` may divide by 0: nothing excludes it");
    assert_eq!(messages(table, &[Some((2, 3))]), Vec::<String>::new());
}
