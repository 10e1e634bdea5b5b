//! A spec through the passes: parsed and saturated once, extracted and planned per extents.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{Extents, Spec, TermId};
use attnc_cost::Nanos;
use attnc_plan::Plan;
use attnc_plan::PlanOptions;
use attnc_plan::loops::verify::verify;
use attnc_rewrite::approximate::{self, ApproximateRule, Declined, MAX_STRENGTH};
use attnc_rewrite::{Explanation, Extracted, Form, RunnerUp, Saturated};

use crate::error::CompileError;
use crate::extents::{at_length, length_symbol, m_follows};
use crate::nest;
use crate::observer::{Observer, Pass};
use crate::options::Options;

/// A spec with its saturated e-graph: everything that does not depend on extents.
pub struct Analysis {
    spec: Spec,
    saturated: Saturated,
    approximated: Vec<Approximated>,
    declined: Vec<Declined>,
    options: Options,
}

/// A spec after permitted approximations, with its own e-graph.
struct Approximated {
    /// The rules with their numbers, `window=256+clusters=16`.
    label: String,
    saturated: Saturated,
}

/// One form of the spec, at some extents.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The spec with its outputs in this form.
    pub spec: Spec,
    /// How its work grows with the length.
    pub form: Form,
    /// Predicted time: of its plan, if it was compared with others.
    pub predicted: Nanos,
    /// The form as text: equal keys are equal forms.
    pub key: String,
    /// The approximate rules it is made by, `clusters=16`; empty for exact forms.
    pub approximations: String,
    name: String,
}

impl Candidate {
    fn new(spec: Spec, form: Form, predicted: Nanos) -> Self {
        let key = structure(&spec);
        let name = nest::name(&spec, form);
        Self { spec, form, predicted, key, approximations: String::new(), name }
    }

    /// Whether it equals the spec over the reals.
    pub fn is_exact(&self) -> bool {
        self.approximations.is_empty()
    }

    /// Its name: how its work grows and the order in which it reduces axes, `quadratic-j.d`; with a number if that is
    /// not one candidate's alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its work grows: quadratic, sparse, linear, lowrank, bucket or mixed.
    pub fn form(&self) -> &'static str {
        self.form.name()
    }

    /// Predicted time in ms.
    pub fn predicted_ms(&self) -> f64 {
        self.predicted.ms()
    }
}

/// How much shorter and longer the sequences are whose best forms compete.
const FAR: i64 = 32;

/// No sequence is taken to be longer for that.
const LONGEST: i64 = 1 << 30;

impl Analysis {
    /// Parses, checks and saturates.
    ///
    /// # Errors
    /// If the spec is wrong, or the options name what does not exist.
    pub fn new(source: &str, options: &Options, observer: &mut dyn Observer) -> Result<Self, CompileError> {
        observer.begin(Pass::Algebra);
        let spec = attnc_algebra::compile_text(source, &options.settings).map_err(CompileError::Spec)?;
        observer.end(Pass::Algebra, &|| dump(&spec));
        Self::of_spec(spec, options, observer)
    }

    /// Saturates a spec that was built without text.
    ///
    /// # Errors
    /// If the options name what does not exist.
    pub fn of_spec(spec: Spec, options: &Options, observer: &mut dyn Observer) -> Result<Self, CompileError> {
        let permitted = permitted(options)?;
        observer.begin(Pass::Rewrite);
        let saturated = Saturated::new(&spec, &options.limits);
        let (approximated, declined) = approximated(&spec, &permitted, options);
        observer.end(Pass::Rewrite, &|| summary(&saturated));
        Ok(Self { spec, saturated, approximated, declined, options: options.clone() })
    }

    /// The permitted approximate rules whose conditions the spec does not meet.
    pub fn declined_approximations(&self) -> &[Declined] {
        &self.declined
    }

