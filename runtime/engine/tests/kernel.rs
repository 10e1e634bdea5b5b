//! What an embedder relies on: views of any strides, errors instead of wrong results, equal bits for any thread count,
//! no recompilation inside a row, flat memory.

use attnc::{BindError, Engine, Error, Kernel, Options, Tensor, TensorView, TensorViewMut, compile};
use ndarray::{Array4, s};

const SOFTMAX: &str = "
spec softmax
axis i, j = N
input q[b, h, i, d]
input k[b, h, j, d]
input v[b, h, j, e]
score  = sum[d](q * k) / sqrt(D)
weight = softmax[j where j <= i](score)
output out[b, h, i, e] = sum[j](weight * v)
output lse[b, h, i] = logsumexp[j where j <= i](score)
";

const TABLE: &str = "
spec table
axis i, j = N
input t: i32[i]
input v[j]
output out[i] = v[t[i]]
";

fn kernel(source: &str, threads: usize) -> Kernel {
    compile(source, &Options { threads, ..Options::default() }).expect("the spec is right")
}

fn noise(shape: (usize, usize, usize, usize), seed: u32) -> Array4<f32> {
    let mut state = seed;
    Array4::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn run<'a>(kernel: &Kernel, q: TensorView<'a>, k: TensorView<'a>, v: TensorView<'a>) -> Vec<Tensor> {
    kernel.run(&[("q", q), ("k", k), ("v", v)]).expect("the inputs fit")
}

#[test]
fn kernels_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Kernel>();
    let kernel = kernel(SOFTMAX, 2);
    let (q, k, v) = (noise((1, 2, 65, 8), 1), noise((1, 2, 65, 8), 2), noise((1, 2, 65, 5), 3));
    let expected = run(&kernel, (&q).into(), (&k).into(), (&v).into());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(run(&kernel, (&q).into(), (&k).into(), (&v).into()), expected);
                }
            });
        }
    });
}

#[test]
fn bits_do_not_depend_on_the_thread_count() {
    let (q, k, v) = (noise((2, 3, 130, 16), 4), noise((2, 3, 130, 16), 5), noise((2, 3, 130, 16), 6));
    let one = run(&kernel(SOFTMAX, 1), (&q).into(), (&k).into(), (&v).into());
    for threads in [2, 5] {
        assert_eq!(run(&kernel(SOFTMAX, threads), (&q).into(), (&k).into(), (&v).into()), one);
    }
    // Nor does changing it compile anything.
    let mut changing = kernel(SOFTMAX, 5);
    for threads in [5, 1, 2] {
        changing.set_threads(threads);
        assert_eq!((changing.threads(), run(&changing, (&q).into(), (&k).into(), (&v).into()) == one), (threads, true));
    }
    assert_eq!(changing.compiles(), 1);
}

#[test]
fn views_of_any_strides_give_the_same_bits() {
    let kernel = kernel(SOFTMAX, 1);
    let (q, k, v) = (noise((1, 2, 70, 8), 7), noise((1, 2, 70, 8), 8), noise((1, 2, 70, 6), 9));
    let expected = run(&kernel, (&q).into(), (&k).into(), (&v).into());
    // [b, i, h, d] in memory, seen as [b, h, i, d].
    let transposed = q.view().permuted_axes([0, 2, 1, 3]).as_standard_layout().into_owned();
    let q_view = transposed.view().permuted_axes([0, 2, 1, 3]);
    // Innermost dimension not contiguous.
    let k_columns = k.view().permuted_axes([3, 2, 1, 0]).as_standard_layout().into_owned();
    let k_view = k_columns.view().permuted_axes([3, 2, 1, 0]);
    // Negative strides: stored backwards, seen forwards.
    let v_backwards = v.slice(s![.., .., ..;-1, ..;-1]).as_standard_layout().into_owned();
    let v_view = v_backwards.slice(s![.., .., ..;-1, ..;-1]);
    let got = run(&kernel, (&q_view).into(), (&k_view).into(), (&v_view).into());
    assert_eq!(got, expected);
}

