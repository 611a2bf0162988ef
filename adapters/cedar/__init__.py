"""Policies in Cedar: the engine, and the schema that policies are checked against."""
