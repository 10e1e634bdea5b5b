//! A warm call into the caller's outputs allocates nothing. A file of its own: the allocator counts for the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use attnc::{Options, TensorView, TensorViewMut, compile};
use ndarray::{Array2, Array4};

/// Counts what is asked of the system's allocator, by any thread.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that every call makes once the first has been. The least of some calls, since threads of the pool start
/// in their own time and allocate as they do.
fn allocations(mut call: impl FnMut()) -> usize {
    call();
    let mut count = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        call();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..8).map(|_| count()).min().unwrap_or(0)
}

const INPUTS: &str = "input q[b, h, i, d]\ninput k[b, h, j, d]\ninput v[b, h, j, e]\naxis i, j = N\n";

fn ramp(shape: (usize, usize, usize, usize)) -> Array4<f32> {
    let mut next = 0u32;
    Array4::from_shape_simple_fn(shape, || {
        next = (next * 75 + 74) % 65_537;
        next as f32 / 32_768.0 - 1.0
    })
}

// One test: the count is of the process, and tests of one file run at the same time.
#[test]
fn a_warm_call_allocates_nothing() {
    let softmax = format!("{INPUTS}output out[b, h, i, e] = sum[j](softmax[j](sum[d](q * k) / sqrt(D)) * v)");
    let linear = format!("{INPUTS}output out[b, h, i, e] = sum[j where j <= i](sum[d](exp(q) * exp(k)) * v)");
    let documents = format!(
        "{INPUTS}input doc: i32[b, j] runs 8\n\
         output out[b, h, i, e] = sum[j](softmax[j where doc[b, i] == doc[b, j] and j <= i](sum[d](q * k)) * v)"
    );
    let table = format!(
        "{INPUTS}input pick: i32[h, i]\n\
         output out[b, h, i, e] = sum[j](softmax[j](sum[d](q * k[b, h, pick[h, j], d])) * v)"
    );
    for (heads, n, threads) in [(1, 16, 1), (2, 70, 1), (2, 70, 2)] {
        let (q, k, v) = (ramp((1, heads, n, 8)), ramp((1, heads, n, 8)), ramp((1, heads, n, 8)));
        let doc = Array2::from_shape_fn((1, n), |(_, j)| (j / 9) as i32);
        let pick = Array2::from_shape_fn((heads, n), |(_, j)| (j / 2) as i32);
        let mut out = Array4::<f32>::zeros((1, heads, n, 8));
        for text in [&softmax, &linear, &documents, &table] {
            let kernel = compile(text, &Options { threads, ..Options::default() }).expect("the spec is right");
            let mut inputs: Vec<(&str, TensorView<'_>)> =
                vec![("q", (&q).into()), ("k", (&k).into()), ("v", (&v).into())];
            if text.contains("doc") {
                inputs.push(("doc", (&doc).into()));
            }
            if text.contains("pick") {
                inputs.push(("pick", (&pick).into()));
            }
            let count = allocations(|| {
                let outputs = &mut [("out", TensorViewMut::from(&mut out))];
                kernel.run_into(&inputs, outputs).expect("the tensors fit");
            });
            assert_eq!(count, 0, "{threads} threads, N = {n}: {text}");
            // Stored along other axes: what has to be copied is copied into memory that is kept.
            let turned = k.t().as_standard_layout().into_owned();
            let mut back = out.t().as_standard_layout().into_owned();
            let turned = turned.t();
            inputs[1].1 = TensorView::from(&turned);
            let count = allocations(|| {
                let mut view = back.view_mut().reversed_axes();
                let outputs = &mut [("out", TensorViewMut::from(&mut view))];
                kernel.run_into(&inputs, outputs).expect("the tensors fit");
            });
            assert_eq!(count, 0, "{threads} threads, N = {n}, other strides: {text}");
        }
    }
}
