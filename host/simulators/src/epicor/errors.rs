//! Epicor's error bodies.

use serde_json::{Value, json};

use crate::epicor::rows::guid;
use crate::stand_in::Reply;

/// A refusal of the application.
#[derive(Debug)]
pub(crate) struct Error {
    status: u16,
    kind: &'static str,
    message: String,
}

impl Error {
    fn new(status: u16, kind: &'static str, message: &str) -> Self {
        Self { status, kind, message: message.to_owned() }
    }

    pub(crate) fn business(message: &str) -> Self {
        Self::new(400, "Ice.Common.BusinessObjectException", message)
    }

    pub(crate) fn odata(message: &str) -> Self {
        Self::new(400, "Microsoft.OData.ODataException", message)
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(
            403,
            "System.UnauthorizedAccessException",
            "Access to the service is denied by the access scope.",
        )
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(404, "Epicor.RESTApi.ErrorHandling.ApiException", message)
    }

    pub(crate) fn no_record() -> Self {
        Self::new(404, "Ice.Common.RecordNotFoundException", "Record not found.")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "Epicor.RESTApi.ErrorHandling.ApiException",
            "The method is not allowed for this resource.",
        )
    }

    pub(crate) fn duplicate(status: u16, message: &str) -> Self {
        Self::new(status, "Ice.Common.DuplicateRecordException", message)
    }

    pub(crate) fn session() -> Self {
        Self::new(
            410,
            "Ice.Common.InvalidSessionException",
            "Invalid session: it has expired or was logged out.",
        )
    }

    pub(crate) fn licences() -> Self {
        Self::business("Maximum number of users (licenses) exceeded. Try again later.")
    }

    pub(crate) fn modified() -> Self {
        Self::business("Row has been modified by another user and couldn't be updated.")
    }

    /// Details are hidden; what is to be said is in the server's log under the correlation id.
    pub(crate) fn internal(_seed: &str) -> Self {
        Self::new(
            500,
            "System.Exception",
            "An unexpected internal problem occurred. Contact your administrator.",
        )
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(503, "Ice.Common.ConversionsPendingException", "The system is being upgraded.")
    }

    pub(crate) fn reply(&self) -> Reply {
        let phrase = if self.status == 500 { "Internal Server Error" } else { "REST API Exception" };
        let details: Value = if self.status == 500 {
            Value::Null
        } else {
            json!([{"Message": self.message, "Type": "Error", "Program": "Erp.Services.BO.dll", "Method": "Update",
                    "LineNumber": 1234, "ColumnNumber": 17}])
        };
        Reply::json(
            self.status,
            &json!({
                "HttpStatus": self.status, "ReasonPhrase": phrase, "ErrorMessage": self.message,
                "ErrorType": self.kind, "ErrorDetails": details, "CorrelationId": guid(&self.message),
            }),
        )
    }
}
