//! Reading an IDoc: segments within segments, fields of text. The XML is untrusted (an IDoc carries no signature):
//! no document type, no entity but XML's own five, bounded in size, depth and number of elements.

use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesStart, Event},
};

/// The longest IDoc, in bytes. A customer with every sales area has some 200 KB.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Segments within segments: DEBMAS has five levels.
const DEPTH_MAX: usize = 16;
/// Elements of an IDoc.
const ELEMENTS_MAX: usize = 100_000;

/// Why a text is no IDoc that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is not well-formed.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// It declares a document type: the way to entities that expand or read files.
    #[error("a document type or processing instruction, which is not read")]
    DocumentType,
    /// It uses an entity that XML does not define.
    #[error("an entity that XML does not define: {0}")]
    Entity(String),
    /// It is too long, too deep or has too many elements.
    #[error("too long, too deep or too many elements")]
    Bounds,
    /// It is XML, but not exactly one IDoc.
    #[error("{0}")]
    NotOneIdoc(String),
}

/// A segment or a field: its name, its text, what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    text: String,
    children: Vec<Segment>,
}

impl Segment {
    /// The first segment in it of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first segment of this name at any depth.
    pub(crate) fn descendant(&self, name: &str) -> Option<&Self> {
        let below = |child: &'_ Self| child.name == name;
        self.children
            .iter()
            .find(|child| below(child))
            .or_else(|| self.children.iter().find_map(|child| child.descendant(name)))
    }

    /// A field without its padding; an empty one is none.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let text = self.child(name)?.text.trim();
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }
}

/// The one IDoc of a document: `<DEBMAS07><IDOC BEGIN="1">…</IDOC></DEBMAS07>`. Returns the element `IDOC`.
pub(crate) fn read(text: &str) -> Result<Segment, Unreadable> {
    if text.len() > BYTES_MAX {
        return Err(Unreadable::Bounds);
    }
    let root = parse(text)?;
    match root.children.as_slice() {
        [idoc] if idoc.name == "IDOC" => Ok(idoc.clone()),
        [] if root.name == "IDOC" => Err(Unreadable::NotOneIdoc("the IDoc is empty".to_owned())),
        _ if root.name == "IDOC" => Ok(root),
        idocs => {
            let text = format!("{} has {} elements where one IDOC is expected", root.name, idocs.len());
            Err(Unreadable::NotOneIdoc(text))
        }
    }
}

fn parse(text: &str) -> Result<Segment, Unreadable> {
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (mut open, mut root) = (Vec::<Segment>::new(), None);
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
            Event::DocType(_) | Event::PI(_) => return Err(Unreadable::DocumentType),
            Event::Comment(_) | Event::Decl(_) => None,
            Event::Eof => break,
        };
        if open.len() > DEPTH_MAX || elements > ELEMENTS_MAX {
            return Err(Unreadable::Bounds);
        }
        if let Some(closed) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None if root.is_none() => root = Some(closed),
                None => return Err(Unreadable::NotOneIdoc("more than one root".to_owned())),
            }
        }
    }
    let ended_early = || Unreadable::Malformed("it ends before its root does".to_owned());
    root.filter(|_| open.is_empty()).ok_or_else(ended_early)
}

fn begun(start: &BytesStart<'_>) -> Segment {
    let name = start.local_name().into_inner().to_owned();
    Segment { name, ..Segment::default() }
}

/// Text belongs to the innermost element; outside the root only blanks may stand.
fn append(open: &mut [Segment], text: &str) -> Result<(), Unreadable> {
    match open.last_mut() {
        Some(segment) => {
            segment.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err(Unreadable::Malformed("text outside the root".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDOC: &str = "<?xml version=\"1.0\"?>\n<DEBMAS07><IDOC BEGIN=\"1\"><E1KNA1M SEGMENT=\"1\">\
        <NAME1>M&amp;M  </NAME1><NAME2/><E1KNB1M><BUKRS>1000</BUKRS></E1KNB1M></E1KNA1M></IDOC></DEBMAS07>";

    #[test]
    fn segments_and_fields_are_read() {
        let idoc = read(IDOC).unwrap();
        let customer = idoc.child("E1KNA1M").unwrap();
        assert_eq!(customer.field("NAME1").as_deref(), Some("M&M"));
        assert_eq!(customer.field("NAME2"), None);
        assert_eq!(idoc.descendant("E1KNB1M").unwrap().field("BUKRS").as_deref(), Some("1000"));
    }

    #[test]
    fn what_could_expand_or_read_files_is_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><DEBMAS07><IDOC><A>&a;</A></IDOC></DEBMAS07>";
        assert_eq!(read(bomb), Err(Unreadable::DocumentType));
        assert_eq!(read("<D><IDOC><A>&a;</A></IDOC></D>"), Err(Unreadable::Entity("a".into())));
        assert_eq!(read("<?php x?><D><IDOC><A/></IDOC></D>"), Err(Unreadable::DocumentType));
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(read(&" ".repeat(BYTES_MAX + 1)), Err(Unreadable::Bounds));
        assert_eq!(read(&"<a>".repeat(DEPTH_MAX + 1)), Err(Unreadable::Bounds));
        assert_eq!(
            read(&format!("<D><IDOC>{}</IDOC></D>", "<a/>".repeat(ELEMENTS_MAX))),
            Err(Unreadable::Bounds)
        );
    }

    #[test]
    fn two_idocs_and_none_and_half_a_one_are_refused() {
        assert!(matches!(read("<D><IDOC><A/></IDOC><IDOC><A/></IDOC></D>"), Err(Unreadable::NotOneIdoc(_))));
        for text in ["<D></D>", "<D><X/></D>", "<IDOC></IDOC>", "<D/><D/>"] {
            assert!(matches!(read(text), Err(Unreadable::NotOneIdoc(_))), "{text}");
        }
        for text in ["", "x", "<D><IDOC>", "<D></IDOC>", "<D><IDOC><A/></IDOC></D>x"] {
            assert!(matches!(read(text), Err(Unreadable::Malformed(_))), "{text}");
        }
    }
}
