//! The grammar of a frame, each rule over its parser.
//!
//! The rules are those of the 1.2 specification's BNF. Each parser can fail in one way only, so its caller names the
//! fault; `Incomplete` means that more bytes must come. The parsers search with memchr and never look at a byte that
//! an earlier call has seen: the caller passes only what is new.

use nom::bytes::complete;
use nom::bytes::streaming::{tag, take, take_until};
use nom::error::{Error, ErrorKind};
use nom::sequence::terminated;
use nom::{Err, IResult, Needed, Parser};

use super::error::DecodeError;
use super::version::Version;

/// A line's text without its end:
/// ```text
/// text = *<any OCTET except LF or NUL>
/// ```
/// What follows is the LF, or the NUL that ought not to be there. (The BNF lets NUL stand in a header. No client sends
/// one, and a frame without its blank line would else swallow the next frame.)
pub(super) fn text(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let end = memchr::memchr2(b'\n', 0, input);
    examined(end.unwrap_or(input.len()));
    match end {
        Some(end) => take(end)(input),
        None => Err(Err::Incomplete(Needed::Unknown)),
    }
}

/// A header line without its end, into name and value. The value may hold colons: all but strict clients send them.
/// ```text
/// header       = header-name ":" header-value
/// header-name  = 1*<any OCTET except CR or LF or ":">
/// header-value = *<any OCTET except CR or LF>
/// ```
pub(super) fn header(line: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(complete::take_until(":"), complete::take(1usize)).parse(line)
}

/// The rest of a body of known length, and the end of the frame:
/// ```text
/// counted-body = <content-length>OCTET NULL
/// ```
pub(super) fn counted_body(input: &[u8], length: usize) -> IResult<&[u8], &[u8]> {
    terminated(take(length), tag(&b"\0"[..])).parse(input)
}

/// The rest of a body of unknown length, and the end of the frame:
/// ```text
/// open-body = *<any OCTET except NULL> NULL
/// ```
pub(super) fn open_body(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let found = terminated(take_until("\0"), take(1usize)).parse(input);
    examined(found.as_ref().map_or(input.len(), |(_, body)| body.len()));
    found
}

/// The line ends between two frames, as a number of bytes, and whether the last of them is a CR without its LF:
/// ```text
/// between = *EOL
/// EOL     = [CR] LF
/// ```
/// `after_cr` says that the bytes before ended in such a CR. Fails on a CR that no LF follows.
pub(super) fn line_ends(input: &[u8], mut after_cr: bool) -> IResult<&[u8], (usize, bool)> {
    for (at, octet) in input.iter().enumerate() {
        match (octet, after_cr) {
            (b'\n', _) => after_cr = false,
            (b'\r', false) => after_cr = true,
            (_, true) => return Err(Err::Error(Error::new(input, ErrorKind::CrLf))),
            (_, false) => return complete::take(at)(input).map(|(rest, _)| (rest, (at, false))),
        }
    }
    Ok((&[], (input.len(), after_cr)))
}

/// The value of a `content-length` header; none if it is not a number, the greatest number if it is beyond any.
/// ```text
/// content-length = 1*DIGIT
/// ```
pub(super) fn content_length(value: &[u8]) -> Option<usize> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0usize, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(length.saturating_mul(10).saturating_add(digit))
    })
}

/// Appends a name or a value with its escapes undone:
/// ```text
/// escape = "\\" / "\n" / "\c" / "\r"        each written with a backslash; \r in 1.2 only
/// ```
pub(super) fn unescape(mut text: &[u8], version: Version, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    while let Some(at) = memchr::memchr(b'\\', text) {
        let (plain, escape) = text.split_at_checked(at).ok_or(DecodeError::BadEscape)?;
        let letter = escape.get(1).ok_or(DecodeError::BadEscape)?;
        out.extend_from_slice(plain);
        out.push(version.unescape(*letter).ok_or(DecodeError::BadEscape)?);
        text = escape.get(2..).unwrap_or_default();
    }
    out.extend_from_slice(text);
    Ok(())
}

/// Notes that a search has looked at `count` bytes; the tests show with it that work is linear in the input.
#[cfg(not(test))]
fn examined(_count: usize) {}

#[cfg(test)]
use tests::examined;

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Bytes that searches have looked at, in this thread.
        pub(crate) static EXAMINED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn examined(count: usize) {
        EXAMINED.set(EXAMINED.get() + count);
    }

    #[test]
    fn content_length_is_digits_and_nothing_else() {
        let check = |text: &str, wanted: Option<usize>| assert_eq!(content_length(text.as_bytes()), wanted, "{text:?}");
        check("0", Some(0));
        check("007", Some(7));
        check("12", Some(12));
        check("18446744073709551616", Some(usize::MAX));
        check("99999999999999999999999", Some(usize::MAX));
        check("", None);
        check("+1", None);
        check("-1", None);
        check(" 1", None);
        check("1 ", None);
        check("0x10", None);
        check("1.0", None);
        check("\u{661}", None);
    }

    #[test]
    fn line_ends_stop_at_the_first_other_octet() {
        let check = |input: &[u8], after_cr: bool, wanted: Option<(usize, bool)>| {
            assert_eq!(line_ends(input, after_cr).ok().map(|(_, ends)| ends), wanted, "{input:?}");
        };
        check(b"", false, Some((0, false)));
        check(b"\n\n", false, Some((2, false)));
        check(b"\r\n\nS", false, Some((3, false)));
        check(b"\n\r", false, Some((2, true)));
        check(b"\nS", true, Some((1, false)));
        check(b"S", false, Some((0, false)));
        check(b"S", true, None);
        check(b"\r\r\n", false, None);
    }
}
