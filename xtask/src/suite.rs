use crate::process::Ended;
use crate::repository::Repository;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_: &Repository, _: &Arguments) -> Result<Ended> {
    Ok(Ended { success: true })
}
