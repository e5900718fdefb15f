//! portolan-simulators
