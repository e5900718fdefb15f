use crate::process::Ended;
use crate::repository::Repository;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Arguments {}
#[derive(clap::Args)]
pub(crate) struct BenchArguments {}
pub(crate) fn run(_: &Repository, _: &Arguments) -> Result<Ended> {
    Ok(Ended { success: true })
}
pub(crate) fn bench(_: &Repository, _: &BenchArguments) -> Result<Ended> {
    Ok(Ended { success: true })
}
