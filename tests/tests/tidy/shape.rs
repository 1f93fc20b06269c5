//! How long, how wide, and what things are called.

use proc_macro2::Span;
use syn::visit::{self, Visit};

use crate::source::{Finding, Source};
use crate::table::NAMES_BANNED;

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const ARGUMENTS_MAX: usize = 6;

/// Every Rust file begins with `//!`.
pub(crate) fn file_header(source: &Source) -> Vec<Finding> {
    let missing = source.syntax.is_some() && !source.text.starts_with("//! ");
    missing.then(|| source.finding(1, "begin with `//!` lines: what it does and what it never does")).into_iter().collect()
}

pub(crate) fn file_length(source: &Source) -> Vec<Finding> {
    let code = [".rs", ".sh", ".py", ".c"].iter().any(|extension| source.path.ends_with(extension));
    let lines = source.text.lines().count();
    let long = code && lines > FILE_LINES_MAX;
    long.then(|| source.finding(FILE_LINES_MAX, format!("{lines} lines, at most {FILE_LINES_MAX}: split it")))
        .into_iter()
        .collect()
}

/// Lines of code in a function's body, as clippy's `too_many_lines` counts them: blank and comment lines are free.
pub(crate) fn function_length(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let long = functions(source).into_iter().filter_map(|function| {
        let body = lines.get(function.open.start().line..function.close.end().line - 1).unwrap_or_default();
        let count = body.iter().filter(|line| is_code(line)).count();
        let says = format!("{} has {count} lines, at most {FUNCTION_LINES_MAX}: split it", function.name);
        (count > FUNCTION_LINES_MAX).then(|| source.finding(function.line, says))
    });
    long.collect()
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

pub(crate) fn argument_count(source: &Source) -> Vec<Finding> {
    let many = functions(source).into_iter().filter(|function| function.arguments > ARGUMENTS_MAX);
    many.map(|function| {
        let says = format!("{} takes {} arguments, at most {ARGUMENTS_MAX}", function.name, function.arguments);
        source.finding(function.line, says)
    })
    .collect()
}

/// No file, folder or module is called after nothing.
pub(crate) fn names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in source.path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if NAMES_BANNED.contains(&stem) {
            findings.push(source.finding(1, format!("the name {stem} says nothing")));
        }
        if part == "mod.rs" {
            findings.push(source.finding(1, "the face of a module is `name.rs` beside `name/`"));
        }
    }
    let items = source.syntax.iter().flat_map(|file| &file.items);
    for item in items {
        if let syn::Item::Mod(module) = item
            && NAMES_BANNED.contains(&module.ident.to_string().as_str())
        {
            findings.push(source.finding(module.ident.span().start().line, format!("the name {} says nothing", module.ident)));
        }
    }
    findings
}

/// `lib.rs` of the planes and of schemas lists modules and nothing else.
pub(crate) fn module_lists(source: &Source) -> Vec<Finding> {
    if !["dataplane/src/lib.rs", "controlplane/src/lib.rs", "schemas/src/lib.rs"].contains(&source.path.as_str()) {
        return Vec::new();
    }
    let items = source.syntax.iter().flat_map(|file| &file.items);
    let owned = items.filter(|item| !matches!(item, syn::Item::Mod(module) if module.content.is_none()));
    owned
        .map(|item| source.finding(syn::spanned::Spanned::span(item).start().line, "this file lists modules, it owns no items"))
        .collect()
}

struct Function {
    name: String,
    line: usize,
    open: Span,
    close: Span,
    arguments: usize,
}

#[derive(Default)]
struct Functions(Vec<Function>);

impl Functions {
    fn take(&mut self, signature: &syn::Signature, block: &syn::Block) {
        self.0.push(Function {
            name: signature.ident.to_string(),
            line: signature.ident.span().start().line,
            open: block.brace_token.span.open(),
            close: block.brace_token.span.close(),
            arguments: signature.inputs.len(),
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.take(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.take(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.take(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn functions(source: &Source) -> Vec<Function> {
    let mut functions = Functions::default();
    if let Some(file) = &source.syntax {
        functions.visit_file(file);
    }
    functions.0
}
