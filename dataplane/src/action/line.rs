//! Connections to brokers outside: calls go over one without waiting for one another's answers, and when it ends, everything that
//! waits on it has failed. What is said on it is a [`Speech`]'s. Reads no more ahead than a packet, and reaches no address that the
//! guard has not seen.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use schemas::chain::external::Certificates;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::guard::{Unresolved, resolve};
use super::kept::Waiting;
use super::{Told, tls};
use crate::limits;
use crate::owed::{Answer, Answered};

/// What is said to a broker and heard from it: bytes in, bytes out. Never waits.
pub(super) trait Speech: Send {
    type Call: Send;

    /// What begins the conversation, if the caller does.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Whether calls may be made.
    fn is_open(&self) -> bool;
    /// Calls that may be without an answer.
    fn at_once_max(&self) -> usize {
        limits::BROKER_CALLS_MAX
    }
    /// Makes a call. Its answer comes by the number that is returned, which no other call without an answer has.
    ///
    /// # Errors
    /// What came of it at once.
    fn say(&mut self, call: Self::Call, out: &mut Vec<u8>) -> Result<u64, Answered>;
    /// Hears the whole packets at the front of what has come. Returns their bytes; what is left is heard again with what follows.
    ///
    /// # Errors
    /// Why the connection is over.
    fn hear(&mut self, bytes: &[u8], said: &mut Said) -> Result<usize, Over>;
    /// Says that the caller is still there, every [`limits::BROKER_KEEP_ALIVE_MS`].
    fn keep_alive(&mut self, out: &mut Vec<u8>);
    /// Says that the caller goes.
    fn goodbye(&mut self, out: &mut Vec<u8>);
}

/// What follows from what was heard.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What is to be said.
    pub(super) out: Vec<u8>,
    /// What came of calls, by their numbers.
    pub(super) answers: Vec<(u64, Answered)>,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It would be so again.
    Refused(String),
    /// Another one may last.
    Ended(String),
}

impl Over {
    pub(super) fn ended(why: impl ToString) -> Self {
        Self::Ended(why.to_string())
    }

    /// For a call that was not made.
    fn unheard(&self) -> Answered {
        match self {
            Self::Refused(reason) => Answered::Refused(reason.clone(), Answer::default()),
            Self::Ended(reason) => Answered::Unreachable(reason.clone()),
        }
    }

    /// For a call that may be the connection's end.
    fn unanswered(&self) -> Answered {
        match self {
            Self::Refused(reason) => Answered::Refused(reason.clone(), Answer::default()),
            Self::Ended(reason) => Answered::Failed(reason.clone(), Answer::default()),
        }
    }
}

/// Where a broker is and how it is reached.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    /// Until there is a connection,
    pub(super) connect_ms: u32,
    /// and from then on until calls may be made over it.
    pub(super) opening_ms: u32,
    pub(super) tls: Option<Certificates>,
    pub(super) private: bool,
}

/// A connection's bytes.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<B: AsyncRead + AsyncWrite + Send + Unpin> Bytes for B {}

/// One connection, from its first call until nobody has used it for long, or it ends.
pub(super) async fn serve<S: Speech>(place: Place, speech: S, mut calls: mpsc::Receiver<Waiting<S::Call>>) {
    let Some(first) = calls.recv().await else { return };
    let patience = Duration::from_millis(place.opening_ms.into());
    let over = match timeout(Duration::from_millis(place.connect_ms.into()), connect(&place)).await {
        Ok(Ok(bytes)) => Box::pin(Line::new(speech, first).converse(bytes, &mut calls, patience)).await,
        Ok(Err(over)) => {
            first.1.tell(over.unheard()).await;
            over
        }
        Err(_) => {
            let over = Over::ended(format!("{}:{} does not answer", place.host, place.port));
            first.1.tell(over.unheard()).await;
            over
        }
    };
    // Whoever came meanwhile comes again, or is as wrong as the first. The next call makes a new connection.
    calls.close();
    while let Some((_, told)) = calls.recv().await {
        told.tell(over.unheard()).await;
    }
}

async fn connect(place: &Place) -> Result<Box<dyn Bytes>, Over> {
    let addresses = resolve(&place.host, place.port, place.private).await.map_err(|error| match error {
        Unresolved::NotPublic(not_public) => Over::Refused(not_public.to_string()),
        Unresolved::Unknown(..) => Over::ended(error),
    })?;
    let mut reason = Over::ended("it has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(Over::ended)?;
                return match &place.tls {
                    None => Ok(Box::new(stream)),
                    Some(certificates) => Ok(Box::new(tls::connect(certificates, &place.host, stream).await?)),
                };
            }
            Err(error) => reason = Over::ended(format!("{}:{}: {error}", place.host, place.port)),
        }
    }
    Err(reason)
}