    /// The checked spec.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The e-graph with its equal forms.
    pub fn saturated(&self) -> &Saturated {
        &self.saturated
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The cheapest form at some extents.
    ///
    /// # Errors
    /// If the rewriter finds no form.
    pub fn extract(&self, extents: &Extents) -> Result<Candidate, CompileError> {
        let Some(name) = &self.options.variant else {
            let chosen = self.saturated.cheapest(extents, &self.options.profile);
            let contenders = self.contenders(&self.saturated, chosen, extents);
            return Ok(self.competing(contenders, extents)?.swap_remove(0).0);
        };
        let mut candidates = self.candidates(extents)?;
        let known = || candidates.iter().map(|c| c.name.clone()).collect();
        match candidates.iter().position(|c| c.name() == *name) {
            Some(at) => Ok(candidates.swap_remove(at)),
            None => Err(CompileError::UnknownVariant { name: name.clone(), known: known() }),
        }
    }

    /// As [`Analysis::extract`], but without a plan where one form alone competes: what it costs is then what the
    /// e-graph says.
    ///
    /// # Errors
    /// As there.
    pub fn choose(&self, extents: &Extents) -> Result<Candidate, CompileError> {
        let Some(name) = &self.options.variant else { return self.choose_of(&self.saturated, extents) };
        // Several of one name are numbered in the order of their plans' times.
        let numbered = name.rsplit_once('-').is_some_and(|(_, number)| number.parse::<usize>().is_ok());
        let named = if numbered { Vec::new() } else { self.named(name, extents) };
        match &named[..] {
            [alone] => Ok(alone.clone()),
            _ => self.extract(extents),
        }
    }

    fn choose_of(&self, saturated: &Saturated, extents: &Extents) -> Result<Candidate, CompileError> {
        let chosen = saturated.cheapest(extents, &self.options.profile);
        let contenders = self.contenders(saturated, chosen, extents);
        match &contenders[..] {
            [alone] => Ok(Candidate::new(in_order(alone), alone.form, alone.cost_estimate)),
            _ => Ok(self.competing(contenders, extents)?.swap_remove(0).0),
        }
    }

    /// Whether a form that was chosen for other extents, or asked for by name, is the one for these.
    pub fn stays(&self, candidate: &Candidate, extents: &Extents) -> bool {
        let same = |other: &Candidate| other.key == candidate.key;
        if self.options.variant.is_none() {
            return self.choose_of(&self.saturated, extents).is_ok_and(|chosen| same(&chosen));
        }
        let from = self.approximated.iter().find(|a| a.label == candidate.approximations);
        if let Some(approximated) = from {
            return self.choose_of(&approximated.saturated, extents).is_ok_and(|chosen| same(&chosen));
        }
        // By name any form may be had that is known; its number among those of one name is no part of it.
        let name = nest::name(&candidate.spec, candidate.form);
        self.named(&name, extents).iter().any(same)
    }

    /// The exact forms of a name, without plans and so in no order.
    fn named(&self, name: &str, extents: &Extents) -> Vec<Candidate> {
        let mut chosen = self.saturated.extract(extents, &self.options.profile);
        let others = std::mem::take(&mut chosen.alternatives);
        let mut forms = self.contenders(&self.saturated, chosen, extents);
        forms.extend(others.into_iter().map(Extracted::from));
        let mut named: Vec<Candidate> = Vec::new();
        for form in forms {
            let candidate = Candidate::new(in_order(&form), form.form, form.cost_estimate);
            if candidate.name == name && named.iter().all(|known| known.key != candidate.key) {
                named.push(candidate);
            }
        }
        named
    }

    /// All forms known for some extents: the exact ones, the cheapest first, at least one; then one for each permitted
    /// combination of approximations.
    ///
    /// # Errors
    /// If the rewriter finds no form, or the cheapest has no plan.
    pub fn candidates(&self, extents: &Extents) -> Result<Vec<Candidate>, CompileError> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (mut candidate, _) in self.ranked(&self.saturated, extents)? {
            let alike = candidates.iter().filter(|c| nest::name(&c.spec, c.form) == candidate.name).count();
            if alike > 0 {
                candidate.name = format!("{}-{}", candidate.name, alike + 1);
            }
            candidates.push(candidate);
        }
        for approximated in &self.approximated {
            candidates.push(self.approximation(approximated, extents)?);
        }
        Ok(candidates)
    }

