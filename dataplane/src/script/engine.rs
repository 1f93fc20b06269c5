//! One runtime: scripts compiled once, called with JSON. After a script that went beyond its limits it is made anew.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Formatter};
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::context::intrinsic;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Object, Persistent, Runtime};
use schemas::script::{Form, Script};
use serde_json::{Map, Value};

use super::{Answer, Said, ScriptFailure, Subject, native};
use crate::clock::{Clock, Instant};
use crate::limits::{
    SCRIPT_ARGUMENTS_BYTES_MAX, SCRIPT_MEMORY_BYTES_MAX, SCRIPT_RESULT_BYTES_MAX, SCRIPT_STACK_BYTES_MAX, SCRIPT_US_MAX,
    SCRIPTS_COMPILED_MAX,
};

/// What scripts may use of the language. Promises are there because async functions need them to be freed; nothing goes on after a
/// script has answered, so none is ever kept.
type Allowed = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

/// `(late) → { BigInt, parse, stringify }`
const GUARDS: &str = include_str!("guards.js");
/// `(helpers, Date, JSON) → call`
const PRELUDE: &str = include_str!("prelude.js");
/// `(within) → helpers`
const HELPERS: &str = include_str!("java.js");
/// `(offset) → Date`
const DATE: &str = include_str!("date.js");

pub struct Engine {
    clock: Clock,
    inside: Option<Inside>,
}

/// The order matters: functions go before the context, the context before the runtime.
struct Inside {
    /// By the address of the script, which is kept so that no other can have it.
    compiled: HashMap<usize, (Arc<Script>, Persistent<Function<'static>>)>,
    /// `(function, msg, metadata, msgType) → text`, of the prelude.
    call: Persistent<Function<'static>>,
    context: Context,
    runtime: Runtime,
    /// When the call under way is interrupted, in nanoseconds of the clock.
    deadline: Rc<Cell<u64>>,
    interrupted: Rc<Cell<bool>>,
}

impl Debug for Engine {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

impl Engine {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, inside: None }
    }

    /// What the runtime holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let used = self.inside.as_ref().map_or(0, |inside| inside.runtime.memory_usage().malloc_size);
        usize::try_from(used).unwrap_or(0)
    }

    /// Calls a script.
    ///
    /// # Errors
    /// [`ScriptFailure`]: it threw, went beyond its limits, or answered something else than its form says.
    pub fn run(&mut self, script: &Arc<Script>, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
        let (data, metadata) = (subject.data.to_string(), json_of(subject.metadata));
        if data.len() + metadata.len() > SCRIPT_ARGUMENTS_BYTES_MAX {
            return Err(ScriptFailure::ArgumentsTooLarge);
        }
        let inside = match &mut self.inside {
            Some(inside) => inside,
            empty => empty.insert(Inside::new(self.clock)?),
        };
        let deadline = Instant::from_nanos(self.clock.now().instant.nanos().saturating_add(SCRIPT_US_MAX * 1_000));
        let said = inside.call(script, (data, metadata, subject.kind), deadline);
        if matches!(said, Err(ScriptFailure::TooLong | ScriptFailure::OutOfMemory)) {
            // What it was doing is undone with all it had.
            self.inside = None;
        }
        let said = said?;
        if said.len() > SCRIPT_RESULT_BYTES_MAX {
            return Err(ScriptFailure::ResultTooLarge);
        }
        let value = serde_json::from_str(&said).map_err(|error| ScriptFailure::Threw(error.to_string()))?;
        answer(script.form, value, subject)
    }
}

