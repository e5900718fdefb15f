use crate::process::Ended;
use crate::repository::Repository;
use anyhow::Result;
pub(crate) fn run(_: &Repository) -> Result<Ended> {
    Ok(Ended { success: true })
}
