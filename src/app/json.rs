//! The little JSON that routes need: reading one field, and text inside of quotes.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The field called `name` of a body that is a JSON object, if it is a text, a number, or true or false. Of several the
/// first counts.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = reader.deserialize_map(Field(name)).ok()?;
    reader.end().ok()?;
    match found? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    }
}

/// Appends `text` as it stands between the quotes of a JSON string.
pub(super) fn escape_into(out: &mut String, text: &str) {
    use fmt::Write;
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // The last two end a line in old JavaScript; `<` could begin a tag where a page writes JSON into itself.
            control if control < ' ' || matches!(control, '\u{7f}' | '\u{2028}' | '\u{2029}' | '<') => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
}

struct Field<'n>(&'n str);

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<serde_json::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if found.is_none() && key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plain_fields_of_objects() {
        for (body, value) in [
            (r#"{"a":1,"x":"y\u00e4\n"}"#, Some("y\u{e4}\n")),
            (r#"{"x":true}"#, Some("true")),
            (r#"{"x":1.5,"x":"second"}"#, Some("1.5")),
            (r#" {"nested":{"x":"no"},"x":"yes"} "#, Some("yes")),
            (r#"{"x":null}"#, None),
            (r#"{"x":["a"]}"#, None),
            (r#"{"x":"cut"#, None),
            (r#"{"x":"more"} {}"#, None),
            (r#"["x"]"#, None),
            ("", None),
            ("\u{fe}", None),
        ] {
            assert_eq!(field(body.as_bytes(), "x").as_deref(), value, "{body}");
        }
    }

    #[test]
    fn escapes_so_that_it_reads_back() {
        let text = "quote \" back \\ line \n\r\t bell \u{7} del \u{7f} </script> \u{2028} \u{1F600}";
        let mut escaped = String::new();
        escape_into(&mut escaped, text);
        assert!(!escaped.contains(['<', '\n', '\u{2028}']));
        assert_eq!(field(format!("{{\"x\":\"{escaped}\"}}").as_bytes(), "x").as_deref(), Some(text));
    }
}
