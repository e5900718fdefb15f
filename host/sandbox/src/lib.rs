//! portolan-sandbox
