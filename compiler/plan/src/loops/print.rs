//! Readable text of a loop program, for `explain --loops` and for tests.
//!
//! The text is a function of the program alone: equal programs print equal
//! text. Within one statement an expression that is used more than once and is
//! not a leaf is printed once, under `where`, and referred to by its number.
//! Must not know what a program is for. Read [`super::program`] for the meaning
//! of what is printed.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};

use super::expr::{Expr, ExprId, Lane};
use super::program::{
    Access, Additions, BufferId, Dst, KeyRange, Listed, LoopProgram, Masked, Open, Piece, RowSpans, SpanLoop, Stmt,
    TileId, View,
};

/// The text of `program`; extent symbol number n is called `symbols[n]`, or
/// `$n` where no name is given.
pub fn text(program: &LoopProgram, symbols: &[String]) -> String {
    let mut printer = Printer { program, symbols, out: String::new(), shared: BTreeMap::new() };
    printer.head();
    printer.block(&program.body, 1);
    printer.out
}

/// The text of one expression, without sharing.
pub fn expr_text(program: &LoopProgram, symbols: &[String], id: ExprId) -> String {
    Printer { program, symbols, out: String::new(), shared: BTreeMap::new() }.expr(id, 0)
}

/// The first line of a statement's text, without sharing.
pub fn statement_text(program: &LoopProgram, stmt: &Stmt) -> String {
    let mut printer = Printer { program, symbols: &[], out: String::new(), shared: BTreeMap::new() };
    match stmt {
        Stmt::For { var, from, to, .. } => {
            format!("for v{} in {}..{}", var.0, printer.expr(*from, 0), printer.expr(*to, 0))
        }
        Stmt::Spans(spans) => format!("spans({})", printer.tile_name(spans.list)),
        Stmt::If { cond, .. } => format!("if {}", printer.expr(*cond, 0)),
        leaf => {
            printer.share(leaf);
            printer.leaf(leaf)
        }
    }
}

impl fmt::Display for LoopProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self, &[]))
    }
}

/// The name of a lane type.
pub fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::F32 => "f32",
        Lane::F64 => "f64",
        Lane::I64 => "i64",
        Lane::Bool => "bool",
    }
}

struct Printer<'a> {
    program: &'a LoopProgram,
    symbols: &'a [String],
    out: String,
    /// Expressions of the current statement that are printed by number.
    shared: BTreeMap<ExprId, usize>,
}

