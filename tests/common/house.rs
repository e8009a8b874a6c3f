//! A crate as its floors, and what breaks their law.
//!
//! Names are looked for among the tokens, so that macros are no way around the law. Only functions
//! that a macro writes escape the measure of their length.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// The floor that knows the platform.
const PLATFORM_FLOOR: &str = "os";
/// The floor that knows the model checker; `lib.rs` may, too.
const MODEL_CHECKER_FLOOR: &str = "sync";
/// The floor that has the statics.
const STATICS_FLOOR: &str = "thread";
/// Files that promise to contain nothing unsafe.
pub const SAFE_FILES: [&str; 7] = [
    "bin_index.rs",
    "census.rs",
    "config.rs",
    "heap_map.rs",
    "large_class.rs",
    "size_class.rs",
    "stats.rs",
];

/// A source file, by its path below `src`.
pub struct Source {
    path: String,
    lines: usize,
    tokens: TokenStream,
    syntax: syn::File,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path} has no tokens: {error}"));
        let syntax =
            syn::parse_file(text).unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        Self { path: path.to_owned(), lines: text.lines().count(), tokens, syntax }
    }

    /// The floor whose file or directory this is; none for `lib.rs`.
    fn floor(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        Some(first.trim_end_matches(".rs")).filter(|floor| *floor != "lib")
    }

    /// Modules around its code, the crate not counted: as many `super` lead to the crate.
    fn depth(&self) -> usize {
        if self.path == "lib.rs" { 0 } else { 1 + self.path.matches('/').count() }
    }

    /// Paths of the files that its `mod` lines name under `cfg(test)`.
    fn test_files(&self) -> impl Iterator<Item = String> {
        let directory = self.path.trim_end_matches(".rs");
        self.syntax.items.iter().filter_map(move |item| match item {
            syn::Item::Mod(module) if module.content.is_none() && is_test_only(&module.attrs) => {
                Some(format!("{directory}/{}.rs", module.ident))
            }
            _ => None,
        })
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// All of `src`, its floors in order.
pub struct House {
    pub floors: Vec<String>,
    test_files: BTreeSet<String>,
    sources: Vec<Source>,
}

impl House {
    pub fn new(sources: Vec<Source>) -> Self {
        let lib = sources.iter().find(|source| source.path == "lib.rs").expect("a lib.rs");
        let module_name = |item: &syn::Item| match item {
            syn::Item::Mod(module) => Some(module.ident.to_string()),
            _ => None,
        };
        Self {
            floors: lib.syntax.items.iter().filter_map(module_name).collect(),
            test_files: sources.iter().flat_map(Source::test_files).collect(),
            sources,
        }
    }

    /// The house that this crate is.
    pub fn of_this_crate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        read_directory(&root, "", &mut sources);
        Self::new(sources)
    }

    fn height(&self, floor: &str) -> Option<usize> {
        self.floors.iter().position(|known| known == floor)
    }

    /// Everything in which the house breaks the law, a line for each.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for source in &self.sources {
            let broken = [
                self.wrong_names(source),
                lines_too_many(source),
                functions_too_long(source),
                conditions_elsewhere(source),
                self.statics_elsewhere(source),
                unsafe_not_forbidden(source),
            ];
            found.extend(
                broken.into_iter().flatten().map(|what| format!("{}: {what}", source.path)),
            );
        }
        for floor in &self.floors {
            if !self.sources.iter().any(|source| source.path == format!("{floor}.rs")) {
                found.push(format!("{floor}: a floor without a file"));
            }
        }
        found
    }

    /// Names below the crate's root that are no floor, or one further down than the file's own.
    fn wrong_names(&self, source: &Source) -> Vec<String> {
        let Some(floor) = source.floor() else { return Vec::new() };
        let Some(own) = self.height(floor) else { return vec!["on no floor".to_owned()] };
        let mut named = Vec::new();
        names_below_root(source.tokens.clone(), source.depth(), &mut named);
        named
            .into_iter()
            .filter(|(name, _)| self.height(name).is_none_or(|height| height > own))
            .map(|(name, line)| format!("line {line} names crate::{name}, no floor above"))
            .collect()
    }

    /// Statics outside of their floor. Tests may have some, and the platform's those that the loader
    /// reads, which are no state, and those of the C library, which are not this crate's.
    fn statics_elsewhere(&self, source: &Source) -> Vec<String> {
        if source.floor() == Some(STATICS_FLOOR) || self.test_files.contains(&source.path) {
            return Vec::new();
        }
        let of_the_platform = lines_of_used_statics(source).chain(lines_of_foreign_statics(source));
        let of_the_platform = of_the_platform.filter(|_| source.floor() == Some(PLATFORM_FLOOR));
        let lawful: Vec<usize> = of_the_platform.collect();
        let mut found = Vec::new();
        for_each_token(source.tokens.clone(), &mut |token, before| {
            let is_lifetime = matches!(before, Some(TokenTree::Punct(p)) if p.as_char() == '\'');
            if is_ident(token, "static") && !is_lifetime && !lawful.contains(&line_of(token)) {
                found.push(format!("line {} has a static", line_of(token)));
            }
        });
        found
    }
}

/// Lines of the statics that are `#[used]` and cannot change.
fn lines_of_used_statics(source: &Source) -> impl Iterator<Item = usize> {
    source.syntax.items.iter().filter_map(|item| match item {
        syn::Item::Static(item) if matches!(item.mutability, syn::StaticMutability::None) => {
            let is_used = item.attrs.iter().any(|attribute| attribute.path().is_ident("used"));
            is_used.then(|| item.static_token.span.start().line)
        }
        _ => None,
    })
}

