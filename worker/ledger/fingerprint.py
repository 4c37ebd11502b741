r"""What makes two failures the same cause, and how their messages are searched: SQL expressions over `dead_letters`.

The stored columns of the table are made of them (the database computes them, whoever writes the row), and the queries
that must fit an index use the same text. They are immutable, bounded in length, and fail for no value of `detail`.
Inside, no colon stands before a letter: SQLAlchemy would take it for a parameter; hence `\s` and not its long name.
"""

from __future__ import annotations

#: Characters of a message that decide which cause it is, of a type that is kept beside it, and of a message that can
#: be searched.
DECIDING, TYPE, SEARCHED = 500, 100, 4000

# A field's name may have a digit or two (`debtor.stateAlpha2`) and is what tells causes apart.
_IDENTIFIER = r"[A-Za-z][A-Za-z_.]*(\d[A-Za-z_.]*){1,2}(?![\w./+-])"
# In this order: line breaks and runs of spaces; quoted values; e-mail addresses; every word with a digit in it
# (numbers, dates, references, UUIDs, hexadecimal traces, addresses with an id) that is no such name; and rows of such
# values.
_VARIABLE = (
    (r"\s+", " "),
    (r""""[^"]*"|`[^`]*`|(?<!\w)''[^'']*''(?!\w)""", "#"),
    (r"[\u201c\u201e][^\u201c\u201d]*[\u201c\u201d]|\u00ab[^\u00bb]*\u00bb|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)", "#"),
    (r"[^\s@]+@[^\s@]+", "#"),
    (rf"(?<![\w./+-])(?!{_IDENTIFIER})[\w./+-]*\d[\w./+-]*", "#"),
    (r"#([ .,:;]+#)+", "#"),
)


def pattern_of(message: str) -> str:
    """The SQL for a message without what differs from job to job; `message` is SQL too."""
    expression = f"left({message}, {DECIDING})"
    for variable, instead in _VARIABLE:
        expression = f"regexp_replace({expression}, '{variable}', '{instead}', 'g')"
    return expression


def words_of(message: str) -> str:
    """The SQL for the words of a message, apart from each other by single spaces.

    The punctuation is named in full, since what else a word is made of depends on the database's locale.
    """
    return rf"regexp_replace({message}, '[\s!-/:-@\[-`{{-~\u00ab\u00bb\u2010-\u201f\u2026]+', ' ', 'g')"


_MESSAGE = "detail ->> 'message'"
_PATTERN = pattern_of(f"COALESCE({_MESSAGE}, '')")

#: The API's error type, short enough for any index.
ERROR_TYPE = f"left(detail ->> 'type', {TYPE})"
#: The HTTP status, where there was an answer. `detail` of an unreadable message may hold anything under that name.
HTTP_STATUS = r"CASE WHEN detail ->> 'status' ~ '^[1-9]\d\d$' THEN CAST(detail ->> 'status' AS smallint) END"
#: Failures of one cause have the same reason, type and message, but for numbers, ids, references and quoted values.
CAUSE = f"CAST(md5(reason || '|' || COALESCE({ERROR_TYPE}, '') || '|' || {_PATTERN}) AS uuid)"
#: Stands for the solution's address, which may be too long for an index.
SOLUTION = "CAST(md5(solution_url) AS uuid)"
#: For the search in messages: their words. A row without a message has none.
WORDS = f"to_tsvector('simple', {words_of(f'left({_MESSAGE}, {SEARCHED})')})"
