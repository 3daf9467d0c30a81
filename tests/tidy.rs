//! The house's rules as a test: which module may use which, what the pure floors never touch, and how a file begins (ARCHITECTURE.md).
//!
//! `syn` parses every file under src/. Its inline modules and what only tests compile are taken from the syntax tree; the paths are taken
//! from the tokens, so that the inside of a macro call, a macro's definition and a path in an attribute's string are judged like any
//! expression. A path is followed through `use` (groups, renames, globs, `self`, `super`) until it is absolute.

use proc_macro2::{Delimiter, LineColumn, Spacing, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The floors from the top down; what stands on one line never imports each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["config"],
    &["server"],
    &["origin"],
    &["packager", "content"],
    &["media"],
    &["formats", "cache"],
    &["rope", "time", "telemetry", "sys"],
];

/// No I/O, no async, no clock, no log, no environment.
const PURE: &[&str] = &["formats", "media", "packager"];
const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "object_store",
    "rustix",
    "socket2",
    "tokio",
    "tracing",
    "tracing_subscriber",
];
/// `std::io::IoSlice` is a borrowed slice, and `std::io::Cursor` a slice and a position: no I/O.
const PURE_ALL_THE_SAME: &[&str] = &["std::io::IoSlice", "std::io::Cursor"];
const LOG_MACROS: &[&str] = &["print", "println", "eprint", "eprintln"];

/// Where no HTTP word may stand, and the crates that speak it.
const NO_HTTP: &[&str] = &["formats", "media", "packager", "content"];
const HTTP_PATHS: &[&str] = &["h2", "http", "http_body", "http_body_util", "httpdate", "hyper", "hyper_util"];

const STRANGERS: [&str; 2] = ["crate::packager::hls", "crate::packager::dash"];

/// The file that may hold `unsafe`: docs/adr/0004-unsafe.md has the reason.
const UNSAFE_FILES: &[&str] = &["src/sys.rs"];

const FILE_LINES_MAX: usize = 1200;

/// The name of the library, as main.rs writes it.
const CRATE: &str = "headwater";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rule {
    Syntax,
    Opening,
    Lines,
    Library,
    PlainModules,
    Floor,
    Arrow,
    Strangers,
    Pure,
    Http,
    Unsafe,
    Unfinished,
    Unwrap,
    Circle,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Syntax => "every file parses",
            Rule::Opening => "every file opens with `//!` and says what it is",
            Rule::Lines => "a file has at most 1200 lines",
            Rule::Library => "lib.rs is a list of `pub mod name;`: it defines and re-exports nothing",
            Rule::PlainModules => "modules are files named as they are: no #[path], no include!, no extern crate, no import of the crate's root",
            Rule::Floor => "every module stands on a floor named in this test",
            Rule::Arrow => "arrows go down only, and siblings never import each other",
            Rule::Strangers => "hls and dash never import each other",
            Rule::Pure => "formats, media and packager do no I/O, no async, read no clock and write no log",
            Rule::Http => "HTTP words stay in origin and server",
            Rule::Unsafe => "no unsafe",
            Rule::Unfinished => "no todo!, unimplemented! or dbg!",
            Rule::Unwrap => "no unwrap outside tests: expect(\"why it holds\") or an error",
            Rule::Circle => "files do not import each other in a circle",
        })
    }
}

/// One place where a rule is broken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Breach {
    file: String,
    line: usize,
    rule: Rule,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.file, self.line, self.what, self.rule)
    }
}

// ---- Tokens -----------------------------------------------------------------------------------------------------------------------------

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    /// A sign, and whether the next one follows without a space.
    Sign(char, bool),
    Open(char),
    Close,
    Literal,
}

type Tokens = Vec<(Token, LineColumn)>;

/// `stream` without its nesting; `at` overrides the position (of text that stands inside a literal).
fn flatten(stream: TokenStream, at: Option<LineColumn>, in_attribute: bool, out: &mut Tokens) {
    for tree in stream {
        let here = at.unwrap_or_else(|| tree.span().start());
        match tree {
            TokenTree::Group(group) => {
                let open = match group.delimiter() {
                    Delimiter::Parenthesis => '(',
                    Delimiter::Brace => '{',
                    Delimiter::Bracket => '[',
                    Delimiter::None => ' ',
                };
                let attribute = open == '[' && follows_a_hash(out) && !is_doc(&group.stream());
                out.push((Token::Open(open), here));
                flatten(group.stream(), at, in_attribute || attribute, out);
                out.push((Token::Close, at.unwrap_or_else(|| group.span_close().start())));
            }
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                out.push((Token::Word(word.strip_prefix("r#").unwrap_or(&word).to_owned()), here));
            }
            TokenTree::Punct(sign) => out.push((Token::Sign(sign.as_char(), sign.spacing() == Spacing::Joint), here)),
            TokenTree::Literal(literal) => {
                // #[serde(with = "crate::time::as_seconds")]: a path in a string is a path.
                let literal = literal.to_string();
                let text = literal.trim_matches('"');
                let is_path = text.contains("::") && text.chars().all(|c| c.is_alphanumeric() || "_:<>".contains(c));
                match text.parse::<TokenStream>() {
                    Ok(path) if in_attribute && is_path => flatten(path, Some(here), false, out),
                    _ => out.push((Token::Literal, here)),
                }
            }
        }
    }
}

fn follows_a_hash(tokens: &Tokens) -> bool {
    let sign = |back: usize| tokens.len().checked_sub(back).map(|index| &tokens[index].0);
    let hash = |token: Option<&Token>| matches!(token, Some(Token::Sign('#', _)));
    hash(sign(1)) || matches!(sign(1), Some(Token::Sign('!', _))) && hash(sign(2))
}

