//! What the binary shares with the black-box tests: the [`stage`], on which host, stand-ins and tenants are
//! set up as separate processes and through the public API only.

pub mod stage;
