//! Words, quoted strings and header fields of one transcript line.

/// A value with holes: filled in when the case runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) parts: Vec<Part>,
    /// How often the whole is repeated, as `"x"*100` or `"x"*{limit}`.
    pub(crate) times: Option<Box<Text>>,
    /// The source, when it stood without quotes.
    bare: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// `{name}`: a fresh destination, a value of the profile, or something of this run.
    Placeholder(String),
    /// `$name`: bound where it is first expected.
    Variable(String),
}

impl Text {
    pub(crate) fn empty() -> Self {
        Text { parts: Vec::new(), times: None, bare: None }
    }

    /// The source of a value without quotes.
    pub(crate) fn bare(&self) -> Option<&str> {
        self.bare.as_deref()
    }

    /// The text itself, when it has no holes.
    pub(crate) fn literal(&self) -> Option<String> {
        match (self.parts.as_slice(), &self.times) {
            ([], None) => Some(String::new()),
            ([Part::Bytes(bytes)], None) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }

    /// The variable this text consists of.
    pub(crate) fn variable(&self) -> Option<&str> {
        match (self.parts.as_slice(), &self.times) {
            ([Part::Variable(name)], None) => Some(name),
            _ => None,
        }
    }
}

/// Reads one line from left to right. A ` #` begins a comment.
pub(crate) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        let mut scanner = Scanner { rest: line };
        scanner.skip_blanks();
        scanner
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn is_at(&self, text: &str) -> bool {
        self.rest.starts_with(text)
    }

    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.rest {
            "" => Ok(()),
            rest => Err(format!("left over at the end of the line: `{rest}`")),
        }
    }

    /// The next run without blanks.
    pub(crate) fn word(&mut self) -> Result<String, String> {
        self.bare_word().ok_or_else(|| match self.rest {
            "" => "the line ends too early".to_owned(),
            rest => format!("a plain word is needed before `{rest}`"),
        })
    }

    /// The next run without blanks, unless it is quoted or the line ends.
    pub(crate) fn bare_word(&mut self) -> Option<String> {
        if self.rest.is_empty() || self.rest.starts_with('"') {
            return None;
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        Some(self.take(end).to_owned())
    }

    /// `name` of `name:value`, with the colon; `None` when what comes is no field.
    pub(crate) fn field_name(&mut self) -> Result<Option<Text>, String> {
        if self.rest.starts_with('"') {
            let before = self.rest;
            let text = self.quoted_text()?;
            if let Some(rest) = self.rest.strip_prefix(':') {
                self.rest = rest;
                return Ok(Some(text));
            }
            self.rest = before;
            return Ok(None);
        }
        let end = self.rest.find(|letter: char| letter.is_whitespace() || letter == ':').unwrap_or(self.rest.len());
        match self.rest.get(end..).and_then(|rest| rest.strip_prefix(':')) {
            Some(rest) if end > 0 && !self.rest.starts_with(['/', '$']) => {
                let name = bare_text(self.rest.get(..end).unwrap_or_default())?;
                self.rest = rest;
                Ok(Some(name))
            }
            _ => Ok(None),
        }
    }

    /// `name` of `-name`.
    pub(crate) fn absent_name(&mut self) -> Option<Text> {
        let name = self.rest.strip_prefix('-')?;
        self.rest = name;
        bare_text(&self.bare_word()?).ok()
    }

    /// What follows `name:`: possibly nothing at all.
    pub(crate) fn field_value(&mut self) -> Result<Text, String> {
        if self.rest.is_empty() || self.rest.starts_with(char::is_whitespace) {
            self.skip_blanks();
            return Ok(Text::empty());
        }
        self.value()
    }

    /// A quoted or bare value.
    pub(crate) fn value(&mut self) -> Result<Text, String> {
        if self.rest.starts_with('"') {
            let text = self.quoted_text()?;
            if !self.rest.is_empty() && !self.rest.starts_with(char::is_whitespace) {
                return Err(format!("a blank is missing before `{}`", self.rest));
            }
            self.skip_blanks();
            return Ok(text);
        }
        let word = self.word()?;
        bare_text(&word)
    }

    /// A quoted string of `raw`, cut at each `|` that no backslash precedes.
    pub(crate) fn quoted_pieces(&mut self) -> Result<Vec<Text>, String> {
        let inner = self.quoted()?;
        let mut pieces = vec![String::new()];
        let mut escaped = false;
        for letter in inner.chars() {
            match (letter, pieces.last_mut()) {
                ('|', _) if !escaped => pieces.push(String::new()),
                (_, Some(last)) => last.push(letter),
                (_, None) => {}
            }
            escaped = letter == '\\' && !escaped;
        }
        let times = self.times()?;
        self.skip_blanks();
        if times.is_some() && pieces.len() > 1 {
            return Err("a repeated string has no write boundaries".to_owned());
        }
        let text = |piece: String| Ok(Text { parts: parts(&piece, true)?, times: times.clone(), bare: None });
        pieces.into_iter().map(text).collect()
    }

    fn quoted_text(&mut self) -> Result<Text, String> {
        let inner = self.quoted()?;
        Ok(Text { parts: parts(inner, true)?, times: self.times()?, bare: None })
    }

    /// The inside of a quoted string, escapes and all.
    fn quoted(&mut self) -> Result<&'a str, String> {
        let Some(inner) = self.rest.strip_prefix('"') else {
            return Err(format!("a quoted string is needed before `{}`", self.rest));
        };
        let mut escaped = false;
        let end = inner.char_indices().find(|&(_, letter)| {
            let closes = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            closes
        });
        let Some((end, _)) = end else { return Err("a quoted string is not closed".to_owned()) };
        self.rest = inner.get(end + 1..).unwrap_or_default();
        Ok(inner.get(..end).unwrap_or_default())
    }

    fn times(&mut self) -> Result<Option<Box<Text>>, String> {
        let Some(rest) = self.rest.strip_prefix('*') else { return Ok(None) };
        let end = rest.find(|letter: char| letter.is_whitespace() || letter == ':').unwrap_or(rest.len());
        self.rest = rest.get(end..).unwrap_or_default();
        Ok(Some(Box::new(bare_text(rest.get(..end).unwrap_or_default())?)))
    }

    fn take(&mut self, length: usize) -> &'a str {
        let taken = self.rest.get(..length).unwrap_or_default();
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.skip_blanks();
        taken
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
        if self.rest == "#" || self.rest.starts_with("# ") {
            self.rest = "";
        }
    }
}

