//! portolan-pipeline