impl Printer<'_> {
    fn head(&mut self) {
        let p = self.program;
        let _ = writeln!(self.out, "program {}: {}", p.name, lane_name(p.compute));
        for buffer in &p.buffers {
            let shape = self.list(&buffer.shape);
            let access = if buffer.access == Access::Write { "write" } else { "read" };
            let unit = buffer.unit_dim.map_or(String::new(), |d| format!(" unit {d}"));
            let _ = writeln!(self.out, "  {access} {}: {}[{shape}]{unit}", buffer.name, buffer.dtype.name());
        }
        for tile in &p.tiles {
            let (rows, cols) = (self.expr(tile.rows, 0), self.expr(tile.cols, 0));
            let _ = writeln!(self.out, "  tile {}: {}[{rows}, {cols}]", tile.name, lane_name(tile.lane));
        }
        for (var, count) in &p.grid {
            let count = self.expr(*count, 0);
            let _ = writeln!(self.out, "  task v{} in 0..{count}", var.0);
        }
    }

    fn block(&mut self, body: &[Stmt], depth: usize) {
        for stmt in body {
            self.stmt(stmt, depth);
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{:1$}{text}", "", 2 * depth);
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize) {
        self.share(stmt);
        match stmt {
            Stmt::For { var, from, to, step, body } => {
                let (from, to) = (self.expr(*from, 0), self.expr(*to, 0));
                let step = if *step == 1 { String::new() } else { format!(" step {step}") };
                self.line(depth, &format!("for v{} in {from}..{to}{step}", var.0));
                self.nested(body, depth);
            }
            Stmt::Spans(spans) => self.spans(spans, depth),
            Stmt::If { cond, then, otherwise } => {
                let cond = self.expr(*cond, 0);
                self.line(depth, &format!("if {cond}"));
                self.nested(then, depth);
                if !otherwise.is_empty() {
                    self.line(depth, "else");
                    self.nested(otherwise, depth);
                }
            }
            leaf => {
                let line = self.leaf(leaf);
                self.line(depth, &line);
                self.where_lines(depth);
            }
        }
    }

    fn nested(&mut self, body: &[Stmt], depth: usize) {
        self.where_lines(depth);
        self.block(body, depth + 1);
    }

    fn spans(&mut self, spans: &SpanLoop, depth: usize) {
        let limit = self.expr(spans.limit, 0);
        let list = self.tile_name(spans.list);
        let head = format!("for v{}..v{} in spans({list}) of 0..{limit} step {}", spans.var.0, spans.end.0, spans.tile);
        self.line(depth, &head);
        for piece in &spans.pieces {
            let line = self.piece(piece);
            self.line(depth + 1, &line);
        }
        self.line(depth, "do");
        self.nested(&spans.body, depth);
    }

    fn piece(&self, piece: &Piece) -> String {
        let mut line = format!("span {}..{}", self.expr(piece.from, 0), self.expr(piece.to, 0));
        if *self.program.exprs.get(piece.guard) != Expr::Bool(true) {
            let _ = write!(line, " if {}", self.expr(piece.guard, 0));
        }
        if let Some((var, count)) = piece.repeat {
            let _ = write!(line, " for v{} in 0..{}", var.0, self.expr(count, 0));
        }
        line
    }

    fn product(&self, stmt: &Stmt) -> String {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, rounded, factor } = stmt else {
            return String::new();
        };
        let assign = if *accumulate { "+=" } else { "=" };
        let open = match open {
            Open::All => String::new(),
            Open::Where => " where open".to_string(),
            Open::Spans(spans) => format!(" in {}", self.row_spans(spans)),
        };
        let rounded = if *rounded { " rounded" } else { "" };
        let masked = self.masked(masked.as_ref());
        let factor = factor.map_or(String::new(), |f| format!(" times {}", self.expr(f, 0)));
        let [dst, lhs, rhs] = [dst, lhs, rhs].map(|view| self.view(view));
        let shape = self.shape(&[*rows, *cols, *depth]);
        format!("product {shape} {dst} {assign} {lhs} * {rhs}{factor}{rounded}{masked}{open}")
    }

    fn masked(&self, masked: Option<&Masked>) -> String {
        let Some(Masked { cond, spans }) = masked else { return String::new() };
        let spans = spans.map_or(String::new(), |spans| format!(" outside {}", self.row_spans(&spans)));
        format!(" masked if {}{spans}", self.expr(*cond, 0))
    }

    fn row_spans(&self, RowSpans { from, to }: &RowSpans) -> String {
        format!("{}..{}", self.tile_name(*from), self.tile_name(*to))
    }

    /// Statements without a body.
    fn leaf(&self, stmt: &Stmt) -> String {
        match stmt {
            Stmt::Let { var, value } => format!("let v{} = {}", var.0, self.expr(*value, 0)),
            Stmt::Map { dst, rows, cols, value } => {
                format!("map {} {} = {}", self.shape(&[*rows, *cols]), self.dst(dst), self.expr(*value, 0))
            }
            Stmt::RowReduce { dst, op, rows, cols, domain, value, accumulate } => {
                let domain = domain.map_or(String::new(), |d| format!(" where {}", self.expr(d, 0)));
                let assign = if *accumulate { "fold=" } else { "=" };
                format!(
                    "reduce {} {} {assign} {}{domain} of {}",
                    self.shape(&[*rows, *cols]),
                    self.tile_name(*dst),
                    op.name(),
                    self.expr(*value, 0)
                )
            }
            Stmt::Product { .. } => self.product(stmt),
            Stmt::Pack { dst, src, rows, cols } => {
                format!("pack {} {} = {}", self.shape(&[*rows, *cols]), self.view(dst), self.view(src))
            }
            Stmt::Dots { dst, lhs, rhs, rows, cols, depth } => {
                let [dst, lhs, rhs] = [dst, lhs, rhs].map(|view| self.view(view));
                format!("dots {} {dst} = {lhs} * {rhs}'", self.shape(&[*rows, *cols, *depth]))
            }
            Stmt::List { .. } | Stmt::DotsListed { .. } | Stmt::SumListed { .. } | Stmt::DropUnweighted { .. } => {
                self.listed(stmt)
            }
            Stmt::MaxPlus { .. } => self.max_plus(stmt),
            Stmt::ProductTanh { .. } => self.product_tanh(stmt),
            Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, rows, cols } => {
                let [scores, max, sum, alpha] = [scores, max, sum, alpha].map(|t| self.tile_name(*t));
                let (shape, masked) = (self.shape(&[*rows, *cols]), self.masked(masked.as_ref()));
                format!("softmax {shape} {scores} max {max} sum {sum} alpha {alpha}{masked}")
            }
            Stmt::Order { keys, order, at, count } => {
                let place: String = at.iter().map(|i| format!("{}, ", self.expr(*i, 0))).collect();
                let [keys, order] = [keys, order].map(|b| self.buffer_name(*b));
                format!("order {} {order}[{place}..] of {keys}[{place}..]", self.shape(&[*count]))
            }
            Stmt::Ranks { dst, keys, counted, rows, cols, limit, .. } => {
                let counted = counted.map(|t| format!(" counted {}", self.tile_name(t))).unwrap_or_default();
                let limit = limit.map(|limit| format!(" up to {}", self.expr(limit, 0))).unwrap_or_default();
                let [dst, keys] = [dst, keys].map(|t| self.tile_name(*t));
                format!("ranks {} {dst} of {keys}{counted}{limit}", self.shape(&[*rows, *cols]))
            }
            Stmt::ClearLargest { dst, scores, slack, rows, cols } => {
                let [dst, scores, slack] = [dst, scores, slack].map(|t| self.tile_name(*t));
                format!("clear-largest {} {dst} of {scores} slack {slack}", self.shape(&[*rows, *cols]))
            }
            Stmt::ScatterAdd { dst, src, at, rows, cols, width } => {
                let [dst, src, at] = [dst, src, at].map(|t| self.tile_name(*t));
                format!(
                    "scatter {} {dst}[row, {at} of {}] += {src}",
                    self.shape(&[*rows, *cols]),
                    self.shape(&[*width])
                )
            }
            Stmt::KeepSpans { tile, from, to, keep, fill, rows, cols } => {
                let [tile, from, to] = [tile, from, to].map(|t| self.tile_name(*t));
                let side = if *keep { "outside" } else { "inside" };
                format!("fill {} {tile} = {fill:?} {side} {from}..{to}", self.shape(&[*rows, *cols]))
            }
            Stmt::KeepKeys { .. } => self.keep_keys(stmt),
            Stmt::NarrowSpans { spans, range, rows, cols } => {
                let (shape, range) = (self.shape(&[*rows, *cols]), self.key_range(range));
                format!("narrow {shape} {} where {range}", self.row_spans(spans))
            }
            Stmt::Flush { tile, rows, cols } => {
                format!("flush {} {}", self.shape(&[*rows, *cols]), self.tile_name(*tile))
            }
            Stmt::ScaleRows { tile, alpha, rows, cols } => {
                let (tile, alpha) = (self.tile_name(*tile), self.tile_name(*alpha));
                format!("scale {} {tile} *= {alpha}", self.shape(&[*rows, *cols]))
            }
            Stmt::For { .. } | Stmt::Spans(_) | Stmt::If { .. } => String::new(),
        }
    }

    fn keep_keys(&self, stmt: &Stmt) -> String {
        let Stmt::KeepKeys { tile, any, fill, rows, cols } = stmt else { return String::new() };
        let ranges: Vec<String> = any.iter().map(|range| self.key_range(range)).collect();
        format!(
            "fill {} {} = {fill:?} unless {}",
            self.shape(&[*rows, *cols]),
            self.tile_name(*tile),
            ranges.join(" or ")
        )
    }

    fn key_range(&self, range: &KeyRange) -> String {
        let [least, most] = [range.least, range.most].map(|t| t.map_or(String::new(), |t| self.tile_name(t)));
        let side = if range.inside { "in" } else { "not in" };
        format!("{} {side} {least}..={most}", self.tile_name(range.keys))
    }

    fn listed(&self, stmt: &Stmt) -> String {
        if let Stmt::DropUnweighted { weights, list, count, rows, cols } = stmt {
            let [weights, list, count] = [weights, list, count].map(|t| self.tile_name(*t));
            return format!("drop {} {list} count {count} where {weights} is 0", self.shape(&[*rows, *cols]));
        }
        let lines = |of: &Listed| {
            let [list, count] = [of.list, of.count].map(|t| self.tile_name(t));
            format!("{} at {list} up to {count} of {}", self.view(&of.lines), self.expr(of.limit, 5))
        };
        match stmt {
            Stmt::List { list, count, most, added, first, rows, cols, .. } => {
                let [list, count, most] = [list, count, most].map(|t| self.tile_name(*t));
                let added = match added {
                    Additions::Spans(spans) => self.row_spans(spans),
                    Additions::Open(tile) => format!("open in {}", self.tile_name(*tile)),
                };
                let (shape, first) = (self.shape(&[*rows, *cols]), self.expr(*first, 0));
                format!("list {shape} {list} count {count} most {most} += {added} from {first}")
            }
            Stmt::DotsListed { dst, lhs, of, rows, cols, depth } => {
                let (shape, dst) = (self.shape(&[*rows, *cols, *depth]), self.tile_name(*dst));
                format!("dots {shape} {dst} = {} * {}'", self.view(lhs), lines(of))
            }
            Stmt::SumListed { dst, weights, of, rows, cols, depth } => {
                let (shape, dst) = (self.shape(&[*rows, *cols, *depth]), self.tile_name(*dst));
                format!("product {shape} {dst} += {} * {}", self.tile_name(*weights), lines(of))
            }
            _ => String::new(),
        }
    }

    fn product_tanh(&self, stmt: &Stmt) -> String {
        let Stmt::ProductTanh { dst, weight, lhs, rhs, rows, cols, depth, accumulate, .. } = stmt else {
            return String::new();
        };
        let assign = if *accumulate { "+=" } else { "=" };
        let [dst, weight, lhs, rhs] = [dst, weight, lhs, rhs].map(|view| self.view(view));
        let shape = self.shape(&[*rows, *cols, *depth]);
        format!("product {shape} {dst} {assign} {weight} * tanh({lhs} + {rhs})")
    }

    fn max_plus(&self, stmt: &Stmt) -> String {
        let Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, least, masked } = stmt else { return String::new() };
        let op = if *least { "min" } else { "max" };
        let masked = masked.map_or(String::new(), |m| format!(" masked if {}", self.expr(m, 0)));
        let [dst, lhs, rhs] = [dst, lhs, rhs].map(|view| self.view(view));
        format!("{op}-plus {} {dst} fold= {lhs} + {rhs}{masked}", self.shape(&[*rows, *cols, *depth]))
    }

    fn tile_name(&self, tile: TileId) -> String {
        self.program.tiles.get(tile.0 as usize).map_or_else(|| format!("tile{}?", tile.0), |t| t.name.clone())
    }

    fn buffer_name(&self, buffer: BufferId) -> String {
        self.program.buffers.get(buffer.0 as usize).map_or_else(|| format!("buffer{}?", buffer.0), |b| b.name.clone())
    }

    fn list(&self, ids: &[ExprId]) -> String {
        let parts: Vec<String> = ids.iter().map(|id| self.expr(*id, 0)).collect();
        parts.join(", ")
    }

    fn shape(&self, ids: &[ExprId]) -> String {
        let parts: Vec<String> = ids.iter().map(|id| self.expr(*id, 5)).collect();
        format!("<{}>", parts.join(" x "))
    }

    fn dst(&self, dst: &Dst) -> String {
        match dst {
            Dst::Tile { tile, row, col } => format!("{}[{}]", self.tile_name(*tile), self.list(&[*row, *col])),
            Dst::Buffer { buffer, index } => format!("{}[{}]", self.buffer_name(*buffer), self.list(index)),
        }
    }

    fn view(&self, view: &View) -> String {
        match view {
            View::Tile { tile, row, col, transposed } => {
                let mark = if *transposed { "'" } else { "" };
                format!("{}{mark}@[{}]", self.tile_name(*tile), self.list(&[*row, *col]))
            }
            View::Buffer { buffer, index, row_dim, col_dim, steps } => {
                let dim = |d: &Option<usize>, step: i64| match (d, step) {
                    (None, _) => "-".to_string(),
                    (Some(d), 1) => d.to_string(),
                    (Some(d), step) => format!("{d} step {step}"),
                };
                let at = self.list(index);
                let (rows, cols) = (dim(row_dim, steps[0]), dim(col_dim, steps[1]));
                format!("{}@[{at}](rows {rows}, cols {cols})", self.buffer_name(*buffer))
            }
            View::Pairs { buffer, index, row_dim, col_dim } => {
                let at = self.list(index);
                format!("{}@[{at}](pairs of rows {row_dim}, cols {col_dim})", self.buffer_name(*buffer))
            }
        }
    }
}

