//! The demo: the whole way on one machine, with nothing prepared. A host and four stand-ins are started as
//! processes of their own, three tenants are set up through the public API, and more than 30 signed webhooks
//! go in. What comes out is read from the API and judged by the stand-ins' own ledgers.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]

mod judge;
mod keeper;
mod month;
mod play;
mod print;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};
use keeper::Keeper;
use portolan::stage::{Client, Host, StandIn, System, Tenant, TenantSetup};
use portolan_simulators::story::demo_catalogue;

use crate::print::Output;

/// `portolan demo`
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The folder with the compiled mappings (`stripe-to-epicor.wasm` …). `cargo xtask demo` makes and names it.
    #[arg(long, value_name = "DIR")]
    components: PathBuf,
    /// End when the last event has reached its end: status 0 only if every one reached the right end. Without
    /// this the demo stays up to be looked at.
    #[arg(long)]
    exit: bool,
    /// How to print what happened.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Where host and stand-ins keep their data and logs. Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The host's address. Default: a free port on loopback.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Another seed: other charges of the same kind.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// What is played.
    #[arg(long, value_enum, default_value_t = Story::Charges)]
    story: Story,
    /// About how many charges a month has, for each ERP.
    #[arg(long, default_value_t = 300)]
    charges: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// Thirty-nine charges, event by event.
    Charges,
    /// A month of business: charges, fees, refunds, disputes, subscriptions, payouts; then the books are compared.
    Month,
}

/// Everyone on stage; the host itself is with its [`Keeper`].
pub(crate) struct Cast {
    pub(crate) operator: Client,
    pub(crate) host: Keeper,
    pub(crate) stripe: StandIn,
    pub(crate) sap: StandIn,
    pub(crate) epicor: StandIn,
    pub(crate) sage: StandIn,
}

pub(crate) fn main(args: DemoArgs) -> ExitCode {
    let played = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(demo(args)));
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            crate::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: DemoArgs) -> anyhow::Result<bool> {
    let kept = match &args.data {
        Some(folder) => folder.clone(),
        None => tempfile::Builder::new().prefix("portolan-demo-").tempdir()?.keep(),
    };
    std::fs::create_dir_all(&kept)?;
    if args.story == Story::Month {
        let good = month::month(&args, &kept).await?;
        if args.data.is_none() {
            std::fs::remove_dir_all(&kept)?;
        }
        return Ok(good);
    }
    print::progress("Starting a host and stand-ins for Stripe, SAP ECC, Epicor and Sage Pro …");
    let cast = start(&args, &kept).await?;
    print::progress("Setting up three tenants through the API: connections, tables, modules, mappings …");
    let tenants = set_up(&cast, &args.components).await?;
    let mut printer = print::Printer::new(args.output);
    let ends = play::play(&cast, &tenants, args.seed, &mut printer).await?;
    let findings = judge::judge(&cast, &ends).await?;
    printer.close(&cast, &tenants, &ends, &findings)?;
    let good = findings.is_empty();
    if !args.exit {
        print::invitation(&cast, &tenants, &kept);
        tokio::signal::ctrl_c().await?;
    }
    cast.host.give_back().await?.end().await.context("ending the host")?;
    if args.data.is_none() {
        std::fs::remove_dir_all(&kept)?;
    }
    Ok(good)
}

/// Makes the tenants, and gives Stripe's stand-in the products and customers that they share.
async fn set_up(cast: &Cast, components: &std::path::Path) -> anyhow::Result<Vec<Tenant>> {
    cast.stripe.seed(&demo_catalogue()).await?;
    let mut tenants = Vec::new();
    for erp in [&cast.sap, &cast.epicor, &cast.sage] {
        let setup = TenantSetup::standard(erp, &cast.stripe, components)?;
        let made = Tenant::set_up(&cast.operator, &setup).await;
        tenants.push(made.with_context(|| format!("setting up the tenant {}", setup.name))?);
    }
    Ok(tenants)
}

async fn start(args: &DemoArgs, folder: &std::path::Path) -> anyhow::Result<Cast> {
    let program = std::env::current_exe()?;
    let stand_in = |system| StandIn::start(&program, folder, system, None);
    let host = Host::start(&program, &folder.join("host"), &args.listen, &[]).await?;
    Ok(Cast {
        operator: host.operator.clone(),
        host: Keeper::keep(host),
        stripe: stand_in(System::Stripe).await?,
        sap: stand_in(System::SapEcc).await?,
        epicor: stand_in(System::Epicor).await?,
        sage: stand_in(System::SagePro).await?,
    })
}
