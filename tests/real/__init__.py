"""Tests against real interpreters and real servers, and what starts those."""
