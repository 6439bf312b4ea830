//! The functions that expressions may call: a list that is open to reading, so that a misspelt one is found in the file.
//!
//! Left out on purpose: what can make a guard eat memory (`lists.range`), regular expressions, bytes, unsigned numbers
//! and optional values, of which JSON knows nothing.

use std::sync::{Arc, LazyLock};

use cel::Env;

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// A list of text.
    Texts,
    /// The list it was called on, or a part of it.
    Same,
    /// Something that depends.
    Any,
}

/// What a function works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Whatever there is.
    Any,
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number with decimals: a whole one is none.
    Decimal,
    /// Either of them.
    Number,
    /// A number, or text that reads as one.
    Numeral,
    /// True or false, or text that says so.
    Truth,
    /// What can be written as text: text itself, a number, true or false.
    Plain,
    /// A list.
    List,
    /// A list of texts.
    Texts,
    /// A list or text.
    Row,
    /// A list, text or record.
    Sized,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name; with its namespace, such as `math.ceil`.
    pub(crate) name: &'static str,
    /// What it is called on: `x.name(…)`.
    pub(crate) on: Option<Takes>,
    /// What stands in its brackets…
    pub(crate) args: &'static [Takes],
    /// …of which the first so many must. Some are called with as many as there are.
    pub(crate) needs: Option<usize>,
    /// What it gives.
    pub(crate) gives: Gives,
}

impl Function {
    /// Called on something.
    pub(crate) fn is_method(&self) -> bool {
        self.on.is_some()
    }
}

const fn global(name: &'static str, args: &'static [Takes], gives: Gives) -> Function {
    Function { name, on: None, args, needs: Some(args.len()), gives }
}

/// One that CEL's parser makes something else of, which is called with numbers, or a list of them.
const fn variadic(name: &'static str) -> Function {
    Function { name, on: None, args: &[], needs: None, gives: Gives::Any }
}

const fn method(on: Takes, name: &'static str, args: &'static [Takes], gives: Gives) -> Function {
    optional(on, name, args, args.len(), gives)
}

const fn optional(
    on: Takes,
    name: &'static str,
    args: &'static [Takes],
    needs: usize,
    gives: Gives,
) -> Function {
    Function { name, on: Some(on), args, needs: Some(needs), gives }
}

use Takes::{Any, Decimal, Int, List, Number, Numeral, Plain, Row, Sized, Text, Texts, Truth};

/// All of them. The macros `has`, `all`, `exists`, `exists_one`, `filter` and `map` come on top.
pub(crate) const FUNCTIONS: &[Function] = &[
    global("size", &[Sized], Gives::Int),
    global("int", &[Numeral], Gives::Int),
    global("double", &[Numeral], Gives::Number),
    global("string", &[Plain], Gives::Text),
    global("bool", &[Truth], Gives::Bool),
    global("type", &[Any], Gives::Any),
    global("dyn", &[Any], Gives::Any),
    variadic("math.least"),
    variadic("math.greatest"),
    global("math.abs", &[Number], Gives::Any),
    global("math.ceil", &[Decimal], Gives::Number),
    global("math.floor", &[Decimal], Gives::Number),
    global("math.round", &[Decimal], Gives::Number),
    method(Sized, "size", &[], Gives::Int),
    method(Text, "contains", &[Text], Gives::Bool),
    method(Text, "startsWith", &[Text], Gives::Bool),
    method(Text, "endsWith", &[Text], Gives::Bool),
    optional(Text, "indexOf", &[Text, Int], 1, Gives::Int),
    optional(Text, "lastIndexOf", &[Text, Int], 1, Gives::Int),
    optional(Texts, "join", &[Text], 0, Gives::Text),
    method(Text, "lowerAscii", &[], Gives::Text),
    method(Text, "upperAscii", &[], Gives::Text),
    method(Text, "trim", &[], Gives::Text),
    optional(Text, "replace", &[Text, Text, Int], 2, Gives::Text),
    optional(Text, "substring", &[Int, Int], 1, Gives::Text),
    optional(Text, "split", &[Text, Int], 1, Gives::Texts),
    method(List, "slice", &[Int, Int], Gives::Same),
    method(List, "distinct", &[], Gives::Same),
    method(Row, "reverse", &[], Gives::Same),
    method(List, "sort", &[], Gives::Same),
    optional(List, "flatten", &[Int], 0, Gives::Any),
];

