//! Questions that a mapping asks of the facts: made here, answered by [`Cx`](crate::Cx).

use std::{cell::Cell, collections::BTreeMap, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    contract::{Answer, Fact, Lookup, Need, Problem, Query, ReferenceKey},
    stop::Stop,
};

/// The answers to the needs of earlier calls.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    facts: &'a [Fact],
    /// Where the next answer is likely to be: questions are asked in the order in which they were asked before, and
    /// a payout asks thousands.
    likely: Cell<usize>,
}

impl<'a> Facts<'a> {
    /// In the order in which they were asked.
    #[must_use]
    pub fn new(facts: &'a [Fact]) -> Self {
        Self { facts, likely: Cell::new(0) }
    }

    fn answer(&self, need: &Need) -> Option<&'a Answer> {
        let likely = self.likely.get();
        let (earlier, later) = self.facts.split_at_checked(likely).unwrap_or((self.facts, &[]));
        let mut ordered = later.iter().chain(earlier).zip((likely..self.facts.len()).chain(0..likely));
        let (fact, place) = ordered.find(|(fact, _)| same(&fact.need, need))?;
        self.likely.set(place.saturating_add(1));
        Some(&fact.answer)
    }
}

/// Whether two needs ask the same. Parameters are compared as JSON: a host may have written them anew.
fn same(one: &Need, other: &Need) -> bool {
    match (one, other) {
        (Need::Query(one), Need::Query(other)) => {
            one.connection == other.connection
                && one.operation == other.operation
                && (one.parameters == other.parameters || same_json(&one.parameters, &other.parameters))
        }
        _ => one == other,
    }
}

