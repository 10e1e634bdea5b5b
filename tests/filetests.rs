//! Textual tests: files of sections below `tests/filetests/`, one test per file.
//!
//! `--- spec [K=V]...` gives the text and settings (`limit.NAME=V` sets a limit). Then, in any number:
//!
//! - exact sections, which `BLESS=1` rewrites: `error` (the diagnostics, rendered), `printed` (the spec printed back),
//!   `plan n=N` (stages and intermediates), `derivation n=N` (rules and terms), `declined n=N` (rules and reasons),
//!   `loops n=N` (loop programs), `table` (forms by sequence length);
//! - `contains KIND [n=N]` and `never KIND [n=N]`: lines that must, or must not, occur in what `KIND` prints.
//!
//! Further tests here: every diagnostic has its fixture, every fixture is short, and the README's spec is one.

use std::path::Path;

use attnc_algebra::{Problem, SettingValue, Settings};
use attnc_compiler::extents::{at_length, by_number, defaults, m_follows};
use attnc_compiler::{Analysis, CompileError, Options, PlanTable, Unobserved};
use attnc_plan::{Plan, PlanBufferId, Role};
use attnc_tests::bless;
use attnc_tests::repository::{files, read, relative, root};
use attnc_tests::sections::{Section, SectionFile};
use libtest_mimic::{Arguments, Failed, Trial as Test};

/// Sections whose body is what is printed, to the letter.
const EXACT: &[&str] = &["error", "printed", "plan", "derivation", "declined", "loops", "table"];

/// Longest fixture, in lines, blessed sections left out.
const LONGEST: usize = 40;

fn main() {
    let arguments = Arguments::from_args();
    let folder = root().join("tests/filetests");
    let mut tests: Vec<Test> = files(&folder, ".txt")
        .into_iter()
        .map(|path| {
            let name = relative(&path).replace("tests/filetests/", "").replace(".txt", "");
            Test::test(name, move || check_file(&path))
        })
        .collect();
    tests.push(Test::test("every_diagnostic_has_a_fixture", every_diagnostic_has_a_fixture));
    tests.push(Test::test("the_readme_shows_a_spec", the_readme_shows_a_spec));
    libtest_mimic::run(&arguments, tests).exit();
}

fn the_readme_shows_a_spec() -> Result<(), Failed> {
    let readme = read(&root().join("README.md"));
    let block = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let case = Case { text: block.ok_or("README.md has no block of text")?.to_string(), settings: Settings::default() };
    case.analysis().map(|_| ())
}

/// A spec with its settings.
struct Case {
    text: String,
    settings: Settings,
}

