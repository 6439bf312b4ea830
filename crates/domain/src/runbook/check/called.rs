//! Calls of functions: is there one for what it is called on and given?

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr as Ast, LiteralValue};

use super::infer::Infer;
use super::shape::Shape;
use crate::runbook::diagnostic::Pos;
use crate::runbook::expr::vocabulary::{Function, Takes};

impl<'a> Infer<'a> {
    /// Notes what surely has no such function.
    pub(super) fn called(
        &mut self,
        function: &Function,
        node: &'a IdedExpr,
        call: &'a CallExpr,
        receiver: Option<&Shape>,
        args: &[Shape],
    ) {
        let (name, Some(needs)) = (function.name, function.needs) else { return };
        let pos = self.at_name(node, &call.func_name);
        if !(needs..=function.args.len()).contains(&args.len()) {
            let given = match args.len() {
                0 => "nothing".to_owned(),
                1 => "one value".to_owned(),
                n => format!("{n} values"),
            };
            self.wrong(pos, format!("`{name}` is given {given}"), format!("write {}", usage(function)));
            return;
        }
        if let (Some(on), Some(shape)) = (function.on, receiver)
            && !on.fits(shape)
        {
            let remedy = match (name, shape, call.target.as_deref(), call.args.first()) {
                ("contains", Shape::List(_), Some(list), Some(item)) => {
                    format!("write `{} in {}`", self.source(item, "x"), self.source(list, "list"))
                }
                ("contains", Shape::Record(_), ..) => "write `\"name\" in record`".to_owned(),
                _ => on.remedy(shape),
            };
            self.wrong(pos, format!("`{name}` does not work on {shape}"), remedy);
        }
        for ((shape, takes), arg) in args.iter().zip(function.args).zip(&call.args) {
            if !takes.fits(shape) {
                let pos = self.at(arg, 1);
                let what = if function.on.is_none() {
                    format!("`{name}` does not work on {shape}")
                } else {
                    format!("`{name}` takes {}, and this is {shape}", takes.words())
                };
                self.wrong(pos, what, takes.remedy(shape));
            }
        }
    }

    /// The name of what is called: CEL notes only where the bracket behind it is.
    fn at_name(&self, node: &IdedExpr, name: &str) -> Pos {
        let bracket = self.expr.offset_of(node);
        let before = self.expr.source().get(..bracket).unwrap_or_default().trim_end();
        match before.strip_suffix(name) {
            Some(head) => self.expr.pos_of(head.len(), name.chars().count()),
            None => self.at(node, 1),
        }
    }

    /// A name or a text as it stands there; of anything else, what stands for it.
    fn source(&self, node: &IdedExpr, otherwise: &str) -> String {
        match (&node.expr, self.expr.path(node)) {
            (_, Some(path)) => path.to_string(),
            (Ast::Literal(LiteralValue::String(text)), None) => format!("{:?}", text.inner()),
            _ => otherwise.to_owned(),
        }
    }
}

/// How it is called.
fn usage(function: &Function) -> String {
    let needs = function.needs.unwrap_or_default();
    let call = |count: usize| {
        let args: Vec<_> = function.args.iter().take(count).map(|takes| takes.stands_for()).collect();
        let on = function.on.map_or(String::new(), |on| format!("{}.", on.stands_for()));
        format!("`{on}{}({})`", function.name, args.join(", "))
    };
    (needs..=function.args.len()).map(call).collect::<Vec<_>>().join(" or ")
}

impl Takes {
    /// May it be? What is not surely known may.
    fn fits(self, shape: &Shape) -> bool {
        match (self, shape) {
            (Self::Any, _) | (_, Shape::Any | Shape::Null) => true,
            (Self::Text, shape) => shape.is_text(),
            (Self::Int, Shape::Int) | (Self::Decimal, Shape::Number) => true,
            (Self::Number, Shape::Int | Shape::Number) => true,
            (Self::Numeral, shape) => shape.is_text() || matches!(shape, Shape::Int | Shape::Number),
            (Self::Truth, shape) => shape.is_text() || *shape == Shape::Bool,
            (Self::Plain, shape) => {
                shape.is_text() || matches!(shape, Shape::Int | Shape::Number | Shape::Bool)
            }
            (Self::List, Shape::List(_)) => true,
            (Self::Texts, Shape::List(of)) => of.is_text() || matches!(**of, Shape::Any | Shape::Null),
            (Self::Row, shape) => shape.is_text() || matches!(shape, Shape::List(_)),
            (Self::Sized, shape) => shape.is_text() || matches!(shape, Shape::List(_) | Shape::Record(_)),
            _ => false,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "text",
            Self::Int => "a whole number",
            Self::Decimal => "a number with decimals",
            Self::Number => "a number",
            Self::Numeral => "a number or text",
            Self::Truth => "true or false, or text",
            Self::Plain => "text, a number, or true or false",
            Self::List => "a list",
            Self::Texts => "a list of texts",
            Self::Row => "a list or text",
            Self::Sized => "a list, a text or a record",
        }
    }

    /// In an example.
    fn stands_for(self) -> &'static str {
        match self {
            Self::Text | Self::Row | Self::Truth => "text",
            Self::Int | Self::Decimal | Self::Number | Self::Numeral => "number",
            Self::List | Self::Texts | Self::Sized => "list",
            Self::Any | Self::Plain => "value",
        }
    }

    fn remedy(self, shape: &Shape) -> String {
        match (self, shape) {
            (Self::Decimal, Shape::Int) => {
                "make it decimal before anything is divided: `double(…)`, and `2.0` for `2`".into()
            }
            (Self::Text, Shape::Int | Shape::Number | Shape::Bool) => "make a text of it: `string(…)`".into(),
            (Self::Int, Shape::Number) => "make it whole: `int(…)`".into(),
            (Self::Texts, Shape::List(of)) if matches!(**of, Shape::Record(_)) => {
                "take one field of each item: `.map(x, x.id)`".into()
            }
            (Self::Texts, Shape::List(_)) => "make texts of its items: `.map(x, string(x))`".into(),
            (Self::Text | Self::Plain, Shape::List(_)) => {
                "take one of its items with `[0]`, or all of them with `.exists(x, …)` or `.map(x, …)`".into()
            }
            _ => format!("give it {}", self.words()),
        }
    }
}
