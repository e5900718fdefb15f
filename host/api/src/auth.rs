//! Who is asking, and what they may do. A permission is a handler's argument: [`AsOperator`],
//! [`OfTenant`] (a role in a tenant) or [`InScope`] (a role in one of its environments).

use std::{marker::PhantomData, time::Duration};

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{Operation, Response},
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, header, request::Parts},
};
use portolan_domain::{Environment, KeyId, Scope, TenantId, Timestamp};
use portolan_store::{
    audit::Actor,
    key::{Key, Role},
};
use sha2::{Digest, Sha256};

use crate::{
    Api, params,
    problem::{self, Problem},
};

/// With an operator's key: the tenant for whom it acts, as an admin of that tenant.
pub(crate) const TENANT_HEADER: &str = "portolan-tenant";

/// What the OpenAPI document calls a key.
pub(crate) const SCHEME: &str = "key";

const PREFIX: &str = "ptk_";

/// That a key was used is stored at most so often.
const USED_EVERY: Duration = Duration::from_secs(60);

/// The secret of a key: shown once, never stored.
pub struct KeySecret(String);

impl KeySecret {
    /// The text to show once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Makes a key with 256 random bits.
///
/// # Errors
/// When the machine has no randomness.
pub fn new_key(
    role: Role,
    tenant: Option<TenantId>,
    environment: Option<Environment>,
    name: &str,
    now: Timestamp,
) -> Result<(Key, KeySecret), getrandom::Error> {
    let mut bits = [0u8; 32];
    getrandom::fill(&mut bits)?;
    let secret = format!("{PREFIX}{}", hex::encode(bits));
    let key = Key {
        id: KeyId::generate(now),
        role,
        tenant,
        environment,
        name: name.to_owned(),
        secret_sha256: Sha256::digest(&secret).into(),
        created_at: now,
        expires_at: None,
        last_used_at: None,
    };
    Ok((key, KeySecret(secret)))
}

/// May run the host.
pub(crate) struct AsOperator {
    /// Who, for decisions.
    pub(crate) key: KeyId,
}

/// May look at what was used: an operator at everybody's, a tenant's key at the tenant's (one that is bound to an
/// environment: at that one's).
pub(crate) struct AsReader(pub(crate) Key);

/// Is an admin of this tenant, in all of its environments.
pub(crate) struct OfWholeTenant {
    pub(crate) tenant: TenantId,
}

/// Has a key, whatever its role.
pub(crate) struct AsHolder(pub(crate) Key);

/// May look at an audit log: an operator at the host's, a tenant's admin at the tenant's (those of a key that is bound
/// to an environment: at what concerns that).
pub(crate) struct AsAuditor(pub(crate) Key);

/// May do what role `R` may, in this tenant.
pub(crate) struct OfTenant<R> {
    pub(crate) tenant: TenantId,
    /// The only environment that the key opens, if it is bound to one.
    pub(crate) environment: Option<Environment>,
    role: PhantomData<R>,
}

/// May do what role `R` may, in this tenant and environment.
pub(crate) struct InScope<R> {
    pub(crate) scope: Scope,
    /// Who, for decisions.
    pub(crate) key: KeyId,
    role: PhantomData<R>,
}

/// The least role that a handler asks for.
pub(crate) trait AtLeast: Send + Sync {
    const ROLE: Role;
}

/// Looking.
pub(crate) struct Viewer;
/// Modules, mappings, lookup tables.
pub(crate) struct Developer;
/// Everything of a tenant.
pub(crate) struct Admin;

impl AtLeast for Viewer {
    const ROLE: Role = Role::TenantViewer;
}
impl AtLeast for Developer {
    const ROLE: Role = Role::TenantDeveloper;
}
impl AtLeast for Admin {
    const ROLE: Role = Role::TenantAdmin;
}

/// Roles in a tenant from least to most; an operator has none of them.
const fn rank(role: Role) -> Option<u8> {
    match role {
        Role::TenantViewer => Some(0),
        Role::TenantDeveloper => Some(1),
        Role::TenantAdmin => Some(2),
        Role::Operator => None,
    }
}

/// The key that asks.
pub(crate) async fn key(parts: &Parts, api: &Api) -> Result<Key, Problem> {
    let refuse = || {
        let text = "Send a valid key as `Authorization: Bearer ptk_…`.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
    };
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).ok_or_else(refuse)?;
    if !secret.starts_with(PREFIX) {
        return Err(refuse());
    }
    // The secret has 256 random bits: finding it by its hash tells nothing through time.
    let key = api.shared.store.key_find(Sha256::digest(secret).into()).await?.ok_or_else(refuse)?;
    let now = api.shared.clock.now();
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(refuse());
    }
    api.rates.take(&key.id, api.shared.clock.monotonic())?;
    let used = key.last_used_at.is_none_or(|last| now.since(last) >= USED_EVERY);
    if used && let Err(error) = api.shared.store.key_used(&key.id, now).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "that a key was used cannot be stored");
    }
    portolan_store::audit::acts(Actor { by: key.id.to_string(), role: key.role.as_str().to_owned() });
    Ok(key)
}

