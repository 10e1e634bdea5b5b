//! Wrong and hostile input: texts that would exhaust a careless compiler, tensors that do not fit, data that is not
//! finite. Each gives a typed error or the defined result, in bounded time.

use attnc::{BindError, DType, Engine, Error, Kernel, Options, Tensor, TensorView, compile};
use attnc_algebra::{Diagnostic, Limits, SettingValue, Settings};
use attnc_compiler::extents::{by_number, defaults};
use attnc_compiler::{Analysis, CompileError, Unobserved};
use attnc_tests::corpus;
use ndarray::{ArrayD, IxDyn};

const SPEC: &str = "spec x
axis i, j = N
input q[b, h, i, d]
input k[b, h, j, d]
input v[b, h, j, e]
score = sum[d](q * k) / sqrt(D)
output out[b, h, i, e] = sum[j](softmax[j where j < i](score) * v)
output lse[b, h, i] = logsumexp[j where j < i](score)
";

/// The codes of a text's diagnostics.
fn codes(text: &str, settings: &Settings) -> Vec<&'static str> {
    match attnc_algebra::compile_text(text, settings) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.iter().map(|d: &Diagnostic| d.code).collect(),
    }
}

/// A spec whose output is this expression, over q and k.
fn with_output(expression: &str) -> String {
    format!("spec x\naxis i, j = N\ninput q[i, d]\ninput k[j, d]\noutput out[i] = {expression}\n")
}

const DEEP: usize = 100_000;

#[test]
fn deep_nesting_is_refused() {
    let nested = [
        ("(", "1", ")"),
        ("-", "1", ""),
        ("not ", "true", ""),
        ("sum[j](", "1", ")"),
        ("exp(", "1", ")"),
        ("if true then 1 else ", "2", ""),
        ("2 ^ ", "2", ""),
        ("max(1, ", "2", ")"),
        ("q[i, d * ", "1", "]"),
        ("iterate 2 (z = 1) { ", "z", " }"),
    ];
    for (open, core, close) in nested {
        let text = with_output(&format!("{}{core}{}", open.repeat(DEEP), close.repeat(DEEP)));
        let found = codes(&text, &Settings::default());
        assert!(!found.is_empty(), "`{open}` nested is refused");
    }
    for unclosed in ["(", "[", "{", "sum[j where ("] {
        assert!(!codes(&with_output(&unclosed.repeat(DEEP)), &Settings::default()).is_empty(), "`{unclosed}`");
    }
}

#[test]
fn long_chains_are_refused_or_compiled() {
    let operands = with_output(&format!("sum[j](sum[d](q * k)) + {}", vec!["1"; DEEP].join(" + ")));
    assert_eq!(codes(&operands, &Settings::default()), Vec::<&str>::new());
    let mut definitions = String::from("spec x\naxis i, j = N\ninput q[i, d]\na0 = sum[d](q)\n");
    (1..5_000).for_each(|at| definitions.push_str(&format!("a{at} = exp(a{})\n", at - 1)));
    definitions.push_str("output out[i] = a4999\n");
    assert_eq!(codes(&definitions, &Settings::default()), ["spec-too-large"]);
}

#[test]
fn doubling_functions_do_not_explode() {
    let mut text = String::from("spec x\naxis i = N\ninput q[i]\nf0(x) = x + 1\n");
    (1..64).for_each(|at| text.push_str(&format!("f{at}(x) = f{}(f{}(x)) * f{}(x + {at})\n", at - 1, at - 1, at - 1)));
    text.push_str("output out[i] = f63(q)\n");
    assert_eq!(codes(&text, &Settings::default()), ["spec-too-large"]);
}