/// Binding strength of what is printed, low to high, as in the spec language.
mod strength {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const COMPARE: u8 = 4;
    pub const ADD: u8 = 5;
    pub const MUL: u8 = 6;
    pub const NEG: u8 = 7;
    pub const POW: u8 = 8;
    pub const LEAF: u8 = 9;
}

impl Printer<'_> {
    /// Infix text; brackets are added where `outer` binds tighter.
    fn expr(&self, id: ExprId, outer: u8) -> String {
        match self.shared.get(&id) {
            Some(number) => format!("%{number}"),
            None => self.open(id, outer),
        }
    }

    fn open(&self, id: ExprId, outer: u8) -> String {
        let (text, own) = self.infix(id);
        if own < outer { format!("({text})") } else { text }
    }

    fn infix(&self, id: ExprId) -> (String, u8) {
        use strength::LEAF;
        let text = match self.program.exprs.get(id) {
            Expr::Unary(op, x) => return self.unary(*op, *x),
            Expr::Binary(op, x, y) => return self.binary(*op, *x, *y),
            Expr::Nary(op, xs) => return self.nary(*op, xs),
            Expr::Real(_, v) => format!("{:?}", v.get()),
            Expr::Int(v) if *v < 0 => return (v.to_string(), strength::NEG),
            Expr::Int(v) => v.to_string(),
            Expr::Bool(v) => v.to_string(),
            Expr::Extent(n) => self.symbols.get(*n as usize).cloned().unwrap_or_else(|| format!("${n}")),
            Expr::Var(v) => format!("v{}", v.0),
            Expr::Row => "row".to_string(),
            Expr::Col => "col".to_string(),
            Expr::Tile { tile, row, col } => format!("{}[{}]", self.tile_name(*tile), self.list(&[*row, *col])),
            Expr::Load { buffer, index, clamp } => {
                let mark = if *clamp { "~" } else { "" };
                format!("{}{mark}[{}]", self.buffer_name(*buffer), self.list(index))
            }
            Expr::LowerBound { buffer, index, dim, count, value } => format!(
                "lower_bound({}[{}], dim {dim}, {}, {})",
                self.buffer_name(*buffer),
                self.list(index),
                self.expr(*count, 0),
                self.expr(*value, 0)
            ),
            Expr::Select(c, a, b) => {
                format!("select({}, {}, {})", self.expr(*c, 0), self.expr(*a, 0), self.expr(*b, 0))
            }
            Expr::Cast(lane, x) => format!("{}({})", lane_name(*lane), self.expr(*x, 0)),
        };
        (text, LEAF)
    }

    fn unary(&self, op: UnaryOp, x: ExprId) -> (String, u8) {
        match op {
            UnaryOp::Neg => (format!("-{}", self.expr(x, strength::NEG)), strength::NEG),
            UnaryOp::Not => (format!("not {}", self.expr(x, strength::NOT)), strength::NOT),
            _ => (format!("{}({})", op.name(), self.expr(x, 0)), strength::LEAF),
        }
    }

    fn binary(&self, op: BinaryOp, x: ExprId, y: ExprId) -> (String, u8) {
        let own = match op {
            BinaryOp::LogAddExp => {
                return (format!("logaddexp({})", self.list(&[x, y])), strength::LEAF);
            }
            BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod => strength::MUL,
            BinaryOp::Pow => strength::POW,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le => strength::COMPARE,
        };
        let left = if op == BinaryOp::Pow || op.is_comparison() { own + 1 } else { own };
        (format!("{} {} {}", self.expr(x, left), op.name(), self.expr(y, own + 1)), own)
    }

    fn nary(&self, op: NaryOp, xs: &[ExprId]) -> (String, u8) {
        let own = match op {
            NaryOp::Min | NaryOp::Max => return (format!("{}({})", op.name(), self.list(xs)), strength::LEAF),
            NaryOp::Add => strength::ADD,
            NaryOp::Mul => strength::MUL,
            NaryOp::And => strength::AND,
            NaryOp::Or => strength::OR,
        };
        let mut text = String::new();
        for (at, x) in xs.iter().enumerate() {
            match (op, self.program.exprs.get(*x)) {
                (_, _) if at == 0 => text += &self.expr(*x, own),
                (NaryOp::Add, Expr::Unary(UnaryOp::Neg, y)) if !self.shared.contains_key(x) => {
                    let _ = write!(text, " - {}", self.expr(*y, own + 1));
                }
                (NaryOp::Add, Expr::Int(v)) if *v < 0 => {
                    let _ = write!(text, " - {}", v.unsigned_abs());
                }
                _ => {
                    let _ = write!(text, " {} {}", op.name(), self.expr(*x, own + 1));
                }
            }
        }
        (text, own)
    }
}

