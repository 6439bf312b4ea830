//! The equivalent command line, for a person with a terminal while Firebreak is down or not trusted.

use std::fmt::Write;

/// A command line that is being put together; values are quoted for a POSIX shell.
pub(crate) struct Command(String);

impl Command {
    /// `aws SERVICE VERB --region REGION`.
    pub(crate) fn aws(verb: &str, region: &str) -> Self {
        Self(format!("aws {verb}")).option("--region", region)
    }

    /// `mysql` as `user` at `host:port`; it asks for the password, so that none is in a shell's history.
    pub(crate) fn mysql(host: &str, port: u16, user: &str) -> Self {
        Self("mysql".into())
            .option("--host", host)
            .option("--port", &port.to_string())
            .option("--user", user)
            .flag("--password")
    }

    /// Adds `--name value`.
    pub(crate) fn option(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.0, " {name} {}", quote(value));
        self
    }

    /// Adds `--name value value …`.
    pub(crate) fn list<V: AsRef<str>>(mut self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        let _ = write!(self.0, " {name}");
        for value in values {
            let _ = write!(self.0, " {}", quote(value.as_ref()));
        }
        self
    }

    /// Adds `--name`.
    pub(crate) fn flag(mut self, name: &str) -> Self {
        let _ = write!(self.0, " {name}");
        self
    }

    /// The finished line.
    pub(crate) fn line(self) -> String {
        self.0
    }
}

/// Quotes where a shell would read more than the value.
pub(crate) fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out() {
        assert_eq!(quote("i-0abc"), "i-0abc");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(quote(""), "''");
        let line = Command::aws("autoscaling set-desired-capacity", "us-east-1").option("--n", "$(x)").line();
        assert_eq!(line, "aws autoscaling set-desired-capacity --region us-east-1 --n '$(x)'");
    }
}
