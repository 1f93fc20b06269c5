//! The files of the repository, read and parsed once. Knows no rule.

use std::fmt;
use std::path::Path;
use std::process::Command;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One file: its path from the root of the repository, its text, and its syntax if it is Rust.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: Option<syn::File>,
}

/// One breach of one rule.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.says)
    }
}

impl Source {
    /// Reads a text as if it lay at `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let syntax = Path::new(path)
            .extension()
            .is_some_and(|extension| extension == "rs")
            .then(|| syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: not Rust: {error}")));
        Self { path: path.to_owned(), text: text.to_owned(), syntax }
    }

    pub(crate) fn finding(&self, line: usize, says: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, says: says.into() }
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }

    /// `session` for `dataplane/src/session.rs` and everything under `dataplane/src/session/`.
    pub(crate) fn module(&self, folder: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(folder)?;
        let first = rest.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Whether this file is the module itself and not a part of it.
    pub(crate) fn is_top(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| !rest.contains('/'))
    }
}

/// Every text file that is or would be committed, without generated code.
pub(crate) fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository");
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are text");
    let names = names.split('\0').filter(|name| !name.is_empty() && !name.starts_with("schemas/src/generated/"));
    // A file that is deleted but still in the index, or that is not text, has no shape.
    names.filter_map(|name| Some(Source::new(name, &std::fs::read_to_string(root.join(name)).ok()?))).collect()
}

/// What the checks ask about: every path and every mark of `async`, `unsafe` and macros outside test code.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Segments of every path, `use` trees flattened, and the line.
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    pub(crate) asyncs: Vec<usize>,
    pub(crate) unsafes: Vec<usize>,
    /// Names of macros called.
    pub(crate) macros: Vec<(String, usize)>,
    /// Names of methods called.
    pub(crate) methods: Vec<(String, usize)>,
    depth: usize,
    with_tests: bool,
    /// Paths that begin with `super` outside inline modules.
    pub(crate) supers: Vec<(Vec<String>, usize)>,
}

impl Marks {
    /// Collects what is not test code.
    pub(crate) fn of(source: &Source) -> Self {
        Self::collect(source, false)
    }

    /// Collects everything.
    pub(crate) fn of_all(source: &Source) -> Self {
        Self::collect(source, true)
    }

    fn collect(source: &Source, with_tests: bool) -> Self {
        let mut marks = Self { with_tests, ..Self::default() };
        if let Some(file) = source.syntax.as_ref().filter(|_| with_tests || !source.is_test()) {
            marks.visit_file(file);
        }
        marks
    }

    fn path(&mut self, segments: Vec<String>, span: Span) {
        let line = span.start().line;
        if self.depth == 0 && segments.first().is_some_and(|first| first == "super") {
            self.supers.push((segments.clone(), line));
        }
        self.paths.push((segments, line));
    }

    fn use_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => self.path(with(name.ident.to_string()), name.span()),
            syn::UseTree::Rename(rename) => self.path(with(rename.ident.to_string()), rename.span()),
            syn::UseTree::Glob(glob) => self.path(with("*".to_owned()), glob.span()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(before, item)),
        }
    }

    /// Macros are not parsed; their paths are found by their tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut start = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path, start);
                        start = ident.span();
                    }
                    colons = 0;
                    match ident.to_string().as_str() {
                        "async" | "await" => self.asyncs.push(ident.span().start().line),
                        "unsafe" => self.unsafes.push(ident.span().start().line),
                        name => path.push(name.to_owned()),
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path, start);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end(&mut path, start);
    }

    fn end(&mut self, path: &mut Vec<String>, start: Span) {
        if path.is_empty() {
            return;
        }
        let path = std::mem::take(path);
        self.path(path, start);
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
        let words: Vec<String> = list.tokens.clone().into_iter().map(|token| token.to_string()).collect();
        attribute.path().is_ident("cfg") && words.iter().any(|word| word == "test")
    })
}

impl<'ast> Visit<'ast> for Marks {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            _ => &[],
        };
        if self.with_tests || !is_test_only(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), path.span());
        visit::visit_path(self, path);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.asyncs.extend(signature.asyncness.iter().map(|token| token.span.start().line));
        self.unsafes.extend(signature.unsafety.iter().map(|token| token.span.start().line));
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.unsafes.extend(item.unsafety.iter().map(|token| token.span.start().line));
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_async(&mut self, expression: &'ast syn::ExprAsync) {
        self.asyncs.push(expression.async_token.span.start().line);
        visit::visit_expr_async(self, expression);
    }

    fn visit_expr_closure(&mut self, expression: &'ast syn::ExprClosure) {
        self.asyncs.extend(expression.asyncness.iter().map(|token| token.span.start().line));
        visit::visit_expr_closure(self, expression);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.asyncs.push(expression.await_token.span.start().line);
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_unsafe(&mut self, expression: &'ast syn::ExprUnsafe) {
        self.unsafes.push(expression.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.methods.push((call.method.to_string(), call.method.span().start().line));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(name) = called.path.segments.last() {
            self.macros.push((name.ident.to_string(), name.ident.span().start().line));
        }
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}
