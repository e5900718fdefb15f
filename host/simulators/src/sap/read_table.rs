//! `RFC_READ_TABLE`: rows as fixed-width or delimited text of at most 512 characters.

use crate::sap::parameters::Kind::{C, P};
use crate::sap::parameters::Shape::{Scalar, Table};
use crate::sap::parameters::{Interface, Parameters};
use crate::sap::tables::{Field, Record, fields};
use crate::sap::where_clause::Clause;
use crate::sap::{Ended, Finished, SapEcc, Work};

/// The width of a row of DATA.
const WIDTH_MAX: usize = 512;

pub(crate) const INTERFACE: Interface = &[
    ("QUERY_TABLE", Scalar(C(30))),
    ("DELIMITER", Scalar(C(1))),
    ("NO_DATA", Scalar(C(1))),
    ("ROWSKIPS", Scalar(P(10, 0))),
    ("ROWCOUNT", Scalar(P(10, 0))),
    ("OPTIONS", Table(&[("TEXT", C(72))])),
    ("FIELDS", Table(&[("FIELDNAME", C(30))])),
    ("DATA", Table(&[("WA", C(512))])),
];

impl SapEcc {
    pub(crate) fn read_table(&self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let table = parameters.scalar("QUERY_TABLE");
        let Some(all) = fields(table) else { return Ended::Exception("TABLE_NOT_AVAILABLE") };
        let Some(chosen) = chosen(all, parameters) else { return Ended::Exception("FIELD_NOT_VALID") };
        let delimiter = parameters.scalar("DELIMITER");
        let separators = if delimiter.is_empty() { 0 } else { chosen.len().saturating_sub(1) };
        if chosen.iter().map(|(_, length, ..)| length).sum::<usize>() + separators > WIDTH_MAX {
            return Ended::Exception("DATA_BUFFER_EXCEEDED");
        }
        let options: Vec<&str> = parameters.table("OPTIONS").iter().map(|row| row.get("TEXT")).collect();
        let Some(clause) = Clause::parse(&options) else { return Ended::Exception("OPTION_NOT_VALID") };
        let unknown = |_: &str| Some(String::new());
        let known = |name: &str| all.iter().any(|(field, ..)| *field == name).then(String::new);
        if clause.holds(&unknown).is_some() && clause.holds(&known).is_none() {
            return Ended::Exception("OPTION_NOT_VALID");
        }
        let mut finished = Finished::default();
        finished.table("FIELDS", field_rows(&chosen, !delimiter.is_empty()));
        if parameters.scalar("NO_DATA") != "X" {
            let number = |name| parameters.scalar(name).parse::<usize>().unwrap_or(0);
            let count = match number("ROWCOUNT") {
                0 => usize::MAX,
                count => count,
            };
            let records = self.records(table, &clause, work.moment.seen_ms).into_iter();
            let matching = records.filter(|record| {
                let value = |name: &str| Some(record.get(name).cloned().unwrap_or_default());
                clause.holds(&value).unwrap_or(false)
            });
            let rows = matching.skip(number("ROWSKIPS")).take(count);
            finished
                .table("DATA", rows.map(|record| vec![("WA", line(&record, &chosen, delimiter))]).collect());
        }
        Ended::Answered(finished)
    }
}

/// The fields asked for, in the order asked for; all of them when none is named.
fn chosen(all: &'static [Field], parameters: &Parameters) -> Option<Vec<Field>> {
    let asked = parameters.table("FIELDS");
    if asked.is_empty() {
        return Some(all.to_vec());
    }
    asked.iter().map(|row| all.iter().find(|(name, ..)| *name == row.get("FIELDNAME")).copied()).collect()
}

fn field_rows(chosen: &[Field], delimited: bool) -> Vec<crate::sap::xml::Row> {
    let mut offset = 0;
    let mut rows = Vec::new();
    for (name, length, kind, text) in chosen {
        rows.push(vec![
            ("FIELDNAME", (*name).to_owned()),
            ("OFFSET", format!("{offset:0>6}")),
            ("LENGTH", format!("{length:0>6}")),
            ("TYPE", kind.to_string()),
            ("FIELDTEXT", (*text).to_owned()),
        ]);
        offset += length + usize::from(delimited);
    }
    rows
}

/// Text is left-justified, packed numbers are right-justified; trailing blanks do not survive XML.
fn line(record: &Record, chosen: &[Field], delimiter: &str) -> String {
    let cells = chosen.iter().map(|(name, length, kind, _)| {
        let value = record.get(name).map_or("", String::as_str);
        if *kind == 'P' { format!("{value:>length$}") } else { format!("{value:<length$}") }
    });
    cells.collect::<Vec<_>>().join(delimiter).trim_end().to_owned()
}
