"""Bridges to other libraries, each an extra that is imported when it is used."""