#[test]
fn a_text_of_fifty_megabytes_is_refused_or_read() {
    let comments = "# nothing to see here, and yet it goes on\n".repeat(50_000_000 / 42);
    let text = format!("{comments}{SPEC}");
    assert_eq!(codes(&text, &Settings::default()), ["source-too-large"]);
    let limits = Limits { source_bytes: 100_000_000, ..Limits::default() };
    assert_eq!(codes(&text, &Settings { limits, ..Settings::default() }), Vec::<&str>::new());
    let statements = format!("{SPEC}{}", "a = q * k + 1\n".repeat(50_000_000 / 14));
    assert!(codes(&statements, &Settings { limits, ..Settings::default() }).len() <= limits.diagnostics + 1);
}

#[test]
fn texts_that_are_no_specs_are_refused() {
    let texts = ["", "\n\n", "\0", "spec", "🦀", "\u{feff}", "input", "output out[", "spec x spec y", "]]]", "= = ="];
    for text in texts {
        assert!(!codes(text, &Settings::default()).is_empty(), "{text:?}");
    }
}

#[test]
fn cut_and_doubled_specs_never_panic() {
    for spec in corpus::all() {
        let words: Vec<&str> = spec.text.split_inclusive(char::is_whitespace).collect();
        for at in (0..words.len()).step_by(9) {
            let without: String = words.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, w)| *w).collect();
            let doubled: String = words[..at].concat() + words[at] + " " + &words[at..].concat();
            let cut = words[..at].concat();
            for text in [without, doubled, cut] {
                match attnc_algebra::compile_text(&text, &Settings::default()) {
                    Ok(_) => plans_or_says_why(&text),
                    Err(diagnostics) => {
                        let shown = attnc_algebra::render("spec", &text, &diagnostics);
                        assert!(shown.contains("error["), "{text}");
                    }
                }
            }
        }
    }
}

/// Numbers below `n`, the same on every machine.
fn below(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) % n.max(1) as u64) as usize
}

/// Words, numbers and single signs of a text; spaces apart.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let kind = |c: char| if c.is_alphanumeric() || c == '_' { 0 } else { 1 + u32::from(c) };
    for c in text.chars() {
        match out.last_mut() {
            Some(last) if last.chars().next().is_some_and(|first| kind(first) == 0 && kind(c) == 0) => last.push(c),
            _ => out.push(c.to_string()),
        }
    }
    out
}

/// Texts of each spec with some tokens exchanged, by others of any spec.
const EDITED: usize = 24;

#[test]
fn edited_specs_never_panic() {
    let specs: Vec<Vec<String>> = corpus::all().iter().map(|spec| tokens(&spec.text)).collect();
    let pool: Vec<&String> = specs.iter().flatten().filter(|t| !t.trim().is_empty()).collect();
    let (mut state, mut sound) = (1, 0);
    for spec in &specs {
        for _ in 0..EDITED {
            let mut text = spec.clone();
            for _ in 0..=below(&mut state, 3) {
                let at = below(&mut state, text.len());
                let other = pool[below(&mut state, pool.len())].clone();
                match below(&mut state, 4) {
                    0 => text[at] = other,
                    1 => text.insert(at, other),
                    2 => drop(text.remove(at)),
                    _ => {
                        let with = below(&mut state, text.len());
                        text.swap(at, with);
                    }
                }
            }
            let text = text.concat();
            match attnc_algebra::compile_text(&text, &Settings::default()) {
                Ok(_) => {
                    sound += 1;
                    plans_or_says_why(&text);
                }
                Err(diagnostics) => assert!(attnc_algebra::render("spec", &text, &diagnostics).contains("error[")),
            }
        }
    }
    assert!(sound > specs.len(), "only {sound} edited texts are specs");
}

/// Each round multiplies with itself what the one before came to.
#[test]
fn factors_of_rounds_are_not_written_out() {
    let text = "spec rounds\naxis i, j = N\ninput q[i, d]\ninput k[j, d]\nbend(x) = x * x / (2 - tanh(x))\n\
                output out[i] = max[j](iterate 40 (z = tanh(sum[d](q * k) / 8)) { bend(z) / 2 })";
    plans_or_says_why(text);
}

