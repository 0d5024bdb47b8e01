//! Patterns: what LIKE makes of constants, and patterns that match any text.

/// Whether a LIKE pattern matches any text.
pub(super) fn likes_anything(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|b| b == b'%')
}

/// Whether a regular expression (Postgres's advanced form) matches in any text: one of its branches matches the empty text, or is
/// `^.*$`.
pub(super) fn matches_anything(pattern: &str) -> bool {
    if pattern.starts_with("***") || pattern.starts_with("(?") {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    branches(&pattern).into_iter().any(|branch| {
        let (from_start, inner) = match branch {
            ['^', inner @ ..] => (true, inner),
            inner => (false, inner),
        };
        match inner {
            [.., '\\', '$'] => false,
            [inner @ .., '$'] if from_start => !inner.is_empty() && inner.chunks(2).all(|part| part == ['.', '*']),
            [inner @ .., '$'] => may_be_empty(inner),
            inner => may_be_empty(inner),
        }
    })
}

/// The branches that stand between `|`; none where parentheses or brackets do not match.
fn branches(pattern: &[char]) -> Vec<&[char]> {
    let mut found = Vec::new();
    let (mut start, mut i) = (0, 0);
    while i < pattern.len() {
        if pattern[i] == '|' {
            found.push(&pattern[start..i]);
            start = i + 1;
            i += 1;
        } else {
            match atom_len(&pattern[i..]) {
                Some(len) => i += len,
                None => return Vec::new(),
            }
        }
    }
    found.push(&pattern[start..]);
    found
}

/// Length of the character, escape, class or group at the beginning.
fn atom_len(pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '\\' => (pattern.len() >= 2).then_some(2),
        '[' => {
            // A `]` that stands first belongs to the class; classes in classes (`[[:alpha:]]`) are not looked into.
            let inner = pattern.get(2..)?;
            (!inner.contains(&'[') && pattern[1] != '[').then_some(())?;
            Some(3 + inner.iter().position(|c| *c == ']')?)
        }
        '(' => {
            let mut i = 1;
            while *pattern.get(i)? != ')' {
                i += if pattern[i] == '|' { 1 } else { atom_len(&pattern[i..])? };
            }
            Some(i + 1)
        }
        _ => Some(1),
    }
}

/// Whether a branch without anchors matches the empty text: all of its parts may be left out.
fn may_be_empty(mut branch: &[char]) -> bool {
    while !branch.is_empty() {
        let Some(len) = atom_len(branch) else { return false };
        let (atom, rest) = branch.split_at(len);
        let optional = matches!(rest, ['*' | '?', ..] | ['{', '0', ',' | '}', ..]);
        let group = match atom {
            ['(', '?', ..] => false,
            ['(', inner @ .., ')'] => branches(inner).into_iter().any(may_be_empty),
            _ => false,
        };
        if !(optional || group) || matches!(atom, ['*' | '?' | '+' | '{' | '^' | '$']) {
            return false;
        }
        branch = match rest {
            ['{', ..] => match rest.iter().position(|c| *c == '}') {
                Some(end) => &rest[end + 1..],
                None => return false,
            },
            ['*' | '?' | '+', rest @ ..] => rest,
            rest => rest,
        };
        // A quantifier that takes as little as it can.
        branch = branch.strip_prefix(&['?']).unwrap_or(branch);
    }
    true
}

/// `text LIKE pattern`, with backslash as the escape character; `None` where the pattern is not well-formed.
pub(super) fn like(text: &str, pattern: &str, ignore_case: bool) -> Option<bool> {
    if ignore_case && !(text.is_ascii() && pattern.is_ascii()) {
        return None;
    }
    let fold = |s: &str| if ignore_case { s.to_ascii_lowercase() } else { s.to_owned() };
    let text: Vec<char> = fold(text).chars().collect();
    let mut parts = Vec::new();
    let pattern = fold(pattern);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Char(chars.next()?),
            c => Part::Char(c),
        });
    }
    // The classic greedy match with one point to come back to.
    let (mut t, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match parts.get(p) {
            Some(Part::Any) => {
                back = Some((p, t));
                p += 1;
            }
            Some(Part::One) => {
                t += 1;
                p += 1;
            }
            Some(Part::Char(c)) if *c == text[t] => {
                t += 1;
                p += 1;
            }
            Some(Part::Char(_)) | None => match back {
                Some((any, from)) => {
                    back = Some((any, from + 1));
                    t = from + 1;
                    p = any + 1;
                }
                None => return Some(false),
            },
        }
    }
    Some(parts[p..].iter().all(|part| matches!(part, Part::Any)))
}

enum Part {
    /// `%`
    Any,
    /// `_`
    One,
    Char(char),
}

#[cfg(test)]
mod tests {
    use super::matches_anything;

    #[test]
    fn expressions_that_match_anything() {
        for pattern in [
            "", "^", "$", ".*", "^.*", ".*$", "^.*$", "a*", "(a|b*)", "x|", "|x", "()", "(.*)", "[ab]*", "a?b{0,3}",
            "\\d*", ".*?", "(ab)*", "x|^.*$",
        ] {
            assert!(matches_anything(pattern), "{pattern}");
        }
        for pattern in [
            "a",
            ".",
            "a*b",
            "^a*$",
            "^$",
            "a+",
            "(a|b)",
            "[a",
            "(",
            "\\",
            "(?i)",
            "a{1,}",
            ".+",
            "\\*",
            "[*]",
            "a|b",
            "x\\$",
            "*",
            "(?=x)",
            "[[:alpha:]]*",
            "***=",
            "\\m",
        ] {
            assert!(!matches_anything(pattern), "{pattern}");
        }
    }
}
