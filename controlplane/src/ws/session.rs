//! One open socket: reads commands, keeps its subscriptions, forwards what the data plane's live stream brings. Every command
//! is authorized for itself, and all of them again while the socket lives. Never outlives the caller's token.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use axum::extract::ws::{Message, WebSocket, close_code};
use futures_util::{StreamExt, stream::SplitStream};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    access::Caller,
    app::{App, Use},
    clock,
    error::Error,
    telemetry::{Entity, Live, Range, Series, Unanswered, Update},
    ws::{
        alarms::{self, Alarms, Subscriptions, Wanted},
        command::{self, Command, Refused, Span, Subject, Subscription},
        outgoing::{Outgoing, Overflow},
        update,
    },
};

/// Subscriptions of one socket.
const SUBSCRIPTIONS_MAX: usize = 100;
/// History queries of one socket under way.
const HISTORIES_MAX: usize = 100;
/// Updates kept back while the first reply of a window is being fetched.
const KEPT_BACK_MAX: usize = 1_000;
/// From opening to `authCmd`.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Pings without any sign of life before the socket is closed.
const UNANSWERED_PINGS_MAX: u32 = 3;
/// Pings between two looks at token and permissions.
const PINGS_PER_REVIEW: u32 = 3;

/// Why a socket ends, with its close code.
#[derive(Debug)]
struct End(u16, String);

impl From<Overflow> for End {
    fn from(overflow: Overflow) -> Self {
        Self(close_code::POLICY, overflow.to_string())
    }
}

struct Session {
    app: Arc<App>,
    token: String,
    caller: Caller,
    out: Outgoing,
    live: Option<Live>,
    /// By the number the data plane knows a watch by.
    watches: HashMap<u32, Watched>,
    /// The client's command id → watch number.
    numbers: HashMap<i64, u32>,
    last_number: u32,
    fetches: JoinSet<Fetched>,
    alarms: Subscriptions,
}

struct Watched {
    subscription: Subscription,
    entity: Entity,
    /// `Some` while the window of the first reply is being fetched.
    kept_back: Option<VecDeque<Update>>,
}

/// A history that was asked for: by a command of its own, or as the first reply of a watch.
struct Fetched {
    id: i64,
    watch: Option<u32>,
    answer: Result<Vec<Series>, Unanswered>,
}

/// Serves a socket to its end. `known` is who opened it, if the URL said so.
pub(in crate::ws) async fn run((app, alarms): (Arc<App>, Alarms), socket: WebSocket, known: Option<(String, Caller)>) {
    let (sink, mut incoming) = socket.split();
    let out = Outgoing::start(sink);
    let (token, caller, first) = match known {
        Some((token, caller)) => (token, caller, Vec::new()),
        None => match sign_in(&app, &mut incoming).await {
            Ok(signed) => signed,
            Err(End(code, reason)) => return out.close(code, &reason),
        },
    };
    let mut session = Session {
        app,
        token,
        caller,
        out,
        live: None,
        watches: HashMap::new(),
        numbers: HashMap::new(),
        last_number: 0,
        fetches: JoinSet::new(),
        alarms: Subscriptions::new(alarms),
    };
    let ended = match session.obey(first).await {
        Ok(()) => session.serve(&mut incoming).await,
        Err(end) => Err(end),
    };
    if let Err(End(code, reason)) = ended {
        tracing::debug!(code, reason, user = %session.caller.user, "a socket was closed");
        session.out.close(code, &reason);
    }
}

type Signed = (String, Caller, Vec<Result<Command, Refused>>);

