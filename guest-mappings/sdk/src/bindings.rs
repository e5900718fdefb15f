//! What wit-bindgen makes of `wit/mapping.wit`: the contract's types, the log import and the macro that
//! exports a mapping. The SDK's own modules put the words of a mapping author around them.

#![allow(missing_docs, unsafe_code, reason = "generated; the WIT file documents every item")]
#![allow(clippy::all, clippy::restriction, clippy::pedantic, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "mapping",
    pub_export_macro: true,
    default_bindings_module: "portolan_sdk::bindings",
    additional_derives: [PartialEq, Eq],
});
