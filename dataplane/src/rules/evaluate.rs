//! Evaluates a message by a plan: effects in the order in which the chain's edges lead to them, depth first.
//! Total: no IO, no failure; the clock only ends what takes too long. A node that lacks a fact ends it, and nothing of it remains.

use std::collections::HashSet;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::external::External;
use schemas::chain::timed::Generate;
use schemas::chain::{Target, Wish, label};
use schemas::config::End;
use schemas::id::ChainId;
use uuid::Uuid;

use crate::clock::{Clock, Instant, Timestamp};
use crate::effect::Effect;
use crate::limits::{
    DEPARTED_BYTES_PER_MESSAGE_MAX, DEPARTED_WAIT_MS_MIN, DEPARTURES_PER_MESSAGE_MAX, EVALUATION_MS_MAX, STEPS_PER_MESSAGE_MAX,
};
use crate::message::Message;
use crate::owed::{Call, Departed, Waiting, Waits};
use crate::rules::Fact;
use crate::rules::carried::{Carried, Changed, Kind};
use crate::rules::node::timed::{self, Pack, Pending};
use crate::rules::node::{self, Fork, Itself, Next, Node, SUCCESS, Scene};
use crate::rules::plan::Step;
use crate::rules::running::Running;
use crate::rules::sighting::Sighting;
use crate::rules::world::World;

/// Steps from one look at the clock to the next. Most messages have fewer, and it is never looked at for them.
const STEPS_PER_LOOK: u32 = 64;

/// What an evaluation took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Steps executed, one as often as a way led to it.
    pub executed: u32,
    /// Bytes of messages that left nodes, to go on there later.
    pub departed_bytes: usize,
    /// The first failure that no edge led on from.
    pub failed: Option<Failed>,
    /// The fact that a node lacked. There are no effects then; the message is to be evaluated again when the fact is there.
    pub needs: Option<Box<Fact>>,
}

/// A node that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub node: String,
    pub reason: String,
}

/// Evaluates `message` from the plan's first node on, appending its effects to `into`.
pub fn evaluate<'m>(
    running: &Running,
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
) -> Evaluation {
    evaluate_again(running, message, world, into, 0)
}

/// The same for a message whose evaluation ended for want of a fact after `counted` steps: they are not counted once more.
pub fn evaluate_again<'m>(
    running: &Running,
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
    counted: u32,
) -> Evaluation {
    enter((running, Carried::AsCame(message), 0), message, world, into, counted)
}

/// The same for a message that others made; `message` says only whose it is.
pub fn begin<'m>(
    (running, departed): (&Running, &Departed),
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
    counted: u32,
) -> Evaluation {
    enter((running, Carried::Changed(Rc::new(arrive(departed))), departed.departures), message, world, into, counted)
}

fn enter<'m>(
    (running, carried, departures): (&Running, Carried<'m>, u32),
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
    counted: u32,
) -> Evaluation {
    let root = Way { frame: 0, targets: running.plan().entry(), carried };
    let before = into.len();
    let scene = Scene { message, world, into: &mut *into, departures };
    let evaluation = Evaluation::default();
    let clock = if counted == 0 && running.times_this() { scene.world.clock() } else { None };
    let (frames, waiting, seen) = (Vec::new(), Vec::new(), scene.world.traced());
    let (traced, looked) = (seen.is_some(), None);
    let mut walk = Walk { root: running, scene, frames, waiting, evaluation, counted, clock, looked, seen, traced };
    walk.run(root);
    let evaluation = walk.evaluation;
    if evaluation.needs.is_some() {
        into.truncate(before);
    }
    evaluation
}

/// How a message goes on that left: by Success, or why not. If an originator is named it goes on where that lives; so it may wait for
/// facts there, which it cannot otherwise.
pub type Comes = Result<Option<End>, String>;

