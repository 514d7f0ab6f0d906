//! A small application: an HTTP/1.1 server that does with each request what a test says, and keeps what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gumboot::app::hook::signature::{HEADER, Secret, Signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(each, _)| each == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the signature is right, and of now.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let fields = self.headers.iter().map(|(name, value)| (name, value.as_bytes()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let secrets = [Secret::new(secret)];
        let verified =
            Signed::new(fields, &self.body).verify(self.header(HEADER), &secrets, now, Duration::from_secs(60));
        verified.is_ok()
    }
}

/// What the application does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers, and keeps the connection.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Answers, and then closes the connection without having said so.
    AnswerAndClose(u16),
    /// Closes the connection.
    Close,
    /// Says nothing, until the client goes away.
    Stall,
    /// Answers with 204 once so many requests are under way.
    WaitForCompany(usize),
}

impl Act {
    pub(crate) fn status(status: u16) -> Act {
        Act::Answer(status, Vec::new(), Vec::new())
    }

    pub(crate) fn answer(content_type: &str, body: impl Into<Vec<u8>>) -> Act {
        Act::Answer(200, vec![("content-type", content_type.to_owned())], body.into())
    }

    /// More than one reply, in the form of its own.
    pub(crate) fn replies(json: &str) -> Act {
        Act::answer(gumboot::app::hook::REPLIES, json)
    }
}

type Decide = dyn Fn(&Got, usize) -> Act + Send + Sync;

#[derive(Default)]
struct Seen {
    got: Vec<Got>,
    connections: usize,
    under_way: usize,
    most_under_way: usize,
}

/// What the threads of a server share.
struct Shared {
    decide: Box<Decide>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
    changed: Condvar,
    count: AtomicUsize,
}

/// A running server. It ends with the test's process.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Application {
    /// Does with each request what `decide` says of it and of its number, from 0.
    pub(crate) fn start(decide: impl Fn(&Got, usize) -> Act + Send + Sync + 'static) -> Application {
        Application::serve(TcpListener::bind("127.0.0.1:0").unwrap(), None, Box::new(decide))
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        config: ServerConfig,
        decide: impl Fn(&Got, usize) -> Act + Send + Sync + 'static,
    ) -> Application {
        Application::serve(TcpListener::bind("127.0.0.1:0").unwrap(), Some(Arc::new(config)), Box::new(decide))
    }

    fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, decide: Box<Decide>) -> Application {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            decide,
            tls,
            seen: Mutex::default(),
            changed: Condvar::new(),
            count: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serving.seen.lock().unwrap().connections += 1;
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.talk(stream));
            }
        });
        Application { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// All requests up to now.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.shared.seen.lock().unwrap().got.clone()
    }

    /// The requests, once there are so many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Got> {
        let seen = self.shared.seen.lock().unwrap();
        let patience = Duration::from_secs(20);
        let too_few = |seen: &mut Seen| seen.got.len() < count;
        let (seen, waited) = self.shared.changed.wait_timeout_while(seen, patience, too_few).unwrap();
        assert!(!waited.timed_out(), "only {} of {count} requests: {:#?}", seen.got.len(), seen.got);
        seen.got.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.seen.lock().unwrap().connections
    }

    /// The most requests that were under way at the same time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.shared.seen.lock().unwrap().most_under_way
    }
}

impl Shared {
    fn talk(&self, stream: TcpStream) {
        match &self.tls {
            None => self.answer_all(stream),
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).unwrap();
                self.answer_all(StreamOwned::new(session, stream));
            }
        }
    }

    fn answer_all(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(got) = read(&mut stream) {
            let act = (self.decide)(&got, self.count.fetch_add(1, Ordering::SeqCst));
            self.note(|seen| {
                seen.got.push(got);
                seen.under_way += 1;
                seen.most_under_way = seen.most_under_way.max(seen.under_way);
            });
            let goes_on = self.act(act, &mut stream);
            self.note(|seen| seen.under_way -= 1);
            if !goes_on {
                return;
            }
        }
    }

    fn act(&self, act: Act, stream: &mut BufReader<impl Read + Write>) -> bool {
        match act {
            Act::Answer(status, headers, body) => write(stream.get_mut(), status, &headers, &body),
            Act::AnswerAndClose(status) => {
                write(stream.get_mut(), status, &[], b"");
                false
            }
            Act::Close => false,
            Act::Stall => {
                let _ = stream.read(&mut [0]);
                false
            }
            Act::WaitForCompany(count) => {
                let seen = self.seen.lock().unwrap();
                let patience = Duration::from_secs(20);
                let alone = |seen: &mut Seen| seen.most_under_way < count;
                let (seen, waited) = self.changed.wait_timeout_while(seen, patience, alone).unwrap();
                drop(seen);
                !waited.timed_out() && write(stream.get_mut(), 204, &[], b"")
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

/// The next request; none where the client is gone.
fn read(stream: &mut impl BufRead) -> Option<Got> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let (first, fields) = lines.split_first()?;
    let split = |field: &String| {
        let (name, value) = field.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let mut got = Got { line: first.clone(), headers: fields.iter().map(split).collect(), body: Vec::new() };
    got.body = vec![0; got.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut got.body).ok()?;
    Some(got)
}

fn write(stream: &mut impl Write, status: u16, headers: &[(&str, String)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status} Because\r\n");
    if status != 204 {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].iter().all(|part| stream.write_all(part).is_ok()) && stream.flush().is_ok()
}