    /// The cheapest form that permitted approximations give, those with the label [`Candidate::approximations`].
    ///
    /// # Errors
    /// If they are not permitted, or the rewriter finds no form.
    pub fn extract_approximate(&self, label: &str, extents: &Extents) -> Result<Candidate, CompileError> {
        match self.approximated.iter().find(|a| a.label == label) {
            Some(approximated) => self.approximation(approximated, extents),
            None => {
                let known = self.approximated.iter().map(|a| a.label.clone()).collect();
                Err(CompileError::UnknownApproximation { name: label.to_string(), known })
            }
        }
    }

    fn approximation(&self, approximated: &Approximated, extents: &Extents) -> Result<Candidate, CompileError> {
        let chosen = approximated.saturated.cheapest(extents, &self.options.profile);
        let contenders = self.contenders(&approximated.saturated, chosen, extents);
        let (mut candidate, _) = self.competing(contenders, extents)?.swap_remove(0);
        candidate.name = format!("{}/{}", approximated.label, candidate.name);
        candidate.approximations.clone_from(&approximated.label);
        Ok(candidate)
    }

    /// How the cheapest form at some extents follows from the spec.
    ///
    /// # Errors
    /// As [`Analysis::candidates`].
    pub fn explain(&self, extents: &Extents) -> Result<Explanation, CompileError> {
        let mut ranked = self.ranked(&self.saturated, extents)?;
        let (_, mut chosen) = ranked.remove(0);
        chosen.runner_up = ranked.into_iter().next().map(|(_, other)| other.into());
        Ok(self.saturated.explain(&chosen))
    }

    /// The forms that the e-graph's cost finds cheapest, at these extents and at much shorter and longer sequences, in
    /// the order of their plans' predicted times; then the cheapest it met of each other form, likewise.
    ///
    /// Extraction prices terms one by one; a plan knows what is fused, and what its traversals visit. The forms that
    /// extraction meets on its way depend on the order of operands, those that it chooses do not: only the latter
    /// compete.
    fn ranked(&self, saturated: &Saturated, extents: &Extents) -> Result<Vec<(Candidate, Extracted)>, CompileError> {
        let mut chosen = saturated.extract(extents, &self.options.profile);
        let others: Vec<RunnerUp> = std::mem::take(&mut chosen.alternatives);
        let mut competing = self.competing(self.contenders(saturated, chosen, extents), extents)?;
        let mut beside = Vec::new();
        for other in others {
            self.add_priced(&mut beside, &competing, other.into(), extents);
        }
        // What is named like another and costs the same differs in nothing that shows.
        let shown = |(c, _): &(Candidate, Extracted)| (c.name.clone(), c.predicted.0.to_bits());
        let mut seen: BTreeSet<(String, u64)> = competing.iter().map(shown).collect();
        beside.retain(|candidate| seen.insert(shown(candidate)));
        beside.sort_by(by_time);
        competing.extend(beside);
        Ok(competing)
    }

    /// Forms in the order of their plans' predicted times.
    fn competing(
        &self,
        contenders: Vec<Extracted>,
        extents: &Extents,
    ) -> Result<Vec<(Candidate, Extracted)>, CompileError> {
        let mut contenders = contenders.into_iter();
        let mut competing = Vec::new();
        if let Some(first) = contenders.next() {
            let spec = in_order(&first);
            competing.push(self.priced(first, spec, extents)?);
        }
        for other in contenders {
            self.add_priced(&mut competing, &[], other, extents);
        }
        competing.sort_by(by_time);
        Ok(competing)
    }

