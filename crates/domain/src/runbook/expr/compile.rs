//! From text to a syntax tree that is safe to evaluate, or one clear mistake.
//!
//! CEL itself always ends, but its parser and interpreter recurse. Measured in an unoptimised build: the parser takes
//! about 170 kB of stack for a pair of brackets, the interpreter about 40 kB for a level of the tree. So brackets and
//! operators are counted before parsing, parsing gets a stack of its own, and the tree's depth is bounded for the
//! threads that evaluate it.

use std::thread;

use cel::common::ast::{EntryExpr, Expr as Ast};
use cel::{IdedExpr, ParseError, Program};

use super::super::scope::ROOTS;
use super::super::suggest::suggest;
use super::size;
use super::vocabulary::{self, FUNCTIONS, MACROS, TYPES};

/// Longest expression, in characters.
pub(super) const MAX_CHARS: usize = 4_000;
/// Brackets within brackets.
const MAX_NESTING: usize = 20;
/// Operators, dots and brackets in all, `&&` and `||` aside.
const MAX_OPERATORS: usize = 250;
/// Levels of the syntax tree.
const MAX_DEPTH: usize = 24;
/// `filter` within `map` within `all`: the work is the product of their lists.
const MAX_LOOPS: usize = 3;
/// For 20 brackets (3.4 MB) and 250 operators (10 MB), twice over.
const PARSER_STACK: usize = 32 << 20;

/// What is wrong with an expression, and where: character offset and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Characters from the beginning of the expression.
    pub(crate) offset: usize,
    /// How many characters it concerns.
    pub(crate) len: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What to write instead.
    pub(crate) remedy: String,
}

impl Flaw {
    pub(crate) fn new(offset: usize, len: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { offset, len: len.max(1), what: what.into(), remedy: remedy.into() }
    }
}

/// Compiles it, or says what is wrong first.
pub(super) fn compile(source: &str) -> Result<Program, Flaw> {
    bounded(source)?;
    let parsed = thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(PARSER_STACK)
            .spawn_scoped(scope, || vocabulary::env().compile(source).map_err(|e| plain(source, e.errors)))
            .map(thread::ScopedJoinHandle::join)
    });
    let program = match parsed {
        Ok(Ok(parsed)) => parsed?,
        Ok(Err(_)) => {
            return Err(Flaw::new(0, source.chars().count(), "the expression cannot be parsed", SIMPLER));
        }
        Err(e) => {
            return Err(Flaw::new(0, 1, format!("no thread to parse it: {e}"), "free memory and try again"));
        }
    };
    let inspect = Inspect { program: &program, source };
    inspect.visit(program.expression(), &mut Vec::new(), 0, 0)?;
    if let Err(too_large) = size::bounded(program.expression()) {
        let what = "what comes of this may become too large: texts and lists grow by each other here";
        return Err(inspect.flaw(too_large, 1, what.into(), SIMPLER_TEXT.into()));
    }
    Ok(program)
}

const SIMPLER_TEXT: &str =
    "leave out a `replace`, `join` or `map`, or put a shorter text in the place of another";
const SIMPLER: &str = "split it: give a part of it a name with a `value:` step";

fn bounded(source: &str) -> Result<(), Flaw> {
    if source.trim().is_empty() {
        return Err(Flaw::new(
            0,
            1,
            "the expression is empty",
            "write a condition such as `size(steps.group.in_service) > 0`",
        ));
    }
    let chars: Vec<char> = source.chars().collect();
    if chars.len() > MAX_CHARS {
        return Err(Flaw::new(
            MAX_CHARS,
            1,
            format!("the expression is longer than {MAX_CHARS} characters"),
            SIMPLER,
        ));
    }
    let (mut nesting, mut operators, mut at) = (0_usize, 0_usize, 0);
    while let Some(&c) = chars.get(at) {
        if c == '"' || c == '\'' {
            at = after_string(&chars, at);
            continue;
        }
        if let Some(end) = after_comment(&chars, at) {
            if end == chars.len() {
                let what = "this is a comment up to the end of the expression, and whatever stands there is not part of it";
                let remedy = "leave it out, or write it behind a `#` outside of the expression; in a text over several lines (`|`), `//` \
                              ends with its line";
                return Err(Flaw::new(at, 2, what, remedy));
            }
            at = end;
            continue;
        }
        if "([{".contains(c) {
            nesting += 1;
        }
        if ")]}".contains(c) {
            nesting = nesting.saturating_sub(1);
        }
        operators += usize::from("([{.+-*/%<>=!?".contains(c));
        if nesting > MAX_NESTING || operators > MAX_OPERATORS {
            return Err(Flaw::new(at, 1, "the expression is too deep or has too many operators", SIMPLER));
        }
        at += 1;
    }
    Ok(())
}

/// The index of the end of the line, if a comment begins at `at`.
pub(crate) fn after_comment(chars: &[char], at: usize) -> Option<usize> {
    chars[at..].starts_with(&['/', '/']).then(|| {
        chars[at..].iter().position(|c| matches!(c, '\n' | '\r')).map_or(chars.len(), |end| at + end)
    })
}

