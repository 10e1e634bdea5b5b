//! What both targets share: limits under which no text takes long.

use attnc_algebra::{Limits, Settings, SettingValue, Spec, compile_text};

/// Limits far below the defaults, so that a slow text is a finding and not a large one.
fn limits() -> Limits {
    Limits { source_bytes: 4096, nesting: 40, terms: 600, depth: 60, steps: 20_000, axes: 40, iterations: 4, diagnostics: 20 }
}

/// The first line of the input may set extents: `# N=5 D=3`; all others are small.
pub fn settings(text: &str) -> Settings {
    let mut settings = Settings { limits: limits(), ..Settings::default() };
    for word in text.lines().next().unwrap_or_default().trim_start_matches('#').split_whitespace() {
        if let Some((name, value)) = word.split_once('=')
            && let Ok(value) = value.parse::<i64>()
        {
            settings.set.insert(name.to_string(), SettingValue::Int(value));
        }
    }
    settings
}

/// The spec with settings that it has, every extent at most 9 where none is set.
pub fn checked(text: &str) -> Option<(Spec, Settings)> {
    let mut settings = settings(text);
    if let Err(diagnostics) = compile_text(text, &settings) {
        // Whatever is wrong can be shown.
        let _ = attnc_algebra::render("spec", text, &diagnostics);
        for diagnostic in &diagnostics {
            if let attnc_algebra::Problem::UnknownSetting { name } = &diagnostic.problem {
                settings.set.remove(name);
            }
        }
    }
    let spec = compile_text(text, &settings).ok()?;
    for (at, symbol) in spec.symbols.iter().enumerate() {
        settings.set.entry(symbol.name.clone()).or_insert(SettingValue::Int([3, 2, 9, 4, 7][at % 5]));
    }
    let spec = compile_text(text, &settings).ok()?;
    Some((spec, settings))
}