impl Inside {
    fn new(clock: Clock) -> Result<Self, ScriptFailure> {
        let broken = |error: rquickjs::Error| ScriptFailure::Broken(error.to_string());
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_memory_limit(SCRIPT_MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(SCRIPT_STACK_BYTES_MAX);
        let (deadline, interrupted) = (Rc::new(Cell::new(u64::MAX)), Rc::new(Cell::new(false)));
        let (until, tell) = (Rc::clone(&deadline), Rc::clone(&interrupted));
        let late = move || {
            let over = clock.now().instant.nanos() > until.get();
            tell.set(tell.get() || over);
            over
        };
        runtime.set_interrupt_handler(Some(Box::new(late.clone())));
        let context = Context::custom::<Allowed>(&runtime).map_err(broken)?;
        let call = context.with(|ctx| {
            let call = load(&ctx, late).catch(&ctx);
            let call = call.map_err(|error| ScriptFailure::Broken(said(&error)))?;
            Ok(Persistent::save(&ctx, call))
        })?;
        Ok(Self { compiled: HashMap::new(), call, context, runtime, deadline, interrupted })
    }

    fn call(
        &mut self,
        script: &Arc<Script>,
        (data, metadata, kind): (String, String, &str),
        deadline: Instant,
    ) -> Result<String, ScriptFailure> {
        self.deadline.set(deadline.nanos());
        self.interrupted.set(false);
        if self.compiled.len() >= SCRIPTS_COMPILED_MAX && !self.compiled.contains_key(&place(script)) {
            self.compiled.clear();
        }
        let (context, call, compiled, interrupted) = (&self.context, &self.call, &mut self.compiled, &self.interrupted);
        context.with(|ctx| {
            let failed = |error: &CaughtError<'_>| match said(error) {
                _ if interrupted.get() => ScriptFailure::TooLong,
                text if text.contains("out of memory") => ScriptFailure::OutOfMemory,
                text => ScriptFailure::Threw(text),
            };
            let function = match compiled.get(&place(script)) {
                Some((_, function)) => function.clone(),
                None if has_big_int(&script.js) => {
                    return Err(ScriptFailure::Threw("SyntaxError: there are no BigInts".to_owned()));
                }
                None => {
                    let function = compile(&ctx, script).map_err(|error| failed(&error))?;
                    let function = Persistent::save(&ctx, function);
                    compiled.insert(place(script), (Arc::clone(script), function.clone()));
                    function
                }
            };
            let restored = function.restore(&ctx).and_then(|function| Ok((function, call.clone().restore(&ctx)?)));
            let (function, call) = restored.catch(&ctx).map_err(|error| failed(&error))?;
            let said = call.call::<_, Option<String>>((function, data, metadata, kind)).catch(&ctx);
            said.map_err(|error| failed(&error))?.ok_or_else(|| ScriptFailure::Shape(expected(script.form)))
        })
    }
}

fn place(script: &Arc<Script>) -> usize {
    Arc::as_ptr(script).addr()
}

/// What scripts share, behind the guards, and the function that calls them. The helpers alone are given BigInt.
fn load<'js>(ctx: &Ctx<'js>, late: impl Fn() -> bool + 'js) -> rquickjs::Result<Function<'js>> {
    let own: Object<'js> = ctx.eval::<Function<'js>, _>(GUARDS)?.call((Function::new(ctx.clone(), late)?,))?;
    let big: Function<'js> = own.get("BigInt")?;
    let helpers: Function<'js> =
        ctx.eval(format!("(function(BigInt, within) {{ const helpers = {HELPERS}; return helpers(within); }})"))?;
    let helpers: rquickjs::Value<'js> = helpers.call((big, Function::new(ctx.clone(), native::within)?))?;
    let date: rquickjs::Value<'js> = ctx.eval::<Function<'js>, _>(DATE)?.call((Function::new(ctx.clone(), native::offset)?,))?;
    ctx.eval::<Function<'js>, _>(PRELUDE)?.call((helpers, date, own))
}

