//! A form that was refused is shown again where it stands: as it was filled in, with why. What is no fault of the form (the database
//! does not answer, say, and without it no page can be drawn) is told on the page of what went wrong, which keeps the words as well.

use axum::body::Bytes;
use axum::http::StatusCode;

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
    /// What is to be said where the form stands, and the status of that page, which had better not redraw itself: nobody's words are to
    /// vanish under their hands. What is not the form's fault goes its way.
    pub(super) fn of(
        form: &'static str,
        about: impl Into<String>,
        filled: Vec<(String, String)>,
        problem: Problem,
    ) -> Result<(StatusCode, Self), Problem> {
        if !problem.status.is_client_error() {
            return Err(problem);
        }
        Ok((problem.status, Self(Some(Refused { form, about: about.into(), filled, problem }))))
    }

    /// Why this form was refused.
    pub(super) fn wrong(&self, form: &str, about: &str) -> Option<&Problem> {
        self.that(form, about).map(|refused| &refused.problem)
    }

    /// What was filled in then.
    pub(super) fn filled(&self, form: &str, about: &str, name: &str) -> &str {
        self.that(form, about).map_or("", |refused| field(&refused.filled, name))
    }

    /// Was this one of several of a name ticked, or chosen?
    pub(super) fn ticked(&self, form: &str, about: &str, name: &str, value: &str) -> bool {
        let filled = self.that(form, about).into_iter().flat_map(|refused| &refused.filled);
        filled.into_iter().any(|(key, given)| key == name && given == value)
    }

    /// Why a form of this name was refused that does not stand on the page any more: somebody else was faster.
    pub(super) fn gone(&self, form: &str, stands: impl Fn(&str) -> bool) -> Option<&Problem> {
        let refused = self.0.as_ref().filter(|refused| refused.form == form && !stands(&refused.about));
        refused.map(|refused| &refused.problem)
    }

    fn that(&self, form: &str, about: &str) -> Option<&Refused> {
        self.0.as_ref().filter(|refused| refused.form == form && refused.about == about)
    }
}

/// Fields in which people write, and what they are called where nothing else of their form is there.
const WRITTEN: [(&str, &str); 7] = [
    ("reason", "Why"),
    ("note", "Note"),
    ("text", "Note"),
    ("title", "Title"),
    ("name", "Name"),
    ("to", "To whom"),
    ("calendar", "Calendar"),
];

/// A form as it came, for the page of what went wrong.
#[derive(Clone)]
pub(crate) struct Kept {
    path: String,
    body: Bytes,
}

/// Something that somebody wrote: its field, what that is called, and the words.
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) label: &'static str,
    pub(crate) words: String,
}

impl Kept {
    pub(crate) fn new(path: &str, body: Bytes) -> Self {
        Self { path: path.to_owned(), body }
    }

    /// Where it was sent.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What was written in it.
    pub(crate) fn written(&self) -> Vec<Written> {
        let fields = form_urlencoded::parse(&self.body).filter(|(_, words)| !words.trim().is_empty());
        let written = fields.filter_map(|(name, words)| {
            Some(Written { label: label(&name)?, name: name.into_owned(), words: words.into_owned() })
        });
        written.collect()
    }

    /// The rest of it: what was chosen, and what nobody sees.
    pub(crate) fn rest(&self) -> Vec<(String, String)> {
        let fields = form_urlencoded::parse(&self.body);
        let rest = fields.filter(|(name, words)| label(name).is_none() || words.trim().is_empty());
        rest.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }
}

fn label(name: &str) -> Option<&'static str> {
    WRITTEN.iter().find(|(field, _)| *field == name).map(|(_, label)| *label)
}
