"""What Alembic calls to run steps: on the connection, and in the transaction, of the store."""

from alembic import context

# SQLite takes changes of tables back like any others; Alembic assumes that it cannot.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
