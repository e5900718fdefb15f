//! `portolan module check`: what an upload would be told, and what the module says about itself.

use std::{fmt::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use portolan_connectors::{Effect, Registry};
use portolan_domain::contract::RequiredConnection;
use portolan_sandbox::Refusal;
use serde_json::{Value, json};

use super::{
    Output, grouped,
    local::{Judged, Local, Sheet},
    project, say,
};
use crate::access::wait_for;

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The component. Default: that of the project in this folder.
    file: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, env = "PORTOLAN_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(crate) fn main(args: &CheckArgs) -> anyhow::Result<()> {
    let file = project::component(args.file.as_deref())?;
    let upload = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let local = Local::open()?;
    let judged = wait_for(local.judge(upload))?;
    match judged {
        Judged::Admitted(ready) => match refused_later(&ready.sheet) {
            Some(refusal) => refuse(&refusal, args.output),
            None => {
                print(&ready.sheet, args.output);
                Ok(())
            }
        },
        Judged::Refused(refusal) => refuse(&refusal, args.output),
    }
}

/// What the upload refuses that the sandbox does not see: it knows no JSON Schema.
fn refused_later(sheet: &Sheet) -> Option<Refusal> {
    let error = portolan_api::schema::validator(&sheet.description.settings_schema).err()?;
    Some(Refusal {
        code: "module-description-invalid",
        message: format!("the module's settings schema is no JSON Schema: {error}"),
        remedy: "put it right in `describe`; an empty object allows anything".to_owned(),
    })
}

fn refuse(refusal: &Refusal, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        println!("{:#}", json!({ "admitted": false, "refusal": refusal }));
    }
    bail!("refused ({}): {}\nremedy: {}", refusal.code, refusal.message, refusal.remedy)
}

/// Prints an admitted module.
pub(super) fn print(sheet: &Sheet, output: Output) {
    let warnings = warnings(sheet);
    match output {
        Output::Json => {
            let mut json = json!(sheet);
            if let Some(object) = json.as_object_mut() {
                object.insert("admitted".to_owned(), true.into());
                object.insert("warnings".to_owned(), json!(warnings));
            }
            println!("{json:#}");
        }
        Output::Text => {
            print!("{}", text(sheet));
            for warning in warnings {
                say(format!("warning: {warning}"));
            }
        }
    }
}

/// What its author should know: what the sandbox warns of, and what no mapping could bind.
fn warnings(sheet: &Sheet) -> Vec<String> {
    let registry = Registry::standard();
    let mut warnings = sheet.warnings.clone();
    for wanted in &sheet.description.connections {
        warnings.extend(unbindable(&registry, wanted));
    }
    warnings
}

fn unbindable(registry: &Registry, wanted: &RequiredConnection) -> Vec<String> {
    let RequiredConnection { name, connector, operations, .. } = wanted;
    let Some(known) = registry.get(connector) else {
        let names: Vec<&str> = registry.names().collect();
        return vec![format!(
            "no mapping can bind the connection {name}: there is no connector {connector:?}, only {}",
            names.join(", ")
        )];
    };
    let has = |wanted: &&String| {
        known
            .operations()
            .iter()
            .any(|operation| operation.name == **wanted && operation.effect != Effect::Setup)
    };
    let missing = operations.iter().filter(|operation| !has(operation));
    missing
        .map(|operation| {
            format!("no mapping can bind the connection {name}: {connector} has no operation {operation:?} for modules")
        })
        .collect()
}

fn text(sheet: &Sheet) -> String {
    let description = &sheet.description;
    let mut lines = format!(
        "{} {}: would be admitted\n  {}\n",
        description.name, description.version, description.summary
    );
    let mut line = |name: &str, value: &str| {
        // Writing to a text does not fail.
        writeln!(lines, "  {name:<12} {value}").unwrap_or_default();
    };
    line("digest", &sheet.digest.to_string());
    let size = format!(
        "{} bytes; {} functions, {} core instances; {} bytes of machine code",
        grouped(sheet.component_bytes),
        grouped(u64::from(sheet.functions)),
        sheet.core_instances,
        grouped(sheet.artifact_bytes)
    );
    line("size", &size);
    for (place, served) in description.serves.iter().enumerate() {
        line(if place == 0 { "serves" } else { "" }, &format!("{} {}", served.system, served.kind));
    }
    for (place, needed) in description.connections.iter().enumerate() {
        let optional = if needed.optional { ", optional" } else { "" };
        let text =
            format!("{} ({}{optional}): {}", needed.name, needed.connector, needed.operations.join(", "));
        line(if place == 0 { "connections" } else { "" }, &text);
    }
    for (place, table) in description.tables.iter().enumerate() {
        line(if place == 0 { "tables" } else { "" }, &format!("{}: {}", table.name, table.summary));
    }
    for (place, setting) in settings(&description.settings_schema).iter().enumerate() {
        line(if place == 0 { "settings" } else { "" }, setting);
    }
    line("imports", &sheet.imports.join(", "));
    let cost = format!(
        "{} fuel, {} bytes of memory",
        grouped(sheet.describe_fuel),
        grouped(sheet.describe_memory_bytes)
    );
    line("describe", &cost);
    lines
}

/// The settings by name, as their schema lists them.
fn settings(schema: &Value) -> Vec<String> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let describe = |(name, property): (&String, &Value)| {
        let kind = property.get("type").map_or_else(String::new, |kind| {
            format!(" ({}", kind.as_str().map_or_else(|| kind.to_string(), str::to_owned))
        });
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let kind = if kind.is_empty() { String::new() } else { format!("{kind}{must})") };
        let about = property.get("description").and_then(Value::as_str);
        format!("{name}{kind}{}", about.map(|about| format!(": {about}")).unwrap_or_default())
    };
    properties.into_iter().flatten().map(describe).collect()
}