/// A message whose waiting is over goes on behind its node. `None` if the node is gone. Steps that were counted before a fact was
/// lacking are not counted once more.
pub fn resume<'m>(
    (departed, comes): (&Departed, Comes),
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
    counted: u32,
) -> Option<Evaluation> {
    let Reached { root, frames, last, index } = reach(&departed.path, world)?;
    let step = last.plan().at(index)?;
    let (frame, before) = (frames.len(), into.len());
    let scene = Scene { message, world, into: &mut *into, departures: departed.departures };
    let evaluation = Evaluation::default();
    let (waiting, clock, looked, seen, traced) = (Vec::new(), None, None, departed.trace, departed.trace.is_some());
    let mut walk = Walk { root: &root, scene, frames, waiting, evaluation, counted, clock, looked, seen, traced };
    let way = Way { frame, targets: 0..0, carried: Carried::Changed(Rc::new(arrive(departed))) };
    let way = match comes {
        Ok(to) => match to.map(|to| (to, walk.scene.world.may_forward())) {
            Some((to, Ok(()))) => walk.follow(way, (&last, index, step), Next::Forward(to)),
            Some((to, Err(reason))) if to.id != message.originator => walk.failed(way, (&last, index, step), reason),
            _ => {
                walk.saw_by(step, step.label(SUCCESS), &way.carried);
                walk.take(way, &last, frame, step.route(SUCCESS))
            }
        },
        Err(reason) => walk.failed(way, (&last, index, step), reason),
    };
    walk.run(way);
    let evaluation = walk.evaluation;
    if evaluation.needs.is_some() {
        into.truncate(before);
    }
    Some(evaluation)
}

/// Time has passed for a node that remembers, which lies at the end of a path. `message` says only whose time. `None` if the node is
/// gone.
pub fn elapse<'m>(
    path: &[(ChainId, Uuid)],
    message: &'m Message<'m>,
    world: &mut dyn World,
    into: &mut Vec<Effect<'m>>,
) -> Option<Evaluation> {
    let Reached { root, frames, last, index } = reach(path, world)?;
    let step = last.plan().at(index)?;
    let frame = frames.len();
    let scene = Scene { message, world, into, departures: 0 };
    let evaluation = Evaluation { executed: 1, ..Evaluation::default() };
    let (waiting, counted, clock, looked, seen, traced) = (Vec::new(), 0, None, None, None, false);
    let mut walk = Walk { root: &root, scene, frames, waiting, evaluation, counted, clock, looked, seen, traced };
    let carried = Carried::AsCame(message);
    let next = step.node.elapse(step, &carried, &mut walk.scene)?;
    let way = walk.follow(Way { frame, targets: 0..0, carried }, (&last, index, step), next);
    walk.run(way);
    Some(walk.evaluation)
}

/// A node at the end of a path: where the path begins, the chains on the way, and the node's place in the last one.
struct Reached {
    root: Rc<Running>,
    frames: Vec<Frame>,
    last: Rc<Running>,
    index: usize,
}

fn reach(path: &[(ChainId, Uuid)], world: &mut dyn World) -> Option<Reached> {
    let mut path = path.iter();
    let (chain, mut node) = *path.next()?;
    let root = world.running(Target::Chain(chain))?;
    let (mut frames, mut last) = (Vec::new(), Rc::clone(&root));
    for (chain, inner) in path {
        let running = world.running(Target::Chain(*chain))?;
        let step = last.plan().find(node)?.0;
        frames.push(Frame { running: Rc::clone(&running), back: (frames.len(), step) });
        (last, node) = (running, *inner);
    }
    let index = last.plan().find(node)?.0;
    Some(Reached { root, frames, last, index })
}

/// The call that the node makes for a message that waits there. `None` if the node is gone.
///
/// # Errors
/// Why there is nothing to say.
#[must_use]
pub fn call(running: &Running, departed: &Departed) -> Option<Result<(Arc<External>, Call), String>> {
    let Node::External(external) = &running.plan().find(departed.node().1)?.1.node else { return None };
    let carried = Carried::Changed(Rc::new(arrive(departed)));
    Some(node::external::call(external, &carried).map(|call| (Arc::clone(external), call)))
}

/// What a message wants of the control plane at a node. `None` if it is gone, or wants nothing.
#[must_use]
pub fn wish(running: &Running, node: Uuid) -> Option<&Wish> {
    match &running.plan().find(node)?.1.node {
        Node::External(external) => match &**external {
            External::Wish(wish) => Some(wish),
            _ => None,
        },
        _ => None,
    }
}