fn is_doc(attribute: &TokenStream) -> bool {
    matches!(attribute.clone().into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "doc")
}

/// A path as it is written: one leaf of a `use` tree, or a path of an expression, a type, a macro.
#[derive(Clone, Debug)]
struct Written {
    segments: Vec<String>,
    /// `::std::fs`: begins at the crates, not in this module.
    from_the_root: bool,
    glob: bool,
    /// The name that a `use` gives it.
    name: Option<String>,
    at: LineColumn,
}

/// Reads paths from tokens, wherever they stand.
struct PathReader<'a> {
    tokens: &'a Tokens,
    paths: Vec<Written>,
}

impl PathReader<'_> {
    fn word(&self, index: usize) -> Option<&str> {
        match self.tokens.get(index) {
            Some((Token::Word(word), _)) => Some(word),
            _ => None,
        }
    }

    fn sign(&self, index: usize, wanted: char) -> bool {
        matches!(self.tokens.get(index), Some((Token::Sign(found, _), _)) if *found == wanted)
    }

    fn colons(&self, index: usize) -> bool {
        matches!(self.tokens.get(index), Some((Token::Sign(':', true), _))) && self.sign(index + 1, ':')
    }

    fn read(mut self) -> Vec<Written> {
        let mut index = 0;
        while index < self.tokens.len() {
            index = self.step(index);
        }
        self.paths
    }

    /// Reads what begins at `index`; answers where to go on.
    fn step(&mut self, index: usize) -> usize {
        let after_dot = index > 0 && self.sign(index - 1, '.') && !(index > 1 && self.sign(index - 2, '.'));
        let after_quote = index > 0 && self.sign(index - 1, '\'');
        if self.word(index) == Some("use") && !self.sign(index + 1, '<') {
            return self.tree(index + 1, Vec::new(), false, true);
        }
        // `$name::x` is whatever the caller says; `$crate` is this crate.
        let unknown = index > 0 && self.sign(index - 1, '$') && self.word(index) != Some("crate");
        if self.colons(index) && self.word(index + 2).is_some() {
            return self.tree(index + 2, Vec::new(), true, false);
        }
        if self.word(index).is_some() && self.colons(index + 1) && !after_dot && !after_quote && !unknown {
            return self.tree(index, Vec::new(), false, false);
        }
        index + 1
    }

    /// Reads a use tree, or a path, that continues `prefix` at `index`; answers where it ends.
    fn tree(&mut self, mut index: usize, prefix: Vec<String>, mut from_the_root: bool, in_use: bool) -> usize {
        let mut segments = prefix;
        if self.colons(index) {
            (index, from_the_root) = (index + 2, true);
        }
        loop {
            let at = match self.tokens.get(index) {
                Some((_, at)) => *at,
                None => return index,
            };
            match &self.tokens[index].0 {
                Token::Word(word) => {
                    // `{self}` names the path before it; at the start `self` is this module.
                    if word != "self" || segments.is_empty() {
                        segments.push(word.clone());
                    }
                    index += 1;
                    if self.colons(index) {
                        index += 2;
                        continue;
                    }
                    let mut name = segments.last().cloned();
                    if in_use && self.word(index) == Some("as") {
                        name = self.word(index + 1).map(str::to_owned);
                        index += 2;
                    }
                    self.paths.push(Written {
                        segments,
                        from_the_root,
                        glob: false,
                        name: name.filter(|_| in_use),
                        at,
                    });
                    return index;
                }
                Token::Sign('*', _) => {
                    self.paths.push(Written { segments, from_the_root, glob: true, name: None, at });
                    return index + 1;
                }
                Token::Open('{') => {
                    index += 1;
                    while !matches!(self.tokens.get(index), Some((Token::Close, _)) | None) {
                        let before = index;
                        index = self.tree(index, segments.clone(), from_the_root, true);
                        if self.sign(index, ',') {
                            index += 1;
                        }
                        // What is no use tree (in a macro's own language) is left to the scan.
                        if index == before {
                            return index;
                        }
                    }
                    return index + 1;
                }
                // A turbofish: what stands in it is read on its own.
                _ => {
                    if !segments.is_empty() {
                        self.paths.push(Written { segments, from_the_root, glob: false, name: None, at });
                    }
                    return index;
                }
            }
        }
    }
}

// ---- One file ---------------------------------------------------------------------------------------------------------------------------

/// A stretch of a file, by position.
type Stretch = (LineColumn, LineColumn);

/// A file of src/, read.
struct Source<'a> {
    /// From the repository's root, `src/media/track.rs`.
    file: &'a str,
    text: &'a str,
    /// `crate::media::track`; `main` for main.rs.
    module: Vec<String>,
    tokens: Tokens,
    paths: Vec<Written>,
    /// Inline modules, outer ones first: their names below `module`, and where.
    inline: Vec<(Vec<String>, Stretch)>,
    /// What only tests compile.
    tests: Vec<Stretch>,
    /// `#[cfg(test)] mod name;`
    test_files: Vec<Vec<String>>,
    syntax: syn::File,
}