/// Waits for `authCmd`, which must come first; commands of the same frame are kept.
async fn sign_in(app: &App, incoming: &mut SplitStream<WebSocket>) -> Result<Signed, End> {
    let first = async {
        loop {
            match incoming.next().await {
                Some(Ok(Message::Text(text))) => return Some(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    };
    let text = tokio::time::timeout(SIGN_IN_TIMEOUT, first).await;
    let text = text.map_err(|_| End(close_code::POLICY, "no authCmd within 10 s".to_owned()))?;
    let text = text.ok_or_else(|| End(close_code::POLICY, "the first frame must be text with authCmd".to_owned()))?;
    let frame = command::parse(&text).map_err(|reason| End(close_code::POLICY, reason))?;
    let token = frame.token.ok_or_else(|| End(close_code::POLICY, "the first frame must have authCmd.token".to_owned()))?;
    let caller = app.caller(&token).await.map_err(|error| End(close_code::POLICY, error.to_string()))?;
    Ok((token, caller, frame.commands))
}

/// What woke the session.
enum Woken {
    Heard(Option<Result<Message, axum::Error>>),
    Updated(Result<Option<Update>, Unanswered>),
    Fetched(Fetched),
    AlarmsChanged,
    Tick,
    Gone,
}

impl Session {
    /// Runs until the client leaves (`Ok`) or must go.
    async fn serve(&mut self, incoming: &mut SplitStream<WebSocket>) -> Result<(), End> {
        let mut pings = tokio::time::interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.tick().await;
        let (mut unanswered, mut since_review) = (0, 0);
        loop {
            let woken = tokio::select! {
                heard = incoming.next() => Woken::Heard(heard),
                updated = next_update(&mut self.live) => Woken::Updated(updated),
                Some(Ok(fetched)) = self.fetches.join_next() => Woken::Fetched(fetched),
                () = self.alarms.changed(self.caller.tenant) => Woken::AlarmsChanged,
                _ = pings.tick() => Woken::Tick,
                () = self.out.gone() => Woken::Gone,
            };
            match woken {
                Woken::Heard(None | Some(Ok(Message::Close(_)))) | Woken::Gone => return Ok(()),
                Woken::Heard(Some(Err(error))) => return Err(End(close_code::SIZE, error.to_string())),
                Woken::Heard(Some(Ok(message))) => {
                    unanswered = 0;
                    self.hear(message).await?;
                }
                Woken::Updated(Ok(Some(update))) => self.forward(update)?,
                Woken::Updated(Ok(None)) => return Err(End(close_code::AGAIN, "the live stream has ended".to_owned())),
                Woken::Updated(Err(error)) => return Err(End(close_code::AGAIN, error.to_string())),
                Woken::Fetched(fetched) => self.fetched(fetched)?,
                Woken::AlarmsChanged => self.look_at_alarms(false).await?,
                Woken::Tick => {
                    if unanswered >= UNANSWERED_PINGS_MAX {
                        return Err(End(close_code::POLICY, "no sign of life for 30 s".to_owned()));
                    }
                    unanswered += 1;
                    since_review += 1;
                    if since_review >= PINGS_PER_REVIEW {
                        since_review = 0;
                        self.review().await?;
                    }
                    self.out.ping();
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Text(text) => match command::parse(&text) {
                Ok(frame) => {
                    if let Some(token) = frame.token {
                        self.sign_in_again(token).await?;
                    }
                    self.obey(frame.commands).await
                }
                Err(reason) => Ok(self.out.text(update::of_error(0, update::BAD_REQUEST, &reason))?),
            },
            Message::Binary(_) => Ok(self.out.text(update::of_error(0, update::BAD_REQUEST, "commands are text frames"))?),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    /// A client may show a fresh token of the same user, and so outlive the first one.
    async fn sign_in_again(&mut self, token: String) -> Result<(), End> {
        match self.app.caller(&token).await {
            Ok(caller) if caller.user == self.caller.user => {
                (self.token, self.caller) = (token, caller);
                Ok(())
            }
            Ok(_) => Err(End(close_code::POLICY, "the token is another user's".to_owned())),
            Err(error) => Err(End(close_code::POLICY, error.to_string())),
        }
    }

    async fn obey(&mut self, commands: Vec<Result<Command, Refused>>) -> Result<(), End> {
        for command in commands {
            match command {
                Ok(Command::Unsubscribe { id }) => {
                    self.unsubscribe(id);
                    self.alarms.end(id);
                }
                Ok(Command::Alarms { id, wanted, query }) => {
                    self.unsubscribe(id);
                    let answer = self.alarms.begin((&self.app, &self.caller), id, (wanted, query)).await;
                    self.tell_of_alarms(id, wanted, answer)?;
                }
                Ok(Command::Subscribe(subscription)) => {
                    let id = subscription.id;
                    if let Err(error) = self.subscribe(subscription).await {
                        self.out.text(update::of_error(id, code(&error), &told(error)))?;
                    }
                }
                Ok(Command::History { id, subject, span }) => {
                    if let Err(error) = self.history(id, subject, &span).await {
                        self.out.text(update::of_error(id, code(&error), &told(error)))?;
                    }
                }
                Err(Refused { id, reason }) => self.out.text(update::of_error(id, update::BAD_REQUEST, &reason))?,
            }
        }
        Ok(())
    }

    /// Tells what is not as the client knows it.
    async fn look_at_alarms(&mut self, anew: bool) -> Result<(), End> {
        for (id, wanted, answer) in self.alarms.look((&self.app, &self.caller), anew).await {
            self.tell_of_alarms(id, wanted, answer)?;
        }
        Ok(())
    }

    fn tell_of_alarms(&self, id: i64, wanted: Wanted, answer: Result<String, Error>) -> Result<(), End> {
        let text = answer.unwrap_or_else(|error| alarms::refusal(id, wanted, code(&error), &told(error)));
        Ok(self.out.text(text)?)
    }

    async fn subscribe(&mut self, subscription: Subscription) -> Result<(), Error> {
        // A command id that is in use is given a new meaning.
        self.unsubscribe(subscription.id);
        self.alarms.end(subscription.id);
        if self.watches.len() >= SUBSCRIPTIONS_MAX {
            return Err(Error::Refused(format!("at most {SUBSCRIPTIONS_MAX} subscriptions on one socket")));
        }
        let Subject { kind, id, keys } = &subscription.subject;
        let entity: Entity = self.app.authorize_entity(&self.caller, kind, *id, Use::Read).await?.into();
        if self.live.is_none() {
            self.live = Some(self.app.data_plane().await?.live().await?);
        }
        let Some(live) = &self.live else { return Ok(()) };
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        live.start(number, &entity, &subscription.what, keys.clone())?;
        self.numbers.insert(subscription.id, number);
        let kept_back = subscription.window.is_some().then(VecDeque::new);
        self.watches.insert(number, Watched { subscription, entity, kept_back });
        Ok(())
    }

    fn unsubscribe(&mut self, id: i64) {
        let Some(number) = self.numbers.remove(&id) else { return };
        self.watches.remove(&number);
        if let Some(live) = &self.live
            && let Err(error) = live.stop(number)
        {
            tracing::debug!(%error, number, "a watch could not be stopped; its updates are dropped here");
        }
    }

    async fn history(&mut self, id: i64, subject: Subject, span: &Span) -> Result<(), Error> {
        let entity = self.app.authorize_entity(&self.caller, &subject.kind, subject.id, Use::Read).await?.into();
        self.fetch(id, None, entity, range(subject.keys, span))
    }

    /// Asks for a range in the background; the answer comes back to the loop.
    fn fetch(&mut self, id: i64, watch: Option<u32>, entity: Entity, range: Range) -> Result<(), Error> {
        if self.fetches.len() >= HISTORIES_MAX {
            return Err(Error::Refused(format!("at most {HISTORIES_MAX} history queries under way on one socket")));
        }
        let app = Arc::clone(&self.app);
        self.fetches.spawn(async move {
            let answer = match app.data_plane().await {
                Ok(client) => client.history(&entity, range).await,
                Err(error) => Err(Unanswered::Unavailable(error.to_string())),
            };
            Fetched { id, watch, answer }
        });
        Ok(())
    }

    /// An update of the live stream. The snapshot comes first and opens a watch; with a window it starts the fetch instead,
    /// and what comes meanwhile is kept back behind it, so that nothing is lost between the two.
    fn forward(&mut self, update: Update) -> Result<(), End> {
        let number = update.watch;
        let Some(watched) = self.watches.get_mut(&number) else { return Ok(()) };
        let id = watched.subscription.id;
        if let Some(reason) = &update.error {
            self.watches.remove(&number);
            self.numbers.remove(&id);
            return Ok(self.out.text(update::of_error(id, update::BAD_REQUEST, reason))?);
        }
        let Some(kept_back) = &mut watched.kept_back else {
            return Ok(self.out.text(update::of_watch(id, &update))?);
        };
        if !update.snapshot {
            if kept_back.len() >= KEPT_BACK_MAX {
                return Err(End(close_code::POLICY, "too many updates before the window was read".to_owned()));
            }
            kept_back.push_back(update);
            return Ok(());
        }
        let Some(span) = &watched.subscription.window else { return Ok(()) };
        let range = range(watched.subscription.subject.keys.clone(), span);
        let entity = watched.entity.clone();
        if let Err(error) = self.fetch(id, Some(number), entity, range) {
            self.unsubscribe(id);
            self.out.text(update::of_error(id, update::BAD_REQUEST, &error.to_string()))?;
        }
        Ok(())
    }

    fn fetched(&mut self, fetched: Fetched) -> Result<(), End> {
        let Fetched { id, watch, answer } = fetched;
        if watch.is_some_and(|number| !self.watches.contains_key(&number)) {
            return Ok(());
        }
        match answer {
            Ok(series) => self.out.text(update::of_series(id, &series))?,
            Err(unanswered) => {
                let error = Error::from(unanswered);
                if watch.is_some() {
                    self.unsubscribe(id);
                }
                return Ok(self.out.text(update::of_error(id, code(&error), &told(error)))?);
            }
        }
        let watched = watch.and_then(|number| self.watches.get_mut(&number));
        for update in watched.and_then(|watched| watched.kept_back.take()).into_iter().flatten() {
            self.out.text(update::of_watch(id, &update))?;
        }
        Ok(())
    }

    /// The token may have run out, the user been disabled, a device been taken from the customer.
    async fn review(&mut self) -> Result<(), End> {
        let checked = self.app.caller(&self.token).await;
        self.caller = checked.map_err(|error| End(close_code::POLICY, error.to_string()))?;
        let subjects: Vec<(i64, Subject)> =
            self.watches.values().map(|watched| (watched.subscription.id, watched.subscription.subject.clone())).collect();
        for (id, subject) in subjects {
            let seen = self.app.authorize_entity(&self.caller, &subject.kind, subject.id, Use::Read).await;
            if let Err(error @ (Error::NotFound { .. } | Error::Forbidden)) = seen {
                self.unsubscribe(id);
                self.out.text(update::of_error(id, code(&error), &error.to_string()))?;
            }
        }
        self.look_at_alarms(true).await
    }
}

async fn next_update(live: &mut Option<Live>) -> Result<Option<Update>, Unanswered> {
    match live {
        Some(live) => live.next().await,
        None => pending().await,
    }
}

/// The span as a range; without a start it ends now.
fn range(keys: Vec<String>, span: &Span) -> Range {
    let start = span.start.unwrap_or_else(|| clock::now_ms().saturating_sub(span.length_ms).max(0));
    Range {
        keys,
        start,
        end: start.saturating_add(span.length_ms).saturating_add(i64::from(span.start.is_none())),
        limit: span.limit,
        ascending: false,
        aggregation: span.aggregation,
        interval_ms: span.interval_ms,
    }
}

/// ThingsBoard's error code on a socket. What may not be seen is not told from what is not there.
fn code(error: &Error) -> u32 {
    match error {
        Error::Forbidden | Error::NotFound { .. } | Error::Unauthenticated(_) | Error::Expired => update::UNAUTHORIZED,
        Error::Internal(_) | Error::Unavailable(_) => update::INTERNAL,
        _ => update::BAD_REQUEST,
    }
}

/// What the client is told; detail of an internal failure is logged instead.
fn told(error: Error) -> String {
    if let Error::Internal(detail) = &error {
        tracing::error!(detail, "a socket command failed");
    }
    error.to_string()
}