/// Lines of the statics that other languages define.
fn lines_of_foreign_statics(source: &Source) -> impl Iterator<Item = usize> {
    let blocks = source.syntax.items.iter().filter_map(|item| match item {
        syn::Item::ForeignMod(block) => Some(&block.items),
        _ => None,
    });
    blocks.flatten().filter_map(|item| match item {
        syn::ForeignItem::Static(item) => Some(item.static_token.span.start().line),
        _ => None,
    })
}

fn read_directory(directory: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let entry = entry.expect("an entry of a directory");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            read_directory(&entry.path(), &format!("{path}/"), sources);
        } else {
            let text = fs::read_to_string(entry.path()).expect("a source file");
            sources.push(Source::new(&path, &text));
        }
    }
}

fn lines_too_many(source: &Source) -> Vec<String> {
    let too_many = source.lines > FILE_LINES_MAX;
    too_many.then(|| format!("{} lines", source.lines)).into_iter().collect()
}

fn functions_too_long(source: &Source) -> Vec<String> {
    let mut functions = LongFunctions { found: Vec::new() };
    functions.visit_file(&source.syntax);
    functions.found
}

/// Functions longer than they may be, from their signature to their closing brace.
struct LongFunctions {
    found: Vec<String>,
}

impl LongFunctions {
    fn look_at(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = body.brace_token.span.close().end().line;
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            self.found.push(format!("line {first}: fn {} has {lines} lines", signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.look_at(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.look_at(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.look_at(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Conditional code that belongs to another floor.
fn conditions_elsewhere(source: &Source) -> Vec<String> {
    let mut conditions = Vec::new();
    conditions_of(source.tokens.clone(), &mut conditions);
    let floor = source.floor();
    conditions
        .into_iter()
        .filter(|(name, _)| match name.as_str() {
            "unix" | "windows" => floor != Some(PLATFORM_FLOOR),
            "loom" => floor.is_some_and(|floor| floor != MODEL_CHECKER_FLOOR),
            other => other.starts_with("target_") && floor != Some(PLATFORM_FLOOR),
        })
        .map(|(name, line)| format!("line {line} depends on cfg({name})"))
        .collect()
}

fn unsafe_not_forbidden(source: &Source) -> Vec<String> {
    let forbids = source.syntax.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && attribute.parse_args::<Ident>().is_ok_and(|lint| lint == "unsafe_code")
    });
    let owes = SAFE_FILES.contains(&source.path.as_str()) && !forbids;
    owes.then(|| "does not forbid unsafe code".to_owned()).into_iter().collect()
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Calls `look` with each token, at any nesting, and the one before it.
fn for_each_token(tokens: TokenStream, look: &mut impl FnMut(&TokenTree, Option<&TokenTree>)) {
    let mut before = None;
    for token in tokens {
        look(&token, before.as_ref());
        if let TokenTree::Group(group) = &token {
            for_each_token(group.stream(), look);
        }
        before = Some(token);
    }
}

/// The names in all `cfg(...)`, `cfg!(...)` and `cfg_attr(...)`, with their lines.
fn conditions_of(tokens: TokenStream, conditions: &mut Vec<(String, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before = &tokens[..index];
        let name = match before.last() {
            Some(TokenTree::Punct(p)) if p.as_char() == '!' => before.iter().nth_back(1),
            last => last,
        };
        if name.is_some_and(|name| is_ident(name, "cfg") || is_ident(name, "cfg_attr")) {
            for_each_token(group.stream(), &mut |token, _| {
                if let TokenTree::Ident(ident) = token {
                    conditions.push((ident.to_string(), line_of(token)));
                }
            });
        } else {
            conditions_of(group.stream(), conditions);
        }
    }
}

/// The names that follow `crate::`, or as many `super::` as lead there, with their lines.
fn names_below_root(tokens: TokenStream, depth: usize, named: &mut Vec<(String, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut supers = 0;
    for (index, token) in tokens.iter().enumerate() {
        let rest = &tokens[index + 1..];
        if let TokenTree::Group(group) = token {
            let is_module = index > 1 && is_ident(&tokens[index - 2], "mod");
            names_below_root(group.stream(), depth + usize::from(is_module), named);
        }
        let continues = supers > 0 && index > 2 && is_ident(&tokens[index - 3], "super");
        supers = match token {
            token if is_ident(token, "super") => {
                if continues {
                    supers + 1
                } else {
                    1
                }
            }
            TokenTree::Punct(p) if p.as_char() == ':' => supers,
            _ => 0,
        };
        if is_ident(token, "crate") || (supers >= depth && is_ident(token, "super")) {
            named.extend(heads(rest));
        }
    }
}

/// The first names of a path, or of the paths in braces, behind a `::`. Further `super` are none.
fn heads(tokens: &[TokenTree]) -> Vec<(String, usize)> {
    let [TokenTree::Punct(first), TokenTree::Punct(second), head, ..] = tokens else {
        return Vec::new();
    };
    if first.as_char() != ':' || second.as_char() != ':' || is_ident(head, "super") {
        return Vec::new();
    }
    match head {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let is_comma =
                |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
            let paths = tokens.split(is_comma).filter_map(<[TokenTree]>::first);
            paths.map(|head| (head.to_string(), line_of(head))).collect()
        }
        head => vec![(head.to_string(), line_of(head))],
    }
}