struct Line<S: Speech> {
    speech: S,
    said: Said,
    heard: Vec<u8>,
    waits: HashMap<u64, Told>,
    /// The call that the connection was made for, until calls may be made.
    first: Option<Waiting<S::Call>>,
    was_open: bool,
    /// There may be more calls.
    more: bool,
    /// For how long nothing was asked or answered.
    quiet_ms: u64,
}

impl<S: Speech> Line<S> {
    fn new(mut speech: S, first: Waiting<S::Call>) -> Self {
        let mut said = Said::default();
        speech.begin(&mut said.out);
        Self {
            speech,
            said,
            heard: Vec::new(),
            waits: HashMap::new(),
            first: Some(first),
            was_open: false,
            more: true,
            quiet_ms: 0,
        }
    }

    /// Makes calls until the connection ends. Returns why it did; nobody waits on it then.
    async fn converse(mut self, bytes: Box<dyn Bytes>, calls: &mut mpsc::Receiver<Waiting<S::Call>>, patience: Duration) -> Over {
        let over = self.go_on(bytes, calls, patience).await;
        for told in self.first.take().map(|(_, told)| told).into_iter().chain(self.waits.into_values()) {
            told.tell(if self.was_open { over.unanswered() } else { over.unheard() }).await;
        }
        over
    }

    async fn go_on(&mut self, bytes: Box<dyn Bytes>, calls: &mut mpsc::Receiver<Waiting<S::Call>>, patience: Duration) -> Over {
        let (mut reading, mut writing) = tokio::io::split(bytes);
        let mut chunk = vec![0; limits::BROKER_READ_BYTES];
        let mut unflushed = false;
        let mut opening = pin!(sleep(patience));
        let mut ticks = interval(Duration::from_millis(limits::BROKER_KEEP_ALIVE_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            let idle = self.waits.is_empty() && self.first.is_none();
            if idle && (!self.more || self.quiet_ms >= limits::BROKER_IDLE_MS) {
                let mut out = std::mem::take(&mut self.said.out);
                self.speech.goodbye(&mut out);
                // Only politeness: nobody waits for it.
                drop(timeout(patience, async { writing.write_all(&out).await.and(writing.flush().await) }).await);
                return Over::ended("the connection was not used, or was needed for another node");
            }
            let has_room = self.said.out.len() < limits::BROKER_WRITE_BYTES_MAX && self.waits.len() < self.speech.at_once_max();
            tokio::select! {
                read = reading.read(&mut chunk) => match read {
                    Ok(0) => return Over::ended("the broker closed the connection"),
                    Ok(length) => {
                        self.heard.extend_from_slice(chunk.get(..length).unwrap_or_default());
                        if let Err(over) = self.hear().await {
                            return over;
                        }
                    }
                    Err(error) => return Over::ended(error),
                },
                wrote = write(&mut writing, &self.said.out), if unflushed || !self.said.out.is_empty() => match wrote {
                    Ok(length) => {
                        self.said.out.drain(..length);
                        unflushed = length > 0;
                    }
                    Err(error) => return Over::ended(error),
                },
                call = calls.recv(), if self.more && has_room && self.first.is_none() => match call {
                    Some(call) => self.say(call).await,
                    None => self.more = false,
                },
                () = &mut opening, if !self.speech.is_open() => return Over::ended("the broker does not answer"),
                _ = ticks.tick() => {
                    self.quiet_ms += limits::BROKER_KEEP_ALIVE_MS;
                    if !idle && self.quiet_ms > limits::BROKER_ANSWER_MS {
                        return Over::ended("the broker does not answer");
                    }
                    if self.speech.is_open() && self.said.out.is_empty() {
                        self.speech.keep_alive(&mut self.said.out);
                    }
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<(), Over> {
        let heard = self.speech.hear(&self.heard, &mut self.said);
        for (number, answered) in self.said.answers.drain(..) {
            self.quiet_ms = 0;
            if let Some(told) = self.waits.remove(&number) {
                told.tell(answered).await;
            }
        }
        self.heard.drain(..heard?);
        if self.heard.len() > limits::BROKER_PACKET_BYTES_MAX || self.said.out.len() > 2 * limits::BROKER_WRITE_BYTES_MAX {
            return Err(Over::ended("the broker says more than was asked"));
        }
        if self.speech.is_open() && !self.was_open {
            self.was_open = true;
            if let Some(first) = self.first.take() {
                self.say(first).await;
            }
        }
        Ok(())
    }

    async fn say(&mut self, (call, told): Waiting<S::Call>) {
        if self.waits.is_empty() {
            self.quiet_ms = 0;
        }
        match self.speech.say(call, &mut self.said.out) {
            Ok(number) => drop(self.waits.insert(number, told)),
            Err(answered) => told.tell(answered).await,
        }
    }
}

/// Writes something of what there is, or else has what was written sent. Nothing is lost of it, or done twice, if it is given up.
async fn write(writing: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> std::io::Result<usize> {
    if out.is_empty() { writing.flush().await.map(|()| 0) } else { writing.write(out).await }
}

#[cfg(test)]
mod tests;
