r"""What makes two failures the same cause, and how their messages are searched: SQL expressions over `dead_letters`.

The table's stored columns are generated from them (the database computes them for every writer), and queries that must
match an index use the same text. They are immutable, bounded in length, and fail for no value of `detail`. No colon
stands before a letter, because SQLAlchemy would take it for a parameter; hence `\s` and not its long name.
"""

from __future__ import annotations

#: Characters of a message that decide its cause, of the type that is kept beside it, and of a message that can be
#: searched.
DECIDING, TYPE, SEARCHED = 500, 100, 4000

# A field's name may contain a digit or two (`debtor.stateAlpha2`) and is what tells causes apart.
_IDENTIFIER = r"[A-Za-z][A-Za-z_.]*(\d[A-Za-z_.]*){1,2}(?![\w./+-])"
# In this order: line breaks and runs of spaces; quoted values; e-mail addresses; every word with a digit (numbers,
# dates, references, UUIDs, hexadecimal traces, addresses with an id) that is no such name; and runs of such values.
_VARIABLE = (
    (r"\s+", " "),
    (r""""[^"]*"|`[^`]*`|(?<!\w)''[^'']*''(?!\w)""", "#"),
    (r"[\u201c\u201e][^\u201c\u201d]*[\u201c\u201d]|\u00ab[^\u00bb]*\u00bb|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)", "#"),
    (r"[^\s@]+@[^\s@]+", "#"),
    (rf"(?<![\w./+-])(?!{_IDENTIFIER})[\w./+-]*\d[\w./+-]*", "#"),
    (r"#([ .,:;]+#)+", "#"),
)


def pattern_of(message: str) -> str:
    """Return the SQL for the message without what differs from job to job; `message` is SQL too."""
    expression = f"left({message}, {DECIDING})"
    for variable, instead in _VARIABLE:
        expression = f"regexp_replace({expression}, '{variable}', '{instead}', 'g')"
    return expression


def words_of(message: str) -> str:
    """Return the SQL for the words of a message, separated by single spaces.

    The punctuation is listed in full, since the database's locale decides what else belongs to a word.
    """
    return rf"regexp_replace({message}, '[\s!-/:-@\[-`{{-~\u00ab\u00bb\u2010-\u201f\u2026]+', ' ', 'g')"


_MESSAGE = "detail ->> 'message'"
_PATTERN = pattern_of(f"COALESCE({_MESSAGE}, '')")

#: The API's error type, short enough for any index.
ERROR_TYPE = f"left(detail ->> 'type', {TYPE})"
#: The HTTP status, if there was an answer. In the `detail` of an unreadable message, that name may hold anything.
HTTP_STATUS = r"CASE WHEN detail ->> 'status' ~ '^[1-9]\d\d$' THEN CAST(detail ->> 'status' AS smallint) END"
#: Failures of one cause have the same reason, type and message, except for numbers, ids, references and quoted values.
CAUSE = f"CAST(md5(reason || '|' || COALESCE({ERROR_TYPE}, '') || '|' || {_PATTERN}) AS uuid)"
#: Stands for the solution's address, which may be too long for an index.
SOLUTION = "CAST(md5(solution_url) AS uuid)"
#: The words of a message, for the search. A row without a message has none.
WORDS = f"to_tsvector('simple', {words_of(f'left({_MESSAGE}, {SEARCHED})')})"
