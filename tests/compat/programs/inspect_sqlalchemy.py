"""Prints all that SQLAlchemy's Inspector tells of the database of PG*, by the driver named as argument."""

import asyncio
import os
import pprint
import re
import sys

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope
from sqlalchemy.ext.asyncio import create_async_engine

OF_SCHEMA = ["table_names", "view_names", "materialized_view_names", "sequence_names", "enums", "domains", "foreign_table_names"]
OF_TABLE = ["columns", "pk_constraint", "foreign_keys", "indexes", "unique_constraints", "check_constraints", "table_comment", "table_options"]


def show(title, value):
    """Without the addresses of objects."""
    print(title, re.sub(r" at 0x\w+", "", pprint.pformat(value, width=150)))


def inspect(connection):
    """All of the Inspector's methods, and reflection."""
    inspector = sa.inspect(connection)
    show("version", connection.dialect.server_version_info)
    show("default schema", inspector.default_schema_name)
    show("schemas", inspector.get_schema_names())
    show("temporary", (inspector.get_temp_table_names(), inspector.get_temp_view_names()))
    for schema in [None, "shop", "Weird Schema"]:
        for what in OF_SCHEMA:
            show(f"{schema} {what}", getattr(inspector, f"get_{what}")(schema=schema))
        show(f"{schema} sorted", inspector.get_sorted_table_and_fkc_names(schema=schema))
        for what in OF_TABLE:
            several = getattr(inspector, f"get_multi_{what}")(schema=schema, kind=ObjectKind.ANY, scope=ObjectScope.ANY)
            show(f"{schema} {what}", sorted(several.items(), key=str))
        for table in inspector.get_table_names(schema=schema):
            inspector.clear_cache()
            for what in OF_TABLE:
                show(f"{schema}.{table} {what}", getattr(inspector, f"get_{what}")(table, schema=schema))
        for view in inspector.get_view_names(schema=schema) + inspector.get_materialized_view_names(schema=schema):
            show(f"{schema}.{view}", inspector.get_view_definition(view, schema=schema))
        metadata = sa.MetaData()
        metadata.reflect(connection, schema=schema, views=True, resolve_fks=True)
        show(f"{schema} reflected", [repr(table) for table in metadata.sorted_tables])
    dialect = connection.dialect
    show("has", (inspector.has_table("customers", "shop"), inspector.has_table("nosuch"), inspector.has_sequence("numbers", "shop"),
                 inspector.has_index("customers", "customers_trgm", "shop"), inspector.has_schema("shop"), dialect.has_type(connection, "mood", "shop")))
    show("isolation", connection.get_isolation_level())


def settings():
    """PGOPTIONS for the driver that does not read it."""
    options = os.environ.get("PGOPTIONS")
    return {"server_settings": {"options": options}} if options else {}


async def inspect_async():
    """The same by asyncpg."""
    engine = create_async_engine("postgresql+asyncpg://", connect_args=settings())
    async with engine.connect() as connection:
        await connection.run_sync(inspect)
    await engine.dispose()


if sys.argv[1] == "asyncpg":
    asyncio.run(inspect_async())
else:
    with sa.create_engine(f"postgresql+{sys.argv[1]}://").connect() as opened:
        inspect(opened)
