//! The little of JSON that SockJS needs: strings, and arrays of strings.

use std::fmt::Write;

/// What a client sent is no array of strings, and no string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Broken JSON encoding.")]
pub struct Broken;

/// Appends `text` as a JSON string. Characters that browsers or proxies are known to change on the way are escaped.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let short = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            other if is_fragile(other) => "",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        plain = at + character.len_utf8();
        if short.is_empty() {
            // Invariant: writing to a `String` cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}

/// Controls, and characters of the basic plane that have no width, end lines for JavaScript only, or are no characters.
fn is_fragile(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{200c}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff0}'..='\u{ffff}'
    )
}

/// Reads what a client sent, and calls `each` for every message. On failure some calls may have been made.
///
/// Half of a surrogate pair, which JavaScript can have in a string, becomes U+FFFD, as when it is sent over WebSocket.
///
/// # Errors
/// It is no JSON array of strings, and no string.
pub fn read_messages(input: &[u8], mut each: impl FnMut(&str)) -> Result<(), Broken> {
    let text = std::str::from_utf8(input).map_err(|_| Broken)?;
    let mut reader = Reader { rest: text.trim_matches(is_space) };
    let mut message = String::new();
    if reader.rest.starts_with('"') {
        reader.string(&mut message)?;
        each(&message);
    } else {
        reader.require('[')?;
        let mut is_first = true;
        while !reader.takes(']') {
            if !is_first {
                reader.require(',')?;
            }
            is_first = false;
            reader.skip_space();
            message.clear();
            reader.string(&mut message)?;
            each(&message);
        }
    }
    if reader.rest.is_empty() { Ok(()) } else { Err(Broken) }
}

struct Reader<'i> {
    rest: &'i str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    /// Takes a character, with the space before it.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn require(&mut self, wanted: char) -> Result<(), Broken> {
        if self.takes(wanted) { Ok(()) } else { Err(Broken) }
    }

    fn string(&mut self, out: &mut String) -> Result<(), Broken> {
        self.rest = self.rest.strip_prefix('"').ok_or(Broken)?;
        loop {
            let is_special = |character: char| matches!(character, '"' | '\\' | '\u{0}'..='\u{1f}');
            let end = self.rest.find(is_special).ok_or(Broken)?;
            let (plain, rest) = self.rest.split_at_checked(end).ok_or(Broken)?;
            out.push_str(plain);
            if let Some(rest) = rest.strip_prefix('"') {
                self.rest = rest;
                return Ok(());
            }
            self.rest = rest.strip_prefix('\\').ok_or(Broken)?;
            out.push(self.escaped()?);
        }
    }

    /// The character that an escape stands for; the backslash is taken already.
    fn escaped(&mut self) -> Result<char, Broken> {
        let mut characters = self.rest.chars();
        let kind = characters.next().ok_or(Broken)?;
        self.rest = characters.as_str();
        Ok(match kind {
            '"' | '\\' | '/' => kind,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.code_point()?,
            _ => return Err(Broken),
        })
    }

    fn code_point(&mut self) -> Result<char, Broken> {
        let unit = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // The other half of the pair follows, or this one is alone.
        let before = self.rest;
        if let Some(rest) = self.rest.strip_prefix("\\u") {
            self.rest = rest;
            let low = self.code_unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.rest = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn code_unit(&mut self) -> Result<u32, Broken> {
        let (digits, rest) = self.rest.split_at_checked(4).ok_or(Broken)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Broken);
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).map_err(|_| Broken)
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8]) -> Result<Vec<String>, Broken> {
        let mut messages = Vec::new();
        read_messages(input, |message| messages.push(message.to_owned())).map(|()| messages)
    }

    #[test]
    fn writes_strings() {
        let check = |text: &str, expected: &str| {
            let mut out = String::new();
            write_string(text, &mut out);
            assert_eq!(out, expected);
        };
        check("", r#""""#);
        check("a\"b\\c/", r#""a\"b\\c/""#);
        check("SEND\n\nx\0", r#""SEND\n\nx\u0000""#);
        check("\r\t\u{1f}\u{7f}", "\"\\r\\t\\u001f\u{7f}\"");
        check("é👢\u{200c}\u{2028}\u{206f}\u{ffff}", "\"é👢\\u200c\\u2028\\u206f\\uffff\"");
    }

    #[test]
    fn reads_messages() {
        let check = |input: &str, expected: &[&str]| assert_eq!(read(input.as_bytes()).unwrap(), expected, "{input}");
        check("[]", &[]);
        check(" [ ] \n", &[]);
        check(r#"["a"]"#, &["a"]);
        check(r#"[ "a" , "b\n" ,""]"#, &["a", "b\n", ""]);
        check(r#""alone""#, &["alone"]);
        check(r#"["\"\\\/\b\f\n\r\t\u0000\u00e9"]"#, &["\"\\/\u{8}\u{c}\n\r\t\0é"]);
        check(r#"["\ud83d\udc62","\uD83D\uDC62 é"]"#, &["👢", "👢 é"]);
        check(r#"["\ud83d","\udc62x","\ud83dA","\ud83d\u0041"]"#, &["\u{fffd}", "\u{fffd}x", "\u{fffd}A", "\u{fffd}A"]);
    }

    #[test]
    fn refuses_everything_else() {
        let broken = [
            "",
            "x",
            "1",
            "[1]",
            "{}",
            "[",
            "[\"a\"",
            "[\"a",
            "[\"a\",]",
            "[,]",
            "[\"a\" \"b\"]",
            "[\"a\"]]",
            "[\"\\x\"]",
            "[\"\\u12\"]",
            "[\"\\u+123\"]",
            "[\"\\u12é\"]",
            "[\"a\nb\"]",
            "[[\"a\"]]",
            "[null]",
            "\"a\",",
            "'a'",
        ];
        for input in broken {
            assert_eq!(read(input.as_bytes()), Err(Broken), "{input}");
        }
        assert_eq!(read(b"[\"\xff\"]"), Err(Broken));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in proptest::collection::vec(any::<String>(), 0..4)) {
            let mut text = String::from("[");
            for (index, message) in messages.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(message, &mut text);
            }
            text.push(']');
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), messages.clone());
            prop_assert_eq!(read(text.as_bytes()).unwrap(), messages);
        }

        #[test]
        fn reads_as_others_do(input in r#"[\[\],"\\ud8d3dc6201a ]{0,24}"#) {
            let others: Result<Vec<String>, _> = serde_json::from_str(&input);
            if let Ok(others) = others {
                prop_assert_eq!(read(input.as_bytes()).unwrap(), others);
            }
        }
    }
}
