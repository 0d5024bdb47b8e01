"""first"""

revision = "0001"
down_revision = None


def upgrade():
    """Nothing: the database is as it is."""


def downgrade():
    """Nothing."""
