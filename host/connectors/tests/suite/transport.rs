//! A connection's own way to its system: a certificate authority of the tenant's, client certificates, proxies. Servers
//! here speak real TLS; the proxy is one that connects where it is told to and writes down who asked.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use portolan_connectors::{
    ConfigError, Connection, Found, Outbound, OutboundPolicy, Registry, outbound::Lookup,
};
use portolan_domain::verdict::CallFailure;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    code, config, context,
    server::{Server, json as json_answer},
};

const CA: &str = include_str!("../certificates/ca.pem");
const SERVER: &str = include_str!("../certificates/server.pem");
const SERVER_KEY: &str = include_str!("../certificates/server.key");
const CLIENT: &str = include_str!("../certificates/client.pem");
const CLIENT_KEY: &str = include_str!("../certificates/client.key");

/// A server that speaks TLS and answers every request with `{}`; perhaps only to clients with a certificate.
async fn tls_server(wants_certificate: bool) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).unwrap()).unwrap();
    let builder = if wants_certificate {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![CertificateDer::from_pem_slice(SERVER.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _sent = socket.write_all(answer).await;
                let _closed = socket.shutdown().await;
            });
        }
    });
    address
}

/// A proxy that lets `portolan:geheim12` through, to this machine whatever the name, and notes the heads of requests.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let head = String::from_utf8_lossy(&request).into_owned();
                log.lock().unwrap().push(head.clone());
                let login = format!("Basic {}", STANDARD.encode("portolan:geheim12"));
                if !head.lines().any(|line| {
                    line.to_lowercase().starts_with("proxy-authorization: ") && line.contains(&login)
                }) {
                    let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    let _sent = socket.write_all(refused).await;
                    return;
                }
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let is_tunnel = head.starts_with("CONNECT ");
                let port = target
                    .trim_start_matches("http://")
                    .split(['/', ' '])
                    .next()
                    .unwrap()
                    .rsplit(':')
                    .next()
                    .unwrap();
                let mut upstream =
                    TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).await.unwrap();
                if is_tunnel {
                    socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                } else {
                    upstream.write_all(&request).await.unwrap();
                }
                let _ended = tokio::io::copy_bidirectional(&mut socket, &mut upstream).await;
            });
        }
    });
    (url, seen)
}

/// Every name leads here.
#[derive(Debug)]
struct Everywhere(&'static str);

#[async_trait]
impl Lookup for Everywhere {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![self.0.parse().unwrap()])
    }
}

fn outbound(address: &'static str) -> Outbound {
    // The operator trusts somebody else, so that TLS works where the machine has no certificates of its own.
    let policy = OutboundPolicy {
        allow_loopback: true,
        root_certificates_pem: vec![super::ROOT_PEM.to_owned()],
        ..OutboundPolicy::default()
    };
    Outbound::with_lookup(policy, Arc::new(Everywhere(address)))
}

fn connect(
    settings: Value,
    secrets: &[(&str, &str)],
    outbound: &Outbound,
) -> Result<Arc<dyn Connection>, ConfigError> {
    Registry::standard().get("http").unwrap().connect(&config(settings, secrets), outbound)
}

async fn get(connection: &Arc<dyn Connection>) -> Result<Found, CallFailure> {
    connection.read("request.get", &json!({"path": "x"}), &context()).await
}

async fn post(connection: &Arc<dyn Connection>) -> Result<Value, CallFailure> {
    connection.write("request.post", &json!({"path": "x", "body": {}}), &context()).await
}

