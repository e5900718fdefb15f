//! Settings against the schema that their module declared. The schema is somebody's upload: the sandbox has checked
//! that it ends; here it is compiled so that it opens no address, and its patterns take time in proportion to the text.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// Compiles a schema.
///
/// # Errors
/// When it is no JSON Schema.
pub fn validator(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
        .build(schema)
}
