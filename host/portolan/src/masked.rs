//! The log is stored, too: card numbers are masked in it, whoever wrote them there.

use std::io::{self, Write};

use portolan_domain::card::{Form, mask_bytes};

/// A writer of whole lines, with their card numbers masked.
#[derive(Debug)]
pub(crate) struct Masked<W>(pub(crate) W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match mask_bytes(line, Form::Text) {
            Some((masked, _)) => self.0.write_all(&masked)?,
            None => self.0.write_all(line)?,
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

    #[test]
    fn a_line_of_the_log_holds_no_card_number() {
        let mut log = Masked(Vec::new());
        writeln!(log, "run.reason={{\"message\":\"card 4242 4242 4242 4242\"}} tenant.id=ten_1").unwrap();
        assert_eq!(log.0, b"run.reason={\"message\":\"card 424242******4242\"} tenant.id=ten_1\n");
    }
}
