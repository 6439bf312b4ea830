//! Writing XML, just enough for AWS's query answers.

use std::fmt::{Display, Write};

/// XML under construction.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// `<name>value</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        let escaped = escape(&value.to_string());
        // Writing to a String cannot fail.
        let _ = write!(self.0, "<{name}>{escaped}</{name}>");
        self
    }

    /// `<name>value</name>` if there is a value.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// `<name>...</name>` with what `inside` writes.
    pub(crate) fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let _ = write!(self.0, "<{name}>");
        inside(self);
        let closing = name.split(' ').next().unwrap_or(name);
        let _ = write!(self.0, "</{closing}>");
        self
    }

    /// `<name><item>..</item><item>..</item></name>`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        item: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.node(name, |x| {
            for each in items {
                x.node(item, |x| write(x, each));
            }
        })
    }

    /// As [`Xml::list`], of plain texts.
    pub(crate) fn texts<T: Display>(
        &mut self,
        name: &str,
        item: &str,
        items: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.node(name, |x| {
            for each in items {
                x.text(item, each);
            }
        })
    }

    pub(crate) fn raw(&mut self, inner: &Self) -> &mut Self {
        self.0.push_str(&inner.0);
        self
    }

    pub(crate) fn document(self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.0)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
