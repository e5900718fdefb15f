//! Everything of a tenant as one file.

use std::{sync::Arc, time::Duration};

use aide::{
    OperationOutput,
    axum::{ApiRouter, routing::get_with},
    generate::GenContext,
    openapi::{Operation, Response as Documented},
};
use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use portolan_domain::TenantId;

use crate::{
    Api, answer,
    auth::{AsOperator, OfWholeTenant},
    backups::copied,
    openapi::op,
    params::Tenant,
    problem::Problem,
};

/// Lines of JSON.
const MEDIA_TYPE: &str = "application/x-ndjson";

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/tenants/{tenant}/export",
            get_with(
                export_tenant,
                op("export_tenant", "Everything of a tenant but secrets, as lines of JSON"),
            ),
        )
        .api_route(
            "/export",
            get_with(export_own, op("export_own_tenant", "Everything of the key's own tenant but secrets")),
        )
        .with_path_items(|path| path.tag("tenants"))
}

/// An export, while it is sent.
pub(crate) struct ExportFile(Response);

impl IntoResponse for ExportFile {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for ExportFile {
    type Inner = Self;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let text = "The lines; `x-portolan-sha256` is their digest. The first says what it is, the last how many rows of \
                    each table there are.";
        vec![(Some(200), answer::bytes(text, MEDIA_TYPE))]
    }
}

/// One state of the database. The digest confirms a removal.
pub(crate) async fn export_tenant(
    State(api): State<Api>,
    _: AsOperator,
    Tenant(tenant): Tenant<TenantId>,
) -> Result<ExportFile, Problem> {
    export(&api, &tenant).await
}

/// One state of the database.
pub(crate) async fn export_own(State(api): State<Api>, caller: OfWholeTenant) -> Result<ExportFile, Problem> {
    export(&api, &caller.tenant).await
}

async fn export(api: &Api, tenant: &TenantId) -> Result<ExportFile, Problem> {
    let now = api.shared.clock.now();
    let (export, body) = copied(api, (tenant.as_str(), Duration::ZERO), |path, wanted| {
        let (store, tenant) = (Arc::clone(&api.shared.store), tenant.clone());
        async move { store.export_write(&tenant, &path, now, wanted).await }
    })
    .await?;
    let mut response = body(export.bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(export.bytes));
    if let Ok(value) = HeaderValue::from_str(&hex::encode(export.sha256)) {
        headers.insert("x-portolan-sha256", value);
    }
    Ok(ExportFile(response))
}
