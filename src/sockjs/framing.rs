//! SockJS frames, and how each transport carries them.
//!
//! A frame is `o` (open), `h` (heart-beat), `a[...]` (messages, each a JSON string) or `c[code,"reason"]` (closed). What a
//! client sends has no frames: it is a JSON array of strings, or one string. [`json`] is both directions of that.

pub mod json;

use std::fmt;

/// Bytes that the head of an `htmlfile` response has at least, before the browser looks at it.
const HTMLFILE_HEAD: usize = 1024;

/// Bytes that an `xhr_streaming` response begins with, for browsers that hold back the first ones.
const STREAMING_PRELUDE: usize = 2048;

/// The longest name of a callback. Clients draw names of about a dozen characters.
const CALLBACK_BYTES: usize = 64;

/// Why the second receiver of a conduit is sent away.
pub const STILL_OPEN: (u16, &str) = (2010, "Another connection still open");

/// What a closed conduit says whose application gave no reason.
pub const GO_AWAY: (u16, &str) = (3000, "Go away!");

/// What a conduit says whose receiver was cut off: nobody knows what that one has read.
pub const INTERRUPTED: (u16, &str) = (1002, "Connection interrupted");

/// What a conduit says whose application sent what is no text: SockJS carries nothing else.
pub const NOT_TEXT: (u16, &str) = (1003, "A message that is not UTF-8 cannot travel over SockJS");

/// What a client is told on each transport that it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// A line for each frame: `xhr`, `xhr_streaming`.
    Lines,
    /// Server-sent events: `eventsource`.
    Events,
    /// Script elements that call a function of the page: `htmlfile`.
    Scripts(Callback),
    /// A script that calls a function with the frame: `jsonp`.
    Call(Callback),
    /// The frame as it is, which is then put in a packet: `websocket`.
    Bare,
}

/// The name of a function in the client's page. It is written into scripts, so nothing but names may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(String);

impl Callback {
    /// Takes letters, digits, `-`, `_` and `.`, at least one and not too many.
    pub fn parse(name: &str) -> Option<Callback> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = !name.is_empty() && name.len() <= CALLBACK_BYTES && name.bytes().all(is_plain);
        fits.then(|| Callback(name.to_owned()))
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Wrapping {
    /// What comes before the first frame of a streaming response.
    pub fn prelude(&self) -> String {
        match self {
            Wrapping::Lines => format!("{}\n", "h".repeat(STREAMING_PRELUDE)),
            Wrapping::Events => "\r\n".to_owned(),
            Wrapping::Scripts(callback) => htmlfile_head(callback),
            Wrapping::Call(_) | Wrapping::Bare => String::new(),
        }
    }

    /// A frame as it goes out.
    pub fn wrap(&self, frame: String) -> String {
        match self {
            Wrapping::Lines => frame + "\n",
            // Clients take what they get for a URI and decode it. Spelled so, a % comes through with and without that.
            Wrapping::Events if frame.contains('%') => format!("data: {}\r\n\r\n", frame.replace('%', "\\u0025")),
            Wrapping::Events => format!("data: {frame}\r\n\r\n"),
            Wrapping::Scripts(_) => format!("<script>\np({});\n</script>\r\n", script_text(&frame)),
            // The comment keeps the name from being the first bytes of a response, which plug-ins have been fooled by.
            Wrapping::Call(callback) => format!("/**/{callback}({});\r\n", script_text(&frame)),
            Wrapping::Bare => frame,
        }
    }
}

/// The frame `o`.
pub fn open() -> String {
    "o".to_owned()
}

/// The frame `h`.
pub fn heart_beat() -> String {
    "h".to_owned()
}

/// The frame `a`, of messages that are JSON strings already.
pub fn messages<'m>(encoded: impl IntoIterator<Item = &'m str>) -> String {
    let mut frame = "a[".to_owned();
    for (index, message) in encoded.into_iter().enumerate() {
        if index > 0 {
            frame.push(',');
        }
        frame.push_str(message);
    }
    frame.push(']');
    frame
}

/// The frame `c`.
pub fn close(code: u16, reason: &str) -> String {
    let mut frame = format!("c[{code},");
    json::write_string(reason, &mut frame);
    frame.push(']');
    frame
}

/// A frame as a string of a script that may stand within a page: no `<` of it can end the script element.
fn script_text(frame: &str) -> String {
    let mut text = String::with_capacity(frame.len() + 16);
    json::write_string(frame, &mut text);
    if text.contains('<') { text.replace('<', "\\u003c") } else { text }
}

fn htmlfile_head(callback: &Callback) -> String {
    let mut head = format!(
        "<!doctype html>\n<html><head>\n  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
         <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n</head><body><h2>Don't \
         panic!</h2>\n  <script>\n    document.domain = document.domain;\n    var c = parent.{callback};\n    \
         c.start();\n    function p(d) {{c.message(d);}};\n    window.onload = function() {{c.stop();}};\n  </script>\n"
    );
    let missing = (HTMLFILE_HEAD + 1).saturating_sub(head.len());
    head.push_str(&" ".repeat(missing));
    head.push_str("\r\n\r\n");
    head
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn callback() -> Callback {
        Callback::parse("_jp.a1").unwrap()
    }

    #[test]
    fn wraps_frames_as_each_transport_needs() {
        let check = |wrapping: Wrapping, frame: String, expected: &str| assert_eq!(wrapping.wrap(frame), expected);
        check(Wrapping::Lines, open(), "o\n");
        check(Wrapping::Lines, messages([r#""x""#, r#""y""#]), "a[\"x\",\"y\"]\n");
        check(Wrapping::Lines, close(3000, "Go away!"), "c[3000,\"Go away!\"]\n");
        check(Wrapping::Events, heart_beat(), "data: h\r\n\r\n");
        check(Wrapping::Events, messages([r#""100%""#]), "data: a[\"100\\u0025\"]\r\n\r\n");
        check(Wrapping::Scripts(callback()), messages([r#""x""#]), "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n");
        check(Wrapping::Call(callback()), messages([r#""x""#]), "/**/_jp.a1(\"a[\\\"x\\\"]\");\r\n");
        check(Wrapping::Bare, messages([]), "a[]");
    }

    #[test]
    fn no_message_ends_a_script_element() {
        let wrapped = Wrapping::Scripts(callback()).wrap(messages([r#""</script>""#]));
        assert_eq!(wrapped, "<script>\np(\"a[\\\"\\u003c/script>\\\"]\");\n</script>\r\n");
    }

    #[test]
    fn preludes_are_long_enough() {
        assert_eq!(Wrapping::Lines.prelude().len(), 2049);
        assert_eq!(Wrapping::Events.prelude(), "\r\n");
        let head = Wrapping::Scripts(callback()).prelude();
        assert!(head.len() > 1024 && head.contains("var c = parent._jp.a1;\n"));
        assert_eq!(Wrapping::Call(callback()).prelude() + &Wrapping::Bare.prelude(), "");
    }

    #[test]
    fn takes_names_for_callbacks_and_nothing_else() {
        let check = |name: &str, taken: bool| assert_eq!(Callback::parse(name).is_some(), taken, "{name}");
        check("callback", true);
        check("_jp.a-1", true);
        check(&"a".repeat(64), true);
        for name in ["", " ", "*", "abc(", "a\n", "ä", &"a".repeat(65)] {
            check(name, false);
        }
    }
}
