"""The one place where the version stands; the build and every event read it here."""

VERSION = "1.0.0"
