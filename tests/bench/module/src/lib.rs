//! The engine behind five C functions, for the side-by-side bench to call from Python. Private: no stable interface.
//!
//! Owns the border: pointers in, status out, no unwinding across it, every error as text. Must not measure or decide
//! anything. `../engine.py` is its only caller; read that next.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use attnc::{DType, Kernel, Options, TensorView, TensorViewMut};
use attnc_algebra::settings::SettingValue;

mod limits;
mod tensor;

pub use tensor::TensorArg;

/// Where an error's text goes: `capacity` bytes, ended by a zero.
#[repr(C)]
pub struct Message {
    /// The bytes.
    pub text: *mut c_char,
    /// How many there are.
    pub capacity: usize,
}

impl Message {
    /// Writes as much of `text` as there is room for.
    ///
    /// # Safety
    /// `self.text` must point to `self.capacity` bytes that nothing else uses.
    unsafe fn write(&self, text: &str) {
        let room = self.capacity.saturating_sub(1).min(text.len());
        if self.capacity > 0 {
            // SAFETY: `room` is below the capacity that the caller vouches for, and at most the text's length.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr().cast(), self.text, room);
                self.text.add(room).write(0);
            }
        }
    }
}

/// Runs `work`; its error, or its panic, becomes text.
///
/// # Safety
/// As [`Message::write`].
unsafe fn guarded<T>(message: &Message, work: impl FnOnce() -> Result<T, String>) -> Option<T> {
    let text = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(text)) => text,
        Err(_) => "the engine panicked: a defect of attnc".to_string(),
    };
    // SAFETY: the caller vouches for the message.
    unsafe { message.write(&text) };
    None
}

/// A C string as text.
///
/// # Safety
/// `text` must point to bytes that end with a zero and stay unchanged.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, String> {
    // SAFETY: the caller vouches for it.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|e| format!("not UTF-8: {e}"))
}

/// Compiles a spec's text with settings (`name=number` in lines); null on error.
///
/// # Safety
/// The strings must end with a zero, and `message` must have room for what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attnc_bench_compile(
    source: *const c_char,
    settings: *const c_char,
    threads: usize,
    message: &Message,
) -> *mut Kernel {
    let compile = || {
        // SAFETY: the caller vouches for both strings.
        let (source, settings) = unsafe { (text(source)?, text(settings)?) };
        let mut options = Options { threads, ..Options::default() };
        for line in settings.lines() {
            let pair = line.split_once('=').and_then(|(name, value)| Some((name, SettingValue::parse(value)?)));
            let (name, value) = pair.ok_or_else(|| format!("`{line}`: expected NAME=NUMBER"))?;
            options.compiler.settings.set.insert(name.to_string(), value);
        }
        attnc::compile(source, &options).map(|kernel| Box::into_raw(Box::new(kernel))).map_err(|e| describe(&e))
    };
    // SAFETY: the caller vouches for the message.
    unsafe { guarded(message, compile) }.unwrap_or(std::ptr::null_mut())
}

/// A call, prepared once: handing six arguments over takes Python longer than a short kernel runs.
#[repr(C)]
pub struct Call<'a> {
    /// What to run.
    pub kernel: &'a Kernel,
    /// The first of the inputs.
    pub inputs: *const TensorArg,
    /// How many there are.
    pub input_count: usize,
    /// The first of the outputs.
    pub outputs: *const TensorArg,
    /// How many there are.
    pub output_count: usize,
    /// Where an error's text goes.
    pub message: &'a Message,
}

