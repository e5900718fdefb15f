//! What differs between two JSON documents, place by place. Pure and exact: numbers are compared by their digits, and
//! applying the differences to the first document gives the second.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One place at which two documents differ. What is absent on one side is told once, at its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// JSON Pointer (RFC 6901). Of an element that only one document's list has: its place in that list.
    pub pointer: String,
    /// What was there; none when there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub before: Option<Value>,
    /// What is there now; none when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub after: Option<Value>,
}

/// A null that is there is something else than nothing.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Every place at which two documents differ, in the order of the documents; none when they are equal.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(&mut String::new(), Some(before), Some(after), &mut found);
    found
}

fn walk(at: &mut String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let name_escaped = escape(name);
                within(at, &name_escaped, |at| walk(at, old.get(name), new.get(name), found));
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(at, (old, new), found),
        (before, after) if before == after => {}
        (before, after) => {
            found.push(Difference { pointer: at.clone(), before: before.cloned(), after: after.cloned() })
        }
    }
}

/// What two lists begin and end with alike is passed over, so that an element put in or taken out is told as that.
fn lists(at: &mut String, (old, new): (&[Value], &[Value]), found: &mut Vec<Difference>) {
    let begin = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (old.get(begin..).unwrap_or_default(), new.get(begin..).unwrap_or_default());
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let old = old.get(..old.len() - end).unwrap_or_default();
    let new = new.get(..new.len() - end).unwrap_or_default();
    for index in 0..old.len().max(new.len()) {
        let place = (begin + index).to_string();
        within(at, &place, |at| walk(at, old.get(index), new.get(index), found));
    }
}

fn within(at: &mut String, name: &str, look: impl FnOnce(&mut String)) {
    let length = at.len();
    at.push('/');
    at.push_str(name);
    look(at);
    at.truncate(length);
}

/// A name as a part of a JSON Pointer.
#[must_use]
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a pattern means this place or one below it: a JSON Pointer in which `*` stands for any one part.
#[must_use]
pub fn covers(pattern: &str, pointer: &str) -> bool {
    let mut parts = pointer.split('/');
    pattern.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Applies differences: changes first, then what was taken out from the end, then what was put in from the start.
    fn apply(mut document: Value, differences: &[Difference]) -> Value {
        for one in differences.iter().filter(|one| one.before.is_some() && one.after.is_some()) {
            *document.pointer_mut(&one.pointer).unwrap() = one.after.clone().unwrap();
        }
        for one in differences.iter().rev().filter(|one| one.after.is_none()) {
            let (parent, last) = one.pointer.rsplit_once('/').unwrap();
            let parent = document.pointer_mut(parent).unwrap();
            if let Some(list) = parent.as_array_mut() {
                list.remove(last.parse().unwrap());
            } else {
                parent.as_object_mut().unwrap().remove(&unescape(last)).unwrap();
            }
        }
        for one in differences.iter().filter(|one| one.before.is_none()) {
            let (parent, last) = one.pointer.rsplit_once('/').unwrap();
            let value = one.after.clone().unwrap();
            let parent = document.pointer_mut(parent).unwrap();
            if let Some(list) = parent.as_array_mut() {
                list.insert(last.parse().unwrap(), value);
            } else {
                parent.as_object_mut().unwrap().insert(unescape(last), value);
            }
        }
        document
    }

    fn unescape(name: &str) -> String {
        name.replace("~1", "/").replace("~0", "~")
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0u8..4).prop_map(Value::from),
            "[a-c/~]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn differences_turn_the_first_document_into_the_second(before in documents(), after in documents()) {
            let found = differences(&before, &after);
            prop_assert_eq!(found.is_empty(), before == after);
            prop_assert_eq!(apply(before, &found), after);
        }

        #[test]
        fn every_place_is_told_once_and_none_within_another(before in documents(), after in documents()) {
            let found = differences(&before, &after);
            for (index, one) in found.iter().enumerate() {
                prop_assert_ne!(&one.before, &one.after);
                for other in found.iter().skip(index + 1) {
                    let below = |a: &str, b: &str| b == a || b.starts_with(&format!("{a}/"));
                    prop_assert!(!below(&one.pointer, &other.pointer), "{} {}", one.pointer, other.pointer);
                    prop_assert!(!below(&other.pointer, &one.pointer), "{} {}", one.pointer, other.pointer);
                }
            }
        }

        #[test]
        fn one_changed_leaf_is_one_difference(document in documents(), at in any::<prop::sample::Index>()) {
            let mut leaves = Vec::new();
            collect(&document, String::new(), &mut leaves);
            let pointer = leaves[at.index(leaves.len())].clone();
            let mut changed = document.clone();
            *changed.pointer_mut(&pointer).unwrap() = json!("something else");
            let found = differences(&document, &changed);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].pointer, &pointer);
        }

        #[test]
        fn differences_read_as_they_are_written(before in documents(), after in documents()) {
            let found = differences(&before, &after);
            let text = serde_json::to_string(&found).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<Difference>>(&text).unwrap(), found);
        }
    }

    fn collect(value: &Value, at: String, leaves: &mut Vec<String>) {
        match value {
            Value::Array(list) if !list.is_empty() => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, one)| collect(one, format!("{at}/{index}"), leaves));
            }
            Value::Object(map) if !map.is_empty() => {
                map.iter().for_each(|(name, one)| collect(one, format!("{at}/{}", escape(name)), leaves));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => leaves.push(at),
        }
    }

    #[test]
    fn digits_count() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(differences(&read("[1.10]"), &read("[1.1]")).len(), 1);
        assert!(
            differences(&read("[12345678901234567890.10]"), &read("[12345678901234567890.10]")).is_empty()
        );
    }

    #[test]
    fn an_element_put_in_or_taken_out_is_told_as_that() {
        let found = differences(&json!({"l": [1, 2, 3]}), &json!({"l": [1, 9, 2, 3]}));
        assert_eq!(found, [Difference { pointer: "/l/1".into(), before: None, after: Some(json!(9)) }]);
        let found = differences(&json!([1, 2, 3]), &json!([1, 3]));
        assert_eq!(found, [Difference { pointer: "/1".into(), before: Some(json!(2)), after: None }]);
    }

    #[test]
    fn a_pattern_covers_its_place_and_what_is_below() {
        assert!(covers("/plan/deliveries/*/body/note", "/plan/deliveries/order/body/note"));
        assert!(covers("/plan/deliveries/*/body", "/plan/deliveries/order/body/note"));
        assert!(covers("", "/outcome") && covers("/outcome", "/outcome"));
        assert!(!covers("/plan/deliveries/*/body/note", "/plan/deliveries/order/body"));
        assert!(!covers("/plan/alert", "/plan/alerts/0"));
    }
}
