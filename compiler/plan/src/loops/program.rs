//! Statements, buffers and tiles of a loop program.
//!
//! One program is one stage: it is run once per *task*, a point of its grid,
//! by any thread in any order; tasks write disjoint elements. All extents are
//! launch-time values, so one program serves every length. Tile products and
//! online softmax updates are single statements (microkernels); everything
//! elementwise is a [`Stmt::Map`] over an expression.

use attnc_algebra::{DType, ReduceOp};

use super::expr::{ExprId, Exprs, Lane};

/// Index into [`LoopProgram::vars`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VarId(pub u32);

/// Index into [`LoopProgram::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BufferId(pub u32);

/// Index into [`LoopProgram::tiles`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TileId(pub u32);

/// Whether the program reads or writes a buffer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// Only read.
    Read,
    /// Written (each element by one task), and read back only by the same task.
    Write,
}

/// A tensor in memory with launch-time strides, shared by all tasks.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    /// Name for printing: the input's, the output's, or the intermediate's.
    pub name: String,
    /// Storage type.
    pub dtype: DType,
    /// Extent of each dimension: launch-time integers.
    pub shape: Vec<ExprId>,
    /// Read or written.
    pub access: Access,
    /// A dimension whose stride must be 1 because a microkernel reads or
    /// writes it; the caller of the program sees to it (by copying if needed).
    pub unit_dim: Option<usize>,
}

/// A two-dimensional scratch array, private to the running thread.
///
/// Rows are padded to a multiple of 64 bytes, except in a tile whose column
/// count is the constant 1: its elements are contiguous, so that it is a vector
/// to a microkernel. Contents are undefined at the start of a task.
#[derive(Clone, PartialEq, Debug)]
pub struct Tile {
    /// Name for printing.
    pub name: String,
    /// Element type.
    pub lane: Lane,
    /// Number of rows: a launch-time integer.
    pub rows: ExprId,
    /// Number of columns: a launch-time integer.
    pub cols: ExprId,
}

impl Tile {
    /// Whether the tile is declared with one column, hence contiguous.
    pub fn is_column(&self, exprs: &Exprs) -> bool {
        exprs.as_int(self.cols) == Some(1)
    }
}

/// Where a map writes. Indices may mention row and column.
#[derive(Clone, PartialEq, Debug)]
pub enum Dst {
    /// An element of a tile.
    Tile {
        /// The tile.
        tile: TileId,
        /// Row index.
        row: ExprId,
        /// Column index.
        col: ExprId,
    },
    /// An element of a buffer; the value is narrowed to its storage type.
    Buffer {
        /// The buffer.
        buffer: BufferId,
        /// One index per dimension.
        index: Vec<ExprId>,
    },
}

/// A matrix inside a tile or a buffer, for a microkernel. Its offsets are
/// scalars: they mention neither row nor column.
#[derive(Clone, PartialEq, Debug)]
pub enum View {
    /// Element (r, c) is the tile's (row + r, col + c), or (row + c, col + r) if transposed.
    Tile {
        /// The tile.
        tile: TileId,
        /// First row in the tile.
        row: ExprId,
        /// First column in the tile.
        col: ExprId,
        /// Whether the view's rows run along the tile's columns.
        transposed: bool,
    },
    /// Element (r, c) is the buffer's element at `index` with r times the first
    /// of `steps` added at `row_dim`, and c times the second at `col_dim`
    /// (`None`: one row, or one column).
    Buffer {
        /// The buffer, of the program's compute type.
        buffer: BufferId,
        /// Index of element (0, 0).
        index: Vec<ExprId>,
        /// The dimension along which rows advance.
        row_dim: Option<usize>,
        /// The dimension along which columns advance.
        col_dim: Option<usize>,
        /// Positions from row to row and from column to column, at least 1.
        steps: [i64; 2],
    },
    /// Rows of bfloat16 in pairs, as matrix instructions take them: a right operand, or what is packed. Element (r, c) is
    /// the buffer's element at `index`, but at `row_dim` half of `index + r`, at `col_dim` c more, and the remainder of
    /// `index + r` by 2 in the last dimension, whose extent is 2.
    Pairs {
        /// The buffer, of bfloat16, row-major.
        buffer: BufferId,
        /// Of every dimension but the last; that of `row_dim` counts rows, not pairs.
        index: Vec<ExprId>,
        /// The dimension along which pairs of rows advance.
        row_dim: usize,
        /// The dimension along which columns advance, the last but one.
        col_dim: usize,
    },
}

