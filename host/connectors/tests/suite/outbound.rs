//! Where sockets may lead: every way to spell an address that is not allowed, names that resolve to such
//! addresses, names that change their mind. A canary listens on this machine and must never be reached.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use portolan_connectors::{
    ConfigError, Connection, Outbound, OutboundPolicy, Registry,
    outbound::{AllowedTarget, Lookup},
};
use serde_json::json;

use super::{
    code, config, context, hurried,
    server::{Server, json},
};

fn connect(outbound: &Outbound, base_url: &str) -> Result<Arc<dyn Connection>, ConfigError> {
    let config = config(json!({"base_url": base_url}), &[]);
    Registry::standard().get("http").unwrap().connect(&config, outbound)
}

/// Gives these addresses, one set per look-up; the last for ever.
#[derive(Debug)]
struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn answering(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |set: &&[&str]| set.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let nth = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        Ok(self.answers[nth].clone())
    }
}

/// Plain HTTP is allowed, so that nothing but the address can be the reason of a refusal.
fn strict() -> OutboundPolicy {
    OutboundPolicy { allow_plain_http: true, ..OutboundPolicy::default() }
}

fn allowing(targets: &[&str]) -> OutboundPolicy {
    let allow: Vec<AllowedTarget> = targets.iter().map(|target| target.parse().unwrap()).collect();
    OutboundPolicy { allow, ..OutboundPolicy::default() }
}

fn port(server: &Server) -> String {
    server.url.rsplit(':').next().unwrap().to_owned()
}

/// Every way to write an address that is not public.
#[rustfmt::skip]
const SPELLINGS: &[&str] = &[
    "127.0.0.1", "127.1", "127.0.1", "127.0.0.1.", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1",
    "0x7F.0.0.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1", "0177.0.0.01", "017700000001", "00000177.1",
    "127.0.0x1", "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "127．0．0．1",
    "0", "0.0.0.0", "0x0", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001::7f00:1]", "169.254.169.254",
    "0xa9fea9fe", "2852039166", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::1]",
    "[fe80::1%25lo]", "[fe80::1%lo]", "[fc00::1]", "[fd12::1]", "10.0.0.1", "012.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "3232235521", "100.64.0.1", "100.100.100.200", "192.0.2.1",
    "198.51.100.1", "203.0.113.1", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "[ff02::1]", "[2001:db8::1]", "[::ffff:0:127.0.0.1]",
];

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_is_accepted() {
    let canary = Server::start(|_, _| json(200, &json!({}))).await;
    let port = port(&canary);
    let outbound = Outbound::new(strict());
    for host in SPELLINGS {
        let url = format!("http://{host}:{port}");
        let error = connect(&outbound, &url).map(|_| url.clone()).unwrap_err();
        assert_eq!(error.pointer, "/settings/base_url", "{url}: {error}");
    }
    assert!(canary.seen().is_empty());
}

#[tokio::test]
async fn no_form_of_a_url_hides_where_it_leads() {
    let canary = Server::start(|_, _| json(200, &json!({}))).await;
    let at = format!("127.0.0.1:{}", port(&canary));
    let outbound = Outbound::new(strict());
    let urls = [
        format!("http://user@{at}"),
        format!("http://user:pass@{at}"),
        format!("http://public.example@{at}"),
        format!("http://{at}@public.example"),
        format!("http://public.example:80@{at}/"),
        format!("http://public.example/?next=http://{at}"),
        format!("http://public.example/#{at}"),
        format!("http://{at}#@public.example"),
        format!("http://{at}?@public.example"),
        format!("http:\\\\{at}"),
        format!("http:/{at}"),
        format!("http:{at}"),
        format!("http:////{at}"),
        format!("HTTP://{at}"),
        format!("\thttp://{at}"),
        format!("http://127.0\t.0.1:{}", port(&canary)),
        format!("//{at}"),
        at.clone(),
        format!("ftp://{at}"),
        format!("ws://{at}"),
        "file:///etc/passwd".to_owned(),
        "gopher://public.example".to_owned(),
        "unix:/run/x.sock".to_owned(),
        "data:text/plain,x".to_owned(),
        "http://public.example:0".to_owned(),
        "http://".to_owned(),
        String::new(),
    ];
    for url in urls {
        let error = connect(&outbound, &url).map(|_| url.clone()).unwrap_err();
        assert_eq!(error.pointer, "/settings/base_url", "{url:?}: {error}");
    }
    assert!(canary.seen().is_empty());
}

