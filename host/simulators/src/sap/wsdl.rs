//! `GET /sap/bc/soap/wsdl11?services=…` and `?wsdl=1.1` of web services: what a function takes.

use crate::sap::interface;
use crate::sap::parameters::{Kind, Shape};
use crate::stand_in::Reply;

fn simple(kind: Kind) -> String {
    match kind {
        Kind::C(length) => format!("char{length}"),
        Kind::N(length) => format!("numeric{length}"),
        Kind::D => "date10".to_owned(),
        Kind::P(digits, places) => format!("decimal{digits}.{places}"),
    }
}

fn fields(fields: &[(&str, Kind)]) -> String {
    let field = |(name, kind): &(&str, Kind)| {
        format!("<xsd:element name=\"{name}\" type=\"tns:{}\" minOccurs=\"0\"/>", simple(*kind))
    };
    fields.iter().map(field).collect()
}

/// The description of functions by name; 404 for one that there is not.
pub(crate) fn answer(names: &str, target: impl Fn(&str) -> String) -> Reply {
    let mut types = String::new();
    let mut operations = String::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let Some(known) = interface(&target(name)) else {
            return Reply::html(404, "404 Resource not found", "There is no such function.");
        };
        let mut parameters = String::new();
        for (parameter, shape) in known {
            let inside = match shape {
                Shape::Scalar(kind) => {
                    parameters.push_str(&fields(&[(parameter, *kind)]));
                    continue;
                }
                Shape::Structure(own) => fields(own),
                Shape::Table(own) => format!(
                    "<xsd:element name=\"item\" minOccurs=\"0\" maxOccurs=\"unbounded\"><xsd:complexType><xsd:sequence>{}\
                     </xsd:sequence></xsd:complexType></xsd:element>",
                    fields(own)
                ),
            };
            parameters.push_str(&format!(
                "<xsd:element name=\"{parameter}\" minOccurs=\"0\"><xsd:complexType><xsd:sequence>{inside}</xsd:sequence>\
                 </xsd:complexType></xsd:element>"
            ));
        }
        types.push_str(&format!(
            "<xsd:element name=\"{name}\"><xsd:complexType><xsd:all>{parameters}</xsd:all></xsd:complexType></xsd:element>"
        ));
        operations.push_str(&format!("<operation name=\"{name}\"/>"));
    }
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><definitions xmlns=\"http://schemas.xmlsoap.org/wsdl/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:tns=\"urn:sap-com:document:sap:rfc:functions\" \
         targetNamespace=\"urn:sap-com:document:sap:rfc:functions\"><types><xsd:schema>{types}</xsd:schema></types>\
         <portType name=\"functions\">{operations}</portType></definitions>"
    );
    Reply::new(200, "text/xml; charset=utf-8", text)
}
