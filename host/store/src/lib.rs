//! portolan-store
