//! SOAP in and out: requests become a tree, answers are written field by field.
//!
//! No DTD, no entities beyond the five of XML, bounded depth.

use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Elements inside elements; a BAPI needs eight.
const DEPTH_MAX: usize = 16;
/// The namespace of functions.
pub(crate) const RFC_NAMESPACE: &str = "urn:sap-com:document:sap:rfc:functions";
/// The namespace of SOAP 1.1.
pub(crate) const SOAP_NAMESPACE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// An element, by local name.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// Reads a document.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open = vec![Element::default()];
    loop {
        let (resolved, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
        let namespace = match resolved {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            ResolveResult::Unbound | ResolveResult::Unknown(_) => String::new(),
        };
        match event {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err("the document is nested too deeply".to_owned());
                }
                let name = start.local_name().into_inner().to_owned();
                open.push(Element { name, namespace, ..Element::default() });
            }
            Event::Empty(start) => {
                let name = start.local_name().into_inner().to_owned();
                if let Some(parent) = open.last_mut() {
                    parent.children.push(Element { name, namespace, ..Element::default() });
                }
            }
            Event::End(_) => close(&mut open)?,
            Event::Text(text) => append(&mut open, &text.xml10_content()),
            Event::CData(text) => append(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let text = reference.xml10_content();
                let character = match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(character) => character,
                    None => entity(&text).ok_or("an entity that XML does not define")?,
                };
                append(&mut open, character.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err("a document type is not accepted".to_owned()),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match (open.len(), open.pop().and_then(|mut root| root.children.pop())) {
        (1, Some(root)) => Ok(root),
        _ => Err("the document is not complete".to_owned()),
    }
}

fn close(open: &mut Vec<Element>) -> Result<(), String> {
    let closed = open.pop().ok_or("an element is closed that is not open")?;
    open.last_mut().ok_or("an element is closed that is not open")?.children.push(closed);
    Ok(())
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// The function that a request calls, without reading all of it: faults are addressed by it.
pub(crate) fn function_name(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let after = text.get(text.find("Body")?..)?;
    let inside = after.get(after.find('<')? + 1..)?;
    let name = inside.get(..inside.find([' ', '>', '/', '\n', '\t', '\r'])?)?;
    Some(name.rsplit(':').next().unwrap_or(name)).filter(|name| !name.is_empty() && *name != "Body")
}

/// A row or a structure: fields by name, in the order of the dictionary.
pub(crate) type Row = Vec<(&'static str, String)>;

/// A parameter that is answered.
pub(crate) enum Answer {
    Scalar(String),
    Structure(Row),
    Table(Vec<Row>),
}

/// Writes `<NAME>…</NAME>`.
pub(crate) fn write_parameter(out: &mut String, name: &str, answer: &Answer) {
    match answer {
        Answer::Scalar(text) => write_field(out, name, text),
        Answer::Structure(row) => {
            write_row(out, name, row);
        }
        Answer::Table(rows) => {
            if rows.is_empty() {
                write_field(out, name, "");
                return;
            }
            out.push_str(&format!("<{name}>"));
            for row in rows {
                write_row(out, "item", row);
            }
            out.push_str(&format!("</{name}>"));
        }
    }
}

fn write_row(out: &mut String, name: &str, row: &Row) {
    out.push_str(&format!("<{name}>"));
    for (field, text) in row {
        write_field(out, field, text);
    }
    out.push_str(&format!("</{name}>"));
}

fn write_field(out: &mut String, name: &str, text: &str) {
    if text.is_empty() {
        out.push_str(&format!("<{name}/>"));
    } else {
        out.push_str(&format!("<{name}>{}</{name}>", quick_xml::escape::escape(text)));
    }
}

/// An envelope around a body.
pub(crate) fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><SOAP-ENV:Envelope xmlns:SOAP-ENV=\"{SOAP_NAMESPACE}\">\
         <SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
}

/// A SOAP fault as the RFC service writes it.
pub(crate) fn fault(kind: &str, message: &str) -> String {
    envelope(&format!(
        "<SOAP-ENV:Fault><faultcode>SOAP-ENV:Client</faultcode><faultstring>Internal Server Error</faultstring>\
         <detail><rfc:Error xmlns:rfc=\"urn:sap-com:document:sap:soap:functions\"><type>{}</type><message>{}</message>\
         </rfc:Error></detail></SOAP-ENV:Fault>",
        quick_xml::escape::escape(kind),
        quick_xml::escape::escape(message)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_tree_whatever_its_prefixes() {
        let text = br#"<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/>
            <s:Body><n0:RFC_PING xmlns:n0="urn:sap-com:document:sap:rfc:functions"><A>x &amp; &#65;<![CDATA[<b>]]></A></n0:RFC_PING></s:Body></s:Envelope>"#;
        let function = parse(text).unwrap();
        let function = &function.child("Body").unwrap().children[0];
        assert_eq!((function.name.as_str(), function.namespace.as_str()), ("RFC_PING", RFC_NAMESPACE));
        assert_eq!(function.child("A").unwrap().text, "x & A<b>");
        assert_eq!(function_name(text), Some("RFC_PING"));
    }

    #[test]
    fn document_types_and_foreign_entities_are_refused() {
        for text in ["<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>&b;</a>", "<a><b></a>", "<a>", ""] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