/// Plans a spec that may mean something odd; a defect of attnc is not among the reasons not to.
fn plans_or_says_why(text: &str) {
    let plan = || -> Result<(), CompileError> {
        let analysis = Analysis::new(text, &attnc_compiler::Options::default(), &mut Unobserved)?;
        let extents = defaults(analysis.spec(), &Settings::default());
        analysis.plan(&analysis.extract(&extents)?, &extents).map(|_| ())
    };
    let outcome = std::panic::catch_unwind(plan).unwrap_or_else(|_| panic!("a panic, shown above\n{text}"));
    if let Err(error) = outcome {
        assert!(!error.is_internal(), "{error}\n{text}");
    }
}

fn options(engine: Engine) -> Options {
    Options { engine, threads: 1, ..Options::default() }
}

fn kernel(text: &str, engine: Engine) -> Kernel {
    compile(text, &options(engine)).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

const ENGINES: [Engine; 2] = [Engine::Jit, Engine::Interpreter];

/// A tensor of small values that differ.
fn tensor(shape: &[usize]) -> Tensor {
    let volume = shape.iter().product::<usize>();
    Tensor::f32(shape, (0..volume).map(|at| ((at * 37 % 101) as f32 - 50.0) / 50.0).collect()).expect("the volume")
}

fn run(kernel: &Kernel, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, Error> {
    let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(name, t)| (*name, TensorView::from(*t))).collect();
    kernel.run(&views)
}

fn refusal(kernel: &Kernel, inputs: &[(&str, &Tensor)]) -> BindError {
    match run(kernel, inputs) {
        Err(Error::Bind(error)) => error,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    for engine in ENGINES {
        let kernel = kernel(SPEC, engine);
        let good = tensor(&[1, 2, 5, 4]);
        let doubled = Tensor::zeros(DType::F64, vec![1, 2, 5, 4]).expect("small");
        let (flat, longer, none) = (tensor(&[2, 5, 4]), tensor(&[1, 2, 6, 4]), tensor(&[1, 2, 0, 4]));
        let refused = |q: &Tensor| refusal(&kernel, &[("q", q), ("k", &good), ("v", &good)]);
        assert!(matches!(refused(&doubled), BindError::WrongType { .. }));
        assert!(matches!(refused(&flat), BindError::WrongRank { .. }));
        assert!(matches!(refused(&longer), BindError::WrongExtent { .. }));
        assert!(matches!(refused(&none), BindError::WrongExtent { .. } | BindError::Extents(_)));
        let missing = refusal(&kernel, &[("q", &good), ("k", &good)]);
        assert!(matches!(missing, BindError::MissingInput { ref input, .. } if input == "v"));
        let all = [("q", &good), ("k", &good), ("v", &good), ("w", &good)];
        assert!(matches!(refusal(&kernel, &all), BindError::UnknownInput { .. }));
        let twice = [("q", &good), ("q", &good), ("k", &good), ("v", &good)];
        assert!(matches!(refusal(&kernel, &twice), BindError::DuplicateInput { .. }));
        let empty = [("q", &none), ("k", &none), ("v", &none)];
        assert!(run(&kernel, &empty).is_err(), "N = 0");
    }
}

#[test]
fn tables_that_lead_outside_are_refused() {
    let text = "spec x\naxis i, j = N\ninput t: i32[i]\ninput v[j, e]\noutput out[i, e] = v[t[i], e]\n";
    for engine in ENGINES {
        let kernel = kernel(text, engine);
        let v = tensor(&[3, 2]);
        for bad in [[0, 1, 3], [-1, 0, 0], [0, i32::MAX, 0], [i32::MIN, 0, 0]] {
            let table = Tensor::from_f64(DType::I32, vec![3], &bad.map(f64::from)).expect("three");
            assert!(matches!(refusal(&kernel, &[("t", &table), ("v", &v)]), BindError::Index(_)), "{bad:?}");
        }
        let table = Tensor::from_f64(DType::I32, vec![3], &[2.0, 0.0, 1.0]).expect("three");
        let out = run(&kernel, &[("t", &table), ("v", &v)]).expect("in range");
        assert_eq!(out[0].get_f64(0), v.get_f64(4));
    }
}

#[test]
fn declarations_are_checked_against_values() {
    let text = "spec x\nrequire N mod 2 == 0\naxis i = N\ninput doc: i32[i] runs 2\ninput g[i] in 0 .. 1\n\
                output out[i] = g * doc\n";
    let kernel = kernel(text, Engine::Jit);
    let doc = |v: &[f64]| Tensor::from_f64(DType::I32, vec![v.len()], v).expect("as many");
    let gate = |v: &[f32]| Tensor::f32(&[v.len()], v.to_vec()).expect("as many");
    let refused = |d: &[f64], g: &[f32]| refusal(&kernel, &[("doc", &doc(d)), ("g", &gate(g))]);
    assert!(matches!(refused(&[0.0, 1.0, 1.0], &[0.0; 3]), BindError::RequireFailed { .. }));
    assert!(matches!(refused(&[1.0, 0.0], &[0.0; 2]), BindError::NotSorted { .. }));
    assert!(matches!(refused(&[0.0, 0.0], &[0.5, 1.5]), BindError::OutOfRange { .. }));
    assert!(matches!(refused(&[0.0, 0.0], &[0.5, f32::NAN]), BindError::OutOfRange { .. }));
}

#[test]
fn sizes_beyond_the_address_space_are_refused() {
    for (name, value) in [("D", i64::MAX), ("N", 1 << 62), ("N", -1)] {
        let mut options = options(Engine::Jit);
        options.compiler.settings.set.insert(name.to_string(), SettingValue::Int(value));
        let good = tensor(&[1, 2, 5, 4]);
        let outcome = compile(SPEC, &options).and_then(|k| run(&k, &[("q", &good), ("k", &good), ("v", &good)]));
        assert!(outcome.is_err(), "{name} = {value}");
    }
}

#[test]
fn a_row_without_keys_gives_zero() {
    for engine in ENGINES {
        let inputs = [tensor(&[1, 1, 3, 4]), tensor(&[1, 1, 3, 4]), tensor(&[1, 1, 3, 2])];
        let named = [("q", &inputs[0]), ("k", &inputs[1]), ("v", &inputs[2])];
        let outputs = run(&kernel(SPEC, engine), &named).expect("it runs");
        // Query 0 sees no key before it; query 1 sees key 0 alone.
        assert_eq!(outputs[0].to_f64()[..2], [0.0, 0.0]);
        assert_eq!(outputs[0].to_f64()[2..4], inputs[2].to_f64()[..2]);
        assert_eq!(outputs[1].get_f64(0), f64::NEG_INFINITY);
    }
}

#[test]
fn what_is_not_finite_stays_where_it_is_seen() {
    let (n, d) = (70, 8);
    for (bad, engine) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().zip(ENGINES.into_iter().cycle()) {
        let kernel = kernel(SPEC, engine);
        let clean: Vec<Tensor> = (0..3).map(|_| tensor(&[1, 1, n, d])).collect();
        let before = run(&kernel, &[("q", &clean[0]), ("k", &clean[1]), ("v", &clean[2])]).expect("it runs");
        // Key and value 40 are seen by queries 41 and later, and by no other.
        let spoilt = |at: usize| {
            let mut elements: Vec<f32> = clean[at].to_f64().iter().map(|x| *x as f32).collect();
            elements[40 * d..41 * d].fill(bad);
            Tensor::f32(&[1, 1, n, d], elements).expect("as many")
        };
        let (k, v) = (spoilt(1), spoilt(2));
        let after = run(&kernel, &[("q", &clean[0]), ("k", &k), ("v", &v)]).expect("it runs");
        for row in 0..=40 {
            let at = row * d..(row + 1) * d;
            assert_eq!(after[0].to_f64()[at.clone()], before[0].to_f64()[at], "row {row} with {bad} in {engine:?}");
        }
    }
}

#[test]
fn a_query_that_is_not_finite_spoils_its_own_row_only() {
    let (n, d) = (70, 8);
    for engine in ENGINES {
        let kernel = kernel(SPEC, engine);
        let clean = tensor(&[1, 1, n, d]);
        let before = run(&kernel, &[("q", &clean), ("k", &clean), ("v", &clean)]).expect("it runs");
        let mut elements: Vec<f32> = clean.to_f64().iter().map(|x| *x as f32).collect();
        elements[40 * d] = f32::NAN;
        let q = Tensor::f32(&[1, 1, n, d], elements).expect("as many");
        let after = run(&kernel, &[("q", &q), ("k", &clean), ("v", &clean)]).expect("it runs");
        for row in (0..n).filter(|row| *row != 40) {
            let at = row * d..(row + 1) * d;
            assert_eq!(after[0].to_f64()[at.clone()], before[0].to_f64()[at], "row {row} in {engine:?}");
        }
        assert!(after[0].to_f64()[40 * d..41 * d].iter().all(|x| !x.is_finite()), "row 40 in {engine:?}");
    }
}

#[test]
fn a_broadcast_view_is_an_input_like_any_other() {
    let (n, d) = (33, 8);
    let one = ArrayD::from_shape_fn(IxDyn(&[1, 1, n, d]), |at| ((at[2] * 7 + at[3] * 3) % 11) as f32 / 11.0);
    let wide = one.broadcast(IxDyn(&[2, 3, n, d])).expect("it broadcasts");
    let copied = wide.to_owned();
    for engine in ENGINES {
        let kernel = kernel(SPEC, engine);
        let run = |x: TensorView<'_>| kernel.run(&[("q", x.clone()), ("k", x.clone()), ("v", x)]).expect("it runs");
        let (repeated, whole) = (run(TensorView::F32(wide.view())), run(TensorView::F32(copied.view())));
        assert_eq!(repeated[0].to_f64(), whole[0].to_f64(), "{engine:?}");
    }
}

/// A published spec's text.
fn published(name: &str) -> String {
    let specs = corpus::published();
    specs.into_iter().find(|s| s.name() == name).unwrap_or_else(|| panic!("{name}")).text
}

/// A tensor whose elements are all the same.
fn constant(shape: &[usize], value: f32) -> Tensor {
    Tensor::f32(shape, vec![value; shape.iter().product()]).expect("the volume")
}

/// Whether two outputs differ by no more than f32 may.
fn assert_close(found: &Tensor, expected: &[f64], what: &str) {
    for (f, e) in found.to_f64().iter().zip(expected) {
        assert!((f - e).abs() <= 1e-5 * (1.0 + e.abs()), "{what}: {f} against {e}");
    }
}

#[test]
fn more_clusters_than_positions_and_equal_keys_are_the_defined_result() {
    let text = published("cluster/kmeans");
    for engine in ENGINES {
        let kernel = kernel(&text, engine);
        // Seven keys, forty clusters, most of them empty; and all keys in one cluster, where attention is dense.
        for (c, k) in [(40, tensor(&[1, 1, 7, 4])), (3, constant(&[1, 1, 7, 4], 0.25))] {
            let (q, v, centre) = (tensor(&[1, 1, 7, 4]), tensor(&[1, 1, 7, 2]), tensor(&[1, c, 4]));
            let found = run(&kernel, &[("q", &q), ("k", &k), ("v", &v), ("centre", &centre)]).expect("it runs");
            assert!(found[0].to_f64().iter().all(|x| x.is_finite()), "{c} clusters on {engine:?}");
        }
        let (k, v) = (constant(&[1, 1, 7, 4], 0.25), tensor(&[1, 1, 7, 2]));
        let centre = tensor(&[1, 3, 4]);
        let found = run(&kernel, &[("q", &k), ("k", &k), ("v", &v), ("centre", &centre)]).expect("it runs");
        let mean = |e: usize| (0..7).map(|j| v.get_f64(2 * j + e)).sum::<f64>() / 7.0;
        let expected: Vec<f64> = (0..14).map(|at| mean(at % 2)).collect();
        assert_close(&found[0], &expected, "equal keys");
    }
}

#[test]
fn more_places_than_positions_are_all_of_them() {
    let (q, k, v, centre) = (tensor(&[1, 1, 5, 4]), tensor(&[1, 1, 5, 4]), tensor(&[1, 1, 5, 2]), tensor(&[1, 9, 4]));
    let all = "spec x\naxis i, j = N\ninput q[b, h, i, d]\ninput k[b, h, j, d]\ninput v[b, h, j, e]\n\
               output out[b, h, i, e] = sum[j](softmax[j](sum[d](q * k) / sqrt(D)) * v)\n";
    for engine in ENGINES {
        let inputs = [("q", &q), ("k", &k), ("v", &v)];
        let dense = run(&kernel(all, engine), &inputs).expect("it runs");
        let found = run(&kernel(&published("cluster/topk"), engine), &inputs).expect("it runs");
        assert_close(&found[0], &dense[0].to_f64(), "top 32 of 5");
        let routed = kernel(&published("cluster/routing"), engine);
        let inputs = [("q", &q), ("k", &k), ("v", &v), ("centre", &centre)];
        assert!(run(&routed, &inputs).expect("it runs")[0].to_f64().iter().all(|x| x.is_finite()));
    }
}

#[test]
fn ranks_place_nan_last() {
    let text = "spec x\naxis i, j = N\ninput x[j]\noutput place[j] = rank[j](x)\n";
    for engine in ENGINES {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let x = Tensor::f32(&[7], vec![1.0, nan, inf, 1.0, -inf, nan, 2.0]).expect("seven");
        let found = run(&kernel(text, engine), &[("x", &x)]).expect("it runs");
        assert_eq!(found[0].to_f64(), [2.0, 5.0, 0.0, 3.0, 4.0, 6.0, 1.0], "{engine:?}");
    }
}

#[test]
fn repetitions_are_counted_before_they_are_made() {
    let repeated = |n: &str| with_output(&format!("iterate {n} (z = sum[d](q)) {{ sin(z) }}"));
    assert_eq!(codes(&repeated("1000000"), &Settings::default()), ["iteration-count"]);
    assert_eq!(codes(&repeated("(-1)"), &Settings::default()), ["iteration-count"]);
    let limits = Limits { iterations: 1_000_000, ..Limits::default() };
    assert_eq!(codes(&repeated("1000000"), &Settings { limits, ..Settings::default() }), ["spec-too-large"]);
    let q = tensor(&[3, 2]);
    let k = tensor(&[3, 2]);
    for engine in ENGINES {
        let found = run(&kernel(&repeated("0"), engine), &[("q", &q), ("k", &k)]);
        let expected: Vec<f64> = (0..3).map(|i| q.get_f64(2 * i) + q.get_f64(2 * i + 1)).collect();
        assert_close(&found.expect("it runs")[0], &expected, "no repetition");
    }
}

#[test]
fn joined_axes_must_fit() {
    let text = |extent: &str| {
        format!(
            "spec x\naxis j = {extent}\ninput a[u, d]\ninput c[w, d]\nz = concat[j](a[u], c[w])\n\
             output out[d] = sum[j](z)\n"
        )
    };
    assert_eq!(codes(&text("2 * U + W"), &Settings::default()), Vec::<&str>::new());
    let (a, c) = (tensor(&[2, 3]), tensor(&[4, 3]));
    for engine in ENGINES {
        let refused = refusal(&kernel(&text("2 * U + W"), engine), &[("a", &a), ("c", &c)]);
        assert!(matches!(refused, BindError::RequireFailed { .. }), "{refused}");
        let found = run(&kernel(&text("U + W"), engine), &[("a", &a), ("c", &c)]).expect("it runs");
        let sum = |d: usize| {
            (0..2).map(|u| a.get_f64(3 * u + d)).sum::<f64>() + (0..4).map(|w| c.get_f64(3 * w + d)).sum::<f64>()
        };
        assert_close(&found[0], &[sum(0), sum(1), sum(2)], "joined");
    }
}

#[test]
fn products_of_extents_that_overflow_are_refused() {
    let text = "spec x\naxis i = N * N * N * N\naxis j = N\ninput q[j]\noutput out[i] = sum[j](q) + i\n";
    let q = tensor(&[1 << 17]);
    for engine in ENGINES {
        let outcome = compile(text, &options(engine)).and_then(|kernel| run(&kernel, &[("q", &q)]));
        assert!(outcome.is_err(), "{engine:?}");
    }
}

#[test]
fn extents_that_lengths_make_negative_are_refused() {
    for extent in ["-N", "N - 5"] {
        let text = format!(
            "spec x\naxis i, j = {extent}\ninput q[i, d]\ninput k[j, d]\ninput doc: i64[j] runs 9\ninput v[j, e]\n\
             output out[i, e] = sum[j](softmax[j where doc[i] == doc[j]](sum[d](q * k)) * v)\n"
        );
        let analysis = Analysis::new(&text, &attnc_compiler::Options::default(), &mut Unobserved).expect("a spec");
        for n in [3, 16] {
            let extents = defaults(analysis.spec(), &Settings::default().with("N", n));
            let plan = analysis.choose(&extents).and_then(|candidate| analysis.plan(&candidate, &extents));
            let plan = plan.expect("a plan, which serves other lengths");
            plan.predict(&by_number(analysis.spec(), &extents), &analysis.options().profile);
        }
        let drawn = attnc_algebra::draw_inputs(
            analysis.spec(),
            &defaults(analysis.spec(), &Settings::default().with("N", 3)),
            1,
        );
        let found = drawn.expect_err("nothing to draw").to_string();
        assert!(found.contains("axis `i` has extent -"), "{found}");
    }
}

#[test]
fn keys_may_be_any_integer() {
    let text = "spec x\naxis i, j = N\ninput key: i64[j]\ninput v[j, e]\n\
                output out[i, e] = sum[j](softmax[j where key[i] == key](1) * v)\n";
    for engine in ENGINES {
        let keys = [i64::MIN, -1, i64::MAX, -1, 0, i64::MIN];
        let key = Tensor::new(vec![6], attnc_algebra::Data::I64(keys.to_vec())).expect("six");
        let v = tensor(&[6, 2]);
        let found = run(&kernel(text, engine), &[("key", &key), ("v", &v)]).expect("it runs");
        let mean = |i: usize, e: usize| {
            let same: Vec<usize> = (0..6).filter(|j| keys[*j] == keys[i]).collect();
            same.iter().map(|j| v.get_f64(2 * j + e)).sum::<f64>() / same.len() as f64
        };
        let expected: Vec<f64> = (0..12).map(|at| mean(at / 2, at % 2)).collect();
        assert_close(&found[0], &expected, "equal keys");
    }
}

#[test]
fn tables_of_length_zero_are_refused() {
    let text = "spec x\naxis i, j = N\ninput t: i32[u]\ninput v[j]\noutput out[i] = sum[u](v[t])\n";
    let v = tensor(&[3]);
    let none = Tensor::from_f64(DType::I32, vec![0], &[]).expect("empty");
    for engine in ENGINES {
        let refused = refusal(&kernel(text, engine), &[("t", &none), ("v", &v)]);
        assert!(matches!(refused, BindError::WrongExtent { .. } | BindError::Extents(_)), "{refused}");
    }
}