fn check_file(path: &Path) -> Result<(), Failed> {
    let text = read(path);
    let mut file = SectionFile::parse(&text)?;
    let written: usize = file.sections.iter().filter(|s| !EXACT.contains(&s.kind.as_str())).map(lines).sum();
    if written > LONGEST {
        return Err(format!("{written} lines are too many to read; at most {LONGEST}").into());
    }
    let mut case = None;
    let mut failures = Vec::new();
    let mut changed = false;
    for section in &mut file.sections {
        if section.kind == "spec" {
            case = Some(Case::new(section)?);
            continue;
        }
        let case = case.as_ref().ok_or("the first section is `spec`")?;
        match check_section(case, section)? {
            None => {}
            Some(found) if EXACT.contains(&section.kind.as_str()) && bless::is_asked()? => {
                section.body = found;
                changed = true;
            }
            Some(found) => failures.push(complaint(section, &found)),
        }
    }
    if changed {
        bless::write(path, &file.to_string())?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn lines(section: &Section) -> usize {
    1 + section.body.lines().count()
}

fn complaint(section: &Section, found: &str) -> String {
    let line = section.line;
    match section.kind.as_str() {
        "contains" => format!("line {line}: some line is not contained in\n{found}"),
        "never" => format!("line {line}: some line is contained in\n{found}"),
        kind => format!("line {line}: `{kind}` differs (BLESS=1 accepts)\n{}", bless::diff(&section.body, found)),
    }
}

/// What was found, where it is not as expected.
fn check_section(case: &Case, section: &Section) -> Result<Option<String>, Failed> {
    let kind = match section.kind.as_str() {
        "contains" | "never" => section.words.first().map(String::as_str).unwrap_or_default(),
        kind => kind,
    };
    let found = case.print(kind, section)?.trim_end().to_string();
    let holds = match section.kind.as_str() {
        "contains" => section.lines().all(|line| found.contains(line)),
        "never" => section.lines().all(|line| !found.contains(line)),
        _ => section.body == found,
    };
    Ok(if holds { None } else { Some(found) })
}

impl Case {
    fn new(section: &Section) -> Result<Self, Failed> {
        let mut settings = Settings::default();
        for (key, value) in &section.settings {
            match key.strip_prefix("limit.") {
                Some(limit) => set_limit(&mut settings, limit, value.parse()?)?,
                None => {
                    let value = SettingValue::parse(value).ok_or_else(|| format!("{key}={value} is no number"))?;
                    settings.set.insert(key.clone(), value);
                }
            }
        }
        Ok(Self { text: section.body.clone() + "\n", settings })
    }

    /// What a kind of section prints.
    fn print(&self, kind: &str, section: &Section) -> Result<String, Failed> {
        match kind {
            "error" => self.error(),
            "printed" => match attnc_algebra::parse(&self.text, &self.settings.limits) {
                Ok(ast) => Ok(attnc_algebra::print_ast(&ast)),
                Err(diagnostics) => Err(attnc_algebra::render("spec", &self.text, &diagnostics).into()),
            },
            "table" => {
                let analysis = self.analysis()?;
                let extents = defaults(analysis.spec(), &self.settings);
                let table = PlanTable::build(&analysis, &extents, 16, 1 << 20)?;
                Ok(table.rows.iter().map(|r| format!("{}..{} {}\n", r.n_from, r.n_to, r.candidate.form())).collect())
            }
            kind => self.at_length(kind, section),
        }
    }

    fn error(&self) -> Result<String, Failed> {
        match attnc_algebra::compile_text(&self.text, &self.settings) {
            Err(diagnostics) => Ok(attnc_algebra::render("spec", &self.text, &diagnostics)),
            Ok(_) => Ok(String::new()),
        }
    }

    fn analysis(&self) -> Result<Analysis, Failed> {
        let options = Options { settings: self.settings.clone(), ..Options::default() };
        Analysis::new(&self.text, &options, &mut Unobserved).map_err(|error| match error {
            CompileError::Spec(diagnostics) => attnc_algebra::render("spec", &self.text, &diagnostics).into(),
            other => other.into(),
        })
    }

    /// Kinds that are about one sequence length.
    fn at_length(&self, kind: &str, section: &Section) -> Result<String, Failed> {
        let n: i64 = section.setting("n").ok_or_else(|| format!("`{kind}` needs n=N"))?.parse()?;
        let analysis = self.analysis()?;
        let spec = analysis.spec();
        let extents = at_length(spec, &defaults(spec, &self.settings), n, m_follows(spec, &self.settings));
        if kind == "derivation" || kind == "declined" {
            let explanation = analysis.explain(&extents)?;
            let steps = explanation.steps.iter().map(|s| format!("{}: {}\n", s.rule_name(), explanation.print(s)));
            let declined = explanation.declined.iter().map(|(rule, reason)| format!("{rule}: {reason}\n"));
            return Ok(if kind == "derivation" { steps.collect() } else { declined.collect() });
        }
        let plan = analysis.plan(&analysis.extract(&extents)?, &extents)?;
        let symbols: Vec<String> = spec.symbols.iter().map(|s| s.name.clone()).collect();
        match kind {
            "plan" => Ok(plan_text(&plan, &by_number(spec, &extents))),
            "loops" => Ok(plan.stages().map(|s| attnc_plan::loops::print::text(&s.program, &symbols)).collect()),
            other => Err(format!("there is no section `{other}`").into()),
        }
    }
}

/// Stages in order, then the intermediates with their extents.
fn plan_text(plan: &Plan, extents: &[i64]) -> String {
    let mut out = String::new();
    for stage in plan.stages() {
        out.push_str(&format!("{} {}\n", stage.kind.name(), stage.program.name));
    }
    for (at, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.role == Role::Intermediate) {
        let shape = plan.shape(PlanBufferId(at as u32), extents);
        out.push_str(&format!("buffer {} {:?}\n", buffer.name, shape.unwrap_or_default()));
    }
    out
}

fn set_limit(settings: &mut Settings, name: &str, value: usize) -> Result<(), Failed> {
    let limits = &mut settings.limits;
    match name {
        "source_bytes" => limits.source_bytes = value,
        "nesting" => limits.nesting = value,
        "terms" => limits.terms = value,
        "depth" => limits.depth = value,
        "steps" => limits.steps = value,
        "axes" => limits.axes = value,
        "iterations" => limits.iterations = value as i64,
        "diagnostics" => limits.diagnostics = value,
        other => return Err(format!("there is no limit `{other}`").into()),
    }
    Ok(())
}

fn every_diagnostic_has_a_fixture() -> Result<(), Failed> {
    let mut missing = Vec::new();
    for code in Problem::CODES {
        let path = root().join(format!("tests/filetests/diagnostics/{code}.txt"));
        let shown = std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("error[{code}]")));
        if !shown {
            missing.push(format!("{} does not show error[{code}]", relative(&path)));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n").into()) }
}