#[test]
fn outputs_may_be_views_of_a_larger_array() {
    let kernel = kernel(SOFTMAX, 2);
    let (q, k, v) = (noise((1, 2, 40, 8), 1), noise((1, 2, 40, 8), 2), noise((1, 2, 40, 6), 3));
    let expected = run(&kernel, (&q).into(), (&k).into(), (&v).into());
    let mut wide = Array4::<f32>::from_elem((1, 2, 42, 16), 7.0);
    let mut lse = ndarray::Array3::<f32>::zeros((1, 2, 40));
    let inputs = [("q", (&q).into()), ("k", (&k).into()), ("v", (&v).into())];
    // Every second column, backwards.
    let mut window = wide.slice_mut(s![.., .., 1..41, 2..14;-2]);
    let mut outputs = [("lse", TensorViewMut::from(&mut lse)), ("out", TensorViewMut::from(&mut window))];
    kernel.run_into(&inputs, &mut outputs).expect("the outputs fit");
    let got = wide.slice(s![.., .., 1..41, 2..14;-2]);
    assert_eq!(TensorView::from(&got).to_tensor(), expected[0]);
    assert_eq!(TensorView::from(&lse).to_tensor(), expected[1]);
    // Canaries around the window are untouched.
    assert!(wide.slice(s![.., .., 0, ..]).iter().chain(wide.slice(s![.., .., 41, ..]).iter()).all(|x| *x == 7.0));
    assert!(wide.slice(s![.., .., .., 14..]).iter().all(|x| *x == 7.0));
    assert!(wide.slice(s![.., .., .., ..2]).iter().all(|x| *x == 7.0));
}

#[test]
fn both_engines_agree() {
    let (q, k, v) = (noise((1, 2, 67, 8), 1), noise((1, 2, 67, 8), 2), noise((1, 2, 67, 3), 3));
    let jit = run(&kernel(SOFTMAX, 1), (&q).into(), (&k).into(), (&v).into());
    let options = Options { engine: Engine::Interpreter, ..Options::default() };
    let interpreter = compile(SOFTMAX, &options).expect("the spec is right");
    let interpreted = run(&interpreter, (&q).into(), (&k).into(), (&v).into());
    for (a, b) in jit.iter().zip(&interpreted) {
        let worst = a.to_f64().iter().zip(b.to_f64()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "engines differ by {worst}");
    }
}

#[test]
fn changing_n_inside_a_row_never_recompiles() {
    let kernel = kernel(SOFTMAX, 1);
    for n in [512, 17, 300, 1, 511] {
        let (q, k, v) = (noise((1, 1, n, 8), 1), noise((1, 1, n, 8), 2), noise((1, 1, n, 8), 3));
        run(&kernel, (&q).into(), (&k).into(), (&v).into());
    }
    assert_eq!(kernel.compiles(), 1);
}

#[test]
fn wrong_arguments_are_typed_errors() {
    let kernel = kernel(SOFTMAX, 1);
    let (q, k, v) = (noise((1, 2, 9, 4), 1), noise((1, 2, 9, 4), 2), noise((1, 2, 9, 4), 3));
    fn view(array: &Array4<f32>) -> TensorView<'_> {
        array.into()
    }
    let bind = |inputs: &[(&str, TensorView<'_>)]| match kernel.run(inputs) {
        Err(Error::Bind(error)) => error,
        other => panic!("a bind error was expected, got {:?}", other.map(|_| ())),
    };
    let all = [("q", view(&q)), ("k", view(&k)), ("v", view(&v))];
    assert!(matches!(bind(&all[..2]), BindError::MissingInput { input, .. } if input == "v"));
    let extra = [all.to_vec(), vec![("w", view(&q))]].concat();
    assert!(matches!(bind(&extra), BindError::UnknownInput { input, .. } if input == "w"));
    let twice = [all.to_vec(), vec![("q", view(&q))]].concat();
    assert!(matches!(bind(&twice), BindError::DuplicateInput { .. }));
    let short = noise((1, 2, 8, 4), 3);
    let error = bind(&[all[0].clone(), all[1].clone(), ("v", view(&short))]);
    assert!(matches!(error, BindError::WrongExtent { found: 8, expected: 9, .. }), "{error}");
    let doubles = q.mapv(f64::from);
    assert!(matches!(bind(&[("q", (&doubles).into()), all[1].clone(), all[2].clone()]), BindError::WrongType { .. }));
    let flat = ndarray::Array1::<f32>::zeros(4);
    assert!(matches!(bind(&[("q", (&flat).into()), all[1].clone(), all[2].clone()]), BindError::WrongRank { .. }));
    let empty = noise((1, 2, 0, 4), 3);
    assert!(matches!(bind(&[("q", view(&empty)), all[1].clone(), all[2].clone()]), BindError::Extents(_)));
}