/// What goes on in place of an originator's messages at a node that deduplicates. `None` if the node is gone.
#[must_use]
pub fn together(running: &Running, node: Uuid, pending: Vec<Pending>, now: Timestamp) -> Option<Vec<Pack>> {
    let Node::Deduplicate(with) = &running.plan().find(node)?.1.node else { return None };
    Some(timed::packs(with, pending, now))
}

/// What a node that makes messages is told. `None` if there is no such node.
#[must_use]
pub fn generator(running: &Running, node: Uuid) -> Option<&Arc<Generate>> {
    match &running.plan().find(node)?.1.node {
        Node::Generate(generate) => Some(generate),
        _ => None,
    }
}

fn depart(carried: &Carried<'_>, path: Vec<(ChainId, Uuid)>, departures: u32, trace: Option<Uuid>) -> Departed {
    let Changed { kind, metadata, data, own_ts } = carried.change();
    Departed { path, kind: kind.name().to_owned(), metadata, data: data.to_string(), own_ts, departures, trace }
}

fn arrive(departed: &Departed) -> Changed {
    Changed {
        kind: Kind::parse(&departed.kind),
        metadata: departed.metadata.clone(),
        data: serde_json::from_str(&departed.data).unwrap_or_default(),
        own_ts: departed.own_ts,
    }
}

/// A route that is being followed: targets of one plan's that the message has still to go to.
struct Way<'m> {
    /// 0: the plan where the message began; else the place in `frames` behind it.
    frame: usize,
    targets: Range<u32>,
    carried: Carried<'m>,
}

/// A chain that was entered from another one.
struct Frame {
    running: Rc<Running>,
    /// The frame and the step that led here.
    back: (usize, usize),
}

struct Walk<'w, 'm> {
    root: &'w Running,
    scene: Scene<'w, 'm>,
    frames: Vec<Frame>,
    /// What is left of the ways that others branched from. A way of one target, the usual one, needs no place here, so most
    /// evaluations allocate nothing.
    waiting: Vec<Way<'m>>,
    evaluation: Evaluation,
    /// Steps that an earlier evaluation counted; the last of them is the one that lacked a fact, and did not go on.
    counted: u32,
    /// Of a message that is timed.
    clock: Option<Clock>,
    /// When the clock was first looked at, to end what takes too long.
    looked: Option<Instant>,
    /// By which its sightings know the message, once there is one.
    seen: Option<Uuid>,
    /// It is looked at at every node.
    traced: bool,
}

/// The plan of a frame: borrowed where the message began, else kept alive, whatever the table does meanwhile.
enum Of<'w> {
    Root(&'w Running),
    Nested(Rc<Running>),
}

impl Deref for Of<'_> {
    type Target = Running;

    fn deref(&self) -> &Running {
        match self {
            Self::Root(running) => running,
            Self::Nested(running) => running,
        }
    }
}

impl<'w, 'm> Walk<'w, 'm> {
    fn run(&mut self, root: Way<'m>) {
        let mut way = root;
        loop {
            if way.targets.is_empty() {
                match self.waiting.pop() {
                    Some(waiting) => way = waiting,
                    None => return,
                }
                continue;
            }
            let target = way.targets.start;
            way.targets.start += 1;
            let running = self.of(way.frame);
            let Some((index, step)) = running.plan().step(target) else { continue };
            if self.evaluation.executed == STEPS_PER_MESSAGE_MAX {
                return self.fail(
                    running.chain(),
                    &step.name,
                    format!("more than {STEPS_PER_MESSAGE_MAX} nodes for one message"),
                );
            }
            self.evaluation.executed += 1;
            if self.evaluation.executed.is_multiple_of(STEPS_PER_LOOK) && self.is_late() {
                return self.fail(running.chain(), &step.name, format!("more than {EVALUATION_MS_MAX} ms for one message"));
            }
            if self.evaluation.executed > self.counted {
                running.count_executed(index);
                if self.sees_all(step) {
                    self.saw(step, (false, running.plan().label_to(target)), &way.carried, None);
                }
            }
            let begun = self.clock.map(|clock| (clock, clock.now().instant));
            let next = step.node.run(step, &way.carried, &mut self.scene);
            if let Some((clock, begun)) = begun {
                running.count_time(index, clock.now().instant.nanos_since(begun));
            }
            if let Next::Need(fact) = next {
                self.evaluation.needs = Some(fact);
                return;
            }
            way = self.follow(way, (&running, index, step), next);
        }
    }