impl<'a> Source<'a> {
    fn read(file: &'a str, text: &'a str) -> Result<Source<'a>, Breach> {
        let breach = |line, what: String| Breach { file: file.to_owned(), line, rule: Rule::Syntax, what };
        let syntax = syn::parse_file(text).map_err(|error| breach(error.span().start().line, error.to_string()))?;
        let stream: TokenStream = text.parse().map_err(|error| breach(1, format!("{error}")))?;
        let mut tokens = Vec::new();
        flatten(stream, None, false, &mut tokens);
        let module = module_of(file);
        let mut outline = Outline {
            module: module.clone(),
            inline: Vec::new(),
            tests: Vec::new(),
            test_files: Vec::new(),
            within: Vec::new(),
        };
        outline.visit_file(&syntax);
        let paths = PathReader { tokens: &tokens, paths: Vec::new() }.read();
        let Outline { inline, tests, test_files, .. } = outline;
        Ok(Source { file, text, module, tokens, paths, inline, tests, test_files, syntax })
    }

    fn is_test(&self, at: LineColumn) -> bool {
        self.tests.iter().any(|(start, end)| *start <= at && at < *end)
    }

    /// The module, inline ones counted, that holds `at`.
    fn module_at(&self, at: LineColumn) -> Vec<String> {
        let inner = self.inline.iter().rfind(|(_, (start, end))| *start <= at && at < *end);
        let mut module = self.module.clone();
        module.extend(inner.into_iter().flat_map(|(names, _)| names.iter().cloned()));
        module
    }

    /// The name of its floor's row: the first module below the root.
    fn top(&self) -> &str {
        if self.module[0] == "main" { "main" } else { self.module.get(1).map_or("lib", String::as_str) }
    }

    fn breach(&self, at: LineColumn, rule: Rule, what: impl Into<String>) -> Breach {
        Breach { file: self.file.to_owned(), line: at.line, rule, what: what.into() }
    }
}

fn module_of(file: &str) -> Vec<String> {
    let inner = file.strip_prefix("src/").unwrap_or(file);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    if inner == "main" {
        return vec!["main".to_owned()];
    }
    let names = inner.split('/').filter(|name| !matches!(*name, "mod" | "lib"));
    std::iter::once("crate").chain(names).map(str::to_owned).collect()
}

/// Finds inline modules and what only tests compile.
struct Outline {
    module: Vec<String>,
    inline: Vec<(Vec<String>, Stretch)>,
    tests: Vec<Stretch>,
    test_files: Vec<Vec<String>>,
    within: Vec<String>,
}

impl Outline {
    fn note(&mut self, attributes: &[syn::Attribute], node: &impl Spanned) {
        if attributes.iter().any(is_test_only) {
            self.tests.push((node.span().start(), node.span().end()));
        }
    }
}

/// `#[test]`, `#[cfg(test)]`, `#[cfg(all(test, ..))]`.
fn is_test_only(attribute: &syn::Attribute) -> bool {
    let words = |stream: &TokenStream| stream.to_string().replace(' ', "");
    match &attribute.meta {
        syn::Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = words(&list.tokens);
            let all = condition.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')'));
            condition == "test" || all.is_some_and(|parts| parts.split(',').any(|part| part == "test"))
        }
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Outline {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Const(node) => self.note(&node.attrs, item),
            syn::Item::Enum(node) => self.note(&node.attrs, item),
            syn::Item::Fn(node) => self.note(&node.attrs, item),
            syn::Item::Impl(node) => self.note(&node.attrs, item),
            syn::Item::Macro(node) => self.note(&node.attrs, item),
            syn::Item::Mod(node) => self.note(&node.attrs, item),
            syn::Item::Static(node) => self.note(&node.attrs, item),
            syn::Item::Struct(node) => self.note(&node.attrs, item),
            syn::Item::Trait(node) => self.note(&node.attrs, item),
            syn::Item::Type(node) => self.note(&node.attrs, item),
            syn::Item::Use(node) => self.note(&node.attrs, item),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        self.within.push(node.ident.to_string());
        if node.content.is_some() {
            self.inline.push((self.within.clone(), (node.span().start(), node.span().end())));
        } else if node.attrs.iter().any(is_test_only) {
            self.test_files.push([self.module.clone(), self.within.clone()].concat());
        }
        visit::visit_item_mod(self, node);
        self.within.pop();
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.note(&node.attrs, node);
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        self.note(&node.attrs, node);
        visit::visit_field(self, node);
    }

    fn visit_local(&mut self, node: &'ast syn::Local) {
        self.note(&node.attrs, node);
        visit::visit_local(self, node);
    }
}

// ---- The tree ---------------------------------------------------------------------------------------------------------------------------

/// All files together: which modules there are, and what a path means.
struct Tree<'a> {
    sources: Vec<Source<'a>>,
    modules: BTreeSet<Vec<String>>,
    /// (module, name) -> what a `use` in it made that name mean.
    names: BTreeMap<(Vec<String>, String), Vec<String>>,
    /// Module -> modules whose content a glob brings in.
    globs: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
}