impl View {
    /// The same matrix with rows and columns exchanged.
    pub fn turned(&self) -> Self {
        match self.clone() {
            Self::Tile { tile, row, col, transposed } => Self::Tile { tile, row, col, transposed: !transposed },
            Self::Buffer { buffer, index, row_dim, col_dim, steps: [row, col] } => {
                Self::Buffer { buffer, index, row_dim: col_dim, col_dim: row_dim, steps: [col, row] }
            }
            Self::Pairs { .. } => unreachable!("pairs are a right operand"),
        }
    }
}

/// One interval of key positions that a row block may need, for [`Stmt::Spans`].
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// Optional repetition: the variable runs over 0..count.
    pub repeat: Option<(VarId, ExprId)>,
    /// Whether the interval is needed at all; Bool.
    pub guard: ExprId,
    /// First position (may be negative: clipped to 0).
    pub from: ExprId,
    /// One past the last position (clipped to the limit).
    pub to: ExprId,
}

/// Holds where `least[r, 0] <= keys[0, c] <= most[r, 0]`, or elsewhere if not `inside`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRange {
    /// Column 0 of this I64 tile; `None` is no bound.
    pub least: Option<TileId>,
    /// Column 0 of this I64 tile; `None` is no bound.
    pub most: Option<TileId>,
    /// Row 0 of this I64 tile.
    pub keys: TileId,
    /// Whether it holds in the range rather than outside.
    pub inside: bool,
}

/// The columns `from[r, 0] .. to[r, 0]` that each row r of a tile sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowSpans {
    /// Column 0 of this I64 tile; may be negative.
    pub from: TileId,
    /// Column 0 of this I64 tile; may be less than the first.
    pub to: TileId,
}

/// What a mask leaves out of a tile: of scores -inf, of weights 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Masked {
    /// The scalar condition under which anything is left out.
    pub cond: ExprId,
    /// Where nothing is seen outside of one span of each row, the spans, written where the condition holds.
    pub spans: Option<RowSpans>,
}

/// Which elements a product computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// All.
    All,
    /// Those that are not -inf; these stay so.
    Where,
    /// Those that each row sees; what the others become is not said.
    Spans(RowSpans),
}

/// Spans less than this apart are one: a vector's lanes cost less than a tile of their own.
pub const SPAN_GAP: i64 = 16;

/// A loop over the tiles of merged spans: the intervals, joined where they meet
/// or lie less than [`SPAN_GAP`] apart, cut at the multiples of the tile width.
#[derive(Clone, PartialEq, Debug)]
pub struct SpanLoop {
    /// Scratch list, an I64 tile of one row; holds (from, to) pairs. Its
    /// column count is at least twice the number of pieces with repetitions.
    pub list: TileId,
    /// The intervals; they may overlap and come in any order.
    pub pieces: Vec<Piece>,
    /// Extent of the axis: positions run over 0..limit.
    pub limit: ExprId,
    /// Tile width: no tile crosses a multiple of it.
    pub tile: i64,
    /// First position of the tile.
    pub var: VarId,
    /// One past the last position of the tile.
    pub end: VarId,
    /// Run for each tile, once, in ascending order.
    pub body: Vec<Stmt>,
}

/// Whether the lines of [`Stmt::Dots`] may be stored so.
pub fn is_line_type(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::Bf16 | DType::F16 | DType::I8)
}

/// Columns that are added to the lists of rows, for [`Stmt::List`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Additions {
    /// Those that each row sees.
    Spans(RowSpans),
    /// Those at which this F32 tile is not -inf.
    Open(TileId),
}

/// Lines of which each row lists some. Whatever the lists hold, a position is held inside the lines, a count inside the list.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// I64 tile: positions of lines.
    pub list: TileId,
    /// Column 0 of this I64 tile: how many each row lists.
    pub count: TileId,
    /// F32 lines in a buffer, with unit column stride.
    pub lines: View,
    /// How many lines there are.
    pub limit: ExprId,
}

