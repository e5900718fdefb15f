//! Who else is told: a tenant's own shop or dashboard, by a signed webhook (Standard Webhooks).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use portolan::stage::System;
use portolan_tests::World;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// A shop that answers 204 to everything, and tells what it was sent: headers and body.
async fn shop() -> (String, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                loop {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).await.unwrap_or_default();
                    request.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = header(head, "content-length").parse::<usize>().unwrap();
                    if body.len() >= length || read == 0 {
                        told.send((head.to_owned(), body.to_owned())).unwrap();
                        break;
                    }
                }
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            });
        }
    });
    (url, heard)
}

fn header(head: &str, name: &str) -> String {
    let found =
        head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_posted_sale_is_told_to_the_shop_signed_with_the_documents_numbers() {
    let world = World::of(System::SagePro).await;
    let (url, mut heard) = shop().await;
    let key = b"a key of thirty-two bytes, or so";
    let connection = json!({"name": "shop", "connector": "http",
        "settings": {"base_url": url, "signing": "standard-webhooks"},
        "secrets": {"signing_secret": format!("whsec_{}", STANDARD.encode(key))}});
    let shop = world.tenant.post("/connections", &connection).await.unwrap();
    let path = format!("/api/v1/environments/sandbox/mappings/{}", world.tenant.mapping);
    let mapping = world.tenant.client.get(&path).await.unwrap();
    let (mut settings, mut connections) = (mapping["settings"].clone(), mapping["connections"].clone());
    settings["flow"]["notify"] = json!({"path": "/portolan", "kinds": ["sale"]});
    connections["notify"] = shop["id"].clone();
    let change = json!({"settings": settings, "connections": connections});
    world.tenant.client.patch(&path, &change).await.unwrap();

    let told = world.story("told").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let (head, body) = heard.recv().await.unwrap();
    assert!(head.starts_with("POST /portolan "), "{head}");
    let sent: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&sent["kind"], &sent["status"]), (&json!("sale"), &json!("posted")));
    assert_eq!(sent["id"], json!(told.charge_id));
    let invoice = &world.erp.ledger("invoice").await.unwrap()[0];
    assert!(
        sent["numbers"].as_object().unwrap().values().any(|number| number == &json!(invoice.number)),
        "{sent}"
    );
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(
        format!("{}.{}.{body}", header(&head, "webhook-id"), header(&head, "webhook-timestamp")).as_bytes(),
    );
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header(&head, "webhook-signature"), signature);
}
