//! `multipart/mixed` as OData's `$batch` has it: one changeset out, its answers back. Reading is strict about
//! boundaries and bounded in parts; what is not in this form is `None`.

use serde_json::Value;

/// Parts of one level.
const PARTS_MAX: usize = 1_000;

/// One request of a changeset.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) method: String,
    /// Relative to the service, escaped.
    pub(super) path: String,
    pub(super) etag: Option<String>,
    pub(super) body: Option<String>,
}

/// The body of a batch with one changeset. `id` makes the boundaries; it stands in no part.
pub(super) fn batch(id: &str, parts: &[Part]) -> String {
    let mut text = format!("--batch_{id}\r\nContent-Type: multipart/mixed; boundary=changeset_{id}\r\n\r\n");
    for (index, part) in parts.iter().enumerate() {
        text.push_str(&format!(
            "--changeset_{id}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
             Content-ID: {}\r\n\r\n{} {} HTTP/1.1\r\nAccept: application/json\r\n",
            index + 1,
            part.method,
            part.path
        ));
        if let Some(etag) = &part.etag {
            text.push_str(&format!("If-Match: {etag}\r\n"));
        }
        let body = part.body.as_deref().unwrap_or_default();
        if !body.is_empty() {
            text.push_str("Content-Type: application/json\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}\r\n", body.len()));
    }
    text.push_str(&format!("--changeset_{id}--\r\n--batch_{id}--\r\n"));
    text
}

/// One answer of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// The boundary that a content type names.
fn boundary(content_type: &str) -> Option<&str> {
    let mut parameters = content_type.split(';').map(str::trim);
    if !parameters.next()?.eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let boundary = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim().trim_matches('"'))
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// Splits headers from what follows the empty line.
fn head_and_rest(text: &str) -> Option<(&str, &str)> {
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")).or_else(|| Some((text.trim_end(), "")))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The parts between the boundaries of one level.
fn parts<'a>(text: &'a str, boundary: &str) -> Option<Vec<&'a str>> {
    let delimiter = format!("--{boundary}");
    let mut pieces = text.split(delimiter.as_str());
    pieces.next()?;
    let mut found = Vec::new();
    for piece in pieces {
        if piece.starts_with("--") {
            return Some(found);
        }
        if found.len() >= PARTS_MAX {
            return None;
        }
        found.push(piece.trim_start_matches(['\r', '\n']));
    }
    // The end was never reached: the answer was cut.
    None
}

/// The answers of a batch, in their order; those of a changeset joined in.
pub(super) fn replies(content_type: &str, body: &str) -> Option<Vec<Reply>> {
    let mut replies = Vec::new();
    for part in parts(body, boundary(content_type)?)? {
        let (head, rest) = head_and_rest(part)?;
        let inner = header(head, "content-type")?;
        match boundary(inner) {
            Some(inner) => {
                for part in parts(rest, inner)? {
                    replies.push(reply(head_and_rest(part)?.1)?);
                }
            }
            None => replies.push(reply(rest)?),
        }
    }
    Some(replies)
}

fn reply(text: &str) -> Option<Reply> {
    let (head, body) = head_and_rest(text.trim_start())?;
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    let body = body.trim();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    Some(Reply { status: status.parse().ok()?, body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ANSWER: &str = "--ab\r\nContent-Type: multipart/mixed; boundary=\"cd\"\r\nContent-Length: 9\r\n\r\n\
        --cd\r\nContent-Type: application/http\r\ncontent-transfer-encoding: binary\r\n\r\n\
        HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n{\"d\":{\"A\":1}}\r\n\
        --cd\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n\r\n--cd--\r\n\r\n--ab--\r\n";

    #[test]
    fn a_changeset_is_answered_part_by_part() {
        let replies = replies("multipart/mixed; boundary=ab", ANSWER).unwrap();
        assert_eq!(replies[0], Reply { status: 201, body: json!({"d": {"A": 1}}) });
        assert_eq!(replies[1], Reply { status: 204, body: Value::Null });
    }

    #[test]
    fn what_was_cut_is_no_answer() {
        for length in [10, 60, 150, 250, ANSWER.len() - 8] {
            assert_eq!(replies("multipart/mixed; boundary=ab", &ANSWER[..length]), None, "{length}");
        }
        assert_eq!(replies("application/json", ANSWER), None);
        assert_eq!(replies("multipart/mixed", ANSWER), None);
    }

    #[test]
    fn a_batch_has_one_changeset() {
        let part = |body: Option<&str>| Part {
            method: "POST".into(),
            path: "OrderSet".into(),
            etag: None,
            body: body.map(str::to_owned),
        };
        let text = batch("x", &[part(Some("{\"A\":\"ü\"}")), part(None)]);
        assert!(text.starts_with("--batch_x\r\nContent-Type: multipart/mixed; boundary=changeset_x\r\n\r\n"));
        assert!(text.contains("POST OrderSet HTTP/1.1\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"));
        assert!(text.ends_with("--changeset_x--\r\n--batch_x--\r\n"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(text in "[-a-d\r\n: HTP/1.0-9{}]{0,200}") {
            prop_assert!(replies("multipart/mixed; boundary=ab", &text).is_none_or(|replies| replies.len() < 200));
        }
    }
}
