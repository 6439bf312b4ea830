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

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name; with its namespace, such as `math.ceil`.
    pub(crate) name: &'static str,
    /// Called on something: `x.name(…)`.
    pub(crate) method: bool,
    /// What it gives.
    pub(crate) gives: Gives,
}

const fn global(name: &'static str, gives: Gives) -> Function {
    Function { name, method: false, gives }
}

const fn method(name: &'static str, gives: Gives) -> Function {
    Function { name, method: true, gives }
}

/// All of them. The macros `has`, `all`, `exists`, `exists_one`, `filter` and `map` come on top.
pub(crate) const FUNCTIONS: &[Function] = &[
    global("size", Gives::Int),
    global("int", Gives::Int),
    global("double", Gives::Number),
    global("string", Gives::Text),
    global("bool", Gives::Bool),
    global("type", Gives::Any),
    global("dyn", Gives::Any),
    global("math.least", Gives::Any),
    global("math.greatest", Gives::Any),
    global("math.abs", Gives::Any),
    global("math.ceil", Gives::Number),
    global("math.floor", Gives::Number),
    global("math.round", Gives::Number),
    method("size", Gives::Int),
    method("contains", Gives::Bool),
    method("startsWith", Gives::Bool),
    method("endsWith", Gives::Bool),
    method("indexOf", Gives::Int),
    method("lastIndexOf", Gives::Int),
    method("join", Gives::Text),
    method("lowerAscii", Gives::Text),
    method("upperAscii", Gives::Text),
    method("trim", Gives::Text),
    method("replace", Gives::Text),
    method("substring", Gives::Text),
    method("split", Gives::Texts),
    method("slice", Gives::Same),
    method("distinct", Gives::Same),
    method("reverse", Gives::Same),
    method("sort", Gives::Same),
    method("flatten", Gives::Any),
];

/// The macros, for suggestions.
pub(crate) const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "filter", "map"];

/// Names of types, for `type(x) == int`.
pub(crate) const TYPES: &[&str] = &["int", "double", "string", "bool", "list", "map", "null_type"];

/// The function of that name.
pub(crate) fn function(name: &str, is_method: bool) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name && f.method == is_method)
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
            let call = if function.method {
                format!("'a'.{}(1, 2, 3, 4, 5)", function.name)
            } else {
                format!("{}(1, 2)", function.name)
            };
            let answer = env().compile(&call).unwrap().execute(&Context::with_env(env()));
            assert!(!matches!(answer, Err(ExecutionError::UndeclaredReference(_))), "{call}: {answer:?}");
        }
    }
}
