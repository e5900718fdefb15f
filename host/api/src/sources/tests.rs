//! What becomes of secrets when something else is changed.

use axum::http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::*;
use crate::trial::Trial;

async fn stored(trial: &Trial, id: &SourceId) -> Source {
    trial.api.shared.store.source_get(&trial.scope, id).await.unwrap()
}

/// Whether each of its secrets has an end, the newest first.
async fn ends(trial: &Trial, id: &SourceId) -> Vec<bool> {
    let active = active_secrets(&trial.api, &stored(trial, id).await).unwrap();
    active.iter().map(|one| one.until_s.is_some()).collect()
}

async fn tag(trial: &Trial, path: &str) -> Option<HeaderValue> {
    trial.ask("GET", path, &Value::Null).await.headers.remove(header::ETAG)
}

#[tokio::test]
async fn a_secret_that_was_rotated_out_ends_though_files_are_imported() {
    let trial = Trial::new().await;
    let id = trial.source("hooks").await;
    let rotation = json!({ "secret": "whsec_the_next_secret", "overlap_s": 86_400 });
    let rotated = trial.must("POST", &format!("/sources/{id}/rotate"), &rotation).await;
    assert_eq!(rotated["secrets"].as_array().unwrap().len(), 2, "{rotated}");
    assert_eq!(ends(&trial, &id).await, [false, true]);

    let mut document = trial.must("GET", "/files", &Value::Null).await;
    document["sources"]["hooks"]["settings"] = json!({ "livemode": "any" });
    let import = json!({ "document": document, "apply": true });
    let done = trial.must("POST", "/files", &import).await;
    assert_eq!(done["changes"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(stored(&trial, &id).await.settings, json!({ "livemode": "any" }));
    assert_eq!(ends(&trial, &id).await, [false, true], "what is not given stays as it is");

    // Given as they are, they are no change either; other ones are.
    let mut import = import;
    import["document"]["sources"]["hooks"]["settings"] = json!({});
    let active = secrets_of(&trial.api, &stored(&trial, &id).await).unwrap();
    let active: Vec<_> = active.iter().map(Secret::expose).collect();
    import["secrets"] = json!({ "sources": { "hooks": active } });
    trial.must("POST", "/files", &import).await;
    assert_eq!(ends(&trial, &id).await, [false, true]);
    import["secrets"] = json!({ "sources": { "hooks": ["whsec_another_secret"] } });
    trial.must("POST", "/files", &import).await;
    assert_eq!(ends(&trial, &id).await, [false]);
}

#[tokio::test]
async fn whoever_saw_a_source_before_its_secret_was_rotated_changes_nothing() {
    let trial = Trial::new().await;
    let path = format!("/sources/{}", trial.source("hooks").await);
    let seen = tag(&trial, &path).await;
    let rotation = json!({ "secret": "whsec_the_next_secret" });
    trial.must("POST", &format!("{path}/rotate"), &rotation).await;
    let change = json!({ "settings": {}, "secrets": ["whsec_of_long_ago_again"] });
    let refused = trial.ask_having_seen(seen, ("PUT", &path), &change).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::PRECONDITION_FAILED, "changed-since"));
    let seen = tag(&trial, &path).await;
    let changed = trial.ask_having_seen(seen, ("PUT", &path), &change).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.headers.get(header::ETAG).cloned(), tag(&trial, &path).await);
}

#[tokio::test]
async fn whoever_saw_a_notification_rule_before_its_secret_was_changed_changes_nothing() {
    let trial = Trial::new().await;
    let to = json!({ "webhook": { "url": "https://example.com/portolan" } });
    let rule = json!({ "name": "all", "to": to, "alerts": {} });
    let made = trial.must("POST", "/notification-rules", &rule).await;
    let path = format!("/notification-rules/{}", made["id"].as_str().unwrap());
    let seen = tag(&trial, &path).await;
    let change =
        json!({ "enabled": true, "to": to, "alerts": {}, "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZg==" });
    let changed = trial.ask_having_seen(seen.clone(), ("PUT", &path), &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{:#}", changed.json());
    assert_eq!(changed.headers.get(header::ETAG).cloned(), tag(&trial, &path).await);
    let refused = trial.ask_having_seen(seen, ("PUT", &path), &change).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_rotation_waits_for_the_change_before_it_and_keeps_its_settings() {
    let trial = Trial::new().await;
    let id = trial.source("hooks").await;
    let turn = etag::alone(&trial.api, &trial.scope.tenant).await;
    let (path, rotation) = (format!("/sources/{id}/rotate"), json!({ "secret": "whsec_the_next_secret" }));
    let mut rotating = std::pin::pin!(trial.must("POST", &path, &rotation));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut rotating).await.is_err());
    let source = Source { settings: json!({ "livemode": "any" }), ..stored(&trial, &id).await };
    put(&trial.api, (source, false), None).await.unwrap();
    drop(turn);
    let rotated = rotating.await;
    assert_eq!(rotated["settings"], json!({ "livemode": "any" }));
    assert_eq!(stored(&trial, &id).await.settings, json!({ "livemode": "any" }));
}