impl<'a> Tree<'a> {
    fn new(sources: Vec<Source<'a>>) -> Tree<'a> {
        let mut modules: BTreeSet<Vec<String>> =
            FLOORS.iter().copied().flatten().map(|top| vec!["crate".into(), (*top).into()]).collect();
        for source in &sources {
            modules.insert(source.module.clone());
            modules.extend(source.inline.iter().map(|(names, _)| [source.module.clone(), names.clone()].concat()));
        }
        let mut tree = Tree { sources, modules, names: BTreeMap::new(), globs: BTreeMap::new() };
        // Twice: a `use` may go through a name that another `use` makes.
        for _ in 0..2 {
            let mut found = Vec::new();
            for source in &tree.sources {
                for path in source.paths.iter().filter(|path| path.glob || path.name.is_some()) {
                    let module = source.module_at(path.at);
                    found.push((path.clone(), tree.absolute(&module, path), module));
                }
            }
            for (path, absolute, module) in found {
                match path.name {
                    Some(name) if absolute != [name.as_str()] => drop(tree.names.insert((module, name), absolute)),
                    Some(_) => {}
                    None => drop(tree.globs.entry(module).or_default().insert(absolute)),
                }
            }
        }
        tree
    }

    /// What `path`, written in `module`, names: from `crate`, or from the name of another crate.
    fn absolute(&self, module: &[String], path: &Written) -> Vec<String> {
        let (first, rest) = path.segments.split_first().expect("a written path has a segment");
        let mut base: Vec<String> = match first.as_str() {
            _ if path.from_the_root => vec![first.clone()],
            "crate" => vec![module[0].clone()],
            "self" => module.to_vec(),
            "super" => module[..module.len().saturating_sub(1).max(1)].to_vec(),
            _ => self.meaning(module, first, 0).unwrap_or_else(|| vec![first.clone()]),
        };
        for segment in rest {
            if segment == "super" {
                base.truncate(base.len().saturating_sub(1).max(1));
            } else {
                base.push(segment.clone());
            }
        }
        match base[0].as_str() {
            CRATE => base[0] = "crate".to_owned(),
            "core" | "alloc" => base[0] = "std".to_owned(),
            _ => {}
        }
        base
    }

    /// What the bare name `name` means in `module`, if the module knows it.
    fn meaning(&self, module: &[String], name: &str, depth: usize) -> Option<Vec<String>> {
        if let Some(meaning) = self.names.get(&(module.to_vec(), name.to_owned())) {
            return Some(meaning.clone());
        }
        let below = [module, &[name.to_owned()]].concat();
        if self.modules.contains(&below) && (module != ["crate"] || depth > 0) {
            return Some(below);
        }
        let globs = self.globs.get(module).filter(|_| depth < 4)?;
        globs.iter().find_map(|glob| self.meaning(glob, name, depth + 1))
    }

    /// `path` after the re-exports on its way.
    fn followed(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let step = (1..path.len()).find_map(|length| {
                let meaning = self.names.get(&(path[..length].to_vec(), path[length].clone()))?;
                Some([meaning.clone(), path[length + 1..].to_vec()].concat())
            });
            match step {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        path
    }

    /// The file that holds what `path` names.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        let lengths = (1..=path.len()).rev();
        lengths
            .map(|length| &path[..length])
            .find_map(|module| self.sources.iter().find(|source| source.module == module))
            .map(|source| source.file)
    }

    fn is_test(&self, source: &Source<'_>, at: LineColumn) -> bool {
        source.is_test(at)
            || self.sources.iter().flat_map(|other| &other.test_files).any(|module| source.module.starts_with(module))
    }
}

fn floor(top: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&top))
}

/// Whether `path` is `wanted` or below it.
fn is_in(path: &[String], wanted: &str) -> bool {
    let mut parts = wanted.split("::");
    let mut segments = path.iter();
    parts.all(|part| segments.next().is_some_and(|segment| segment == part))
}

/// Whether `path` is a module above `wanted`, whose import would make a short name for it.
fn is_above(path: &[String], wanted: &str) -> bool {
    wanted.split("::").count() > path.len()
        && is_in(&wanted.split("::").map(str::to_owned).collect::<Vec<_>>(), &path.join("::"))
}

/// Every breach of every rule in `files`: (path from the repository's root, text).
fn check(files: &[(&str, &str)]) -> Vec<Breach> {
    let (mut breaches, mut sources) = (BTreeSet::new(), Vec::new());
    for (file, text) in files {
        breaches.extend(check_opening(file, text));
        if file.starts_with("src/") {
            match Source::read(file, text) {
                Ok(source) => sources.push(source),
                Err(breach) => drop(breaches.insert(breach)),
            }
        }
    }
    let tree = Tree::new(sources);
    for source in &tree.sources {
        breaches.extend(check_shape(source));
        breaches.extend(check_words(&tree, source));
        breaches.extend(check_paths(&tree, source));
    }
    breaches.extend(check_circles(&tree));
    breaches.into_iter().collect()
}

fn check_opening(file: &str, text: &str) -> Option<Breach> {
    let says =
        text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| !words.trim().is_empty());
    let breach = || Breach {
        file: file.to_owned(),
        line: 1,
        rule: Rule::Opening,
        what: "its first line is no `//! ..`".to_owned(),
    };
    (!says).then(breach)
}

fn check_shape(source: &Source<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(source.breach(LineColumn { line: lines, column: 0 }, Rule::Lines, format!("{lines} lines")));
    }
    if source.file == "src/lib.rs" {
        for item in &source.syntax.items {
            let declares = matches!(item, syn::Item::Mod(module) if module.content.is_none() && matches!(module.vis, syn::Visibility::Public(_)));
            if !declares {
                breaches.push(source.breach(item.span().start(), Rule::Library, "an item that is no `pub mod name;`"));
            }
        }
    } else if floor(source.top()).is_none() {
        let at = LineColumn { line: 1, column: 0 };
        breaches.push(source.breach(at, Rule::Floor, format!("`{}` stands on no floor", source.top())));
    }
    breaches
}