/// A value without quotes.
pub(crate) fn bare_text(word: &str) -> Result<Text, String> {
    // A regular expression keeps its braces.
    let expression = word.len() > 2 && word.starts_with('/') && word.ends_with('/');
    let parts = match parts(word, false) {
        Err(_) if expression => vec![Part::Bytes(word.as_bytes().to_vec())],
        parts => parts?,
    };
    Ok(Text { parts, times: None, bare: Some(word.to_owned()) })
}

/// Cuts a text into bytes and holes. Only quoted strings know escapes other than `\{` and `\$`.
fn parts(text: &str, quoted: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let tail = rest.get(letter.len_utf8()..).unwrap_or_default();
        let hole = match letter {
            '{' => match tail.split_once('}') {
                Some((name, after)) if is_name(name) => Some((Part::Placeholder(name.to_owned()), after)),
                _ if quoted => None,
                _ => return Err(format!("`{text}`: `{{` begins no placeholder; write `\\{{` for the character")),
            },
            '$' if !quoted => {
                let end = tail.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let (name, after) = tail.split_at(end.unwrap_or(tail.len()));
                (!name.is_empty()).then(|| (Part::Variable(name.to_owned()), after))
            }
            _ => None,
        };
        if let Some((part, after)) = hole {
            if !bytes.is_empty() {
                parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            }
            parts.push(part);
            rest = after;
            continue;
        }
        rest = match letter {
            '\\' => escape(tail, quoted, &mut bytes)?,
            '^' if quoted && tail.starts_with('@') => {
                bytes.push(0);
                tail.get(1..).unwrap_or_default()
            }
            _ => {
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                tail
            }
        };
    }
    if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes));
    }
    Ok(parts)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

/// What a backslash means; gives what follows the escape.
fn escape<'a>(tail: &'a str, quoted: bool, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let Some(letter) = tail.chars().next() else { return Err("a backslash at the end".to_owned()) };
    let after = tail.get(letter.len_utf8()..).unwrap_or_default();
    match letter {
        '{' | '$' => bytes.push(letter as u8),
        _ if !quoted => {
            bytes.push(b'\\');
            return Ok(tail);
        }
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        '0' => bytes.push(0),
        '\\' | '"' | '|' | '^' => bytes.push(letter as u8),
        'x' => {
            let digits = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(digits.ok_or("`\\x` needs two hexadecimal digits")?);
            return Ok(after.get(2..).unwrap_or_default());
        }
        other => return Err(format!("`\\{other}` is no escape of a transcript")),
    }
    Ok(after)
}