/// The macros, for suggestions.
pub(crate) const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "filter", "map"];

/// Names of types, for `type(x) == int`.
pub(crate) const TYPES: &[&str] = &["int", "double", "string", "bool", "list", "map", "null_type"];

/// The function of that name.
pub(crate) fn function(name: &str, is_method: bool) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name && f.is_method() == is_method)
}

/// Does it only group functions?
pub(crate) fn is_namespace(name: &str) -> bool {
    name == "math"
}

/// CEL with its extensions.
pub(crate) fn env() -> Arc<Env> {
    static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        for extension in [cel::extensions::strings, cel::extensions::lists, cel::extensions::math] {
            // Each is added once to an environment that has none of its names, so there is nothing to collide with;
            // were one missing, the test below would say so.
            let _ = env.add_extension(extension);
        }
        Arc::new(env)
    });
    Arc::clone(&ENV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cel::{Context, ExecutionError};

    #[test]
    fn cel_knows_every_function_that_is_offered() {
        for function in FUNCTIONS {
            let call = if function.is_method() {
                format!("'a'.{}(1, 2, 3, 4, 5)", function.name)
            } else {
                format!("{}(1, 2)", function.name)
            };
            let answer = env().compile(&call).unwrap().execute(&Context::with_env(env()));
            assert!(!matches!(answer, Err(ExecutionError::UndeclaredReference(_))), "{call}: {answer:?}");
        }
    }

    /// Values that each stand for a kind, and what takes them.
    const SAMPLES: &[(&str, &[Takes])] = &[
        ("'1'", &[Any, Text, Numeral, Truth, Plain, Row, Sized]),
        ("'true'", &[Any, Text, Numeral, Truth, Plain, Row, Sized]),
        ("1", &[Any, Int, Number, Numeral, Plain]),
        ("1.5", &[Any, Decimal, Number, Numeral, Plain]),
        ("true", &[Any, Truth, Plain]),
        ("['a']", &[Any, List, Texts, Row, Sized]),
        ("[1]", &[Any, List, Row, Sized]),
        ("[{'a': 1}]", &[Any, List, Row, Sized]),
        ("{'a': 1}", &[Any, Sized]),
    ];

    /// A value that fits.
    fn fitting(takes: Takes) -> &'static str {
        SAMPLES.iter().find(|(_, by)| by.contains(&takes)).unwrap().0
    }

    /// Does CEL have no such function for these values?
    fn is_refused(call: &str) -> bool {
        let answer = env().compile(call).unwrap().execute(&Context::with_env(env()));
        matches!(
            answer,
            Err(ExecutionError::NoSuchOverload(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::InvalidArgumentCount { .. })
        )
    }

    #[test]
    fn cel_takes_what_is_said_to_be_taken_and_nothing_else() {
        for function in FUNCTIONS.iter().filter(|f| f.needs.is_some()) {
            let call = |on: &str, args: &[&str]| match function.on {
                Some(_) => format!("{on}.{}({})", function.name, args.join(", ")),
                None => format!("{}({})", function.name, args.join(", ")),
            };
            let on = function.on.map_or("", fitting);
            let fit: Vec<&str> = function.args.iter().map(|takes| fitting(*takes)).collect();
            let needs = function.needs.unwrap();
            for count in 0..=fit.len() + 1 {
                let given: Vec<&str> = fit.iter().copied().chain(["1"]).take(count).collect();
                let call = call(on, &given);
                assert_eq!(is_refused(&call), !(needs..=fit.len()).contains(&count), "{call}");
            }
            for (value, by) in SAMPLES {
                if let Some(takes) = function.on {
                    let call = call(value, &fit);
                    assert_eq!(is_refused(&call), !by.contains(&takes), "{call}");
                }
                for (at, takes) in function.args.iter().enumerate() {
                    let mut given = fit.clone();
                    given[at] = value;
                    let call = call(on, &given);
                    assert_eq!(is_refused(&call), !by.contains(takes), "{call}");
                }
            }
        }
    }
}