#[tokio::test]
async fn a_name_is_worth_what_it_resolves_to() {
    let canary = Server::start(|_, _| json(200, &json!({}))).await;
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["10.0.0.1"],
        &["0.0.0.0"],
        &["64:ff9b::7f00:1"],
        // One forbidden address condemns the name, wherever it stands.
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
    ] {
        for name in
            ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1.nip.example", "ⓛocalhost", "rebind.example"]
        {
            let outbound = Outbound::with_lookup(strict(), Names::answering(&[addresses]));
            let target = connect(&outbound, &format!("http://{name}:{}", port(&canary))).unwrap();
            let read = target.read("request.get", &json!({"path": ""}), &context()).await;
            assert_eq!(code(read), "address-refused", "{name} {addresses:?}");
        }
    }
    assert!(canary.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_again() {
    let server = Server::start(|_, _| json(200, &json!({})).with("Connection", "close")).await;
    let names = Names::answering(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let outbound = Outbound::with_lookup(allowing(&["127.0.0.1"]), names);
    let target = connect(&outbound, &format!("http://erp.example:{}", port(&server))).unwrap();
    let ask = || async { target.read("request.get", &json!({"path": ""}), &hurried()).await };
    ask().await.unwrap();
    assert_eq!(code(ask().await), "address-refused");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_allowed_host_leads_to_private_addresses_and_no_stranger_ones() {
    let server = Server::start(|_, _| json(200, &json!({}))).await;
    let url = format!("http://erp.example:{}", port(&server));
    for (allow, addresses, expected) in [
        ("erp.example", "127.0.0.1", None),
        ("*.example", "127.0.0.1", None),
        ("127.0.0.0/8", "127.0.0.1", None),
        ("other.example", "127.0.0.1", Some("address-refused")),
        ("erp.example", "169.254.169.254", Some("address-refused")),
        ("erp.example", "::ffff:127.0.0.1", Some("address-refused")),
    ] {
        let policy = OutboundPolicy { allow_plain_http: true, ..allowing(&[allow]) };
        let outbound = Outbound::with_lookup(policy, Names::answering(&[&[addresses]]));
        let read =
            connect(&outbound, &url).unwrap().read("request.get", &json!({"path": ""}), &context()).await;
        match expected {
            None => assert!(read.is_ok(), "{allow} {addresses}: {read:?}"),
            Some(expected) => assert_eq!(code(read), expected, "{allow} {addresses}"),
        }
    }
}

#[tokio::test]
async fn plain_http_is_for_addresses_that_the_operator_named() {
    let refused = Outbound::new(OutboundPolicy::default());
    assert!(connect(&refused, "http://public.example").unwrap_err().message.contains("https"));
    assert!(connect(&refused, "http://8.8.8.8").unwrap_err().message.contains("https"));

    // Allowed as far as the name is not known to be public.
    let policy = OutboundPolicy { allow_private: true, ..OutboundPolicy::default() };
    let outbound = Outbound::with_lookup(policy, Names::answering(&[&["8.8.8.8"]]));
    let target = connect(&outbound, "http://public.example").unwrap();
    let failure = target.read("request.get", &json!({"path": ""}), &context()).await.unwrap_err();
    assert_eq!(failure.problem().code, "address-refused");
    assert!(failure.problem().message.contains("use https"), "{failure:?}");
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_worth_repeating() {
    #[derive(Debug)]
    struct Nothing;
    #[async_trait]
    impl Lookup for Nothing {
        async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("no such host: {name}")))
        }
    }
    let target = connect(&Outbound::with_lookup(strict(), Arc::new(Nothing)), "http://erp.example").unwrap();
    let write = target.write("request.post", &json!({"path": "x", "body": 1}), &context()).await;
    let failure = write.unwrap_err();
    assert_eq!(failure.problem().code, "not-connected");
    assert!(matches!(failure, portolan_domain::verdict::CallFailure::Retryable { .. }));
}

#[test]
fn a_policy_is_read_strictly() {
    let policy: OutboundPolicy =
        serde_json::from_value(json!({"allow_loopback": true, "allow": ["10.0.0.0/8", "*.corp.example"]}))
            .unwrap();
    assert!(policy.allow_loopback);
    assert_eq!(policy.response_bytes_max, 8 * 1024 * 1024);
    for wrong in
        [json!({"allow_lopback": true}), json!({"allow": ["10.0.0.0/99"]}), json!({"allow": ["a b"]})]
    {
        assert!(serde_json::from_value::<OutboundPolicy>(wrong).is_err());
    }
}

#[test]
fn root_certificates_are_pem() {
    let policy = OutboundPolicy { root_certificates_pem: vec![super::ROOT_PEM.to_owned()], ..strict() };
    connect(&Outbound::new(policy), "https://erp.example").unwrap();
    let broken = super::ROOT_PEM.replace("MIIB", "!!!!");
    let policy = OutboundPolicy { root_certificates_pem: vec![broken], ..strict() };
    let error = connect(&Outbound::new(policy), "https://erp.example").unwrap_err();
    assert!(error.message.contains("root_certificates_pem"), "{error}");
}
