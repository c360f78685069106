"""The declarative base of every table: one metadata, one naming of constraints, so that migrations can name them.

Tables carry no schema; a connection's `search_path` does (`POSTGRES_SCHEMA`).
"""

from datetime import datetime
from typing import ClassVar

from advanced_alchemy.base import CommonTableAttributes
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Identity, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(CommonTableAttributes, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {int: BigInteger, datetime: DateTimeUTC(timezone=True)}


class Numbered:
    """Rows with an id that the database counts up; gaps are normal."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, sort_order=-100)


class Dated:
    """Rows that know when they were made and changed.

    By the database's clock, so that rows written by several replicas compare. An UPDATE sets `updated_at` unless it
    names the column itself.
    """

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=100)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), sort_order=101)