    fn of(&self, frame: usize) -> Of<'w> {
        match frame.checked_sub(1).and_then(|place| self.frames.get(place)) {
            Some(frame) => Of::Nested(Rc::clone(&frame.running)),
            None => Of::Root(self.root),
        }
    }

    /// The way that follows a step; what is left of `way` waits.
    fn follow(&mut self, way: Way<'m>, (running, index, step): (&Running, usize, &Step), next: Next) -> Way<'m> {
        let frame = way.frame;
        if step.debug.is_on() || self.traced {
            self.saw_leave(step, &way.carried, &next);
        }
        match next {
            Next::By(outcome) => self.take(way, running, frame, step.route(outcome)),
            Next::With(changed) => self.change(way, (running, frame, step.route(SUCCESS)), changed),
            Next::As(outcome, changed) => self.change(way, (running, frame, step.route(outcome)), changed),
            Next::Each(each) => {
                let way = self.put_aside(way);
                let route = step.route(SUCCESS);
                self.branch(
                    running,
                    frame,
                    each.into_iter().map(|changed| (route, Carried::Changed(Rc::new(changed)))).collect(),
                );
                way
            }
            Next::Fork(fork) => self.fork(way, (running, index, step), *fork),
            Next::Said(mut labels) => {
                let way = self.put_aside(way);
                if labels.len() > 1 {
                    // What is said twice is said once.
                    let mut said = HashSet::new();
                    labels.retain(|label| said.insert(label.clone()));
                }
                // Nobody drew an edge for the others.
                let routes = labels.iter().filter_map(|label| running.plan().route_of(index, label));
                self.branch(running, frame, routes.map(|route| (route, way.carried.clone())).collect());
                way
            }
            Next::Enter(target) => match self.scene.world.running(target) {
                Some(nested) if std::ptr::eq(&*nested, running) => {
                    self.failed(way, (running, index, step), "the rule chain would enter itself, for ever".to_owned())
                }
                Some(nested) => {
                    let targets = nested.plan().entry();
                    self.frames.push(Frame { running: nested, back: (frame, index) });
                    self.turn(way, self.frames.len(), targets)
                }
                None => self.failed(way, (running, index, step), "there is no such rule chain".to_owned()),
            },
            Next::Leave => self.leave(way, &step.name),
            Next::Depart | Next::Forward(_) | Next::Wait(..) => self.depart(way, (running, index, step), next),
            Next::Fail(reason) => self.failed(way, (running, index, step), reason),
            Next::FailWith(changed, reason) => {
                let way = self.with(way, changed);
                self.failed(way, (running, index, step), reason)
            }
            // Of a fact that is lacking `run` has ended with it.
            Next::End | Next::Need(_) => way,
        }
    }

    /// Sends the message and those that were made of it their ways; what the node remembers goes with them.
    fn fork(&mut self, way: Way<'m>, (running, index, step): (&Running, usize, &Step), fork: Fork) -> Way<'m> {
        let (frame, Fork { each, itself, keep }) = (way.frame, fork);
        if let Some(mut progress) = keep {
            if step.id.is_nil() {
                let reason = "the node has no id under which it could remember".to_owned();
                return self.failed(way, (running, index, step), reason);
            }
            progress.path = self.path(frame, (running.chain(), step.id));
            self.scene.into.push(Effect::KeepProgress(Box::new(progress)));
        }
        let way = self.put_aside(way);
        let own = matches!(itself, Itself::Goes).then(|| (step.route(SUCCESS), way.carried.clone()));
        let made = each.into_iter().map(|(outcome, changed)| (step.route(outcome), Carried::Changed(Rc::new(changed))));
        self.branch(running, frame, own.into_iter().chain(made).collect());
        match itself {
            Itself::Fails(reason) => self.failed(way, (running, index, step), reason),
            Itself::Goes | Itself::Stays => way,
        }
    }

    /// The message leaves the node, to go on there later.
    fn depart(&mut self, way: Way<'m>, (running, index, step): (&Running, usize, &Step), next: Next) -> Way<'m> {
        if let Err(reason) = self.may_depart(step, &next) {
            return self.failed(way, (running, index, step), reason);
        }
        let path = self.path(way.frame, (running.chain(), step.id));
        let departed = depart(&way.carried, path, self.scene.departures + 1, self.seen.filter(|_| self.traced));
        let bytes = self.evaluation.departed_bytes + departed.bytes();
        if self.scene.world.departed_bytes() + bytes > DEPARTED_BYTES_PER_MESSAGE_MAX {
            let reason = format!("the message leaves more than {DEPARTED_BYTES_PER_MESSAGE_MAX} bytes at nodes");
            return self.failed(way, (running, index, step), reason);
        }
        self.evaluation.departed_bytes = bytes;
        self.scene.into.push(match next {
            Next::Forward(to) => Effect::Forward { departed: Box::new(departed), to },
            Next::Wait(how, due) => Effect::Wait(Box::new(Waiting { how, due, departed })),
            _ => Effect::Owe(Box::new(departed)),
        });
        way
    }

    /// A message that waits long enough may do so again and again: it takes next to nothing of the shard.
    fn may_depart(&self, step: &Step, next: &Next) -> Result<(), String> {
        let from = self.scene.message.received.0;
        let waits = matches!(next, Next::Wait(how, due)
            if *how != Waits::Answer && due.0.saturating_sub(from) >= DEPARTED_WAIT_MS_MIN);
        match step.id.is_nil() {
            true => Err("the node has no id by which the message could come back".to_owned()),
            false if self.scene.departures >= DEPARTURES_PER_MESSAGE_MAX && !waits => {
                Err(format!("the message has left nodes {DEPARTURES_PER_MESSAGE_MAX} times"))
            }
            false => Ok(()),
        }
    }

    /// Whether the message takes too long. Of most there are too few steps to ask.
    fn is_late(&mut self) -> bool {
        let Some(now) = self.scene.world.clock().map(|clock| clock.now().instant) else { return false };
        now.ms_since(*self.looked.get_or_insert(now)) >= EVALUATION_MS_MAX
    }

    /// The nodes by which a message came to a node of a frame, which is the last of them.
    fn path(&self, mut frame: usize, last: (ChainId, Uuid)) -> Vec<(ChainId, Uuid)> {
        let mut path = vec![last];
        while let Some(inner) = frame.checked_sub(1).and_then(|place| self.frames.get(place)) {
            let (outer, step) = inner.back;
            let running = self.of(outer);
            path.push((running.chain(), running.plan().id(step)));
            frame = outer;
        }
        path.reverse();
        path
    }

    /// Goes on by a route with another message.
    fn change(&mut self, way: Way<'m>, (running, frame, route): (&Running, usize, usize), changed: Changed) -> Way<'m> {
        let way = self.with(way, changed);
        self.take(way, running, frame, route)
    }

    /// At the end of a way, with another message; what is left of it waits with its own.
    fn with(&mut self, way: Way<'m>, changed: Changed) -> Way<'m> {
        Way { carried: Carried::Changed(Rc::new(changed)), ..self.put_aside(way) }
    }

    /// Goes on by a route of a frame's plan.
    fn take(&mut self, way: Way<'m>, running: &Running, frame: usize, route: usize) -> Way<'m> {
        self.count_taken(running, route);
        let targets = running.plan().route(route);
        if targets.is_empty() { way } else { self.turn(way, frame, targets) }
    }

    fn count_taken(&self, running: &Running, route: usize) {
        if self.evaluation.executed >= self.counted {
            running.count_taken(route);
        }
    }

    /// Follows other targets with the same message.
    fn turn(&mut self, way: Way<'m>, frame: usize, targets: Range<u32>) -> Way<'m> {
        let way = self.put_aside(way);
        Way { frame, targets, carried: way.carried }
    }

    /// Lets messages wait at their routes, the first one on top. What waits beyond the steps that are left is never reached, so no
    /// script and no array makes more of it.
    fn branch(&mut self, running: &Running, frame: usize, branches: Vec<(usize, Carried<'m>)>) {
        for (route, carried) in branches.into_iter().rev() {
            self.count_taken(running, route);
            let targets = running.plan().route(route);
            if !targets.is_empty() {
                self.waiting.push(Way { frame, targets, carried });
            }
        }
        let reached = (STEPS_PER_MESSAGE_MAX - self.evaluation.executed) as usize + 1;
        let unreached = self.waiting.len().saturating_sub(reached);
        self.waiting.drain(..unreached);
    }

    /// Lets what is left of a way wait; what is returned is at its end.
    fn put_aside(&mut self, way: Way<'m>) -> Way<'m> {
        if way.targets.is_empty() {
            return way;
        }
        let at_end = Way { frame: way.frame, targets: 0..0, carried: way.carried.clone() };
        self.waiting.push(way);
        at_end
    }

    /// Goes on behind the node that led into this chain. A chain that nobody entered is left for good.
    fn leave(&mut self, way: Way<'m>, label: &str) -> Way<'m> {
        let Some(frame) = way.frame.checked_sub(1).and_then(|place| self.frames.get(place)) else { return way };
        let (outer, step) = frame.back;
        let running = self.of(outer);
        if let Some(step) = running.plan().at(step) {
            self.saw_by(step, Some(label), &way.carried);
        }
        match running.plan().route_of(step, label) {
            Some(route) => self.take(way, &running, outer, route),
            None => way,
        }
    }

    fn failed(&mut self, way: Way<'m>, (running, index, step): (&Running, usize, &Step), reason: String) -> Way<'m> {
        if self.evaluation.executed >= self.counted {
            running.count_failed(index);
        }
        if step.debug.failures || self.sees_all(step) {
            self.saw(step, (true, Some(label::FAILURE)), &way.carried, Some(&reason));
        }
        if running.plan().route(step.failure()).is_empty() {
            self.fail(running.chain(), &step.name, reason);
        }
        let frame = way.frame;
        self.take(way, running, frame, step.failure())
    }

    fn fail(&mut self, chain: ChainId, node: &str, reason: String) {
        if self.evaluation.executed >= self.counted && self.scene.world.may_see() {
            self.scene.world.see(Sighting::unled(chain, node, &reason));
        }
        self.evaluation.failed.get_or_insert_with(|| Failed { node: node.to_owned(), reason });
    }

    /// What leaves a node, if it is looked at there; what fails is seen by `failed`.
    fn saw_leave(&mut self, step: &Step, carried: &Carried<'_>, next: &Next) {
        let changed = |changed: &Changed| Carried::Changed(Rc::new(changed.clone()));
        match next {
            Next::By(outcome) => self.saw_by(step, step.label(*outcome), carried),
            Next::With(with) => self.saw_by(step, step.label(SUCCESS), &changed(with)),
            Next::As(outcome, with) => self.saw_by(step, step.label(*outcome), &changed(with)),
            Next::Each(each) => each.iter().for_each(|with| self.saw_by(step, step.label(SUCCESS), &changed(with))),
            Next::Said(labels) => labels.iter().for_each(|label| self.saw_by(step, Some(label), carried)),
            Next::Fork(fork) => {
                if matches!(fork.itself, Itself::Goes) {
                    self.saw_by(step, step.label(SUCCESS), carried);
                }
                fork.each.iter().for_each(|(outcome, with)| self.saw_by(step, step.label(*outcome), &changed(with)));
            }
            Next::Enter(_) | Next::Leave | Next::Depart | Next::Forward(_) | Next::Wait(..) => {}
            Next::End | Next::Fail(_) | Next::FailWith(..) | Next::Need(_) => {}
        }
    }

    fn saw_by(&mut self, step: &Step, label: Option<&str>, carried: &Carried<'_>) {
        let failure = step.debug.failures && label == Some(label::FAILURE);
        if failure || self.sees_all(step) {
            self.saw(step, (true, label), carried, None);
        }
    }

    fn sees_all(&self, step: &Step) -> bool {
        self.traced || step.debug.sees_all(self.scene.message.received.0)
    }

    fn saw(&mut self, step: &Step, way: (bool, Option<&str>), carried: &Carried<'_>, error: Option<&str>) {
        let is_new = self.evaluation.executed >= self.counted;
        if step.id.is_nil() || !is_new || !self.scene.world.may_see() {
            return;
        }
        let id = match self.seen {
            Some(id) => id,
            None => *self.seen.insert(self.scene.world.new_id()),
        };
        let said = match carried {
            Carried::AsCame(_) => &carried.change(),
            Carried::Changed(changed) => &**changed,
        };
        self.scene.world.see(Sighting::at_node(self.scene.message, id, (step.id, &step.name), way, said, error));
    }
}
