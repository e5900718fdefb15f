//! The host's own secrets at its start: master keys, and the key of the audit log, which is kept in the database,
//! sealed under the master key.

use anyhow::{Context, bail};
use portolan_domain::Secret;
use portolan_pipeline::{
    rotation::MasterKeys,
    vault::{MasterKey, Secrets, Vault},
};
use portolan_store::{
    Store,
    audit::{AuditKey, KEY_NAME},
    sealed::owner_of_host_key,
};

use crate::settings::{self, Settings};

/// What a sealed key of the host is called within its record.
const FIELD: &str = "key";

/// The master keys that the settings name; made at the very first start.
pub(crate) fn master_keys(settings: &Settings) -> anyhow::Result<MasterKeys> {
    if let Some(text) = settings::master_key_text() {
        return Ok(MasterKeys::from_text(&text)?);
    }
    let own = settings.data_dir.join("master.key");
    let named = &settings.vault.master_key_file;
    let file = if named.as_os_str().is_empty() { &own } else { named };
    // A new key would open nothing of it, and stand where the right one belongs.
    if settings.data_dir.join("portolan.db").exists() && !file.exists() {
        bail!(
            "{} is missing, and what the database holds is sealed under it: put the copy in its place that you keep of it",
            file.display()
        );
    }
    Ok(MasterKeys::from_file(file)?)
}

/// Opens the key of the audit log.
pub(crate) fn open_audit_key(vault: &Vault, sealed: &[u8]) -> anyhow::Result<AuditKey> {
    let secrets = vault.open(&owner_of_host_key(KEY_NAME), sealed)?;
    let mut bytes = [0; 32];
    let text = secrets.get(FIELD).context("its record has no key")?;
    hex::decode_to_slice(text.expose(), &mut bytes).context("its record holds no key")?;
    Ok(AuditKey::new(bytes))
}

/// Has the store make audit entries under its key, which is made at the very first start.
pub(crate) async fn unlock_audit(store: &dyn Store, vault: &Vault) -> anyhow::Result<()> {
    let sealed = match store.host_key(KEY_NAME).await? {
        Some(sealed) => sealed,
        None => {
            let key = Secret::new(MasterKey::generate()?.expose().as_str());
            let sealed =
                vault.seal(&owner_of_host_key(KEY_NAME), &Secrets::from([(FIELD.to_owned(), key)]))?;
            store.host_key_put(KEY_NAME, sealed.clone()).await?;
            sealed
        }
    };
    let key = open_audit_key(vault, &sealed);
    store.audit_unlock(
        key.context("the database was made under another master key: put that one in its place")?,
    );
    Ok(())
}
