//! A computed tensor read at other positions is the tensor at those positions, whatever its term binds.

use attnc_algebra::{Extents, Reference, Settings, SymbolId, compile_text, draw_inputs, render};
use ndarray::ArrayD;

/// All outputs of a spec whose every extent is `n`, on inputs drawn from a seed.
fn outputs(text: &str, n: i64) -> Vec<ArrayD<f64>> {
    let spec = compile_text(text, &Settings::default())
        .unwrap_or_else(|errors| panic!("{}\n{text}", render("spec", text, &errors)));
    let extents = Extents((0..spec.symbols.len()).map(|at| (SymbolId(at as u32), n)).collect());
    let inputs = draw_inputs(&spec, &extents, 7).expect("small inputs");
    let mut reference = Reference::new(&spec, &extents, &inputs).expect("inputs as declared");
    (0..spec.outputs.len()).map(|at| reference.output(at).expect("indices in range")).collect()
}

const HEAD: &str =
    "axis i, j, t = N\ninput x[i, j]\ninput a[i, t]\ninput p[t, j]\ninput table: i32[i, j] in 0 .. N - 1\n";

/// Matrices over i and j with all kinds of binders.
const MATRICES: &[&str] = &[
    "x * i + j",
    "softmax[j](x)",
    "softmax[i where i <= j](x)",
    "softmax[j where j <= i](sum[t](a * p))",
    "sum[t](a * p)",
    "sum[t where t <= i](a * softmax[j](p))",
    "cumsum[j](x)",
    "rank[j](x)",
    "rank[i where i != j](floor(2 * x))",
    "sum[i](x) * x",
    "max[t where t > j](a) + sum[j where j > i](x)",
    "logsumexp[t](a + p) - logsumexp[i, t](a + p)",
    "softmax[i, j where i != j](x)",
    "argmax[t](a * p)",
    "iterate 2 (z = x) { z + sum[t](a) * z[j, i] }",
];

/// Rows and columns to read, as expressions over i and j.
const PLACES: &[[&str; 2]] = &[
    ["i", "j"],
    ["j", "i"],
    ["i", "i"],
    ["j", "j"],
    ["(i + 1) mod N", "j"],
    ["i div 2", "(i + 2 * j) mod N"],
    ["0", "j"],
    ["table", "table[j, i]"],
    ["argmax[t](a[i, t] * p)", "j"],
    ["argmax[j](x[i, j])", "argmax[i](x)"],
];

#[test]
fn reading_a_computed_tensor_is_reading_its_values() {
    for n in [1, 2, 5] {
        for matrix in MATRICES {
            let mut text = format!("{HEAD}z[i, j] = {matrix}\noutput whole[i, j] = z\n");
            for (at, [row, column]) in PLACES.iter().enumerate() {
                text += &format!("output row{at}[i, j] = {row}\noutput column{at}[i, j] = {column}\n");
                text += &format!("output read{at}[i, j] = z[{row}, {column}]\n");
            }
            let outputs = outputs(&text, n);
            let (whole, reads) = outputs.split_first().expect("an output");
            for (at, read) in reads.chunks(3).enumerate() {
                for (place, value) in read[2].indexed_iter() {
                    let (row, column) = (read[0][&place] as usize, read[1][&place] as usize);
                    let expected = whole[[row, column]];
                    let close = *value == expected || (value - expected).abs() <= 1e-12 * (1.0 + expected.abs());
                    assert!(close, "{matrix} at {:?}, N = {n}, {place:?}: {value} for {expected}", PLACES[at]);
                }
            }
        }
    }
}

#[test]
fn joined_tensors_hold_their_parts_in_order() {
    let text = "input x[i, t]\ninput y[i, u]\nz = concat[j](x[t], y[u], x[t])
output whole[i, j] = z\noutput x1[i, t] = x\noutput y1[i, u] = y\noutput part[i, u] = z[i, u + T]\n";
    let outputs = outputs(text, 3);
    for i in 0..3 {
        for t in 0..3 {
            let place = [i, t];
            assert_eq!(outputs[0][[i, t]], outputs[1][place]);
            assert_eq!(outputs[0][[i, t + 3]], outputs[2][place]);
            assert_eq!(outputs[0][[i, t + 6]], outputs[1][place]);
            assert_eq!(outputs[3][place], outputs[2][place]);
        }
    }
}

#[test]
fn repeated_matrix_products_share_their_copies() {
    // The pseudo-inverse by iteration that Nystrom attention takes (arXiv 2102.03902).
    let text = "axis u, w, t = N\ninput a[u, w] in 0.0 .. 1.0
mul(x, y) = sum[t](x[u, t] * y[t, w])
eye = if u == w then 1 else 0
m = a + 3 * eye
start = m[w, u] / (max[u](sum[w](m)) * max[w](sum[u](m)))
z = iterate 6 (z = start) {
    mul(z, 13 * eye - mul(mul(m, z), 15 * eye - mul(mul(m, z), 7 * eye - mul(m, z)))) / 4
}
output identity[u, w] = mul(m, z) - eye\n";
    let spec = compile_text(text, &Settings::default()).expect("a sound spec");
    assert!(spec.terms.len() < 6000, "{} terms", spec.terms.len());
    assert!(spec.axes.len() < 12, "{} axes", spec.axes.len());
    let identity = &outputs(text, 3)[0];
    assert!(identity.iter().all(|v| v.abs() < 1e-6), "{identity:?}");
}

#[test]
fn ranks_order_values_stably_with_nan_last() {
    let text = "axis i = 6\nx = if i == 2 then inf - inf else if i == 4 then inf - inf else i mod 2 + 0.5
output r[i] = rank[i](x)\noutput of[i] = rank[i where i != 1](x)\n";
    let outputs = outputs(text, 1);
    assert_eq!(outputs[0].iter().copied().collect::<Vec<f64>>(), [3.0, 0.0, 4.0, 1.0, 5.0, 2.0]);
    assert_eq!(outputs[1].iter().copied().collect::<Vec<f64>>(), [2.0, 0.0, 3.0, 0.0, 4.0, 1.0]);
}

#[test]
fn shorthands_mean_their_definitions() {
    let text = "axis i, j, t = N\ninput x[i, j]\ninput on: bool[i, j]
output mean1[i] = mean[j where on](x) - sum[j where on](x) / max(count[j where on], 1)
output none[i] = mean[j where j > i + N](x)
output count1[i] = count[j where j <= i](on) - sum[j](if j <= i and on then 1 else 0)
output prefix[i, j] = cumsum[j where on](x) - sum[t where t <= j and on[i, t]](x[i, t])
output weights = sum[i, j where on](softmax[i, j where on](x)) - (if any[i, j](on) then 1 else 0)
output lse = logsumexp[i, j where on](x) - log(sum[i, j where on](exp(x)))
output power[i, j] = 2 ^ (i - j) - exp(log(2) * (i - j))
output quotient[i, j] = (i - j) div 3 * 3 + (i - j) mod 3 - (i - j)
";
    for n in [1, 4, 9] {
        for output in outputs(text, n) {
            let close = |v: &f64| v.abs() < 1e-12 || v.is_nan() && n == 1;
            assert!(output.iter().all(close), "{output:?} at {n}");
        }
    }
}
