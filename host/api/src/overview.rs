//! Where something is to be done: an operator's first look at all tenants, and a tenant's at its own environments.

use std::collections::{BTreeMap, HashMap};

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use portolan_domain::{
    Environment, EventId, Scope, TenantId,
    contract::Severity,
    state::{DeliveryState, RunState, TenantState},
};
use portolan_store::{
    Page,
    backlog::{Backlog, Oldest, Whose},
    tenant::Tenant,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Api,
    answer::{List, Time},
    auth::AsReader,
    openapi::op,
    page::{self, Paged},
    problem::Problem,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/overview",
            get_with(list_overview, op("list_overview", "Where something is to be done, tenant by tenant")),
        )
        .with_path_items(|path| path.tag("overview"))
}

/// A tenant, and what is not finished in its environments.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantOverview")]
pub(crate) struct Answer {
    id: TenantId,
    name: String,
    state: TenantState,
    /// Whether its work is paused.
    paused: bool,
    /// Those in which something is not finished, or an alert is not resolved.
    environments: Vec<InEnvironment>,
}

/// What is not finished in an environment. A state without any is not named.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EnvironmentOverview")]
struct InEnvironment {
    environment: Environment,
    /// Runs by state; those that are `held` or `dead` wait for a person.
    runs: BTreeMap<RunState, u64>,
    /// Deliveries by state; those that are `held`, `in-doubt` or `dead` wait for a person.
    deliveries: BTreeMap<DeliveryState, u64>,
    /// Alerts that are not resolved, by severity.
    alerts: BTreeMap<Severity, u64>,
    /// What has been waiting longest, for no person; null when nothing does.
    oldest: Option<Eldest>,
}

/// The run or delivery that has been waiting longest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OldestWork")]
struct Eldest {
    /// The run's or delivery's id.
    id: String,
    event: EventId,
    since: Time,
}

/// With an operator's key: of all tenants, newest first. With a tenant's: of that one; a key that is bound to an
/// environment sees that alone.
pub(crate) async fn list_overview(
    State(api): State<Api>,
    AsReader(key): AsReader,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let store = &api.shared.store;
    let (tenants, page) = match &key.tenant {
        Some(own) => (vec![store.tenant_get(own).await?], Page::default()),
        None => (store.tenant_list(page.clone()).await?, page),
    };
    let whose = Whose::These(tenants.iter().map(|tenant| tenant.id.clone()).collect());
    let mut backlog = store.backlog(whose.clone()).await?;
    let mut oldest: HashMap<Scope, Oldest> = HashMap::new();
    for one in store.oldest_work(whose).await? {
        let is_older = oldest.get(&one.scope).is_none_or(|known| one.since < known.since);
        if is_older {
            oldest.insert(one.scope.clone(), one);
        }
    }
    backlog.retain(|scope, _| key.environment.is_none_or(|only| only == scope.environment));
    Ok(page::answer(
        &page,
        &tenants,
        |tenant| tenant.id.to_string(),
        |tenant| answer(tenant, &backlog, &oldest),
    ))
}

fn answer(tenant: &Tenant, backlog: &BTreeMap<Scope, Backlog>, oldest: &HashMap<Scope, Oldest>) -> Answer {
    let own = backlog.iter().filter(|(scope, _)| scope.tenant == tenant.id);
    let environments = own.map(|(scope, backlog)| InEnvironment {
        environment: scope.environment,
        runs: backlog.runs.clone(),
        deliveries: backlog.deliveries.clone(),
        alerts: backlog.alerts.clone(),
        oldest: oldest.get(scope).map(|one| Eldest {
            id: one.subject.clone(),
            event: one.event.clone(),
            since: one.since.into(),
        }),
    });
    Answer {
        id: tenant.id.clone(),
        name: tenant.name.clone(),
        state: tenant.state,
        paused: tenant.paused,
        environments: environments.collect(),
    }
}
