//! The whole from the outside: processes, HTTP, signals. One file per kind of promise.

mod crashes;
mod demo;
mod faults;
mod hooks;

mod modules;
mod tenants;
