//! Rows of RETURN: BAPIRET2, and the older shapes.

use crate::sap::xml::Row;

/// A message of a function.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: &'static str,
    pub(crate) class: &'static str,
    pub(crate) number: &'static str,
    pub(crate) text: String,
    pub(crate) variables: [String; 4],
    pub(crate) parameter: &'static str,
    pub(crate) row: usize,
    pub(crate) field: &'static str,
}

impl Message {
    pub(crate) fn new(
        kind: &'static str,
        class: &'static str,
        number: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            class,
            number,
            text: text.into(),
            variables: Default::default(),
            parameter: "",
            row: 0,
            field: "",
        }
    }

    pub(crate) fn error(class: &'static str, number: &'static str, text: impl Into<String>) -> Self {
        Self::new("E", class, number, text)
    }

    pub(crate) fn variables<const N: usize>(mut self, variables: [&str; N]) -> Self {
        for (slot, variable) in self.variables.iter_mut().zip(variables) {
            variable.clone_into(slot);
        }
        self
    }

    pub(crate) fn at(mut self, parameter: &'static str, row: usize, field: &'static str) -> Self {
        (self.parameter, self.row, self.field) = (parameter, row, field);
        self
    }

    /// Whether the unit of work has to be rolled back.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self.kind, "E" | "A")
    }

    /// BAPIRET2.
    pub(crate) fn row(&self, system: &str) -> Row {
        let [v1, v2, v3, v4] = self.variables.clone();
        vec![
            ("TYPE", self.kind.to_owned()),
            ("ID", self.class.to_owned()),
            ("NUMBER", self.number.to_owned()),
            ("MESSAGE", self.text.clone()),
            ("LOG_NO", String::new()),
            ("LOG_MSG_NO", "000000".to_owned()),
            ("MESSAGE_V1", v1),
            ("MESSAGE_V2", v2),
            ("MESSAGE_V3", v3),
            ("MESSAGE_V4", v4),
            ("PARAMETER", self.parameter.to_owned()),
            ("ROW", self.row.to_string()),
            ("FIELD", self.field.to_owned()),
            ("SYSTEM", system.to_owned()),
        ]
    }

    /// BAPIRETURN1: BAPIRET2 without its last four fields.
    pub(crate) fn row_return1(&self) -> Row {
        let mut row = self.row("");
        row.truncate(10);
        row
    }

    /// BAPIRETURN: class and number together.
    pub(crate) fn row_return(&self) -> Row {
        let mut row = self.row_return1();
        row.retain(|(name, _)| *name != "ID" && *name != "NUMBER");
        row.insert(1, ("CODE", format!("{}{}", self.class, self.number)));
        row
    }
}

/// An empty BAPIRET2: TYPE blank is fine.
pub(crate) fn nothing(system: &str) -> Row {
    let mut row = Message::new("", "", "000", "").row("");
    if let Some(last) = row.last_mut() {
        system.clone_into(&mut last.1);
    }
    row
}
