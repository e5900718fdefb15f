//! What one run came to. A trap, an overrun or nonsense of a guest is a value with a name here, never an
//! error of the host.

use portolan_domain::contract::{LogLine, Outcome};
use serde::Serialize;

/// Everything about one call of `transform`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// What the module decided, or how it failed.
    pub verdict: Result<Outcome, GuestFailure>,
    /// What it logged, also when it failed. Text without control characters.
    pub log: Vec<LogLine>,
    /// Lines that were over the limits.
    pub log_dropped: u32,
    /// What it cost.
    pub cost: Cost,
    /// Where it was when it failed, innermost first: at most 20 functions. Empty when it did not.
    pub stack: Vec<Frame>,
}

/// A function on the stack of a guest that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Frame {
    /// Its name, when the module carries names; as its toolchain wrote it, without control characters.
    pub name: Option<String>,
    /// Its number in its core module.
    pub index: u32,
    /// Where in the bytes of its core module it was: what debug information is asked by.
    pub offset: Option<u64>,
}

impl Frame {
    /// Whether somebody who looks for a mistake would look here: it has a name, and is neither the language's way to
    /// fail nor the way from the host to the mapping.
    #[must_use]
    pub fn is_of_interest(&self) -> bool {
        self.name.is_some() && {
            let function = self.function();
            !PLUMBING.iter().any(|name| function.starts_with(name))
        }
    }

    /// Its name as people write it; without one, its number.
    #[must_use]
    pub fn function(&self) -> String {
        match &self.name {
            // The number at the end tells two compilations of one function apart: nothing for people.
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", self.index),
        }
    }
}

/// What a run cost. `fuel`, the bytes and the verdict are the same on every machine; the times are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    /// Fuel consumed, instantiation included. 0 when fuel is not metered.
    pub fuel: u64,
    /// From the first preparation to the last clean-up, waiting for a thread not included.
    pub wall_us: u64,
    /// Processor time of the same span.
    pub cpu_us: u64,
    /// The most that all linear memories together had.
    pub memory_bytes_max: u64,
    /// Bytes handed over: payload, settings, facts.
    pub input_bytes: u64,
    /// Bytes of text in the outcome.
    pub output_bytes: u64,
    /// Time waited for a guest thread.
    pub queued_us: u64,
    /// Making the sandbox: store, instance, memory image.
    pub instantiate_ns: u64,
    /// The call itself, arguments and result included.
    pub call_ns: u64,
    /// Reading the outcome into the host's types.
    pub convert_ns: u64,
    /// Taking the sandbox down.
    pub drop_ns: u64,
}

/// How a run failed. None of these is an error of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFailure {
    /// The module ended itself: a panic, a division by zero, an access outside of its memory, a call of `exit`.
    #[error("the module trapped: {message}")]
    Trapped {
        /// The kind of trap. What the module's panic hook said is in the log.
        message: String,
    },
    /// It executed more instructions than its limit allows.
    #[error("the module used up its fuel of {limit} instructions")]
    OutOfFuel {
        /// The limit for this input.
        limit: u64,
    },
    /// It ran longer than its limit allows, without using up its fuel.
    #[error(
        "the module ran for {cpu_us} µs of processor time and {wall_us} µs of wall-clock time, which is over its limit"
    )]
    Overtime {
        /// Processor time when it was stopped.
        cpu_us: u64,
        /// Wall-clock time when it was stopped.
        wall_us: u64,
    },
    /// It trapped after it had been refused more memory.
    #[error("the module wanted more than {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// The limit for all its memories together.
        limit_bytes: u64,
    },
    /// It called the host more often than its limit allows.
    #[error("the module called the host more than {limit} times")]
    TooManyHostCalls {
        /// The limit.
        limit: u32,
    },
    /// Payload, settings and facts together are larger than the limit; the module was not called.
    #[error("the input has {bytes} bytes, at most {max} are handed to a module")]
    InputTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The outcome is larger than the limit; it was not read.
    #[error("the outcome is larger than {max} bytes")]
    OutputTooLarge {
        /// The limit.
        max: u64,
    },
    /// The outcome is not one: invalid JSON, an amount that is no decimal, text that is not UTF-8.
    #[error("the outcome is not valid at {at}: {problem}")]
    Nonsense {
        /// Where: `deliver.deliveries[2].body`.
        at: String,
        /// What is wrong there.
        problem: String,
    },
    /// Too many calls of this tenant, or of all, are waiting. The module was not called.
    #[error("too many calls are waiting for a guest thread")]
    Busy,
    /// The host panicked in this run, and in no other: a defect of the host that the module reaches.
    #[error("the host panicked while it carried out this run")]
    HostPanic,
    /// The host could not carry out the run. The module may be to blame (a defect of the sandbox that it
    /// reaches), so a repeat must be counted.
    #[error("the host could not carry out the run: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

impl GuestFailure {
    /// Stable and machine-readable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Trapped { .. } => "trapped",
            Self::OutOfFuel { .. } => "out-of-fuel",
            Self::Overtime { .. } => "overtime",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::TooManyHostCalls { .. } => "too-many-host-calls",
            Self::InputTooLarge { .. } => "input-too-large",
            Self::OutputTooLarge { .. } => "output-too-large",
            Self::Nonsense { .. } => "nonsense",
            Self::Busy => "busy",
            Self::HostPanic => "host-panic",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether the same input may end otherwise next time. The other failures are functions of module and
    /// input: a repeat gives the same.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Overtime { .. } | Self::Busy | Self::Unavailable { .. } => true,
            Self::Trapped { .. }
            | Self::OutOfFuel { .. }
            | Self::OutOfMemory { .. }
            | Self::TooManyHostCalls { .. }
            | Self::InputTooLarge { .. }
            | Self::OutputTooLarge { .. }
            | Self::Nonsense { .. }
            | Self::HostPanic => false,
        }
    }
}

/// Functions named in the text of a failure.
const TOLD_MAX: usize = 4;

/// What stands between a panic and the function that panicked, and between the host and the mapping: nobody looks for a
/// mistake there.
const PLUMBING: [&str; 12] = [
    "core::panicking",
    "std::panicking",
    "std::sys",
    "core::result::unwrap_failed",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "rust_panic",
    "__rust",
    "abort",
    "alloc::alloc::handle_alloc_error",
    "portolan_sdk::bindings::exports",
    "portolan:mapping/mapper",
];

impl RunReport {
    /// A run that never began.
    pub(crate) fn not_run(failure: GuestFailure) -> Self {
        let (log, stack) = (Vec::new(), Vec::new());
        Self { verdict: Err(failure), log, log_dropped: 0, cost: Cost::default(), stack }
    }

    /// Why it failed, and in which functions, as far as their names are known: what a person wants to read first.
    #[must_use]
    pub fn failure_text(&self) -> Option<String> {
        let failure = self.verdict.as_ref().err()?;
        let named = self.stack.iter().filter(|frame| frame.is_of_interest());
        let named: Vec<String> = named.take(TOLD_MAX).map(Frame::function).collect();
        if named.is_empty() {
            return Some(failure.to_string());
        }
        Some(format!("{failure}, in {}", named.join(", called by ")))
    }
}
