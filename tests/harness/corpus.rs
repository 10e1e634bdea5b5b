//! The corpus: every spec of `ir-specs`, of `tests/invented` and of `tests/regressions`, with the settings they are
//! tested at.

use std::path::PathBuf;

use attnc_algebra::{Problem, SettingValue, Settings};

use crate::repository::{files, read, relative, root};

/// A spec of the corpus.
#[derive(Clone, Debug)]
pub struct CorpusSpec {
    /// Path from the repository's root.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Values of parameters under which a mask has structure at a hundred positions, by name. The defaults are the
/// papers' and make every mask dense at such lengths.
const SMALL: &[(&str, i64)] =
    &[("w", 9), ("g", 3), ("s", 7), ("Bs", 16), ("p", 21), ("width", 11), ("radius", 2), ("picks", 2), ("K", 9)];

/// All specs of the corpus, in order of their paths.
pub fn all() -> Vec<CorpusSpec> {
    let folders = ["ir-specs", "tests/invented", "tests/regressions"].map(|folder| root().join(folder));
    folders.iter().filter(|folder| folder.exists()).flat_map(|folder| files(folder, ".attn")).map(load).collect()
}

/// The specs of `ir-specs` alone.
pub fn published() -> Vec<CorpusSpec> {
    files(&root().join("ir-specs"), ".attn").into_iter().map(load).collect()
}

fn load(path: PathBuf) -> CorpusSpec {
    CorpusSpec { path: relative(&path), text: read(&path) }
}

/// `wanted` without what the spec neither has as a parameter nor as an extent.
pub fn fitting(text: &str, mut wanted: Settings) -> Settings {
    if let Err(diagnostics) = attnc_algebra::compile_text(text, &wanted) {
        for diagnostic in diagnostics {
            if let Problem::UnknownSetting { name } = diagnostic.problem {
                wanted.set.remove(&name);
            }
        }
    }
    wanted
}

impl CorpusSpec {
    /// `family/name`, without the ending.
    pub fn name(&self) -> &str {
        let name = self.path.strip_suffix(".attn").unwrap_or(&self.path);
        name.strip_prefix("ir-specs/").or_else(|| name.strip_prefix("tests/")).unwrap_or(name)
    }

    /// Integer parameters of the text that have a small value in the table, at that value.
    pub fn small_parameters(&self) -> Settings {
        let declared = |name: &str| {
            self.text.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some("param") && words.next() == Some(name)
            })
        };
        let set = SMALL.iter().filter(|(name, _)| declared(name));
        Settings {
            set: set.map(|(name, value)| ((*name).to_string(), SettingValue::Int(*value))).collect(),
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_all_families() {
        let specs = all();
        for family in ["dense/", "masked/", "linear/", "cluster/", "low-rank/", "free/", "invented/"] {
            assert!(specs.iter().any(|s| s.name().starts_with(family)), "{family}");
        }
    }

    #[test]
    fn small_parameters_are_those_declared() {
        let text = "spec x\nparam w = 256   # wide\n".to_string();
        let spec = CorpusSpec { path: "ir-specs/masked/x.attn".to_string(), text };
        assert_eq!(spec.name(), "masked/x");
        assert_eq!(spec.small_parameters().set.keys().collect::<Vec<_>>(), ["w"]);
    }
}
