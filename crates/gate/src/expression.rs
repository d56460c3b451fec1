//! Expressions: conditions on the content of an artifact, in CEL.
//!
//! CEL (<https://github.com/google/cel-spec>) always terminates, but not always soon: every loop
//! inside a loop multiplies. The library has no budget, so we compute an upper bound before we
//! evaluate: the size of the expression times the size of the content, once for every level of
//! nested loops. What could exceed it is not evaluated, and the result is then unknown.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use serde::{Deserialize, Deserializer};

/// The longest expression, in bytes. Longer ones are not read by the people who answer for them.
pub const MAX_EXPRESSION_BYTES: usize = 2048;
/// The most loops inside each other.
pub const MAX_LOOP_DEPTH: u32 = 2;
/// The most steps: about a second in a debug build, on the slowest machine that we use.
pub const MAX_STEPS: u64 = 50_000_000;
/// The deepest document that an expression is given.
const MAX_DOCUMENT_DEPTH: usize = 64;

/// The names that an expression may use.
pub const VARIABLES: [&str; 4] = ["report", "sbom", "provenance", "artifact"];

/// A condition, compiled.
#[derive(Clone)]
pub struct Expression {
    text: String,
    program: Arc<Program>,
    variables: Vec<&'static str>,
    nodes: u64,
    loops: u32,
}

/// Says why a text is not an expression that we evaluate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Longer than [`MAX_EXPRESSION_BYTES`].
    #[error("the expression has {0} bytes, more than {MAX_EXPRESSION_BYTES}")]
    TooLong(usize),
    /// Not CEL.
    #[error("not a CEL expression: {0}")]
    Syntax(String),
    /// Loops inside loops inside loops.
    #[error("the expression has {0} loops inside each other, more than {MAX_LOOP_DEPTH}")]
    TooDeep(u32),
    /// A name that nothing has.
    #[error("`{0}` is not defined: use one of `report`, `sbom`, `provenance`, `artifact`")]
    Undefined(String),
}

/// Says why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// It could take more than [`MAX_STEPS`].
    #[error("the content is too large for this expression: it could take {0} steps")]
    TooExpensive(u64),
    /// A document is nested too deeply.
    #[error("`{0}` is nested too deeply")]
    TooDeep(&'static str),
    /// CEL found that an operation makes no sense, such as a member that is not there.
    #[error("{0}")]
    Failed(String),
    /// The value is something else than yes or no.
    #[error("the expression gives no truth value, but {0}")]
    NotBool(String),
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::TooLong(text.len()));
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            ExpressionError::Syntax(first.map_or_else(String::new, |error| error.msg.clone()))
        })?;
        let mut shape = Shape::default();
        shape.visit(program.expression(), 0);
        if shape.loops > MAX_LOOP_DEPTH {
            return Err(ExpressionError::TooDeep(shape.loops));
        }
        let references = program.references();
        let own = |name: &&str| !VARIABLES.contains(name) && !shape.is_bound(name);
        if let Some(name) = references.variables().into_iter().find(own) {
            return Err(ExpressionError::Undefined(name.to_owned()));
        }
        let used = |name: &&'static str| references.has_variable(name) && !shape.is_bound(name);
        let variables = VARIABLES.into_iter().filter(used).collect();
        drop(references);
        Ok(Self {
            text: text.to_owned(),
            program: Arc::new(program),
            variables,
            nodes: shape.nodes,
            loops: shape.loops,
        })
    }
}

impl Expression {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names that it uses, of [`VARIABLES`].
    pub fn variables(&self) -> &[&'static str] {
        &self.variables
    }

