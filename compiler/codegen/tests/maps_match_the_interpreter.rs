//! Random maps and row reductions: generated code against the interpreter, at
//! shapes around the lane edges, with strided, reversed, gathered and clamped
//! reads, for every storage and lane type.

mod support;

use attnc_algebra::{BinaryOp, DType, NaryOp, ReduceOp, UnaryOp};
use attnc_plan::loops::{Access, Buffer, BufferId, Dst, Expr, ExprId, Exprs, Lane, LoopProgram, Stmt, Tile, TileId};
use proptest::prelude::*;
use support::{Memory, agree, check, check_by, interpret};

/// A source of choices: the bytes proptest drew, then zeros.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }
}

const REALS: usize = 5;
/// Storage of the input buffers, each `[rows, cols]`; the last is the table of columns.
const INPUTS: [DType; 11] = [
    DType::F32,
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::F32,
    DType::F64,
    DType::I64,
    DType::I32,
    DType::I8,
    DType::U8,
    DType::Bool,
];
const TABLE: BufferId = BufferId(11);
const OUTPUT: BufferId = BufferId(12);

struct Builder<'a> {
    exprs: Exprs,
    choices: Choices<'a>,
    rows: i64,
    cols: i64,
}

impl Builder<'_> {
    fn row(&mut self) -> ExprId {
        self.exprs.add(Expr::Row, None)
    }

    fn col(&mut self) -> ExprId {
        self.exprs.add(Expr::Col, None)
    }

    /// A column index within 0..cols, or any integer with `wild`.
    fn column(&mut self, wild: bool) -> ExprId {
        let (row, col) = (self.row(), self.col());
        let last = self.exprs.int(self.cols - 1);
        match self.choices.below(if wild { 8 } else { 5 }) {
            0 | 1 => col,
            2 => self.exprs.difference(last, col),
            3 => self.exprs.int(self.cols / 2),
            4 => self.exprs.add(Expr::Load { buffer: TABLE, index: vec![col], clamp: false }, Some(Lane::I64)),
            5 => {
                let three = self.exprs.int(3);
                let shifted = self.exprs.sum(row, col);
                self.exprs.difference(shifted, three)
            }
            6 => {
                let twice = self.exprs.int(2);
                self.exprs.times(twice, col)
            }
            _ => self.exprs.difference(row, col),
        }
    }

    fn row_index(&mut self) -> ExprId {
        match self.choices.below(4) {
            0 => self.exprs.int(0),
            _ => self.row(),
        }
    }

    fn load(&mut self, lane: Lane) -> ExprId {
        let buffer = match lane {
            Lane::F32 => self.choices.below(REALS),
            Lane::F64 => 5,
            Lane::I64 => 6 + self.choices.below(4),
            Lane::Bool => 10,
        };
        let clamp = self.choices.below(3) == 0;
        let index = vec![self.row_index(), self.column(clamp)];
        self.exprs.add(Expr::Load { buffer: BufferId(buffer as u32), index, clamp }, Some(lane))
    }

    fn leaf(&mut self, lane: Lane) -> ExprId {
        match (self.choices.below(5), lane) {
            (0, Lane::F32 | Lane::F64) => {
                let at = self.choices.below(5);
                self.exprs.real(lane, [0.5, -1.25, 2.0, f64::INFINITY, 0.1][at])
            }
            (0, Lane::I64) => {
                let value = self.choices.below(9) as i64 - 4;
                self.exprs.int(value)
            }
            (1, Lane::I64) => self.col(),
            (2, Lane::I64) => self.row(),
            (0, Lane::Bool) => {
                let value = self.choices.below(2) == 1;
                self.exprs.truth(value)
            }
            _ => self.load(lane),
        }
    }

    /// An expression whose bits both engines must give alike.
    fn exact(&mut self, lane: Lane, depth: usize) -> ExprId {
        if depth == 0 {
            return self.leaf(lane);
        }
        let next = |s: &mut Self| s.exact(lane, depth - 1);
        match lane {
            Lane::Bool => self.truth(depth),
            Lane::I64 => match self.choices.below(12) {
                0 => self.leaf(lane),
                1 => {
                    let c = self.exact(Lane::Bool, depth - 1);
                    let (x, y) = (next(self), next(self));
                    self.exprs.add(Expr::Select(c, x, y), None)
                }
                2 => {
                    let c = self.exact(Lane::Bool, depth - 1);
                    self.exprs.cast(Lane::I64, c)
                }
                3 | 4 => {
                    let x = next(self);
                    let divisor = [1, 2, 3, 4, 16, -1, -3, 7][self.choices.below(8)];
                    let y = self.exprs.int(divisor);
                    let op = [BinaryOp::FloorDiv, BinaryOp::Mod][self.choices.below(2)];
                    self.exprs.add(Expr::Binary(op, x, y), None)
                }
                5 => {
                    let (x, y) = (next(self), next(self));
                    let op = [BinaryOp::FloorDiv, BinaryOp::Mod, BinaryOp::Pow][self.choices.below(3)];
                    self.exprs.add(Expr::Binary(op, x, y), None)
                }
                6 => {
                    let x = next(self);
                    let op = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Sign, UnaryOp::Relu][self.choices.below(4)];
                    self.exprs.unary(op, x)
                }
                7 => {
                    let x = self.exact(Lane::F32, depth - 1);
                    self.exprs.cast(Lane::I64, x)
                }
                _ => self.fold(lane, depth, &[NaryOp::Add, NaryOp::Mul, NaryOp::Min, NaryOp::Max]),
            },
            Lane::F32 | Lane::F64 => self.real(lane, depth),
        }
    }

    fn fold(&mut self, lane: Lane, depth: usize, ops: &[NaryOp]) -> ExprId {
        let op = ops[self.choices.below(ops.len())];
        let xs: Vec<ExprId> = (0..2 + self.choices.below(2)).map(|_| self.exact(lane, depth - 1)).collect();
        self.exprs.add(Expr::Nary(op, xs), None)
    }

    /// An affine integer, or a minimum, maximum or absolute value of some.
    fn near_affine(&mut self) -> ExprId {
        let (row, col) = (self.row(), self.col());
        let shift = self.choices.below(9) as i64 - 4;
        let shift = self.exprs.int(shift);
        let x = match self.choices.below(3) {
            0 => self.exprs.difference(row, col),
            1 => self.exprs.sum(col, shift),
            _ => {
                let both = self.exprs.sum(row, col);
                self.exprs.difference(shift, both)
            }
        };
        match self.choices.below(6) {
            0 => self.exprs.unary(UnaryOp::Abs, x),
            1 => self.exprs.add(Expr::Nary(NaryOp::Max, vec![x, row]), None),
            2 => self.exprs.add(Expr::Nary(NaryOp::Min, vec![shift, x]), None),
            3 => {
                let modulus = self.exprs.int(4);
                self.exprs.add(Expr::Binary(BinaryOp::Mod, x, modulus), None)
            }
            _ => x,
        }
    }

    fn truth(&mut self, depth: usize) -> ExprId {
        match self.choices.below(8) {
            6 | 7 => {
                let x = self.near_affine();
                let value = self.choices.below(5) as i64 - 1;
                let y = if self.choices.below(2) == 0 { self.row() } else { self.exprs.int(value) };
                let (x, y) = if self.choices.below(2) == 0 { (x, y) } else { (y, x) };
                let op = [BinaryOp::Eq, BinaryOp::Ne, BinaryOp::Lt, BinaryOp::Le][self.choices.below(4)];
                self.exprs.add(Expr::Binary(op, x, y), None)
            }
            0 => self.leaf(Lane::Bool),
            1 => {
                let x = self.exact(Lane::Bool, depth - 1);
                self.exprs.unary(UnaryOp::Not, x)
            }
            2 => self.fold(Lane::Bool, depth, &[NaryOp::And, NaryOp::Or]),
            _ => {
                let lane = [Lane::I64, Lane::I64, Lane::F32, Lane::F64, Lane::Bool][self.choices.below(5)];
                let (x, y) = (self.exact(lane, depth - 1), self.exact(lane, depth - 1));
                let op = [BinaryOp::Eq, BinaryOp::Ne, BinaryOp::Lt, BinaryOp::Le][self.choices.below(4)];
                self.exprs.add(Expr::Binary(op, x, y), None)
            }
        }
    }

    fn real(&mut self, lane: Lane, depth: usize) -> ExprId {
        match self.choices.below(12) {
            0 => self.leaf(lane),
            1 => {
                let c = self.exact(Lane::Bool, depth - 1);
                let (x, y) = (self.exact(lane, depth - 1), self.exact(lane, depth - 1));
                self.exprs.add(Expr::Select(c, x, y), None)
            }
            2 | 3 => {
                let others: Vec<Lane> =
                    [Lane::F32, Lane::F64, Lane::I64, Lane::Bool].into_iter().filter(|l| *l != lane).collect();
                let from = others[self.choices.below(3)];
                let x = self.exact(from, depth - 1);
                self.exprs.cast(lane, x)
            }
            4 => {
                let x = self.exact(lane, depth - 1);
                let ops = [
                    UnaryOp::Neg,
                    UnaryOp::Abs,
                    UnaryOp::Sqrt,
                    UnaryOp::Floor,
                    UnaryOp::Ceil,
                    UnaryOp::Sign,
                    UnaryOp::Relu,
                    UnaryOp::Recip,
                ];
                let op = ops[self.choices.below(ops.len())];
                self.exprs.unary(op, x)
            }
            7 => {
                let (x, y) = (self.exact(lane, depth - 1), self.exact(lane, depth - 1));
                self.exprs.difference(x, y)
            }
            5 => {
                let (x, y) = (self.exact(lane, depth - 1), self.exact(lane, depth - 1));
                let op = [BinaryOp::Div, BinaryOp::FloorDiv, BinaryOp::Mod][self.choices.below(3)];
                self.exprs.add(Expr::Binary(op, x, y), None)
            }
            6 if lane == Lane::F64 => {
                let x = self.exact(lane, depth - 1);
                self.function(x)
            }
            _ => self.fold(lane, depth, &[NaryOp::Add, NaryOp::Mul, NaryOp::Min, NaryOp::Max]),
        }
    }

    fn function(&mut self, x: ExprId) -> ExprId {
        let ops = [
            UnaryOp::Exp,
            UnaryOp::Log,
            UnaryOp::Tanh,
            UnaryOp::Sin,
            UnaryOp::Cos,
            UnaryOp::Sigmoid,
            UnaryOp::Elu,
            UnaryOp::Gelu,
            UnaryOp::Silu,
            UnaryOp::Softplus,
        ];
        let op = ops[self.choices.below(ops.len())];
        self.exprs.unary(op, x)
    }

    /// An expression that may go through functions of f32 microkernels: their
    /// arguments stay moderate, and nothing after them is discontinuous.
    fn smooth(&mut self, depth: usize) -> ExprId {
        match self.choices.below(if depth == 0 { 3 } else { 5 }) {
            0 => self.load(Lane::F32),
            1 | 2 => {
                let x = if depth == 0 { self.load(Lane::F32) } else { self.smooth(depth - 1) };
                let bounded = self.exprs.unary(UnaryOp::Tanh, x);
                self.function_of_bounded(bounded)
            }
            3 => {
                let x = self.exact(Lane::F32, 1);
                let y = self.smooth(depth - 1);
                let c = self.exact(Lane::Bool, 2);
                self.exprs.add(Expr::Select(c, y, x), None)
            }
            _ => {
                let (x, y) = (self.smooth(depth - 1), self.smooth(depth - 1));
                self.exprs.sum(x, y)
            }
        }
    }

    fn function_of_bounded(&mut self, x: ExprId) -> ExprId {
        match self.choices.below(4) {
            0 => {
                let two = self.exprs.real(Lane::F32, 2.5);
                let base = self.exprs.sum(x, two);
                self.exprs.add(Expr::Binary(BinaryOp::Pow, base, x), None)
            }
            1 => {
                let y = self.load(Lane::F32);
                self.exprs.add(Expr::Binary(BinaryOp::LogAddExp, x, y), None)
            }
            2 => {
                let two = self.exprs.real(Lane::F32, 1.5);
                let above = self.exprs.sum(x, two);
                self.exprs.unary(UnaryOp::Log, above)
            }
            _ => {
                let ops = [UnaryOp::Exp, UnaryOp::Sin, UnaryOp::Cos, UnaryOp::Sigmoid, UnaryOp::Elu, UnaryOp::Gelu];
                let op = ops[self.choices.below(ops.len())];
                let x = if self.choices.below(2) == 0 { x } else { self.exprs.unary(UnaryOp::Neg, x) };
                let value = self.exprs.unary(op, x);
                if self.choices.below(2) == 0 {
                    return value;
                }
                let (one, minus) = (self.exprs.real(Lane::F32, 1.0), self.exprs.unary(UnaryOp::Neg, value));
                self.exprs.sum(one, minus)
            }
        }
    }
}

