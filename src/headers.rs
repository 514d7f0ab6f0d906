//! Header blocks: the text of a frame's headers as one shared buffer, and where each header lies in it.

use bytestring::ByteString;
use smallvec::SmallVec;

/// Where one header lies in its block: `block[start..colon]` is the name, `block[colon + 1..end]` the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) colon: u32,
    pub(crate) end: u32,
}

impl Span {
    /// Whether the header in `block` has this name. Most names differ in length already, and are not looked at.
    #[inline]
    fn is_called(&self, name: &[u8], block: &[u8]) -> bool {
        self.colon.wrapping_sub(self.start) as usize == name.len() && self.name(block) == name
    }

    #[inline]
    fn name<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        block.get(self.start as usize..self.colon as usize).unwrap_or_default()
    }
}

/// The places of a block's headers. Eight fit without an allocation: most frames have fewer.
pub(crate) type Spans = SmallVec<[Span; 8]>;

/// The headers of a frame in the order sent, repeated ones included.
///
/// Names and values are unescaped UTF-8 text. The text of all headers is one reference-counted buffer, so a clone
/// copies positions only. [`Headers::find`] answers with the first of a repeated header, as the specification wants.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    block: ByteString,
    spans: Spans,
}

impl Headers {
    /// The headers that a decoder has found in `block`. A span outside the block reads as an empty header.
    pub(crate) fn of_spans(block: ByteString, spans: Spans) -> Headers {
        debug_assert!(spans.iter().all(|span| span.colon < span.end && span.end as usize <= block.len()));
        Headers { block, spans }
    }

    /// No headers; `block` is the text that later [`Headers::push_span`] calls point into.
    pub fn over(block: ByteString) -> Headers {
        Headers { block, spans: SmallVec::new() }
    }

    /// Adds the header whose name is `block[start..colon]` and whose value is `block[colon + 1..end]`.
    ///
    /// A span that is out of range or does not fall on character boundaries is ignored, so that a decoder's mistake
    /// loses a header instead of the process.
    pub fn push_span(&mut self, start: usize, colon: usize, end: usize) {
        let text: &str = &self.block;
        let fits = text.get(start..colon).is_some() && text.get(colon + 1..end).is_some();
        if let (true, Ok(start), Ok(colon), Ok(end)) =
            (fits, u32::try_from(start), u32::try_from(colon), u32::try_from(end))
        {
            self.spans.push(Span { start, colon, end });
        }
        debug_assert!(fits, "a span outside its block");
    }

    /// The value of the first header called `name`.
    pub fn find(&self, name: &str) -> Option<&str> {
        let block = self.block.as_bytes();
        let found = self.spans.iter().find(|span| span.is_called(name.as_bytes(), block));
        found.map(|span| self.pair(*span).1)
    }

    /// As [`Headers::find`], but the value shares the block's buffer instead of borrowing it.
    ///
    /// It keeps the buffer of the whole frame alive: copy what is to outlive the frame for long.
    pub fn find_shared(&self, name: &str) -> Option<ByteString> {
        self.find(name).map(|value| self.block.slice_ref(value))
    }

    /// All headers in the order sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| self.pair(*span))
    }

    /// How many headers there are, repeated ones counted each.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no header at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Keeps the headers for which `keep` answers true, given name and value.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        let block: &str = &self.block;
        self.spans.retain(|span| {
            let (name, value) = split(block, *span);
            keep(name, value)
        });
    }

    /// Drops every header whose name was there before: the first of each name stays.
    pub fn keep_first_of_each(&mut self) {
        let block = self.block.as_bytes();
        let is_repeated = |(at, span): (usize, &Span)| {
            let name = span.name(block);
            self.spans.iter().take(at).any(|earlier| earlier.is_called(name, block))
        };
        // Almost no frame repeats one.
        if !self.spans.iter().enumerate().any(is_repeated) {
            return;
        }
        let spans = std::mem::take(&mut self.spans);
        for span in spans {
            let name = span.name(block);
            if !self.spans.iter().any(|earlier| earlier.is_called(name, block)) {
                self.spans.push(span);
            }
        }
    }

    /// Bytes of header text held alive, for accounting.
    pub fn footprint(&self) -> usize {
        self.block.len() + self.spans.len() * size_of::<Span>()
    }

    fn pair(&self, span: Span) -> (&str, &str) {
        split(&self.block, span)
    }
}

/// Builds a block of its own from pairs: for frames that the broker makes, and for tests.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Headers {
        let mut text = String::new();
        let mut ends: SmallVec<[(usize, usize, usize); 8]> = SmallVec::new();
        for (name, value) in pairs {
            let start = text.len();
            text.push_str(name.as_ref());
            let colon = text.len();
            text.push(':');
            text.push_str(value.as_ref());
            ends.push((start, colon, text.len()));
            text.push('\n');
        }
        let mut headers = Headers::over(ByteString::from(text));
        for (start, colon, end) in ends {
            headers.push_span(start, colon, end);
        }
        headers
    }
}

/// Two lists of headers are equal when they hold the same names and values in the same order.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

fn split(block: &str, span: Span) -> (&str, &str) {
    let name = block.get(span.start as usize..span.colon as usize).unwrap_or_default();
    let value = block.get(span.colon as usize + 1..span.end as usize).unwrap_or_default();
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
        headers.iter().collect()
    }

    #[test]
    fn finds_the_first_of_a_repeated_header() {
        let headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.find("a"), Some("1"));
        assert_eq!(headers.find("c"), None);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn keeps_the_first_of_each_name_in_order() {
        let mut headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3"), ("c", "")]);
        headers.keep_first_of_each();
        assert_eq!(pairs(&headers), [("a", "1"), ("b", "2"), ("c", "")]);
    }

    #[test]
    fn retains_by_name_and_value() {
        let mut headers = Headers::from_iter([("a", "1"), ("b", "2"), ("ä", "ö")]);
        headers.retain(|name, value| name != "a" && value != "2");
        assert_eq!(pairs(&headers), [("ä", "ö")]);
    }
}
