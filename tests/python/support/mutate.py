"""Mutations of SQL texts, the same for the same seed: what a slip of the hand, a generator or an attacker makes of a statement."""

import random
import re

TOKEN = re.compile(r"""
    --[^\n]*\n? | /\*.*?\*/ | \s+                                     # comments, white space
  | [eEbBxXnN]?'(?:[^']|'')*' | [uU]&'(?:[^']|'')*' | "(?:[^"]|"")*"  # literals, quoted identifiers
  | \$(\w*)\$.*?\$\1\$                                                # dollar quotes
  | \w+ | :: | [<>=!~@\#%^&|`?*/+-]+ | .
""", re.VERBOSE | re.DOTALL)

WORDS = """
    select from where group by having order limit offset fetch first rows only with recursive as materialized union all except
    intersect distinct on join left outer lateral cross natural using and or not in exists between any some case when then else
    end null is true false array row values table into temp for update share key explain analyze verbose filter over partition
    window tablesample returning insert delete set cast collate ordinality variadic default
""".split()

WRAPPINGS = [
    "WITH w AS ({}) SELECT * FROM w", "WITH w AS MATERIALIZED ({}) SELECT count(*) FROM w", "SELECT * FROM ({}) AS s", "({})",
    "SELECT EXISTS ({})", "SELECT ARRAY({})", "SELECT 1 WHERE 1 IN ({})", "SELECT ({} LIMIT 1)", "EXPLAIN {}", "EXPLAIN ANALYZE {}",
    "EXPLAIN (ANALYZE, FORMAT JSON) {}", "EXPLAIN (ANALYZE OFF) {}", "COPY ({}) TO STDOUT", "{} UNION ALL {}", "{} EXCEPT {}",
    "SELECT s.* FROM (VALUES (1)) v, LATERAL ({}) s", "VALUES (({}))", "TABLE ({})", "SELECT count(*) FROM ({}) s, ({}) t",
    "SELECT json_agg(s) FROM ({}) s", "SELECT (s).* FROM ({}) s", "SELECT s::text FROM ({}) s",
]

APPENDED = [
    ";", "; SELECT 1", ";;", " -- end", " /* end */", " LIMIT 3", " FOR UPDATE", " FOR KEY SHARE SKIP LOCKED", " INTO made", "; COMMIT; SELECT 1",
    " OFFSET 0", " UNION SELECT 1", " \\; SELECT 2", " FETCH FIRST ROW ONLY", " RETURNING *", "; DELETE FROM int4_tbl", " ORDER BY 1", " WHERE true",
]

COMMENTS = ["/**/", "/* ; */", "/* /* nested */ */", "--\n", "-- ' \n", "/* $$ */", "/*+ hint */", "\n", "\t", "\f", "\u00a0"]

CASTS = ["::text", "::int", "::regclass", "::text[]", "::jsonb", "::name", "::unknown", "::oid", "::varchar(3)", " COLLATE \"C\""]


def tokens(text):
    """The tokens of a text, white space and comments among them; joined they are the text."""
    return [match.group() for match in TOKEN.finditer(text)]


