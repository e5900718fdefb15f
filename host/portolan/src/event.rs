//! `portolan event`: events and what became of them, through the API of a running host.

use clap::Subcommand;
use serde_json::Value;

use crate::{
    access::{TenantAccess, encoded, wait_for},
    print::{Output, printable},
};

/// The longest JSON that a line shows, in characters.
const JSON_CHARS_MAX: usize = 400;

#[derive(Subcommand)]
pub(crate) enum EventCommand {
    /// Tells the whole story of an event, or of a document of any system.
    ///
    /// What came, what its mappings were told and decided, every delivery with every attempt, every decision of a person
    /// and every alert. A document is named by the number that some system gave it: an ERP's invoice, a charge.
    Show {
        /// evt_…, or a document's number.
        subject: String,
        /// The system that gave the number: sap-ecc, epicor, sage-pro, stripe. Without it: any.
        #[arg(long)]
        system: Option<String>,
        /// How to print it.
        #[arg(long, env = "PORTOLAN_OUTPUT", value_enum, default_value_t = Output::Text)]
        output: Output,
        /// The environment: sandbox, qa or production.
        #[arg(long, env = "PORTOLAN_ENVIRONMENT")]
        environment: String,
        #[command(flatten)]
        access: TenantAccess,
    },
}

pub(crate) fn main(command: EventCommand) -> anyhow::Result<()> {
    wait_for(run(command))
}

async fn run(command: EventCommand) -> anyhow::Result<()> {
    let EventCommand::Show { subject, system, output, environment, access } = command;
    let name = if subject.starts_with("evt_") { "event" } else { "document" };
    let mut query = format!("{name}={}", encoded(&subject));
    if let Some(system) = system {
        query.push_str(&format!("&system={}", encoded(&system)));
    }
    let page = access.client()?.get(&format!("/api/v1/environments/{environment}/story?{query}")).await?;
    match output {
        Output::Json => println!("{page}"),
        Output::Text => print!("{}", told(&page)),
    }
    Ok(())
}

/// A page of indented lines. What strangers wrote stays on its line.
struct Told(String);

impl Told {
    fn line(&mut self, depth: usize, text: &str) {
        self.0.push_str(&"  ".repeat(depth));
        self.0.push_str(&printable(text));
        self.0.push('\n');
    }

    /// A name and a value, where there is one.
    fn say(&mut self, depth: usize, name: &str, value: &Value) {
        let text = plain(value);
        if !text.is_empty() {
            self.line(depth, &format!("{name:<10} {text}"));
        }
    }
}

/// A value as a person reads it: nothing for null and empty ones.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => return text.clone(),
        Value::Array(items) if items.is_empty() => return String::new(),
        Value::Object(fields) if fields.is_empty() => return String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    if text.chars().count() <= JSON_CHARS_MAX {
        return text;
    }
    text.chars().take(JSON_CHARS_MAX).chain(['…']).collect()
}

/// A member, or null.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn told(page: &Value) -> String {
    let mut told = Told(String::new());
    for trail in items(at(page, "/trails")) {
        let (system, by, event) =
            (plain(at(trail, "/system")), plain(at(trail, "/by")), plain(at(trail, "/event")));
        told.line(0, format!("known to {system} by {by}: {event} {}", plain(at(trail, "/key"))).trim_end());
    }
    for event in items(at(page, "/events")) {
        tell_event(&mut told, event);
    }
    if at(page, "/more") == &Value::Bool(true) {
        told.line(0, "There are more events than these.");
    }
    told.0
}

fn tell_event(told: &mut Told, event: &Value) {
    let head = [at(event, "/id"), at(event, "/kind"), at(event, "/standing")].map(plain).join("  ");
    told.line(0, &format!("event {head}"));
    told.say(1, "object", at(event, "/object_id"));
    told.say(1, "occurred", at(event, "/occurred_at"));
    told.say(1, "received", at(event, "/received_at"));
    told.say(1, "source", at(event, "/source"));
    told.say(1, "sender's", at(event, "/idempotency_key"));
    told.say(1, "trace", at(event, "/trace_id"));
    told.say(1, "bytes", at(event, "/payload_bytes"));
    told.say(1, "reason", at(event, "/reason"));
    for run in items(at(event, "/runs")) {
        tell_run(told, run);
    }
    for alert in items(at(event, "/alerts")) {
        let head = [at(alert, "/id"), at(alert, "/severity"), at(alert, "/state"), at(alert, "/code")]
            .map(plain)
            .join("  ");
        told.line(1, &format!("alert {head}"));
        told.line(2, &plain(at(alert, "/title")));
    }
}