/// The buffers every program of this file has: `[rows, cols]` each, a table of
/// columns, and the output.
fn buffers(exprs: &mut Exprs, rows: i64, cols: i64, output: DType, output_shape: [i64; 2]) -> Vec<Buffer> {
    let shape = |exprs: &mut Exprs, shape: [i64; 2]| shape.iter().map(|n| exprs.int(*n)).collect::<Vec<_>>();
    let mut all: Vec<Buffer> = INPUTS
        .iter()
        .enumerate()
        .map(|(at, dtype)| Buffer {
            name: format!("x{at}"),
            dtype: *dtype,
            shape: shape(exprs, [rows, cols]),
            access: Access::Read,
            unit_dim: (at % 2 == 0).then_some(1),
        })
        .collect();
    let line = vec![exprs.int(cols)];
    all.push(Buffer { name: "table".into(), dtype: DType::I32, shape: line, access: Access::Read, unit_dim: None });
    let shape = shape(exprs, output_shape);
    all.push(Buffer { name: "out".into(), dtype: output, shape, access: Access::Write, unit_dim: None });
    all
}

fn memories(program: &LoopProgram, cols: i64, seed: u64, transposed: bool) -> Vec<Memory> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1.0];
    let extents = [];
    let mut all = Vec::new();
    for (at, buffer) in program.buffers.iter().enumerate() {
        let shape = program.buffer_shape(at, &extents).expect("constant shapes");
        let mut memory = Memory::new(buffer.dtype, &shape, 3, |_| 0);
        if transposed && buffer.unit_dim.is_none() && shape.len() == 2 {
            memory.strides = vec![1, shape[0] + 2];
            let count = (shape[0] + 2) * shape[1] + 128;
            memory.bytes = vec![0; count as usize * buffer.dtype.size()];
        }
        let memory = memory.fill(|_| {
            let x = random();
            if at == TABLE.0 as usize {
                return (x % cols as u64) as f64;
            }
            match buffer.dtype {
                DType::Bool => (x % 2) as f64,
                DType::U8 => (x % 7) as f64,
                DType::I8 | DType::I32 | DType::I64 => (x % 13) as f64 - 6.0,
                _ if x.is_multiple_of(29) => special[(x / 29 % 5) as usize],
                _ => ((x >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 6.0,
            }
        });
        all.push(memory);
    }
    all
}

fn finite(memories: &mut [Memory]) {
    for memory in memories {
        for at in 0..memory.len() {
            let x = memory.element(at);
            if !x.is_finite() || x.abs() > 100.0 {
                memory.set(at, 0.75);
            }
        }
    }
}

fn program(exprs: Exprs, buffers: Vec<Buffer>, tiles: Vec<Tile>, body: Vec<Stmt>) -> LoopProgram {
    LoopProgram { name: "test".into(), compute: Lane::F32, exprs, vars: vec![], buffers, tiles, grid: vec![], body }
}

/// `out[r, c] = value`, through a tile if `staged`.
fn map_program(mut builder: Builder<'_>, value: ExprId, output: DType, through_tile: bool) -> LoopProgram {
    let (rows, cols) = (builder.rows, builder.cols);
    let all = buffers(&mut builder.exprs, rows, cols, output, [rows, cols]);
    let (row, col) = (builder.row(), builder.col());
    let mut exprs = builder.exprs;
    let lane = exprs.lane(value);
    let (rows, cols) = (exprs.int(rows), exprs.int(cols));
    let out = Dst::Buffer { buffer: OUTPUT, index: vec![row, col] };
    if !through_tile {
        return program(exprs, all, vec![], vec![Stmt::Map { dst: out, rows, cols, value }]);
    }
    let tile = TileId(0);
    let tiles = vec![Tile { name: "t".into(), lane, rows, cols }];
    let back = exprs.add(Expr::Tile { tile, row, col }, Some(lane));
    let body = vec![
        Stmt::Map { dst: Dst::Tile { tile, row, col }, rows, cols, value },
        Stmt::Map { dst: out, rows, cols, value: back },
    ];
    program(exprs, all, tiles, body)
}

/// What the program writes if its reduction is of the sizes of its values:
/// what the rounding errors of a sum are relative to, whatever its order.
fn sums_of_sizes(program: &LoopProgram, memories: &[Memory]) -> Memory {
    let mut program = program.clone();
    for stmt in &mut program.body {
        if let Stmt::RowReduce { value, .. } = stmt {
            *value = program.exprs.unary(UnaryOp::Abs, *value);
        }
    }
    let mut memories = memories.to_vec();
    interpret(&program, &[], &mut memories).expect("the program with sizes runs as the one with values");
    memories.swap_remove(OUTPUT.0 as usize)
}

const EDGES: [i64; 10] = [1, 2, 3, 4, 5, 7, 8, 17, 63, 65];

fn shape() -> impl Strategy<Value = (i64, i64)> {
    (0usize..6, 0usize..EDGES.len()).prop_map(|(rows, cols)| (EDGES[rows], EDGES[cols]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn exact_maps((rows, cols) in shape(), bytes in prop::collection::vec(any::<u8>(), 200), seed: u64, lane in 0usize..4, out in 0usize..9, transposed: bool, tile: bool) {
        let lane = [Lane::F32, Lane::F64, Lane::I64, Lane::Bool][lane];
        let output = [DType::F32, DType::F64, DType::F16, DType::Bf16, DType::I8, DType::U8, DType::I32, DType::I64, DType::Bool][out];
        let mut builder = Builder { exprs: Exprs::default(), choices: Choices(bytes.iter()), rows, cols };
        let value = builder.exact(lane, 3);
        let program = map_program(builder, value, output, tile);
        let memories = memories(&program, cols, seed, transposed);
        check(&program, &[], &memories, 0.0);
    }

    #[test]
    fn maps_through_functions((rows, cols) in shape(), bytes in prop::collection::vec(any::<u8>(), 200), seed: u64, transposed: bool) {
        let mut builder = Builder { exprs: Exprs::default(), choices: Choices(bytes.iter()), rows, cols };
        let value = builder.smooth(3);
        let program = map_program(builder, value, DType::F32, false);
        let mut memories = memories(&program, cols, seed, transposed);
        finite(&mut memories);
        check(&program, &[], &memories, 4e-6);
    }

    /// A tile overwritten by functions of its own elements, beside columns that stay as they are.
    #[test]
    fn overwritten_tiles((rows, cols) in shape(), beside in 0i64..3, bytes in prop::collection::vec(any::<u8>(), 10), again: bool) {
        let mut builder = Builder { exprs: Exprs::default(), choices: Choices(bytes.iter()), rows, cols: cols + beside };
        let all = buffers(&mut builder.exprs, rows, cols + beside, DType::F32, [rows, cols + beside]);
        let (row, col) = (builder.row(), builder.col());
        let (tile, real) = (TileId(0), Some(Lane::F32));
        let element = builder.exprs.add(Expr::Tile { tile, row, col }, real);
        let place = builder.exprs.difference(row, col);
        let place = builder.exprs.cast(Lane::F32, place);
        let scale = builder.exprs.real(Lane::F32, 0.03);
        let start = builder.exprs.times(scale, place);
        let half = builder.exprs.real(Lane::F32, 0.5);
        let own = builder.function_of_bounded(element);
        let mut value = builder.exprs.times(half, own);
        if again {
            value = builder.exprs.sum(value, element);
        }
        let mut exprs = builder.exprs;
        let (rows_id, cols_id, width) = (exprs.int(rows), exprs.int(cols), exprs.int(cols + beside));
        let tiles = vec![Tile { name: "t".into(), lane: Lane::F32, rows: rows_id, cols: width }];
        let dst = Dst::Tile { tile, row, col };
        let body = vec![
            Stmt::Map { dst: dst.clone(), rows: rows_id, cols: width, value: start },
            Stmt::Map { dst, rows: rows_id, cols: cols_id, value },
            Stmt::Map { dst: Dst::Buffer { buffer: OUTPUT, index: vec![row, col] }, rows: rows_id, cols: width, value: element },
        ];
        let program = program(exprs, all, tiles, body);
        let mut memories = memories(&program, cols + beside, 1, false);
        finite(&mut memories);
        check(&program, &[], &memories, 4e-6);
    }

    #[test]
    fn row_reductions((rows, cols) in shape(), bytes in prop::collection::vec(any::<u8>(), 200), seed: u64, op in 0usize..8, lane in 0usize..3, accumulate: bool, masked: bool) {
        let op = [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min, ReduceOp::ArgMax, ReduceOp::ArgMin, ReduceOp::Any, ReduceOp::All][op];
        let mut lane = [Lane::F32, Lane::F64, Lane::I64][lane];
        let search = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
        if matches!(op, ReduceOp::Any | ReduceOp::All) {
            lane = Lane::Bool;
        } else if search && lane == Lane::I64 {
            lane = Lane::F64;
        }
        let mut builder = Builder { exprs: Exprs::default(), choices: Choices(bytes.iter()), rows, cols };
        let value = builder.exact(lane, 2);
        let domain = masked.then(|| builder.exact(Lane::Bool, 2));
        let (rows, cols) = (builder.rows, builder.cols);
        let result = if search { Lane::I64 } else { lane };
        let output = match result { Lane::F32 => DType::F32, Lane::F64 => DType::F64, Lane::I64 => DType::I64, Lane::Bool => DType::Bool };
        let all = buffers(&mut builder.exprs, rows, cols, output, [rows, 1]);
        let row = builder.row();
        let mut exprs = builder.exprs;
        let (zero, one) = (exprs.int(0), exprs.int(1));
        let (row_count, col_count) = (exprs.int(rows), exprs.int(cols));
        let tile = TileId(0);
        let tiles = vec![Tile { name: "t".into(), lane: result, rows: row_count, cols: one }];
        let start = match result {
            Lane::F32 | Lane::F64 => exprs.real(result, 1.5),
            Lane::I64 => exprs.int(2),
            Lane::Bool => exprs.truth(false),
        };
        let back = exprs.add(Expr::Tile { tile, row, col: zero }, Some(result));
        let body = vec![
            Stmt::Map { dst: Dst::Tile { tile, row, col: zero }, rows: row_count, cols: one, value: start },
            Stmt::RowReduce { dst: tile, op, rows: row_count, cols: col_count, domain, value, accumulate: accumulate && !search },
            Stmt::Map { dst: Dst::Buffer { buffer: OUTPUT, index: vec![row, zero] }, rows: row_count, cols: one, value: back },
        ];
        let program = program(exprs, all, tiles, body);
        let mut memories = memories(&program, cols, seed, false);
        if lane == Lane::F32 && !search && !matches!(op, ReduceOp::Max | ReduceOp::Min) {
            finite(&mut memories);
        }
        if lane == Lane::F32 && op == ReduceOp::Sum {
            let sizes = sums_of_sizes(&program, &memories);
            let error = 2.0 * (cols + 1) as f64 * f64::from(f32::EPSILON / 2.0);
            check_by(&program, &[], &memories, |dtype, at, x, y| {
                agree(dtype, x, y, 0.0) || (x - y).abs() <= error * sizes.element(at)
            });
            return Ok(());
        }
        check(&program, &[], &memories, if lane == Lane::F32 && !search { 2e-5 } else { 0.0 });
    }
}
