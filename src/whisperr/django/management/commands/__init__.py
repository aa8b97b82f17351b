"""``manage.py whisperr``."""
