//! Rust handlers: functions of the program that has the broker inside.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{Change, Done, Failure, Reply, To};
use super::handler::{Handler, Reaction};
use super::request::{Attributes, Captures, Occasion, Request, SessionFacts};
use crate::destination::Destination;
use crate::headers::Headers;

/// Who sent a message, and what the handler may do besides replying.
#[derive(Debug)]
pub struct Context {
    session: Arc<SessionFacts>,
    attributes: Attributes,
    wishes: Arc<Mutex<Wishes>>,
}

/// What a handler has asked for so far.
#[derive(Debug, Default)]
struct Wishes {
    changes: Vec<Change>,
    replies: Vec<Reply>,
}

/// A message for a handler.
#[derive(Debug)]
pub struct Incoming {
    /// Whether it is a SEND or a question, or the beginning or end of something.
    pub occasion: Occasion,
    /// Where it was sent.
    pub destination: Destination,
    /// What the pattern's names stand for.
    pub captures: Captures,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

/// What a handler may give back: nothing, a reply, perhaps a reply, or several.
pub trait IntoReplies {
    /// The replies.
    fn into_replies(self) -> Vec<Reply>;
}

impl Context {
    /// What is known of the session.
    pub fn session(&self) -> &SessionFacts {
        &self.session
    }

    /// Who sent it, where clients say who they are.
    pub fn user(&self) -> Option<&str> {
        self.session.user.as_deref()
    }

    /// An attribute of the session, as this handler has set it if it has.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let wishes = self.wishes.lock();
        match wishes.changes.iter().rev().find(|change| change.name == *name) {
            Some(change) => change.value.as_deref().map(str::to_owned),
            None => self.attributes.find(name).map(str::to_owned),
        }
    }

    /// Notes something about the session. It takes effect when the handler has succeeded, before its replies are sent.
    pub fn set_attribute(&self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.wishes.lock().changes.push(Change { name: name.into(), value: Some(value.into()) });
    }

    /// Takes an attribute of the session away, as [`Context::set_attribute`] sets it.
    pub fn remove_attribute(&self, name: impl Into<ByteString>) {
        self.wishes.lock().changes.push(Change { name: name.into(), value: None });
    }

    /// Sends a message when the handler has succeeded, before what it gives back.
    pub fn send(&self, reply: Reply) {
        self.wishes.lock().replies.push(reply);
    }
}

impl Incoming {
    /// What stands for `{name}` of the pattern; empty where the pattern has no such name.
    pub fn capture(&self, name: &str) -> &str {
        self.captures.find(name).unwrap_or_default()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.find(name)
    }

    /// The body as text.
    ///
    /// # Errors
    /// What the client is told if it is none.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_| Failure::application("the body is not text"))
    }

    /// The body as JSON of this type.
    ///
    /// # Errors
    /// What the client is told if it is not.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::application(format!("the body is not the JSON that is wanted: {error}")))
    }
}

impl Reply {
    /// A reply to the default destination, without headers.
    pub fn new(body: impl Into<Bytes>) -> Reply {
        Reply { to: To::Default, headers: Headers::default(), body: body.into() }
    }

    /// A reply to the default destination with this value as JSON, and the `content-type` that says so.
    ///
    /// # Errors
    /// [`Failure::Broken`] if the value cannot be JSON, such as a map whose keys are no texts.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Reply, Failure> {
        let body = serde_json::to_vec(value).map_err(|_| Failure::Broken)?;
        Ok(Reply::new(body).header("content-type", "application/json"))
    }

    /// The same with one more header.
    pub fn header(self, name: &str, value: &str) -> Reply {
        let headers = self.headers.iter().chain([(name, value)]).collect();
        Reply { headers, ..self }
    }

    /// The same to the session that asked alone.
    pub fn to_sender(self) -> Reply {
        Reply { to: To::Sender, ..self }
    }

    /// The same to every session of a user.
    pub fn to_user(self, user: impl Into<ByteString>) -> Reply {
        Reply { to: To::User(user.into()), ..self }
    }

    /// The same to any topic, queue or user destination.
    pub fn to(self, destination: impl Into<ByteString>) -> Reply {
        Reply { to: To::Destination(Destination::new(destination)), ..self }
    }
}

impl Failure {
    /// The handler says no, in words that the client gets to read.
    pub fn application(words: impl Into<ByteString>) -> Failure {
        Failure::Application(words.into())
    }
}

impl IntoReplies for () {
    fn into_replies(self) -> Vec<Reply> {
        Vec::new()
    }
}

impl IntoReplies for Reply {
    fn into_replies(self) -> Vec<Reply> {
        vec![self]
    }
}

impl IntoReplies for Option<Reply> {
    fn into_replies(self) -> Vec<Reply> {
        self.into_iter().collect()
    }
}

impl IntoReplies for Vec<Reply> {
    fn into_replies(self) -> Vec<Reply> {
        self
    }
}

/// A function as a [`Handler`].
pub struct Function<F>(F);

impl<F> Function<F> {
    /// Takes a function of a [`Context`] and an [`Incoming`] message.
    pub fn new<Fut, R>(function: F) -> Function<F>
    where
        F: Fn(Context, Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: IntoReplies + 'static,
    {
        Function(function)
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

impl<F, Fut, R> Handler for Function<F>
where
    F: Fn(Context, Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, Failure>> + Send + 'static,
    R: IntoReplies + 'static,
{
    fn call(&self, request: Request) -> Reaction {
        let Request { occasion, destination, captures, headers, body, session, attributes } = request;
        let wishes = Arc::<Mutex<Wishes>>::default();
        let context = Context { session, attributes, wishes: Arc::clone(&wishes) };
        let answer = (self.0)(context, Incoming { occasion, destination, captures, headers, body });
        Box::pin(async move {
            let given = answer.await?.into_replies();
            let Wishes { changes, mut replies } = std::mem::take(&mut *wishes.lock());
            replies.extend(given);
            Ok(Done { replies, changes })
        })
    }
}