    /// The form chosen at some extents, and those chosen at much shorter and longer sequences that differ from it. A
    /// long spec has one for each length, in small things that make no odds: its forms do not compete.
    fn contenders(&self, saturated: &Saturated, chosen: Extracted, extents: &Extents) -> Vec<Extracted> {
        let mut contenders = vec![chosen];
        if saturated.is_long() {
            return contenders;
        }
        for elsewhere in self.elsewhere(extents) {
            let other = saturated.cheapest(&elsewhere, &self.options.profile);
            let key = structure(&other.spec);
            if contenders.iter().all(|known| structure(&known.spec) != key) {
                contenders.push(other);
            }
        }
        contenders
    }

    /// The same extents at a much shorter and at a much longer sequence.
    fn elsewhere(&self, extents: &Extents) -> Vec<Extents> {
        let Some(n) = length_symbol(&self.spec).and_then(|symbol| extents.get(symbol)) else { return Vec::new() };
        let follows = m_follows(&self.spec, &self.options.settings);
        let lengths = [(n / FAR).max(1), n.saturating_mul(FAR).min(LONGEST.max(n))];
        let there = lengths.into_iter().filter(|other| *other != n);
        there.map(|other| at_length(&self.spec, extents, other, follows)).collect()
    }

    /// Adds a form that is in neither list. What cannot be planned is no candidate.
    fn add_priced(
        &self,
        list: &mut Vec<(Candidate, Extracted)>,
        others: &[(Candidate, Extracted)],
        form: Extracted,
        extents: &Extents,
    ) {
        let spec = in_order(&form);
        let key = structure(&spec);
        if list.iter().chain(others).all(|(known, _)| known.key != key) {
            list.extend(self.priced(form, spec, extents));
        }
    }

    /// A form as a candidate; `spec` is the form's with its pairs in order.
    fn priced(
        &self,
        mut extracted: Extracted,
        spec: Spec,
        extents: &Extents,
    ) -> Result<(Candidate, Extracted), CompileError> {
        let plan = attnc_plan::build(&spec, &PlanOptions { hint: extents.clone() })?;
        let numbers = crate::extents::by_number(&self.spec, extents);
        // Extents whose work overflows are refused when memory is laid out.
        let predicted = plan.predict(&numbers, &self.options.profile).unwrap_or(extracted.cost_estimate);
        extracted.cost_estimate = predicted;
        Ok((Candidate::new(spec, extracted.form, predicted), extracted))
    }

    /// Stages of a form, planned for lengths up to those of `hint`.
    ///
    /// # Errors
    /// If some part of the form has no stage, or the verifier refuses a stage.
    pub fn plan(&self, candidate: &Candidate, hint: &Extents) -> Result<Plan, CompileError> {
        let plan = attnc_plan::build(&candidate.spec, &PlanOptions { hint: hint.clone() })?;
        for stage in plan.distinct().0 {
            if let Some(error) = verify(&stage.program).first() {
                return Err(CompileError::Verify { stage: stage.program.name.clone(), message: error.to_string() });
            }
        }
        Ok(plan)
    }
}

/// The order of candidates: the least predicted time first.
fn by_time(a: &(Candidate, Extracted), b: &(Candidate, Extracted)) -> std::cmp::Ordering {
    a.0.predicted.0.total_cmp(&b.0.predicted.0)
}

/// The spec in a form, its pairs of operands in order.
fn in_order(form: &Extracted) -> Spec {
    let mut spec = form.spec.clone();
    for output in &mut spec.outputs {
        output.term = spec.terms.with_pairs_in_order(output.term);
    }
    spec
}

