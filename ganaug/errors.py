"""What every error of ganaug's that the caller can mend has in common."""


class UserError(Exception):
    """An error that the person who called can mend; the message says what came, what was expected and what to do."""