/// Whether a source may have a BigInt in it, wherever that stands: what it takes to calculate with one cannot be bounded.
fn has_big_int(source: &str) -> bool {
    let mut words = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
    let digit = |c: char| c.is_ascii_hexdigit() || matches!(c, '_' | 'x' | 'X' | 'o' | 'O');
    words.any(|word| {
        let number = word.strip_suffix('n').filter(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        number.is_some_and(|number| number.chars().all(digit))
    })
}

fn compile<'js>(ctx: &Ctx<'js>, script: &Script) -> Result<Function<'js>, CaughtError<'js>> {
    ctx.eval(format!("(function({}) {{\n{}\n}})", script.form.arguments(), script.js)).catch(ctx)
}

/// What was thrown, for people.
fn said(error: &CaughtError<'_>) -> String {
    match error {
        CaughtError::Exception(exception) => {
            let name = exception.as_object().get::<_, String>("name").unwrap_or_else(|_| "Error".to_owned());
            format!("{name}: {}", exception.message().unwrap_or_default())
        }
        CaughtError::Value(value) => match value.as_string().and_then(|text| text.to_string().ok()) {
            Some(text) => text,
            None => value.as_object().and_then(|object: &Object<'_>| object.get::<_, String>("message").ok()).unwrap_or_default(),
        },
        CaughtError::Error(error) => error.to_string(),
    }
}

fn json_of(metadata: &BTreeMap<String, String>) -> String {
    serde_json::to_string(metadata).unwrap_or_default()
}

pub(super) fn expected(form: Form) -> &'static str {
    match form {
        Form::Filter => "true or false",
        Form::Switch => "a text or an array of texts",
        Form::Transform => "{msg, metadata, msgType} or an array of such",
        Form::Generate => "{msg, metadata, msgType}",
        Form::Text => "a text",
        Form::Details => "JSON",
    }
}

fn answer(form: Form, value: Value, subject: Subject<'_>) -> Result<Answer, ScriptFailure> {
    let wrong = || ScriptFailure::Shape(expected(form));
    match (form, value) {
        (Form::Filter, Value::Bool(truth)) => Ok(Answer::Truth(truth)),
        (Form::Switch, Value::String(label)) => Ok(Answer::Labels(vec![label])),
        (Form::Switch, Value::Array(labels)) => {
            let labels = labels.into_iter().map(|label| if let Value::String(label) = label { Some(label) } else { None });
            labels.collect::<Option<_>>().map(Answer::Labels).ok_or_else(wrong)
        }
        (Form::Transform | Form::Generate, Value::Object(message)) => {
            Ok(Answer::Messages(vec![message_of(message, subject).ok_or_else(wrong)?]))
        }
        (Form::Transform, Value::Array(messages)) => {
            let message = |value| if let Value::Object(message) = value { message_of(message, subject) } else { None };
            messages.into_iter().map(message).collect::<Option<_>>().map(Answer::Messages).ok_or_else(wrong)
        }
        (Form::Text, Value::String(text)) => Ok(Answer::Text(text)),
        (Form::Details, details) => Ok(Answer::Details(details)),
        _ => Err(wrong()),
    }
}

/// What a script leaves out of a message stays as it was, as in ThingsBoard.
fn message_of(mut message: Map<String, Value>, subject: Subject<'_>) -> Option<Said> {
    let data = message.remove("msg").unwrap_or_else(|| subject.data.clone());
    let metadata = match message.remove("metadata") {
        None | Some(Value::Null) => subject.metadata.clone(),
        Some(Value::Object(metadata)) => {
            let text = |value| if let Value::String(text) = value { text } else { value.to_string() };
            let said = metadata.into_iter().filter(|(_, value)| !value.is_null());
            said.map(|(name, value)| (name, text(value))).collect()
        }
        Some(_) => return None,
    };
    let kind = match message.remove("msgType") {
        None | Some(Value::Null) => subject.kind.to_owned(),
        Some(Value::String(kind)) if kind.is_empty() => subject.kind.to_owned(),
        Some(Value::String(kind)) => kind,
        Some(_) => return None,
    };
    Some(Said { data, metadata, kind })
}