/// The terms of a spec's outputs as text, node by node: equal texts are equal terms, whatever else their arenas hold.
fn structure(spec: &Spec) -> String {
    let mut numbers: BTreeMap<TermId, u32> = BTreeMap::new();
    let mut out = String::new();
    let mut open: Vec<(TermId, bool)> = spec.outputs.iter().rev().map(|o| (o.term, false)).collect();
    while let Some((id, operands_done)) = open.pop() {
        if numbers.contains_key(&id) {
            continue;
        }
        let node = spec.terms.node(id);
        if !operands_done {
            open.push((id, true));
            open.extend(node.operands().into_iter().rev().map(|t| (t, false)));
            continue;
        }
        let renamed = node.map_operands(|t| TermId(numbers[&t]));
        numbers.insert(id, numbers.len() as u32);
        out.push_str(&format!("{renamed:?}\n"));
    }
    spec.outputs.iter().for_each(|o| out.push_str(&format!("{} {}\n", o.name, numbers[&o.term])));
    out
}

/// Size and end of a saturation.
fn summary(saturated: &Saturated) -> String {
    let (nodes, classes, rounds) = (saturated.nodes(), saturated.classes(), saturated.iterations());
    format!("{nodes} e-nodes in {classes} e-classes after {rounds} rounds; stopped: {:?}\n", saturated.stopped())
}

/// The outputs of a spec, one a line.
fn dump(spec: &Spec) -> String {
    let line = |o: &attnc_algebra::Output| format!("{} = {}\n", o.name, attnc_algebra::print_term(spec, o.term));
    spec.outputs.iter().map(line).collect()
}

/// The approximate rules that the options permit, with their numbers.
fn permitted(options: &Options) -> Result<Vec<(&'static ApproximateRule, i64)>, CompileError> {
    if let Some(budget) = options.budget.filter(|budget| !(*budget >= 0.0 && budget.is_finite())) {
        return Err(CompileError::BadBudget(budget));
    }
    let mut permitted: Vec<(&'static ApproximateRule, i64)> = Vec::new();
    for (name, strength) in &options.allow {
        let Some(rule) = approximate::rules().iter().find(|rule| rule.name == *name) else {
            let known = approximate::rules().iter().map(|rule| rule.name.to_string()).collect();
            return Err(CompileError::UnknownApproximation { name: name.clone(), known });
        };
        let (what, least) = rule.strength;
        let number = strength.unwrap_or(rule.default as f64);
        if number.fract() != 0.0 || !(least as f64..=MAX_STRENGTH as f64).contains(&number) {
            let greatest = MAX_STRENGTH;
            return Err(CompileError::BadStrength { name: rule.name, what, number, least, greatest });
        }
        permitted.push((rule, number as i64));
    }
    // Equal permissions give equal candidates, in whatever order they are given.
    permitted.sort_by_key(|(rule, number)| (rule.name, *number));
    permitted.dedup_by_key(|(rule, number)| (rule.name, *number));
    match permitted.len() {
        0..=MAX_PERMITTED => Ok(permitted),
        _ => Err(CompileError::TooManyApproximations { most: MAX_PERMITTED }),
    }
}

/// Permissions at most: every combination is a candidate.
const MAX_PERMITTED: usize = 4;

/// The spec after every combination of permitted rules, each rule at most once, and the rules that decline alone.
fn approximated(
    spec: &Spec,
    permitted: &[(&'static ApproximateRule, i64)],
    options: &Options,
) -> (Vec<Approximated>, Vec<Declined>) {
    let (mut made, mut declined) = (Vec::new(), Vec::new());
    for set in 1u32..1 << permitted.len() {
        let steps: Vec<(&'static ApproximateRule, i64)> =
            permitted.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, step)| *step).collect();
        if steps.windows(2).any(|pair| pair[0].0.name == pair[1].0.name) {
            continue;
        }
        match approximate::approximate(spec, &steps) {
            Ok(spec) => {
                let label: Vec<String> = steps.iter().map(|(rule, number)| format!("{}={number}", rule.name)).collect();
                let saturated = Saturated::new(&spec, &options.limits);
                made.push(Approximated { label: label.join("+"), saturated });
            }
            Err(reason) if steps.len() == 1 => declined.push(reason),
            // What declines alone has been said; some combinations have no meaning.
            Err(_) => {}
        }
    }
    (made, declined)
}
