//! The module's log: one way, bounded by the host, kept with the run even when the module traps.
//!
//! ```
//! portolan_sdk::info!("{} lines from the checkout session", 3);
//! ```

pub use crate::bindings::portolan::mapping::log::Level;

/// Writes one line. Native builds keep it for the test harness.
pub fn write(level: Level, text: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::portolan::mapping::log::write(level, text);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::keep_line(level, text);
}

/// Logs for the module's author: `debug!("{x}")`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Debug, &format!($($text)*)) };
}

/// Logs what is worth keeping.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Info, &format!($($text)*)) };
}

/// Logs what is odd, but handled.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Warn, &format!($($text)*)) };
}

/// Logs what is wrong.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Error, &format!($($text)*)) };
}