/// Rules about single words.
fn check_words(tree: &Tree<'_>, source: &Source<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let pure = PURE.contains(&source.top());
    let token = |index: usize| source.tokens.get(index).map(|(token, _)| token);
    for (index, (current, at)) in source.tokens.iter().enumerate() {
        let Token::Word(word) = current else { continue };
        let test = tree.is_test(source, *at);
        let called =
            matches!(token(index + 1), Some(Token::Sign('!', _))) && matches!(token(index + 2), Some(Token::Open(_)));
        let after = index.checked_sub(1).and_then(token);
        let mut breach = |rule, what: String| breaches.push(source.breach(*at, rule, what));
        match word.as_str() {
            "unsafe" if !UNSAFE_FILES.contains(&source.file) => breach(Rule::Unsafe, "unsafe".into()),
            "todo" | "unimplemented" | "dbg" if called => breach(Rule::Unfinished, format!("{word}!")),
            "unwrap" if !test && matches!(after, Some(Token::Sign('.' | ':', _))) => {
                breach(Rule::Unwrap, "unwrap".into())
            }
            "include" if called => breach(Rule::PlainModules, "include!".into()),
            "path"
                if matches!(after, Some(Token::Open('[')))
                    && index > 1
                    && matches!(token(index - 2), Some(Token::Sign('#', _))) =>
            {
                breach(Rule::PlainModules, "#[path]".into());
            }
            "extern" if matches!(token(index + 1), Some(Token::Word(next)) if next == "crate") => {
                breach(Rule::PlainModules, "extern crate".into())
            }
            "async" | "await" if pure && !test => breach(Rule::Pure, word.clone()),
            _ if pure && !test && called && LOG_MACROS.contains(&word.as_str()) => {
                breach(Rule::Pure, format!("{word}!"))
            }
            _ => {}
        }
    }
    breaches
}

/// Rules about what a path names.
fn check_paths(tree: &Tree<'_>, source: &Source<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let top = source.top();
    for path in &source.paths {
        let module = source.module_at(path.at);
        let named = tree.absolute(&module, path);
        let (imports, test) = (path.glob || path.name.is_some(), tree.is_test(source, path.at));
        let text = path.segments.join("::") + if path.glob { "::*" } else { "" };
        let mut breach = |rule, named: &[String], why: String| {
            let full = named.join("::");
            let shown =
                if full == path.segments.join("::") { text.clone() } else { format!("{text}, which is {full}") };
            breaches.push(source.breach(path.at, rule, format!("{shown}: {why}")));
        };
        if named == ["crate"] && top != "main" && imports {
            breach(Rule::PlainModules, &named, "the root is imported".into());
        }
        let followed = tree.followed(&named);
        let mut meanings = vec![&named];
        if followed != named {
            meanings.push(&followed);
        }
        for named in meanings {
            if named[0] == "crate" && named.len() > 1 && top != "main" && top != "lib" {
                match (floor(top), floor(&named[1])) {
                    _ if named[1] == top => {}
                    (Some(here), Some(there)) if there > here => {}
                    (Some(here), Some(there)) if there == here => {
                        breach(Rule::Arrow, named, format!("{top} and {} are siblings", named[1]))
                    }
                    (Some(_), Some(_)) => breach(Rule::Arrow, named, format!("{} is above {top}", named[1])),
                    (Some(_), None) => breach(Rule::Floor, named, format!("`{}` stands on no floor", named[1])),
                    (None, _) => {}
                }
            }
            let [one, other] = STRANGERS;
            for (home, stranger) in [(one, other), (other, one)] {
                if is_in(&source.module, home) && is_in(named, stranger) {
                    breach(Rule::Strangers, named, format!("{home} uses {stranger}"));
                }
            }
            let touches =
                |list: &[&str]| list.iter().any(|wanted| is_in(named, wanted) || imports && is_above(named, wanted));
            let harmless = PURE_ALL_THE_SAME.iter().any(|allowed| is_in(named, allowed));
            if PURE.contains(&top) && !test && touches(IMPURE_PATHS) && !harmless {
                breach(Rule::Pure, named, format!("{top} is pure"));
            }
            if NO_HTTP.contains(&top) && !test && touches(HTTP_PATHS) {
                breach(Rule::Http, named, format!("{top} knows no HTTP"));
            }
        }
    }
    breaches
}

/// Circles of imports between files; `mod name;` is no import, and tests may look anywhere.
fn check_circles(tree: &Tree<'_>) -> Vec<Breach> {
    let mut arrows: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for source in tree.sources.iter().filter(|source| source.file != "src/lib.rs") {
        for path in source.paths.iter().filter(|path| !tree.is_test(source, path.at)) {
            let named = tree.absolute(&source.module_at(path.at), path);
            if let Some(file) = tree.file_of(&named).filter(|file| *file != source.file && *file != "src/lib.rs") {
                arrows.entry(source.file).or_default().entry(file).or_insert(path.at.line);
            }
        }
    }
    let mut breaches = Vec::new();
    let mut told = BTreeSet::new();
    for (from, targets) in &arrows {
        for (to, line) in targets {
            if let Some(way) = way(&arrows, to, from) {
                // A circle is told once, from its first file.
                let mut members: Vec<&str> = way.clone();
                members.sort_unstable();
                if told.insert(members) {
                    let what = format!("{from} -> {}", way.join(" -> "));
                    breaches.push(Breach { file: (*from).to_owned(), line: *line, rule: Rule::Circle, what });
                }
            }
        }
    }
    breaches
}

