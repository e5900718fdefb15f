//! Whose signatures a tenant trusts.

use aide::{
    OperationInput,
    axum::{ApiRouter, routing::get_with},
    generate::GenContext,
    openapi::Operation,
};
use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderValue, request::Parts},
    response::NoContent,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use portolan_domain::{ModuleDigest, TenantId};
use portolan_pipeline::signatures::{is_valid, signed_text};
use portolan_store::module::{Signed, SigningKey, SigningPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    auth::{OfTenant, OfWholeTenant, Viewer},
    body::Json,
    openapi::op,
    params,
    problem::Problem,
    tenants::check_name,
};

/// Where an upload brings its signature.
const HEADER: &str = "portolan-signature";
/// Keys of one tenant.
const KEYS_MAX: usize = 20;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/signing-policy",
            get_with(get_signing_policy, op("get_signing_policy", "Whose signatures the tenant trusts"))
                .put_with(put_signing_policy, op("put_signing_policy", "Changes whose signatures it trusts")),
        )
        .with_path_items(|path| path.tag("modules"))
}

/// The signature that an upload brings, if it brings one.
pub(crate) struct Signature(Option<HeaderValue>);

impl FromRequestParts<Api> for Signature {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        Ok(Self(parts.headers.get(HEADER).cloned()))
    }
}

impl OperationInput for Signature {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let text = "Ed25519 over `portolan-module:sha256:` and the digest in hex: 64 bytes in base64.";
        params::header(ctx, operation, "Portolan-Signature", text);
    }
}

/// The signature that an upload brings, checked with the tenant's keys; none when it brings none and need not.
pub(crate) async fn of_upload(
    api: &Api,
    tenant: &TenantId,
    signature: &Signature,
    digest: &ModuleDigest,
) -> Result<Option<Signed>, Problem> {
    let policy = api.shared.store.signing_policy(tenant).await?;
    let Some(header) = &signature.0 else {
        if policy.required {
            let text = format!(
                "The tenant demands signed modules: sign the text `{}` with Ed25519 and send the signature in base64 as \
                 `Portolan-Signature`.",
                signed_text(digest)
            );
            return Err(Problem::unprocessable("signature-required", text));
        }
        return Ok(None);
    };
    let signature = header.to_str().ok().and_then(|text| STANDARD.decode(text.trim()).ok());
    let signature = signature.filter(|signature| signature.len() == 64);
    let valid =
        signature.as_deref().and_then(|bytes| policy.keys.iter().find(|key| is_valid(key, digest, bytes)));
    match (valid, signature) {
        (Some(key), Some(signature)) => Ok(Some(Signed { by: key.name.clone(), signature })),
        (_, _) => {
            let text = format!(
                "The signature is none of the tenant's keys over `{}` (Ed25519, 64 bytes in base64).",
                signed_text(digest)
            );
            Err(Problem::unprocessable("signature-invalid", text))
        }
    }
}

/// A public key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicKey {
    /// Unique in the tenant.
    name: String,
    /// Ed25519: 32 bytes in base64.
    public_key: String,
}

/// Whose signatures a tenant trusts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SigningPolicy")]
pub(crate) struct PolicyAnswer {
    /// Whether only signed modules are taken and pinned.
    required: bool,
    /// At most 20.
    keys: Vec<PublicKey>,
}

pub(crate) async fn get_signing_policy(
    State(api): State<Api>,
    caller: OfTenant<Viewer>,
) -> Result<axum::Json<PolicyAnswer>, Problem> {
    let policy = api.shared.store.signing_policy(&caller.tenant).await?;
    let keys = policy.keys.into_iter();
    let keys = keys.map(|key| PublicKey { name: key.name, public_key: STANDARD.encode(&key.public_key) });
    Ok(axum::Json(PolicyAnswer { required: policy.required, keys: keys.collect() }))
}

/// Replaces it as a whole. Modules that are pinned stay so.
pub(crate) async fn put_signing_policy(
    State(api): State<Api>,
    caller: OfWholeTenant,
    Json(new): Json<PolicyAnswer>,
) -> Result<NoContent, Problem> {
    let refuse = |text: String| Problem::unprocessable("invalid-signing-policy", text);
    if new.keys.len() > KEYS_MAX || (new.required && new.keys.is_empty()) {
        return Err(refuse(format!("keys: at most {KEYS_MAX}, at least one when signatures are required")));
    }
    let mut keys: Vec<SigningKey> = Vec::with_capacity(new.keys.len());
    for key in new.keys {
        check_name(&key.name)?;
        let bytes = STANDARD.decode(&key.public_key).ok().filter(|bytes| bytes.len() == 32);
        let public_key =
            bytes.ok_or_else(|| refuse("public_key: an Ed25519 key of 32 bytes, in base64".to_owned()))?;
        if keys.iter().any(|known| known.name == key.name) {
            return Err(refuse(format!("keys: two are named {:?}", key.name)));
        }
        keys.push(SigningKey { name: key.name, public_key });
    }
    let policy = SigningPolicy { required: new.required, keys };
    api.shared.store.signing_policy_put(&caller.tenant, policy, api.shared.clock.now()).await?;
    Ok(NoContent)
}
