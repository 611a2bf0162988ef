"""Logging in: the pages people see, what is compared, and the grant that makes a token of a code."""
