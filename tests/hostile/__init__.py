"""Tests in which a child is replaced by a program that sends what it likes."""
