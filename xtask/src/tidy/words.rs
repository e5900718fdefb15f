//! One word per thing. The glossary names what there is (tenant, module, mapping, run, plan, delivery, connector,
//! connection, operation…); here are the words that would be a second name for one of them, or that say nothing.
//!
//! Two lists: words that are wrong in any text, and words that are good English but wrong as the *name* of a type
//! or a module. Identifiers are read as the words they are made of (`RetryManager` is
//! "retry manager"), plurals count.

use super::{Offence, Source};

/// A word, and what to write instead.
type Word = (&'static str, &'static str);

/// Wrong wherever it stands.
const ANYWHERE: [Word; 8] = [
    ("plugin", "say module (a tenant's component) or connector (ours)"),
    ("endpoint", "say source (where events arrive), route (of our API), URL or operation"),
    ("driver", "say store, connector or generator: whichever it is"),
    ("adapter", "say connector, or what it turns into what"),
    ("manager", "name what it does: scheduler, pool, registry, writer"),
    ("helper", "name what it does"),
    ("util", "name what it does, and put it beside its caller"),
    ("job", "say run, delivery or activation"),
];

/// Wrong as the name of something we declare.
const DECLARED: [Word; 5] = [
    ("function", "say module (what a tenant uploads) or operation (what a connector can do)"),
    ("script", "say module, plan or steps"),
    ("task", "say run, delivery or worker"),
    ("message", "say event, delivery, line or text"),
    ("common", "name what the things in it have in common"),
];

/// Rightful uses: a phrase (in lower case) that makes the line good, and why.
const PHRASES: [(&str, &str); 18] = [
    ("webhook_endpoint", "Stripe's own object"),
    ("webhook-endpoint", "Stripe's own object, in the name of an operation"),
    ("webhook endpoint", "Stripe's own object"),
    ("for this endpoint", "Stripe's own text"),
    ("otlp_endpoint", "OpenTelemetry's own variable"),
    ("otlp_traces_endpoint", "OpenTelemetry's own variable"),
    (".with_endpoint", "the name of somebody else's method"),
    ("sqlite driver", "what every database calls it"),
    ("postgresql driver", "what every database calls it"),
    ("load driver", "what benches call the part that makes load"),
    ("wasi adapter", "the name of that component in the toolchain"),
    ("main job", "the product's purpose, not a unit of work"),
    ("background job", "SAP's and Epicor's own batch processing"),
    ("locked by manager", "Epicor's own text: MANAGER is its administrator"),
    ("_util::", "the name of somebody else's crate"),
    ("-util", "the name of somebody else's crate"),
    ("tower::util", "the name of somebody else's module"),
    ("cron job", "the operating system's own word"),
];

/// Places where a word belongs to the system that the code speaks with: a path that starts so, the word, why.
const PLACES: [(&str, &str, &str); 8] = [
    ("xtask/src/tidy/words.rs", "*", "the lists themselves"),
    ("host/sandbox/src/", "function", "WebAssembly's own word"),
    ("host/sandbox/src/compiler/worker.rs", "adapter", "the toolchain's own word for the WASI 0.1 bridge"),
    ("host/connectors/src/sap_ecc", "function", "SAP's own word for what RFC calls"),
    ("host/connectors/src/sap_ecc", "message", "SAP's own word for a line of RETURN"),
    ("host/simulators/src/sap", "function", "SAP's own word for what RFC calls"),
    ("host/simulators/src/sap", "message", "SAP's own word for a line of RETURN"),
    ("host/simulators/src/epicor/", "function", "OData's own word in a filter"),
];

/// What declares a type or a module in Rust.
const DECLARING: [&str; 6] = ["struct", "enum", "trait", "type", "mod", "union"];

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Offence> {
    if !["rs", "md", "wit", "sql"].contains(&source.extension()) {
        return Vec::new();
    }
    let is_theirs = |word: &str| {
        let mut places = PLACES.iter().filter(|(path, _, _)| source.path.starts_with(path));
        places.any(|(_, theirs, _)| *theirs == "*" || *theirs == word)
    };
    let mut offences = Vec::new();
    for (number, line) in source.lines() {
        let lower = line.to_lowercase();
        if PHRASES.iter().any(|(phrase, _)| lower.contains(phrase)) {
            continue;
        }
        let mut found = wrong(ANYWHERE, &words(line));
        if source.extension() == "rs" {
            found.extend(declared(line).into_iter().flat_map(|name| wrong(DECLARED, &words(name))));
        }
        for (word, instead) in found.into_iter().filter(|(word, _)| !is_theirs(word)) {
            offences.push(Offence::error(source.at(number), format!("\"{word}\": {instead}")));
        }
    }
    offences
}

fn wrong<const N: usize>(list: [Word; N], words: &[String]) -> Vec<Word> {
    let is_wrong =
        |wrong: &str| words.iter().any(|word| word == wrong || word.strip_suffix('s') == Some(wrong));
    list.into_iter().filter(|(word, _)| is_wrong(word)).collect()
}

/// The name that a line declares, if it declares one.
fn declared(line: &str) -> Option<&str> {
    let code = line.split("//").next()?;
    let mut tokens = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| !token.is_empty());
    tokens.find(|token| DECLARING.contains(token))?;
    tokens.next()
}

/// The words of a text in lower case: `RetryManager`, `retry_manager` and `retry manager` are the same two.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut previous = ' ';
    for c in text.chars() {
        let starts_hump = c.is_uppercase() && (previous.is_lowercase() || previous.is_numeric());
        let starts_word = !previous.is_alphanumeric() || starts_hump;
        previous = c;
        if !c.is_alphanumeric() {
            continue;
        }
        if starts_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> usize {
        check(&Source { path: "a.rs".into(), text: line.into() }).len()
    }

    #[test]
    fn a_name_is_read_as_its_words() {
        assert_eq!(
            words("RetryManager::new(retry_manager2)"),
            ["retry", "manager", "new", "retry", "manager2"]
        );
        assert_eq!(found("struct RetryManagers;"), 1);
        assert_eq!(found("mod test_utils;"), 1);
        assert_eq!(found("/// utilise, utility, adapted, managed"), 0);
    }

    #[test]
    fn plain_english_is_only_wrong_as_a_name() {
        assert_eq!(found("/// The function writes the message."), 0);
        assert_eq!(found("tokio::task::spawn(run).await;"), 0);
        assert_eq!(found("    message: String,"), 0);
        assert_eq!(found("pub(crate) mod tasks;"), 1);
        assert_eq!(found("enum MessageKind { A }"), 1);
    }

    #[test]
    fn the_words_of_other_systems_are_theirs() {
        assert_eq!(found("/// Stripe's `webhook_endpoint` says where."), 0);
        assert_eq!(found("/// The endpoint says where."), 1);
        let there = |path: &str| check(&Source { path: path.into(), text: "struct Message;".into() }).len();
        assert_eq!(there("host/simulators/src/sap/messages.rs"), 0);
        assert_eq!(there("host/pipeline/src/deliverer.rs"), 1);
    }
}
