//! XML as SOAP-RFC needs it: elements, texts, no attributes. Reading refuses document types and every entity
//! but XML's own five, and is bounded in depth and size; writing escapes all texts and refuses what XML or
//! SAP cannot hold.

use portolan_domain::verdict::CallFailure;
use quick_xml::{
    Reader,
    escape::{escape, resolve_xml_entity},
    events::{BytesStart, Event},
};
use serde_json::{Map, Value};

use crate::parameters::invalid;

/// Elements within elements, read or written.
const DEPTH_MAX: usize = 24;
/// Elements of a document.
const ELEMENTS_MAX: usize = 500_000;
/// The longest name of a parameter or field.
const NAME_BYTES_MAX: usize = 64;
/// Fields that hold dates, for systems that want `2026-11-20` instead of `20261120`.
const DATE_FIELDS: &[&str] = &[
    "BILL_DATE",
    "BLINE_DATE",
    "DOC_DATE",
    "KEYDATE",
    "PRICE_DATE",
    "PSTNG_DATE",
    "PURCH_DATE",
    "REQ_DATE",
    "REQ_DATE_H",
    "TAX_DATE",
    "TRANS_DATE",
    "VALUE_DATE",
];

/// Why a text is not XML that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not well-formed.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// It declares a document type: the way to entities that expand or read files.
    #[error("a document type is declared, which is not read")]
    DocumentType,
    /// It uses an entity that XML does not define.
    #[error("an entity that XML does not define: {0}")]
    Entity(String),
    /// It is too deep or has too many elements.
    #[error("too deep or too large")]
    Bounds,
}

/// An element: its name without namespace prefix, its text, its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first element of this name at any depth.
    pub(super) fn descendant(&self, name: &str) -> Option<&Self> {
        self.children
            .iter()
            .find_map(|child| if child.name == name { Some(child) } else { child.descendant(name) })
    }

    /// As JSON: a text, an object of fields (structure), or an array of rows (table).
    pub(super) fn to_json(&self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text.clone());
        }
        if self.children.iter().all(|child| child.name == "item") {
            return self.children.iter().map(Self::to_json).collect();
        }
        Value::Object(self.fields())
    }

    /// The children by name.
    pub(super) fn fields(&self) -> Map<String, Value> {
        self.children.iter().map(|child| (child.name.clone(), child.to_json())).collect()
    }
}

/// Reads a document; gives its root.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Encoding)?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Element> = Vec::new();
    let mut elements = 0_usize;
    loop {
        let event = reader.read_event().map_err(|error| Unreadable::Malformed(error.to_string()))?;
        let closed = match event {
            Event::Start(start) => {
                elements += 1;
                open.push(begun(&start));
                None
            }
            Event::Empty(start) => {
                elements += 1;
                Some(begun(&start))
            }
            Event::End(_) => open.pop(),
            Event::Text(content) => {
                append(&mut open, &content.xml10_content())?;
                None
            }
            Event::CData(content) => {
                append(&mut open, &content.xml10_content())?;
                None
            }
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content().into_owned();
                let character = reference.resolve_char_ref().ok().flatten().map(String::from);
                let text = character.or_else(|| resolve_xml_entity(&name).map(str::to_owned));
                append(&mut open, &text.ok_or(Unreadable::Entity(name))?)?;
                None
            }
            Event::DocType(_) => return Err(Unreadable::DocumentType),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => None,
            Event::Eof => return Err(Unreadable::Malformed("it ends before its root does".to_owned())),
        };
        if open.len() > DEPTH_MAX || elements > ELEMENTS_MAX {
            return Err(Unreadable::Bounds);
        }
        if let Some(closed) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                // What follows the root is not of interest.
                None => return Ok(closed),
            }
        }
    }
}

fn begun(start: &BytesStart<'_>) -> Element {
    let name = start.local_name();
    // SAP writes the slash of its namespaces so.
    Element { name: String::from_utf8_lossy(name.as_ref().as_ref()).replace("_-", "/"), ..Element::default() }
}

