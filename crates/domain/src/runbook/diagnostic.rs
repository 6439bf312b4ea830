//! A mistake in a runbook: where it is, what is wrong, what to write instead; and its picture.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

/// A place in a file. Lines and columns count from 1, columns and lengths in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pos {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
    /// How many characters, all on that line; at least 1.
    pub len: usize,
}

impl Pos {
    /// A place.
    pub fn at(line: usize, column: usize, len: usize) -> Self {
        Self { line, column, len: len.max(1) }
    }
}

impl Default for Pos {
    /// The beginning of the file.
    fn default() -> Self {
        Self::at(1, 1, 1)
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where.
    pub pos: Pos,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
    /// Another place that belongs to it, and what is there: "first given here".
    pub see: Option<(Pos, String)>,
}

impl Diagnostic {
    /// A mistake.
    pub fn new(pos: Pos, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { pos, what: line(&what.into()), remedy: line(&remedy.into()), see: None }
    }

    /// With another place.
    #[must_use]
    pub fn see(mut self, pos: Pos, what: impl Into<String>) -> Self {
        self.see = Some((pos, what.into()));
        self
    }
}

/// Messages quote what stands in the file, whatever that is: one line of sensible length is made of it.
fn line(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.pos, self.what, self.remedy)
    }
}

/// Draws the mistakes into the text they were found in, for a terminal (with `colour`) or a log.
pub fn render(file_name: &str, source: &str, mistakes: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let lines = Lines::new(source);
    let mut picture = String::new();
    for mistake in mistakes {
        let mut snippet = Snippet::source(source)
            .path(file_name)
            .annotation(AnnotationKind::Primary.span(lines.bytes(source, mistake.pos)));
        if let Some((pos, what)) = &mistake.see {
            snippet = snippet.annotation(AnnotationKind::Context.span(lines.bytes(source, *pos)).label(what));
        }
        let group = Level::ERROR
            .primary_title(&mistake.what)
            .element(snippet)
            .element(Level::HELP.message(&mistake.remedy));
        picture.push_str(&renderer.render(&[group]));
        picture.push_str("\n\n");
    }
    picture
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn new(source: &str) -> Self {
        Self(std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// A place as a range of bytes; the end of the text, for a place that is not in it.
    fn bytes(&self, source: &str, pos: Pos) -> std::ops::Range<usize> {
        let Some(start) = pos.line.checked_sub(1).and_then(|line| self.0.get(line)) else {
            return source.len()..source.len();
        };
        let line = source[*start..].lines().next().unwrap_or_default();
        let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at) + start;
        let from = pos.column.saturating_sub(1);
        byte(from)..byte(from + pos.len)
    }
}

/// Where each character of a piece of text stands in the file: it may be folded over lines and quoted.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Option<Arc<[(u32, u32)]>>, usize);

impl Place {
    /// From the line and column of each character, and of what follows the last one.
    pub(super) fn new(characters: Vec<(u32, u32)>) -> Self {
        Self(Some(characters.into()), 0)
    }

    /// That of the text from a character on.
    pub(super) fn from(&self, offset: usize) -> Self {
        Self(self.0.clone(), self.1 + offset)
    }

    /// The place of some characters, cut at the end of the line.
    pub(super) fn pos(&self, offset: usize, len: usize) -> Pos {
        let Some(characters) = self.0.as_deref().filter(|c| !c.is_empty()) else {
            return Pos::at(1, self.1 + offset + 1, len);
        };
        let last = characters.len() - 1;
        let first = (self.1 + offset).min(last);
        let (line, column) = characters[first];
        let end = (first + len.max(1) - 1).min(last);
        let len = characters[first..=end]
            .iter()
            .rev()
            .find(|c| c.0 == line)
            .map_or(1, |c| c.1.saturating_sub(column) + 1);
        Pos::at(line as usize, column as usize, len as usize)
    }
}