/// Sharing within one statement.
impl Printer<'_> {
    /// Numbers the expressions under `stmt`'s own roots that have several users.
    fn share(&mut self, stmt: &Stmt) {
        self.shared.clear();
        let exprs = &self.program.exprs;
        let mut uses: BTreeMap<ExprId, usize> = BTreeMap::new();
        for root in stmt.roots() {
            *uses.entry(root).or_default() += 1;
        }
        // Operands come before users, so descending order meets every user first.
        let mut reached = BTreeMap::new();
        while let Some((id, count)) = uses.pop_last() {
            reached.insert(id, count);
            for x in exprs.get(id).operands() {
                *uses.entry(x).or_default() += 1;
            }
        }
        let shared = reached.into_iter().filter(|(id, count)| *count > 1 && !self.is_short(*id));
        self.shared = shared.enumerate().map(|(number, (id, _))| (id, number)).collect();
    }

    /// Whether writing the expression again is as readable as a number.
    fn is_short(&self, id: ExprId) -> bool {
        let exprs = &self.program.exprs;
        match exprs.get(id) {
            Expr::Tile { .. } | Expr::Load { .. } | Expr::LowerBound { .. } | Expr::Select(..) => false,
            other => other.operands().iter().all(|x| exprs.get(*x).operands().is_empty()) && other.operands().len() < 3,
        }
    }

    fn where_lines(&mut self, depth: usize) {
        let lines: Vec<String> =
            self.shared.iter().map(|(id, number)| format!("where %{number} = {}", self.open(*id, 0))).collect();
        for line in lines {
            self.line(depth + 2, &line);
        }
        self.shared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::expr::Exprs;
    use super::super::program::{Buffer, BufferId, Tile, TileId, VarId};
    use super::*;
    use attnc_algebra::DType;

    #[test]
    fn shared_parts_are_printed_once_and_brackets_only_where_needed() {
        let mut e = Exprs::default();
        let (row, col, n, two) =
            (e.add(Expr::Row, None), e.add(Expr::Col, None), e.add(Expr::Extent(0), None), e.int(2));
        let left = e.difference(n, two);
        let index = e.times(left, two);
        let x = e.add(Expr::Load { buffer: BufferId(0), index: vec![index], clamp: true }, Some(Lane::F32));
        let square = e.times(x, x);
        let value = e.binary(BinaryOp::Div, x, square);
        let dst = Dst::Tile { tile: TileId(0), row, col };
        let program = LoopProgram {
            name: "sketch".into(),
            compute: Lane::F32,
            vars: vec![Lane::I64],
            buffers: vec![Buffer {
                name: "x".into(),
                dtype: DType::F32,
                shape: vec![n],
                access: Access::Read,
                unit_dim: None,
            }],
            tiles: vec![Tile { name: "t".into(), lane: Lane::F32, rows: two, cols: n }],
            grid: vec![(VarId(0), n)],
            body: vec![Stmt::Map { dst, rows: two, cols: n, value }],
            exprs: e,
        };
        let expected = "\
program sketch: f32
  read x: f32[N]
  tile t: f32[2, N]
  task v0 in 0..N
  map <2 x N> t[row, col] = %0 / (%0 * %0)
      where %0 = x~[(N - 2) * 2]
";
        assert_eq!(text(&program, &["N".to_string()]), expected);
    }
}
