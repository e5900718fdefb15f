//! IDocs as XML: what SAP ECC posts to an XML-HTTP port. One request holds one or several `<IDOC>`; each becomes an
//! event of its own, in a document of its own with the same root. Nothing signs them, so the XML is untrusted: no
//! DTD, no entities but XML's own, bounded in depth and number.
//!
//! A receiver must recognise repeats by client, sender and number (SAP posts again whatever was not answered 200)
//! and must not rely on the order: the time of an IDoc is `CREDAT` and `CRETIM`, in the sender's own clock.

use bytes::Bytes;
use jiff::civil::DateTime;
use portolan_domain::Timestamp;
use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

use super::{EventHead, NotAnEvent};

/// IDocs of one request.
const IDOCS_MAX: usize = 1_000;
/// Segments in segments. The deepest standard types have eight levels.
const DEPTH_MAX: usize = 32;
/// The longest name of an element, in bytes. The root's is written into every event: a long one, times a thousand IDocs, would
/// be a bomb.
const NAME_BYTES_MAX: usize = 255;

/// What is read of an IDoc.
#[derive(Debug, Default)]
struct Control {
    client: String,
    number: String,
    sender: String,
    kind: String,
    date: String,
    time: String,
    /// Customer number of a customer master.
    customer: String,
}

impl Control {
    /// Where the text of an element is kept; the first one of its name counts, `E1KNA1M` having parts with the same.
    fn field(&mut self, path: &[String]) -> Option<&mut String> {
        let [.., segment, field] = path else { return None };
        let field = match (segment.as_str(), field.as_str()) {
            ("EDI_DC40", "MANDT") => &mut self.client,
            ("EDI_DC40", "DOCNUM") => &mut self.number,
            ("EDI_DC40", "SNDPRN") => &mut self.sender,
            ("EDI_DC40", "MESTYP") => &mut self.kind,
            ("EDI_DC40", "CREDAT") => &mut self.date,
            ("EDI_DC40", "CRETIM") => &mut self.time,
            ("E1KNA1M", "KUNNR") => &mut self.customer,
            _ => return None,
        };
        field.is_empty().then_some(field)
    }

    fn head(&self, payload: Vec<u8>) -> Result<EventHead, NotAnEvent> {
        if self.number.trim().is_empty() || self.kind.trim().is_empty() {
            return Err(malformed("an IDoc has no DOCNUM or MESTYP in EDI_DC40"));
        }
        let object = [&self.customer, &self.number].into_iter().find(|text| !text.trim().is_empty());
        Ok(EventHead {
            idempotency_key: format!("{}/{}/{}", self.client.trim(), self.sender.trim(), self.number.trim()),
            kind: self.kind.trim().to_owned(),
            occurred_at: created(self.date.trim(), self.time.trim()),
            object_id: object.map(|text| text.trim().to_owned()),
            livemode: None,
            account: None,
            payload: payload.into(),
        })
    }
}

/// `CREDAT` and `CRETIM`. SAP does not say in which zone; read as UTC, which keeps their order.
fn created(date: &str, time: &str) -> Option<Timestamp> {
    let text = format!("{date}T{}", if time.is_empty() { "000000" } else { time });
    let time = DateTime::strptime("%Y%m%dT%H%M%S", &text).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(time.timestamp().as_millisecond()).ok().map(Timestamp::from_millis)
}

fn malformed(why: impl ToString) -> NotAnEvent {
    NotAnEvent::Malformed { what: "an IDoc packet", why: why.to_string() }
}

/// Reads every IDoc of a body.
pub(super) fn read_heads(body: &Bytes) -> Result<Vec<EventHead>, NotAnEvent> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut packet = Packet { text, path: Vec::new(), begun: None, heads: Vec::new() };
    loop {
        let from = usize::try_from(reader.buffer_position()).map_err(malformed)?;
        let event = reader.read_event().map_err(malformed)?;
        let to = usize::try_from(reader.buffer_position()).map_err(malformed)?;
        match event {
            Event::Start(tag) => packet.open(tag.local_name().as_ref(), from)?,
            Event::Empty(tag) => {
                packet.open(tag.local_name().as_ref(), from)?;
                packet.close(to)?;
            }
            Event::End(_) => packet.close(to)?,
            Event::Text(found) => packet.text(&found.xml10_content()),
            Event::GeneralRef(name) => {
                let character = name.resolve_char_ref().ok().flatten().map(String::from);
                let text = character.or_else(|| resolve_xml_entity(&name).map(str::to_owned));
                packet.text(&text.ok_or_else(|| malformed("it has an entity that is not XML's own"))?);
            }
            Event::DocType(_) => return Err(malformed("it has a document type definition")),
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    packet.end()
}

/// A packet in the middle of being read.
struct Packet<'a> {
    text: &'a str,
    path: Vec<String>,
    /// Where the IDoc under way begins, and what is known of it.
    begun: Option<(usize, Control)>,
    heads: Vec<EventHead>,
}

