"""Fuzzers, each a program that takes how many seconds to run."""
