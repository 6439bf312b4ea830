//! A form that was refused, shown again where it stands: as it was filled in, with why.

use super::form::field;
use crate::error::Problem;

/// What was refused of a page's forms; of most requests, nothing.
#[derive(Default)]
pub(super) struct Refusal(Option<Refused>);

struct Refused {
    /// What the form is called on the page.
    form: &'static str,
    /// Which of several of that name: a freeze, a lock, a switch; empty of one that stands there once.
    about: String,
    filled: Vec<(String, String)>,
    problem: Problem,
}

impl Refusal {
    pub(super) fn new(
        form: &'static str,
        about: String,
        filled: Vec<(String, String)>,
        problem: Problem,
    ) -> Self {
        Self(Some(Refused { form, about, filled, problem }))
    }

    /// Why this form was refused.
    pub(super) fn wrong(&self, form: &str, about: &str) -> Option<&Problem> {
        self.of(form, about).map(|refused| &refused.problem)
    }

    /// What was filled in then.
    pub(super) fn filled(&self, form: &str, about: &str, name: &str) -> &str {
        self.of(form, about).map_or("", |refused| field(&refused.filled, name))
    }

    /// Why a form of this name was refused that does not stand on the page any more: somebody else was faster.
    pub(super) fn gone(&self, form: &str, stands: impl Fn(&str) -> bool) -> Option<&Problem> {
        let refused = self.0.as_ref().filter(|refused| refused.form == form && !stands(&refused.about));
        refused.map(|refused| &refused.problem)
    }

    fn of(&self, form: &str, about: &str) -> Option<&Refused> {
        self.0.as_ref().filter(|refused| refused.form == form && refused.about == about)
    }
}
