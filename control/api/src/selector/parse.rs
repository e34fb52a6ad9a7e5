//! The grammar of the query form of label selectors.

use crate::name;

use super::label::{Requirement, SelectorError};

/// Requirements accepted in one selector.
const REQUIREMENTS_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Comma,
    Open,
    Close,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Word(&'a str),
    End,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Not => "!",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::Word(word) => word,
            Self::End => "",
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

fn is_special(letter: char) -> bool {
    matches!(letter, '=' | '!' | '(' | ')' | ',' | '>' | '<') || letter.is_ascii_whitespace()
}

fn wrong(text: impl Into<String>) -> SelectorError {
    SelectorError::Requirement(text.into())
}

impl<'a> Parser<'a> {
    fn split(&self) -> (Token<'a>, &'a str) {
        let rest = self.rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace());
        let fixed = [
            ("==", Token::DoubleEquals),
            ("!=", Token::NotEquals),
            ("=", Token::Equals),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            (">", Token::Greater),
            ("<", Token::Less),
        ];
        for (text, token) in fixed {
            if let Some(rest) = rest.strip_prefix(text) {
                return (token, rest);
            }
        }
        let end = rest.find(is_special).unwrap_or(rest.len());
        if end == 0 { (Token::End, rest) } else { (Token::Word(&rest[..end]), &rest[end..]) }
    }

    fn peek(&self) -> Token<'a> {
        self.split().0
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.split();
        self.rest = rest;
        token
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let token = self.next();
        let Token::Word(key) = token else {
            return Err(wrong(format!("found '{}', expected: identifier", token.text())));
        };
        match name::qualified(key).first() {
            None => Ok(key.to_owned()),
            Some(why) => Err(wrong(format!("key: Invalid value: \"{key}\": {why}"))),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek() == Token::Not {
            self.next();
            return Ok(Requirement::DoesNotExist(self.key()?));
        }
        let key = self.key()?;
        match self.peek() {
            Token::End | Token::Comma => return Ok(Requirement::Exists(key)),
            _ => {}
        }
        let token = self.next();
        match token {
            Token::Equals | Token::DoubleEquals => Ok(Requirement::In(key.clone(), vec![self.exact(&key)?])),
            Token::NotEquals => Ok(Requirement::NotIn(key.clone(), vec![self.exact(&key)?])),
            Token::Word("in") => Ok(Requirement::In(key.clone(), self.values(&key)?)),
            Token::Word("notin") => Ok(Requirement::NotIn(key.clone(), self.values(&key)?)),
            Token::Greater => Ok(Requirement::GreaterThan(key.clone(), self.bound(&key)?)),
            Token::Less => Ok(Requirement::LessThan(key.clone(), self.bound(&key)?)),
            other => Err(wrong(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text()))),
        }
    }

    fn bound(&mut self, key: &str) -> Result<i64, SelectorError> {
        let value = self.exact(key)?;
        let why = "for 'Gt', 'Lt' operators, the value must be an integer";
        value.parse().map_err(|_| wrong(format!("values[0][{key}]: Invalid value: \"{value}\": {why}")))
    }

    /// The value after an operator; nothing there is the empty value.
    fn exact(&mut self, key: &str) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Comma => Ok(String::new()),
            Token::Word(word) => {
                self.next();
                checked_value(key, 0, word)
            }
            other => Err(wrong(format!("found '{}', expected: identifier", other.text()))),
        }
    }

    /// `(a, b,)`: an empty place is the empty value.
    fn values(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        let open = self.next();
        if open != Token::Open {
            return Err(wrong(format!("found '{}' expected: '('", open.text())));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    checked_value(key, values.len(), word)?
                }
                Token::Comma | Token::Close => String::new(),
                other => {
                    return Err(wrong(format!("found '{}', expected: ',', ')' or identifier", other.text())));
                }
            };
            if !values.contains(&value) {
                values.push(value);
            }
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(wrong(format!("found '{}', expected: ',' or ')'", other.text()))),
            }
        }
    }
}

fn checked_value(key: &str, at: usize, value: &str) -> Result<String, SelectorError> {
    match name::label_value(value).first() {
        None => Ok(value.to_owned()),
        Some(why) => Err(wrong(format!("values[{at}][{key}]: Invalid value: \"{value}\": {why}"))),
    }
}

/// Reads `a=b,c in (d,e),!f`.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { rest: text };
    let mut found = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(found),
            Token::Word(_) | Token::Not => {}
            other => {
                return Err(wrong(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())));
            }
        }
        if found.len() == REQUIREMENTS_MAX {
            return Err(wrong(format!("more than {REQUIREMENTS_MAX} requirements")));
        }
        found.push(parser.requirement()?);
        match parser.next() {
            Token::End => return Ok(found),
            Token::Comma => match parser.peek() {
                Token::Word(_) | Token::Not => {}
                other => {
                    return Err(wrong(format!("found '{}', expected: identifier after ','", other.text())));
                }
            },
            other => {
                return Err(wrong(format!("found '{}', expected: ',' or 'end of string'", other.text())));
            }
        }
    }
}