fn same_json(one: &str, other: &str) -> bool {
    match (serde_json::from_str::<Value>(one), serde_json::from_str::<Value>(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A question, or several that are asked together.
pub trait Ask {
    /// What is known once every answer is there.
    type Answer;

    /// The answer, or `None` with what is missing added to `missing` (each need once).
    ///
    /// # Errors
    /// A refusal: the system refused, or answered in another shape.
    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Self::Answer>, Stop>;
}

/// A question whose answer is a `T`, or nothing.
#[derive(Debug, Clone)]
pub struct Question<T> {
    need: Need,
    answer: PhantomData<fn() -> T>,
}

/// A row of a lookup table.
#[must_use]
pub fn lookup<T: DeserializeOwned>(table: &str, key: &str) -> Question<T> {
    let need = Need::Lookup(Lookup { table: table.to_owned(), key: key.to_owned() });
    Question { need, answer: PhantomData }
}

/// A read through a connection.
#[must_use]
pub fn query<T: DeserializeOwned>(connection: &str, operation: &str, parameters: Value) -> Question<T> {
    let (connection, operation) = (connection.to_owned(), operation.to_owned());
    let need = Need::Query(Query { connection, operation, parameters: parameters.to_string() });
    Question { need, answer: PhantomData }
}

/// Under which ids other systems know an object.
#[must_use]
pub fn reference(kind: &str, id: &str) -> ReferenceQuestion {
    ReferenceQuestion(query_reference(kind, id))
}

fn query_reference(kind: &str, id: &str) -> Question<Counterparts> {
    let need = Need::Reference(ReferenceKey { kind: kind.to_owned(), id: id.to_owned() });
    Question { need, answer: PhantomData }
}

/// The question under which ids other systems know an object.
#[derive(Debug, Clone)]
pub struct ReferenceQuestion(Question<Counterparts>);

/// Under which ids other systems know many objects, in their order. Asked together; more than the host answers in
/// one round are asked in several.
#[must_use]
pub fn references<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> ReferenceQuestions {
    let need =
        |(kind, id): (&str, &str)| Need::Reference(ReferenceKey { kind: kind.to_owned(), id: id.to_owned() });
    ReferenceQuestions(keys.into_iter().map(need).collect())
}

/// How many references are asked in one round: a little fewer than the host grants, for what is asked beside them.
const REFERENCES_MAX: usize = 4_000;

/// The question under which ids other systems know many objects.
#[derive(Debug, Clone)]
pub struct ReferenceQuestions(Vec<Need>);

impl Ask for ReferenceQuestions {
    type Answer = Vec<Counterparts>;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Vec<Counterparts>>, Stop> {
        let mut answers = Vec::with_capacity(self.0.len());
        let mut asked = std::collections::BTreeSet::new();
        for need in &self.0 {
            match facts.answer(need) {
                None => {
                    let Need::Reference(key) = need else { continue };
                    if asked.len() < REFERENCES_MAX && asked.insert((&key.kind, &key.id)) {
                        missing.push(need.clone());
                    }
                }
                Some(Answer::Absent) => answers.push(Counterparts::default()),
                Some(Answer::Found(json)) => {
                    answers.push(serde_json::from_str(json).map_err(|error| unexpected(need, &error))?);
                }
                Some(Answer::Failed(problem)) => return Err(refused(need, problem)),
            }
        }
        Ok(asked.is_empty().then_some(answers))
    }
}

/// An object's ids in other systems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counterparts(BTreeMap<String, String>);

impl Counterparts {
    /// Its id in one of them.
    #[must_use]
    pub fn id(&self, system: &str) -> Option<&str> {
        self.0.get(system).map(String::as_str)
    }

    /// Whether no other system knows it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row of a lookup table that says one thing as a text (`"WIDGET-1"`) or several as an object
/// (`{"part": "WIDGET-1", "unit": "EA"}`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Row(Value);

impl Row {
    /// The one thing the row is about: the text, or the object's field of this name. Numbers count as texts.
    #[must_use]
    pub fn main(&self, field: &str) -> Option<String> {
        if self.0.is_object() { self.field(field) } else { text(&self.0) }
    }

    /// What else the row says.
    #[must_use]
    pub fn field(&self, field: &str) -> Option<String> {
        self.0.get(field).and_then(text)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<T: DeserializeOwned> Ask for Question<T> {
    type Answer = Option<T>;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Option<T>>, Stop> {
        match facts.answer(&self.need) {
            None => {
                if !missing.contains(&self.need) {
                    missing.push(self.need.clone());
                }
                Ok(None)
            }
            Some(Answer::Absent) => Ok(Some(None)),
            Some(Answer::Found(json)) => match serde_json::from_str(json) {
                Ok(answer) => Ok(Some(Some(answer))),
                Err(error) => Err(unexpected(&self.need, &error)),
            },
            Some(Answer::Failed(problem)) => Err(refused(&self.need, problem)),
        }
    }
}

impl Ask for ReferenceQuestion {
    type Answer = Counterparts;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Counterparts>, Stop> {
        Ok(self.0.read(facts, missing)?.map(Option::unwrap_or_default))
    }
}

impl<A: Ask> Ask for &A {
    type Answer = A::Answer;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<A::Answer>, Stop> {
        (**self).read(facts, missing)
    }
}

/// A question that is asked only in some cases; unasked, the answer is `None`.
impl<A: Ask> Ask for Option<A> {
    type Answer = Option<A::Answer>;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Self::Answer>, Stop> {
        match self {
            Some(question) => Ok(question.read(facts, missing)?.map(Some)),
            None => Ok(Some(None)),
        }
    }
}

impl<A: Ask> Ask for Vec<A> {
    type Answer = Vec<A::Answer>;

    fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Self::Answer>, Stop> {
        // Every question is read, also after a missing one: what is missing is fetched in one round.
        let answers = self.iter().map(|question| question.read(facts, missing));
        let answers = answers.collect::<Result<Vec<_>, Stop>>()?;
        Ok(answers.into_iter().collect())
    }
}

macro_rules! ask_together {
    ($($question:ident),*) => {
        #[expect(non_snake_case, reason = "the type parameters name the variables")]
        impl<$($question: Ask),*> Ask for ($($question,)*) {
            type Answer = ($($question::Answer,)*);

            fn read(&self, facts: &Facts<'_>, missing: &mut Vec<Need>) -> Result<Option<Self::Answer>, Stop> {
                let ($($question,)*) = self;
                $(let $question = $question.read(facts, missing)?;)*
                Ok(match ($($question,)*) {
                    ($(Some($question),)*) => Some(($($question,)*)),
                    _ => None,
                })
            }
        }
    };
}

ask_together!(A, B);
ask_together!(A, B, C);
ask_together!(A, B, C, D);
ask_together!(A, B, C, D, E);
ask_together!(A, B, C, D, E, F);

fn unexpected(need: &Need, error: &serde_json::Error) -> Stop {
    Stop::reject("", "unexpected-answer", format!("the answer to {} has another shape: {error}", Asked(need)))
}

fn refused(need: &Need, problem: &Problem) -> Stop {
    let Problem { code, message } = problem;
    Stop::reject("", "fact-refused", format!("{} was refused: {code}: {message}", Asked(need)))
}

/// A need in words.
struct Asked<'a>(&'a Need);

impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Need::Lookup(Lookup { table, key }) => write!(f, "lookup {key} in table {table}"),
            Need::Reference(ReferenceKey { kind, id }) => write!(f, "reference {kind} {id}"),
            Need::Query(Query { connection, operation, parameters }) => {
                write!(f, "query {operation} {parameters} on connection {connection}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fact(need: Need, answer: Answer) -> Fact {
        Fact { need, answer }
    }

    #[test]
    fn what_is_asked_together_is_missing_together_and_once() {
        let questions = (
            lookup::<String>("parts", "a"),
            vec![lookup::<String>("parts", "b"), lookup("parts", "a")],
            reference("x", "1"),
        );
        let mut missing = Vec::new();
        assert!(questions.read(&Facts::new(&[]), &mut missing).unwrap().is_none());
        assert_eq!(missing.len(), 3);
    }

    #[test]
    fn many_references_are_asked_in_rounds_and_answered_in_order() {
        let ids: Vec<String> = (0..9_000).map(|number| format!("ch_{number}")).collect();
        let questions = references(ids.iter().chain(&ids).map(|id| ("stripe.charge", id.as_str())));
        let mut known = Vec::new();
        for round in [4_000, 4_000, 1_000] {
            let mut missing = Vec::new();
            assert!(questions.read(&Facts::new(&known), &mut missing).unwrap().is_none());
            assert_eq!(missing.len(), round);
            known.extend(missing.into_iter().map(|need| {
                let Need::Reference(key) = &need else { panic!("a reference was expected") };
                let answer = Answer::Found(json!({"erp": key.id}).to_string());
                fact(need, answer)
            }));
        }
        let answers = questions.read(&Facts::new(&known), &mut Vec::new()).unwrap().unwrap();
        assert!(answers.iter().zip(ids.iter().chain(&ids)).all(|(answer, id)| answer.id("erp") == Some(id)));
    }

    #[test]
    fn an_answer_is_found_though_its_parameters_were_written_anew() {
        let question = query::<u32>("erp", "thing.find", json!({"b": 1, "a": "x"}));
        let need = Need::Query(Query {
            connection: "erp".into(),
            operation: "thing.find".into(),
            parameters: "{ \"b\": 1,\n \"a\": \"x\" }".into(),
        });
        let facts = [fact(need, Answer::Found("7".into()))];
        assert_eq!(question.read(&Facts::new(&facts), &mut Vec::new()).unwrap(), Some(Some(7)));
    }

    #[test]
    fn absence_is_an_answer_and_a_refusal_is_named() {
        let question = lookup::<String>("parts", "a");
        let absent = [fact(question.need.clone(), Answer::Absent)];
        assert_eq!(question.read(&Facts::new(&absent), &mut Vec::new()).unwrap(), Some(None));
        let problem = Problem { code: "forbidden".into(), message: "no".into() };
        let failed = [fact(question.need.clone(), Answer::Failed(problem))];
        let Err(Stop::Reject(violations)) = question.read(&Facts::new(&failed), &mut Vec::new()) else {
            panic!("a refusal was expected")
        };
        assert_eq!(violations[0].message, "lookup a in table parts was refused: forbidden: no");
    }

    #[test]
    fn a_row_is_a_text_or_an_object() {
        let row = |json: &str| serde_json::from_str::<Row>(json).unwrap();
        assert_eq!(row(r#""W-1""#).main("part").as_deref(), Some("W-1"));
        assert_eq!(row("4711").main("part").as_deref(), Some("4711"));
        let object = row(r#"{"part": "W-1", "unit": "EA"}"#);
        assert_eq!(object.main("part").as_deref(), Some("W-1"));
        assert_eq!(object.field("unit").as_deref(), Some("EA"));
        assert_eq!(object.main("item"), None);
    }

    #[test]
    fn an_unasked_question_has_no_answer_and_needs_nothing() {
        let unasked: Option<Question<String>> = None;
        let mut missing = Vec::new();
        assert_eq!(unasked.read(&Facts::new(&[]), &mut missing).unwrap(), Some(None));
        assert!(missing.is_empty());
    }
}
