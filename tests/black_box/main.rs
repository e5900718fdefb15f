//! The whole from the outside: processes, HTTP, signals. One file per kind of promise.

mod crashes;
mod faults;
mod hooks;
mod main_job;
mod modules;
mod tenants;
