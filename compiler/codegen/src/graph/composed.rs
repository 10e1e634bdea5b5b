//! Functions that are arithmetic around calls: sigmoid, gelu, softplus, ….

use attnc_algebra::UnaryOp;

use super::{Binary, Function, Graph, Id, Unary};

impl Graph {
    pub(super) fn int_sign(&mut self, op: UnaryOp, x: Id) -> Id {
        let zero = self.int(0);
        if op == UnaryOp::Relu {
            return self.two(Binary::Max, x, zero);
        }
        let (one, minus) = (self.int(1), self.int(-1));
        let low = self.two(Binary::Max, x, minus);
        self.two(Binary::Min, low, one)
    }

    /// Functions written as arithmetic around calls: the same operations in
    /// the same order as [`UnaryOp::eval`], so that f64 gives the same bits.
    pub(super) fn composed(&mut self, op: UnaryOp, x: Id) -> Id {
        let lane = self.lane(x);
        let (zero, one) = (self.real(lane, 0.0), self.real(lane, 1.0));
        match op {
            UnaryOp::Recip => self.two(Binary::Div, one, x),
            UnaryOp::Sign => {
                let minus = self.real(lane, -1.0);
                let none = self.two(Binary::Mul, x, zero);
                let (above, below) = (self.two(Binary::Lt, zero, x), self.two(Binary::Lt, x, zero));
                let rest = self.select(below, minus, none);
                self.select(above, one, rest)
            }
            UnaryOp::Sigmoid => {
                let weight = self.sigmoid_divisor(x);
                self.two(Binary::Div, one, weight)
            }
            UnaryOp::Silu => {
                let weight = self.sigmoid_divisor(x);
                self.two(Binary::Div, x, weight)
            }
            UnaryOp::Relu => {
                let below = self.two(Binary::Lt, x, zero);
                self.select(below, zero, x)
            }
            UnaryOp::Elu => {
                let above = self.two(Binary::Lt, zero, x);
                let low = self.call(Function::Expm1, &[x]);
                self.select(above, x, low)
            }
            UnaryOp::Gelu => {
                let (half, root) = (self.real(lane, 0.5), self.real(lane, std::f64::consts::FRAC_1_SQRT_2));
                let argument = self.two(Binary::Mul, x, root);
                let erf = self.call(Function::Erf, &[argument]);
                let (left, right) = (self.two(Binary::Mul, half, x), self.two(Binary::Add, one, erf));
                self.two(Binary::Mul, left, right)
            }
            // Softplus: max(x, 0) + log1p(exp(-|x|)).
            _ => {
                let above = self.two(Binary::Lt, zero, x);
                let top = self.select(above, x, zero);
                let minus = self.one(Unary::Neg, x);
                let argument = self.select(above, minus, x);
                self.add_log1p_exp(top, argument)
            }
        }
    }

    /// `1 + exp(-x)`
    fn sigmoid_divisor(&mut self, x: Id) -> Id {
        let one = self.real(self.lane(x), 1.0);
        let minus = self.one(Unary::Neg, x);
        let exp = self.call(Function::Exp, &[minus]);
        self.two(Binary::Add, one, exp)
    }

    /// `top + log1p(exp(argument))`
    pub(super) fn add_log1p_exp(&mut self, top: Id, argument: Id) -> Id {
        let exp = self.call(Function::Exp, &[argument]);
        let log = self.call(Function::Log1p, &[exp]);
        self.two(Binary::Add, top, log)
    }
}