fn append(open: &mut [Element], text: &str) -> Result<(), Unreadable> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Unreadable::Malformed("text outside of the root".to_owned())),
    }
    Ok(())
}

/// How dates are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateFormat {
    /// `20261120`
    Dats,
    /// `2026-11-20`
    Iso,
}

/// A name as an element name.
pub(super) fn element_name(name: &str, pointer: &str) -> Result<String, CallFailure> {
    let begins = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '/');
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_/".contains(&byte);
    if !begins || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let message = "is not the name of a parameter or field: upper case letters, digits, _ and /";
        return Err(invalid(pointer, message));
    }
    Ok(name.replace('/', "_-"))
}

/// Writes JSON as parameters: texts, objects as structures, arrays of objects as tables.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) xml: String,
    pub(super) dates: DateFormat,
}

impl Writer {
    /// The fields of an object, one element each.
    pub(super) fn fields(
        &mut self,
        fields: &Map<String, Value>,
        pointer: &str,
        depth: usize,
    ) -> Result<(), CallFailure> {
        for (name, value) in fields {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            let element = element_name(name, &pointer)?;
            self.xml.push_str(&format!("<{element}>"));
            self.value(name, value, &pointer, depth)?;
            self.xml.push_str(&format!("</{element}>"));
        }
        Ok(())
    }

