//! Extents that nothing binds: defaults for drawing inputs and for planning without any.

use attnc_algebra::{Extents, Settings, Spec, SymbolId};

/// Extents for drawn inputs: what is set, else the `example` line, else B = 1, H = 4, N = 256, D = E = 64 and 16 for
/// any other.
pub fn defaults(spec: &Spec, settings: &Settings) -> Extents {
    let set = settings.extents(spec);
    let value = |(at, symbol): (usize, &attnc_algebra::Symbol)| {
        let id = SymbolId(at as u32);
        let example = || spec.example.get(&id).copied();
        let value = set.get(id).or_else(example).unwrap_or(match symbol.name.as_str() {
            "B" => 1,
            "H" => 4,
            "N" => 256,
            "D" | "E" => 64,
            _ => 16,
        });
        (id, value)
    };
    Extents(spec.symbols.iter().enumerate().map(value).collect())
}

/// The symbol that plan tables run over: `N`; in a spec without it, the symbol of the longest axis by default.
pub fn length_symbol(spec: &Spec) -> Option<SymbolId> {
    let longest = || {
        let extents = defaults(spec, &Settings::default());
        let ids = (0..spec.symbols.len()).map(|at| SymbolId(at as u32));
        ids.max_by_key(|id| (extents.get(*id), std::cmp::Reverse(*id)))
    };
    spec.symbol("N").or_else(longest)
}

/// `extents` at another sequence length: the length symbol is `n`, and `M` follows it if `m_follows`.
pub fn at_length(spec: &Spec, extents: &Extents, n: i64, m_follows: bool) -> Extents {
    let mut out = extents.clone();
    if let Some(symbol) = length_symbol(spec) {
        out.0.insert(symbol, n);
    }
    if let (Some(m), true) = (spec.symbol("M"), m_follows) {
        out.0.insert(m, n);
    }
    out
}

/// Whether the number of queries follows the sequence length in plan tables: neither set nor in the example.
pub fn m_follows(spec: &Spec, settings: &Settings) -> bool {
    spec.symbol("M").is_some_and(|m| settings.extents(spec).get(m).is_none() && !spec.example.contains_key(&m))
}

/// Extents as text, `N = 512, D = 64`, in order of the symbols.
pub fn listing(spec: &Spec, extents: &Extents) -> String {
    let one = |(id, value): (&SymbolId, &i64)| {
        let name = spec.symbols.get(id.0 as usize).map_or("?", |s| s.name.as_str());
        format!("{name} = {value}")
    };
    extents.0.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Extents by symbol number; an unbound symbol counts as 0.
pub fn by_number(spec: &Spec, extents: &Extents) -> Vec<i64> {
    (0..spec.symbols.len()).map(|at| extents.get(SymbolId(at as u32)).unwrap_or(0)).collect()
}
