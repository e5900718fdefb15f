//! What a guest returns, as it lies in the guest's memory: values of the contract, laid out as the canonical ABI says
//! (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md>). A guest that does nothing
//! but point there returns whatever we write, true or not.

use wit_component::StringEncoding;

/// A value. Sizes and alignments are those of the contract's types.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// An address and a length, whatever lies there.
    Raw(u32, u32),
    /// Elements of one size.
    List(Vec<Value>),
    /// Fields, one after the other.
    Record(Vec<Value>),
    /// A case without a payload, or a truth value.
    Enum(u8),
    /// Something.
    Some(Box<Value>),
    /// Nothing, where something of so many bytes could be.
    None(u32),
}

use Value::{Enum, List, None, Record, Some, Text};

/// Shorthand.
pub(super) fn text(text: impl Into<String>) -> Value {
    Text(text.into())
}

impl Value {
    const fn align(&self) -> usize {
        if matches!(self, Enum(_)) { 1 } else { 4 }
    }

    fn size(&self) -> usize {
        match self {
            Text(_) | Self::Raw(..) | List(_) => 8,
            Enum(_) => 1,
            Some(value) => 4 + value.size().next_multiple_of(4),
            None(size) => 4 + *size as usize,
            Record(fields) => {
                let end = fields
                    .iter()
                    .fold(0, |at: usize, field| at.next_multiple_of(field.align()) + field.size());
                end.next_multiple_of(4)
            }
        }
    }
}

/// Bytes of a guest's memory from an address on.
pub(super) struct Image {
    at: usize,
    bytes: Vec<u8>,
    encoding: StringEncoding,
}

impl Image {
    pub(super) const fn new(at: usize, encoding: StringEncoding) -> Self {
        Self { at, bytes: Vec::new(), encoding }
    }

    /// Adds a value and says where it is. Its discriminant comes first, when it is a case of a variant whose payload
    /// begins at `payload`.
    pub(super) fn add(&mut self, case: Option<(u8, usize)>, value: &Value) -> usize {
        let offset = case.map_or(0, |(_, payload)| payload);
        let start = self.reserve(offset + value.size() + 64);
        if let Option::Some((case, _)) = case {
            self.put(start, &[case]);
        }
        self.write(start + offset, value);
        self.at + start
    }

    /// Pages of a memory that holds it.
    pub(super) fn pages(&self) -> u32 {
        u32::try_from((self.at + self.bytes.len()) / 65_536 + 2).unwrap_or(u32::MAX)
    }

    /// The data segment.
    pub(super) fn data(&self) -> String {
        let bytes: String = self.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {}) \"{bytes}\")", self.at)
    }

    fn reserve(&mut self, size: usize) -> usize {
        let start = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(start + size, 0);
        start
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn pair(&mut self, at: usize, address: usize, length: usize) {
        let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        self.put(at, &word(address));
        self.put(at + 4, &word(length));
    }

    fn write(&mut self, at: usize, value: &Value) {
        match value {
            Text(text) => {
                let (bytes, length) = self.encode(text);
                let start = self.reserve(bytes.len());
                self.put(start, &bytes);
                self.pair(at, self.at + start, length);
            }
            Value::Raw(address, length) => self.pair(at, *address as usize, *length as usize),
            List(items) => {
                let size = items.first().map_or(0, Value::size);
                let start = self.reserve(size * items.len());
                for (index, item) in items.iter().enumerate() {
                    self.write(start + index * size, item);
                }
                self.pair(at, self.at + start, items.len());
            }
            Enum(case) => self.put(at, &[*case]),
            None(_) => {}
            Some(value) => {
                self.put(at, &[1]);
                self.write(at + 4, value);
            }
            Record(fields) => {
                let mut field_at = at;
                for field in fields {
                    field_at = field_at.next_multiple_of(field.align());
                    self.write(field_at, field);
                    field_at += field.size();
                }
            }
        }
    }

    /// Bytes, and the length as this encoding counts it.
    fn encode(&self, text: &str) -> (Vec<u8>, usize) {
        let wide = || text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        match self.encoding {
            StringEncoding::UTF8 => (text.as_bytes().to_vec(), text.len()),
            StringEncoding::UTF16 => (wide(), text.encode_utf16().count()),
            // Bit 31 says that it is UTF-16 all the same.
            StringEncoding::CompactUTF16 => (wide(), text.encode_utf16().count() | 1 << 31),
        }
    }
}

/// `description`: a module that serves charges and may post through the connection `erp` of the connector `http`.
pub(super) fn description(schema: &str) -> Value {
    Record(vec![
        text("hostile"),
        text("1.0.0"),
        text("Says what it was told to."),
        List(vec![Record(vec![text("stripe"), text("charge.succeeded")])]),
        List(vec![Record(vec![
            text("erp"),
            text("http"),
            List(vec![text("request.post"), text("request.get")]),
            Enum(0),
        ])]),
        List(vec![Record(vec![text("numbers"), text("Whatever")])]),
        text(schema),
    ])
}

/// A delivery with this body, and what may be wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) key: String,
    pub(super) connection: String,
    pub(super) operation: String,
    pub(super) body: String,
    pub(super) after: Value,
    pub(super) bindings: Vec<Value>,
    pub(super) once: Option<String>,
    pub(super) captures: Vec<Value>,
    pub(super) ledger: Vec<Value>,
}

impl Delivery {
    pub(super) fn with_body(body: impl Into<String>) -> Self {
        Self {
            key: "a".into(),
            connection: "erp".into(),
            operation: "request.post".into(),
            body: body.into(),
            after: List(vec![]),
            bindings: vec![],
            once: Option::None,
            captures: vec![],
            ledger: vec![],
        }
    }

    /// A post of nothing to `/`.
    pub(super) fn plain() -> Self {
        Self::with_body(r#"{"path":"/","body":{}}"#)
    }

    pub(super) fn value(&self) -> Value {
        Record(vec![
            text(&self.key),
            text(&self.connection),
            text(&self.operation),
            text(&self.body),
            self.after.clone(),
            List(self.bindings.clone()),
            self.once.as_ref().map_or(None(8), |once| Some(Box::new(text(once)))),
            None(36),
            List(self.captures.clone()),
            List(self.ledger.clone()),
        ])
    }
}

/// A plan with these deliveries and alerts.
pub(super) fn plan(deliveries: &[Delivery], references: Vec<Value>, alerts: Vec<Value>) -> Value {
    let deliveries = deliveries.iter().map(Delivery::value).collect();
    Record(vec![None(8), List(deliveries), List(references), List(alerts)])
}

/// A ledger line.
pub(super) fn line(debit: bool, amount: &str, currency: &str) -> Value {
    Record(vec![text("1000"), Enum(u8::from(!debit)), text(amount), text(currency)])
}