/// The shortest way from `from` to `to`, both named.
fn way<'a>(arrows: &BTreeMap<&'a str, BTreeMap<&'a str, usize>>, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let (mut ways, mut seen) = (vec![vec![from]], BTreeSet::from([from]));
    while !ways.is_empty() {
        if let Some(found) = ways.iter().find(|way| way.last() == Some(&to)) {
            return Some(found.clone());
        }
        let mut longer = Vec::new();
        for way in &ways {
            let last = *way.last().expect("a way has a start");
            for next in arrows.get(last).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(*next) {
                    longer.push([way.as_slice(), &[*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

// ---- The tests --------------------------------------------------------------------------------------------------------------------------

/// The Rust files below `folder` of the repository, by path from its root.
fn rust_files(folder: &str, out: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            rust_files(&path, out);
        } else if name.ends_with(".rs") {
            out.push((path.clone(), fs::read_to_string(root.join(&path)).unwrap()));
        }
    }
}

#[test]
fn the_tree_is_tidy() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        rust_files(folder, &mut files);
    }
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "src/lib.rs was not found");
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let breaches: Vec<String> = check(&files).iter().map(Breach::to_string).collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

/// What `check` says of samples, each given an opening line.
fn judge(files: &[(&str, &str)]) -> Vec<Breach> {
    let opened: Vec<(&str, String)> =
        files.iter().map(|(file, text)| (*file, format!("//! A sample.\n{text}"))).collect();
    check(&opened.iter().map(|(file, text)| (*file, text.as_str())).collect::<Vec<_>>())
}

#[track_caller]
fn rejects(rule: Rule, files: &[(&str, &str)]) {
    let breaches = judge(files);
    assert!(!breaches.is_empty(), "accepted, though {rule}: {files:#?}");
    assert!(breaches.iter().all(|breach| breach.rule == rule), "for other reasons than that {rule}: {breaches:#?}");
}

#[track_caller]
fn accepts(files: &[(&str, &str)]) {
    assert_eq!(judge(files), [], "{files:#?}");
}

#[test]
fn arrows_go_down_only() {
    for (file, text) in [
        ("src/media/track.rs", "use crate::packager::plan::Plan;"),
        ("src/media/track.rs", "use crate::{formats::avc, content::source};"),
        ("src/media/track.rs", "use crate::packager as p;"),
        ("src/media/track.rs", "use crate::packager::*;"),
        ("src/media/track.rs", "use super::super::origin::serve;"),
        ("src/media/track.rs", "use self::super::super::server;"),
        ("src/media/track.rs", "fn f() { crate::origin::render::render(); }"),
        ("src/media/track.rs", "fn f(_: &super::super::server::Server) {}"),
        ("src/media/track.rs", "fn f() -> Vec<crate::content::source::Source> { Vec::new() }"),
        ("src/media/track.rs", "impl Into<crate::origin::object::Object> for u8 {}"),
        ("src/media/track.rs", "fn f() { <u8 as crate::server::Serve>::serve(); }"),
        ("src/media/track.rs", "fn f() { vec![1, 2, crate::content::COUNT]; }"),
        ("src/media/track.rs", "macro_rules! m { () => { $crate::content::source::Source::new() }; }"),
        ("src/media/track.rs", "some_macro! { use crate::{media::track, server::http}; }"),
        ("src/media/track.rs", "#[serde(with = \"crate::config::seconds\")] struct S;"),
        ("src/media/track.rs", "pub(in crate::media) fn f() { 0..crate::origin::LIMIT; }"),
        ("src/media/track.rs", "mod inner { fn f() { super::super::super::server::http::f(); } }"),
        ("src/media/track.rs", "fn f() { headwater::content::open(); }"),
        ("src/media/track.rs", "fn f() { ::headwater::content::open(); }"),
        ("src/media/track.rs", "fn f() { crate::r#content::open(); }"),
        ("src/media/track.rs", "fn f() { crate::content::open::<u8>(); }"),
        ("src/media/track.rs", "fn f() { Vec::<crate::content::Source>::new(); }"),
        ("src/media/track.rs", "#[cfg(test)] mod tests { use crate::content::vod::Vod; }"),
        ("src/server/http.rs", "use crate::config::Config;"),
        ("src/config.rs", "use crate::cli::Arguments;"),
        ("src/origin/serve.rs", "fn f() { crate::server::conn::close() }"),
        ("src/rope.rs", "use crate::cache::Cache;"),
    ] {
        rejects(Rule::Arrow, &[(file, text)]);
    }
    for (file, text) in [
        ("src/media/track.rs", "use crate::{formats::avc, cache::Cache, rope::Rope, time::{Ticks, Timescale}};"),
        ("src/media/track.rs", "use super::sample::Sample; use crate::media::codec::Codec;"),
        ("src/media/track.rs", "/// See [`crate::origin::serve`].\nfn f() { let origin = 1; origin.server(); }"),
        ("src/media/track.rs", "#[expect(dead_code, reason = \"crate::origin::serve will\")] fn f() {}"),
        (
            "src/media/track.rs",
            "fn f(origin: Origin) { origin.content.open(); println_in_words(\"crate::server::http\"); }",
        ),
        (
            "src/origin/render.rs",
            "use crate::packager::plan::Plan; use crate::content::vod::Vod; fn f() { crate::rope::empty(); }",
        ),
        ("src/origin/serve.rs", "mod server { pub(super) fn f() {} } fn f() { server::f(); self::server::f(); }"),
        ("src/config.rs", "use crate::server::http::Options;"),
        ("src/cli.rs", "use crate::config::Config; use crate::origin::serve::Origin;"),
        ("src/main.rs", "use headwater::cli; fn main() { cli::run(); headwater::config::load(); }"),
    ] {
        accepts(&[(file, text)]);
    }
}

#[test]
fn siblings_never_import_each_other() {
    for (file, text) in [
        ("src/packager/plan.rs", "use crate::content::source::Source;"),
        ("src/content/vod.rs", "fn f() { crate::packager::cmaf::segment(); }"),
        ("src/formats/avc.rs", "use crate::cache::Cache;"),
        ("src/cache.rs", "use crate::formats::avc;"),
        ("src/rope.rs", "use crate::time::Timescale;"),
    ] {
        rejects(Rule::Arrow, &[(file, text)]);
    }
    accepts(&[
        ("src/packager/plan.rs", "use crate::packager::cmaf::Segment;"),
        ("src/packager/cmaf.rs", "use crate::rope::Rope;"),
    ]);
}

#[test]
fn a_path_is_followed_through_names_and_globs() {
    // A short name made by a `use` elsewhere in the file, a re-export, a glob of the parent.
    rejects(Rule::Arrow, &[("src/media/mod.rs", "pub use crate::content::source::Source;")]);
    rejects(
        Rule::Strangers,
        &[
            ("src/packager/mod.rs", "use crate::packager::dash as d;"),
            ("src/packager/dash.rs", ""),
            ("src/packager/hls.rs", "use super::d::mpd;"),
        ],
    );
    rejects(
        Rule::Strangers,
        &[("src/packager/dash.rs", ""), ("src/packager/hls.rs", "use super::*; fn f() { dash::mpd(); }")],
    );
    rejects(Rule::Pure, &[("src/media/track.rs", "use std as s; fn f() { s::fs::read(\"x\"); }")]);
    rejects(Rule::Pure, &[("src/media/track.rs", "use std::{fs::{self as files}}; fn f() { files::read(\"x\"); }")]);
    rejects(
        Rule::Pure,
        &[("src/media/track.rs", "use std::time as t; mod m { use super::*; fn f() { t::Instant::now(); } }")],
    );
}

#[test]
fn every_module_stands_on_a_floor() {
    rejects(Rule::Floor, &[("src/util.rs", "fn f() {}")]);
    rejects(Rule::Floor, &[("src/media/track.rs", "use crate::helpers::x;")]);
    accepts(&[("src/telemetry.rs", "fn f() {}")]);
}

#[test]
fn hls_and_dash_are_strangers() {
    for (file, text) in [
        ("src/packager/hls/master.rs", "use crate::packager::dash::mpd;"),
        ("src/packager/hls/mod.rs", "use super::dash;"),
        ("src/packager/hls/media.rs", "fn f() { super::super::dash::mpd::write(); }"),
        ("src/packager/dash.rs", "fn f() { format!(\"{}\", super::hls::NAME); }"),
    ] {
        rejects(Rule::Strangers, &[(file, text)]);
    }
    accepts(&[
        ("src/packager/hls/master.rs", "use crate::packager::names; use super::media; fn f() { let dash = 1; }"),
        ("src/packager/mod.rs", "pub mod hls; pub mod dash;"),
    ]);
}

#[test]
fn the_pure_floors_touch_nothing() {
    for text in [
        "use std::fs;",
        "use std::fs::File;",
        "use std::{fmt, fs};",
        "use std::io;",
        "use std::io::{self, IoSlice};",
        "use std::io::Read as _;",
        "use std::io::*;",
        "use std::*;",
        "use std::time;",
        "use std::time::*;",
        "use std::time::{Duration, Instant};",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f() { ::std::net::TcpStream::connect(0); }",
        "fn f(_: core::net::IpAddr) {}",
        "fn f() { vec![std::env::args()]; }",
        "use tokio::sync::watch;",
        "use tokio;",
        "fn f() { tracing::info!(\"x\"); }",
        "use tracing as t;",
        "async fn f() {}",
        "fn f() { let x = async { 1 }; }",
        "fn f() { m!(x.await); }",
        "fn f() { println!(\"x\"); }",
    ] {
        for file in ["src/formats/avc.rs", "src/media/track.rs", "src/packager/hls/master.rs"] {
            rejects(Rule::Pure, &[(file, text)]);
        }
    }
    for text in [
        "use std::io::IoSlice; use std::time::Duration; use std::{fmt, sync::Arc};",
        "fn f(_: &[std::io::IoSlice<'_>], _: std::time::Duration) { io.await_all(); self.fs.read(); }",
        "/// Calls `std::fs::read`.\nfn f() { write!(w, \"std::fs\"); x.tokio().println(); }",
        "mod io { pub fn read() {} } fn f() { io::read(); }",
        "fn f<'async_>(_: &'async_ u8) {}",
        "#[cfg(test)] mod tests { use std::fs; #[test] fn f() { fs::read(\"x\"); println!(\"x\"); } }",
    ] {
        accepts(&[("src/media/track.rs", text)]);
    }
    accepts(&[(
        "src/content/source.rs",
        "use std::fs; use tokio::sync; use std::time::Instant; async fn f() { tracing::info!(\"x\"); }",
    )]);
}

#[test]
fn http_words_stay_above() {
    for file in ["src/packager/plan.rs", "src/content/vod.rs", "src/media/track.rs", "src/formats/avc.rs"] {
        rejects(Rule::Http, &[(file, "use http::StatusCode;")]);
        rejects(Rule::Http, &[(file, "fn f() { hyper::body::Bytes::new(); }")]);
        rejects(Rule::Http, &[(file, "use ::{httpdate, bytes::Bytes};")]);
        accepts(&[(file, "use bytes::Bytes; fn f() { let http = 1; }")]);
    }
    accepts(&[
        ("src/origin/object.rs", "use http::StatusCode;"),
        ("src/server/http.rs", ""),
        ("src/server/mod.rs", "use hyper::server;"),
    ]);
}

#[test]
fn the_library_lists_its_modules_and_no_more() {
    for text in [
        "pub use crate::rope::Rope;",
        "mod rope;",
        "pub mod rope {}",
        "fn f() {}",
        "pub const A: u8 = 1;",
        "use std::fmt;",
    ] {
        rejects(Rule::Library, &[("src/lib.rs", text)]);
    }
    accepts(&[("src/lib.rs", "#![warn(missing_docs)]\npub mod media;\npub mod rope;")]);
}

#[test]
fn modules_are_plain_files() {
    for text in [
        "#[path = \"elsewhere.rs\"] mod x;",
        "include!(\"x.rs\");",
        "extern crate std as s;",
        "use crate as root;",
        "use crate::*;",
        "use crate::{self as c};",
        "use super::super as root;",
    ] {
        rejects(Rule::PlainModules, &[("src/media/track.rs", text)]);
    }
    accepts(&[(
        "src/media/track.rs",
        "mod path; const A: &[u8] = include_bytes!(\"a\"); fn f() { x.path[0].include(); }",
    )]);
}

#[test]
fn no_file_is_unsafe() {
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for X {}",
        "macro_rules! m { () => { unsafe { f() } }; }",
    ] {
        rejects(Rule::Unsafe, &[("src/rope.rs", text)]);
    }
    accepts(&[("src/rope.rs", "#![forbid(unsafe_code)]\n// unsafe\nfn f() { g(\"unsafe\"); }")]);
}

#[test]
fn nothing_is_left_unfinished() {
    for text in [
        "fn f() { todo!() }",
        "fn f() { unimplemented!(\"later\") }",
        "fn f() { let x = dbg!(1); }",
        "fn f() { vec![dbg!(1)]; }",
    ] {
        rejects(Rule::Unfinished, &[("src/rope.rs", text)]);
    }
    accepts(&[("src/rope.rs", "fn f() { let todo = 1; if todo != 2 { unreachable!(\"todo!()\") } }")]);
}

#[test]
fn unwrap_is_for_tests() {
    for text in [
        "fn f() { x.unwrap(); }",
        "fn f() { x.map(Option::unwrap); }",
        "fn f() { vec![x.unwrap()]; }",
        "#[cfg(test)] mod tests {} fn f() { x.unwrap(); }",
        "#[cfg(not(test))] fn f() { x.unwrap(); }",
        "#[cfg(any(test, feature = \"x\"))] fn f() { x.unwrap(); }",
    ] {
        rejects(Rule::Unwrap, &[("src/rope.rs", text)]);
    }
    for text in [
        "fn f() { x.expect(\"it holds\"); x.unwrap_or(1); x.unwrap_or_default(); }",
        "#[cfg(test)] mod tests { #[test] fn f() { x.unwrap(); } }",
        "#[cfg(all(test, unix))] fn f() { x.unwrap(); }",
        "impl X { #[cfg(test)] fn f(&self) { x.unwrap(); } }",
    ] {
        accepts(&[("src/rope.rs", text)]);
    }
    // A test module in a file of its own.
    accepts(&[("src/media/mod.rs", "#[cfg(test)] mod tests;"), ("src/media/tests.rs", "fn f() { x.unwrap(); }")]);
    rejects(Rule::Unwrap, &[("src/media/mod.rs", "mod tests;"), ("src/media/tests.rs", "fn f() { x.unwrap(); }")]);
}

#[test]
fn files_import_each_other_in_no_circle() {
    rejects(
        Rule::Circle,
        &[
            ("src/media/track.rs", "use crate::media::sample::Sample;"),
            ("src/media/sample.rs", "use super::track::Track;"),
        ],
    );
    rejects(
        Rule::Circle,
        &[
            ("src/media/a.rs", "use super::b::B;"),
            ("src/media/b.rs", "fn f() { super::c::c(); }"),
            ("src/media/c.rs", "fn f() { vec![crate::media::a::A]; }"),
        ],
    );
    rejects(
        Rule::Circle,
        &[("src/media/mod.rs", "pub mod a; pub use a::A;"), ("src/media/a.rs", "use super::Shared;")],
    );
    accepts(&[
        ("src/media/mod.rs", "pub mod a; pub mod b; pub use a::A;"),
        ("src/media/a.rs", "use super::b::B;"),
        ("src/media/b.rs", "mod inner { use super::B; } struct B;"),
    ]);
    accepts(&[
        ("src/media/a.rs", "use super::b::B;"),
        ("src/media/b.rs", "#[cfg(test)] mod tests { use crate::media::a::A; }"),
    ]);
}

#[test]
fn files_open_with_what_they_are_and_stay_readable() {
    for file in ["src/rope.rs", "tests/behaviour.rs", "benches/hot_hit.rs"] {
        for text in ["", "//!\n", "// A rope.\n", "\n//! A rope.\n", "use std::fmt;\n//! A rope.\n"] {
            assert!(check(&[(file, text)]).iter().any(|breach| breach.rule == Rule::Opening), "{file}: {text:?}");
        }
        assert_eq!(check(&[(file, "//! A rope.\n")]), []);
    }
    rejects(Rule::Lines, &[("src/rope.rs", &"\n".repeat(FILE_LINES_MAX))]);
    accepts(&[("src/rope.rs", &"\n".repeat(FILE_LINES_MAX - 1))]);
    rejects(Rule::Syntax, &[("src/rope.rs", "fn f( {")]);
}

#[test]
fn a_breach_says_where_what_and_why() {
    let breaches = judge(&[("src/media/track.rs", "\nuse super::super::content as c;")]);
    let told: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    let line = "src/media/track.rs:3: super::super::content, which is crate::content: content is above media";
    assert_eq!(told, [format!("{line} ({})", Rule::Arrow)]);
}