    fn value(&mut self, name: &str, value: &Value, pointer: &str, depth: usize) -> Result<(), CallFailure> {
        if depth >= DEPTH_MAX {
            return Err(invalid(pointer, "is nested too deeply"));
        }
        match value {
            Value::String(text) => self.text(name, text, pointer),
            Value::Number(number) => {
                let digits = number.to_string();
                if digits.contains(['e', 'E']) {
                    return Err(invalid(pointer, "must be written without an exponent"));
                }
                self.xml.push_str(&digits);
                Ok(())
            }
            Value::Object(fields) => self.fields(fields, pointer, depth + 1),
            Value::Array(rows) => {
                for (index, row) in rows.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    let Value::Object(fields) = row else {
                        return Err(invalid(&pointer, "must be a row, an object of fields"));
                    };
                    self.xml.push_str("<item>");
                    self.fields(fields, &pointer, depth + 1)?;
                    self.xml.push_str("</item>");
                }
                Ok(())
            }
            Value::Bool(_) => Err(invalid(pointer, "must be \"X\" or \"\": SAP's flags are texts")),
            Value::Null => Err(invalid(pointer, "must be left out where there is no value")),
        }
    }

    fn text(&mut self, name: &str, text: &str, pointer: &str) -> Result<(), CallFailure> {
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
            return Err(invalid(pointer, "has a control character, which SAP's fields cannot hold"));
        }
        let is_date = self.dates == DateFormat::Iso && DATE_FIELDS.binary_search(&name).is_ok();
        match (is_date, text.get(..4), text.get(4..6), text.get(6..)) {
            (true, Some(year), Some(month), Some(day)) if day.len() == 2 => {
                self.xml.push_str(&escape(format!("{year}-{month}-{day}").as_str()));
            }
            _ => self.xml.push_str(&escape(text)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: &Value, dates: DateFormat) -> Result<String, CallFailure> {
        let mut writer = Writer { xml: String::new(), dates };
        writer.fields(value.as_object().unwrap(), "", 0)?;
        Ok(writer.xml)
    }

    #[test]
    fn the_table_of_dates_is_in_order_so_that_it_can_be_searched() {
        assert!(DATE_FIELDS.is_sorted());
    }

    #[test]
    fn structures_and_tables_are_written_as_sap_reads_them() {
        let body = json!({
            "HEADER": {"DOC_TYPE": "OR", "/BIC/X": "a<b & \"c\""},
            "ITEMS": [{"ITM_NUMBER": "000010", "QTY": "2.000"}, {"N": 7}],
            "RETURN": [],
        });
        assert_eq!(
            written(&body, DateFormat::Dats).unwrap(),
            "<HEADER><_-BIC_-X>a&lt;b &amp; &quot;c&quot;</_-BIC_-X><DOC_TYPE>OR</DOC_TYPE></HEADER>\
             <ITEMS><item><ITM_NUMBER>000010</ITM_NUMBER><QTY>2.000</QTY></item><item><N>7</N></item></ITEMS>\
             <RETURN></RETURN>"
        );
    }

    #[test]
    fn dates_are_written_as_the_system_wants_them() {
        let body = json!({"PSTNG_DATE": "20261120", "REF_DOC_NO": "20261120"});
        let iso = written(&body, DateFormat::Iso).unwrap();
        assert_eq!(iso, "<PSTNG_DATE>2026-11-20</PSTNG_DATE><REF_DOC_NO>20261120</REF_DOC_NO>");
        assert!(written(&body, DateFormat::Dats).unwrap().contains("<PSTNG_DATE>20261120<"));
    }

    #[test]
    fn what_sap_cannot_hold_is_refused_by_name() {
        for (bad, pointer) in [
            (json!({"A": "x\u{0}"}), "/A:"),
            (json!({"A": "x\ny"}), "/A:"),
            (json!({"A": true}), "/A:"),
            (json!({"A": null}), "/A:"),
            (json!({"A": ["x"]}), "/A/0:"),
            (json!({"A": [{"B": null}]}), "/A/0/B:"),
            (json!({"a": "x"}), "/a:"),
            (json!({"A><B": "x"}), "/A><B:"),
            (json!({"1A": "x"}), "/1A:"),
            (serde_json::from_str(r#"{"A": 1e3}"#).unwrap(), "/A:"),
        ] {
            let failure = written(&bad, DateFormat::Dats).unwrap_err();
            assert!(failure.problem().message.starts_with(pointer), "{bad}: {failure:?}");
        }
    }

    #[test]
    fn prefixes_and_order_do_not_matter_in_what_is_read() {
        let root = parse(
            b"<?xml version=\"1.0\"?><n0:E xmlns:n0=\"urn:x\"><!-- c --><B/><A> 1 &#65;&lt;<![CDATA[<x>]]></A>\
              <T><item><_-BIC_-X>1</_-BIC_-X></item></T></n0:E>",
        )
        .unwrap();
        assert_eq!(root.name, "E");
        assert_eq!(Value::Object(root.fields()), json!({"A": " 1 A<<x>", "B": "", "T": [{"/BIC/X": "1"}]}));
    }

    #[test]
    fn document_types_and_entities_are_not_read() {
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;</a>";
        assert_eq!(parse(bomb), Err(Unreadable::DocumentType));
        assert_eq!(parse(b"<a>&b;</a>"), Err(Unreadable::Entity("b".into())));
        assert_eq!(parse(b"<a>&nbsp;</a>"), Err(Unreadable::Entity("nbsp".into())));
    }

    #[test]
    fn depth_and_form_are_bounded() {
        let deep = "<a>".repeat(100);
        assert_eq!(parse(deep.as_bytes()), Err(Unreadable::Bounds));
        assert_eq!(parse(b"<a>\xff</a>"), Err(Unreadable::Encoding));
        for bad in ["", "<a>", "<a></b>", "no xml", "<a><b></a></b>"] {
            assert!(matches!(parse(bad.as_bytes()), Err(Unreadable::Malformed(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(texts in prop::collection::vec("[^\\p{C}]{0,40}", 1..5)) {
            let rows: Vec<_> = texts.iter().map(|text| json!({"TEXT": text})).collect();
            let body = json!({"ROWS": rows});
            let xml = format!("<r>{}</r>", written(&body, DateFormat::Dats).unwrap());
            prop_assert_eq!(Value::Object(parse(xml.as_bytes()).unwrap().fields()), body);
        }

        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_ok() || parse(&bytes).is_err());
        }
    }
}