fn tell_run(told: &mut Told, run: &Value) {
    let head = [at(run, "/id"), at(run, "/state"), at(run, "/module_name"), at(run, "/module_version")]
        .map(plain)
        .join("  ");
    told.line(1, &format!("run {head}"));
    told.say(2, "mapping", at(run, "/mapping_name"));
    told.say(2, "module", at(run, "/module"));
    told.say(2, "claimed", at(run, "/attempts"));
    told.say(2, "cost", at(run, "/cost"));
    told.say(2, "reason", at(run, "/reason"));
    for held_up in items(at(run, "/held_up")) {
        let [what, id, by, why, since] =
            ["/what", "/id", "/paused/by", "/paused/why", "/paused/at"].map(|name| plain(at(held_up, name)));
        told.line(2, &format!("waits: {what} {id} is paused by {by} since {since}: {why}"));
    }
    for fact in items(at(run, "/facts")) {
        told.say(2, "asked", at(fact, "/need"));
        told.say(3, "told", at(fact, "/answer"));
    }
    for line in items(at(run, "/log")) {
        told.say(2, "logged", line);
    }
    tell_decisions(told, 2, at(run, "/decisions"));
    for delivery in items(at(run, "/deliveries")) {
        tell_delivery(told, delivery);
    }
}

fn tell_delivery(told: &mut Told, delivery: &Value) {
    let head =
        [at(delivery, "/id"), at(delivery, "/operation"), at(delivery, "/state")].map(plain).join("  ");
    told.line(2, &format!("delivery {head}"));
    told.say(3, "key", at(delivery, "/key"));
    told.say(3, "through", at(delivery, "/connection"));
    told.say(3, "body", at(delivery, "/body"));
    told.say(3, "response", at(delivery, "/response"));
    told.say(3, "reason", at(delivery, "/reason"));
    told.say(3, "assignee", at(delivery, "/assignee"));
    for attempt in items(at(delivery, "/attempts")) {
        let number = plain(at(attempt, "/number"));
        let verdict = at(attempt, "/verdict").as_str().unwrap_or("under way");
        let times = [at(attempt, "/started_at"), at(attempt, "/finished_at")].map(plain).join(" to ");
        told.line(3, &format!("attempt {number}  {verdict}  {times}"));
        told.say(4, "detail", at(attempt, "/detail"));
        told.say(4, "late", at(attempt, "/late"));
    }
    tell_decisions(told, 3, at(delivery, "/decisions"));
}

fn tell_decisions(told: &mut Told, depth: usize, decisions: &Value) {
    for past in items(decisions) {
        let by =
            [at(past, "/action"), at(past, "/decided/by"), at(past, "/decided/at")].map(plain).join("  ");
        told.line(depth, &format!("decided {by}  {:?}", plain(at(past, "/decided/why"))));
        told.say(depth + 1, "proposed", at(past, "/proposed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_nothing_to_say_of_is_not_said() {
        let page = serde_json::json!({ "trails": [], "more": false, "events": [{ "id": "evt_1", "kind": "charge.succeeded",
            "standing": "dead", "object_id": null, "reason": "not JSON", "runs": [], "alerts": [] }] });
        assert_eq!(told(&page), "event evt_1  charge.succeeded  dead\n  reason     not JSON\n");
    }

    #[test]
    fn what_a_stranger_wrote_neither_moves_the_cursor_nor_makes_a_line() {
        let page = serde_json::json!({ "events": [{ "id": "evt_1", "kind": "charge\u{1b}[1A\u{1b}[2K", "standing": "dead",
            "reason": "no\nevent evt_2  charge.succeeded  delivered" }] });
        let told = told(&page);
        assert!(!told.contains('\u{1b}') && told.lines().count() == 2, "{told:?}");
    }
}
