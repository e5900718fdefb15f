//! What parses, and what must hold of it whatever it is given.

use http::{HeaderMap, HeaderName, HeaderValue};
use portolan_connectors::{Outbound, OutboundPolicy, Registry, outbound::AllowedTarget};
use portolan_domain::{
    EventId, Secret,
    card::{Form, mask_bytes},
    contract::{Description, Outcome},
    money::Amount,
    pointer,
};
use portolan_pipeline::{
    routes::SourceSettings,
    senders::{Auth, Proof, Sender, told},
};
use serde_json::Value;

use super::Target;

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "signature",
        seeds: &[
            "t=1700000000,v1=8042376f6ca064adbe037642a718227dfd59047137eb49497a54c49eb0cfb724",
            "Bearer abc",
            "Basic YTpi",
            "AB:CD",
        ],
        run: signature,
    },
    Target {
        name: "stripe",
        seeds: &[
            r#"{"id":"evt_1","object":"event","type":"a.b","created":1700000000,"livemode":false,"data":{"object":{"id":"ch_1"}}}"#,
            r#"{"id":"e","object":"v2.core.event","type":"v1.x","created":"2026-11-20T10:00:00Z","related_object":{"id":"a"}}"#,
        ],
        run: |bytes| body(Sender::Stripe, bytes),
    },
    Target {
        name: "sap-ecc",
        seeds: &[
            "<D><IDOC BEGIN=\"1\"><EDI_DC40><MANDT>100</MANDT><DOCNUM>1</DOCNUM><MESTYP>DEBMAS</MESTYP><SNDPRN>E</SNDPRN><CREDAT>20261120</CREDAT><CRETIM>101500</CRETIM></EDI_DC40><E1KNA1M><KUNNR>7</KUNNR></E1KNA1M></IDOC></D>",
        ],
        run: |bytes| body(Sender::SapEcc, bytes),
    },
    Target {
        name: "epicor",
        seeds: &[
            r#"{"eventId":"e","company":"c","table":"Customer","sysRowId":"g","sysRevId":7,"operation":"Update","row":{"a":1}}"#,
        ],
        run: |bytes| body(Sender::Epicor, bytes),
    },
    Target {
        name: "sage-pro",
        seeds: &[r#"{"CustNo":"JENNY  ","Name":"Jenny"}"#],
        run: |bytes| body(Sender::SagePro, bytes),
    },
    Target {
        name: "card",
        seeds: &[
            "{\"n\":4242424242424242,\"t\":\"4242 4242 4242 4242\"}",
            "%B4242424242424242^A",
            "NDI0MjQyNDI0MjQyNDI0Mg==",
            "&#52;242424242424242",
            "4.242424242424242e15",
        ],
        run: card,
    },
    Target {
        name: "soap",
        seeds: &[
            "<?xml version=\"1.0\"?><n0:E xmlns:n0=\"urn:x\"><A> 1 &#65;&lt;<![CDATA[<x>]]></A><T><item><_-BIC_-X>1</_-BIC_-X></item></T></n0:E>",
        ],
        run: portolan_connectors::fuzz::soap,
    },
    Target {
        name: "batch",
        seeds: &[
            "--ab\r\nContent-Type: multipart/mixed; boundary=\"cd\"\r\n\r\n--cd\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 201 Created\r\n\r\n{\"d\":{}}\r\n--cd--\r\n\r\n--ab--\r\n",
        ],
        run: portolan_connectors::fuzz::batch,
    },
    Target {
        name: "retry-after",
        seeds: &["7", "Sun, 06 Nov 1994 08:49:37 GMT"],
        run: portolan_connectors::fuzz::retry_after,
    },
    Target {
        name: "address",
        seeds: &[
            "https://erp.example/x",
            "http://127.0.0.1:1",
            "http://[::ffff:7f00:1]",
            "10.0.0.0/8",
            "*.corp.example",
            "http://a@127.1",
        ],
        run: address,
    },
    Target {
        name: "words",
        seeds: &["/a/b~1c/0", "12.50", "-0.001", "evt_01JDXXXXXXXXXXXXXXXXXXXXXX", "{\"a\":{\"b/c\":[1]}}"],
        run: words,
    },
    Target {
        name: "contract",
        seeds: &[
            r#"{"skip":"x"}"#,
            r#"{"reject":[{"pointer":"/a","code":"b","text":"c"}]}"#,
            r#"{"name":"a","version":"1.0.0"}"#,
            r#"{"livemode":"any","poll":null}"#,
        ],
        run: contract,
    },
    Target {
        name: "upload",
        seeds: &[
            "\0asm\u{1}\0\0\0",
            "\0asm\u{d}\0\u{1}\0",
            "\0asm\u{1}\0\0\0\u{1}\u{4}\u{1}`\0\0\u{3}\u{2}\u{1}\0\n\u{4}\u{1}\u{2}\0\u{b}",
        ],
        run: upload,
    },
];

