//! One call from its beginning to its end: whether it is made, its tries, what is made of the answer.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::answer::{self, Verdict};
use super::backoff::Miss;
use super::breaker::{Breaker, Outcome, Pass, State};
use super::client::{Client, Received};
use super::monitor::{End, Health, Monitor};
use super::options::Options;
use super::request::{Outgoing, compose};
use super::signature::{self, Secret, Signed};
use crate::app::{Answer, Done, Failure, Handler, Reaction, Request};

/// A handler that asks an application over HTTP.
#[derive(Debug)]
pub(super) struct Hook(Arc<Shared>);

/// What all calls of a hook share.
#[derive(Debug)]
struct Shared {
    options: Options,
    secrets: Vec<Secret>,
    client: Client,
    health: Arc<Health>,
    /// One for each request that may be under way.
    slots: Semaphore,
    ids: Ids,
}

impl Hook {
    /// A hook that was not called yet.
    pub(super) fn new(options: &Options, secrets: Vec<Secret>, client: Client) -> Hook {
        Hook(Arc::new(Shared {
            secrets,
            client,
            health: Arc::new(Health::new(Breaker::new(options.breaker.clone()))),
            slots: Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            ids: Ids::default(),
            options: options.clone(),
        }))
    }

    /// Tells how it does.
    pub(super) fn monitor(&self) -> Monitor {
        Monitor { name: self.0.options.name.clone(), health: Arc::clone(&self.0.health) }
    }
}

impl Handler for Hook {
    fn call(&self, request: Request) -> Reaction {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.answer(&request).await })
    }
}

impl Shared {
    async fn answer(&self, request: &Request) -> Answer {
        if !self.options.wants(request.occasion) {
            return Ok(Done::default());
        }
        let limit = self.options.timeout;
        let deadline = Instant::now() + limit;
        let answering = self.answer_by(request, deadline);
        tokio::time::timeout_at(deadline, answering).await.unwrap_or(Err(Failure::Late(limit)))
    }

    async fn answer_by(&self, request: &Request, deadline: Instant) -> Answer {
        let mut call = Call { hook: self, pass: None, end: End::Late, outcome: Outcome::Down };
        let id = self.ids.next();
        let outgoing = match compose(&self.options, request, &id, epoch().as_millis() as u64) {
            Ok(outgoing) => outgoing,
            Err(untold) => {
                call.end = End::Refused;
                return Err(Failure::Application(untold.to_string().into()));
            }
        };
        // It is never closed, so all that can happen is that its turn comes.
        let _slot = self.slots.acquire().await.map_err(|_| Failure::Unavailable)?;
        match self.health.breaker.lock().admit(std::time::Instant::now()) {
            Ok(pass) => call.pass = Some(pass),
            Err(_) => {
                call.end = End::NotCalled;
                return Err(Failure::Unavailable);
            }
        }
        let answer = self.try_until(&mut call, request, outgoing, deadline).await;
        call.end = End::of(&answer);
        answer
    }

    async fn try_until(&self, call: &mut Call<'_>, request: &Request, outgoing: Outgoing, by: Instant) -> Answer {
        let mut tries = 0;
        loop {
            tries += 1;
            let (miss, failure, why) = match self.try_once(request, &outgoing, tries).await {
                Tried::Answered(answer) => {
                    call.outcome = Outcome::Alive;
                    return answer;
                }
                Tried::Missed { miss, failure, why } => (miss, failure, why),
            };
            let left = by.saturating_duration_since(Instant::now());
            let Some(wait) = self.options.backoff.next_try(tries, miss, left, chance()) else {
                warn!(hook = self.options.name, tries, "no answer from the application: {why}");
                return Err(failure);
            };
            debug!(hook = self.options.name, tries, ?wait, "another try: {why}");
            self.health.retried();
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(&self, request: &Request, outgoing: &Outgoing, tries: u32) -> Tried {
        let Outgoing { mut headers, body } = outgoing.clone();
        headers.insert("gumboot-try", HeaderValue::from(tries));
        if !self.secrets.is_empty() {
            let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let value = Signed::new(fields, &body).sign(&self.secrets, epoch().as_secs());
            // Digits, letters and punctuation: no such value is refused.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(signature::HEADER), value);
            }
        }
        let Received { incoming, retry_after } = match self.client.post(headers, body).await {
            Ok(received) => received,
            Err(error) => {
                return match error.miss() {
                    Some(miss) => Tried::Missed { miss, failure: Failure::Unavailable, why: error.to_string() },
                    None => self.complain(&error),
                };
            }
        };
        let status = incoming.status;
        match Verdict::of(status, retry_after) {
            Verdict::Missed(miss) => {
                Tried::Missed { miss, failure: answer::failure_of(status), why: format!("it answered {status}") }
            }
            Verdict::Refused => {
                self.note_refusal(status);
                Tried::Answered(Err(answer::read_refusal(&incoming)))
            }
            Verdict::Odd => self.complain(&Odd { status }),
            Verdict::Done => match answer::read(&incoming, request.occasion) {
                Ok(done) => Tried::Answered(Ok(done)),
                Err(misunderstood) => self.complain(&misunderstood),
            },
        }
    }

    /// Most refusals are between the client and the application; these are between the broker and the application.
    fn note_refusal(&self, status: StatusCode) {
        let hook = &self.options.name;
        match status {
            StatusCode::UNAUTHORIZED => {
                warn!(hook, %status, "the application does not believe us: is the secret right?")
            }
            StatusCode::METHOD_NOT_ALLOWED => warn!(hook, %status, "the application takes no POST: is the URL right?"),
            _ => debug!(hook, %status, "the application refused"),
        }
    }

    /// An answer came, but it is of no use.
    fn complain(&self, error: &dyn std::error::Error) -> Tried {
        warn!(hook = self.options.name, "{error}");
        Tried::Answered(Err(Failure::Broken))
    }
}

/// What came of one try.
enum Tried {
    Answered(Answer),
    Missed {
        miss: Miss,
        /// What it is where there is no other try.
        failure: Failure,
        why: String,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("the application answered {status}, which no hook follows")]
struct Odd {
    status: StatusCode,
}

/// A call under way. Whoever drops it before it ended has waited for long enough: then the application did not answer
/// in time.
struct Call<'h> {
    hook: &'h Shared,
    /// Given out by the breaker, if it was asked already.
    pass: Option<Pass>,
    end: End,
    outcome: Outcome,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Shared { options, health, .. } = self.hook;
        health.ended(self.end);
        let Some(pass) = &self.pass else { return };
        let changed = health.breaker.lock().settle(std::time::Instant::now(), pass, self.outcome);
        match changed {
            Some(State::Open) => {
                let pause = options.breaker.pause;
                warn!(hook = options.name, ?pause, "the application does not answer; it is left alone for a while");
            }
            Some(State::Closed) => info!(hook = options.name, "the application answers again"),
            Some(State::HalfOpen) | None => {}
        }
    }
}

/// Names of calls: they differ between processes too, for an application that remembers what it has done already.
#[derive(Debug)]
struct Ids {
    prefix: u64,
    next: AtomicU64,
}

impl Default for Ids {
    fn default() -> Ids {
        Ids { prefix: random(), next: AtomicU64::new(1) }
    }
}

impl Ids {
    fn next(&self) -> String {
        format!("{:016x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    f64::from(random() as u32) / f64::from(u32::MAX)
}

/// The standard library's hashers are seeded at random, and each differently.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
