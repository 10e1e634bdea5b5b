//! The functions of one `f64`: those of the `libm` crate as C functions, nothing of our own.

macro_rules! scalar {
    ($($name:ident($($x:ident),*) $libm:ident)*) => {$(
        /// `libm`'s, bit for bit.
        pub(crate) extern "C" fn $name($($x: f64),*) -> f64 {
            libm::$libm($($x),*)
        }
    )*};
}

scalar! {
    exp(x) exp
    expm1(x) expm1
    log(x) log
    log1p(x) log1p
    tanh(x) tanh
    sin(x) sin
    cos(x) cos
    erf(x) erf
    pow(x, y) pow
}
