//! What most commands begin with: a spec file, and the engine options that the flags mean.

use std::path::Path;

use attnc::{Engine, Isa, Options};
use attnc_algebra::Settings;
use attnc_algebra::settings::SettingValue;
use attnc_compiler::{MachineProfile, Pass};

use crate::args::Common;
use crate::failure::Failure;

/// A spec file read into memory.
pub struct SpecFile {
    /// Its path as given.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl SpecFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
        let text =
            String::from_utf8(bytes).map_err(|e| Failure::input(format!("{}: not UTF-8 text: {e}", path.display())))?;
        Ok(Self { name: path.display().to_string(), text })
    }

    /// Compiles it.
    ///
    /// # Errors
    /// With the diagnostics rendered.
    pub fn compile(&self, options: &Options, dumps: &[Pass]) -> Result<attnc::Kernel, Failure> {
        attnc::compile_watched(&self.text, options, dumps).map_err(|e| self.failure(e))
    }

    /// An engine error about this file.
    pub fn failure(&self, error: attnc::Error) -> Failure {
        Failure::engine(error, &self.name, &self.text)
    }
}

/// The settings that `--set` flags mean.
///
/// # Errors
/// If one is not of the form `K=V` with a number.
pub fn settings(set: &[String]) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    for item in set {
        let pair = item.split_once('=').and_then(|(k, v)| Some((k.trim(), SettingValue::parse(v)?)));
        let Some((name, value)) = pair else {
            return Err(Failure::Usage(format!("--set {item}: expected NAME=NUMBER")));
        };
        settings.set.insert(name.to_string(), value);
    }
    Ok(settings)
}

/// The engine options that common flags mean. Threads default to the machine's; the profile to this machine's
/// measured one if there is one, else to the committed default.
///
/// The number of threads does not enter the profile: which plan is chosen, and so every bit of the result, must not
/// depend on it.
///
/// # Errors
/// If a flag's value has no meaning.
pub fn options(common: &Common) -> Result<Options, Failure> {
    let isa = match common.isa.as_deref() {
        None => None,
        Some(name) => Some(Isa::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = Isa::ALL.iter().map(|i| i.name()).collect();
            Failure::Usage(format!("--isa {name}: expected one of {}", known.join(", ")))
        })?),
    };
    let allow = common.allow.iter().map(|item| match item.split_once('=') {
        None => Ok((item.clone(), None)),
        Some((name, value)) => match value.parse() {
            Ok(number) => Ok((name.to_string(), Some(number))),
            Err(_) => Err(Failure::Usage(format!("--allow {item}: expected NAME or NAME=NUMBER"))),
        },
    });
    let mut options = Options {
        engine: if common.engine == "interpreter" { Engine::Interpreter } else { Engine::Jit },
        isa,
        threads: common.threads.unwrap_or(0) as usize,
        ..Options::default()
    };
    options.compiler.settings = settings(&common.set)?;
    options.compiler.allow = allow.collect::<Result<_, _>>()?;
    options.compiler.budget = common.budget;
    options.compiler.profile = profile()?;
    Ok(options)
}

fn profile() -> Result<MachineProfile, Failure> {
    let stored = attnc::profile::load();
    let stored = stored.map_err(|e| Failure::input(format!("{e}\nrun `attnc probe` to write it anew")))?;
    Ok(stored.unwrap_or_default())
}

/// The passes that `--dump-after` names.
///
/// # Errors
/// If there is no such pass.
pub fn dumps(names: &[String]) -> Result<Vec<Pass>, Failure> {
    let known = || Pass::ALL.map(Pass::name).join(", ");
    names
        .iter()
        .map(|n| {
            Pass::from_name(n).ok_or_else(|| Failure::Usage(format!("--dump-after {n}: expected one of {}", known())))
        })
        .collect()
}
