//! `multipart/mixed`, as `$batch` has it: the changes of a changeset in, the answers out.

use serde_json::Value;

use crate::sap::odata::Change;
use crate::stand_in::Reply;

fn boundary(content_type: &str) -> Option<&str> {
    content_type
        .strip_prefix("multipart/mixed")?
        .split("boundary=")
        .nth(1)
        .map(|text| text.trim().trim_matches('"'))
}

fn parts<'a>(text: &'a str, boundary: &str) -> Vec<&'a str> {
    let delimiter = format!("--{boundary}");
    let pieces = text.split(delimiter.as_str()).skip(1);
    pieces.take_while(|piece| !piece.starts_with("--")).map(str::trim_start).collect()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The changes of a batch with one changeset; `None` for anything else.
pub(crate) fn changes(content_type: &str, body: &str) -> Option<Vec<Change>> {
    let level = parts(body, boundary(content_type)?);
    let [part] = level.as_slice() else { return None };
    let (head, inside) = part.split_once("\r\n\r\n")?;
    let inner = boundary(header(head, "content-type")?)?;
    let changes = parts(inside, inner).into_iter().map(|part| {
        let (_, request) = part.split_once("\r\n\r\n")?;
        let (head, body) = request.split_once("\r\n\r\n")?;
        let mut words = head.lines().next()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?);
        let length: usize = header(head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Change {
            method,
            path: path.split('?').next()?.to_owned(),
            etag: header(head, "if-match").map(str::to_owned),
            body: body.get(..length)?.to_owned(),
        })
    });
    changes.collect()
}

fn http(status: u16, body: &Value) -> String {
    let text = if body.get("d").is_some_and(Value::is_null) { String::new() } else { body.to_string() };
    format!(
        "Content-Type: application/http\r\nContent-Length: 0\r\ncontent-transfer-encoding: binary\r\n\r\n\
         HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\ndataserviceversion: 2.0\r\n\r\n{text}\r\n",
        text.len()
    )
}

/// The answers of a changeset that was committed.
pub(crate) fn succeeded(answers: &[(u16, Value)]) -> String {
    let mut text =
        "--ejjeeffe0\r\nContent-Type: multipart/mixed; boundary=ejjeeffe1\r\nContent-Length: 0\r\n\r\n"
            .to_owned();
    for (status, body) in answers {
        text.push_str(&format!("--ejjeeffe1\r\n{}", http(*status, body)));
    }
    text + "--ejjeeffe1--\r\n\r\n--ejjeeffe0--\r\n"
}

/// The one answer of a changeset that was not.
pub(crate) fn failed(status: u16, body: &Value) -> String {
    format!("--ejjeeffe0\r\n{}--ejjeeffe0--\r\n", http(status, body))
}

/// A batch is answered 202, whatever became of it.
pub(crate) fn reply(body: String) -> Reply {
    Reply::new(202, "multipart/mixed; boundary=ejjeeffe0", body).with("dataserviceversion", "2.0")
}
