//! The user's functions: checked where they are defined, inlined where they are called.

use super::{Definition, Elaborator, FunctionDefinition, Local, Meaning};
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;
use crate::syntax::ast::{Expr, Name};
use crate::term::TermId;

impl<'a> Elaborator<'a> {
    /// Reads the body with parameters of unknown value, which reports every unknown name, and says whether it is sound.
    pub(super) fn check_function(&mut self, parameters: &'a [Name], body: &'a Expr) -> bool {
        let before = self.diagnostics.len();
        for (at, name) in parameters.iter().enumerate() {
            if let Some(first) = parameters[..at].iter().find(|p| p.text == name.text) {
                let problem = Problem::DuplicateName { name: name.text.clone() };
                self.report(Diagnostic::at(name.span, problem).says("again").label(first.span, "first here"));
            }
        }
        let unknown = vec![None; parameters.len()];
        self.inlined(parameters, body, unknown, self.horizon);
        self.diagnostics.len() == before
    }

    /// The body with parameters bound to `arguments`; definitions from `horizon` on are not visible.
    fn inlined(
        &mut self,
        parameters: &'a [Name],
        body: &'a Expr,
        arguments: Vec<Option<TermId>>,
        horizon: usize,
    ) -> Option<TermId> {
        let locals = parameters.iter().zip(arguments);
        let locals = locals.map(|(p, value)| Local { name: p.text.clone(), value, order: None }).collect();
        let locals = std::mem::replace(&mut self.locals, locals);
        let horizon = std::mem::replace(&mut self.horizon, horizon);
        let in_index = std::mem::replace(&mut self.in_index, false);
        let out = self.expr(body);
        (self.locals, self.horizon, self.in_index) = (locals, horizon, in_index);
        out
    }

    /// A call of a function that is not of the language.
    pub(super) fn call_of_user(
        &mut self,
        span: Span,
        function: &'a Name,
        arguments: Vec<Option<TermId>>,
    ) -> Option<TermId> {
        let name = function.text.as_str();
        let definition = match self.definition(name) {
            Some(Meaning::Function(definition)) => definition,
            Some(Meaning::Poisoned) => return None,
            Some(_) => return self.unknown_function(function, &[]),
            None if self.placed.contains_key(name) || self.poisoned.contains(name) => {
                return self.unknown(name, function.span);
            }
            None => return self.unknown_function(function, &[]),
        };
        let FunctionDefinition { parameters, body, serial } = definition;
        if arguments.len() != parameters.len() {
            let wanted = format!("{} argument{}", parameters.len(), if parameters.len() == 1 { "" } else { "s" });
            return self.wrong_count(span, name, wanted, arguments.len());
        }
        if arguments.iter().any(Option::is_none) {
            return None;
        }
        self.calls.push(span);
        let out = self.inlined(parameters, body, arguments, serial);
        self.calls.pop();
        out
    }

    /// Makes `name` mean `meaning` from here on, unless an earlier statement defined it.
    pub(super) fn define(&mut self, name: &Name, meaning: Meaning<'a>) {
        let serial = self.names.len();
        self.names.entry(name.text.clone()).or_insert(Definition { meaning, serial });
    }
}
