//! Text with tables of any values: what binds is run by the interpreter and as machine code. Neither panics nor reads
//! outside; both refuse the same.

#![no_main]

mod common;

use attnc::{Engine, Error, Kernel, Options, Tensor, TensorView};
use attnc_algebra::{DType, Spec};
use attnc_compiler::extents::defaults;
use libfuzzer_sys::fuzz_target;

/// Elements of all inputs and positions of the spec's axes, at most.
const VOLUME: i64 = 20_000;

/// Values that tables have hard times with.
const HARD: [f64; 12] =
    [0.0, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30, 9.2e18, -9.3e18, 0.5];

fn inputs(spec: &Spec, settings: &attnc_algebra::Settings, bytes: &[u8]) -> Option<Vec<Tensor>> {
    let extents = defaults(spec, settings);
    let whole: i64 = (0..spec.axes.len() as u32)
        .map(|at| spec.eval_extent(spec.axis(attnc_algebra::AxisId(at)).extent, &extents).unwrap_or(i64::MAX))
        .try_fold(1i64, |all, extent| all.checked_mul(extent.max(1)).filter(|v| *v <= VOLUME))?;
    let _ = whole;
    let mut bytes = bytes.iter().copied().chain([0, 1, 2, 5, 17]).cycle().take(1 << 20);
    let one = |input: &attnc_algebra::Input| {
        let extent = |axis| spec.eval_extent(spec.axis(axis).extent, &extents).filter(|e| *e >= 0);
        let shape: Option<Vec<usize>> = input.axes.iter().map(|a| extent(*a).map(|e| e as usize)).collect();
        let shape = shape?;
        let volume: usize = shape.iter().try_fold(1usize, |v, e| v.checked_mul(*e)).filter(|v| *v <= VOLUME as usize)?;
        let mut draw = |_| {
            let byte = bytes.next().unwrap_or(0);
            if byte >= 244 { HARD[usize::from(byte - 244)] } else { f64::from(byte % 16) - 2.0 }
        };
        let values: Vec<f64> = (0..volume).map(&mut draw).collect();
        Tensor::from_f64(input.dtype, shape, &values).ok()
    };
    spec.inputs.iter().map(one).collect()
}

fn run(kernel: &Kernel, spec: &Spec, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    let named: Vec<(&str, TensorView<'_>)> =
        spec.inputs.iter().map(|i| i.name.as_str()).zip(inputs.iter().map(TensorView::from)).collect();
    kernel.run(&named)
}

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..cut]) else { return };
    let Some((spec, settings)) = common::checked(text) else { return };
    let Some(inputs) = inputs(&spec, &settings, &data[cut..]) else { return };
    let ran = [Engine::Interpreter, Engine::Jit].map(|engine| {
        let mut options = Options { engine, threads: 1, ..Options::default() };
        options.compiler.settings = settings.clone();
        options.compiler.limits.nodes = 400;
        attnc::compile(text, &options).and_then(|kernel| run(&kernel, &spec, &inputs))
    });
    match &ran {
        [Ok(a), Ok(b)] => {
            // Decisions are the same bits; reals are compared by other tests, under inputs that are well behaved.
            for (x, y) in a.iter().zip(b).filter(|(x, _)| !matches!(x.dtype(), DType::F32 | DType::F64)) {
                assert_eq!(x.to_f64(), y.to_f64());
            }
        }
        [Err(Error::Bind(_)), Err(Error::Bind(_))] => {}
        [Err(a), Err(b)] => assert_eq!(a.to_string(), b.to_string()),
        [a, b] => panic!("the engines disagree: {:?} and {:?}", a.as_ref().err(), b.as_ref().err()),
    }
});