#[test]
fn an_index_from_a_table_is_checked_against_its_values() {
    let kernel = kernel(TABLE, 1);
    let v = ndarray::arr1(&[10.0f32, 20.0, 30.0]);
    let good = ndarray::arr1(&[2i32, 0, 1]);
    let out = kernel.run(&[("t", (&good).into()), ("v", (&v).into())]).expect("all indices are in range");
    assert_eq!(out[0].to_f64(), [30.0, 10.0, 20.0]);
    for bad in [[2, 3, 0], [0, -1, 0]] {
        let bad = ndarray::arr1(&bad);
        let error = kernel.run(&[("t", (&bad).into()), ("v", (&v).into())]).expect_err("an index is out of range");
        assert!(matches!(error, Error::Bind(BindError::Index(_))), "{error}");
    }
}

#[test]
fn outputs_must_not_alias() {
    let kernel = kernel("spec copy\ninput x[i]\noutput y[i] = x + 1", 1);
    let x = ndarray::arr1(&[1.0f32, 2.0]);
    let mut y = ndarray::Array1::<f32>::zeros(2);
    kernel.run_into(&[("x", (&x).into())], &mut [("y", (&mut y).into())]).expect("apart");
    assert_eq!(y, ndarray::arr1(&[2.0, 3.0]));
    let wrong = kernel.run_into(&[("x", (&x).into())], &mut [("z", (&mut y).into())]);
    assert!(matches!(wrong, Err(Error::Bind(BindError::WrongOutputs { .. }))));
}

#[test]
fn a_cache_returns_the_kernel_it_holds() {
    let cache = attnc::KernelCache::new(2);
    let options = Options::default();
    let first = cache.compile(SOFTMAX, &options).expect("the spec is right");
    let again = cache.compile(SOFTMAX, &options).expect("the spec is right");
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    let other = Options { threads: 1, ..Options::default() };
    assert!(!std::sync::Arc::ptr_eq(&first, &cache.compile(SOFTMAX, &other).expect("the spec is right")));
    cache.compile(TABLE, &options).expect("the spec is right");
    assert_eq!(cache.len(), 2, "the oldest is dropped");
}

#[test]
fn half_precision_and_doubles_run_in_their_types() {
    let text = SOFTMAX.replace("q[", "q: bf16[").replace("k[", "k: bf16[").replace("v[", "v: f16[");
    let kernel = kernel(&text, 1);
    let (q, k) =
        (noise((1, 2, 33, 8), 1).mapv(half::bf16::from_f32), noise((1, 2, 33, 8), 2).mapv(half::bf16::from_f32));
    let v = noise((1, 2, 33, 6), 3).mapv(half::f16::from_f32);
    let got = kernel.run(&[("q", (&q).into()), ("k", (&k).into()), ("v", (&v).into())]).expect("the inputs fit");
    let plain = self::kernel(SOFTMAX, 1);
    let (q, k, v) = (q.mapv(f32::from), k.mapv(f32::from), v.mapv(f32::from));
    let expected = run(&plain, (&q).into(), (&k).into(), (&v).into());
    for (a, b) in got[0].to_f64().iter().zip(expected[0].to_f64()) {
        assert!((a - b).abs() < 1e-2, "{a} against {b}");
    }
}

#[test]
fn compiling_and_dropping_keeps_memory_flat() {
    fn resident_kib() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
    let q = noise((1, 1, 5, 4), 1);
    let cycle = || {
        let kernel = kernel(SOFTMAX, 1);
        run(&kernel, (&q).into(), (&q).into(), (&q).into());
    };
    (0..20).for_each(|_| cycle());
    let Some(before) = resident_kib() else { return };
    (0..200).for_each(|_| cycle());
    let grown = resident_kib().unwrap_or(0).saturating_sub(before);
    assert!(grown < 4096, "200 compile-and-drop cycles grew memory by {grown} KiB");
}
