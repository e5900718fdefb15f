//! The log is stored, too: card numbers are masked in it, whoever wrote them there. And it hurts nobody: a line that cannot
//! be written, because the log's disk is full or its reader is gone, is counted and dropped. The formatter would tell
//! stderr of the failure, which is the log, and panic, in whatever it was that had something to say.

use std::io::{self, Write};

use portolan_domain::card::{Form, mask_bytes};

/// A writer of whole lines, with their card numbers masked.
#[derive(Debug)]
pub(crate) struct Masked<W>(pub(crate) W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = match mask_bytes(line, Form::Text) {
            Some((masked, _)) => self.0.write_all(&masked),
            None => self.0.write_all(line),
        };
        if written.is_err() {
            metrics::counter!("portolan_log_lines_lost_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As stderr is on a full disk.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_nobodys_failure() {
        assert_eq!(Masked(Full).write(b"a line\n").unwrap(), 7);
    }

    #[test]
    fn a_line_of_the_log_holds_no_card_number() {
        let mut log = Masked(Vec::new());
        writeln!(log, "run.reason={{\"message\":\"card 4242 4242 4242 4242\"}} tenant.id=ten_1").unwrap();
        assert_eq!(log.0, b"run.reason={\"message\":\"card 424242******4242\"} tenant.id=ten_1\n");
    }
}
