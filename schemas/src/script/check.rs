//! Whether a text is the body of one function, as QuickJS sees it. Compiles it and calls nothing.

use rquickjs::{CatchResultExt, CaughtError, Context, Runtime, Value, context::intrinsic};

use super::InvalidScript;

/// Memory for compiling one script, in bytes.
const MEMORY_BYTES_MAX: usize = 16 << 20;
/// Stack for it: nesting beyond it is refused, not followed.
const STACK_BYTES_MAX: usize = 256 << 10;
/// How often the engine asks whether to go on, each time after some thousand steps.
const INTERRUPTS_MAX: u32 = 20;

/// The names of its arguments stand between commas.
pub(super) fn check(arguments: &str, body: &str) -> Result<(), InvalidScript> {
    let refused = |error: rquickjs::Error| InvalidScript::Js(error.to_string());
    let runtime = Runtime::new().map_err(refused)?;
    runtime.set_memory_limit(MEMORY_BYTES_MAX);
    runtime.set_max_stack_size(STACK_BYTES_MAX);
    // Only a body that is more than a function could run anything here; it does not get far.
    let mut left = INTERRUPTS_MAX;
    runtime.set_interrupt_handler(Some(Box::new(move || {
        left = left.saturating_sub(1);
        left == 0
    })));
    let context =
        Context::custom::<(intrinsic::Eval, intrinsic::RegExpCompiler, intrinsic::RegExp)>(&runtime).map_err(refused)?;
    context.with(|ctx| {
        let compiled = ctx.eval::<Value<'_>, _>(format!("(function({arguments}) {{\n{body}\n}})")).catch(&ctx);
        let function = compiled.map_err(|error| InvalidScript::Js(said(&error)))?;
        // What ends the function and begins another one does so only within the brackets that it expects.
        let other = ctx.eval::<Value<'_>, _>(format!("[function({arguments}) {{\n{body}\n}}]")).catch(&ctx);
        let single = other.is_ok_and(|array| array.as_array().is_some_and(|array| array.len() == 1));
        if function.is_function() && single {
            Ok(())
        } else {
            Err(InvalidScript::Js("more than the body of a function".to_owned()))
        }
    })
}

/// What is wrong, with the line of the body.
fn said(error: &CaughtError<'_>) -> String {
    let CaughtError::Exception(exception) = error else { return error.to_string() };
    let message = exception.message().unwrap_or_default();
    let stack = exception.stack().unwrap_or_default();
    // "    at <eval_script>:3:7": the body begins in line 2.
    let mut place = stack.trim().trim_end_matches(')').rsplit(':');
    let (column, line) = (place.next(), place.next().and_then(|line| line.parse::<usize>().ok()));
    match (line, column) {
        (Some(line), Some(column)) => format!("line {}, column {column}: {message}", line.saturating_sub(1)),
        _ => message,
    }
}
