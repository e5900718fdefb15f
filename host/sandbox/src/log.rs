//! What a run keeps of what the module says. Text from a guest is hostile: it may be endless, or carry
//! control characters that would forge lines in somebody's terminal or log file.

use portolan_domain::contract::{LogLevel, LogLine};

use crate::limits::LogLimits;

/// The log of one run.
#[derive(Debug)]
pub(crate) struct LogBook {
    limits: LogLimits,
    lines: Vec<LogLine>,
    bytes: usize,
    dropped: u32,
    /// What standard output and standard error have begun and not ended.
    partial: [Vec<u8>; 2],
}

/// The two streams of the WASI stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out = 0,
    Error = 1,
}

impl Stream {
    const fn level(self) -> LogLevel {
        match self {
            Self::Out => LogLevel::Info,
            Self::Error => LogLevel::Warn,
        }
    }
}

impl LogBook {
    pub(crate) const fn new(limits: LogLimits) -> Self {
        Self { limits, lines: Vec::new(), bytes: 0, dropped: 0, partial: [Vec::new(), Vec::new()] }
    }

    /// Whether another line would be dropped, whatever it says. Asked before its text is even looked at.
    pub(crate) const fn is_full(&self) -> bool {
        self.lines.len() >= self.limits.lines_max || self.bytes >= self.limits.bytes_max
    }

    /// Counts a line that was not looked at.
    pub(crate) const fn drop_line(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Keeps a line, cut and escaped; or counts it, when the log is full.
    pub(crate) fn write(&mut self, level: LogLevel, text: &str) {
        let room = self.limits.bytes_max.saturating_sub(self.bytes).min(self.limits.line_bytes_max);
        if self.is_full() {
            self.drop_line();
            return;
        }
        let message = printable(text, room);
        self.bytes = self.bytes.saturating_add(message.len());
        self.lines.push(LogLine { level, message });
    }

    /// Takes bytes of a stream; whole lines become lines of the log.
    pub(crate) fn stream(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.is_full() {
                self.drop_line();
                continue;
            }
            let [out, error] = &mut self.partial;
            let partial = if stream == Stream::Out { out } else { error };
            let room = self.limits.line_bytes_max.saturating_add(1).saturating_sub(partial.len());
            partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.end_line(stream);
            }
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let [out, error] = &mut self.partial;
        let line = std::mem::take(if stream == Stream::Out { out } else { error });
        let text = String::from_utf8_lossy(&line);
        self.write(stream.level(), text.trim_end_matches(['\n', '\r']));
    }

    /// The kept lines and the number of dropped ones.
    pub(crate) fn finish(mut self) -> (Vec<LogLine>, u32) {
        for stream in [Stream::Out, Stream::Error] {
            let [out, error] = &self.partial;
            if !(if stream == Stream::Out { out } else { error }).is_empty() {
                self.end_line(stream);
            }
        }
        (self.lines, self.dropped)
    }
}

/// The mark at the end of a text that was cut.
const CUT: &str = "… (cut)";

/// At most about `bytes_max` bytes of a text, with everything that does not print, or that changes how its
/// neighbours print, written as an escape.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        if line.len() >= bytes_max {
            line.push_str(CUT);
            break;
        }
        if changes_display(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Control characters, and those that reorder or break lines (Unicode's bidirectional controls, line and
/// paragraph separators, the byte order mark).
fn changes_display(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(book: LogBook) -> Vec<String> {
        book.finish().0.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn text_that_would_forge_lines_is_escaped() {
        let mut book = LogBook::new(LogLimits::default());
        book.write(LogLevel::Info, "ok\r\n\u{1b}[31mred\0 \u{202e}reversed <b> é");
        assert_eq!(messages(book), [r"ok\r\n\u{1b}[31mred\u{0} \u{202e}reversed <b> é"]);
    }

    #[test]
    fn lines_over_the_limits_are_cut_or_counted() {
        let limits = LogLimits { lines_max: 3, line_bytes_max: 8, bytes_max: 1_000 };
        let mut book = LogBook::new(limits);
        for _ in 0..10 {
            book.write(LogLevel::Info, "0123456789");
        }
        let (lines, dropped) = book.finish();
        assert_eq!((lines.len(), dropped), (3, 7));
        assert_eq!(lines[0].message, "01234567… (cut)");
    }

    #[test]
    fn the_sum_of_all_lines_is_bounded_too() {
        let limits = LogLimits { lines_max: 1_000, line_bytes_max: 100, bytes_max: 250 };
        let mut book = LogBook::new(limits);
        for _ in 0..10 {
            book.write(LogLevel::Info, &"x".repeat(100));
        }
        let (lines, dropped) = book.finish();
        assert_eq!((lines.len(), dropped), (3, 7));
    }

    #[test]
    fn a_stream_becomes_lines_and_its_rest_is_not_lost() {
        let mut book = LogBook::new(LogLimits::default());
        book.stream(Stream::Out, b"one\ntw");
        book.stream(Stream::Error, b"oops");
        book.stream(Stream::Out, b"o\r\nthree");
        assert_eq!(messages(book), ["one", "two", "three", "oops"]);
    }

    #[test]
    fn an_endless_line_of_a_stream_is_not_kept_whole() {
        let mut book = LogBook::new(LogLimits::default());
        for _ in 0..1_000 {
            book.stream(Stream::Out, &[b'x'; 1_000]);
        }
        assert!(book.partial[0].len() <= 1_025);
        assert_eq!(messages(book).len(), 1);
    }
}
