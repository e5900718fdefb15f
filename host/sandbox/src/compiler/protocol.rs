//! What the host and its compile worker say to each other: an order on the worker's standard input, an answer on
//! its standard output. Lengths come first, so that neither reads more than it expects.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::{limits::ModuleLimits, refusal::Refusal, settings::Metering};

/// Bytes of an order's header.
const ORDER_BYTES_MAX: u32 = 8 << 10;

/// What is to be compiled, and how. Followed by the upload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The engine that will load the artifact.
    pub(crate) engine_id: String,
    pub(crate) metering: Metering,
    pub(crate) limits: ModuleLimits,
    pub(crate) memory_bytes_max: u64,
    pub(crate) cpu_seconds_max: u64,
    pub(crate) nice: i32,
}

impl Order {
    /// The header: its length, the length of the upload, the order.
    pub(crate) fn write(&self, upload_bytes: usize) -> io::Result<Vec<u8>> {
        let order = serde_json::to_vec(self)?;
        let length = u32::try_from(order.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend((upload_bytes as u64).to_le_bytes());
        bytes.extend(order);
        Ok(bytes)
    }

    /// Reads the header only. The upload, of the returned length, is still unread.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<(Self, u64)> {
        let (mut length, mut upload_bytes) = ([0; 4], [0; 8]);
        from.read_exact(&mut length)?;
        from.read_exact(&mut upload_bytes)?;
        let length = u32::from_le_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::Error::other("the order is too long"));
        }
        let mut order = vec![0; length as usize];
        from.read_exact(&mut order)?;
        Ok((serde_json::from_slice(&order)?, u64::from_le_bytes(upload_bytes)))
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Answer {
    Compiled {
        component: Option<Vec<u8>>,
        artifact: Vec<u8>,
    },
    Refused(Refusal),
    /// The worker's engine is another than the host's.
    Mismatch,
}

#[derive(Serialize, Deserialize)]
struct RefusalText {
    code: String,
    message: String,
    remedy: String,
}

const COMPILED: u8 = 1;
const REFUSED: u8 = 2;
const MISMATCH: u8 = 3;

impl Answer {
    /// One byte for the case; for an artifact, the length of the component (0: as uploaded), the component, the
    /// artifact.
    pub(crate) fn write(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Compiled { component, artifact } => {
                let component = component.as_deref().unwrap_or_default();
                let mut bytes =
                    Vec::with_capacity(component.len().saturating_add(artifact.len()).saturating_add(9));
                bytes.push(COMPILED);
                bytes.extend((component.len() as u64).to_le_bytes());
                bytes.extend(component);
                bytes.extend(artifact);
                Ok(bytes)
            }
            Self::Refused(Refusal { code, message, remedy }) => {
                let text = RefusalText {
                    code: (*code).to_owned(),
                    message: message.clone(),
                    remedy: remedy.clone(),
                };
                let mut bytes = vec![REFUSED];
                serde_json::to_writer(&mut bytes, &text)?;
                Ok(bytes)
            }
            Self::Mismatch => Ok(vec![MISMATCH]),
        }
    }

    /// `None` when these bytes are no answer.
    pub(crate) fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let (case, rest) = bytes.split_first()?;
        match *case {
            COMPILED => {
                let (length, rest) = rest.split_at_checked(8)?;
                let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
                let component = rest.get(..length)?.to_vec();
                let artifact = bytes.split_off(length.checked_add(9)?);
                Some(Self::Compiled {
                    component: Some(component).filter(|bytes| !bytes.is_empty()),
                    artifact,
                })
            }
            REFUSED => {
                let text: RefusalText = serde_json::from_slice(rest).ok()?;
                Refusal::from_parts(&text.code, text.message, text.remedy).map(Self::Refused)
            }
            MISMATCH => Some(Self::Mismatch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal;

    #[test]
    fn an_order_and_an_answer_read_as_they_were_written() {
        let order = Order {
            engine_id: "ab".into(),
            metering: Metering { fuel: true, epoch: false },
            limits: ModuleLimits::default(),
            memory_bytes_max: 1,
            cpu_seconds_max: 2,
            nice: 3,
        };
        let written = order.write(77).unwrap();
        let (read, upload_bytes) = Order::read(&mut written.as_slice()).unwrap();
        assert_eq!((read.metering, read.limits, upload_bytes), (order.metering, order.limits, 77));

        for component in [None, Some(vec![1, 2, 3])] {
            let answer = Answer::Compiled { component: component.clone(), artifact: vec![9, 8] };
            let Some(Answer::Compiled { component: read, artifact }) = Answer::read(answer.write().unwrap())
            else {
                panic!("not what was written");
            };
            assert_eq!((read, artifact), (component, vec![9, 8]));
        }
        let refusal = Refusal::new(refusal::INVALID, "a", "b");
        let read = Answer::read(Answer::Refused(refusal.clone()).write().unwrap());
        assert!(matches!(read, Some(Answer::Refused(read)) if read == refusal));
    }

    #[test]
    fn garbage_is_no_answer() {
        for garbage in [&b""[..], b"\x01", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff", b"\x02{}", b"hello"] {
            assert!(Answer::read(garbage.to_vec()).is_none());
        }
        assert!(Order::read(&mut &b"\xff\xff\xff\xff00000000"[..]).is_err());
    }
}
