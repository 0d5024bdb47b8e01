//! Facts under construction.

use super::lexer::{Token, TokenKind};
use super::{
    Call, Class, Effect, Hazard, Kind, Lock, Made, Mention, Name, SchemaChange, Write, functions, keywords, mention,
};

/// What is known of a statement, without where it stands and how it is spelled.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: Kind,
    pub(super) class: Class,
    pub(super) tag: String,
    pub(super) writes: Vec<Write>,
    pub(super) reads: Vec<Name>,
    pub(super) functions: Vec<Call>,
    pub(super) effects: Vec<Effect>,
    pub(super) locks: Vec<Lock>,
    pub(super) hazards: Vec<Hazard>,
    pub(super) schema_changes: Vec<SchemaChange>,
    pub(super) makes: Vec<Made>,
    /// What SQL in its arguments names.
    pub(super) mentions: Vec<Mention>,
    pub(super) runs: Runs,
}

/// When that runs what a statement names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Runs {
    /// With the statement.
    Now,
    /// Only what the planner computes.
    Planned,
    /// When what the statement makes is used.
    Later,
}

impl Draft {
    pub(super) fn new(kind: Kind, class: Class, tag: impl Into<String>) -> Self {
        Draft {
            kind,
            class,
            tag: tag.into(),
            writes: Vec::new(),
            reads: Vec::new(),
            functions: Vec::new(),
            effects: Vec::new(),
            locks: Vec::new(),
            hazards: Vec::new(),
            schema_changes: Vec::new(),
            makes: Vec::new(),
            mentions: Vec::new(),
            runs: Runs::Now,
        }
    }

    pub(super) fn with_effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    pub(super) fn with_changes(mut self, changes: Vec<SchemaChange>) -> Self {
        self.schema_changes = changes;
        self
    }

    pub(super) fn with_hazard(mut self, hazard: Hazard) -> Self {
        self.add_hazard(hazard);
        self
    }

    pub(super) fn add_hazard(&mut self, hazard: Hazard) {
        if !self.hazards.contains(&hazard) {
            self.hazards.push(hazard);
        }
    }

    /// Adds a table that is read; it may be there already.
    pub(super) fn add_read(&mut self, name: Name) {
        self.reads.push(name);
    }

    /// Takes over what another statement inside this one does when this one runs.
    pub(super) fn absorb(&mut self, inner: Draft) {
        self.writes.extend(inner.writes);
        self.functions.extend(inner.functions);
        self.effects.extend(inner.effects);
        self.locks.extend(inner.locks);
        self.reads.extend(inner.reads);
        self.schema_changes.extend(inner.schema_changes);
        self.mentions.extend(inner.mentions);
        for hazard in inner.hazards {
            self.add_hazard(hazard);
        }
    }

    /// Adds the calls that the tokens show: an identifier before a parenthesis. Of names alone it cannot be told whether they
    /// are functions, so that `Calls::Dangerous` keeps only those that the table of functions speaks of.
    pub(super) fn scan_calls(&mut self, tokens: &[Token<'_>], which: Calls) {
        for (i, token) in tokens.iter().enumerate() {
            if tokens.get(i + 1).is_none_or(|next| next.kind != TokenKind::LParen) {
                continue;
            }
            let name = match &token.kind {
                TokenKind::Word(word) if !keywords::is_grammar(word) => word,
                TokenKind::Quoted(name) => name,
                _ => continue,
            };
            let qualified = i >= 2 && tokens[i - 1].kind == TokenKind::Dot;
            let schema = if qualified { tokens[i - 2].ident().map(str::to_owned) } else { None };
            let wanted = match which {
                Calls::All => true,
                Calls::Dangerous => functions::category(schema.as_deref(), name).is_some(),
            };
            let known = |call: &Call| call.name.name == *name && call.name.schema == schema;
            if wanted && !self.functions.iter().take(MOST_COMPARED).any(known) {
                let (arity, literals) = arguments(&tokens[i + 2..]);
                self.functions.push(Call {
                    name: Name { schema, name: name.to_string() },
                    arity,
                    literals,
                    sql_is_read: false,
                });
            }
        }
    }
}

impl Draft {
    /// Adds the calls of functions of the table that are written as an attribute: `(x).f` is `f(x)`, whatever the type of `x`
    /// (Postgres documentation, 8.16.5). Only behind a closing parenthesis, a bracket or a parameter is it certain that no table, schema or
    /// alias stands before the name; `everywhere`, that does not matter.
    pub(super) fn scan_attributes(&mut self, tokens: &[Token<'_>], everywhere: bool) {
        for (i, token) in tokens.iter().enumerate().skip(2) {
            let behind = mention::is_value(&tokens[i - 2]);
            let is_attribute = tokens[i - 1].kind == TokenKind::Dot
                && (behind || everywhere)
                && tokens.get(i + 1).is_none_or(|next| next.kind != TokenKind::LParen);
            if is_attribute && let Some(name) = token.ident() {
                self.add_attribute(name);
            }
        }
    }

    /// Adds a call that is written as an attribute, if the table of functions speaks of it.
    pub(super) fn add_attribute(&mut self, name: &str) {
        let known = |call: &Call| call.name.name == name && call.name.schema.is_none();
        if functions::category(None, name).is_some() && !self.functions.iter().take(MOST_COMPARED).any(known) {
            let name = Name { schema: None, name: name.to_owned() };
            self.functions.push(Call { name, arity: 1, literals: vec![None], sql_is_read: false });
        }
    }

    /// Adds the functions of the table that a definition names: what an operator or an aggregate stands for is called by
    /// whoever uses it, under another name.
    pub(super) fn scan_names(&mut self, tokens: &[Token<'_>]) {
        for name in tokens.iter().filter_map(|token| token.ident().or(token.string())) {
            self.add_attribute(name);
        }
    }
}

/// Which of the names before a parenthesis are taken for calls.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Calls {
    /// Every one.
    All,
    /// Those of the table of functions.
    Dangerous,
}

/// How many functions, or tokens of an argument list, are looked at: no input may make reading take quadratic time.
const MOST_COMPARED: usize = 256;

/// Number of arguments up to the closing parenthesis, and those of them that are string literals.
fn arguments(tokens: &[Token<'_>]) -> (usize, Vec<Option<String>>) {
    let mut depth = 0usize;
    let mut literals = Vec::new();
    let mut argument: Vec<&Token<'_>> = Vec::new();
    for token in tokens.iter().take(MOST_COMPARED) {
        match token.kind {
            TokenKind::RParen | TokenKind::RBracket if depth == 0 => break,
            TokenKind::LParen | TokenKind::LBracket => depth += 1,
            TokenKind::RParen | TokenKind::RBracket => depth -= 1,
            TokenKind::Comma if depth == 0 => {
                literals.push(literal(&argument));
                argument.clear();
                continue;
            }
            _ => {}
        }
        argument.push(token);
    }
    if !argument.is_empty() {
        literals.push(literal(&argument));
    }
    (literals.len(), literals)
}

fn literal(argument: &[&Token<'_>]) -> Option<String> {
    match argument {
        [token] => token.string().map(str::to_owned),
        _ => None,
    }
}
