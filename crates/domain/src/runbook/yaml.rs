//! YAML text to a tree of nodes that know where they stand.
//!
//! Only the part of YAML that a runbook needs: records, lists and scalars. Anchors, aliases, merge keys and tags are
//! refused, because a page that on-call reads must say what it does at the place where it says it. Sizes and depth are
//! bounded, so that no file can hang or overflow the reader.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::{Diagnostic, Place, Pos};

/// Largest file.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Records within lists within records.
const MAX_DEPTH: usize = 32;

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins; for a scalar on one line, all of it.
    pub(super) pos: Pos,
    /// What it is.
    pub(super) data: Data,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Data {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A record, in order, each key once.
    Record(Vec<Entry>),
}

/// A scalar.
#[derive(Debug)]
pub(super) struct Scalar {
    /// Its text, unquoted and unfolded.
    pub(super) text: String,
    /// Where each character of the text stands.
    pub(super) place: Place,
    /// Not quoted, so that `true`, `5` and `~` are not text.
    pub(super) plain: bool,
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name.
    pub(super) key: String,
    /// Where the name stands.
    pub(super) pos: Pos,
    /// Its value.
    pub(super) value: Node,
}

impl Node {
    /// The value of a field, if this is a record that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.data {
            Data::Record(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }
}

impl Scalar {
    /// `null`, `~` or nothing at all.
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// `true` or `false`, unquoted.
    pub(super) fn bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// As JSON: YAML 1.2's core schema.
    pub(super) fn json(&self) -> serde_json::Value {
        if self.is_null() {
            return serde_json::Value::Null;
        }
        if let Some(b) = self.bool() {
            return b.into();
        }
        let looks_like_number = self.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        if self.plain && looks_like_number {
            if let Ok(i) = self.text.parse::<i64>() {
                return i.into();
            }
            if let Ok(f) = self.text.parse::<f64>()
                && f.is_finite()
            {
                return f.into();
            }
        }
        serde_json::Value::String(self.text.clone())
    }
}

/// The document's root (none, when it cannot be read at all), and every mistake in its form.
pub(super) fn load(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes; a runbook has at most {MAX_BYTES}", text.len());
        return (None, vec![Diagnostic::new(Pos::default(), what, "split it into several runbooks")]);
    }
    let mut loader =
        Loader { text: Text::new(text), events: Parser::new_from_str(text), mistakes: Vec::new() };
    let root = loader.document();
    (root, loader.mistakes)
}

/// The text by character. Places are worked out from it, because YAML counts more characters as ends of a line than
/// editors do.
struct Text {
    chars: Vec<char>,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Text {
    fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let breaks = chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { chars, lines }
    }

    /// Line and column.
    fn place(&self, index: usize) -> (usize, usize) {
        let index = index.min(self.chars.len());
        let line = self.lines.partition_point(|start| *start <= index);
        (line, index - self.lines.get(line - 1).copied().unwrap_or_default() + 1)
    }

    fn mark(&self, marker: Marker) -> Pos {
        let (line, column) = self.place(marker.index());
        Pos::at(line, column, 1)
    }
}

struct Loader<'t> {
    text: Text,
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    mistakes: Vec<Diagnostic>,
}