class Mutator:
    """Makes mutations of a list of texts."""

    def __init__(self, texts, seed):
        self.texts = texts
        self.rng = random.Random(seed)

    def some(self, count):
        """`count` mutations, each of a text drawn by chance, with one to three changes."""
        return [self.one(self.rng.choice(self.texts)) for _ in range(count)]

    def one(self, text):
        """One mutation."""
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3))):
            text = self.rng.choices(self.CHANGES, self.WEIGHTS)[0](self, text)
        # The server's grammar has a stack limit and the wire has strings that end at NUL.
        return text[:20_000].replace("\0", " ")

    def _place(self, parts, wanted=lambda token: not token.isspace()):
        places = [i for i, token in enumerate(parts) if wanted(token)]
        return self.rng.choice(places) if places else None

    def _delete(self, text):
        parts = tokens(text)
        at = self._place(parts)
        if at is not None:
            del parts[at]
        return "".join(parts)

    def _repeat(self, text):
        parts = tokens(text)
        at = self._place(parts)
        if at is not None:
            parts[at:at + 1] = [parts[at], " ", parts[at]]
        return "".join(parts)

    def _swap(self, text):
        parts = tokens(text)
        a, b = self._place(parts), self._place(parts)
        if a is not None:
            parts[a], parts[b] = parts[b], parts[a]
        return "".join(parts)

    def _splice(self, text):
        """A run of another statement's tokens in the place of a run of this one's."""
        parts, others = tokens(text), tokens(self.rng.choice(self.texts))
        at, start = self.rng.randrange(len(parts) + 1), self.rng.randrange(len(others) + 1)
        parts[at:at + self.rng.randrange(6)] = [" ", *others[start:start + self.rng.randrange(1, 12)], " "]
        return "".join(parts)

    def _cross(self, text):
        """The beginning of this one and the end of another."""
        parts, others = tokens(text), tokens(self.rng.choice(self.texts))
        cut, end = self.rng.randrange(len(parts) + 1), self.rng.randrange(len(others) + 1)
        return "".join(parts[:cut]) + " " + "".join(others[end:])

    def _nest(self, text):
        """Another statement in parentheses in the place of a token."""
        parts = tokens(text)
        at = self._place(parts)
        if at is not None:
            parts[at] = f"({self.rng.choice(self.texts)})"
        return "".join(parts)

    def _word(self, text):
        parts = tokens(text)
        at = self._place(parts, str.isalpha)
        if at is not None:
            parts[at] = self.rng.choice(WORDS)
        return "".join(parts)

    def _insert_word(self, text):
        parts = tokens(text)
        parts.insert(self.rng.randrange(len(parts) + 1), f" {self.rng.choice(WORDS)} ")
        return "".join(parts)

    def _name(self, text):
        """A name of another statement in the place of one of this."""
        parts, others = tokens(text), tokens(self.rng.choice(self.texts))
        at, other = self._place(parts, str.isidentifier), self._place(others, str.isidentifier)
        if at is not None and other is not None:
            parts[at] = others[other]
        return "".join(parts)

    def _comment(self, text):
        parts = tokens(text)
        parts.insert(self.rng.randrange(len(parts) + 1), self.rng.choice(COMMENTS))
        return "".join(parts)

    def _cast(self, text):
        parts = tokens(text)
        at = self._place(parts, lambda token: token[0] in "'\")" or token.isalnum())
        if at is not None:
            parts[at] += self.rng.choice(CASTS)
        return "".join(parts)

    def _quote(self, text):
        """A word in quotes of some kind, or a quoted thing without them."""
        parts = tokens(text)
        at = self._place(parts, lambda token: token[0] in "'\"" or token.isidentifier())
        if at is not None:
            token = parts[at]
            plain = token[1:-1] if token[0] in "'\"" else token
            parts[at] = self.rng.choice(['"{}"', "'{}'", "E'{}'", "$${}$$", "U&\"{}\"", "{}"]).format(plain)
        return "".join(parts)

    def _case(self, text):
        parts = tokens(text)
        at = self._place(parts, str.isidentifier)
        if at is not None:
            parts[at] = parts[at].swapcase()
        return "".join(parts)

    def _wrap(self, text):
        return self.rng.choice(WRAPPINGS).replace("{}", text.rstrip("; \n"))

    def _append(self, text):
        return text + self.rng.choice(APPENDED)

    def _cut(self, text):
        """A cut in the middle of a token, as a text that is truncated."""
        return text[:self.rng.randrange(len(text) + 1)]

    CHANGES = (_delete, _repeat, _swap, _splice, _cross, _nest, _word, _insert_word, _name, _comment, _cast, _quote, _case, _wrap, _append, _cut)
    WEIGHTS = (8, 5, 6, 8, 4, 5, 6, 5, 10, 5, 6, 6, 3, 14, 8, 1)