/// Runs a kernel on inputs into outputs. 0 if all went well.
///
/// # Safety
/// The kernel must come from [`attnc_bench_compile`] and not be freed; every tensor must be valid for its type, shape
/// and strides, an output for writing and by nothing else meanwhile; the message must have room for what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attnc_bench_run(call: &Call<'_>) -> i32 {
    let run = || {
        // SAFETY: the caller vouches for the lists and for what they point to.
        let (inputs, mut outputs) = unsafe {
            let (inputs, outputs) = (list(call.inputs, call.input_count), list(call.outputs, call.output_count));
            (views(inputs)?, views_mut(outputs)?)
        };
        call.kernel.run_into(&inputs, &mut outputs).map_err(|e| describe(&e))
    };
    // SAFETY: the caller vouches for the message.
    if unsafe { guarded(call.message, run) }.is_some() { 0 } else { 1 }
}

/// Writes the shape of the kernel's only output for these inputs to `shape`, which has room for 8 extents, and the name
/// of the form that computes it to `form`. Returns the number of axes, or -1.
///
/// # Safety
/// As [`attnc_bench_run`]; `shape` must have the room, and `form` too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attnc_bench_output(
    kernel: &Kernel,
    inputs: *const TensorArg,
    input_count: usize,
    shape: *mut i64,
    form: &Message,
    message: &Message,
) -> i32 {
    let find = || {
        // SAFETY: the caller vouches for the list and for what it points to.
        let inputs = unsafe { views(list(inputs, input_count))? };
        let extents = kernel.extents(&inputs).map_err(|e| describe(&e))?;
        let prepared = kernel.prepare(&extents).map_err(|e| describe(&e))?;
        let outputs = prepared.outputs();
        let [(DType::F32, extents)] = &outputs[..] else {
            return Err("expected one output of f32".to_string());
        };
        if extents.len() > 8 {
            return Err("expected at most 8 axes".to_string());
        }
        for (at, extent) in extents.iter().enumerate() {
            // SAFETY: `at` is below 8, for which the caller vouches.
            unsafe { shape.add(at).write(*extent as i64) };
        }
        // SAFETY: the caller vouches for the message.
        unsafe { form.write(prepared.candidate().name()) };
        Ok(extents.len() as i32)
    };
    // SAFETY: the caller vouches for the message.
    unsafe { guarded(message, find) }.unwrap_or(-1)
}

/// Frees a kernel.
///
/// # Safety
/// `kernel` must come from [`attnc_bench_compile`] and is gone afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attnc_bench_free(kernel: *mut Kernel) {
    if !kernel.is_null() {
        // SAFETY: it came from `Box::into_raw`, and the caller gives it up.
        let kernel = unsafe { Box::from_raw(kernel) };
        // A panic while freeing must not cross the border either; there is nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(kernel)));
    }
}

/// Measures what the machine can do with so many threads; see [`limits::Limits`].
#[unsafe(no_mangle)]
pub extern "C" fn attnc_bench_limits(threads: usize, found: &mut limits::Limits) -> i32 {
    match catch_unwind(|| limits::measure(threads)) {
        Ok(Some(limits)) => {
            *found = limits;
            0
        }
        _ => 1,
    }
}

fn describe(error: &attnc::Error) -> String {
    let Some(diagnostics) = error.diagnostics() else { return error.to_string() };
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// # Safety
/// `first` must be the first of `count` tensors that stay as they are.
unsafe fn list<'a>(first: *const TensorArg, count: usize) -> &'a [TensorArg] {
    // SAFETY: the caller vouches for it.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// # Safety
/// Every tensor must be valid for reading.
unsafe fn views(args: &[TensorArg]) -> Result<Vec<(&str, TensorView<'_>)>, String> {
    // SAFETY: the caller vouches for names and elements.
    args.iter().map(|arg| unsafe { Ok((text(arg.name)?, arg.view()?)) }).collect()
}

/// # Safety
/// Every tensor must be valid for writing, by nothing else meanwhile.
unsafe fn views_mut(args: &[TensorArg]) -> Result<Vec<(&str, TensorViewMut<'_>)>, String> {
    // SAFETY: the caller vouches for names and elements.
    args.iter().map(|arg| unsafe { Ok((text(arg.name)?, arg.view_mut()?)) }).collect()
}
