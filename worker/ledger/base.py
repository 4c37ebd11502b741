"""What all tables share: how constraints are named, and which types are which."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import DeclarativeBase

#: One convention for all constraint names, so that a migration can name what it drops.
NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


def one_of(column: str, words: type[StrEnum] | tuple[StrEnum, ...]) -> str:
    """The SQL condition that a column holds one of our words."""
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


class Base(DeclarativeBase):
    """What all tables share: naming of constraints, and timestamps that know their zone."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        UUID: PG_UUID(as_uuid=True),
        dict[str, Any]: JSONB,
    }
