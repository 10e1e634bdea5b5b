//! Tile products and softmax updates, by their definitions.

use super::{InterpretError, Machine, Run};
use crate::loops::arithmetic::Value;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::program::{Additions, KeyRange, Listed, Masked, Open, RowSpans, Stmt, TileId, View};
use crate::loops::storage::rounded_to_bf16;

/// A view whose offsets are evaluated.
struct Corner<'a> {
    view: &'a View,
    /// Row and column in a tile, or one index per dimension of a buffer.
    at: Vec<i64>,
}

impl Machine<'_, '_> {
    pub(super) fn kernel(&mut self, stmt: &Stmt) -> Run<()> {
        match stmt {
            Stmt::Product { .. } => self.product(stmt),
            Stmt::Pack { dst, src, rows, cols } => self.pack([dst, src], [*rows, *cols]),
            Stmt::Dots { .. } => self.dots(stmt),
            Stmt::List { .. } => self.list(stmt),
            Stmt::DotsListed { .. } => self.dots_listed(stmt),
            Stmt::SumListed { .. } => self.sum_listed(stmt),
            Stmt::MaxPlus { .. } => self.max_plus(stmt),
            Stmt::ProductTanh { .. } => self.product_tanh(stmt),
            Stmt::SoftmaxUpdate { .. } => self.softmax(stmt),
            Stmt::Order { .. } => self.sort(stmt),
            Stmt::ClearLargest { .. } => self.clear_largest(stmt),
            Stmt::Ranks { .. } => self.ranks(stmt),
            Stmt::KeepSpans { .. } => self.keep_spans(stmt),
            Stmt::KeepKeys { .. } => self.keep_keys(stmt),
            Stmt::NarrowSpans { .. } => self.narrow_spans(stmt),
            Stmt::DropUnweighted { .. } => self.drop_unweighted(stmt),
            Stmt::ScatterAdd { .. } => self.scatter_add(stmt),
            Stmt::Flush { tile, rows, cols } => {
                let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
                let least = match self.program.tiles[tile.0 as usize].lane {
                    Lane::F64 => f64::MIN_POSITIVE,
                    _ => f64::from(f32::MIN_POSITIVE),
                };
                for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                    if self.read_tile(*tile, row, col)?.real().abs() < least {
                        self.write_tile(*tile, row, col, Value::Real(0.0))?;
                    }
                }
                Ok(())
            }
            Stmt::ScaleRows { tile, alpha, rows, cols } => {
                let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
                for row in 0..rows {
                    let factor = self.read_tile(*alpha, row, 0)?.real();
                    for col in 0..cols {
                        let old = self.read_tile(*tile, row, col)?.real();
                        self.write_tile(*tile, row, col, Value::Real(old * factor))?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn product(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, factor, .. } = stmt else {
            return Ok(());
        };
        let shape = [self.int(*rows)?.max(0), self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let [rows, cols, depth] = shape;
        let masked = match masked {
            Some(masked) => self.scalar(masked.cond)?.truth(),
            None => false,
        };
        let factor = match factor {
            Some(factor) => self.scalar(*factor)?.real(),
            None => 1.0,
        };
        let pairs = matches!(rhs, View::Pairs { .. });
        let (dst, lhs, rhs) = (self.corner(dst)?, self.corner(lhs)?, self.corner(rhs)?);
        let matrix = self.matrix(&rhs, depth, cols)?;
        let mut line = vec![0.0f64; cols as usize];
        for row in 0..rows {
            for col in 0..cols {
                line[col as usize] = if *accumulate { self.element(&dst, row, col)?.real() } else { 0.0 };
            }
            for k in 0..depth {
                let x = self.element(&lhs, row, k)?.real();
                let x = if pairs { rounded_to_bf16(x) } else { x };
                if masked && x == 0.0 {
                    continue;
                }
                let from = (k * cols) as usize;
                for (sum, y) in line.iter_mut().zip(&matrix[from..]) {
                    *sum += x * y;
                }
            }
            for col in 0..cols {
                let value = match open {
                    Open::Where if self.element(&dst, row, col)?.real() == f64::NEG_INFINITY => continue,
                    // Nothing may depend on it.
                    Open::Spans(spans) if !self.sees(spans, row, col)? => f64::NAN,
                    _ => line[col as usize] * factor,
                };
                self.set_element(&dst, row, col, value)?;
            }
        }
        Ok(())
    }

    /// Whether a row sees a column.
    fn sees(&self, RowSpans { from, to }: &RowSpans, row: i64, col: i64) -> Run<bool> {
        let [from, to] = [self.read_tile(*from, row, 0)?.int(), self.read_tile(*to, row, 0)?.int()];
        Ok((from..to).contains(&col))
    }

    fn pack(&mut self, [dst, src]: [&View; 2], [rows, cols]: [ExprId; 2]) -> Run<()> {
        let [rows, cols] = [self.int(rows)?.max(0), self.int(cols)?.max(0)];
        let (dst, src) = (self.corner(dst)?, self.corner(src)?);
        for row in 0..rows + rows % 2 {
            for col in 0..cols {
                let value = if row < rows { self.element(&src, row, col)?.real() } else { 0.0 };
                self.set_element(&dst, row, col, value)?;
            }
        }
        Ok(())
    }

    fn dots(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::Dots { dst, lhs, rhs, rows, cols, depth } = stmt else { return Ok(()) };
        let [rows, cols, depth] = [self.int(*rows)?.max(0), self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let (dst, lhs, rhs) = (self.corner(dst)?, self.corner(lhs)?, self.corner(rhs)?);
        let (rows_of, lines) = (self.matrix(&lhs, rows, depth)?, self.matrix(&rhs, cols, depth)?);
        for row in 0..rows {
            for col in 0..cols {
                let (x, y) = (&rows_of[(row * depth) as usize..], &lines[(col * depth) as usize..]);
                let sum = x.iter().zip(y).take(depth as usize).map(|(x, y)| x * y).sum();
                self.set_element(&dst, row, col, sum)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::List { list, count, most, added, first, rows, cols, .. } = stmt else { return Ok(()) };
        let (first, rows, cols) = (self.int(*first)?, self.int(*rows)?, self.int(*cols)?);
        let room = self.int(self.program.tiles[list.0 as usize].cols)?;
        for row in 0..rows {
            let mut at = self.read_tile(*count, row, 0)?.int().clamp(0, room);
            for col in 0..cols {
                let added = match added {
                    Additions::Spans(spans) => self.sees(spans, row, col)?,
                    Additions::Open(tile) => self.read_tile(*tile, row, col)?.real() != f64::NEG_INFINITY,
                };
                if added && at < room {
                    self.write_tile(*list, row, at, Value::Int(first + col))?;
                    at += 1;
                }
            }
            self.write_tile(*count, row, 0, Value::Int(at))?;
            let largest = self.read_tile(*most, 0, 0)?.int().max(at);
            self.write_tile(*most, 0, 0, Value::Int(largest))?;
        }
        Ok(())
    }

    /// The lines that a row lists, at most `most`; where there are no lines, none.
    fn listed(&mut self, of: &Listed, row: i64, (limit, most): (i64, i64)) -> Run<Vec<i64>> {
        let count = self.read_tile(of.count, row, 0)?.int().clamp(0, most);
        let line = |at: i64| Ok((self.read_tile(of.list, row, at)?.int() as u64).min(limit as u64 - 1) as i64);
        if limit < 1 { Ok(Vec::new()) } else { (0..count).map(line).collect() }
    }

    fn dots_listed(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::DotsListed { dst, lhs, of, rows, cols, depth } = stmt else { return Ok(()) };
        let [rows, cols, depth] = [self.int(*rows)?, self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let (limit, lhs, lines) = (self.int(of.limit)?, self.corner(lhs)?, self.corner(&of.lines)?);
        for row in 0..rows {
            let listed = self.listed(of, row, (limit, cols))?;
            for col in 0..cols {
                let mut sum = f64::NEG_INFINITY;
                if let Some(line) = listed.get(col as usize) {
                    sum = 0.0;
                    for k in 0..depth {
                        sum += self.element(&lhs, row, k)?.real() * self.element(&lines, *line, k)?.real();
                    }
                }
                self.write_tile(*dst, row, col, Value::Real(sum))?;
            }
        }
        Ok(())
    }

    fn sum_listed(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::SumListed { dst, weights, of, rows, cols, depth } = stmt else { return Ok(()) };
        let [rows, cols, depth] = [self.int(*rows)?, self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let (limit, lines) = (self.int(of.limit)?, self.corner(&of.lines)?);
        for row in 0..rows {
            let listed = self.listed(of, row, (limit, depth))?;
            for col in 0..cols {
                let mut sum = self.read_tile(*dst, row, col)?.real();
                for (at, line) in (0..).zip(&listed) {
                    sum += self.read_tile(*weights, row, at)?.real() * self.element(&lines, *line, col)?.real();
                }
                self.write_tile(*dst, row, col, Value::Real(sum))?;
            }
        }
        Ok(())
    }

    fn product_tanh(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::ProductTanh { dst, weight, weight_rows, lhs, rhs, rows, cols, depth, accumulate } = stmt else {
            return Ok(());
        };
        let [rows, cols, depth] = [self.int(*rows)?.max(0), self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let (dst, lhs, rhs) = (self.corner(dst)?, self.corner(lhs)?, self.corner(rhs)?);
        let weight = self.corner(weight)?;
        let matrix = self.matrix(&rhs, depth, cols)?;
        for row in 0..rows {
            for col in 0..cols {
                let mut sum = if *accumulate { self.element(&dst, row, col)?.real() } else { 0.0 };
                for k in 0..depth {
                    let argument = self.element(&lhs, row, k)?.real() + matrix[(k * cols + col) as usize];
                    let factor = self.element(&weight, if *weight_rows { row } else { 0 }, k)?.real();
                    sum += factor * libm::tanh(argument);
                }
                self.set_element(&dst, row, col, sum)?;
            }
        }
        Ok(())
    }

    fn max_plus(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, least, masked } = stmt else { return Ok(()) };
        let masked = masked.map_or(Ok(false), |masked| self.scalar(masked).map(|value| value.truth()))?;
        let [rows, cols, depth] = [self.int(*rows)?.max(0), self.int(*cols)?.max(0), self.int(*depth)?.max(0)];
        let (dst, lhs, rhs) = (self.corner(dst)?, self.corner(lhs)?, self.corner(rhs)?);
        let (matrix, sign) = (self.matrix(&rhs, depth, cols)?, if *least { -1.0 } else { 1.0 });
        for row in 0..rows {
            for col in 0..cols {
                let mut best = sign * self.element(&dst, row, col)?.real();
                for k in 0..depth {
                    let own = self.element(&lhs, row, k)?.real();
                    if masked && sign * own == f64::NEG_INFINITY {
                        continue;
                    }
                    let sum = sign * (own + matrix[(k * cols + col) as usize]);
                    best = if best.is_nan() || sum.is_nan() { f64::NAN } else { best.max(sum) };
                }
                self.set_element(&dst, row, col, sign * best)?;
            }
        }
        Ok(())
    }

    fn keep_spans(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::KeepSpans { tile, from, to, keep, fill, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        for row in 0..rows {
            let (from, to) = (self.read_tile(*from, row, 0)?.int(), self.read_tile(*to, row, 0)?.int());
            for col in 0..cols {
                if (from..to).contains(&col) != *keep {
                    self.write_tile(*tile, row, col, Value::Real(*fill))?;
                }
            }
        }
        Ok(())
    }

    fn keep_keys(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::KeepKeys { tile, any, fill, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        for row in 0..rows {
            for col in 0..cols {
                let mut kept = false;
                for range in any {
                    kept |= self.in_range(range, row, col)?;
                }
                if !kept {
                    self.write_tile(*tile, row, col, Value::Real(*fill))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a range holds at a row and a column.
    fn in_range(&self, range: &KeyRange, row: i64, col: i64) -> Run<bool> {
        let end = |tile: Option<TileId>, none: i64| match tile {
            Some(tile) => self.read_tile(tile, row, 0).map(|value| value.int()),
            None => Ok(none),
        };
        let (least, most) = (end(range.least, i64::MIN)?, end(range.most, i64::MAX)?);
        let key = self.read_tile(range.keys, 0, col)?.int();
        Ok((least..=most).contains(&key) == range.inside)
    }

    fn drop_unweighted(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::DropUnweighted { weights, list, count, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        for row in 0..rows {
            let mut kept = 0;
            for at in 0..self.read_tile(*count, row, 0)?.int().clamp(0, cols) {
                let (weight, place) = (self.read_tile(*weights, row, at)?, self.read_tile(*list, row, at)?);
                if weight.real() != 0.0 {
                    self.write_tile(*weights, row, kept, weight)?;
                    self.write_tile(*list, row, kept, place)?;
                    kept += 1;
                }
            }
            self.write_tile(*count, row, 0, Value::Int(kept))?;
        }
        Ok(())
    }

    fn narrow_spans(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::NarrowSpans { spans, range, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        for row in 0..rows {
            // The first run in which the range holds: of keys that do not descend, the only one.
            let (mut first, mut end) = (cols, cols);
            for col in 0..cols {
                let holds = self.sees(spans, row, col)? && self.in_range(range, row, col)?;
                first = if holds { first.min(col) } else { first };
                end = if !holds && first < col { end.min(col) } else { end };
            }
            self.write_tile(spans.from, row, 0, Value::Int(first))?;
            self.write_tile(spans.to, row, 0, Value::Int(end.max(first)))?;
        }
        Ok(())
    }

    fn scatter_add(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::ScatterAdd { dst, src, at, rows, cols, width } = stmt else { return Ok(()) };
        let (rows, cols, width) = (self.int(*rows)?, self.int(*cols)?, self.int(*width)?);
        for row in 0..rows {
            for col in 0..cols {
                let to = self.read_tile(*at, row, col)?.int();
                if (0..width).contains(&to) {
                    let sum = self.read_tile(*dst, row, to)?.real() + self.read_tile(*src, row, col)?.real();
                    self.write_tile(*dst, row, to, Value::Real(sum))?;
                }
            }
        }
        Ok(())
    }

    fn clear_largest(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::ClearLargest { dst, scores, slack, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        for row in 0..rows {
            let (mut largest, mut second, mut at) = (f64::NEG_INFINITY, f64::NEG_INFINITY, -1);
            for col in 0..cols {
                let score = self.read_tile(*scores, row, col)?.real();
                if score > largest {
                    (largest, second, at) = (score, largest, col);
                } else if score > second {
                    second = score;
                }
            }
            let slack = self.read_tile(*slack, row, 0)?.real();
            let clear = largest - second > slack;
            self.write_tile(*dst, row, 0, Value::Int(if clear { at } else { -1 }))?;
        }
        Ok(())
    }

    fn ranks(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::Ranks { dst, keys, counted, rows, cols, limit, .. } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        let limit = limit.map(|limit| self.int(limit)).transpose()?;
        let whole = self.lane_of_tile(*keys) == Lane::I64;
        for row in 0..rows {
            let mut order = Vec::new();
            for col in 0..cols {
                let key = self.read_tile(*keys, row, col)?;
                let real = if whole { 0.0 } else { key.real() };
                order.push((real, if whole { key.int() } else { 0 }, col));
            }
            // Stable: columns are pushed in ascending order.
            order.sort_by(|(x, i, _), (y, j, _)| {
                let reals = match (x.is_nan(), y.is_nan()) {
                    (false, false) => y.partial_cmp(x).unwrap_or(std::cmp::Ordering::Equal),
                    (x, y) => x.cmp(&y),
                };
                reals.then(j.cmp(i))
            });
            let mut before = 0;
            for (_, _, col) in order {
                let rank = limit.map_or(before, |limit| before.min(limit.max(0)));
                self.write_tile(*dst, row, col, Value::Int(rank))?;
                let counts = match counted {
                    Some(counted) => self.read_tile(*counted, row, col)?.truth(),
                    None => true,
                };
                before += i64::from(counts);
            }
        }
        Ok(())
    }

    fn softmax(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, rows, cols } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        if let Some(Masked { cond, spans: Some(spans) }) = masked
            && self.scalar(*cond)?.truth()
        {
            for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                if !self.sees(spans, row, col)? {
                    self.write_tile(*scores, row, col, Value::Real(f64::NEG_INFINITY))?;
                }
            }
        }
        let single = self.lane_of_tile(*scores) == Lane::F32;
        let rounded = |x: f64| if single { f64::from(x as f32) } else { x };
        for row in 0..rows {
            let old = self.read_tile(*max, row, 0)?.real();
            let mut top = old;
            for col in 0..cols {
                let score = self.read_tile(*scores, row, col)?.real();
                top = if score.is_nan() || score > top { score } else { top };
            }
            let factor = if old == top { 1.0 } else { libm::exp(rounded(old - top)) };
            let mut total = rounded(self.read_tile(*sum, row, 0)?.real() * factor);
            for col in 0..cols {
                let score = self.read_tile(*scores, row, col)?.real();
                let weight = if score == f64::NEG_INFINITY { 0.0 } else { rounded(libm::exp(rounded(score - top))) };
                total += weight;
                self.write_tile(*scores, row, col, Value::Real(weight))?;
            }
            self.write_tile(*max, row, 0, Value::Real(top))?;
            self.write_tile(*sum, row, 0, Value::Real(total))?;
            self.write_tile(*alpha, row, 0, Value::Real(factor))?;
        }
        Ok(())
    }

    fn sort(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::Order { keys, order, at, count } = stmt else { return Ok(()) };
        let count = self.int(*count)?;
        let lead = at.iter().map(|id| self.int(*id)).collect::<Run<Vec<i64>>>()?;
        let place = |p: i64| lead.iter().copied().chain([p]).collect::<Vec<i64>>();
        let mut sorted = Vec::new();
        for p in 0..count {
            let name = |error| self.program.buffers[keys.0 as usize].named(error);
            sorted.push((self.buffers[keys.0 as usize].read(&place(p)).map_err(name)?.int(), p));
        }
        sorted.sort_unstable();
        for (p, (_, from)) in (0..count).zip(sorted) {
            let name = |error| self.program.buffers[order.0 as usize].named(error);
            self.buffers[order.0 as usize].write(&place(p), Value::Int(from)).map_err(name)?;
        }
        Ok(())
    }

    fn lane_of_tile(&self, tile: TileId) -> Lane {
        self.program.tiles[tile.0 as usize].lane
    }

    fn corner<'v>(&mut self, view: &'v View) -> Run<Corner<'v>> {
        let ids: Vec<ExprId> = match view {
            View::Tile { row, col, .. } => vec![*row, *col],
            View::Buffer { index, .. } | View::Pairs { index, .. } => index.clone(),
        };
        let at = ids.iter().map(|id| self.int(*id)).collect::<Result<_, InterpretError>>()?;
        Ok(Corner { view, at })
    }

    /// All elements of a view, row after row.
    fn matrix(&self, corner: &Corner<'_>, rows: i64, cols: i64) -> Run<Vec<f64>> {
        let mut all = Vec::new();
        for row in 0..rows {
            for col in 0..cols {
                all.push(match self.element(corner, row, col)? {
                    Value::Int(v) => v as f64,
                    value => value.real(),
                });
            }
        }
        Ok(all)
    }

    fn element(&self, corner: &Corner<'_>, row: i64, col: i64) -> Run<Value> {
        match corner.view {
            View::Tile { tile, transposed, .. } => {
                let (row, col) = if *transposed { (col, row) } else { (row, col) };
                self.read_tile(*tile, corner.at[0] + row, corner.at[1] + col)
            }
            View::Buffer { buffer, .. } | View::Pairs { buffer, .. } => {
                let index = corner.index(row, col);
                let name = |error| self.program.buffers[buffer.0 as usize].named(error);
                self.buffers[buffer.0 as usize].read(&index).map_err(name)
            }
        }
    }

    fn set_element(&mut self, corner: &Corner<'_>, row: i64, col: i64, value: f64) -> Run<()> {
        match corner.view {
            View::Tile { tile, transposed, .. } => {
                let (row, col) = if *transposed { (col, row) } else { (row, col) };
                self.write_tile(*tile, corner.at[0] + row, corner.at[1] + col, Value::Real(value))
            }
            View::Buffer { buffer, .. } | View::Pairs { buffer, .. } => {
                let index = corner.index(row, col);
                let name = |error| self.program.buffers[buffer.0 as usize].named(error);
                self.buffers[buffer.0 as usize].write(&index, Value::Real(value)).map_err(name)
            }
        }
    }
}

impl Corner<'_> {
    /// Index of element (row, col) of a buffer view.
    fn index(&self, row: i64, col: i64) -> Vec<i64> {
        let mut index = self.at.clone();
        if let View::Pairs { row_dim, col_dim, .. } = self.view {
            let at = self.at[*row_dim] + row;
            index[*row_dim] = at.div_euclid(2);
            index[*col_dim] += col;
            index.push(at.rem_euclid(2));
        }
        if let View::Buffer { row_dim, col_dim, steps, .. } = self.view {
            for (dim, step) in [(row_dim, row * steps[0]), (col_dim, col * steps[1])] {
                if let Some(at) = dim.and_then(|d| index.get_mut(d)) {
                    *at += step;
                }
            }
        }
        index
    }
}