/// One statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// `for var in (from..to).step_by(step)`
    For {
        /// The loop variable, I64.
        var: VarId,
        /// First value.
        from: ExprId,
        /// Exclusive end.
        to: ExprId,
        /// Positive step.
        step: i64,
        /// Repeated statements.
        body: Vec<Stmt>,
    },
    /// Loop over key tiles of a domain.
    Spans(SpanLoop),
    /// Conditional on a scalar.
    If {
        /// The condition, Bool.
        cond: ExprId,
        /// Run if it holds.
        then: Vec<Stmt>,
        /// Run otherwise.
        otherwise: Vec<Stmt>,
    },
    /// Binds a scalar.
    Let {
        /// The variable; assigned once per execution.
        var: VarId,
        /// Its value, of the variable's type.
        value: ExprId,
    },
    /// `dst(r, c) = value(r, c)` for all rows and columns. An element may be
    /// read by `value` from the very place it is written to, not from others
    /// that this map writes.
    Map {
        /// Where.
        dst: Dst,
        /// Number of rows, a scalar.
        rows: ExprId,
        /// Number of columns, a scalar.
        cols: ExprId,
        /// What; its lane type is the tile's, or converts to the buffer's.
        value: ExprId,
    },
    /// `dst(r, 0) = op over c of value(r, c)`, folded into the old value if `accumulate`.
    /// `Sum`, `Prod`, `Max`, `Min` on F32, F64, I64; `Any`, `All` on Bool;
    /// `ArgMax`, `ArgMin` of F64 or F32 values into an I64 tile (never accumulating):
    /// lowest column wins, NaN never wins unless all are NaN (then column 0), -1 over no column.
    /// `LogSumExp` is not allowed (it is composed). F64 and I64 run in column
    /// order; F32 in any order. `Max`/`Min` are NaN if an operand is.
    RowReduce {
        /// Column 0 of this tile receives the result.
        dst: TileId,
        /// The reduction.
        op: ReduceOp,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
        /// Columns at which this is false are left out.
        domain: Option<ExprId>,
        /// What is reduced.
        value: ExprId,
        /// Whether the old content takes part.
        accumulate: bool,
    },
    /// Tile product `dst[rows, cols] (+)= lhs[rows, depth] * rhs[depth, cols]`
    /// of F32 or F64, all three of one type; but of F32 and without mask `rhs`
    /// may lie in a buffer of another type that [`is_line_type`] names. Each element is one chain of
    /// multiply-adds in ascending order of depth, fused unless `rounded`. With `rhs` in [`View::Pairs`] and the others of F32, elements of `lhs` are
    /// rounded to bfloat16 first, and how the two terms of a pair are added is the microkernel's. `dst` and `rhs` have unit column stride.
    Product {
        /// Destination.
        dst: View,
        /// Left operand.
        lhs: View,
        /// Right operand.
        rhs: View,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Summed length.
        depth: ExprId,
        /// Whether to add to the old content.
        accumulate: bool,
        /// Exact zeros of `lhs` are masked elements: they must contribute nothing even against NaN or inf in `rhs`.
        masked: Option<Masked>,
        /// Which elements are computed; if not all, nothing accumulates, and `masked` is `None`.
        open: Open,
        /// Whether terms are rounded before they are added, as in a loop; of F64 alone, and neither masked nor open.
        rounded: bool,
        /// What the sums are multiplied by, a scalar of F32; with pairs alone, neither accumulated nor masked.
        factor: Option<ExprId>,
    },
    /// `dst[r, c] = src[r, c]`, rounded to bfloat16, of rows that begin with a pair. A last row without another has 0
    /// beside it.
    Pack {
        /// A [`View::Pairs`] of a buffer that is written.
        dst: View,
        /// F32, or bfloat16 in a buffer; any strides.
        src: View,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `dst[r, c] = sum over k < depth of lhs[r, k] * rhs[c, k]`, each in an order that depends on the depth alone. `dst`
    /// and `lhs` are of F32, `rhs` lies in a buffer of a type that [`is_line_type`] names; all have unit column stride.
    Dots {
        /// Destination.
        dst: View,
        /// Few rows.
        lhs: View,
        /// Many lines, `cols` of them, as they lie in memory.
        rhs: View,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Summed length.
        depth: ExprId,
    },
    /// For each row r and each added column c < cols in ascending order, while there is room:
    /// `list[r, count[r, 0]] = first + c`, and `count[r, 0]` is one more; then `most[0, 0]` is the largest count, if that is
    /// more than it was. There is room for the columns of the list's tile.
    List {
        /// I64 tile.
        list: TileId,
        /// Column 0 of this I64 tile.
        count: TileId,
        /// I64 tile of one element.
        most: TileId,
        /// What is added.
        added: Additions,
        /// Position of column 0.
        first: ExprId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
        /// The share of the columns that is added, about: for the estimate.
        share: f64,
    },
    /// `dst[r, c] = sum over k < depth of lhs[r, k] * line c of row r's list at k` for the listed c < cols, and -inf for the
    /// others; all of F32, in an order that depends on the depth alone. `lhs` has unit column stride.
    DotsListed {
        /// Destination.
        dst: TileId,
        /// Rows.
        lhs: View,
        /// Lines.
        of: Listed,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Summed length.
        depth: ExprId,
    },
    /// `dst[r, e] += sum over the listed c < depth of weights[r, c] * line c of row r's list at e`, all of F32.
    SumListed {
        /// Destination.
        dst: TileId,
        /// Weights of the listed lines.
        weights: TileId,
        /// Lines.
        of: Listed,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Most lines of a row.
        depth: ExprId,
    },
    /// The list of each row keeps what has a weight that is not exactly 0, moved to the front with its weights.
    DropUnweighted {
        /// F32 weights of what is listed.
        weights: TileId,
        /// I64 tile.
        list: TileId,
        /// Column 0 of this I64 tile: how many each row lists, and then how many it keeps.
        count: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Most that a row lists.
        cols: ExprId,
    },
    /// `dst[rows, cols] (+)= sum over k < depth of weight[r, k] * tanh(lhs[r, k] + rhs[k, c])`, all of F32. `dst` and
    /// `rhs` have unit column stride.
    ProductTanh {
        /// Destination.
        dst: View,
        /// Weights of the terms.
        weight: View,
        /// Whether rows have weights of their own; else `weight` has one row for all.
        weight_rows: bool,
        /// What rows bring to the arguments.
        lhs: View,
        /// What columns bring to them.
        rhs: View,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Summed length.
        depth: ExprId,
        /// Whether to add to the old content.
        accumulate: bool,
    },
    /// `dst[r, c]` becomes the largest of what it was and of `lhs[r, k] + rhs[k, c]` over k < depth, or the least; NaN if one
    /// of them is. All three are of F32 or of F64; `dst` and `rhs` have unit column stride.
    MaxPlus {
        /// Destination.
        dst: View,
        /// Left operand.
        lhs: View,
        /// Right operand.
        rhs: View,
        /// Rows of the destination.
        rows: ExprId,
        /// Columns of the destination.
        cols: ExprId,
        /// Number of sums for each element.
        depth: ExprId,
        /// Whether it is the least.
        least: bool,
        /// Scalar condition under which elements of `lhs` that are -inf (of a least, inf) are masked elements: they
        /// contribute nothing even against NaN or inf in `rhs`.
        masked: Option<ExprId>,
    },
    /// Online softmax update of each row r < rows:
    /// `x = max(max[r], max_c scores[r, c])`; `alpha[r] = exp(max[r] - x)` (1 if equal);
    /// `scores[r, c] = exp(scores[r, c] - x)` (0 where the score is -inf);
    /// `sum[r] = sum[r] * alpha[r] + sum_c scores[r, c]`; `max[r] = x`.
    SoftmaxUpdate {
        /// rows x cols scores, turned into weights in place.
        scores: TileId,
        /// Column 0: running maximum.
        max: TileId,
        /// Column 0: running sum.
        sum: TileId,
        /// Column 0: factor by which older accumulators shrink.
        alpha: TileId,
        /// Which scores are left out, as if they were -inf: where there are spans, whatever they are, else those that are.
        masked: Option<Masked>,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `order[at.., p] = ` the position along the last dimension whose key is
    /// number p in the stable ascending order of `keys[at.., ..]`.
    Order {
        /// I64 keys; the last dimension has unit stride.
        keys: BufferId,
        /// I64 positions; written, the last dimension has unit stride.
        order: BufferId,
        /// Index in all dimensions but the last, of both buffers.
        at: Vec<ExprId>,
        /// Number of keys.
        count: ExprId,
    },
    /// `dst[r, c] = ` the number of keys of row r that come before that of column c in a stable descending order, NaN
    /// last; of the counted columns alone if there is `counted`.
    Ranks {
        /// I64 tile.
        dst: TileId,
        /// F64 or I64 tile.
        keys: TileId,
        /// Bool tile.
        counted: Option<TileId>,
        /// I64 tile of one row: scratch memory.
        order: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
        /// Ranks of this and more may all be written as this.
        limit: Option<ExprId>,
    },
    /// `dst[r, 0] = ` the column of the largest score of row r, if that is larger than every other by more than
    /// `slack[r, 0]`, else -1. A NaN counts for nothing; no lead is more than infinity or NaN.
    ClearLargest {
        /// Column 0 of this I64 tile receives the result.
        dst: TileId,
        /// F32 scores.
        scores: TileId,
        /// Column 0 of this F32 tile: how far apart is far enough.
        slack: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `tile[r, c] = fill` where c is outside `from[r, 0] .. to[r, 0]`, or inside if not `keep`.
    KeepSpans {
        /// The masked tile.
        tile: TileId,
        /// Column 0 of this I64 tile: the first column of each row's span; may be negative.
        from: TileId,
        /// Column 0 of this I64 tile: one past the last column; may be less than the first.
        to: TileId,
        /// Whether what lies in the span is kept, rather than what lies outside.
        keep: bool,
        /// What the others become.
        fill: f64,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// The span of each row becomes the part of it, among the columns, in which the range holds, where keys do not descend
    /// within a span; else any part of it.
    NarrowSpans {
        /// What is narrowed.
        spans: RowSpans,
        /// Where a key is in both bounds, or beyond the only one.
        range: KeyRange,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `tile[r, c] = fill` where none of the ranges holds.
    KeepKeys {
        /// The masked tile.
        tile: TileId,
        /// One or two.
        any: Vec<KeyRange>,
        /// What the others become.
        fill: f64,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `dst[r, at[r, c]] += src[r, c]`, one column after the other. Positions outside of `width` columns add to nothing.
    ScatterAdd {
        /// What is added to.
        dst: TileId,
        /// What is added.
        src: TileId,
        /// Columns of `dst`, an I64 tile.
        at: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns of `src`.
        cols: ExprId,
        /// Number of columns of `dst`.
        width: ExprId,
    },
    /// Subnormal elements of the tile become 0.
    Flush {
        /// Weights of terms, F32 or F64.
        tile: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
    /// `tile[r, c] *= alpha[r, 0]`
    ScaleRows {
        /// The scaled tile.
        tile: TileId,
        /// Column 0: the factors.
        alpha: TileId,
        /// Number of rows.
        rows: ExprId,
        /// Number of columns.
        cols: ExprId,
    },
}

/// The loop nest of one stage.
///
/// `vars[v]` is the type of variable v. The grid variables are bound by the
/// task number, the last varying fastest; the task count is the product of
/// the grid's counts.
#[derive(Clone, PartialEq, Debug)]
pub struct LoopProgram {
    /// Name of the stage.
    pub name: String,
    /// F32, or F64 if an input is f64: the type of products and accumulators.
    pub compute: Lane,
    /// All expressions.
    pub exprs: Exprs,
    /// Types of the variables.
    pub vars: Vec<Lane>,
    /// Buffers in the order of the launch arguments.
    pub buffers: Vec<Buffer>,
    /// Scratch tiles.
    pub tiles: Vec<Tile>,
    /// Grid variables with their counts (launch-time integers).
    pub grid: Vec<(VarId, ExprId)>,
    /// The work of one task.
    pub body: Vec<Stmt>,
}

impl LoopProgram {
    /// Whether the programs differ in names at most: they are lowered to the same code.
    pub fn does_the_same(&self, other: &Self) -> bool {
        let buffer = |(a, b): (&Buffer, &Buffer)| {
            (a.dtype, &a.shape, a.access, a.unit_dim) == (b.dtype, &b.shape, b.access, b.unit_dim)
        };
        let tile = |(a, b): (&Tile, &Tile)| (a.lane, a.rows, a.cols) == (b.lane, b.rows, b.cols);
        (self.compute, &self.vars, &self.grid) == (other.compute, &other.vars, &other.grid)
            && (self.buffers.len(), self.tiles.len()) == (other.buffers.len(), other.tiles.len())
            && self.buffers.iter().zip(&other.buffers).all(buffer)
            && self.tiles.iter().zip(&other.tiles).all(tile)
            && self.exprs == other.exprs
            && self.body == other.body
    }

    /// Whether a view is of a buffer whose elements are narrower than f32 and widened as they are loaded.
    pub fn stored_narrow(&self, view: &View) -> bool {
        let View::Buffer { buffer, .. } = view else { return false };
        let dtype = self.buffers.get(buffer.0 as usize).map(|b| b.dtype);
        dtype.is_some_and(|dtype| dtype != DType::F32 && is_line_type(dtype))
    }

    /// The type of a product's elements by its destination; `None` if that is neither f32 nor f64.
    pub fn product_lane(&self, dst: &View) -> Option<Lane> {
        let lane = match dst {
            View::Tile { tile, .. } => self.tiles.get(tile.0 as usize)?.lane,
            View::Buffer { buffer, .. } | View::Pairs { buffer, .. } => {
                super::storage::lane_of(self.buffers.get(buffer.0 as usize)?.dtype)
            }
        };
        matches!(lane, Lane::F32 | Lane::F64).then_some(lane)
    }
}
