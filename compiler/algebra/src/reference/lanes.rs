//! Lane-wise arithmetic: one operation over short vectors.
//!
//! An operand is one number or one per lane; the result is as wide as `to`.

/// `to = f(x)`, lane by lane.
pub(super) fn map<A: Copy, T>(to: &mut [T], x: &[A], f: impl Fn(A) -> T) {
    if x.len() == to.len() {
        to.iter_mut().zip(x).for_each(|(t, x)| *t = f(*x));
    } else {
        let x = x[0];
        to.iter_mut().for_each(|t| *t = f(x));
    }
}

/// `to = f(x, y)`, lane by lane.
pub(super) fn zip<A: Copy, B: Copy, T>(to: &mut [T], x: &[A], y: &[B], f: impl Fn(A, B) -> T) {
    let n = to.len();
    match (x.len() == n, y.len() == n) {
        (true, true) => to.iter_mut().zip(x).zip(y).for_each(|((t, x), y)| *t = f(*x, *y)),
        (true, false) => {
            let y = y[0];
            to.iter_mut().zip(x).for_each(|(t, x)| *t = f(*x, y));
        }
        (false, true) => {
            let x = x[0];
            to.iter_mut().zip(y).for_each(|(t, y)| *t = f(x, *y));
        }
        (false, false) => {
            let (x, y) = (x[0], y[0]);
            to.iter_mut().for_each(|t| *t = f(x, y));
        }
    }
}

/// `to = f(to, x)` in the lanes where the mask holds.
pub(super) fn fold<A: Copy, T: Copy>(to: &mut [T], mask: Option<&[i64]>, x: &[A], f: impl Fn(T, A) -> T) {
    let n = to.len();
    match mask {
        Some(mask) if mask.len() == n && n > 1 => {
            for lane in 0..n {
                if mask[lane] != 0 {
                    to[lane] = f(to[lane], at(x, lane));
                }
            }
        }
        Some([0, ..]) => {}
        _ if x.len() == n => to.iter_mut().zip(x).for_each(|(t, x)| *t = f(*t, *x)),
        _ => {
            let x = x[0];
            to.iter_mut().for_each(|t| *t = f(*t, x));
        }
    }
}

/// The value in a lane.
pub(super) fn at<A: Copy>(x: &[A], lane: usize) -> A {
    if x.len() == 1 { x[0] } else { x[lane] }
}

/// Whether the mask holds in a lane; no mask holds everywhere.
pub(super) fn holds(mask: Option<&[i64]>, lane: usize) -> bool {
    mask.is_none_or(|mask| at(mask, lane) != 0)
}