/// The tenant that an operator's key acts for, if it says so: from then on it is a key of that tenant's admin. Of any
/// other key the header says nothing: its tenant is its own.
async fn acting(key: Key, parts: &Parts, api: &Api) -> Result<Key, Problem> {
    let Some(named) = parts.headers.get(TENANT_HEADER).filter(|_| key.role == Role::Operator) else {
        return Ok(key);
    };
    let tenant = named.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)?;
    let tenant = api.shared.store.tenant_get(&tenant).await?;
    Ok(Key { role: Role::TenantAdmin, tenant: Some(tenant.id), ..key })
}

fn tenant_with_role<R: AtLeast>(key: &Key) -> Result<TenantId, Problem> {
    let tenant = key.tenant.clone().filter(|_| rank(key.role) >= rank(R::ROLE));
    tenant.ok_or_else(|| {
        let text = "This key's role does not allow that; use one with a higher role in the tenant.";
        Problem::new(StatusCode::FORBIDDEN, "forbidden", text)
    })
}

impl FromRequestParts<Api> for AsOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = key(parts, api).await?;
        if key.role == Role::Operator {
            return Ok(Self { key: key.id });
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Only an operator's key allows that."))
    }
}

impl FromRequestParts<Api> for AsHolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self(key(parts, api).await?))
    }
}

impl FromRequestParts<Api> for AsAuditor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = acting(key(parts, api).await?, parts, api).await?;
        if key.role != Role::Operator {
            tenant_with_role::<Admin>(&key)?;
        }
        Ok(Self(key))
    }
}

impl FromRequestParts<Api> for AsReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self(acting(key(parts, api).await?, parts, api).await?))
    }
}

impl FromRequestParts<Api> for OfWholeTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = acting(key(parts, api).await?, parts, api).await?;
        if key.environment.is_some() {
            let text = "This concerns the whole tenant; use a key that is not bound to an environment.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", text));
        }
        Ok(Self { tenant: tenant_with_role::<Admin>(&key)? })
    }
}

impl<R: AtLeast> FromRequestParts<Api> for OfTenant<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = acting(key(parts, api).await?, parts, api).await?;
        let tenant = tenant_with_role::<R>(&key)?;
        Ok(Self { tenant, environment: key.environment, role: PhantomData })
    }
}

impl<R: AtLeast> FromRequestParts<Api> for InScope<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let key = acting(key(parts, api).await?, parts, api).await?;
        let tenant = tenant_with_role::<R>(&key)?;
        let params = RawPathParams::from_request_parts(parts, api).await.map_err(|_| Problem::not_found())?;
        let named = params.iter().find(|(name, _)| *name == "environment").map(|(_, value)| value);
        let environment: Environment =
            named.and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)?;
        if key.environment.is_some_and(|only| only != environment) {
            return Err(Problem::not_found());
        }
        Ok(Self { scope: Scope { tenant, environment }, key: key.id, role: PhantomData })
    }
}

/// Tells who may: with which key, and which role it must have.
fn document(ctx: &mut GenContext, operation: &mut Operation, role: &str) {
    operation.security = vec![[(SCHEME.to_owned(), Vec::new())].into_iter().collect()];
    operation.extensions.insert("x-portolan-role".to_owned(), role.into());
    if role != Role::Operator.as_str() {
        let text = "With an operator's key: the tenant for whom it acts, as an admin of that tenant.";
        params::header(ctx, operation, TENANT_HEADER, text);
    }
}

fn refusals(ctx: &mut GenContext) -> Vec<(Option<u16>, Response)> {
    vec![
        (Some(401), problem::response(ctx, "Send a valid key as `Authorization: Bearer ptk_…`.")),
        (Some(403), problem::response(ctx, "The key's role does not allow that.")),
        (
            Some(429),
            problem::response(ctx, "The key makes more requests a second than it may: see `Retry-After`."),
        ),
    ]
}

macro_rules! documented {
    ($(($($generic:ident)?) $name:ty = $role:expr;)*) => {$(
        impl$(<$generic: AtLeast>)? OperationInput for $name {
            fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
                document(ctx, operation, $role);
            }

            fn inferred_early_responses(
                ctx: &mut GenContext,
                _: &mut Operation,
            ) -> Vec<(Option<u16>, Response)> {
                refusals(ctx)
            }
        }
    )*};
}

documented! {
    () AsOperator = Role::Operator.as_str();
    () AsHolder = "any";
    () AsAuditor = "operator or tenant-admin";
    () AsReader = "any";
    () OfWholeTenant = Role::TenantAdmin.as_str();
    (R) OfTenant<R> = R::ROLE.as_str();
}

impl<R: AtLeast> OperationInput for InScope<R> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        document(ctx, operation, R::ROLE.as_str());
        params::path::<Environment>(ctx, operation, "environment", "Which of the tenant's environments.");
    }

    fn inferred_early_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        refusals(ctx)
    }
}