impl Packet<'_> {
    fn open(&mut self, name: &str, from: usize) -> Result<(), NotAnEvent> {
        if name.len() > NAME_BYTES_MAX {
            return Err(malformed(format!("it has a name that is longer than {NAME_BYTES_MAX} bytes")));
        }
        self.path.push(name.to_owned());
        if self.path.len() > DEPTH_MAX {
            return Err(malformed(format!("it is deeper than {DEPTH_MAX} levels")));
        }
        if self.path.len() == 2 && name == "IDOC" {
            if self.heads.len() == IDOCS_MAX {
                return Err(malformed(format!("it holds more than {IDOCS_MAX} IDocs")));
            }
            self.begun = Some((from, Control::default()));
        }
        Ok(())
    }

    fn text(&mut self, found: &str) {
        if let Some((_, control)) = &mut self.begun
            && let Some(field) = control.field(&self.path)
        {
            field.push_str(found);
        }
    }

    fn close(&mut self, to: usize) -> Result<(), NotAnEvent> {
        if self.path.len() == 2
            && let Some((from, control)) = self.begun.take()
        {
            let root = self.path.first().map_or("", String::as_str);
            let idoc = self.text.get(from..to).unwrap_or_default();
            let document = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{idoc}</{root}>");
            self.heads.push(control.head(document.into_bytes())?);
        }
        self.path.pop();
        Ok(())
    }

    fn end(self) -> Result<Vec<EventHead>, NotAnEvent> {
        if !self.path.is_empty() {
            return Err(malformed("it ends in the middle of an element"));
        }
        if self.heads.is_empty() {
            return Err(malformed("it holds no IDOC element"));
        }
        Ok(self.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idoc(number: &str, customer: &str) -> String {
        format!(
            "<IDOC BEGIN=\"1\"><EDI_DC40 SEGMENT=\"1\"><TABNAM>EDI_DC40</TABNAM><MANDT>100</MANDT>\
             <DOCNUM>{number}</DOCNUM><MESTYP>DEBMAS</MESTYP><SNDPRN>ECDCLNT100</SNDPRN><CREDAT>20261120</CREDAT>\
             <CRETIM>101500</CRETIM></EDI_DC40><E1KNA1M SEGMENT=\"1\"><MSGFN>005</MSGFN><KUNNR>{customer}</KUNNR>\
             <NAME1>M&amp;M &#xC4;rzte</NAME1></E1KNA1M></IDOC>"
        )
    }

    fn read(text: &str) -> Result<Vec<EventHead>, NotAnEvent> {
        read_heads(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn each_idoc_of_a_packet_is_an_event() {
        let (one, two) = (idoc("0000000000000001", "0000100042"), idoc("0000000000000002", "0000100043"));
        let packet = format!("<?xml version=\"1.0\"?>\n<DEBMAS07>\n {one} {two}</DEBMAS07>");
        let heads = read(&packet).unwrap();
        assert_eq!(heads.len(), 2);
        let head = &heads[1];
        assert_eq!(head.idempotency_key, "100/ECDCLNT100/0000000000000002");
        assert_eq!((head.kind.as_str(), head.object_id.as_deref()), ("DEBMAS", Some("0000100043")));
        assert_eq!(head.occurred_at, Some(Timestamp::from_seconds(1_795_169_700)));
        let text = std::str::from_utf8(&head.payload).unwrap();
        assert!(text.ends_with(&format!("<DEBMAS07>{two}</DEBMAS07>")), "{text}");
        assert_eq!(read(text).unwrap()[0].idempotency_key, head.idempotency_key);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><x><IDOC>&b;</IDOC></x>";
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        let cut = format!("<DEBMAS07>{}", idoc("1", "2"));
        let unnamed = "<DEBMAS07><IDOC><EDI_DC40><DOCNUM></DOCNUM></EDI_DC40></IDOC></DEBMAS07>";
        for bad in ["", "x", "<a/>", "<a><IDOC></a>", bomb, &deep, &cut, unnamed, "<a><IDOC>&b;</IDOC></a>"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read_heads(&Bytes::from_static(b"\xff\xfe<\0a\0")).is_err());
    }
}
