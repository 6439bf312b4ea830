//! Steps of one form, gathered: what is the same for six hosts is said once, with the six.

use domain::run::{StepPath, TakesBack};

use super::RunView;

/// Steps that differ by their item alone, one after the other.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    pub(crate) title: String,
    /// The step; of several, the form of them all.
    pub(crate) step: String,
    /// What each of several is about.
    pub(crate) items: Vec<&'a str>,
    /// The action that takes it back.
    pub(crate) action: Option<&'a str>,
    /// What that leaves as it is if it must.
    pub(crate) leaves: Option<&'a str>,
}

impl RunView {
    /// These steps.
    pub(crate) fn gathered<'a>(&self, steps: &'a [StepPath]) -> Vec<Gathered<'a>> {
        self.gather(steps.iter().map(|step| (step, None, None)))
    }

    /// What is taken back, in that order.
    pub(crate) fn gathered_back<'a>(&self, back: &'a [TakesBack]) -> Vec<Gathered<'a>> {
        self.gather(back.iter().map(|b| (&b.step, Some(b.action.as_str()), b.leaves.as_deref())))
    }

    fn gather<'a>(
        &self,
        steps: impl Iterator<Item = (&'a StepPath, Option<&'a str>, Option<&'a str>)>,
    ) -> Vec<Gathered<'a>> {
        let mut all: Vec<Gathered<'a>> = Vec::new();
        for (step, action, leaves) in steps {
            let (form, item) = (step.form(), item(step));
            match (all.last_mut(), item) {
                (Some(last), Some(item)) if last.step == form && last.leaves == leaves => {
                    last.items.push(item)
                }
                _ => all.push(Gathered {
                    title: self.titled(step.as_str()).unwrap_or_default(),
                    step: form,
                    items: item.into_iter().collect(),
                    action,
                    leaves,
                }),
            }
        }
        all
    }
}

/// What a step inside an `each` is about: its innermost item.
fn item(step: &StepPath) -> Option<&str> {
    let (_, rest) = step.as_str().rsplit_once('[')?;
    rest.split(']').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_about_its_innermost_item() {
        let of = |path: &str| item(&StepPath::from(path)).map(str::to_owned);
        assert_eq!(of("launch"), None);
        assert_eq!(of("remove[i-1].pause").as_deref(), Some("i-1"));
        assert_eq!(of("fleets[us].remove[i-2]").as_deref(), Some("i-2"));
    }
}
