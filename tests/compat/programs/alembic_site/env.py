"""Alembic's environment: compares the database of PG* with a model that differs from it."""

import sqlalchemy as sa
from alembic import context
from sqlalchemy.dialects import postgresql

metadata = sa.MetaData(schema="shop")
sa.Table("customers", metadata,
         sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
         sa.Column("name", sa.String(100), nullable=False, server_default="nobody", comment="changed"),
         sa.Column("settings", postgresql.JSONB),
         sa.Column("added", sa.Numeric(10, 2)))
sa.Table("invoices", metadata,
         sa.Column("id", sa.Integer, primary_key=True),
         sa.Column("customer_id", sa.ForeignKey("shop.customers.id"), index=True),
         sa.Column("state", sa.Enum("open", "paid", name="invoice_state")),
         sa.UniqueConstraint("customer_id", "state"))


def run(connection):
    """What each of Alembic's commands does with its connection."""
    context.configure(connection=connection, target_metadata=metadata, include_schemas=True, compare_type=True, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(url="postgresql+psycopg2://", target_metadata=metadata)
    context.run_migrations()
else:
    with sa.create_engine("postgresql+psycopg2://").connect() as opened:
        run(opened)