impl<'t> Loader<'t> {
    /// `None` when reading cannot go on; the reason has been noted.
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        match self.events.next_event()? {
            Ok(event) => Some(event),
            Err(e) => {
                self.mistakes.push(plain(&e, &self.text));
                None
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => {
                    let what = "a second document begins here";
                    self.mistakes.push(Diagnostic::new(
                        self.text.mark(span.start),
                        what,
                        "keep one runbook in a file, without `---`",
                    ));
                    break;
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        if root.is_none() {
            self.mistakes.push(Diagnostic::new(
                Pos::default(),
                "the file is empty",
                "begin with `runbook: name-of-the-file`",
            ));
        }
        root
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Option<Node> {
        let pos = self.pos(span);
        if depth > MAX_DEPTH {
            let what = format!("this is nested more than {MAX_DEPTH} levels deep");
            self.mistakes.push(Diagnostic::new(pos, what, "make it flatter"));
            return None;
        }
        let data = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plainly(pos, anchor, tag.is_some());
                let place = self.place(&text, style, span);
                Data::Scalar(Scalar { text: text.into_owned(), place, plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(anchor, tag) => {
                self.plainly(pos, anchor, tag.is_some());
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                Data::List(items)
            }
            Event::MappingStart(anchor, tag) => {
                self.plainly(pos, anchor, tag.is_some());
                Data::Record(self.record(depth)?)
            }
            Event::Alias(_) => {
                self.mistakes.push(Diagnostic::new(pos, "`*` repeats something from elsewhere", REPEAT));
                Data::Scalar(Scalar { text: String::new(), place: Place::default(), plain: true })
            }
            // The parser never ends a document inside of it.
            _ => return None,
        };
        Some(Node { pos, data })
    }

    fn record(&mut self, depth: usize) -> Option<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        // Linear search would make a file of nothing but keys quadratic.
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Some(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Data::Scalar(name) = key.data else {
                self.mistakes.push(Diagnostic::new(
                    key.pos,
                    "a key must be a word",
                    "quote text that begins with `{` or `[`",
                ));
                continue;
            };
            if name.text == "<<" && name.plain {
                self.mistakes.push(Diagnostic::new(key.pos, "`<<` merges something from elsewhere", REPEAT));
                continue;
            }
            if let Some(first) = seen.get(&name.text) {
                let what = format!("`{}` is given twice", name.text);
                self.mistakes
                    .push(Diagnostic::new(key.pos, what, "keep one of them").see(*first, "first given here"));
                continue;
            }
            seen.insert(name.text.clone(), key.pos);
            entries.push(Entry { key: name.text, pos: key.pos, value });
        }
    }

    fn plainly(&mut self, pos: Pos, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.mistakes.push(Diagnostic::new(pos, "`&` marks this for repetition elsewhere", REPEAT));
        }
        if tagged {
            self.mistakes.push(Diagnostic::new(
                pos,
                "`!` gives this a YAML tag",
                "leave the tag out; quote a text that begins with `!`",
            ));
        }
    }

    /// A span, cut at the end of its first line.
    fn pos(&self, span: Span) -> Pos {
        let len = (span.start.index()..span.end.index())
            .take_while(|at| self.text.chars.get(*at).is_some_and(|c| !matches!(c, '\n' | '\r')))
            .count();
        Pos { len: len.max(1), ..self.text.mark(span.start) }
    }

    /// Where each character of a scalar's text stands: the text is walked along the source, where it may be quoted,
    /// escaped, indented and folded.
    fn place(&self, text: &str, style: ScalarStyle, span: Span) -> Place {
        let mut at = Cursor { text: &self.text, index: span.start.index() };
        match style {
            ScalarStyle::Plain => {}
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => at.advance(1),
            ScalarStyle::Literal | ScalarStyle::Folded => {
                // Some versions begin the span at the indicator: `|`, `>-`.
                if matches!(at.peek(), Some('|' | '>')) {
                    while at.peek().is_some_and(|c| c != '\n') {
                        at.advance(1);
                    }
                }
            }
        }
        let mut places = Vec::with_capacity(text.len() + 1);
        for c in text.chars() {
            if style != ScalarStyle::DoubleQuoted || at.peek() != Some('\\') {
                if c.is_whitespace() {
                    places.push(at.here());
                    // A folded line break and the indentation after it are one blank.
                    if c != ' ' || at.peek() != Some(' ') || at.rest_of_line_is_blank() {
                        at.skip_blank();
                    } else {
                        at.advance(1);
                    }
                    continue;
                }
                at.skip_blank();
            }
            if style == ScalarStyle::DoubleQuoted {
                at.skip_continued_lines();
            }
            places.push(at.here());
            match (style, at.peek()) {
                (ScalarStyle::DoubleQuoted, Some('\\')) => at.escape(),
                (ScalarStyle::SingleQuoted, Some('\'')) => at.advance(2),
                _ => at.advance(1),
            }
        }
        places.push(at.here());
        Place::new(places)
    }
}

const REPEAT: &str = "write it out here: a runbook says what it does where it does it";

struct Cursor<'c> {
    text: &'c Text,
    index: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.text.chars.get(self.index).copied()
    }

    fn here(&self) -> (u32, u32) {
        let (line, column) = self.text.place(self.index);
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    fn advance(&mut self, by: usize) {
        self.index = (self.index + by).min(self.text.chars.len());
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.advance(1);
        }
    }

    fn rest_of_line_is_blank(&self) -> bool {
        self.text.chars[self.index..]
            .iter()
            .find(|c| !matches!(c, ' ' | '\t' | '\r'))
            .is_none_or(|c| *c == '\n')
    }

    /// A backslash at the end of a line, in double quotes.
    fn skip_continued_lines(&mut self) {
        while self.peek() == Some('\\') && matches!(self.text.chars.get(self.index + 1), Some('\n' | '\r')) {
            self.advance(1);
            self.skip_blank();
        }
    }

    /// A backslash and what belongs to it.
    fn escape(&mut self) {
        self.advance(match self.text.chars.get(self.index + 1) {
            Some('x') => 4,
            Some('u') => 6,
            Some('U') => 10,
            _ => 2,
        });
    }
}

/// The parser's error, in plain words.
fn plain(error: &ScanError, text: &Text) -> Diagnostic {
    let info = error.info();
    let pos = text.mark(*error.marker());
    let line = text.lines.get(pos.line - 1).map_or(&[][..], |start| &text.chars[*start..]);
    let line_has_tab = line.iter().take_while(|c| **c != '\n').take(pos.column).any(|c| *c == '\t');
    let says = |word: &str| info.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
    let remedy = if line_has_tab || says("tab") || says("tabs") {
        "indent with spaces: YAML does not take tabs"
    } else if says("unprintable") || says("control") {
        "remove the character: it cannot be seen"
    } else if info.contains("simple key") || info.contains("mapping values") {
        "write `key: value`, with a space after the colon, and quote a text that contains `: `"
    } else if says("quoted") || says("escape") {
        "close the text with the quote that opened it; within `'…'` write a quote twice, within `\"…\"` write a backslash twice"
    } else if says("flow") || info.contains("',' or") || info.contains("illegal placement") {
        "close `[` with `]` and `{` with `}`, put commas between, and quote a text that contains `{`, `}`, `[`, `]` or `, `"
    } else if says("indent") || says("indentation") || says("block") {
        "give all keys of one record the same indentation"
    } else {
        "correct the YAML here; quote a text that begins with a special character such as `@`, `%`, `!`, `*`, `&`, `{` or `[`"
    };
    Diagnostic::new(pos, format!("this is not YAML: {info}"), remedy)
}