/// Who is believed: nobody, since no input holds a secret.
fn signature(bytes: &[u8]) -> String {
    let secrets = [&Secret::new("whsec_that_no_input_can_hold_000001")];
    let certificates = ["5f".repeat(32)];
    let fingerprint = HeaderName::from_static("x-client-fingerprint");
    let mut said = String::new();
    for (sender, auth, name) in [
        (Sender::Stripe, Auth::Signature, "stripe-signature"),
        (Sender::Epicor, Auth::Bearer, "authorization"),
        (Sender::SapEcc, Auth::Basic, "authorization"),
        (Sender::SapEcc, Auth::ClientCertificate, "x-client-fingerprint"),
    ] {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return "no header".to_owned() };
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
        let proof = Proof {
            auth,
            secrets: &secrets,
            certificates: &certificates,
            certificate_header: Some(&fingerprint),
            now_s: 1_700_000_000,
            tolerance_s: 300,
        };
        match sender.verify(&proof, &headers, b"body") {
            Ok(()) => assert_eq!(auth, Auth::ClientCertificate, "believed"),
            Err(problem) => said.push_str(told(&headers, problem).code()),
        }
    }
    said
}

fn body(sender: Sender, bytes: &[u8]) -> String {
    let body = bytes::Bytes::copy_from_slice(bytes);
    match sender.read(&body) {
        Err(problem) => problem.to_string(),
        Ok(heads) => {
            assert!(!heads.is_empty(), "no event and no reason");
            let stored: usize = heads.iter().map(|head| head.payload.len()).sum();
            assert!(
                stored <= bytes.len() + heads.len() * 600,
                "{stored} bytes are stored of {}",
                bytes.len()
            );
            for head in &heads {
                assert!((1..=255).contains(&head.idempotency_key.chars().count()), "{head:?}");
                assert!(!head.kind.is_empty(), "{head:?}");
            }
            format!(
                "{} events, time {}, object {}",
                heads.len().ilog2(),
                heads[0].occurred_at.is_some(),
                heads[0].object_id.is_some()
            )
        }
    }
}

fn card(bytes: &[u8]) -> String {
    let was_json = serde_json::from_slice::<Value>(bytes).is_ok();
    let mut said = format!("{was_json}");
    for form in [Form::Text, Form::Json] {
        let Some((masked, count)) = mask_bytes(bytes, form) else { continue };
        assert!(
            std::str::from_utf8(bytes).is_err() || std::str::from_utf8(&masked).is_ok(),
            "UTF-8 was broken"
        );
        assert!(
            !was_json || form == Form::Text || serde_json::from_slice::<Value>(&masked).is_ok(),
            "JSON was broken"
        );
        said.push_str(&format!(" {form:?} {}", "x".repeat(count.min(9))));
    }
    said
}

/// Whatever the spelling, no connection is made to what is not allowed: a URL that is taken names a host, or an address
/// that everybody can reach.
fn address(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
    let policy = OutboundPolicy { allow_plain_http: true, ..OutboundPolicy::default() };
    let config = portolan_connectors::ConnectionConfig {
        settings: serde_json::json!({ "base_url": text }),
        secrets: std::collections::BTreeMap::default(),
    };
    let registry = Registry::standard();
    let connector = registry.get("http").expect("the connector");
    let target = text.parse::<AllowedTarget>().is_ok();
    match connector.connect(&config, &Outbound::new(policy)) {
        Ok(_) => {
            let host =
                text.split("//").nth(1).unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
                let inward = address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_unspecified();
                assert!(!inward, "{text}");
            }
            format!("taken {target}")
        }
        Err(error) => format!("{target} {}", error.message),
    }
}

fn words(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
    let amount = text.parse::<Amount>();
    if let Ok(amount) = &amount {
        let again = serde_json::to_value(amount).expect("JSON");
        let again: Amount = serde_json::from_value(again).expect("an amount reads back");
        assert_eq!(again, *amount);
    }
    let id = text.parse::<EventId>();
    if let Ok(id) = &id {
        assert_eq!(id.as_str(), text);
    }
    let value = serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let at = pointer::id_at(&value, "/a/b~1c/0").or_else(|| pointer::id_at(&value, text));
    format!("{} {} {} {}", amount.is_ok(), id.is_ok(), pointer::is_pointer(text), at.is_some())
}

fn contract(bytes: &[u8]) -> String {
    let said = |result: Result<(), serde_json::Error>| {
        result.err().map_or("ok".to_owned(), |error| error.to_string())
    };
    let outcome = serde_json::from_slice::<Outcome>(bytes).map(drop);
    let description = serde_json::from_slice::<Description>(bytes).map(drop);
    let settings = serde_json::from_slice::<SourceSettings>(bytes).map(drop);
    format!("{} {} {}", said(outcome), said(description), said(settings))
}

fn upload(bytes: &[u8]) -> String {
    portolan_sandbox::fuzz::structure(bytes)
}
