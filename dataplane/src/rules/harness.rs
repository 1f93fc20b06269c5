//! What must hold of rules for any script, message and chain at all: the fuzz targets and property tests call it. Panics when it
//! does not hold, so it is never called on the way of a message.

mod messages;
mod scripts;

use std::cell::RefCell;
use std::sync::Arc;

use schemas::chain::Chain;
use schemas::script::Script;

use crate::clock::Clock;
use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::rules::carried::Carried;
use crate::rules::node::{self, Next, Scene};
use crate::rules::simple::{self, Answer};
use crate::rules::{Alone, Plan, Running, World, evaluate};
use crate::script::{self, Engine, ScriptFailure, Subject};

/// What came of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is none.
    Refused,
    /// It runs in the engine.
    NotSimple,
    /// It is simple, and the engine was asked for all that.
    Asked,
    /// It has an answer without the engine, and the engine has the same.
    Alike,
}

/// Makes a script and a message of these bytes, and asserts that a simple script answers what the engine answers.
///
/// # Panics
/// When they differ.
pub fn any_script(bytes: &[u8]) -> Compared {
    let mut draw = Draw(bytes);
    let (form, language, body) = scripts::script(&mut draw);
    let Ok(script) = Script::parse(form, language, &body).map(Arc::new) else { return Compared::Refused };
    if script.simple.is_none() {
        return Compared::NotSimple;
    }
    messages::with_message(&mut draw, |carried| compare(&script, carried))
}

fn compare(script: &Arc<Script>, carried: &Carried<'_>) -> Compared {
    let Some(answer) = simple::answer(script, carried) else { return Compared::Asked };
    let message = messages::originator();
    let mut scene = Scene { message: &message, world: &mut Shared, into: &mut Vec::new(), departures: 0 };
    let by_engine = match node::by_engine(script, carried, &mut scene) {
        Next::By(outcome) => Ok(Answer::Truth(outcome == node::TRUE)),
        Next::Said(labels) => Ok(Answer::Labels(labels)),
        Next::With(changed) => Ok(Answer::Message(changed)),
        Next::Fail(reason) => Err(reason),
        _ => Err("something else".to_owned()),
    };
    // On a busy machine the engine's time passes without it.
    if matches!(&by_engine, Err(reason) if *reason == ScriptFailure::TooLong.to_string()) {
        return Compared::Asked;
    }
    // Equal numbers may have different bits; written they do not.
    let shown = format!("{answer:?}");
    let expected = by_engine.map(|answer| format!("{answer:?}"));
    assert_eq!(Ok(shown), expected, "{}\nof {carried:?}", script.js);
    Compared::Alike
}

thread_local! {
    /// One for all scripts of a thread: what one leaves behind, another never sees.
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new(Clock::start()));
}

struct Shared;

impl World for Shared {
    fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<script::Answer, ScriptFailure> {
        ENGINE.with_borrow_mut(|engine| engine.run(script, subject))
    }
}

/// Reads a text as a chain; what is taken can be compiled and evaluated.
///
/// # Panics
/// When it cannot.
pub fn any_chain(text: &str) {
    match Chain::parse(text) {
        Err(invalid) => assert!(!invalid.0.is_empty(), "a refusal says why"),
        Ok(chain) => {
            let running = Running::new(Arc::new(Plan::compile(&chain)));
            assert_eq!(running.counts().len(), chain.nodes.len());
            for message in messages::examples() {
                let evaluation = evaluate(&running, &message, &mut Alone, &mut Vec::new());
                assert!(evaluation.executed <= STEPS_PER_MESSAGE_MAX);
            }
        }
    }
}

/// Bytes as choices; after the end everything is the first one.
struct Draw<'b>(&'b [u8]);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn one_of<'o>(&mut self, of: &'o [&'o str]) -> &'o str {
        of.get(usize::from(self.byte()) % of.len().max(1)).copied().unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}
