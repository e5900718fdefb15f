//! The words of Portolan as types: what an event, a run, a plan and a delivery are, which states they
//! pass through, how money is written and when a failed attempt is made again.
//!
//! Everything here is pure: no socket, no file, no database, no ambient clock. The other crates do the
//! work; this one says what is right. It must not know any of them.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | the typed ids (`evt_…`, `run_…`) |
//! | [`time`] | [`Timestamp`] and the [`Clock`] that everything takes as an argument |
//! | [`tenant`] | [`Scope`]: which tenant, in which environment |
//! | [`card`] | card numbers: found and masked before anything is stored |
//! | [`contract`] | the contract with modules (`wit/mapping.wit`) as plain Rust types |
//! | [`diff`] | what differs between two JSON documents, place by place |
//! | [`replay`] | what a run came to before and after: fields, money, cost |
//! | [`grant`] | what a mapping allows its module |
//! | [`guard`] | what no plan may send without approval |
//! | [`plan`] | what must hold before a plan is stored |
//! | [`mod@pointer`] | JSON Pointers: reading, and copying values from responses into bodies |
//! | [`money`] | exact decimals, ledger balance |
//! | [`notification`] | which alerts and successes are told to whom |
//! | [`state`] | the state machines of runs and deliveries |
//! | [`verdict`] | how an attempt ended, and whom it concerns |
//! | [`class`] | write operations by what may be done when an outcome is unknown |
//! | [`quota`] | what one tenant may use of a host |
//! | [`retention`] | how long what is finished is kept |
//! | [`usage`] | what a tenant used |
//! | [`retry`] | exponential back-off with full jitter |
//! | [`secret`] | values that never print |

pub mod card;
pub mod class;
pub mod contract;
pub mod diff;
pub mod grant;
pub mod guard;
pub mod id;
pub mod money;
pub mod notification;
pub mod plan;
pub mod pointer;
pub mod quota;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod secret;
pub mod state;
pub mod tenant;
pub mod time;
pub mod usage;
pub mod verdict;

pub use id::{
    AlertId, ConnectionId, DeliveryId, EventId, KeyId, MappingId, ModuleDigest, NoticeId, NotificationRuleId,
    ReplayId, RunId, SourceId, TenantId,
};
pub use secret::Secret;
pub use tenant::{Environment, Scope};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