/// The index just behind the string literal that begins at `at` (or behind the end, when it is not closed). One with single quotes
/// ends with its line, as CEL reads it.
pub(crate) fn after_string(chars: &[char], at: usize) -> usize {
    let quote = chars[at];
    let raw = at > 0 && matches!(chars[at - 1], 'r' | 'R');
    let triple = chars.get(at + 1) == Some(&quote) && chars.get(at + 2) == Some(&quote);
    let mut at = at + if triple { 3 } else { 1 };
    while at < chars.len() {
        if chars[at] == '\\' && !raw {
            at += 2;
        } else if !triple && matches!(chars[at], '\n' | '\r') {
            return at;
        } else if chars[at] == quote {
            if !triple {
                return at + 1;
            }
            if chars.get(at + 1) == Some(&quote) && chars.get(at + 2) == Some(&quote) {
                return at + 3;
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    chars.len()
}

/// CEL's first error, in plain words. The ones after it follow from it.
fn plain(source: &str, errors: Vec<ParseError>) -> Flaw {
    let Some(error) = errors.into_iter().next() else {
        return Flaw::new(0, 1, "the expression cannot be parsed", SIMPLER);
    };
    let offset = offset_of(source, error.pos);
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let token = quoted(message);
    if let Some(missing) = message.strip_prefix("missing '").and_then(|rest| rest.split('\'').next()) {
        let before =
            token.filter(|t| *t != "<EOF>").map_or("at the end".to_owned(), |t| format!("before `{t}`"));
        return Flaw::new(offset, 1, format!("`{missing}` is missing {before}"), format!("add `{missing}`"));
    }
    let (what, len) = match token {
        Some("<EOF>") => ("the expression ends too early".to_owned(), 1),
        Some(token) if message.starts_with("token recognition error") => {
            (format!("`{}` is not part of the language", token.trim()), token.trim().chars().count())
        }
        Some(token) if message.starts_with("no viable alternative") => {
            (format!("something is missing or wrong at `{token}`"), token.chars().count())
        }
        Some(token) => (format!("`{token}` does not belong here"), token.chars().count()),
        None => match message.strip_prefix("reserved identifier: ") {
            Some(word) => (format!("`{word}` is a reserved word"), word.len()),
            None => (message.to_owned(), 1),
        },
    };
    Flaw::new(offset, len, what, hint(source, offset))
}

/// What people write when they are used to another language.
fn hint(source: &str, offset: usize) -> String {
    let rest: String = source.chars().skip(offset).collect();
    let word = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    match word {
        "and" | "AND" => "write `&&` for and".into(),
        "or" | "OR" => "write `||` for or".into(),
        _ if source.trim_start().starts_with("not ") || word == "not" => "write `!(…)` for not".into(),
        _ if rest.starts_with("= ") || rest.starts_with('=') => "write `==` to compare".into(),
        _ if rest.starts_with('$') => "write the expression bare here, without `${ }`".into(),
        _ if rest.starts_with('\'') || rest.starts_with('"') => {
            "close the text with the quote that opened it".into()
        }
        _ if rest.starts_with('&') => "write `&&` for and".into(),
        _ if rest.starts_with('|') => "write `||` for or".into(),
        _ => "write a condition or value, such as `size(steps.group.in_service) > 0`".into(),
    }
}

fn quoted(message: &str) -> Option<&str> {
    // The offending token is the last quoted thing before what was expected instead.
    let head = message.split(" expecting ").next()?;
    let head = head.rsplit_once(" at ").map_or(head, |(_, tail)| tail);
    let open = head.find('\'')?;
    let close = head.rfind('\'').filter(|close| *close > open)?;
    Some(&head[open + 1..close])
}

/// CEL counts lines and columns from 1, in characters.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    source.split_inclusive('\n').take(line).map(|l| l.chars().count()).sum::<usize>() + column
}

/// What can be said about a tree without knowing any value.
struct Inspect<'a> {
    program: &'a Program,
    source: &'a str,
}

impl Inspect<'_> {
    fn flaw(&self, id: u64, len: usize, what: String, remedy: String) -> Flaw {
        Flaw::new(chars_before(self.source, self.byte(id)), len, what, remedy)
    }

    fn byte(&self, id: u64) -> usize {
        self.program.source_info().offset_for(id).map_or(0, |(start, _)| start as usize)
    }

    /// At the name of what is called: CEL notes only where the bracket behind it is.
    fn flaw_of_call(&self, id: u64, name: &str, what: String, remedy: String) -> Flaw {
        let bracket = self.byte(id);
        let before = self.source.get(..bracket).unwrap_or_default().trim_end();
        match before.strip_suffix(name) {
            Some(head) => Flaw::new(head.chars().count(), name.chars().count(), what, remedy),
            None => Flaw::new(chars_before(self.source, bracket), 1, what, remedy),
        }
    }

    fn visit<'e>(
        &self,
        expr: &'e IdedExpr,
        bound: &mut Vec<&'e str>,
        depth: usize,
        loops: usize,
    ) -> Result<(), Flaw> {
        if depth > MAX_DEPTH {
            return Err(self.flaw(expr.id, 1, "the expression is nested too deep".into(), SIMPLER.into()));
        }
        match &expr.expr {
            Ast::Ident(name) => self.name(expr, name, bound),
            // Selections do not take stack: CEL resolves a chain of them in one go.
            Ast::Select(select) => self.visit(&select.operand, bound, depth, loops),
            Ast::Call(call) => {
                self.function(expr, call)?;
                if let Some(target) = &call.target
                    && !matches!(&target.expr, Ast::Ident(name) if vocabulary::is_namespace(name))
                {
                    self.visit(target, bound, depth + 1, loops)?;
                }
                call.args.iter().try_for_each(|arg| self.visit(arg, bound, depth + 1, loops))
            }
            Ast::Comprehension(c) => {
                if loops == MAX_LOOPS {
                    let what =
                        format!("more than {MAX_LOOPS} `filter`, `map`, `all` or `exists` within each other");
                    return Err(self.flaw(expr.id, 1, what, SIMPLER.into()));
                }
                if ROOTS.contains(&c.iter_var.as_str()) || vocabulary::is_namespace(&c.iter_var) {
                    let what =
                        format!("`{}` already has a meaning, so it cannot be a variable here", c.iter_var);
                    return Err(self.flaw(
                        expr.id,
                        1,
                        what,
                        "give the variable another name, such as `x`".into(),
                    ));
                }
                self.visit(&c.iter_range, bound, depth + 1, loops)?;
                let outside = bound.len();
                bound.push(&c.accu_var);
                bound.push(&c.iter_var);
                bound.extend(c.iter_var2.as_deref());
                for part in [&c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.visit(part, bound, depth + 1, loops + 1)?;
                }
                bound.truncate(outside);
                Ok(())
            }
            Ast::List(list) => list.elements.iter().try_for_each(|e| self.visit(e, bound, depth + 1, loops)),
            Ast::Map(map) => map.entries.iter().try_for_each(|e| match &e.expr {
                EntryExpr::MapEntry(e) => {
                    self.visit(&e.key, bound, depth + 1, loops)?;
                    self.visit(&e.value, bound, depth + 1, loops)
                }
                EntryExpr::StructField(f) => self.visit(&f.value, bound, depth + 1, loops),
            }),
            Ast::Struct(s) => {
                let what = format!("there is no type `{}`", s.type_name);
                Err(self.flaw(
                    expr.id,
                    s.type_name.len(),
                    what,
                    "write a record as `{\"name\": value}`".into(),
                ))
            }
            Ast::Literal(_) | Ast::Unspecified => Ok(()),
        }
    }

    fn name(&self, expr: &IdedExpr, name: &str, bound: &[&str]) -> Result<(), Flaw> {
        if bound.contains(&name) || ROOTS.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        let known = ROOTS.iter().chain(bound).copied().filter(|n| !n.starts_with('@'));
        let remedy = suggest(name, known.clone())
            .unwrap_or_else(|| format!("use one of {}", known.collect::<Vec<_>>().join(", ")));
        Err(self.flaw(expr.id, name.chars().count(), format!("`{name}` is not a known name"), remedy))
    }

    fn function(&self, expr: &IdedExpr, call: &cel::common::ast::CallExpr) -> Result<(), Flaw> {
        if call.func_name.contains(|c: char| !c.is_alphanumeric() && c != '_')
            || call.func_name.starts_with('_')
        {
            return Ok(()); // an operator
        }
        let namespace = match call.target.as_deref().map(|t| &t.expr) {
            Some(Ast::Ident(name)) if vocabulary::is_namespace(name) => Some(name),
            _ => None,
        };
        let name = namespace.map_or(call.func_name.clone(), |n| format!("{n}.{}", call.func_name));
        let is_method = call.target.is_some() && namespace.is_none();
        if vocabulary::function(&name, is_method).is_some() {
            return Ok(());
        }
        if MACROS.contains(&name.as_str()) {
            let remedy = match name.as_str() {
                "has" => "write `has(steps.x.field)`",
                _ => "write it as `list.filter(x, condition)`: a variable first, then what is asked of it",
            };
            let what = format!("`{name}` is called in the wrong way");
            return Err(self.flaw_of_call(expr.id, &call.func_name, what, remedy.into()));
        }
        let known = FUNCTIONS
            .iter()
            .filter(|f| f.is_method() == is_method)
            .map(|f| f.name)
            .chain(MACROS.iter().copied());
        let remedy = suggest(&name, known.clone())
            .unwrap_or_else(|| format!("use one of {}", known.collect::<Vec<_>>().join(", ")));
        Err(self.flaw_of_call(expr.id, &call.func_name, format!("there is no function `{name}`"), remedy))
    }
}

/// Byte offset to character offset.
pub(crate) fn chars_before(source: &str, byte: usize) -> usize {
    source.char_indices().take_while(|(at, _)| *at < byte).count()
}
