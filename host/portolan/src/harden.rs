//! Keeps what is in this process's memory in this process: secrets are open there while they are used.
//!
//! Three locks, because each has a way around it. No core file is written (`RLIMIT_CORE` 0). Should somebody with rights
//! write one all the same (`gcore` as root), it holds no memory of ours: `/proc/self/coredump_filter` is 0. And other
//! processes of the same user may not read or trace this one (`PR_SET_DUMPABLE` 0). Children inherit the first two;
//! the compile worker has its own limits besides, an empty environment, and no secrets.

use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Locks this process; to be called before any secret is read.
///
/// # Errors
/// When the system refuses. A host that was told to keep its secrets does not start without.
pub(crate) fn keep_memory_private() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("forbidding core files")?;
    // Before the last lock, which makes this file root's.
    std::fs::write("/proc/self/coredump_filter", "0").context("emptying core dumps")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("forbidding core dumps")?;
    Ok(())
}