#[tokio::test]
async fn a_tenants_own_authority_is_trusted_by_its_connection_only() {
    let url = format!("https://sap.corp.example:{}", tls_server(false).await.port());
    let outbound = outbound("127.0.0.1");
    let stranger = connect(json!({"base_url": url}), &[], &outbound).unwrap();
    assert_eq!(code(get(&stranger).await), "not-connected");
    let own = connect(json!({"base_url": url, "tls_ca": CA}), &[], &outbound).unwrap();
    assert!(get(&own).await.is_ok());
    assert_eq!(code(get(&stranger).await), "not-connected");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks_for_it() {
    let url = format!("https://127.0.0.1:{}", tls_server(true).await.port());
    let outbound = outbound("127.0.0.1");
    let pem = format!("{CLIENT}{CLIENT_KEY}");
    let with =
        connect(json!({"base_url": url, "tls_ca": CA}), &[("client_certificate", &pem)], &outbound).unwrap();
    assert!(get(&with).await.is_ok());
    assert!(post(&with).await.is_ok());
    let without = connect(json!({"base_url": url, "tls_ca": CA}), &[], &outbound).unwrap();
    for failure in [get(&without).await.unwrap_err(), post(&without).await.unwrap_err()] {
        assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
    }
    assert!(!format!("{with:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn https_goes_through_a_proxy_by_connect_and_stays_end_to_end() {
    let port = tls_server(true).await.port();
    let (proxy, seen) = proxy().await;
    let settings = json!({"base_url": format!("https://sap.corp.example:{port}"), "tls_ca": CA, "proxy": proxy,
        "proxy_user": "portolan"});
    let pem = format!("{CLIENT}{CLIENT_KEY}");
    let secrets = [("client_certificate", pem.as_str()), ("proxy_password", "geheim12")];
    let connection = connect(settings.clone(), &secrets, &outbound("127.0.0.1")).unwrap();
    assert!(post(&connection).await.is_ok());
    let heads = seen.lock().unwrap().clone();
    assert!(heads[0].starts_with(&format!("CONNECT sap.corp.example:{port} HTTP/1.1\r\n")), "{}", heads[0]);
    assert!(!heads.concat().contains("POST"), "the proxy sees no request: {heads:?}");
    let wrong = [("client_certificate", pem.as_str()), ("proxy_password", "falsch")];
    let connection = connect(settings, &wrong, &outbound("127.0.0.1")).unwrap();
    let failure = post(&connection).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
    assert!(!format!("{failure:?}").contains("falsch"));
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy_as_it_is() {
    let server = Server::start(|_, _| json_answer(200, &json!({"ok": true}))).await;
    let (proxy, seen) = proxy().await;
    let url = server.url.replace("127.0.0.1", "sap.corp.example");
    let settings = json!({"base_url": url, "proxy": proxy, "proxy_user": "portolan"});
    let connection = connect(settings, &[("proxy_password", "geheim12")], &outbound("127.0.0.1")).unwrap();
    assert!(post(&connection).await.is_ok());
    assert!(seen.lock().unwrap()[0].starts_with(&format!("POST {url}/x HTTP/1.1\r\n")));
    let settings = json!({"base_url": url, "proxy": proxy});
    let failure = post(&connect(settings, &[], &outbound("127.0.0.1")).unwrap()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
}

#[tokio::test]
async fn what_may_not_be_connected_to_may_not_be_asked_of_a_proxy() {
    let (proxy, seen) = proxy().await;
    for address in ["169.254.169.254", "10.0.0.1"] {
        let settings = json!({"base_url": "https://metadata.example", "proxy": proxy});
        let connection = connect(settings, &[], &outbound(address)).unwrap();
        assert_eq!(code(post(&connection).await), "address-refused");
    }
    let literal = json!({"base_url": "https://169.254.169.254", "proxy": proxy});
    assert_eq!(connect(literal, &[], &outbound("127.0.0.1")).unwrap_err().pointer, "/settings/base_url");
    assert!(seen.lock().unwrap().is_empty());
    // And the proxy itself is an address like any other.
    let strict = Outbound::with_lookup(OutboundPolicy::default(), Arc::new(Everywhere("10.0.0.1")));
    let settings = |proxy: &str| json!({"base_url": "https://api.example", "tls_ca": CA, "proxy": proxy});
    let error = connect(settings("http://10.0.0.1:3128"), &[], &strict).unwrap_err();
    assert_eq!(error.pointer, "/settings/proxy");
}

#[test]
fn settings_of_the_way_are_checked() {
    let pem = format!("{CLIENT}{CLIENT_KEY}");
    let mixed = format!("{CLIENT}{SERVER_KEY}");
    let proxy = "http://127.0.0.1:3128";
    for (settings, secrets, pointer) in [
        (json!({"tls_ca": "x"}), vec![], "/settings/tls_ca"),
        (json!({"tls_ca": 1}), vec![], "/settings/tls_ca"),
        (json!({}), vec![("client_certificate", CLIENT)], "/secrets/client_certificate"),
        (json!({}), vec![("client_certificate", CLIENT_KEY)], "/secrets/client_certificate"),
        (json!({}), vec![("client_certificate", &mixed)], "/secrets/client_certificate"),
        (json!({"base_url": "http://127.0.0.1"}), vec![("client_certificate", &pem)], "/settings/base_url"),
        (json!({"base_url": "http://127.0.0.1", "tls_ca": CA}), vec![], "/settings/base_url"),
        (json!({"proxy": "socks5://127.0.0.1"}), vec![], "/settings/proxy"),
        (json!({"proxy": "http://u:p@127.0.0.1"}), vec![], "/settings/proxy"),
        (json!({"proxy": "http://127.0.0.1/path"}), vec![], "/settings/proxy"),
        (json!({"proxy": proxy, "proxy_user": "a"}), vec![], "/secrets/proxy_password"),
        (json!({"proxy": proxy}), vec![("proxy_password", "b")], "/settings/proxy_user"),
        (json!({"proxy": proxy, "proxy_user": "a:b"}), vec![("proxy_password", "b")], "/settings/proxy_user"),
        (json!({"proxy_user": "a"}), vec![], "/settings/proxy_user"),
        (json!({}), vec![("proxy_password", "b")], "/secrets/proxy_password"),
        (json!({"base_url": "/H/saprouter.example/S/3299/H/sapecd/S/8000"}), vec![], "/settings/base_url"),
        (json!({"tls": true}), vec![], "/settings/tls"),
    ] {
        let mut all = json!({"base_url": "https://127.0.0.1"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let error = connect(all, &secrets, &outbound("127.0.0.1")).unwrap_err();
        assert_eq!(error.pointer, pointer, "{settings}: {error}");
        assert!(!error.message.contains("PRIVATE"), "{error}");
    }
}
