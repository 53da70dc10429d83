"""Alembic runs this; the connection, and its transaction, are the store's."""

from alembic import context

from landline.stores.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