    /// Evaluates the expression over documents, by name.
    ///
    /// # Errors
    /// If it could take too long, makes no sense over these documents, or gives no truth value.
    pub fn evaluate(
        &self,
        documents: &[(&'static str, serde_json::Value)],
    ) -> Result<bool, EvaluationError> {
        let mut context = Context::default();
        let mut size = 1;
        for (name, document) in documents {
            let value = to_cel(document, 0, &mut size).ok_or(EvaluationError::TooDeep(name))?;
            context.add_variable_from_value(*name, value);
        }
        let steps = self.bound(size);
        if steps > MAX_STEPS {
            return Err(EvaluationError::TooExpensive(steps));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(EvaluationError::NotBool(format!("{:?}", other.type_of()))),
            Err(error) => Err(EvaluationError::Failed(error.to_string())),
        }
    }

    /// Returns how many steps an evaluation over `size` values takes at most.
    fn bound(&self, size: u64) -> u64 {
        let loops = size.saturating_pow(self.loops);
        self.nodes.saturating_mul(loops)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How large an expression is, how deeply its loops are nested, and the names that they bind.
#[derive(Default)]
struct Shape {
    nodes: u64,
    loops: u32,
    bound: Vec<String>,
}

impl Shape {
    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn visit(&mut self, expression: &IdedExpr, depth: u32) {
        self.nodes += 1;
        match &expression.expr {
            Expr::Call(call) => {
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.for_each(|part| self.visit(part, depth));
            }
            Expr::Comprehension(each) => {
                self.loops = self.loops.max(depth + 1);
                self.bound.push(each.iter_var.clone());
                self.bound.push(each.accu_var.clone());
                self.bound.extend(each.iter_var2.clone());
                self.visit(&each.iter_range, depth);
                self.visit(&each.accu_init, depth);
                self.visit(&each.loop_cond, depth + 1);
                self.visit(&each.loop_step, depth + 1);
                self.visit(&each.result, depth);
            }
            Expr::List(list) => list.elements.iter().for_each(|e| self.visit(e, depth)),
            Expr::Map(map) => map.entries.iter().for_each(|e| self.entry(&e.expr, depth)),
            Expr::Struct(one) => one.entries.iter().for_each(|e| self.entry(&e.expr, depth)),
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr, depth: u32) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth);
                self.visit(&entry.value, depth);
            }
        }
    }
}

/// Converts a document, and counts its values. Numbers become `int` where they can: authors write
/// `artifact.checks > 0`, and in CEL that is an `int`.
fn to_cel(document: &serde_json::Value, depth: usize, size: &mut u64) -> Option<Value> {
    *size += 1;
    if depth > MAX_DOCUMENT_DEPTH {
        return None;
    }
    Some(match document {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => {
            let items: Option<Vec<Value>> = items
                .iter()
                .map(|item| to_cel(item, depth + 1, size))
                .collect();
            Value::List(Arc::new(items?))
        }
        serde_json::Value::Object(members) => {
            let mut map = HashMap::with_capacity(members.len());
            for (name, member) in members {
                let value = to_cel(member, depth + 1, size)?;
                map.insert(Key::String(Arc::new(name.clone())), value);
            }
            Value::Map(Map { map: Arc::new(map) })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn evaluate(text: &str, document: serde_json::Value) -> Result<bool, EvaluationError> {
        let expression: Expression = text.parse().unwrap();
        expression.evaluate(&[("artifact", document)])
    }

    #[test]
    fn conditions_are_evaluated() {
        let document = json!({"checks": 2, "failed": [], "names": ["a", "b"], "rate": 0.5});
        for (text, expected) in [
            ("artifact.failed.size() == 0 && artifact.checks > 0", true),
            ("artifact.checks == 3", false),
            ("artifact.names.exists(n, n == 'b')", true),
            (
                "artifact.names.all(n, artifact.names.exists(m, m == n))",
                true,
            ),
            ("has(artifact.missing)", false),
            ("artifact.rate < 1.0", true),
            (
                "artifact.names.filter(n, n.startsWith('a')).size() == 1",
                true,
            ),
        ] {
            assert_eq!(evaluate(text, document.clone()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_truth_value_is_an_error() {
        let document = json!({"checks": 2});
        for text in [
            "artifact.missing == 1",
            "artifact.checks",
            "artifact.checks > 'a'",
        ] {
            assert!(evaluate(text, document.clone()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_we_would_not_evaluate_is_refused() {
        let long = format!("artifact.a == '{}'", "x".repeat(MAX_EXPRESSION_BYTES));
        let deep = "artifact.a.all(x, artifact.a.all(y, artifact.a.all(z, x == z)))";
        let shown: Vec<String> = ["artifact.a ==", "1 +", "cve.a == 1", deep, &long, ""]
            .iter()
            .map(|text| text.parse::<Expression>().unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn a_loop_inside_a_loop_over_much_is_not_begun() {
        let text = "artifact.a.all(x, artifact.a.all(y, x == y))";
        let much = json!({"a": vec![1; 10_000]});
        let error = evaluate(text, much).unwrap_err();
        assert!(matches!(error, EvaluationError::TooExpensive(_)), "{error}");
        assert_eq!(evaluate(text, json!({"a": vec![1; 100]})), Ok(true));
    }

    #[test]
    fn a_document_that_is_nested_too_deeply_is_refused() {
        let mut document = json!(1);
        for _ in 0..=MAX_DOCUMENT_DEPTH {
            document = json!([document]);
        }
        assert_eq!(
            evaluate("artifact.size() == 1", document),
            Err(EvaluationError::TooDeep("artifact"))
        );
    }

    #[test]
    fn the_names_that_are_used_are_known() {
        let expression: Expression = "report.findings.all(f, f.a == sbom.b)".parse().unwrap();
        assert_eq!(expression.variables(), ["report", "sbom"]);
    }
}
