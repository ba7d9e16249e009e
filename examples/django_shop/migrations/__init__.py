"""The tables of ``models.py``. The inbox makes its own: ``SqlInbox.create_tables``."""
